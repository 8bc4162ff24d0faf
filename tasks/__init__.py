"""Tasks: trials with what is shown, what is right and when; and the same as Gymnasium environments.

`get` finds a task by the name that commands take. Importing this module imports neither torch nor neurogym.
"""

from __future__ import annotations

from inspect import signature
from typing import Any, Literal, overload

from cordstasks.errors import InputError, unknown
from cordstasks.tasks.abstract import AbstractBatch, AbstractTask
from cordstasks.tasks.decisions import ContextualDecisionTask, MultisensoryDecisionTask, PerceptualDecisionTask
from cordstasks.tasks.random_dots import RandomDotsTask
from cordstasks.tasks.registration import register
from cordstasks.tasks.visual import Trial, TrialBatch, VisualTask
from cordstasks.tasks.working_memory import DelayedMatchToSampleTask, MemoryProTask, ParametricWorkingMemoryTask

__all__ = [
    "AbstractBatch",
    "AbstractTask",
    "ContextualDecisionTask",
    "DelayedMatchToSampleTask",
    "MemoryProTask",
    "MultisensoryDecisionTask",
    "ParametricWorkingMemoryTask",
    "PerceptualDecisionTask",
    "RandomDotsTask",
    "Trial",
    "TrialBatch",
    "VisualTask",
    "abstract_names",
    "get",
    "names",
    "register",
]

AbstractName = Literal["perceptual-dm", "parametric-wm", "multisensory-dm", "contextual-dm", "dms", "memory-pro"]

_VISUAL: dict[str, type[VisualTask]] = {task.id: task for task in (RandomDotsTask,)}
_ABSTRACT: dict[str, type[AbstractTask]] = {
    task.id: task
    for task in (
        PerceptualDecisionTask,
        ParametricWorkingMemoryTask,
        MultisensoryDecisionTask,
        ContextualDecisionTask,
        DelayedMatchToSampleTask,
        MemoryProTask,
    )
}
_TASKS: dict[str, type[VisualTask] | type[AbstractTask]] = {**_VISUAL, **_ABSTRACT}


def names() -> tuple[str, ...]:
    """Names of the visual tasks, whose trials are movies."""
    return tuple(_VISUAL)


def abstract_names() -> tuple[str, ...]:
    """Names of the abstract tasks, whose trials are numbers and need no front-end."""
    return tuple(_ABSTRACT)


@overload
def get(name: AbstractName, **parameters: Any) -> AbstractTask: ...


@overload
def get(name: str, **parameters: Any) -> Any: ...


def get(name: str, **parameters: Any) -> VisualTask | AbstractTask:
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
