"""Steps on CUDA from cuDNN's convolutions: every precision, every card."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from cordstasks.cordsnet.engines.graphs import Shape
from cordstasks.cordsnet.engines.portable import Weights


@contextlib.contextmanager
def products_in(precision: str) -> Iterator[None]:
    """Within this, cuDNN multiplies float32 in TF32, unless `precision` is ``"float32"``."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


class LayerSteps:
    """Buffers of one size of batch. All convolutions of a step run side by side, then all areas are updated together.

    Parameters
    ----------
    weights : Weights
        Weights of the areas.
    precision : str
        Precision of the products.
    shape : Shape
        What to make room for.
    summed : sequence of int
        The areas that are summed, if any are.
    """

    def __init__(self, weights: Weights, precision: str, shape: Shape, summed: Sequence[int]) -> None:
        self.precision, self.alpha = precision, weights.alpha
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        device = weights.recurrent[0].device

        def kernels(given: Sequence[Tensor]) -> list[Tensor]:
            return [weight.to(dtype).contiguous(memory_format=torch.channels_last) for weight in given]

        self.recurrent, self.forward = kernels(weights.recurrent), kernels(weights.forward)
        self.skips = kernels(weights.skips)

        def room(area: int, like: torch.dtype = torch.float32, batch: int = shape.batch) -> Tensor:
            size = (batch, len(self.recurrent[area]), shape.sides[area], shape.sides[area])
            return torch.zeros(size, device=device, dtype=like).contiguous(memory_format=torch.channels_last)

        areas = range(len(shape.sides))
        self.rates = [room(area) for area in areas]
        self.sent = self.rates if dtype == torch.float32 else [room(area, dtype) for area in areas]
        self.drives = [room(area) for area in areas]
        self.summed = list(summed)[: shape.totals]
        self.totals = [room(area) for area in self.summed]
        self.streams: list[torch.cuda.Stream] = []
        if device.type == "cuda":
            self.streams = [torch.cuda.Stream(device) for _ in range(2 * len(areas))]  # type: ignore[no-untyped-call]

    def load(self, rates: Sequence[Tensor], totals: Sequence[Tensor]) -> None:
        """As `cordstasks.cordsnet.engines.graphs.Steps`."""
        for own, given in zip([*self.rates, *self.totals], [*rates, *totals], strict=True):
            own[: len(given)].copy_(given)

    def show(self, drives: Sequence[Tensor]) -> None:
        """As `cordstasks.cordsnet.engines.graphs.Steps`."""
        for own, given in zip(self.drives, drives, strict=True):
            own[: len(given)].copy_(given)

    def store(self, rates: Sequence[Tensor], totals: Sequence[Tensor]) -> None:
        """As `cordstasks.cordsnet.engines.graphs.Steps`."""
        for own, given in zip([*self.rates, *self.totals], [*rates, *totals], strict=True):
            given.copy_(own[: len(given)])

    def step(self, number: int) -> None:
        """As `cordstasks.cordsnet.engines.graphs.Steps`."""
        if self.sent is not self.rates:
            torch._foreach_copy_(self.sent, self.rates)
        work: list[Callable[[], Tensor]] = []
        for area, kernel in enumerate(self.recurrent):
            work.append(lambda area=area, kernel=kernel: F.conv2d(self.sent[area], kernel, padding=1).float())  # type: ignore[misc]
        for area in range(1, len(self.recurrent)):
            work.append(lambda area=area: self._from_below(area).float())  # type: ignore[misc]
        with products_in(self.precision):
            results = self._side_by_side(work)
        recurrent, forward = results[: len(self.recurrent)], results[len(self.recurrent) :]
        torch._foreach_add_(recurrent, self.drives)
        if forward:
            torch._foreach_add_(recurrent[1:], forward)
        torch._foreach_clamp_min_(recurrent, 0.0)
        torch._foreach_lerp_(self.rates, recurrent, self.alpha)
        if self.totals:
            torch._foreach_add_(self.totals, [self.rates[area] for area in self.summed])

    def _from_below(self, area: int) -> Tensor:
        """What an area gets from those below it."""
        sent, kernel = self.sent, self.forward[area]
        if area == 1:
            return F.conv2d(sent[0], kernel, padding=1)
        if area % 2 == 0:
            return F.conv2d(sent[area - 1] + sent[area - 2], kernel, stride=2, padding=1)
        skip = F.conv2d(sent[area - 2], self.skips[(area - 3) // 2], stride=2)
        return F.conv2d(skip.add_(sent[area - 1]), kernel, padding=1)

    def _side_by_side(self, work: Sequence[Callable[[], Tensor]]) -> list[Tensor]:
        """The results of `work`, each computed on a stream of its own where there are streams."""
        if not self.streams:
            return [one() for one in work]
        main = torch.cuda.current_stream()
        results = []
        for one, stream in zip(work, self.streams, strict=False):
            stream.wait_stream(main)
            with torch.cuda.stream(stream):
                results.append(one())
        for _, stream in zip(work, self.streams, strict=False):
            main.wait_stream(stream)
        return results
