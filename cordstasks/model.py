"""The multi-area model: features of the frozen front-end, normalised, feed a recurrent network that is trained."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from cordstasks.frontend import Features
from cordstasks.rnn import RNN

__all__ = ["MultiAreaModel"]

ROWS = 8192  # feature rows that are normalised at once


class MultiAreaModel(nn.Module):
    """What is trained on top of a `cordstasks.frontend.FrontEnd`.

    Features z are normalised with statistics of the training trials, which are stored with the model:
    ``u = P^T (z - mean)``. The recurrent network's input weights act on u, so that its weights on the features are
    ``W_in P^T``.

    Parameters
    ----------
    rnn : the recurrent network.
    features : units of the front-end.
    """

    mean: Tensor
    projection: Tensor

    def __init__(self, rnn: RNN, features: int) -> None:
        super().__init__()
        self.rnn = rnn
        inputs = rnn.input_weights.shape[1]
        self.register_buffer("mean", torch.zeros(features, dtype=torch.float32))
        self.register_buffer("projection", torch.zeros(features, inputs, dtype=torch.float32))

    @torch.no_grad()
    def normalise_by(self, mean: Tensor, projection: Tensor) -> None:
        """Take the training trials' mean (unit,) and projection (unit, input)."""
        self.mean.copy_(mean)
        self.projection.copy_(projection)

    @torch.no_grad()
    def inputs(self, features: Features) -> Features:
        """The recurrent network's inputs, as `Features` whose units are its input channels."""
        parts = [
            (features.rows[start : start + ROWS].float() - self.mean) @ self.projection
            for start in range(0, len(features.rows), ROWS)
        ]
        return replace(features, rows=torch.cat(parts))

    def forward(self, inputs: Tensor, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Logits of the actions (trial, time, action) and rates (trial, time, unit) for inputs (trial, time, input).

        Noise is drawn from `generator`; without one there is none.
        """
        outputs = self.rnn(inputs, return_states=True, generator=generator)
        assert isinstance(outputs, tuple)
        return outputs


def principal_components(features: Features, steps: Tensor, inputs: int, *, whiten: bool) -> tuple[Tensor, Tensor]:
    """Mean (unit,) and projection (unit, input) on the first principal components.

    Parameters
    ----------
    features : of the training trials.
    steps : bool (trial, time), those to take the statistics from.
    inputs : number of components.
    whiten : scale each to unit variance; otherwise all by one factor, to a mean variance of one.
    """
    rows = features.rows[features.index[steps].unique()].float()
    mean = rows.mean(0)
    values, vectors = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
    values, vectors = values[-inputs:], vectors[:, -inputs:]
    scale = inverse_root(values) if whiten else inverse_root(values.mean()[None])
    return mean, vectors * scale


def inverse_root(eigenvalues: Tensor) -> Tensor:
    """1 / sqrt of ascending eigenvalues (value,); zero for those that are zero up to rounding."""
    largest = eigenvalues[-1].clamp_min(1e-30)
    return torch.where(eigenvalues > 1e-6 * largest, eigenvalues.clamp_min(1e-30).rsqrt(), 0.0)
