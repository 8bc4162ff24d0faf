"""Tuning of units to the direction and coherence of motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.analysis._checks import (
    Booleans,
    Floats,
    coherences,
    count,
    open_fraction,
    plain,
    plain_interval,
    real_array,
    same_trials,
)
from cordstasks.analysis._trials import varying
from cordstasks.analysis.statistics.permutation import (
    benjamini_hochberg,
    centre,
    group_means,
    halves,
    permutation_test,
    preferred_minus_others,
    sensitivity,
    slopes,
)
from cordstasks.analysis.statistics.proportions import wilson_interval
from cordstasks.analysis.tuning.windows import window_mean
from cordstasks.errors import InputError

__all__ = ["DirectionTuning", "benjamini_hochberg", "direction_tuning"]


@dataclass(frozen=True, eq=False)
class DirectionTuning:
    """Tuning to direction and coherence, from `direction_tuning`.

    Attributes
    ----------
    directions : (direction,)
        The directions shown, in deg, in [0, 360), sorted.
    coherences : (level,)
        The coherences shown (fractions), sorted.
    varies : (unit,) bool
        Units whose response is not the same in all trials. Others have no preference and are never tuned.
    preferred : (unit,)
        Direction with the largest mean response, in deg; NaN for units that do not vary.
    selectivity : (unit,)
        d': mean response to the preferred direction minus that to the others, within coherence, over the standard
        deviation among trials of one direction and coherence; trials of zero coherence are left out. The preference comes
        from the same trials, so it is never negative and is above 0 for noise too: rank by it, do not test with it.
    p_value : (unit,)
        Permutation test of any effect of direction; 1 for units that do not vary.
    tuned : (unit,) bool
        Units that pass the requested false discovery rate (Benjamini & Hochberg 1995), among those that vary.
    fraction : float
        Tuned units over all units.
    fraction_interval : (low, high)
        Wilson's 95 % interval of this fraction, as if the units were independent draws.
    difference : (unit, level)
        Response to the preferred direction minus the mean response to the others at each coherence, cross-validated:
        preference from one half of the trials, responses from the other, averaged over both ways. 0 on average for
        noise. In units of the activity; NaN at a coherence where a half lacks a direction.
    coherence_slope : (unit,)
        Least-squares slope of `difference` on coherence, in units of activity for a coherence of 1.
    scale : (unit,)
        Standard deviation of the unit's responses over all trials; 0 for units that do not vary.
    first_half : (trial,) bool
        The half of the trials used first, balanced over directions and coherences.
    preferred_first : (unit,)
        Preferred direction in that half alone, in deg; NaN for units that do not vary.
    """

    directions: Floats
    coherences: Floats
    varies: Booleans
    preferred: Floats
    selectivity: Floats
    p_value: Floats
    tuned: Booleans
    fraction: float
    fraction_interval: tuple[float, float]
    difference: Floats
    coherence_slope: Floats
    scale: Floats
    first_half: Booleans
    preferred_first: Floats

    def population_difference(self) -> tuple[Floats, Floats]:
        """Return the mean of `difference` over the units that vary, each over its `scale`, and its standard error.

        Returns
        -------
        mean, standard_error : (level,)
            In standard deviations of the response. The error is that over units; trials common to all units make the
            true one larger. NaN where fewer than two units vary.
        """
        scaled = self.difference[self.varies] / self.scale[self.varies, None]
        if len(scaled) < 2:
            return np.full(len(self.coherences), np.nan), np.full(len(self.coherences), np.nan)
        return scaled.mean(axis=0), scaled.std(axis=0, ddof=1) / np.sqrt(len(scaled))

    def clearest(self, number: int) -> NDArray[np.intp]:
        """Return the indices of the tuned units with the largest selectivity, at most `number`, in decreasing order.

        Returns
        -------
        (index,) int
            At most `number`; empty if no unit is tuned.
        """
        order = np.argsort(-self.selectivity, kind="stable")
        return np.asarray(order[self.tuned[order]][:number])

    def as_dict(self) -> dict[str, Any]:
        """Return a summary over units ready for JSON, None for values that could not be estimated.

        Returns
        -------
        dict of str to object
            Numbers and lists by name.
        """
        mean, error = self.population_difference()
        slope = slopes(mean[None], self.coherences)[0]
        return {
            "units": len(self.varies),
            "varying": int(self.varies.sum()),
            "tuned": int(self.tuned.sum()),
            "fraction": self.fraction,
            "fraction_interval": plain_interval(self.fraction_interval),
            "tuned_by_preferred_direction": [
                {"direction": float(angle), "units": int((self.tuned & (self.preferred == angle)).sum())}
                for angle in self.directions
            ],
            "median_selectivity_of_tuned": float(np.median(self.selectivity[self.tuned])) if self.tuned.any() else None,
            "difference_by_coherence": [
                {"coherence": float(level), "difference": plain(m), "standard_error": plain(e)}
                for level, m, e in zip(self.coherences, mean, error, strict=True)
            ],
            "coherence_slope": plain(slope),
        }


def direction_tuning(
    activity: ArrayLike,
    direction: ArrayLike,
    coherence: ArrayLike,
    *,
    window: slice | ArrayLike = slice(None),
    permutations: int = 1000,
    rng: np.random.Generator,
    false_discovery: float = 0.05,
) -> DirectionTuning:
    """Test each unit for tuning to direction, and measure how the tuning grows with coherence.

    A unit's response is its mean activity in the window. The test statistic is the variance between directions of the
    responses, taken within coherence; its null distribution permutes directions among trials of one coherence, so an
    effect of coherence alone is not tuning. Trials of zero coherence, whose direction is only a label, are used only
    in `DirectionTuning.difference`. The smallest p value is 1 / (1 + permutations): with 1000 permutations and a false
    discovery rate of 0.05, tuned units are found only where about 2 % of the units or more are tuned.

    Parameters
    ----------
    activity : (trial, time, unit)
        Not modified.
    direction : (trial,)
        Directions of motion in deg, two or more different ones.
    coherence : (trial,)
        Fractions in [0, 1].
    window : slice, (time,) bool or (trial, time) bool
        The time steps to average over; (trial, time) if each trial has its own window.
    permutations : int
        Number of random permutations.
    rng : numpy.random.Generator
        Draws the permutations and the halves.
    false_discovery : float
        False discovery rate for `DirectionTuning.tuned`.

    Returns
    -------
    DirectionTuning

    Raises
    ------
    InputError
        If lengths differ, the window is empty, values are not finite, or a direction has fewer than four trials with
        moving dots.
    """
    responses = window_mean(activity, window)
    angle = np.round(np.mod(real_array("direction", direction, ("trial",)), 360), 6) % 360
    strength = coherences("coherence", coherence, signed=False)
    same_trials("direction", angle, len(responses), "activity")
    same_trials("coherence", strength, len(responses), "activity")
    rounds = count("permutations", permutations, 1)
    rate = open_fraction("false_discovery", false_discovery)
    directions, heading = np.unique(angle, return_inverse=True)
    levels, level = np.unique(strength, return_inverse=True)
    moving = strength > 0
    trials = np.bincount(heading[moving], minlength=len(directions))
    if len(directions) < 2 or trials.min() < 4:
        shown = ", ".join(f"{a:g} deg: {n}" for a, n in zip(directions, trials, strict=True))
        raise InputError(
            f"direction has too few trials with moving dots ({shown}); give two or more, each in 4 trials or more"
        )

    varies = varying(responses)
    scale = np.where(varies, responses.std(axis=0), 0.0)
    # Standardised, so that rounding is the same for every unit; centred within coherence, so that only direction remains
    # to be explained.
    standard = np.where(varies, responses[moving] / np.where(varies, scale, 1.0), 0.0)
    centred = centre(standard, level[moving])
    p_value = permutation_test(centred, heading[moving], level[moving], rounds, rng)
    tuned = np.zeros(len(varies), dtype=bool)
    tuned[varies] = benjamini_hochberg(p_value[varies]) <= rate
    low, high = wilson_interval(int(tuned.sum()), len(tuned))

    means = group_means(centred, heading[moving], len(directions))
    preferred = means.argmax(axis=0)
    parts = halves(heading, level, rng)
    preferences, differences = [], []
    for half in (parts, ~parts):
        use = half[moving]
        part = centre(standard[use], level[moving][use])  # centred again: the other half must have no influence
        preferences.append(group_means(part, heading[moving][use], len(directions)).argmax(axis=0))
        differences.append(
            [
                preferred_minus_others(group_means(responses[cell], heading[cell], len(directions)), preferences[-1])
                for cell in (~half & (level == i) for i in range(len(levels)))
            ]
        )
    difference = np.where(varies, np.mean(differences, axis=0), 0.0).T
    return DirectionTuning(
        directions=directions,
        coherences=levels,
        varies=varies,
        preferred=np.where(varies, directions[preferred], np.nan),
        selectivity=sensitivity(centred, means, heading[moving], level[moving], preferred),
        p_value=p_value,
        tuned=tuned,
        fraction=float(tuned.mean()),
        fraction_interval=(low, high),
        difference=difference,
        coherence_slope=slopes(difference, levels),
        scale=scale,
        first_half=parts,
        preferred_first=np.where(varies, directions[preferences[0]], np.nan),
    )
