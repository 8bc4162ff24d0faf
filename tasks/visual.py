"""What every visual task shares: periods, conditions, trials and batches of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError, unknown
from cordstasks.stimuli import Display, Movie

Duration = float | tuple[float, float]  # ms: fixed, or the two ends of a uniform distribution
FIXATE = 0  # the action, and the target, of every task before it is time to answer


@dataclass(frozen=True)
class Trial:
    """One trial of a visual task.

    Attributes
    ----------
    movie : what the screen shows, from the start of the first period to the end of the last.
    periods : {name: (start, end)} in ms, in order.
    answer : the action that is right, an index into the task's `actions`.
    answer_window : (start, end) in ms: when the answer is due (a loss asks for it there).
    answer_from : time in ms from which an answer ends the trial; earlier, anything but fixating breaks it off.
    conditions : what was shown, one scalar a name.
    """

    movie: Movie
    periods: dict[str, tuple[float, float]]
    answer: int
    answer_window: tuple[float, float]
    answer_from: float
    conditions: dict[str, float]


@dataclass(frozen=True)
class TrialBatch:
    """Trials to train or to test on.

    Attributes
    ----------
    movies : one a trial.
    dt : duration of a time step in ms.
    targets : int64 (trial, time): the right action at each step.
    mask : float32 (trial, time): weight of each step in a loss; zero beyond a trial's end.
    conditions : {name: (trial,)}, one row a trial.
    periods : {name: float (trial, 2)}, start and end in ms.
    """

    movies: tuple[Movie, ...]
    dt: float
    targets: NDArray[np.int64]
    mask: NDArray[np.float32]
    conditions: dict[str, NDArray[Any]]
    periods: dict[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.movies)

    @property
    def answers(self) -> NDArray[np.int64]:
        """The right answer of each trial (trial,)."""
        right: NDArray[np.int64] = self.targets.max(1)
        return right

    @property
    def answering(self) -> NDArray[np.bool_]:
        """Steps at which the answer is due (trial, time)."""
        due: NDArray[np.bool_] = (self.targets != FIXATE) & (self.mask > 0)
        return due


class VisualTask(ABC):
    """A task whose trials are movies. A subclass states its actions and conditions and builds one trial at a time.

    Class attributes
    ----------------
    id : the name users type.
    stimulus : the period whose onset brings the first evidence for the answer.
    stationary : whether the evidence is a stationary stream, so that parts of trials may be joined in training.
    fixation_weight : weight in the loss of the steps at which the network should fixate, relative to those at which it
        should answer.
    """

    id: ClassVar[str]
    fixation_weight: ClassVar[float] = 0.1
    stimulus: ClassVar[str]
    stationary: ClassVar[bool] = False
    display: Display

    @property
    @abstractmethod
    def actions(self) -> tuple[str, ...]:
        """Names of the actions; the first is to fixate."""

    @property
    @abstractmethod
    def timing(self) -> dict[str, Duration]:
        """{period: duration}, in order; a trial leaves out a period of 0 ms."""

    @abstractmethod
    def design(self) -> list[dict[str, float]]:
        """Every combination of conditions that a balanced block of trials holds once."""

    @abstractmethod
    def trial(self, conditions: Mapping[str, float], rng: np.random.Generator) -> Trial:
        """A trial of the given conditions; what they leave open (places, jitter) is drawn from `rng`."""

    def for_training(self) -> VisualTask:
        """The task as it is trained on, where that differs from the task as it is tested."""
        return self

    def conditions(self, index: int, *, seed: int) -> dict[str, float]:
        """Conditions of trial `index`: balanced blocks, each in an order of its own."""
        design = self.design()
        block, place = divmod(index, len(design))
        order = np.random.default_rng([seed, _ORDER, block]).permutation(len(design))
        return design[int(order[place])]

    def complete(self, given: Mapping[str, float], drawn: Mapping[str, float]) -> dict[str, float]:
        """`drawn` conditions with those that a caller has `given` in their place."""
        strange = sorted(set(given) - set(drawn))
        if strange:
            raise unknown(f"condition of task {self.id}", strange[0], sorted(drawn))
        for name, value in given.items():
            if not isinstance(value, Real):
                raise InputError(f"{name}={value!r}: give a number")
        return {**drawn, **{name: float(value) for name, value in given.items()}}

    def trials(self, count: int, *, seed: int, start: int = 0, **fixed: float) -> list[Trial]:
        """Trials number `start` to `start + count` of the sequence that `seed` names.

        Trial i depends on the seed and on i alone, not on how many trials are drawn.
        """
        return [
            self.trial(self.complete(fixed, self.conditions(index, seed=seed)), np.random.default_rng([seed, _TRIAL, index]))
            for index in range(start, start + count)
        ]

    def sample(self, trials: int, *, seed: int, dt: float = 20.0, **fixed: float) -> TrialBatch:
        """Draw `trials` trials at time steps of `dt` ms; conditions named in `fixed` hold for all of them."""
        if trials < 1:
            raise InputError(f"trials={trials!r}: draw at least 1")
        check_step(dt, self)
        return collate(self.trials(trials, seed=seed, start=0, **fixed), dt, fixation_weight=self.fixation_weight)


_ORDER, _TRIAL = 1, 2  # streams of a seed


def collate(trials: Sequence[Trial], dt: float, *, fixation_weight: float = 0.1) -> TrialBatch:
    """Put trials on a common grid of steps of `dt` ms; shorter trials are padded with steps of weight zero."""
    lengths = [steps_before(trial.movie.duration_ms, dt) for trial in trials]
    targets = np.full((len(trials), max(lengths)), FIXATE, np.int64)
    mask = np.zeros(targets.shape, np.float32)
    for row, (trial, length) in enumerate(zip(trials, lengths, strict=True)):
        first, last = (steps_before(time, dt) for time in trial.answer_window)
        mask[row, :length] = fixation_weight
        targets[row, first:last] = trial.answer
        mask[row, first:last] = 1
    return TrialBatch(
        movies=tuple(trial.movie for trial in trials),
        dt=dt,
        targets=targets,
        mask=mask,
        conditions={name: np.array([trial.conditions[name] for trial in trials]) for name in trials[0].conditions},
        periods={name: np.array([trial.periods[name] for trial in trials]) for name in trials[0].periods},
    )


def steps_before(time_ms: float, dt: float) -> int:
    """How many whole steps of `dt` ms end by `time_ms`."""
    return int(np.floor(time_ms / dt + 1e-9))


def timeline(durations: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """{period: (start, end)} in ms for periods that follow each other."""
    ends = np.cumsum(list(durations.values()))
    starts = [0.0, *ends[:-1]]
    return {name: (float(start), float(end)) for name, start, end in zip(durations, starts, ends, strict=True)}


def draw_duration(name: str, duration: Duration, rng: np.random.Generator) -> float:
    """A duration in ms: the fixed value, or a uniform draw between two."""
    if isinstance(duration, tuple):
        return float(rng.uniform(*duration))
    return float(duration)


def check_duration(name: str, duration: Duration, *, positive: bool = True) -> None:
    """Raise an InputError unless `duration` (ms) is a possible one."""
    ends = duration if isinstance(duration, tuple) else (duration, duration)
    if len(ends) != 2 or not 0 <= ends[0] <= ends[1] < float("inf") or (positive and ends[0] == 0):
        least = "above 0" if positive else "at least 0"
        raise InputError(f"{name}={duration!r}: give a duration {least} ms, or (shortest, longest)")


def check_step(dt: float, task: VisualTask) -> None:
    """Raise an InputError unless every period of `task` can hold a time step of `dt` ms."""
    if not isinstance(dt, Real) or not dt > 0:
        raise InputError(f"dt={dt!r}: a time step must be above 0 ms")
    for name, duration in task.timing.items():
        shortest = duration[0] if isinstance(duration, tuple) else duration
        if 0 < shortest < dt:  # a period that may last 0 ms may as well have no step
            raise InputError(f"dt={dt:g} ms is longer than {name} can be ({shortest:g} ms); choose a smaller dt")
