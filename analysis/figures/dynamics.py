"""Figures of dynamics: states of a memory with their time constants, and regimes over the gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from cordstasks.analysis._checks import Floats, real_array
from cordstasks.analysis.figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, TEXT, dress, new_figure
from cordstasks.errors import InputError

__all__ = ["early_and_late", "memory_states", "regimes", "spectra_of_areas", "spectrum"]

COLUMNS = 4  # panels in a row


def memory_states(
    memories: ArrayLike,
    states: ArrayLike,
    groups: ArrayLike,
    time_constants: ArrayLike,
    *,
    fixed: ArrayLike | None = None,
    stable: ArrayLike | None = None,
    settle: float,
    title: str,
) -> Figure:
    """Draw the states of a memory on their first two principal components, beside the time constants around them.

    Parameters
    ----------
    memories : array (trial, unit)
        States at the end of the delay.
    states : array (point, unit)
        Memories and mixtures of them after settling.
    groups : array (point,)
        The group of each of these.
    time_constants : array (state, mode)
        In ms, the slowest first.
    fixed : array (point, unit), optional
        Fixed points.
    stable : array (point,), optional
        Which of them are stable.
    settle : float
        For how long states were followed, in ms.
    title : str
        Title of the left panel.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If arrays do not fit each other.
    """
    held, after = real_array("memories", memories, ("trial", "unit")), real_array("states", states, ("point", "unit"))
    constants = real_array("time_constants", time_constants, ("state", "mode"))
    if held.shape[1] != after.shape[1]:
        raise InputError(f"memories of {held.shape[1]} units: states have {after.shape[1]}; give those of one network")
    centre = held.mean(0)
    axes = np.linalg.svd(np.concatenate([held, after]) - centre, full_matrices=False)[2][:2]

    def placed(points: Floats) -> Floats:
        return (points - centre) @ axes.T

    figure = new_figure(10.0, 4.4)
    left, right = figure.subplots(1, 2)
    start, end = placed(held), placed(after)
    left.scatter(start[:, 0], start[:, 1], s=22, color=GREY, alpha=0.6, label="end of the delay", linewidth=0)
    which = np.asarray(groups)
    colours = np.array([BLUE, GREEN, "#CC79A7", "#E69F00", "#56B4E9"])
    for group in np.unique(which):
        rows = which == group
        label = f"{settle / 1000:g} s later, and mixtures" if group == which.min() else None
        left.scatter(end[rows, 0], end[rows, 1], s=12, color=colours[int(group) % len(colours)], label=label, linewidth=0)
    if fixed is not None and len(np.asarray(fixed)):
        points, is_stable = placed(np.asarray(fixed, np.float64)), np.asarray(stable, bool)
        for rows, colour, label in ((is_stable, ORANGE, "stable fixed point"), (~is_stable, BLACK, "unstable fixed point")):
            if rows.any():
                ring = {"facecolors": "none", "edgecolors": colour, "linewidths": 1.5, "zorder": 3}
                left.scatter(points[rows, 0], points[rows, 1], s=90, label=label, **ring)
    left.set_aspect("equal", "datalim")
    dress(left, title, "first principal component", "second principal component")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=2, frameon=False, fontsize=TEXT)
    modes = np.arange(1, constants.shape[1] + 1)
    for row in constants:
        right.plot(modes, row, color=GREY, alpha=0.4, linewidth=0.8)
    right.plot(modes, np.median(constants, axis=0), color=BLUE, marker="o", linewidth=2, label="median")
    right.axhline(settle, color=BLACK, linestyle=":", linewidth=1, label="time that states were followed")
    right.set_yscale("log")
    right.set_xticks(modes)
    dress(right, "modes around the states", "mode, the slowest first", "time constant (ms)")
    right.legend(frameon=False, fontsize=TEXT)
    return figure


def regimes(rows: Sequence[Mapping[str, Any]], examples: Mapping[float, ArrayLike], *, dt: float) -> Figure:
    """Draw activity at some gains, and what changes with the gain: leading Lyapunov exponent, dimension, memory in time.

    Parameters
    ----------
    rows : sequence of mapping
        One for each network: ``kind``, ``gain``, ``exponent`` (per time constant), ``dimension`` and
        ``autocorrelation_ms``, the latter two None where activity has settled.
    examples : mapping of float to array (time, unit)
        Activity of some units by gain.
    dt : float
        Duration of a step in ms.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there are no rows or examples.
    """
    if not rows or not examples:
        raise InputError("rows and examples: give at least one of each")
    figure = new_figure(12.0, 7.0)
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.3))
    panels = top.subplots(1, len(examples), sharey=True, squeeze=False)[0]
    for panel, (gain, activity) in zip(panels, examples.items(), strict=True):
        shown = real_array("examples", activity, ("time", "unit"))
        panel.plot(np.arange(len(shown)) * dt, shown, linewidth=1)
        dress(panel, f"gain {gain:g}", "time (ms)", "rate" if panel is panels[0] else "")
    low, high = panels[0].get_ylim()  # which all panels share; what is left of settled activity is not to fill them
    panels[0].set_ylim(min(low, -0.05), max(high, 0.05))
    kinds = list(dict.fromkeys(str(row["kind"]) for row in rows))
    colours = {kind: (BLUE, ORANGE, GREEN)[place % 3] for place, kind in enumerate(kinds)}
    lower = bottom.subplots(1, 3)
    columns = (
        ("exponent", "leading Lyapunov exponent", "per time constant"),
        ("dimension", "participation ratio", "dimensions"),
        ("autocorrelation_ms", "autocorrelation time", "ms"),
    )
    for panel, (name, title, label) in zip(lower, columns, strict=True):
        for kind, colour in colours.items():
            own = [(float(row["gain"]), float(row[name])) for row in rows if row["kind"] == kind and row[name] is not None]
            if not own:
                continue
            gains, values = np.array(sorted(own)).T
            panel.plot(gains, values, "o", color=colour, markersize=4, alpha=0.6)
            levels = np.unique(gains)
            panel.plot(levels, [values[gains == g].mean() for g in levels], color=colour, label=kind)
        panel.axvline(1.0, color=BLACK, linewidth=1, linestyle=":")
        dress(panel, title, "gain", label)
    levels = np.unique([float(row["gain"]) for row in rows])
    below = np.append(levels[levels < 1], 1.0)
    lower[0].plot(below, below - 1, color=BLACK, linewidth=1, linestyle="--", label="theory: gain - 1")
    lower[0].axhline(0, color=GREY, linewidth=0.8)
    lower[0].legend(frameon=False, fontsize=TEXT)
    return figure


def spectrum(values: ArrayLike, *, title: str, theory: ArrayLike | None = None) -> Figure:
    """Draw eigenvalues in the complex plane beside the unit circle.

    Parameters
    ----------
    values : array of complex (value,)
        Eigenvalues.
    title : str
        Title.
    theory : array of complex (value,), optional
        Others to compare them with, drawn behind, such as those under circular padding.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure(5.5, 5.5)
    axis = figure.subplots()
    if theory is not None:
        other = np.asarray(theory, dtype=np.complex128)
        axis.scatter(other.real, other.imag, s=5, color=GREY, alpha=0.5, linewidth=0, label="circular padding")
    shown = np.asarray(values, dtype=np.complex128)
    axis.scatter(shown.real, shown.imag, s=16, color=BLUE, linewidth=0, label="leading eigenvalues")
    angle = np.linspace(0, 2 * np.pi, 200)
    axis.plot(np.cos(angle), np.sin(angle), color=BLACK, linewidth=1, linestyle=":")
    axis.set_aspect("equal", "datalim")
    dress(axis, title, "real part", "imaginary part")
    axis.legend(frameon=False, fontsize=TEXT)
    return figure


