"""Tasks: trials with what is shown, what is right and when; and the same as Gymnasium environments.

`get` finds a task by the name that commands take. Importing this module imports neither torch nor neurogym.
"""

from __future__ import annotations

from inspect import signature
from typing import Any

from cordstasks.errors import InputError, unknown
from cordstasks.tasks.random_dots import RandomDotsTask
from cordstasks.tasks.registration import register
from cordstasks.tasks.visual import Trial, TrialBatch, VisualTask

__all__ = ["RandomDotsTask", "Trial", "TrialBatch", "VisualTask", "get", "names", "register"]

_TASKS: dict[str, type[VisualTask]] = {task.id: task for task in (RandomDotsTask,)}


def names() -> tuple[str, ...]:
    """The names that `get` knows."""
    return tuple(_TASKS)


def get(name: str, **parameters: Any) -> VisualTask:
    """The task of that name, with its published parameters unless others are given.

    Raises
    ------
    InputError : an unknown task, or a parameter that it does not have or that is out of range.
    """
    if name not in _TASKS:
        raise unknown("task", name, _TASKS)
    task = _TASKS[name]
    known = list(signature(task).parameters)
    strange = [parameter for parameter in parameters if parameter not in known]
    if strange:
        raise unknown(f"parameter of task {name}", strange[0], known)
    try:
        return task(**parameters)
    except TypeError as error:
        raise InputError(f"task {name}: {error}") from error
