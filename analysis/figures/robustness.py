"""Figures of cost, of responses over time and of responses under noise; public in `figures`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from cordstasks.analysis._checks import count, real_array
from cordstasks.analysis.figures.style import BLUE, GREEN, GREY, ORANGE, TEXT, dress, new_figure, shared_legend
from cordstasks.errors import InputError

COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", "--", ":", "-.")


def cost_and_parameters(
    parameters: ArrayLike,
    multiply_accumulates: ArrayLike,
    families: Sequence[str],
    *,
    names: Sequence[str],
    named: Sequence[bool],
) -> Figure:
    """Draw the multiply-accumulates of networks against their parameters, on logarithmic axes.

    Parameters
    ----------
    parameters, multiply_accumulates : (network,)
        Numbers above 0.
    families : (network,)
        Groups of networks, each with a colour and a marker. Networks of one family that is not the largest are joined by a
        line.
    names : (network,)
        Of each network.
    named : (network,)
        Whose names are written.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the lengths differ, or a number is not above 0.
    """
    x, y = (
        real_array(name, values, ("network",))
        for name, values in (("parameters", parameters), ("multiply_accumulates", multiply_accumulates))
    )
    for name, values in (("multiply_accumulates", y), ("families", families), ("names", names), ("named", named)):
        if len(values) != len(x):
            raise InputError(f"{name} has {len(values)} entries for {len(x)} networks; give one for each")
    if min(x.min(), y.min()) <= 0:
        raise InputError("parameters and multiply_accumulates must be above 0, since axes are logarithmic")
    figure = new_figure(8.5, 5.6)
    axis = figure.subplots()
    kinds = sorted(dict.fromkeys(families), key=list(families).count, reverse=True)
    for place, kind in enumerate(kinds):
        rows = [row for row, family in enumerate(families) if family == kind]
        colour = GREY if place == 0 else COLOURS[(place - 1) % len(COLOURS)]
        style: dict[str, Any] = {"linestyle": "none" if place == 0 else "-", "marker": MARKERS[place % len(MARKERS)]}
        axis.plot(x[rows], y[rows] / 1e9, color=colour, label=kind, alpha=0.6 if place == 0 else 1, **style)
    for row, written in enumerate(named):
        if written:
            # to the right of the point and below it, where networks that cost less for their size are fewer
            axis.annotate(names[row], (x[row], y[row] / 1e9), (7, -13), textcoords="offset points", fontsize=TEXT - 2)
    axis.set_xscale("log")
    axis.set_yscale("log")
    dress(axis, "", "parameters", "multiply-accumulates for one image ($10^9$)")
    axis.legend(fontsize=TEXT - 1, frameon=False, loc="lower right")
    return figure


def responses_over_time(
    times_ms: Mapping[str, ArrayLike],
    panels: Mapping[str, Mapping[str, Any]],
    *,
    shown: Sequence[tuple[float, float, str]],
) -> Figure:
    """Draw measures of networks over time, one panel for each measure and one line for each network.

    Parameters
    ----------
    times_ms : {network: (time,)}
        Times of each network's values, in ms.
    panels : {measure: {network: values}}
        Each values are (time,), or three of them: the value and the two ends of its interval.
    shown : sequence of (float, float, str)
        Periods in which an image is shown: beginning and end in ms, and its name. Grey in every panel.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there is nothing to draw, or values do not fit their times.
    """
    if not panels or not times_ms:
        raise InputError("panels or times_ms is empty; give at least one measure of one network")
    figure = new_figure(9.5, 2.4 * len(panels) + 0.8)
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    places = {name: place for place, name in enumerate(times_ms)}
    for axis, (title, lines) in zip(axes, panels.items(), strict=True):
        _mark(axis, shown, named=axis is axes[0])
        for name, values in lines.items():
            time = real_array(f"times_ms[{name!r}]", times_ms[name], ("time",))
            parts = [real_array(f"{title} of {name}", part, ("time",)) for part in _parts(values)]
            if any(len(part) != len(time) for part in parts):
                raise InputError(f"{title} of {name} has {len(parts[0])} values for {len(time)} times; give one for each")
            place = places[name]
            colour = COLOURS[place % len(COLOURS)]
            axis.plot(time, parts[0], LINES[place % len(LINES)], color=colour, label=name, linewidth=1.8)
            if len(parts) == 3:
                axis.fill_between(time, parts[1], parts[2], color=colour, alpha=0.2, linewidth=0)
        dress(axis, title, "", "")
        axis.set_ylim(bottom=0)
    axes[-1].set_xlabel("time (ms)", fontsize=TEXT)
    shared_legend(figure, axes[0])
    return figure


def _parts(values: Any) -> list[Any]:
    """A line with its interval, if it has one."""
    array = np.asarray(values, dtype=np.float64)
    return [array] if array.ndim == 1 else list(array)


def _mark(axis: Axes, shown: Sequence[tuple[float, float, str]], *, named: bool) -> None:
    for begin, end, name in shown:
        axis.axvspan(begin, end, color="0.93", zorder=0)
        if named:
            axis.annotate(
                name,
                ((begin + end) / 2, 0.0),
                (0, 3),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                fontsize=TEXT - 2,
                ha="center",
                va="bottom",
                color=GREY,
            )


def noise_levels(
    levels: ArrayLike,
    panels: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike]]],
    *,
    unit: str,
    chance: float | None = None,
    logarithmic: Sequence[str] = (),
) -> Figure:
    """Draw measures of networks against the level of noise, one panel for each measure.

    Parameters
    ----------
    levels : (level,)
        Above 0, drawn on a logarithmic axis.
    panels : {measure: {network: (value, low, high)}}
        Each (level,), with the ends of its interval.
    unit : str
        Of the levels.
    chance : float, optional
        Drawn as a line in the last panel.
    logarithmic : sequence of str
        Measures with a logarithmic axis.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there is nothing to draw, or values do not fit the levels.
    """
    x = real_array("levels", levels, ("level",))
    count("levels", len(x), 1)
    if x.min() <= 0 or not panels:
        raise InputError("levels must be above 0, and panels must hold a measure")
    figure = new_figure(5.0 * len(panels), 4.4)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, networks) in zip(axes, panels.items(), strict=True):
        for place, (name, values) in enumerate(networks.items()):
            value, low, high = (real_array(f"{title} of {name}", part, ("level",)) for part in values)
            if len({len(value), len(low), len(high), len(x)}) > 1:
                raise InputError(f"{title} of {name} has {len(value)} values for {len(x)} levels; give one for each")
            errors = np.stack([value - low, high - value]).clip(min=0)
            style: dict[str, Any] = {"marker": MARKERS[place % len(MARKERS)], "linestyle": LINES[place % len(LINES)]}
            axis.errorbar(x, value, errors, color=COLOURS[place % len(COLOURS)], label=name, capsize=3, **style)
        axis.set_xscale("log")
        axis.set_xticks(x, [f"{level:g}" for level in x])
        axis.minorticks_off()
        dress(axis, title, f"level of noise ({unit})", "")
        if title in logarithmic:
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=0)
    if chance is not None:
        axes[-1].axhline(chance, color=GREY, linewidth=1, linestyle=":")
    shared_legend(figure, axes[0])
    return figure
