"""Dissimilarities between the responses to stimuli, time by time."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.analysis._checks import Floats, column, real_array
from cordstasks.errors import InputError, unknown

METRICS = ("correlation", "euclidean")
_STILL = 1e-9  # deviation, relative to the size of the responses, below which a pattern does not vary


def dissimilarities(activity: ArrayLike, *, metric: str = "correlation") -> Floats:
    """Dissimilarities of all pairs of stimuli at each time.

    Parameters
    ----------
    activity : (stimulus, time, unit)
        Not modified.
    metric : str
        ``"correlation"``: 1 minus the Pearson correlation over units; ``"euclidean"``: the Euclidean distance divided by the
        square root of the number of units.

    Returns
    -------
    (time, pair)
        Pairs are those of the upper triangle, row by row, as SciPy's ``squareform`` has them.

    Raises
    ------
    InputError
        If the metric is unknown, or a stimulus has the same response in all units where correlations are asked.
    """
    array = real_array("activity", activity, ("stimulus", "time", "unit"))
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    if len(array) < 3:
        raise InputError(f"activity has {len(array)} stimuli; give 3 or more")
    return np.stack([_at_one_time(array[:, time], metric, time) for time in range(array.shape[1])])


def _at_one_time(patterns: Floats, metric: str, time: int) -> Floats:
    upper = np.triu_indices(len(patterns), 1)
    if metric == "euclidean":
        # relative to the mean pattern, so that little precision is lost
        centred = patterns - patterns.mean(axis=0)
        squares = np.sum(centred**2, axis=1)
        products = squares[:, None] + squares[None] - 2 * centred @ centred.T
        return np.sqrt(np.clip(products[upper], 0.0, None) / patterns.shape[1])
    centred = patterns - patterns.mean(axis=1, keepdims=True)
    sizes = np.linalg.norm(centred, axis=1)
    flat = ~(sizes > _STILL * np.linalg.norm(patterns, axis=1))
    if flat.any():
        raise InputError(
            f"activity: stimulus {int(np.argmax(flat))} at time {time} has the same response in all units, so it correlates "
            'with nothing; leave this time out, or choose metric="euclidean"'
        )
    unit = centred / sizes[:, None]
    return np.asarray(1 - np.clip(unit @ unit.T, -1.0, 1.0)[upper])


def crossvalidated_dissimilarities(rates: ArrayLike, stimulus: ArrayLike) -> Floats:
    """Cross-validated squared Euclidean distances: their expectation is 0 where responses differ by noise alone.

    The difference between two stimuli in one repeat is multiplied with that in another repeat, averaged over all pairs of
    different repeats and divided by the number of units (Walther et al. 2016).

    Parameters
    ----------
    rates : (presentation, time, unit)
        Not modified.
    stimulus : (presentation,)
        Which stimulus was shown; each as often as the others, at least twice.

    Returns
    -------
    (time, pair)
        Pairs of stimuli, sorted by their names, as `dissimilarities` has them; noise can make values negative.

    Raises
    ------
    InputError
        If stimuli have a single presentation or different numbers of them.
    """
    array = real_array("rates", rates, ("presentation", "time", "unit"))
    names = column("stimulus", stimulus)
    if len(names) != len(array):
        raise InputError(f"stimulus has {len(names)} entries for {len(array)} presentations; give one for each")
    values, group = np.unique(names, return_inverse=True)
    counts = np.bincount(group)
    if counts.min() < 2 or counts.min() != counts.max():
        raise InputError(
            f"stimulus: stimuli have {counts.min()} to {counts.max()} presentations; give each the same number, 2 or more"
        )
    order = np.argsort(group, kind="stable")
    array = array - array.mean(axis=0)  # so that little precision is lost
    repeats = array[order].reshape(len(values), counts[0], *array.shape[1:])
    upper = np.triu_indices(len(values), 1)
    total = repeats.sum(axis=1)
    found = []
    for time in range(array.shape[1]):
        # products of sums hold all pairs of repeats; those of a repeat with itself are taken away
        whole = _differences(total[:, time] @ total[:, time].T, upper)
        same = sum(_differences(repeats[:, r, time] @ repeats[:, r, time].T, upper) for r in range(counts[0]))
        found.append((whole - same) / (counts[0] * (counts[0] - 1) * array.shape[2]))
    return np.stack(found)


def _differences(products: Floats, upper: tuple[NDArray[np.intp], NDArray[np.intp]]) -> Floats:
    """Squared lengths of differences (pair,), from the products of all pairs."""
    squares = np.diag(products)
    return np.asarray(squares[upper[0]] + squares[upper[1]] - 2 * products[upper])
