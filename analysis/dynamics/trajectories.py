"""Trajectories: principal components in one pass, the axis between two classes, distance from rest, latency."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedGroupKFold

from cordstasks.analysis._checks import Floats, array_of, column, count, open_fraction, real_array, same_trials
from cordstasks.analysis.statistics.proportions import wilson_interval
from cordstasks.errors import InputError

__all__ = [
    "DiscriminantAxis",
    "PrincipalTrajectories",
    "discriminant_axis",
    "distance_from_rest",
    "principal_trajectories",
    "response_latency",
]

MORE = 7  # components that are followed beyond those that are wanted, so that these are accurate
LEAST_ROWS = 20  # samples that are added at once: fewer would take more time, more would take more memory
SHRINKAGE = 0.1  # of the covariance towards a multiple of the identity


@dataclass(frozen=True, eq=False)
class PrincipalTrajectories:
    """Principal components of samples that were seen once, from `principal_trajectories`.

    Attributes
    ----------
    mean : (unit,)
        Of all samples.
    components : (component, unit)
        Directions of largest variance, orthonormal.
    variance : (component,)
        Variance along each.
    variance_ratio : (component,)
        The same as a fraction of the variance of all units.
    scores : (sample, component)
        Coordinates of all samples along the components, in the order in which they came.
    """

    mean: Floats
    components: Floats
    variance: Floats
    variance_ratio: Floats
    scores: Floats

    def project(self, activity: ArrayLike) -> Floats:
        """Coordinates of other activity along the components.

        Parameters
        ----------
        activity : (..., unit)
            Not modified.

        Returns
        -------
        (..., component)

        Raises
        ------
        InputError
            If the number of units differs.
        """
        array = np.asarray(array_of(activity), dtype=np.float64)
        if array.ndim < 1 or array.shape[-1] != len(self.mean):
            raise InputError(f"activity has shape {array.shape}; give (..., {len(self.mean)}) units, as the components have")
        return np.asarray((array - self.mean) @ self.components.T)


def principal_trajectories(blocks: Iterable[ArrayLike], components: int = 3) -> PrincipalTrajectories:
    """Principal components and scores of a recording that does not fit into memory, in one pass.

    The recording comes in blocks, for example from a generator, and no block is kept
    (`sklearn.decomposition.IncrementalPCA`). The scores of samples that have gone by are carried over to the new components
    at each step. Memory does not grow with the number of samples, except for their scores.

    Not valid as an exact decomposition where samples vary along many directions with nearly equal variances: a direction
    that is small in the first blocks and large in later ones is partly lost. Seven more components than wanted are followed
    to make this rare.

    Parameters
    ----------
    blocks : iterable of (sample, unit)
        Finite numbers. Float32 blocks are decomposed in float32, which takes half of the memory. Not modified.
    components : int
        How many are wanted.

    Returns
    -------
    PrincipalTrajectories
        With fewer components where samples or units are fewer.

    Raises
    ------
    InputError
        If there are fewer than two samples, blocks have different numbers of units, or values are not finite.

    References
    ----------
    Ross, Lim, Lin & Yang 2008, "Incremental learning for robust visual tracking", International Journal of Computer Vision
    77:125.
    """
    wanted = count("components", components, 1)
    model = IncrementalPCA()
    scores: Floats = np.empty((0, 0))
    for rows in _gathered(blocks, max(LEAST_ROWS, 2 * (wanted + MORE))):
        if not len(scores):
            model = IncrementalPCA(min(wanted + MORE, *rows.shape)).partial_fit(rows)
            scores = _scores(rows, model)
            continue
        before, mean = model.components_.copy(), model.mean_.copy()
        model.partial_fit(rows)
        turned = (before @ model.components_.T).astype(np.float64)
        moved = ((mean - model.mean_) @ model.components_.T).astype(np.float64)
        scores = np.concatenate([scores @ turned + moved, _scores(rows, model)])
    return PrincipalTrajectories(
        mean=np.asarray(model.mean_, dtype=np.float64),
        components=np.asarray(model.components_[:wanted], dtype=np.float64),
        variance=np.asarray(model.explained_variance_[:wanted], dtype=np.float64),
        variance_ratio=np.asarray(model.explained_variance_ratio_[:wanted], dtype=np.float64),
        scores=scores[:, :wanted],
    )


def _scores(rows: NDArray[Any], model: IncrementalPCA) -> Floats:
    """Coordinates of samples, without a centred copy of them."""
    return (rows @ model.components_.T - model.mean_ @ model.components_.T).astype(np.float64)


def _gathered(blocks: Iterable[ArrayLike], least: int) -> Iterator[NDArray[Any]]:
    """Blocks of so many samples; the last one has at least as many, if there are, and fewer than twice as many."""
    waiting: list[NDArray[Any]] = []
    units = None
    for number, block in enumerate(blocks):
        array = array_of(block)
        if array.dtype.kind not in "fiub" or array.ndim != 2 or not array.shape[1]:
            raise InputError(f"block {number} has shape {array.shape} and type {array.dtype}; give numbers (sample, unit)")
        if array.dtype != np.float32:
            array = array.astype(np.float64, copy=False)
        units = array.shape[1] if units is None else units
        if array.shape[1] != units:
            raise InputError(f"block {number} has {array.shape[1]} units but the first has {units}; give the same units")
        if not np.isfinite(array).all():
            raise InputError(f"block {number} holds {(~np.isfinite(array)).sum()} values that are not finite")
        for start in range(0, len(array), least):
            waiting.append(array[start : start + least])
            if sum(map(len, waiting)) >= 2 * least:
                rows = np.concatenate(waiting)
                yield rows[:least]
                waiting = [rows[least:]]
    if sum(map(len, waiting)) < 2:
        raise InputError(f"blocks hold {sum(map(len, waiting))} samples; give at least 2")
    yield np.concatenate(waiting)


@dataclass(frozen=True, eq=False)
class DiscriminantAxis:
    """The direction that separates two classes, from `discriminant_axis`.

    Attributes
    ----------
    labels : (2,)
        The classes; the second has the larger coordinates.
    axis : (unit,)
        Coordinates are ``activity @ axis + offset``; the classes' means have the coordinates -1 and 1.
    offset : float
    held_out : (trial,)
        Coordinate of each trial on an axis that was fitted to other trials.
    d_prime : float
        Difference between the classes' mean held-out coordinates over their common standard deviation.
    accuracy : float
        Fraction of trials on their class's side of 0, held out.
    interval : (low, high)
        Wilson's interval of the accuracy.
    """

    labels: NDArray[Any]
    axis: Floats
    offset: float
    held_out: Floats
    d_prime: float
    accuracy: float
    interval: tuple[float, float]

    def project(self, activity: ArrayLike) -> Floats:
        """Coordinates of other activity on the axis.

        Parameters
        ----------
        activity : (..., unit)
            Not modified.

        Returns
        -------
        (...)

        Raises
        ------
        InputError
            If the number of units differs.
        """
        array = np.asarray(array_of(activity), dtype=np.float64)
        if array.ndim < 1 or array.shape[-1] != len(self.axis):
            raise InputError(f"activity has shape {array.shape}; give (..., {len(self.axis)}) units, as the axis has")
        return np.asarray(array @ self.axis + self.offset)


def discriminant_axis(
    activity: ArrayLike,
    labels: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    folds: int = 5,
    components: int = 20,
    rng: int | np.random.Generator = 0,
    confidence: float = 0.95,
) -> DiscriminantAxis:
    """The axis between two classes, such as two breeds of dogs, with cross-validation.

    Fisher's discriminant with a shrunk covariance, in the space of the first principal components. Numbers of the result
    that say how well it separates are of trials that had no part in the fit. The axis itself is fitted to all trials.

    Not valid without `groups` if trials repeat one another, such as time points of one trial: give one trial one row, or the
    rows of a trial one group.

    Parameters
    ----------
    activity : (trial, unit)
        For example at the end of an image. Not modified.
    labels : (trial,)
        Numbers or names, two different ones.
    groups : (trial,), optional
        Rows of one group stay in one fold.
    folds : int
        At least 2; each class needs as many trials, or groups.
    components : int
        Principal components at most.
    rng : int or numpy.random.Generator
        Seed of the folds, or the generator that draws them.
    confidence : float
        Coverage of the interval.

    Returns
    -------
    DiscriminantAxis

    Raises
    ------
    InputError
        If the lengths differ, there are not two classes, a class has too few trials or groups, or activity does not vary.

    References
    ----------
    Fisher 1936, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7:179.
    """
    rates, names = real_array("activity", activity, ("trial", "unit")), column("labels", labels)
    same_trials("labels", names, len(rates), "activity")
    classes = np.unique(names)
    if len(classes) != 2:
        raise InputError(f"labels hold {len(classes)} classes; an axis lies between two: give the trials of two classes")
    second = names == classes[1]
    blocks = np.arange(len(rates)) if groups is None else column("groups", groups)
    same_trials("groups", blocks, len(rates), "activity")
    parts, most = count("folds", folds, 2), count("components", components, 1)
    for label, own in zip(classes, (~second, second), strict=True):
        if len(np.unique(blocks[own])) < parts:
            what = "trials" if groups is None else "groups"
            raise InputError(
                f"labels: {label} has {len(np.unique(blocks[own]))} {what} for {parts} folds; give more, or fewer folds"
            )
    if np.ptp(rates, axis=0).max() == 0:
        raise InputError("activity is the same in all trials; there is no axis")
    coverage, held = open_fraction("confidence", confidence), np.empty(len(rates))
    seed = int(np.random.default_rng(rng).integers(2**31))
    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    for train, test in splitter.split(rates, second, blocks):
        axis, offset = _fitted(rates[train], second[train], most)
        held[test] = rates[test] @ axis + offset
    axis, offset = _fitted(rates, second, most)
    right = int(((held > 0) == second).sum())
    spread = np.sqrt((held[second].var() + held[~second].var()) / 2)
    gap = held[second].mean() - held[~second].mean()
    return DiscriminantAxis(
        labels=classes,
        axis=axis,
        offset=offset,
        held_out=held,
        d_prime=float(gap / max(spread, np.finfo(np.float64).tiny)),
        accuracy=right / len(rates),
        interval=wilson_interval(right, len(rates), confidence=coverage),
    )


def _fitted(rates: Floats, second: NDArray[np.bool_], most: int) -> tuple[Floats, float]:
    """Axis and offset with which the two classes' means have the coordinates -1 and 1."""
    if len(np.unique(second)) < 2:
        raise InputError("labels: a fold leaves one class alone; give more groups, or fewer folds")
    reduced = PCA(min(most, len(rates) - 1, rates.shape[1])).fit(rates)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE).fit(reduced.transform(rates), second)
    direction = model.coef_[0] @ reduced.components_
    low, high = (float((rates[own] @ direction).mean()) for own in (~second, second))
    if not high > low:
        raise InputError("activity has the same mean in both classes; there is no axis between them")
    return 2 * direction / (high - low), -(high + low) / (high - low)


