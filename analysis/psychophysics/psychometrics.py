"""Psychometric functions: how choices depend on the strength of the evidence.

A logistic fit of choices and a Weibull fit of accuracy, with intervals from a bootstrap over trials. Accuracies and tests
against chance come from `cordstasks.analysis.statistics.proportions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from cordstasks.analysis._checks import Floats, coherences, count, flags, open_fraction, plain, plain_interval
from cordstasks.analysis.psychophysics.levels import SAME, distinct
from cordstasks.analysis.psychophysics.slopes import LARGEST_LAPSE, candidate_centres, candidate_slopes, steep_enough
from cordstasks.analysis.psychophysics.weibull import weibull_family
from cordstasks.analysis.statistics.likelihood import (
    LOGISTIC,
    UNKNOWN,
    Evidence,
    Family,
    Interval,
    bootstrap_estimates,
    counts_of,
    intervals,
    touched,
)
from cordstasks.analysis.statistics.proportions import accuracy_by_condition, chance_p_value, spearman, wilson_interval

__all__ = [
    "ChoiceFit",
    "WeibullFit",
    "accuracy_by_condition",
    "chance_p_value",
    "fit_choices",
    "fit_weibull",
    "spearman",
    "wilson_interval",
]


@dataclass(frozen=True)
class ChoiceFit:
    """A logistic psychometric function, from `fit_choices`.

    P(right) = lapse + (1 - 2 lapse) / (1 + exp(-(slope * coherence + bias))).

    Attributes
    ----------
    slope : float
        Log odds per unit of signed coherence (a fraction); NaN where it cannot be estimated.
    bias : float
        Log odds of a rightward choice at zero coherence.
    lapse : float
        Fraction of errors, to each side, at the strongest motion.
    slope_interval, bias_interval, lapse_interval : (low, high)
        Percentile bootstrap over trials; NaN for a parameter that was fixed or cannot be estimated.
    trials : int
    at_bound : tuple of str
        The estimates at a bound of the fit: "slope" if the choices are separable, so that the data only give a lower
        bound of the slope. A lapse of 0 is not listed.
    """

    slope: float
    bias: float
    lapse: float
    slope_interval: Interval
    bias_interval: Interval
    lapse_interval: Interval
    trials: int
    at_bound: tuple[str, ...]

    def predict(self, signed_coherence: ArrayLike) -> Floats:
        """Return the fitted fraction of rightward choices at each signed coherence (a fraction), any shape.

        Returns
        -------
        (...)
            Fractions, of the shape of `signed_coherence`.
        """
        evidence = self.slope * np.asarray(signed_coherence, dtype=np.float64) + self.bias
        return np.asarray(self.lapse + (1 - 2 * self.lapse) * expit(evidence))

    def as_dict(self) -> dict[str, Any]:
        """Return the fit ready for JSON, None for what could not be estimated.

        Returns
        -------
        dict of str to object
            Numbers and lists by name.
        """
        return _as_dict(self, ("slope", "bias", "lapse"))


@dataclass(frozen=True)
class WeibullFit:
    """A Weibull psychometric function, from `fit_weibull`.

    P(correct) = 1 - lapse - (0.5 - lapse) exp(-(coherence / threshold) ** slope); with no lapse, the function that
    Roitman & Shadlen (2002, J. Neurosci. 22:9475) fitted to accuracy.

    Attributes
    ----------
    threshold : float
        Coherence (a fraction) at which accuracy has covered 1 - 1/e of its way from chance to 1 - lapse: 82 % correct
        with no lapse. NaN where it cannot be estimated.
    slope : float
        Steepness, without unit.
    lapse : float
        Fraction of errors at the strongest motion.
    threshold_interval, slope_interval, lapse_interval : (low, high)
        Percentile bootstrap over trials; NaN for a parameter that was fixed or cannot be estimated.
    trials : int
    at_bound : tuple of str
        The estimates that stand at a bound of the fit. With "threshold" among them, accuracy was near its ceiling at
        every coherence or near chance at every coherence, and the threshold lies outside what was tested.
    """

    threshold: float
    slope: float
    lapse: float
    threshold_interval: Interval
    slope_interval: Interval
    lapse_interval: Interval
    trials: int
    at_bound: tuple[str, ...]

    def predict(self, coherence: ArrayLike) -> Floats:
        """Return the fitted accuracy at each unsigned coherence (a fraction), any shape.

        Returns
        -------
        (...)
            Fractions, of the shape of `coherence`.
        """
        strength = (np.asarray(coherence, dtype=np.float64) / self.threshold) ** self.slope
        return np.asarray(1 - self.lapse - (0.5 - self.lapse) * np.exp(-strength))

    def as_dict(self) -> dict[str, Any]:
        """Return the fit ready for JSON, None for what could not be estimated.

        Returns
        -------
        dict of str to object
            Numbers and lists by name.
        """
        return _as_dict(self, ("threshold", "slope", "lapse"))


def _as_dict(fit: ChoiceFit | WeibullFit, names: tuple[str, ...]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in names:
        row[name] = plain(getattr(fit, name))
        row[f"{name}_interval"] = plain_interval(getattr(fit, f"{name}_interval"))
    return row | {"trials": fit.trials, "at_bound": list(fit.at_bound)}


def fit_choices(
    signed_coherence: ArrayLike,
    chose_right: ArrayLike,
    *,
    bias: bool = True,
    lapse: bool = True,
    bootstrap: int = 1000,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> ChoiceFit:
    """Fit a logistic function to choices by maximum likelihood.

    Coherences may be a few levels or different in every trial. Those that differ by less than a millionth of the largest
    are treated as one. The slope is bounded (see `ChoiceFit.at_bound`), so separable choices give a finite fit and no
    warning. If a sudden change explains the choices best, the bound is 10 log odds over the gap between the coherences at
    which the choices change. Otherwise it is 10 log odds over the smallest step between coherences, or over five trials
    if hardly two trials have the same coherence. The lapse lies in [0, 0.2]. It is fixed at 0 if fewer than two strengths
    of motion were shown, because they do not distinguish a lapse from a slope. Nothing can be estimated if all choices
    are the same or only one coherence was shown.

    Parameters
    ----------
    signed_coherence : (trial,)
        Fractions in [-1, 1], positive to the right.
    chose_right : (trial,) bool
        Whether each choice was rightward.
    bias, lapse : bool
        Whether to estimate these; otherwise they are 0.
    bootstrap : int
        Number of resamples of the trials; 0 for no intervals.
    rng : numpy.random.Generator
        Draws the resamples.
    confidence : float
        Coverage of the intervals, between 0 and 1.

    Returns
    -------
    ChoiceFit

    Raises
    ------
    InputError
        If the lengths differ, a coherence is not a fraction, or `chose_right` is not boolean.
    """
    coherence = coherences("signed_coherence", signed_coherence, signed=True)
    right = flags("chose_right", chose_right, len(coherence), "signed_coherence")
    resamples = count("bootstrap", bootstrap, 0)
    open_fraction("confidence", confidence)
    levels, group = distinct(coherence)
    if len(levels) < 2 or right.all() or not right.any():
        return ChoiceFit(np.nan, np.nan, np.nan, UNKNOWN, UNKNOWN, UNKNOWN, len(coherence), ())
    counts = counts_of(group, right)
    strengths = np.abs(levels)
    estimate_lapse = lapse and len(distinct(strengths[strengths > SAME * strengths.max()])[0]) > 1

    def family(steepest: float) -> Family:
        shift = bias * (steepest * float(np.abs(levels).max()) + 10)  # choices may change at any level
        high = np.array([steepest, shift, LARGEST_LAPSE * estimate_lapse])
        low = np.array([-steepest, -shift, 0.0])
        candidates = np.concatenate(
            [
                [[slope, -slope * centre] for slope in candidate_slopes(levels, steepest)]
                for centre in candidate_centres(levels, counts)
            ]
            + [[[0.0, shift] for shift in np.linspace(-4, 4, 9)]]
        )
        candidates = np.unique(np.clip(candidates, low[:2], high[:2]), axis=0)
        return Family(("slope", "bias", "lapse"), levels, _evidence, LOGISTIC, low, high, candidates)

    chosen = steep_enough(family, levels, counts, centre=None if bias else 0.0)
    estimates = bootstrap_estimates(chosen, counts, resamples, rng, both=True)
    slope, shift, rate = estimates[0].tolist()
    bounds = touched(chosen, estimates[0])
    return ChoiceFit(slope, shift, rate, *intervals(chosen, estimates, confidence), len(coherence), bounds)


def _evidence(theta: Floats, levels: Floats) -> Evidence:
    flat = np.zeros((1, 1))
    return Evidence(theta[:, :1] * levels + theta[:, 1:], (levels[None], flat + 1), (flat, flat, flat))


def fit_weibull(
    coherence: ArrayLike,
    correct: ArrayLike,
    *,
    lapse: bool = True,
    bootstrap: int = 1000,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> WeibullFit:
    """Fit a Weibull function to accuracy by maximum likelihood (Roitman & Shadlen 2002, J. Neurosci. 22:9475).

    The threshold is bounded by a quarter of the weakest and twice the strongest motion shown (except 0), the slope
    by [0.2, 10] and the lapse by [0, 0.2]. The lapse is fixed at 0 if fewer than three strengths of motion other
    than 0 were shown, and nothing can be estimated from fewer than two.

    Parameters
    ----------
    coherence : (trial,)
        Fractions in [0, 1], without sign.
    correct : (trial,) bool
        Whether each choice was right.
    lapse : bool
        Whether to estimate a lapse rate; otherwise it is 0.
    bootstrap : int
        Number of resamples of the trials; 0 for no intervals.
    rng : numpy.random.Generator
        Draws the resamples.
    confidence : float
        Coverage of the intervals, between 0 and 1.

    Returns
    -------
    WeibullFit

    Raises
    ------
    InputError
        If the lengths differ, a coherence is not a fraction or is negative, or `correct` is not boolean.
    """
    strength = coherences("coherence", coherence, signed=False)
    outcome = flags("correct", correct, len(strength), "coherence")
    resamples = count("bootstrap", bootstrap, 0)
    open_fraction("confidence", confidence)
    levels, group = distinct(strength)
    levels[levels <= SAME * levels.max()] = 0.0
    strengths = int((levels > 0).sum())
    if strengths < 2:
        return WeibullFit(np.nan, np.nan, np.nan, UNKNOWN, UNKNOWN, UNKNOWN, len(strength), ())
    family = weibull_family(levels, estimate_lapse=lapse and strengths > 2)
    estimates = bootstrap_estimates(family, counts_of(group, outcome), resamples, rng)
    bounds = touched(family, estimates[0])
    estimates[:, :2] = np.exp(estimates[:, :2])  # fitted as logarithms, so that both are positive
    threshold, steepness, rate = estimates[0].tolist()
    return WeibullFit(threshold, steepness, rate, *intervals(family, estimates, confidence), len(strength), bounds)
