"""Trying a visual task."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from numbers import Integral
from time import perf_counter
from typing import Any

import numpy as np

from cordstasks.errors import unknown
from cordstasks.stimuli import Display, Movie
from cordstasks.tasks.batch import FIXATE
from cordstasks.tasks.checking.common import (
    LEAST,
    Fault,
    call,
    check_actions,
    check_design,
    check_timing,
    is_action,
    is_number,
    is_whole,
    stated,
)
from cordstasks.tasks.visual.base import Condition, Trial, VisualTask

_RESERVED = ("count", "dt", "seed", "start", "trials")  # arguments that a condition's name would collide with


def check(task: VisualTask, *, deadline: float) -> None:
    """Raise a `Fault` unless a task, as it is and as it is trained and tested, is a possible one.

    Parameters
    ----------
    task : VisualTask
    deadline : float
        Time of `time.perf_counter` after which no further trials are tried.
    """
    actions = check_actions(task)
    _check_options(task, actions)
    _check_declarations(task)
    _check_sizes(task)
    variants = {"": task}
    for name in ("for_training", "for_testing"):
        variant = call(f"{name}()", getattr(task, name))
        if not isinstance(variant, VisualTask):
            raise Fault(f"{name}()={variant!r}: is no task; return self, or dataclasses.replace(self, ...)")
        if tuple(variant.actions) != actions:
            raise Fault(f"{name}(): has the actions {variant.actions}, and the task {actions}; keep them the same")
        if variant is not task:
            variants[f"{name}()."] = variant
    for prefix, variant in variants.items():
        design = call(f"{prefix}design()", variant.design)
        if prefix and not design:  # parameters may leave nothing to train on, and the task may still be played
            continue
        rows = check_design(f"{prefix}design()", design, reserved=(*_RESERVED, "ground_truth"), kinds_of=(float, str))
        _check_trials(prefix, variant, rows, deadline=deadline)


def _check_options(task: VisualTask, actions: tuple[str, ...]) -> None:
    options = call("options", lambda: task.options)
    fits = isinstance(options, (tuple, list)) and all(is_action(option, actions) for option in options)
    if not fits or len(set(options)) < max(2, len(options)):
        raise Fault(
            f"options={options!r}: give two or more different actions from 0 ({actions[0]!r}) to {len(actions) - 1} "
            f"({actions[-1]!r}) that compete at the decision"
        )


def _check_declarations(task: VisualTask) -> None:
    """Raise a fault unless screen, periods and tables are as `VisualTask` says."""
    if "display" not in signature(type(task)).parameters or not isinstance(getattr(task, "display", None), Display):
        raise Fault("display: is missing; give the class a field `display: Display = field(default_factory=Display)`")
    check_timing(task, positive=False)
    for name in ("stimulus", "compared"):
        period = getattr(task, name)
        if period is not None and period not in task.timing:
            raise Fault(f"{name}: {unknown('period', period, task.timing)}")
    weight = task.fixation_weight
    if not is_number(weight) or weight < 0:
        raise Fault(f"fixation_weight={weight!r}: give a number of at least 0")
    _check_report(task)
    tables = call("soft_targets", lambda: task.soft_targets)
    for name in ("soft_targets", "run_defaults", "quick_defaults"):
        value = tables if name == "soft_targets" else getattr(task, name)
        if not isinstance(value, Mapping):
            raise Fault(f"{name}={value!r:.60}: give a dictionary, as VisualTask has")
    for name, table in tables.items():
        array = np.asarray(table)
        if array.ndim != 2 or array.shape[0] != array.shape[1] or array.dtype.kind not in "fiu":
            raise Fault(f"soft_targets[{name!r}]: give probabilities (class, class)")


def _check_report(task: VisualTask) -> None:
    report = type(task).report
    function = getattr(report, "report", report)
    if not isinstance(report, str) and not callable(function):
        raise Fault(
            f"report={report!r:.60}: give the name of a module of cordstasks.reports, a function of the trained model's "
            "Material, or an object with the functions report and table"
        )
    if callable(function):
        try:
            signature(function).bind(None)
        except (TypeError, ValueError):
            raise Fault("report: is called with one argument, the Material; change it, or make it a staticmethod") from None


def _are_areas(value: Any) -> bool:
    several = isinstance(value, (list, tuple)) and len(value) > 0 and all(is_whole(area, 0) for area in value)
    return value is None or is_whole(value, 0) or several


# the settings of runs that are no numbers above 0, and what they are
_SETTINGS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "areas": ("numbers of the front-end's areas, from 0, or None for the last", _are_areas),
    "side": ("a whole number of at least 1, or None", lambda value: value is None or is_whole(value, 1)),
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
                raise Fault(f"{name}: {unknown('setting', key, names)}")
            kind, fits = _SETTINGS.get(key, ("a number above 0", lambda given: is_number(given) and given > 0))
            if not fits(value):
                raise Fault(f"{name}[{key!r}]={value!r}: give {kind}")


def _check_trials(prefix: str, task: VisualTask, rows: Sequence[Mapping[str, Condition]], *, deadline: float) -> None:
    """Raise a fault unless trials of a design's rows are possible ones."""
    pooled = call(f"{prefix}pooled(0)", task.pooled, 0)
    names: set[str] | None = None
    for number, row in enumerate(rows):
        if number >= LEAST and perf_counter() > deadline:
            return
        what = f"{prefix}trial({stated(row)})"
        trial = call(what, pooled.trial, dict(row), np.random.default_rng([0, number]))
        _check_trial(f"{what}: ", task, row, trial)
        if names is not None and set(trial.conditions) != names:
            raise Fault(f"{what}: has the conditions {sorted(trial.conditions)}, and others {sorted(names)}; name the same")
        names = set(trial.conditions)
        if number < LEAST:
            again = call(what, pooled.trial, dict(row), np.random.default_rng([0, number]))
            if not _same(trial, again):
                raise Fault(
                    f"{what}: two trials of one random generator differ; draw all that is random from `rng`, and "
                    "keep nothing from one trial to the next"
                )


