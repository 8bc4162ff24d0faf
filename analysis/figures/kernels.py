"""Figures of psychophysical kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from cordstasks.analysis._checks import Floats, real_array, same_trials
from cordstasks.analysis.figures.style import BLUE, GREY, TEXT, TITLE, dress, legend_beside, new_figure
from cordstasks.analysis.psychophysics.kernels import PsychophysicalKernel

__all__ = ["kernel", "kernels_to_decision"]


def kernel(found: PsychophysicalKernel, times: ArrayLike, *, until: float | None = None) -> Figure:
    """Draw a psychophysical kernel beside the interval of shuffled choices.

    Parameters
    ----------
    found : PsychophysicalKernel
    times : (time,)
        In ms from the onset of motion.
    until : float, optional
        The end of the motion in ms, marked.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the times are not as many as the kernel's.
    """
    clock = _clock(found, times)
    figure = new_figure(7.6, 4.6)
    axis = figure.subplots()
    _draw(axis, found, clock, _largest([found]))
    if until is not None:
        axis.axvline(until, color=GREY, linestyle="--", label="end of motion")
    title = f"When motion counted: {found.trials} trials without coherence"
    dress(axis, title, "time from motion onset (ms)", _ENERGY)
    legend_beside(axis)
    return figure


def kernels_to_decision(
    onset: PsychophysicalKernel, onset_times: ArrayLike, decision: PsychophysicalKernel, decision_times: ArrayLike
) -> Figure:
    """Draw the psychophysical kernels of decisions at a bound, from the onset of motion and up to the decision.

    Parameters
    ----------
    onset, decision : PsychophysicalKernel
        Of the same trials.
    onset_times, decision_times : (time,)
        In ms from the onset of motion, and from the decision (at most 0).

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the times are not as many as the kernel's.
    """
    figure = new_figure(11.5, 4.6)
    panels = figure.subplots(1, 2, sharey=True)
    most = _largest([onset, decision])
    for axis, found, times in ((panels[0], onset, onset_times), (panels[1], decision, decision_times)):
        _draw(axis, found, _clock(found, times), most)
    panels[1].axvline(0, color=GREY, linestyle="--")
    figure.suptitle(
        f"When motion counted: {onset.trials} trials without coherence that reached the bound",
        fontsize=TITLE,
        x=0.01,
        ha="left",
    )
    dress(panels[0], "From the onset of motion", "time from motion onset (ms)", _ENERGY)
    dress(panels[1], "Up to the decision", "time from the decision (ms)", "")
    panels[1].legend(fontsize=TEXT - 1, frameon=False, loc="upper left")
    return figure


_ENERGY = "difference of motion energy\nby choice (SD)"


def _clock(found: PsychophysicalKernel, times: ArrayLike) -> Floats:
    clock = real_array("times", times, ("time",))
    same_trials("times", clock, len(found.kernel), "found")
    return clock


def _largest(kernels: Sequence[PsychophysicalKernel]) -> float:
    return max(float(np.abs([each.kernel, each.low, each.high]).max(initial=1e-9)) for each in kernels)


def _draw(axis: Axes, found: PsychophysicalKernel, clock: Floats, most: float) -> None:
    axis.axhline(0, color=GREY, linewidth=1)
    share = f"{100 * found.confidence:.3g} % of shuffled choices"
    axis.fill_between(clock, found.low, found.high, color=GREY, alpha=0.35, linewidth=0, label=share)
    axis.plot(clock, found.kernel, "o-", color=BLUE, markersize=4, label="choices as they were")
    axis.set_ylim(-1.15 * most, 1.15 * most)
