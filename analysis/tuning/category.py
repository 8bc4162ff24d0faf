"""Category effects beyond pictures; public as `cordstasks.analysis.tuning`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.analysis._checks import Booleans, Floats, column, count, open_fraction, plain, real_array, same_trials
from cordstasks.analysis._trials import grouped
from cordstasks.analysis.statistics.permutation import benjamini_hochberg
from cordstasks.analysis.tuning.morph_pairs import Pairs
from cordstasks.errors import InputError


@dataclass(frozen=True, eq=False)
class CategoryIndex:
    """Differences between and within categories at equal morph distance, from `category_index`.

    Attributes
    ----------
    distance : float
        Morph distance between the pictures of each pair, in the units of the morph level.
    lines : (line,)
        The morph lines that went in: those with pairs at that distance on both counts.
    between, within : (line, unit)
        Mean absolute difference in response of the pairs across the boundary, and of those on one side of it.
    index : (unit,)
        (B - W) / (B + W) of the means over lines B and W, in [-1, 1]; NaN for units that do not distinguish any pair.
    p_value : (unit,)
        One-sided permutation test of a larger difference between than within; 1 for units without an index.
    selective : (unit,) bool
        Units that pass the requested false discovery rate (Benjamini & Hochberg 1995), among those with an index.
    mean_index : float
        Over units; NaN if none has an index.
    population_p_value : float
        The same test of the mean index, which accounts for the fact that all units saw the same pictures.
    """

    distance: float
    lines: NDArray[Any]
    between: Floats
    within: Floats
    index: Floats
    p_value: Floats
    selective: Booleans
    mean_index: float
    population_p_value: float

    def as_dict(self) -> dict[str, Any]:
        """Return a summary over units ready for JSON, None for values that could not be estimated.

        Returns
        -------
        dict of str to object
            Numbers and lists by name.
        """
        return {
            "units": len(self.index),
            "selective": int(self.selective.sum()),
            "morph_distance": self.distance,
            "mean_index": plain(self.mean_index),
            "between": float(self.between.mean()),
            "within": float(self.within.mean()),
            "p_value": self.population_p_value,
        }


@dataclass(frozen=True, eq=False)
class CategoryContrast:
    """How much larger the category effect of one population is than that of another, from `category_contrast`.

    Attributes
    ----------
    difference : float
        Mean index of the first population minus that of the second.
    interval : (low, high)
        Percentile bootstrap over morph lines and units.
    p_value : float
        One-sided: fraction of the resamples in which the first is not larger.
    """

    difference: float
    interval: tuple[float, float]
    p_value: float

    def as_dict(self) -> dict[str, Any]:
        """Return the contrast ready for JSON.

        Returns
        -------
        dict of str to object
            Numbers and lists by name.
        """
        return {"difference": self.difference, "interval": list(self.interval), "p_value": self.p_value}


def category_index(
    responses: ArrayLike,
    category: ArrayLike,
    line: ArrayLike,
    morph: ArrayLike,
    *,
    rng: np.random.Generator,
    distance: float | None = None,
    permutations: int = 1000,
    false_discovery: float = 0.05,
) -> CategoryIndex:
    """Compare differences between and within categories at equal morph distance.

    After Freedman, Riesenhuber, Poggio & Miller (2001, Science 291:312; 2002, J. Neurophysiol. 88:929). A unit that follows
    only shape has the same response difference for all neighbours on a morph line. A unit that represents the category has
    larger differences across the boundary. The permutation test shuffles, within each line, which pairs cross the boundary.
    Noise adds to every absolute difference, so all pictures should have about the same number of trials.

    Parameters
    ----------
    responses : (trial, unit)
        Such as `window_mean` gives; not modified.
    category : (trial,)
        Numbers or names; one for each picture. Leave out pictures on the boundary.
    line : (trial,)
        Morph line of the picture, numbers or names. Lines within a category may be there; they are left out.
    morph : (trial,)
        Position of the picture on its line.
    rng : numpy.random.Generator
        Draws the permutations.
    distance : float, optional
        Morph distance of the pairs; the smallest there is by default.
    permutations : int
        At least 1.
    false_discovery : float
        Rate allowed among the units called selective, between 0 and 1.

    Returns
    -------
    CategoryIndex

    Raises
    ------
    InputError
        If the lengths differ, a picture has two categories, or no line has pairs of that distance both between and
        within categories.
    """
    rates = real_array("responses", responses, ("trial", "unit"))
    _, kind = grouped("category", category, len(rates))
    place = real_array("morph", morph, ("trial",))
    name = column("line", line)
    for label, values in (("line", name), ("morph", place)):
        same_trials(label, values, len(rates), "responses")
    rounds, rate = count("permutations", permutations, 1), open_fraction("false_discovery", false_discovery)
    pairs = Pairs.of(rates, kind, name, place)
    if distance is None:
        distance = pairs.smallest()
    pairs = pairs.at(float(distance))
    labels = np.tile(pairs.across, (1 + rounds, 1))
    for i in range(len(pairs.lines)):
        own = pairs.line == i
        labels[1:, own] = rng.permuted(labels[1:, own], axis=1)
    statistic = pairs.index(labels)  # (1 + permutation, unit)
    known = np.isfinite(statistic[0])
    observed, shuffled = statistic[:1, known], statistic[1:, known]
    p_value = np.ones(rates.shape[1])
    p_value[known] = (1 + (shuffled >= observed - 1e-9).sum(axis=0)) / (1 + rounds)
    selective = np.zeros(rates.shape[1], dtype=bool)
    selective[known] = benjamini_hochberg(p_value[known]) <= rate
    means = statistic[:, known].mean(axis=1) if known.any() else np.full(1 + rounds, np.nan)
    return CategoryIndex(
        distance=float(distance),
        lines=pairs.lines,
        between=pairs.line_means(pairs.across),
        within=pairs.line_means(~pairs.across),
        index=statistic[0],
        p_value=p_value,
        selective=selective,
        mean_index=float(means[0]),
        population_p_value=float((1 + (means[1:] >= means[0] - 1e-9).sum()) / (1 + rounds)) if known.any() else 1.0,
    )


def category_contrast(
    first: CategoryIndex,
    second: CategoryIndex,
    *,
    rng: np.random.Generator,
    bootstrap: int = 2000,
    confidence: float = 0.95,
) -> CategoryContrast:
    """Compare the mean category index of two populations that saw the same pictures, such as a network and its input.

    Parameters
    ----------
    first, second : CategoryIndex
        With the same morph lines and distance; units without an index are left out.
    rng : numpy.random.Generator
        Draws the resamples of lines, shared by both, and of units.
    bootstrap : int
        Number of resamples, at least 1.
    confidence : float
        Coverage of the interval, between 0 and 1.

    Returns
    -------
    CategoryContrast

    Raises
    ------
    InputError
        If the lines or distances differ, or a population has no unit with an index.
    """
    if not np.array_equal(first.lines, second.lines) or abs(first.distance - second.distance) > 1e-6:
        raise InputError(
            f"second has {len(second.lines)} morph lines at distance {second.distance:g}, first {len(first.lines)} at "
            f"{first.distance:g}; give both populations the same trials"
        )
    for name, population in (("first", first), ("second", second)):
        if np.isnan(population.mean_index):
            raise InputError(f"{name} has no unit that tells pictures apart; there is nothing to compare")
    resamples, coverage = count("bootstrap", bootstrap, 1), open_fraction("confidence", confidence)
    lines = len(first.lines)
    weight = rng.multinomial(lines, np.full(lines, 1 / lines), size=resamples) / lines
    drawn = _resampled(first, weight, rng) - _resampled(second, weight, rng)
    low, high = np.quantile(drawn, [0.5 - coverage / 2, 0.5 + coverage / 2])
    return CategoryContrast(
        difference=first.mean_index - second.mean_index,
        interval=(float(low), float(high)),
        p_value=float((1 + (drawn <= 0).sum()) / (1 + resamples)),
    )


def _resampled(population: CategoryIndex, weight: Floats, rng: np.random.Generator) -> Floats:
    """Return the mean index (resample,) for weights (resample, line) and the same number of draws of units."""
    known = np.isfinite(population.index)
    between, within = weight @ population.between[:, known], weight @ population.within[:, known]
    total = between + within
    index = np.divide(between - within, total, out=np.zeros_like(total), where=total > 0)
    units = rng.multinomial(known.sum(), np.full(known.sum(), 1 / known.sum()), size=len(weight))
    return np.asarray((index * units).sum(axis=1) / known.sum())
