"""What the abstract tasks share: a few input channels over time, drawn as whole batches in NumPy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError, unknown
from cordstasks.tasks.batch import FIXATE, Batch
from cordstasks.tasks.timing import Duration, check_durations, check_step, ends_of, steps_before
from cordstasks.utils.arguments import is_number, plain, plain_fields, seeds_of, whole

Values = NDArray[Any]
"""Values of a condition, one per trial (trial,)."""


@dataclass(frozen=True, kw_only=True)
class AbstractBatch(Batch):
    """Trials of an abstract task.

    Attributes
    ----------
    inputs : float32 (trial, time, channel)
        What is shown, noise included.
    targets : float32 (trial, time, output)
        What the outputs should be.
    mask : float32 (trial, time)
        Weight of each step in the loss; zero where no output is required and beyond a trial's end.
    response_mask : bool (trial, time)
        The response period.
    dt, answers, conditions, periods :
        See `cordstasks.tasks.Batch`.
    """

    _in_time: ClassVar[tuple[str, ...]] = ("inputs", *Batch._in_time)

    inputs: NDArray[np.float32]


class Schedule:
    """When the periods of a batch of trials are, in ms and on the grid of time steps.

    Parameters
    ----------
    durations : mapping of str to float or (trial,)
        Of each period in ms, in order, for all trials or for each. A period has as many time steps as fit into it.
    trials : int
        Number of trials.
    dt : float
        Duration of a time step in ms.
    least : int
        Time steps that the arrays have at least.

    Attributes
    ----------
    periods : dict of str to float64 (trial, 2)
        Start and end of each period in ms, as its time steps have them.
    length : int
        Time steps of the arrays, at least those of the longest trial.
    """

    def __init__(self, durations: Mapping[str, Any], *, trials: int, dt: float, least: int = 0) -> None:
        counts = [np.broadcast_to(steps_before(np.asarray(duration), dt), trials) for duration in durations.values()]
        ends = np.cumsum(np.stack([np.zeros(trials, np.int64), *counts]), axis=0)
        self.trials, self.dt, self.length = trials, dt, max(least, int(ends[-1].max()))
        self._steps = {name: np.stack(both, axis=1) for name, both in zip(durations, pairwise(ends), strict=True)}
        self.periods = {name: steps * float(dt) for name, steps in self._steps.items()}

    def between(self, first: str, last: str | None = None) -> slice | NDArray[np.bool_]:
        """The time steps from the start of one period to the end of another.

        Parameters
        ----------
        first, last : str
            Names of the periods; `last` is `first` by default.

        Returns
        -------
        slice or bool (trial, time)
            A slice where it is the same for all trials.

        Raises
        ------
        InputError
            If there is no such period.
        """
        for name in (first, last or first):
            if name not in self._steps:
                raise unknown("period", name, self._steps)
        start, end = self._steps[first][:, 0], self._steps[last or first][:, 1]
        if (start == start[0]).all() and (end == end[0]).all():
            return slice(int(start[0]), int(end[0]))
        time = np.arange(self.length)
        inside: NDArray[np.bool_] = (time >= start[:, None]) & (time < end[:, None])
        return inside

    @staticmethod
    def add(array: NDArray[np.float32], when: slice | NDArray[np.bool_], values: Any) -> None:
        """Add values to an array, in place.

        Parameters
        ----------
        array : (trial, time)
            Such as ``inputs[..., channel]``.
        when : slice or bool (trial, time)
            From `between`.
        values : float or (trial,)
        """
        values = np.asarray(values, array.dtype)
        if isinstance(when, slice):
            array[:, when] += values[:, None] if values.ndim else values
        else:
            array += when * (values[:, None] if values.ndim else values)


@dataclass(frozen=True)
class AbstractTask(ABC):
    """A task whose inputs are a few numbers at each step. A subclass states periods, conditions, inputs and targets.

    Parameters
    ----------
    noise : float
        Standard deviation, at each step, of the noise on the sensory channels.
    catch : float
        Fraction of trials in which nothing is shown; the outputs should then stay at zero.

    Attributes
    ----------
    id : str
        The name users type.
    channels : tuple of str
        Names of all input channels.
    sensory : int
        How many of them, the first, carry noise.
    outputs : int
        Number of output channels.
    measure : str
        What `score` gives, ``"accuracy"`` or ``"R2"``.
    criterion : float
        The score at which a network counts as having learned the task.
    fixation_weight : float
        Weight in the loss of the steps before the response, relative to those of the response.
    environment : str or None
        Of a task of this package, the name of its environment: ``"X"`` is registered with Gymnasium as
        ``cordstasks/X-v0`` and is the class ``XEnv`` of `cordstasks.tasks.environments.abstract`.

    Raises
    ------
    InputError
        If a parameter is of a wrong type or out of range, or a period has no possible duration.
    """

    id: ClassVar[str]
    channels: ClassVar[tuple[str, ...]]
    sensory: ClassVar[int]
    outputs: ClassVar[int] = 1
    measure: ClassVar[str] = "accuracy"
    criterion: ClassVar[float] = 0.95
    fixation_weight: ClassVar[float] = 0.0
    environment: ClassVar[str | None] = None

    noise: float = 0.1
    catch: float = 0.0

    def __post_init__(self) -> None:
        plain_fields(self)
        check_durations(self)
        self._check_least(noise=0, catch=0)
        if self.catch >= 1:
            raise InputError(f"catch={self.catch!r}: give a fraction of trials below 1")

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
        """Every combination of conditions once, durations apart; of a continuous condition, some values."""

    @abstractmethod
    def show(self, inputs: NDArray[np.float32], conditions: Mapping[str, Values], schedule: Schedule) -> None:
        """Add what is shown to `inputs` (trial, time, channel), in place."""

    @abstractmethod
    def target_outputs(self, conditions: Mapping[str, Values]) -> NDArray[np.float32]:
        """What the outputs should be in the response period, (trial, output)."""

    def check(self, conditions: Mapping[str, Values]) -> None:  # noqa: B027 - a task need not have one
        """Raise an InputError if a condition that a caller set is impossible; by default any finite number will do."""

    def answers(self, conditions: Mapping[str, Values]) -> NDArray[np.int64]:
        """The right action of each trial (trial,); by default that of the sign of the first target.

        Returns
        -------
        ndarray of shape (trial,), int64
            Numbers of actions.
        """
        first = self.target_outputs(conditions)[:, 0]
        return np.select([first > 0, first < 0], [1, 2], FIXATE)

    def curriculum(self) -> tuple[AbstractTask, ...]:
        """The tasks to train on, in order, the last being this one; a network goes on when it has learned one.

        Returns
        -------
        tuple of AbstractTask
            At least this task.
        """
        return (self,)

    def steps(self, dt: float) -> int:
        """Time steps of `dt` ms in the longest trial.

        Returns
        -------
        int
            At least 1.
        """
        return sum(steps_before(ends_of(duration)[1], dt) for duration in self.timing.values())

    def sample(
        self, trials: int, *, seed: int | Sequence[int] | np.random.SeedSequence, dt: float = 20.0, **fixed: Any
    ) -> AbstractBatch:
        """Draw a batch of trials.

        Parameters
        ----------
        trials : int
            How many.
        seed : int or sequence of int or numpy.random.SeedSequence
            What the trials follow from.
        dt : float
            Duration of a time step in ms. A period has as many steps as fit into it.
        **fixed : float or (trial,)
            Conditions for all trials or for each, such as ``coherence=4`` or ``delay=500``.

        Returns
        -------
        AbstractBatch
            With inputs, targets, mask and conditions.

        Raises
        ------
        InputError
            If there are no trials, a period is shorter than a step, or a condition is unknown or impossible.
        """
        trials, dt = whole("trials", trials, asked="draw at least 1"), check_step(dt, self)
        named = seed if isinstance(seed, np.random.SeedSequence) else seeds_of(seed)
        rng = np.random.Generator(np.random.SFC64(named))
        conditions, durations = self._conditions(trials, rng, dt, fixed)
        schedule = Schedule(durations, trials=trials, dt=dt, least=self.steps(dt))
        inputs = self._noise(trials, schedule.length, rng)
        caught = np.flatnonzero(conditions["catch"]) if self.catch or "catch" in fixed else None
        quiet = inputs[caught].copy() if caught is not None else None
        self.show(inputs, conditions, schedule)
        required, answers = self.target_outputs(conditions), self.answers(conditions)
        if caught is not None and quiet is not None:
            inputs[caught], required[caught], answers[caught] = quiet, 0, FIXATE
        order = list(self.timing)
        response = schedule.between(order[-1])
        targets = np.zeros((*inputs.shape[:2], self.outputs), np.float32)
        for output in range(self.outputs):
            schedule.add(targets[..., output], response, required[:, output])
        mask = np.zeros(inputs.shape[:2], np.float32)
        if self.fixation_weight and len(order) > 1:
            schedule.add(mask, schedule.between(order[0], order[-2]), self.fixation_weight)
        schedule.add(mask, response, 1)
        response_mask = np.zeros(inputs.shape[:2], bool)
        if isinstance(response, slice):
            response_mask[:, response] = True
        else:
            response_mask |= response
        return AbstractBatch(
            inputs=inputs,
            targets=targets,
            mask=mask,
            response_mask=response_mask,
            answers=answers.astype(np.int64),
            conditions=conditions,
            periods=schedule.periods,
            dt=dt,
        )

    def _conditions(
        self, trials: int, rng: np.random.Generator, dt: float, fixed: Mapping[str, Any]
    ) -> tuple[dict[str, Values], dict[str, Any]]:
        """Conditions of each trial, and the duration of each period in ms, a whole number of steps."""
        conditions = self.draw(trials, rng)
        conditions["catch"] = rng.random(trials) < self.catch if self.catch else np.zeros(trials, bool)
        durations: dict[str, Any] = {}
        for name, duration in self.timing.items():
            low, high = (steps_before(end, dt) for end in ends_of(duration))
            durations[name] = low * dt
            if isinstance(duration, tuple):
                durations[name] = conditions[name] = rng.integers(low, high, trials, endpoint=True) * dt
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
                durations[name] = given[name]
        one_of(given, "catch", (0, 1))
        self.check(given)
        conditions |= {name: values.astype(conditions[name].dtype) for name, values in given.items()}
        return conditions, durations

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
        """How well outputs answer the trials of a batch; see `measure`.

        Outputs are averaged over the response period. Accuracy is the fraction of trials in which they have the sign of
        the target; R2 is one minus the squared error over the squared deviation of the targets from their mean. Catch
        trials are left out. Outputs that are not a number count as wrong.

        Parameters
        ----------
        outputs : (trial, time, output)
        batch : AbstractBatch

        Returns
        -------
        float
            At most 1, which is perfect.

        Raises
        ------
        InputError
            If the shapes differ, or the score is not defined, see `can_score`.
        """
        given, required = self.responses(outputs, batch)
        if not self.can_score(batch):
            raise InputError("score: all trials have the same target, so that R2 is not defined; give different trials")
        if self.measure == "accuracy":
            return float((np.sign(given[:, 0]) == np.sign(required[:, 0])).mean())
        residue = ((given - required) ** 2).sum()
        spread = ((required - required.mean(0)) ** 2).sum()
        return float(1 - residue / spread) if np.isfinite(residue) else float("-inf")

    def can_score(self, batch: AbstractBatch) -> bool:
        """Whether `score` is defined for a batch: some trial is no catch trial, and for R2 targets differ.

        Returns
        -------
        bool
            True if `score` gives a number.
        """
        kept = ~batch.conditions["catch"].astype(bool)
        required = batch.targets[kept][batch.response_mask[kept]] if self.measure == "R2" else None
        return bool(kept.any() and (required is None or np.ptp(required, axis=0).any()))

    def responses(self, outputs: NDArray[Any], batch: AbstractBatch) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Outputs averaged over the response period, and their targets: (trial, output) each, without catch trials.

        Returns
        -------
        ndarray of shape (trial, output), float64
            Outputs.
        ndarray of shape (trial, output), float64
            Targets.

        Raises
        ------
        InputError
            If outputs and targets differ in shape, or every trial is a catch trial.
        """
        if outputs.shape != batch.targets.shape:
            raise InputError(f"outputs of shape {outputs.shape}: the batch has targets of shape {batch.targets.shape}")
        kept = np.flatnonzero(~batch.conditions["catch"].astype(bool))
        if not len(kept):
            raise InputError("score: every trial is a catch trial; give some in which something is shown")
        weight = batch.response_mask[kept, :, None] / batch.response_mask[kept].sum(1)[:, None, None]
        given = np.where(weight > 0, outputs[kept], 0.0) * weight
        return given.sum(1), (batch.targets[kept].astype(float) * weight).sum(1)

    def _check_least(self, **least: float) -> None:
        """Raise an InputError unless each named field is a finite number, not below its least value."""
        for name, low in least.items():
            value: Any = getattr(self, name)
            if not is_number(value) or value < low:
                raise InputError(f"{name}={value!r}: give a finite number of at least {low:g}")

    def _check_levels(self, name: str, *, least: float = 0.0) -> None:
        """Raise an InputError unless the named field is a list of numbers above `least`."""
        values = getattr(self, name)
        numbers = isinstance(values, tuple) and all(map(is_number, values))
        if not numbers or not values or not all(least < value for value in values):
            raise InputError(f"{name}={values!r}: give a tuple of finite numbers above {least:g}")
        if len(set(values)) < len(values):
            raise InputError(f"{name}={values!r}: give different numbers; one that is given twice is drawn twice as often")

    def with_delays(self, *ends: tuple[float, float]) -> tuple[AbstractTask, ...]:
        """The task with its random `delay` within each of `ends` (ms), then itself.

        Returns
        -------
        tuple of AbstractTask
            Easier tasks in the order of `ends`, then this task.
        """
        own = getattr(self, "delay")  # noqa: B009 - not every task has one
        if not isinstance(own, tuple):
            return (self,)
        easier = [(low, high) for low, high in ends if high < own[1]]
        return (*(replace(self, delay=(min(low, own[0]), high)) for low, high in easier), self)  # type: ignore[call-arg]


def one_of(conditions: Mapping[str, Values], name: str, known: Sequence[float]) -> None:
    """Raise an InputError if condition `name` is given and has values other than the `known`."""
    if name in conditions and not np.isin(conditions[name], known).all():
        wrong = conditions[name][~np.isin(conditions[name], known)][0]
        raise InputError(f"{name}={wrong:g}: choose one of {', '.join(f'{value:g}' for value in known)}")
