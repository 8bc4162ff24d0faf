"""What every visual task shares: periods, conditions, trials and batches of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError, unknown
from cordstasks.stimuli import Display, Movie
from cordstasks.tasks.batch import FIXATE, Batch
from cordstasks.tasks.timing import Duration, check_step, steps_before
from cordstasks.utils.arguments import is_number, plain, seed_of, whole

Condition = float | str
"""The value of a condition: a number, or the name of a kind of stimulus."""


@dataclass(frozen=True)
class Trial:
    """One trial of a visual task.

    Attributes
    ----------
    movie : Movie
        What the screen shows, from the start of the first period to the end of the last.
    periods : dict of str to (float, float)
        Start and end of each period in ms, in order.
    answer : int
        The action that is right at the decision, an index into the task's `actions`; it may be to go on fixating.
    answer_window : (float, float)
        Start and end in ms of the decision: when the answer is due (a loss weighs it there).
    answer_from : float
        Time in ms from which an action other than fixating ends the trial, and is right where it is the target;
        earlier, it breaks fixation unless it is the target.
    conditions : dict of str to float or str
        What was shown.
    targets : tuple of (float, float, int), optional
        Start and end in ms, and action, in order: what is right when. Fixating is right in between. None: the answer,
        in its window.
    auxiliary : tuple of (str, float, float, int)
        Name, start and end in ms, and class: what an auxiliary head should give when, for a network to be taught beside
        its actions.
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


@dataclass(frozen=True, kw_only=True)
class TrialBatch(Batch):
    """Trials of a visual task, to train or to test on.

    Attributes
    ----------
    movies : tuple of Movie
        One per trial.
    targets : int64 (trial, time)
        The right action at each step.
    options : tuple of int
        The actions that compete at the decision.
    answer_from : float64 (trial,)
        Time in ms from which each trial may be answered.
    auxiliary : dict of str to int64 (trial, time)
        The class that an auxiliary head should give at each step; -1 where there is none.
    dt, mask, response_mask, answers, conditions, periods :
        See `cordstasks.tasks.Batch`.
    """

    movies: tuple[Movie, ...]
    options: tuple[int, ...]
    answer_from: NDArray[np.float64]
    auxiliary: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Time steps of each trial's movie (trial,)."""
        return np.array([steps_before(movie.duration_ms, self.dt) for movie in self.movies])

    def _part(self, name: str, rows: NDArray[np.intp], steps: int) -> Any:
        if name == "movies":
            return tuple(self.movies[row] for row in rows)
        if name == "auxiliary":
            return {key: classes[rows, :steps] for key, classes in self.auxiliary.items()}
        return super()._part(name, rows, steps)


