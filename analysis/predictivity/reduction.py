"""Fewer features with the same inner products, so that regressions cost no more than the number of samples asks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh

from cordstasks.analysis._checks import Floats, array_of, count
from cordstasks.errors import InputError

_STILL = 1e-9  # deviation, relative to the size of the features, below which they do not vary
MOST_SAMPLES = 12000  # samples, or features, whose products are formed


def reduced(features: ArrayLike, *, dimensions: int | None = None) -> tuple[Floats, float]:
    """Rotate features to as few dimensions as they span, or to their first principal components.

    Partial least squares and ridge depend on features through inner products of samples alone, so a rotation changes no
    prediction.

    Parameters
    ----------
    features : (..., feature)
        Samples along all axes but the last; not modified, and not copied in double precision as a whole.
    dimensions : int, optional
        Keep at most so many principal components of all samples (None: all). Principal components are those of the features
        of all stimuli, also of the held-out ones; they know nothing of the recording.

    Returns
    -------
    rotated : (..., dimension)
    held : float
        Fraction of the variance around the mean that the dimensions hold; 1 if nothing was left out.

    Raises
    ------
    InputError
        If there are too many samples and features for their products to fit into memory.
    """
    array = array_of(features)
    if array.ndim < 2 or not array.size or array.dtype.kind not in "fiu":
        raise InputError(f"features has shape {array.shape} and type {array.dtype}; give numbers (..., feature)")
    flat = array.reshape(-1, array.shape[-1])
    samples, wide = flat.shape
    least = min(samples, wide)
    most = least if dimensions is None else count("dimensions", dimensions, 1)
    if least > MOST_SAMPLES:
        raise InputError(
            f"features has {samples} samples of {wide} features; project the features to {MOST_SAMPLES} or fewer first"
        )
    if wide <= most:
        return np.asarray(array, np.float64), 1.0
    if samples <= most:
        triangle: Floats = np.asarray(np.linalg.qr(flat.T.astype(np.float64), mode="r"))
        return triangle.T.reshape(*array.shape[:-1], -1), 1.0
    mean = flat.mean(axis=0, dtype=np.float64)
    if samples < wide:
        scores, variances = _of_samples(flat, mean, most)
    else:
        scores, variances = _of_features(flat, mean, most)
    total = float(np.sum(variances))
    if total <= (_STILL**2) * samples * float(np.sum(np.square(mean))):  # rounding alone
        return np.zeros((*array.shape[:-1], most)), 1.0
    held = float(np.sum(np.sort(variances)[::-1][:most]) / total) if total > 0 else 1.0
    return scores.reshape(*array.shape[:-1], -1), min(held, 1.0)


def _of_samples(flat: Floats, mean: Floats, most: int) -> tuple[Floats, Floats]:
    """Principal scores (sample, component) from the products of samples, and all variances."""
    samples = len(flat)
    products = np.zeros((samples, samples))
    for start in range(0, flat.shape[1], 4096):
        part = flat[:, start : start + 4096] - mean[start : start + 4096]
        products += part @ part.T
    values, vectors = eigh(products, overwrite_a=True, check_finite=False)
    values = np.clip(values, 0.0, None)
    return vectors[:, ::-1][:, :most] * np.sqrt(values[::-1][:most]), values


def _of_features(flat: Floats, mean: Floats, most: int) -> tuple[Floats, Floats]:
    """Principal scores (sample, component) from the products of features, and all variances."""
    products = np.zeros((flat.shape[1], flat.shape[1]))
    for start in range(0, len(flat), 4096):
        part = flat[start : start + 4096] - mean
        products += part.T @ part
    values, vectors = eigh(products, overwrite_a=True, check_finite=False)
    top = vectors[:, ::-1][:, :most]
    scores = np.concatenate([(flat[start : start + 4096] - mean) @ top for start in range(0, len(flat), 4096)])
    return scores, np.clip(values, 0.0, None)
