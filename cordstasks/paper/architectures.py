"""Figure 1C and appendix B.3: are convolutional recurrent networks closer to fully connected ones than others are?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cordstasks import analysis
from cordstasks.errors import InputError
from cordstasks.experiments.architectures import compare_architectures, table, units_of
from cordstasks.experiments.sweep import Job, expand
from cordstasks.experiments.sweep_jobs import run_sweep
from cordstasks.paper.findings import AGREES, CANNOT_TELL, DISAGREES, Drawing, Finding, Outcome
from cordstasks.paper.parts import Workplace
from cordstasks.paper.reproduce import made_before
from cordstasks.utils.files import read_json, write_bytes
from cordstasks.utils.run_folder import RunFolder

__all__ = ["FULL", "QUICK", "by_task", "comparison"]

TASKS = ["perceptual-dm", "parametric-wm", "multisensory-dm", "contextual-dm", "dms"]
KINDS = ["full", "lowrank", "sparse", "conv"]
# The paper does not say which it matched. Equal units: over activations, sizes, learning rates and seeds. Equal numbers of
# trained parameters: at 2500, all kinds and tasks come within 4 % of each other.
FULL: dict[str, dict[str, Any]] = {
    "units": {
        "tasks": TASKS,
        "connectivities": KINDS,
        "activations": ["relu", "tanh", "softplus"],
        "units": [64, 100],
        "learning_rates": [0.001, 0.002],
        "seeds": 2,
    },
    "parameters": {
        "tasks": TASKS,
        "connectivities": KINDS,
        "activations": ["relu", "tanh"],
        "units": [100],
        "learning_rates": [0.002],
        "trained_parameters": [2500],
        "seeds": 3,
    },
}
FEW: dict[str, Any] = {"tasks": ["perceptual-dm", "contextual-dm"], "learning_rates": [0.002], "seeds": 2}
QUICK = {
    "units": {**FULL["units"], **FEW, "activations": ["relu", "tanh"], "units": [64]},
    "parameters": {**FULL["parameters"], **FEW, "activations": ["relu"]},
}
MATCHED = {"units": "as many units", "parameters": "as many trained parameters"}
OTHERS = ("low-rank", "sparse")
CLAIM = (
    "Trajectories of convolutional networks are closer to those of full networks than {other} ones are{where} ({matched})."
)
SHAPE = "alpha"  # with which the names of the paper's distances begin
RULE = (
    "agrees if the 95 % interval of the difference lies below 0 by at least one of the paper's shape distances (alpha) and "
    "above 0 by none of them; does not agree if the reverse; CKA and DSA, which the paper does not use, stand beside; "
    "hierarchical bootstrap over {drawn}, and networks of each"
)


def comparison(folder: Path, workplace: Workplace) -> Outcome:
    """Train networks of four connectivities over hyperparameters, and compare them over all tasks.

    Parameters
    ----------
    folder : Path
        Folder of the sweeps and of the comparisons.
    workplace : Workplace
        How to make them.

    Returns
    -------
    Outcome
        For networks of equal size and for networks of equal numbers of parameters, one finding for each other kind.
    """
    found = _compared(folder, workplace)
    rule = RULE.format(drawn="tasks and settings")
    findings = [
        _finding(CLAIM.format(other=other, where="", matched=MATCHED[match]), other, summary["closer_to_full"], rule)
        for match, summary in found.items()
        for other in OTHERS
    ]
    panels = {
        measure: {MATCHED[match]: summary["closer_to_full"][measure] for match, summary in found.items()}
        for measure in next(iter(found.values()))["closer_to_full"]
    }
    analysis.figures.save(analysis.figures.closer_to_reference(panels, units=units_of(panels)), folder / "all-tasks.png")
    drawing = Drawing(
        "all-tasks.png",
        "Distance of convolutional networks to full ones, less that of other networks, over all tasks; negative is closer.",
        " ".join(f"{finding.claim} {finding.measured}." for finding in findings),
    )
    return Outcome(findings, [drawing], _commands("1C", workplace), _seeds(workplace), _notes(found))


def by_task(folder: Path, workplace: Workplace) -> Outcome:
    """The same comparison task by task; the networks are those of figure 1C, trained once.

    Parameters
    ----------
    folder : Path
        Folder of the figures; networks and comparisons are in ``1C`` beside it.
    workplace : Workplace
        How to make them.

    Returns
    -------
    Outcome
        For networks of equal size and of equal numbers of parameters, one finding for each task and other kind.
    """
    made_before("1C", folder.parent, workplace)
    found = _compared(folder.parent / "1C", workplace)
    rule = RULE.format(drawn="settings")
    findings, drawings, notes = [], [], _notes(found)
    for match, summary in found.items():
        own = []
        for task, result in summary["tasks"].items():
            if "problem" in result:
                notes.append(f"{MATCHED[match]}: {result['problem']}")
                continue
            for other in OTHERS:
                claim = CLAIM.format(other=other, where=f" in {task}", matched=MATCHED[match])
                own.append(_finding(claim, other, result["closer_to_full"], rule))
        write_bytes(folder / f"{match}.png", (folder.parent / "1C" / match / "differences.png").read_bytes())
        drawings.append(
            Drawing(
                f"{match}.png",
                f"Networks with {MATCHED[match]}: distance of convolutional ones to full ones, less that of others.",
                " ".join(f"{finding.claim} {finding.measured}." for finding in own),
            )
        )
        findings += own
    return Outcome(findings, drawings, _commands("1C B.3", workplace), _seeds(workplace), notes)


def _compared(folder: Path, workplace: Workplace) -> dict[str, dict[str, Any]]:
    """The summaries of both comparisons; what the folder holds already is neither trained nor compared again."""
    dsa = _has_dsa()
    return {
        match: _summary(folder / match, match, expand(content), workplace, dsa) for match, content in _designs(workplace)
    }


def _designs(workplace: Workplace) -> list[tuple[str, dict[str, Any]]]:
    return list((QUICK if workplace.quick else FULL).items())


def _summary(folder: Path, match: str, jobs: list[Job], workplace: Workplace, dsa: bool) -> dict[str, Any]:
    sweep = folder / "sweep"
    if (folder / "summary.json").exists() and (folder / "differences.png").exists():
        earlier = read_json(folder / "summary.json")
        finished = [job.name for job in jobs if RunFolder(sweep / job.name).finished]
        if (earlier.get("jobs"), earlier.get("dsa")) == (finished, dsa):
            return earlier
    device = "cpu" if workplace.device == "auto" else workplace.device
    if run_sweep(jobs, sweep, device=device, figures=False):
        raise InputError(
            f"out={sweep}: a process of the sweep was killed, perhaps for want of memory; the same command goes on"
        )
    summary = compare_architectures([sweep], folder, match=match, dsa=dsa)
    write_bytes(folder / "table.txt", f"{table(summary)}\n".encode())
    return summary


def _has_dsa() -> bool:
    """Whether the package of dynamical similarity analysis is installed."""
    try:
        analysis.dynamics.dsa_package()
    except InputError:
        return False
    return True


def _finding(claim: str, other: str, answers: Mapping[str, list[dict[str, Any]]], rule: str) -> Finding:
    """The verdict over all shape distances for one kind of network."""
    rows = {measure: row for measure, found in answers.items() for row in found if row["other"] == other}
    shapes = [row["verdict"] for measure, row in rows.items() if measure.startswith(SHAPE)]
    closer, farther = "closer" in shapes, "farther" in shapes
    verdict = AGREES if closer and not farther else DISAGREES if farther and not closer else CANNOT_TELL
    listed = []
    for measure, row in rows.items():
        ends = "too few networks" if row["interval"] is None else "{:+.3f} to {:+.3f}".format(*row["interval"])
        listed.append(f"{measure} {row['difference']:+.3f} ({ends})")
    return Finding(
        claim, f"difference by {'; '.join(listed)}" if listed else f"no {other} network learned it", verdict, rule
    )


def _commands(figures: str, workplace: Workplace) -> list[str]:
    return [f"python -m cordstasks.paper --figures {figures}{' --quick' if workplace.quick else ''}"]


def _seeds(workplace: Workplace) -> list[int]:
    return list(range(max(content["seeds"] for _, content in _designs(workplace))))


def _notes(found: Mapping[str, dict[str, Any]]) -> list[str]:
    """How many networks there are, and how many parameters they have."""
    notes = []
    for match, summary in found.items():
        results = summary["tasks"].values()
        counts = []
        for kind in dict.fromkeys(kind for result in results for kind in result["trained"]):
            own = [result for result in results if kind in result["trained"]]
            learned, trained = (sum(result["trained"][kind][place] for result in own) for place in (0, 1))
            sizes = [number for result in own for number in result["parameters"][kind]]
            counts.append(f"{learned} of {trained} {kind} ones ({min(sizes):,} to {max(sizes):,} trained parameters)")
        notes.append(f"networks with {MATCHED[match]} that learned their tasks: {', '.join(counts)}")
    if not any(summary["dsa"] for summary in found.values()):
        notes.append("dynamical similarity analysis is left out: pip install 'cordstasks[dsa]' adds it")
    return notes
