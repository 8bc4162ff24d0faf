"""The multi-area model: normalised features of the frozen front-end are the input of a trained recurrent network."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from cordstasks.errors import InputError
from cordstasks.frontend.components import block_factors, from_rows, inverse_root, leading, mean_of, precise
from cordstasks.frontend.features import Features
from cordstasks.rnn.network import RNN

__all__ = ["MultiAreaModel"]

ROWS = 8192  # feature rows that are normalised at once
EXACT = 2048  # most units, or else rows, of which the whole covariance matrix is decomposed


class MultiAreaModel(nn.Module):
    """The trained model on top of a `cordstasks.frontend.FrontEnd`.

    Features z are normalised with statistics of the training trials, which are stored with the model:
    ``u = P^T (z - mean)``. The recurrent network's input weights act on u, so that its weights on the features are
    ``W_in P^T``.

    Parameters
    ----------
    rnn : RNN
        The recurrent network.
    features : int
        Number of the front-end's units.
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
        """The recurrent network's inputs, as `Features` whose units are its input channels.

        Returns
        -------
        Features
            With as many units as the recurrent network has inputs.
        """
        return projected(features, self.mean, self.projection)

    def forward(self, inputs: Tensor, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Logits of the actions (trial, time, action) and rates (trial, time, unit) for inputs (trial, time, input).

        Noise is drawn from `generator`; without a generator there is no noise.

        Returns
        -------
        Tensor of shape (trial, time, action)
            Logits.
        Tensor of shape (trial, time, unit)
            Rates.
        """
        outputs = self.rnn(inputs, return_states=True, generator=generator)
        assert isinstance(outputs, tuple)
        return outputs


def projected(features: Features, mean: Tensor, projection: Tensor) -> Features:
    """Features minus their `mean` (unit,), in float32, projected on the directions of a `projection` (unit, input)."""
    parts = [
        (features.rows[start : start + ROWS].float() - mean) @ projection for start in range(0, len(features.rows), ROWS)
    ]
    return replace(features, rows=torch.cat(parts), blocks=())


def principal_components(features: Features, steps: Tensor, inputs: int, *, whiten: bool) -> tuple[Tensor, Tensor]:
    """Mean (unit,) and projection (unit, input) on the first principal components.

    If several areas were read, the features of each are first scaled by one factor to the same total variance, so that
    none outweighs the others by the number of its units or their rates; the factors are part of the projection. Of up to
    2,048 units, or rows, components are exact; of more they come from `cordstasks.frontend.components.leading`.

    Parameters
    ----------
    features : Features
        Features of the training trials.
    steps : Tensor of shape (trial, time), bool
        Steps to take the statistics from.
    inputs : int
        Number of components.
    whiten : bool
        Whether to scale each to unit variance; otherwise all are scaled by one factor, to a mean variance of one.

    Raises
    ------
    InputError
        If features are not finite.
    """
    rows = features.rows[features.index[steps].unique()]
    exact = features.units <= min(EXACT, len(rows))
    rows = rows.float() if exact else rows
    mean = rows.mean(0) if exact else mean_of(rows)
    if not bool(torch.isfinite(mean).all()):
        raise InputError("features: not all of them are finite numbers; the front-end diverges, take other weights")
    factors = block_factors(rows, mean, features.blocks)
    if exact:
        scaled = precise((rows - mean) * factors)
        values, vectors = torch.linalg.eigh(scaled.T @ scaled / len(rows))
        values, vectors = values[-inputs:].float(), vectors[:, -inputs:].float()
    else:
        decompose = from_rows if len(rows) <= EXACT else leading
        values, vectors = decompose(rows, mean, factors, inputs)
    scale = inverse_root(values) if whiten else inverse_root(values.mean()[None])
    return mean, factors[:, None] * vectors * scale
