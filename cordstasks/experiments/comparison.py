"""Comparison of trained networks: all get the same noise-free trials, and their trajectories are compared."""

from __future__ import annotations

import argparse
import csv
import io
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from cordstasks import analysis, tasks
from cordstasks.cordsnet.checkpoints import load
from cordstasks.errors import InputError
from cordstasks.experiments.comparison_page import write_comparison_report
from cordstasks.experiments.groups import (
    AbstractGroup,
    CommonTrials,
    Group,
    VisualGroup,
    common_trials,
    common_visual_trials,
)
from cordstasks.experiments.recorded_rates import RecordedRates, read_rates
from cordstasks.runs.visual import Execution
from cordstasks.training.settings import AbstractSettings, VisualSettings
from cordstasks.utils.devices import resolve
from cordstasks.utils.files import writable_folder, write_bytes, write_json
from cordstasks.utils.folders import locked
from cordstasks.utils.interrupt import Interrupted
from cordstasks.utils.run_folder import environment

__all__ = ["compare_networks"]

LABELS = {"full": "full", "lowrank": "low-rank", "sparse": "sparse", "conv": "convolutional"}
Kind = tuple[str, str, str]  # task, connectivity, activation
AnySettings = AbstractSettings | VisualSettings


@dataclass(frozen=True, eq=False)
class _Prepared:
    """What was read and checked before any training."""

    groups: dict[Kind, Group]
    trials: dict[str, CommonTrials]  # of each task
    recording: RecordedRates | None
    device: torch.device


def compare_networks(options: argparse.Namespace, chosen: Mapping[Kind, AnySettings]) -> int:
    """Do what ``python -m cordstasks.compare`` does.

    Parameters
    ----------
    options : argparse.Namespace
        The command's.
    chosen : mapping
        What to train: settings by (task, connectivity, activation).

    Returns
    -------
    int
        The command's exit status.

    Raises
    ------
    InputError
        If the device, the recording or the folder of results cannot be used, which is found before any training; or if no
        task was learned by two networks.
    """
    began = time.monotonic()
    prepared = _prepare(options, chosen)
    with locked(options.out, "out"):
        return _carry_out(options, chosen, prepared, began)


def _carry_out(options: argparse.Namespace, chosen: Mapping[Kind, AnySettings], prepared: _Prepared, began: float) -> int:
    """Train and compare in a folder that is locked for other processes."""
    found: dict[str, Any] = {}
    try:
        with tqdm(chosen, desc="training", unit="batch of networks") as bar:
            for kind in bar:
                bar.set_postfix_str(", ".join(kind))
                prepared.groups[kind].train(prepared.device)
        for task in options.tasks:
            try:
                found[task] = _compare(options, task, prepared)
            except InputError as error:  # the other tasks have been trained too, and are still compared
                found[task] = {"problem": str(error), "closer_to_full": []}
                print(f"\n{task}: not compared: {error}")
    except KeyboardInterrupt as stop:
        raise Interrupted(f"the same command, from {options.out}") from stop
    summary = {
        "tasks": found,
        "command": options.command,
        "environment": environment(prepared.device),
        "seconds": time.monotonic() - began,
    }
    write_json(options.out / "summary.json", summary)
    problems = [result["problem"] for result in found.values() if "problem" in result]
    if len(problems) == len(found):
        raise InputError(problems[0])
    print(_answers(found))
    print(f"{time.monotonic() - began:.0f} s; {options.out}/: summary.json, and figures in a folder for each task")
    if options.report:
        print(f"report {write_comparison_report(options.out)}")
    return 0