def _check_trial(what: str, task: VisualTask, row: Mapping[str, Condition], trial: Any) -> None:
    """Raise a fault unless a trial is possible in itself, and one of the conditions that were requested."""
    if not isinstance(trial, Trial):
        raise Fault(f"{what}gives {type(trial).__name__}; return a Trial")
    if not isinstance(trial.movie, Movie):
        raise Fault(f"{what}movie is a {type(trial.movie).__name__}; give a Movie")
    for name, kind in (
        ("periods", Mapping),
        ("conditions", Mapping),
        ("auxiliary", Sequence),
        ("targets", (Sequence, type(None))),
    ):
        if not isinstance(getattr(trial, name), kind):
            raise Fault(f"{what}{name}={getattr(trial, name)!r:.60}; give what `cordstasks.tasks.Trial` says")
    pixels, size = task.display.pixels, trial.movie.frames.shape[1:3]
    if size != (pixels, pixels):
        raise Fault(f"{what}movie has {size[1]} x {size[0]} px; draw {pixels} x {pixels} px, as the task's display has")
    _check_times(what, task, trial)
    _check_answer(what, task, trial)
    for name, value in row.items():
        shown = trial.conditions.get(name)
        if isinstance(value, str) or isinstance(shown, str) or shown is None:
            same = shown == value
        else:
            same = is_number(shown, boolean=True) and math.isclose(shown, value, rel_tol=1e-6, abs_tol=1e-9)
        if not same:
            raise Fault(f"{what}conditions has {name}={shown!r}, and {value!r} was requested; state what was shown")
    for name, value in trial.conditions.items():
        if not isinstance(value, str) and not is_number(value, boolean=True):
            raise Fault(f"{what}conditions has {name}={value!r}; give a finite number or a name")


