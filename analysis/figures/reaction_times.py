"""Figures of reaction times: accuracy and time by strength of the evidence, their distributions, speed against accuracy.

Each function returns a `matplotlib.figure.Figure` that it built itself; `cordstasks.analysis.figures.save` writes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike

from cordstasks.analysis._checks import Floats, numbers
from cordstasks.analysis.figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, TEXT, dress, new_figure, percent
from cordstasks.analysis.psychophysics.diffusion import DiffusionFit
from cordstasks.errors import InputError

__all__ = ["reaction_time_observers", "reaction_times"]

Rows = Sequence[Mapping[str, Any]]
_BINS = 20
_COLOURS, _MARKERS = (BLUE, ORANGE, GREEN, BLACK), ("o", "s", "^", "D")


def reaction_times(
    rows: Rows,
    right: ArrayLike,
    wrong: ArrayLike,
    curve: Rows,
    *,
    bound: float,
    chance: float = 0.5,
    condition: str = "coherence",
) -> Figure:
    """Draw decisions at a bound: accuracy, mean reaction times, their distributions, and speed against accuracy.

    Parameters
    ----------
    rows : list of dict
        One per value of the condition: "value", "accuracy", "accuracy_interval", and the columns of
        `cordstasks.analysis.psychophysics.chronometric_curve`. Rows without an accuracy are left out.
    right, wrong : (trial,)
        Reaction times in ms of right answers and of errors.
    curve : list of dict
        Rows of `cordstasks.analysis.psychophysics.speed_accuracy`.
    bound : float
        The one that was used, marked.
    chance : float
        Accuracy of guessing.
    condition : str
        What the values of the rows are.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there is no row in `curve`.
    """
    if not len(curve):
        raise InputError("curve has no rows; give those of speed_accuracy")
    figure = new_figure(11.5, 8.6)
    (score, time), (spread, trade) = figure.subplots(2, 2)
    shown = [row for row in rows if row.get("accuracy") is not None]
    x = _positions((score, time), [row["value"] for row in shown])
    score.axhline(chance, color=GREY, linestyle=":", label="chance")
    if shown:
        _bars(score, x, [(row["accuracy"], row["accuracy_interval"]) for row in shown], BLUE, "o", "at the bound")
    for key, colour, marker in (("right", BLUE, "o"), ("wrong", ORANGE, "s")):
        own = [(place, row[key]) for place, row in zip(x, shown, strict=True) if row[key]["mean"] is not None]
        if own:
            values = [(part["mean"], part["interval"]) for _, part in own]
            _bars(time, np.array([place for place, _ in own]), values, colour, marker, _LABELS[key])
    _distributions(spread, numbers("right", right), numbers("wrong", wrong))
    _trade_off(trade, curve, bound, chance)
    score.set_ylim(None, 1.03)
    dress(score, "Accuracy, 95 % interval", condition, "fraction correct")
    dress(time, "Mean reaction time, 95 % interval", condition, "reaction time (ms)")
    for axis in (score, time):
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=TEXT - 1, frameon=False)
    return figure


_LABELS = {"right": "right answers", "wrong": "errors"}


def _positions(axes: tuple[Axes, ...], values: list[Any]) -> Floats:
    """Where values are drawn: numbers evenly in order, since strengths often double; the same on all axes."""
    labels = [f"{value:g}" if not isinstance(value, str) else value for value in values]
    for axis in axes:
        axis.set_xticks(np.arange(len(values)), labels)
        axis.set_xlim(-0.5, max(len(values), 1) - 0.5)
    return np.arange(len(values), dtype=np.float64)


def _bars(axis: Axes, x: Floats, values: list[tuple[float, Any]], colour: str, marker: str, label: str) -> None:
    middle = np.array([value for value, _ in values])
    ends = np.array([interval or (value, value) for value, interval in values], dtype=np.float64)
    bars = np.maximum([middle - ends[:, 0], ends[:, 1] - middle], 0)
    axis.errorbar(x, middle, bars, fmt=f"{marker}-", color=colour, markersize=6, capsize=3, label=label)


def _distributions(axis: Axes, right: Floats, wrong: Floats) -> None:
    everything = np.concatenate([right, wrong])
    if len(everything):
        low, high = float(everything.min()), float(everything.max())
        edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
        for times, colour, label in ((right, BLUE, "right answers"), (wrong, ORANGE, "errors")):
            axis.hist(times, edges.tolist(), color=colour, alpha=0.55, label=f"{label} ({len(times)})")
        axis.legend(fontsize=TEXT - 1, frameon=False)
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    dress(axis, "Distributions", "reaction time (ms)", "trials")


def _trade_off(axis: Axes, curve: Rows, bound: float, chance: float) -> None:
    """Accuracy, and on a second axis mean reaction time, against the bound."""
    decided = [row for row in curve if row["accuracy"] is not None]
    heights = [row["bound"] for row in decided]
    axis.axhline(chance, color=GREY, linestyle=":")
    lines = axis.plot(heights, [row["accuracy"] for row in decided], color=BLUE, label="accuracy of decided trials")
    lines += axis.plot([row["bound"] for row in curve], [row["decided"] for row in curve], "--", color=GREY, label="decided")
    lines += [axis.axvline(bound, color=GREEN, linestyle="--", label=f"bound in use, {bound:.3g}")]
    other = axis.twinx()
    lines += other.plot(heights, [row["mean_rt"] for row in decided], color=ORANGE, label="mean reaction time")
    axis.set_ylim(0, 1.03)
    axis.set_xscale("log")  # bounds are tried in equal ratios
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    dress(axis, "Speed against accuracy", "bound (log odds)", "fraction of trials")
    other.set_ylabel("reaction time (ms)", fontsize=TEXT)
    other.tick_params(labelsize=TEXT)
    other.spines["top"].set_visible(False)
    axis.legend(
        lines,
        [str(line.get_label()) for line in lines],
        fontsize=TEXT - 1,
        frameon=False,
        ncols=2,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.17),
    )


def reaction_time_observers(curves: Sequence[Rows], rows: Rows) -> Figure:
    """Draw accuracy and reaction times against coherence for several observers, each with its drift-diffusion model.

    Parameters
    ----------
    curves : sequence of list of dict
        Of each observer, one row per coherence: "value" (a fraction), "accuracy", "interval", and as "rt" the row of
        `cordstasks.analysis.psychophysics.chronometric_curve`.
    rows : list of dict
        Of each observer: "observer" (its name), and as "diffusion" what `DiffusionFit.as_dict` gives, or None.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there are no observers, or their numbers differ.
    """
    if not len(curves) or len(curves) != len(rows):
        raise InputError(f"curves and rows are {len(curves)} and {len(rows)}; give one of each per observer")
    figure = new_figure(11.5, 5.4)
    score, time = figure.subplots(1, 2)
    levels = sorted({row["value"] for curve in curves for row in curve})
    score.axhline(0.5, color=GREY, linestyle=":")
    for place, (curve, about) in enumerate(zip(curves, rows, strict=True)):
        colour, marker = _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)]
        x = np.array([levels.index(row["value"]) for row in curve]) + 0.06 * (place - (len(rows) - 1) / 2)
        name = str(about["observer"]).replace("$", r"\$")  # else Matplotlib would read it as mathematics
        solid = about["diffusion"] is None
        for axis, values in (
            (score, [(row["accuracy"], row["interval"]) for row in curve]),
            (time, [(row["rt"]["mean"], row["rt"]["interval"]) for row in curve]),
        ):
            _bars(axis, x, values, colour, marker, name)
            if not solid:  # the model's line takes the place of the one between points
                axis.containers[-1].lines[0].set_linestyle("none")
        if not solid:
            accuracy, mean = _diffusion(about["diffusion"], np.array(levels))
            score.plot(np.arange(len(levels)), accuracy, color=colour)
            time.plot(np.arange(len(levels)), mean, color=colour)
    for axis in (score, time):
        axis.set_xticks(np.arange(len(levels)), [percent(level) for level in levels])
    dress(score, "Accuracy, 95 % interval", "coherence (%)", "fraction correct")
    dress(time, "Mean reaction time, 95 % interval", "coherence (%)", "reaction time (ms)")
    score.set_ylim(None, 1.03)
    legend = "lines: drift-diffusion models" if any(row["diffusion"] for row in rows) else None
    score.legend(fontsize=TEXT - 1, frameon=False, loc="lower right", title=legend, title_fontsize=TEXT - 1)
    return figure


def _diffusion(fit: Mapping[str, Any], levels: Floats) -> tuple[Floats, Floats]:
    model = DiffusionFit(**{**fit, "at_bound": tuple(fit["at_bound"])})
    return model.predict(levels)
