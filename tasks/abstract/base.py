"""What the abstract tasks share: a few input channels over time, drawn as whole batches in NumPy.

The tasks themselves are in `cordstasks.tasks.abstract.decisions` and `cordstasks.tasks.abstract.working_memory`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError, unknown
from cordstasks.tasks.visual.base import FIXATE, Duration, check_step, steps_before
from cordstasks.utils.arguments import is_number, plain, seeds_of, whole

Values = NDArray[Any]  # one value a trial, (trial,)


@dataclass(frozen=True)
class AbstractBatch:
    """Trials of an abstract task.

    Attributes
    ----------
    inputs : float32 (trial, time, channel).
    targets : float32 (trial, time, output): what the outputs should be.
    mask : float32 (trial, time): weight of each step in the loss; zero where nothing is asked and beyond a trial's end.
    answering : bool (trial, time): the response period.
    conditions : {name: (trial,)}, one row a trial.
    periods : {name: int (trial, 2)}: first step, and the step after the last, of each period.
    answers : int64 (trial,): the right action, an index into the task's `actions`.
    dt : duration of a time step in ms.
    """

    inputs: NDArray[np.float32]
    targets: NDArray[np.float32]
    mask: NDArray[np.float32]
    answering: NDArray[np.bool_]
    conditions: dict[str, Values]
    periods: dict[str, NDArray[np.int64]]
    answers: NDArray[np.int64]
    dt: float

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Steps of each trial (trial,), those of padding left out."""
        return np.stack([ends[:, 1] for ends in self.periods.values()]).max(0)


class Schedule:
    """Periods of a batch of trials on the grid of steps.

    Parameters
    ----------
    steps : {period: steps}, each one number for all trials or one a trial (trial,).
    trials : number of trials.
    length : steps of the arrays, at least those of the longest trial.
    """

    def __init__(self, steps: Mapping[str, Any], trials: int, length: int) -> None:
        self.trials, self.length = trials, length
        ends = np.cumsum(np.stack([np.broadcast_to(np.asarray(n), trials) for n in (0, *steps.values())]), axis=0)
        self.fixed = all(np.ndim(n) == 0 for n in steps.values())
        self.periods = {name: np.stack(both, axis=1) for name, both in zip(steps, pairwise(ends), strict=True)}

    def between(self, first: str, last: str | None = None) -> slice | NDArray[np.bool_]:
        """Steps from the start of period `first` to the end of `last`: a slice, or bool (trial, time) if trials differ."""
        start, end = self.periods[first][:, 0], self.periods[last or first][:, 1]
        if (start == start[0]).all() and (end == end[0]).all():
            return slice(int(start[0]), int(end[0]))
        time = np.arange(self.length)
        inside: NDArray[np.bool_] = (time >= start[:, None]) & (time < end[:, None])
        return inside

    @staticmethod
    def add(array: NDArray[np.float32], when: slice | NDArray[np.bool_], values: Any) -> None:
        """Add `values` (one, or one a trial) to `array` (trial, time) at the steps of `when`."""
        values = np.asarray(values, array.dtype)
        if isinstance(when, slice):
            array[:, when] += values[:, None] if values.ndim else values
        else:
            array += when * (values[:, None] if values.ndim else values)


