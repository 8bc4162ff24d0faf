"""A task of one's own, tried when it is loaded: what it declares, and trials of its conditions.

Without this, a window in which no answer can be read or an answer that is no action would show as chance performance after
hours of training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from inspect import signature
from numbers import Integral, Real
from time import perf_counter
from typing import Any

import numpy as np

from cordstasks.errors import InputError, unknown
from cordstasks.stimuli import Display, Movie
from cordstasks.tasks.registry import line_of, reason_of
from cordstasks.tasks.visual.base import FIXATE, Condition, Trial, VisualTask, check_duration

_SECONDS = 0.5  # after which no further trials are tried
_LEAST = 3  # trials of each design that are tried however long they take, and tried twice
_ARGUMENTS = ("count", "dt", "ground_truth", "seed", "start", "trials")  # that a condition's name would collide with
_PASSED: set[tuple[type, str]] = set()  # classes with their parameters, so that a command tries each once


class _Fault(Exception):
    """What is wrong with a task, beginning with the attribute or method that it is about."""


def check_task(task: VisualTask, *, source: str) -> None:
    """Try a task: what it declares, its design, and trials of its conditions, each value of a condition at least once.

    A trial must fit its movie, its periods, and the task's actions, and follow from its random generator alone. Trying ends
    after half a second, so a task whose trials are slow to draw is tried less.

    Parameters
    ----------
    task : VisualTask
    source : str
        What the user calls it, its file or its id, to name in the message.

    Raises
    ------
    InputError
        If something is wrong; the message names `source`, the class, and what is wrong.
    """
    values = [getattr(task, name, None) for name in signature(type(task)).parameters]
    passed = (type(task), repr(values))
    if is_dataclass(task) and passed in _PASSED:
        return
    try:
        _check_whole(task, deadline=perf_counter() + _SECONDS)
    except _Fault as fault:
        cause = fault.__cause__
        where = line_of(type(task), cause) if cause is not None else ""
        raise InputError(f"task {source}{where}: {type(task).__name__}.{fault}") from cause
    _PASSED.add(passed)


def _check_whole(task: VisualTask, *, deadline: float) -> None:
    actions = _check_actions(task)
    _check_declarations(task)
    _check_sizes(task)
    variants = {"": task}
    for name in ("for_training", "for_testing"):
        variant = _call(f"{name}()", getattr(task, name))
        if not isinstance(variant, VisualTask):
            raise _Fault(f"{name}()={variant!r}: is no task; return self, or dataclasses.replace(self, ...)")
        if tuple(variant.actions) != actions:
            raise _Fault(f"{name}(): has the actions {variant.actions}, and the task {actions}; keep them the same")
        if variant is not task:
            variants[f"{name}()."] = variant
    for prefix, variant in variants.items():
        design = _call(f"{prefix}design()", variant.design)
        if prefix and not design:  # parameters may leave nothing to train on, and the task may still be played
            continue
        rows = _check_design(f"{prefix}design()", design)
        _check_trials(prefix, variant, rows, deadline=deadline)


def _call(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of the user's code, or a fault that says what it raised."""
    try:
        return function(*arguments)
    except Exception as error:
        raise _Fault(f"{what} fails: {reason_of(error)}") from error


def _check_actions(task: VisualTask) -> tuple[str, ...]:
    actions = _call("actions", lambda: task.actions)
    if not isinstance(actions, (tuple, list)) or not all(isinstance(action, str) for action in actions):
        raise _Fault(f"actions={actions!r}: give a tuple of names, such as ('fixate', 'left', 'right')")
    if len(actions) < 2 or len(set(actions)) < len(actions):
        raise _Fault(f"actions={actions!r}: give two or more different names, the first for fixating")
    options = _call("options", lambda: task.options)
    fits = isinstance(options, (tuple, list)) and all(_is_action(option, actions) for option in options)
    if not fits or len(set(options)) < max(2, len(options)):
        raise _Fault(
            f"options={options!r}: give two or more different actions from 0 ({actions[0]!r}) to {len(actions) - 1} "
            f"({actions[-1]!r}) that compete at the decision"
        )
    return tuple(actions)


