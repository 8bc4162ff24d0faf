"""Weighted least squares of single-peaked curves to the mean responses of many units at once.

A curve is ``baseline + amplitude * shape(x; centre, log width)`` with a shape between 0 and 1. For a given shape,
baseline and amplitude are a linear regression. A grid over centre and width therefore finds the neighbourhood of each
unit's best fit. Damped Gauss-Newton steps in all four parameters continue from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cordstasks.analysis._checks import Booleans, Floats

# centre, log width (unit, 1) -> shape at the conditions (unit, condition), its derivatives by each
Shape = Callable[[Floats, Floats], tuple[Floats, Floats, Floats]]

_ITERATIONS = 200
_ARRIVED = 1e-12  # gain relative to the variance to explain


@dataclass(frozen=True, eq=False)
class Peaks:
    """Fits of peaks: `theta` (unit, 4) is centre, log width, amplitude, baseline, with standard errors `error`.

    `touched` (unit, 4) marks parameters at a bound. Their errors are NaN, and the errors of the others are valid for that
    bound.
    """

    theta: Floats
    error: Floats
    touched: Booleans
    r_squared: Floats


def fit_peaks(
    shape: Shape, centres: Floats, log_widths: Floats, mean: Floats, trials: Floats, variance: Floats, *, circular: bool
) -> Peaks:
    """Fit peaks to mean responses.

    Parameters
    ----------
    shape : callable
        The curve without baseline and amplitude.
    centres, log_widths : (candidate,)
        Where the search starts, sorted; the first and last are bounds, but not those of the centre if `circular`.
    mean : (condition, unit)
        Mean responses of units that vary.
    trials : (condition,)
        Behind each.
    variance : (unit,)
        Of a response about its condition's mean; NaN where unknown.
    circular : bool
        Whether the centre has no bounds.
    """
    data = mean.T
    total = (trials * (data - (data @ trials / trials.sum())[:, None]) ** 2).sum(axis=1)
    low = np.array([-np.inf if circular else centres[0], log_widths[0], 0.0, -np.inf])
    high = np.array([np.inf if circular else centres[-1], log_widths[-1], np.inf, np.inf])
    theta = _start(shape, centres, log_widths, data, trials)
    loss = _loss(shape, theta, data, trials)
    damping = np.full(len(theta), 1e-3)
    active = np.arange(len(theta))
    for _ in range(_ITERATIONS):
        trial = _step(shape, theta[active], data[active], trials, damping[active], low, high)
        gain = loss[active] - _loss(shape, trial, data[active], trials)
        better = gain >= 0
        theta[active[better]] = trial[better]
        loss[active[better]] -= gain[better]
        # A fit has converged if a long step changes nothing, or if a step is refused at every damping.
        arrived = ((np.abs(gain) < _ARRIVED * total[active]) & (damping[active] < 1)) | (damping[active] > 1e9)
        damping[active] *= np.where(better, 0.3, 5.0)
        active = active[~arrived]
        if not len(active):
            break
    near = 1e-6 * np.where(np.isfinite(high - low), high - low, 0.0)
    touched = (theta <= low + near) | (theta >= high - near)
    error = np.sqrt(variance)[:, None] * _unit_error(_jacobian(shape, theta)[1], trials, touched)
    # a unit whose means do not differ has no variance to explain
    unexplained = np.divide(loss, total, out=np.full_like(loss, np.nan), where=total > 0)
    return Peaks(theta, error, touched, 1 - unexplained)


def _start(shape: Shape, centres: Floats, log_widths: Floats, data: Floats, trials: Floats) -> Floats:
    """Return the best candidate (unit, 4) among those that rise to their centre."""
    grid = np.stack(np.meshgrid(centres, log_widths, indexing="ij"), axis=-1).reshape(-1, 2)
    curves = shape(grid[:, :1], grid[:, 1:])[0]  # (candidate, condition)
    weights = trials / trials.sum()
    level, height = curves @ weights, data @ weights
    centred = curves - level[:, None]
    power = (centred**2) @ weights
    product = (data * weights) @ centred.T  # (unit, candidate)
    explained = np.where(product > 0, product, 0.0) ** 2 / np.maximum(power, 1e-12)
    best = explained.argmax(axis=1)
    amplitude = np.maximum(product[np.arange(len(data)), best], 0.0) / np.maximum(power[best], 1e-12)
    return np.column_stack([grid[best], amplitude, height - amplitude * level[best]])


def _jacobian(shape: Shape, theta: Floats) -> tuple[Floats, Floats]:
    """Return fitted responses (unit, condition) and their derivatives (unit, condition, 4)."""
    curve, by_centre, by_width = shape(theta[:, :1], theta[:, 1:2])
    amplitude = theta[:, 2:3]
    slopes = [amplitude * by_centre, amplitude * by_width, curve, np.ones_like(curve)]
    return theta[:, 3:] + amplitude * curve, np.stack(slopes, axis=-1)


def _loss(shape: Shape, theta: Floats, data: Floats, trials: Floats) -> Floats:
    return np.asarray((trials * (data - _jacobian(shape, theta)[0]) ** 2).sum(axis=1))


def _step(shape: Shape, theta: Floats, data: Floats, trials: Floats, damping: Floats, low: Floats, high: Floats) -> Floats:
    fitted, jacobian = _jacobian(shape, theta)
    score = np.einsum("ucp,uc->up", jacobian, trials * (data - fitted))
    curvature = np.einsum("ucp,c,ucq->upq", jacobian, trials, jacobian)
    stuck = ((theta <= low) & (score < 0)) | ((theta >= high) & (score > 0))
    score[stuck] = 0.0
    curvature[stuck[:, :, None] | stuck[:, None, :]] = 0.0
    diagonal = np.arange(4)
    scale = curvature[:, diagonal, diagonal]
    curvature[:, diagonal, diagonal] += damping[:, None] * scale + stuck + 1e-10 * trials.sum()
    return np.asarray(np.clip(theta + np.linalg.solve(curvature, score[..., None])[..., 0], low, high))


def _unit_error(jacobian: Floats, trials: Floats, touched: Booleans) -> Floats:
    """Return standard errors (unit, 4) for responses with variance 1; NaN where the data do not determine a fit."""
    information = np.einsum("ucp,c,ucq->upq", jacobian, trials, jacobian)
    information[touched[:, :, None] | touched[:, None, :]] = 0.0
    diagonal = np.arange(4)
    information[:, diagonal, diagonal] += touched
    scale = np.sqrt(np.maximum(information[:, diagonal, diagonal], 1e-300))
    information /= scale[:, :, None] * scale[:, None, :]
    known = np.linalg.cond(information) < 1e12
    information[~known] = np.eye(4)
    variance = np.linalg.inv(information)[:, diagonal, diagonal] / scale**2
    return np.where(touched | ~known[:, None], np.nan, np.sqrt(np.maximum(variance, 0.0)))