@dataclass(frozen=True)
class AbstractTask(ABC):
    """A task whose inputs are a few numbers at each step. A subclass states periods, conditions, inputs and targets.

    Class attributes
    ----------------
    id : the name users type.
    channels, sensory : names of all input channels, and how many of them, the first, carry noise.
    outputs : number of output channels.
    measure : what `score` gives, ``"accuracy"`` or ``"R2"``.
    criterion : the score at which a network counts as having learned the task.

    Parameters
    ----------
    noise : standard deviation, at each step, of the noise on the sensory channels.
    catch : share of trials in which nothing is shown; the outputs should then stay at zero.
    """

    id: ClassVar[str]
    channels: ClassVar[tuple[str, ...]]
    sensory: ClassVar[int]
    outputs: ClassVar[int] = 1
    measure: ClassVar[str] = "accuracy"
    criterion: ClassVar[float] = 0.95
    before_weight: ClassVar[float] = 0.0  # in the loss, of steps before the response

    noise: float = 0.1
    catch: float = 0.0

    @property
    @abstractmethod
    def timing(self) -> dict[str, Duration]:
        """{period: duration in ms}, in order; the last is the response."""

    @property
    def actions(self) -> tuple[str, ...]:
        """What an agent can do: fixate, or one of the answers."""
        return ("fixate", "positive", "negative")

    @abstractmethod
    def draw(self, trials: int, rng: np.random.Generator) -> dict[str, Values]:
        """Conditions of so many trials, independent and uniform; durations apart."""

    @abstractmethod
    def design(self) -> list[dict[str, float]]:
        """Every combination of conditions once, durations apart; the angles of a continuous task at eight places."""

    @abstractmethod
    def show(self, inputs: NDArray[np.float32], conditions: Mapping[str, Values], schedule: Schedule) -> None:
        """Add what is shown to `inputs` (trial, time, channel)."""

    @abstractmethod
    def right(self, conditions: Mapping[str, Values]) -> NDArray[np.float32]:
        """Right outputs in the response period, (trial, output)."""

    @abstractmethod
    def check(self, conditions: Mapping[str, Values]) -> None:
        """Raise an InputError if a condition that a caller set is impossible."""

    def answers(self, conditions: Mapping[str, Values]) -> NDArray[np.int64]:
        """The right action of each trial (trial,)."""
        right = self.right(conditions)[:, 0]
        return np.select([right > 0, right < 0], [1, 2], FIXATE)

    def lessons(self) -> tuple[AbstractTask, ...]:
        """The tasks to train on in order, the last being this one; a network goes on when it has learned one."""
        return (self,)

    def steps(self, dt: float) -> int:
        """Time steps of `dt` ms in the longest trial."""
        return sum(steps_before(_ends(duration)[1], dt) for duration in self.timing.values())

    def sample(
        self, trials: int, *, seed: int | Sequence[int] | np.random.SeedSequence, dt: float = 20.0, **fixed: Any
    ) -> AbstractBatch:
        """Draw `trials` trials at time steps of `dt` ms.

        Parameters
        ----------
        trials : how many.
        seed : what the trials follow from; a sequence of numbers will do.
        dt : duration of a time step in ms. The steps of a period are those that fit into it.
        **fixed : conditions, one value for all trials or one a trial, such as ``coherence=4`` or ``delay=500``.

        Raises
        ------
        InputError : no trials, a period shorter than a step, or an unknown or impossible condition.
        """
        trials, dt = whole("trials", trials, asked="draw at least 1"), check_step(dt, self)
        named = seed if isinstance(seed, np.random.SeedSequence) else seeds_of(seed)
        rng = np.random.Generator(np.random.SFC64(named))
        conditions, steps = self._conditions(trials, rng, dt, fixed)
        length = max(self.steps(dt), *_longest(steps))
        schedule = Schedule(steps, trials, length)
        inputs = self._noise(trials, length, rng)
        caught = np.flatnonzero(conditions["catch"]) if self.catch or "catch" in fixed else None
        quiet = inputs[caught].copy() if caught is not None else None
        self.show(inputs, conditions, schedule)
        right = self.right(conditions)
        answers = self.answers(conditions)
        if caught is not None and quiet is not None:
            inputs[caught], right[caught], answers[caught] = quiet, 0, FIXATE
        first, last = next(iter(self.timing)), list(self.timing)[-1]
        response = schedule.between(last)
        targets = np.zeros((trials, length, self.outputs), np.float32)
        for output in range(self.outputs):
            schedule.add(targets[..., output], response, right[:, output])
        mask = np.zeros((trials, length), np.float32)
        if self.before_weight:
            schedule.add(mask, schedule.between(first, list(self.timing)[-2]), self.before_weight)
        schedule.add(mask, response, 1)
        answering: NDArray[np.bool_] = np.zeros((trials, length), bool)
        if isinstance(response, slice):
            answering[:, response] = True
        else:
            answering |= response
        return AbstractBatch(inputs, targets, mask, answering, conditions, schedule.periods, answers.astype(np.int64), dt)

    def _conditions(
        self, trials: int, rng: np.random.Generator, dt: float, fixed: Mapping[str, Any]
    ) -> tuple[dict[str, Values], dict[str, Any]]:
        """Conditions of each trial, and the steps of each period."""
        conditions = self.draw(trials, rng)
        conditions["catch"] = rng.random(trials) < self.catch if self.catch else np.zeros(trials, bool)
        steps: dict[str, Any] = {}
        for name, duration in self.timing.items():
            low, high = (steps_before(end, dt) for end in _ends(duration))
            steps[name] = low
            if isinstance(duration, tuple):
                steps[name] = rng.integers(low, high, trials, endpoint=True)
                conditions[name] = steps[name] * dt
        given: dict[str, Values] = {}
        for name, value in fixed.items():
            if name not in conditions:
                raise unknown(f"condition of task {self.id}", name, sorted(conditions))
            try:
                given[name] = np.broadcast_to(np.asarray(plain(value), float), trials)
            except (TypeError, ValueError):
                raise InputError(f"{name}={value!r}: give a number, or one for each of {trials} trials") from None
            if not np.isfinite(given[name]).all():
                raise InputError(f"{name}={value!r}: give a finite number")
            if name in self.timing:
                if (given[name] < dt).any():
                    raise InputError(f"{name}={value!r}: give a duration of at least dt={dt:g} ms")
                steps[name] = np.floor(given[name] / dt + 1e-9).astype(np.int64)
        one_of(given, "catch", (0, 1))
        self.check(given)
        conditions |= {name: values.astype(conditions[name].dtype) for name, values in given.items()}
        return conditions, steps

    def _noise(self, trials: int, length: int, rng: np.random.Generator) -> NDArray[np.float32]:
        if not self.noise:
            return np.zeros((trials, length, len(self.channels)), np.float32)
        drawn = rng.standard_normal((trials, length, self.sensory), dtype=np.float32)
        drawn *= np.float32(self.noise)
        if self.sensory == len(self.channels):
            return drawn
        inputs = np.zeros((trials, length, len(self.channels)), np.float32)
        inputs[..., : self.sensory] = drawn
        return inputs

    def score(self, outputs: NDArray[Any], batch: AbstractBatch) -> float:
        """How well `outputs` (trial, time, output) answer the trials of `batch`; see `measure`.

        Outputs are averaged over the response period. Accuracy is the share of trials in which they have the sign of
        the target; R2 is one minus the squared error over the squared deviation of the targets from their mean. Catch
        trials are left out. Not-a-number outputs count as wrong.
        """
        given, right = self.responses(outputs, batch)
        if not self.can_score(batch):
            raise InputError("score: all trials have the same target, so that R2 is not defined; give different trials")
        if self.measure == "accuracy":
            return float((np.sign(given[:, 0]) == np.sign(right[:, 0])).mean())
        residue = ((given - right) ** 2).sum()
        spread = ((right - right.mean(0)) ** 2).sum()
        return float(1 - residue / spread) if np.isfinite(residue) else float("-inf")

    def can_score(self, batch: AbstractBatch) -> bool:
        """Whether `score` is defined for a batch: some trial is no catch trial, and for R2 targets differ."""
        kept = ~batch.conditions["catch"].astype(bool)
        right = batch.targets[kept][batch.answering[kept]] if self.measure == "R2" else None
        return bool(kept.any() and (right is None or np.ptp(right, axis=0).any()))

    def responses(self, outputs: NDArray[Any], batch: AbstractBatch) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Outputs averaged over the response period, and the right ones: (trial, output) each, without catch trials."""
        if outputs.shape != batch.targets.shape:
            raise InputError(f"outputs of shape {outputs.shape}: the batch has targets of shape {batch.targets.shape}")
        kept = np.flatnonzero(~batch.conditions["catch"].astype(bool))
        if not len(kept):
            raise InputError("score: every trial is a catch trial; give some in which something is shown")
        weight = batch.answering[kept, :, None] / batch.answering[kept].sum(1)[:, None, None]
        given = np.where(weight > 0, outputs[kept], 0.0) * weight
        return given.sum(1), (batch.targets[kept].astype(float) * weight).sum(1)

    def _check_numbers(self, **least: float) -> None:
        """Raise an InputError unless each named field is a finite number, not below its least value."""
        for name, low in {"noise": 0.0, "catch": 0.0, **least}.items():
            value: Any = getattr(self, name)
            if not is_number(value) or value < low:
                raise InputError(f"{name}={value!r}: give a finite number of at least {low:g}")
        if self.catch >= 1:
            raise InputError(f"catch={self.catch!r}: give a share of trials below 1")

    def _check_levels(self, name: str, *, least: float = 0.0) -> None:
        """Raise an InputError unless the named field is a list of numbers above `least`."""
        values = getattr(self, name)
        numbers = isinstance(values, tuple) and all(map(is_number, values))
        if not numbers or not values or not all(least < value for value in values):
            raise InputError(f"{name}={values!r}: give a tuple of finite numbers above {least:g}")
        if len(set(values)) < len(values):
            raise InputError(f"{name}={values!r}: give different numbers; one that comes twice is drawn twice as often")

    def with_delays(self, *ends: tuple[float, float]) -> tuple[AbstractTask, ...]:
        """The task with its random `delay` within each of `ends` (ms), then itself."""
        own = getattr(self, "delay")  # noqa: B009 - not every task has one
        if not isinstance(own, tuple):
            return (self,)
        easier = [(low, high) for low, high in ends if high < own[1]]
        return (*(replace(self, delay=(min(low, own[0]), high)) for low, high in easier), self)  # type: ignore[call-arg]


def _ends(duration: Duration) -> tuple[float, float]:
    return duration if isinstance(duration, tuple) else (duration, duration)


def _longest(steps: Mapping[str, Any]) -> tuple[int]:
    total: Any = sum(np.asarray(n) for n in steps.values())
    return (int(np.max(total)),)


def one_of(conditions: Mapping[str, Values], name: str, known: Sequence[float]) -> None:
    """Raise an InputError if condition `name` is given and has values other than the `known`."""
    if name in conditions and not np.isin(conditions[name], known).all():
        wrong = conditions[name][~np.isin(conditions[name], known)][0]
        raise InputError(f"{name}={wrong:g}: choose one of {', '.join(f'{value:g}' for value in known)}")
