"""What recorded activity says of the dynamics: its dimension, its memory in time, its rhythms."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.signal import welch

from cordstasks.analysis._checks import Floats, numbers
from cordstasks.errors import InputError
from cordstasks.utils.arguments import number

__all__ = ["autocorrelation", "autocorrelation_time", "participation_ratio", "power_spectrum"]

UNITS = 512  # that are transformed at once


def participation_ratio(activity: ArrayLike) -> float:
    """The number of dimensions in which activity varies, ``(sum v)^2 / sum v^2`` of the variances v along its components.

    Parameters
    ----------
    activity : array (time, unit), or (trial, time, unit)
        All trials and times are samples.

    Returns
    -------
    float
        From 1 to the number of units.

    Raises
    ------
    InputError
        If the activity is constant or not finite.

    Notes
    -----
    Biased downwards where there are few samples: it cannot exceed their number minus one.

    References
    ----------
    Gao, Trautmann, Yu, Santhanam, Ryu, Shenoy & Ganguli 2017, "A theory of multineuronal dimensionality, dynamics and
    measurement", bioRxiv 214262.
    """
    trials = _varying(activity)
    samples = trials.reshape(-1, trials.shape[-1])
    centred = samples - samples.mean(0)
    small = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    return float(np.trace(small) ** 2 / np.sum(small**2))


def autocorrelation(activity: ArrayLike, lags: int | None = None) -> Floats:
    """Mean autocorrelation of the units: autocovariances are averaged over units and trials, then divided by that at lag 0.

    Parameters
    ----------
    activity : array (time, unit), or (trial, time, unit)
        Each unit's mean over time is subtracted.
    lags : int, optional
        Number of lags, lag 0 included (default: half the time).

    Returns
    -------
    float64 (lag,)
        1 at lag 0, which comes first.

    Raises
    ------
    InputError
        If the activity is constant, not finite or shorter than two steps, or `lags` is below 1 or above the number of steps.
    """
    trials = _varying(activity)
    steps = trials.shape[1]
    kept = max(2, steps // 2) if lags is None else int(lags)
    if not 1 <= kept <= steps:
        raise InputError(f"lags={lags}: give a number from 1 to the {steps} steps of the activity")
    power: Floats = np.zeros(steps + 1)
    for first in range(0, trials.shape[2], UNITS):  # the transformation of all units at once would take several copies
        part = trials[:, :, first : first + UNITS]
        power += np.sum(np.abs(np.fft.rfft(part - part.mean(1, keepdims=True), 2 * steps, axis=1)) ** 2, axis=(0, 2))
    covariance = np.fft.irfft(power, 2 * steps)[:kept] / (steps - np.arange(kept))
    return np.asarray(covariance / covariance[0])


def autocorrelation_time(activity: ArrayLike, dt: float) -> float:
    """The lag at which the mean autocorrelation first falls to 1/e, interpolated between steps.

    Parameters
    ----------
    activity : array (time, unit), or (trial, time, unit)
    dt : float
        Duration of a step.

    Returns
    -------
    float
        In units of `dt`.

    Raises
    ------
    InputError
        If activity is constant, or does not forget within half of the time that was recorded.
    """
    dt = number("dt", dt, "give the duration of a step, above 0", above=0)
    values = autocorrelation(activity)
    below = np.flatnonzero(values < np.exp(-1))
    if not len(below):
        raise InputError(
            f"activity: its autocorrelation stays above 1/e for {len(values) * dt:g}, half of the time; record for longer"
        )
    last = int(below[0])
    return float(dt * (last - 1 + (values[last - 1] - np.exp(-1)) / (values[last - 1] - values[last])))


def power_spectrum(activity: ArrayLike, dt: float, *, segments: int = 8) -> tuple[Floats, Floats]:
    """Power spectral density, averaged over units and trials (Welch's method).

    Parameters
    ----------
    activity : array (time, unit), or (trial, time, unit)
    dt : float
        Duration of a step in ms.
    segments : int, default 8
        Into how many half-overlapping windows the time is divided, about.

    Returns
    -------
    frequencies : float64 (frequency,)
        In Hz.
    power : float64 (frequency,)
        Squared activity per Hz.

    Raises
    ------
    InputError
        If the activity is constant or not finite, `dt` is not above 0, or windows would be shorter than 8 steps.
    """
    dt = number("dt", dt, "give the duration of a step in ms, above 0", above=0)
    trials = _varying(activity)
    if not 1 <= segments <= trials.shape[1] // 8:
        raise InputError(f"segments={segments}: give 1 to {trials.shape[1] // 8}, for windows of 8 or more steps")
    window = 2 * trials.shape[1] // (segments + 1)
    frequencies, power = welch(trials, fs=1000 / dt, nperseg=window, axis=1)
    return frequencies, power.mean((0, 2))


def _varying(activity: ArrayLike) -> Floats:
    """Activity as (trial, time, unit), if it is finite and varies."""
    array = numbers("activity", activity)
    if array.ndim not in (2, 3) or array.size == 0 or array.shape[-2] < 2:
        raise InputError(f"activity of shape {array.shape}: give (time, unit) or (trial, time, unit), of 2 steps or more")
    if not np.isfinite(array).all():
        raise InputError(f"activity: {int((~np.isfinite(array)).sum())} of the values are not finite")
    trials = array[None] if array.ndim == 2 else array
    flat = trials.reshape(-1, trials.shape[-1])
    if (np.ptp(flat, axis=0) <= 1e-9 * np.maximum(np.abs(flat).max(0), 1e-300)).all():
        raise InputError("activity: constant in all units, so that nothing can be said of how it varies")
    return trials
