"""What a perturbation changes: accuracy, choices, their psychometric function, and what is special to preferred values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordstasks import analysis
from cordstasks.experiments.perturbation_settings import PerturbationSettings
from cordstasks.reports.common import FEW
from cordstasks.runs.loading import TrainedRun
from cordstasks.tasks import TrialBatch
from cordstasks.training.evaluation import Behaviour

__all__ = ["effect_of", "lines_of"]

CIRCULAR = ("direction", "location")  # conditions that are angles in deg, of which one value may lie opposite to another


def effect_of(
    run: TrainedRun,
    batch: TrialBatch,
    control: Behaviour,
    after: Behaviour,
    condition: str,
    preferred: Any,
    settings: PerturbationSettings,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Compare a model's behaviour in the same trials without and with a perturbation.

    Parameters
    ----------
    run : TrainedRun
    batch : TrialBatch
        The trials.
    control, after : Behaviour
        Without and with the perturbation.
    condition : str
        The condition by whose values effects are listed.
    preferred : number or str or None
        The value that the perturbed units prefer, if they all do.
    settings : PerturbationSettings
    rng : numpy.random.Generator
        Draws the resamples for the intervals.

    Returns
    -------
    dict
        ``"accuracy"`` (see `cordstasks.analysis.psychophysics.paired_change`), ``"choices_changed"`` with its
        ``"choices_changed_interval"``, ``"choices"`` (fraction of each action before and after), ``"by_value"`` of the
        condition, for trials of two directions of motion ``"shift"`` towards the preferred or else the first one (see
        `cordstasks.analysis.psychophysics.choice_shift`), and ``"contrast"``: the change of accuracy at the preferred value
        minus that at the opposite one, where there is one.
    """
    changed = control.chosen != after.chosen
    values = batch.conditions.get(condition, np.array(run.task.actions)[batch.answers])
    change = analysis.psychophysics.paired_change
    levels = np.unique(values)
    result: dict[str, Any] = {
        "accuracy": change(control.correct, after.correct, rng=rng),
        "choices_changed": float(changed.mean()),
        "choices_changed_interval": list(analysis.wilson_interval(int(changed.sum()), len(changed))),
        "choices": {
            run.task.actions[action]: [float((chosen == action).mean()) for chosen in (control.chosen, after.chosen)]
            for action in batch.options
        },
        "by_value": [
            {"value": value.item(), **change(control.correct[values == value], after.correct[values == value], rng=rng)}
            for value in (levels if len(levels) <= FEW else ())
        ],
        "shift": _shift(batch, control, after, preferred if condition == "direction" else None, settings, rng),
        "contrast": None,
    }
    if preferred is not None and condition in CIRCULAR:
        result["contrast"] = _contrast(values, preferred, control, after, rng, settings.bootstrap)
    return result


def _shift(
    batch: TrialBatch,
    control: Behaviour,
    after: Behaviour,
    preferred: Any,
    settings: PerturbationSettings,
    rng: np.random.Generator,
) -> dict[str, Any] | None:
    """The shift of choices towards the preferred direction, or else the first, in units of coherence.

    None if there are not two directions in these trials.
    """
    if not {"coherence", "direction"} <= set(batch.conditions) or len(batch.options) != 2:
        return None
    direction = batch.conditions["direction"]
    if len(np.unique(direction)) < 2 or (preferred is not None and not (direction == float(preferred)).any()):
        return None
    towards = float(direction[batch.answers == batch.options[0]][0]) if preferred is None else float(preferred)
    action = int(batch.answers[direction == towards][0])
    signed = batch.conditions["coherence"] * np.where(direction == towards, 1, -1)
    found = analysis.psychophysics.choice_shift(
        signed, control.chosen == action, after.chosen == action, rng=rng, bootstrap=settings.bootstrap
    )
    table = [
        {
            "coherence": level.item(),
            "trials": int((signed == level).sum()),
            "before": float((control.chosen == action)[signed == level].mean()),
            "after": float((after.chosen == action)[signed == level].mean()),
        }
        for level in np.unique(signed)
    ]
    return {"towards": towards, **found.as_dict(), "by_coherence": table}


