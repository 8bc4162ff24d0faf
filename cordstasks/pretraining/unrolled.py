"""The dynamics of a CordsNet for training: the numbers of `CordsNet.step`, with weights and constant drives made once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from cordstasks.cordsnet import architecture as arch
from cordstasks.cordsnet.network import CordsNet
from cordstasks.pretraining.convolution import Convolution

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
    Gradients pass through both. Convolutions of small maps are products (`cordstasks.pretraining.convolution`). One
    convolution computes an area's recurrent and feed-forward input where both have the same map.

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
        self._skips = [self._own(module.weight) for module in network.skip_area]  # type: ignore[arg-type]
        self._rec: list[Convolution] = []  # with the feed-forward kernels where both have the same map
        self._inp: dict[int, Convolution] = {}  # the others, and those that images go through
        for area, (rec, inp) in enumerate(zip(network.area_conv, network.area_area, strict=True)):
            side, stride = network.sides[area], arch.STRIDES[area]
            own = [self._own(rec.weight), self._own(inp.weight)]  # type: ignore[arg-type]
            if area < 2 or not self._shares(area):
                self._inp[area] = self._prepared(own[1], side if stride == 1 else network.sides[area - 1], stride)
            self._rec.append(self._prepared(torch.cat(own, 1) if self._shares(area) else own[0], side))

    @staticmethod
    def _own(weight: Tensor) -> Tensor:
        return weight.contiguous(memory_format=torch.channels_last)

    @staticmethod
    def _shares(area: int) -> bool:
        return area > 0 and arch.STRIDES[area] == 1

    def _prepared(self, weight: Tensor, side: int, stride: int = 1) -> Convolution:
        return Convolution(weight, side, stride=stride, dtype=torch.bfloat16 if self.bfloat16 else weight.dtype)

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
        drives = [self._inp[area](u).to(u.dtype) + bias[area] for area, u in enumerate((drive.stem, drive.skip))]
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
            return self._rec[0](r).to(r.dtype)
        if area == 1:
            below = sent[0]
        elif area % 2 == 0:
            below = sent[area - 1] + sent[area - 2]
        else:
            below = sent[area - 1] + self._skip(sent[area - 2], self._skips[(area - 3) // 2])
        if self._shares(area):
            return self._rec[area](torch.cat([r, below], 1)).to(r.dtype)
        return self._rec[area](r).to(r.dtype) + self._inp[area](below).to(r.dtype)

    def _skip(self, x: Tensor, weight: Tensor) -> Tensor:
        if self.bfloat16:
            return F.conv2d(x.bfloat16(), weight.bfloat16(), stride=2).to(x.dtype)
        return F.conv2d(x, weight, stride=2)

    def logits(self, rates: Sequence[Tensor]) -> Tensor:
        """Logits (image, class) of a state."""
        return self.network.readout(rates[-1], rates[-2])
