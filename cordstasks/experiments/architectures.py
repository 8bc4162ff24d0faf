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
from scipy.linalg import block_diag
from tqdm import tqdm

from cordstasks import analysis
from cordstasks.errors import InputError, unknown
from cordstasks.experiments.comparison import LABELS
from cordstasks.experiments.groups import AbstractGroup, common_trials
from cordstasks.experiments.sweep_jobs import read_results
from cordstasks.runs.recorded import recorded_settings
from cordstasks.training.matching import number_of_parameters
from cordstasks.training.settings import AbstractSettings
from cordstasks.utils.files import writable_folder, write_json
from cordstasks.utils.interrupt import Interrupted
from cordstasks.utils.run_folder import RunFolder, environment

__all__ = ["ALPHAS", "MATCHES", "compare_architectures", "table", "units_of"]

ALPHAS = (1.0, 0.5, 0.0)
MATCHED = ("activation", "form", "learning_rate", "gain")  # what networks must have in common to be compared
MATCHES = ("units", "parameters")  # and one of these
SIMILAR = 1.2  # numbers of trained parameters that differ by no more than this factor count as equal
FOLDS = 5
ALL = "all tasks"


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
    match: str = "units",
    dsa: bool = False,
) -> dict[str, Any]:
    """Compare the networks of sweeps, and ask whether convolutional ones are closer to full ones than others are.

    Networks of one task are compared if they have the same activation function, form, learning rate and initial gain, and
    the same number of units or about the same number of trained parameters. Intervals come from a hierarchical bootstrap
    over these combinations, and over the networks of each.

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
    match : {"units", "parameters"}
        What networks must have in common beside that: the number of units, or the number of trained parameters, give or
        take a tenth (a sweep with a list ``trained_parameters``).
    dsa : bool, default False
        Whether to add distances between dynamics by dynamical similarity analysis, which needs the package ``dsa-metric``.

    Returns
    -------
    dict of str to object
        What ``summary.json`` holds: for each task and distance, and for each distance over all tasks, the answers of
        `cordstasks.analysis.closer_to`. Over all tasks, the bootstrap draws combinations of a task and of settings.

    Raises
    ------
    InputError
        If a folder is no sweep, its networks cannot be compared, the folder of results cannot be written, or `dsa` is given
        and the package is not installed.
    Interrupted
        After Ctrl-C.

    References
    ----------
    Soo, Battista, Radmard & Wang 2024, "Recurrent neural network dynamical systems for biological vision", NeurIPS,
    figure 1C and appendix B.3.
    """
    began = time.monotonic()
    if match not in MATCHES:
        raise unknown("match", match, MATCHES)
    if dsa:
        analysis.dynamics.dsa_package()
    jobs = _jobs(sweeps)
    found = sorted({settings.task for _, settings in jobs})
    chosen = list(found if tasks is None else tasks)
    for name in chosen:
        if name not in found:
            raise InputError(f"tasks={name}: the sweep has no such task; choose from {', '.join(found)}")
    out = writable_folder(Path(out), "out")
    results: dict[str, Any] = {}
    compared: list[_Distances] = []
    try:
        for task in tqdm(chosen, desc="comparing", unit="task", leave=False):
            networks = _networks([job for job in jobs if job[1].task == task], conditions, match)
            results[task] = {
                "trained": networks.trained,
                "parameters": networks.parameters,
                "conditions": len(networks.rates[0]) if networks.rates else 0,
            }
            try:
                own = _distances(task, networks, alphas, dsa)
                results[task]["closer_to_full"] = own.answers()
                compared.append(own)
            except InputError as error:  # the other tasks can still be compared
                results[task]["problem"] = str(error)
    except KeyboardInterrupt as stop:
        raise Interrupted("the same command, from the start") from stop
    problems = [result["problem"] for result in results.values() if "problem" in result]
    if len(problems) == len(results):
        raise InputError(problems[0])
    summary = {
        "sweeps": [str(sweep) for sweep in sweeps],
        "jobs": [folder.name for folder, _ in jobs],
        "matched": [*MATCHED, match],
        "dsa": dsa,
        "tasks": results,
        "closer_to_full": _together(compared).answers(),
        "environment": environment(torch.device("cpu")),
        "seconds": time.monotonic() - began,
    }
    write_json(out / "summary.json", summary)
    _figure(summary, out / "differences.png")
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
        if "problem" in result:
            lines.append(f"{task}: not compared: {result['problem']}")
    lines += [
        "",
        f"matched: {', '.join(summary['matched'])}",
        "distance of convolutional to full networks, less that of others (rad, DSA without unit; negative: closer), 95 % "
        "interval",
    ]
    for task, result in {**summary["tasks"], ALL: summary}.items():
        for measure, rows in result.get("closer_to_full", {}).items():
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


