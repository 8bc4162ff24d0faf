"""What a run says of its trained model: numbers, figures and a short table, in the terms of its task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cordstasks.files import read_json
from cordstasks.frontend import Features
from cordstasks.model import MultiAreaModel
from cordstasks.runs import RunFolder
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


def check(task: VisualTask, heldout: TrialBatch) -> None:
    """Raise an InputError if the held-out trials are too few for the task's report."""
    from cordstasks.reports import random_dots

    {"rdm": random_dots.check}[task.id](heldout)


def make(material: Material) -> dict[str, Any]:
    """The part of the summary that the task's report contributes; figures are written into the run folder."""
    from cordstasks.reports import random_dots

    return {"rdm": random_dots.report}[material.task.id](material)


def table(summary: Path) -> str:
    """The short table that a command prints at its end, from a summary.json."""
    from cordstasks.reports import random_dots

    content = read_json(summary)
    return {"rdm": random_dots.table}[content["task"]](content, summary.parent)
