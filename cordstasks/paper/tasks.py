"""Figure 5: the multi-area model learns four visual tasks, and its units are tuned as in the experiments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cordstasks import analysis, runs
from cordstasks.analysis.statistics import difference_of_proportions
from cordstasks.paper.findings import Drawing, Finding, Outcome, judge
from cordstasks.paper.parts import Workplace

__all__ = ["PANELS", "Panel", "visual_task"]

SEEDS, QUICK_SEEDS = (0, 1, 2, 3, 4), (0,)
QUICK: dict[str, Any] = {"quick": True}  # settings of small runs
BY_CHANCE = 0.05  # false discovery rate of tests of tuning
ABOVE_CHANCE = "agrees if the whole 95 % interval lies above chance; trials of all seeds together"
TUNED = "agrees if the whole 95 % interval lies above the false discovery rate, 5 %; units of all seeds together"
GROWS = "agrees if the whole 95 % interval of the difference lies above 0; trials of all seeds together"
FALLS = (
    "agrees if the whole 95 % interval lies below 0; preferences are found in one half of the trials, and responses are of "
    "the other half"
)
BOTH = (
    "agrees if the whole 95 % interval of the fraction that prefers the rarer category lies above the false discovery rate, "
    "5 %; units of all seeds together"
)
SMALL = "small settings (--quick): a few trials and batches, so conclusions need the full ones"

Summaries = Mapping[int, dict[str, Any]]


@dataclass(frozen=True)
class Panel:
    """One task of figure 5.

    Attributes
    ----------
    findings : tuple of callable
        Each takes the summaries of runs by seed, and gives a `Finding`.
    drawings : tuple of Drawing
        Figures of the run of seed 0; those that it did not draw are left out.
    """

    findings: tuple[Callable[[Summaries], Finding], ...]
    drawings: tuple[Drawing, ...]


def visual_task(folder: Path, workplace: Workplace, task: str) -> Outcome:
    """Train the multi-area model on a visual task with several seeds, and compare what its units do with the paper.

    Parameters
    ----------
    folder : Path
        Folder of the runs.
    workplace : Workplace
        How to make them.
    task : str
        One of `PANELS`.

    Returns
    -------
    Outcome
        The findings and figures of its panel.
    """
    made: dict[int, dict[str, Any]] = {}
    for seed in QUICK_SEEDS if workplace.quick else SEEDS:
        out = folder / f"seed-{seed}"
        begun = (out / "config.json").exists()
        given: dict[str, Any] = {} if begun else {**(QUICK if workplace.quick else {}), "seed": seed}
        run = runs.train(
            None if begun else task, out=out, resume=begun, device=workplace.device, bank=workplace.bank, **given
        )
        made[seed] = run.summary
    quick = " --quick" if workplace.quick else ""
    findings = [finding(made) for finding in PANELS[task].findings]
    return Outcome(
        findings,
        [_described(drawing, findings) for drawing in PANELS[task].drawings if (folder / drawing.file).exists()],
        [f"python -m cordstasks.train --task {task}{quick} --seed {seed}" for seed in made],
        list(made),
        [SMALL] if workplace.quick else [],
    )


def _described(drawing: Drawing, findings: Sequence[Finding]) -> Drawing:
    """A drawing whose alternative text ends with what was measured of it, of all seeds."""
    place = {"psychometric": 0, "performance": 0, "tuning": 1}.get(Path(drawing.file).stem)
    if place is None:
        return drawing
    return replace(drawing, alternative=f"{drawing.alternative} All seeds: {findings[place].measured}.")


def _learned(made: Summaries) -> Finding:
    """Accuracy on held-out trials."""
    scores = [summary["heldout"] for summary in made.values()]
    chance = max(score["chance"] for score in scores)
    accuracy, interval = _pooled(scores)
    measured = (
        f"{100 * accuracy:.1f} % right ({100 * interval[0]:.1f} to {100 * interval[1]:.1f}), chance {100 * chance:.1f} %"
    )
    return Finding("The model learns the task.", measured, judge(interval, above=chance), ABOVE_CHANCE)


def _psychometric(made: Summaries) -> Finding:
    """Accuracy at the strongest and at the weakest motion."""
    rows: dict[float, list[dict[str, Any]]] = {}
    for summary in made.values():
        for row in summary["heldout"]["by_condition"]:
            rows.setdefault(row["coherence"], []).append(row)
    counts = {level: _counted(found) for level, found in sorted(rows.items())}
    listed = ", ".join(f"{100 * right / trials:.0f} % at {100 * level:g} %" for level, (right, trials) in counts.items())
    difference, (low, high) = difference_of_proportions(*counts[max(counts)], *counts[min(counts)])
    measured = f"{listed} coherence; difference {100 * difference:.0f} % ({100 * low:.0f} to {100 * high:.0f})"
    return Finding("Accuracy grows with motion coherence.", measured, judge((low, high), above=0.0), GROWS)


def _tuned(property_: str, made: Summaries) -> Finding:
    """How many units are tuned to a property, with an interval over the units of all runs."""
    claim = f"Units of the recurrent network are tuned to {property_}."
    rows = _tunings(made)
    if not rows:
        return Finding(claim, "not measured: too few trials were right", judge(None), TUNED)
    tuned, units = (sum(_first(row, names) for row in rows) for names in (("tuned", "selective"), ("units",)))
    interval = analysis.wilson_interval(tuned, units)
    measured = f"{100 * tuned / units:.1f} % of {units} units ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"
    return Finding(claim, measured, judge(interval, above=BY_CHANCE), TUNED)


def _falls(property_: str, made: Summaries) -> Finding:
    """How much smaller responses are at the nearest distance from the preferred value of a property, and at the farthest."""
    claim = f"Responses of tuned units fall with the distance from the preferred {property_}."
    near: list[tuple[float, float]] = []
    far: list[float] = []
    for tuning in _tunings(made):
        for curve in (*(tuning.get("by_preferred_number") or {}).values(), tuning.get("aligned") or {}):
            rows = [row for row in curve.get("by_offset", ()) if row["offset"] and row["standard_error"] is not None]
            distances = [abs(row["offset"]) for row in rows]
            near += [(row["mean"], row["standard_error"]) for row in rows if abs(row["offset"]) == min(distances)]
            far += [row["mean"] for row in rows if abs(row["offset"]) == max(distances)]
    if not near:
        return Finding(claim, "not measured: too few units are tuned", judge(None), FALLS)
    mean = float(np.mean([value for value, _ in near]))
    error = float(np.sqrt(np.sum([deviation**2 for _, deviation in near])) / len(near))
    low, high = mean - 1.96 * error, mean + 1.96 * error
    measured = (
        f"{mean:+.2f} standard deviations ({low:+.2f} to {high:+.2f}) from the preferred {property_} to the next one, "
        f"{np.mean(far):+.2f} to the farthest"
    )
    return Finding(claim, measured, judge((low, high), below=0.0), FALLS)


def _both_categories(made: Summaries) -> Finding:
    """How many selective units prefer cats, and how many dogs."""
    claim = "Some units prefer cats, others dogs."
    rows = [row for row in _tunings(made) if "prefer_cats" in row]
    cats, dogs = (sum(row[name] for row in rows) for name in ("prefer_cats", "prefer_dogs"))
    if not cats + dogs:
        return Finding(claim, "not measured: no unit is selective", judge(None), BOTH)
    low, high = analysis.wilson_interval(min(cats, dogs), cats + dogs)
    measured = f"{cats} prefer cats and {dogs} dogs; the rarer {100 * low:.1f} to {100 * high:.1f} % of both"
    return Finding(claim, measured, judge((low, high), above=BY_CHANCE), BOTH)


def _tunings(made: Summaries) -> list[dict[str, Any]]:
    """What runs found of the tuning of their units, where there was enough to find it."""
    return [summary["tuning"] for summary in made.values() if summary.get("tuning") is not None]


def _first(row: dict[str, Any], names: tuple[str, ...]) -> int:
    """The value of the first of some names that a row has; tasks count units that are tuned, or selective."""
    return int(next(row[name] for name in names if name in row))


def _counted(rows: list[dict[str, Any]]) -> tuple[int, int]:
    """Trials that are right, and all trials, of all rows together."""
    return round(sum(row["trials"] * row["accuracy"] for row in rows)), sum(row["trials"] for row in rows)


def _pooled(rows: list[dict[str, Any]]) -> tuple[float, tuple[float, float]]:
    """Accuracy of all trials together, and its Wilson interval."""
    right, trials = _counted(rows)
    low, high = analysis.wilson_interval(right, trials)
    return right / trials, (float(low), float(high))


PANELS = {
    "rdm": Panel(
        (_psychometric, partial(_tuned, "direction")),
        (
            Drawing("seed-0/psychometric.png", "Psychometric function (seed 0)", "Accuracy and choices by coherence."),
            Drawing("seed-0/tuning.png", "Direction tuning (seed 0)", "Response of direction-tuned units by coherence."),
        ),
    ),
    "numerosity": Panel(
        (_learned, partial(_tuned, "number"), partial(_falls, "number")),
        (
            Drawing("seed-0/performance.png", "Performance by distance in number (seed 0)", "Accuracy by distance."),
            Drawing("seed-0/tuning.png", "Tuning to number (seed 0)", "Response by distance from the preferred number."),
        ),
    ),
    "catdog": Panel(
        (_learned, partial(_tuned, "category"), _both_categories),
        (
            Drawing("seed-0/performance.png", "Performance by morph line (seed 0)", "Accuracy by line of morphs."),
            Drawing("seed-0/boundary.png", "Category boundary (seed 0)", "Samples called dog by fraction of dog."),
        ),
    ),
    "saccade": Panel(
        (_learned, partial(_tuned, "location"), partial(_falls, "location")),
        (
            Drawing("seed-0/performance.png", "Performance by location and delay (seed 0)", "Accuracy by location."),
            Drawing("seed-0/tuning.png", "Memory fields (seed 0)", "Response by distance from the preferred location."),
        ),
    ),
}
"""The four tasks by their names."""
