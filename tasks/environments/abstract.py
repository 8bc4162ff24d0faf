"""Abstract tasks as Gymnasium environments, on neurogym's `TrialEnv`.

Like `cordstasks.tasks.environments.visual`, this module imports neurogym, which imports torch and takes
over loguru's handlers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium
import numpy as np
from neurogym.core import TrialEnv
from neurogym.utils import spaces
from numpy.typing import NDArray

from cordstasks.errors import InputError, unknown
from cordstasks.tasks import get
from cordstasks.tasks.abstract.base import AbstractBatch, AbstractTask
from cordstasks.tasks.visual.base import FIXATE, check_step
from cordstasks.utils.arguments import seed_of

REWARDS = {"abort": -0.1, "correct": 1.0, "fail": 0.0, "miss": 0.0}
_RENDERED = (32, 256)  # px of a row of the picture that `render` makes, and of its width


class AbstractEnvironment(TrialEnv):  # type: ignore[misc]  # neurogym has no types
    """An abstract task as an environment in which trials follow one another for ever.

    **Observations.** float32 (channel,): the task's inputs at a step, noise included.

    **Actions.** 0 fixate, then one for each answer; `task.actions` names them. In tasks with a signed answer 1 is positive
    and 2 negative.

    **Rewards.** -0.1 a step for not fixating before the response period (with ``abort=True`` that also ends the trial),
    1 for the right answer and 0 for a wrong one, either of which ends the trial, and 0 for none. In a trial without an
    answer, such as a catch trial, 1 for fixating to its end.

    Parameters
    ----------
    dt : duration of a time step in ms, at most that of the shortest period.
    rewards : what differs from ``{"abort": -0.1, "correct": 1.0, "fail": 0.0, "miss": 0.0}``.
    abort : breaking fixation ends the trial.
    render_mode : "rgb_array" or None.
    **task_parameters : those of the task.

    Attributes
    ----------
    ob : float32 (time, channel)
        Inputs at each step of this trial.
    gt : int64 (time,)
        The right action at each step of this trial.
    trial : dict
        Conditions of this trial, and the action that is right in the end as ``ground_truth``.
    batch : AbstractBatch
        The same as a batch of one trial, with the targets of the task's outputs.
    start_ind, end_ind, start_t, end_t : dict
        First and last step (exclusive) of each period of this trial, and the same in ms.

    Raises
    ------
    InputError
        If `dt`, a reward's name, `render_mode` or a parameter of the task is not a possible one.

    Notes
    -----
    Trial i of an environment seeded with s, by ``reset(seed=s)`` or ``seed(s)``, is ``task.sample(1, seed=[s, i])``
    whatever the actions were. ``reset`` without a seed goes on with the next trial; an environment never seeded takes
    its seed from the operating system. ``reset`` returns the first observation of a trial and takes no step.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - an instance has its own, with the render_fps of its dt
        "paper_name": "The role of population structure in computations through neural dynamics",
        "paper_link": "https://doi.org/10.1038/s41593-022-01088-4",
        "tags": ["supervised"],
        "render_modes": ["rgb_array"],
        "render_fps": 50,
    }
    task_id: ClassVar[str]
    _sequence: int  # the seed that names the sequence of trials
    _next: int  # number of the next trial in it

    def __init__(
        self,
        dt: float = 20,
        *,
        rewards: Mapping[str, float] | None = None,
        abort: bool = False,
        render_mode: str | None = None,
        **task_parameters: Any,
    ) -> None:
        strange = sorted(set(rewards or {}) - set(REWARDS))
        if strange:
            raise unknown("reward", strange[0], REWARDS)
        if render_mode is not None:
            self._check_mode("render_mode", render_mode)
        task: AbstractTask = get(self.task_id, **task_parameters)
        dt = check_step(dt, task)
        paid = {**REWARDS, **(rewards or {})}
        super().__init__(dt=dt, r_tmax=paid["miss"])
        self.task, self.rewards, self.abort, self.render_mode = task, paid, abort, render_mode
        self.metadata = {**type(self).metadata, "render_fps": 1000 / dt}
        self.timing = {
            name: ("uniform", duration) if isinstance(duration, tuple) else duration
            for name, duration in task.timing.items()
        }
        self.observation_space = spaces.Box(
            -np.inf,
            np.inf,
            shape=(len(task.channels),),
            dtype=np.float32,
            name={name: channel for channel, name in enumerate(task.channels)},
        )
        self.action_space = spaces.Discrete(
            len(task.actions), name={name: action for action, name in enumerate(task.actions)}
        )
        self.seed()

    def seed(self, seed: int | None = None) -> list[int | None]:
        """Begin the sequence of trials that `seed` names, and seed the action space; None asks the operating system."""
        self.action_space.seed(self._begin_sequence(seed))
        return [seed]

    def _begin_sequence(self, seed: int | None) -> int:
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0])
        self._sequence, self._next = seed_of(seed, otherwise=", or None"), 0
        self.rng = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(self._sequence)))  # wrappers use it
        return self._sequence

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin a new trial.

        Parameters
        ----------
        seed : int, optional
            Begin the sequence of trials that it names; None goes on with the next trial.
        options : dict, optional
            ``{"conditions": {name: value}}`` sets conditions of the trial; ``{"step_fn": function}``, given by
            neurogym's wrappers, makes the observation with a first step of fixating.

        Returns
        -------
        observation : float32 (channel,)
            The first inputs.
        info : dict
            ``trial``: conditions and right action of the trial.
        """
        # TrialEnv.reset is passed over: it ignores the seed, seeds the action space with 0 and takes a random action.
        if seed is not None:
            self._begin_sequence(seed)
        super(TrialEnv, self).reset(seed=seed)
        options = options or {}
        self.num_tr = 0
        self._top.new_trial(**options.get("conditions", {}))
        step = options.get("step_fn") or (self._top.step if self._top is not self else None)
        observation = self.ob[0] if step is None else step(FIXATE)[0]
        return observation, {"trial": self.trial}

    def _new_trial(self, **conditions: float) -> dict[str, Any]:
        """The next trial of the sequence, with the `conditions` that the caller sets."""
        for reserved in sorted({"trials", "seed", "dt"} & set(conditions)):  # other arguments of `sample`
            raise unknown(f"condition of task {self.task.id}", reserved, list(self.task.design()[0]))
        batch = self.task.sample(1, seed=[self._sequence, self._next], dt=self.dt, **conditions)
        self._next += 1
        self._lay_out(batch)
        return {**self._conditions, "ground_truth": int(batch.answers[0])}

    def _lay_out(self, batch: AbstractBatch) -> None:
        steps = int(batch.lengths[0])
        self.batch = batch
        self._conditions = {name: values[0].item() for name, values in batch.conditions.items()}
        self.t, self.t_ind, self.performance = 0, 0, 0
        self.tmax = self._tmax = steps * self.dt
        self.start_ind = {name: int(ends[0, 0]) for name, ends in batch.periods.items()}
        self.end_ind = {name: int(ends[0, 1]) for name, ends in batch.periods.items()}
        self.start_t = {name: step * self.dt for name, step in self.start_ind.items()}
        self.end_t = {name: step * self.dt for name, step in self.end_ind.items()}
        self.ob = batch.inputs[0, :steps]
        self.gt = np.where(batch.answering[0, :steps], batch.answers[0], FIXATE).astype(np.int64)
        self._answer_step = int(np.argmax(batch.answering[0]))
        self._ob_built = self._gt_built = True

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Act for one time step.

        Returns
        -------
        observation : float32 (channel,)
            The inputs at the next step.
        reward : float
            What the action earned.
        terminated, truncated : bool
            False: trials follow one another.
        info : dict
            ``gt``, the right action at this step; ``conditions`` of this step's trial; ``new_trial``, whether the
            action, or time, ended it; and if so its ``performance`` (1 for the right answer) and the next ``trial``.

        Raises
        ------
        InputError
            If there is no such action.
        gymnasium.error.ResetNeeded
            Before the first `reset`.
        """
        if self.trial is None:
            raise gymnasium.error.ResetNeeded("no trial has begun; call reset() before step()")
        if not self.action_space.contains(action):
            known = ", ".join(f"{number} ({name})" for number, name in enumerate(self.task.actions))
            raise InputError(f"action={action!r}: choose one of {known}")
        result: tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]] = super().step(action)
        self.t = self.t_ind * self.dt
        return result

    def _step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward, over = 0.0, False
        if action != FIXATE and self.t_ind < self._answer_step:
            reward, over = self.rewards["abort"], self.abort
        elif action != FIXATE:
            self.performance = int(action == self.trial["ground_truth"])
            reward, over = self.rewards["correct" if self.performance else "fail"], True
        elif self.t_ind == len(self.gt) - 1 and not self.gt.any():
            # held to the end of a trial that asks for nothing else, such as a catch trial: right, and no miss
            self.performance, reward, over = 1, self.rewards["correct"], True
        info = {"new_trial": over, "gt": self.gt_now, "conditions": self._conditions}
        # TrialEnv now adds dt to its clock twice to see whether the trial is over: half a step early, rounding cannot
        # end it too soon. `step` sets the clock right.
        self.t = (self.t_ind - 0.5) * self.dt
        return self.ob_now, reward, False, False, info

    def render(self, mode: str | None = None) -> NDArray[np.uint8] | None:
        """The inputs of this trial so far, uint8 (height, width, 3): one row a channel, time to the right.

        Grey is zero, white 1 and black -1; what has yet to come is blue.

        Parameters
        ----------
        mode : str, optional
            "rgb_array"; by default the environment's `render_mode`, and nothing is rendered where that is None.
        """
        mode = self.render_mode if mode is None else mode
        if mode is None:
            return None
        self._check_mode("mode", mode)
        if self.trial is None:
            raise gymnasium.error.ResetNeeded("no trial has begun; call reset() before render()")
        height, width = _RENDERED
        steps = len(self.ob)
        shown = np.rint(127.5 + 127.5 * np.clip(self.ob.T, -1, 1)).astype(np.uint8)
        picture = np.repeat(shown[..., None], 3, axis=2)
        picture[:, self.t_ind + 1 :] = (0, 0, 128)
        columns = np.arange(width) * steps // width
        return picture[:, columns].repeat(height, axis=0)

    def _check_mode(self, argument: str, mode: str) -> None:
        known = type(self).metadata["render_modes"]
        if mode not in known:
            raise InputError(f"{argument}={mode!r}: choose {' or '.join(map(repr, known))}, or None")