def _check_declarations(task: VisualTask) -> None:
    """Raise a fault unless screen, periods and tables are as `VisualTask` says."""
    if "display" not in signature(type(task)).parameters or not isinstance(getattr(task, "display", None), Display):
        raise _Fault("display: is missing; give the class a field `display: Display = field(default_factory=Display)`")
    timing = _call("timing", lambda: task.timing)
    if not isinstance(timing, Mapping) or not timing or not all(isinstance(name, str) for name in timing):
        raise _Fault(f"timing={timing!r}: give {{period: duration in ms}}, such as {{'fixation': self.fixation}}")
    for name, duration in timing.items():
        try:
            check_duration(name, duration, positive=False)
        except InputError as error:
            raise _Fault(f"timing: {error}") from None
    for name in ("stimulus", "compared"):
        period = getattr(task, name)
        if period is not None and period not in timing:
            raise _Fault(f"{name}: {unknown('period', period, timing)}")
    weight = task.fixation_weight
    if not _is_number(weight) or weight < 0:
        raise _Fault(f"fixation_weight={weight!r}: give a number of at least 0")
    tables = _call("likeness", lambda: task.likeness)
    for name in ("likeness", "run_defaults", "quick_defaults"):
        value = tables if name == "likeness" else getattr(task, name)
        if not isinstance(value, Mapping):
            raise _Fault(f"{name}={value!r:.60}: give a dictionary, as VisualTask has")
    for name, table in tables.items():
        array = np.asarray(table)
        if array.ndim != 2 or array.shape[0] != array.shape[1] or array.dtype.kind not in "fiu":
            raise _Fault(f"likeness[{name!r}]: give chances (class, class)")


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def _are_areas(value: Any) -> bool:
    several = isinstance(value, (list, tuple)) and len(value) > 0 and all(_is_whole(area, 0) for area in value)
    return value is None or _is_whole(value, 0) or several


# the settings of runs that are no numbers above 0, and what they are
_SETTINGS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "areas": ("numbers of the front-end's areas, from 0, or None for the last", _are_areas),
    "side": ("a whole number of at least 1, or None", lambda value: value is None or _is_whole(value, 1)),
    "parameters": ("a dictionary of task parameters", lambda value: isinstance(value, Mapping)),
}


def _check_sizes(task: VisualTask) -> None:
    """Raise a fault unless the sizes of runs are those that ``python -m cordstasks.train`` needs."""
    known = VisualTask.run_defaults
    for name, defaults, names in (
        ("run_defaults", task.run_defaults, tuple(known)),
        ("quick_defaults", task.quick_defaults, (*known, "parameters")),
    ):
        for key, value in defaults.items():
            if key not in names:
                raise _Fault(f"{name}: {unknown('setting', key, names)}")
            kind, fits = _SETTINGS.get(key, ("a number above 0", lambda given: _is_number(given) and given > 0))
            if not fits(value):
                raise _Fault(f"{name}[{key!r}]={value!r}: give {kind}")


def _check_design(what: str, design: Any) -> list[dict[str, Condition]]:
    """The rows of a design, those first that hold a value of a condition for the first time."""
    if not isinstance(design, (list, tuple)) or not design or not all(isinstance(row, Mapping) and row for row in design):
        raise _Fault(f"{what}={design!r:.60}: give a list with one {{condition: value}} for each combination")
    kinds = {name: isinstance(value, str) for name, value in design[0].items()}
    for name in kinds:
        if not isinstance(name, str) or name in _ARGUMENTS:
            raise _Fault(f"{what}: a condition cannot be called {name!r}; choose another name")
    seen: set[tuple[str, Condition]] = set()
    first: list[dict[str, Condition]] = []
    rest: list[dict[str, Condition]] = []
    for number, row in enumerate(design):
        if set(row) != set(kinds):
            raise _Fault(
                f"{what}: row {number} has the conditions {list(row)}, and row 0 {list(kinds)}; give all rows the same"
            )
        for name, value in row.items():
            if isinstance(value, str) != kinds[name] or not (isinstance(value, str) or _is_number(value, boolean=True)):
                raise _Fault(f"{what}: row {number} has {name}={value!r}; give finite numbers in all rows, or names in all")
        new = set(row.items()) - seen
        seen |= new
        (first if new else rest).append(dict(row))
    return first + rest