class VisualTask(ABC):
    """A task whose trials are movies. A subclass states its actions and conditions and builds one trial at a time.

    Attributes
    ----------
    id : str
        The name users type.
    stimulus : str
        The period whose onset brings the first evidence for the answer.
    stationary : bool
        Whether the evidence is a stationary stream, so that parts of trials may be joined in training.
    compared : str or None
        For tasks that compare a test with a sample, the period of the test: in training, the test of one trial may
        follow the sample of another. Such trials have the auxiliary targets ``"sample"`` and ``"shown"``, and match where
        these are the same when the test comes.
    fixation_weight : float
        Weight in the loss of the steps at which the network should fixate, relative to those at which it should answer.
    optional : tuple of str
        Periods that only some trials have.
    also : mapping of str to type
        Conditions that may be set although a trial draws them for itself, beyond the design.
    run_defaults : mapping of str to object
        How large ``python -m cordstasks.train`` makes a run of this task, unless another size is given, and which areas
        of the front-end it reads; what a task leaves out is as here. ``"areas"`` are one or more, numbered from 0 (None:
        the last; a front-end that has no such area is read at its last), ``"side"`` is the side to which their maps are
        averaged (None: not at all), and ``"tau"`` is the time constant of the recurrent units in ms.
    quick_defaults : mapping of str to object
        What ``--quick`` changes of these; ``"parameters"`` are those of the task.
    report : str or callable or object
        What a run of this task says of its trained model: the name of a module of `cordstasks.reports`, a function of
        its `Material` that returns a part of the summary, or an object with such a function as ``report`` and, as
        ``table``, one that makes the short table from the whole summary.
    environment : str or None
        Of a task of this package, the name of its environment: ``"X"`` is registered with Gymnasium as
        ``cordstasks/X-v0`` and is the class ``XEnv`` of `cordstasks.tasks.environments.visual`.
    display : Display
        The screen.
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
        "tau": 100.0,
    }
    quick_defaults: ClassVar[Mapping[str, Any]] = {"trials": 192, "heldout": 96, "validation": 32, "steps": 300}
    report: ClassVar[Any] = "cordstasks.reports.general"
    environment: ClassVar[str | None] = None
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
    def soft_targets(self) -> dict[str, NDArray[np.float64]]:
        """Of auxiliary targets whose classes are more and less alike: probabilities (class, class) in place of classes."""
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
        """A trial of the given conditions; what they leave open (locations, jitter) is drawn from `rng`."""

    def for_training(self) -> VisualTask:
        """The task as it is trained on, where that differs from the task as it is tested.

        Returns
        -------
        VisualTask
            By default this task.
        """
        return self

    def for_testing(self) -> VisualTask:
        """The task as it is tested after training, where it must leave out what was trained on.

        Returns
        -------
        VisualTask
            By default this task.
        """
        return self

    def pooled(self, seed: int) -> VisualTask:
        """The task with the pool of pictures that `seed` names, where trials share pictures.

        Returns
        -------
        VisualTask
            By default this task.
        """
        return self

    def conditions(self, index: int, *, seed: int) -> dict[str, Condition]:
        """Conditions of trial `index`: balanced blocks, each in an order of its own.

        Returns
        -------
        dict of str to object
            Values by name.

        Raises
        ------
        InputError
            If the parameters of the task leave no conditions.
        """
        design = self.design()
        if not design:
            raise InputError(f"task {self.id}: design() is empty: its parameters leave no conditions; change them")
        block, position = divmod(index, len(design))
        order = np.random.default_rng([seed, _ORDER, block]).permutation(len(design))
        return design[int(order[position])]

    def complete(self, given: Mapping[str, Condition], drawn: Mapping[str, Condition]) -> dict[str, Condition]:
        """`drawn` conditions with those that a caller has `given` in their place, or beside them.

        Returns
        -------
        dict of str to object
            Values by name.

        Raises
        ------
        InputError
            If a name is not that of a condition, or a value is not of the kind that the condition has.
        """
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

        Parameters
        ----------
        count : int
        seed : int
        start : int
        **fixed : float or str
            Conditions that hold for all of them.

        Returns
        -------
        list of Trial
            `count` trials, in order.

        Raises
        ------
        InputError
            If a number is not possible, or a condition is unknown or impossible.
        """
        seed, start = seed_of(seed), whole("start", start, least=0)
        count = whole("trials", count, least=0)
        task = self.pooled(seed)
        return [
            task.trial(task.complete(fixed, task.conditions(index, seed=seed)), np.random.default_rng([seed, _TRIAL, index]))
            for index in range(start, start + count)
        ]

    def sample(self, trials: int, *, seed: int, dt: float = 20.0, **fixed: Condition) -> TrialBatch:
        """Draw a batch of trials.

        Parameters
        ----------
        trials : int
            How many.
        seed : int
            Names the sequence whose first trials these are.
        dt : float
            Duration of a time step in ms.
        **fixed : float or str
            Conditions that hold for all of them.

        Returns
        -------
        TrialBatch
            With movies, targets, mask and conditions.

        Raises
        ------
        InputError
            If a number is not possible, a period is shorter than a step, or a condition is unknown or impossible.
        """
        trials, dt = whole("trials", trials, asked="draw at least 1"), check_step(dt, self)
        drawn = self.trials(trials, seed=seed, start=0, **fixed)
        return collate(drawn, dt, options=self.options, fixation_weight=self.fixation_weight)


_ORDER, _TRIAL = 1, 2  # streams of a seed


def collate(trials: Sequence[Trial], dt: float, *, options: tuple[int, ...], fixation_weight: float = 0.1) -> TrialBatch:
    """Put trials on a common grid of time steps; shorter trials are padded with steps of weight zero.

    A step weighs 1 where its target is not to fixate and during the decision, and `fixation_weight` elsewhere.

    Parameters
    ----------
    trials : sequence of Trial
    dt : float
        Duration of a time step in ms.
    options : tuple of int
        The actions that compete at the decision, as the task has them.
    fixation_weight : float

    Returns
    -------
    TrialBatch
        As long as the longest trial.

    Raises
    ------
    InputError
        If a trial's answer is none of the options, or no step of its answer window is within its movie.
    """
    lengths = [steps_before(trial.movie.duration_ms, dt) for trial in trials]
    targets = np.full((len(trials), max(lengths)), FIXATE, np.int64)
    mask = np.zeros(targets.shape, np.float32)
    response_mask = np.zeros(targets.shape, np.bool_)
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
        response_mask[row, first:last] = True
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
        response_mask=response_mask,
        answers=np.array([trial.answer for trial in trials]),
        options=options,
        answer_from=np.array([trial.answer_from for trial in trials], np.float64),
        auxiliary=auxiliary,
    )
