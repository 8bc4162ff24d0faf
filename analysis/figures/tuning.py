"""Figures of populations of tuned units: heat map, curves about the preferred condition, peri-stimulus histograms.

Each function returns a `matplotlib.figure.Figure` that it built itself; `cordstasks.analysis.figures.save` writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from cordstasks.analysis._checks import Floats, real_array
from cordstasks.analysis._trials import grouped, numeric, recorded
from cordstasks.analysis.figures.population_panels import (
    Periods,
    aligned_panel,
    condition_colours,
    condition_label,
    heat_panel,
    preference_panel,
    unit_panel,
)
from cordstasks.analysis.figures.style import TEXT, new_figure
from cordstasks.analysis.tuning.aligned import align, chosen_units
from cordstasks.analysis.tuning.curves import CrossValidatedCurves
from cordstasks.errors import InputError

__all__ = ["aligned_tuning", "heat_map", "peristimulus"]


def heat_map(
    curves: CrossValidatedCurves,
    activity: ArrayLike,
    condition: ArrayLike,
    time_ms: ArrayLike,
    *,
    periods: Periods | None = None,
    unit: str = "",
    false_discovery: float | None = 0.05,
) -> Figure:
    """Draw each tuned unit's response to its preferred condition minus the response to the others, over time.

    The selection of units, their preferences and their order (by preference, the strongest at the top) come from the first
    half of the trials. The colours come from the second half, so noise looks like noise.

    Parameters
    ----------
    curves : CrossValidatedCurves
        From the same trials.
    activity : (trial, time, unit)
        Not modified.
    condition : (trial,)
        The condition of `curves`.
    time_ms : (time,)
        Time of each step in ms.
    periods : {name: (onset, offset)}, optional
        Periods of the trial in ms, marked.
    unit : str
        Written after the condition's numbers, such as a degree sign.
    false_discovery : float or None
        Rate at which units are called tuned, by the first half of the trials; None for all that vary.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the arrays do not fit each other or the curves.
    """
    array, times, group = _fitting(curves, activity, condition, time_ms)
    chosen = chosen_units(curves, false_discovery)[0]
    figure = new_figure(8.5, 5.5)
    if not chosen.any():
        figure.text(0.5, 0.5, "No unit is tuned: none to show.", ha="center", fontsize=TEXT)
        return figure
    heat_panel(figure, figure.subplots(), curves, chosen, array, times, group, periods or {}, unit, 5.5)
    return figure


def aligned_tuning(
    curves: CrossValidatedCurves,
    *,
    condition: str,
    period: float | None = None,
    fold: bool = False,
    unit: str = "",
    false_discovery: float | None = 0.05,
) -> Figure:
    """Draw cross-validated tuning by preferred condition, and around the preferred condition over all units.

    Parameters
    ----------
    curves : CrossValidatedCurves
        Of a condition with numbers for values.
    condition : str
        What the condition is, with its unit, for the axes.
    period, fold, false_discovery
        As for `cordstasks.analysis.tuning.align`; `fold` is for the panel over all units.
    unit : str
        Written after the condition's numbers, such as a degree sign.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the conditions are names.
    """
    values = numeric("condition", curves.values)
    overall = align(curves, period=period, fold=fold, false_discovery=false_discovery)
    figure = new_figure(12, 4.6)
    if not overall.chosen.any():
        figure.text(0.5, 0.5, "No unit is tuned: none to show.", ha="center", fontsize=TEXT)
        return figure
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    parts = [align(curves, preferred=value, false_discovery=false_discovery) for value in values.tolist()]
    colours = condition_colours(curves.values, circular=period is not None)
    preference_panel(left, parts, values, colours, condition, unit)
    aligned_panel(right, overall, condition, fold=fold)
    return figure


def peristimulus(
    activity: ArrayLike,
    condition: ArrayLike,
    time_ms: ArrayLike,
    units: Sequence[int] | NDArray[np.intp],
    *,
    name: str = "",
    titles: Sequence[str] | None = None,
    periods: Periods | None = None,
    circular: bool = False,
    unit: str = "",
    columns: int = 3,
) -> Figure:
    """Draw the mean activity of single units over time by condition, with standard errors over trials.

    Parameters
    ----------
    activity : (trial, time, unit)
        Not modified.
    condition : (trial,)
        Numbers or names.
    time_ms : (time,)
        Time of each step in ms.
    units : (panel,) int
        Which units to draw, such as `cordstasks.analysis.tuning.example_units` chooses.
    name : str
        What the condition is, for the legend.
    titles : (panel,) str, optional
        Their titles; "Unit" and its number by default.
    periods : {name: (onset, offset)}, optional
        Periods of the trial in ms, marked.
    circular : bool
        Whether the conditions are angles in deg, coloured around a wheel.
    unit : str
        Written after the condition's numbers, such as a degree sign.
    columns : int
        Panels beside each other.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the arrays do not fit each other or there is no such unit.
    """
    array = recorded(activity)
    times = _times(time_ms, array)
    values, group = grouped("condition", condition, len(array), partner="activity")
    chosen = [int(index) for index in units]
    if any(not 0 <= index < array.shape[2] for index in chosen):
        raise InputError(f"units is {chosen}; give indices from 0 to {array.shape[2] - 1}")
    said = [f"Unit {index}" for index in chosen] if titles is None else list(titles)
    if len(said) != len(chosen):
        raise InputError(f"titles has {len(said)} names for {len(chosen)} units; give one for each")
    if not chosen:
        figure = new_figure(6, 2)
        figure.text(0.5, 0.5, "No unit is tuned: none to show.", ha="center", fontsize=TEXT)
        return figure
    across = min(columns, len(chosen))
    rows = -(-len(chosen) // across)
    width = 3.7 if across > 1 else 6.0
    figure = new_figure(across * width + 0.3, rows * 3.1 + 0.9)
    grid = figure.subplots(rows, across, squeeze=False, sharex=True)
    labels = [condition_label(value, unit) for value in values.tolist()]
    colours = condition_colours(values, circular=circular)
    for i, axis in enumerate(grid.flat):
        if i >= len(chosen):
            axis.set_visible(False)
            continue
        rates = array[:, :, chosen[i]]
        unit_panel(axis, rates, times, group, colours, labels, periods or {}, said[i], width - 0.9)
        if i % across:
            axis.set_ylabel("")
        if i + across < len(chosen):
            axis.set_xlabel("")
        else:
            axis.tick_params(labelbottom=True)
    handles, _ = grid[0, 0].get_legend_handles_labels()
    room = max(int((across * width + 0.3) / (0.7 + 0.1 * max(map(len, labels)))), 1)
    lines = -(-len(labels) // room)
    figure.legend(
        handles,
        labels,
        title=name or None,
        loc="outside lower center",
        ncols=-(-len(labels) // lines),
        fontsize=TEXT - 1,
        title_fontsize=TEXT - 1,
        frameon=False,
    )
    return figure


def _times(time_ms: ArrayLike, array: NDArray[Any]) -> Floats:
    times = real_array("time_ms", time_ms, ("time",))
    if len(times) != array.shape[1]:
        raise InputError(f"time_ms has {len(times)} steps but activity has {array.shape[1]}; give the time of each step")
    return times


def _fitting(
    curves: CrossValidatedCurves, activity: ArrayLike, condition: ArrayLike, time_ms: ArrayLike
) -> tuple[NDArray[Any], Floats, NDArray[np.intp]]:
    """Return activity, times and the index of each trial's condition, checked against `curves`."""
    array = recorded(activity)
    if (len(array), array.shape[2]) != (len(curves.first_half), len(curves.varies)):
        raise InputError(
            f"activity has shape {array.shape}; curves are of {len(curves.first_half)} trials and {len(curves.varies)} units"
        )
    times = _times(time_ms, array)
    values, group = grouped("condition", condition, len(array), partner="activity")
    if not np.array_equal(values, curves.values):
        raise InputError("condition holds other values than curves; give the trials that the curves were made from")
    return array, times, group