def _check_trials(prefix: str, task: VisualTask, rows: Sequence[Mapping[str, Condition]], *, deadline: float) -> None:
    """Raise a fault unless trials of a design's rows are possible ones."""
    pooled = _call(f"{prefix}pooled(0)", task.pooled, 0)
    names: set[str] | None = None
    for number, row in enumerate(rows):
        if number >= _LEAST and perf_counter() > deadline:
            return
        shown = ", ".join(f"{name}={value!r}" for name, value in row.items())
        what = f"{prefix}trial({shown})"
        trial = _call(what, pooled.trial, dict(row), np.random.default_rng([0, number]))
        _check_trial(f"{what}: ", task, row, trial)
        if names is not None and set(trial.conditions) != names:
            raise _Fault(f"{what}: has the conditions {sorted(trial.conditions)}, and others {sorted(names)}; name the same")
        names = set(trial.conditions)
        if number < _LEAST:
            again = _call(what, pooled.trial, dict(row), np.random.default_rng([0, number]))
            if not _same(trial, again):
                raise _Fault(
                    f"{what}: two trials of one random generator differ; draw all that is random from `rng`, and "
                    "keep nothing from one trial to the next"
                )


def _check_trial(what: str, task: VisualTask, row: Mapping[str, Condition], trial: Any) -> None:
    """Raise a fault unless a trial is possible in itself, and one of the conditions that were asked for."""
    if not isinstance(trial, Trial):
        raise _Fault(f"{what}gives {type(trial).__name__}; return a Trial")
    if not isinstance(trial.movie, Movie):
        raise _Fault(f"{what}movie is a {type(trial.movie).__name__}; give a Movie")
    for name, kind in (
        ("periods", Mapping),
        ("conditions", Mapping),
        ("auxiliary", Sequence),
        ("targets", (Sequence, type(None))),
    ):
        if not isinstance(getattr(trial, name), kind):
            raise _Fault(f"{what}{name}={getattr(trial, name)!r:.60}; give what `cordstasks.tasks.Trial` says")
    pixels, size = task.display.pixels, trial.movie.frames.shape[1:3]
    if size != (pixels, pixels):
        raise _Fault(f"{what}movie has {size[1]} x {size[0]} px; draw {pixels} x {pixels} px, as the task's display has")
    _check_times(what, task, trial)
    _check_answer(what, task, trial)
    for name, value in row.items():
        told = trial.conditions.get(name)
        if isinstance(value, str) or isinstance(told, str) or told is None:
            right = told == value
        else:
            right = _is_number(told, boolean=True) and math.isclose(told, value, rel_tol=1e-6, abs_tol=1e-9)
        if not right:
            raise _Fault(f"{what}conditions has {name}={told!r}, and {value!r} was asked for; state what was shown")
    for name, value in trial.conditions.items():
        if not isinstance(value, str) and not _is_number(value, boolean=True):
            raise _Fault(f"{what}conditions has {name}={value!r}; give a finite number or a name")


