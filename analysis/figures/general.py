"""Figures of a run (psychometric curve, learning curve, tuning of a population, contact sheet) and of a comparison.

Each function returns a `matplotlib.figure.Figure` that it built itself, so none needs a display, none changes
pyplot's state, and they may be called from any thread. `save` writes them as PNG, SVG or PDF.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from cordstasks.analysis._checks import Floats, real_array, same_trials
from cordstasks.analysis.figures.description import describe
from cordstasks.analysis.figures.style import (
    BLACK,
    BLUE,
    DPI,
    GREEN,
    GREY,
    ORANGE,
    TEXT,
    dress,
    matplotlib_settings,
    new_figure,
    percent,
)
from cordstasks.analysis.psychophysics.psychometrics import ChoiceFit, WeibullFit
from cordstasks.errors import InputError
from cordstasks.utils.files import write_bytes

__all__ = [
    "contact_sheet",
    "learning_curve",
    "observers",
    "psychometric",
    "save",
]

Rows = Sequence[Mapping[str, Any]]
# by kind of file, what keeps the date out of it
DATES: dict[str, dict[str, None]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
DESCRIPTIONS = {"png": "Description", "svg": "Description", "pdf": "Subject"}  # where a kind of file keeps a description
# text as text, in fonts that editors of figures take; and names within the file that do not change from run to run
VECTOR_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "cordstasks", "pdf.fonttype": 42}


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, SVG or PDF, depending on the file extension, completely or not at all.

    Text stays text in SVG and PDF, so that it can be searched and edited. The same figure gives the same bytes again: no
    date is written. The file holds a description in words, which reports use as alternative text: see `describe`.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Such as the functions of `cordstasks.analysis.figures` return; not modified.
    path : str or Path
        A name that ends in ``.png`` (at 150 dpi), ``.svg`` or ``.pdf``.

    Raises
    ------
    InputError
        If the name ends otherwise, or the file cannot be written (a `WriteError`).
    """
    target = Path(path)
    kind = target.suffix.lower().lstrip(".")
    if kind not in DATES:
        raise InputError(f"path={target}: figures are written as PNG, SVG or PDF; let the name end in .png, .svg or .pdf")
    content = io.BytesIO()
    metadata = {**DATES[kind], DESCRIPTIONS[kind]: describe(figure)}
    with matplotlib_settings(VECTOR_SETTINGS):
        figure.savefig(content, format=kind, dpi=DPI, metadata=metadata)
    write_bytes(target, content.getbuffer())


def psychometric(signed: Rows, unsigned: Rows, choices: ChoiceFit, weibull: WeibullFit) -> Figure:
    """Draw choices against signed coherence and accuracy against coherence, each with its fit.

    Parameters
    ----------
    signed : list of dict
        `accuracy_by_condition(signed_coherence, chose_right)`.
    unsigned : list of dict
        `accuracy_by_condition(coherence, correct)`.
    choices : ChoiceFit
        The fit of the first.
    weibull : WeibullFit
        The fit of the second.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there are no rows or a coherence is not a fraction.
    """
    figure = new_figure(11, 4.6)
    left, right = figure.subplots(1, 2)
    _choice_panel(left, _table("signed", signed), choices)
    _accuracy_panel(right, _table("unsigned", unsigned), weibull)
    return figure


def _table(name: str, rows: Rows) -> Floats:
    """Return rows as (row, 4): value, fraction, and the ends of its interval."""
    if not len(rows):
        raise InputError(f"{name} has no rows; give those of accuracy_by_condition")
    table = np.array([[row["value"], row["accuracy"], *row["interval"]] for row in rows], dtype=np.float64)
    if np.abs(table[:, 0]).max() > 1:
        raise InputError(f"{name} has coherence {np.abs(table[:, 0]).max():g}; it is a fraction: divide it by 100")
    return table[np.argsort(table[:, 0])]