def _contrast(
    values: NDArray[Any], preferred: Any, control: Behaviour, after: Behaviour, rng: np.random.Generator, resamples: int
) -> dict[str, Any] | None:
    """Change of accuracy at the preferred angle minus that at the opposite one."""
    apart = np.abs(analysis.psychophysics.angular_difference(values, preferred))
    places = [np.flatnonzero(apart < 1e-6), np.flatnonzero(np.abs(apart - 180) < 1e-6)]
    if not all(len(place) for place in places):
        return None
    change = after.correct.astype(np.float64) - control.correct
    here, there = (change[place] for place in places)
    drawn = [rng.choice(here, len(here)).mean() - rng.choice(there, len(there)).mean() for _ in range(max(resamples, 1))]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {
        "preferred": float(here.mean()),
        "opposite": float(there.mean()),
        "difference": float(here.mean() - there.mean()),
        "interval": [float(low), float(high)],
    }


def lines_of(summary: dict[str, Any]) -> list[str]:
    """The table that a command prints.

    Returns
    -------
    list of str
        One a line, without line ends.
    """
    members, effect, others = summary["set"], summary["effect"], summary["random"]
    liked = members["preferred"]
    shown = liked if isinstance(liked, str) else f"{summary['condition']} {liked:g}" if liked is not None else ""
    prefer = f" that prefer {shown}" if shown else ""
    lines = [
        f"{len(members['units'])} of {members['of']} units{prefer}, beside {len(others)} random sets of as many",
        "",
        f"{'':34s} {'these units':>28s}   random sets: mean (smallest to largest)",
        _line(
            "accuracy",
            effect["accuracy"]["change"],
            effect["accuracy"]["interval"],
            [o["accuracy"]["change"] for o in others],
        ),
        _line(
            "fraction of choices changed",
            effect["choices_changed"],
            effect["choices_changed_interval"],
            [other["choices_changed"] for other in others],
            sign="",
        ),
    ]
    shift = effect["shift"]
    if shift is not None and shift["shift"] is not None:
        known = [other["shift"]["shift"] for other in others if other["shift"]["shift"] is not None]
        name = f"shift of choices to {shift['towards']:g} deg (coherence)"
        lines.append(_line(name, shift["shift"], shift["interval"], known, digits=3, percent=False))
    elif shift is not None:
        lines.append("shift of choices: choices do not follow the motion, so it has no size")
    for row, *same in zip(effect["by_value"], *(other["by_value"] for other in others), strict=True):
        value = row["value"] if isinstance(row["value"], str) else f"{row['value']:g}"
        name = f"accuracy, {summary['condition']} {value} ({row['trials']})"
        lines.append(_line(name, row["change"], row["interval"], [each["change"] for each in same]))
    contrast = effect["contrast"]
    if contrast is not None:
        known = [other["contrast"]["difference"] for other in others]
        lines.append(_line("preferred minus opposite", contrast["difference"], contrast["interval"], known))
    lines.append(
        f"(changes; without a perturbation {summary['control']['accuracy']:.1%} of {summary['control']['trials']} right)"
    )
    return lines


def _line(
    name: str,
    value: float,
    interval: list[float] | None,
    others: list[float],
    *,
    digits: int = 1,
    percent: bool = True,
    sign: str = "+",
) -> str:
    form = f"{{:{sign}.{digits}{'%' if percent else 'f'}}}"
    ends = "" if interval is None else f" ({form.format(interval[0])} to {form.format(interval[1])})"
    beside = (
        "none"
        if not others
        else f"{form.format(np.mean(others))} ({form.format(min(others))} to {form.format(max(others))})"
    )
    return f"{name:34s} {form.format(value) + ends:>28s}   {beside}"
