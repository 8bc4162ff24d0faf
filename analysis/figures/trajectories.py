"""Figure of trajectories of two classes; public in `figures`."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from cordstasks.analysis._checks import column, real_array, same_trials
from cordstasks.analysis.figures.style import BLACK, BLUE, GREY, ORANGE, TEXT, dress, legend_beside, new_figure
from cordstasks.errors import InputError


def class_trajectories(
    scores: ArrayLike,
    coordinates: ArrayLike,
    distances: ArrayLike,
    labels: ArrayLike,
    times_ms: ArrayLike,
    *,
    image_ms: float,
) -> Figure:
    """Draw trajectories of images of two classes in three panels.

    The first panel shows two principal components, one thin line for each image and a thick one for each class's mean. The
    second shows the coordinate on the axis between the classes over time, the third each area's mean distance from rest.

    Parameters
    ----------
    scores : (image, time, component)
        On at least two principal components.
    coordinates : (image, time)
        On the axis between the classes; -1 and 1 are the classes' means.
    distances : (image, time, area)
        From rest, relative to the end of the image.
    labels : (image,)
        The two classes.
    times_ms : (time,)
        After image onset.
    image_ms : float
        Until when the image was shown.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If shapes do not fit, or there are not two classes.
    """
    points, along = (
        real_array("scores", scores, ("image", "time", "component")),
        real_array("coordinates", coordinates, ("image", "time")),
    )
    away, times = real_array("distances", distances, ("image", "time", "area")), real_array("times_ms", times_ms, ("time",))
    names = column("labels", labels)
    same_trials("labels", names, len(points), "scores")
    classes = np.unique(names)
    if len(classes) != 2 or points.shape[2] < 2:
        raise InputError(
            f"scores have {points.shape[2]} components and labels {len(classes)} classes; give two or more, and two"
        )
    if not points.shape[:2] == along.shape == away.shape[:2] == (len(names), len(times)):
        raise InputError("scores, coordinates, distances and times_ms differ in their images or times; give the same ones")
    figure = new_figure(14.0, 4.4)
    plane, axis, areas = figure.subplots(1, 3)
    for name, colour in zip(classes, (BLUE, ORANGE), strict=True):
        own = names == name
        plane.plot(points[own, :, 0].T, points[own, :, 1].T, color=colour, alpha=0.2, linewidth=0.6)
        plane.plot(*points[own].mean(axis=0).T[:2], color=colour, linewidth=2.5, label=name)
        mean, spread = along[own].mean(axis=0), along[own].std(axis=0)
        axis.plot(times, mean, color=colour, linewidth=2, label=name)
        axis.fill_between(times, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
    plane.plot(*points[:, 0].mean(axis=0)[:2], "o", color=BLACK, markersize=5, label="first step")
    dress(plane, "last area", "principal component 1", "principal component 2")
    plane.legend(fontsize=TEXT - 1, frameon=False)
    axis.axvspan(0, image_ms, color="0.93", zorder=0)
    dress(axis, f"axis between {classes[0]} and {classes[1]} (mean and SD)", "time after image onset (ms)", "coordinate")
    colours = colormaps["viridis"](np.linspace(0, 0.9, away.shape[2]))
    areas.axvspan(0, image_ms, color="0.93", zorder=0)
    for area, colour in enumerate(colours):
        areas.plot(times, away[:, :, area].mean(axis=0), color=colour, label=f"area {area}")
    areas.axhline(0, color=GREY, linewidth=0.8)
    dress(areas, "distance from rest", "time after image onset (ms)", "relative to the end of the image")
    legend_beside(areas, size=TEXT - 2)
    return figure
