"""Report on random-dot motion: psychometric function, controls that only a motion-sensitive network passes, tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordstasks import analysis
from cordstasks.analysis.psychophysics.observers import Observer
from cordstasks.reports import common, reaction_times
from cordstasks.reports.material import Material
from cordstasks.tasks.visual.base import TrialBatch
from cordstasks.training.evaluation import Behaviour, behave

SHEET_TRIALS, SHEET_TIMES = 4, 9


def report(material: Material) -> dict[str, Any]:
    """Test a trained model on held-out dots and their controls; write the figures; return the summary's part."""
    task, batch, folder = material.task, material.heldout, material.folder.path
    seen, omitted = common.behaviour(material), common.Omissions()
    coherence = batch.conditions["coherence"]
    chance = 1 / (len(task.actions) - 1)
    rows = analysis.accuracy_by_condition(coherence, seen.correct)
    strongest = coherence == coherence.max()
    right, trials = int(seen.correct.sum()), len(batch)
    result: dict[str, Any] = {
        "heldout": {
            "trials": trials,
            "accuracy": right / trials,
            "interval": list(analysis.wilson_interval(right, trials)),
            "chance": chance,
            "by_condition": analysis.behaviour.performance_table({"coherence": coherence}, seen.correct),
            "spearman": analysis.spearman([row["value"] for row in rows], [row["accuracy"] for row in rows]),
            "p_chance_strongest": analysis.chance_p_value(
                int(seen.correct[strongest].sum()), int(strongest.sum()), chance=chance
            ),
            "fixation_kept": common.fixation_kept(seen.logits, batch),
        },
        "controls": _controls(material, np.flatnonzero(strongest), seen),
        "tuning": _tuning(material, seen, omitted),
        **_psychometrics(material, seen, omitted),
        **reaction_times.report(material, seen, omitted, strength="coherence"),
    }
    if result["heldout"]["spearman"] is None:
        omitted.note("rank correlation of accuracy with coherence", "accuracy or coherence has one value only")
    common.learning_figure(material, chance)
    _sheet(batch, task.display.frame_ms, folder / "movies.png")
    return {**result, "left_out": omitted.reasons}


def _psychometrics(material: Material, seen: Behaviour, omitted: common.Omissions) -> dict[str, Any]:
    """Fits of accuracy and of choices if the choice is between two directions; write their figure."""
    task, batch, rng = material.task, material.heldout, material.rng
    if len(task.actions) != 3:
        why = f"they are of the choice between two directions, and there are {len(task.actions) - 1}"
        omitted.note("psychometric fits", why)
        return {}
    coherence, first = batch.conditions["coherence"], seen.chosen == 1
    weibull = analysis.fit_weibull(coherence, seen.correct, rng=rng)  # its chance level is one half
    signed = coherence * np.where(batch.answers == 1, 1, -1)
    fit = analysis.fit_choices(signed, first, rng=rng)
    figures = analysis.figures
    by_sign, by_strength = (analysis.accuracy_by_condition(*both) for both in ((signed, first), (coherence, seen.correct)))
    figures.save(figures.psychometric(by_sign, by_strength, fit, weibull), material.folder.path / "psychometric.png")
    result = {
        "weibull": weibull.as_dict(),
        "choices": {"positive_direction": float(task.directions[0]), **fit.as_dict()},  # type: ignore[attr-defined]
    }
    levels = len(np.unique(coherence[coherence > 0]))
    if result["weibull"]["threshold"] is None:
        why = f"it takes two coherences above 0, and there were {levels}" if levels < 2 else "the fit failed"
        omitted.note("threshold of accuracy", why)
    elif "threshold" in weibull.at_bound:
        omitted.note("threshold of accuracy", "it lies outside the coherences that were shown")
    if result["choices"]["slope"] is None:
        why = "one coherence was shown, without a sign" if len(np.unique(signed)) < 2 else "the fit failed"
        omitted.note("slope of choices", "all choices were the same" if first.all() or not first.any() else why)
    elif result["choices"]["slope_interval"] is None:
        omitted.note("interval of the slope of choices", "the resampled trials did not give one")
    return result


def _tuning(material: Material, seen: Behaviour, omitted: common.Omissions) -> dict[str, Any] | None:
    """Tuning of the units in the second half of the motion, when evidence has accumulated; write its figure."""
    batch, figures = material.heldout, analysis.figures
    coherence, direction = batch.conditions["coherence"], batch.conditions["direction"]
    motion = batch.periods["motion"]
    window = common.end_of(seen, motion, (motion[:, 1] - motion[:, 0]) / 2)
    tuning = omitted.attempt(
        "tuning of the units to direction",
        lambda: analysis.direction_tuning(seen.rates, direction, coherence, window=window, rng=material.rng),
    )
    if tuning is None:
        return None
    last = list(material.task.timing)[-1]
    shown = common.aligned(seen, batch, np.arange(len(batch)), event="motion", until=last, names=("motion",))
    figure = figures.direction_population(
        tuning, shown.rates, shown.times, direction, coherence, motion=shown.periods["motion"]
    )
    figures.save(figure, material.folder.path / "tuning.png")
    return {"window": "the second half of each trial's motion", **tuning.as_dict()}


