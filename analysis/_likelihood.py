"""Bounded maximum likelihood of binomial counts, for many data sets at once.

A psychometric function has three parameters and a data set has a dozen levels, so a bootstrap of a thousand resamples
is one array computation: a grid finds the neighbourhood of each maximum, and damped Newton steps climb to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.analysis._checks import Booleans, Floats

# (fit, parameter) -> success probability (fit, level), its derivatives (fit, level, parameter)
Curve = Callable[[Floats], tuple[Floats, Floats]]
Interval = tuple[float, float]
UNKNOWN: Interval = (float("nan"), float("nan"))

_FLOOR = 1e-9  # keeps logarithms finite where a curve saturates; far below what any number of trials resolves
_ITERATIONS = 100
_GAIN = 1e-9  # in log-likelihood
_SHIFT = 1e-5  # of a parameter's range, for second derivatives


@dataclass(frozen=True, eq=False)
class Family:
    """A psychometric function of named parameters within bounds, and the points that a fit starts from.

    Attributes
    ----------
    names : tuple of str
    curve : callable
        Parameters (fit, parameter) to success probabilities (fit, level) and derivatives (fit, level, parameter).
    low, high : (parameter,)
        Bounds; a parameter with `low == high` is fixed.
    candidates : (candidate, parameter)
        Each data set starts from the likeliest of them.
    """

    names: tuple[str, ...]
    curve: Curve
    low: Floats
    high: Floats
    candidates: Floats


def grid(*axes: ArrayLike, low: Floats, high: Floats) -> Floats:
    """Return every combination of the values on the axes, inside the bounds, as (candidate, parameter)."""
    points = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    return np.asarray(np.unique(np.clip(points, low, high), axis=0))


def bootstrap_estimates(
    family: Family, group: NDArray[np.intp], outcome: Booleans, resamples: int, rng: np.random.Generator
) -> Floats:
    """Fit the trials, given by their level `group` and `outcome` (trial,), and resamples of them.

    Returns
    -------
    (1 + resample, parameter)
        The estimates, those of the data themselves first.
    """
    levels = int(group.max()) + 1
    cells = np.bincount(2 * group + outcome, minlength=2 * levels)
    # Drawing trials with replacement is drawing counts of (level, outcome) from a multinomial distribution.
    drawn = rng.multinomial(len(outcome), cells / len(outcome), size=resamples)
    counts = np.concatenate([cells[None], drawn]).astype(np.float64).reshape(-1, levels, 2)
    return maximise(family, counts[..., 1], counts[..., 0])


def intervals(family: Family, estimates: Floats, confidence: float) -> tuple[Interval, Interval, Interval]:
    """Return the percentile interval of each of three parameters; NaN for those fixed or without resamples."""
    if len(estimates) < 2:
        return UNKNOWN, UNKNOWN, UNKNOWN
    ends = np.quantile(estimates[1:], [0.5 - confidence / 2, 0.5 + confidence / 2], axis=0)
    ends[:, family.high <= family.low] = np.nan
    first, second, third = ((float(low), float(high)) for low, high in ends.T)
    return first, second, third


def touched(family: Family, estimate: Floats) -> tuple[str, ...]:
    """Name the parameters that stand at a bound; a lapse rate of 0 is a common truth and not named."""
    near = 1e-6 * (family.high - family.low)
    below = (estimate <= family.low + near) & np.array([name != "lapse" for name in family.names])
    at = (below | (estimate >= family.high - near)) & (family.high > family.low)
    return tuple(name for name, touches in zip(family.names, at, strict=True) if touches)


def _log_likelihood(probability: Floats, successes: Floats, failures: Floats) -> Floats:
    p = np.clip(probability, _FLOOR, 1 - _FLOOR)
    value: Floats = (successes * np.log(p) + failures * np.log1p(-p)).sum(axis=-1)
    return value


def _climb(family: Family, theta: Floats, successes: Floats, failures: Floats, damping: Floats) -> Floats:
    """Return where one damped Newton step leads from `theta` (fit, parameter), inside the bounds."""
    low, high = family.low, family.high
    span = np.where(high > low, high - low, 1.0)  # the unit of each parameter, so that one damping suits them all
    probability, derivative = family.curve(theta)
    derivative = derivative * span
    p = np.clip(probability, _FLOOR, 1 - _FLOOR)
    residual = successes / p - failures / (1 - p)
    score = np.einsum("fl,flp->fp", residual, derivative)
    weight = successes / p**2 + failures / (1 - p) ** 2
    curvature = np.einsum("flp,fl,flq->fpq", derivative, weight, derivative)
    # The expected information alone would crawl along the ridge between lapse and slope: the second derivatives of the
    # curve, by differences, make the steps Newton's.
    for i in range(theta.shape[1]):
        shifted = family.curve(theta + _SHIFT * span * (np.arange(theta.shape[1]) == i))[1] * span
        curvature[:, i] -= np.einsum("fl,flp->fp", residual, (shifted - derivative) / _SHIFT)
    curvature = (curvature + curvature.swapaxes(1, 2)) / 2
    stuck = (high <= low) | ((theta <= low) & (score < 0)) | ((theta >= high) & (score > 0))
    score[stuck] = 0.0
    curvature[stuck[:, :, None] | stuck[:, None, :]] = 0.0
    diagonal = np.arange(theta.shape[1])
    scale = np.einsum("fl,flp->fp", (successes + failures) / (p * (1 - p)), derivative**2)
    # A flat or stuck direction must not make the system singular.
    curvature[:, diagonal, diagonal] += damping[:, None] * scale + 1e-8 + stuck
    step = np.linalg.solve(curvature, score[..., None])[..., 0] * span
    return np.asarray(np.clip(theta + step, low, high))


def maximise(family: Family, successes: Floats, failures: Floats) -> Floats:
    """Maximise the binomial likelihood of each data set within the bounds of a family.

    Parameters
    ----------
    family : Family
        What to fit.
    successes, failures : (fit, level)
        Counts.

    Returns
    -------
    (fit, parameter)
        The estimates. Where the likelihood grows without end, as for separable data, they stand at a bound.
    """
    start = np.clip(family.curve(family.candidates)[0], _FLOOR, 1 - _FLOOR)
    likelihoods = successes @ np.log(start).T + failures @ np.log1p(-start).T
    theta = family.candidates[likelihoods.argmax(axis=1)]
    value = likelihoods.max(axis=1)
    damping = np.full(len(theta), 1e-2)
    active = np.arange(len(theta))
    for _ in range(_ITERATIONS):
        wins, losses = successes[active], failures[active]
        trial = _climb(family, theta[active], wins, losses, damping[active])
        reached = _log_likelihood(family.curve(trial)[0], wins, losses)
        gain = reached - value[active]
        better = gain >= 0
        theta[active[better]], value[active[better]] = trial[better], reached[better]
        # A long step that changes nothing is an arrival; a short one may only be damped. So is a step refused at any
        # damping.
        arrived = ((np.abs(gain) < _GAIN) & (damping[active] < 1)) | (damping[active] > 1e9)
        damping[active] *= np.where(better, 0.2, 8.0)
        active = active[~arrived]
        if not len(active):
            break
    return np.asarray(theta)