def distance_from_rest(activity: ArrayLike, rest: ArrayLike) -> Floats:
    """Euclidean distance of activity from the state at rest, at each time.

    Parameters
    ----------
    activity : (time, trial, unit)
        Not modified.
    rest : (unit,)
        The state without a stimulus.

    Returns
    -------
    (time, trial)

    Raises
    ------
    InputError
        If the numbers of units differ, or values are not finite.
    """
    rates, state = real_array("activity", activity, ("time", "trial", "unit")), real_array("rest", rest, ("unit",))
    if rates.shape[2] != len(state):
        raise InputError(f"rest has {len(state)} units but activity has {rates.shape[2]}; give the same ones")
    return np.asarray(np.linalg.norm(rates - state, axis=2))


def response_latency(distance: ArrayLike, times_ms: ArrayLike, *, fraction: float = 0.5) -> Floats:
    """Time at which each trial's distance from rest first reaches a fraction of its maximum.

    Not valid for activity with noise, whose distance crosses the threshold early: average over trials first.

    Parameters
    ----------
    distance : (time, trial)
        For example from `distance_from_rest`; 0 at time 0. Not modified.
    times_ms : (time,)
        Ascending times after the stimulus began, above 0.
    fraction : float
        Of the maximum over all times, between 0 and 1.

    Returns
    -------
    (trial,)
        In ms, interpolated linearly between the times; the distance at time 0 counts as 0.

    Raises
    ------
    InputError
        If times do not fit, or a trial never leaves the rest.
    """
    values, times = real_array("distance", distance, ("time", "trial")), real_array("times_ms", times_ms, ("time",))
    part = open_fraction("fraction", fraction)
    if len(times) != len(values) or times[0] <= 0 or (np.diff(times) <= 0).any():
        raise InputError(
            f"times_ms has {len(times)} times for {len(values)} distances; give one for each, ascending from above 0"
        )
    largest = values.max(axis=0)
    if largest.min() <= 0:
        raise InputError(
            f"distance is 0 throughout in {(largest <= 0).sum()} trials, which have no response; leave them out"
        )
    times = np.concatenate([[0.0], times])
    values = np.concatenate([np.zeros((1, values.shape[1])), values])
    first = (values >= part * largest).argmax(axis=0)
    trials = np.arange(values.shape[1])
    below, above = values[first - 1, trials], values[first, trials]
    return np.asarray(times[first - 1] + (part * largest - below) / (above - below) * (times[first] - times[first - 1]))
