"""What a perturbation changes: accuracy, choices and their times, the psychometric function, what is special to a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordstasks import analysis
from cordstasks.analysis.psychophysics.decisions import Decisions
from cordstasks.experiments.perturbation_settings import PerturbationSettings
from cordstasks.reports import reaction_times
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
    *,
    bound: float | None = None,
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
    bound : float, optional
        Log odds at which the model decides. Choices are then those at the bound, and a trial that does not reach it has
        none and is not right. By default they are the choices in the response window.

    Returns
    -------
    dict
        ``"accuracy"`` (see `cordstasks.analysis.psychophysics.paired_change`), ``"choices_changed"`` with its
        ``"choices_changed_interval"``, ``"choices"`` (fraction of each action before and after), ``"by_value"`` of the
        condition, for trials of two directions of motion ``"shift"`` towards the preferred or else the first one (see
        `cordstasks.analysis.psychophysics.choice_shift`), and ``"contrast"``: the change of accuracy at the preferred value
        minus that at the opposite one, where there is one. With a bound also ``"reaction_times"``: trials that did not reach
        it, without and with the perturbation, as ``"undecided"``, and the change of the reaction time in ms in trials that
        reached it both times, in all, as ``"by_value"`` of the condition, and as ``"by_choice"`` with the perturbation.
    """
    times = None
    if bound is not None:
        decided = [reaction_times.decisions(seen, batch, bound) for seen in (control, after)]
        control, after = (_at_bound(seen, batch, each) for seen, each in zip((control, after), decided, strict=True))
        times = (decided[0], decided[1])
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
    if times is not None and bound is not None:
        result["reaction_times"] = {"bound": bound, **_reaction_times(run, batch, times, values, settings.bootstrap, rng)}
    return result


def _at_bound(seen: Behaviour, batch: TrialBatch, found: Decisions) -> Behaviour:
    """The same behaviour, with choices at a bound; -1 without a decision."""
    chosen = np.where(found.decided, np.array(batch.options)[found.option], -1)
    return replace(seen, chosen=chosen, correct=chosen == batch.answers)


