"""Are convolutional networks closest to full ones? Networks of sweeps, compared over hyperparameters and seeds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from cordstasks import analysis
from cordstasks.errors import InputError
from cordstasks.experiments.comparison import LABELS
from cordstasks.experiments.groups import AbstractGroup, common_trials
from cordstasks.experiments.sweep_jobs import read_results
from cordstasks.runs.recorded import recorded_settings
from cordstasks.training.settings import AbstractSettings
from cordstasks.utils.files import writable_folder, write_json
from cordstasks.utils.interrupt import Interrupted
from cordstasks.utils.run_folder import RunFolder, environment

__all__ = ["ALPHAS", "compare_architectures", "table"]

ALPHAS = (1.0, 0.5, 0.0)
MATCHED = ("activation", "form", "learning_rate", "gain")  # what networks must have in common to be compared
FOLDS = 5


@dataclass(frozen=True, eq=False)
class _Networks:
    """Networks that learned one task.

    Attributes
    ----------
    rates : list of ndarray of shape (condition, time, unit)
        Their activity in the same trials without noise.
    labels, matches : list of str
        Kind of connectivity, and what a network has in common with those it is compared with.
    trained : dict of str to (int, int)
        By label: networks that learned the task, and all networks.
    parameters : dict of str to list of int
        By label: different numbers of trained parameters.
    """

    rates: list[NDArray[np.float32]]
    labels: list[str]
    matches: list[str]
    trained: dict[str, tuple[int, int]]
    parameters: dict[str, list[int]]


def compare_architectures(
    sweeps: Sequence[str | Path],
    out: str | Path,
    *,
    tasks: Sequence[str] | None = None,
    alphas: Sequence[float] = ALPHAS,
    conditions: int = 48,
    match_units: bool = True,
) -> dict[str, Any]:
    """Compare the networks of sweeps, and ask whether convolutional ones are closer to full ones than others are.

    Networks of one task are compared if they have the same activation function, form, learning rate, initial gain and, with
    `match_units`, size. Intervals come from a hierarchical bootstrap over these combinations, and over the networks of each.

    Parameters
    ----------
    sweeps : sequence of str or Path
        Folders of `python -m cordstasks.sweep`.
    out : str or Path
        Folder of ``summary.json`` and of the figure of differences.
    tasks : sequence of str, optional
        By default all that were trained.
    alphas : sequence of float, default (1, 0.5, 0)
        Of the shape distances, on held-out conditions; distances by centred kernel alignment come in addition.
    conditions : int, default 48
        Most conditions of each task on which networks are compared.
    match_units : bool, default True
        Whether networks of different sizes are kept apart. Leave it out where kinds of network were given different sizes,
        to have equally many parameters.

    Returns
    -------
    dict of str to object
        What ``summary.json`` holds: for each task and distance, the answers of `cordstasks.analysis.closer_to`.

    Raises
    ------
    InputError
        If a folder is no sweep, its networks cannot be compared, or the folder of results cannot be written.

    References
    ----------
    Soo, Battista, Radmard & Wang 2024, "Recurrent neural network dynamical systems for biological vision", NeurIPS,
    figure 1C and appendix B.3.
    """
    began = time.monotonic()
    jobs = _jobs(sweeps)
    found = sorted({settings.task for _, settings in jobs})
    chosen = list(found if tasks is None else tasks)
    for name in chosen:
        if name not in found:
            raise InputError(f"tasks={name}: the sweep has no such task; choose from {', '.join(found)}")
    out = writable_folder(Path(out), "out")
    results: dict[str, Any] = {}
    try:
        for task in tqdm(chosen, desc="comparing", unit="task", leave=False):
            networks = _networks([job for job in jobs if job[1].task == task], conditions, match_units)
            results[task] = _answers(task, networks, alphas)
    except KeyboardInterrupt as stop:
        raise Interrupted("the same command, from the start") from stop
    summary = {
        "sweeps": [str(sweep) for sweep in sweeps],
        "matched": [*MATCHED, *(["units"] if match_units else [])],
        "tasks": results,
        "environment": environment(torch.device("cpu")),
        "seconds": time.monotonic() - began,
    }
    write_json(out / "summary.json", summary)
    _figure(results, out / "differences.png")
    return summary


def table(summary: dict[str, Any]) -> str:
    """The summary of `compare_architectures` as lines to print.

    Parameters
    ----------
    summary : dict of str to object
        What it returned.

    Returns
    -------
    str
        One line for each task, distance and other kind of network.
    """
    lines = []
    for task, result in summary["tasks"].items():
        counts = ", ".join(
            f"{label} {learned} of {number} ({' or '.join(map(str, result['parameters'][label]))} parameters)"
            for label, (learned, number) in result["trained"].items()
        )
        lines.append(f"{task}: learned by {counts}")
    lines += ["", "distance of convolutional to full networks, less that of others (rad; negative: closer), 95 % interval"]
    for task, result in summary["tasks"].items():
        for measure, rows in result["closer_to_full"].items():
            for row in rows:
                ends = "too few networks" if row["interval"] is None else "{:.3f} to {:.3f}".format(*row["interval"])
                lines.append(
                    f"{task:<16} {measure:<10} than {row['other']:<9} {row['difference']:7.3f}  ({ends}): {row['verdict']}"
                )
    return "\n".join(lines)


def _jobs(sweeps: Iterable[str | Path]) -> list[tuple[Path, AbstractSettings]]:
    """The finished run folders of sweeps, and their settings."""
    jobs = []
    for sweep in map(Path, sweeps):
        names = dict.fromkeys(row["job"] for row in read_results(sweep))
        for name in names:
            run = RunFolder(sweep / str(name))
            if run.finished:
                jobs.append((run.path, recorded_settings(run, AbstractSettings)))
    if not jobs:
        raise InputError(f"sweeps={', '.join(map(str, sweeps))}: no networks are trained there yet; run the sweep first")
    return jobs


def _networks(jobs: Sequence[tuple[Path, AbstractSettings]], conditions: int, match_units: bool) -> _Networks:
    """The networks of one task that learned it."""
    first = jobs[0][1]
    for _, settings in jobs:
        if (settings.parameters, settings.dt) != (first.parameters, first.dt):
            raise InputError(
                f"task {first.task}: was trained with different parameters or time steps; compare one at a time"
            )
    trials = common_trials(first.abstract_task(), conditions, dt=first.dt)
    names = (*MATCHED, "units") if match_units else MATCHED
    made = _Networks([], [], [], {}, {})
    for folder, settings in jobs:
        group, label = AbstractGroup(settings, folder), LABELS[settings.connectivity]
        trained = group.trained(trials)
        learned = [network for network in trained if network.learned]
        made.rates.extend(network.rates for network in learned)
        made.labels.extend([label] * len(learned))
        made.matches.extend([" ".join(str(getattr(settings, name)) for name in names)] * len(learned))
        before = made.trained.get(label, (0, 0))
        made.trained[label] = (before[0] + len(learned), before[1] + len(trained))
        made.parameters[label] = sorted({*made.parameters.get(label, []), group.parameters()})
    return made


def _answers(task: str, networks: _Networks, alphas: Sequence[float]) -> dict[str, Any]:
    """What is asked of one task, by each distance."""
    known = dict.fromkeys(networks.labels)
    for label in ("full", "convolutional"):
        if label not in known:
            raise InputError(f"task {task}: no {label} network learned it; train such networks, or leave the task out")
    shape = networks.rates[0].shape[:2]
    activities = [rates.reshape(-1, rates.shape[2]).astype(np.float64) for rates in networks.rates]
    groups = np.repeat(np.arange(shape[0]), shape[1])
    answers = {}
    for alpha in alphas:
        distances = analysis.pairwise_distances(activities, alpha=alpha, groups=groups, folds=FOLDS)
        answers[f"alpha {alpha:g}"] = _closer(distances, networks)
    answers["CKA"] = _closer(analysis.kernel_alignment_distances(activities), networks)
    return {
        "trained": networks.trained,
        "parameters": networks.parameters,
        "conditions": shape[0],
        "closer_to_full": answers,
    }


def _closer(distances: NDArray[np.float64], networks: _Networks) -> list[dict[str, Any]]:
    return analysis.closer_to(distances, networks.labels, match=networks.matches, hierarchical=True)


def _figure(results: dict[str, Any], path: Path) -> None:
    """Draw all differences with their intervals."""
    figures = analysis.figures
    measures = list(next(iter(results.values()))["closer_to_full"])
    panels = {measure: {task: result["closer_to_full"][measure] for task, result in results.items()} for measure in measures}
    figures.save(figures.closer_to_reference(panels), path)
