"""Figure 5: the multi-area model learns four visual tasks, and its units are tuned as in the experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cordstasks import analysis, runs
from cordstasks.paper.findings import Drawing, Finding, Outcome, judge
from cordstasks.paper.parts import Workplace

__all__ = ["cats_and_dogs", "numerosity", "random_dots", "saccade"]

SEEDS, QUICK_SEEDS = (0, 1, 2), (0,)
BY_CHANCE = 0.05  # false discovery rate of tests of tuning
RULE = "agrees if the whole 95 % interval lies above {bound}; trials of all seeds together"
TUNED = "agrees if the whole 95 % interval lies above the false discovery rate, 5 %; units of all seeds together"
SMALL = "small settings (--quick): a few trials and batches, so conclusions need the full ones"


def random_dots(folder: Path, workplace: Workplace) -> Outcome:
    """Random-dot motion: accuracy grows with coherence, and units are tuned to direction.

    Parameters
    ----------
    folder : Path
        Folder of the runs.
    workplace : Workplace
        How to make them.

    Returns
    -------
    Outcome
        Accuracy, dependence on coherence, and fraction of tuned units.
    """
    made = _summaries("rdm", folder, workplace)
    rows: dict[float, list[dict[str, Any]]] = {}
    for summary in made.values():
        for row in summary["heldout"]["by_condition"]:
            rows.setdefault(row["coherence"], []).append(row)
    accuracy = {level: _pooled(found) for level, found in sorted(rows.items())}
    strongest, weakest = accuracy[max(accuracy)], accuracy[min(accuracy)]
    listed = ", ".join(f"{100 * value:.0f} % at {100 * level:g} %" for level, (value, _) in accuracy.items())
    low, high = strongest[1][0] - weakest[1][1], strongest[1][1] - weakest[1][0]
    psychometric = Finding(
        "Accuracy grows with motion coherence.",
        f"{listed} coherence",
        judge((low, high), above=0.0),
        "agrees if the 95 % intervals at the weakest and the strongest motion do not overlap",
    )
    drawings = (
        Drawing("seed-0/psychometric.png", "Psychometric function (seed 0)", f"Accuracy by coherence: {listed}."),
        Drawing("seed-0/tuning.png", "Direction tuning (seed 0)", "Response of direction-tuned units by coherence."),
    )
    return _outcome("rdm", folder, workplace, made, [psychometric, _tuned("direction", made)], drawings)


def numerosity(folder: Path, workplace: Workplace) -> Outcome:
    """Numerosity: match to sample is learned, and units are tuned to number.

    Parameters
    ----------
    folder : Path
        Folder of the runs.
    workplace : Workplace
        How to make them.

    Returns
    -------
    Outcome
        Accuracy and fraction of tuned units.
    """
    drawings = (
        Drawing("seed-0/performance.png", "Performance by distance in number (seed 0)", "Accuracy by distance in number."),
        Drawing("seed-0/tuning.png", "Tuning to number (seed 0)", "Response by distance from the preferred number."),
    )
    return _two_findings("numerosity", "number", folder, workplace, drawings)


def cats_and_dogs(folder: Path, workplace: Workplace) -> Outcome:
    """Cats and dogs: categories of morphed animals are matched, and units are selective for category.

    Parameters
    ----------
    folder : Path
        Folder of the runs.
    workplace : Workplace
        How to make them.

    Returns
    -------
    Outcome
        Accuracy and fraction of selective units.
    """
    drawings = (
        Drawing("seed-0/performance.png", "Performance by morph line (seed 0)", "Accuracy by line of morphs."),
        Drawing("seed-0/boundary.png", "Category boundary (seed 0)", "Fraction of samples called dog by fraction of dog."),
    )
    return _two_findings("catdog", "category", folder, workplace, drawings)


def saccade(folder: Path, workplace: Workplace) -> Outcome:
    """Memory-guided saccade: the location is remembered, and units have memory fields.

    Parameters
    ----------
    folder : Path
        Folder of the runs.
    workplace : Workplace
        How to make them.

    Returns
    -------
    Outcome
        Accuracy and fraction of tuned units.
    """
    drawings = (
        Drawing("seed-0/performance.png", "Performance by location and delay (seed 0)", "Accuracy by location and delay."),
        Drawing("seed-0/tuning.png", "Memory fields (seed 0)", "Response by distance from the preferred location."),
    )
    return _two_findings("saccade", "location", folder, workplace, drawings)


def _summaries(task: str, folder: Path, workplace: Workplace) -> dict[int, dict[str, Any]]:
    """The summaries of finished runs, by seed; runs that are not finished are carried out or continued."""
    found = {}
    for seed in QUICK_SEEDS if workplace.quick else SEEDS:
        out = folder / f"seed-{seed}"
        begun = (out / "config.json").exists()
        given: dict[str, Any] = {} if begun else {"quick": workplace.quick, "seed": seed}
        run = runs.train(
            None if begun else task, out=out, resume=begun, device=workplace.device, bank=workplace.bank, **given
        )
        found[seed] = run.summary
    return found


def _two_findings(task: str, property_: str, folder: Path, workplace: Workplace, drawings: tuple[Drawing, ...]) -> Outcome:
    made = _summaries(task, folder, workplace)
    scores = [summary["heldout"] for summary in made.values()]
    chance = max(score["chance"] for score in scores)
    accuracy, interval = _pooled(scores)
    learned = Finding(
        "The model learns the task.",
        f"{100 * accuracy:.1f} % right ({100 * interval[0]:.1f} to {100 * interval[1]:.1f}), chance {100 * chance:.1f} %",
        judge(interval, above=chance),
        RULE.format(bound="chance"),
    )
    return _outcome(task, folder, workplace, made, [learned, _tuned(property_, made)], drawings)


def _tuned(property_: str, made: dict[int, dict[str, Any]]) -> Finding:
    """How many units are tuned to a property, with an interval over the units of all runs."""
    claim = f"Units of the recurrent network are tuned to {property_}."
    rows = [summary["tuning"] for summary in made.values() if summary.get("tuning") is not None]
    if not rows:
        return Finding(claim, "not measured: too few trials were right", judge(None), TUNED)
    tuned, units = (sum(_first(row, names) for row in rows) for names in (("tuned", "selective"), ("units",)))
    interval = analysis.wilson_interval(tuned, units)
    measured = f"{100 * tuned / units:.1f} % of {units} units ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"
    return Finding(claim, measured, judge(interval, above=BY_CHANCE), TUNED)


def _first(row: dict[str, Any], names: tuple[str, ...]) -> int:
    """The value of the first of some names that a row has; tasks count units that are tuned, or selective."""
    return int(next(row[name] for name in names if name in row))


def _pooled(rows: list[dict[str, Any]]) -> tuple[float, tuple[float, float]]:
    """Accuracy of all trials together, and its Wilson interval."""
    trials = sum(row["trials"] for row in rows)
    right = round(sum(row["trials"] * row["accuracy"] for row in rows))
    low, high = analysis.wilson_interval(right, trials)
    return right / trials, (float(low), float(high))


def _outcome(
    task: str,
    folder: Path,
    workplace: Workplace,
    made: dict[int, dict[str, Any]],
    findings: list[Finding],
    drawings: tuple[Drawing, ...],
) -> Outcome:
    quick = " --quick" if workplace.quick else ""
    return Outcome(
        findings,
        [drawing for drawing in drawings if (folder / drawing.file).exists()],
        [f"python -m cordstasks.train --task {task}{quick} --seed {seed}" for seed in made],
        list(made),
        [SMALL] if workplace.quick else [],
    )
