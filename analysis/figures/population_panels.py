"""Panels of the figures of populations, under `cordstasks.analysis.figures.tuning`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from cordstasks.analysis._checks import Booleans, Floats
from cordstasks.analysis.figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, TEXT, TITLE, dress
from cordstasks.analysis.statistics.permutation import group_means
from cordstasks.analysis.tuning.aligned import AlignedCurves
from cordstasks.analysis.tuning.curves import CrossValidatedCurves

Periods = Mapping[str, tuple[float, float]]
Colour = tuple[float, ...] | str
_NAMED = (BLUE, ORANGE, GREEN, BLACK, GREY)


def condition_label(value: Any, unit: str) -> str:
    """Return the label of a condition in a figure: '3', '45°', 'cat'."""
    return str(value) if isinstance(value, str) else f"{value:g}{unit}"


def condition_colours(values: NDArray[Any], *, circular: bool) -> list[Colour]:
    """Return a colour for each condition: a scale for numbers, a wheel for angles, distinct ones for a few names."""
    if circular:
        hues = np.mod(values.astype(float), 360) / 360
        return [tuple(hsv_to_rgb((hue, 0.9, 0.8))) for hue in hues]
    if values.dtype.kind in "US" and len(values) <= len(_NAMED):
        return list(_NAMED[: len(values)])
    return [colormaps["viridis"](place) for place in np.linspace(0.0, 0.88, len(values))]


def mark_periods(axis: Axes, periods: Periods, inches: float, colour: str = GREY) -> None:
    """Draw the ends of the periods of a trial, in ms, and the names of periods that are wide enough."""
    left, right = axis.get_xlim()
    for start, end in periods.values():
        for moment in (start, end):
            if left <= moment <= right:
                axis.axvline(moment, color=colour, linestyle=":", linewidth=1.2)
    for name, (start, end) in periods.items():
        seen = max(start, left), min(end, right)
        room = (seen[1] - seen[0]) / (right - left) * inches * 72
        if room > 0.62 * (TEXT - 2) * len(name):
            axis.text(
                sum(seen) / 2,
                1.01,
                name,
                transform=axis.get_xaxis_transform(),
                ha="center",
                va="bottom",
                fontsize=TEXT - 2,
                color="#555555",
            )


def heat_panel(
    figure: Figure | SubFigure,
    axis: Axes,
    curves: CrossValidatedCurves,
    chosen: Booleans,
    activity: NDArray[Any],
    times: Floats,
    group: NDArray[np.intp],
    periods: Periods,
    unit: str,
    inches: float,
) -> None:
    """Draw, for each unit, preferred minus other conditions over time, in the half that does not define the preference."""
    units = np.flatnonzero(chosen)
    preferred = curves.preferred[0, units]
    half = ~curves.first_half
    held_out = activity[half][:, :, units].astype(np.float64)
    means = group_means(held_out.reshape(len(held_out), -1), group[half], len(curves.values))
    means = means.reshape(len(curves.values), len(times), len(units))
    best = means[preferred, :, np.arange(len(units))]  # (unit, time)
    # The standard deviation of single time steps, not of a window's mean, so that noise looks pale.
    scatter = np.sqrt(held_out.var(axis=0).mean(axis=0))
    difference = (best - (means.sum(axis=0).T - best) / (len(curves.values) - 1)) / scatter[:, None]
    # The order also comes from the half that the colours do not show: way 1 has its curves from the first half.
    own = curves.standardised()[1][preferred, units]
    order = np.lexsort((-own, preferred))
    reach = float(max(np.quantile(np.abs(difference), 0.98), 1e-12))
    step = (times[-1] - times[0]) / max(len(times) - 1, 1)
    extent = (times[0] - step / 2, times[-1] + step / 2, len(units) - 0.5, -0.5)
    picture = axis.imshow(
        difference[order], aspect="auto", cmap="RdBu_r", vmin=-reach, vmax=reach, extent=extent, interpolation="nearest"
    )
    dress(axis, f"{len(units)} units by preference, held-out trials", "time (ms)", "preferred (units)")
    edges = np.concatenate([[0], np.cumsum(np.bincount(preferred, minlength=len(curves.values)))])
    for edge in edges[1:-1]:
        axis.axhline(edge - 0.5, color=BLACK, linewidth=0.8)
    ticks: list[tuple[float, str]] = []
    for i, (low, high) in enumerate(pairwise(edges)):
        middle = (low + high) / 2 - 0.5
        # Labels of groups with few units would overlap.
        if high > low and (not ticks or middle - ticks[-1][0] > 0.05 * len(units)):
            ticks.append((middle, f"{condition_label(curves.values[i].item(), unit)} ({high - low})"))
    axis.set_yticks([place for place, _ in ticks], [text for _, text in ticks])
    mark_periods(axis, periods, inches, colour=BLACK)
    if periods:
        axis.set_title(axis.get_title(loc="left"), fontsize=TITLE, loc="left", pad=18)
    bar = figure.colorbar(picture, ax=axis, pad=0.02)
    bar.set_label("preferred minus others (SD)", fontsize=TEXT)
    bar.ax.tick_params(labelsize=TEXT)


def preference_panel(
    axis: Axes, curves: Sequence[AlignedCurves], values: Floats, colours: Sequence[Colour], condition: str, unit: str
) -> None:
    """Draw the curve of the units that prefer each value, around that value; `curves` (value,) are not wrapped."""
    for value, aligned, colour in zip(values, curves, colours, strict=True):
        if not aligned.units.any():
            continue
        number = int(aligned.chosen.any(axis=0).sum())
        label = f"{condition_label(value, unit)} ({number})"
        error = np.nan_to_num(aligned.population_standard_error)
        axis.errorbar(
            aligned.offsets + value, aligned.population_mean, error, fmt="o-", color=colour, capsize=3, label=label
        )
    axis.axhline(0, color=GREY, linestyle=":", linewidth=1)
    axis.set_xticks(values, [condition_label(value, unit) for value in values])
    dress(axis, "By preferred condition", condition, "response less that to preferred (SD)")
    axis.legend(
        title="preferred (units)",
        fontsize=TEXT - 2,
        title_fontsize=TEXT - 2,
        frameon=False,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
    )


def aligned_panel(axis: Axes, aligned: AlignedCurves, condition: str, *, fold: bool) -> None:
    """Draw the population's curve around the preferred condition."""
    error = np.nan_to_num(aligned.population_standard_error)
    axis.axhline(0, color=GREY, linestyle=":", linewidth=1)
    axis.errorbar(aligned.offsets, aligned.population_mean, error, fmt="o-", color=BLUE, capsize=3, linewidth=2)
    every = -(-len(aligned.offsets) // 9)
    axis.set_xticks(aligned.offsets[int(np.searchsorted(aligned.offsets, 0)) % every :: every])
    said = "distance from preferred" if fold else "distance from preferred, with sign"
    number = int(aligned.chosen.any(axis=0).sum())
    dress(axis, f"{number} units, mean \u00b1 s.e.m.", f"{condition}:\n{said}", "response less that to preferred (SD)")


def unit_panel(
    axis: Axes,
    activity: NDArray[Any],
    times: Floats,
    group: NDArray[np.intp],
    colours: Sequence[Colour],
    labels: Sequence[str],
    periods: Periods,
    title: str,
    inches: float,
) -> None:
    """Draw the mean of one unit's activity (trial, time) by condition, with its standard error."""
    for i, (colour, label) in enumerate(zip(colours, labels, strict=True)):
        rates = activity[group == i].astype(np.float64)
        if not len(rates):
            continue
        mean = rates.mean(axis=0)
        axis.plot(times, mean, color=colour, linewidth=1.8, label=label)
        if len(rates) > 1:
            error = rates.std(axis=0, ddof=1) / np.sqrt(len(rates))
            axis.fill_between(times, mean - error, mean + error, color=colour, alpha=0.25, linewidth=0)
    axis.margins(x=0)
    mark_periods(axis, periods, inches)
    dress(axis, title, "time (ms)", "activity (a.u.)", size=TEXT)
    if periods:
        axis.set_title(title, fontsize=TEXT, loc="left", pad=18)
