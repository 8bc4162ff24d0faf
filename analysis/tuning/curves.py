"""Tuning curves, with and without cross-validation; public as `cordstasks.analysis.tuning`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.analysis._checks import Booleans, Floats, column, real_array, same_trials
from cordstasks.analysis._trials import grouped, varying
from cordstasks.analysis.statistics.anova import one_way
from cordstasks.analysis.statistics.permutation import group_means, halves
from cordstasks.errors import InputError

Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class TuningCurves:
    """Mean responses by condition, from `tuning_curves`.

    The preferred condition comes from the same curves, so the peak of a curve is too high, also for noise. To show that
    units are tuned, use `cross_validated_curves`.

    Attributes
    ----------
    values : (condition,)
        The values of the condition, sorted: numbers or names.
    trials : (condition,) int
    mean : (condition, unit)
        In units of the activity.
    standard_error : (condition, unit)
        Of the mean over trials; NaN for a condition with one trial.
    varies : (unit,) bool
        Units that do not respond the same in all trials.
    preferred : (unit,) int
        Index into `values` of the condition with the largest mean response; -1 for units that do not vary.
    """

    values: NDArray[Any]
    trials: Indices
    mean: Floats
    standard_error: Floats
    varies: Booleans
    preferred: Indices

    def units_by_preference(self, units: ArrayLike | None = None) -> list[dict[str, Any]]:
        """Count units by preferred condition, ready for JSON.

        Parameters
        ----------
        units : (unit,) bool, optional
            Which to count, such as `Selectivity.selective`; all that vary by default.

        Returns
        -------
        list of dict
            Rows {"value", "units"}, one per condition.
        """
        counted = self.preferred[self.varies if units is None else self.varies & np.asarray(units, dtype=bool)]
        number = np.bincount(counted, minlength=len(self.values))
        return [{"value": value.item(), "units": int(n)} for value, n in zip(self.values, number, strict=True)]


@dataclass(frozen=True, eq=False)
class CrossValidatedCurves:
    """Tuning curves whose preferred condition comes from other trials, from `cross_validated_curves`.

    The axis `way` has length 2. In way 0, the preferred condition comes from the first half of the trials and the curves
    come from the second half. In way 1, the halves are exchanged.

    Attributes
    ----------
    values : (condition,)
        The values of the condition, sorted: numbers or names.
    trials : (way, condition) int
        Trials behind each point of the curves.
    preferred : (way, unit) int
        Index into `values`; -1 for units that do not vary in the half that defines the preference.
    p_value : (way, unit)
        F test of any effect of the condition in the half that defines the preference; 1 for units that do not vary.
        Units may be chosen by it without bias to the curves.
    mean, standard_error : (way, condition, unit)
        Of the responses in the other half.
    varies : (unit,) bool
        Units that do not respond the same in all trials.
    scale : (unit,)
        Standard deviation of the responses over all trials; 0 for units that do not vary.
    first_half : (trial,) bool
    """

    values: NDArray[Any]
    trials: Indices
    preferred: Indices
    p_value: Floats
    mean: Floats
    standard_error: Floats
    varies: Booleans
    scale: Floats
    first_half: Booleans

    @property
    def agreement(self) -> float:
        """Fraction of varying units that prefer the same condition in both halves; NaN if none varies."""
        same = self.preferred[0] == self.preferred[1]
        return float(same[self.varies].mean()) if self.varies.any() else float("nan")

    def standardised(self) -> Floats:
        """Return (way, condition, unit): curves minus their mean over conditions, in standard deviations; 0 if constant.

        Returns
        -------
        (way, condition, unit)
            Without a unit of measurement.
        """
        centred = self.mean - self.mean.mean(axis=1, keepdims=True)
        return np.divide(centred, self.scale, out=np.zeros_like(centred), where=self.varies)


def tuning_curves(responses: ArrayLike, condition: ArrayLike) -> TuningCurves:
    """Mean response and its standard error at each value of a condition.

    Parameters
    ----------
    responses : (trial, unit)
        Such as `window_mean` gives; not modified.
    condition : (trial,)
        Numbers or names, such as a column of a batch's `conditions`.

    Returns
    -------
    TuningCurves

    Raises
    ------
    InputError
        If the lengths differ, values are not finite, or there is only one condition.
    """
    rates = real_array("responses", responses, ("trial", "unit"))
    values, group = grouped("condition", condition, len(rates))
    varies = varying(rates)
    mean, error = _curves(rates, group, len(values))
    preferred = np.where(varies, mean.argmax(axis=0), -1)
    return TuningCurves(values, np.bincount(group), mean, error, varies, preferred)


def cross_validated_curves(
    responses: ArrayLike,
    condition: ArrayLike,
    *,
    rng: np.random.Generator,
    groups: ArrayLike | None = None,
) -> CrossValidatedCurves:
    """Tuning curves from one half of the trials, the preferred condition from the other half, in both ways.

    The halves are drawn at random, with equal numbers of trials of each condition. White noise then has no tuning: its
    curve is flat around the preferred condition.

    Parameters
    ----------
    responses : (trial, unit)
        Such as `window_mean` gives; not modified.
    condition : (trial,)
        Numbers or names.
    rng : numpy.random.Generator
        Draws the halves.
    groups : (trial,), optional
        Trials that showed the same, such as one picture: numbers or names. They then stay in one half, so that a unit that
        merely recognises the picture is not taken for tuned. Needed if the same pictures are shown in several trials.

    Returns
    -------
    CrossValidatedCurves

    Raises
    ------
    InputError
        If the lengths differ, values are not finite, a condition has fewer than four trials (or two groups), or a
        group is in two conditions.
    """
    rates = real_array("responses", responses, ("trial", "unit"))
    values, group = grouped("condition", condition, len(rates), least=4)
    first = _first_half(group, values, groups, rng)
    trials, preferred, p_value, mean, error = [], [], [], [], []
    for half in (first, ~first):
        chosen, _ = _curves(rates[half], group[half], len(values))
        preferred.append(np.where(varying(rates[half]), chosen.argmax(axis=0), -1))
        p_value.append(one_way(rates[half], group[half]).p_value)
        tested, uncertainty = _curves(rates[~half], group[~half], len(values))
        mean.append(tested)
        error.append(uncertainty)
        trials.append(np.bincount(group[~half], minlength=len(values)))
    varies = varying(rates)
    return CrossValidatedCurves(
        values=values,
        trials=np.stack(trials),
        preferred=np.stack(preferred),
        p_value=np.stack(p_value),
        mean=np.stack(mean),
        standard_error=np.stack(error),
        varies=varies,
        scale=np.where(varies, rates.std(axis=0), 0.0),
        first_half=first,
    )


def _curves(rates: Floats, group: Indices, groups: int) -> tuple[Floats, Floats]:
    """Return the mean and its standard error, (condition, unit)."""
    mean = group_means(rates, group, groups)
    spread = group_means((rates - mean[group]) ** 2, group, groups)
    size = np.bincount(group, minlength=groups)[:, None].astype(np.float64)
    return mean, np.sqrt(np.divide(spread, size - 1, out=np.full_like(spread, np.nan), where=size > 1))


def _first_half(group: Indices, values: NDArray[Any], groups: ArrayLike | None, rng: np.random.Generator) -> Booleans:
    if groups is None:
        return halves(group, np.zeros_like(group), rng)
    own = column("groups", groups)
    same_trials("groups", own, len(group), "responses")
    _, first_seen, which = np.unique(own, return_index=True, return_inverse=True)
    condition_of = group[first_seen]
    if (condition_of[which] != group).any():
        trial = int(np.argmax(condition_of[which] != group))
        raise InputError(f"groups has {own[trial]} in two conditions; give each its own")
    shown = np.bincount(condition_of, minlength=len(values))
    if shown.min() < 2:
        raise InputError(
            f"condition {values[shown.argmin()]} has one group of trials; halves of the trials need two or more"
        )
    return halves(condition_of, np.zeros_like(condition_of), rng)[which]
