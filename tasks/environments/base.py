"""What environments of visual and of abstract tasks share, on neurogym's `TrialEnv`.

The modules of environments are the only ones that import neurogym, which imports torch and takes over loguru's handlers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from neurogym.core import TrialEnv
from neurogym.utils import spaces
from numpy.typing import NDArray

from cordstasks.errors import InputError, unknown
from cordstasks.tasks import AbstractTask, VisualTask, get
from cordstasks.tasks.batch import FIXATE
from cordstasks.tasks.timing import Duration, check_step
from cordstasks.utils.arguments import seed_of

__all__ = ["REWARDS", "NamedEnv", "TaskEnv"]

REWARDS: dict[str, float] = {"abort": -0.1, "correct": 1.0, "fail": 0.0, "miss": 0.0}
"""What actions earn, unless a user says otherwise."""


class TaskEnv(TrialEnv):  # type: ignore[misc]  # neurogym has no types
    """A task as an environment in which trials follow one another for ever.

    Parameters
    ----------
    task : VisualTask or AbstractTask
        What is shown and what is right.
    dt : float
        Duration of a time step in ms, at most that of the shortest period.
    rewards : mapping of str to float, optional
        What differs from ``{"abort": -0.1, "correct": 1.0, "fail": 0.0, "miss": 0.0}``: for breaking fixation,
        for the right answer, for a wrong one, and for none by the end of the trial. In a trial in which fixating is right
        throughout, none by its end is the right answer.
    abort : bool
        Breaking fixation ends the trial.
    render_mode : str, optional
        "rgb_array" or None.

    Attributes
    ----------
    ob : array (time, ...)
        The observation at each step of this trial.
    gt : int64 (time,)
        The right action at each step of this trial.
    trial : dict of str to object
        Conditions of this trial, and the action that is right in the end as ``ground_truth``.
    start_ind, end_ind, start_t, end_t : dict of str to number
        First and last step (exclusive) of each period of this trial, and the same in ms on the grid of steps.

    Raises
    ------
    InputError
        If `dt`, a reward's name or `render_mode` is not a possible one.

    Notes
    -----
    Which trials there are depends on the seed alone, see `reset`, whatever the actions were. ``reset`` without a seed goes
    on with the next trial; an environment that was never seeded takes its seed from the operating system. ``reset`` returns
    the first observation of a trial and takes no step, unlike `TrialEnv.reset`.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - an instance has its own, with the render_fps of its dt
        "paper_name": None,
        "paper_link": None,
        "tags": ["supervised"],
        "render_modes": ["rgb_array"],
        "render_fps": 50,
    }
    _sequence: int  # the seed that names the sequence of trials
    _next: int  # number of the next trial in it
    _conditions: dict[str, Any]  # of this trial
    _answer_step: int  # from which on an action other than fixating ends this trial

    def __init__(
        self,
        task: VisualTask | AbstractTask,
        dt: float = 20,
        *,
        rewards: Mapping[str, float] | None = None,
        abort: bool = False,
        render_mode: str | None = None,
    ) -> None:
        strange = sorted(set(rewards or {}) - set(REWARDS))
        if strange:
            raise unknown("reward", strange[0], REWARDS)
        if render_mode is not None:
            self._check_mode("render_mode", render_mode)
        dt = check_step(dt, task)
        paid = {**REWARDS, **(rewards or {})}
        super().__init__(dt=dt, r_tmax=paid["miss"])
        self.task, self.rewards, self.abort, self.render_mode = task, paid, abort, render_mode
        self.metadata = {**type(self).metadata, "render_fps": 1000 / dt}
        optional = task.optional if isinstance(task, VisualTask) else ()
        self.timing = {name: _for_neurogym(duration, name in optional) for name, duration in task.timing.items()}
        self.observation_space = self._observations()
        self.action_space = spaces.Discrete(
            len(task.actions), name={name: action for action, name in enumerate(task.actions)}
        )
        self.seed()

    @abstractmethod
    def _observations(self) -> Any:
        """The observation space."""

    @abstractmethod
    def _draw(self, conditions: Mapping[str, Any]) -> int:
        """Lay out trial number `_next` of the sequence, with `_begin`; return the action that is right in the end."""

    @abstractmethod
    def _picture(self) -> NDArray[np.uint8]:
        """What `render` shows (height, width, 3)."""

    def seed(self, seed: int | None = None) -> list[int | None]:
        """Begin the sequence of trials that `seed` names, and seed the action space; None asks the operating system.

        Returns
        -------
        list of int or None
            The seed, as gymnasium expects it.
        """
        self.action_space.seed(self._begin_sequence(seed))
        return [seed]

    def _begin_sequence(self, seed: int | None) -> int:
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0])
        self._sequence, self._next = seed_of(seed, otherwise=", or None"), 0
        self.rng = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(self._sequence)))  # wrappers use it
        return self._sequence

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
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
        observation : array
            The first of the trial.
        info : dict
            ``trial``: conditions and right action of the trial.
        """
        if seed is not None:
            self._begin_sequence(seed)
        # TrialEnv.reset is passed over: it ignores the seed, seeds the action space with 0 and takes a random action.
        super(TrialEnv, self).reset(seed=seed)
        options = options or {}
        self.num_tr = 0
        self._top.new_trial(**options.get("conditions", {}))
        step = options.get("step_fn") or (self._top.step if self._top is not self else None)
        observation = self.ob[0] if step is None else step(FIXATE)[0]
        return observation, {"trial": self.trial}

    def _new_trial(self, **conditions: Any) -> dict[str, Any]:
        """The next trial of the sequence, with the `conditions` that the caller sets."""
        answer = self._draw(conditions)
        self._next += 1
        return {**self._conditions, "ground_truth": answer}

    def _begin(
        self,
        *,
        observations: Any,
        conditions: dict[str, Any],
        periods: Mapping[str, Sequence[int]],
        segments: Sequence[tuple[int, int, int]],
        answer_step: int,
    ) -> None:
        """Lay out a trial.

        Parameters
        ----------
        observations : array (time, ...)
        conditions : dict
        periods : mapping of str to (int, int)
            First step of each, and the step after its last.
        segments : sequence of (int, int, int)
            The same of the times at which an action other than fixating is right, and that action.
        answer_step : int
            From which step on such an action is not too early.
        """
        steps = len(observations)
        self._conditions, self._answer_step = conditions, answer_step
        self.t, self.t_ind, self.performance = 0, 0, 0
        self.tmax = self._tmax = steps * self.dt
        self.start_ind = {name: int(first) for name, (first, _) in periods.items()}
        self.end_ind = {name: int(last) for name, (_, last) in periods.items()}
        self.start_t = {name: step * self.dt for name, step in self.start_ind.items()}
        self.end_t = {name: step * self.dt for name, step in self.end_ind.items()}
        self.ob = observations
        self.gt = np.full(steps, FIXATE, np.int64)
        for first, last, action in segments:
            self.gt[first:last] = action
        self._ob_built = self._gt_built = True  # or TrialEnv would allocate every observation

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act for one time step.

        Returns
        -------
        observation : array
            That of the next step.
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
        result: tuple[Any, float, bool, bool, dict[str, Any]] = super().step(action)
        self.t = self.t_ind * self.dt
        return result

    def _step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward, over = 0.0, False
        if action != FIXATE and self.t_ind < self._answer_step and action != self.gt_now:
            reward, over = self.rewards["abort"], self.abort
        elif action != FIXATE:
            self.performance = int(action == self.gt_now)
            reward, over = self.rewards["correct" if self.performance else "fail"], True
        elif self.t_ind == len(self.gt) - 1 and not self.gt.any():
            # held to the end of a trial that requires nothing else, such as a catch trial: right, and no miss
            self.performance, reward, over = 1, self.rewards["correct"], True
        info = {"new_trial": over, "gt": self.gt_now, "conditions": self._conditions}
        # TrialEnv now adds dt to its clock twice to see whether the trial is over: half a step early, rounding cannot
        # end it too soon. `step` sets the clock right.
        self.t = (self.t_ind - 0.5) * self.dt
        return self.ob_now, reward, False, False, info

    def render(self, mode: str | None = None) -> NDArray[np.uint8] | None:
        """A picture of the present step, uint8 (height, width, 3).

        Parameters
        ----------
        mode : str, optional
            "rgb_array"; by default the environment's `render_mode`, and nothing is rendered where that is None.

        Returns
        -------
        ndarray of shape (height, width, 3), uint8, or None
            None if nothing is rendered.
        """
        mode = self.render_mode if mode is None else mode
        if mode is None:
            return None
        self._check_mode("mode", mode)
        if self.trial is None:
            raise gymnasium.error.ResetNeeded("no trial has begun; call reset() before render()")
        return self._picture()

    def _check_mode(self, argument: str, mode: str) -> None:
        known = type(self).metadata["render_modes"]
        if mode not in known:
            raise InputError(f"{argument}={mode!r}: choose {' or '.join(map(repr, known))}, or None")


def _for_neurogym(duration: Duration, optional: bool) -> Any:
    """A duration as neurogym's environments state it."""
    if isinstance(duration, tuple):
        return ("uniform", duration)
    return ("choice", (0.0, duration)) if optional else duration


class NamedEnv(TaskEnv):
    """An environment of one task, whose parameters are the environment's.

    Parameters
    ----------
    dt, rewards, abort, render_mode :
        See `TaskEnv`.
    **task_parameters : object
        Those of the task.

    Raises
    ------
    InputError
        If a parameter is unknown or out of range.
    """

    task_id: ClassVar[str]

    def __init__(
        self,
        dt: float = 20,
        *,
        rewards: Mapping[str, float] | None = None,
        abort: bool = False,
        render_mode: str | None = None,
        **task_parameters: Any,
    ) -> None:
        task = get(self.task_id, **task_parameters)
        super().__init__(task, dt, rewards=rewards, abort=abort, render_mode=render_mode)
