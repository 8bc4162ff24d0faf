"""A teacher for tasks with a stationary stream of evidence: the difference between two answers' lagged covariances.

A thousand movies are few for a recurrent network of hundreds of units: with labels alone, it overfits. On average over
time, two opposite directions of motion differ in which features follow which others. The difference between the two
answers' lagged covariances of the training features is a matrix. It defines a quadratic decision variable, which
generalises from few movies and has a value at every moment, for any sequence of features. The recurrent network learns to
reproduce its running value: knowledge distillation by regression on logits (Ba & Caruana,
NeurIPS 2014; Hinton, Vinyals & Dean 2015). The teacher uses only the training trials and their answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cordstasks.errors import InputError
from cordstasks.frontend.features import Features
from cordstasks.model import principal_components, projected
from cordstasks.training.settings import VisualSettings

__all__ = ["Teacher", "check_number", "fit_teacher", "running_evidence"]

FEWEST = 4  # training trials that a comparison needs


@dataclass(frozen=True)
class Teacher:
    """A quadratic decision variable on projected features.

    Attributes
    ----------
    mean : Tensor of shape (unit,)
        What is subtracted from features.
    projection : Tensor of shape (unit, input)
        Projection onto the directions in which lagged covariances differ most between the two answers.
    matrix : Tensor of shape (input, input)
        Antisymmetric matrix.
    lags : tuple of int
        Lags in time steps.
    """

    mean: Tensor
    projection: Tensor
    matrix: Tensor
    lags: tuple[int, ...]


def running_evidence(inputs: Tensor, matrix: Tensor, lags: tuple[int, ...], evidence: Tensor) -> Tensor:
    """Log odds (trial, time) of the first answer against the second, summed up to each step.

    Parameters
    ----------
    inputs : Tensor of shape (trial, time, input)
        Projected features.
    matrix : Tensor of shape (input, input)
        Antisymmetric matrix.
    lags : tuple of int
        Lags in time steps.
    evidence : Tensor of shape (trial, time), bool
        Steps that count.

    Returns
    -------
    Tensor of shape (trial, time)
        In natural logarithms.
    """
    turned = inputs @ matrix
    momentary = inputs.new_zeros(inputs.shape[:2])
    for lag in lags:
        both = evidence[:, lag:] & evidence[:, :-lag]
        momentary[:, lag:] += (turned[:, :-lag] * inputs[:, lag:]).sum(2) * both
    return momentary.cumsum(1)


def check_number(trials: int) -> None:
    """Raise an InputError if there are too few training trials to fit a teacher."""
    if trials < FEWEST:
        raise _too_few(trials)


def _too_few(trials: int) -> InputError:
    return InputError(f"trials={trials}: too few to learn from; give hundreds")


@torch.no_grad()
def fit_teacher(features: Features, first: Tensor, evidence: Tensor, settings: VisualSettings) -> Teacher:
    """Fit a teacher to training trials.

    Parameters
    ----------
    features : Features
        Features of the front-end.
    first : Tensor of shape (trial,), bool
        Whether the first of the two answers is right.
    evidence : Tensor of shape (trial, time), bool
        Steps from stimulus onset to the answer.
    settings : VisualSettings
        ``dt``, the number of directions to keep (``inputs``), and what concerns the teacher.

    Returns
    -------
    Teacher
        Directions and matrix in which the two answers differ most.

    Raises
    ------
    InputError
        If there are too few trials to compare anything.
    """
    assert settings.inputs is not None
    inputs = settings.inputs
    lags = tuple(sorted({max(1, round(lag / settings.dt)) for lag in settings.lags_ms}))
    # with more components than trials, the matrix would hold more noise than motion
    enough = max(inputs, int(settings.components_per_trial * len(features)))
    components = min(settings.components, enough, features.units, len(features.index[evidence].unique()) - 1)
    if len(features) < FEWEST or components < 2:
        raise _too_few(len(features))
    mean, whitening = principal_components(features, evidence, components, whiten=True)
    white = projected(features, mean, whitening)
    sign = torch.where(first, 1.0, -1.0).to(whitening)
    difference = whitening.new_zeros(components, components)
    for start in range(0, len(features), 64):
        part = slice(start, start + 64)
        z = white.take(part) * evidence[part][..., None]
        for lag in lags:
            lagged = torch.einsum("n,nti,ntj->ij", sign[part], z[:, :-lag], z[:, lag:])
            difference += lagged - lagged.T
    kept = whitening.new_zeros(components, inputs)  # with few trials, the remaining channels stay silent
    kept[:, :components] = torch.linalg.svd(difference)[0][:, :inputs]
    projection, matrix = whitening @ kept, kept.T @ difference @ kept
    seen = projected(features, mean, projection)
    final = [
        running_evidence(seen.take(part), matrix, lags, evidence[part])[:, -1]
        for part in (slice(start, start + 64) for start in range(0, len(features), 64))
    ]
    return Teacher(mean, projection, matrix * (settings.odds_gain / torch.cat(final).std().clamp_min(1e-12)), lags)
