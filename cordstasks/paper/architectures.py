"""Figure 1C and appendix B.3: are convolutional recurrent networks closer to fully connected ones than others are?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cordstasks.experiments.architectures import compare_architectures, table
from cordstasks.experiments.sweep import expand
from cordstasks.experiments.sweep_jobs import run_sweep
from cordstasks.paper.findings import AGREES, CANNOT_TELL, DISAGREES, Drawing, Finding, Outcome
from cordstasks.paper.parts import Workplace
from cordstasks.utils.files import write_bytes

__all__ = ["FULL", "QUICK", "comparison"]

# all kinds with the same numbers of units, over activations, sizes, learning rates and seeds
FULL: dict[str, Any] = {
    "tasks": ["perceptual-dm", "parametric-wm", "multisensory-dm", "contextual-dm", "dms"],
    "connectivities": ["full", "lowrank", "sparse", "conv"],
    "activations": ["relu", "tanh", "softplus"],
    "units": [64, 100],
    "learning_rates": [0.001, 0.002],
    "seeds": 2,
}
QUICK = {**FULL, "tasks": ["perceptual-dm", "contextual-dm"], "activations": ["relu", "tanh"], "units": [64]}
QUICK["learning_rates"] = [0.002]
CLAIM = "Trajectories of convolutional recurrent networks are closer to those of full networks than {other} ones are ({by})."
RULE = (
    "agrees if the 95 % interval of the difference lies below 0 in more tasks than it lies above, and above 0 in none; does "
    "not agree if the reverse; hierarchical bootstrap over activations, sizes and learning rates, and networks of each"
)


def comparison(folder: Path, workplace: Workplace) -> Outcome:
    """Train networks of four connectivities over hyperparameters, and compare them.

    Parameters
    ----------
    folder : Path
        Folder of the sweep and of the comparison.
    workplace : Workplace
        How to make them.

    Returns
    -------
    Outcome
        One finding for each other kind of network and distance.
    """
    content = QUICK if workplace.quick else FULL
    device = "cpu" if workplace.device == "auto" else workplace.device
    run_sweep(expand(content), folder / "sweep", device=device, figures=False)
    summary = compare_architectures([folder / "sweep"], folder)
    write_bytes(folder / "table.txt", f"{table(summary)}\n".encode())
    answers = [result["closer_to_full"] for result in summary["tasks"].values()]
    findings = [
        _finding(measure, other, [row for task in answers for row in task[measure] if row["other"] == other])
        for measure in answers[0]
        for other in ("low-rank", "sparse")
    ]
    drawing = Drawing(
        "differences.png",
        "Distance of convolutional networks to full ones, less that of other networks; negative is closer.",
        " ".join(f"{finding.claim} {finding.measured}." for finding in findings),
    )
    return Outcome(
        findings,
        [drawing],
        [f"python -m cordstasks.paper --figures 1C{' --quick' if workplace.quick else ''}"],
        list(range(content["seeds"])),
        ["all networks of a size have the same number of units; their numbers of trained weights differ (see table.txt)"],
    )


def _finding(measure: str, other: str, rows: list[dict[str, Any]]) -> Finding:
    """The verdict over tasks for one distance and kind of network."""
    closer, farther = (sum(row["verdict"] == verdict for row in rows) for verdict in ("closer", "farther"))
    verdict = AGREES if closer and not farther else DISAGREES if farther and not closer else CANNOT_TELL
    measured = f"closer in {closer}, farther in {farther}, undecided in {len(rows) - closer - farther} of {len(rows)} tasks"
    by = measure if measure == "CKA" else f"shape distance, {measure}"
    return Finding(CLAIM.format(other=other, by=by), measured, verdict, RULE)
