"""Comparison of many networks, or of networks and recordings, on the same conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from cordstasks.analysis._checks import Floats, count, real_array
from cordstasks.analysis.comparison.architectures import architecture_table, closer_to
from cordstasks.analysis.comparison.canonical import correlations_of_all, whitening
from cordstasks.analysis.comparison.crossed import Crossed, Rows, split_groups
from cordstasks.analysis.comparison.permutation import condition_rows, shuffled_order
from cordstasks.analysis.comparison.principal import Components, Principal, automatic, checked_components
from cordstasks.analysis.comparison.shape import distances_of_all, many, stretch
from cordstasks.errors import InputError

__all__ = ["Comparison", "compare_activity", "on_common_times"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Distances and correlations between networks, from `compare_activity`.

    Attributes
    ----------
    names, labels : (network,)
        Name and architecture (or other kind) of each network.
    alpha, metric : float, str
        Of the shape distance.
    conditions, steps, folds : int
        Numbers of conditions, time steps of each and folds of conditions.
    components : int
        Principal components that canonical correlations were taken of; distances too, unless `distance_components` is None.
    variance_held : (network,)
        Fraction of each network's variance in those components.
    distance_components : int or None
        Principal components that distances were taken of; None for all directions.
    distances : (network, network)
        Shape distances on conditions held out, in rad if angular; 0 on the diagonal.
    null_distances : (permutation, network, network)
        The same with the conditions of every network shuffled by themselves.
    correlations : (network, network, dimension)
        Canonical correlations on conditions held out; NaN for dimensions that a pair does not have.
    null_correlations : (permutation, network, network, dimension)
        The same with shuffled conditions.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    alpha: float
    metric: str
    conditions: int
    steps: int
    folds: int
    components: int
    variance_held: Floats
    distance_components: int | None
    distances: Floats
    null_distances: Floats
    correlations: Floats
    null_correlations: Floats

    def table(
        self, *, match: Sequence[Any] | None = None, bootstrap: int = 2000, confidence: float = 0.95, seed: int = 0
    ) -> list[dict[str, Any]]:
        """Means within each architecture and between each two architectures, with intervals and null values.

        Parameters
        ----------
        match, bootstrap, confidence, seed
            As for `architecture_table`.

        Returns
        -------
        list of dict
            Rows {"first", "second", "pairs", "distance", "interval", "null_distance", "correlation",
            "correlation_interval", "null_correlation"}, ready for JSON, None for what a single network cannot have.
            Correlations are means over dimensions; nulls are means over permutations.
        """
        options: dict[str, Any] = {"match": match, "bootstrap": bootstrap, "confidence": confidence, "seed": seed}
        observed, chance = architecture_table, {**options, "bootstrap": 1}
        rows = observed(self.distances, self.labels, **options)
        # tables are of distances: correlations enter as 1 - r, which is 0 on the diagonal and never negative
        similarity = observed(_unlike(self.correlations), self.labels, **options)
        null_rows = observed(self.null_distances.mean(axis=0), self.labels, **chance)
        null_similarity = observed(_unlike(self.null_correlations).mean(axis=0), self.labels, **chance)
        for row, like, null, null_like in zip(rows, similarity, null_rows, null_similarity, strict=True):
            ends = like["interval"]
            row["null_distance"] = null["distance"]
            row["correlation"] = _one_minus(like["distance"])
            row["correlation_interval"] = None if ends is None else [1 - ends[1], 1 - ends[0]]
            row["null_correlation"] = _one_minus(null_like["distance"])
        return rows

    def closer_to(self, **options: Any) -> list[dict[str, Any]]:
        """Whether one architecture is closer to a reference than others are; takes the options of `analysis.closer_to`.

        Returns
        -------
        list of dict
            One row for each of the others, see `cordstasks.analysis.closer_to`.
        """
        return closer_to(self.distances, self.labels, **options)

    def text(self, **options: Any) -> str:
        """The table as lines to print; takes the options of `table`.

        Returns
        -------
        str
            Several lines, without an end of line after the last.
        """
        unit = ", rad" if self.metric == "angular" else ""
        kept = "all directions" if self.distance_components is None else f"{self.distance_components} components"
        lines = [
            f"{self.metric} shape distance{unit}, alpha {self.alpha:g}, {kept}; mean of {self.components} canonical "
            f"correlations ({100 * self.variance_held.min():.3g} % of variance or more); {self.conditions} conditions "
            f"held out in {self.folds} folds",
            f"{'between':<31} {'pairs':>6}  {'distance':>8} {'interval':>15} {'shuffled':>8}"
            f"  {'correlation':>11} {'interval':>15} {'shuffled':>8}",
        ]
        for row in self.table(**options):
            pair = f"{row['first']} - {row['second']}"
            lines.append(
                f"{pair:<31} {row['pairs']:>6}  {_number(row['distance']):>8} {_ends(row['interval']):>15} "
                f"{_number(row['null_distance']):>8}  {_number(row['correlation']):>11} "
                f"{_ends(row['correlation_interval']):>15} {_number(row['null_correlation']):>8}"
            )
        return "\n".join(lines)


def compare_activity(
    activities: Sequence[ArrayLike],
    labels: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    alpha: float = 1.0,
    metric: str = "angular",
    components: Components = "auto",
    folds: int = 5,
    permutations: int = 20,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Comparison:
    """Compare networks, or networks and recordings, by their trajectories over the same conditions.

    All pairs are compared by `pairwise_distances` and `pairwise_correlations` on held-out conditions. They are compared
    again with the conditions of every network shuffled, which gives the values that are expected by chance.

    Parameters
    ----------
    activities : sequence of (condition, time, unit)
        At least two, with the same conditions in the same order and the same times; numbers of units may differ. Networks
        and recordings, such as trial-averaged firing rates in Hz, are treated in the same way. `on_common_times` brings
        arrays of different times together. Not modified.
    labels : (network,)
        Architecture, or "recording".
    names : (network,), optional
        By default each label with a number.
    alpha, metric
        As for `shape_distance`.
    components : int, "auto" or None
        As for `pairwise_distances`; canonical correlations always use "auto" or the given number.
    folds : int
        Of conditions; as many as there are conditions where those are fewer.
    permutations : int
        Number of shuffles, at least 1.
    seed : int
        Of the folds and of the shuffles, which are independent.
    workers : int, optional
        Threads; by default one for each core that the process may use.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        If the arrays have different conditions or times, are constant or not finite, or there are fewer than two of them
        or of the conditions.
    """
    wanted = checked_components(components)
    if wanted is None:
        raise InputError("components is None, and correlations of all directions mean nothing; give a number or 'auto'")
    gain = stretch(alpha, metric, normalise=True)
    arrays = [_trajectories(f"activities[{i}]", values) for i, values in enumerate(activities)]
    kinds, called = _labels(labels, names, len(arrays))
    conditions, steps = _same_shape(arrays)
    # the same number for all networks; all components of a network for distances without whitening
    whole = wanted == "auto" and alpha == 1
    networks = many([array.reshape(conditions * steps, -1) for array in arrays], None if whole else wanted)
    kept = automatic(networks) if whole else max(len(network.scale) for network in networks)
    groups = np.repeat(np.arange(conditions), steps)
    split_seed, shuffle_seed = np.random.SeedSequence(seed).spawn(2)
    rows = split_groups(groups, len(groups), folds, split_seed)
    blocks = condition_rows(groups, len(groups))
    rng = np.random.default_rng(shuffle_seed)

    def both(these: list[Principal]) -> tuple[Floats, Floats]:
        distances = distances_of_all(Crossed(these, rows, gain), metric, normalise=True, workers=workers)
        reduced = Crossed([network.first(kept) for network in these], rows, whitening(0.0))
        return distances, correlations_of_all(reduced)

    distances, correlations = both(networks)
    number = count("permutations", permutations, 1)
    shuffles = tqdm(range(number), desc="shuffles", unit="shuffle", leave=False, disable=not progress)
    nulls = [both([_shuffled(network, blocks, rng) for network in networks]) for _ in shuffles]
    return Comparison(
        names=called,
        labels=kinds,
        alpha=float(alpha),
        metric=metric,
        conditions=conditions,
        steps=steps,
        folds=len(rows),
        components=kept,
        variance_held=np.array([network.held(kept) for network in networks]),
        distance_components=None if whole else kept,
        distances=distances,
        null_distances=np.stack([null for null, _ in nulls]),
        correlations=correlations,
        null_correlations=np.stack([null for _, null in nulls]),
    )


def on_common_times(
    activities: Sequence[ArrayLike], times_ms: Sequence[ArrayLike], *, step_ms: float
) -> tuple[list[Floats], Floats]:
    """Interpolate activities at the same times, over the period that all of them cover.

    Not valid for activity that varies within a step: interpolation does not average. Bin or smooth spikes first.

    Parameters
    ----------
    activities : sequence of (condition, time, unit)
        Numbers of times may differ. Not modified.
    times_ms : sequence of (time,)
        Ascending times of each, in ms, from an event that they have in common.
    step_ms : float
        Between the new times, in ms.

    Returns
    -------
    activities : list of (condition, time, unit)
        Interpolated linearly.
    times_ms : (time,)
        The new times, from the latest of the first times on.

    Raises
    ------
    InputError
        If times do not fit their activity, do not ascend, or have less than one step in common.
    """
    if len(times_ms) != len(activities) or not len(activities):
        raise InputError(f"times_ms has {len(times_ms)} entries for {len(activities)} activities; give one for each")
    if not (np.isfinite(step_ms) and step_ms > 0):
        raise InputError(f"step_ms is {step_ms}; give a number above 0")
    arrays, times = [], []
    for i, (values, moments) in enumerate(zip(activities, times_ms, strict=True)):
        array, time = _trajectories(f"activities[{i}]", values), real_array(f"times_ms[{i}]", moments, ("time",))
        if array.shape[1] != len(time) or len(time) < 2 or (np.diff(time) <= 0).any():
            raise InputError(
                f"times_ms[{i}] has {len(time)} times for {array.shape[1]} of its activity; give at least 2, ascending"
            )
        arrays.append(array)
        times.append(time)
    start, end = max(time[0] for time in times), min(time[-1] for time in times)
    if end - start < step_ms:
        raise InputError(f"times_ms have {max(end - start, 0):g} ms in common; give an overlap of {step_ms:g} ms or more")
    # the tolerance keeps a last step that rounding would remove
    common = start + step_ms * np.arange(int((end - start) / step_ms + 1e-9) + 1)
    return [_interpolated(array, time, common) for array, time in zip(arrays, times, strict=True)], common


def _interpolated(activity: Floats, times: Floats, at: Floats) -> Floats:
    before = np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(times) - 2)
    share = ((at - times[before]) / (times[before + 1] - times[before]))[:, None]
    return np.asarray((1 - share) * activity[:, before] + share * activity[:, before + 1])


def _trajectories(name: str, values: ArrayLike) -> Floats:
    return real_array(name, values, ("condition", "time", "unit"))


def _labels(labels: Sequence[str], names: Sequence[str] | None, number: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    kinds = tuple(str(label) for label in labels)
    called = tuple(names) if names is not None else tuple(f"{kind} {kinds[:i].count(kind)}" for i, kind in enumerate(kinds))
    for name, given in (("labels", kinds), ("names", called)):
        if len(given) != number:
            raise InputError(f"{name} has {len(given)} entries for {number} activities; give one for each")
    return kinds, called


def _same_shape(arrays: Sequence[Floats]) -> tuple[int, int]:
    if len(arrays) < 2:
        raise InputError(f"activities holds {len(arrays)} networks; give at least 2")
    expected = arrays[0].shape[:2]
    for i, array in enumerate(arrays):
        if array.shape[0] != expected[0]:
            raise InputError(
                f"activities[{i}] has {array.shape[0]} conditions but activities[0] has {expected[0]}; give the same ones"
            )
        if array.shape[1] != expected[1]:
            raise InputError(
                f"activities[{i}] has {array.shape[1]} times but activities[0] has {expected[1]}; see on_common_times"
            )
    return expected[0], expected[1]


def _shuffled(network: Principal, rows: Rows, rng: np.random.Generator) -> Principal:
    return replace(network, basis=network.basis[shuffled_order(rows, rng)])


def _unlike(correlations: Floats) -> Floats:
    """One minus the mean correlation over the dimensions that a pair has."""
    return np.asarray(1 - np.nanmean(correlations, axis=-1))


def _one_minus(value: float | None) -> float | None:
    return None if value is None else 1 - value


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _ends(interval: list[float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.3f}, {interval[1]:.3f}"
