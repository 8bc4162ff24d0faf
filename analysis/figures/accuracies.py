"""Accuracies of kinds of networks, each with its interval, beside published ones; public in `figures`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from cordstasks.analysis._checks import count
from cordstasks.analysis.figures.style import BLUE, GREY, TEXT, dress, new_figure, shared_legend
from cordstasks.analysis.statistics.proportions import wilson_interval
from cordstasks.errors import InputError

__all__ = ["accuracies"]


def accuracies(
    rows: Mapping[str, Mapping[str, Mapping[str, float]]], columns: Sequence[str], *, images: int, first: str = "ours"
) -> Figure:
    """Draw the test accuracies of a table, one panel for each row.

    Parameters
    ----------
    rows : mapping of str to mapping of str to mapping of str to float
        By row, by source (such as ``"ours"`` and ``"paper"``) and by column: percent.
    columns : sequence of str
        In order.
    images : int
        Test images of the first source, whose 95 % Wilson intervals are drawn.
    first : str, default "ours"
        The source that has intervals.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there is nothing to draw, or a percentage is impossible.
    """
    if not rows or not columns:
        raise InputError("rows or columns is empty; give at least one row and one column")
    trials = count("images", images, 1)
    figure = new_figure(1.6 + 4.2 * len(rows), 4.4)
    axes = figure.subplots(1, len(rows), sharey=True, squeeze=False)[0]
    for axis, (name, sources) in zip(axes, rows.items(), strict=True):
        for source, values in sources.items():
            drawn = [place for place, column in enumerate(columns) if column in values]
            heights = np.array([values[columns[place]] for place in drawn], dtype=np.float64)
            if ((heights < 0) | (heights > 100)).any():
                raise InputError(f"rows[{name!r}][{source!r}] has {heights}; give percentages from 0 to 100")
            if source == first:
                low, high = wilson_interval(np.round(heights * trials / 100), trials)
                axis.vlines(drawn, 100 * low, 100 * high, color=BLUE, linewidth=2)
                axis.plot(drawn, heights, "o", color=BLUE, markersize=7, label=source)
            else:
                axis.plot(drawn, heights, "D", color=GREY, markersize=7, fillstyle="none", label=source)
        dress(axis, name, "", "")
        axis.set_xticks(range(len(columns)), columns, rotation=30, ha="right", fontsize=TEXT)
        axis.set_xlim(-0.5, len(columns) - 0.5)
    axes[0].set_ylabel("test images recognised (%)", fontsize=TEXT)
    shared_legend(figure, axes[0], above=True)
    return figure
