"""Tasks: trials with what is shown, what is right and when; and the same as Gymnasium environments.

`get` finds a task by the name that commands take, or loads it from a file. Importing this module imports neither torch
nor neurogym. ``python -m cordstasks.tasks`` lists the tasks and draws their trials.
"""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any

from cordstasks.errors import InputError, unknown
from cordstasks.tasks.abstract.base import AbstractBatch, AbstractTask, Schedule
from cordstasks.tasks.abstract.decisions import ContextualDecisionTask, MultisensoryDecisionTask, PerceptualDecisionTask
from cordstasks.tasks.abstract.working_memory import DelayedMatchToSampleTask, MemoryProTask, ParametricWorkingMemoryTask
from cordstasks.tasks.batch import Batch
from cordstasks.tasks.checking import check_task
from cordstasks.tasks.environments.registration import register
from cordstasks.tasks.registry import (
    abstract_names,
    definition_of,
    forget,
    is_abstract,
    line_of,
    load_built_in,
    names,
    reason_of,
    register_task,
    task_class,
)
from cordstasks.tasks.visual.base import Trial, TrialBatch, VisualTask
from cordstasks.tasks.visual.catdog import CatDogTask
from cordstasks.tasks.visual.numerosity import NumerosityTask
from cordstasks.tasks.visual.random_dots import RandomDotsTask
from cordstasks.tasks.visual.saccade import MemorySaccadeTask

__all__ = [
    "AbstractBatch",
    "AbstractTask",
    "Batch",
    "CatDogTask",
    "ContextualDecisionTask",
    "DelayedMatchToSampleTask",
    "MemoryProTask",
    "MemorySaccadeTask",
    "MultisensoryDecisionTask",
    "NumerosityTask",
    "ParametricWorkingMemoryTask",
    "PerceptualDecisionTask",
    "RandomDotsTask",
    "Schedule",
    "Trial",
    "TrialBatch",
    "VisualTask",
    "abstract_names",
    "get",
    "is_abstract",
    "names",
    "register",
    "register_task",
]

load_built_in()


def get(name: str | Path, **parameters: Any) -> Any:
    """The task of that name, with its published parameters unless others are given.

    Parameters
    ----------
    name : str or Path
        One of `names()` or `abstract_names()`, or a Python file (``.py``) that registers a task with `register_task`.
    **parameters : object
        The task's.

    Returns
    -------
    VisualTask or AbstractTask

    Raises
    ------
    InputError
        If there is no such task, a file does not define one, or the task lacks a parameter or cannot have its value. A
        task of one's own is tried as well (`cordstasks.tasks.checking`): it is refused if its design or its trials are
        not possible ones.
    """
    task = task_class(name)
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
        except Exception as error:
            if isinstance(error, InputError) and parameters:
                raise  # of a parameter that the caller gave
            where = line_of(task, error)
            if not where and source.endswith(".py"):
                where = definition_of(task, str(error).partition("=")[0])
            raise InputError(f"task {source}{where}: {task.__name__}: {reason_of(error)}") from error
        check_task(made, source=source)
    except InputError:
        if not parameters:  # a file whose task is wrong as it stands defines none
            forget(task)
        raise
    return made
