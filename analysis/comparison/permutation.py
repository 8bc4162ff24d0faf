"""Permutation null: the similarity of two networks if their conditions were unrelated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cordstasks.analysis._checks import Floats, count, real_array
from cordstasks.analysis.comparison.crossed import Rows, checked_groups
from cordstasks.errors import InputError

__all__ = ["PermutationNull", "permutation_null"]


@dataclass(frozen=True, eq=False)
class PermutationNull:
    """A statistic and its values for shuffled conditions, from `permutation_null`.

    Attributes
    ----------
    observed : (...)
        The statistic, of any shape.
    shuffled : (permutation, ...)
        Its values with the conditions of one network shuffled.
    """

    observed: Floats
    shuffled: Floats

    @property
    def mean(self) -> Floats:
        """Mean (...) over permutations: the value that is expected by chance."""
        return np.asarray(self.shuffled.mean(axis=0))

    def p_value(self, *, larger: bool = True) -> Floats:
        """Fraction (...) of permutations as extreme as the observed value, which counts as one of them.

        Parameters
        ----------
        larger : bool
            True for likenesses such as correlations, False for distances, of which small ones are remarkable.

        Returns
        -------
        (...)
            Above 0 and at most 1, of the shape of the observed value.
        """
        extreme = self.shuffled >= self.observed if larger else self.shuffled <= self.observed
        return np.asarray((1 + extreme.sum(axis=0)) / (1 + len(self.shuffled)))


def permutation_null(
    statistic: Callable[[Floats, Floats], ArrayLike],
    x: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike,
    *,
    permutations: int = 100,
    seed: int = 0,
) -> PermutationNull:
    """Compute a statistic of two activities as they are and with the conditions of the second shuffled.

    Whole conditions are exchanged and each keeps its time course. What all conditions have in common over time, such as a
    response to the onset of a stimulus, therefore remains in the null. The statistic exceeds the null only if the activities
    agree about the conditions.

    Parameters
    ----------
    statistic : function of x and y
        Such as `canonical_correlations`, or ``lambda x, y: shape_distance(x, y, alpha=0.5)``. Its result may be a number
        or an array.
    x, y : (sample, unit)
        Activities on the same samples. Not modified.
    groups : (sample,)
        Condition of each sample, each with the same number of samples in the same order of time.
    permutations : int
        At least 1. The smallest p value is 1 / (permutations + 1).
    seed : int
        Of the permutations.

    Returns
    -------
    PermutationNull

    Raises
    ------
    InputError
        If lengths differ or conditions differ in their numbers of samples.
    """
    first, second = real_array("x", x, ("sample", "unit")), real_array("y", y, ("sample", "unit"))
    if len(first) != len(second):
        raise InputError(f"y has {len(second)} samples but x has {len(first)}; record both on the same samples")
    rows = condition_rows(groups, len(first))
    rng = np.random.default_rng(seed)
    number = count("permutations", permutations, 1)
    values = [np.asarray(statistic(first, second[shuffled_order(rows, rng)]), dtype=np.float64) for _ in range(number)]
    return PermutationNull(np.asarray(statistic(first, second), dtype=np.float64), np.stack(values))


def condition_rows(groups: ArrayLike, samples: int) -> Rows:
    """Rows (condition, sample of it) of the samples of each condition, which must be equally many."""
    group = checked_groups(groups, samples)
    sizes = np.bincount(group)
    if len(sizes) < 2:
        raise InputError("groups holds a single condition; there is nothing to shuffle, give at least 2")
    if np.ptp(sizes):
        raise InputError(
            f"groups has conditions of {sizes.min()} to {sizes.max()} samples; to shuffle them, give all the same number"
        )
    return np.argsort(group, kind="stable").reshape(len(sizes), -1)


def shuffled_order(rows: Rows, rng: np.random.Generator) -> Rows:
    """Order of all samples that replaces each condition by another."""
    order = np.empty(rows.size, dtype=np.intp)
    order[rows] = rng.permutation(rows)
    return order
