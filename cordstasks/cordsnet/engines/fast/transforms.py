"""Minimal filtering in one dimension: what a few inputs and the three taps of a filter are turned into, and back.

Each function is a formula on anything that can be added, subtracted and multiplied by a number: floats, NumPy arrays, or the
vectors of instructions in `cordstasks.cordsnet.engines.fast.vectors`. Applied along rows and then along columns, it
transforms a tile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Formula = Callable[[Sequence[Any]], list[Any]]


@dataclass(frozen=True)
class Algorithm:
    """A way to make `outputs` neighbouring outputs of a filter of three taps from `products` products.

    Attributes
    ----------
    number : int
        By which compiled code knows it.
    products, outputs, inputs : int
        Numbers in one dimension; in two dimensions, they are squared.
    first : int
        Where the first input lies, relative to the first output: -1 if what stands beside a tile is read, 0 if a tile is
        a whole map, around which there are only zeros.
    of_inputs, of_products : callable
        B' and A' as formulas: from inputs to factors, and from products to outputs.
    of_taps : ndarray of shape (products, 3)
        The matrix G.
    """

    number: int
    products: int
    outputs: int
    inputs: int
    first: int
    of_inputs: Formula
    of_products: Formula
    of_taps: NDArray[np.float64]

    def of_kernels(self, weight: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """U = G g G' of every kernel: (product, channel in, channel out) of weights (channel out, channel in, 3, 3)."""
        both = np.kron(self.of_taps, self.of_taps)
        taps = weight.astype(np.float64).transpose(2, 3, 1, 0)
        return (both @ taps.reshape(9, -1)).reshape(len(both), *taps.shape[2:])


def _inputs_of_four(d: Sequence[Any]) -> list[Any]:
    even, odd = d[4] - 4.0 * d[2], d[3] - 4.0 * d[1]
    second, first = d[4] - d[2], 2.0 * (d[3] - d[1])
    return [
        4.0 * d[0] - 5.0 * d[2] + d[4],
        even + odd,
        even - odd,
        second + first,
        second - first,
        4.0 * d[1] - 5.0 * d[3] + d[5],
    ]


def _outputs_of_four(m: Sequence[Any]) -> list[Any]:
    plus, minus = m[1] + m[2], m[1] - m[2]
    plus_two, minus_two = m[3] + m[4], m[3] - m[4]
    return [
        m[0] + plus + plus_two,
        minus + 2.0 * minus_two,
        plus + 4.0 * plus_two,
        minus + 8.0 * minus_two + m[5],
    ]


FOUR = Algorithm(
    number=0,
    products=6,
    outputs=4,
    inputs=6,
    first=-1,
    of_inputs=_inputs_of_four,
    of_products=_outputs_of_four,
    of_taps=np.array(
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ]
    ),
)
"""F(4, 3), with the points 0, 1, -1, 2, -2 and infinity."""

TWO = Algorithm(
    number=1,
    products=4,
    outputs=2,
    inputs=4,
    first=-1,
    of_inputs=lambda d: [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]],
    of_products=lambda m: [m[0] + m[1] + m[2], m[1] - m[2] - m[3]],
    of_taps=np.array([[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]]),
)
"""F(2, 3): more multiplications than F(4, 3), but fewer weights, which is what counts for few images."""

PAIR = Algorithm(
    number=2,
    products=3,
    outputs=2,
    inputs=2,
    first=0,
    of_inputs=lambda d: [d[0] + d[1], d[1], d[0]],
    of_products=lambda m: [m[0] + m[1], m[0] + m[2]],
    of_taps=np.array([[0.0, 1, 0], [0, -1, 1], [1, -1, 0]]),
)
"""A whole row of two: ``y0 = g1 d0 + g2 d1`` and ``y1 = g0 d0 + g1 d1`` share the product g1 (d0 + d1)."""

SINGLE = Algorithm(
    number=3,
    products=1,
    outputs=1,
    inputs=1,
    first=0,
    of_inputs=lambda d: [d[0]],
    of_products=lambda m: [m[0]],
    of_taps=np.array([[0.0, 1, 0]]),
)
"""A whole row of one, which only the middle tap sees."""

ALGORITHMS = (FOUR, TWO, PAIR, SINGLE)
FEW_IMAGES = 4  # up to which the weights of a 4 x 4 map take longer to read than their products to compute


def algorithm_for(side: int, images: int) -> Algorithm:
    """The algorithm for maps of `side` x `side`, where so many images are shown at once."""
    if side == 1:
        return SINGLE
    if side == 2:
        return PAIR
    return TWO if side <= 4 and images <= FEW_IMAGES else FOUR