def _networks(jobs: Sequence[tuple[Path, AbstractSettings]], conditions: int, match: str) -> _Networks:
    """The networks of one task that learned it."""
    first = jobs[0][1]
    for _, settings in jobs:
        if (settings.parameters, settings.dt) != (first.parameters, first.dt):
            raise InputError(
                f"task {first.task}: was trained with different parameters or time steps; compare one at a time"
            )
    trials = common_trials(first.abstract_task(), conditions, dt=first.dt)
    numbers = [number_of_parameters(settings) for _, settings in jobs]
    sizes = [settings.units for _, settings in jobs] if match == "units" else _similar(numbers)
    made = _Networks([], [], [], {}, {})
    for (folder, settings), number, size in zip(jobs, numbers, sizes, strict=True):
        label = LABELS[settings.connectivity]
        trained = AbstractGroup(settings, folder).trained(trials)
        learned = [network for network in trained if network.learned]
        made.rates.extend(network.rates for network in learned)
        made.labels.extend([label] * len(learned))
        shared = [*(getattr(settings, name) for name in MATCHED), size]
        made.matches.extend([" ".join(map(str, shared))] * len(learned))
        before = made.trained.get(label, (0, 0))
        made.trained[label] = (before[0] + len(learned), before[1] + len(trained))
        made.parameters[label] = sorted({*made.parameters.get(label, []), number})
    return made


def _similar(numbers: Sequence[int]) -> list[int]:
    """For each number the smallest of those that count as equal to it."""
    smallest: dict[int, int] = {}
    first = 0
    for number in sorted(set(numbers)):
        first = first if first and number <= SIMILAR * first else number
        smallest[number] = first
    return [smallest[number] for number in numbers]


@dataclass(frozen=True, eq=False)
class _Distances:
    """Distances between networks by several measures.

    Attributes
    ----------
    distances : dict of str to ndarray of shape (network, network)
        By measure.
    labels, matches : list of str
        As in `_Networks`.
    """

    distances: dict[str, NDArray[np.float64]]
    labels: list[str]
    matches: list[str]

    def answers(self) -> dict[str, list[dict[str, Any]]]:
        """Whether convolutional networks are closer to full ones than others are, by each measure."""
        return {
            measure: analysis.closer_to(distances, self.labels, match=self.matches, hierarchical=True)
            for measure, distances in self.distances.items()
        }


def _distances(task: str, networks: _Networks, alphas: Sequence[float], dsa: bool) -> _Distances:
    """The networks of one task by each distance."""
    for label in ("full", "convolutional"):
        if label not in networks.labels:
            raise InputError(f"task {task}: no {label} network learned it; train such networks, or leave the task out")
    shape = networks.rates[0].shape[:2]
    activities = [rates.reshape(-1, rates.shape[2]).astype(np.float64) for rates in networks.rates]
    groups = np.repeat(np.arange(shape[0]), shape[1])
    distances = {
        f"alpha {alpha:g}": analysis.pairwise_distances(activities, alpha=alpha, groups=groups, folds=FOLDS)
        for alpha in alphas
    }
    distances["CKA"] = analysis.kernel_alignment_distances(activities)
    if dsa:
        distances["DSA"] = analysis.dynamics.dynamical_distances(networks.rates)
    return _Distances(distances, networks.labels, [f"{task} {each}" for each in networks.matches])


def _together(tasks: Sequence[_Distances]) -> _Distances:
    """Networks of several tasks; those of different tasks do not match, so that no distance between them is used."""
    return _Distances(
        {measure: block_diag(*(each.distances[measure] for each in tasks)) for measure in tasks[0].distances},
        [label for each in tasks for label in each.labels],
        [match for each in tasks for match in each.matches],
    )


def _figure(summary: dict[str, Any], path: Path) -> None:
    """Draw all differences with their intervals: a panel for each measure, a row for each task and for all together."""
    answers = {task: result["closer_to_full"] for task, result in summary["tasks"].items() if "problem" not in result}
    if len(answers) > 1:
        answers[ALL] = summary["closer_to_full"]
    panels = {measure: {task: answer[measure] for task, answer in answers.items()} for measure in summary["closer_to_full"]}
    analysis.figures.save(analysis.figures.closer_to_reference(panels, units=units_of(panels)), path)


def units_of(measures: Iterable[str]) -> dict[str, str]:
    """The unit of each distance that has one: all are angles but DSA, which is a norm.

    Parameters
    ----------
    measures : iterable of str
        Names of distances.

    Returns
    -------
    dict of str to str
        By name.
    """
    return {measure: "rad" for measure in measures if measure != "DSA"}
