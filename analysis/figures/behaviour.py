"""Figures of choices and answers: performance by condition, category boundary, confusions, location by delay.

Each function returns a `matplotlib.figure.Figure` that it built itself; `cordstasks.analysis.figures.save` writes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cordstasks.analysis._checks import Floats
from cordstasks.analysis.figures.population_panels import condition_colours, condition_label
from cordstasks.analysis.figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, TEXT, dress, legend_beside, new_figure
from cordstasks.analysis.psychophysics.behaviour import BoundaryFit, Confusions
from cordstasks.errors import InputError

__all__ = ["boundary", "confusion", "location_by_delay", "performance"]

Rows = Sequence[Mapping[str, Any]]
_LINES = (BLUE, ORANGE, GREEN, BLACK, "#CC79A7", "#56B4E9", "#E69F00", GREY)  # Okabe & Ito's


def performance(
    rows: Rows, x: str, *, lines: str | None = None, chance: float, x_label: str = "", line_label: str = ""
) -> Figure:
    """Draw accuracy against one condition, with a line for each value of another.

    Parameters
    ----------
    rows : list of dict
        `performance_table` of those conditions.
    x : str
        The condition along the axis; names stand side by side.
    lines : str, optional
        The condition whose values have one line each, numbers or names.
    chance : float
        Accuracy of guessing.
    x_label, line_label : str
        What the conditions are called on the figure; their names by default.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there are no rows or they lack a condition.
    """
    table = _rows(rows, x, *([lines] if lines else []))
    values = sorted({row[x] for row in table})
    named = any(isinstance(value, str) for value in values)
    kinds: list[Any] = sorted({row[lines] for row in table}) if lines else [None]
    width = max(6.0, 0.75 * len(values)) + (2.2 if lines else 0)
    figure = new_figure(width, 4.4)
    axis = figure.subplots()
    axis.axhline(chance, color=GREY, linestyle=":", label="chance")
    gap = 1.0 if named or len(values) < 2 else float(np.diff(values).min())
    for i, kind in enumerate(kinds):
        own = [row for row in table if lines is None or row[lines] == kind]
        position = np.array([values.index(row[x]) if named else row[x] for row in own], dtype=np.float64)
        position += 0.06 * gap * (i - (len(kinds) - 1) / 2)  # so that intervals do not overlap
        label = None if kind is None else condition_label(kind, "")
        style = "-" if i < len(_LINES) else "--"
        _accuracies(axis, position, own, _LINES[i % len(_LINES)], label, "o" if named else f"o{style}")
    ticks = np.arange(len(values)) if named else np.array(values, dtype=np.float64)
    axis.set_xticks(ticks, [condition_label(value, "") for value in values])
    if named and max(len(str(value)) for value in values) * len(values) > 55:
        for text in axis.get_xticklabels():
            text.set(rotation=30, ha="right", rotation_mode="anchor")
    axis.set_ylim(min(-0.02 + min(row["interval"][0] for row in table), chance - 0.05), 1.03)
    dress(axis, "Accuracy, 95 % interval", x_label or x, "fraction correct")
    if lines:
        legend_beside(axis, title=line_label or lines)
    else:
        axis.legend(fontsize=TEXT - 1, frameon=False, loc="best")
    return figure


def boundary(
    rows: Rows, fit: BoundaryFit, *, column: str = "morph", second: str = "dog", lines: Rows = (), scale: float = 100.0
) -> Figure:
    """Draw choices of the second category along the morph axis, with the fitted boundary.

    Parameters
    ----------
    rows : list of dict
        `performance_table({"morph": morph}, chose_second)`: its "accuracy" is the fraction of second choices.
    fit : BoundaryFit
        Of the same trials.
    column : str
        Name of the morph level in the rows.
    second : str
        Name of the second category.
    lines : list of dict
        The same table with a further condition "line", drawn as faint lines, one per morph line.
    scale : float
        Factor that makes percent of the morph level.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there are no rows or they lack the morph level.
    """
    table = _rows(rows, column)
    figure = new_figure(7.5, 4.8)
    axis = figure.subplots()
    axis.axhline(0.5, color=GREY, linestyle=":")
    single = _rows(lines, column, "line") if lines else []
    for i, name in enumerate(sorted({row["line"] for row in single})):
        own = sorted((row for row in single if row["line"] == name), key=lambda row: row[column])
        points = [[scale * row[column] for row in own], [row["accuracy"] for row in own]]
        axis.plot(*points, color=GREY, linewidth=0.8, alpha=0.6, label=None if i else "single morph lines")
    position = np.array([row[column] for row in table], dtype=np.float64)
    if np.isfinite(fit.boundary):
        x = np.linspace(position.min(), position.max(), 300)
        axis.plot(scale * x, fit.predict(x), color=BLUE, linewidth=2, label="logistic fit")
        if "boundary" not in fit.at_bound:
            low, high = fit.boundary_interval
            said = f", 95 % [{scale * low:.3g}, {scale * high:.3g}]" if np.isfinite(low) else ""
            label = f"boundary {scale * fit.boundary:.3g} %{said}"
            axis.axvline(scale * fit.boundary, color=ORANGE, linestyle="--", label=label)
    _accuracies(axis, scale * position, table, BLACK, "choices, 95 % interval", "o")
    axis.set_ylim(-0.03, 1.03)
    dress(axis, "Category boundary", f"fraction of {second} in the picture (%)", f"fraction of {second} choices")
    axis.legend(fontsize=TEXT - 1, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)
    return figure


def confusion(matrix: Confusions, *, condition: str = "", unit: str = "") -> Figure:
    """Draw a confusion matrix: fraction of the choices for each correct answer, in percent.

    Parameters
    ----------
    matrix : Confusions
        From `confusions`.
    condition : str
        What the answers are, for the axes.
    unit : str
        Written after the answers' numbers, such as a degree sign.

    Returns
    -------
    matplotlib.figure.Figure
    """
    rows = np.flatnonzero(matrix.counts.sum(axis=1) > 0)  # choices that are not an answer have only a column
    fractions = matrix.fractions[rows]
    labels = [condition_label(label, unit) for label in matrix.labels.tolist()]
    side = 1.6 + 0.55 * len(labels) + 0.05 * max(map(len, labels)) * len(labels)
    figure = new_figure(side + 1.8, 1.6 + 0.55 * len(rows))
    axis = figure.subplots()
    picture = axis.imshow(100 * fractions, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    _annotate(axis, 100 * fractions, "{:.0f}", 55.0)
    axis.set_xticks(np.arange(len(labels)), labels)
    axis.set_yticks(np.arange(len(rows)), [f"{labels[i]} ({matrix.counts[i].sum()})" for i in rows])
    said = f" ({condition})" if condition else ""
    dress(axis, "Choices (%)", f"choice{said}", "right answer (trials)")
    _bar(figure, picture, axis, "fraction of choices (%)")
    return figure


def location_by_delay(
    accuracies: Rows,
    errors: Rows,
    *,
    location: str = "location",
    delay: str = "delay",
    chance: float,
    trained: float | None = None,
) -> Figure:
    """Draw accuracy by location and delay, and the error of the decoded location by delay.

    Parameters
    ----------
    accuracies : list of dict
        `performance_table` of location in deg and delay in ms.
    errors : list of dict
        `angular_error_table` of delay, or of location and delay: then each line is one location.
    location, delay : str
        Names of the conditions in the rows.
    chance : float
        Accuracy of guessing.
    trained : float, optional
        The longest delay in training, in ms, marked.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there are no rows or they lack a condition.
    """
    table, wrong = _rows(accuracies, location, delay), _rows(errors, delay)
    locations, delays = (sorted({row[name] for row in table}) for name in (location, delay))
    fractions = np.full((len(delays), len(locations)), np.nan)
    for row in table:
        fractions[delays.index(row[delay]), locations.index(row[location])] = row["accuracy"]
    figure = new_figure(max(0.75 * len(locations) + 7, 10), max(0.5 * len(delays) + 2, 4.2))
    left, right = figure.subplots(1, 2, width_ratios=(max(0.75 * len(locations), 4) + 1, 5))
    picture = left.imshow(100 * fractions, cmap="viridis", vmin=100 * chance, vmax=100, aspect="auto")
    _annotate(left, 100 * fractions, "{:.0f}", 50 * (1 + chance), dark_is_low=True)
    left.set_xticks(np.arange(len(locations)), [f"{value:g}\u00b0" for value in locations])
    left.set_yticks(np.arange(len(delays)), [f"{value:g}" for value in delays])
    dress(left, f"Accuracy (%), chance {100 * chance:.3g}", "location of the cue", "delay (ms)")
    _bar(figure, picture, left, "fraction correct (%)")
    by_location = location in wrong[0]
    groups = sorted({row[location] for row in wrong}) if by_location else [None]
    colours = condition_colours(np.array(locations), circular=True) if by_location else [BLUE]
    for group, colour in zip(groups, colours, strict=True):
        own = sorted((row for row in wrong if not by_location or row[location] == group), key=lambda row: row[delay])
        middle = np.array([row["median_absolute_error"] for row in own])
        ends = np.array([row["interval"] or [m, m] for row, m in zip(own, middle, strict=True)], dtype=np.float64)
        bars = np.maximum([middle - ends[:, 0], ends[:, 1] - middle], 0)
        label = f"{group:g}\u00b0" if by_location else "median, 95 % interval"
        right.errorbar([row[delay] for row in own], middle, bars, fmt="o-", color=colour, capsize=3, label=label)
    if trained is not None:
        right.axvline(trained, color=ORANGE, linestyle="--", label="longest in training")
    right.set_ylim(0, None)
    dress(right, "Error of the decoded location", "delay (ms)", "median absolute error (deg)")
    legend_beside(right, size=TEXT - 2)
    return figure


def _rows(rows: Rows, *columns: str) -> list[Mapping[str, Any]]:
    if not rows:
        raise InputError("rows is empty; give those of a table by condition")
    for column in columns:
        if any(column not in row for row in rows):
            raise InputError(f"rows have no column {column!r}; they have {', '.join(map(str, rows[0]))}")
    return list(rows)


def _accuracies(axis: Axes, x: Floats, rows: Rows, colour: str, label: str | None, style: str) -> None:
    accuracy = np.array([row["accuracy"] for row in rows])
    ends = np.array([row["interval"] for row in rows])
    # Rounding can put a fraction of 0 or 1 slightly outside its interval, and Matplotlib refuses negative bars.
    bars = np.maximum([accuracy - ends[:, 0], ends[:, 1] - accuracy], 0)
    order = np.argsort(x)
    axis.errorbar(
        x[order], accuracy[order], bars[:, order], fmt=style, color=colour, markersize=6, capsize=3, label=label, zorder=3
    )


def _annotate(axis: Axes, table: Floats, form: str, middle: float, *, dark_is_low: bool = False) -> None:
    for (row, column), value in np.ndenumerate(table):
        if np.isfinite(value):
            colour = "white" if (value < middle) == dark_is_low else "black"
            axis.text(column, row, form.format(value), ha="center", va="center", fontsize=TEXT - 1, color=colour)


def _bar(figure: Figure, picture: Any, axis: Axes, label: str) -> None:
    bar = figure.colorbar(picture, ax=axis, pad=0.02)
    bar.set_label(label, fontsize=TEXT)
    bar.ax.tick_params(labelsize=TEXT)
