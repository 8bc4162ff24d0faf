"""Figures of abstract tasks: inputs and targets, learning curves, and the outputs of networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from cordstasks.analysis.figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, TEXT, dress, new_figure
from cordstasks.errors import InputError

__all__ = ["example_trials", "learning_curves", "shown_trials"]

_COLOURS = (BLUE, ORANGE, GREEN, GREY)
_COLUMNS = 3  # of trials in a figure


def learning_curves(
    networks: ArrayLike,
    steps: ArrayLike,
    scores: ArrayLike,
    stages: ArrayLike,
    *,
    measure: str,
    criterion: float,
    title: str,
) -> Figure:
    """Draw the score of each network against the number of batches that it was trained on.

    Parameters
    ----------
    networks : array_like of shape (row,)
        Which network a row is of.
    steps : array_like of shape (row,)
        Number of batches so far.
    scores : array_like of shape (row,)
        Scores; not-a-number and what is below zero is drawn at zero.
    stages : array_like of shape (row,)
        The number of the curriculum stage of the score; the curve starts again at each new stage.
    measure : str
        Name of the score.
    criterion : float
        What counts as learned.
    title : str
        Title above the axes.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there are no rows, or columns differ in length.
    """
    columns = [np.asarray(column) for column in (networks, steps, scores, stages)]
    if len({column.shape for column in columns}) > 1 or columns[0].ndim != 1 or not columns[0].size:
        raise InputError(f"networks, steps, scores, stages of shapes {[c.shape for c in columns]}: give equal, not empty")
    who, when, what, stage = columns
    figure = new_figure(7.0, 4.0)
    axis = figure.subplots()
    shown = np.clip(np.nan_to_num(what.astype(float), nan=0.0), 0, 1)
    names, last = np.unique(who), int(stage.max())
    for network in names:
        for number in np.unique(stage[who == network]):
            rows = (who == network) & (stage == number)
            colour = BLUE if number == last else ORANGE
            axis.plot(when[rows], shown[rows], color=colour, alpha=0.7, linewidth=1.3, marker="o", markersize=3)
    if last > 1:
        axis.plot([], [], color=ORANGE, label="shorter delays")
    axis.plot([], [], color=BLUE, label="the task itself")
    axis.axhline(criterion, color=BLACK, linewidth=1, linestyle=":", label="learned")
    axis.set_ylim(-0.02, 1.03)
    axis.set_xlim(left=0)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    plural = "s" if len(names) > 1 else ""
    dress(axis, f"{title}: {len(names)} network{plural}", "batches of trials", measure)
    axis.legend(frameon=False, fontsize=TEXT, loc="lower right")
    return figure


def example_trials(
    inputs: Sequence[NDArray[np.float32]],
    outputs: Sequence[NDArray[np.float32]],
    targets: Sequence[NDArray[np.float32]],
    *,
    channels: Sequence[str],
    dt: float,
    title: str,
) -> Figure:
    """Draw the inputs of some trials above the outputs of a network and the targets.

    Parameters
    ----------
    inputs : sequence of ndarray of shape (time, channel)
        One array a trial.
    outputs, targets : sequence of ndarray of shape (time, output)
        One array a trial; a target is not-a-number where none is set.
    channels : sequence of str
        Names of the input channels.
    dt : float
        Duration of a step in ms.
    title : str
        Title above the figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there are no trials, or arrays do not belong together.
    """
    if not inputs or not len(inputs) == len(outputs) == len(targets):
        raise InputError(
            f"{len(inputs)} inputs, {len(outputs)} outputs, {len(targets)} targets: give as many of each, above 0"
        )
    if any(a.shape[1] != len(channels) or len(a) != len(b) for a, b in zip(inputs, outputs, strict=True)):
        raise InputError(f"inputs: give (time, {len(channels)}) and outputs of as many steps")
    figure = new_figure(4.0 * len(inputs), 5.0)
    axes = figure.subplots(2, len(inputs), sharex="col", sharey="row", squeeze=False)
    several = outputs[0].shape[1] > 1
    for column, (shown, given, wanted) in enumerate(zip(inputs, outputs, targets, strict=True)):
        time = np.arange(len(shown)) * dt
        for channel, name in enumerate(channels):
            colour = _COLOURS[channel % len(_COLOURS)]
            axes[0, column].plot(time, shown[:, channel], color=colour, linewidth=1.2, label=name)
        for output in range(given.shape[1]):
            colour = _COLOURS[output % len(_COLOURS)]
            suffix = f" {output + 1}" if several else ""
            # with markers, since a response of one step would be a line without length
            axes[1, column].plot(time, wanted[:, output], color=colour, linewidth=4, alpha=0.3, marker="o", markersize=4)
            axes[1, column].plot(time, given[:, output], color=colour, linewidth=1.5, label=f"output{suffix}")
        axes[1, column].plot([], [], color=GREY, linewidth=4, alpha=0.3, label="target")
        dress(axes[0, column], f"trial {column + 1}", "", "input" if column == 0 else "")
        dress(axes[1, column], "", "time (ms)", "output" if column == 0 else "")
        axes[1, column].xaxis.set_major_locator(MaxNLocator(4, integer=True))
    for row in range(2):
        figure.legend(
            *axes[row, 0].get_legend_handles_labels(),
            loc="outside right upper" if row == 0 else "outside right lower",
            frameon=False,
            fontsize=TEXT,
        )
    figure.suptitle(title, fontsize=14)
    return figure


def shown_trials(
    inputs: Sequence[NDArray[np.float32]],
    targets: Sequence[NDArray[np.float32]],
    masks: Sequence[NDArray[np.float32]],
    *,
    onsets: Sequence[Mapping[str, int]],
    channels: Sequence[str],
    dt: float,
    titles: Sequence[str],
    title: str,
) -> Figure:
    """Draw the inputs of some trials, each above the targets and the weight of each step in the loss.

    Parameters
    ----------
    inputs : list of (time, channel)
        One for each trial.
    targets : list of (time, output)
        What the outputs should be.
    masks : list of (time,)
        Weight of each step in the loss.
    onsets : list of {period: step}
        When the periods of each trial begin; a dotted line marks it.
    channels : list of str
        Names of the input channels.
    dt : float
        Duration of a step in ms.
    titles : list of str
        One for each trial.
    title : str
        Above the figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there are no trials, or arrays do not belong together.
    """
    counts = [len(each) for each in (inputs, targets, masks, onsets, titles)]
    if not counts[0] or len(set(counts)) > 1:
        raise InputError(f"inputs, targets, masks, onsets, titles of {counts} trials: give as many of each, above 0")
    trials = list(zip(inputs, targets, masks, strict=True))
    if any(a.shape[1] != len(channels) or not len(a) == len(b) == len(c) for a, b, c in trials):
        raise InputError(f"inputs: give (time, {len(channels)}), and targets and masks of as many steps")
    columns = min(_COLUMNS, counts[0])
    rows = -(-counts[0] // columns)
    figure = new_figure(4.6 * columns + 1.8, 4.2 * rows + 0.4)
    axes = figure.subplots(2 * rows, columns, squeeze=False)
    limits = [_limits(inputs), _limits([*targets, *masks])]
    for place in range(rows * columns):
        row, column = divmod(place, columns)
        pair: list[Axes] = list(axes[2 * row : 2 * row + 2, column])
        if place >= len(trials):
            for axis in pair:
                axis.set_axis_off()
            continue
        _draw_trial(pair, *trials[place], channels=channels, dt=dt)
        for axis, ends in zip(pair, limits, strict=True):
            for onset in onsets[place].values():
                axis.axvline(onset * dt, color=GREY, linewidth=0.8, linestyle=":")
            axis.set_ylim(*ends)
            axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        dress(pair[0], titles[place], "", "input" if column == 0 else "", size=9)
        dress(pair[1], "", "time (ms)", "target" if column == 0 else "")
        pair[0].tick_params(labelbottom=False)
    handles = [handle for axis in axes[:2, 0] for handle in axis.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=TEXT)
    figure.suptitle(title, fontsize=14)
    return figure


def _draw_trial(
    axes: Sequence[Axes],
    inputs: NDArray[np.float32],
    targets: NDArray[np.float32],
    mask: NDArray[np.float32],
    *,
    channels: Sequence[str],
    dt: float,
) -> None:
    """Draw the inputs of a trial in the first of two axes, its targets and mask in the second; each step has a width."""
    upper, lower = axes
    edges = np.arange(len(mask) + 1) * dt
    for channel, name in enumerate(channels):
        colour = _COLOURS[channel % len(_COLOURS)]
        upper.stairs(inputs[:, channel], edges, baseline=None, color=colour, label=name)
    lower.stairs(mask, edges, fill=True, color=GREY, alpha=0.3, label="weight in the loss")
    for output in range(targets.shape[1]):
        label = "target" if targets.shape[1] == 1 else f"target {output + 1}"
        colour = _COLOURS[output % len(_COLOURS)]
        lower.stairs(targets[:, output], edges, baseline=None, color=colour, linewidth=1.8, label=label)
    for axis in axes:
        axis.set_xlim(0, edges[-1])


def _limits(arrays: Sequence[NDArray[np.float32]]) -> tuple[float, float]:
    """The limits of an axis that shows all of the arrays, and zero."""
    low = min(0.0, *(float(array.min()) for array in arrays))
    high = max(0.0, *(float(array.max()) for array in arrays))
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin
