"""The CUDA engine: which of its ways to take a step, and the check that the fast one is right."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cordstasks.cordsnet.engines.fused import FusedSteps, Tiling, Wiring
from cordstasks.cordsnet.engines.graphs import Graphs, Shape, Steps
from cordstasks.cordsnet.engines.layers import LayerSteps, products_in
from cordstasks.cordsnet.engines.portable import Convolution, Portable, Repeat, Step, Weights

AGREEMENT = 1e-2  # of fused steps with cuDNN's, relative to an area's largest activity: both round their factors


class Cuda(Portable):
    """CUDA: TF32 or bfloat16 products with float32 state, whole steps, replayed as graphs.

    Parameters
    ----------
    precision : str, default "tf32"
        Precision of the products.
    fused : bool, default True
        Whether to take steps through Triton where that works, see `cordstasks.cordsnet.engines.fused`. It is tried once for
        each way to cut the work up, and where it fails or disagrees cuDNN's convolutions stand in.
    """

    def __init__(self, precision: str = "tf32", *, fused: bool = True) -> None:
        super().__init__(precision)
        self.precision = precision
        self.fused = fused and precision != "float32"
        self.why_not_fused = "" if self.fused else f"not asked for, or products in {precision}"

    def convolution(self, weight: Tensor, stride: int) -> Convolution:
        """As `Portable`, with the products in this engine's precision.

        Returns
        -------
        Convolution
            Which takes images (image, in, height, width) and returns float32.
        """
        plain = super().convolution(weight, stride)

        def apply(x: Tensor, add: Tensor | None = None, *, relu: bool = False) -> Tensor:
            with products_in(self.precision):
                return plain(x, add, relu=relu)

        return apply

    @property
    def description(self) -> str:
        """As `Portable.description`."""
        return "one Triton kernel" if self.fused else "convolutions by cuDNN"

    def network(self, weights: Weights, summed: Sequence[int], step: Step) -> Repeat:
        """Steps captured for each size of batch and replayed."""
        return Graphs(_Maker(self, weights, tuple(summed)))


class _Maker:
    """Makes the steps of a network: fused ones if they work, else those of cuDNN's convolutions."""

    def __init__(self, engine: Cuda, weights: Weights, summed: tuple[int, ...]) -> None:
        self.engine, self.weights, self.summed = engine, weights, summed
        self.wiring: Wiring | None = None
        self.checked: list[list[Tiling]] = []

    def __call__(self, shape: Shape, drives: Sequence[Tensor]) -> Steps:
        if self.engine.fused:
            try:
                return self._fused(shape, drives)
            except Exception as error:  # whatever Triton, its compiler or the driver make of it, there is another way
                self.engine.fused = False
                self.engine.why_not_fused = f"{type(error).__name__}: {error}"
        return self._layers(shape)

    def _layers(self, shape: Shape) -> LayerSteps:
        return LayerSteps(self.weights, self.engine.precision, shape, self.summed)

    def _fused(self, shape: Shape, drives: Sequence[Tensor]) -> FusedSteps:
        if self.wiring is None:
            self.wiring = Wiring(self.weights, self.engine.precision)
        made = FusedSteps(self.wiring, shape, self.summed)
        if made.cut not in self.checked:
            self._check(made, shape, drives)
            self.checked.append(made.cut)
        return made

    def _check(self, made: FusedSteps, shape: Shape, drives: Sequence[Tensor]) -> None:
        """Two fused steps, of which each reads another buffer, from any state, against two of cuDNN's."""
        generator = torch.Generator(drives[0].device).manual_seed(0)
        size = max(float(drive.abs().max()) for drive in drives) or 1.0  # a blank image may drive nothing
        start = [
            torch.rand(drive.shape, generator=generator, device=drive.device, dtype=drive.dtype)
            .mul_(size)
            .contiguous(memory_format=torch.channels_last)
            for drive in drives
        ]
        totals = [start[area] for area in self.summed[: shape.totals]]
        ends = []
        for steps in (made, self._layers(shape)):
            end, sums = ([torch.empty_like(tensor) for tensor in group] for group in (start, totals))
            steps.show(drives)
            steps.load(start, totals)
            for number in range(2):
                steps.step(number)
            steps.store(end, sums)
            ends.append([*end, *sums])
        for ours, expected in zip(*ends, strict=True):
            off = float((ours - expected).abs().max() / expected.abs().max())
            if not off < AGREEMENT:  # nor if it is not a number
                raise ArithmeticError(f"a fused step differs by {off:.1e} from one of cuDNN's convolutions")
