"""What every visual task shares: periods, conditions, trials and batches of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError, unknown
from cordstasks.stimuli import Display, Movie
from cordstasks.utils.arguments import is_number, number, plain, seed_of, whole

Duration = float | tuple[float, float]  # ms: fixed, or the two ends of a uniform distribution
Condition = float | str  # a number, or the name of a kind of stimulus
FIXATE = 0  # the action, and the target, of every task before it is time to answer


@dataclass(frozen=True)
class Trial:
    """One trial of a visual task.

    Attributes
    ----------
    movie : what the screen shows, from the start of the first period to the end of the last.
    periods : {name: (start, end)} in ms, in order.
    answer : the action that is right at the decision, an index into the task's `actions`; it may be to go on fixating.
    answer_window : (start, end) in ms of the decision: when the answer is due (a loss asks for it there).
    answer_from : time in ms from which an action other than fixating ends the trial, and is right where it is the target;
        earlier, it breaks fixation unless it is the target.
    conditions : what was shown, one scalar a name.
    targets : (start, end, action) in ms, in order: what is right when. Fixating is, in between. None: the answer, in its
        window.
    auxiliary : (name, start, end, class) in ms: what there is to know when, for a network to be taught beside its actions.
    """

    movie: Movie
    periods: dict[str, tuple[float, float]]
    answer: int
    answer_window: tuple[float, float]
    answer_from: float
    conditions: dict[str, Condition]
    targets: tuple[tuple[float, float, int], ...] | None = None
    auxiliary: tuple[tuple[str, float, float, int], ...] = ()

    @property
    def segments(self) -> tuple[tuple[float, float, int], ...]:
        """(start, end, action) in ms: what is right when; fixating is, in between."""
        return ((*self.answer_window, self.answer),) if self.targets is None else self.targets


@dataclass(frozen=True)
class Decisions:
    """When each trial's choice is read, among which actions, and which is right.

    Attributes
    ----------
    answers : int64 (trial,), the right action.
    answering : bool (trial, time), the steps of the decision.
    options : the actions that compete.
    """

    answers: NDArray[np.int64]
    answering: NDArray[np.bool_]
    options: tuple[int, ...]


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
    periods : {name: float (trial, 2)}, start and end in ms; NaN in trials that lack the period.
    decisions : None where the choice is between all actions but fixating, at the steps at which one of them is the target.
    auxiliary : {name: int64 (trial, time)}, the class to be told at each step; -1 where there is none to tell.
    """

    movies: tuple[Movie, ...]
    dt: float
    targets: NDArray[np.int64]
    mask: NDArray[np.float32]
    conditions: dict[str, NDArray[Any]]
    periods: dict[str, NDArray[np.float64]]
    decisions: Decisions | None = None
    auxiliary: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.movies)

    @property
    def answers(self) -> NDArray[np.int64]:
        """The right action of each trial at its decision (trial,)."""
        if self.decisions is not None:
            return self.decisions.answers
        right: NDArray[np.int64] = self.targets.max(1)
        return right

    @property
    def answering(self) -> NDArray[np.bool_]:
        """Steps of the decision (trial, time)."""
        if self.decisions is not None:
            return self.decisions.answering
        due: NDArray[np.bool_] = (self.targets != FIXATE) & (self.mask > 0)
        return due

    @property
    def options(self) -> tuple[int, ...]:
        """The actions that compete at the decision, in ascending order."""
        if self.decisions is not None:
            return self.decisions.options
        return tuple(range(1, int(self.targets.max()) + 1))

    def select(self, rows: NDArray[Any]) -> TrialBatch:
        """Some of the trials, without the steps that only pad them to the length of others.

        Parameters
        ----------
        rows : (trial,), indices or booleans.

        Raises
        ------
        InputError
            If `rows` selects no trial.
        """
        kept = np.arange(len(self))[rows]
        if not len(kept):
            raise InputError(f"rows={rows!r}: selects none of {len(self)} trials; select at least one")
        movies = tuple(self.movies[row] for row in kept)
        steps = max(steps_before(movie.duration_ms, self.dt) for movie in movies)
        return TrialBatch(
            movies=movies,
            dt=self.dt,
            targets=self.targets[kept, :steps],
            mask=self.mask[kept, :steps],
            conditions={name: values[kept] for name, values in self.conditions.items()},
            periods={name: values[kept] for name, values in self.periods.items()},
            decisions=Decisions(self.answers[kept], self.answering[kept, :steps], self.options),
            auxiliary={name: values[kept, :steps] for name, values in self.auxiliary.items()},
        )


