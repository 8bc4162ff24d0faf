"""The report of a run on its trained model: numbers, figures and a short table, in the terms of its task.

A report contains what can be computed from the held-out trials. Other results, such as the tuning width for four
locations, are left out. The summary's ``"left_out"`` and the table give the reason.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cordstasks.errors import InputError
from cordstasks.reports import common, general
from cordstasks.reports.material import Material
from cordstasks.tasks import TrialBatch, VisualTask, names
from cordstasks.tasks.registry import file_of, line_of, reason_of, task_class
from cordstasks.utils.files import read_json
from cordstasks.utils.states import restoring

__all__ = ["Material", "check", "make", "table"]


# keys that a run itself writes into the summary
RESERVED = ("task", "frontend", "weights", "read", "seed", "training", "bank", "seconds", "environment")


@dataclass(frozen=True)
class _Report:
    """How a task's class reports: the summary's part from a `Material`, and the short table from the whole summary."""

    task: type[VisualTask]
    report: Callable[[Material], Any]
    table: Callable[[dict[str, Any], Path], Any]

    @classmethod
    def of(cls, task: type[VisualTask]) -> _Report:
        """The report of a task's class: see `VisualTask.report`."""
        given = task.report
        if isinstance(given, str):
            try:
                given = importlib.import_module(given)
            except ModuleNotFoundError as error:
                raise InputError(f"task {task.id}: report={given!r}: there is no such module ({error})") from error
        report = getattr(given, "report", given)
        if not callable(report):
            raise InputError(f"task {task.id}: report={given!r}: is no function and has no function report; give it one")
        return cls(task, report, getattr(given, "table", general.table))

    def call(self, name: str, *arguments: Any) -> Any:
        """What the function `name` returns; in a user's own, whatever goes wrong is an error that names it."""
        function = getattr(self, name)
        if function.__module__.startswith("cordstasks."):
            return function(*arguments)
        try:
            return function(*arguments)
        except Exception as error:
            where = f"{file_of(self.task) or self.task.id}{line_of(self.task, error)}"
            raise InputError(f"task {where}: its {name} fails: {reason_of(error)}; fix it, and continue the run") from error


def check(task: VisualTask, heldout: TrialBatch) -> None:
    """Raise an InputError if nothing can be reported of the held-out trials; checked before anything is computed.

    Parameters
    ----------
    task : VisualTask
    heldout : TrialBatch

    Raises
    ------
    InputError
        If the trials have one answer only, or one that is no option of the task, or the task names no possible report.
    """
    _Report.of(type(task))
    answers = np.unique(heldout.answers)
    if len(answers) < 2:
        raise InputError(
            f"heldout={len(heldout)}: all of these trials have the same right answer, so that no score could be told "
            "from chance; give more trials"
        )
    if not np.isin(answers, task.options).all():
        wrong = answers[~np.isin(answers, task.options)][0]
        raise InputError(
            f"task {task.id}: trials have the right answer {wrong}, which is none of the task's options {task.options}; "
            "change one of them"
        )


def make(material: Material) -> dict[str, Any]:
    """The part of the summary that the task's report contributes; figures are written into the run folder.

    Parameters
    ----------
    material : Material

    Returns
    -------
    dict of str to object
        With ``"heldout"``, which is added where a report of one's own has none.

    Raises
    ------
    InputError
        If a report of one's own fails, or returns what a summary cannot hold.
    """
    report = _Report.of(type(material.task))
    result = report.call("report", material)
    about = f"task {material.task.id}: its report"
    if not isinstance(result, Mapping) or not all(isinstance(name, str) for name in result):
        raise InputError(f"{about} returns {result!r:.60}; return a dictionary with names as keys")
    for name in RESERVED:
        if name in result:
            raise InputError(f"{about} returns {name!r}, which the run itself writes; choose another name")
    try:
        json.dumps(result, allow_nan=False, default=lambda value: value.tolist())
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{about} returns what JSON cannot hold ({error}); return finite numbers, texts and lists"
        ) from error
    if "heldout" in result:
        return dict(result)
    names = np.array(material.task.actions)[material.heldout.answers]
    return {"heldout": common.heldout(material, common.behaviour(material), {"answer": names}), **result}


def table(summary: Path) -> str:
    """The short table that a command prints at its end, from a summary.json."""
    content = read_json(summary)
    with restoring(summary, "remove it, and --resume makes it again"):
        return str(_Report.of(_class_of(content["task"], summary.parent)).call("table", content, summary.parent))


def _class_of(task: str, folder: Path) -> type[VisualTask]:
    """The class of a run's task, which config.json names if it is in a file; without that file, any task's."""
    if task in names():
        return task_class(task)  # type: ignore[return-value]
    try:
        found = task_class(read_json(folder / "config.json")["task"])
    except (InputError, KeyError, TypeError):
        return VisualTask
    return found if issubclass(found, VisualTask) else VisualTask
