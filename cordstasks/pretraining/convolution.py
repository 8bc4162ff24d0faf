"""Convolutions of 3 x 3 taps in training: where maps are small, as products of matrices.

oneDNN's convolutions on maps of 2 x 2 and, with bfloat16, of 4 x 4 units are far from the processor's rate, and farthest in
the gradient of the weights (`benchmarks/convolutions.py`). Two ways to write such a
convolution as a product:

- **One matrix.** On maps of 1 x 1 and 2 x 2 units every unit sees every other, so the convolution is a dense matrix from
  (position, channel) to (position, channel), each block of which is one tap of the kernel. No number is multiplied in vain.
- **Patches.** The 3 x 3 x channels values that each unit sees, side by side in a row, times the kernel as a matrix.

Both add up the same products as the convolution, in another order. On GPUs, on larger maps, and for a few images the
convolution is PyTorch's.

Where products are of another type than the weights, the weights are rounded once. The gradients of many uses are not added
up in that type: bfloat16 has 8 binary digits, and through time there are hundreds of uses with much the same gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Convolution", "SmallMapConv2d", "convolve"]

TAPS = 3  # along each side of the kernel
LARGEST = {torch.bfloat16: 4, torch.float16: 4}  # side of the maps that a product makes, at most
OTHERWISE = 2
FEWEST = 32  # images for which a single use is worth the making of a matrix
ROUNDED_USES = 8  # uses at most whose gradients are added up in the type of the products: conversion takes time, too


class Convolution:
    """A convolution with zero padding on square maps, prepared to be used many times.

    Gradients pass to the weights, unless it was made without them.

    Parameters
    ----------
    weight : Tensor (out, in, 3, 3)
        Kernels.
    side : int
        Height and width of the maps that it will be given.
    stride : int, default 1
    dtype : torch.dtype, optional
        Of the products; by default that of autocast where it is on, else the weights'.
    """

    def __init__(self, weight: Tensor, side: int, *, stride: int = 1, dtype: torch.dtype | None = None) -> None:
        self.stride = stride
        self.dtype = _type_of_products(weight) if dtype is None else dtype
        weight = weight if torch.is_grad_enabled() else weight.detach()
        small, exact = is_small(weight, side, stride, self.dtype), weight.dtype == self.dtype
        rounded = weight.detach().to(self.dtype)
        self._kernels = _Shared(rounded, partial(_Rounded.apply, weight, rounded), exact=exact)
        self._dense = self._rows = None
        if small and stride == 1 and side <= TAPS - 1:
            matrix = _dense(rounded, side)
            self._dense = _Shared(matrix, partial(_Dense.apply, weight, matrix, side), exact=exact)
        elif small:
            rows, made = _rows(weight), _rows(rounded)
            self._rows = _Shared(made, partial(_Rounded.apply, rows, made), exact=exact)

    def __call__(self, x: Tensor) -> Tensor:
        """Convolved maps (image, out, height / stride, width / stride) of maps `x` (image, in, height, width).

        The result has the type of the products.
        """
        x = x.to(self.dtype)
        if len(x) > 1:  # for one image a product reads as many weights as numbers it multiplies
            if self._dense is not None:
                return _by_dense(x, self._dense())
            if self._rows is not None:
                return _by_patches(x, self._rows(), self.stride)
        return F.conv2d(x, self._kernels(), stride=self.stride, padding=TAPS // 2)


def convolve(x: Tensor, weight: Tensor, *, stride: int = 1) -> Tensor:
    """A convolution with kernels of 3 x 3 taps and zero padding, used once.

    Parameters
    ----------
    x : Tensor (image, in, height, width)
        Maps.
    weight : Tensor (out, in, 3, 3)
        Kernels.
    stride : int, default 1

    Returns
    -------
    Tensor (image, out, height / stride, width / stride)
        In the type of autocast where it is on, else in that of the weights.
    """
    side = x.shape[-1]
    if len(x) < FEWEST or x.shape[2] != side or not is_small(weight, side, stride, _type_of_products(weight)):
        return F.conv2d(x, weight, stride=stride, padding=TAPS // 2)
    return Convolution(weight, side, stride=stride)(x)


class SmallMapConv2d(nn.Conv2d):
    """`torch.nn.Conv2d` without bias whose kernels of 3 x 3 taps go through `convolve`."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolved maps (image, out, height, width)."""
        if self.kernel_size != (TAPS, TAPS) or self.padding != (TAPS // 2, TAPS // 2) or self.bias is not None:
            return super().forward(input)
        return convolve(input, self.weight, stride=self.stride[0])


def is_small(weight: Tensor, side: int, stride: int, dtype: torch.dtype | None = None) -> bool:
    """Whether kernels on maps of so many units a side are made a product of matrices of a type, by default the weights'."""
    largest = LARGEST.get(weight.dtype if dtype is None else dtype, OTHERWISE)
    return weight.device.type == "cpu" and weight.shape[2:] == (TAPS, TAPS) and (side - 1) // stride + 1 <= largest


def _type_of_products(weight: Tensor) -> torch.dtype:
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def _pairs(side: int) -> list[tuple[int, int, int, int]]:
    """Input and output position, and the tap's row and column, of all pairs on maps where each sees each."""
    cells = [(y, x) for y in range(side) for x in range(side)]
    centre = TAPS // 2
    return [
        (source, target, centre + cells[source][0] - cells[target][0], centre + cells[source][1] - cells[target][1])
        for source in range(len(cells))
        for target in range(len(cells))
    ]


def _dense(weight: Tensor, side: int) -> Tensor:
    """The matrix (position and channel of the output, position and channel of the input) of a convolution on small maps."""
    out, channels = weight.shape[:2]
    taps = weight.permute(0, 2, 3, 1).contiguous()
    matrix = weight.new_empty(side**2, out, side**2, channels)
    for source, target, row, column in _pairs(side):
        matrix[target, :, source] = taps[:, row, column]
    return matrix.view(side**2 * out, side**2 * channels)


class _Dense(torch.autograd.Function):
    """The matrix that `_dense` has made of weights."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, matrix: Tensor, side: int) -> Tensor:
        ctx.shape, ctx.dtype, ctx.side = weight.shape, weight.dtype, side
        return matrix.view_as(matrix)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        out, channels = ctx.shape[:2]
        blocks = gradient.view(ctx.side**2, out, ctx.side**2, channels)
        taps = gradient.new_zeros(out, TAPS, TAPS, channels, dtype=ctx.dtype)
        for source, target, row, column in _pairs(ctx.side):
            taps[:, row, column] += blocks[target, :, source]
        return taps.permute(0, 3, 1, 2), None, None


class _Rounded(torch.autograd.Function):
    """A tensor that has been rounded to another type before."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, rounded: Tensor) -> Tensor:
        ctx.dtype = tensor.dtype
        return rounded.view_as(rounded)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0].to(ctx.dtype), None


