"""Trajectories: principal components in one pass, the axis between two classes, distance from rest, latency."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedGroupKFold

from cordstasks.analysis._checks import Floats, array_of, column, count, open_fraction, real_array, same_trials
from cordstasks.analysis.statistics.proportions import wilson_interval
from cordstasks.errors import InputError

__all__ = [
    "DiscriminantAxis",
    "PrincipalTrajectories",
    "RunningComponents",
    "discriminant_axis",
    "distance_from_rest",
    "principal_trajectories",
    "response_latency",
]

MORE = 7  # components that are followed beyond those that are wanted, so that these are accurate
UNITS = 1 << 14  # that are merged at once, in double precision
ROUNDING = 1e-12  # of the largest squared singular value, below which a direction is none
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

    The recording comes in blocks, for example from a generator, and no block is kept. Each is merged with the components so
    far, and the scores of samples that have gone by are carried over to the new components. Memory is that of a block and of
    twice the components, and the scores; it does not grow with the number of samples otherwise. Units are merged in parts by
    way of products between samples, which takes less memory than `sklearn.decomposition.IncrementalPCA`, in whose
    decomposition several copies of a block are made in double precision.

    Not valid as an exact decomposition where samples vary along many directions with nearly equal variances: a direction
    that is small in the first blocks and large in later ones is partly lost. Seven more components than wanted are followed
    to make this rare. Directions with less than 1e-12 of the largest variance are rounding, and left out.

    Parameters
    ----------
    blocks : iterable of (sample, unit)
        Finite numbers. Blocks of float32 are merged with components of float32, which takes half of the memory. Not
        modified.
    components : int
        How many are wanted.

    Returns
    -------
    PrincipalTrajectories
        With fewer components where the recording varies along fewer directions.

    Raises
    ------
    InputError
        If there are fewer than two samples, blocks have different numbers of units, values are not finite, or all samples
        are the same.

    References
    ----------
    Ross, Lim, Lin & Yang 2008, "Incremental learning for robust visual tracking", International Journal of Computer Vision
    77:125.
    """
    running = RunningComponents(components)
    for block in blocks:
        running.add(block)
    return running.result()


