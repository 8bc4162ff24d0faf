"""Proportions: accuracies with intervals, an exact test against chance, and a rank correlation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest, spearmanr

from cordstasks.analysis._checks import column, count, flags, numbers, open_fraction, real_array, same_trials
from cordstasks.errors import InputError


def wilson_interval(correct: ArrayLike, trials: ArrayLike, *, confidence: float = 0.95) -> tuple[Any, Any]:
    """Wilson's score interval of a proportion (Wilson 1927, J. Am. Stat. Assoc. 22:209).

    Parameters
    ----------
    correct, trials : int or array of int
        Numbers of successes and of trials, of shapes that broadcast. No trials at all give the interval (0, 1).
    confidence : float
        Coverage, between 0 and 1.

    Returns
    -------
    low, high : float or array
        Floats where both counts are numbers, arrays otherwise.

    Raises
    ------
    InputError
        If a count is negative or not whole, or there are more successes than trials.
    """
    k, n = np.broadcast_arrays(numbers("correct", correct), numbers("trials", trials))
    if not ((k >= 0) & (k <= n) & (k % 1 == 0) & (n % 1 == 0)).all():
        raise InputError(f"correct is {correct!r} of trials {trials!r}; give whole numbers with 0 <= correct <= trials")
    coverage = open_fraction("confidence", confidence)
    ends = [
        binomtest(int(wins), int(of)).proportion_ci(coverage, method="wilson") if of else (0.0, 1.0)
        for wins, of in zip(k.ravel(), n.ravel(), strict=True)
    ]
    low, high = np.array(ends, dtype=np.float64).reshape(*k.shape, 2).transpose(-1, *range(k.ndim))
    return (float(low), float(high)) if k.ndim == 0 else (low, high)


def difference_of_proportions(
    first_correct: int, first_trials: int, second_correct: int, second_trials: int, *, confidence: float = 0.95
) -> tuple[float, tuple[float, float]]:
    """Difference of two independent proportions with Newcombe's interval, which is made of Wilson's intervals of both.

    Parameters
    ----------
    first_correct, first_trials : int
        Successes and trials of the first proportion, of which the second is subtracted.
    second_correct, second_trials : int
        Successes and trials of the second.
    confidence : float
        Coverage, between 0 and 1.

    Returns
    -------
    difference : float
        From -1 to 1.
    interval : (float, float)
        Its lower and upper end.

    Raises
    ------
    InputError
        If a count is impossible, or there are no trials.

    References
    ----------
    Newcombe 1998, "Interval estimation for the difference between independent proportions", Statistics in Medicine 17:
    873-890, method 10.
    """
    if not first_trials or not second_trials:
        raise InputError(f"trials are {first_trials} and {second_trials}; give at least one of each")
    first, second = first_correct / first_trials, second_correct / second_trials
    low, high = wilson_interval(first_correct, first_trials, confidence=confidence)
    other_low, other_high = wilson_interval(second_correct, second_trials, confidence=confidence)
    difference = first - second
    below = float(np.hypot(first - low, other_high - second))
    above = float(np.hypot(high - first, second - other_low))
    return difference, (difference - below, difference + above)


def accuracy_by_condition(condition: ArrayLike, correct: ArrayLike, *, confidence: float = 0.95) -> list[dict[str, Any]]:
    """Accuracy at each value of a condition, with Wilson's interval.

    Any yes-or-no outcome will do: with `chose_right` for `correct`, "accuracy" is the fraction of rightward choices.

    Parameters
    ----------
    condition : (trial,)
        Numbers or names.
    correct : (trial,) bool
        Whether each trial had the outcome that is counted.
    confidence : float
        Coverage of the intervals.

    Returns
    -------
    list of dict
        Rows {"value", "trials", "accuracy", "interval": [low, high]}, sorted by value, ready for JSON.

    Raises
    ------
    InputError
        If the lengths differ, a condition is not finite, or `correct` is not boolean.
    """
    conditions = column("condition", condition)
    outcome = flags("correct", correct, len(conditions), "condition")
    values, group = np.unique(conditions, return_inverse=True)
    trials = np.bincount(group)
    wins = np.bincount(group, weights=outcome)
    low, high = wilson_interval(wins, trials, confidence=confidence)
    return [
        {
            "value": values[i].item(),
            "trials": int(trials[i]),
            "accuracy": float(wins[i] / trials[i]),
            "interval": [float(low[i]), float(high[i])],
        }
        for i in range(len(values))
    ]


def chance_p_value(correct: int, trials: int, *, chance: float = 0.5) -> float:
    """One-sided exact binomial test: the probability of at least `correct` successes by chance alone.

    Returns
    -------
    float
        Above 0 and at most 1.

    Raises
    ------
    InputError
        If the counts are impossible or `chance` does not lie between 0 and 1.
    """
    if not 0 <= correct <= trials:
        raise InputError(f"correct is {correct!r} of trials {trials!r}; give counts with 0 <= correct <= trials")
    probability = open_fraction("chance", chance)
    k, n = count("correct", correct, 0), count("trials", trials, 0)
    return float(binomtest(k, n, probability, alternative="greater").pvalue) if n else 1.0


def spearman(x: ArrayLike, y: ArrayLike) -> float | None:
    """Spearman's rank correlation of `x` (value,) and `y` (value,), ties sharing their mean rank.

    Returns None where it is undefined: fewer than two values, or all values of one side equal.

    Returns
    -------
    float or None
        From -1 to 1; None where it is not defined.
    """
    first, second = real_array("x", x, ("value",)), real_array("y", y, ("value",))
    same_trials("y", second, len(first), "x")
    if len(first) < 2 or not np.ptp(first) or not np.ptp(second):
        return None
    return float(spearmanr(first, second).statistic)
