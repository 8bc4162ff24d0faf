"""Distances within and between kinds of network, with intervals over networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cordstasks.analysis._checks import Booleans, Floats, count, open_fraction
from cordstasks.analysis.comparison.embedding import checked_distances
from cordstasks.errors import InputError, unknown

__all__ = ["architecture_table", "closer_to"]

FEWEST = 3  # smallest number of networks of a label that are resampled; fewer are kept fixed


def architecture_table(
    distances: ArrayLike,
    labels: Sequence[str],
    *,
    match: Sequence[Any] | None = None,
    hierarchical: bool = False,
    bootstrap: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Mean distances within each architecture and between each two architectures, with bootstrap intervals.

    Distances from the same network are not independent. Networks are therefore resampled, not pairs: with replacement,
    within their architecture (and match). A network drawn twice is not compared with itself. Architectures of one or two
    networks are kept fixed, so an interval does not apply to other networks of their kind; if all are fixed there is no
    interval. With few networks, such as five, intervals are too narrow.

    Parameters
    ----------
    distances : (network, network)
        Symmetric, with 0 on the diagonal; also any other measure of pairs, such as correlations, once its diagonal is
        set to 0. Not modified.
    labels : (network,)
        Architecture of each network.
    match : (network,), optional
        What networks must have in common to be compared, such as their activation function.
    hierarchical : bool, default False
        Whether to resample what networks have in common first, and then the networks of each (a hierarchical bootstrap). The
        interval then also holds for other choices of what they have in common, such as other learning rates.
    bootstrap : int
        Number of resamples.
    confidence : float
        Coverage of the percentile intervals.
    seed : int
        Of the resamples.

    Returns
    -------
    list of dict
        Rows {"first", "second", "pairs", "distance", "interval": [low, high] or None}, ready for JSON; the same label
        twice for distances within it. The distance is None where there is no pair.

    Raises
    ------
    InputError
        If the distances are no distance matrix or labels do not fit them.
    """
    means = _Means(distances, labels, match, bootstrap, seed, hierarchical)
    rows = []
    for a, first in enumerate(means.names):
        for second in means.names[a:]:
            pairs = means.pairs(first, second)
            values = means.resampled(first, second)
            rows.append(
                {
                    "first": first,
                    "second": second,
                    "pairs": pairs,
                    "distance": means.observed(first, second) if pairs else None,
                    "interval": interval(values, confidence),
                }
            )
    return rows


