"""Weights and buffers: what compiled code reads and writes, as NumPy arrays that stay alive as long as it may."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordstasks.cordsnet.engines.fast.areas import BORDER, DIRECT, NOTHING, PAD, SKIPPED, STRIDED, Area, advance
from cordstasks.cordsnet.engines.fast.transforms import Algorithm, algorithm_for
from cordstasks.cordsnet.engines.fast.vectors import COLUMNS
from cordstasks.cordsnet.engines.portable import Weights

Array = NDArray[np.float32]

TILES = 32  # of a recurrent product; their factors and products fit a core's own cache
FORWARD_TILES = 64  # of a product with what is sent from below, for several steps at once
PATCHES = 128  # rows of a direct product
MOST_STEPS = 10  # in a chunk; longer ones gain nothing, and leave the cache


def kind_of(area: int) -> int:
    """What areas below send to area `area`, see `Area.below`."""
    return (NOTHING, DIRECT)[area] if area < 2 else (STRIDED, SKIPPED)[area % 2]


class Kernels:
    """The weights of a network, transformed for each algorithm when it is first needed.

    Parameters
    ----------
    weights : Weights
        On the CPU.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights, self.alpha = weights, weights.alpha
        self.channels = [len(weight) for weight in weights.recurrent]
        self.inputs = [weight.shape[1] for weight in weights.forward]
        self._made: dict[tuple[str, int, int], Array] = {}

    @property
    def fit(self) -> bool:
        """Whether all numbers of channels can be computed with."""
        return all(number % COLUMNS == 0 for number in [*self.channels, *self.inputs])

    def recurrent(self, area: int, algorithm: Algorithm) -> Array:
        """Weights of an area's recurrence: (product, panel, channel in, column)."""
        return self._transformed("recurrent", area, algorithm)

    def forward(self, area: int, algorithm: Algorithm) -> Array:
        """Weights of what an area is sent: transformed, or for stride 2 as they are, as rows of taps and channels."""
        if kind_of(area) == NOTHING:
            return np.zeros(1, np.float32)
        if kind_of(area) != STRIDED:
            return self._transformed("forward", area, algorithm)
        key = ("forward", area, -1)
        if key not in self._made:
            weight = self.weights.forward[area].numpy()
            self._made[key] = panels(weight.transpose(2, 3, 1, 0).reshape(-1, len(weight))).reshape(-1)
        return self._made[key]

    def skip(self, area: int) -> Array:
        """Weights of the 1x1 convolution into an area; one zero where there is none."""
        if kind_of(area) != SKIPPED:
            return np.zeros(1, np.float32)
        key = ("skip", area, -1)
        if key not in self._made:
            self._made[key] = panels(self.weights.skips[(area - 3) // 2].numpy()[:, :, 0, 0].T).reshape(-1)
        return self._made[key]

    def _transformed(self, name: str, area: int, algorithm: Algorithm) -> Array:
        key = (name, area, algorithm.number)
        if key not in self._made:
            weight = getattr(self.weights, name)[area].numpy()
            self._made[key] = panels(algorithm.of_kernels(weight)).reshape(-1)
        return self._made[key]


class Room:
    """Buffers for some images through a ring of steps, and the areas as compiled code sees them.

    Parameters
    ----------
    kernels : Kernels
        Weights.
    sides : sequence of int
        Sides of the areas' maps.
    images : int
        For how many images there is room.
    slots : int
        Number of steps that are kept.
    """

    def __init__(self, kernels: Kernels, sides: Sequence[int], images: int, slots: int) -> None:
        self.kernels, self.sides, self.images, self.slots = kernels, tuple(sides), images, slots
        self.states = []
        for side, channels in zip(self.sides, kernels.channels, strict=True):
            algorithm = algorithm_for(side, images)
            padded = _tiles(side, algorithm) * algorithm.outputs + 2 * BORDER
            self.states.append(np.zeros((slots, images, padded, padded, channels), np.float32))
        self._work = [self._work_of(area) for area in range(len(self.sides))]
        self.areas: list[Area] = []
        self.shown = 0

    def show(self, drives: Sequence[Array]) -> None:
        """Set each area's drive (image, row, column, channel) or, for one that all share, (1, row, column, channel)."""
        self.areas = [self._area(area, np.ascontiguousarray(drive)) for area, drive in enumerate(drives)]

    def load(self, rates: Sequence[Array]) -> None:
        """Take over the states (image, row, column, channel) of as many images as there are, as those after step 0."""
        self.shown = len(rates[0])
        for maps, given in zip(self._inside(), rates, strict=True):
            maps[0, : self.shown] = given

    def advance(self, area: int, done: int, steps: int) -> None:
        """Compute an area's states after steps `done` + 1 to `done` + `steps`."""
        advance(self.areas[area], np.float32(self.kernels.alpha), done, steps)

    def add(self, area: int, done: int, steps: int, total: Array) -> None:
        """Add these states to a sum (image, row, column, channel)."""
        maps = self._inside()[area]
        for step in range(done + 1, done + steps + 1):
            total += maps[step % self.slots, : self.shown]

    def store(self, rates: Sequence[Array], step: int) -> None:
        """Write the states after a step."""
        for maps, given in zip(self._inside(), rates, strict=True):
            given[...] = maps[step % self.slots, : self.shown]

    def _inside(self) -> list[Array]:
        """Every area's states without their borders."""
        ends = [slice(BORDER, BORDER + side) for side in self.sides]
        return [maps[:, :, end, end] for maps, end in zip(self.states, ends, strict=True)]

    def _work_of(self, area: int) -> dict[str, Array]:
        """Room for factors, products and sums of an area, whatever the number of images."""
        kind, side = kind_of(area), self.sides[area]
        channels, inputs = self.kernels.channels[area], self.kernels.inputs[area]
        factors = results = maps = sums = 1
        patches = (1, 1)
        for images in (1, self.images):  # few images may have another algorithm
            algorithm = algorithm_for(side, images)
            tiles, products = _tiles(side, algorithm), algorithm.products**2
            rows = max(FORWARD_TILES, _strip(tiles) * tiles)
            factors = max(factors, products * (rows * max(channels, inputs) + PAD))
            results = max(results, products * (rows * channels + PAD))
            maps = max(maps, FORWARD_TILES // tiles**2)
        if kind == STRIDED:
            sums = maps * side**2 * channels
            patches = (max(side, min(PATCHES, maps * side**2)), 9 * inputs)
        elif kind == SKIPPED:
            sums = maps * self.states[area].shape[2] ** 2 * inputs
            patches = (maps * side**2, self.kernels.channels[area - 2] + inputs)
        shapes = {"factors": (factors,), "results": (results,), "sums": (sums,), "patches": patches}
        return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}

    def _area(self, area: int, drive: Array) -> Area:
        side = self.sides[area]
        algorithm = algorithm_for(side, self.shown)
        tiles = _tiles(side, algorithm)
        strip = _strip(tiles)
        group = 1 if strip < tiles else max(1, min(self.shown, TILES // tiles**2))
        block = 1 if strip < tiles else max(1, min(MOST_STEPS, FORWARD_TILES // (group * tiles**2)))
        return Area(
            below=kind_of(area),
            algorithm=algorithm.number,
            products=algorithm.products**2,
            outputs=algorithm.outputs,
            first=algorithm.first + BORDER,
            images=self.shown,
            side=side,
            tiles=tiles,
            group=group,
            block=block,
            strip=strip,
            states=self.states[area],
            lower=self.states[max(0, area - 1)],
            lowest=self.states[max(0, area - 2)],
            drive=drive,
            recurrent=self.kernels.recurrent(area, algorithm),
            forward=self.kernels.forward(area, algorithm),
            skip=self.kernels.skip(area),
            **self._work[area],
        )


def panels(right: NDArray[np.floating[Any]]) -> Array:
    """Matrices (..., length, columns) in the order in which `vectors.product` reads them."""
    *batch, length, columns = right.shape
    cut = right.reshape(*batch, length, columns // COLUMNS, COLUMNS)
    return np.ascontiguousarray(np.moveaxis(cut, -2, -3), np.float32)


def _tiles(side: int, algorithm: Algorithm) -> int:
    """Tiles along a side."""
    return -(-side // algorithm.outputs)


def _strip(tiles: int) -> int:
    """Rows of tiles that are done at once: all of them, unless they are too many."""
    return tiles if tiles**2 <= TILES else max(1, TILES // tiles)
