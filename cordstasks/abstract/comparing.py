"""Trained networks side by side: the same noise-free trials through all of them, and how alike their trajectories are."""

from __future__ import annotations

import argparse
import csv
import io
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from cordstasks import analysis, tasks
from cordstasks.abstract.experiment import carry_out, load_networks, trained_parameters
from cordstasks.abstract.settings import Settings, defaults
from cordstasks.errors import InputError
from cordstasks.files import read_json, writable_folder, write_bytes, write_json
from cordstasks.rnn import RNN
from cordstasks.runs import RunFolder

__all__ = ["common_trials", "compare_networks", "trajectories"]

LABELS = {"full": "full", "lowrank": "low-rank", "sparse": "sparse", "conv": "convolutional"}
DRAWN = 2000  # trials that common conditions are picked from
SEED = 20240


def common_trials(task: tasks.AbstractTask, count: int, *, dt: float) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
    """Inputs (condition, time, channel) without noise, no two alike, and the conditions {name: (condition,)}.

    Durations that vary between trials are held at their middle, so that all trials have the same course.
    """
    fixed: dict[str, Any] = {"noise": 0.0, "catch": 0.0}
    for field in fields(task):
        value = getattr(task, field.name)
        if field.name != "strengths" and isinstance(value, tuple) and len(value) == 2 and all(v > dt for v in value):
            fixed[field.name] = float(np.mean(value))
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


def compare_networks(options: argparse.Namespace) -> int:
    """Carry out what ``python -m cordstasks.compare`` asks for."""
    began = time.monotonic()
    jobs = [(t, c, a) for t in options.tasks for c in options.connectivities for a in options.activations]
    found: dict[str, Any] = {}
    try:
        with tqdm(jobs, desc="training", unit="batch of networks") as bar:
            for task, connectivity, activation in bar:
                bar.set_postfix_str(f"{task}, {connectivity}, {activation}")
                _train(options, task, connectivity, activation)
        for task in options.tasks:
            found[task] = _compare(options, task)
    except KeyboardInterrupt:
        print(f"\nstopped; the same command continues, from {options.out}", file=sys.stderr)
        return 130
    write_json(options.out / "summary.json", {"tasks": found, "seconds": time.monotonic() - began})
    print(_answers(found))
    print(f"{time.monotonic() - began:.0f} s; {options.out}/: summary.json, and figures in a folder for each task")
    return 0


def _settings(options: argparse.Namespace, task: str, connectivity: str, activation: str) -> Settings:
    given = {} if options.steps is None else {"steps": options.steps}
    return defaults(task, connectivity, units=options.units, seeds=options.seeds, activation=activation, **given)


def _folder(options: argparse.Namespace, task: str, connectivity: str, activation: str) -> RunFolder:
    return RunFolder(options.out / "networks" / f"{task}-{connectivity}-{activation}")


def _train(options: argparse.Namespace, task: str, connectivity: str, activation: str) -> None:
    folder, settings = _folder(options, task, connectivity, activation), _settings(options, task, connectivity, activation)
    begun = (folder.path / "config.json").exists()
    if begun:
        earlier = folder.config()
        earlier.pop("environment", None)
        if Settings.from_dict(earlier) != settings:
            raise InputError(f"out={options.out}: {folder.path} holds networks of other settings; use another folder")
    if not folder.finished:
        carry_out(settings, folder, resume=begun)


