"""Convolutions of 3 x 3 taps in training: where maps are small, as products of matrices.

oneDNN's convolutions on maps of 2 x 2 and, with bfloat16, of 4 x 4 units are far from the processor's rate, and farthest in
the gradient of the weights (`benchmarks/convolutions.py`). Two ways to write such a
convolution as a product:

- **One matrix.** On maps of 1 x 1 and 2 x 2 units every unit sees every other, so the convolution is a dense matrix from
  (position, channel) to (position, channel), each block of which is one tap of the kernel. No number is multiplied in vain.
- **Patches.** The 3 x 3 x channels values that each unit sees, side by side in a row, times the kernel as a matrix.

Both add up the same products as the convolution, in another order. On GPUs, on larger maps, and for a few images the
convolution is PyTorch's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Convolution", "SmallMapConv2d", "convolve"]

TAPS = 3  # along each side of the kernel
LARGEST = {torch.bfloat16: 4, torch.float16: 4}  # side of the maps that a product makes, at most
OTHERWISE = 2
FEWEST = 32  # images for which a single use is worth the making of a matrix


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
        self.weight = weight.to(self.dtype)
        small = is_small(self.weight, side, stride)
        self._dense = _Dense.apply(self.weight, side) if small and stride == 1 and side <= TAPS - 1 else None
        self._rows = self.weight.permute(0, 2, 3, 1).flatten(1) if small and self._dense is None else None

    def __call__(self, x: Tensor) -> Tensor:
        """Convolved maps (image, out, height / stride, width / stride) of maps `x` (image, in, height, width).

        The result has the type of the products.
        """
        x = x.to(self.dtype)
        if len(x) > 1:  # for one image a product reads as many weights as numbers it multiplies
            if self._dense is not None:
                return _by_dense(x, self._dense)
            if self._rows is not None:
                return _by_patches(x, self._rows, self.stride)
        return F.conv2d(x, self.weight, stride=self.stride, padding=TAPS // 2)


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


class _Dense(torch.autograd.Function):
    """The matrix (position and channel of the output, position and channel of the input) of a convolution on small maps."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, side: int) -> Tensor:
        out, channels = weight.shape[:2]
        ctx.side, ctx.out, ctx.channels = side, out, channels
        taps = weight.permute(0, 2, 3, 1).contiguous()
        matrix = weight.new_empty(side**2, out, side**2, channels)
        for source, target, row, column in _pairs(side):
            matrix[target, :, source] = taps[:, row, column]
        return matrix.view(side**2 * out, side**2 * channels)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        blocks = gradient.view(ctx.side**2, ctx.out, ctx.side**2, ctx.channels)
        taps = gradient.new_zeros(ctx.out, TAPS, TAPS, ctx.channels)
        for source, target, row, column in _pairs(ctx.side):
            taps[:, row, column] += blocks[target, :, source]
        return taps.permute(0, 3, 1, 2), None


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
        return padded[:, margin:-margin, margin:-margin].permute(0, 3, 1, 2), None


def _windows(shape: torch.Size, stride: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the padded maps that each tap reads."""
    height, width = shape[2:]
    return [
        (slice(row, row + height, stride), slice(column, column + width, stride))
        for row in range(TAPS)
        for column in range(TAPS)
    ]


def _by_patches(x: Tensor, rows: Tensor, stride: int) -> Tensor:
    patches = _Patches.apply(x, stride)
    images, height, width, values = patches.shape
    return F.linear(patches.view(-1, values), rows).view(images, height, width, -1).permute(0, 3, 1, 2)