class VisualTask(ABC):
    """A task whose trials are movies. A subclass states its actions and conditions and builds one trial at a time.

    Class attributes
    ----------------
    id : the name users type.
    stimulus : the period whose onset brings the first evidence for the answer.
    stationary : whether the evidence is a stationary stream, so that parts of trials may be joined in training.
    compared : for tasks that compare a test with a sample, the period of the test: in training, the test of one trial may
        follow the sample of another. Such trials have the auxiliary targets ``"sample"`` and ``"shown"``, and match where
        these are the same when the test comes.
    fixation_weight : weight in the loss of the steps at which the network should fixate, relative to those at which it
        should answer.
    optional : periods that only some trials have.
    also : conditions, and their types, that may be set although a trial draws them for itself, beyond the design.
    run_defaults : how large ``python -m cordstasks.train`` makes a run of this task, unless told otherwise, and which areas
        of the front-end it reads; what a task leaves out is as here. ``"areas"`` are one or more, numbered from 0 (None: the
        last; a front-end that has no such area is read at its last), ``"side"`` is the side to which their maps are averaged
        (None: not at all).
    quick_defaults : what ``--quick`` changes of these; ``"parameters"`` are the task's.
    """

    id: ClassVar[str]
    fixation_weight: ClassVar[float] = 0.1
    stimulus: ClassVar[str]
    stationary: ClassVar[bool] = False
    compared: ClassVar[str | None] = None
    optional: ClassVar[tuple[str, ...]] = ()
    also: ClassVar[Mapping[str, type]] = {}
    run_defaults: ClassVar[Mapping[str, Any]] = {
        "trials": 4000,
        "heldout": 420,
        "validation": 100,
        "steps": 1000,
        "batch": 64,
        "learning_rate": 1e-3,
        "areas": None,
        "side": None,
    }
    quick_defaults: ClassVar[Mapping[str, Any]] = {"trials": 192, "heldout": 96, "validation": 32, "steps": 300}
    display: Display

    @property
    @abstractmethod
    def actions(self) -> tuple[str, ...]:
        """Names of the actions; the first is to fixate."""

    @property
    def options(self) -> tuple[int, ...]:
        """The actions that compete at the decision: all but fixating, unless a task says otherwise."""
        return tuple(range(1, len(self.actions)))

    @property
    def likeness(self) -> dict[str, NDArray[np.float64]]:
        """Of auxiliary targets whose classes are more and less alike: (class, class) chances to be told."""
        return {}

    @property
    @abstractmethod
    def timing(self) -> dict[str, Duration]:
        """{period: duration}, in order; a trial leaves out a period of 0 ms."""

    @abstractmethod
    def design(self) -> list[dict[str, Condition]]:
        """Every combination of conditions that a balanced block of trials holds once."""

    @abstractmethod
    def trial(self, conditions: Mapping[str, Condition], rng: np.random.Generator) -> Trial:
        """A trial of the given conditions; what they leave open (places, jitter) is drawn from `rng`."""

    def for_training(self) -> VisualTask:
        """The task as it is trained on, where that differs from the task as it is tested."""
        return self

    def for_testing(self) -> VisualTask:
        """The task as it is tested after training, where it must leave out what was trained on."""
        return self

    def pooled(self, seed: int) -> VisualTask:
        """The task with the pool of pictures that `seed` names, where trials share pictures."""
        return self

    def conditions(self, index: int, *, seed: int) -> dict[str, Condition]:
        """Conditions of trial `index`: balanced blocks, each in an order of its own."""
        design = self.design()
        if not design:
            raise InputError(f"task {self.id}: design() is empty: its parameters leave no conditions; change them")
        block, place = divmod(index, len(design))
        order = np.random.default_rng([seed, _ORDER, block]).permutation(len(design))
        return design[int(order[place])]

    def complete(self, given: Mapping[str, Condition], drawn: Mapping[str, Condition]) -> dict[str, Condition]:
        """`drawn` conditions with those that a caller has `given` in their place, or beside them."""
        kinds = {name: str if isinstance(value, str) else float for name, value in drawn.items()} | dict(self.also)
        strange = sorted(set(given) - set(kinds))
        if strange:
            raise unknown(f"condition of task {self.id}", strange[0], sorted(kinds))
        given = {name: plain(value) for name, value in given.items()}
        for name, value in given.items():
            if kinds[name] is str and not isinstance(value, str):
                raise InputError(f"{name}={value!r}: give a name")
            if kinds[name] is float and not (is_number(value) or isinstance(value, bool)):
                raise InputError(f"{name}={value!r}: give a number")
        return {**drawn, **{name: value if isinstance(value, str) else float(value) for name, value in given.items()}}

    def trials(self, count: int, *, seed: int, start: int = 0, **fixed: Condition) -> list[Trial]:
        """Trials number `start` to `start + count` of the sequence that `seed` names.

        Trial i depends on the seed and on i alone, not on how many trials are drawn.
        """
        seed, start = seed_of(seed), whole("start", start, least=0)
        count = whole("trials", count, least=0)
        task = self.pooled(seed)
        return [
            task.trial(task.complete(fixed, task.conditions(index, seed=seed)), np.random.default_rng([seed, _TRIAL, index]))
            for index in range(start, start + count)
        ]

    def sample(self, trials: int, *, seed: int, dt: float = 20.0, **fixed: Condition) -> TrialBatch:
        """Draw `trials` trials at time steps of `dt` ms; conditions named in `fixed` hold for all of them."""
        trials, dt = whole("trials", trials, asked="draw at least 1"), check_step(dt, self)
        drawn = self.trials(trials, seed=seed, start=0, **fixed)
        return collate(drawn, dt, options=self.options, fixation_weight=self.fixation_weight)


