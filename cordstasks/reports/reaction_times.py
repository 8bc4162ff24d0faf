"""Report on reaction times: decisions at a bound, of tasks that may be answered while the evidence is shown."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordstasks import analysis
from cordstasks.analysis.psychophysics.decisions import Decisions
from cordstasks.errors import InputError
from cordstasks.reports import common
from cordstasks.reports.material import Material
from cordstasks.reports.observers import TABLE, observer_lines
from cordstasks.tasks.batch import FIXATE
from cordstasks.tasks.visual.base import TrialBatch, VisualTask
from cordstasks.training.evaluation import Behaviour, behave
from cordstasks.training.settings import VisualSettings
from cordstasks.utils.files import write_bytes

QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)

# `times`, `start`, `end` and `silent` of `analysis.psychophysics.decide`
Timing = dict[str, Any]


def applies(task: VisualTask, batch: TrialBatch) -> bool:
    """Whether trials may be answered while the evidence is shown, so that there are reaction times to report."""
    return bool((batch.answer_from < batch.periods[task.stimulus][:, 1]).any())


def report(material: Material, seen: Behaviour, omitted: common.Omissions, *, strength: str | None) -> dict[str, Any]:
    """Decide the held-out trials at a bound; write the figure and the table of trials; return the summary's part.

    Parameters
    ----------
    material : Material
    seen : Behaviour
        In the held-out trials.
    omitted : Omissions
        What is left out is noted there.
    strength : str, optional
        The condition that is the strength of the evidence, such as ``"coherence"``.

    Returns
    -------
    dict
        Empty unless the trials may be answered while the evidence is shown.
    """
    batch, settings = material.heldout, material.settings
    if not applies(material.task, batch):
        return {}
    curve = omitted.attempt("reaction times", lambda: _speed_accuracy(material, seen, batch))
    if curve is None:
        return {}
    bound = settings.bound or _chosen(material, curve)
    answer, found = _evidence(seen, batch)[1], decisions(seen, batch, bound)
    result = {
        "bound": bound,
        "bound_from": "settings" if settings.bound else f"reward rate in {settings.bound_trials} other trials",
        "non_decision": settings.non_decision,
        "inter_trial": settings.inter_trial,
        "time_out": settings.time_out,
        "reward_from": settings.reward_from,
        "undecided": int((~found.decided).sum()),
        "trials": len(batch),
        "reward_rate": analysis.psychophysics.reward_rate(found, answer, **_durations(settings)),
        "speed_accuracy": curve,
    }
    if not found.decided.any():
        omitted.note("reaction times", f"no trial reached the bound of {bound:.3g}; choose a lower one with bound=")
        return {"reaction_times": result}
    times, right = found.time + settings.non_decision, found.option == answer
    result |= {"accuracy": float(right[found.decided].mean()), "mean": float(times[found.decided].mean())}
    result["by_condition"] = _by_condition(batch, found, times, right, material.rng)
    result["quantiles"] = {
        name: np.quantile(times[kind], QUANTILES).tolist() if kind.any() else None
        for name, kind in (("right", right), ("wrong", found.decided & ~right))
    }
    _write_trials(material, found, times, right)
    if strength is not None:
        result |= _functions(material, found, times, right, strength, omitted)
    _figure(material, result, times, right, found, strength)
    return {"reaction_times": result}


def bound_of(summary: Mapping[str, Any], folder: Path) -> float:
    """The bound of a finished run with reaction times.

    Parameters
    ----------
    summary : mapping
        Of the run.
    folder : Path
        Where the run is, for messages.

    Returns
    -------
    float
        Log odds of an answer against all others.

    Raises
    ------
    InputError
        If the run's report found no bound, or is not there.
    """
    bound = summary.get("reaction_times", {}).get("bound")
    if bound is None:
        raise InputError(
            f"folder={str(folder)!r}: its trials may be answered at any time, but its summary has no bound; finish the run, "
            "or train it with a bound"
        )
    return float(bound)


def decisions(seen: Behaviour, batch: TrialBatch, bound: float) -> Decisions:
    """The answers at a bound, and their times.

    Parameters
    ----------
    seen : Behaviour
        In the trials of `batch`.
    batch : TrialBatch
    bound : float
        Log odds of an answer against all others.

    Returns
    -------
    Decisions
        Options are indices into ``batch.options``.
    """
    evidence, _, timing = _evidence(seen, batch)
    return analysis.psychophysics.decide(evidence, bound, **timing)


def _evidence(seen: Behaviour, batch: TrialBatch) -> tuple[NDArray[np.float64], NDArray[np.intp], Timing]:
    """Evidence for each option (trial, time, option), the index of the right one, and when a trial may be answered."""
    options = np.array(batch.options)
    answer = np.argmax(options == batch.answers[:, None], axis=1)
    silent = tuple(np.flatnonzero(options == FIXATE).tolist())
    end = np.array([movie.duration_ms for movie in batch.movies])
    timing: Timing = {"times": seen.times, "start": batch.answer_from, "end": end, "silent": silent}
    return analysis.psychophysics.log_odds(seen.logits[..., options]), answer, timing


def _speed_accuracy(material: Material, seen: Behaviour, batch: TrialBatch) -> list[dict[str, Any]]:
    evidence, answer, timing = _evidence(seen, batch)
    return analysis.psychophysics.speed_accuracy(evidence, answer, **timing, **_durations(material.settings))


def _durations(settings: VisualSettings) -> dict[str, Any]:
    """What the reward rate depends on beside the decisions, in ms."""
    return {name: getattr(settings, name) for name in ("non_decision", "inter_trial", "time_out", "reward_from")}


def _chosen(material: Material, tested: list[dict[str, Any]]) -> float:
    """The bound of the largest reward rate in trials that are neither trained on nor tested on."""
    seed = int(material.rng.integers(2**31))
    trials = material.settings.bound_trials
    batch = material.task.for_testing().sample(trials, seed=seed, dt=material.heldout.dt)
    seen = behave(material.model, material.inputs(batch, "movies to choose the bound by"), batch)
    try:
        return analysis.psychophysics.best_bound(_speed_accuracy(material, seen, batch))
    except InputError:  # no evidence in so few trials
        return float(tested[0]["bound"])


def _by_condition(
    batch: TrialBatch, found: Decisions, times: NDArray[Any], right: NDArray[Any], rng: np.random.Generator
) -> dict[str, list[dict[str, Any]]]:
    """By condition with few values: how many trials were undecided, and reaction times and accuracy of the others."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for name, values in batch.conditions.items():
        if not 1 < len(np.unique(values)) <= common.FEW and name != "coherence":
            continue
        rows = []
        for value in np.unique(values):
            own = values == value
            kept = own & found.decided
            row: dict[str, Any] = {"value": value.item(), "undecided": int((own & ~found.decided).sum())}
            if kept.any():
                (curve,) = analysis.psychophysics.chronometric_curve(np.zeros(kept.sum()), times[kept], right[kept], rng=rng)
                (score,) = analysis.accuracy_by_condition(np.zeros(kept.sum()), right[kept])
                row |= {"accuracy": score["accuracy"], "accuracy_interval": score["interval"]}
                row |= {key: part for key, part in curve.items() if key != "value"}
            else:
                row["trials"] = 0
            rows.append(row)
        tables[name] = rows
    return tables


