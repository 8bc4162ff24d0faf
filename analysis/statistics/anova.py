"""Analysis of variance of many units at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from cordstasks.analysis._checks import Floats
from cordstasks.analysis._trials import varying
from cordstasks.analysis.statistics.permutation import group_means


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
    """Test responses (trial, unit) for any effect of the group of each trial; groups may differ in size."""
    values = standardise(rates)
    present, group = np.unique(group, return_inverse=True)
    groups, trials = len(present), len(values)
    means = group_means(values, group, groups)
    total = (values**2).sum(axis=0)
    within = ((values - means[group]) ** 2).sum(axis=0)
    # A residual below the rounding error of a perfect explanation is zero.
    within[within < 1e-20 * total] = 0.0
    between = total - within
    error = within / max(trials - groups, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        f = between / (groups - 1) / error
        eta = between / total
        omega = (between - (groups - 1) * error) / (total + error)
    still = total == 0
    f, eta, omega = (np.where(still, 0.0, part) for part in (f, eta, omega))
    p = np.ones_like(f) if trials == groups else fdtrc(groups - 1, trials - groups, f)
    return OneWay(f, eta, omega, np.asarray(np.where(still, 1.0, p)))
