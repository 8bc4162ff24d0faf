"""The figure of a population's tuning to direction and coherence; public as `figures.direction_population`."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from cordstasks.analysis._checks import Floats, coherences, count, real_array, same_trials
from cordstasks.analysis.figures.style import BLACK, BLUE, GREY, TEXT, coherence_colours, dress, new_figure, percent
from cordstasks.analysis.statistics.permutation import group_means, preferred_minus_others
from cordstasks.analysis.tuning.direction import DirectionTuning
from cordstasks.errors import InputError


def direction_population(
    tuning: DirectionTuning,
    activity: ArrayLike,
    time_ms: ArrayLike,
    direction: ArrayLike,
    coherence: ArrayLike,
    *,
    motion: tuple[float, float] | None = None,
    examples: int = 3,
) -> Figure:
    """Draw the tuning of a population of units to the direction and coherence of motion.

    Above, a heat map of the response to the preferred direction minus that to the others, over time, at the highest
    coherence: preference and order (by preferred direction, then by difference) come from one half of the trials and
    the colours come from the other half, so that noise looks like noise. Beside it is the cross-validated difference against
    coherence. Below are the tuned units with the largest selectivity: their mean activity over time by coherence, for the
    preferred direction and for the others.

    Parameters
    ----------
    tuning : DirectionTuning
        From the same trials.
    activity : (trial, time, unit)
        Not modified.
    time_ms : (time,)
        Time of each step in ms.
    direction : (trial,)
        In deg.
    coherence : (trial,)
        Fractions in [0, 1].
    motion : (onset, offset), optional
        When the dots move, in ms; marked in each panel over time.
    examples : int
        Number of clearest units to draw, at least 1.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the arrays do not fit each other or the tuning.
    """
    array = np.asarray(activity)
    times = real_array("time_ms", time_ms, ("time",))
    expected = (len(tuning.first_half), len(times), len(tuning.varies))
    if array.shape != expected:
        raise InputError(f"activity has shape {array.shape}; tuning and time_ms call for (trial, time, unit) {expected}")
    strength = coherences("coherence", coherence, signed=False)
    angle = np.round(np.mod(real_array("direction", direction, ("trial",)), 360), 6) % 360
    for name, values in (("direction", angle), ("coherence", strength)):
        same_trials(name, values, len(array), "activity")
    if not (np.isin(angle, tuning.directions).all() and np.isin(strength, tuning.coherences).all()):
        raise InputError("direction or coherence holds values that tuning has not seen; give the trials it was made from")
    heading = np.searchsorted(tuning.directions, angle)
    number = count("examples", examples, 1)

    chosen = tuning.clearest(number)
    figure = new_figure(12.5, 9 if len(chosen) else 5.4)
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.1, 1) if len(chosen) else (1, 0.1))
    heat, curve = upper.subplots(1, 2, width_ratios=(1.5, 1))
    _heat_map(heat, tuning, array, times, heading, strength, motion)
    _difference_panel(curve, tuning)
    if not len(chosen):
        lower.text(0.5, 0.5, "No unit is tuned to direction: none to show by itself.", ha="center", fontsize=TEXT)
        return figure
    for axis, unit in zip(lower.subplots(1, len(chosen), squeeze=False)[0], chosen, strict=True):
        _unit_panel(axis, tuning, array[:, :, unit], int(unit), times, heading, strength, motion)
        if unit != chosen[0]:
            axis.set_ylabel("")
    handles = _unit_legend(tuning, motion=motion is not None)
    lower.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 9), fontsize=TEXT - 1, frameon=False)
    return figure


def _mark_motion(axis: Axes, motion: tuple[float, float] | None, colour: str) -> None:
    for moment in motion or ():
        axis.axvline(moment, color=colour, linestyle=":", linewidth=1.3)


def _heat_map(
    axis: Axes,
    tuning: DirectionTuning,
    activity: NDArray[np.generic],
    times: Floats,
    heading: NDArray[np.intp],
    strength: Floats,
    motion: tuple[float, float] | None,
) -> None:
    strongest = strength == tuning.coherences[-1]
    units = np.flatnonzero(tuning.varies)
    preferred = np.searchsorted(tuning.directions, tuning.preferred_first[units])
    difference = []
    for half in (tuning.first_half, ~tuning.first_half):
        trials = np.flatnonzero(half & strongest)
        flat = activity[trials][:, :, units].reshape(len(trials), len(times) * len(units)).astype(np.float64)
        means = group_means(flat, heading[trials], len(tuning.directions))
        over_time = preferred_minus_others(means, np.tile(preferred, len(times))).reshape(len(times), -1)
        difference.append(over_time / tuning.scale[units])
    order = np.lexsort((-difference[0].mean(axis=0), preferred))
    picture = difference[1][:, order].T
    title = f"Preferred minus others at {percent(tuning.coherences[-1])} %, {len(units)} units"
    dress(axis, title, "time (ms)", "unit, by preferred direction")
    if not picture.size or not np.isfinite(picture).all():
        axis.text(0.5, 0.5, "too few trials", ha="center", va="center", fontsize=TEXT, transform=axis.transAxes)
        return
    reach = max(float(np.quantile(np.abs(picture), 0.98)), 1e-12)
    step = (times[-1] - times[0]) / max(len(times) - 1, 1) or 1.0
    extent = (times[0] - step / 2, times[-1] + step / 2, len(units) - 0.5, -0.5)
    image = axis.imshow(
        picture, aspect="auto", cmap="RdBu_r", vmin=-reach, vmax=reach, extent=extent, interpolation="nearest"
    )
    bar = axis.figure.colorbar(image, ax=axis, pad=0.02)
    bar.set_label("difference (SD of unit)", fontsize=TEXT)
    bar.ax.tick_params(labelsize=TEXT)
    _mark_motion(axis, motion, BLACK)
    edges = np.concatenate([[0], np.cumsum(np.bincount(preferred, minlength=len(tuning.directions)))])
    for edge in edges[1:-1]:
        axis.axhline(edge - 0.5, color=BLACK, linewidth=1)
    middles = [(a + b) / 2 - 0.5 for a, b in pairwise(edges)]
    named = [i for i in range(len(middles)) if edges[i + 1] > edges[i]]
    axis.set_yticks(
        [middles[i] for i in named],
        [f"{tuning.directions[i]:g}\u00b0\n({edges[i + 1] - edges[i]})" for i in named],
    )


def _difference_panel(axis: Axes, tuning: DirectionTuning) -> None:
    mean, error = tuning.population_difference()
    x = 100 * tuning.coherences
    axis.axhline(0, color=GREY, linestyle=":", label="no preference")
    label = "mean over units, 95 % interval;\npreference from other trials"
    axis.errorbar(x, mean, 1.96 * error, fmt="o-", color=BLUE, capsize=3, linewidth=2, label=label)
    low, high = (percent(end) for end in tuning.fraction_interval)
    title = f"{percent(tuning.fraction)} % of {len(tuning.varies)} units tuned [{low}, {high}]"
    dress(axis, title, "coherence (%)", "preferred minus others (SD of unit)")
    bottom, top = axis.get_ylim()
    axis.set_ylim(bottom, top + 0.3 * (top - bottom))  # room for the legend
    axis.legend(fontsize=TEXT - 1, frameon=False, loc="upper left")


def _unit_panel(
    axis: Axes,
    tuning: DirectionTuning,
    activity: NDArray[np.generic],
    unit: int,
    times: Floats,
    heading: NDArray[np.intp],
    strength: Floats,
    motion: tuple[float, float] | None,
) -> None:
    preferred = int(np.searchsorted(tuning.directions, tuning.preferred[unit]))
    for level, colour in zip(tuning.coherences, coherence_colours(tuning.coherences.tolist()), strict=True):
        trials = strength == level
        means = group_means(activity[trials].astype(np.float64), heading[trials], len(tuning.directions))
        axis.plot(times, means[preferred], color=colour, linewidth=1.8)
        axis.plot(times, np.delete(means, preferred, axis=0).mean(axis=0), color=colour, linewidth=1.8, linestyle="--")
    _mark_motion(axis, motion, GREY)
    title = f"Unit {unit} prefers {tuning.preferred[unit]:g}\u00b0, d\u2032 {tuning.selectivity[unit]:.2g}"
    dress(axis, title, "time (ms)", "mean activity (a.u.)", size=TEXT)


def _unit_legend(tuning: DirectionTuning, *, motion: bool) -> list[Line2D]:
    colours = coherence_colours(tuning.coherences.tolist())
    handles = [
        Line2D([], [], color=colour, linewidth=3, label=f"{percent(level)} %")
        for level, colour in zip(tuning.coherences, colours, strict=True)
    ]
    handles[0].set_label(f"coherence {handles[0].get_label()}")
    handles.append(Line2D([], [], color=BLACK, label="preferred"))
    handles.append(Line2D([], [], color=BLACK, linestyle="--", label="others"))
    if motion:
        handles.append(Line2D([], [], color=GREY, linestyle=":", label="motion on, off"))
    return handles
