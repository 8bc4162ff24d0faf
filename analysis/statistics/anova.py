"""Analysis of variance of many units at once."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f_oneway

from cordstasks.analysis._checks import Floats
from cordstasks.analysis._trials import varying


class OneWay(NamedTuple):
    """One-way analysis of variance: arrays (unit,); 0, 0, 0 and a p value of 1 for units that do not vary."""

    f: Floats
    eta_squared: Floats
    omega_squared: Floats
    p_value: Floats


def standardise(rates: Floats) -> Floats:
    """Return responses (trial, unit) with mean 0 and standard deviation 1; 0 for units that do not vary.

    Rounding is then the same for all units.
    """
    centred = rates - rates.mean(axis=0)
    return np.divide(centred, rates.std(axis=0), out=np.zeros_like(centred), where=varying(rates))


def one_way(rates: Floats, group: NDArray[np.intp]) -> OneWay:
    """Test responses (trial, unit) for any effect of the group of each trial; groups may differ in size.

    With one trial in each group everything is explained, and the p value is 1 all the same.
    """
    values = standardise(rates)
    varies = np.asarray(values.any(axis=0))
    groups = [values[group == i] for i in np.unique(group)]
    between, within = len(groups) - 1, len(values) - len(groups)
    f: Floats = np.full(len(varies), np.inf)
    p: Floats = np.ones(len(varies))
    if within:
        with warnings.catch_warnings():  # of units that are constant within groups, whose F is infinite
            warnings.simplefilter("ignore")
            f, p = f_oneway(*groups, axis=0)
    # An F beyond the rounding error of a perfect explanation is infinite.
    perfect = f * between > 1e20 * within
    f = np.where(perfect, np.inf, f)
    known = np.where(perfect, 0.0, f)
    eta = np.where(perfect, 1.0, between * known / (between * known + max(within, 1)))
    omega = np.where(perfect, 1.0, between * (known - 1) / (between * known + within + 1))
    f, eta, omega = (np.where(varies, part, 0.0) for part in (f, eta, omega))
    return OneWay(f, eta, omega, np.asarray(np.where(varies, p, 1.0)))
