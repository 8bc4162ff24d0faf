"""A task of one's own, tried when it is loaded: what it declares, and trials of its conditions.

Without this, a window in which no answer can be read or an answer that is no action would show as chance performance after
hours of training.
"""

from __future__ import annotations

import re
from dataclasses import is_dataclass
from inspect import signature
from time import perf_counter
from typing import Any

from cordstasks.errors import InputError
from cordstasks.tasks.abstract.base import AbstractTask
from cordstasks.tasks.checking import abstract, visual
from cordstasks.tasks.checking.common import Fault
from cordstasks.tasks.registry import definition_of, line_of
from cordstasks.tasks.visual.base import VisualTask

__all__ = ["check_task"]

_SECONDS = 0.5  # after which no further trials are tried
_PASSED: set[tuple[type, str]] = set()  # classes with their parameters, so that a command tries each once


def check_task(task: VisualTask | AbstractTask, *, source: str) -> None:
    """Try a task: what it declares, its design, and trials of its conditions, each value of a condition at least once.

    A trial must fit its periods and the task's actions, and follow from its random generator alone. Trying ends after half
    a second, so a task whose trials are slow to draw is tried less.

    Parameters
    ----------
    task : VisualTask or AbstractTask
    source : str
        What the user calls it, its file or its id, to name in the message.

    Raises
    ------
    InputError
        If something is wrong; the message names `source`, the line, the class, and what is wrong.
    """
    values = [getattr(task, name, None) for name in signature(type(task)).parameters]
    passed = (type(task), repr(values))
    if is_dataclass(task) and passed in _PASSED:
        return
    try:
        _check_whole(task, deadline=perf_counter() + _SECONDS)
    except Fault as fault:
        cause = fault.__cause__
        where = line_of(type(task), cause) if cause is not None else ""
        if not where and source.endswith(".py"):
            where = definition_of(type(task), _subject(str(fault)))
        raise InputError(f"task {source}{where}: {type(task).__name__}.{fault}") from cause
    _PASSED.add(passed)


def _check_whole(task: Any, *, deadline: float) -> None:
    (abstract if isinstance(task, AbstractTask) else visual).check(task, deadline=deadline)


def _subject(fault: str) -> str:
    """The attribute or method that a fault is about: the last of a chain such as ``for_training().design()``."""
    found = re.match(r"(?:\w+\(\)\.)*(\w+)", fault)
    return "" if found is None else found[1]
