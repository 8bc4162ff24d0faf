"""Chronometric functions: how reaction times depend on the strength of the evidence, and on whether the answer was right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.analysis._checks import (
    Booleans,
    Floats,
    count,
    flags,
    open_fraction,
    plain,
    plain_interval,
    real_array,
    same_trials,
)
from cordstasks.analysis.psychophysics.levels import distinct
from cordstasks.analysis.statistics.proportions import spearman

__all__ = ["ChronometricFit", "chronometric_curve", "fit_chronometric"]

_CHUNK = 100  # resamples drawn at once: bounds memory
Interval = tuple[float, float]


@dataclass(frozen=True)
class ChronometricFit:
    """How reaction times depend on strength and on errors, from `fit_chronometric`.

    Attributes
    ----------
    slope : float
        Change of the mean reaction time in ms per doubling of the strength, by least squares over trials of strengths
        above 0; NaN with fewer than two such strengths.
    spearman : float
        Rank correlation of the mean reaction time at each strength, 0 included, with the strength; NaN where undefined.
    errors : float
        Mean reaction time of errors minus that of right answers in ms, compared at each strength that has both and averaged
        with the number of errors as weight; NaN without errors, or without right answers beside them.
    slope_interval, errors_interval : (low, high)
        Percentile bootstrap over trials within each strength and outcome; NaN for what cannot be estimated, and where most
        of the trials, or of the errors, are the only ones of their strength and outcome: nothing shows how these vary.
    trials : int
    """

    slope: float
    spearman: float
    errors: float
    slope_interval: Interval
    errors_interval: Interval
    trials: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fit ready for JSON, None for what could not be estimated.

        Returns
        -------
        dict of str to object
            Numbers and intervals by name; times in ms.
        """
        return {
            "slope": plain(self.slope),
            "slope_interval": plain_interval(self.slope_interval),
            "spearman": plain(self.spearman),
            "errors_minus_right": plain(self.errors),
            "errors_minus_right_interval": plain_interval(self.errors_interval),
            "trials": self.trials,
        }


def chronometric_curve(
    strength: ArrayLike,
    reaction_time: ArrayLike,
    correct: ArrayLike,
    *,
    rng: np.random.Generator,
    bootstrap: int = 1000,
    confidence: float = 0.95,
) -> list[dict[str, Any]]:
    """Mean reaction times at each strength of the evidence, of right answers and of errors.

    Parameters
    ----------
    strength : (trial,)
        Such as the coherence.
    reaction_time : (trial,)
        In ms.
    correct : (trial,) bool
        Whether each answer was right.
    rng : numpy.random.Generator
        Draws the resamples.
    bootstrap : int
        Number of resamples of the trials.
    confidence : float
        Coverage of the intervals, between 0 and 1.

    Returns
    -------
    list of dict
        Rows {"value", "trials", "mean", "interval", "right", "wrong"}, sorted by strength, ready for JSON. "right" and
        "wrong" hold {"trials", "mean", "interval"} of those trials. A mean without trials, and an interval of fewer than
        two trials, is None.

    Raises
    ------
    InputError
        If the lengths differ, a value is not finite, or `correct` is not boolean.
    """
    levels, group, times, right = _trials(strength, reaction_time, correct)
    resamples, coverage = count("bootstrap", bootstrap, 1), open_fraction("confidence", confidence)
    rows = []
    for index, level in enumerate(levels.tolist()):
        own = group == index
        row: dict[str, Any] = {"value": level, **_mean(times[own], resamples, coverage, rng)}
        row["right"] = _mean(times[own & right], resamples, coverage, rng)
        row["wrong"] = _mean(times[own & ~right], resamples, coverage, rng)
        rows.append(row)
    return rows