def spectra_of_areas(spectra: Mapping[str, ArrayLike]) -> Figure:
    """Draw the leading eigenvalues of W_rec - I of several areas, a panel for each, with the circle of radius 1 around -1.

    Parameters
    ----------
    spectra : mapping of str to array of complex (value,)
        By the title of their panel.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there are no spectra, or one has no values.
    """
    shown = {title: np.asarray(values, np.complex128).ravel() for title, values in spectra.items()}
    if not shown or not all(len(values) for values in shown.values()):
        raise InputError("spectra: give one or more, each with a value or more")
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(3.2 * columns, 3.2 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    angle = np.linspace(0, 2 * np.pi, 200)
    for number, (panel, (title, values)) in enumerate(zip(panels, shown.items(), strict=False)):
        panel.axvline(0, color=GREY, linewidth=0.8)
        panel.plot(np.cos(angle) - 1, np.sin(angle), color=BLACK, linewidth=1, linestyle=":")
        panel.scatter(values.real, values.imag, s=10, color=BLUE, linewidth=0)
        panel.set_aspect("equal", "box")
        lowest = number + columns >= len(shown)
        dress(panel, title, "real part" if lowest else "", "imaginary part" if number % columns == 0 else "")
        panel.tick_params(labelbottom=lowest)
    for panel in panels[len(shown) :]:
        panel.set_visible(False)
    return figure


def early_and_late(
    times_ms: ArrayLike,
    responses: Mapping[str, ArrayLike],
    spectra: Mapping[str, ArrayLike],
    pairs: Mapping[str, Sequence[Sequence[float]]],
) -> Figure:
    """Draw responses over time of two kinds of networks, their eigenvalues, and measures of pairs of them.

    Parameters
    ----------
    times_ms : array (time,)
        After image onset.
    responses : mapping of str to array (network, time)
        Along the final direction, by kind: 0 at rest, 1 at the end.
    spectra : mapping of str to array of complex (value,)
        Eigenvalues, by the same kinds.
    pairs : mapping of str to (values, values)
        Values of the pairs of networks of the first and of the second kind, by the name of the measure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there are not two kinds, or times or pairs do not fit.
    """
    times = real_array("times_ms", times_ms, ("time",))
    courses = {kind: real_array("responses", course, ("network", "time")) for kind, course in responses.items()}
    if len(courses) != 2 or set(spectra) != set(courses):
        raise InputError(f"responses of {len(courses)} kinds, spectra of {len(spectra)}; give the same two of both")
    if any(course.shape[1] != len(times) for course in courses.values()):
        raise InputError(f"responses and times_ms differ in their times ({len(times)}); give the same ones")
    if any(len(values) != 2 or len(values[0]) != len(values[1]) for values in pairs.values()):
        raise InputError("pairs: give for each measure as many values of the first kind as of the second")
    figure = new_figure(9.0 + 2.2 * len(pairs), 3.6)
    over_time, plane, *measures = figure.subplots(1, 2 + len(pairs), width_ratios=[2.0, 1.6, *[1.0] * len(pairs)])
    for (kind, course), colour in zip(courses.items(), (BLUE, ORANGE), strict=True):
        over_time.plot(times, course.T, color=colour, alpha=0.3, linewidth=0.8)
        over_time.plot(times, course.mean(axis=0), color=colour, linewidth=2, label=kind)
        values = np.asarray(spectra[kind], np.complex128).ravel()
        plane.scatter(values.real, values.imag, s=6, color=colour, alpha=0.5, linewidth=0, label=kind)
    over_time.axhline(1, color=GREY, linewidth=0.8)
    over_time.legend(frameon=False, fontsize=TEXT, loc="lower right")
    dress(over_time, "response of the last area", "time after image onset (ms)", "along its final direction")
    plane.axvline(0, color=GREY, linewidth=0.8)
    dress(plane, "eigenvalues under an image", "real part", "imaginary part")
    short = [kind.split()[0] for kind in courses]
    for panel, (name, (first, second)) in zip(measures, pairs.items(), strict=True):
        for both in zip(first, second, strict=True):
            panel.plot([0, 1], both, color=GREY, marker="o", markersize=4, linewidth=1)
        panel.plot([0, 1], [np.mean(first), np.mean(second)], color=BLACK, linewidth=2.5)
        panel.set_xticks([0, 1], short)
        panel.set_xlim(-0.4, 1.4)
        dress(panel, "", "trained to answer", name)
    return figure
