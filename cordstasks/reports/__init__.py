"""What a run says of its trained model: numbers, figures and a short table, in the terms of its task."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from cordstasks.files import read_json
from cordstasks.frontend import Features
from cordstasks.model import MultiAreaModel
from cordstasks.runs import RunFolder, restoring
from cordstasks.tasks import TrialBatch, VisualTask
from cordstasks.training import TrialSet

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
    """Raise an InputError if the held-out trials are too few for the task's report."""
    _of(task.id).check(heldout)


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
