"""Whole steps on CUDA as one kernel for all areas, through Triton: nothing but the state is written and read again.

Layout. Activity of an area is kept as (position, channel block, image, 64 channels), so that whatever a tile of the products
reads is one piece of memory: images at one position, 64 channels. All areas lie in one buffer, one after the other.
Each area's drive is then a list of segments, each a 3x3 convolution of another area's activity:

    area 0       itself
    area 1       itself, area 0
    areas 2 4 6  itself, the area below and the one below that, with one weight
    areas 3 5 7  itself, the area below, and the one below that through skip and Conv_inp multiplied into one weight

`Segment` names them, `Wiring` packs the weights, and `FusedSteps` holds the buffers of one size of batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cordstasks.cordsnet.engines.graphs import Shape
from cordstasks.cordsnet.engines.portable import Weights

BLOCK = 64  # channels that lie together
UNIT_FIELDS, AREA_FIELDS = 8, 32


@dataclass(frozen=True)
class Segment:
    """A 3x3 convolution with which an area reads another: from position p it sees ``stride * p + dilation * (tap - 1)``."""

    source: int
    stride: int
    dilation: int
    weight: Tensor


def segments(weights: Weights, area: int) -> list[Segment]:
    """What drives `area`, its own recurrence first."""
    inp = weights.forward[area]
    own = [Segment(area, 1, 1, weights.recurrent[area])]
    if area == 0:
        return own
    if area == 1:
        return [*own, Segment(0, 1, 1, inp)]
    if area % 2 == 0:
        return [*own, Segment(area - 1, 2, 1, inp), Segment(area - 2, 2, 1, inp)]
    skip = weights.skips[(area - 3) // 2][:, :, 0, 0].double()
    through = torch.einsum("oiyx,ij->ojyx", inp.double(), skip).to(inp.dtype)
    return [*own, Segment(area - 1, 1, 1, inp), Segment(area - 2, 2, 2, through)]


@dataclass(frozen=True)
class Tiling:
    """How the areas of a group are cut up, and how their kernel is compiled.

    Attributes
    ----------
    areas : tuple of int
        Areas of the group.
    rows, channels : int
        Size of a tile: positions and images, and outputs.
    inputs : int
        Channels of an input that are multiplied at a time: 32 or 64.
    warps, stages : int
        Triton's `num_warps` and `num_stages`.
    split : bool, default False
        Whether the sums of a tile may be divided among several units of work.
    bulk : bool, default False
        Whether tiles are fetched by the copy engine that cards have from compute capability 9.0 on.
    registers : int or None
        Most registers of a thread (None: as many as the compiler wants).
    """

    areas: tuple[int, ...]
    rows: int
    channels: int
    inputs: int
    warps: int
    stages: int
    split: bool = False
    bulk: bool = False
    registers: int | None = None

    @property
    def pieces(self) -> int:
        """In how many pieces a tile is written, so that each takes 16 registers of a thread."""
        return min(4, max(1, self.rows * self.channels // (32 * self.warps) // 16))


class Wiring:
    """The packed weights of a network's areas; `precision` is ``"tf32"`` or ``"bfloat16"``."""

    def __init__(self, weights: Weights, precision: str) -> None:
        self.alpha, self.tf32 = weights.alpha, precision == "tf32"
        self.dtype = torch.float32 if self.tf32 else torch.bfloat16
        self.segments = [segments(weights, area) for area in range(len(weights.recurrent))]
        self.blocks = [len(weight) // BLOCK for weight in weights.recurrent]
        packed: list[Tensor] = []
        self.bases: list[int] = []  # rows of 64, where each area's weights begin
        self.starts: list[list[int]] = []  # of each segment, in blocks of inputs from there
        row = 0
        for area, own in enumerate(self.segments):
            self.bases.append(row)
            starts: dict[int, int] = {}
            begun = 0
            places = []
            for segment in own:
                if id(segment.weight) not in starts:  # two segments may share a weight
                    starts[id(segment.weight)] = begun
                    out, inputs = segment.weight.shape[:2]
                    blocks = segment.weight.reshape(out, inputs // BLOCK, BLOCK, 9).permute(3, 1, 0, 2)
                    packed.append(blocks.reshape(-1, BLOCK))
                    begun += 9 * inputs // BLOCK
                places.append(starts[id(segment.weight)])
            self.starts.append(places)
            row += begun * self.blocks[area] * BLOCK
        self.packed = self.sent(torch.cat(packed))

    def sent(self, values: Tensor) -> Tensor:
        """`values` as the products read them, rounded to the nearest."""
        if not self.tf32:
            return values.to(self.dtype)
        # half a unit of the last of eleven bits is added to the magnitude, and what is below is cut off
        return ((values.view(torch.int32) + 0x1000) & -0x2000).view(torch.float32)


def tilings(batch: int, sides: Sequence[int], *, tf32: bool, bulk: bool = False) -> list[Tiling]:
    """How to cut the areas up for a padded batch: large tiles for many images, small ones and split sums for few.

    Parameters
    ----------
    batch : int
        Padded number of images.
    sides : sequence of int
        Sides of the areas' maps.
    tf32 : bool
        Whether the products are of float32 numbers.
    bulk : bool, default False
        Whether the card has a copy engine.
    """
    areas = tuple(range(len(sides)))
    inputs = 32 if tf32 else 64
    if batch % 64:
        groups: dict[int, list[int]] = {}
        for area in areas:
            groups.setdefault(64 if sides[area] ** 2 * batch >= 1024 else 16, []).append(area)
        return [Tiling(tuple(own), rows, 64, inputs, 4, 4, split=True) for rows, own in sorted(groups.items(), reverse=True)]
    if batch % 128:
        return [Tiling(areas, 64, 64, inputs, 4, 4, split=True, bulk=bulk)]
    narrow = Tiling(areas[:2], 128, 64, inputs, 4, 4, bulk=bulk)  # these areas have 64 channels
    return [Tiling(areas[2:], 128, 128, inputs, 8, 3, bulk=bulk), narrow] if areas[2:] else [narrow]


class FusedSteps:
    """Buffers of one size of batch, and the launches that advance them.

    Parameters
    ----------
    wiring : Wiring
        The packed weights.
    shape : Shape
        What to make room for.
    summed : sequence of int
        The areas that are summed, if any are.
    cut : sequence of Tiling, optional
        How to cut the work (default: `tilings`).
    """

    def __init__(self, wiring: Wiring, shape: Shape, summed: Sequence[int], *, cut: Sequence[Tiling] | None = None) -> None:
        device, batch, sides = wiring.packed.device, shape.batch, shape.sides
        self.wiring, self.batch, self.sides = wiring, batch, sides
        self.summed = tuple(summed)[: shape.totals]
        self.sizes = [side**2 * blocks for side, blocks in zip(sides, wiring.blocks, strict=True)]
        self.bases = _cumulative(self.sizes)
        images = [1 if same else batch for same in shape.shared]
        self.drive_images = images
        self.drive_bases = _cumulative([size * count for size, count in zip(self.sizes, images, strict=True)])
        self.total_bases = _cumulative([self.sizes[area] for area in self.summed])
        if self.bases[-1] * batch * BLOCK >= 2**31:
            raise ValueError("too many values for 32-bit addresses")
        self.state = torch.zeros(self.bases[-1] * batch * BLOCK, device=device, dtype=torch.float32)
        self.buffers = [torch.zeros_like(self.state, dtype=wiring.dtype) for _ in range(2)]
        self.drive = torch.zeros(self.drive_bases[-1] * BLOCK, device=device, dtype=torch.float32)
        self.total = torch.zeros(max(1, self.total_bases[-1] * batch * BLOCK), device=device, dtype=torch.float32)
        self.descriptors: dict[tuple[Tiling, int], tuple[Any, Any]] = {}
        bulk = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (9, 0)
        self.cut = list(cut or tilings(batch, sides, tf32=wiring.tf32, bulk=bulk))
        self.launches: list[tuple[Tiling, tuple[Tensor, Tensor, Tensor, Tensor], int]] = [
            (tiling, *self._units(tiling)) for tiling in self.cut
        ]

    def _view(self, flat: Tensor, base: int, area: int, images: int) -> Tensor:
        """An area's part of a buffer as (image, channel block, channel, height, width)."""
        side, blocks = self.sides[area], self.wiring.blocks[area]
        own = flat.narrow(0, base, side**2 * blocks * images * BLOCK)
        return own.view(side, side, blocks, images, BLOCK).permute(3, 2, 4, 0, 1)

    def load(self, rates: Sequence[Tensor], totals: Sequence[Tensor]) -> None:
        """Take over a state (image, channel, height, width) of every area, and sums of the areas that are summed."""
        for area, given in enumerate(rates):
            own = self._view(self.state, self.bases[area] * self.batch * BLOCK, area, self.batch)
            own[: len(given)].copy_(given.unflatten(1, (-1, BLOCK)))
        for number, given in enumerate(totals):
            own = self._view(self.total, self.total_bases[number] * self.batch * BLOCK, self.summed[number], self.batch)
            own[: len(given)].copy_(given.unflatten(1, (-1, BLOCK)))
        self.buffers[0].copy_(self.wiring.sent(self.state))

    def show(self, drives: Sequence[Tensor]) -> None:
        """Take over the drives (image, channel, height, width) of every area."""
        for area, given in enumerate(drives):
            images = self.drive_images[area]
            own = self._view(self.drive, self.drive_bases[area] * BLOCK, area, images)
            own[: len(given)].copy_(given[:images].unflatten(1, (-1, BLOCK)))

    def store(self, rates: Sequence[Tensor], totals: Sequence[Tensor]) -> None:
        """Write the state, and the sums, into these tensors."""
        for area, given in enumerate(rates):
            own = self._view(self.state, self.bases[area] * self.batch * BLOCK, area, self.batch)
            given.unflatten(1, (-1, BLOCK)).copy_(own[: len(given)])
        for number, given in enumerate(totals):
            own = self._view(self.total, self.total_bases[number] * self.batch * BLOCK, self.summed[number], self.batch)
            given.unflatten(1, (-1, BLOCK)).copy_(own[: len(given)])

    def step(self, number: int) -> None:
        """One step of all areas: each reads what all have sent after the step before."""
        from cordstasks.cordsnet.engines.kernels import advance

        target = self.buffers[1 - number % 2]
        for tiling, (units, areas, partial, counters), count in self.launches:
            source, weights = self._read(tiling, number % 2)
            advance[(count,)](
                units,
                areas,
                self.state,
                source,
                target,
                weights,
                self.drive,
                self.total,
                partial,
                counters,
                self.batch,
                self.wiring.alpha,
                BM=tiling.rows,
                BN=tiling.channels,
                BK=tiling.inputs,
                UNIFORM=self.batch % tiling.rows == 0,
                SPLIT=tiling.split,
                TF32=self.wiring.tf32,
                BULK=tiling.bulk,
                PIECES=tiling.pieces,
                num_warps=tiling.warps,
                num_stages=tiling.stages,
                **({} if tiling.registers is None else {"maxnreg": tiling.registers}),
            )

    def _read(self, tiling: Tiling, turn: int) -> tuple[Any, Any]:
        """What the products of a launch read, activity and weights: tensors, or descriptors for the copy engine."""
        source, weights = self.buffers[turn], self.wiring.packed
        if not tiling.bulk:
            return source, weights
        from triton.tools.tensor_descriptor import TensorDescriptor

        key = tiling, turn
        if key not in self.descriptors:
            self.descriptors[key] = (
                TensorDescriptor.from_tensor(source.view(-1, BLOCK), [tiling.rows, tiling.inputs]),
                TensorDescriptor.from_tensor(weights, [tiling.channels, tiling.inputs]),
            )
        return self.descriptors[key]

    def _units(self, tiling: Tiling) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], int]:
        """Tables of one launch: its units of work and its areas, room for parts of sums, and counters of those done."""
        processors = 132
        device = self.state.device
        if device.type == "cuda":
            processors = torch.cuda.get_device_properties(device).multi_processor_count
        work = {}
        for area in tiling.areas:
            tiles = math.ceil(self.sides[area] ** 2 * self.batch / tiling.rows) * (
                self.wiring.blocks[area] * BLOCK // tiling.channels
            )
            inputs = 9 * sum(self.wiring.blocks[segment.source] for segment in self.wiring.segments[area])
            work[area] = tiles, inputs
        total = sum(tiles * inputs for tiles, inputs in work.values())
        share = max(8, math.ceil(total / (3 * processors)))  # blocks of inputs a unit should have
        units: list[list[int]] = []
        table = torch.zeros(len(self.sides), AREA_FIELDS, dtype=torch.int32)
        slot = 0
        for area in sorted(tiling.areas, key=lambda area: -work[area][1]):  # the longest first
            tiles, inputs = work[area]
            parts = max(1, round(inputs / share)) if tiling.split else 1
            table[area] = torch.tensor(self._area(area, parts), dtype=torch.int32)
            across = self.wiring.blocks[area] * BLOCK // tiling.channels
            for tile in range(tiles):
                for part in range(parts):
                    units.append([area, tile // across, tile % across, part, slot, 0, 0, 0])
                slot += parts
        room = slot * tiling.rows * tiling.channels if tiling.split else 1
        tensors: tuple[Any, ...] = (
            torch.tensor(units, dtype=torch.int32, device=device),
            table.to(device),
            torch.zeros(room, device=device, dtype=torch.float32),
            torch.zeros(max(1, slot), dtype=torch.int32, device=device),
        )
        return tensors, len(units)  # type: ignore[return-value]

    def _area(self, area: int, parts: int) -> list[int]:
        """An area's row of the table that the kernel reads."""
        wiring = self.wiring
        total = self.total_bases[self.summed.index(area)] if area in self.summed else -1
        several = int(self.drive_images[area] == self.batch)
        row = [self.sides[area], wiring.blocks[area], self.bases[area], self.drive_bases[area], several, total, parts]
        row.append(wiring.bases[area])
        own = wiring.segments[area]
        for number in range(3):
            segment = own[min(number, len(own) - 1)]
            blocks = wiring.blocks[segment.source]
            row += [self.bases[segment.source], self.sides[segment.source], int(math.log2(blocks))]
            row += [segment.stride, segment.dilation, wiring.starts[area][min(number, len(own) - 1)]]
        row.append(len(own))
        return row + [0] * (AREA_FIELDS - len(row))


def _cumulative(sizes: Sequence[int]) -> list[int]:
    sums = [0]
    for size in sizes:
        sums.append(sums[-1] + size)
    return sums
