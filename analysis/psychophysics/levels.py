"""Levels of a stimulus as fits take them: a few that repeat, or as many as there are trials."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cordstasks.analysis._checks import Floats

SAME = 1e-6  # of the largest level: levels nearer than that are one, since rounding may have parted them
_STRETCH = 5  # trials: fewer do not tell how a curve runs between them


def distinct(values: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Sort the values and join those that differ by rounding only.

    Returns
    -------
    levels : (level,)
        Ascending; the mean of the values that were joined.
    group : (value,)
        Index of each value's level.
    """
    exact, group = np.unique(values, return_inverse=True)
    tolerance = SAME * float(np.abs(exact).max())
    if len(exact) < 2 or np.diff(exact).min() > tolerance:
        return exact, group
    starts = [0]
    # A level ends where its own first value is too far, so that a chain of near values cannot join all of them.
    while (end := int(np.searchsorted(exact, exact[starts[-1]] + tolerance, side="right"))) < len(exact):
        starts.append(end)
    of_level = np.repeat(np.arange(len(starts)), np.diff([*starts, len(exact)]))
    group = of_level[group]
    return np.bincount(group, weights=values) / np.bincount(group), group


def resolution(levels: Floats, trials: Floats) -> float:
    """Return the narrowest stretch of levels that holds enough trials to tell how a curve runs through it.

    For a few levels with many trials each it is the smallest step between two levels. For continuous levels, the two that
    happen to lie nearest to each other have no say.

    Parameters
    ----------
    levels : (level,)
        Ascending, two or more.
    trials : (level,)
        Number of trials at each.
    """
    number = int(trials.sum())
    apart = int(np.clip(number // 10, 1, _STRETCH))
    ends = np.cumsum(trials)
    first, last = (np.searchsorted(ends, np.arange(start, number - apart + start), "right") for start in (0, apart))
    widths = levels[last] - levels[first]
    return float(widths[widths > 0].min())
