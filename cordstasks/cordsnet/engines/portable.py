"""The reference engine: plain torch convolutions on any device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

SMALLEST = 1e-30
"""Activity that is smaller than this becomes zero on CPUs.

Activity without input decays with the time constant, so that after a second or less it is below 1e-38, the smallest normal
float32. Many processors are far slower with subnormal numbers than with others.
"""


class Convolution(Protocol):
    """A frozen convolution with padding k // 2: ``conv(x)``, ``conv(x) + add`` or ``relu(conv(x) + add)``."""

    def __call__(self, x: Tensor, add: Tensor | None = None, *, relu: bool = False) -> Tensor:
        """Convolve `x` (image, channel, height, width)."""
        ...


Step = Callable[[list[Tensor], list[Tensor]], None]
"""``step(rates_and_totals, drives)`` takes one step in place, and adds the summed areas to their totals, if given."""


class Portable:
    """Plain torch convolutions, channels last, on any device."""

    def __init__(self, precision: str = "float32") -> None:
        self.dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32

    def convolution(self, weight: Tensor, stride: int) -> Convolution:
        """A callable that convolves with `weight` (out, in, k, k).

        Returns
        -------
        Convolution
            Which takes images (image, in, height, width) and returns float32.
        """
        kernel = weight.to(self.dtype).contiguous(memory_format=torch.channels_last)
        padding, dtype = weight.shape[-1] // 2, self.dtype

        def apply(x: Tensor, add: Tensor | None = None, *, relu: bool = False) -> Tensor:
            y = F.conv2d(x.to(dtype), kernel, stride=stride, padding=padding).float()
            if add is not None:
                y += add
            return y.relu_() if relu else y

        return apply

    @property
    def description(self) -> str:
        """How steps are computed, in words."""
        return "convolutions by PyTorch"

    def network(self, weights: Weights, summed: Sequence[int], step: Step) -> Repeat | None:
        """A way of its own to take whole steps of a network and to sum these areas, if this engine has one.

        `step` takes the same steps through this engine's convolutions.
        """
        return None

    def repeat(self, step: Step) -> Repeat:
        """A callable that takes `step` many times; see `Repeat`.

        Returns
        -------
        Repeat
            Which updates the activities in place.
        """
        return _Loop(step)


class Repeat(Protocol):
    """``repeat(rates, drives, steps)`` updates `rates` in place, `steps` times, with the same drives."""

    def __call__(self, rates: list[Tensor], drives: list[Tensor], steps: int) -> None:
        """Take the steps."""
        ...


class _Loop:
    def __init__(self, step: Step) -> None:
        self.step = step

    def __call__(self, rates: list[Tensor], drives: list[Tensor], steps: int) -> None:
        for _ in range(steps):
            self.step(rates, drives)


@dataclass(frozen=True)
class Weights:
    """The frozen weights of a CordsNet's areas, for engines that take whole steps by themselves.

    Attributes
    ----------
    recurrent, forward : sequence of Tensor of shape (channel out, channel in, 3, 3)
        Weights of each area's two 3x3 convolutions.
    skips : sequence of Tensor of shape (channel out, channel in, 1, 1)
        Weights of the 1x1 convolutions with stride 2 into areas 3, 5 and 7.
    alpha : float
        Euler step, dt / T.
    """

    recurrent: Sequence[Tensor]
    forward: Sequence[Tensor]
    skips: Sequence[Tensor]
    alpha: float
