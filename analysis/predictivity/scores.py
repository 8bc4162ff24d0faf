"""Scores of predictions: a correlation for each unit, and the median over units with its interval."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cordstasks.analysis._checks import Floats, count, numbers, open_fraction
from cordstasks.errors import InputError

_STILL = 1e-9  # deviation, relative to the size of the values, below which they do not vary


def unit_correlations(actual: ArrayLike, predicted: ArrayLike) -> Floats:
    """Pearson correlation of each unit's responses with their predictions.

    Parameters
    ----------
    actual, predicted : (sample, ..., unit)
        Of one shape; not modified.

    Returns
    -------
    (..., unit)
        0 where the prediction does not vary, which predicts nothing, and NaN where the responses do not, so that there is
        nothing to predict.

    Raises
    ------
    InputError
        If the shapes differ, or there are fewer than three samples.
    """
    given, fitted = numbers("actual", actual), numbers("predicted", predicted)
    if given.shape != fitted.shape or given.ndim < 1 or len(given) < 3:
        raise InputError(
            f"actual has shape {given.shape} and predicted {fitted.shape}; give one shape, of 3 samples or more"
        )
    one, other = given - given.mean(axis=0), fitted - fitted.mean(axis=0)
    sizes = [np.sqrt(np.sum(each**2, axis=0)) for each in (one, other)]
    varies = [size > _STILL * np.sqrt(np.sum(each**2, axis=0)) for size, each in zip(sizes, (given, fitted), strict=True)]
    product = np.sum(one * other, axis=0)
    found = np.where(varies[0], 0.0, np.nan)
    np.divide(product, sizes[0] * sizes[1], out=found, where=varies[0] & varies[1])
    return np.asarray(np.clip(found, -1.0, 1.0))


def median_interval(
    scores: ArrayLike, *, confidence: float = 0.95, resamples: int = 1000, rng: int | np.random.Generator = 0
) -> dict[str, Any]:
    """The median over units, with a percentile bootstrap interval over units.

    Parameters
    ----------
    scores : (unit,)
        NaN for units without a score, which are left out and counted.
    confidence : float
        Coverage of the interval.
    resamples : int
        Bootstrap samples.
    rng : int or numpy.random.Generator
        Seed, or where to draw from.

    Returns
    -------
    dict
        ``median``, ``interval`` (low, high), ``units`` and ``left_out``; the median and interval are None if no unit has a
        score.
    """
    values = numbers("scores", scores).reshape(-1)
    kept = values[np.isfinite(values)]
    row: dict[str, Any] = {"median": None, "interval": None, "units": len(kept), "left_out": len(values) - len(kept)}
    if len(kept):
        tail = (1 - open_fraction("confidence", confidence)) / 2
        generator = np.random.default_rng(rng)
        drawn = generator.integers(len(kept), size=(count("resamples", resamples, 1), len(kept)))
        medians = np.median(kept[drawn], axis=1)
        row["median"] = float(np.median(kept))
        row["interval"] = [float(end) for end in np.quantile(medians, [tail, 1 - tail])]
    return row


def over_splits(scores: Floats) -> Floats:
    """Mean over the first axis of the values that are not NaN; NaN where there are none.

    Parameters
    ----------
    scores : (split, ...)
        NaN, or infinite, where there is no score.

    Returns
    -------
    (...)
        The shape of `scores` without its first axis.
    """
    defined = np.isfinite(scores)
    counts = defined.sum(axis=0)
    total = np.where(defined, scores, 0.0).sum(axis=0)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)
