"""Percentile bootstrap of a mean over images, trials or units."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cordstasks.analysis._checks import Floats, count, numbers, open_fraction
from cordstasks.errors import InputError

__all__ = ["bootstrap_mean"]


def bootstrap_mean(
    values: ArrayLike, *, resamples: int = 2000, confidence: float = 0.95, rng: int | np.random.Generator = 0
) -> tuple[Floats, Floats, Floats]:
    """Means over the last axis, with percentile bootstrap intervals.

    Not valid for few values (below about ten), whose intervals are too narrow.

    Parameters
    ----------
    values : (..., sample)
        Independent samples along the last axis, such as images. All other axes are resampled together. Not modified.
    resamples : int
        Number of resamples.
    confidence : float
        Coverage, between 0 and 1.
    rng : int or numpy.random.Generator
        Seed of the resamples, or the generator that draws them.

    Returns
    -------
    mean, low, high : (...)

    Raises
    ------
    InputError
        If there are no samples, a value is not finite, or a number is out of range.

    References
    ----------
    Efron 1979, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7:1.
    """
    array = numbers("values", values)
    if array.ndim < 1 or array.size == 0:
        raise InputError(f"values has shape {array.shape}; give an array (..., sample) that is not empty")
    if not np.isfinite(array).all():
        raise InputError(f"values holds {int((~np.isfinite(array)).sum())} values that are not finite; drop those samples")
    samples, coverage = array.shape[-1], open_fraction("confidence", confidence)
    generator = np.random.default_rng(rng)
    weights = generator.multinomial(samples, np.full(samples, 1 / samples), size=count("resamples", resamples, 1)) / samples
    tail = 50 * (1 - coverage)
    low, high = np.percentile(array @ weights.T, [tail, 100 - tail], axis=-1)
    return array.mean(axis=-1), np.asarray(low), np.asarray(high)
