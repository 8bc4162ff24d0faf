"""Selectivity for two conditions and their combinations; public as `cordstasks.analysis.tuning`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import fdtrc

from cordstasks.analysis._checks import Booleans, Floats, open_fraction, real_array
from cordstasks.analysis._trials import grouped, varying
from cordstasks.analysis.statistics.anova import standardise
from cordstasks.analysis.statistics.permutation import benjamini_hochberg
from cordstasks.errors import InputError

KINDS = ("none", "first", "second", "linear mixed", "nonlinear mixed")


@dataclass(frozen=True, eq=False)
class Effect:
    """One term of a two-way analysis of variance: arrays (unit,).

    Attributes
    ----------
    f : (unit,)
        0 for units that do not vary.
    partial_eta_squared : (unit,)
        Fraction of the variance, without what the other terms explain.
    p_value : (unit,)
        F test; 1 for units that do not vary.
    significant : (unit,) bool
        At the requested false discovery rate, over units, for this term.
    """

    f: Floats
    partial_eta_squared: Floats
    p_value: Floats
    significant: Booleans


@dataclass(frozen=True, eq=False)
class MixedSelectivity:
    """Selectivity for two conditions, from `mixed_selectivity`.

    Attributes
    ----------
    first, second, interaction : Effect
    kind : (unit,) str
        "nonlinear mixed" with a significant interaction; else "linear mixed" with both main effects, "first" or
        "second" with one, or "none".
    """

    first: Effect
    second: Effect
    interaction: Effect
    kind: NDArray[np.str_]

    def as_dict(self) -> dict[str, Any]:
        """Return the number of units of each kind, ready for JSON.

        Returns
        -------
        dict of str to int
            Numbers of units by kind.
        """
        return {"units": len(self.kind)} | {name: int((self.kind == name).sum()) for name in KINDS}


def mixed_selectivity(
    responses: ArrayLike, first: ArrayLike, second: ArrayLike, *, false_discovery: float = 0.05
) -> MixedSelectivity:
    """Two-way analysis of variance of each unit, and the resulting kind of selectivity.

    Units whose response to one condition depends on the other give a population many dimensions (Rigotti et al. 2013,
    Nature 497:585). Sums of squares are of type II: each main effect beyond the other, the interaction beyond
    both; combinations may differ in their number of trials. The F tests assume Gaussian noise, the same in all
    combinations.

    Parameters
    ----------
    responses : (trial, unit)
        Such as `window_mean` gives; not modified.
    first, second : (trial,)
        Numbers or names.
    false_discovery : float
        Rate allowed over units, for each term, between 0 and 1.

    Returns
    -------
    MixedSelectivity

    Raises
    ------
    InputError
        If the lengths differ, a combination has no trials, or no combination has two.
    """
    rates = real_array("responses", responses, ("trial", "unit"))
    names, one = grouped("first", first, len(rates))
    others, two = grouped("second", second, len(rates))
    rate = open_fraction("false_discovery", false_discovery)
    cell = one * len(others) + two
    trials = np.bincount(cell, minlength=len(names) * len(others))
    if trials.min() == 0:
        missing = int(trials.argmin())
        raise InputError(
            f"first {names[missing // len(others)]} with second {others[missing % len(others)]} has no trials; "
            "leave out values until every combination has some"
        )
    if len(rates) == len(trials):
        raise InputError("responses has one trial of each combination; give two or more, to tell effects from noise")

    # Standardised, so that rounding is the same for all units.
    values, varies = standardise(rates), varying(rates)
    by_first, by_second, by_cell = (np.eye(int(group.max()) + 1)[group] for group in (one, two, cell))
    total = (values**2).sum(axis=0)
    only_first, only_second, additive, full = (
        _explained(design, values) for design in (by_first, by_second, np.hstack([by_first, by_second]), by_cell)
    )
    # A residual below the rounding error of a perfect explanation is zero.
    left = np.where(total - full < 1e-12 * total, 0.0, total - full)
    error = left / (len(rates) - len(trials))
    freedom = (len(names) - 1, len(others) - 1, (len(names) - 1) * (len(others) - 1))
    squares = (additive - only_second, additive - only_first, full - additive)
    effects = []
    for degrees, square in zip(freedom, squares, strict=True):
        square = np.where(square < 1e-12 * total, 0.0, square)
        with np.errstate(divide="ignore", invalid="ignore"):
            f = np.where(square > 0, square / degrees / error, 0.0)
            share = np.where(square > 0, square / (square + left), 0.0)
        p = np.where(square > 0, fdtrc(degrees, len(rates) - len(trials), f), 1.0)
        found = np.zeros(len(varies), dtype=bool)
        found[varies] = benjamini_hochberg(p[varies]) <= rate
        effects.append(Effect(f, share, p, found))
    a, b, both = (effect.significant for effect in effects)
    kind = np.select([both, a & b, a, b], [KINDS[4], KINDS[3], KINDS[1], KINDS[2]], default=KINDS[0])
    return MixedSelectivity(first=effects[0], second=effects[1], interaction=effects[2], kind=kind)


def _explained(design: Floats, values: Floats) -> Floats:
    """Return the sum of squares (unit,) of `values` (trial, unit) projected on the columns of a design (trial, column)."""
    basis, size, _ = np.linalg.svd(design, full_matrices=False)
    basis = basis[:, size > 1e-9 * size[0]]
    return np.asarray(((basis.T @ values) ** 2).sum(axis=0))
