"""Tuning width: Gaussians on number axes, von Mises curves on the circle; public as `cordstasks.analysis.tuning`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.analysis._checks import Booleans, Floats, array_of, real_array
from cordstasks.analysis._trials import grouped, numeric, varying
from cordstasks.analysis.psychophysics.levels import distinct, resolution
from cordstasks.analysis.statistics.peaks import Peaks, Shape, fit_peaks
from cordstasks.analysis.statistics.permutation import group_means
from cordstasks.errors import InputError

_LEAST = 5  # conditions, one more than the parameters of a curve


@dataclass(frozen=True, eq=False)
class GaussianFits:
    """Gaussian tuning curves, from `fit_gaussian`: baseline + amplitude * exp(-(x - centre)^2 / (2 width^2)).

    Arrays are (unit,), NaN for units that do not vary. On a logarithmic axis x is the base-2 logarithm of the condition.

    Attributes
    ----------
    logarithmic : bool
        The axis.
    centre, centre_error : (unit,)
        Peak of the curve, in the units of the condition on either axis, and its standard error.
    width, width_error : (unit,)
        Standard deviation of the Gaussian: in the units of the condition, or in octaves on a logarithmic axis.
    amplitude, amplitude_error : (unit,)
        Peak less baseline, never negative, in units of the activity.
    baseline, baseline_error : (unit,)
        In units of the activity.
    r_squared : (unit,)
        Fraction of the variance between conditions that the curve explains. With four parameters and few conditions it is
        high for noise too: look at units that are selective.
    at_bound : (unit,) bool
        Fits with centre or width at a bound, whose error is NaN: units that answer most to an end of the range, or
        whose width the conditions do not determine.
    """

    logarithmic: bool
    centre: Floats
    centre_error: Floats
    width: Floats
    width_error: Floats
    amplitude: Floats
    amplitude_error: Floats
    baseline: Floats
    baseline_error: Floats
    r_squared: Floats
    at_bound: Booleans

    def predict(self, values: ArrayLike) -> Floats:
        """Return the fitted responses (value, unit) at values (value,) of the condition.

        Returns
        -------
        (value, unit)
            In the units of the responses.
        """
        x, centre = np.asarray(values, dtype=np.float64)[:, None], self.centre
        if self.logarithmic:
            x, centre = np.log2(x), np.log2(centre)
        return np.asarray(self.baseline + self.amplitude * np.exp(-((x - centre) ** 2) / (2 * self.width**2)))


@dataclass(frozen=True, eq=False)
class VonMisesFits:
    """Von Mises tuning curves, from `fit_von_mises`.

    baseline + amplitude * (exp(kappa (cos(x - centre) - 1)) - e) / (1 - e) with e = exp(-2 kappa). The baseline is the
    response opposite to the centre and the amplitude is the rise from there, for curves of any width. Arrays are
    (unit,), NaN for units that do not vary.

    Attributes
    ----------
    centre, centre_error : (unit,)
        Peak of the curve in deg, in [0, 360), and its standard error.
    kappa : (unit,)
        Concentration, without unit; 0 would be a cosine.
    half_width, half_width_error : (unit,)
        Distance in deg from the peak to where the curve is half way down; 90 for a cosine.
    amplitude, amplitude_error : (unit,)
        Never negative, in units of the activity.
    baseline, baseline_error : (unit,)
        In units of the activity.
    r_squared : (unit,)
        Fraction of the variance between angles that the curve explains.
    at_bound : (unit,) bool
        Fits with kappa at a bound, whose error is NaN: curves as broad as a cosine, or narrower than the angles can resolve.
    """

    centre: Floats
    centre_error: Floats
    kappa: Floats
    half_width: Floats
    half_width_error: Floats
    amplitude: Floats
    amplitude_error: Floats
    baseline: Floats
    baseline_error: Floats
    r_squared: Floats
    at_bound: Booleans

    def predict(self, angles: ArrayLike) -> Floats:
        """Return the fitted responses (angle, unit) at angles (angle,) in deg.

        Returns
        -------
        (angle, unit)
            In the units of the responses.
        """
        x = np.radians(np.asarray(angles, dtype=np.float64))
        shape = _von_mises(x)(np.radians(self.centre)[:, None], np.log(self.kappa)[:, None])[0]
        return np.asarray(self.baseline + self.amplitude * shape.T)


def fit_gaussian(responses: ArrayLike, condition: ArrayLike, *, logarithmic: bool = False) -> GaussianFits:
    """Fit a Gaussian to each unit's tuning curve, on a linear or a logarithmic axis.

    Tuning to number is nearly symmetric on a logarithmic axis (Nieder & Miller 2003, Neuron 37:149): compare the
    `r_squared` of both fits. The fit is least squares over trials. The centre lies within the conditions shown. The width
    lies between a quarter of the smallest distance of conditions (of five trials, if hardly two trials have the same
    condition) and their whole range. Conditions that differ by less than a millionth of the largest are treated as one.
    Standard errors come from the variability of trials around the mean of their condition. They are valid if the curve is
    right and there are many trials; they are NaN if each trial has its own condition.

    Parameters
    ----------
    responses : (trial, unit)
        Such as `window_mean` gives; not modified.
    condition : (trial,)
        Numbers, five or more different ones; above 0 for a logarithmic axis.
    logarithmic : bool
        Whether the axis is logarithmic.

    Returns
    -------
    GaussianFits

    Raises
    ------
    InputError
        If there are too few conditions, they are not numbers, or not above 0 for a logarithmic axis.
    """
    rates = real_array("responses", responses, ("trial", "unit"))
    column = array_of(condition)
    if logarithmic:
        column = real_array("condition", numeric("condition", column), ("trial",))
        if column.min() <= 0:
            raise InputError(f"condition reaches {column.min():g}, which has no logarithm; give numbers above 0")
        column = np.log2(column)
    values, group = _values(column, len(rates))
    span, gap = np.ptp(values), resolution(values, np.bincount(group).astype(np.float64))

    def shape(centre: Floats, log_width: Floats) -> tuple[Floats, Floats, Floats]:
        width = np.exp(log_width)
        distance = (values - centre) / width
        curve = np.exp(-(distance**2) / 2)
        return curve, curve * distance / width, curve * distance**2

    widths = _candidates(np.log(gap / 4), np.log(span), 0.3)
    fit = _fitted(shape, _centres(values, group, 49), widths, rates, group, circular=False)
    centre, log_width, amplitude, baseline = fit.theta.T
    centre_error, width_error, amplitude_error, baseline_error = fit.error.T
    if logarithmic:
        centre = 2**centre
        centre_error = centre * np.log(2) * centre_error
    width = np.exp(log_width)
    return GaussianFits(
        logarithmic=logarithmic,
        centre=centre,
        centre_error=centre_error,
        width=width,
        width_error=width * width_error,
        amplitude=amplitude,
        amplitude_error=amplitude_error,
        baseline=baseline,
        baseline_error=baseline_error,
        r_squared=fit.r_squared,
        at_bound=np.asarray(fit.touched[:, :2].any(axis=1)),
    )


def fit_von_mises(responses: ArrayLike, angle: ArrayLike) -> VonMisesFits:
    """Fit a von Mises curve to each unit's tuning to an angle.

    The fit is least squares over trials. The concentration lies between 0.02 (a cosine) and the value at which the curve
    falls to a three-thousandth at the next angle (at the fifth, if hardly two trials have the same angle). Standard
    errors are those of `fit_gaussian`.

    Parameters
    ----------
    responses : (trial, unit)
        Such as `window_mean` gives; not modified.
    angle : (trial,)
        In deg, five or more different ones.

    Returns
    -------
    VonMisesFits

    Raises
    ------
    InputError
        If there are too few angles or they are not numbers.
    """
    rates = real_array("responses", responses, ("trial", "unit"))
    column = np.round(np.mod(real_array("angle", angle, ("trial",)), 360), 6) % 360
    values, group = _values(column, len(rates), name="angle")
    values, trials = np.radians(values), np.bincount(group).astype(np.float64)
    gap = resolution(np.append(values, values[0] + 2 * np.pi), np.append(trials, trials[0]))
    # 1 - cosine, which would be rounded to 0 for a small angle
    kappas = _candidates(np.log(0.02), np.log(4 / np.sin(min(gap, np.pi / 2) / 2) ** 2), 0.4)
    centres = np.union1d(np.linspace(0, 2 * np.pi, 73), _centres(values, group, 73))
    fit = _fitted(_von_mises(values), centres, kappas, rates, group, circular=True)
    centre, log_kappa, amplitude, baseline = fit.theta.T
    centre_error, kappa_error, amplitude_error, baseline_error = fit.error.T
    step = 1e-5
    slope = (_half_width(log_kappa + step) - _half_width(log_kappa - step)) / (2 * step)
    return VonMisesFits(
        centre=np.degrees(centre) % 360,
        centre_error=np.degrees(centre_error),
        kappa=np.exp(log_kappa),
        half_width=_half_width(log_kappa),
        half_width_error=np.abs(slope) * kappa_error,
        amplitude=amplitude,
        amplitude_error=amplitude_error,
        baseline=baseline,
        baseline_error=baseline_error,
        r_squared=fit.r_squared,
        at_bound=fit.touched[:, 1],
    )


def _von_mises(x: Floats) -> Shape:
    """Return the shape at angles `x` (condition,) in radians, with the logarithm of kappa for log width."""

    def shape(centre: Floats, log_kappa: Floats) -> tuple[Floats, Floats, Floats]:
        kappa, away = np.exp(log_kappa), np.cos(x - centre) - 1
        bump, end = np.exp(kappa * away), np.exp(-2 * kappa)
        curve = (bump - end) / (1 - end)
        by_kappa = (bump * away + 2 * end * (1 - curve)) / (1 - end)
        return curve, bump * kappa * np.sin(x - centre) / (1 - end), kappa * by_kappa

    return shape


def _half_width(log_kappa: Floats) -> Floats:
    kappa = np.exp(log_kappa)
    cosine = 1 + np.log((1 + np.exp(-2 * kappa)) / 2) / kappa
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _values(column: ArrayLike, trials: int, *, name: str = "condition") -> tuple[Floats, NDArray[np.intp]]:
    """Return the levels (level,) of a condition and the index of each trial's, (trial,)."""
    values, which = grouped(name, column, trials)
    levels, of_value = distinct(numeric(name, values)[which])
    if len(levels) < _LEAST:
        raise InputError(f"{name} has {len(levels)} different values; a curve of four parameters needs {_LEAST} or more")
    return levels, of_value


