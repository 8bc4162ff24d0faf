"""The recurrent convolution of an area as an operator, and its exact spectrum on a torus."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from cordstasks.analysis._checks import array_of
from cordstasks.errors import InputError, unknown
from cordstasks.utils.arguments import integers

__all__ = ["circular_spectrum", "convolution_operator"]

PADDINGS = {"zeros": "constant", "circular": "wrap"}
COLUMNS = 1 << 25  # entries of the unfolded maps that are held at once


class _Convolution(LinearOperator):  # type: ignore[misc]
    """See `convolution_operator`."""

    def __init__(self, kernel: NDArray[Any], shape: tuple[int, int, int], padding: str) -> None:
        outputs, inputs = kernel.shape[:2]
        self.kernel, self.map, self.padding = kernel, shape, padding
        # the transposed operator is a convolution by the kernel turned by 180 deg, with channels exchanged
        turned = kernel.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
        self._flat = np.ascontiguousarray(kernel.transpose(0, 2, 3, 1).reshape(outputs, -1))
        self._turned = np.ascontiguousarray(turned.transpose(0, 2, 3, 1).reshape(inputs, -1))
        places = shape[1] * shape[2]
        self.multiply_accumulates = kernel.size * places  # of a product with one vector
        super().__init__(kernel.dtype, (outputs * places, inputs * places))

    def _convolved(self, x: NDArray[Any], flat: NDArray[Any]) -> NDArray[Any]:
        """Vectors (unit, vector) convolved by a flat kernel (out, height x width x in)."""
        if np.iscomplexobj(x):
            return self._convolved(x.real, flat) + 1j * self._convolved(x.imag, flat)
        _, _, high, wide = self.kernel.shape
        _, height, width = self.map
        vectors = x.shape[1]
        channels = flat.shape[1] // (high * wide)
        maps = np.ascontiguousarray(x.T, dtype=self.dtype).reshape(vectors, channels, height, width)
        out = np.empty((len(flat) * height * width, vectors), self.dtype)
        most = max(1, COLUMNS // (flat.shape[1] * height * width))
        margin = ((0, 0), (0, 0), (high // 2, high // 2), (wide // 2, wide // 2))
        for start in range(0, vectors, most):
            padded = np.pad(maps[start : start + most], margin, mode=PADDINGS[self.padding])  # type: ignore[call-overload]
            columns = np.empty((len(padded), high, wide, channels, height, width), self.dtype)
            for row in range(high):
                for column in range(wide):
                    columns[:, row, column] = padded[:, :, row : row + height, column : column + width]
            products = flat @ columns.reshape(len(padded), flat.shape[1], height * width)
            out[:, start : start + most] = products.reshape(len(padded), -1).T
        return out

    def _matmat(self, X: NDArray[Any]) -> NDArray[Any]:
        return self._convolved(X, self._flat)

    def _rmatmat(self, X: NDArray[Any]) -> NDArray[Any]:
        return self._convolved(X, self._turned)

    def _matvec(self, x: NDArray[Any]) -> NDArray[Any]:
        return self._convolved(x.reshape(-1, 1), self._flat).reshape(x.shape if len(self.kernel) == self.map[0] else -1)

    def _rmatvec(self, x: NDArray[Any]) -> NDArray[Any]:
        return self._convolved(x.reshape(-1, 1), self._turned)[:, 0]


def convolution_operator(kernel: ArrayLike, shape: tuple[int, int, int], *, padding: str = "zeros") -> LinearOperator:
    """The convolution of an area with itself, as a linear operator on flattened maps.

    It is what ``torch.nn.Conv2d`` without bias computes (a cross-correlation), with stride 1 and as much padding as keeps
    the maps' size. The matrix, of (channels x height x width) ** 2 entries, is never formed.

    Parameters
    ----------
    kernel : array of shape (out, in, kernel height, kernel width)
        Weights in float32 or float64; the sides of the kernel are odd.
    shape : (int, int, int)
        Channels (in), height and width of the maps.
    padding : {"zeros", "circular"}, default "zeros"
        ``"zeros"`` as in CordsNet; ``"circular"`` makes opposite borders neighbours.

    Returns
    -------
    LinearOperator
        Of shape (out x height x width, in x height x width), in the kernel's type, with ``matvec``, ``rmatvec``, ``matmat``
        and ``rmatmat``. A vector is a map (channel, height, width) in C order.

    Raises
    ------
    InputError
        If the kernel has another shape or type, is not finite, or has other channels than `shape` says.

    Notes
    -----
    A product costs out x in x kernel height x kernel width x height x width multiply-accumulates, and memory for the
    unfolded maps, kernel height x kernel width times the size of the vector.
    """
    weights, size = _checked(kernel, shape)
    if padding not in PADDINGS:
        raise unknown("padding", padding, PADDINGS)
    if padding == "circular" and (weights.shape[2] // 2 > size[1] or weights.shape[3] // 2 > size[2]):
        raise InputError(f"shape={size}: maps are smaller than half the kernel of {weights.shape[2:]}; give larger maps")
    return _Convolution(weights, size, padding)


def _checked(kernel: ArrayLike, shape: tuple[int, int, int]) -> tuple[NDArray[Any], tuple[int, int, int]]:
    weights = array_of(kernel)
    if weights.ndim != 4 or not weights.size or weights.dtype.kind not in "fiu":
        raise InputError(
            f"kernel of shape {weights.shape} and type {weights.dtype}: give numbers (out, in, kernel height, kernel width)"
        )
    if weights.dtype == np.float16:
        raise InputError("kernel of type float16: too coarse for a spectrum; convert it to float32 or float64")
    weights = weights if weights.dtype in (np.float32, np.float64) else weights.astype(np.float64)
    if not np.isfinite(weights).all():
        raise InputError(f"kernel: {int((~np.isfinite(weights)).sum())} of its weights are not finite")
    if not (weights.shape[2] % 2 and weights.shape[3] % 2):
        raise InputError(f"kernel of {weights.shape[2]} x {weights.shape[3]}: give odd sides, which keep the maps' size")
    size = integers("shape", shape)
    if len(size) != 3:
        raise InputError(f"shape={shape!r}: give (channels, height, width)")
    if size[0] != weights.shape[1]:
        raise InputError(f"shape={size}: {size[0]} channels, but the kernel takes {weights.shape[1]}; give both alike")
    return weights, (size[0], size[1], size[2])


def circular_spectrum(kernel: ArrayLike, shape: tuple[int, int, int]) -> NDArray[np.complex128]:
    """All eigenvalues of a convolution under circular padding, exactly.

    On a torus a convolution does not mix spatial frequencies, so its eigenvalues are those of one small matrix
    (out, in) for each frequency.

    Parameters
    ----------
    kernel : array of shape (channel, channel, kernel height, kernel width)
        Weights, see `convolution_operator`.
    shape : (int, int, int)
        Channels, height and width of the maps.

    Returns
    -------
    complex128 (channels x height x width,)
        Largest modulus first.

    Raises
    ------
    InputError
        As `convolution_operator`, and if the kernel does not have as many outputs as inputs.

    Notes
    -----
    Not valid for zero padding, as CordsNet has it: there borders mix frequencies, and activity that leaves the map is lost.
    """
    weights, (channels, height, width) = _checked(kernel, shape)
    if weights.shape[0] != channels:
        raise InputError(
            f"kernel from {channels} to {weights.shape[0]} channels: eigenvalues need as many outputs as inputs"
        )
    placed = np.zeros((channels, channels, height, width))
    high, wide = weights.shape[2:]
    for row in range(high):
        for column in range(wide):
            placed[:, :, (high // 2 - row) % height, (wide // 2 - column) % width] += weights[:, :, row, column]
    by_frequency = np.fft.fft2(placed).transpose(2, 3, 0, 1).reshape(-1, channels, channels)
    values = np.linalg.eigvals(by_frequency).ravel()
    order = np.argsort(-np.abs(values), kind="stable")
    return np.asarray(values[order], dtype=np.complex128)
