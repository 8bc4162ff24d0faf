"""The Weibull function of accuracy, for `cordstasks.analysis.psychophysics.psychometrics`."""

from __future__ import annotations

import numpy as np

from cordstasks.analysis._checks import Floats
from cordstasks.analysis.psychophysics.slopes import LARGEST_LAPSE
from cordstasks.analysis.statistics.likelihood import Evidence, Family, Link, Outcome, grid

_LARGEST = 14.0  # exponent beyond which accuracy has saturated; squares of its exponential are then accurate enough
_FAR = 230.0  # exp(-230) can still be squared
_THRESHOLDS, _SLOPES = 0.25, 9  # candidates: distance of the logarithms, number


def weibull_family(levels: Floats, *, estimate_lapse: bool) -> Family:
    """Return the functions of the logarithms of threshold and slope, and of the lapse rate, for levels
    (level,), which are 0 without motion.
    """
    shown = levels[levels > 0]
    low = np.array([np.log(shown[0] / 4), np.log(0.2), 0.0])
    high = np.array([np.log(shown[-1] * 2), np.log(10.0), LARGEST_LAPSE * estimate_lapse])
    thresholds = np.linspace(low[0], high[0], int(np.ceil((high[0] - low[0]) / _THRESHOLDS)) + 1)
    candidates = grid(thresholds, np.linspace(low[1], high[1], _SLOPES), low=low, high=high)
    return Family(("threshold", "slope", "lapse"), levels, _evidence, WEIBULL, low, high, candidates)


def _evidence(theta: Floats, levels: Floats) -> Evidence:
    moving = levels > 0
    logarithm = np.log(levels, out=np.zeros_like(levels), where=moving)
    slope = np.exp(theta[:, 1:2])
    # Without motion, accuracy is at chance for all parameters.
    value = np.where(moving, slope * (logarithm - theta[:, :1]), -np.inf)
    finite = np.where(moving, value, 0.0)
    return Evidence(value, (-slope * moving, finite), (np.zeros((1, 1)), -slope * moving, finite))


def _logarithms(evidence: Floats, lapse: Floats) -> tuple[Floats, Floats]:
    x = np.exp(np.minimum(evidence, _LARGEST))
    failure = lapse + (0.5 - lapse) * np.exp(-np.minimum(x, _FAR))
    return np.log1p(-failure), np.where(lapse > 0, np.log(failure), np.log(0.5) - x)


def _outcome(evidence: Floats, lapse: Floats) -> Outcome:
    x = np.exp(np.minimum(evidence, _LARGEST))
    rest = np.exp(-np.minimum(x, _FAR))
    growth = (0.5 - lapse) * rest * x
    failure = lapse + (0.5 - lapse) * rest
    return Outcome(
        success=1 - failure,
        failure=failure,
        by_evidence=growth,
        curvature=growth * (1 - x),
        by_lapse=rest - 1,
        mixed=-rest * x,
    )


WEIBULL = Link(_logarithms, _outcome)