class _Shared:
    """What many products share: made of the weights once, with gradients that add up in the weights' type.

    Parameters
    ----------
    made : Tensor
        In the type of the products, without a gradient.
    use : callable
        () -> the same with the gradient of the weights.
    exact : bool
        Whether the products' type is the weights'. If it is not, at most `ROUNDED_USES` gradients add up in it.
    """

    def __init__(self, made: Tensor, use: Callable[[], Tensor], *, exact: bool) -> None:
        self._made, self._use, self._exact = made, use, exact
        self._current, self._uses = made, 0

    def __call__(self) -> Tensor:
        if not torch.is_grad_enabled():
            return self._made
        if self._uses == 0 or not (self._exact or self._uses % ROUNDED_USES):
            self._current = self._use()
        self._uses += 1
        return self._current


def _by_dense(x: Tensor, dense: Tensor) -> Tensor:
    images, _, height, width = x.shape
    flat = x.permute(0, 2, 3, 1).reshape(images, -1)
    return F.linear(flat, dense).view(images, height, width, -1).permute(0, 3, 1, 2)


class _Patches(torch.autograd.Function):
    """What each unit sees: maps (image, channel, height, width) -> (image, row, column, tap and channel)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: int) -> Tensor:
        ctx.shape, ctx.stride = x.shape, stride
        margin = TAPS // 2
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, margin, margin, margin, margin))
        return torch.cat([padded[:, rows, columns] for rows, columns in _windows(x.shape, stride)], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        images, channels, height, width = ctx.shape
        margin = TAPS // 2
        padded = gradient.new_zeros(images, height + 2 * margin, width + 2 * margin, channels)
        for (rows, columns), part in zip(_windows(ctx.shape, ctx.stride), gradient.split(channels, -1), strict=True):
            padded[:, rows, columns] += part
        # dense in memory, else the normalisation before has a slow way back
        return padded[:, margin:-margin, margin:-margin].contiguous().permute(0, 3, 1, 2), None


def _windows(shape: torch.Size, stride: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the padded maps that each tap reads."""
    height, width = shape[2:]
    return [
        (slice(row, row + height, stride), slice(column, column + width, stride))
        for row in range(TAPS)
        for column in range(TAPS)
    ]


def _rows(weight: Tensor) -> Tensor:
    """Kernels as a matrix (out, tap and channel)."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _by_patches(x: Tensor, rows: Tensor, stride: int) -> Tensor:
    patches = _Patches.apply(x, stride)
    images, height, width, values = patches.shape
    return F.linear(patches.view(-1, values), rows).view(images, height, width, -1).permute(0, 3, 1, 2)
