"""What a run says of its trained model: numbers, figures and a short table, in the terms of its task.

A report says what can be computed from the trials there are. What cannot, such as the width of tuning to four places, is
left out, and why is in the summary's ``"left_out"`` and in the table.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from cordstasks.errors import InputError
from cordstasks.frontend.frontend import Features
from cordstasks.model import MultiAreaModel
from cordstasks.tasks import TrialBatch, VisualTask
from cordstasks.training.visual import TrialSet
from cordstasks.utils.files import read_json
from cordstasks.utils.run_folder import RunFolder
from cordstasks.utils.states import restoring

__all__ = ["Material", "check", "make", "table"]


@dataclass(frozen=True)
class Material:
    """What a report is made from.

    Attributes
    ----------
    task, model : the task and the trained model.
    heldout, trials : the held-out trials, and the same with their inputs.
    inputs : turns further trials, such as controls, into inputs of the model; takes a label for the progress bar.
    rng : for controls, bootstraps and permutations.
    folder : where figures go, and where the log is.
    """

    task: VisualTask
    model: MultiAreaModel
    heldout: TrialBatch
    trials: TrialSet
    inputs: Callable[[TrialBatch, str], Features]
    rng: np.random.Generator
    folder: RunFolder


_OF_TASKS = {"rdm": "random_dots", "numerosity": "numerosity", "catdog": "catdog", "saccade": "saccade"}


def _of(task: str) -> ModuleType:
    """The module that reports on a task; a general one for tasks of users' own."""
    return importlib.import_module(f"cordstasks.reports.{_OF_TASKS.get(task, 'general')}")


def check(task: VisualTask, heldout: TrialBatch) -> None:
    """Raise an InputError if nothing can be reported of the held-out trials; found out before anything is computed."""
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
            "mend one of them"
        )


def make(material: Material) -> dict[str, Any]:
    """The part of the summary that the task's report contributes; figures are written into the run folder."""
    made: dict[str, Any] = _of(material.task.id).report(material)
    return made


def table(summary: Path) -> str:
    """The short table that a command prints at its end, from a summary.json."""
    content = read_json(summary)
    with restoring(summary, "remove it, and --resume makes it again"):
        text: str = _of(content["task"]).table(content, summary.parent)
    return text