def _reaction_times(
    run: TrainedRun,
    batch: TrialBatch,
    found: tuple[Decisions, Decisions],
    values: NDArray[Any],
    resamples: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Changes of reaction times, in trials that reached the bound without and with the perturbation."""
    before, after = (each.time + run.settings.non_decision for each in found)
    both = found[0].decided & found[1].decided

    def change(own: NDArray[np.bool_]) -> dict[str, Any]:
        kept = own & both
        row: dict[str, Any] = dict.fromkeys(("before", "after", "change", "interval")) | {"trials": int(kept.sum())}
        if kept.any():
            difference = (after - before)[kept]
            row |= {"before": float(before[kept].mean()), "after": float(after[kept].mean())}
            row["change"] = float(difference.mean())
        if kept.sum() > 1:
            drawn = [rng.choice(difference, len(difference)).mean() for _ in range(max(resamples, 1))]
            row["interval"] = np.quantile(drawn, [0.025, 0.975]).tolist()
        return row

    levels = np.unique(values)
    options = [run.task.actions[action] for action in batch.options]
    return {
        "undecided": [int((~each.decided).sum()) for each in found],
        **change(np.ones(len(batch), np.bool_)),
        "by_value": [{"value": value.item(), **change(values == value)} for value in (levels if len(levels) <= FEW else ())],
        "by_choice": [{"choice": name, **change(found[1].option == index)} for index, name in enumerate(options)],
    }


def _shift(
    batch: TrialBatch,
    control: Behaviour,
    after: Behaviour,
    preferred: Any,
    settings: PerturbationSettings,
    rng: np.random.Generator,
) -> dict[str, Any] | None:
    """The shift of choices towards the preferred direction, or else the first, in units of coherence.

    Of the trials with a choice both times; None if there are not two directions in these trials.
    """
    if not {"coherence", "direction"} <= set(batch.conditions) or len(batch.options) != 2:
        return None
    direction = batch.conditions["direction"]
    if len(np.unique(direction)) < 2 or (preferred is not None and not (direction == float(preferred)).any()):
        return None
    decided = (control.chosen >= 0) & (after.chosen >= 0)
    if not decided.any():
        return None
    towards = float(direction[batch.answers == batch.options[0]][0]) if preferred is None else float(preferred)
    action = int(batch.answers[direction == towards][0])
    signed = (batch.conditions["coherence"] * np.where(direction == towards, 1, -1))[decided] + 0.0  # no -0
    before, since = ((seen.chosen == action)[decided] for seen in (control, after))
    found = analysis.psychophysics.choice_shift(signed, before, since, rng=rng, bootstrap=settings.bootstrap)
    table = [
        {
            "coherence": level.item(),
            "trials": int((signed == level).sum()),
            "before": float(before[signed == level].mean()),
            "after": float(since[signed == level].mean()),
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
    kind = members.get("kind", "units")
    alike = "of as many" if kind == "units" else f"of as many {kind}"
    lines = [
        f"{len(members['units'])} of {members['of']} units{prefer}, beside {len(others)} random sets {alike}",
        "",
        f"{'':40s} {'these units':>28s}   random sets: mean (smallest to largest)",
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
    if shift is not None:
        lines.append(_shift_line(shift, [other["shift"] for other in others]))
    if "reaction_times" in effect:
        lines += _time_lines(effect["reaction_times"], [other["reaction_times"] for other in others])
    for row, *same in zip(effect["by_value"], *(other["by_value"] for other in others), strict=True):
        value = row["value"] if isinstance(row["value"], str) else f"{row['value']:g}"
        name = f"accuracy, {summary['condition']} {value} ({row['trials']})"
        lines.append(_line(name, row["change"], row["interval"], [each["change"] for each in same]))
    contrast = effect["contrast"]
    if contrast is not None:
        known = [other["contrast"]["difference"] for other in others]
        lines.append(_line("preferred minus opposite", contrast["difference"], contrast["interval"], known))
    control = summary["control"]
    lines.append(f"(changes; without a perturbation {control['accuracy']:.1%} of {control['trials']} right)")
    if "reaction_times" in effect:
        without, with_it = effect["reaction_times"]["undecided"]
        lines.append(
            f"(choices {summary['choices']}; {without} trials did not reach it without the perturbation, {with_it} with it: "
            "they count as not right, and have no time)"
        )
    return lines


def _shift_line(shift: dict[str, Any], others: Sequence[dict[str, Any] | None]) -> str:
    """The shift of choices, or why it has no size."""
    if shift["shift"] is None:
        return "shift of choices: choices do not follow the motion, so it has no size"
    known = [other for other in others if other is not None and other["shift"] is not None]
    line = _line(
        f"shift of choices to {shift['towards']:g} deg (coherence)",
        shift["shift"],
        shift["interval"],
        [other["shift"] for other in known],
        digits=3,
        percent=False,
        said=shift_words(shift),
    )
    far = sum(other["beyond"] for other in known)
    return line + (f"; {far} beyond the tested coherences" if far else "")


def shift_words(shift: Mapping[str, Any], digits: int = 3) -> str:
    """A shift with its interval, in words where it is larger than the tested coherences or has no interval.

    Parameters
    ----------
    shift : mapping
        From `cordstasks.analysis.psychophysics.ChoiceShift.as_dict`, with a shift that is not None.
    digits : int
        After the decimal point.

    Returns
    -------
    str
    """
    size, ends = shift["shift"], shift["interval"]
    if shift["beyond"]:
        least = "" if ends is None else f" (at least {ends[0 if size > 0 else 1]:+.{digits}f})"
        return f"beyond the tested {size:+.{digits}f}{least}"
    if ends is None:
        return f"{size:+.{digits}f} (no interval: resampled choices do not follow the motion)"
    return f"{size:+.{digits}f} ({ends[0]:+.{digits}f} to {ends[1]:+.{digits}f})"


def _time_lines(times: dict[str, Any], others: Sequence[dict[str, Any]]) -> list[str]:
    """Changes of reaction times, in all and by choice."""
    rows = [("reaction time (ms)", times, others)]
    for place, row in enumerate(times["by_choice"]):
        rows.append(
            (f"reaction time of choices of {row['choice']} (ms)", row, [other["by_choice"][place] for other in others])
        )
    lines = []
    for name, row, same in rows:
        if row["change"] is None:
            lines.append(f"{name:40s} {'no trial with a decision both times':>28s}")
            continue
        known = [each["change"] for each in same if each["change"] is not None]
        lines.append(_line(name, row["change"], row["interval"], known, digits=0, percent=False))
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
    said: str | None = None,
) -> str:
    form = f"{{:{sign}.{digits}{'%' if percent else 'f'}}}"
    ends = "" if interval is None else f" ({form.format(interval[0])} to {form.format(interval[1])})"
    beside = (
        "none"
        if not others
        else f"{form.format(np.mean(others))} ({form.format(min(others))} to {form.format(max(others))})"
    )
    return f"{name:40s} {said or form.format(value) + ends:>28s}   {beside}"
