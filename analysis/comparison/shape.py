"""Distances between the activities of networks that do not depend on the choice of units."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.linalg import svd
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from cordstasks.analysis._checks import Floats, count
from cordstasks.analysis.comparison.crossed import Crossed, Products, split_groups
from cordstasks.analysis.comparison.principal import Components, Principal, principals
from cordstasks.errors import InputError, unknown

__all__ = ["linear_cka", "pairwise_distances", "shape_distance"]

METRICS = ("angular", "euclidean")
_CLOSE = 1e-6  # below this 1 - cosine, the rounding of the cosine would change the distance


def shape_distance(
    x: ArrayLike,
    y: ArrayLike,
    *,
    alpha: float = 1.0,
    metric: str = "angular",
    components: Components = None,
    normalise: bool = True,
) -> float:
    """Generalised shape distance of two activities (Williams, Kunz, Kornblith & Linderman 2021, NeurIPS 34:4738).

    Both are centred, normalised to a sum of squares of 1, partly whitened (multiplied by
    ``alpha I + (1 - alpha) (X'X)^(-1/2)`` and rescaled to their previous total variance), and one is rotated or reflected
    onto the other as well as possible (orthogonal Procrustes). With `alpha` 1 nothing is whitened, and the distance does not
    depend on rotations, reflections, shifts and common scaling. With `alpha` 0 it does not depend on any invertible linear
    map of the units. Between activities that were each treated in this way, it is a metric: it is symmetric, it is 0 only
    between equal activities, and it satisfies the triangle inequality.

    Not valid for `alpha` below 1 on noise-free trajectories without a projection: whitening makes directions without
    variance as large as any other. Project on principal components first. A projection on "auto" components depends on
    both activities, so triangle inequalities hold only among distances with the same number of components
    (`pairwise_distances`).

    Parameters
    ----------
    x, y : (sample, unit)
        Activities on the same samples. Not modified. Where unit counts differ, the smaller is as if padded with units
        that are silent. The padding itself has no effect: with `alpha` 1, silent units added to a network change no
        distance. But dimensions that one network has and the other lacks count as unlike; with `alpha` 0, k dimensions
        are at an angle of at least arccos(sqrt(k / l)) from l.
    alpha : float
        From 0 (whitened) to 1 (as it is).
    metric : "angular" or "euclidean"
        The angle between the two arrays after alignment, in rad, at most pi / 2; or the root of the sum of squares of
        their difference, at most sqrt(2) where normalised.
    components : int, "auto" or None
        Number of principal components to project both on beforehand, or all that a network has where those are fewer.
        "auto": where `alpha` is below 1, what holds 99 % of the variance of the one that needs fewer, at most 20. None:
        all directions.
    normalise : bool
        For `alpha` strictly between 0 and 1 the distance depends on the scale of the data, hence the default. Without it
        the Euclidean distance sees differences in scale; the angular one does not for `alpha` 0 and 1.

    Returns
    -------
    float
        Also accurate for activities that are nearly the same: the distance of an activity from its own rotation is of the
        order of 1e-15, not of the square root of it.

    Raises
    ------
    InputError
        If `alpha` is outside [0, 1], the metric is unknown, numbers of samples differ, an activity is constant or not
        finite, or there are fewer samples than units and no projection (with few samples anything can be rotated onto
        anything).
    """
    gain = stretch(alpha, metric, normalise)
    networks = principals(("x", "y"), (x, y), _projection(components, alpha))
    return float(distances_of_all(Crossed(networks, None, gain), metric, normalise, workers=1)[0, 1])


def pairwise_distances(
    activities: Sequence[ArrayLike],
    *,
    alpha: float = 1.0,
    metric: str = "angular",
    components: Components = "auto",
    normalise: bool = True,
    groups: ArrayLike | None = None,
    folds: int = 2,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Floats:
    """`shape_distance` between all pairs of many networks, on the samples themselves or on held-out conditions.

    With `groups` the conditions are split into folds. Means, whitening and rotations come from all folds except one and are
    applied to that fold. The folds are put together before the distance is computed. Held-out distances are symmetric, but
    noise can violate the triangle inequality, and angles exceed pi / 2 if alignments do not generalise. Principal components
    are those of all conditions. They are computed in each network separately, so they cannot make two networks more similar.

    Parameters
    ----------
    activities : sequence of (sample, unit)
        At least two networks, on the same samples, of any numbers of units. Not modified.
    alpha : float
        As for `shape_distance`.
    metric : "angular" or "euclidean"
        As for `shape_distance`.
    components : int, "auto" or None
        As for `shape_distance`. "auto": where `alpha` is below 1, what holds 99 % of the variance of the network
        that needs fewest, at most 20, the same for all; where it is 1, all directions.
    normalise : bool
        As for `shape_distance`. Without it, held-out Euclidean distances are over all conditions, each held out once.
    groups : (sample,), optional
        Condition of each sample, numbers or names; samples of one condition stay together. None: no samples are held out.
    folds : int
        At least 2; as many as there are conditions where those are fewer. Time grows with it.
    seed : int
        Of the split.
    workers : int, optional
        Threads; by default one for each core that the process may use.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    (network, network)
        Symmetric, 0 on the diagonal.

    Raises
    ------
    InputError
        As for `shape_distance`, or if there are fewer than two networks or conditions.
    """
    gain = stretch(alpha, metric, normalise)
    networks = many(activities, _projection(components, alpha))
    rows = None if groups is None else split_groups(groups, networks[0].samples, folds, seed)
    return distances_of_all(Crossed(networks, rows, gain), metric, normalise, workers=workers, progress=progress)


def linear_cka(x: ArrayLike, y: ArrayLike, *, components: Components = None) -> float:
    """Linear centred kernel alignment of two activities (Kornblith, Norouzi, Lee & Hinton 2019, ICML 97:3519).

    This is a similarity, not a metric: 1 for activities that are the same up to rotation, shift and scale, 0 for
    uncorrelated activities. Directions of large variance have more weight than in `shape_distance`. It is biased upwards
    with few samples.

    Parameters
    ----------
    x, y : (sample, unit)
        Activities on the same samples. Not modified.
    components : int, "auto" or None
        As for `canonical_correlations`.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    InputError
        As for `canonical_correlations`.
    """
    first, second = principals(("x", "y"), (x, y), components)
    a, b = first.scale / np.linalg.norm(first.scale), second.scale / np.linalg.norm(second.scale)
    shared = np.sum((a[:, None] * (first.basis.T @ second.basis) * b) ** 2)
    return float(min(shared / np.sqrt(np.sum(a**4) * np.sum(b**4)), 1.0))


def many(activities: Sequence[ArrayLike], components: Components) -> list[Principal]:
    """Decompose the activities of at least two networks."""
    if len(activities) < 2:
        raise InputError(f"activities holds {len(activities)} networks; give at least 2")
    return principals([f"activities[{i}]" for i in range(len(activities))], activities, components)


def distances_of_all(
    crossed: Crossed, metric: str, normalise: bool, *, workers: int | None = None, progress: bool = False
) -> Floats:
    """Distances (network, network) between networks in the coordinates that `Crossed` gave them."""
    number = len(crossed)
    # trace of a network's own products, over the folds: its sum of squares
    norms = np.sqrt([sum(float(np.trace(fold[i])) for fold in crossed.tested) for i in range(number)])
    if not norms.all():
        raise InputError(f"activities[{int(np.argmin(norms))}] does not vary over the conditions held out; leave it out")

    def row(i: int) -> Floats:
        later = enumerate(crossed.row(i), start=i + 1)
        return np.array([_distance(crossed, products, i, j, norms, metric, normalise) for j, products in later])

    result = np.zeros((number, number))
    pairs = number * (number - 1) // 2
    with tqdm(total=pairs, desc="distances", unit="pair", leave=False, disable=not progress) as bar:
        for i, values in enumerate(_in_threads(row, range(number - 1), workers)):
            result[i, i + 1 :] = result[i + 1 :, i] = values
            bar.update(len(values))
    return result


def _distance(crossed: Crossed, folds: Products, i: int, j: int, norms: Floats, metric: str, normalise: bool) -> float:
    shared = sum(_aligned(*fold) for fold in folds)
    gap = 2 - 2 * shared / (norms[i] * norms[j])  # squared distance of the two, each at unit length
    if gap < 2 * _CLOSE:
        gap = sum(_gap(crossed, fitted, i, j, fold, norms) for fold, (fitted, _) in enumerate(folds))
    if metric == "angular":
        # the arc cosine of a number near 1 would lose half of the digits
        return float(2 * np.arcsin(min(np.sqrt(gap) / 2, 1.0)))
    return float(np.sqrt(gap if normalise else (norms[i] - norms[j]) ** 2 + norms[i] * norms[j] * gap))


def _aligned(fitted: Floats, tested: Floats) -> float:
    """Inner product of two networks over the test samples, after the rotation that is best for the samples of the fit."""
    if fitted is tested:
        return float(svd(fitted, compute_uv=False).sum())
    left, _, right = svd(fitted, full_matrices=False)
    return float(np.sum((left @ right) * tested))


def _gap(crossed: Crossed, fitted: Floats, i: int, j: int, fold: int, norms: Floats) -> float:
    """Squared distance of two networks over the samples of a fold, each network at unit length, sample by sample."""
    left, _, right = svd(fitted)
    first = crossed.coordinates(i, fold) @ left / norms[i]
    second = crossed.coordinates(j, fold) @ right.T / norms[j]
    both = min(first.shape[1], second.shape[1])
    parts = first[:, :both] - second[:, :both], first[:, both:], second[:, both:]
    return sum(float(np.sum(part**2)) for part in parts)


def stretch(alpha: float, metric: str, normalise: bool) -> Callable[[Floats], Floats]:
    """The factors of principal scores, a function of their singular values."""
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha}; give a number from 0 (whitened) to 1 (as it is)")
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)

    def gain(scale: Floats) -> Floats:
        size = float(np.linalg.norm(scale))
        total = 1.0 if normalise else size
        if alpha == 1:
            return np.full(len(scale), total / size)
        partly = alpha * scale * (total / size) + (1 - alpha)
        return np.asarray(partly * (total / np.linalg.norm(partly)) / scale)

    return gain


def _projection(components: Components, alpha: float) -> Components:
    return None if components == "auto" and alpha == 1 else components


def _in_threads(function: Callable[[int], Floats], items: Sequence[int], workers: int | None) -> Iterator[Floats]:
    """`map`, in threads if there are several items; linear algebra releases the interpreter's lock."""
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if min(count("workers", workers, 1), len(items)) == 1:
        yield from map(function, items)
        return
    # threads of linear algebra inside these threads would wait for each other
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
        yield from pool.map(function, items)
