"""The dynamics of a CordsNet for training: the numbers of `CordsNet.step`, with weights and constant drives made once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from cordstasks.cordsnet import architecture as arch
from cordstasks.cordsnet.network import CordsNet

__all__ = ["Dynamics", "Unrolled"]


class Dynamics(Protocol):
    """A network in time, as the losses use it; `Unrolled` and `cordstasks.pretraining.dense.DenseUnrolled` are two."""

    alpha: float
    """dt / tau."""

    def zero_state(self, images: int) -> list[Tensor]:
        """Zero activity of every area (image, ...)."""

    def drives(self, x: Tensor | None) -> list[Tensor]:
        """What normalised images (image, channel, S, S) add to each area at every step; None is no image, for one state."""

    def step(self, rates: Sequence[Tensor], drives: Sequence[Tensor], *, alpha: float | None = None) -> list[Tensor]:
        """All areas one Euler step later; `alpha` is the network's dt / tau unless another is given."""

    def logits(self, rates: Sequence[Tensor]) -> Tensor:
        """Logits (image, class) of a state."""


class Unrolled:
    """A CordsNet whose steps are differentiable and share what does not change from step to step.

    The weights are made from their norms and directions once, here, and what an image adds to areas 0 and 1 once per image.
    Gradients pass through both. One convolution computes an area's recurrent and feed-forward input where both have the same
    map.

    Parameters
    ----------
    network : CordsNet
        Without noise, which training does not use.
    bfloat16 : bool
        Whether products are in bfloat16; states are float32.
    """

    def __init__(self, network: CordsNet, *, bfloat16: bool = False) -> None:
        self.network, self.slope, self.alpha = network, network.negative_slope, network.alpha
        self.bfloat16 = bfloat16
        self._rec = [self._own(module.weight) for module in network.area_conv]  # type: ignore[arg-type]
        self._inp = [self._own(module.weight) for module in network.area_area]  # type: ignore[arg-type]
        self._skips = [self._own(module.weight) for module in network.skip_area]  # type: ignore[arg-type]
        self._both = [
            torch.cat([rec, inp], 1) if area and arch.STRIDES[area] == 1 else None
            for area, (rec, inp) in enumerate(zip(self._rec, self._inp, strict=True))
        ]

    @staticmethod
    def _own(weight: Tensor) -> Tensor:
        return weight.contiguous(memory_format=torch.channels_last)

    def zero_state(self, images: int) -> list[Tensor]:
        """Zero activity of every area (image, channel, height, width)."""
        return [r.contiguous(memory_format=torch.channels_last) for r in self.network.zero_state(images)]

    def drives(self, x: Tensor | None) -> list[Tensor]:
        """What normalised images (image, channel, S, S), or none, add to each area at every step: its bias, and more.

        Parameters
        ----------
        x : Tensor (image, channel, S, S) or None
            Normalised images; None is no image, a zero tensor, for one state.

        Returns
        -------
        list of Tensor (image or 1, channel, height, width)
        """
        drive = self.network.drive(x)
        bias = [b[None] for b in self.network.conv_bias]
        drives = [self._convolve(drive.stem, self._inp[0]) + bias[0], self._convolve(drive.skip, self._inp[1]) + bias[1]]
        return [d.contiguous(memory_format=torch.channels_last) for d in [*drives, *bias[2:]]]

    def step(self, rates: Sequence[Tensor], drives: Sequence[Tensor], *, alpha: float | None = None) -> list[Tensor]:
        """All areas one Euler step later, as `CordsNet.step` has it.

        Parameters
        ----------
        rates : sequence of Tensor (image, channel, height, width)
            Activity of every area; not modified.
        drives : sequence of Tensor
            From `drives`.
        alpha : float, optional
            dt / tau, if not the network's own.
        """
        alpha = self.alpha if alpha is None else alpha
        sent = [F.relu(r) for r in rates] if self.slope else list(rates)
        new = []
        for area, r in enumerate(rates):
            total = self._input(area, r, sent) + drives[area]
            active = F.leaky_relu(total, self.slope) if self.slope else F.relu(total)
            new.append(torch.lerp(r, active, alpha) if alpha < 1 else active)
        return new

    def _input(self, area: int, r: Tensor, sent: list[Tensor]) -> Tensor:
        if area == 0:
            return self._convolve(r, self._rec[0])
        if area == 1:
            below = sent[0]
        elif area % 2 == 0:
            below = sent[area - 1] + sent[area - 2]
        else:
            below = sent[area - 1] + self._convolve(sent[area - 2], self._skips[(area - 3) // 2], stride=2, padding=0)
        both = self._both[area]
        if both is not None:
            return self._convolve(torch.cat([r, below], 1), both)
        return self._convolve(r, self._rec[area]) + self._convolve(below, self._inp[area], stride=arch.STRIDES[area])

    def _convolve(self, x: Tensor, weight: Tensor, *, stride: int = 1, padding: int = 1) -> Tensor:
        if self.bfloat16:
            return F.conv2d(x.bfloat16(), weight.bfloat16(), stride=stride, padding=padding).to(x.dtype)
        return F.conv2d(x, weight, stride=stride, padding=padding)

    def logits(self, rates: Sequence[Tensor]) -> Tensor:
        """Logits (image, class) of a state."""
        return self.network.readout(rates[-1], rates[-2])
