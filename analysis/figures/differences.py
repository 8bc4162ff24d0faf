"""A figure of differences with intervals: which of two kinds of network is closer to a reference; public in `figures`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cordstasks.analysis.figures.comparison import COLOURS, MARKERS
from cordstasks.analysis.figures.style import GREY, TEXT, dress, new_figure, shared_legend
from cordstasks.errors import InputError

__all__ = ["closer_to_reference"]


def closer_to_reference(
    panels: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
    *,
    reference: str = "full",
    candidate: str = "convolutional",
    units: Mapping[str, str] | None = None,
) -> Figure:
    """Draw whether one kind of network is closer to a reference than others are, for several distances and tasks.

    A marker is the difference of two mean distances with its interval. It lies to the left of zero if the candidate is
    closer to the reference than the other kind is.

    Parameters
    ----------
    panels : mapping of str to mapping of str to sequence of mapping
        By distance, which names a panel, and by task, which names a row: what `cordstasks.analysis.closer_to` returns.
    reference, candidate : str
        What `cordstasks.analysis.closer_to` was asked about.
    units : mapping of str to str, optional
        The unit of each distance that has one.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there is nothing to draw.
    """
    tasks = list(dict.fromkeys(task for rows in panels.values() for task in rows))
    others = list(dict.fromkeys(row["other"] for rows in panels.values() for answers in rows.values() for row in answers))
    if not others:
        raise InputError("panels holds no answers; give those of closer_to for at least one distance and task")
    figure = new_figure(2.2 + 2.6 * len(panels), 1.9 + 0.62 * len(tasks))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (measure, rows) in zip(axes, panels.items(), strict=True):
        axis.axvline(0, color=GREY, linewidth=1)
        for place, other in enumerate(others):
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
            shift = 0.3 * (place - (len(others) - 1) / 2)
            drawn = [
                (tasks.index(task) + shift, row)
                for task, answers in rows.items()
                for row in answers
                if row["other"] == other
            ]
            for height, row in drawn:
                if row["interval"] is not None:
                    axis.plot(row["interval"], [height, height], color=colour, linewidth=2)
            axis.plot(
                [row["difference"] for _, row in drawn],
                [height for height, _ in drawn],
                marker,
                color=colour,
                markersize=7,
                label=f"than {other}",
            )
        dress(axis, measure, (units or {}).get(measure, ""), "")
        axis.locator_params(axis="x", nbins=4)
    axes[0].set_yticks(np.arange(len(tasks)), tasks, fontsize=TEXT)
    axes[0].set_ylim(len(tasks) - 0.5, -0.5)
    figure.supxlabel(f"distance from {reference} networks: {candidate} less other; negative is closer", fontsize=TEXT)
    shared_legend(figure, axes[0], above=True)
    return figure
