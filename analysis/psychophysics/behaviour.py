"""Choices and answers: performance by condition, category boundary, confusions, errors of angle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import confusion_matrix as _confusion_matrix

from cordstasks.analysis._checks import (
    Floats,
    column,
    count,
    flags,
    numbers,
    open_fraction,
    plain,
    plain_interval,
    real_array,
    same_trials,
)
from cordstasks.analysis._conditions import combinations_of
from cordstasks.analysis.psychophysics.boundary import BoundaryFit, fit_boundary
from cordstasks.analysis.statistics.proportions import wilson_interval
from cordstasks.errors import InputError

__all__ = [
    "AngularError",
    "BoundaryFit",
    "Confusions",
    "angular_difference",
    "angular_error",
    "angular_error_table",
    "confusions",
    "fit_boundary",
    "performance_table",
]

_CHUNK = 100  # resamples drawn at once: bounds memory


@dataclass(frozen=True, eq=False)
class Confusions:
    """Choices for each correct answer, from `confusions`.

    Attributes
    ----------
    labels : (label,)
        Right answers and choices, sorted.
    counts : (label, label) int
        Trials by right answer (row) and choice (column).
    """

    labels: NDArray[Any]
    counts: NDArray[np.int64]

    @property
    def fractions(self) -> Floats:
        """Counts over the trials of each row, (label, label); NaN in rows without trials."""
        total = self.counts.sum(axis=1, keepdims=True)
        return np.divide(self.counts, total, out=np.full(self.counts.shape, np.nan), where=total > 0)

    def as_dict(self) -> dict[str, Any]:
        """Return labels and counts ready for JSON.

        Returns
        -------
        dict of str to list
            ``"labels"`` and ``"counts"``.
        """
        return {"labels": self.labels.tolist(), "counts": self.counts.tolist()}


@dataclass(frozen=True)
class AngularError:
    """Errors of an angle, from `angular_error`.

    Attributes
    ----------
    trials : int
    median_absolute : float
        In deg, between 0 and 180; 90 on average for guesses.
    interval : (low, high)
        Percentile bootstrap over trials of the median absolute error; NaN without resamples, or from one trial.
    bias : float
        Circular mean of the signed error in deg, in (-180, 180], positive counter-clockwise; NaN where it is undefined.
    concentration : float
        Length of the mean resultant of the signed error: 1 if all are the same, about 0 for guesses.
    """

    trials: int
    median_absolute: float
    interval: tuple[float, float]
    bias: float
    concentration: float

    def as_dict(self) -> dict[str, Any]:
        """Return the statistics ready for JSON, None for statistics that could not be estimated.

        Returns
        -------
        dict of str to object
            Numbers and lists by name.
        """
        return {
            "trials": self.trials,
            "median_absolute_error": self.median_absolute,
            "interval": plain_interval(self.interval),
            "bias": plain(self.bias),
            "concentration": self.concentration,
        }


def performance_table(
    conditions: Mapping[str, ArrayLike], correct: ArrayLike, *, confidence: float = 0.95
) -> list[dict[str, Any]]:
    """Accuracy at each combination of conditions that occurs, with Wilson's interval.

    Parameters
    ----------
    conditions : {name: (trial,)}
        Numbers or names, such as ``{"distance": abs(test - sample), "display": displays}``.
    correct : (trial,) bool
        Whether each trial had the outcome that is counted.
    confidence : float
        Coverage of the intervals, between 0 and 1.

    Returns
    -------
    list of dict
        Rows {<condition>: value, ..., "trials", "accuracy", "interval": [low, high]}, sorted, ready for JSON.

    Raises
    ------
    InputError
        If the lengths differ, `correct` is not boolean, or a condition is named like a column of the result.
    """
    given = numbers("correct", correct)
    outcome = flags("correct", given, given.size, "correct")
    columns = ("trials", "accuracy", "interval")
    rows, group = combinations_of(conditions, len(outcome), "correct", reserved=columns)
    trials = np.bincount(group)
    right = np.bincount(group, weights=outcome)
    low, high = wilson_interval(right, trials, confidence=confidence)
    return [
        row | {"trials": int(n), "accuracy": float(k / n), "interval": [float(a), float(b)]}
        for row, n, k, a, b in zip(rows, trials, right, low, high, strict=True)
    ]


def confusions(answer: ArrayLike, choice: ArrayLike) -> Confusions:
    """Count trials by correct answer and choice.

    Parameters
    ----------
    answer, choice : (trial,)
        Numbers or names, both of one sort. A choice may be none of the answers, such as a break of fixation.

    Returns
    -------
    Confusions

    Raises
    ------
    InputError
        If the lengths differ or one holds numbers and the other names.
    """
    right, chosen = column("answer", answer), column("choice", choice)
    same_trials("choice", chosen, len(right), "answer")
    if (right.dtype.kind in "US") != (chosen.dtype.kind in "US"):
        raise InputError(f"choice has type {chosen.dtype} but answer {right.dtype}; give numbers for both or names for both")
    labels, codes = np.unique(np.concatenate([right, chosen]), return_inverse=True)
    counts = _confusion_matrix(codes[: len(right)], codes[len(right) :], labels=np.arange(len(labels)))
    return Confusions(labels, counts)


def angular_difference(angle: ArrayLike, reference: ArrayLike) -> Floats:
    """Return the angle from `reference` counter-clockwise to `angle`, in deg: in (-180, 180], of the broadcast shape.

    Returns
    -------
    (...)
        Of the broadcast shape of the two.
    """
    return np.asarray(180 - np.mod(180 - (numbers("angle", angle) - numbers("reference", reference)), 360))


def angular_error(
    angle: ArrayLike,
    target: ArrayLike,
    *,
    rng: np.random.Generator,
    bootstrap: int = 1000,
    confidence: float = 0.95,
) -> AngularError:
    """Error of decoded angles against their targets.

    Parameters
    ----------
    angle, target : (trial,)
        In deg.
    rng : numpy.random.Generator
        Draws the resamples.
    bootstrap : int
        Number of resamples of the trials; 0 for no interval.
    confidence : float
        Coverage of the interval, between 0 and 1.

    Returns
    -------
    AngularError

    Raises
    ------
    InputError
        If the lengths differ or an angle is not finite.
    """
    error = _errors(angle, target)
    resamples, coverage = count("bootstrap", bootstrap, 0), open_fraction("confidence", confidence)
    return _angular(error, resamples, coverage, rng)


def angular_error_table(
    conditions: Mapping[str, ArrayLike],
    angle: ArrayLike,
    target: ArrayLike,
    *,
    rng: np.random.Generator,
    bootstrap: int = 1000,
    confidence: float = 0.95,
) -> list[dict[str, Any]]:
    """Error of angles at each combination of conditions that occurs, such as location and delay.

    Parameters
    ----------
    conditions : {name: (trial,)}
        Numbers or names.
    angle, target, rng, bootstrap, confidence
        As for `angular_error`.

    Returns
    -------
    list of dict
        Rows {<condition>: value, ...} with the columns of `AngularError.as_dict`, sorted, ready for JSON.

    Raises
    ------
    InputError
        If the lengths differ, an angle is not finite, or a condition is named like a column of the result.
    """
    error = _errors(angle, target)
    resamples, coverage = count("bootstrap", bootstrap, 0), open_fraction("confidence", confidence)
    columns = ("trials", "median_absolute_error", "interval", "bias", "concentration")
    rows, group = combinations_of(conditions, len(error), "angle", reserved=columns)
    return [row | _angular(error[group == i], resamples, coverage, rng).as_dict() for i, row in enumerate(rows)]


def _errors(angle: ArrayLike, target: ArrayLike) -> Floats:
    found, meant = real_array("angle", angle, ("trial",)), real_array("target", target, ("trial",))
    same_trials("target", meant, len(found), "angle")
    return angular_difference(found, meant)


def _angular(error: Floats, resamples: int, coverage: float, rng: np.random.Generator) -> AngularError:
    size = np.abs(error)
    medians = np.concatenate(
        [
            np.median(size[rng.integers(0, len(size), (min(_CHUNK, resamples - start), len(size)))], axis=1)
            for start in range(0, resamples if len(size) > 1 else 0, _CHUNK)  # one trial has no variance
        ]
        or [np.full(1, np.nan)]
    )
    low, high = np.quantile(medians, [0.5 - coverage / 2, 0.5 + coverage / 2])
    resultant = np.exp(1j * np.radians(error)).mean()
    length = float(np.abs(resultant))
    return AngularError(
        trials=len(error),
        median_absolute=float(np.median(size)),
        interval=(float(low), float(high)),
        bias=float(np.degrees(np.angle(resultant))) if length > 1e-9 else float("nan"),
        concentration=length,
    )
