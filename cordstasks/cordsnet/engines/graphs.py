"""Steps replayed as CUDA graphs, so that many steps are launched at the cost of one launch."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

MOST_STEPS = 64  # in one graph
WORTH_CAPTURING = 8  # steps of one size of batch; what is called for less often is launched step by step
SIZES_KEPT = 8


class Shape(NamedTuple):
    """What buffers and graphs are made for.

    Attributes
    ----------
    batch : int
        Number of images, see `padded`.
    sides : tuple of int
        Sides of the areas' maps.
    shared : tuple of bool
        For each area, whether its drive is the same for all images.
    totals : int
        Number of areas whose activity is summed.
    """

    batch: int
    sides: tuple[int, ...]
    shared: tuple[bool, ...]
    totals: int


class Steps(Protocol):
    """Buffers of one `Shape`, and what advances them. Tensors given are (image, channel, height, width), at most a batch."""

    def load(self, rates: Sequence[Tensor], totals: Sequence[Tensor]) -> None:
        """Take over the activity of every area and the sums of those that are summed."""

    def show(self, drives: Sequence[Tensor]) -> None:
        """Take over every area's drive."""

    def step(self, number: int) -> None:
        """Advance all areas by one step, the one of this number since `load`; only whether it is odd may matter."""

    def store(self, rates: Sequence[Tensor], totals: Sequence[Tensor]) -> None:
        """Write activity and sums into these tensors."""


def padded(batch: int) -> int:
    """The size of batch that is simulated for `batch` images: few sizes, so that few graphs are captured."""
    return 1 << (batch - 1).bit_length() if batch <= 32 else math.ceil(batch / 64) * 64


class Graphs:
    """A `cordstasks.cordsnet.engines.Repeat` that captures steps for each size of batch and replays them.

    Rates may be followed by sums of areas, to which their activity after each step is added.

    Parameters
    ----------
    make : callable
        Makes the steps for a `Shape`, given the drives with which they are first called.
    """

    def __init__(self, make: Callable[[Shape, Sequence[Tensor]], Steps]) -> None:
        self.make = make
        self.kept: OrderedDict[Shape, _Replayed] = OrderedDict()

    def __call__(self, rates: list[Tensor], drives: list[Tensor], steps: int) -> None:
        """Update `rates` in place, `steps` times."""
        if not steps:
            return
        states, totals = rates[: len(drives)], rates[len(drives) :]
        batch = len(states[0])
        shared = tuple(batch > 1 and drive.stride(0) == 0 for drive in drives)
        shape = Shape(padded(batch), tuple(state.shape[-1] for state in states), shared, len(totals))
        with torch.cuda.device(states[0].device):  # capture and replay use the current device's stream
            if shape not in self.kept:
                while len(self.kept) >= SIZES_KEPT:
                    self.kept.popitem(last=False)
                self.kept[shape] = _Replayed(self.make(shape, drives))
            self.kept.move_to_end(shape)
            self.kept[shape].run(states, totals, drives, steps)


class _Replayed:
    """The graphs of one `Shape`: of 64, 32, ..., 1 steps, each captured when it is first needed."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self.taken = 0
        self.pool: Any = None  # memory that all graphs share, since only one is replayed at a time
        self.shown: list[tuple[Tensor, int]] = []

    def run(self, rates: Sequence[Tensor], totals: Sequence[Tensor], drives: Sequence[Tensor], steps: int) -> None:
        self.taken += steps
        pieces = _pieces(steps)
        replayed = self.taken >= WORTH_CAPTURING
        if replayed:
            for many in dict.fromkeys(pieces):
                if many not in self.graphs:
                    self.graphs[many] = self._captured(many)
        if not self._is_shown(drives):
            self.steps.show(drives)
            self.shown = [(drive, 0 if drive.is_inference() else drive._version) for drive in drives]
        self.steps.load(rates, totals)
        for many in pieces:
            if replayed:
                self.graphs[many].replay()
            else:
                for number in range(many):
                    self.steps.step(number)
        self.steps.store(rates, totals)

    def _is_shown(self, drives: Sequence[Tensor]) -> bool:
        """Whether these are the drives of the last call, not written to since: the same ones come many times in a row."""
        return len(self.shown) == len(drives) and all(
            seen is drive and not drive.is_inference() and version == drive._version
            for (seen, version), drive in zip(self.shown, drives, strict=True)
        )

    def _captured(self, many: int) -> torch.cuda.CUDAGraph:
        """A graph of `many` steps. What the buffers hold is lost, since steps are tried out before they are captured."""
        if not self.graphs:
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for number in range(2):  # kernels are compiled and cuDNN chooses its algorithms before the capture
                    self.steps.step(number)
            torch.cuda.current_stream().wait_stream(stream)
            self.pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            for number in range(many):
                self.steps.step(number)
        return graph


def _pieces(steps: int) -> list[int]:
    """Powers of two that add up to `steps`, the largest first, none above `MOST_STEPS`."""
    pieces = [MOST_STEPS] * (steps // MOST_STEPS)
    left = steps % MOST_STEPS
    return pieces + [1 << bit for bit in reversed(range(left.bit_length())) if left >> bit & 1]