_ORDER, _TRIAL = 1, 2  # streams of a seed


def collate(trials: Sequence[Trial], dt: float, *, options: tuple[int, ...], fixation_weight: float = 0.1) -> TrialBatch:
    """Put trials on a common grid of steps of `dt` ms; shorter trials are padded with steps of weight zero.

    A step weighs 1 where its target is not to fixate and during the decision, whose `options` are the task's.

    Raises
    ------
    InputError
        If a trial's answer is none of the options, or no step of its answer window is within its movie.
    """
    lengths = [steps_before(trial.movie.duration_ms, dt) for trial in trials]
    targets = np.full((len(trials), max(lengths)), FIXATE, np.int64)
    mask = np.zeros(targets.shape, np.float32)
    answering = np.zeros(targets.shape, np.bool_)
    names = dict.fromkeys(name for trial in trials for name, *_ in trial.auxiliary)
    auxiliary: dict[str, NDArray[np.int64]] = {name: np.full(targets.shape, -1, np.int64) for name in names}
    for row, (trial, length) in enumerate(zip(trials, lengths, strict=True)):
        mask[row, :length] = fixation_weight
        for start, end, action in trial.segments:
            first, last = steps_before(start, dt), steps_before(end, dt)
            targets[row, first:last] = action
            mask[row, first:last] = 1
        first, last = (steps_before(time, dt) for time in trial.answer_window)
        if not 0 <= first < last <= length:
            raise InputError(
                f"answer_window={trial.answer_window!r} of trial {row}: needs a step of dt={dt:g} ms, and to be within the "
                f"movie of {trial.movie.duration_ms:g} ms; change the window, or choose a smaller dt"
            )
        if not isinstance(trial.answer, Integral) or trial.answer not in options:
            raise InputError(f"answer={trial.answer!r} of trial {row}: give one of the task's options {options}")
        answering[row, first:last] = True
        mask[row, first:last] = 1
        for name, start, end, kind in trial.auxiliary:
            auxiliary[name][row, steps_before(start, dt) : steps_before(end, dt)] = kind
    periods = {name: None for trial in trials for name in trial.periods}
    absent = (np.nan, np.nan)
    return TrialBatch(
        movies=tuple(trial.movie for trial in trials),
        dt=dt,
        targets=targets,
        mask=mask,
        conditions={name: np.array([trial.conditions[name] for trial in trials]) for name in trials[0].conditions},
        periods={name: np.array([trial.periods.get(name, absent) for trial in trials]) for name in periods},
        decisions=Decisions(np.array([trial.answer for trial in trials]), answering, options),
        auxiliary=auxiliary,
    )


def steps_before(time_ms: float, dt: float) -> int:
    """How many whole steps of `dt` ms end by `time_ms`."""
    return int(np.floor(time_ms / dt + 1e-9))


def timeline(durations: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """{period: (start, end)} in ms for periods that follow each other.

    Raises
    ------
    InputError
        If a duration is a range, from which one is to be drawn before.
    """
    for name, duration in durations.items():
        if not isinstance(duration, Real):
            raise InputError(f"{name}={duration!r}: is not one duration in ms; draw it first, with draw_duration")
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
    possible = len(ends) == 2 and all(map(is_number, ends)) and 0 <= ends[0] <= ends[1]
    if not possible or (positive and ends[0] == 0):
        least = "above 0" if positive else "at least 0"
        raise InputError(f"{name}={duration!r}: give a duration {least} ms, or (shortest, longest)")


class Timed(Protocol):
    """Whatever has periods."""

    @property
    def timing(self) -> Mapping[str, Duration]:
        """{period: duration in ms}."""


def check_step(dt: float, task: Timed) -> float:
    """Return `dt` as a float, or raise an InputError unless every period of `task` can hold a time step of `dt` ms."""
    dt = number("dt", dt, "a time step must be above 0 ms", above=0)
    for name, duration in task.timing.items():
        shortest = duration[0] if isinstance(duration, tuple) else duration
        if 0 < shortest < dt:  # a period that may last 0 ms may as well have no step
            raise InputError(f"dt={dt:g} ms is longer than {name} can be ({shortest:g} ms); choose a smaller dt")
    return dt
