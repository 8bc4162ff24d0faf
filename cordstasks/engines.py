"""How the frozen simulator convolves: one small seam between its equations and what each device does fastest.

`Portable` is the reference and runs on every device. `Packed` keeps the weights in oneDNN's own layout on CPUs and adds
and rectifies inside the convolution. `Cuda` multiplies in TF32 or bfloat16 and replays whole steps as a CUDA graph; the
state stays float32 everywhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from cordstasks.errors import InputError, unknown

PRECISIONS = ("float32", "tf32", "bfloat16")


class Convolution(Protocol):
    """A frozen convolution with padding k // 2: ``conv(x)``, ``conv(x) + add`` or ``relu(conv(x) + add)``."""

    def __call__(self, x: Tensor, add: Tensor | None = None, *, relu: bool = False) -> Tensor:
        """Convolve `x` (image, channel, height, width)."""
        ...


class Portable:
    """Plain torch convolutions, channels last, on any device."""

    def __init__(self, precision: str = "float32") -> None:
        self.dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32

    def convolution(self, weight: Tensor, stride: int) -> Convolution:
        """A callable that convolves with `weight` (out, in, k, k)."""
        kernel = weight.to(self.dtype).contiguous(memory_format=torch.channels_last)
        padding, dtype = weight.shape[-1] // 2, self.dtype

        def apply(x: Tensor, add: Tensor | None = None, *, relu: bool = False) -> Tensor:
            y = F.conv2d(x.to(dtype), kernel, stride=stride, padding=padding).float()
            if add is not None:
                y += add
            return y.relu_() if relu else y

        return apply

    def repeat(self, step: Callable[[list[Tensor], list[Tensor]], None]) -> Repeat:
        """A callable that takes `step` many times; see `Repeat`."""
        return _Loop(step)


class Repeat(Protocol):
    """``repeat(rates, drives, steps)`` updates `rates` in place, `steps` times, with the same drives."""

    def __call__(self, rates: list[Tensor], drives: list[Tensor], steps: int) -> None:
        """Take the steps."""
        ...


class _Loop:
    def __init__(self, step: Callable[[list[Tensor], list[Tensor]], None]) -> None:
        self.step = step

    def __call__(self, rates: list[Tensor], drives: list[Tensor], steps: int) -> None:
        for _ in range(steps):
            self.step(rates, drives)


class Packed(Portable):
    """CPU: weights laid out once as oneDNN wants them, with the addition and the relu fused into the convolution.

    torch reaches these kernels through operators that it does not document, so `available` tries them before use and
    `Portable` stands in where they are missing or disagree.
    """

    @staticmethod
    def available() -> bool:
        """Whether this build of torch has the operators and they compute what `Portable` does."""
        global _packed_works
        if _packed_works is None:
            _packed_works = False
            with contextlib.suppress(Exception):  # an undocumented operator may fail in any way; Portable is the answer
                ramp, last = partial(torch.linspace, dtype=torch.float32), torch.channels_last
                x = ramp(-1, 1, 2 * 8 * 5 * 5).view(2, 8, 5, 5).contiguous(memory_format=last)
                weight = ramp(-1, 1, 16 * 8 * 9).view(16, 8, 3, 3)
                add = ramp(-9, 9, 2 * 16 * 9).view(2, 16, 3, 3).contiguous(memory_format=last)
                plain, packed = (engine.convolution(weight, 2)(x, add, relu=True) for engine in (Portable(), Packed()))
                _packed_works = torch.allclose(plain, packed, rtol=1e-5, atol=1e-5)
        return _packed_works

    def convolution(self, weight: Tensor, stride: int) -> Convolution:
        """A callable that convolves with `weight` (out, in, k, k), packed for each input shape it meets."""
        operator = torch.ops.mkldnn._convolution_pointwise
        kernel = weight.to(self.dtype).contiguous(memory_format=torch.channels_last)
        padding = weight.shape[-1] // 2
        where = ([padding] * 2, [stride] * 2, [1, 1], 1)
        packed: dict[torch.Size, Tensor] = {}

        def pack(x: Tensor) -> Tensor:
            if x.shape not in packed:
                if len(packed) > 3:  # odd batch sizes come and go; keep a few layouts, not all
                    packed.clear()
                packed[x.shape] = torch.ops.mkldnn._reorder_convolution_weight(kernel, *where, list(x.shape))
            return packed[x.shape]

        def apply(x: Tensor, add: Tensor | None = None, *, relu: bool = False) -> Tensor:
            x = x.to(self.dtype)
            if add is None:
                return operator(x, pack(x), None, *where, "relu" if relu else "none", [], "").float()
            add = add.to(self.dtype)
            unary = "relu" if relu else None
            return operator.binary(x, add, pack(x), None, *where, "add", None, unary, [], "").float()

        return apply


_packed_works: bool | None = None


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


def engine_for(device: torch.device, precision: str | None = None) -> Portable:
    """The fastest engine for `device`; `precision` is that of the products (default float32, on CUDA TF32)."""
    if precision is not None and precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if device.type == "cuda":
        return Cuda(precision or "tf32")
    if precision == "tf32":
        raise InputError(f"precision='tf32': only CUDA devices have it, not {device}; choose float32 or bfloat16")
    if device.type == "cpu" and Packed.available():
        return Packed(precision or "float32")
    return Portable(precision or "float32")
