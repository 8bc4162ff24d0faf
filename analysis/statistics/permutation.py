"""Statistics for `cordstasks.analysis.tuning.direction`: permutation tests, halves and differences."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control

from cordstasks.analysis._checks import Booleans, Floats, numbers
from cordstasks.errors import InputError

_CHUNK = 250  # permutations computed at once: bounds memory to tens of megabytes for 512 units


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """Adjust p values for the false discovery rate (Benjamini & Hochberg 1995, J. R. Stat. Soc. B 57:289).

    Parameters
    ----------
    p : (test,)
        P values; no tests at all are allowed.

    Returns
    -------
    (test,)
        The smallest false discovery rate at which each test is a discovery.

    Raises
    ------
    InputError
        If a value does not lie in [0, 1].
    """
    values = numbers("p", p)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise InputError(f"p has shape {values.shape} or values outside [0, 1]; give p values as (test,)")
    return np.asarray(false_discovery_control(values)) if len(values) else values


def group_means(responses: Floats, group: NDArray[np.intp], groups: int) -> Floats:
    """Return the mean response of each group, (group, unit); NaN for a group without trials.

    Parameters
    ----------
    responses : (trial, unit)
        Not modified.
    group : (trial,) int
        Index of each trial's group, from 0.
    groups : int
        Number of groups.

    Returns
    -------
    (group, unit)
        In units of the responses.
    """
    member = (group[None] == np.arange(groups)[:, None]).astype(np.float64)
    size = member.sum(axis=1, keepdims=True)
    sums = member @ responses
    return np.asarray(np.divide(sums, size, out=np.full_like(sums, np.nan), where=size > 0))


def centre(responses: Floats, level: NDArray[np.intp]) -> Floats:
    """Return responses (trial, unit) minus the mean at each level.

    Parameters
    ----------
    responses : (trial, unit)
        Not modified.
    level : (trial,) int
        Such as the index of each trial's coherence.

    Returns
    -------
    (trial, unit)
        In units of the responses; the mean over the trials of each level is 0.
    """
    shown, which = np.unique(level, return_inverse=True)
    return np.asarray(responses - group_means(responses, which, len(shown))[which])


def permutation_test(
    centred: Floats, heading: NDArray[np.intp], level: NDArray[np.intp], permutations: int, rng: np.random.Generator
) -> Floats:
    """Return p values (unit,) of the sum of squares between directions, under permutation within level.

    Parameters
    ----------
    centred : (trial, unit)
        Responses, such as `centre` returns.
    heading : (trial,) int
        Index of each trial's direction, from 0; none is without trials.
    level : (trial,) int
        Directions are exchanged only between trials of one level.
    permutations : int
        Number of permutations.
    rng : numpy.random.Generator
        Draws them.

    Returns
    -------
    (unit,)
        From ``1 / (1 + permutations)`` to 1.
    """
    size = np.bincount(heading)

    def between(labels: NDArray[np.intp]) -> Floats:
        """Statistic (permutation, unit) of labels (permutation, trial)."""
        total = np.zeros((len(labels), centred.shape[1]))
        for i, trials in enumerate(size):
            total += ((labels == i).astype(np.float64) @ centred) ** 2 / trials
        return total

    # Rounding must not decide ties, which are common for units that are active in few trials.
    observed = between(heading[None]) * (1 - 1e-9)
    extreme = np.zeros(centred.shape[1])
    for start in range(0, permutations, _CHUNK):
        labels = np.tile(heading, (min(_CHUNK, permutations - start), 1))
        for i in np.unique(level):
            labels[:, level == i] = rng.permuted(labels[:, level == i], axis=1)
        extreme += (between(labels) >= observed).sum(axis=0)
    return (1 + extreme) / (1 + permutations)


def halves(heading: NDArray[np.intp], level: NDArray[np.intp], rng: np.random.Generator) -> Booleans:
    """Split the trials of each direction at random into halves of equal coherences; odd trials are assigned alternately.

    Parameters
    ----------
    heading : (trial,) int
        Index of each trial's direction.
    level : (trial,) int
        Index of each trial's coherence.
    rng : numpy.random.Generator
        Draws the halves.

    Returns
    -------
    (trial,) bool
        True for trials of the first half, which has one more than the second if their number is odd.
    """
    first = np.zeros(len(heading), dtype=bool)
    shuffled = rng.permutation(len(heading))
    first[shuffled[np.lexsort((level[shuffled], heading[shuffled]))][::2]] = True
    return first


def preferred_minus_others(means: Floats, preferred: NDArray[np.intp]) -> Floats:
    """Return (unit,) from means (direction, unit) and the index of each unit's preferred direction.

    Parameters
    ----------
    means : (direction, unit)
        Mean response to each direction, two or more.
    preferred : (unit,) int
        Index of each unit's preferred direction.

    Returns
    -------
    (unit,)
        Response to the preferred direction minus the mean over the others, in units of the responses.
    """
    best = means[preferred, np.arange(means.shape[1])]
    return np.asarray(best - (means.sum(axis=0) - best) / (len(means) - 1))


def sensitivity(
    centred: Floats,
    means: Floats,
    heading: NDArray[np.intp],
    level: NDArray[np.intp],
    preferred: NDArray[np.intp],
) -> Floats:
    """Return d' (unit,) between the preferred direction and the others.

    Parameters
    ----------
    centred : (trial, unit)
        Responses minus the mean at each level, such as `centre` returns.
    means : (direction, unit)
        Mean response to each direction.
    heading, level : (trial,) int
        Index of each trial's direction and level; deviations are from the mean of the trials that share both.
    preferred : (unit,) int
        Index of each unit's preferred direction.

    Returns
    -------
    (unit,)
        In standard deviations over trials; finite also for a unit without noise, which gets a very large value.
    """
    _, cell = np.unique(np.stack([heading, level]), axis=1, return_inverse=True)
    cell = cell.ravel()
    cells = int(cell.max()) + 1
    residual = centred - group_means(centred, cell, cells)[cell]
    spread = np.sqrt((residual**2).sum(axis=0) / max(len(cell) - cells, 1))
    # A noiseless unit has no d'; a floor of a millionth of its range keeps it finite and at the top of a ranking.
    floor = np.maximum(1e-6 * np.ptp(centred, axis=0), np.finfo(np.float64).tiny)
    return np.asarray(preferred_minus_others(means, preferred) / np.maximum(spread, floor))


def slopes(difference: Floats, levels: Floats) -> Floats:
    """Return the least-squares slope (unit,) of difference (unit, level), over levels where it is known for all.

    Parameters
    ----------
    difference : (unit, level)
        NaN where it is not known.
    levels : (level,)
        Such as coherences.

    Returns
    -------
    (unit,)
        Change of the difference per unit of `levels`; NaN if fewer than two levels are known for all units.
    """
    known = np.isfinite(difference).all(axis=0)
    if known.sum() < 2:
        return np.full(len(difference), np.nan)
    x = levels[known] - levels[known].mean()
    return np.asarray(difference[:, known] @ x / (x @ x))
