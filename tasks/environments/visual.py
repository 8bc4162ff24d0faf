"""Visual tasks as Gymnasium environments, on neurogym's `TrialEnv`.

This is the only module that imports neurogym, which imports torch and takes over loguru's handlers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium
import numpy as np
from neurogym.core import TrialEnv
from neurogym.utils import spaces
from numpy.typing import NDArray

from cordstasks.errors import InputError, unknown
from cordstasks.tasks import get
from cordstasks.tasks.environments.frames import Frames
from cordstasks.tasks.visual.base import FIXATE, Condition, Duration, Trial, VisualTask, check_step, steps_before
from cordstasks.utils.arguments import seed_of

REWARDS = {"abort": -0.1, "correct": 1.0, "fail": 0.0, "miss": 0.0}
_RENDERED = 256  # px that `render` shows at least along each side


class VisualEnvironment(TrialEnv):  # type: ignore[misc]  # neurogym has no types
    """A visual task as an environment in which trials follow one another for ever.

    Parameters
    ----------
    task : what is shown and what is right.
    dt : duration of a time step in ms, at most that of the shortest period.
    rewards : what differs from ``{"abort": -0.1, "correct": 1.0, "fail": 0.0, "miss": 0.0}``: for breaking fixation,
        for the right choice, for a wrong one, and for none by the end of the trial. In a trial in which fixating is right
        throughout, none by its end is the right choice.
    abort : breaking fixation ends the trial.
    render_mode : "rgb_array" or None.

    Attributes
    ----------
    ob : Frames (time, height, width, 3)
        What the screen shows at each step of this trial.
    gt : int64 (time,)
        The right action at each step of this trial.
    trial : dict
        Conditions of this trial, and the action that is right in the end as ``ground_truth``.
    visual_trial : Trial
        The same with its movie and its periods in ms.
    start_ind, end_ind, start_t, end_t : dict
        First and last step (exclusive) of each period of this trial, and the same in ms on the grid of steps.

    Raises
    ------
    InputError
        If `dt`, a reward's name or `render_mode` is not a possible one.

    Notes
    -----
    Trial i of an environment seeded with s, by ``reset(seed=s)`` or ``seed(s)``, is trial i of
    ``task.trials(..., seed=s)`` whatever the actions were. ``reset`` without a seed goes on with the next trial; an
    environment never seeded takes its seed from the operating system. ``reset`` returns the first frame of a trial and
    takes no step, unlike `TrialEnv.reset`.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - an instance has its own, with the render_fps of its dt
        "paper_name": None,
        "paper_link": None,
        "tags": ["perceptual", "supervised"],
        "render_modes": ["rgb_array"],
        "render_fps": 50,
    }
    _sequence: int  # the seed that names the sequence of trials
    _next: int  # number of the next trial in it

    def __init__(
        self,
        task: VisualTask,
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
        self.timing = {name: _for_neurogym(duration, name in task.optional) for name, duration in task.timing.items()}
        pixels = task.display.pixels
        self.observation_space = spaces.Box(0, 255, shape=(pixels, pixels, 3), dtype=np.uint8)
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
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
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
        observation : uint8 (height, width, 3)
            The first frame.
        info : dict
            ``trial``: conditions and right action of the trial.
        """
        # TrialEnv.reset is passed over: it ignores the seed, seeds the action space with 0 and takes a random action.
        super(TrialEnv, self).reset(seed=seed)
        if seed is not None:
            self._begin_sequence(seed)
        options = options or {}
        self.num_tr = 0
        self._top.new_trial(**options.get("conditions", {}))
        step = options.get("step_fn") or (self._top.step if self._top is not self else None)
        observation = self.ob[0] if step is None else step(FIXATE)[0]
        return observation, {"trial": self.trial}

    def _new_trial(self, **conditions: Condition) -> dict[str, Any]:
        """The next trial of the sequence, with the `conditions` that the caller sets."""
        # Refuses what is no condition of the task before it could be taken for another argument of `trials`.
        self.task.complete(conditions, self.task.conditions(self._next, seed=self._sequence))
        trial = self.task.trials(1, seed=self._sequence, start=self._next, **conditions)[0]
        self._next += 1
        self._lay_out(trial)
        return {**trial.conditions, "ground_truth": trial.answer}

    def _lay_out(self, trial: Trial) -> None:
        steps = self._step_at(trial.movie.duration_ms)
        self.visual_trial = trial
        self.t, self.t_ind, self.performance = 0, 0, 0
        self.tmax = self._tmax = steps * self.dt
        self.start_ind = {name: self._step_at(start) for name, (start, _) in trial.periods.items()}
        self.end_ind = {name: self._step_at(end) for name, (_, end) in trial.periods.items()}
        self.start_t = {name: step * self.dt for name, step in self.start_ind.items()}
        self.end_t = {name: step * self.dt for name, step in self.end_ind.items()}
        self._answer_step = self._step_at(trial.answer_from)
        self.ob = Frames(trial.movie, self.dt, steps)
        self.gt = np.full(steps, FIXATE, np.int64)
        for start, end, action in trial.segments:
            self.gt[self._step_at(start) : self._step_at(end)] = action
        self._ob_built = self._gt_built = True  # or TrialEnv would allocate every frame

    def _step_at(self, time_ms: float) -> int:
        return steps_before(time_ms, self.dt)

    def step(self, action: int) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Act for one time step.

        Returns
        -------
        observation : uint8 (height, width, 3)
            The frame at the next step.
        reward : float
            What the action earned.
        terminated, truncated : bool
            False: trials follow one another.
        info : dict
            ``gt``, the right action at this step; ``conditions`` of this step's trial; ``new_trial``, whether the
            action, or time, ended it; and if so its ``performance`` (1 for the right choice) and the next ``trial``.

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
        result: tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]] = super().step(action)
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
            # held to the end of a trial that asks for nothing else: right, and no miss
            self.performance, reward, over = 1, self.rewards["correct"], True
        info = {"new_trial": over, "gt": self.gt_now, "conditions": self.visual_trial.conditions}
        # TrialEnv now adds dt to its clock twice to see whether the trial is over: half a step early, rounding cannot
        # end it too soon. `step` sets the clock right.
        self.t = (self.t_ind - 0.5) * self.dt
        return self.ob_now, reward, False, False, info

    def render(self, mode: str | None = None) -> NDArray[np.uint8] | None:
        """The frame on the screen, uint8 (height, width, 3), each pixel enlarged to a square.

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
        frame: NDArray[np.uint8] = self.ob[self.t_ind]
        scale = math.ceil(_RENDERED / len(frame))
        return frame.repeat(scale, axis=0).repeat(scale, axis=1)

    def _check_mode(self, argument: str, mode: str) -> None:
        known = type(self).metadata["render_modes"]
        if mode not in known:
            raise InputError(f"{argument}={mode!r}: choose {' or '.join(map(repr, known))}, or None")


def _for_neurogym(duration: Duration, optional: bool) -> Any:
    """A duration as neurogym's environments state it."""
    if isinstance(duration, tuple):
        return ("uniform", duration)
    return ("choice", (0.0, duration)) if optional else duration


class NamedEnvironment(VisualEnvironment):
    """An environment of one task, whose parameters are the environment's.

    Parameters
    ----------
    dt, rewards, abort, render_mode : see `VisualEnvironment`.
    **task_parameters : see the task.

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


class RandomDots(NamedEnvironment):
    """Random-dot motion discrimination (Roitman & Shadlen 2002), from the pixels.

    **Description.** A cloud of random dots moves; say in which direction. `cordstasks.tasks.RandomDotsTask` has the
    details.

    **Observations.** uint8 (height, width, 3): the screen at time ``step * dt``.

    **Actions.** 0 fixate, then one for each direction: 1 is 0 deg (rightward), 2 is 180 deg.

    **Rewards.** -0.1 a step for not fixating too early (with ``abort=True`` that also ends the trial), 1 for the right
    choice and 0 for a wrong one, either of which ends the trial, and 0 for none.

    **Trial timing.** 300 ms of fixation, 500 ms of motion, no delay, and 100 ms of choice, with the fixation
    spot off. With ``reaction_time=True`` the choice may be made from motion onset on.

    **Conditions.** ``new_trial(coherence=0.128, direction=180)``, or the same in
    ``reset(options={"conditions": {...}})``; what is left open is balanced in blocks.

    **References.** Roitman & Shadlen 2002, J. Neurosci. 22: 9475-9489.

    Parameters
    ----------
    dt, rewards, abort, render_mode : see `VisualEnvironment`.
    **task_parameters : see `cordstasks.tasks.RandomDotsTask`.

    Raises
    ------
    InputError
        If a parameter is unknown or out of range.
    """

    task_id: ClassVar[str] = "rdm"
    metadata: dict[str, Any] = {  # noqa: RUF012 - as above
        **VisualEnvironment.metadata,
        "paper_name": "Response of neurons in the lateral intraparietal area during a combined visual discrimination "
        "reaction time task",
        "paper_link": "https://doi.org/10.1523/JNEUROSCI.22-21-09475.2002",
        "tags": ["perceptual", "motion", "n-alternative", "supervised"],
    }
