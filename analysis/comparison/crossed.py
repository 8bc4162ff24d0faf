"""Products between the activities of many networks, fitted on some conditions and tested on others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import svd

from cordstasks.analysis._checks import Floats, array_of, count
from cordstasks.analysis.comparison.principal import Principal
from cordstasks.errors import InputError

Rows = NDArray[np.intp]
Products = list[tuple[Floats, Floats]]


class Crossed:
    """Networks in their own coordinates, fold by fold, and the products of these coordinates.

    In each fold the principal scores of a network, minus their mean over the samples to fit on, are rotated to principal
    axes of those samples and each axis is multiplied by `gain(scale)`, with `scale` (axis,) as in `Principal`. Without
    folds, all samples serve both to fit on and to test on.

    Products of whole folds between the networks' bases are computed once, by large matrix products; everything else works on
    small matrices. Bases are orthonormal, so subtracting the means afterwards loses little precision.

    Attributes
    ----------
    dimensions : list of int
        Numbers of dimensions, one per network.
    tested : list of list of ndarray of shape (axis, axis)
        By fold and network: products of the network's own coordinates over the samples tested on.
    """

    def __init__(
        self, networks: Sequence[Principal], folds: Sequence[Rows] | None, gain: Callable[[Floats], Floats]
    ) -> None:
        self.dimensions = [len(network.scale) for network in networks]
        self._ends = np.concatenate([[0], np.cumsum(self.dimensions)])
        order = np.arange(networks[0].samples) if folds is None else np.concatenate(list(folds))
        self._edges = np.concatenate([[0], np.cumsum([len(order)] if folds is None else [len(rows) for rows in folds])])
        self._held_out = folds is not None
        self._bases = np.empty((self._ends[-1], len(order)))
        for i, network in enumerate(networks):
            self._bases[self._of(i)] = network.basis.T[:, order]
        # (fold, dimension of all networks): sums over the samples tested on, and means over those fitted on
        self._sums = np.stack([self._bases[:, rows].sum(axis=1) for rows in self._folds()])
        fitted = len(order) - np.diff(self._edges)
        # a basis has mean 0 over all samples, so the sum over one fold is minus the sum over the others
        self._means = -self._sums / fitted[:, None] if self._held_out else np.zeros_like(self._sums)
        self._maps = [
            [self._map(i, fold, network.scale, gain) for i, network in enumerate(networks)] for fold in range(len(fitted))
        ]
        self.tested = [[self._own(i, fold) for i in range(len(networks))] for fold in range(len(fitted))]

    def __len__(self) -> int:
        return len(self.dimensions)

    def row(self, i: int) -> Iterator[Products]:
        """For each network after i: products (axis of i, axis of the other) over the samples of each fold.

        Each fold has two: over the samples fitted on and over those tested on.
        """
        later = slice(self._ends[i + 1], self._ends[-1])
        blocks = np.stack([self._bases[self._of(i), rows] @ self._bases[later, rows].T for rows in self._folds()])
        for j in range(i + 1, len(self)):
            block = blocks[:, :, self._of(j).start - later.start : self._of(j).stop - later.start]
            yield self._products(i, j, block)

    def coordinates(self, i: int, fold: int) -> Floats:
        """Coordinates (sample, axis) of network i over the samples of a fold that are tested on."""
        rows = slice(self._edges[fold], self._edges[fold + 1])
        centred = self._bases[self._of(i), rows] - self._means[fold, self._of(i), None]
        return _mapped(None, centred.T, self._maps[fold][i])

    def _products(self, i: int, j: int, blocks: Floats) -> Products:
        if not self._held_out:
            product = _mapped(self._maps[0][i], blocks[0], self._maps[0][j])
            return [(product, product)]
        total = blocks.sum(axis=0)
        products = []
        for fold, block in enumerate(blocks):
            first, second = self._means[fold, self._of(i)], self._means[fold, self._of(j)]
            fitted = total - block - self._fitted(fold) * np.outer(first, second)
            tested = self._tested(block, fold, i, j)
            left, right = self._maps[fold][i], self._maps[fold][j]
            products.append((_mapped(left, fitted, right), _mapped(left, tested, right)))
        return products

    def _tested(self, block: Floats, fold: int, i: int, j: int) -> Floats:
        first, second = self._means[fold, self._of(i)], self._means[fold, self._of(j)]
        samples = self._edges[fold + 1] - self._edges[fold]
        return (
            block
            - np.outer(self._sums[fold, self._of(i)], second)
            - np.outer(first, self._sums[fold, self._of(j)] - samples * second)
        )

    def _own(self, i: int, fold: int) -> Floats:
        coordinates = self.coordinates(i, fold)
        return coordinates.T @ coordinates

    def _map(self, i: int, fold: int, scale: Floats, gain: Callable[[Floats], Floats]) -> Floats:
        """The factor of a basis (dimension,): a matrix (dimension, axis), or (axis,) if it is diagonal."""
        if not self._held_out:
            return scale * gain(scale)
        rows = np.r_[0 : self._edges[fold], self._edges[fold + 1] : self._edges[-1]]
        scores = (self._bases[self._of(i)][:, rows] - self._means[fold, self._of(i), None]).T * scale
        triangle = np.linalg.qr(scores, mode="r")
        _, fitted, axes = svd(triangle, full_matrices=False, check_finite=False)
        if not fitted[0] > 1e-12 * scale[0]:
            raise InputError(
                f"activities[{i}] is constant over the conditions left when those of one fold are held out; "
                "give more conditions"
            )
        varies = fitted > np.finfo(np.float64).eps * len(rows) * fitted[0]
        gains = gain(fitted[varies])
        if np.ptp(gains) == 0 and varies.all():
            return scale * gains[0]  # no axis is scaled, so no rotation to the axes is needed
        return np.asarray(scale[:, None] * axes[varies].T * gains)

    def _fitted(self, fold: int) -> int:
        return int(self._edges[-1] - self._edges[fold + 1] + self._edges[fold])

    def _folds(self) -> list[slice]:
        return [slice(start, end) for start, end in zip(self._edges[:-1], self._edges[1:], strict=True)]

    def _of(self, i: int) -> slice:
        return slice(int(self._ends[i]), int(self._ends[i + 1]))


def _mapped(left: Floats | None, block: Floats, right: Floats) -> Floats:
    """``left.T @ block @ right``; a vector is a diagonal matrix, and None is the identity."""
    if left is not None:
        block = left[:, None] * block if left.ndim == 1 else left.T @ block
    return block * right if right.ndim == 1 else block @ right


def split_groups(groups: ArrayLike, samples: int, folds: int, seed: int | np.random.SeedSequence) -> list[Rows]:
    """Rows of each fold: whole groups at random, as evenly as possible; no more folds than groups."""
    group = checked_groups(groups, samples)
    number = int(group.max()) + 1
    wanted = count("folds", folds, 2)
    if number < 2:
        raise InputError("groups holds a single condition; to test on conditions left out, give at least 2")
    fold = np.random.default_rng(seed).permutation(number) % min(wanted, number)
    return [np.flatnonzero(fold[group] == each) for each in range(min(wanted, number))]


def checked_groups(groups: ArrayLike, samples: int) -> Rows:
    """Return the index of each sample's condition among the sorted conditions."""
    values = array_of(groups)
    if values.shape != (samples,):
        raise InputError(f"groups has shape {values.shape}; give the condition of each of the {samples} samples")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError("groups holds values that are not finite; give each sample its condition")
    return np.asarray(np.unique(values, return_inverse=True)[1], dtype=np.intp)
