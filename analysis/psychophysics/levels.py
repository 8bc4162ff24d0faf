"""Levels of a stimulus for fits: a few levels that repeat, or as many as there are trials."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cordstasks.analysis._checks import Floats

SAME = 1e-6  # of the largest level: levels with a smaller difference are one, since they may differ by rounding
_STRETCH = 5  # trials: fewer do not determine a curve between them


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
    # A level ends when its first value is too far away, so that a chain of close values cannot join all of them.
    while (end := int(np.searchsorted(exact, exact[starts[-1]] + tolerance, side="right"))) < len(exact):
        starts.append(end)
    of_level = np.repeat(np.arange(len(starts)), np.diff([*starts, len(exact)]))
    group = of_level[group]
    return np.bincount(group, weights=values) / np.bincount(group), group


def resolution(levels: Floats, trials: Floats) -> float:
    """Return the narrowest range of levels with enough trials to determine a curve within it.

    For a few levels with many trials each, it is the smallest step between two levels. For continuous levels, it is not
    determined by the two levels that happen to be closest.

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
