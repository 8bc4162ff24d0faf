"""Visual tasks as Gymnasium environments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from neurogym.utils import spaces
from numpy.typing import NDArray

from cordstasks.tasks import Trial, VisualTask
from cordstasks.tasks.environments.base import NamedEnv, TaskEnv
from cordstasks.tasks.environments.frames import Frames
from cordstasks.tasks.timing import steps_before

_RENDERED = 256  # px that `render` shows at least along each side


class VisualEnv(TaskEnv):
    """A visual task as an environment in which trials follow one another for ever.

    **Observations.** uint8 (height, width, 3): what the screen shows at time ``step * dt``.

    Trial i of an environment seeded with s, by ``reset(seed=s)`` or ``seed(s)``, is trial i of
    ``task.trials(..., seed=s)`` whatever the actions were. `render` shows the frame on the screen, each pixel enlarged to
    a square.

    Parameters
    ----------
    task : VisualTask
        What is shown and what is right.
    dt, rewards, abort, render_mode :
        See `cordstasks.tasks.environments.base.TaskEnv`.

    Attributes
    ----------
    ob : Frames (time, height, width, 3)
        What the screen shows at each step of this trial.
    visual_trial : Trial
        This trial with its movie, and its periods in ms.
    gt, trial, start_ind, end_ind, start_t, end_t :
        See `cordstasks.tasks.environments.base.TaskEnv`.

    Raises
    ------
    InputError
        If `dt`, a reward's name or `render_mode` is not a possible one.
    """

    metadata: dict[str, Any] = {**TaskEnv.metadata, "tags": ["perceptual", "supervised"]}  # noqa: RUF012 - as of TaskEnv
    task: VisualTask
    visual_trial: Trial

    def _observations(self) -> Any:
        pixels = self.task.display.pixels
        return spaces.Box(0, 255, shape=(pixels, pixels, 3), dtype=np.uint8)

    def _draw(self, conditions: Mapping[str, Any]) -> int:
        # Refuses what is no condition of the task before it could be taken for another argument of `trials`.
        self.task.complete(conditions, self.task.conditions(self._next, seed=self._sequence))
        trial = self.task.trials(1, seed=self._sequence, start=self._next, **conditions)[0]
        self.visual_trial = trial
        self._begin(
            observations=Frames(trial.movie, self.dt, self._step_at(trial.movie.duration_ms)),
            conditions=trial.conditions,
            periods={name: [self._step_at(time) for time in period] for name, period in trial.periods.items()},
            segments=[(self._step_at(start), self._step_at(end), action) for start, end, action in trial.segments],
            answer_step=self._step_at(trial.answer_from),
        )
        return trial.answer

    def _step_at(self, time_ms: float) -> int:
        return steps_before(time_ms, self.dt)

    def _picture(self) -> NDArray[np.uint8]:
        frame: NDArray[np.uint8] = self.ob[self.t_ind]
        scale = math.ceil(_RENDERED / len(frame))
        return frame.repeat(scale, axis=0).repeat(scale, axis=1)


class RandomDotsEnv(NamedEnv, VisualEnv):
    """Random-dot motion discrimination (Roitman & Shadlen 2002), from the pixels.

    **Description.** A cloud of random dots moves; say in which direction. `cordstasks.tasks.RandomDotsTask` has the
    details.

    **Observations.** uint8 (height, width, 3): the screen at time ``step * dt``.

    **Actions.** 0 fixate, then one for each direction: 1 is 0 deg (rightward), 2 is 180 deg.

    **Rewards.** -0.1 a step for not fixating too early (with ``abort=True`` that also ends the trial), 1 for the right
    choice and 0 for a wrong one, either of which ends the trial, and 0 for none.

    **Trial timing.** 300 ms of fixation, 500 ms of motion, no delay, and 100 ms of choice, with the fixation
    spot off. With ``reaction_time=True`` the choice may be made from motion onset on, and motion lasts for up to 1500 ms.

    **Conditions.** ``new_trial(coherence=0.128, direction=180)``, or the same in
    ``reset(options={"conditions": {...}})``; what is left open is balanced in blocks.

    **References.** Roitman & Shadlen 2002, J. Neurosci. 22: 9475-9489.

    Parameters
    ----------
    dt, rewards, abort, render_mode :
        See `cordstasks.tasks.environments.base.TaskEnv`.
    **task_parameters : object
        See `cordstasks.tasks.RandomDotsTask`.

    Raises
    ------
    InputError
        If a parameter is unknown or out of range.
    """

    task_id: ClassVar[str] = "rdm"
    metadata: dict[str, Any] = {  # noqa: RUF012 - as of TaskEnv
        **VisualEnv.metadata,
        "paper_name": "Response of neurons in the lateral intraparietal area during a combined visual discrimination "
        "reaction time task",
        "paper_link": "https://doi.org/10.1523/JNEUROSCI.22-21-09475.2002",
        "tags": ["perceptual", "motion", "n-alternative", "supervised"],
    }


class NumerosityEnv(NamedEnv, VisualEnv):
    """Delayed match to numerosity (Nieder, Freedman & Miller 2002), from the pixels.

    **Description.** A sample of dots, a delay, a test: release the lever if both have the same number.
    `cordstasks.tasks.NumerosityTask` has the details.

    **Observations.** uint8 (height, width, 3): the screen at time ``step * dt``.

    **Actions.** 0 fixate and hold the lever, 1 release it. With ``two_choices=True``: 0 fixate, 1 match, 2 nonmatch.

    **Rewards.** -0.1 a step for releasing before the test (with ``abort=True`` that also ends the trial); from then on a
    release ends the trial, with 1 in a test that matches and 0 elsewhere; 0 for none by the end of the trial, or 1 where
    no test matched (a nonmatch without a second test).

    **Trial timing.** 500 ms of fixation, 800 ms of sample, 1000 ms of delay, 1200 ms of test; if that does not match,
    1200 ms of a second test that does.

    **Conditions.** ``new_trial(match=1, number=3, control="equal_area")``, also ``test`` and ``test_control``, or the same
    in ``reset(options={"conditions": {...}})``; what is left open is balanced in blocks.

    **References.** Nieder, Freedman & Miller 2002, Science 297: 1708-1711.

    Parameters
    ----------
    dt, rewards, abort, render_mode :
        See `cordstasks.tasks.environments.base.TaskEnv`.
    **task_parameters : object
        See `cordstasks.tasks.NumerosityTask`.

    Raises
    ------
    InputError
        If a parameter is unknown or out of range.
    """

    task_id: ClassVar[str] = "numerosity"
    metadata: dict[str, Any] = {  # noqa: RUF012 - as of TaskEnv
        **VisualEnv.metadata,
        "paper_name": "Representation of the quantity of visual items in the primate prefrontal cortex",
        "paper_link": "https://doi.org/10.1126/science.1072493",
        "tags": ["perceptual", "working memory", "go-no-go", "supervised"],
    }


class CatDogEnv(NamedEnv, VisualEnv):
    """Delayed match to category (Freedman, Riesenhuber, Poggio & Miller 2001), from the pixels.

    **Description.** A sample, a delay, a test: release the lever if both are cats, or both dogs.
    `cordstasks.tasks.CatDogTask` has the details.

    **Observations.** uint8 (height, width, 3): the screen at time ``step * dt``.

    **Actions.** 0 fixate and hold the lever, 1 release it. With ``two_choices=True``: 0 fixate, 1 match, 2 nonmatch.

    **Rewards.** -0.1 a step for releasing before the test (with ``abort=True`` that also ends the trial); from then on a
    release ends the trial, with 1 in a test that matches and 0 elsewhere; 0 for none by the end of the trial, or 1 where
    no test matched (a nonmatch without a second test).

    **Trial timing.** 500 ms of fixation, 600 ms of sample, 1000 ms of delay, 600 ms of test; if that does not match, a
    second delay of 600 ms and 600 ms of a second test that does.

    **Conditions.** ``new_trial(match=0, line="tabby-hound", morph=0.4)``, also ``test_line`` and ``test_morph``, or the
    same in ``reset(options={"conditions": {...}})``; what is left open is balanced in blocks.

    **References.** Freedman, Riesenhuber, Poggio & Miller 2001, Science 291: 312-316.

    Parameters
    ----------
    dt, rewards, abort, render_mode :
        See `cordstasks.tasks.environments.base.TaskEnv`.
    **task_parameters : object
        See `cordstasks.tasks.CatDogTask`.

    Raises
    ------
    InputError
        If a parameter is unknown or out of range.
    """

    task_id: ClassVar[str] = "catdog"
    metadata: dict[str, Any] = {  # noqa: RUF012 - as of TaskEnv
        **VisualEnv.metadata,
        "paper_name": "Categorical representation of visual stimuli in the primate prefrontal cortex",
        "paper_link": "https://doi.org/10.1126/science.291.5502.312",
        "tags": ["perceptual", "working memory", "go-no-go", "supervised"],
    }


class MemorySaccadeEnv(NamedEnv, VisualEnv):
    """Memory-guided saccades (Funahashi, Bruce & Goldman-Rakic 1989), from the pixels.

    **Description.** A cue appears for a moment; look at where it was when, after a delay, the fixation spot goes off.
    `cordstasks.tasks.MemorySaccadeTask` has the details.

    **Observations.** uint8 (height, width, 3): the screen at time ``step * dt``.

    **Actions.** 0 fixate, then one for each location: 1 is 0 deg (rightward), 2 is 45 deg, and so on.

    **Rewards.** -0.1 a step for not fixating too early (with ``abort=True`` that also ends the trial), 1 for the right
    location and 0 for a wrong one, either of which ends the trial, and 0 for none.

    **Trial timing.** 750 ms of fixation, 500 ms of cue, 1500, 3000 or 6000 ms of delay, and 500 ms in which to respond,
    with the fixation spot off.

    **Conditions.** ``new_trial(location=90, delay=1500)``, or the same in ``reset(options={"conditions": {...}})``; what is
    left open is balanced in blocks.

    **References.** Funahashi, Bruce & Goldman-Rakic 1989, J. Neurophysiol. 61: 331-349.

    Parameters
    ----------
    dt, rewards, abort, render_mode :
        See `cordstasks.tasks.environments.base.TaskEnv`.
    **task_parameters : object
        See `cordstasks.tasks.MemorySaccadeTask`.

    Raises
    ------
    InputError
        If a parameter is unknown or out of range.
    """

    task_id: ClassVar[str] = "saccade"
    metadata: dict[str, Any] = {  # noqa: RUF012 - as of TaskEnv
        **VisualEnv.metadata,
        "paper_name": "Mnemonic coding of visual space in the monkey's dorsolateral prefrontal cortex",
        "paper_link": "https://doi.org/10.1152/jn.1989.61.2.331",
        "tags": ["perceptual", "working memory", "n-alternative", "supervised"],
    }
