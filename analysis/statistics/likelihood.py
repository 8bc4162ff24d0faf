"""Bounded maximum likelihood of binomial counts, for many data sets at once.

A psychometric function has two parameters and a lapse rate, so a bootstrap of a thousand resamples is one array
computation: a grid finds the neighbourhood of each maximum, and damped Newton steps climb to it. The fit without lapses
is made first, and the fit with lapses also starts from it, so that more parameters never fit worse than fewer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from cordstasks.analysis._checks import Booleans, Floats

Interval = tuple[float, float]
UNKNOWN: Interval = (float("nan"), float("nan"))

_ITERATIONS = 200
_GAIN = 1e-9  # in log-likelihood
_FAR = 230.0  # log odds whose probability, 1e-100, can still be squared
_MOST, _RISE = 400, 8.0  # levels of a resample, and log odds beyond which a curve has saturated
_CHUNK = 1 << 17  # (fit, level) computed at once: bounds memory to tens of megabytes
_LAPSES = (0.0, 0.01, 0.05, 0.15, 1.0)  # starting points of the search with lapses; 1 is the largest lapse rate


@dataclass(frozen=True, eq=False)
class Evidence:
    """The argument of a psychometric function and its derivatives by two parameters, each (fit, level)."""

    value: Floats
    first: tuple[Floats, Floats]
    second: tuple[Floats, Floats, Floats]  # by the first twice, by both, by the second twice


@dataclass(frozen=True, eq=False)
class Outcome:
    """Probabilities of success and failure, and derivatives of that of success by evidence and lapse, (fit, level)."""

    success: Floats
    failure: Floats
    by_evidence: Floats
    curvature: Floats
    by_lapse: Floats
    mixed: Floats


@dataclass(frozen=True)
class Link:
    """From evidence and lapse rate (fit, 1) to probabilities.

    Attributes
    ----------
    logarithms : callable
        Logarithms of the probabilities of success and failure, exact where these underflow.
    outcome : callable
        The probabilities and their derivatives.
    """

    logarithms: Callable[[Floats, Floats], tuple[Floats, Floats]]
    outcome: Callable[[Floats, Floats], Outcome]


@dataclass(frozen=True, eq=False)
class Family:
    """A psychometric function of two named parameters and a lapse rate within bounds.

    Attributes
    ----------
    names : tuple of str
        The lapse rate last.
    levels : (level,)
        Ascending.
    evidence : callable
        The first two parameters (fit, 2) and levels (level,) to evidence.
    link : Link
    low, high : (3,)
        Bounds; a parameter with `low == high` is fixed.
    candidates : (candidate, 2)
        Each data set starts from the likeliest of them.
    """

    names: tuple[str, str, str]
    levels: Floats
    evidence: Callable[[Floats, Floats], Evidence]
    link: Link
    low: Floats
    high: Floats
    candidates: Floats

    def log_likelihood(self, theta: Floats, successes: Floats, failures: Floats) -> Floats:
        """Log-likelihood (fit,) of counts (fit, level)."""
        success, failure = self.logarithms(theta)
        return np.asarray((successes * success + failures * failure).sum(axis=1))

    def logarithms(self, theta: Floats) -> tuple[Floats, Floats]:
        """Logarithms (fit, level) of the probabilities of success and of failure."""
        return self.link.logarithms(self.evidence(theta[:, :2], self.levels).value, theta[:, 2:])


def _logistic_logarithms(evidence: Floats, lapse: Floats) -> tuple[Floats, Floats]:
    if not lapse.any():
        log_rest = np.log1p(np.exp(-np.abs(evidence)))
        return np.minimum(evidence, 0) - log_rest, np.minimum(-evidence, 0) - log_rest
    if lapse.all():
        share = 1 - 2 * lapse
        return np.log(lapse + share * expit(evidence)), np.log(lapse + share * expit(-evidence))
    success, failure = np.empty_like(evidence), np.empty_like(evidence)
    for rows in (lapse[:, 0] > 0, lapse[:, 0] <= 0):
        success[rows], failure[rows] = _logistic_logarithms(evidence[rows], lapse[rows])
    return success, failure


def _logistic_outcome(evidence: Floats, lapse: Floats) -> Outcome:
    small = np.exp(-np.minimum(np.abs(evidence), _FAR))
    large = 1 / (1 + small)
    small *= large
    positive = evidence > 0
    q, rest = np.where(positive, large, small), np.where(positive, small, large)
    both, share = large * small, 1 - 2 * lapse
    return Outcome(
        success=lapse + share * q,
        failure=lapse + share * rest,
        by_evidence=share * both,
        curvature=share * both * (rest - q),
        by_lapse=rest - q,
        mixed=-2 * both,
    )


LOGISTIC = Link(_logistic_logarithms, _logistic_outcome)


def grid(*axes: ArrayLike, low: ArrayLike, high: ArrayLike) -> Floats:
    """Return every combination of the values on the axes, inside the bounds, as (candidate, parameter)."""
    points = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    return np.asarray(np.unique(np.clip(points, np.asarray(low)[: len(axes)], np.asarray(high)[: len(axes)]), axis=0))


def counts_of(group: NDArray[np.intp], outcome: Booleans) -> Floats:
    """Count failures and successes at each level, (level, 2)."""
    levels = int(group.max()) + 1
    return np.bincount(2 * group + outcome, minlength=2 * levels).reshape(levels, 2).astype(np.float64)


def bootstrap_estimates(
    family: Family, counts: Floats, resamples: int, rng: np.random.Generator, *, both: bool = False
) -> Floats:
    """Fit the counts (level, 2) of failures and successes, and resamples of the trials behind them.

    With `both`, resamples without failures or without successes are NaN: they do not constrain the parameters.

    Returns
    -------
    (1 + resample, 3)
        The estimates, those of the data themselves first.
    """
    estimate = maximise(family, counts[None, :, 1], counts[None, :, 0])
    found = [estimate]
    family, counts = _condensed(family, counts, estimate)
    family = replace(family, candidates=np.concatenate([family.candidates, estimate[:, :2]]))
    trials, together = counts.sum(), max(1, _CHUNK // len(counts))
    for start in range(0, resamples, together):
        # Drawing trials with replacement is drawing counts of (level, outcome) from a multinomial distribution.
        size = min(together, resamples - start)
        drawn = rng.multinomial(int(trials), counts.ravel() / trials, size=size).reshape(size, -1, 2).astype(np.float64)
        estimates = maximise(family, drawn[..., 1], drawn[..., 0])
        if both:
            estimates[(drawn.sum(axis=1) == 0).any(axis=1)] = np.nan
        found.append(estimates)
    return np.concatenate(found)


def _condensed(family: Family, counts: Floats, estimate: Floats) -> tuple[Family, Floats]:
    """Join neighbouring levels if there are very many; otherwise the cost of a resample grows with its number of trials.

    A joined level holds at most one in 200 trials. Where the estimated curve rises, the evidence within a joined level
    differs by at most a twelfth of a log odd.
    """
    if len(counts) <= _MOST:
        return family, counts
    trials = counts.sum(axis=1)
    place = _MOST / 2 * np.cumsum(trials) / trials.sum()
    evidence = np.clip(family.evidence(estimate[:, :2], family.levels).value[0], -_RISE, _RISE)
    place += _MOST / 2 * np.abs(evidence - evidence[0]) / (2 * _RISE)
    _, joined = np.unique(np.floor(place), return_inverse=True)
    number = int(joined.max()) + 1
    both = np.zeros((number, 2))
    np.add.at(both, joined, counts)
    levels = np.bincount(joined, weights=family.levels * trials) / both.sum(axis=1)
    return replace(family, levels=levels), both


def intervals(family: Family, estimates: Floats, confidence: float) -> tuple[Interval, Interval, Interval]:
    """Return the percentile interval of each of three parameters; NaN for those fixed or without resamples."""
    drawn = estimates[1:][~np.isnan(estimates[1:]).any(axis=1)]
    if not len(drawn):
        return UNKNOWN, UNKNOWN, UNKNOWN
    ends = np.quantile(drawn, [0.5 - confidence / 2, 0.5 + confidence / 2], axis=0)
    ends[:, family.high <= family.low] = np.nan
    first, second, third = ((float(low), float(high)) for low, high in ends.T)
    return first, second, third


def touched(family: Family, estimate: Floats) -> tuple[str, ...]:
    """Return the names of the parameters at a bound, except a lapse rate of 0, which is common."""
    near = 1e-6 * (family.high - family.low)
    below = (estimate <= family.low + near) & np.array([name != "lapse" for name in family.names])
    at = (below | (estimate >= family.high - near)) & (family.high > family.low)
    return tuple(name for name, touches in zip(family.names, at, strict=True) if touches)


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
    (fit, 3)
        The estimates. Where the likelihood grows without end, as for separable data, they stand at a bound.
    """
    plain = replace(family, high=np.array([*family.high[:2], family.low[2]]))
    best, value = _climbed(plain, _likeliest(family, family.low[2:], successes, failures), successes, failures)
    if family.high[2] > family.low[2]:
        lapses = np.clip(_LAPSES, family.low[2], family.high[2])
        nested, likeliest = best.copy(), np.full(len(best), -np.inf)
        for lapse in lapses:
            beside = np.column_stack([best[:, :2], np.full(len(best), lapse)])
            likelihood = family.log_likelihood(beside, successes, failures)
            nested[likelihood > likeliest] = beside[likelihood > likeliest]
            likeliest = np.maximum(likelihood, likeliest)
        # There are many resamples, and they need not reach the highest of several maxima.
        searched = [lapses] if len(best) > 1 else [lapses, *lapses[:, None]]
        for begin in (nested, *(_likeliest(family, each, successes, failures) for each in searched)):
            reached, its_value = _climbed(family, begin, successes, failures)
            better = its_value > value + _GAIN
            best[better], value[better] = reached[better], its_value[better]
    return _settled(family, best, value, successes, failures)


