"""Abstract tasks as Gymnasium environments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from neurogym.utils import spaces
from numpy.typing import NDArray

from cordstasks.errors import unknown
from cordstasks.tasks import AbstractBatch, AbstractTask
from cordstasks.tasks.environments.base import NamedEnv, TaskEnv

_RENDERED = (32, 256)  # px of a row of the picture that `render` makes, and of its width
_RESERVED = ("trials", "seed", "dt")  # arguments of `sample` that are no conditions


class AbstractEnv(TaskEnv):
    """An abstract task as an environment in which trials follow one another for ever.

    **Observations.** float32 (channel,): the task's inputs at a step, noise included.

    **Actions.** 0 fixate, then one for each answer; `task.actions` names them. In tasks with a signed answer 1 is positive
    and 2 negative.

    **Rewards.** -0.1 a step for not fixating before the response period (with ``abort=True`` that also ends the trial),
    1 for the right answer and 0 for a wrong one, either of which ends the trial, and 0 for none. In a trial without an
    answer, such as a catch trial, 1 for fixating to its end.

    Trial i of an environment seeded with s, by ``reset(seed=s)`` or ``seed(s)``, is ``task.sample(1, seed=[s, i])``
    whatever the actions were. `render` shows the inputs of this trial so far: one row per channel, time to the right. Grey
    is zero, white 1 and black -1; what has yet to come is blue.

    Parameters
    ----------
    task : AbstractTask
        What is shown and what is right.
    dt, rewards, abort, render_mode :
        See `cordstasks.tasks.environments.base.TaskEnv`.

    Attributes
    ----------
    ob : float32 (time, channel)
        Inputs at each step of this trial.
    batch : AbstractBatch
        This trial as a batch of one, with the targets of the task's outputs.
    gt, trial, start_ind, end_ind, start_t, end_t :
        See `cordstasks.tasks.environments.base.TaskEnv`.

    Raises
    ------
    InputError
        If `dt`, a reward's name or `render_mode` is not a possible one.
    """

    task: AbstractTask
    batch: AbstractBatch

    def _observations(self) -> Any:
        channels = {name: channel for channel, name in enumerate(self.task.channels)}
        return spaces.Box(-np.inf, np.inf, shape=(len(channels),), dtype=np.float32, name=channels)

    def _draw(self, conditions: Mapping[str, Any]) -> int:
        for reserved in sorted(set(_RESERVED) & set(conditions)):
            raise unknown(f"condition of task {self.task.id}", reserved, list(self.task.design()[0]))
        batch = self.task.sample(1, seed=[self._sequence, self._next], dt=self.dt, **conditions)
        self.batch, answer = batch, int(batch.answers[0])
        due = np.flatnonzero(batch.response_mask[0])
        self._begin(
            observations=batch.inputs[0, : batch.lengths[0]],
            conditions={name: values[0].item() for name, values in batch.conditions.items()},
            periods={name: batch.steps(name)[0] for name in batch.periods},
            segments=[(int(due[0]), int(due[-1]) + 1, answer)],
            answer_step=int(due[0]),
        )
        return answer

    def _picture(self) -> NDArray[np.uint8]:
        height, width = _RENDERED
        steps = len(self.ob)
        shown = np.rint(127.5 + 127.5 * np.clip(self.ob.T, -1, 1)).astype(np.uint8)
        picture = np.repeat(shown[..., None], 3, axis=2)
        picture[:, self.t_ind + 1 :] = (0, 0, 128)
        columns = np.arange(width) * steps // width
        return picture[:, columns].repeat(height, axis=0)


class _DubreuilEnv(NamedEnv, AbstractEnv):
    """An environment of a task of Dubreuil et al. (2022)."""

    metadata: dict[str, Any] = {  # noqa: RUF012 - as of TaskEnv
        **AbstractEnv.metadata,
        "paper_name": "The role of population structure in computations through neural dynamics",
        "paper_link": "https://doi.org/10.1038/s41593-022-01088-4",
    }


class PerceptualDecisionMakingEnv(_DubreuilEnv):
    """`cordstasks.tasks.PerceptualDecisionTask` as an environment; conditions: ``coherence``."""

    task_id: ClassVar[str] = "perceptual-dm"


class ParametricWorkingMemoryEnv(_DubreuilEnv):
    """`cordstasks.tasks.ParametricWorkingMemoryTask` as an environment; conditions: ``f1``, ``f2`` (Hz), ``delay`` (ms)."""

    task_id: ClassVar[str] = "parametric-wm"


class MultisensoryDecisionMakingEnv(_DubreuilEnv):
    """`cordstasks.tasks.MultisensoryDecisionTask` as an environment.

    Conditions: ``direction`` (1 or -1), ``visual`` and ``auditory`` strength, ``modality`` (0 visual, 1 auditory, 2 both).
    """

    task_id: ClassVar[str] = "multisensory-dm"


class ContextDecisionMakingEnv(_DubreuilEnv):
    """`cordstasks.tasks.ContextualDecisionTask` as an environment.

    Conditions: ``visual`` and ``auditory`` coherence, ``context`` (0 the visual counts, 1 the auditory).
    """

    task_id: ClassVar[str] = "contextual-dm"


class DelayedMatchToSampleEnv(_DubreuilEnv):
    """`cordstasks.tasks.DelayedMatchToSampleTask` as an environment.

    Conditions: ``sample`` and ``test`` (0 or 1), ``delay`` (ms).
    """

    task_id: ClassVar[str] = "dms"


class MemoryProEnv(NamedEnv, AbstractEnv):
    """`cordstasks.tasks.MemoryProTask` as an environment; conditions: ``angle`` (deg), ``delay`` (ms)."""

    task_id: ClassVar[str] = "memory-pro"
    metadata: dict[str, Any] = {  # noqa: RUF012 - as of TaskEnv
        **AbstractEnv.metadata,
        "paper_name": "Task representations in neural networks trained to perform many cognitive tasks",
        "paper_link": "https://doi.org/10.1038/s41593-018-0310-2",
    }
