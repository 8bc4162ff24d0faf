"""What the reports of all tasks have in common: the trained model's behaviour, its learning curve, and its movies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks import analysis
from cordstasks.errors import InputError
from cordstasks.reports.material import Material
from cordstasks.tasks.timing import steps_before
from cordstasks.tasks.visual.base import TrialBatch
from cordstasks.training.evaluation import Behaviour, behave
from cordstasks.utils.memory import memory_text

FEW = 12  # a condition with more values than these is not tabulated
WINDOW_MS = 500.0  # end of the delay, in which memory is measured
AT_THE_END = f"the last {WINDOW_MS:g} ms of each trial's delay, or all of a shorter one"
COLUMNS = ("trials", "accuracy", "interval")  # of every table by condition
Booleans = NDArray[np.bool_]
T = TypeVar("T")


class Omissions:
    """What a report leaves out, and why, in words.

    Attributes
    ----------
    reasons : dict of str to str
        By what was left out: why.
    """

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def note(self, what: str, why: str) -> None:
        """Note that `what` is left out."""
        self.reasons[what] = why

    def attempt(self, what: str, compute: Callable[[], T]) -> T | None:
        """What `compute` returns; None, and a note, if the analysis refuses the trials."""
        try:
            return compute()
        except InputError as error:
            self.note(what, str(error))
            return None


@dataclass(frozen=True)
class Aligned:
    """Activity of some trials, in time from an event, as long as all of them last; from `aligned`.

    Attributes
    ----------
    rates : ndarray of shape (trial, time, unit)
        Rates of the recurrent units.
    times : ndarray of shape (time,)
        The end of each step in ms from the event.
    periods : dict of str to (float, float)
        By name: start and end in ms from the event, between which all of the trials are in that period.
    """

    rates: NDArray[np.float32]
    times: NDArray[np.float64]
    periods: dict[str, tuple[float, float]]


def aligned(
    seen: Behaviour, batch: TrialBatch, trials: NDArray[np.intp], *, event: str, until: str, names: Iterable[str]
) -> Aligned:
    """Rates of `trials` around the onset of the period `event`, up to the earliest end of the period `until`."""
    onset, end = batch.periods[event][trials, 0], batch.periods[until][trials, 1]
    first = np.array([steps_before(time, batch.dt) for time in onset])
    last = np.array([steps_before(time, batch.dt) for time in end])
    steps = np.arange(-first.min(), (last - first).min())
    periods = {}
    for name in names:
        start, stop = (batch.periods[name][trials] - onset[:, None]).T
        if start.max() < stop.min():
            periods[name] = (float(start.max()), float(stop.min()))
    return Aligned(seen.rates[trials[:, None], first[:, None] + steps], (steps + 1) * float(batch.dt), periods)


def end_of(seen: Behaviour, period: NDArray[np.float64], width: ArrayLike, *, whole: bool = False) -> Booleans:
    """Steps (trial, time) in the last `width` ms, one for all or one per trial, of each trial's own period (trial, 2).

    All of a period that is shorter, and the last step where `width` is shorter than a step. No step of a trial that lacks
    the period. See `Behaviour.within` for `whole`.
    """
    start, end = period.T
    inside = seen.within(start, end, whole=whole)
    late = inside & seen.within(end - np.asarray(width), end, whole=whole)
    final = inside & (np.arange(inside.shape[1]) == inside.shape[1] - 1 - inside[:, ::-1].argmax(1)[:, None])
    return late | final


def delays(
    material: Material, seen: Behaviour, omitted: Omissions, what: str, *, whole: bool = False
) -> tuple[NDArray[np.intp], Booleans]:
    """The trials (trial,) that have a delay, and the steps (trial, time) at the end of each; see `AT_THE_END`.

    Notes the other trials as left out of `what`.
    """
    batch = material.heldout
    lacking = np.full((len(batch), 2), np.nan)
    steps = end_of(seen, batch.periods.get("delay", lacking), WINDOW_MS, whole=whole)
    trials = np.flatnonzero(steps.any(1))
    if not len(trials):
        omitted.note(what, f"no trial has a delay in which a step of {batch.dt:g} ms lies")
    elif len(trials) < len(batch):
        omitted.note(
            f"{len(batch) - len(trials)} of {len(batch)} trials in {what}",
            f"in their delay lies no step of {batch.dt:g} ms",
        )
    return trials, steps[trials]


def behaviour(material: Material) -> Behaviour:
    """Run the held-out trials."""
    return behave(material.model, material.trials.inputs, material.heldout)


def fixation_kept(logits: NDArray[np.float32], batch: TrialBatch) -> float:
    """Fraction of trials in which fixating is preferred at every step before the decision."""
    deciding = batch.response_mask
    before = (batch.mask > 0) & (np.arange(deciding.shape[1]) < deciding.argmax(1)[:, None])
    return float(((logits.argmax(2) == 0) | ~before).all(1).mean())


def heldout(material: Material, seen: Behaviour, by: Mapping[str, Any]) -> dict[str, Any]:
    """The summary's ``"heldout"``: accuracy in all trials and by the conditions `by` {name: (trial,)}."""
    right, trials = int(seen.correct.sum()), len(seen.correct)
    low, high = analysis.wilson_interval(right, trials)
    return {
        "trials": trials,
        "accuracy": right / trials,
        "interval": [low, high],
        "chance": seen.chance,
        "p_chance": analysis.chance_p_value(right, trials, chance=seen.chance),
        "by_condition": analysis.behaviour.performance_table(by, seen.correct),
        "fixation_kept": fixation_kept(seen.logits, material.heldout),
    }


