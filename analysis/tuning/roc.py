"""How well single units discriminate two kinds of trials; public as `cordstasks.analysis.tuning`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import mannwhitneyu

from cordstasks.analysis._checks import Floats, flags, real_array
from cordstasks.analysis._trials import varying
from cordstasks.errors import InputError


@dataclass(frozen=True, eq=False)
class RocArea:
    """Area under the receiver operating characteristic, from `roc_area`.

    Attributes
    ----------
    area : (unit,)
        Probability that a response to the positive kind exceeds one to the other, ties counted half; 0.5 for units that
        do not vary.
    p_value : (unit,)
        Two-sided, of the Mann-Whitney test by its normal approximation, with ties; 1 for units that do not vary.
    """

    area: Floats
    p_value: Floats


def roc_area(responses: ArrayLike, positive: ArrayLike) -> RocArea:
    """Area under the receiver operating characteristic of each unit for two kinds of trials.

    Parameters
    ----------
    responses : (trial, unit)
        Such as `window_mean` gives; not modified.
    positive : (trial,) bool
        Which trials are of the kind that should respond more.

    Returns
    -------
    RocArea

    Raises
    ------
    InputError
        If the lengths differ, `positive` is not boolean, or all trials are of one kind.
    """
    rates = real_array("responses", responses, ("trial", "unit"))
    kind = flags("positive", positive, len(rates), "responses")
    if kind.all() or not kind.any():
        raise InputError(f"positive is {bool(kind[0])} in all trials; give trials of both kinds")
    varies = varying(rates)
    area, p_value = np.full(len(varies), 0.5), np.ones(len(varies))
    if varies.any():
        test = mannwhitneyu(rates[kind][:, varies], rates[~kind][:, varies], axis=0, method="asymptotic")
        area[varies] = test.statistic / (kind.sum() * (~kind).sum())
        p_value[varies] = test.pvalue
    return RocArea(area, p_value)
