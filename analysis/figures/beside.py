"""Figures of models beside recordings: similarity of representations over time, and ramps of firing rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from cordstasks.analysis._checks import Floats, real_array
from cordstasks.analysis.figures.predictivity import area_colours
from cordstasks.analysis.figures.style import GREY, TEXT, coherence_colours, dress, legend_beside, new_figure, percent
from cordstasks.errors import InputError


def similarity_over_time(
    times_ms: ArrayLike,
    references: Mapping[str, tuple[ArrayLike, ArrayLike]],
    names: Sequence[str],
    *,
    beside: Mapping[str, Mapping[str, float]] | None = None,
) -> Figure:
    """Draw how similar the representations of areas are to references, over time.

    Parameters
    ----------
    times_ms : (time,)
    references : mapping of str to pair of arrays
        For each reference, correlations (area, time), and the intervals (area, 2) of those at the last time.
    names : (area,)
    beside : mapping, optional
        For each reference, values of models without a time course, drawn as horizontal lines.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If shapes do not fit.
    """
    times = real_array("times_ms", times_ms, ("time",))
    figure = new_figure(5.0 * len(references) + 1.4, 4.2)
    axes = np.atleast_1d(figure.subplots(1, len(references), sharey=True))
    for axis, (title, (values, intervals)) in zip(axes, references.items(), strict=True):
        rows = real_array(f"references[{title!r}]", values, ("area", "time"))
        ends = real_array(f"references[{title!r}]", intervals, ("area", "end"))
        if rows.shape != (len(names), len(times)) or ends.shape != (len(names), 2):
            raise InputError(
                f"references[{title!r}] has shapes {rows.shape} and {ends.shape}; give {(len(names), len(times))} and "
                f"{(len(names), 2)}"
            )
        step = 0.03 * float(np.ptp(times))
        for place, (colour, name) in enumerate(zip(area_colours(len(names)), names, strict=True)):
            axis.plot(times, rows[place], color=colour, linewidth=2, label=name)
            beyond = times[-1] + (place + 1) * step  # side by side, so that each can be read
            axis.plot([beyond, beyond], ends[place], color=colour, linewidth=2)
        for style, (name, value) in zip(("--", ":", "-."), (beside or {}).get(title, {}).items(), strict=False):
            axis.axhline(value, color=GREY, linestyle=style, linewidth=1.8, label=name)
        dress(axis, title, "time after onset (ms)", "")
    axes[0].set_ylabel("rank correlation of\ndissimilarities", fontsize=TEXT)
    legend_beside(axes[-1])
    return figure


def ramps(panels: Mapping[str, Mapping[tuple[str, float], tuple[ArrayLike, ArrayLike]]], *, units: Sequence[str]) -> Figure:
    """Draw mean responses over time by choice and coherence, of several populations side by side.

    Parameters
    ----------
    panels : mapping
        For each title, mean courses by (choice, coherence): times (time,) in ms and responses (time,). The first choice that
        occurs is drawn with full lines, the other with broken ones. Coherences are fractions.
    units : (panel,)
        Labels of the vertical axes.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If times and responses differ in length, or there is not one unit for each panel.
    """
    if len(units) != len(panels):
        raise InputError(f"units has {len(units)} entries for {len(panels)} panels; give one for each")
    levels = sorted({coherence for courses in panels.values() for _, coherence in courses})
    colours = dict(zip(levels, coherence_colours(levels), strict=True))
    figure = new_figure(4.6 * len(panels) + 1.2, 4.0)
    axes = np.atleast_1d(figure.subplots(1, len(panels)))
    for axis, unit, (title, courses) in zip(axes, units, panels.items(), strict=True):
        first = next(iter(courses))[0]
        for (choice, coherence), (times, responses) in courses.items():
            x, y = _course(title, times, responses)
            style = "-" if choice == first else "--"
            axis.plot(x, y, style, color=colours[coherence], linewidth=1.8)
        dress(axis, title, "time (ms)", unit)
    for level in levels:
        axes[-1].plot([], [], color=colours[level], linewidth=3, label=f"{percent(level)} %")
    axes[-1].plot([], [], "-", color=GREY, label="preferred choice")
    axes[-1].plot([], [], "--", color=GREY, label="other choice")
    legend_beside(axes[-1])
    return figure


def _course(title: str, times: ArrayLike, responses: ArrayLike) -> tuple[Floats, Floats]:
    x, y = real_array(f"panels[{title!r}]", times, ("time",)), real_array(f"panels[{title!r}]", responses, ("time",))
    if len(x) != len(y):
        raise InputError(f"panels[{title!r}] has {len(x)} times and {len(y)} responses; give one for each")
    return x, y