def _compare(options: argparse.Namespace, task_id: str) -> dict[str, Any]:
    """Compare the networks that learned one task; write its figures; return the summary's part."""
    task: tasks.AbstractTask = tasks.get(task_id)
    settings = _settings(options, task_id, options.connectivities[0], options.activations[0])
    inputs, conditions = common_trials(task, options.conditions, dt=settings.dt)
    folder = options.out / task_id
    writable_folder(folder, "out")
    _write_conditions(folder / "conditions.csv", conditions)
    activities: list[NDArray[Any]] = []
    labels: list[str] = []
    names: list[str] = []
    counts: list[dict[str, Any]] = []
    for connectivity in options.connectivities:
        for activation in options.activations:
            run = _folder(options, task_id, connectivity, activation)
            rows = read_json(run.path / "summary.json")["networks"]
            networks = load_networks(run.path, learned=True)
            counts.append(
                {
                    "connectivity": connectivity,
                    "activation": activation,
                    "trained": len(rows),
                    "compared": len(networks),
                    "left_out": len(rows) - len(networks),
                    "parameters": trained_parameters(load_networks(run.path)[0]),
                }
            )
            activities += [trajectories(network, inputs) for network in networks]
            labels += [LABELS[connectivity]] * len(networks)
            names += [f"{connectivity} {activation} {row['seed']}" for row in rows if row["learned"]]
    if options.recording is not None:
        activities.append(_recording(options.recording, inputs.shape[:2]))
        labels.append("recording")
        names.append(options.recording.stem)
    if len(activities) < 2:
        raise InputError(f"tasks={task_id}: {len(activities)} networks learned it, and two are needed; give more steps")
    components: Any = "auto"
    comparison = analysis.compare_activity(
        activities, labels, names=names, alpha=options.alpha, components=components, permutations=options.permutations
    )
    print(f"\n{task_id}: {len(inputs)} trials of {inputs.shape[1]} steps, without noise")
    print(f"every network's {task.measure} is at least {task.criterion:g}")
    for row in counts:
        print(
            f"  {row['connectivity']:<9} {row['activation']:<9} {row['compared']} of {row['trained']} networks compared, "
            f"{row['parameters']} trained parameters each"
        )
    print(comparison.text())
    closer = _closer(comparison, labels)
    _figures(comparison, activities, labels, folder)
    return {
        "networks": counts,
        "conditions": len(inputs),
        "alpha": comparison.alpha,
        "components": comparison.components,
        "variance_held": float(comparison.variance_held.min()),
        "table": comparison.table(),
        "closer_to_full": closer,
    }


def _closer(comparison: analysis.Comparison, labels: list[str]) -> list[dict[str, Any]]:
    kinds = set(labels) - {"recording"}
    if not {"full", "convolutional"} < kinds:
        return []
    return comparison.closer_to(others=sorted(kinds - {"full", "convolutional"}))


def _recording(path: Path, shape: tuple[int, ...]) -> NDArray[np.float64]:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"recording={path}: cannot be read as a .npy array ({error})") from error
    if array.ndim != 3 or array.shape[:2] != shape:
        raise InputError(
            f"recording={path}: has shape {array.shape}; give (condition, time, neuron) of {shape[0]} conditions, in the "
            f"order of conditions.csv, and {shape[1]} times"
        )
    return np.asarray(array, dtype=np.float64)


def _write_conditions(path: Path, conditions: dict[str, NDArray[Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["condition", *conditions])
    writer.writerows([index, *row] for index, row in enumerate(zip(*conditions.values(), strict=True)))
    write_bytes(path, text.getvalue().encode())


def _figures(comparison: analysis.Comparison, activities: list[NDArray[Any]], labels: list[str], folder: Path) -> None:
    figures = analysis.figures
    figures.save(figures.distance_matrix(comparison.distances, labels, names=comparison.names), folder / "distances.png")
    if len(activities) > 3:
        embedding = analysis.embed(comparison.distances, method="stress")
        figures.save(figures.embedding_map(embedding, labels), folder / "embedding.png")
        tree = analysis.cluster(comparison.distances)
        figures.save(figures.dendrogram(tree, labels, names=comparison.names), folder / "tree.png")
    reference = labels.index("full") if "full" in labels else 0
    pairs = [labels.index(kind) for kind in dict.fromkeys(labels) if kind != labels[reference]]
    alignments, held_out = {}, {}
    for other in pairs:
        first, second = (activities[i].reshape(-1, activities[i].shape[2]) for i in (reference, other))
        alignment = analysis.align(first, second, components="auto")
        title = f"{comparison.names[reference]} and {comparison.names[other]}"
        alignments[title] = alignment
        held_out[title] = (
            comparison.correlations[reference, other],
            comparison.null_correlations[:, reference, other].mean(0),
        )
    if alignments:
        figure = figures.aligned_trajectories(alignments, len(activities[0]), held_out=held_out)
        figures.save(figure, folder / "trajectories.png")


def _answers(found: dict[str, Any]) -> str:
    """The paper's question, task by task."""
    lines = ["\nconvolutional networks' distance to full ones, less that of others (negative: closer), 95 % interval"]
    for task, result in found.items():
        for row in result["closer_to_full"]:
            ends = "too few networks" if row["interval"] is None else "{:.3f} to {:.3f}".format(*row["interval"])
            lines.append(f"{task:<16} than {row['other']:<9} {row['difference']:7.3f}  ({ends}): {row['verdict']}")
    return "\n".join(lines)
