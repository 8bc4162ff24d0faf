"""What a report is made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cordstasks.frontend.features import Features
from cordstasks.model import MultiAreaModel
from cordstasks.tasks import TrialBatch, VisualTask
from cordstasks.training.settings import VisualSettings
from cordstasks.training.trials import TrialSet
from cordstasks.utils.run_folder import RunFolder

__all__ = ["Material"]


@dataclass(frozen=True)
class Material:
    """What a report is made from.

    Attributes
    ----------
    task : VisualTask
    model : MultiAreaModel
        The trained model.
    heldout : TrialBatch
        The held-out trials.
    trials : TrialSet
        The same with their inputs.
    inputs : callable
        Turns further trials, such as controls, into inputs of the model; takes a label for the progress bar.
    rng : numpy.random.Generator
        For controls, bootstraps and permutations.
    folder : RunFolder
        Where figures go, and where the log is.
    settings : VisualSettings
        Of the run.
    """

    task: VisualTask
    model: MultiAreaModel
    heldout: TrialBatch
    trials: TrialSet
    inputs: Callable[[TrialBatch, str], Features]
    rng: np.random.Generator
    folder: RunFolder
    settings: VisualSettings