def _prepare(options: argparse.Namespace, chosen: Mapping[Kind, AnySettings]) -> _Prepared:
    """Find all errors before hours of training instead of after them."""
    device = resolve(options.device)
    if options.dsa:
        analysis.dynamics.dsa_package()
    trials: dict[str, CommonTrials] = {}
    groups: dict[Kind, Group] = {}
    for kind, settings in chosen.items():
        if kind[0] not in trials:
            trials[kind[0]] = _common(settings, options.conditions)
        common = trials[kind[0]]
        samples = len(common) * common.steps
        if options.alpha == 1 and settings.units > samples:
            raise InputError(
                f"units={settings.units}: task {settings.task} has only {samples} samples (conditions x times), fewer than "
                "units, which could be rotated onto anything; give fewer units, or an alpha below 1"
            )
        groups[kind] = _group(options, kind, settings)
    recording = None
    if options.recording is not None:
        common = trials[options.tasks[0]]
        recording = read_rates(options.recording, len(common), common.steps, alpha=options.alpha)
    for group in groups.values():
        group.check_earlier()
    writable_folder(options.out, "out")
    return _Prepared(groups, trials, recording, device)


def _common(settings: AnySettings, count: int) -> CommonTrials:
    """The trials that all networks of a task get."""
    if isinstance(settings, AbstractSettings):
        return common_trials(settings.abstract_task(), count, dt=settings.dt)
    return common_visual_trials(settings, load(settings.frontend).image_size, count)


def _group(options: argparse.Namespace, kind: Kind, settings: AnySettings) -> Group:
    """The networks of one kind, in a folder of their own."""
    folder = options.out / "networks" / "-".join((tasks.get(kind[0]).id, *kind[1:]))
    if isinstance(settings, AbstractSettings):
        return AbstractGroup(settings, folder)
    return VisualGroup(settings, options.seeds, folder, Execution(options.device, bank=options.bank))


def _compare(options: argparse.Namespace, task_id: str, prepared: _Prepared) -> dict[str, Any]:
    """Compare the networks that learned one task; write the figures; return this part of the summary."""
    task, trials = tasks.get(task_id), prepared.trials[task_id]
    folder = options.out / task.id
    writable_folder(folder, "out")
    _write_conditions(folder / "conditions.csv", trials.conditions)
    activities: list[NDArray[Any]] = []
    labels: list[str] = []
    names: list[str] = []
    counts: list[dict[str, Any]] = []
    for connectivity, activation in product(options.connectivities, options.activations):
        group = prepared.groups[task_id, connectivity, activation]
        trained = group.trained(trials)
        learned = [network for network in trained if network.learned]
        counts.append(
            {
                "connectivity": connectivity,
                "activation": activation,
                "trained": len(trained),
                "compared": len(learned),
                "left_out": len(trained) - len(learned),
                "parameters": group.parameters(),
            }
        )
        activities += [network.rates for network in learned]
        labels += [LABELS[connectivity]] * len(learned)
        names += [f"{connectivity} {activation} {network.seed}" for network in learned]
    if prepared.recording is not None:
        activities.append(prepared.recording.rates)
        labels.append("recording")
        names.append(prepared.recording.name)
    if len(activities) < 2:
        raise InputError(f"tasks={task_id}: {len(activities)} networks learned it, and two are needed; give more steps")
    components: Any = "auto"
    try:
        comparison = analysis.compare_activity(
            activities, labels, names=names, alpha=options.alpha, components=components, permutations=options.permutations
        )
    except InputError as error:
        raise InputError(re.sub(r"activities\[(\d+)\]", lambda found: names[int(found[1])], str(error))) from error
    print(f"\n{task.id}: {len(trials)} trials of {trials.steps} steps, without noise")
    print(
        f"every network's {task.measure} is at least {task.criterion:g}"
        if isinstance(task, tasks.AbstractTask)
        else "every network's accuracy on held-out trials is above chance, with its whole 95 % interval"
    )
    for row in counts:
        print(
            f"  {row['connectivity']:<9} {row['activation']:<9} {row['compared']} of {row['trained']} networks compared, "
            f"{row['parameters']} trained parameters each"
        )
    notes = list(prepared.recording.notes) if prepared.recording is not None else []
    print("\n".join(f"  recording {options.recording}: {note}" for note in notes) + ("\n" if notes else ""), end="")
    print(comparison.text())
    dynamics = _dynamics(activities, labels) if options.dsa else None
    closer = _closer(comparison, labels)
    undrawn = _figures(comparison, activities, labels, folder)
    if undrawn:
        print(f"not drawn in trajectories.png, for want of a second dimension: {'; '.join(undrawn)}")
    return {
        "networks": counts,
        "conditions": len(trials),
        "alpha": comparison.alpha,
        "components": comparison.components,
        "variance_held": float(comparison.variance_held.min()),
        "table": comparison.table(),
        "closer_to_full": closer,
        **({} if dynamics is None else {"dynamics": dynamics}),
        **({"recording": {"file": str(options.recording), "notes": notes}} if prepared.recording is not None else {}),
    }