def _check_times(what: str, task: VisualTask, trial: Trial) -> None:
    """Raise a fault unless all times lie within the movie."""
    length = trial.movie.duration_ms
    for name in trial.periods:
        if name not in task.timing:
            raise _Fault(f"{what}{unknown('period', name, task.timing)}; name it in timing as well")
    needed = [task.stimulus] if task.compared is None else [task.stimulus, "sample", task.compared]
    for name in needed:
        if name not in trial.periods:
            raise _Fault(f"{what}periods lacks {name!r}, which training needs; each trial must have it")
    spans: list[tuple[str, Any]] = [(f"periods[{name!r}]", span) for name, span in trial.periods.items()]
    spans.append(("answer_window", trial.answer_window))
    for kind, table, parts in (("targets", trial.targets or (), 3), ("auxiliary", trial.auxiliary, 4)):
        for number, entry in enumerate(table):
            if not isinstance(entry, (tuple, list)) or len(entry) != parts:
                raise _Fault(f"{what}{kind}[{number}]={entry!r}; give {parts} values, as Trial says")
            spans.append((f"{kind}[{number}]", tuple(entry[parts - 3 : parts - 1])))
    for name, span in spans:
        if not isinstance(span, (tuple, list)) or len(span) != 2 or not all(map(_is_number, span)) or span[0] >= span[1]:
            raise _Fault(f"{what}{name}={span!r}; give (start, end) in ms, the start before the end")
        if span[0] < -1e-6 or span[1] > length + 1e-6:
            raise _Fault(f"{what}{name}={_brief(span)} ms is not within the movie of {length:g} ms; change one of them")
    end = trial.answer_window[1]
    if not _is_number(trial.answer_from) or not 0 <= trial.answer_from < end:
        raise _Fault(
            f"{what}answer_from={trial.answer_from!r}; give a time from 0 to before the answer window's end ({end:g} ms)"
        )


def _check_answer(what: str, task: VisualTask, trial: Trial) -> None:
    """Raise a fault unless what is right is an action, and one that can be chosen."""
    options = tuple(task.options)
    if not _is_action(trial.answer, task.actions) or trial.answer not in options:
        known = ", ".join(f"{option} ({task.actions[option]})" for option in options)
        raise _Fault(f"{what}answer={trial.answer!r}; give one of the task's options as a whole number: {known}")
    for number, (_, _, action) in enumerate(trial.targets or ()):
        if not _is_action(action, task.actions):
            raise _Fault(f"{what}targets[{number}] has the action {action!r}; give a whole number below {len(task.actions)}")
    start, end = trial.answer_window
    within = {action for first, last, action in trial.segments if first < end and last > start}
    if trial.answer != FIXATE and trial.answer not in within:
        raise _Fault(f"{what}answer={trial.answer}, but targets never has it within the answer window; make them agree")
    for number, (name, _, _, kind) in enumerate(trial.auxiliary):
        classes = len(task.likeness[name]) if name in task.likeness else math.inf
        if not isinstance(name, str) or not isinstance(kind, Integral) or not 0 <= kind < classes:
            raise _Fault(
                f"{what}auxiliary[{number}]={trial.auxiliary[number]!r}; give a name, two times and a class from 0 on"
            )
    lacking = {"sample", "shown"} - {name for name, *_ in trial.auxiliary} if task.compared is not None else ()
    if lacking:
        raise _Fault(f"{what}auxiliary lacks {min(lacking)!r}, which a task with `compared` needs")


def _same(one: Trial, other: Trial) -> bool:
    """Whether two trials are equal, in their pixels as well."""

    def rest(trial: Trial) -> tuple[Any, ...]:
        movie = trial.movie
        times = (tuple(movie.onsets_ms), movie.duration_ms, tuple(movie.shown), tuple(trial.periods.items()))
        answer = (trial.answer, tuple(trial.answer_window), trial.answer_from, trial.segments, trial.auxiliary)
        return (*times, *answer, tuple(trial.conditions.items()))

    return rest(one) == rest(other) and np.array_equal(one.movie.frames, other.movie.frames)


def _is_number(value: Any, *, boolean: bool = False) -> bool:
    return isinstance(value, Real) and (boolean or not isinstance(value, (bool, np.bool_))) and math.isfinite(value)


def _is_action(value: Any, actions: Sequence[str]) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and 0 <= int(value) < len(actions)


def _brief(span: Sequence[float]) -> str:
    return f"({span[0]:g}, {span[1]:g})"
