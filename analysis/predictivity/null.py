"""The null hypothesis that time does not matter: the recording's time bins are shuffled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import ttest_rel

from cordstasks.analysis._checks import Floats, count
from cordstasks.analysis.predictivity.reduction import reduced
from cordstasks.analysis.predictivity.regression import Regression, Training
from cordstasks.analysis.predictivity.scores import median_interval, over_splits
from cordstasks.analysis.predictivity.splits import Rows, Split
from cordstasks.analysis.predictivity.temporal import Problem, Progress, _spread, spanning_scores
from cordstasks.errors import InputError

EQUAL = 1e-9  # correlations that differ by less do so by rounding


@dataclass(frozen=True, eq=False)
class TimeNull:
    """Scores spanning time of a recording, and of the same recording with its time bins shuffled.

    Attributes
    ----------
    scores : (unit,)
        Of the recording as it is.
    shuffled : (permutation, unit)
        Of the shuffled ones, with the same splits.
    """

    scores: Floats
    shuffled: Floats

    def test(self, *, confidence: float = 0.95, rng: int | np.random.Generator = 0) -> dict[str, Any]:
        """Whether the time course is predicted better than the shuffled one.

        Parameters
        ----------
        confidence : float
            Coverage of the interval.
        rng : int or numpy.random.Generator
            Seed of the interval's bootstrap, or where to draw from.

        Returns
        -------
        dict
            ``difference`` and ``interval``: the median over units of the score less the mean shuffled score, with its
            bootstrap interval. ``t``, ``p_t`` and ``units``: the paired t-test over units that the paper uses, two-sided;
            None where all differences are equal up to rounding. ``p_permutation``: the fraction of shuffles, the recording
            included, whose median score is at least the recording's; its smallest possible value is 1 / (permutations + 1).
        """
        chance = over_splits(self.shuffled)
        both = np.isfinite(self.scores) & np.isfinite(chance)
        difference = (self.scores - chance)[both]
        row = median_interval(difference, confidence=confidence, rng=rng)
        found: dict[str, Any] = {"difference": row["median"], "interval": row["interval"], "units": int(both.sum())}
        found |= {"t": None, "p_t": None}
        if len(difference) > 1 and np.ptp(difference) > EQUAL:
            tested = ttest_rel(self.scores[both], chance[both])
            found |= {"t": float(tested.statistic), "p_t": float(tested.pvalue)}
        real = np.median(self.scores[both]) if both.any() else -np.inf
        medians = np.array([np.median(row[both]) if both.any() else 0.0 for row in self.shuffled])
        # equal up to rounding is equal, as for a recording that does not change over time
        found["p_permutation"] = float((1 + np.sum(medians >= real - EQUAL)) / (1 + len(medians)))
        found["permutations"] = len(medians)
        return found


def shuffled_time(
    features: ArrayLike,
    recorded: ArrayLike,
    splits: Sequence[Split],
    *,
    regression: Regression | None = None,
    lead: int = 0,
    lags: Sequence[int] | None = None,
    permutations: int = 20,
    dimensions: int | None = 500,
    rng: int | np.random.Generator = 0,
    progress: Progress | None = None,
) -> TimeNull:
    """Predict a recording, and the same with its time bins shuffled, by regressions spanning time.

    In each permutation, the bins of all stimuli and units change places in the same way. What the model must then predict
    has the same responses, but at other times.

    Parameters
    ----------
    features : (stimulus, model time, feature)
        As for `temporal_predictivity`.
    recorded : (stimulus, time bin, unit)
        Mean responses over presentations; at least two time bins.
    splits : sequence of Split
        From `stimulus_splits`.
    regression : Regression, optional
        Default: partial least squares with 25 components.
    lead : int
        How many of the model times precede the recording's first bin.
    lags : sequence of int, optional
        The lag of each split, as `TemporalPredictivity.lags` has it (default: 0); the shuffled recordings get the same.
    permutations : int
        Number of shuffles.
    dimensions : int, optional
        As for `temporal_predictivity`.
    rng : int or numpy.random.Generator
        Seed, or where to draw permutations from.
    progress : callable, optional
        Called with 1 after each split.

    Returns
    -------
    TimeNull

    Raises
    ------
    InputError
        If there is a single time bin, or arrays do not fit.

    Notes
    -----
    Neighbouring bins of real recordings are similar. The permutations destroy this similarity as well, so a small p-value
    says that time matters, not that the model's moments are the right ones: for that, see `time_map`.

    References
    ----------
    Soo, Battista, Radmard & Wang 2024, NeurIPS 37, section on temporal neural predictivity.
    """
    chosen = regression or Regression()
    problem = Problem(features, recorded, lead)
    if problem.bins < 2:
        raise InputError("recorded has 1 time bin, so there is nothing to shuffle; give responses of two or more bins")
    given = [0] * len(splits) if lags is None else [int(lag) for lag in lags]
    if len(given) != len(splits):
        raise InputError(f"lags has {len(given)} entries for {len(splits)} splits; give one for each")
    for lag in set(given):
        problem.check_lag(lag)
    small, _ = reduced(problem.features, dimensions=dimensions)
    spanning = Problem(small, problem.recorded, lead)
    orders = _orders(problem.bins, count("permutations", permutations, 1), np.random.default_rng(rng))
    real = np.empty((len(splits), problem.recorded.shape[2]))
    shuffled = np.empty((len(splits), len(orders), problem.recorded.shape[2]))
    for place, (split, lag) in enumerate(zip(splits, given, strict=True)):
        x = spanning.aligned(lag)
        training = Training(_spread(x, split.train))
        real[place] = spanning_scores(training, x, problem.recorded, split, chosen)
        for number, order in enumerate(orders):
            shuffled[place, number] = spanning_scores(training, x, problem.recorded[:, order], split, chosen)
        if progress:
            progress(1)
    return TimeNull(over_splits(real), over_splits(shuffled))


def _orders(bins: int, permutations: int, generator: np.random.Generator) -> list[Rows]:
    """Random orders of the bins other than their own; as many as there are, if there are fewer."""
    same = np.arange(bins)
    found: dict[bytes, Rows] = {}
    most = permutations if bins > 8 else min(permutations, factorial(bins) - 1)
    while len(found) < most:
        order = generator.permutation(bins)
        if not np.array_equal(order, same):
            found[order.tobytes()] = order
    return list(found.values())