def _points(axis: Axes, x: Floats, table: Floats, label: str) -> None:
    # Rounding can leave a fraction of 0 or 1 a hair outside its interval, and matplotlib refuses negative bars.
    bars = np.maximum([table[:, 1] - table[:, 2], table[:, 3] - table[:, 1]], 0)
    axis.errorbar(x, table[:, 1], bars, fmt="o", color=BLACK, markersize=6, capsize=3, label=label, zorder=3)


def _choice_panel(axis: Axes, table: Floats, fit: ChoiceFit) -> None:
    reach = 1.08 * max(float(np.abs(table[:, 0]).max()), 0.01)
    axis.axhline(0.5, color=GREY, linestyle=":", label="indifference")
    axis.axvline(0.0, color=GREY, linestyle=":")
    if np.isfinite(fit.slope):
        x = np.linspace(-reach, reach, 400)
        low, high = fit.slope_interval
        said = f"slope {fit.slope:.3g}" + (f", 95 % [{low:.3g}, {high:.3g}]" if np.isfinite(low) else "")
        if "slope" in fit.at_bound:
            said = "separable choices: steepest slope of the fit"
        axis.plot(100 * x, fit.predict(x), color=BLUE, linewidth=2, label=f"logistic, {said}")
    _points(axis, 100 * table[:, 0], table, "choices, 95 % interval")
    axis.set_ylim(-0.03, 1.03)
    dress(axis, "Choices", "signed coherence (%), positive rightward", "fraction of rightward choices")
    _legend_below(axis)


def _accuracy_panel(axis: Axes, table: Floats, fit: WeibullFit) -> None:
    moving = table[:, 0] > 0
    shown = table[moving, 0]
    weakest = float(shown.min()) if len(shown) else 0.01
    strongest = float(shown.max()) if len(shown) else 0.1
    # A logarithmic axis has no 0: it gets a position of its own, cut off by a broken baseline.
    zero = weakest / 2.6
    still = not moving.all()
    axis.set_xscale("log")
    axis.axhline(0.5, color=GREY, linestyle=":", label="chance")
    if np.isfinite(fit.threshold):
        x = np.geomspace(weakest / 1.15, strongest * 1.15, 300)
        outside = "threshold" in fit.at_bound
        label = "Weibull, threshold outside the range shown" if outside else "Weibull"
        axis.plot(100 * x, fit.predict(x), color=BLUE, linewidth=2, label=label)
        if not outside:
            height = float(fit.predict(fit.threshold))
            low, high = fit.threshold_interval
            said = f", 95 % [{percent(low)}, {percent(high)}]" if np.isfinite(low) else ""
            label = f"threshold {percent(fit.threshold)} %{said}"
            axis.plot([100 * fit.threshold] * 2, [0, height], color=ORANGE, linestyle="--", label=label)
    _points(axis, 100 * np.where(moving, table[:, 0], zero), table, "accuracy, 95 % interval")
    _coherence_axis(axis, shown, zero=zero if still else None, lowest=float(table[:, 2].min()))
    _legend_below(axis)


