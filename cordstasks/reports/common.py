"""What the reports of all tasks share: the trained model's behaviour, its learning curve, and what it was shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cordstasks import analysis
from cordstasks.behaving import Behaviour, behave
from cordstasks.tasks.visual import TrialBatch

if TYPE_CHECKING:
    from cordstasks.reports import Material

FEW = 12  # a condition with more values than these is not tabulated


def periods_of(batch: TrialBatch, trial: int, names: Iterable[str]) -> dict[str, tuple[float, float]]:
    """Start and end in ms of some periods of a trial."""
    return {name: (float(batch.periods[name][trial, 0]), float(batch.periods[name][trial, 1])) for name in names}


def behaviour(material: Material) -> Behaviour:
    """Run the held-out trials."""
    return behave(material.model, material.trials.inputs, material.heldout)


def fixation_kept(logits: NDArray[np.float32], batch: TrialBatch) -> float:
    """Share of trials in which fixating is preferred at every step before the decision."""
    deciding = batch.answering
    before = (batch.mask > 0) & (np.arange(deciding.shape[1]) < deciding.argmax(1)[:, None])
    return float(((logits.argmax(2) == 0) | ~before).all(1).mean())


def heldout(material: Material, seen: Behaviour, by: Mapping[str, Any]) -> dict[str, Any]:
    """The summary's ``"heldout"``: accuracy in all and by the conditions `by` {name: (trial,)}."""
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
    """Accuracy by each condition of few values by itself."""
    return {
        name: analysis.behaviour.performance_table({name: values}, correct)
        for name, values in batch.conditions.items()
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

    A trial that lacks a period leaves its place dark.
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
    """The last lines of every table: score, chance, seconds, files."""
    score, seconds = summary["heldout"], summary["seconds"]
    low, high = score["interval"]
    files = ", ".join(sorted(path.name for path in folder.glob("*.png")))
    return [
        f"in all {score['accuracy']:.1%} ({low:.1%} to {high:.1%}) of {score['trials']} held-out trials; "
        f"chance is {score['chance']:.1%}",
        f"seconds: front-end {seconds['bank']:.0f}, training {seconds['train']:.0f}, in all {seconds['total']:.0f}",
        f"{folder}/: summary.json, {files}, best.pt",
    ]
