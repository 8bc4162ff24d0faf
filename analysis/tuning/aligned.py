"""Cross-validated tuning curves around the preferred condition; public as `cordstasks.analysis.tuning`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordstasks.analysis._checks import Booleans, Floats, open_fraction, plain
from cordstasks.analysis._trials import numeric
from cordstasks.analysis.statistics.permutation import benjamini_hochberg
from cordstasks.analysis.tuning.curves import CrossValidatedCurves
from cordstasks.errors import InputError


@dataclass(frozen=True, eq=False)
class AlignedCurves:
    """Tuning around the preferred condition, from `align`.

    Attributes
    ----------
    offsets : (offset,)
        Condition minus preferred condition, sorted; distances, without sign, where they were folded.
    mean : (offset, unit)
        Response minus the response to the preferred condition, in standard deviations of the unit's responses, averaged
        over the ways of cross-validation and the conditions at that offset: 0 at offset 0, about 0 at all offsets for
        noise. NaN where the unit has no such condition, or was not chosen.
    chosen : (way, unit) bool
        Which units were used, by the half of the trials that defines their preference.
    units : (offset,) int
        Number of units at each offset.
    population_mean, population_standard_error : (offset,)
        Over those units, each point of a curve counted once. The error is that over units; trials common to all units make
        the true one larger. NaN for the error of one unit.
    """

    offsets: Floats
    mean: Floats
    chosen: Booleans
    units: NDArray[np.intp]
    population_mean: Floats
    population_standard_error: Floats

    @property
    def falls(self) -> bool:
        """Whether the population's response falls at each step away from the preferred condition, on both sides."""
        left = self.population_mean[self.offsets <= 0]
        right = self.population_mean[self.offsets >= 0]
        return bool(len(self.offsets) > 1 and (np.diff(left) > 0).all() and (np.diff(right) < 0).all())

    def as_dict(self) -> dict[str, Any]:
        """Return the population's curve ready for JSON, None for values that could not be estimated.

        Returns
        -------
        dict of str to object
            Numbers and lists by name.
        """
        rows = zip(self.offsets, self.units, self.population_mean, self.population_standard_error, strict=True)
        return {
            "units": int(self.chosen.any(axis=0).sum()),
            "falls": self.falls,
            "by_offset": [
                {"offset": float(offset), "units": int(n), "mean": plain(mean), "standard_error": plain(error)}
                for offset, n, mean, error in rows
            ],
        }


def align(
    curves: CrossValidatedCurves,
    *,
    period: float | None = None,
    fold: bool = False,
    preferred: float | None = None,
    false_discovery: float | None = 0.05,
) -> AlignedCurves:
    """Align the curves of all units on their preferred condition.

    Parameters
    ----------
    curves : CrossValidatedCurves
        Of a condition with numbers for values.
    period : float, optional
        For a circular condition, 360 for angles in deg: offsets then lie in (-period / 2, period / 2].
    fold : bool
        Whether to average both sides: offsets are then distances, such as the distance in number. Only units that
        prefer an end reach the largest distances; with `preferred`, all points come from the same units.
    preferred : float, optional
        Only units that prefer this value; all by default.
    false_discovery : float or None
        Only units tuned at this false discovery rate in the half of the trials that defines the preference, so that
        the choice does not bias the curves. None for all units that vary.

    Returns
    -------
    AlignedCurves

    Raises
    ------
    InputError
        If the conditions are names, or `preferred` is not one of them.
    """
    values = numeric("condition", curves.values)
    if period is not None and not (np.isfinite(period) and period > np.ptp(values)):
        raise InputError(f"period is {period}, but the conditions span {np.ptp(values):g}; give 360 for angles in deg")
    if preferred is not None and preferred not in values:
        shown = ", ".join(f"{value:g}" for value in values)
        raise InputError(f"preferred is {preferred}; give one of the conditions: {shown}")
    chosen = chosen_units(curves, false_discovery)
    if preferred is not None:
        chosen &= curves.preferred == int(np.searchsorted(values, preferred))
    table = values[:, None] - values[None]  # (condition, preferred)
    if period is not None:
        table = period / 2 - np.mod(period / 2 - table, period)
    table = np.round(np.abs(table) if fold else table, 9)
    used = np.unique(curves.preferred[chosen])
    offsets = np.unique(table[:, used]) if len(used) else np.unique(table)
    standard = curves.standardised()
    total, count = np.zeros((2, len(offsets), len(curves.varies)))
    for way in range(2):
        units = np.flatnonzero(chosen[way])
        best = curves.preferred[way, units]
        where = np.searchsorted(offsets, table[:, best])  # (condition, chosen unit)
        np.add.at(total, (where, units[None]), standard[way][:, units] - standard[way, best, units])
        np.add.at(count, (where, units[None]), 1.0)
    unknown = np.full(len(offsets), np.nan)
    number, points = (count > 0).sum(axis=1), count.sum(axis=1)
    # Not the mean of the units' means: the number of points of a unit at an offset depends on its preferences in both
    # halves, and dividing by this number would bias the curve of noise.
    population = np.divide(total.sum(axis=1), points, out=unknown.copy(), where=points > 0)
    residual = np.where(count > 0, total - population[:, None] * count, 0.0)
    error = np.sqrt(np.divide((residual**2).sum(axis=1) * number, number - 1.0, out=unknown.copy(), where=number > 1))
    return AlignedCurves(
        offsets=offsets,
        mean=np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0),
        chosen=chosen,
        units=number,
        population_mean=population,
        population_standard_error=np.divide(error, points, out=unknown.copy(), where=points > 0),
    )


def chosen_units(curves: CrossValidatedCurves, rate: float | None) -> Booleans:
    """Return (way, unit): tuned at a false discovery rate in the half that defines the preference, or all that vary.

    Returns
    -------
    (way, unit) bool
        Whether a unit's curve is used.
    """
    varies = (curves.preferred >= 0) & curves.varies
    if rate is None:
        return varies
    open_fraction("false_discovery", rate)
    chosen = np.zeros_like(varies)
    for way in range(2):
        tests = curves.p_value[way, varies[way]]
        chosen[way, varies[way]] = benjamini_hochberg(tests) <= rate
    return chosen
