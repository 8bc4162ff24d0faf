"""Trained networks side by side: the same noise-free trials through all of them, and how alike their trajectories are."""

from __future__ import annotations

import argparse
import csv
import io
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from cordstasks import analysis, tasks
from cordstasks.errors import InputError
from cordstasks.experiments.recording import Recording, read_recording
from cordstasks.rnn.network import RNN
from cordstasks.runs.abstract import WEIGHTS, carry_out, load_networks, read_summary
from cordstasks.runs.recorded import recorded_settings
from cordstasks.training.abstract import Trainer
from cordstasks.training.networks import trained_parameters
from cordstasks.training.settings import AbstractSettings
from cordstasks.utils.devices import resolve
from cordstasks.utils.files import writable_folder, write_bytes, write_json
from cordstasks.utils.folders import locked
from cordstasks.utils.run_folder import RunFolder, environment
from cordstasks.utils.states import restoring

__all__ = ["common_trials", "compare_networks", "trajectories"]

LABELS = {"full": "full", "lowrank": "low-rank", "sparse": "sparse", "conv": "convolutional"}
DRAWN = 2000  # trials that common conditions are picked from
SEED = 20240
Kind = tuple[str, str, str]  # task, connectivity, activation


def common_trials(task: tasks.AbstractTask, count: int, *, dt: float) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
    """Inputs (condition, time, channel) without noise, no two alike, and the conditions {name: (condition,)}.

    Durations that vary between trials are held at their middle, so that all trials have the same course.
    """
    fixed: dict[str, Any] = {"noise": 0.0, "catch": 0.0}
    for period, duration in task.timing.items():
        if isinstance(duration, tuple):
            fixed[period] = float(np.mean(duration))
    batch = replace(task, **fixed).sample(DRAWN, seed=SEED, dt=dt)
    _, first = np.unique(batch.inputs.reshape(DRAWN, -1), axis=0, return_index=True)
    rng = np.random.default_rng(SEED)
    kept = np.sort(rng.permutation(first)[:count])
    return batch.inputs[kept], {name: values[kept] for name, values in batch.conditions.items()}