def _functions(
    material: Material,
    found: Decisions,
    times: NDArray[Any],
    right: NDArray[Any],
    strength: str,
    omitted: common.Omissions,
) -> dict[str, Any]:
    """Psychometric and chronometric function, and the drift-diffusion model, of the trials with an answer."""
    level, kept, rng = material.heldout.conditions[strength], found.decided, material.rng
    chronometric = analysis.psychophysics.fit_chronometric(level[kept], times[kept], right[kept], rng=rng).as_dict()
    result: dict[str, Any] = {"chronometric": chronometric}
    if chronometric["slope"] is None:
        omitted.note("slope of reaction times", f"it takes two values of {strength} above 0 with answers")
    if chronometric["errors_minus_right"] is None:
        omitted.note("reaction times of errors", "no strength of motion had both errors and right answers")
    if len(material.task.options) != 2:
        omitted.note("threshold at the bound and drift-diffusion model", "they are of the choice between two answers")
        return result
    result["weibull"] = analysis.fit_weibull(level[kept], right[kept], rng=rng).as_dict()
    diffusion = omitted.attempt(
        "drift-diffusion model",
        lambda: analysis.psychophysics.fit_diffusion(
            level[kept],
            times[kept],
            right[kept],
            undecided=level[~kept],
            deadline=float(found.available.max()) + material.settings.non_decision,
        ),
    )
    return result | {"diffusion": None if diffusion is None else diffusion.as_dict()}


def _write_trials(material: Material, found: Decisions, times: NDArray[Any], right: NDArray[Any]) -> None:
    """Write the trials with an answer, with reaction times in s."""
    batch, names = material.heldout, material.task.actions
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    conditions = {
        ("condition " + name if name in ("rt", "correct", "choice") else name): v for name, v in batch.conditions.items()
    }
    writer.writerow(["observer", "trial", "rt", "correct", "choice", *conditions])
    for trial in np.flatnonzero(found.decided):
        choice = names[batch.options[found.option[trial]]]
        shown = [values[trial].item() for values in conditions.values()]
        writer.writerow(["model", int(trial), f"{times[trial] / 1000:.6f}", int(right[trial]), choice, *shown])
    write_bytes(material.folder.path / TABLE, stream.getvalue().encode())


def _figure(
    material: Material,
    result: dict[str, Any],
    times: NDArray[Any],
    right: NDArray[Any],
    found: Decisions,
    strength: str | None,
) -> None:
    tables = result["by_condition"]
    name = strength if strength in tables else next(iter(tables), None)
    figure = analysis.figures.reaction_times(
        tables.get(name, []) if name else [],
        times[right],
        times[found.decided & ~right],
        result["speed_accuracy"],
        bound=result["bound"],
        chance=1 / len(material.task.options),
        condition=name or "",
    )
    analysis.figures.save(figure, material.folder.path / "reaction_times.png")


def lines(summary: dict[str, Any]) -> list[str]:
    """Lines of the table printed at a run's end."""
    if "reaction_times" not in summary:
        return []
    found = summary["reaction_times"]
    share = found["undecided"] / found["trials"]
    text = [f"bound {found['bound']:.3g} log odds ({found['bound_from']}), never reached in {share:.1%} of trials"]
    if "mean" in found:
        text.append(
            f"at the bound {found['accuracy']:.1%} right after {found['mean']:.0f} ms on average, with "
            f"{found['non_decision']:g} ms of non-decision time; {found['reward_rate']:.2f} rewards per s"
        )
    for row in found.get("by_condition", {}).get("coherence", []):
        if row["trials"]:
            ends = "" if row["interval"] is None else f"   {row['interval'][0]:.0f} to {row['interval'][1]:.0f}"
            text.append(
                f"coherence {row['value']:.3f}: reaction time {row['mean']:.0f} ms{ends}, {row['accuracy']:.1%} right"
            )
    return [*text, *observer_lines("model", found)]
