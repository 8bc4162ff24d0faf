"""Comparison of dissimilarities: rank correlations, bootstrapped over stimuli, and the noise ceiling over subjects."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau, rankdata

from cordstasks.analysis._checks import Floats, count, numbers, open_fraction, real_array
from cordstasks.errors import InputError, unknown

Places = NDArray[np.intp]
METHODS = ("spearman", "kendall")


@dataclass(frozen=True, eq=False)
class RsaComparison:
    """Rank correlations of dissimilarities with a reference.

    Attributes
    ----------
    values : (model,)
        Of each model, or each time of one.
    samples : (resample, model)
        The same for bootstrapped sets of stimuli; all models get the same sets, so differences can be tested.
    method : str
    confidence : float
    """

    values: Floats
    samples: Floats
    method: str
    confidence: float

    @property
    def intervals(self) -> Floats:
        """Percentile intervals (model, 2)."""
        tail = (1 - self.confidence) / 2
        return np.quantile(self.samples, [tail, 1 - tail], axis=0).T

    def difference(self, one: int, other: int) -> tuple[float, tuple[float, float]]:
        """How much larger the correlation of model `one` is than that of `other`, with its interval.

        Parameters
        ----------
        one, other : int
            Indices of two models.

        Returns
        -------
        difference : float
        interval : (low, high)
            Percentile bootstrap over stimuli.
        """
        tail = (1 - self.confidence) / 2
        ends = np.quantile(self.samples[:, one] - self.samples[:, other], [tail, 1 - tail])
        return float(self.values[one] - self.values[other]), (float(ends[0]), float(ends[1]))


def rank_correlation(x: ArrayLike, y: ArrayLike, *, method: str = "spearman") -> float:
    """Spearman's correlation, or Kendall's tau-a, of two vectors of dissimilarities.

    Parameters
    ----------
    x, y : (pair,)
    method : str
        ``"spearman"`` or ``"kendall"``. Tau-a counts ties as neither concordant nor discordant, and does not prefer models
        that predict ties (Nili et al. 2014).

    Returns
    -------
    float
        0 if one of them is constant.

    Raises
    ------
    InputError
        If the method is unknown or lengths differ.
    """
    one, other = real_array("x", x, ("pair",)), real_array("y", y, ("pair",))
    if len(one) != len(other):
        raise InputError(f"x has {len(one)} pairs and y {len(other)}; give dissimilarities of the same stimuli")
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    return float(_spearman(one[None], other)[0] if method == "spearman" else _tau_a(one, other))


def _spearman(models: Floats, reference: Floats) -> Floats:
    """Spearman's correlations (model,) of (model, pair) with (pair,)."""
    ranks = rankdata(models, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    own = rankdata(reference)
    own -= own.mean()
    size = np.sqrt(np.sum(ranks**2, axis=1) * np.sum(own**2))
    return np.divide(ranks @ own, size, out=np.zeros(len(ranks)), where=size > 0)


def _tau_a(x: Floats, y: Floats) -> float:
    """Kendall's tau-a, from SciPy's tau-b: both count concordant less discordant pairs, but divide by different numbers."""
    pairs = len(x) * (len(x) - 1) / 2
    untied = [pairs - float(np.sum(n * (n - 1) / 2)) for n in (np.unique(each, return_counts=True)[1] for each in (x, y))]
    if min(untied) <= 0:
        return 0.0
    return float(kendalltau(x, y).statistic * np.sqrt(untied[0] * untied[1]) / pairs)


def compare_dissimilarities(
    models: ArrayLike,
    reference: ArrayLike,
    *,
    method: str = "spearman",
    resamples: int = 1000,
    confidence: float = 0.95,
    rng: int | np.random.Generator = 0,
) -> RsaComparison:
    """Rank-correlate dissimilarities of models, or of one model over time, with a reference.

    Parameters
    ----------
    models : (model, pair)
        Dissimilarities, as from `dissimilarities`.
    reference : (pair,)
        Those to compare with, of the same stimuli in the same order.
    method : str
        ``"spearman"`` or ``"kendall"`` (tau-a).
    resamples : int
        Bootstrap samples of stimuli; pairs of a stimulus with itself are left out.
    confidence : float
        Coverage of the intervals.
    rng : int or numpy.random.Generator
        Seed, or where to draw from.

    Returns
    -------
    RsaComparison

    Raises
    ------
    InputError
        If the numbers of pairs differ or are not those of any number of stimuli, or the method is unknown.

    References
    ----------
    Nili et al. 2014, PLoS Comput. Biol. 10:e1003553.
    """
    rows = real_array("models", models, ("model", "pair"))
    target = real_array("reference", reference, ("pair",))
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    if rows.shape[1] != len(target):
        raise InputError(f"models has {rows.shape[1]} pairs and reference {len(target)}; give the same stimuli")
    stimuli = (1 + isqrt(1 + 8 * len(target))) // 2
    if stimuli * (stimuli - 1) // 2 != len(target) or stimuli < 4:
        raise InputError(f"reference has {len(target)} pairs; give n (n - 1) / 2 of 4 or more stimuli")
    open_fraction("confidence", confidence)
    place = np.full((stimuli, stimuli), -1)
    place[np.triu_indices(stimuli, 1)] = np.arange(len(target))
    place = np.maximum(place, place.T)
    generator = np.random.default_rng(rng)
    samples = np.empty((count("resamples", resamples, 1), len(rows)))
    for number in range(len(samples)):
        chosen = _pairs(place, stimuli, generator)
        samples[number] = _correlations(rows[:, chosen], target[chosen], method)
    return RsaComparison(_correlations(rows, target, method), samples, method, confidence)


def _pairs(place: Places, stimuli: int, generator: np.random.Generator) -> Places:
    """Pairs of different stimuli in a bootstrapped set of stimuli."""
    while True:
        drawn = generator.integers(stimuli, size=stimuli)
        pairs = place[np.ix_(drawn, drawn)][np.triu_indices(stimuli, 1)]
        kept: Places = pairs[pairs >= 0]
        if len(np.unique(kept)) > 2:  # of few stimuli, all that is drawn may be one pair
            return kept


def _correlations(rows: Floats, target: Floats, method: str) -> Floats:
    return _spearman(rows, target) if method == "spearman" else np.array([_tau_a(row, target) for row in rows])


def noise_ceiling(subjects: ArrayLike, *, method: str = "spearman") -> tuple[float, float]:
    """Bounds of the correlation that the true model would have with the subjects' dissimilarities, on average.

    Parameters
    ----------
    subjects : (subject, pair)
        Dissimilarities of each subject; at least two subjects.
    method : str
        ``"spearman"`` or ``"kendall"``.

    Returns
    -------
    lower, upper : float
        Lower: the mean correlation of each subject with the mean of the others. Upper: that with the mean of all, this one
        included. Means are of ranks.

    Raises
    ------
    InputError
        If there are fewer than two subjects or the method is unknown.

    References
    ----------
    Nili et al. 2014, PLoS Comput. Biol. 10:e1003553.
    """
    rows = numbers("subjects", subjects)
    if rows.ndim != 2 or len(rows) < 2:
        raise InputError(f"subjects has shape {rows.shape}; give (subject, pair) of two or more subjects")
    ranks = rankdata(real_array("subjects", rows, ("subject", "pair")), axis=1)
    total = ranks.sum(axis=0)
    lower = [rank_correlation(row, (total - row) / (len(rows) - 1), method=method) for row in ranks]
    upper = [rank_correlation(row, total / len(rows), method=method) for row in ranks]
    return float(np.mean(lower)), float(np.mean(upper))