def _check_times(what: str, task: VisualTask, trial: Trial) -> None:
    """Raise a fault unless all times lie within the movie."""
    length = trial.movie.duration_ms
    for name in trial.periods:
        if name not in task.timing:
            raise Fault(f"{what}{unknown('period', name, task.timing)}; name it in timing as well")
    needed = [task.stimulus] if task.compared is None else [task.stimulus, "sample", task.compared]
    for name in needed:
        if name not in trial.periods:
            raise Fault(f"{what}periods lacks {name!r}, which training needs; each trial must have it")
    spans: list[tuple[str, Any]] = [(f"periods[{name!r}]", span) for name, span in trial.periods.items()]
    spans.append(("answer_window", trial.answer_window))
    for kind, table, parts in (("targets", trial.targets or (), 3), ("auxiliary", trial.auxiliary, 4)):
        for number, entry in enumerate(table):
            if not isinstance(entry, (tuple, list)) or len(entry) != parts:
                raise Fault(f"{what}{kind}[{number}]={entry!r}; give {parts} values, as Trial says")
            spans.append((f"{kind}[{number}]", tuple(entry[parts - 3 : parts - 1])))
    for name, span in spans:
        if not isinstance(span, (tuple, list)) or len(span) != 2 or not all(map(is_number, span)) or span[0] >= span[1]:
            raise Fault(f"{what}{name}={span!r}; give (start, end) in ms, the start before the end")
        if span[0] < -1e-6 or span[1] > length + 1e-6:
            raise Fault(f"{what}{name}={_brief(span)} ms is not within the movie of {length:g} ms; change one of them")
    end = trial.answer_window[1]
    if not is_number(trial.answer_from) or not 0 <= trial.answer_from < end:
        raise Fault(
            f"{what}answer_from={trial.answer_from!r}; give a time from 0 to before the answer window's end ({end:g} ms)"
        )


def _check_answer(what: str, task: VisualTask, trial: Trial) -> None:
    """Raise a fault unless what is right is an action, and one that can be chosen."""
    options = tuple(task.options)
    if not is_action(trial.answer, task.actions) or trial.answer not in options:
        known = ", ".join(f"{option} ({task.actions[option]})" for option in options)
        raise Fault(f"{what}answer={trial.answer!r}; give one of the task's options as a whole number: {known}")
    for number, (_, _, action) in enumerate(trial.targets or ()):
        if not is_action(action, task.actions):
            raise Fault(f"{what}targets[{number}] has the action {action!r}; give a whole number below {len(task.actions)}")
    start, end = trial.answer_window
    within = {action for first, last, action in trial.segments if first < end and last > start}
    if trial.answer != FIXATE and trial.answer not in within:
        raise Fault(f"{what}answer={trial.answer}, but targets never has it within the answer window; make them agree")
    for number, (name, _, _, kind) in enumerate(trial.auxiliary):
        classes = len(task.soft_targets[name]) if name in task.soft_targets else math.inf
        if not isinstance(name, str) or not isinstance(kind, Integral) or not 0 <= kind < classes:
            raise Fault(
                f"{what}auxiliary[{number}]={trial.auxiliary[number]!r}; give a name, two times and a class from 0 on"
            )
    lacking = {"sample", "shown"} - {name for name, *_ in trial.auxiliary} if task.compared is not None else ()
    if lacking:
        raise Fault(f"{what}auxiliary lacks {min(lacking)!r}, which a task with `compared` needs")


def _same(one: Trial, other: Trial) -> bool:
    """Whether two trials are equal, in their pixels as well."""

    def rest(trial: Trial) -> tuple[Any, ...]:
        movie = trial.movie
        times = (tuple(movie.onsets_ms), movie.duration_ms, tuple(movie.shown), tuple(trial.periods.items()))
        answer = (trial.answer, tuple(trial.answer_window), trial.answer_from, trial.segments, trial.auxiliary)
        return (*times, *answer, tuple(trial.conditions.items()))

    return rest(one) == rest(other) and np.array_equal(one.movie.frames, other.movie.frames)


def _brief(span: Sequence[float]) -> str:
    return f"({span[0]:g}, {span[1]:g})"
