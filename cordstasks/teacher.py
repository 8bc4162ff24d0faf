"""A teacher for tasks whose evidence is a stationary stream: how two answers' lagged covariances differ.

A thousand movies are few for a recurrent network of hundreds of units: from labels alone it learns the movies by heart.
What tells two opposite directions of motion apart, on average over time, is which features follow which. The difference
between the two answers' lagged covariances of the training features is a quadratic decision variable with one estimated
matrix, which generalises from such numbers; and it has a value at every moment, for any sequence of features. The
recurrent network learns to reproduce its running value: knowledge distillation by regression on logits (Ba & Caruana,
NeurIPS 2014; Hinton, Vinyals & Dean 2015). Nothing but the training trials and their answers enters it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cordstasks.errors import InputError
from cordstasks.frontend import Features
from cordstasks.model import inverse_root

__all__ = ["Teacher", "fit_teacher"]

LAGS_MS = (20.0, 40.0, 60.0)
COMPONENTS = 200  # principal components in which covariances are compared
GAIN = 3.0  # standard deviation of the final log odds over training trials that the matrix has not seen
FOLDS = 8


@dataclass(frozen=True)
class Teacher:
    """A quadratic decision variable on projected features.

    Attributes
    ----------
    mean : (unit,), subtracted from features.
    projection : (unit, input): onto the directions in which lagged covariances differ most between the two answers.
    matrices : antisymmetric (fold, input, input): each from the trials of all other folds. A trial is followed with the
        matrix of its own fold, which knows nothing of it: on trials that it has seen, a matrix of so many entries says
        far more than on others, and a network that learnt to say so too would learn the movies by heart.
    folds : int64 (trial,), the fold of each training trial.
    lags : in time steps.
    """

    mean: Tensor
    projection: Tensor
    matrices: Tensor
    folds: Tensor
    lags: tuple[int, ...]

    @property
    def matrix(self) -> Tensor:
        """The mean matrix (input, input), which stands for all training trials; for others than those."""
        return self.matrices.mean(0)


def running_evidence(inputs: Tensor, matrix: Tensor, lags: tuple[int, ...], evidence: Tensor) -> Tensor:
    """Log odds (trial, time) of the first answer against the second, summed up to each step.

    Parameters
    ----------
    inputs : projected features (trial, time, input).
    matrix : antisymmetric (input, input), or one for each trial (trial, input, input).
    lags : in time steps.
    evidence : bool (trial, time): steps that count.
    """
    turned = inputs @ matrix
    momentary = inputs.new_zeros(inputs.shape[:2])
    for lag in lags:
        both = evidence[:, lag:] & evidence[:, :-lag]
        momentary[:, lag:] += (turned[:, :-lag] * inputs[:, lag:]).sum(2) * both
    return momentary.cumsum(1)


@torch.no_grad()
def fit_teacher(features: Features, first: Tensor, evidence: Tensor, *, dt: float, inputs: int = 64) -> Teacher:
    """Fit a teacher to training trials.

    Parameters
    ----------
    features : of the front-end.
    first : bool (trial,), whether the first of the two answers is right.
    evidence : bool (trial, time), steps from stimulus onset to the answer.
    dt : duration of a time step in ms.
    inputs : directions to keep.

    Raises
    ------
    InputError : too few trials to compare anything.
    """
    lags = tuple(sorted({max(1, round(lag / dt)) for lag in LAGS_MS}))
    rows = features.rows[features.index[evidence].unique()].float()
    components = min(COMPONENTS, features.units, len(rows) - 1)
    if len(features) < 4 or components < 2:
        raise InputError(f"--trials {len(features)}: too few to learn from; give hundreds")
    mean, deviation = rows.mean(0), rows.std(0)
    scale = 1 / deviation.clamp_min(1e-6).add(0.1 * deviation.mean())
    centred = (rows - mean) * scale
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(rows))
    whitening = scale[:, None] * vectors[:, -components:] * inverse_root(values[-components:])
    sign = torch.where(first, 1.0, -1.0)
    # trials that follow each other may be a pair of the same dots, which belongs in one fold
    folds = torch.arange(len(features), device=rows.device) // 2 % FOLDS
    parts = torch.zeros(FOLDS, components, components, device=rows.device)
    for start in range(0, len(features), 64):
        part = slice(start, start + 64)
        z = ((features.take(part) - mean) @ whitening) * evidence[part][..., None]
        for lag in lags:
            lagged = torch.einsum("nti,ntj->nij", sign[part, None, None] * z[:, :-lag], z[:, lag:])
            parts.index_add_(0, folds[part], lagged - lagged.transpose(1, 2))
    difference = parts.sum(0)
    kept = torch.zeros(components, inputs, device=rows.device)  # channels that few trials leave over stay silent
    kept[:, :components] = torch.linalg.svd(difference)[0][:, :inputs]
    projection, matrices = whitening @ kept, kept.T @ (difference - parts) @ kept
    final = []
    for start in range(0, len(features), 64):
        part = slice(start, start + 64)
        z = (features.take(part) - mean) @ projection
        final.append(running_evidence(z, matrices[folds[part]], lags, evidence[part])[:, -1])
    return Teacher(mean, projection, matrices * (GAIN / torch.cat(final).std().clamp_min(1e-12)), folds, lags)