def _candidates(low: float, high: float, step: float) -> Floats:
    """Numbers from `low` to `high`, at least 25, with a distance of at most `step`."""
    return np.linspace(low, high, max(25, int(np.ceil((high - low) / step)) + 1), dtype=np.float64)


def _centres(values: Floats, group: NDArray[np.intp], number: int) -> Floats:
    """Numbers over the whole range of the values, and at the values of trials, even if these are spread unevenly."""
    return np.union1d(np.linspace(values[0], values[-1], number), np.quantile(values[group], np.linspace(0, 1, number)))


def _fitted(
    shape: Shape, centres: Floats, log_widths: Floats, rates: Floats, group: NDArray[np.intp], *, circular: bool
) -> Peaks:
    """Fit the units that vary; NaN for the others."""
    levels = int(group.max()) + 1
    spread = rates.std(axis=0)
    varies = varying(rates) & (spread > 0)  # the squares of tiny deviations may be too small for a number
    scale = np.where(varies, spread, 1.0)
    mean = group_means(rates / scale, group, levels)
    freedom = len(rates) - levels
    variance = ((rates / scale - mean[group]) ** 2).sum(axis=0) / freedom if freedom else np.full(len(scale), np.nan)
    trials = np.bincount(group).astype(np.float64)
    fit = fit_peaks(shape, centres, log_widths, mean[:, varies], trials, variance[varies], circular=circular)
    theta, error = np.full((2, len(varies), 4), np.nan)
    theta[varies], error[varies] = fit.theta, fit.error
    for part in (theta, error):
        part[:, 2:] *= scale[:, None]
    touched = np.zeros((len(varies), 4), dtype=bool)
    touched[varies] = fit.touched
    r_squared = np.full(len(varies), np.nan)
    r_squared[varies] = fit.r_squared
    return Peaks(theta, error, touched, r_squared)
