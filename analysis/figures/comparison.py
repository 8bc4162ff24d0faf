"""Figures of a comparison of networks; public in `figures`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike
from scipy.cluster.hierarchy import dendrogram as scipy_dendrogram
from scipy.cluster.hierarchy import leaves_list

from cordstasks.analysis._checks import Floats, real_array
from cordstasks.analysis.comparison.canonical import Alignment
from cordstasks.analysis.comparison.crossed import Rows
from cordstasks.analysis.comparison.embedding import Embedding, checked_distances, cluster
from cordstasks.analysis.figures.style import BLACK, GREY, TEXT, dress, new_figure
from cordstasks.errors import InputError, unknown

# Okabe & Ito's palette, without black and yellow; markers distinguish labels with the same colour
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", GREY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
NAMED = 40  # networks; with more, their names would be too small to read


def aligned_trajectories(
    alignments: Mapping[str, Alignment],
    conditions: int,
    *,
    partners: tuple[str, str] = ("first", "second"),
    condition_names: Sequence[str] | None = None,
    held_out: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
) -> Figure:
    """Draw pairs of networks in their first two canonical dimensions, one panel per pair.

    The first network of a pair has solid lines and the second has dashed lines, with one colour per condition. The dot is
    the start. If the networks found the same solution, the dashed lines lie on the solid lines.

    Parameters
    ----------
    alignments : {title: Alignment}
        From activities (condition x time, unit) with the time steps of each condition in a row and equally many, of at
        least two dimensions.
    conditions : int
        Number of conditions.
    partners : (str, str)
        What the legend calls the first and the second network of a pair.
    condition_names : (condition,), optional
        For the legend, which otherwise leaves conditions out.
    held_out : {title: (correlations, shuffled)}, optional
        Canonical correlations (dimension,) on conditions held out and the same for shuffled conditions, written at the
        axes, such as `Comparison.correlations` and the mean of its `null_correlations` for the pair. Otherwise those of
        the alignment are, which are too good.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there is no alignment, one has fewer than two dimensions or samples that conditions do not divide, or names do
        not fit.
    """
    if not alignments:
        raise InputError("alignments is empty; give at least one")
    names = _condition_names(condition_names, conditions)
    columns = min(len(alignments), 4)
    rows = -(-len(alignments) // columns)
    wide = max(3.4 * columns, 7.0)
    figure = new_figure(wide, 3.9 * rows + 0.3 + 0.28 * -(-(len(names or ()) + 3) // int(wide / 1.2)))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    colours = [colormaps["viridis"](place) for place in np.linspace(0, 0.9, conditions)]
    for axis, (title, alignment) in zip(axes, alignments.items(), strict=False):
        for both, style in ((alignment.x_coordinates, "-"), (alignment.y_coordinates, "--")):
            for colour, course in zip(colours, _by_condition(title, both, conditions), strict=True):
                axis.plot(course[:, 0], course[:, 1], style, color=colour, linewidth=1.6)
                axis.plot(*course[0, :2], "o", color=colour, markersize=4)
        first, second = _correlations(title, alignment, held_out)
        dress(axis, title, f"dimension 1 (SD)\n{first}", f"dimension 2 (SD)\n{second}")
    for axis in axes[len(alignments) :]:
        axis.remove()
    handles = [
        Line2D([], [], color=BLACK, label=partners[0]),
        Line2D([], [], color=BLACK, linestyle="--", label=partners[1]),
        Line2D([], [], color=BLACK, marker="o", linestyle="", markersize=4, label="start"),
        *(
            Line2D([], [], color=colour, linewidth=3, label=name)
            for colour, name in zip(colours, names or (), strict=names is not None)
        ),
    ]
    columns = min(len(handles), int(wide / 1.2))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=TEXT - 1, frameon=False)
    return figure


def distance_matrix(
    distances: ArrayLike,
    labels: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    title: str = "Shape distance",
    unit: str = "rad",
) -> Figure:
    """Draw distances between networks, sorted by label and, within a label, so that neighbours are similar.

    Parameters
    ----------
    distances : (network, network)
        Symmetric, with 0 on the diagonal. Not modified.
    labels : (network,)
        Architecture of each network.
    names : (network,), optional
        Drawn along the side where there are at most 40.
    title, unit : str
        Above the picture, and of its colours.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the distances are no distance matrix or labels do not fit them.
    """
    matrix = checked_distances(distances)
    kinds, members = _members(labels, len(matrix))
    order = np.concatenate([_neighbours(matrix, rows) for rows in members])
    figure = new_figure(8.2, 7)
    axis = figure.subplots()
    # the diagonal is not a distance between networks and would only stretch the colour scale
    shown = np.where(np.eye(len(matrix), dtype=bool), np.nan, matrix)[np.ix_(order, order)]
    colours = colormaps["viridis"].with_extremes(bad="white")
    image = axis.imshow(shown, cmap=colours, interpolation="nearest")
    bar = figure.colorbar(image, ax=axis, pad=0.02)
    bar.set_label(f"distance ({unit})" if unit else "distance", fontsize=TEXT)
    bar.ax.tick_params(labelsize=TEXT)
    dress(axis, title, "network", "network")
    edges = np.cumsum([0, *map(len, members)])
    for edge in edges[1:-1]:
        axis.axhline(edge - 0.5, color="white", linewidth=2)
        axis.axvline(edge - 0.5, color="white", linewidth=2)
    middles = [(start + end - 1) / 2 for start, end in pairwise(edges)]
    crowded = len(kinds) > 5 or max(map(len, kinds)) > 14
    turned: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    axis.set_xticks(middles, kinds, **turned)
    if names is not None and len(matrix) <= NAMED:
        called = _fitting("names", names, len(matrix))
        axis.set_yticks(range(len(matrix)), [called[i] for i in order], fontsize=TEXT - 3)
    else:
        axis.set_yticks(middles, kinds)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return figure


def embedding_map(embedding: Embedding, labels: Sequence[str], *, unit: str = "rad") -> Figure:
    """Draw networks at their positions from multidimensional scaling, in the first two dimensions.

    Parameters
    ----------
    embedding : Embedding
        Of at least two dimensions.
    labels : (network,)
        Architecture of each network.
    unit : str
        Of the distances.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there is one dimension only or labels do not fit.
    """
    places = embedding.coordinates
    if places.shape[1] < 2:
        raise InputError("embedding has 1 dimension; give one of at least 2")
    figure = new_figure(7.6, 5.6)
    axis = figure.subplots()
    for i, (kind, rows) in enumerate(zip(*_members(labels, len(places)), strict=True)):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        axis.plot(*places[rows, :2].T, marker, color=colour, markersize=8, alpha=0.8, markeredgecolor="white", label=kind)
    axis.set_aspect("equal", adjustable="datalim")
    suffix = f" ({unit})" if unit else ""
    dress(axis, f"Multidimensional scaling, stress {embedding.stress:.2f}", f"dimension 1{suffix}", f"dimension 2{suffix}")
    axis.legend(fontsize=TEXT, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def dendrogram(tree: ArrayLike, labels: Sequence[str], *, names: Sequence[str] | None = None, unit: str = "rad") -> Figure:
    """Draw the tree of a hierarchical clustering, leaves coloured by architecture.

    Parameters
    ----------
    tree : (network - 1, 4)
        From `cluster`.
    labels : (network,)
        Architecture of each network.
    names : (network,), optional
        Written at the leaves where there are at most 40; otherwise leaves bear a mark of their architecture alone.
    unit : str
        Of the distances.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If labels or names do not fit the tree.
    """
    linkage = real_array("tree", tree, ("merger", "column"))
    number = len(linkage) + 1
    kinds, members = _members(labels, number)
    drawn = scipy_dendrogram(linkage, no_plot=True)
    figure = new_figure(max(7.0, min(2.5 + 0.28 * number, 14)), 5)
    axis = figure.subplots()
    for across, up in zip(drawn["icoord"], drawn["dcoord"], strict=True):
        axis.plot(across, up, color=GREY, linewidth=1.4, zorder=1)
    leaves = np.argsort(drawn["leaves"])  # position of each network along the axis
    places = 10.0 * leaves + 5  # the positions at which SciPy draws leaves
    for i, (kind, rows) in enumerate(zip(kinds, members, strict=True)):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        below = np.zeros(len(rows))
        axis.plot(places[rows], below, marker, color=colour, markersize=7, clip_on=False, zorder=3, label=kind)
    dress(axis, "Hierarchical clustering", "", f"distance at which clusters join{f' ({unit})' if unit else ''}")
    axis.set_xticks([])
    if names is not None and number <= NAMED:
        called = _fitting("names", names, number)
        axis.set_xticks(places, called, rotation=90, fontsize=TEXT - 3)
        axis.tick_params(axis="x", length=0, pad=8)
    axis.set_ylim(0, 1.05 * float(linkage[:, 2].max()))
    axis.spines["bottom"].set_visible(False)
    axis.legend(fontsize=TEXT, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _correlations(title: str, alignment: Alignment, held_out: Mapping[str, tuple[ArrayLike, ArrayLike]] | None) -> list[str]:
    if held_out is None:
        return [f"r = {r:.2f} (not held out)" for r in alignment.correlations[:2]]
    if title not in held_out:
        raise unknown("held_out title", title, held_out)
    correlations, shuffled = (real_array(f"held_out[{title!r}]", values, ("dimension",)) for values in held_out[title])
    if min(len(correlations), len(shuffled)) < 2:
        raise InputError(f"held_out[{title!r}] has {min(len(correlations), len(shuffled))} dimension; give at least 2")
    return [f"r = {r:.2f} (shuffled {by_chance:.2f})" for r, by_chance in zip(correlations[:2], shuffled[:2], strict=True)]


def _by_condition(title: str, coordinates: Floats, conditions: int) -> Floats:
    samples, dimensions = coordinates.shape
    if dimensions < 2:
        raise InputError(f"alignments[{title!r}] has 1 dimension; give networks that vary in at least 2")
    if samples % conditions:
        raise InputError(f"conditions is {conditions}, which does not divide the {samples} samples of {title!r}")
    return coordinates.reshape(conditions, -1, dimensions)


def _condition_names(names: Sequence[str] | None, conditions: int) -> list[str] | None:
    if conditions < 1:
        raise InputError(f"conditions is {conditions}; give a whole number of at least 1")
    if names is not None and len(names) != conditions:
        raise InputError(f"condition_names has {len(names)} entries for {conditions} conditions; give one for each")
    return None if names is None else list(names)


def _members(labels: Sequence[str], number: int) -> tuple[list[str], list[Rows]]:
    """The labels, in order of appearance, and the networks of each."""
    kinds = list(dict.fromkeys(_fitting("labels", labels, number)))
    return kinds, [np.flatnonzero([label == kind for label in labels]) for kind in kinds]


def _fitting(name: str, values: Sequence[str], number: int) -> list[str]:
    if len(values) != number:
        raise InputError(f"{name} has {len(values)} entries for {number} networks; give one for each")
    return list(values)


def _neighbours(matrix: Floats, rows: Rows) -> Rows:
    if len(rows) < 3:
        return rows
    return np.asarray(rows[leaves_list(cluster(matrix[np.ix_(rows, rows)]))])