@torch.no_grad()
def trajectories(network: RNN, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rates (condition, time, unit) without private noise."""
    _, states = network(torch.from_numpy(inputs), return_states=True)
    rates: NDArray[np.float32] = states.numpy()
    return rates


@dataclass(frozen=True, eq=False)
class _Prepared:
    """What was read and checked before any training."""

    trials: dict[str, tuple[NDArray[np.float32], dict[str, NDArray[Any]]]]  # of each task, from `common_trials`
    recording: Recording | None
    device: torch.device


def compare_networks(options: argparse.Namespace, chosen: Mapping[Kind, AbstractSettings]) -> int:
    """Carry out what ``python -m cordstasks.compare`` asks for.

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


def _carry_out(
    options: argparse.Namespace, chosen: Mapping[Kind, AbstractSettings], prepared: _Prepared, began: float
) -> int:
    """Train and compare, in a folder that no other process writes."""
    found: dict[str, Any] = {}
    try:
        with tqdm(chosen.items(), desc="training", unit="batch of networks") as bar:
            for kind, settings in bar:
                bar.set_postfix_str(", ".join(kind))
                run = _folder(options, kind)
                if not run.finished:
                    carry_out(settings, run, prepared.device, resume=run.begun)
        for task in options.tasks:
            try:
                found[task] = _compare(options, task, prepared)
            except InputError as error:  # the other tasks have been trained too, and are compared all the same
                found[task] = {"problem": str(error), "closer_to_full": []}
                print(f"\n{task}: not compared: {error}")
    except KeyboardInterrupt:
        print(f"\nstopped; the same command continues, from {options.out}", file=sys.stderr)
        return 130
    summary = {"tasks": found, "environment": environment(prepared.device), "seconds": time.monotonic() - began}
    write_json(options.out / "summary.json", summary)
    problems = [result["problem"] for result in found.values() if "problem" in result]
    if len(problems) == len(found):
        raise InputError(problems[0])
    print(_answers(found))
    print(f"{time.monotonic() - began:.0f} s; {options.out}/: summary.json, and figures in a folder for each task")
    return 0


def _prepare(options: argparse.Namespace, chosen: Mapping[Kind, AbstractSettings]) -> _Prepared:
    """Find whatever can be wrong before hours of training rather than after them."""
    device = resolve(options.device)
    trials = {}
    for (task_id, *_), settings in chosen.items():
        if task_id not in trials:
            trials[task_id] = common_trials(settings.abstract_task(), options.conditions, dt=settings.dt)
        samples = trials[task_id][0].shape[0] * trials[task_id][0].shape[1]
        if options.alpha == 1 and settings.units > samples:
            raise InputError(
                f"units={settings.units}: task {task_id} has only {samples} samples (conditions x times), fewer than "
                "units, which could be rotated onto anything; give fewer units, or an alpha below 1"
            )
    recording = None
    if options.recording is not None:
        inputs, _ = trials[options.tasks[0]]
        recording = read_recording(options.recording, *inputs.shape[:2], alpha=options.alpha)
    for kind, settings in chosen.items():
        _check_earlier(_folder(options, kind), settings, options.out)
    writable_folder(options.out, "out")
    return _Prepared(trials, recording, device)


def _folder(options: argparse.Namespace, kind: Kind) -> RunFolder:
    return RunFolder(options.out / "networks" / "-".join(kind))


def _check_earlier(run: RunFolder, settings: AbstractSettings, out: Path) -> None:
    """Check the networks that an earlier command left, whole or half-trained, as far as files can tell."""
    if not run.begun:
        if run.finished:
            raise InputError(f"{run.path}: has a summary but no config.json; remove the folder, and they are trained again")
        return
    if recorded_settings(run, AbstractSettings) != settings:
        raise InputError(f"out={out}: {run.path} holds networks of other settings; use another folder")
    with restoring(run.path, "remove the folder, and its networks are trained again"):
        if run.finished:
            _learned(run)
        elif (state := run.load("checkpoint.pt", torch.device("cpu"))) is not None:
            Trainer(settings).restore(state)


def _learned(run: RunFolder) -> tuple[list[RNN], list[RNN], list[dict[str, Any]]]:
    """All networks of a finished run, those that learned their task, and the rows of the summary."""
    networks, rows = load_networks(run.path), read_summary(run)["networks"]
    if len(rows) != len(networks):
        raise InputError(f"{run.path / 'summary.json'}: is of {len(rows)} networks, but there are {len(networks)}")
    learned = [network for network, row in zip(networks, rows, strict=True) if row["learned"]]
    seeds = [row["seed"] for row in rows if row["learned"]]
    for network, seed in zip(learned, seeds, strict=True):
        for name, value in network.state_dict().items():
            if not value.isfinite().all():
                raise InputError(
                    f"{run.path / WEIGHTS}: {name} of the network of seed {seed} holds values that are not finite"
                )
    return networks, learned, rows


def _compare(options: argparse.Namespace, task_id: str, prepared: _Prepared) -> dict[str, Any]:
    """Compare the networks that learned one task; write its figures; return the summary's part."""
    task: tasks.AbstractTask = tasks.get(task_id)
    inputs, conditions = prepared.trials[task_id]
    folder = options.out / task_id
    writable_folder(folder, "out")
    _write_conditions(folder / "conditions.csv", conditions)
    activities: list[NDArray[Any]] = []
    labels: list[str] = []
    names: list[str] = []
    counts: list[dict[str, Any]] = []
    for connectivity, activation in product(options.connectivities, options.activations):
        networks, learned, rows = _learned(_folder(options, (task_id, connectivity, activation)))
        counts.append(
            {
                "connectivity": connectivity,
                "activation": activation,
                "trained": len(networks),
                "compared": len(learned),
                "left_out": len(networks) - len(learned),
                "parameters": trained_parameters(networks[0]),
            }
        )
        activities += [trajectories(network, inputs) for network in learned]
        labels += [LABELS[connectivity]] * len(learned)
        names += [f"{connectivity} {activation} {row['seed']}" for row in rows if row["learned"]]
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
    print(f"\n{task_id}: {len(inputs)} trials of {inputs.shape[1]} steps, without noise")
    print(f"every network's {task.measure} is at least {task.criterion:g}")
    for row in counts:
        print(
            f"  {row['connectivity']:<9} {row['activation']:<9} {row['compared']} of {row['trained']} networks compared, "
            f"{row['parameters']} trained parameters each"
        )
    notes = list(prepared.recording.notes) if prepared.recording is not None else []
    print("\n".join(f"  recording {options.recording}: {note}" for note in notes) + ("\n" if notes else ""), end="")
    print(comparison.text())
    closer = _closer(comparison, labels)
    undrawn = _figures(comparison, activities, labels, folder)
    if undrawn:
        print(f"not drawn in trajectories.png, for want of a second dimension: {'; '.join(undrawn)}")
    return {
        "networks": counts,
        "conditions": len(inputs),
        "alpha": comparison.alpha,
        "components": comparison.components,
        "variance_held": float(comparison.variance_held.min()),
        "table": comparison.table(),
        "closer_to_full": closer,
        **({"recording": {"file": str(options.recording), "notes": notes}} if prepared.recording is not None else {}),
    }


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
    """Draw what can be drawn; the pairs of networks that have too few dimensions for their trajectories."""
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
        # where one component holds nearly all variance of a network, there is no second to draw
        if min(len(alignment.correlations), len(shown[0])) < 2 or not np.isfinite(shown).all():
            undrawn.append(title)
            continue
        alignments[title], held_out[title] = alignment, shown
    if alignments:
        figure = figures.aligned_trajectories(alignments, len(activities[0]), held_out=held_out)
        figures.save(figure, folder / "trajectories.png")
    else:
        (folder / "trajectories.png").unlink(missing_ok=True)  # of an earlier command, with other networks
    return undrawn


def _answers(found: dict[str, Any]) -> str:
    """The paper's question, task by task; nothing where it was not asked."""
    if not any(result["closer_to_full"] for result in found.values()):
        return ""
    lines = ["\nconvolutional networks' distance to full ones, less that of others (negative: closer), 95 % interval"]
    for task, result in found.items():
        for row in result["closer_to_full"]:
            ends = "too few networks" if row["interval"] is None else "{:.3f} to {:.3f}".format(*row["interval"])
            lines.append(f"{task:<16} than {row['other']:<9} {row['difference']:7.3f}  ({ends}): {row['verdict']}")
    return "\n".join(lines)