def closer_to(
    distances: ArrayLike,
    labels: Sequence[str],
    *,
    reference: str = "full",
    candidate: str = "convolutional",
    others: Sequence[str] | None = None,
    match: Sequence[Any] | None = None,
    hierarchical: bool = False,
    bootstrap: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Test whether one architecture is closer to a reference than others are, with paired bootstrap intervals.

    The question of Soo et al. (2024, NeurIPS), figure 1: are convolutional networks closer to full networks than low-rank
    and sparse networks are? The difference of mean distances, candidate to reference minus other to reference, is
    recomputed for resampled networks. Both means use the same resampled reference networks, so their individual
    properties cancel.

    Parameters
    ----------
    distances : (network, network)
        Symmetric, with 0 on the diagonal. Not modified.
    labels : (network,)
        Architecture of each network.
    reference, candidate : str
        Two of the labels.
    others : sequence of str, optional
        Labels to compare the candidate with; by default all that remain.
    match : (network,), optional
        As for `architecture_table`, like all that follows.
    bootstrap : int
        Number of resamples.
    confidence : float
        Coverage of each interval; it is not corrected for asking about several others.
    seed : int
        Of the resamples.

    Returns
    -------
    list of dict
        Rows {"other", "candidate_distance", "other_distance", "difference", "interval", "verdict"}, ready for JSON. A
        negative difference means that the candidate is closer; the verdict is "closer" or "farther" where the interval
        leaves 0 out, else "undecided".

    Raises
    ------
    InputError
        If a label is unknown or named twice, or the arrays do not fit each other.
    """
    means = _Means(distances, labels, match, bootstrap, seed, hierarchical)
    if others is None:
        others = [name for name in means.names if name not in (reference, candidate)]
    for name in (reference, candidate, *others):
        if name not in means.names:
            raise unknown("architecture", name, means.names)
    if len({reference, candidate, *others}) < 2 + len(others) or not others:
        raise InputError(f"reference {reference!r}, candidate {candidate!r}, others {list(others)}; give different labels")
    rows = []
    for other in others:
        if not (means.pairs(reference, candidate) and means.pairs(reference, other)):
            raise InputError(f"no {reference} network matches one of {candidate} or of {other}; let match have such pairs")
        near, far = means.observed(reference, candidate), means.observed(reference, other)
        ends = interval(means.resampled(reference, candidate) - means.resampled(reference, other), confidence)
        decided = ends is not None and (ends[0] > 0 or ends[1] < 0)
        rows.append(
            {
                "other": other,
                "candidate_distance": near,
                "other_distance": far,
                "difference": near - far,
                "interval": ends,
                "verdict": ("closer" if near < far else "farther") if decided else "undecided",
            }
        )
    return rows


def interval(values: Floats, confidence: float) -> list[float] | None:
    """Percentile interval of resampled values, without those that could not be computed; None if nothing varied."""
    tail = (1 - open_fraction("confidence", confidence)) / 2
    known = values[np.isfinite(values)]
    if len(known) < 2 or np.ptp(known) == 0:
        return None
    low, high = np.quantile(known, [tail, 1 - tail])
    return [float(low), float(high)]


@dataclass(frozen=True, eq=False)
class _Group:
    members: Booleans
    counts: Floats  # (resample, network): how often each network was drawn


class _Means:
    """Mean distances between labels, observed and for resampled networks."""

    def __init__(
        self,
        distances: ArrayLike,
        labels: Sequence[str],
        match: Sequence[Any] | None,
        bootstrap: int,
        seed: int,
        hierarchical: bool,
    ) -> None:
        if hierarchical and match is None:
            raise InputError("hierarchical=True: says that what networks have in common is resampled; give match, too")
        self._distances = checked_distances(distances)
        number = len(self._distances)
        names = _one_each("labels", labels, number).astype(str)
        strata = np.zeros(number) if match is None else _one_each("match", match, number)
        self.names = list(dict.fromkeys(names.tolist()))
        self._compared = (strata[:, None] == strata[None]) & ~np.eye(number, dtype=bool)
        resamples = count("bootstrap", bootstrap, 1)
        parent = np.random.default_rng(seed)
        generators = parent.spawn(len(self.names))
        shared = np.unique(strata)
        times = np.ones((resamples, len(shared)))  # how often networks of each match were drawn
        if hierarchical:
            times = _drawn(parent.spawn(1)[0], len(shared), resamples).astype(np.float64)
        self._groups = {}
        for name, rng in zip(self.names, generators, strict=True):
            members = names == name
            counts = np.tile(members.astype(np.float64), (resamples, 1))
            for place, stratum in enumerate(shared):
                rows = np.flatnonzero(members & (strata == stratum))
                if len(rows) >= (1 if hierarchical else FEWEST):
                    counts[:, rows] = _drawn(rng, len(rows), resamples)
                # a pair's weight is the product of two counts, and is to be how often their match was drawn
                counts[:, rows] *= np.sqrt(times[:, place, None])
            self._groups[name] = _Group(members, counts)

    def pairs(self, first: str, second: str) -> int:
        """Number of pairs compared."""
        block = self._compared[np.ix_(self._groups[first].members, self._groups[second].members)]
        return int(block.sum()) // (2 if first == second else 1)

    def observed(self, first: str, second: str) -> float:
        """Mean distance of the networks themselves."""
        block = np.ix_(self._groups[first].members, self._groups[second].members)
        return float(self._distances[block][self._compared[block]].mean())

    def resampled(self, first: str, second: str) -> Floats:
        """Mean distance in each resample; NaN where it has no pair."""
        a, b = self._groups[first].counts, self._groups[second].counts
        weight = np.sum((a @ self._compared) * b, axis=1)
        total = np.sum((a @ (self._distances * self._compared)) * b, axis=1)
        return np.divide(total, weight, out=np.full(len(weight), np.nan), where=weight > 0)


def _drawn(rng: np.random.Generator, number: int, resamples: int) -> Any:
    """How often each of `number` things is drawn, with replacement, in `number` draws: (resample, thing)."""
    return rng.multinomial(number, np.full(number, 1 / number), size=resamples)


def _one_each(name: str, values: Sequence[Any], number: int) -> Any:
    array = np.asarray(values)
    if array.shape != (number,):
        raise InputError(f"{name} has shape {array.shape} for {number} networks; give one for each")
    return array