def _likeliest(family: Family, lapses: Floats, successes: Floats, failures: Floats) -> Floats:
    """Return the likeliest candidate (fit, 3) of each data set, with any of the lapse rates."""
    candidates = np.concatenate([np.column_stack([family.candidates, np.full(len(family.candidates), x)]) for x in lapses])
    together = max(1, _CHUNK // len(family.levels))
    parts = []
    for start in range(0, len(candidates), together):
        success, failure = family.logarithms(candidates[start : start + together])
        parts.append(successes @ success.T + failures @ failure.T)
    return np.asarray(candidates[np.concatenate(parts, axis=1).argmax(axis=1)])


def _climbed(family: Family, theta: Floats, successes: Floats, failures: Floats) -> tuple[Floats, Floats]:
    """Climb from `theta` (fit, 3); return the maximum and the log-likelihood (fit,) there."""
    theta = np.clip(theta, family.low, family.high)
    value = family.log_likelihood(theta, successes, failures)
    damping = np.full(len(theta), 1e-2)
    active = np.arange(len(theta))
    for _ in range(_ITERATIONS):
        wins, losses = successes[active], failures[active]
        trial = _step(family, theta[active], wins, losses, damping[active])
        reached = family.log_likelihood(trial, wins, losses)
        gain = reached - value[active]
        better = gain >= 0
        theta[active[better]], value[active[better]] = trial[better], reached[better]
        # A fit has converged if a long step changes nothing (a short step may only be damped), or if a step is refused at
        # every damping.
        arrived = ((np.abs(gain) < _GAIN) & (damping[active] < 1)) | (damping[active] > 1e9)
        damping[active] = np.maximum(damping[active] * np.where(better, 0.2, 8.0), 1e-9)
        active = active[~arrived]
        if not len(active):
            break
    return theta, value


def _step(family: Family, theta: Floats, successes: Floats, failures: Floats, damping: Floats) -> Floats:
    """Return the result of one damped Newton step from `theta` (fit, 3), inside the bounds."""
    low, high = family.low, family.high
    evidence = family.evidence(theta[:, :2], family.levels)
    found = family.link.outcome(evidence.value, theta[:, 2:])
    won, lost = successes / found.success, failures / found.failure
    surplus, weight = won - lost, won / found.success + lost / found.failure
    expected = (successes + failures) / (found.success * found.failure)
    pull = surplus * found.by_evidence
    bend = weight * found.by_evidence**2 - surplus * found.curvature
    information = expected * found.by_evidence**2
    score, scale, curvature = np.zeros((len(theta), 3)), np.zeros((len(theta), 3)), np.zeros((len(theta), 3, 3))
    for i, slope in enumerate(evidence.first):
        score[:, i] = (pull * slope).sum(axis=1)
        scale[:, i] = (information * slope**2).sum(axis=1)
        for j in range(i, 2):
            loss = (bend * slope * evidence.first[j] - pull * evidence.second[i + j]).sum(axis=1)
            curvature[:, i, j] = curvature[:, j, i] = loss
    if high[2] > low[2]:
        mixed = weight * found.by_evidence * found.by_lapse - surplus * found.mixed
        score[:, 2] = (surplus * found.by_lapse).sum(axis=1)
        scale[:, 2] = (expected * found.by_lapse**2).sum(axis=1)
        curvature[:, 2, 2] = (weight * found.by_lapse**2).sum(axis=1)
        for i, slope in enumerate(evidence.first):
            curvature[:, i, 2] = curvature[:, 2, i] = (mixed * slope).sum(axis=1)
    stuck = (high <= low) | ((theta <= low) & (score < 0)) | ((theta >= high) & (score > 0))
    score[stuck] = 0.0
    curvature[stuck[:, :, None] | stuck[:, None, :]] = 0.0
    # Each parameter in units of its own standard error, or of its curvature, which one unlikely outcome can make far
    # larger: slopes of 1 and of 10,000 are fitted in the same way. A flat or fixed direction must not make the system
    # singular.
    diagonal = np.arange(3)
    scale = np.maximum(scale, np.abs(curvature[:, diagonal, diagonal]))
    unit = np.sqrt(np.where(scale > 0, scale, 1.0))
    curvature /= unit[:, :, None] * unit[:, None, :]
    curvature[:, diagonal, diagonal] += damping[:, None] + stuck
    step = np.linalg.solve(curvature, (score / unit)[..., None])[..., 0] / unit
    return np.asarray(np.clip(theta + step, low, high))


def _settled(family: Family, theta: Floats, value: Floats, successes: Floats, failures: Floats) -> Floats:
    """Move a parameter to its bound if this does not reduce the likelihood: the data do not distinguish the two values."""
    for i in range(2):
        for bound in (family.low[i], family.high[i]):
            moved = theta.copy()
            moved[:, i] = bound
            free = family.log_likelihood(moved, successes, failures) >= value - _GAIN
            theta[free, i] = bound
    return theta
