"""What trying a visual and an abstract task has in common: actions, periods, design."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from cordstasks.errors import InputError
from cordstasks.tasks.registry import reason_of
from cordstasks.tasks.timing import check_duration
from cordstasks.tasks.visual.base import Condition

LEAST = 3  # trials of each design that are tried however long they take, and tried twice


class Fault(Exception):
    """What is wrong with a task, beginning with the attribute or method that it is about."""


def call(what: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """The result of the user's code, or a fault that says what it raised."""
    try:
        return function(*arguments, **named)
    except Exception as error:
        raise Fault(f"{what} fails: {reason_of(error)}") from error


def check_actions(task: Any) -> tuple[str, ...]:
    """The names of a task's actions, or a fault."""
    actions = call("actions", lambda: task.actions)
    if not isinstance(actions, (tuple, list)) or not all(isinstance(action, str) for action in actions):
        raise Fault(f"actions={actions!r}: give a tuple of names, such as ('fixate', 'left', 'right')")
    if len(actions) < 2 or len(set(actions)) < len(actions):
        raise Fault(f"actions={actions!r}: give two or more different names, the first for fixating")
    return tuple(actions)


def check_timing(task: Any, *, positive: bool) -> None:
    """Raise a fault unless a task's periods have names and possible durations."""
    timing = call("timing", lambda: task.timing)
    if not isinstance(timing, Mapping) or not timing or not all(isinstance(name, str) for name in timing):
        raise Fault(f"timing={timing!r}: give {{period: duration in ms}}, such as {{'fixation': self.fixation}}")
    for name, duration in timing.items():
        try:
            check_duration(name, duration, positive=positive)
        except InputError as error:
            raise Fault(f"timing: {error}") from None


def check_design(
    what: str, design: Any, *, reserved: Sequence[str], kinds_of: tuple[type, ...]
) -> list[dict[str, Condition]]:
    """The rows of a design, those first that hold a value of a condition for the first time; or a fault.

    Parameters
    ----------
    what : str
        What the fault calls the design.
    design : object
        What the user's code returned.
    reserved : sequence of str
        Names that a condition cannot have.
    kinds_of : tuple of type
        What values may be: ``(float,)``, or ``(float, str)`` where names are possible.
    """
    if not isinstance(design, (list, tuple)) or not design or not all(isinstance(row, Mapping) and row for row in design):
        raise Fault(f"{what}={design!r:.60}: give a list with one {{condition: value}} for each combination")
    kinds = {name: isinstance(value, str) for name, value in design[0].items()}
    for name in kinds:
        if not isinstance(name, str) or name in reserved:
            raise Fault(f"{what}: a condition cannot be called {name!r}; choose another name")
    wanted = "finite numbers in all rows, or names in all" if str in kinds_of else "finite numbers"
    seen: set[tuple[str, Condition]] = set()
    first: list[dict[str, Condition]] = []
    rest: list[dict[str, Condition]] = []
    for number, row in enumerate(design):
        if set(row) != set(kinds):
            raise Fault(
                f"{what}: row {number} has the conditions {list(row)}, and row 0 {list(kinds)}; give all rows the same"
            )
        for name, value in row.items():
            named = isinstance(value, str) and str in kinds_of
            if isinstance(value, str) != kinds[name] or not (named or is_number(value, boolean=True)):
                raise Fault(f"{what}: row {number} has {name}={value!r}; give {wanted}")
        new = set(row.items()) - seen
        seen |= new
        (first if new else rest).append(dict(row))
    return first + rest


def is_number(value: Any, *, boolean: bool = False) -> bool:
    """Whether a value is a finite real number; True and False are none, unless `boolean`."""
    return isinstance(value, Real) and (boolean or not isinstance(value, bool)) and math.isfinite(value)


def is_whole(value: Any, least: int) -> bool:
    """Whether a value is a whole number of at least `least`."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def is_action(value: Any, actions: Sequence[str]) -> bool:
    """Whether a value is the number of an action."""
    return is_whole(value, 0) and int(value) < len(actions)


def stated(row: Mapping[str, Condition]) -> str:
    """Conditions as arguments: ``tilt=1.0, side=-1.0``."""
    return ", ".join(f"{name}={value!r}" for name, value in row.items())