def observers(rows: Sequence[Rows], fits: Sequence[WeibullFit], names: Sequence[str]) -> Figure:
    """Draw accuracy against coherence for several observers, such as a model and monkeys, each with its Weibull fit.

    Parameters
    ----------
    rows : sequence of list of dict
        `accuracy_by_condition(coherence, correct)` of each.
    fits : sequence of WeibullFit
        The fit of each.
    names : sequence of str
        What the legend calls them.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there are no observers, their numbers differ, or a coherence is not a fraction.
    """
    if not len(rows) or not len(rows) == len(fits) == len(names):
        raise InputError(
            f"rows, fits and names are {len(rows)}, {len(fits)} and {len(names)}; give one of each per observer"
        )
    tables = [_table("rows", each) for each in rows]
    figure = new_figure(7.2, 5.2)
    axis = figure.subplots()
    moving = np.unique(np.concatenate([table[table[:, 0] > 0, 0] for table in tables]))
    weakest, strongest = (float(moving.min()), float(moving.max())) if len(moving) else (0.01, 0.1)
    zero = weakest / 2.6  # a logarithmic axis has no 0: 0 gets its own position, separated by a broken baseline
    still = any((table[:, 0] == 0).any() for table in tables)
    axis.set_xscale("log")
    axis.axhline(0.5, color=GREY, linestyle=":", label="chance")
    x = np.geomspace(weakest / 1.15, strongest * 1.15, 300)
    colours, markers = (BLUE, ORANGE, GREEN, BLACK), ("o", "s", "^", "D")
    for place, (table, fit, name) in enumerate(zip(tables, fits, names, strict=True)):
        colour, marker = colours[place % len(colours)], markers[place % len(markers)]
        label = name = name.replace("$", r"\$")  # else Matplotlib would read it as mathematics
        if np.isfinite(fit.threshold) and "threshold" not in fit.at_bound:
            low, high = fit.threshold_interval
            said = f", 95 % [{percent(low)}, {percent(high)}]" if np.isfinite(low) else ""
            label = f"{name}: threshold {percent(fit.threshold)} %{said}"
        if np.isfinite(fit.threshold):
            axis.plot(100 * x, fit.predict(x), color=colour, linewidth=2)
        shift = 1 + 0.04 * (place - (len(names) - 1) / 2)  # so that intervals do not hide each other
        points = 100 * np.where(table[:, 0] > 0, table[:, 0], zero) * shift
        bars = np.maximum([table[:, 1] - table[:, 2], table[:, 3] - table[:, 1]], 0)
        axis.errorbar(points, table[:, 1], bars, fmt=marker, color=colour, markersize=6, capsize=3, label=label, zorder=3)
    _coherence_axis(axis, moving, zero=zero if still else None, lowest=min(float(table[:, 2].min()) for table in tables))
    _legend_below(axis)
    return figure


def _coherence_axis(axis: Axes, levels: Floats, *, zero: float | None, lowest: float) -> None:
    """Label an axis of accuracy against coherence on a log scale.

    Parameters
    ----------
    axis : Axes
        Its x axis is logarithmic already.
    levels : ndarray of shape (level,)
        Coherences above 0, in increasing order.
    zero : float, optional
        Where coherence 0 is drawn, if it is; the baseline is broken between it and the weakest motion.
    lowest : float
        The lowest end of an interval.
    """
    weakest, strongest = (float(levels.min()), float(levels.max())) if len(levels) else (0.01, 0.1)
    axis.set_xlim(100 * (weakest if zero is None else zero) / 1.25, 100 * strongest * 1.25)
    axis.set_ylim(min(0.4, lowest - 0.03), 1.03)
    ticks, labels = list(100 * levels), [percent(level) for level in levels]
    axis.set_xticks(*((ticks, labels) if zero is None else ([100 * zero, *ticks], ["0", *labels])))
    axis.set_xticks([], minor=True)
    dress(axis, "Accuracy", "coherence (%), log scale", "fraction correct")
    if zero is None:
        return
    gap = 100 * np.sqrt(zero * weakest)
    for factor in (0.96, 1.04):
        axis.plot(
            [gap * factor / 1.03, gap * factor * 1.03],
            [-0.02, 0.02],
            transform=axis.get_xaxis_transform(),
            color=BLACK,
            linewidth=1.2,
            clip_on=False,
        )


def _legend_below(axis: Axes) -> None:
    axis.legend(fontsize=TEXT - 1, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=1)


