"""How well the best possible model could predict noisy responses: split halves and the Spearman-Brown formula."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.analysis._checks import Floats, column, count, real_array
from cordstasks.analysis.predictivity.scores import over_splits, unit_correlations
from cordstasks.errors import InputError

LEAST = 3  # stimuli with two or more presentations


@dataclass(frozen=True, eq=False)
class Ceiling:
    """Reliability of the mean response over presentations.

    Attributes
    ----------
    per_bin : (time bin, unit)
        Reliability over stimuli, in each time bin: the correlation to expect between the mean and that of as many new
        presentations; 0 where halves do not correlate, NaN where a unit does not vary.
    spanning : (unit,)
        The same over stimuli and time bins together.
    stimuli, left_out : int
        Stimuli that were used, and those with a single presentation.
    """

    per_bin: Floats
    spanning: Floats
    stimuli: int
    left_out: int

    @staticmethod
    def of_a_perfect_model(reliability: ArrayLike) -> Floats:
        """The correlation of the true mean with the measured one, the square root of reliability: no model exceeds it.

        Parameters
        ----------
        reliability : array of any shape
            Such as `per_bin` or `spanning`.

        Returns
        -------
        float64 array of the same shape
            Correlations; NaN where reliability is NaN.
        """
        return np.sqrt(np.asarray(reliability, np.float64))


def split_half_ceiling(
    rates: ArrayLike, stimulus: ArrayLike, *, halves: int = 10, rng: int | np.random.Generator = 0
) -> Ceiling:
    """Split-half reliability with the Spearman-Brown formula.

    The presentations of each stimulus are split in two at random, `halves` times; the means of the halves are correlated
    over stimuli, unit by unit; the mean r of the correlations gives the reliability ``k r / (1 + (k - 1) r)`` of all
    presentations. k is 2 where all numbers of presentations are even, and larger otherwise, since a mean over unequal halves
    is noisier.

    Parameters
    ----------
    rates : (presentation, time bin, unit)
        Not modified.
    stimulus : (presentation,)
        Which stimulus was shown, numbers or names; stimuli may have different numbers of presentations.
    halves : int
        Number of random splits.
    rng : int or numpy.random.Generator
        Seed, or where to draw from.

    Returns
    -------
    Ceiling

    Raises
    ------
    InputError
        If fewer than three stimuli have two or more presentations.

    Notes
    -----
    Brain-Score divides a score by the reliability itself; a model that predicts the true mean perfectly has a correlation of
    the square root of the reliability with the measured mean.
    """
    array = real_array("rates", rates, ("presentation", "time bin", "unit"))
    names = column("stimulus", stimulus)
    if len(names) != len(array):
        raise InputError(f"stimulus has {len(names)} entries for {len(array)} presentations; give one for each")
    count("halves", halves, 1)
    values, group = np.unique(names, return_inverse=True)
    rows = [np.flatnonzero(group == place) for place in range(len(values))]
    repeated = [each for each in rows if len(each) > 1]
    if len(repeated) < LEAST:
        raise InputError(
            f"stimulus: {len(repeated)} of {len(values)} stimuli have two or more presentations; a ceiling needs {LEAST}: "
            "give single presentations instead of their mean, or no ceiling"
        )
    generator = np.random.default_rng(rng)
    per_bin = np.empty((halves, *array.shape[1:]))
    spanning = np.empty((halves, array.shape[2]))
    for place in range(halves):
        one, other = _halves(array, repeated, generator)
        per_bin[place] = _correlated(one, other)
        spanning[place] = _correlated(one.reshape(-1, one.shape[2]), other.reshape(-1, other.shape[2]))
    longer = _lengthening(np.array([len(each) for each in repeated]))
    return Ceiling(
        _spearman_brown(over_splits(per_bin), longer),
        _spearman_brown(over_splits(spanning), longer),
        len(repeated),
        len(values) - len(repeated),
    )


def _halves(array: Floats, repeated: list[NDArray[np.intp]], generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Means (stimulus, time bin, unit) of two random halves of each stimulus's presentations."""
    pairs = []
    for rows in repeated:
        order = generator.permutation(rows)
        middle = len(order) // 2 + (len(order) % 2) * int(generator.integers(2))
        pairs.append((array[order[:middle]].mean(axis=0), array[order[middle:]].mean(axis=0)))
    one, other = (np.stack(each) for each in zip(*pairs, strict=True))
    return one, other


def _correlated(one: Floats, other: Floats) -> Floats:
    """Correlations; NaN only where neither half varies."""
    forward, backward = unit_correlations(one, other), unit_correlations(other, one)
    return np.where(np.isnan(forward), backward, forward)


def _lengthening(counts: NDArray[np.intp]) -> float:
    """How many times larger the variance of noise is in the mean over a half than in that over all presentations."""
    half = counts // 2
    return float(np.mean((1 / half + 1 / (counts - half)) / 2) / np.mean(1 / counts))


def _spearman_brown(correlation: Floats, longer: float) -> Floats:
    positive = np.where(np.isnan(correlation), np.nan, np.clip(correlation, 0.0, 1.0))
    return np.asarray(longer * positive / (1 + (longer - 1) * positive))
