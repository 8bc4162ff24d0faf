"""Bounds on the slope of a logistic function of given levels, and the starting points of a search."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import xlogy

from cordstasks.analysis._checks import Floats
from cordstasks.analysis.psychophysics.levels import resolution
from cordstasks.analysis.statistics.likelihood import Family, maximise

LARGEST_LAPSE = 0.2
_LOG_ODDS = 10.0  # largest change over the range in which choices change
_SLOPES, _CENTRES = 12, 9  # candidates


def steep_enough(make: Callable[[float], Family], levels: Floats, counts: Floats, *, centre: float | None = None) -> Family:
    """Return the family of functions with the slope bound that the choices require.

    The bound is 10 log odds over the narrowest range of levels with enough trials to determine a curve. If a sudden
    change explains the choices at least as well as the best slope within that bound, as for separable choices, the bound
    is 10 log odds over the gap in which the change happens: the choices show that the slope is at least about this large.

    Parameters
    ----------
    make : callable
        The family for a bound of the slope.
    levels : (level,)
        Ascending, two or more.
    counts : (level, 2)
        Failures and successes at each.
    centre : float, optional
        Where choices change, if that is not to be estimated.
    """
    widest = _LOG_ODDS / resolution(levels, counts.sum(axis=1))
    family = make(widest)
    best = maximise(family, counts[None, :, 1], counts[None, :, 0])
    reached = float(family.log_likelihood(best, counts[None, :, 1], counts[None, :, 0])[0])
    value, gap = _sudden(levels, counts, float(family.high[2]), centre)
    return make(min(widest, _LOG_ODDS / gap)) if value >= reached - 1e-9 else family


def candidate_slopes(levels: Floats, steepest: float) -> Floats:
    """Slopes of either sign, from one log odds over all levels to the steepest."""
    sizes = np.geomspace(min(1 / float(np.ptp(levels)), steepest), steepest, _SLOPES)
    return np.concatenate([-sizes[::-1], sizes])


def candidate_centres(levels: Floats, counts: Floats) -> Floats:
    """Levels that divide the trials evenly, including both ends."""
    ends = np.cumsum(counts.sum(axis=1)) / counts.sum()
    return levels[np.searchsorted(ends, np.linspace(0, 1, _CENTRES) * (1 - 1e-12))]


def null_log_likelihood(counts: Floats) -> float:
    """Log-likelihood of counts (level, 2) if all levels have the same fraction of successes."""
    total = counts.sum(axis=0)
    return float(xlogy(total, total / total.sum()).sum())


def _sudden(levels: Floats, counts: Floats, most: float, centre: float | None) -> tuple[float, float]:
    """Largest log-likelihood of a sudden change, upwards or downwards, and the gap between levels in which it happens.

    It happens between two neighbouring levels or at a level, which then has its own fraction of successes. `most` is the
    largest lapse rate.
    """
    best, width = -np.inf, np.inf
    trials, steps = counts.sum(axis=1), np.diff(levels)
    beside = np.minimum(np.append(np.inf, steps), np.append(steps, np.inf))
    for after in (1, 0):  # the outcome above the change
        below = np.append(0.0, np.cumsum(counts[:, after]))  # errors below each level
        above = np.append(np.cumsum(counts[::-1, 1 - after])[::-1], 0.0)  # errors from each level on
        between = (below[1:-1] + above[1:-1], np.zeros((len(steps), 2)), steps)
        at = (below[:-1] + above[1:], counts, beside)
        for errors, apart, gap in (between, at):
            others = trials.sum() - apart.sum(axis=1)
            lapse = np.clip(errors / np.maximum(others, 1), 0, most)
            value = xlogy(errors, lapse) + xlogy(others - errors, 1 - lapse)
            own = np.clip(apart[:, 1] / np.maximum(apart.sum(axis=1), 1), lapse, 1 - lapse)
            if centre is not None:
                own, gap = np.full_like(own, 0.5), np.full_like(gap, 2 * np.abs(levels[levels != centre] - centre).min())
                place = (
                    levels if apart is counts else np.where((levels[:-1] < centre) & (centre < levels[1:]), centre, np.nan)
                )
                value = np.where(place == centre, value, -np.inf)
            value = value + xlogy(apart[:, 1], own) + xlogy(apart[:, 0], 1 - own)
            if value.max() > best:
                best, width = float(value.max()), float(gap[value.argmax()])
    return best, width