class PerceptualDecisionMaking(AbstractEnvironment):
    """`cordstasks.tasks.PerceptualDecisionTask` as an environment; conditions: ``coherence``."""

    task_id: ClassVar[str] = "perceptual-dm"


class ParametricWorkingMemory(AbstractEnvironment):
    """`cordstasks.tasks.ParametricWorkingMemoryTask` as an environment; conditions: ``f1``, ``f2`` (Hz), ``delay`` (ms)."""

    task_id: ClassVar[str] = "parametric-wm"


class MultisensoryDecisionMaking(AbstractEnvironment):
    """`cordstasks.tasks.MultisensoryDecisionTask` as an environment.

    Conditions: ``direction`` (1 or -1), ``visual`` and ``auditory`` strength, ``modality`` (0 visual, 1 auditory, 2 both).
    """

    task_id: ClassVar[str] = "multisensory-dm"


class ContextDecisionMaking(AbstractEnvironment):
    """`cordstasks.tasks.ContextualDecisionTask` as an environment.

    Conditions: ``visual`` and ``auditory`` coherence, ``context`` (0 the visual counts, 1 the auditory).
    """

    task_id: ClassVar[str] = "contextual-dm"


class DelayedMatchToSample(AbstractEnvironment):
    """`cordstasks.tasks.DelayedMatchToSampleTask` as an environment.

    Conditions: ``sample`` and ``test`` (0 or 1), ``delay`` (ms).
    """

    task_id: ClassVar[str] = "dms"


class MemoryPro(AbstractEnvironment):
    """`cordstasks.tasks.MemoryProTask` as an environment; conditions: ``angle`` (deg), ``delay`` (ms)."""

    task_id: ClassVar[str] = "memory-pro"
