"""The boundary between two categories in choices about morphs; public as `cordstasks.analysis.psychophysics.behaviour`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from cordstasks.analysis._checks import Floats, count, flags, open_fraction, plain, plain_interval, real_array
from cordstasks.analysis.psychophysics.levels import distinct
from cordstasks.analysis.psychophysics.slopes import (
    LARGEST_LAPSE,
    candidate_centres,
    candidate_slopes,
    null_log_likelihood,
    steep_enough,
)
from cordstasks.analysis.statistics.likelihood import (
    LOGISTIC,
    UNKNOWN,
    Evidence,
    Family,
    Interval,
    bootstrap_estimates,
    counts_of,
    grid,
    intervals,
    touched,
)


@dataclass(frozen=True)
class BoundaryFit:
    """A logistic function of the morph level, from `fit_boundary`.

    P(second) = lapse + (1 - 2 lapse) / (1 + exp(-slope * (morph - boundary))).

    Attributes
    ----------
    boundary : float
        Morph level at which both choices are equally likely; NaN where it cannot be estimated.
    slope : float
        Log odds per unit of morph level; from 25 to 75 % takes 2.2 / slope.
    lapse : float
        Fraction of errors, to each side, far from the boundary.
    boundary_interval, slope_interval, lapse_interval : (low, high)
        Percentile bootstrap over trials; NaN for a parameter that was fixed or cannot be estimated.
    trials : int
    at_bound : tuple of str
        The estimates at a bound of the fit: "slope" if the choices are separable, so that the data only give a lower
        bound of the slope; "boundary" if it lies outside the levels shown. It is NaN if no boundary within the levels
        explains the choices.
    """

    boundary: float
    slope: float
    lapse: float
    boundary_interval: Interval
    slope_interval: Interval
    lapse_interval: Interval
    trials: int
    at_bound: tuple[str, ...]

    def predict(self, morph: ArrayLike) -> Floats:
        """Return the fitted fraction of choices of the second category at each morph level, any shape."""
        evidence = self.slope * (np.asarray(morph, dtype=np.float64) - self.boundary)
        return np.asarray(self.lapse + (1 - 2 * self.lapse) * expit(evidence))

    def as_dict(self) -> dict[str, Any]:
        """Return the fit ready for JSON, None for parameters that could not be estimated."""
        row: dict[str, Any] = {}
        for name in ("boundary", "slope", "lapse"):
            row[name] = plain(getattr(self, name))
            row[f"{name}_interval"] = plain_interval(getattr(self, f"{name}_interval"))
        return row | {"trials": self.trials, "at_bound": list(self.at_bound)}


def fit_boundary(
    morph: ArrayLike,
    chose_second: ArrayLike,
    *,
    rng: np.random.Generator,
    lapse: bool = True,
    bootstrap: int = 1000,
    confidence: float = 0.95,
) -> BoundaryFit:
    """Fit the boundary between two categories to choices, by maximum likelihood.

    The boundary is bounded to the levels shown, the slope as in `fit_choices`, and the lapse to [0, 0.2]. The lapse is fixed
    at 0 with fewer than four levels. Levels that differ by less than a millionth of the largest are treated as one. Nothing
    can be estimated if all choices are the same, only one level was shown, or every boundary within the levels explains the
    choices worse than a constant fraction.

    Parameters
    ----------
    morph : (trial,)
        Position of the picture on its line from the first category to the second, as a fraction or in percent.
    chose_second : (trial,) bool
        Whether each choice was the second category.
    rng : numpy.random.Generator
        Draws the resamples.
    lapse : bool
        Whether to estimate a lapse rate; otherwise it is 0.
    bootstrap : int
        Number of resamples of the trials; 0 for no intervals.
    confidence : float
        Coverage of the intervals, between 0 and 1.

    Returns
    -------
    BoundaryFit

    Raises
    ------
    InputError
        If the lengths differ, a level is not finite, or `chose_second` is not boolean.
    """
    place = real_array("morph", morph, ("trial",))
    second = flags("chose_second", chose_second, len(place), "morph")
    resamples, coverage = count("bootstrap", bootstrap, 0), open_fraction("confidence", confidence)
    levels, group = distinct(place)
    if len(levels) < 2 or second.all() or not second.any():
        return _unknown(len(place))
    counts = counts_of(group, second)

    def family(steepest: float) -> Family:
        low = np.array([levels[0], -steepest, 0.0])
        high = np.array([levels[-1], steepest, LARGEST_LAPSE * (lapse and len(levels) > 3)])
        candidates = grid(candidate_centres(levels, counts), candidate_slopes(levels, steepest), low=low, high=high)
        return Family(("boundary", "slope", "lapse"), levels, _evidence, LOGISTIC, low, high, candidates)

    chosen = steep_enough(family, levels, counts)
    estimates = bootstrap_estimates(chosen, counts, resamples, rng, both=True)
    if chosen.log_likelihood(estimates[:1], counts[None, :, 1], counts[None, :, 0])[0] < null_log_likelihood(counts):
        return _unknown(len(place), "boundary")
    boundary, slope, rate = estimates[0].tolist()
    bounds = touched(chosen, estimates[0])
    return BoundaryFit(boundary, slope, rate, *intervals(chosen, estimates, coverage), len(place), bounds)


def _unknown(trials: int, *at_bound: str) -> BoundaryFit:
    return BoundaryFit(np.nan, np.nan, np.nan, UNKNOWN, UNKNOWN, UNKNOWN, trials, at_bound)


def _evidence(theta: Floats, levels: Floats) -> Evidence:
    slope, away = theta[:, 1:2], levels - theta[:, :1]
    flat = np.zeros((1, 1))
    return Evidence(slope * away, (-slope, away), (flat, flat - 1, flat))
