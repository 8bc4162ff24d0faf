"""Figures of neural predictivity: over time, by area, and of every moment from every moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from cordstasks.analysis._checks import Floats, real_array
from cordstasks.analysis.figures.style import BLACK, GREY, TEXT, dress, legend_beside, new_figure
from cordstasks.errors import InputError

Row = Mapping[str, Any]  # a median and its interval, as `predictivity.median_interval` gives them


def area_colours(count: int) -> list[tuple[float, float, float, float]]:
    """Return one colour for each area, from the lowest (dark) to the highest.

    Parameters
    ----------
    count : int
        Number of areas.

    Returns
    -------
    list of tuple of float
        Red, green, blue and opacity of each colour, from 0 to 1.
    """
    return [colormaps["viridis"](place) for place in np.linspace(0.0, 0.88, count)]


def predictivity_over_time(
    bins_ms: ArrayLike, areas: Mapping[str, Sequence[Row]], *, ceiling: Sequence[Row] | None = None
) -> Figure:
    """Draw the median score of each area in each time bin, with the ceiling.

    Parameters
    ----------
    bins_ms : (time bin, 2)
        Start and end of each bin, in ms.
    areas : mapping of str to sequence of dict
        For each area, a row for each bin with ``median`` and ``interval``, as `median_interval` gives them.
    ceiling : sequence of dict, optional
        The same of the correlation that a perfect model would have.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the numbers of rows and bins differ.
    """
    centres = _bins(bins_ms).mean(axis=1)
    figure = new_figure(8.4, 4.4)
    axis = figure.subplots()
    for colour, (name, rows) in zip(area_colours(len(areas)), areas.items(), strict=True):
        middle, low, high = _columns(name, rows, len(centres))
        axis.plot(centres, middle, color=colour, linewidth=2, marker="o", markersize=4, label=name)
        axis.fill_between(centres, low, high, color=colour, alpha=0.12, linewidth=0)
    if ceiling is not None:
        middle, _, _ = _columns("ceiling", ceiling, len(centres))
        axis.plot(centres, middle, color=BLACK, linewidth=1.6, linestyle="--", label="ceiling")
    axis.axhline(0, color=GREY, linewidth=0.8)
    dress(
        axis, "Predictivity in each time bin", "time after onset (ms)", "correlation, held-out stimuli\n(median over units)"
    )
    legend_beside(axis)
    return figure


def predictivity_by_area(areas: Mapping[str, Row], shuffled: Mapping[str, float], *, ceiling: Row | None = None) -> Figure:
    """Draw the score spanning time of each area, beside that of shuffled time bins.

    Parameters
    ----------
    areas : mapping of str to dict
        ``median`` and ``interval`` of each area.
    shuffled : mapping of str to float
        The median of the shuffled recordings; areas may be missing.
    ceiling : dict, optional
        ``median`` of the correlation that a perfect model would have.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure(6.6, 4.2)
    axis = figure.subplots()
    names = list(areas)
    for place, (colour, name) in enumerate(zip(area_colours(len(names)), names, strict=True)):
        row = areas[name]
        if row["median"] is None:
            continue
        low, high = row["interval"]
        axis.plot([place, place], [low, high], color=colour, linewidth=2)
        axis.plot(place, row["median"], "o", color=colour, markersize=8)
        if name in shuffled:
            axis.plot(place, shuffled[name], "_", color=GREY, markersize=16, markeredgewidth=2.5)
    if ceiling is not None and ceiling["median"] is not None:
        axis.axhline(ceiling["median"], color=BLACK, linestyle="--", linewidth=1.6)
        axis.plot([], [], color=BLACK, linestyle="--", label="ceiling")
    axis.plot([], [], "o", color=BLACK, label="median, 95 % interval over units")
    axis.plot([], [], "_", color=GREY, markersize=16, markeredgewidth=2.5, label="time bins shuffled")
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
    dress(axis, "Predictivity spanning time", "", "correlation, held-out stimuli\nx time bins")
    axis.legend(fontsize=TEXT - 1, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=3)
    return figure


def predictivity_map(model_bins_ms: ArrayLike, bins_ms: ArrayLike, maps: Mapping[str, ArrayLike]) -> Figure:
    """Draw how well each time bin of a recording is predicted from each time of each area.

    Parameters
    ----------
    model_bins_ms, bins_ms : (time bin, 2)
        Bins of the model and of the recording, in ms.
    maps : mapping of str to (model time, time bin)
        The median score over units of each area; NaN is drawn white.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If a map has another shape.
    """
    rows, columns = _bins(model_bins_ms).mean(axis=1), _bins(bins_ms).mean(axis=1)
    across = min(4, len(maps))
    down = -(-len(maps) // across)
    figure = new_figure(2.9 * across + 1.0, 2.9 * down + 0.4)
    axes = np.atleast_1d(figure.subplots(down, across, sharex=True, sharey=True)).reshape(-1)
    arrays = {name: np.asarray(each, np.float64) for name, each in maps.items()}
    for name, each in arrays.items():
        if each.shape != (len(rows), len(columns)):
            raise InputError(f"maps[{name!r}] has shape {each.shape}; give {(len(rows), len(columns))}")
    most = max([float(np.nanmax(each)) for each in arrays.values() if np.isfinite(each).any()] or [1.0])
    image = None
    for axis, (name, each) in zip(axes, arrays.items(), strict=False):
        image = axis.pcolormesh(columns, rows, each, cmap="viridis", vmin=0, vmax=max(most, 1e-3), shading="nearest")
        low, high = max(rows.min(), columns.min()), min(rows.max(), columns.max())
        axis.plot([low, high], [low, high], color="white", linewidth=1, linestyle=":")
        dress(axis, name, "", "")
    for axis in axes[len(arrays) :]:
        axis.remove()
    figure.supxlabel("time in the recording (ms)", fontsize=TEXT)
    figure.supylabel("time in the model (ms)", fontsize=TEXT)
    if image is not None:
        bar = figure.colorbar(image, ax=list(axes[: len(arrays)]), pad=0.02)
        bar.set_label("correlation (median)", fontsize=TEXT)
    return figure


def _bins(values: ArrayLike) -> Floats:
    bins = real_array("bins_ms", values, ("time bin", "edge"))
    if bins.shape[1] != 2:
        raise InputError(f"bins_ms has shape {bins.shape}; give start and end of each bin, (time bin, 2)")
    return bins


def _columns(name: str, rows: Sequence[Row], bins: int) -> tuple[Floats, Floats, Floats]:
    """Median, and both ends of the interval, of each bin; NaN, which is not drawn, where there is none."""
    if len(rows) != bins:
        raise InputError(f"areas[{name!r}] has {len(rows)} rows for {bins} time bins; give one for each")
    nothing = (np.nan, np.nan)
    ends = np.array([row["interval"] or nothing for row in rows], dtype=np.float64)
    middle = np.array([np.nan if row["median"] is None else row["median"] for row in rows], dtype=np.float64)
    return middle, ends[:, 0], ends[:, 1]