def tables(batch: TrialBatch, correct: NDArray[np.bool_]) -> dict[str, list[dict[str, Any]]]:
    """Accuracy by each condition with few values; a condition named like a column of a table is marked as a condition."""
    columns = {f"{name} (condition)" if name in COLUMNS else name: values for name, values in batch.conditions.items()}
    return {
        name: analysis.behaviour.performance_table({name: values}, correct)
        for name, values in columns.items()
        if 1 < len(np.unique(values)) <= FEW
    }


def learning_figure(material: Material, chance: float) -> None:
    """Write ``learning.png``, unless the log was lost."""
    log = material.folder.log.rows("step", "loss", "validation_loss", "validation_accuracy")
    if not log:
        return
    steps = [row["step"] for row in log]
    best = min(log, key=lambda row: row["validation_loss"])["step"]
    figures = analysis.figures
    figure = figures.learning_curve(
        steps,
        [row["loss"] for row in log],
        steps,
        [row["validation_accuracy"] for row in log],
        validation_loss=[row["validation_loss"] for row in log],
        chance=chance,
        best_step=best,
    )
    figures.save(figure, material.folder.path / "learning.png")


def period_sheet(batch: TrialBatch, trials: Sequence[int], labels: Sequence[str], path: Path) -> None:
    """Write what the network saw in some trials: a picture from the middle of each period.

    If a trial lacks a period, its panel stays dark.
    """
    names = list(batch.periods)
    movies = [batch.movies[trial] for trial in trials]
    height, width = movies[0].frames.shape[1:3]
    images = np.zeros((len(trials), len(names), height, width, 3), np.uint8)
    for row, (trial, movie) in enumerate(zip(trials, movies, strict=True)):
        for column, name in enumerate(names):
            start, end = batch.periods[name][trial]
            if np.isfinite(start):
                images[row, column] = movie.rgb([(start + end) / 2])[0]
    figures = analysis.figures
    columns = [name.replace("_", " ") for name in names]
    figures.save(figures.contact_sheet(images, labels, columns, "What the network saw", column_axis="period"), path)


def rows_of(rows: list[dict[str, Any]], names: Sequence[str], heading: str = "") -> list[str]:
    """Lines of text for a performance table."""
    width = max(12, *(len(str(row[name])) + 2 for row in rows for name in names))
    lines = ["", "".join(f"{name.replace('_', ' '):>{width}s}" for name in names) + "   trials   accuracy   95 % interval"]
    for row in rows:
        low, high = row["interval"]
        shown = "".join(f"{_text(row[name]):>{width}s}" for name in names)
        lines.append(f"{shown} {row['trials']:8d} {row['accuracy']:10.1%}   {low:.1%} to {high:.1%}")
    return [heading, *lines[1:]] if heading else lines


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def closing(summary: dict[str, Any], folder: Path) -> list[str]:
    """The last lines of every table: what is left out, score, chance, seconds, and the files."""
    score, seconds = summary["heldout"], summary["seconds"]
    low, high = score["interval"]
    written = ["summary.json", *sorted(path.name for path in folder.glob("*.png")), "reaction_times.csv", "best.pt"]
    return [
        *(f"left out: {what} ({why})" for what, why in summary.get("left_out", {}).items()),
        f"in all {score['accuracy']:.1%} ({low:.1%} to {high:.1%}) of {score['trials']} held-out trials; "
        f"chance is {score['chance']:.1%}",
        f"seconds: front-end {seconds['bank']:.0f}, training {seconds['train']:.0f}, in all {seconds['total']:.0f}",
        *filter(None, [memory_text(summary.get("memory"))]),
        f"{folder}/: {', '.join(name for name in written if (folder / name).exists())}",
    ]
