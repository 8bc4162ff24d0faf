"""Figure of a causal test: what changes if units are perturbed, beside random sets of as many units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cordstasks.analysis.figures.style import BLACK, BLUE, GREY, ORANGE, TEXT, TITLE, dress, new_figure, percent
from cordstasks.errors import InputError

__all__ = ["perturbation"]

Effect = Mapping[str, Any]


def perturbation(effect: Effect, others: Sequence[Effect], *, title: str = "", condition: str = "condition") -> Figure:
    """Draw the change of accuracy by condition, and of reaction times and the psychometric function where there are such.

    Parameters
    ----------
    effect : dict
        Of the chosen units: "accuracy", "choices_changed", "choices_changed_interval", "by_value", "shift" and perhaps
        "reaction_times", as `cordstasks.experiments.effects.effect_of` gives them.
    others : sequence of dict
        The same of random sets.
    title : str
        What was done.
    condition : str
        What the values of "by_value" are.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there are no random sets.
    """
    if not len(others):
        raise InputError("others is empty; give the effects of one or more random sets")
    timed, moved = effect.get("reaction_times") is not None, effect["shift"] is not None
    names = ["overall", "by_value", *["times"] * timed, *["shift"] * moved]
    if len(names) == 4:  # in a row they would be too small to read
        figure = new_figure(11.5, 9.4)
        axes = figure.subplots(2, 2, width_ratios=(1, 1.4)).ravel()
    else:
        figure = new_figure(14.5 if len(names) == 3 else 10.0, 4.8)
        axes = figure.subplots(1, len(names), width_ratios=(1, 2.2, 2.6) if len(names) == 3 else (1, 3))
    panels = dict(zip(names, axes, strict=True))
    figure.suptitle(title, fontsize=TITLE, x=0.01, ha="left")
    _overall(panels["overall"], effect, others)
    _by_value(panels["by_value"], effect["by_value"], [other["by_value"] for other in others], condition)
    if "times" in panels:
        _times(panels["times"], effect["reaction_times"], [other["reaction_times"] for other in others])
    if "shift" in panels:
        _psychometric(panels["shift"], effect["shift"], [other["shift"] for other in others if other["shift"] is not None])
    return figure


def _overall(axis: Axes, effect: Effect, others: Sequence[Effect]) -> None:
    axis.axhline(0, color=GREY, linewidth=1)
    for place, (value, interval, known) in enumerate(
        [
            (effect["accuracy"]["change"], effect["accuracy"]["interval"], [o["accuracy"]["change"] for o in others]),
            (effect["choices_changed"], effect["choices_changed_interval"], [o["choices_changed"] for o in others]),
        ]
    ):
        _points(axis, place, value, interval, known, first=not place)
    axis.set_xticks([0, 1], ["accuracy", "choices\nchanged"])
    axis.set_xlim(-0.6, 1.6)
    dress(axis, "All trials", "", "change (fraction of trials)")


def _points(axis: Axes, place: float, value: float, interval: Any, others: list[float], *, first: bool) -> None:
    """One effect with its interval, and beside it those of random sets."""
    low, high = interval or (value, value)
    bars = np.maximum([[value - low], [high - value]], 0)
    axis.errorbar([place - 0.12], [value], bars, fmt="o", color=BLUE, capsize=3, label="chosen units" if first else None)
    axis.plot([place + 0.12] * len(others), others, "o", color=ORANGE, alpha=0.5, label="random sets" if first else None)


def _by_value(axis: Axes, rows: Sequence[Effect], others: Sequence[Sequence[Effect]], condition: str) -> None:
    axis.axhline(0, color=GREY, linewidth=1)
    for place, row in enumerate(rows):
        known = [each[place]["change"] for each in others]
        _points(axis, place, row["change"], row["interval"], known, first=not place)
    labels = [row["value"] if isinstance(row["value"], str) else f"{row['value']:g}" for row in rows]
    axis.set_xticks(np.arange(len(rows)), labels)
    dress(axis, "Accuracy, 95 % interval", condition, "change of accuracy")
    if len(rows):
        axis.legend(fontsize=TEXT - 1, frameon=False)


def _times(axis: Axes, times: Effect, others: Sequence[Effect]) -> None:
    """Change of the reaction time in all trials and by choice."""
    axis.axhline(0, color=GREY, linewidth=1)
    rows = [(times, others)]
    rows += [(row, [other["by_choice"][place] for other in others]) for place, row in enumerate(times["by_choice"])]
    for place, (row, same) in enumerate(rows):
        known = [each["change"] for each in same if each["change"] is not None]
        if row["change"] is not None:
            _points(axis, place, row["change"], row["interval"], known, first=False)
    axis.set_xticks(np.arange(len(rows)), ["all", *(str(row["choice"]) for row in times["by_choice"])])
    axis.set_xlim(-0.6, len(rows) - 0.4)
    dress(axis, "Reaction time, 95 % interval", "choice", "change of reaction time (ms)")


def _psychometric(axis: Axes, shift: Effect, others: Sequence[Effect]) -> None:
    """Choices against signed coherence without and with the perturbation."""
    # a set in whose trials nobody has decided at a coherence has no choices there
    levels = sorted({row["coherence"] for each in (shift, *others) for row in each["by_coherence"]})

    def at(each: Effect) -> list[int]:
        return [levels.index(row["coherence"]) for row in each["by_coherence"]]

    for place, other in enumerate(others):
        rates = [row["after"] for row in other["by_coherence"]]
        axis.plot(at(other), rates, color=ORANGE, alpha=0.35, linewidth=1, label=None if place else "random sets")
    x = at(shift)
    axis.plot(x, [row["before"] for row in shift["by_coherence"]], "o-", color=BLACK, label="without")
    said = "chosen units"
    if shift["shift"] is not None:
        ends = "" if shift["interval"] is None else f" [{percent(shift['interval'][0])}, {percent(shift['interval'][1])}]"
        size = f"{percent(shift['shift'])} % coherence"
        said += f": shift beyond {size}" if shift["beyond"] else f": shift {size}{ends}"
    axis.plot(x, [row["after"] for row in shift["by_coherence"]], "s-", color=BLUE, label=said)
    axis.axhline(0.5, color=GREY, linestyle=":")
    axis.set_xticks(np.arange(len(levels)), [percent(level) for level in levels])
    axis.tick_params(axis="x", rotation=45)
    axis.set_ylim(-0.03, 1.03)
    dress(axis, f"Choices of {shift['towards']:g} deg", "signed coherence (%)", "fraction of choices")
    axis.legend(fontsize=TEXT - 1, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.25))
