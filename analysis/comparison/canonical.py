"""Canonical correlations between the activities of two networks, and their canonical coordinates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import svd, svdvals

from cordstasks.analysis._checks import Floats, real_array
from cordstasks.analysis.comparison.crossed import Crossed, split_groups
from cordstasks.analysis.comparison.principal import Components, Principal, principals
from cordstasks.errors import InputError

__all__ = [
    "Alignment",
    "align",
    "canonical_correlations",
    "cross_validated_correlations",
    "pairwise_correlations",
]


@dataclass(frozen=True, eq=False)
class Alignment:
    """Canonical coordinates of two networks, from `align`.

    Attributes
    ----------
    correlations : (dimension,)
        Canonical correlations, descending; below the correlations of the coordinates where regularised.
    x_coordinates, y_coordinates : (sample, dimension)
        Activity of each network in the shared coordinates: mean 0, variance 1 (less where regularised), uncorrelated
        within a network.
    x_weights, y_weights : (unit, dimension)
        What a centred activity is multiplied with to give them.
    x_mean, y_mean : (unit,)
        What centres it.
    """

    correlations: Floats
    x_coordinates: Floats
    y_coordinates: Floats
    x_weights: Floats
    y_weights: Floats
    x_mean: Floats
    y_mean: Floats

    def transform_x(self, activity: ArrayLike) -> Floats:
        """Coordinates (sample, dimension) of further activity (sample, unit) of the first network.

        Returns
        -------
        (sample, dimension)
            In the order of `correlations`.
        """
        return _transformed("activity", activity, self.x_mean, self.x_weights)

    def transform_y(self, activity: ArrayLike) -> Floats:
        """Coordinates (sample, dimension) of further activity (sample, unit) of the second network.

        Returns
        -------
        (sample, dimension)
            In the order of `correlations`.
        """
        return _transformed("activity", activity, self.y_mean, self.y_weights)


def canonical_correlations(
    x: ArrayLike, y: ArrayLike, *, components: Components = None, regularisation: float = 0.0
) -> Floats:
    """Canonical correlations of two activities (Hotelling 1936, Biometrika 28:321).

    Not valid for noise-free trajectories without a projection. These lie in few dimensions, and a direction with almost no
    variance has the same weight as any other, so correlations of 1 arise by chance. Project on principal components first
    (`components="auto"`) and use held-out conditions (`cross_validated_correlations`). If there are not more samples than x
    and y have dimensions together, any two activities have correlations of 1.

    Parameters
    ----------
    x, y : (sample, unit)
        Activities on the same samples, of any two numbers of units. Not modified. Directions that do not vary, such as
        units that are constant or copies of others, are left out.
    components : int, "auto" or None
        Number of principal components to project both on beforehand, or all that a network has where those are fewer.
        "auto": what holds 99 % of the variance of the one that needs fewer, at most 20. None: all directions.
    regularisation : float
        Ridge, as a multiple of the mean variance of the directions kept: it is added to the variance of each.

    Returns
    -------
    (dimension,)
        Descending, in [0, 1]; as many as the network with fewer dimensions has.

    Raises
    ------
    InputError
        If the numbers of samples differ, an activity is constant or not finite, or there are fewer samples than units
        and no projection.
    """
    first, second = principals(("x", "y"), (x, y), components)
    cross = _whitened(first, regularisation).T @ _whitened(second, regularisation)
    return np.minimum(svdvals(cross, check_finite=False), 1.0)


def align(x: ArrayLike, y: ArrayLike, *, components: Components = None, regularisation: float = 0.0) -> Alignment:
    """Coordinates in which two activities correlate most (Hotelling 1936, Biometrika 28:321).

    Parameters
    ----------
    x, y : (sample, unit)
        As for `canonical_correlations`, whose warning holds here too.
    components : int, "auto" or None
        As for `canonical_correlations`.
    regularisation : float
        As for `canonical_correlations`.

    Returns
    -------
    Alignment
        The sign of a dimension is that which makes the largest of its `x_coordinates` positive.

    Raises
    ------
    InputError
        As for `canonical_correlations`.
    """
    first, second = principals(("x", "y"), (x, y), components)
    white_x, white_y = _whitened(first, regularisation), _whitened(second, regularisation)
    left, correlations, right = svd(white_x.T @ white_y, full_matrices=False, check_finite=False)
    x_coordinates, y_coordinates = white_x @ left, white_y @ right.T
    peak = np.argmax(np.abs(x_coordinates), axis=0)
    sign = np.where(x_coordinates[peak, np.arange(len(peak))] < 0, -1.0, 1.0)
    size = sign * np.sqrt(first.samples)
    return Alignment(
        np.minimum(correlations, 1.0),
        x_coordinates * size,
        y_coordinates * size,
        first.directions @ (_gain(first.scale, regularisation)[:, None] * left) * size,
        second.directions @ (_gain(second.scale, regularisation)[:, None] * right.T) * size,
        first.mean,
        second.mean,
    )


def cross_validated_correlations(
    x: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike,
    *,
    folds: int = 5,
    components: Components = "auto",
    regularisation: float = 0.0,
    seed: int = 0,
) -> Floats:
    """Canonical correlations on conditions from which the canonical coordinates were not computed.

    The conditions are split into folds. Coordinates come from all folds but one, and activity in that one is projected on
    them, minus the mean of the other folds. The products of the two networks' projections are summed over all folds
    before they are divided by their sizes. Principal components are those of all conditions. They are computed in each
    network separately, so they cannot make two networks more similar.

    Parameters
    ----------
    x, y : (sample, unit)
        Activities on the same samples. Not modified.
    groups : (sample,)
        Condition of each sample, numbers or names. Samples of one condition, such as the time steps of one trajectory,
        stay together.
    folds : int
        At least 2; as many as there are conditions where those are fewer.
    components : int, "auto" or None
        As for `canonical_correlations`.
    regularisation : float
        As for `canonical_correlations`.
    seed : int
        Of the split.

    Returns
    -------
    (dimension,)
        In [-1, 1], in the order of the correlations that they generalise from, so not always descending. Around 0 for
        activities that have nothing in common.

    Raises
    ------
    InputError
        As for `canonical_correlations`, or if there are fewer than two conditions.
    """
    networks = principals(("x", "y"), (x, y), components)
    crossed = Crossed(networks, split_groups(groups, networks[0].samples, folds, seed), whitening(regularisation))
    return _held_out(crossed, 0)[0]


def pairwise_correlations(
    activities: Sequence[ArrayLike],
    groups: ArrayLike,
    *,
    folds: int = 5,
    components: Components = "auto",
    regularisation: float = 0.0,
    seed: int = 0,
) -> Floats:
    """`cross_validated_correlations` of all pairs of networks, all projected on the same number of components.

    Parameters
    ----------
    activities : sequence of (sample, unit)
        At least two networks, of any numbers of units. Not modified.
    groups : (sample,)
        Condition of each sample.
    folds : int
        As for `cross_validated_correlations`, like all that follows.
    components : int, "auto" or None
        "auto": what holds 99 % of the variance of the network that needs fewest, at most 20.
    regularisation : float
        Ridge.
    seed : int
        Of the split.

    Returns
    -------
    (network, network, dimension)
        Symmetric; NaN for dimensions that a pair does not have. 1 between a network and itself.

    Raises
    ------
    InputError
        As for `cross_validated_correlations`.
    """
    names = [f"activities[{i}]" for i in range(len(activities))]
    if len(names) < 2:
        raise InputError(f"activities holds {len(names)} networks; give at least 2")
    networks = principals(names, activities, components)
    crossed = Crossed(networks, split_groups(groups, networks[0].samples, folds, seed), whitening(regularisation))
    return correlations_of_all(crossed)


def correlations_of_all(crossed: Crossed) -> Floats:
    """Held-out canonical correlations (network, network, dimension) of whitened networks."""
    number, most = len(crossed), max(crossed.dimensions)
    result = np.full((number, number, most), np.nan)
    for i in range(number):
        result[i, i, : crossed.dimensions[i]] = 1.0
        for j, values in zip(range(i + 1, number), _held_out(crossed, i), strict=True):
            result[i, j, : len(values)] = result[j, i, : len(values)] = values
    return result


def _held_out(crossed: Crossed, i: int) -> list[Floats]:
    """Held-out canonical correlations of network i with each network after it."""
    correlations = []
    for j, folds in enumerate(crossed.row(i), start=i + 1):
        most = min(crossed.dimensions[i], crossed.dimensions[j])
        products, x_size, y_size = np.zeros((3, most))
        for fold, (fitted, tested) in enumerate(folds):
            left, _, right = svd(fitted, full_matrices=False, check_finite=False)
            kept = slice(len(right))  # the samples of the fit may vary in fewer dimensions than all samples
            products[kept] += ((left.T @ tested) * right).sum(axis=1)
            x_size[kept] += ((left.T @ crossed.tested[fold][i]) * left.T).sum(axis=1)
            y_size[kept] += ((right @ crossed.tested[fold][j]) * right).sum(axis=1)
        size = np.sqrt(x_size * y_size)
        correlations.append(np.clip(np.divide(products, size, out=np.zeros(most), where=size > 0), -1, 1))
    return correlations


def whitening(regularisation: float) -> Callable[[Floats], Floats]:
    """The factors of principal scores, a function of their singular values: see `_gain`."""
    _checked_ridge(regularisation)
    return lambda scale: _gain(scale, regularisation)


def _whitened(network: Principal, regularisation: float) -> Floats:
    """Scores of unit length, shorter where regularised."""
    return network.basis * (network.scale * whitening(regularisation)(network.scale))


def _gain(scale: Floats, regularisation: float) -> Floats:
    """The factors that give principal scores unit length, or less if the ridge is added to their variance."""
    return np.asarray(1 / np.sqrt(scale**2 + regularisation * np.mean(scale**2)))


def _checked_ridge(regularisation: float) -> None:
    if not (np.isfinite(regularisation) and regularisation >= 0):
        raise InputError(f"regularisation is {regularisation}; give 0 or more, as a multiple of the mean variance")


def _transformed(name: str, activity: ArrayLike, mean: Floats, weights: Floats) -> Floats:
    array = real_array(name, activity, ("sample", "unit"))
    if array.shape[1] != len(mean):
        raise InputError(f"{name} has {array.shape[1]} units; the alignment was made from {len(mean)}")
    return (array - mean) @ weights
