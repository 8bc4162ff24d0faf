"""Report on random-dot motion: psychometric function, controls that a cheating network fails, tuning of the units."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cordstasks import analysis
from cordstasks.errors import InputError
from cordstasks.reports import common
from cordstasks.tasks.visual import TrialBatch
from cordstasks.training import choices, run_model

if TYPE_CHECKING:
    from cordstasks.reports import Material

SHEET_TRIALS, SHEET_TIMES = 4, 9
TUNING_TRIALS = 4  # in each direction, the fewest that `analysis.direction_tuning` takes


def check(batch: TrialBatch) -> None:
    """Raise an InputError if there are too few held-out trials to report on; found out before anything is computed."""
    moving = batch.conditions["direction"][batch.conditions["coherence"] > 0]
    least = min(int((moving == direction).sum()) for direction in np.unique(batch.conditions["direction"]))
    if least < TUNING_TRIALS or len(np.unique(moving)) < 2:
        raise InputError(
            f"heldout={len(batch)}: has {least} trials of moving dots in one of the directions, and the units' tuning "
            f"needs {TUNING_TRIALS}; give more trials, or --set coherences that are above 0"
        )


def report(material: Material) -> dict[str, Any]:
    """Test a trained model on held-out dots and their controls; write the figures; return the summary's part."""
    task, batch, folder, rng = material.task, material.heldout, material.folder, material.rng
    logits, rates = run_model(material.model, material.trials.inputs)
    chosen = choices(logits, material.trials.answering.cpu(), batch.options).numpy()
    correct = chosen == batch.answers
    coherence, direction = batch.conditions["coherence"], batch.conditions["direction"]
    rows = analysis.accuracy_by_condition(coherence, correct)
    strongest = coherence == coherence.max()
    result: dict[str, Any] = {
        "heldout": {
            "trials": len(batch),
            "accuracy": float(correct.mean()),
            "chance": 1 / (len(task.actions) - 1),
            "by_condition": [{"coherence": row.pop("value"), **row} for row in (dict(row) for row in rows)],
            "spearman": analysis.spearman([row["value"] for row in rows], [row["accuracy"] for row in rows]),
            "p_chance_strongest": analysis.chance_p_value(
                int(correct[strongest].sum()), int(strongest.sum()), chance=1 / (len(task.actions) - 1)
            ),
            "fixation_kept": common.fixation_kept(logits.numpy(), batch),
        },
        "controls": _controls(material, np.flatnonzero(strongest), chosen),
    }
    times = (np.arange(rates.shape[1]) + 1) * batch.dt  # a rate is that at the end of its step
    motion = (float(batch.periods["motion"][:, 0].max()), float(batch.periods["motion"][:, 1].min()))
    # the second half of the motion, when evidence has come in
    window = (times > sum(motion) / 2) & (times <= motion[1])
    tuning = analysis.direction_tuning(rates.numpy(), direction, coherence, window=window, rng=rng)
    result["tuning"] = {"window_ms": [sum(motion) / 2, motion[1]], **tuning.as_dict()}

    figures = analysis.figures
    if len(task.actions) == 3:
        weibull = analysis.fit_weibull(coherence, correct, rng=rng)  # its chance level is one half
        result["weibull"] = weibull.as_dict()
        signed = coherence * np.where(batch.answers == 1, 1, -1)
        fit = analysis.fit_choices(signed, chosen == 1, rng=rng)
        result["choices"] = {"positive_direction": float(task.directions[0]), **fit.as_dict()}  # type: ignore[attr-defined]
        signed_rows = analysis.accuracy_by_condition(signed, chosen == 1)
        figures.save(figures.psychometric(signed_rows, rows, fit, weibull), folder.path / "psychometric.png")
    common.learning_figure(material, 1 / (len(task.actions) - 1))
    figures.save(
        figures.direction_population(tuning, rates.numpy(), times, direction, coherence, motion=motion),
        folder.path / "tuning.png",
    )
    _sheet(batch, folder.path / "movies.png")
    return result