def _dynamics(activities: list[NDArray[Any]], labels: list[str]) -> list[dict[str, Any]]:
    """Print and return the distances between the dynamics of architectures, by dynamical similarity analysis."""
    distances = analysis.dynamics.dynamical_distances(activities)
    rows = analysis.architecture_table(distances, labels)
    print("distance between dynamics (DSA: squared Wasserstein distance of eigenvalues; 10 components), 95 % interval")
    for row in rows:
        if row["distance"] is not None:
            ends = "-" if row["interval"] is None else "{:.3f}, {:.3f}".format(*row["interval"])
            print(f"{row['first'] + ' - ' + row['second']:<31} {row['pairs']:>6}  {row['distance']:8.3f} {ends:>15}")
    return rows


def _closer(comparison: analysis.Comparison, labels: list[str]) -> list[dict[str, Any]]:
    kinds = set(labels) - {"recording"}
    if not {"full", "convolutional"} < kinds:
        return []
    return comparison.closer_to(others=sorted(kinds - {"full", "convolutional"}))


def _write_conditions(path: Path, conditions: dict[str, NDArray[Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["condition", *conditions])
    writer.writerows([index, *row] for index, row in enumerate(zip(*conditions.values(), strict=True)))
    write_bytes(path, text.getvalue().encode())


def _figures(comparison: analysis.Comparison, activities: list[NDArray[Any]], labels: list[str], folder: Path) -> list[str]:
    """Draw what can be drawn; return the pairs of networks that have too few dimensions for their trajectories."""
    figures = analysis.figures
    figures.save(figures.distance_matrix(comparison.distances, labels, names=comparison.names), folder / "distances.png")
    if len(activities) > 3:
        embedding = analysis.embed(comparison.distances, method="stress")
        figures.save(figures.embedding_map(embedding, labels), folder / "embedding.png")
        tree = analysis.cluster(comparison.distances)
        figures.save(figures.dendrogram(tree, labels, names=comparison.names), folder / "tree.png")
    reference = labels.index("full") if "full" in labels else 0
    pairs = [labels.index(kind) for kind in dict.fromkeys(labels) if kind != labels[reference]]
    alignments, held_out, undrawn = {}, {}, []
    for other in pairs:
        first, second = (activities[i].reshape(-1, activities[i].shape[2]) for i in (reference, other))
        alignment = analysis.align(first, second, components="auto")
        title = f"{comparison.names[reference]} and {comparison.names[other]}"
        shown = comparison.correlations[reference, other][:2], comparison.null_correlations[:, reference, other, :2].mean(0)
        # if one component holds nearly all variance of a network, there is no second component to draw
        if min(len(alignment.correlations), len(shown[0])) < 2 or not np.isfinite(shown).all():
            undrawn.append(title)
            continue
        alignments[title], held_out[title] = alignment, shown
    if alignments:
        figure = figures.aligned_trajectories(alignments, len(activities[0]), held_out=held_out)
        figures.save(figure, folder / "trajectories.png")
    else:
        (folder / "trajectories.png").unlink(missing_ok=True)  # from an earlier command with other networks
    return undrawn


def _answers(found: dict[str, Any]) -> str:
    """The answer to the paper's question, task by task; empty if the question was not requested."""
    if not any(result["closer_to_full"] for result in found.values()):
        return ""
    lines = ["\nconvolutional networks' distance to full ones, less that of others (negative: closer), 95 % interval"]
    for task, result in found.items():
        for row in result["closer_to_full"]:
            ends = "too few networks" if row["interval"] is None else "{:.3f} to {:.3f}".format(*row["interval"])
            lines.append(f"{task:<16} than {row['other']:<9} {row['difference']:7.3f}  ({ends}): {row['verdict']}")
    return "\n".join(lines)
