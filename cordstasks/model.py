"""The multi-area model: features of the frozen front-end, normalised, feed a recurrent network that is trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cordstasks.rnn import RNN

__all__ = ["MultiAreaModel"]


class MultiAreaModel(nn.Module):
    """What is trained on top of a `cordstasks.frontend.FrontEnd`.

    Features are normalised by the mean and standard deviation of the training trials, which are stored with the model.

    Parameters
    ----------
    rnn : the recurrent network; it takes as many inputs as there are features.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, rnn: RNN) -> None:
        super().__init__()
        self.rnn = rnn
        features = rnn.input_weights.shape[1]
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    @torch.no_grad()
    def normalise_by(self, mean: Tensor, deviation: Tensor) -> None:
        """Take the statistics (unit,) of the training features.

        Features that hardly vary are not blown up: their scale is bounded by a tenth of the average deviation.
        """
        self.mean.copy_(mean)
        self.scale.copy_(1 / deviation.clamp_min(max(0.1 * float(deviation.mean()), 1e-6)))

    def normalised(self, features: Tensor) -> Tensor:
        """Normalised features (trial, time, unit)."""
        return (features - self.mean) * self.scale

    def forward(self, features: Tensor, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Logits of the actions (trial, time, action) and rates (trial, time, unit) for features (trial, time, unit).

        Noise is drawn from `generator`; without one there is none.
        """
        outputs = self.rnn(self.normalised(features), return_states=True, generator=generator)
        assert isinstance(outputs, tuple)
        return outputs