def _controls(material: Material, trials: NDArray[np.intp], chosen: NDArray[np.int64]) -> dict[str, Any]:
    """Choices on the movies with the strongest motion when their frames are shuffled, or reversed, in time."""
    batch = material.heldout
    part = TrialBatch(
        movies=tuple(batch.movies[trial] for trial in trials),
        dt=batch.dt,
        targets=batch.targets[trials],
        mask=batch.mask[trials],
        conditions={name: values[trials] for name, values in batch.conditions.items()},
        periods={name: values[trials] for name, values in batch.periods.items()},
    )
    bounds = [tuple(map(float, ends)) for ends in part.periods["motion"]]
    changed = {
        "shuffled": [m.shuffled(material.rng, *b) for m, b in zip(part.movies, bounds, strict=True)],
        "reversed": [m.reversed(*b) for m, b in zip(part.movies, bounds, strict=True)],
    }
    result: dict[str, Any] = {}
    for name, movies in changed.items():
        control = replace(part, movies=tuple(movies))
        logits, _ = run_model(material.model, material.inputs(control, f"{name} movies"))
        answer = choices(logits, material.trials.answering[trials].cpu(), batch.options).numpy()
        right = int((answer == part.answers).sum())
        low, high = analysis.wilson_interval(right, len(trials))
        result[name] = {"trials": len(trials), "accuracy": right / len(trials), "interval": [low, high]}
    result["reversed"]["flipped"] = float((answer != chosen[trials]).mean())
    return result


def _sheet(batch: TrialBatch, path: Path) -> None:
    """What the network saw: trials of rising coherence at times from fixation to choice."""
    coherence, direction = batch.conditions["coherence"], batch.conditions["direction"]
    levels = np.unique(coherence)
    levels = levels[np.unique(np.linspace(0, len(levels) - 1, SHEET_TRIALS).round().astype(int))]
    trials = [int(np.flatnonzero(coherence == level)[0]) for level in levels]
    movies = [batch.movies[trial] for trial in trials]
    shortest = min(movie.duration_ms for movie in movies)
    onset = float(batch.periods["motion"][trials[0], 0])
    frame = float(np.diff(movies[0].onsets_ms)[1])
    # fixation, a run of frames in which dots of one set come back every third, and the choice
    times = [onset / 2, *(onset + frame * (np.arange(SHEET_TIMES - 2) + 0.5))]
    times = [*(time for time in times if time < shortest - 1), shortest - 1]
    images = np.stack([movie.rgb(times) for movie in movies])
    labels = [f"{100 * coherence[t]:.1f} %, {direction[t]:.0f} deg" for t in trials]
    figures = analysis.figures
    figures.save(figures.contact_sheet(images, labels, [f"{time:.0f}" for time in times], "What the network saw"), path)


def table(summary: dict[str, Any], folder: Path) -> str:
    """The table printed at a run's end."""
    heldout, controls = summary["heldout"], summary["controls"]
    lines = ["", "coherence   trials   accuracy   95 % interval"]
    for row in heldout["by_condition"]:
        low, high = row["interval"]
        lines.append(f"{row['coherence']:9.3f} {row['trials']:8d} {row['accuracy']:10.1%}   {low:.1%} to {high:.1%}")
    for name in ("shuffled", "reversed"):
        row = controls[name]
        low, high = row["interval"]
        lines.append(f"{name:>9s} {row['trials']:8d} {row['accuracy']:10.1%}   {low:.1%} to {high:.1%}")
    lines.append(f"(shuffled and reversed in time: the strongest motion; chance is {heldout['chance']:.0%})")
    seconds = summary["seconds"]
    flipped = f"{controls['reversed']['flipped']:.0%} of choices flip when reversed"
    lines.append(f"{flipped}; direction-tuned units {summary['tuning']['share']:.0%}")
    if "weibull" in summary:
        weibull, fit = summary["weibull"], summary["choices"]
        if weibull["threshold"] is not None and "threshold" not in weibull["at_bound"]:
            lines.append(f"threshold {weibull['threshold']:.3f} (82 % correct without lapses)")
        if fit["slope"] is not None and fit["slope_interval"] is not None:
            low, high = fit["slope_interval"]
            lines.append(f"slope of choices {fit['slope']:.1f} log odds per unit of coherence, {low:.1f} to {high:.1f}")
    lines.append(f"seconds: front-end {seconds['bank']:.0f}, training {seconds['train']:.0f}, in all {seconds['total']:.0f}")
    lines.append(f"{folder}/: summary.json, psychometric.png, learning.png, tuning.png, movies.png, best.pt")
    return "\n".join(lines)
