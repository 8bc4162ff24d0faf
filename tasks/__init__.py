"""Tasks: trials with what is shown, what is right and when; and the same as Gymnasium environments.

`get` finds a task by the name that commands take, or loads it from a file. Importing this module imports neither torch
nor neurogym. ``python -m cordstasks.tasks`` lists the tasks and draws their trials.
"""

from __future__ import annotations

from inspect import signature
from typing import Any, Literal, overload

from cordstasks.errors import InputError, unknown
from cordstasks.tasks.abstract.base import AbstractBatch, AbstractTask
from cordstasks.tasks.abstract.decisions import ContextualDecisionTask, MultisensoryDecisionTask, PerceptualDecisionTask
from cordstasks.tasks.abstract.working_memory import DelayedMatchToSampleTask, MemoryProTask, ParametricWorkingMemoryTask
from cordstasks.tasks.checking import check_task
from cordstasks.tasks.environments.registration import register
from cordstasks.tasks.registry import forget, line_of, load_file, names, reason_of, register_task, registered, reserve
from cordstasks.tasks.visual.base import Decisions, Trial, TrialBatch, VisualTask
from cordstasks.tasks.visual.catdog import CatDogTask
from cordstasks.tasks.visual.numerosity import NumerosityTask
from cordstasks.tasks.visual.random_dots import RandomDotsTask
from cordstasks.tasks.visual.saccade import MemorySaccadeTask

__all__ = [
    "AbstractBatch",
    "AbstractTask",
    "CatDogTask",
    "ContextualDecisionTask",
    "Decisions",
    "DelayedMatchToSampleTask",
    "MemoryProTask",
    "MemorySaccadeTask",
    "MultisensoryDecisionTask",
    "NumerosityTask",
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
    "register_task",
]

AbstractName = Literal["perceptual-dm", "parametric-wm", "multisensory-dm", "contextual-dm", "dms", "memory-pro"]

for _task in (RandomDotsTask, NumerosityTask, CatDogTask, MemorySaccadeTask):
    register_task(_task)
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
reserve(_ABSTRACT)


def abstract_names() -> tuple[str, ...]:
    """Names of the abstract tasks, whose trials are numbers and need no front-end."""
    return tuple(_ABSTRACT)


@overload
def get(name: AbstractName, **parameters: Any) -> AbstractTask: ...


@overload
def get(name: str, **parameters: Any) -> Any: ...


def get(name: str, **parameters: Any) -> VisualTask | AbstractTask:
    """The task of that name, with its published parameters unless others are given.

    Parameters
    ----------
    name : one of `names()` or `abstract_names()`, or the path of a Python file (``.py``) that registers a task with
        `register_task`.
    **parameters : the task's.

    Raises
    ------
    InputError : an unknown task, a file that does not define one, or a parameter that the task does not have or that is
        out of range. A task of one's own is tried as well (`cordstasks.tasks.checking`): it is refused if its design or its
        trials are not possible ones.
    """
    task: type[VisualTask] | type[AbstractTask]
    if str(name).endswith(".py"):
        task = load_file(name)
    elif name in names():
        task = registered(name)
    elif name in _ABSTRACT:
        task = _ABSTRACT[name]
    else:
        raise unknown("task", name, (*names(), *_ABSTRACT))
    known = list(signature(task).parameters)
    strange = [parameter for parameter in parameters if parameter not in known]
    if strange:
        raise unknown(f"parameter of task {task.id}", strange[0], known)
    if not task.__module__.startswith("cordstasks."):
        return _tried(task, str(name), parameters)
    try:
        return task(**parameters)
    except TypeError as error:
        raise InputError(f"task {task.id}: {error}") from error


def _tried(task: type[Any], source: str, parameters: dict[str, Any]) -> Any:
    """A task of a user's own class, whose code may fail in any way."""
    try:
        try:
            made = task(**parameters)
        except InputError:
            raise
        except Exception as error:
            where = line_of(task, error)
            raise InputError(f"task {source}{where}: {task.__name__}: {reason_of(error)}") from error
        check_task(made, source=source)
    except InputError:
        if not parameters:  # a file whose task is wrong as it stands defines none
            forget(task)
        raise
    return made
