"""The paper's control R: areas that are fully connected recurrent layers, trained as a CordsNet is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cordstasks.cordsnet import architecture as arch
from cordstasks.errors import InputError

__all__ = ["DenseNetwork", "DenseUnrolled", "units_like"]

COPIES = 4  # of each weight in training: itself, its gradient, and the optimiser's two moments


class DenseNetwork(nn.Module):
    """Fully connected recurrent areas in a row: ``T dr_l/dt = -r_l + relu(W_l r_l + b_l + V_l r_{l-1})``.

    The first area is fed the normalised pixels; the read-out is linear in the last area.

    Parameters
    ----------
    units : sequence of int
        Units of each area.
    pixels : int
        Values of an image: channels x height x width.
    classes : int
    alpha : float
        dt / T.

    References
    ----------
    Soo, Battista, Radmard & Wang 2024, NeurIPS 37, Table 1, "Control R".
    """

    def __init__(self, units: Sequence[int], *, pixels: int, classes: int, alpha: float = 0.2) -> None:
        super().__init__()
        self.units, self.alpha = tuple(units), alpha
        below = (pixels, *self.units[:-1])
        self.rec = nn.ModuleList(nn.Linear(count, count) for count in self.units)
        self.inp = nn.ModuleList(nn.Linear(lower, count, bias=False) for lower, count in zip(below, self.units, strict=True))
        self.out = nn.Linear(self.units[-1], classes)


class DenseUnrolled:
    """The dynamics of a `DenseNetwork`, see `cordstasks.pretraining.unrolled.Dynamics`."""

    def __init__(self, network: DenseNetwork) -> None:
        self.network, self.alpha = network, network.alpha

    def zero_state(self, images: int) -> list[Tensor]:
        """Zero activity of every area (image, unit)."""
        return [self.network.out.weight.new_zeros((images, count)) for count in self.network.units]

    def drives(self, x: Tensor | None) -> list[Tensor]:
        """What normalised images, or none, add to each area at every step: its bias, and to the first the image."""
        bias = [module.bias[None] for module in self.network.rec]  # type: ignore[index]
        return bias if x is None else [bias[0] + self.network.inp[0](x.flatten(1)), *bias[1:]]

    def step(self, rates: Sequence[Tensor], drives: Sequence[Tensor], *, alpha: float | None = None) -> list[Tensor]:
        """All areas one Euler step later."""
        alpha = self.alpha if alpha is None else alpha
        new = []
        for area, r in enumerate(rates):
            total = F.linear(r, self.network.rec[area].weight) + drives[area]  # type: ignore[arg-type]
            if area:
                total = total + self.network.inp[area](rates[area - 1])
            new.append(torch.lerp(r, F.relu(total), alpha) if alpha < 1 else F.relu(total))
        return new

    def logits(self, rates: Sequence[Tensor]) -> Tensor:
        """Logits (image, class) of a state."""
        return self.network.out(rates[-1])


def units_like(
    depth: int, image_size: int, *, channels: int, classes: int, kind: str, memory: float, parameters: int
) -> tuple[int, ...]:
    """Units of each area of a dense network that is to be compared with a CordsNet.

    Parameters
    ----------
    depth, image_size, channels, classes : int
        Of the CordsNet.
    kind : str
        ``"same"``: as many units in each area; ``"matched"``: equal areas that have as many parameters together.
    memory : float
        GB that its weights, their gradients and AdamW's moments may take.
    parameters : int
        Of the CordsNet.

    Raises
    ------
    InputError
        If it does not fit there.
    """
    pixels = channels * image_size**2
    if kind == "matched":
        # pixels n + n^2 for the first area, 2 n^2 for the others, biases, and the read-out
        square, linear = 2 * depth - 1, pixels + depth + classes
        count = (math.sqrt(linear**2 + 4 * square * (parameters - classes)) - linear) / (2 * square)
        units = (max(1, round(count)),) * depth
    else:
        sides = arch.area_sides(image_size, depth)
        units = tuple(wide * side**2 for wide, side in zip(arch.CHANNELS_OUT, sides, strict=False))
    below = (pixels, *units[:-1])
    weights = sum(count * (count + lower) for count, lower in zip(units, below, strict=True))
    needed = COPIES * 4 * weights / 1e9
    if needed > memory:
        raise InputError(
            f"dense_units={kind}: {depth} areas of up to {max(units)} units need {needed:.1f} GB in training, more "
            f"than dense_memory={memory:g}; choose dense_units=matched, a smaller image_size or depth, or allow more"
        )
    return units