def learning_curve(
    steps: ArrayLike,
    train_loss: ArrayLike,
    validation_steps: ArrayLike,
    validation_accuracy: ArrayLike,
    *,
    validation_loss: ArrayLike | None = None,
    chance: float = 0.5,
    best_step: float | None = None,
) -> Figure:
    """Draw loss above and validation accuracy beneath, against the training step.

    Parameters
    ----------
    steps, train_loss : (step,)
        Training loss, drawn as it is.
    validation_steps, validation_accuracy : (check,)
        Accuracy on trials kept for validation.
    validation_loss : (check,), optional
        Drawn beside the training loss.
    chance : float
        Accuracy of guessing.
    best_step : float, optional
        Step of the model that was kept, marked in both panels.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If lengths differ or values are not finite.
    """
    x, loss = real_array("steps", steps, ("step",)), real_array("train_loss", train_loss, ("step",))
    same_trials("train_loss", loss, len(x), "steps")
    checks = real_array("validation_steps", validation_steps, ("check",))
    accuracy = real_array("validation_accuracy", validation_accuracy, ("check",))
    same_trials("validation_accuracy", accuracy, len(checks), "validation_steps")
    figure = new_figure(9, 6)
    top, bottom = figure.subplots(2, 1, sharex=True)
    top.plot(x, loss, color=BLUE, linewidth=1, alpha=0.5 if len(x) > 200 else 1.0, label="training")
    if len(x) > 200:
        top.plot(*_smoothed(x, loss), color=BLUE, linewidth=2.2, label="training, running mean")
    if validation_loss is not None:
        held_out = real_array("validation_loss", validation_loss, ("check",))
        same_trials("validation_loss", held_out, len(checks), "validation_steps")
        top.plot(checks, held_out, "o-", color=ORANGE, markersize=4, label="validation")
    bottom.axhline(chance, color=GREY, linestyle=":", label="chance")
    bottom.plot(checks, accuracy, "o-", color=ORANGE, markersize=4, label="validation")
    if best_step is not None:
        for axis in (top, bottom):
            axis.axvline(best_step, color=GREEN, linestyle="--", label=f"best step, {best_step:g}")
    if loss.min() > 0 and loss.max() > 30 * loss.min():
        top.set_yscale("log")
    bottom.set_ylim(min(chance, float(accuracy.min())) - 0.04, 1.03)
    dress(top, "Loss", "", "cross-entropy (nats)")
    dress(bottom, "Accuracy", "training step", "fraction correct")
    for axis in (top, bottom):
        axis.legend(fontsize=TEXT - 1, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _smoothed(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return a running mean over 2 % of the steps and the steps at its middles."""
    width = max(len(x) // 50, 2)
    kernel = np.full(width, 1 / width)
    return np.convolve(x, kernel, "valid"), np.convolve(y, kernel, "valid")


def contact_sheet(
    images: NDArray[np.uint8],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    title: str,
    *,
    column_axis: str = "time (ms)",
) -> Figure:
    """Draw a table of pictures, such as the frames of several trials at several times.

    Parameters
    ----------
    images : (row, column, H, W, 3) uint8
        Not modified.
    row_labels, column_labels : sequence of str
        One for each row and column.
    title : str
        Above the pictures.
    column_axis : str
        What the columns are, with its unit.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the pictures are not uint8 of that shape or the labels do not fit them.
    """
    pictures = np.asarray(images)
    if pictures.ndim != 5 or pictures.shape[-1] != 3 or pictures.dtype != np.uint8 or pictures.size == 0:
        raise InputError(f"images has shape {pictures.shape} and type {pictures.dtype}; give uint8 (row, column, H, W, 3)")
    rows, columns, high, wide = pictures.shape[:4]
    for name, labels, number in (("row_labels", row_labels, rows), ("column_labels", column_labels, columns)):
        if len(labels) != number:
            raise InputError(f"{name} has {len(labels)} labels for {number} pictures; give one for each")
    gap = max(round(0.06 * wide), 1)
    sheet = np.full((rows * (high + gap) - gap, columns * (wide + gap) - gap, 3), 255, dtype=np.uint8)
    for row in range(rows):
        for column in range(columns):
            down, across = row * (high + gap), column * (wide + gap)
            sheet[down : down + high, across : across + wide] = pictures[row, column]
    side = float(np.clip(12.5 / columns, 0.5, 2.2))
    margin = 0.1 * max(map(len, row_labels))
    figure = new_figure(max(columns * side + margin + 0.3, 5), rows * side * high / wide + 1.1)
    axis = figure.subplots()
    axis.imshow(sheet, interpolation="nearest")
    dress(axis, title, column_axis, "")
    axis.set_xticks(np.arange(columns) * (wide + gap) + (wide - 1) / 2, column_labels)
    axis.set_yticks(np.arange(rows) * (high + gap) + (high - 1) / 2, row_labels)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return figure
