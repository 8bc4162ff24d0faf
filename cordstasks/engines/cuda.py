"""The CUDA engine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from cordstasks.engines.portable import Convolution, Portable, Repeat


class Cuda(Portable):
    """CUDA: TF32 or bfloat16 products with float32 state, and steps replayed as a graph."""

    def __init__(self, precision: str = "tf32") -> None:
        super().__init__(precision)
        self.tf32 = precision != "float32"

    @contextlib.contextmanager
    def _products(self) -> Iterator[None]:
        before = torch.backends.cudnn.allow_tf32
        torch.backends.cudnn.allow_tf32 = self.tf32
        try:
            yield
        finally:
            torch.backends.cudnn.allow_tf32 = before

    def convolution(self, weight: Tensor, stride: int) -> Convolution:
        """As `Portable`, with the products in this engine's precision."""
        plain = super().convolution(weight, stride)

        def apply(x: Tensor, add: Tensor | None = None, *, relu: bool = False) -> Tensor:
            with self._products():
                return plain(x, add, relu=relu)

        return apply

    def repeat(self, step: Callable[[list[Tensor], list[Tensor]], None]) -> Repeat:
        """Steps captured once per batch size and replayed."""
        return _Graphs(step)


class _Graphs:
    def __init__(self, step: Callable[[list[Tensor], list[Tensor]], None]) -> None:
        self.step = step
        self.graphs: dict[int, tuple[torch.cuda.CUDAGraph, list[Tensor], list[Tensor]]] = {}

    def __call__(self, rates: list[Tensor], drives: list[Tensor], steps: int) -> None:
        with torch.cuda.device(rates[0].device):  # capture and replay use the current device's stream
            graph, own_rates, own_drives = self._graph(rates, drives)
            for own, given in zip(own_rates + own_drives, rates + drives, strict=True):
                own.copy_(given)
            for _ in range(steps):
                graph.replay()
            for own, given in zip(own_rates, rates, strict=True):
                given.copy_(own)

    def _graph(self, rates: list[Tensor], drives: list[Tensor]) -> tuple[torch.cuda.CUDAGraph, list[Tensor], list[Tensor]]:
        batch = len(rates[0])
        if batch not in self.graphs:
            if len(self.graphs) > 7:
                self.graphs.clear()
            own_rates, own_drives = [r.clone() for r in rates], [d.clone() for d in drives]
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(3):  # cuDNN chooses its algorithms before the capture
                    self.step(own_rates, own_drives)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self.step(own_rates, own_drives)
            self.graphs[batch] = graph, own_rates, own_drives
        return self.graphs[batch]
