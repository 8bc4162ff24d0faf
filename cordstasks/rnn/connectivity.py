"""Who is connected to whom in a recurrent network: everyone, a few patterns, a random few, or neighbours on maps.

Each kind states its parameters, the dense matrix that they make, and a fast way to apply it. Parameters may have leading
axes, for many networks at once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from cordstasks.errors import InputError, unknown
from cordstasks.utils.arguments import integers, is_number, plain

__all__ = ["KINDS", "Connections", "Connectivity", "Convolutional", "Full", "LowRank", "Sparse", "named"]

Weights = Mapping[str, Tensor]
SIGNS = "recurrent_signs"  # buffer (unit,): 1 for excitatory, -1 for inhibitory units, where Dale's law holds


def normal(*shape: int, scale: float, generator: torch.Generator | None) -> Tensor:
    """Gaussian numbers of standard deviation `scale`."""
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float32)


class Connectivity(ABC):
    """A kind of recurrent connectivity. Subclasses are immutable and hold no weights.

    Attributes
    ----------
    name : str
        As settings and flags name it.
    dense_up_to : float
        The largest number of units at which all steps of one network are faster with the dense matrix and the written-out
        gradient of `cordstasks.rnn.recurrence` than with `operator` and autograd.
    """

    name: str
    dense_up_to: ClassVar[float] = math.inf

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            object.__setattr__(self, name, plain(value))  # NumPy's numbers as Python's

    @abstractmethod
    def check(self, units: int) -> None:
        """Raise an InputError unless a network of so many units can be connected so."""

    @abstractmethod
    def parameters(self, units: int, gain: float, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Initial weights; their spectral radius is about `gain`."""

    def buffers(self, units: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        """What is fixed, such as a mask.

        Returns
        -------
        dict of str to Tensor
            By name; empty for most.
        """
        return {}

    def signs(self, units: int, excitatory: float) -> Tensor:
        """1 for each excitatory unit and -1 for each inhibitory one (unit,).

        Returns
        -------
        Tensor of shape (unit,)
            The excitatory units come first.

        Raises
        ------
        InputError
            If there would be no units of one kind.
        """
        kept = round(excitatory * units)
        if not 0 < kept < units:
            raise InputError(
                f"excitatory={excitatory!r}: leaves one kind of unit without any of {units}; choose another fraction"
            )
        return torch.where(torch.arange(units) < kept, 1.0, -1.0).float()

    @abstractmethod
    def matrix(self, weights: Weights) -> Tensor:
        """The recurrent weights, dense: (..., unit to, unit from)."""

    def operator(self, weights: Weights) -> Callable[[Tensor, Tensor], Tensor]:
        """A function of drive and rates (trial, unit) that gives ``drive + W rates``, for one network.

        Returns
        -------
        callable
            Takes and gives tensors of shape (trial, unit).
        """
        transposed = self.matrix(weights).mT
        return lambda drive, rates: torch.addmm(drive, rates, transposed)


def signed(weights: Tensor, signs: Tensor | None) -> Tensor:
    """Weights (..., unit to, unit from) with the sign of the unit they come from, if there are signs."""
    return weights if signs is None else weights.abs() * signs[..., None, :]


def balanced(weights: Tensor, signs: Tensor, density: float = 1.0) -> Tensor:
    """Absolute weights whose inhibitory columns are scaled so that excitation and inhibition cancel on average.

    Parameters
    ----------
    weights : Tensor of shape (..., unit to, unit from)
        Gaussian weights.
    signs : Tensor of shape (unit from,)
        1 for units that excite, -1 for units that inhibit.
    density : float, default 1.0
        Fraction of the weights that a mask leaves.
    """
    fraction = float((signs > 0).float().mean())
    ratio = fraction / (1 - fraction)
    # the radius follows from the variance about the column means (Rajan & Abbott 2006, Physical Review Letters 97: 188104)
    spread = math.sqrt((1 - density * 2 / math.pi) * (fraction + (1 - fraction) * ratio**2))
    return weights.abs() * torch.where(signs > 0, 1.0, ratio).to(weights) / spread


@dataclass(frozen=True)
class Full(Connectivity):
    """Every unit connects to every unit by a weight of its own, ``recurrent_weights`` (unit, unit)."""

    name = "full"

    def check(self, units: int) -> None:
        """Any number of units will do."""

    def parameters(self, units: int, gain: float, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Gaussian weights of variance ``gain ** 2 / units``."""
        return {"recurrent_weights": normal(units, units, scale=gain / math.sqrt(units), generator=generator)}

    def matrix(self, weights: Weights) -> Tensor:
        """The weights themselves."""
        return signed(weights["recurrent_weights"], weights.get(SIGNS))


@dataclass(frozen=True)
class LowRank(Connectivity):
    """``W = m n^T / units``: `rank` output patterns m and as many input patterns n, both (unit, rank).

    Mastrogiuseppe & Ostojic 2018, Neuron 99: 609-623. They are the parameters ``recurrent_m`` and ``recurrent_n``.

    Parameters
    ----------
    rank : int, default 2
        Number of patterns, at most the number of units.
    """

    rank: int = 2
    name = "lowrank"
    dense_up_to: ClassVar[float] = 200  # beyond, products with the factors and autograd take less time

    def check(self, units: int) -> None:
        """The rank must be from 1 to the number of units."""
        if not isinstance(self.rank, int) or not 1 <= self.rank <= units:
            raise InputError(f"rank={self.rank!r}: must be from 1 to the number of units, {units}")

    def parameters(self, units: int, gain: float, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Gaussian patterns, n being `gain` times m plus as much of its own.

        Independent patterns would overlap, and have eigenvalues, of order ``1 / sqrt(units)`` only.
        """
        m = normal(units, self.rank, scale=1.0, generator=generator)
        return {"recurrent_m": m, "recurrent_n": gain * (m + normal(units, self.rank, scale=1.0, generator=generator))}

    def _patterns(self, weights: Weights) -> tuple[Tensor, Tensor]:
        m, n = weights["recurrent_m"], weights["recurrent_n"]
        if SIGNS in weights:
            m, n = m.abs(), n.abs() * weights[SIGNS][..., None]
        return m, n / m.shape[-2]

    def matrix(self, weights: Weights) -> Tensor:
        """The sum of the outer products."""
        m, n = self._patterns(weights)
        return m @ n.mT

    def operator(self, weights: Weights) -> Callable[[Tensor, Tensor], Tensor]:
        """Onto the input patterns, and out along the output patterns: ``2 rank units`` products a trial."""
        m, n = self._patterns(weights)
        out = m.mT
        return lambda drive, rates: torch.addmm(drive, rates @ n, out)


@dataclass(frozen=True)
class Sparse(Connectivity):
    """A random fraction of all connections exists; which ones never changes.

    Parameters ``recurrent_weights`` and the fixed ``recurrent_mask`` (unit, unit). Weights outside the mask are zero and
    get no gradient.

    Parameters
    ----------
    density : float, default 0.2
        Fraction of connections, above 0 and at most 1.
    """

    density: float = 0.2
    name = "sparse"

    def check(self, units: int) -> None:
        """The density must be a fraction above 0."""
        if not is_number(self.density) or not 0 < self.density <= 1:
            raise InputError(f"density={self.density!r}: must be above 0 and at most 1")

    def buffers(self, units: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        """The mask: exactly the nearest number of connections, anywhere."""
        kept = max(1, round(self.density * units * units))
        mask = torch.zeros(units * units, dtype=torch.float32)
        mask[torch.randperm(units * units, generator=generator)[:kept]] = 1
        return {"recurrent_mask": mask.reshape(units, units)}

    def parameters(self, units: int, gain: float, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Gaussian weights of variance ``gain ** 2 / (density units)``."""
        scale = gain / math.sqrt(self.density * units)
        return {"recurrent_weights": normal(units, units, scale=scale, generator=generator)}

    def matrix(self, weights: Weights) -> Tensor:
        """The weights inside the mask."""
        return signed(weights["recurrent_weights"] * weights["recurrent_mask"], weights.get(SIGNS))


@dataclass(frozen=True)
class Convolutional(Connectivity):
    """Units lie on maps, and each is driven by its 3 x 3 neighbourhood on every map, alike everywhere (Soo et al. 2024).

    This is one area of a CordsNet. Unit ``(channel * height + row) * width + column`` is at that location of that map.
    Beyond the border there is nothing. The parameter is ``recurrent_kernel`` (channel to, channel from, 3, 3).

    Parameters
    ----------
    channels, height, width : int, optional
        Size of the maps; the product is the number of units.
    """

    channels: int = 4
    height: int = 5
    width: int = 5
    name = "conv"
    dense_up_to: ClassVar[float] = 512  # beyond, convolutions and autograd take less time

    def check(self, units: int) -> None:
        """The maps must hold the units."""
        maps = (self.channels, self.height, self.width)
        if not all(isinstance(size, int) and size > 0 for size in maps) or math.prod(maps) != units:
            raise InputError(
                f"maps of {self.channels} x {self.height} x {self.width}: channels, height and width must be at least 1 and "
                f"their product the number of units, {units}"
            )

    def parameters(self, units: int, gain: float, generator: torch.Generator | None) -> dict[str, Tensor]:
        """A Gaussian kernel of variance ``gain ** 2 / (9 channels)``."""
        scale = gain / math.sqrt(9 * self.channels)
        return {"recurrent_kernel": normal(self.channels, self.channels, 3, 3, scale=scale, generator=generator)}

    def signs(self, units: int, excitatory: float) -> Tensor:
        """All units of a map have one sign, since they share their weights."""
        return super().signs(self.channels, excitatory).repeat_interleave(self.height * self.width)

    def kernel(self, weights: Weights) -> Tensor:
        """The kernel (..., channel to, channel from, 3, 3) with the signs of Dale's law, if it holds.

        Returns
        -------
        Tensor of shape (..., channel, channel, 3, 3)
            To, from, row, column.
        """
        kernel = weights["recurrent_kernel"]
        if SIGNS not in weights:
            return kernel
        signs = weights[SIGNS][..., :: self.height * self.width]
        return kernel.abs() * signs[..., None, :, None, None]

    def matrix(self, weights: Weights) -> Tensor:
        """Each tap of the kernel at the pairs of locations that it joins."""
        kernel = self.kernel(weights)
        taps = self._taps().to(kernel)
        dense = torch.einsum("...ockl,klpq->...opcq", kernel, taps)
        units = self.channels * self.height * self.width
        return dense.reshape(*kernel.shape[:-4], units, units)

    def _taps(self) -> Tensor:
        """1 where a tap (row, column) of the kernel joins two locations: (3, 3, location to, location from)."""
        rows, columns = torch.arange(self.height), torch.arange(self.width)
        offsets = torch.arange(-1, 2)
        down = (rows[None, None, :] - rows[None, :, None] == offsets[:, None, None]).float()
        right = (columns[None, None, :] - columns[None, :, None] == offsets[:, None, None]).float()
        area = self.height * self.width
        return torch.einsum("kac,lbd->klabcd", down, right).reshape(3, 3, area, area)

    def operator(self, weights: Weights) -> Callable[[Tensor, Tensor], Tensor]:
        """A convolution."""
        kernel, maps = self.kernel(weights), (self.channels, self.height, self.width)
        return lambda drive, rates: drive + F.conv2d(rates.unflatten(-1, maps), kernel, padding=1).flatten(-3)


KINDS: dict[str, type[Full] | type[LowRank] | type[Sparse] | type[Convolutional]] = {
    "full": Full,
    "lowrank": LowRank,
    "sparse": Sparse,
    "conv": Convolutional,
}


def named(name: str, *, rank: int = 2, density: float = 0.2, shape: tuple[int, int, int] | None = None) -> Connectivity:
    """The connectivity of that name: ``"full"``, ``"lowrank"``, ``"sparse"`` or ``"conv"``.

    Parameters
    ----------
    rank : int, default 2
        That of `LowRank`.
    density : float, default 0.2
        That of `Sparse`.
    shape : (int, int, int), optional
        Channels, height and width of `Convolutional`.

    Returns
    -------
    Connectivity
        With the numbers that belong to it.

    Raises
    ------
    InputError
        If the name is unknown.
    """
    if name not in KINDS:
        raise unknown("connectivity", name, KINDS)
    if name == "lowrank":
        return LowRank(rank)
    if name == "sparse":
        return Sparse(density)
    if name == "conv":
        maps = integers("shape", () if shape is None else shape)
        if len(maps) not in (0, 3):
            raise InputError(f"shape={maps!r}: give channels, height and width")
        return Convolutional(*maps)
    return Full()


class Connections:
    """The connectivity of one network, with its present weights.

    Parameters
    ----------
    kind : Connectivity
        How the network is connected.
    weights : Weights
        Recurrent parameters and buffers of the network.
    """

    def __init__(self, kind: Connectivity, weights: Weights) -> None:
        self.kind, self.weights = kind, weights

    def matrix(self) -> Tensor:
        """The recurrent weights, dense: (unit to, unit from).

        Returns
        -------
        Tensor of shape (unit, unit)
            To, from.
        """
        return self.kind.matrix(self.weights)

    def apply(self, rates: Tensor) -> Tensor:
        """Recurrent input (trial, unit) for rates (trial, unit), computed the fast way.

        Returns
        -------
        Tensor of shape (trial, unit)
            What each unit gets from all.
        """
        return self.kind.operator(self.weights)(torch.zeros_like(rates), rates)
