"""Which units are selective for a condition, and when; public as `cordstasks.analysis.tuning`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.analysis._checks import Booleans, Floats, count, open_fraction, plain_interval, real_array
from cordstasks.analysis._trials import grouped, recorded, varying
from cordstasks.analysis.statistics.anova import OneWay, one_way, standardise
from cordstasks.analysis.statistics.permutation import benjamini_hochberg, permutation_test
from cordstasks.analysis.statistics.proportions import wilson_interval
from cordstasks.analysis.tuning.curves import TuningCurves
from cordstasks.errors import InputError


@dataclass(frozen=True, eq=False)
class Selectivity:
    """One-way analysis of variance of each unit, from `selectivity`.

    Attributes
    ----------
    f : (unit,)
        Variance between conditions over variance within; 0 for units that do not vary.
    eta_squared : (unit,)
        Fraction of the variance over trials that the condition explains. Above 0 for noise: conditions - 1 over trials - 1.
    omega_squared : (unit,)
        The same, corrected for noise: about 0, positive or negative, for units without an effect.
    p_value : (unit,)
        Permutation test, or the F test if no permutations were requested; 1 for units that do not vary.
    selective : (unit,) bool
        Units that pass the requested false discovery rate (Benjamini & Hochberg 1995), among those that vary.
    fraction : float
        Selective units over all units.
    fraction_interval : (low, high)
        Wilson's 95 % interval of this fraction, as if the units were independent draws.
    """

    f: Floats
    eta_squared: Floats
    omega_squared: Floats
    p_value: Floats
    selective: Booleans
    fraction: float
    fraction_interval: tuple[float, float]

    def as_dict(self) -> dict[str, Any]:
        """Return a summary over units ready for JSON, None for values that could not be estimated.

        Returns
        -------
        dict of str to object
            Numbers and lists by name.
        """
        return {
            "units": len(self.f),
            "selective": int(self.selective.sum()),
            "fraction": self.fraction,
            "fraction_interval": plain_interval(self.fraction_interval),
            "median_omega_squared_of_selective": (
                float(np.median(self.omega_squared[self.selective])) if self.selective.any() else None
            ),
        }


@dataclass(frozen=True, eq=False)
class SelectivityOverTime:
    """Analysis of variance in a sliding window, from `selectivity_over_time`.

    Attributes
    ----------
    windows : (window, 2)
        First and last time step in each window, in ms.
    f, eta_squared, omega_squared, p_value : (window, unit)
        As for `Selectivity`.
    selective : (window, unit) bool
        Windows and units that pass the requested false discovery rate, over all windows and varying units together.
    """

    windows: Floats
    f: Floats
    eta_squared: Floats
    omega_squared: Floats
    p_value: Floats
    selective: Booleans

    @property
    def time_ms(self) -> Floats:
        """Middle of each window (window,), in ms."""
        return np.asarray(self.windows.mean(axis=1))

    @property
    def fraction(self) -> Floats:
        """Fraction of selective units in each window, (window,)."""
        return np.asarray(self.selective.mean(axis=1))

    def latency_ms(self, consecutive: int = 3) -> Floats:
        """Return (unit,) the middle of the first of several selective windows in a row; NaN for units without them.

        Returns
        -------
        (unit,)
            In ms.
        """
        length = count("consecutive", consecutive, 1)
        if length > len(self.windows):
            return np.full(self.selective.shape[1], np.nan)
        runs = np.lib.stride_tricks.sliding_window_view(self.selective, length, axis=0).all(axis=-1)
        return np.where(runs.any(axis=0), self.time_ms[runs.argmax(axis=0)], np.nan)


def selectivity(
    responses: ArrayLike,
    condition: ArrayLike,
    *,
    rng: np.random.Generator,
    permutations: int = 1000,
    false_discovery: float = 0.05,
) -> Selectivity:
    """Test which units respond differently to the values of a condition.

    The p value is that of F when the condition is shuffled over trials, so responses need not be Gaussian. With n
    permutations it is never below 1 / (n + 1): to find few selective units among many, n must be large.

    Parameters
    ----------
    responses : (trial, unit)
        Such as `window_mean` gives; not modified.
    condition : (trial,)
        Numbers or names.
    rng : numpy.random.Generator
        Draws the permutations.
    permutations : int
        0 for the F test, which assumes Gaussian noise, the same for all conditions.
    false_discovery : float
        Rate allowed among the units called selective, between 0 and 1.

    Returns
    -------
    Selectivity

    Raises
    ------
    InputError
        If the lengths differ, values are not finite, or a condition has fewer than two trials.
    """
    rates = real_array("responses", responses, ("trial", "unit"))
    _, group = grouped("condition", condition, len(rates), least=2)
    rounds, rate = count("permutations", permutations, 0), open_fraction("false_discovery", false_discovery)
    found = _tested(rates, group, rounds, rng)
    selective = _discovered(found.p_value, varying(rates), rate)
    interval = wilson_interval(int(selective.sum()), len(selective))
    return Selectivity(*found, selective, float(selective.mean()), interval)


def selectivity_over_time(
    activity: ArrayLike,
    condition: ArrayLike,
    *,
    time_ms: ArrayLike,
    rng: np.random.Generator,
    width_ms: float = 100.0,
    step_ms: float = 50.0,
    permutations: int = 1000,
    false_discovery: float = 0.05,
) -> SelectivityOverTime:
    """Test which units respond differently to the values of a condition in each window of a sliding series.

    Parameters
    ----------
    activity : (trial, time, unit)
        Recorded activity; not modified.
    condition : (trial,)
        Numbers or names.
    time_ms : (time,)
        Time of each step in ms, in equal steps.
    rng : numpy.random.Generator
        Draws the permutations.
    width_ms, step_ms : float
        Width of the windows and the distance between them in ms, both rounded to whole time steps, at least one.
    permutations : int
        Of the condition over trials, drawn anew for each window; 0 for the F test. See `selectivity`.
    false_discovery : float
        Rate allowed over all windows and units together, between 0 and 1.

    Returns
    -------
    SelectivityOverTime

    Raises
    ------
    InputError
        If the lengths differ, time does not go in equal steps, a window is longer than the recording, values are not
        finite, or a condition has fewer than two trials.
    """
    array = recorded(activity)
    times = real_array("time_ms", time_ms, ("time",))
    if len(times) != array.shape[1]:
        raise InputError(f"time_ms has {len(times)} steps but activity has {array.shape[1]}; give the time of each step")
    _, group = grouped("condition", condition, len(array), least=2, partner="activity")
    rounds, rate = count("permutations", permutations, 0), open_fraction("false_discovery", false_discovery)
    starts, length = _windows(times, width_ms, step_ms)
    tests: list[OneWay] = []
    varies = []
    for start in starts:
        rates = array[:, start : start + length].mean(axis=1, dtype=np.float64)
        if not np.isfinite(rates).all():
            raise InputError("activity holds values that are not finite; drop those trials or units")
        tests.append(_tested(rates, group, rounds, rng))
        varies.append(varying(rates))
    f, eta, omega, p = (np.stack(part) for part in zip(*tests, strict=True))
    ends = np.stack([times[starts], times[starts + length - 1]], axis=1)
    return SelectivityOverTime(ends, f, eta, omega, p, _discovered(p, np.stack(varies), rate))


def example_units(curves: TuningCurves, tests: Selectivity, *, number: int | None = None) -> NDArray[np.intp]:
    """Select units to show: for each condition, the most selective unit that prefers it.

    The most selective unit is the selective unit with the largest omega squared. If no selective unit prefers a
    condition, the condition has no unit.

    Parameters
    ----------
    curves : TuningCurves
        For the preferences.
    tests : Selectivity
        Of the same responses.
    number : int, optional
        Largest number of units; those with the largest omega squared are kept. All by default.

    Returns
    -------
    (example,) int
        Indices of units, in the order of the conditions they prefer.

    Raises
    ------
    InputError
        If the numbers of units differ.
    """
    if len(curves.preferred) != len(tests.f):
        raise InputError(f"tests has {len(tests.f)} units but curves has {len(curves.preferred)}; give the same responses")
    strength = np.where(tests.selective, tests.omega_squared, -np.inf)
    found = []
    for i in range(len(curves.values)):
        own = np.flatnonzero(tests.selective & (curves.preferred == i))
        if len(own):
            found.append(own[strength[own].argmax()])
    examples = np.array(found, dtype=np.intp)
    if number is not None:
        kept = np.argsort(-strength[examples], kind="stable")[: count("number", number, 1)]
        examples = examples[np.sort(kept)]
    return examples


def _tested(rates: Floats, group: NDArray[np.intp], permutations: int, rng: np.random.Generator) -> OneWay:
    found = one_way(rates, group)
    if not permutations:
        return found
    # With the total fixed, F orders shuffles as the sum of squares between conditions does.
    p = permutation_test(standardise(rates), group, np.zeros_like(group), permutations, rng)
    return found._replace(p_value=p)


def _discovered(p: Floats, varies: Booleans, rate: float) -> Booleans:
    found = np.zeros(p.shape, dtype=bool)
    found[varies] = benjamini_hochberg(p[varies]) <= rate
    return found


def _windows(times: Floats, width_ms: float, step_ms: float) -> tuple[NDArray[np.intp], int]:
    """Return the index of each window's first time step (window,), and how many steps a window has."""
    steps = np.diff(times)
    dt = float(steps.mean()) if len(steps) else 1.0
    if len(steps) and (dt <= 0 or np.abs(steps - dt).max() > 1e-3 * dt):
        raise InputError(f"time_ms goes in steps of {steps.min():g} to {steps.max():g} ms; give equal steps, rising")
    for name, value in (("width_ms", width_ms), ("step_ms", step_ms)):
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}; give a time in ms above 0")
    length, stride = max(round(width_ms / dt), 1), max(round(step_ms / dt), 1)
    if length > len(times):
        raise InputError(f"width_ms is {width_ms:g}, longer than the {len(times) * dt:g} ms recorded; give a smaller one")
    return np.arange(0, len(times) - length + 1, stride), length