def fit_chronometric(
    strength: ArrayLike,
    reaction_time: ArrayLike,
    correct: ArrayLike,
    *,
    rng: np.random.Generator,
    bootstrap: int = 1000,
    confidence: float = 0.95,
) -> ChronometricFit:
    """Measure how fast reaction times fall with strength, and whether errors are slower than right answers.

    Parameters
    ----------
    strength, reaction_time, correct, rng, bootstrap, confidence
        As for `chronometric_curve`.

    Returns
    -------
    ChronometricFit

    Raises
    ------
    InputError
        As `chronometric_curve`.
    """
    levels, group, times, right = _trials(strength, reaction_time, correct)
    resamples, coverage = count("bootstrap", bootstrap, 1), open_fraction("confidence", confidence)
    cells = [[times[(group == i) & (right == outcome)] for i in range(len(levels))] for outcome in (True, False)]
    # only the means of cells are needed: their numbers of trials stay what they are
    numbers = np.array([[len(cell) for cell in outcome] for outcome in cells])
    means = np.array([[cell.mean() if len(cell) else 0.0 for cell in outcome] for outcome in cells])
    drawn = np.stack([[_resampled(cell, resamples, rng) for cell in outcome] for outcome in cells])  # (outcome, level, n)
    everyone = np.concatenate([means[..., None], drawn], axis=2)
    slope, errors = _slopes(everyone, numbers, levels), _errors(everyone, numbers)
    overall = (means * numbers).sum(0) / numbers.sum(0)
    rank = spearman(levels, overall)

    def interval(values: Floats) -> Interval:
        low, high = np.quantile(values[1:], [0.5 - coverage / 2, 0.5 + coverage / 2])
        return float(low), float(high)

    both = (numbers > 0).all(0)
    unknown = (np.nan, np.nan)
    return ChronometricFit(
        slope=float(slope[0]),
        spearman=np.nan if rank is None else rank,
        errors=float(errors[0]),
        slope_interval=unknown if _alone(numbers[:, levels > 0]) else interval(slope),
        errors_interval=unknown if _alone(numbers[1, both]) else interval(errors),
        trials=len(times),
    )


def _trials(strength: ArrayLike, time: ArrayLike, correct: ArrayLike) -> tuple[Floats, NDArray[np.intp], Floats, Booleans]:
    """Levels, the level of each trial, reaction times and outcomes."""
    values, times = real_array("strength", strength, ("trial",)), real_array("reaction_time", time, ("trial",))
    same_trials("reaction_time", times, len(values), "strength")
    right = flags("correct", correct, len(values), "strength")
    levels, group = distinct(values)
    return levels, group, times, right


def _resampled(times: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """Means (resample,) of resampled trials."""
    if not len(times):
        return np.zeros(resamples)
    parts = [
        times[rng.integers(0, len(times), (min(_CHUNK, resamples - start), len(times)))].mean(1)
        for start in range(0, resamples, _CHUNK)
    ]
    return np.concatenate(parts)


def _mean(times: Floats, resamples: int, coverage: float, rng: np.random.Generator) -> dict[str, Any]:
    if len(times) < 2:
        return {"trials": len(times), "mean": float(times[0]) if len(times) else None, "interval": None}
    ends = np.quantile(_resampled(times, resamples, rng), [0.5 - coverage / 2, 0.5 + coverage / 2])
    return {"trials": len(times), "mean": float(times.mean()), "interval": ends.tolist()}


def _alone(numbers: NDArray[np.int64]) -> bool:
    """Whether more than half of the trials are the only one of their cell, by the `numbers` of trials in cells."""
    return bool((numbers == 1).sum() > numbers.sum() / 2)


def _slopes(means: Floats, numbers: NDArray[np.int64], levels: Floats) -> Floats:
    """Least-squares slope (sample,) over trials on log2 of the level, from means (outcome, level, sample)."""
    moving = levels > 0
    if moving.sum() < 2:
        return np.full(means.shape[2], np.nan)
    trials = numbers[:, moving].sum(0)
    average = (means[:, moving] * numbers[:, moving, None]).sum(0) / trials[:, None]
    x = np.log2(levels[moving])
    x = x - (x * trials).sum() / trials.sum()
    return np.asarray((x * trials) @ average / (x**2 * trials).sum())


def _errors(means: Floats, numbers: NDArray[np.int64]) -> Floats:
    """Errors minus right answers (sample,), at levels that have both, weighted by the number of errors."""
    both = (numbers > 0).all(0)
    if not both.any():
        return np.full(means.shape[2], np.nan)
    weight = numbers[1, both]
    return np.asarray(weight @ (means[1, both] - means[0, both]) / weight.sum())