class RunningComponents:
    """Principal components of samples that come in blocks of which none is kept, at any time; see `principal_trajectories`.

    What has been computed so far can be stored with `state` and continued with `from_state`, so that a long recording need
    not begin again when it is stopped.

    Parameters
    ----------
    components : int
        How many are wanted.

    Raises
    ------
    InputError
        If this is no whole number of at least 1.
    """

    def __init__(self, components: int = 3) -> None:
        self.components = count("components", components, 1)
        self._running: _Running | None = None
        self._blocks = 0

    def add(self, block: ArrayLike) -> None:
        """Merge a block.

        Parameters
        ----------
        block : (sample, unit)
            Finite numbers. If the first block is of float32, all are merged in float32. Not modified.

        Raises
        ------
        InputError
            If it has another number of units than the blocks before, or values that are not finite.
        """
        array, number, running = array_of(block), self._blocks, self._running
        if array.dtype.kind not in "fiub" or array.ndim != 2 or not array.shape[1]:
            raise InputError(f"block {number} has shape {array.shape} and type {array.dtype}; give numbers (sample, unit)")
        if running is not None and array.shape[1] != len(running.mean):
            raise InputError(
                f"block {number} has {array.shape[1]} units but the first has {len(running.mean)}; give the same units"
            )
        if not np.isfinite(array).all():
            raise InputError(f"block {number} holds {(~np.isfinite(array)).sum()} values that are not finite")
        if running is None:
            kind = np.float32 if array.dtype == np.float32 else np.float64
            running = self._running = _Running(array.shape[1], kind, self.components + MORE)
        self._blocks += 1
        if len(array):
            running.add(array.astype(running.components.dtype, copy=False))

    def result(self) -> PrincipalTrajectories:
        """Components and scores of the samples so far.

        Returns
        -------
        PrincipalTrajectories
            With fewer components where the samples vary along fewer directions.

        Raises
        ------
        InputError
            If there are fewer than two samples, or all are the same.
        """
        running = self._running
        samples = 0 if running is None else len(running.scores)
        if running is None or samples < 2:
            raise InputError(f"blocks hold {samples} samples; give at least 2")
        if not len(running.sizes):
            raise InputError("blocks hold samples that are all the same; there are no components")
        kept = slice(min(self.components, len(running.sizes)))
        variance = running.sizes[kept] ** 2 / (samples - 1)
        return PrincipalTrajectories(
            mean=running.mean,
            components=running.components[kept].astype(np.float64),
            variance=variance,
            variance_ratio=variance * (samples - 1) / running.squares,
            scores=running.scores[:, kept],
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """What has been computed so far, for `from_state`.

        Returns
        -------
        dict of str to array
            As large as the components and the scores.

        Raises
        ------
        InputError
            If there are no samples yet.
        """
        running = self._running
        if running is None:
            raise InputError("state: there are no samples yet; add a block first")
        names = ("mean", "components", "sizes", "scores")
        numbers = {"wanted": self.components, "blocks": self._blocks, "squares": running.squares}
        return {**{name: getattr(running, name) for name in names}, **{name: np.array(n) for name, n in numbers.items()}}

    @classmethod
    def from_state(cls, state: Mapping[str, ArrayLike]) -> RunningComponents:
        """Components that continue those of a state.

        Parameters
        ----------
        state : mapping of str to array
            What `state` returned; may hold more.

        Returns
        -------
        RunningComponents
            Which gives the same numbers as if it had not been stopped.

        Raises
        ------
        InputError
            If the state lacks something.
        """
        found = {}
        for name in ("mean", "components", "sizes", "scores", "wanted", "blocks", "squares"):
            if name not in state:
                raise InputError(f"state: lacks {name!r}; give what `state` returned")
            found[name] = np.array(state[name])
        made = cls(int(found["wanted"]))
        made._blocks = int(found["blocks"])
        running = made._running = _Running(len(found["mean"]), found["components"].dtype, made.components + MORE)
        running.mean, running.components = found["mean"], found["components"]
        running.sizes, running.scores, running.squares = found["sizes"], found["scores"], float(found["squares"])
        return made


class _Running:
    """Mean, components and scores of the samples so far.

    Parameters
    ----------
    units : int
        Of each sample.
    kind : type
        Of the components.
    most : int
        Components that are followed.
    """

    def __init__(self, units: int, kind: Any, most: int) -> None:
        self.most = most
        self.mean: Floats = np.zeros(units)
        self.components: NDArray[Any] = np.empty((0, units), kind)
        self.sizes: Floats = np.empty(0)  # singular values
        self.scores: Floats = np.empty((0, 0))
        self.squares = 0.0  # sum of squared distances from the mean, over all units

    def add(self, rows: NDArray[Any]) -> None:
        """Merge a block (sample, unit)."""
        before, new = len(self.scores), len(rows)
        centre = rows.mean(axis=0, dtype=np.float64)
        mean = self.mean + (centre - self.mean) * (new / (before + new))
        weight = np.sqrt(before * new / (before + new))
        parts = [slice(start, start + UNITS) for start in range(0, rows.shape[1], UNITS)]

        def stacked(part: slice) -> Floats:
            """Some units of the components with their sizes, the block's deviations, and the difference of the means."""
            own = self.sizes[:, None] * self.components[:, part]
            moved = weight * (self.mean[part] - centre[part])
            return np.concatenate([own, rows[:, part] - centre[part], moved[None]])

        gram = sum((each @ each.T for each in map(stacked, parts)), np.zeros(()))
        self.squares = self.squares + float(np.trace(gram[len(self.sizes) :, len(self.sizes) :]))
        values, vectors = np.linalg.eigh(gram)
        order = np.argsort(values)[::-1][: self.most]
        order = order[values[order] > ROUNDING * max(values.max(), 0.0)]
        sizes, turn = np.sqrt(values[order]), vectors[:, order]
        components = np.empty((len(order), rows.shape[1]), rows.dtype)
        carried, shift = np.zeros((len(self.sizes), len(order))), np.zeros(len(order))
        fresh = np.zeros((new, len(order)))
        for part in parts:
            own: Floats = (turn.T @ stacked(part)) / sizes[:, None]
            components[:, part] = own
            carried += self.components[:, part] @ own.T
            shift += (self.mean[part] - mean[part]) @ own.T
            fresh += (rows[:, part] - mean[part]) @ own.T
        self.scores = np.concatenate([self.scores @ carried + shift if before else np.empty((0, len(order))), fresh])
        self.mean, self.components, self.sizes = mean, components, sizes


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
    # by default, components of more than 500 units are drawn from NumPy's global generator
    reduced = PCA(min(most, len(rates) - 1, rates.shape[1]), svd_solver="full").fit(rates)
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
