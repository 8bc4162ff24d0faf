"""Figure of a psychophysical kernel."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from cordstasks.analysis._checks import real_array, same_trials
from cordstasks.analysis.figures.style import BLUE, GREY, dress, legend_beside, new_figure
from cordstasks.analysis.psychophysics.kernels import PsychophysicalKernel

__all__ = ["kernel"]


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
    clock = real_array("times", times, ("time",))
    same_trials("times", clock, len(found.kernel), "found")
    figure = new_figure(7.6, 4.6)
    axis = figure.subplots()
    axis.axhline(0, color=GREY, linewidth=1)
    share = f"{100 * found.confidence:.3g} % of shuffled choices"
    axis.fill_between(clock, found.low, found.high, color=GREY, alpha=0.35, linewidth=0, label=share)
    axis.plot(clock, found.kernel, "o-", color=BLUE, markersize=4, label="choices as they were")
    if until is not None:
        axis.axvline(until, color=GREY, linestyle="--", label="end of motion")
    axis.set_ylim(*np.array([-1.15, 1.15]) * max(np.abs([found.kernel, found.low, found.high]).max(), 1e-9))
    title = f"When motion counted: {found.trials} trials without coherence"
    dress(axis, title, "time from motion onset (ms)", "difference of motion energy\nby choice (SD)")
    legend_beside(axis)
    return figure