def _controls(material: Material, trials: NDArray[np.intp], seen: Behaviour) -> dict[str, Any]:
    """Choices on the movies with the strongest motion when their frames are shuffled, or reversed, in time."""
    part = material.heldout.select(trials)
    bounds = [tuple(map(float, ends)) for ends in part.periods["motion"]]
    changed = {
        "shuffled": [m.shuffled(material.rng, *b) for m, b in zip(part.movies, bounds, strict=True)],
        "reversed": [m.reversed(*b) for m, b in zip(part.movies, bounds, strict=True)],
    }
    result: dict[str, Any] = {}
    for name, movies in changed.items():
        control = replace(part, movies=tuple(movies))
        found = behave(material.model, material.inputs(control, f"{name} movies"), control)
        right = int(found.correct.sum())
        low, high = analysis.wilson_interval(right, len(trials))
        result[name] = {"trials": len(trials), "accuracy": right / len(trials), "interval": [low, high]}
        if name == "reversed":
            result[name]["flipped"] = float((found.chosen != seen.chosen[trials]).mean())
    return result


def beside(
    summary: dict[str, Any], others: Sequence[Observer], folder: Path, *, name: str = "model"
) -> list[dict[str, Any]]:
    """Accuracy of a finished run beside that of other observers: their thresholds and slopes; writes ``observers.png``.

    Parameters
    ----------
    summary : dict
        Of a run of random-dot motion.
    others : sequence of Observer
        Such as monkeys.
    folder : Path
        Where the figure goes.
    name : str
        What the model is called.

    Returns
    -------
    list of dict
        One row per observer, the model first: ``"observer"``, ``"trials"``, and what the Weibull fit found.
    """
    rows = summary["heldout"]["by_condition"]
    trials, right = (np.array([row[key] for row in rows]) for key in ("trials", "accuracy"))
    right = (trials * right).round().astype(int)
    correct = np.concatenate([np.arange(n) < k for n, k in zip(trials, right, strict=True)])
    model = Observer(name, np.repeat([row["coherence"] for row in rows], trials), correct)
    everyone = [model, *others]
    fits = [analysis.fit_weibull(each.coherence, each.correct, rng=np.random.default_rng(0)) for each in everyone]
    tables = [analysis.accuracy_by_condition(each.coherence, each.correct) for each in everyone]
    figures = analysis.figures
    figures.save(figures.observers(tables, fits, [each.name for each in everyone]), folder / "observers.png")
    return [
        {"observer": each.name, "trials": len(each.correct), **fit.as_dict()}
        for each, fit in zip(everyone, fits, strict=True)
    ]


def _sheet(batch: TrialBatch, frame: float, path: Path) -> None:
    """What the network saw: trials of rising coherence, from fixation through the motion of each trial to the choice."""
    coherence, direction = batch.conditions["coherence"], batch.conditions["direction"]
    levels = np.unique(coherence)
    levels = levels[np.unique(np.linspace(0, len(levels) - 1, SHEET_TRIALS).round().astype(int))]
    trials = [int(np.flatnonzero(coherence == level)[0]) for level in levels]
    motion = batch.periods["motion"][trials]
    # a series of frames in which dots of one set appear in every third frame
    after = frame * (np.arange(SHEET_TIMES - 2) + 0.5)
    after = after[after < (motion[:, 1] - motion[:, 0]).min()]
    images = np.stack(
        [
            movie.rgb([onset / 2, *(onset + after), movie.duration_ms - 1])
            for movie, onset in zip((batch.movies[trial] for trial in trials), motion[:, 0], strict=True)
        ]
    )
    rows = [f"{100 * coherence[t]:.1f} %, {direction[t]:.0f} deg" for t in trials]
    columns = ["fixation", *(f"{time:.0f}" for time in after), "choice"]
    figures = analysis.figures
    figure = figures.contact_sheet(images, rows, columns, "What the network saw", column_axis="time from motion onset (ms)")
    figures.save(figure, path)


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
    tuned = "" if summary["tuning"] is None else f"; direction-tuned units {summary['tuning']['fraction']:.0%}"
    lines.append(f"{controls['reversed']['flipped']:.0%} of choices flip when reversed{tuned}")
    if "weibull" in summary:
        weibull, fit = summary["weibull"], summary["choices"]
        if weibull["threshold"] is not None and "threshold" not in weibull["at_bound"]:
            lines.append(f"threshold {weibull['threshold']:.3f} (82 % correct without lapses)")
        if fit["slope"] is not None and fit["slope_interval"] is not None:
            low, high = fit["slope_interval"]
            lines.append(f"slope of choices {fit['slope']:.1f} log odds per unit of coherence, {low:.1f} to {high:.1f}")
    return "\n".join([*lines, *reaction_times.lines(summary), *common.closing(summary, folder)])
