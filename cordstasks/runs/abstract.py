"""One run: train networks, test them, and write everything into a run folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from cordstasks.analysis import figures as draw
from cordstasks.errors import InputError
from cordstasks.rnn.network import RNN
from cordstasks.rnn.stack import RNNStack
from cordstasks.runs.recorded import recorded_settings
from cordstasks.training.abstract import DIVERGED, Trainer, untrained
from cordstasks.training.networks import trained_parameters
from cordstasks.training.settings import AbstractSettings
from cordstasks.utils.files import read_json, write_json
from cordstasks.utils.interrupt import stop_between_steps
from cordstasks.utils.memory import memory, memory_text
from cordstasks.utils.run_folder import RunFolder, environment, note_differences
from cordstasks.utils.states import restoring

__all__ = ["carry_out", "load_networks", "read_summary", "table"]

SAVE_SECONDS = 10.0
WEIGHTS = "networks.pt"
SUMMARY_FIX = "remove it, and --resume makes it again"
NETWORK = ("seed", "state", "learned", "score", "steps")  # what a summary must contain for each network


def carry_out(
    settings: AbstractSettings,
    folder: RunFolder,
    device: torch.device | None = None,
    *,
    resume: bool = False,
    bar: tqdm[Any] | None = None,
    figures: bool = True,
) -> dict[str, Any]:
    """Train and test the networks of `settings`; returns what summary.json holds.

    Returns
    -------
    dict of str to object
        By name.

    Raises
    ------
    InputError
        If the folder cannot be written, holds another run, or one that another process writes.
    KeyboardInterrupt
        After Ctrl-C, with the checkpoint written.
    """
    with folder.lock():
        return _carry_out(settings, folder, device, resume=resume, bar=bar, figures=figures)


def _carry_out(
    settings: AbstractSettings,
    folder: RunFolder,
    device: torch.device | None,
    *,
    resume: bool,
    bar: tqdm[Any] | None,
    figures: bool,
) -> dict[str, Any]:
    """The run itself, in a folder that is locked for other processes."""
    began = time.monotonic()
    device = device or torch.device("cpu")
    machine = environment(device)
    trainer = Trainer(settings, device)
    if resume:
        folder.tidy()
        note_differences(folder.config().get("environment", {}), machine)
        state = folder.load("checkpoint.pt", device)
        if state is not None:
            with restoring(folder.path / "checkpoint.pt"):
                trainer.restore(state)
        folder.log.keep(trainer.step)
        folder.log.note_gaps(trainer.step, every=settings.evaluate_every, end=settings.steps)
    else:
        folder.start(settings, environment=machine)
    saved = time.monotonic()
    if bar is not None:
        bar.update(trainer.step)
    with stop_between_steps() as asked:
        for rows in trainer.run():
            for row in rows:
                folder.log.write(row)
            if bar is not None:
                bar.update()
                if rows:
                    bar.set_postfix(training=len(trainer.active), median=f"{_median(rows):.3f}")
            if asked or time.monotonic() - saved > SAVE_SECONDS:
                folder.save("checkpoint.pt", trainer.state())
                saved = time.monotonic()
            if asked:
                raise KeyboardInterrupt
    folder.save("checkpoint.pt", trainer.state())
    folder.save(WEIGHTS, {"seeds": list(settings.seeds), "networks": trainer.best.state_dict()})
    task, scores = trainer.task, trainer.heldout()
    networks = [
        {
            "seed": progress.seed,
            "state": progress.state,
            "learned": score is not None and score >= task.criterion,
            "score": score,
            "steps": progress.step,
            "best_step": progress.best_step,
            "stage": progress.stage + 1,
        }
        for progress, score in zip(trainer.progress, scores, strict=True)
    ]
    if figures:
        _figures(trainer, folder, scores)
    summary = {
        "task": settings.task,
        "connectivity": settings.connectivity,
        "measure": task.measure,
        "criterion": task.criterion,
        "networks": networks,
        "learned": sum(bool(row["learned"]) for row in networks),
        "diverged": sum(row["state"] == DIVERGED for row in networks),
        "parameters": trained_parameters(trainer.best.pattern),
        "seconds": {"train": trainer.seconds, "total": time.monotonic() - began},
        "memory": memory(device),
        "settings": settings.as_dict(),
        "environment": machine,
    }
    write_json(folder.path / "summary.json", summary)
    return summary


def load_networks(path: str | Path, *, learned: bool = False) -> list[RNN]:
    """The trained networks of a run folder, in the order of its seeds.

    Parameters
    ----------
    path : path-like
        The run's folder.
    learned : bool, default False
        Whether to load only those that have learned their task, by the run's summary.

    Returns
    -------
    list of RNN
        On the CPU.

    Raises
    ------
    InputError
        If the folder holds no finished run of this kind.
    """
    folder = RunFolder(Path(path))
    settings = recorded_settings(folder, AbstractSettings)
    state = folder.load(WEIGHTS, torch.device("cpu"))
    if state is None:
        raise InputError(f"{path}: holds no trained networks ({WEIGHTS}); finish the run first")
    networks = []
    with restoring(folder.path / WEIGHTS, "remove it and summary.json, and --resume makes them again"):
        for place, seed in enumerate(settings.seeds):
            network = untrained(settings, seed)
            network.load_state_dict({name: value[place] for name, value in state["networks"].items()})
            networks.append(network)
    if learned:
        rows = read_summary(folder)["networks"]
        networks = [network for network, row in zip(networks, rows, strict=True) if row["learned"]]
    return networks


def read_summary(folder: RunFolder) -> dict[str, Any]:
    """What summary.json of a finished run holds.

    Returns
    -------
    dict of str to object
        By name; durations in seconds, and one row a network.

    Raises
    ------
    InputError
        If it is damaged, or is not the summary of a run of an abstract task.
    """
    path = folder.path / "summary.json"
    summary = read_json(path)
    with restoring(path, SUMMARY_FIX):
        return {
            **summary,
            **{name: summary[name] for name in ("measure", "parameters", "learned", "criterion", "settings")},
            "seconds": {name: float(summary["seconds"][name]) for name in ("train", "total")},
            "environment": {**summary["environment"], "device": summary["environment"]["device"]},
            "networks": [{**row, **{name: row[name] for name in NETWORK}} for row in summary["networks"]],
        }


def _median(rows: list[dict[str, Any]]) -> float:
    scores = [row["score"] for row in rows if row["score"] is not None]
    return float(np.median(scores)) if scores else float("nan")


@torch.no_grad()
def _figures(trainer: Trainer, folder: RunFolder, scores: list[float | None]) -> None:
    """The learning curves, and trials of the network with the median score."""
    task, settings = trainer.task, trainer.settings
    log = [row for row in folder.log.rows("seed", "step", "stage") if "score" in row]
    if log:
        figure = draw.learning_curves(
            [row["seed"] for row in log],
            [row["step"] for row in log],
            [np.nan if row["score"] is None else row["score"] for row in log],
            [row["stage"] for row in log],
            measure=task.measure,
            criterion=task.criterion,
            title=f"{task.id}, {settings.connectivity}",
        )
        draw.save(figure, folder.path / "learning.png")
    fit = [place for place, score in enumerate(scores) if score is not None]
    if not fit:
        return
    place = sorted(fit, key=lambda p: scores[p] or 0.0)[len(fit) // 2]
    batch = task.sample(3, seed=[settings.seeds[place], 99], dt=settings.dt)
    stack = RNNStack([trainer.best.network(place)])
    outputs = stack(torch.from_numpy(batch.inputs)[None])
    assert isinstance(outputs, torch.Tensor)
    lengths = batch.lengths
    figure = draw.example_trials(
        [array[:n] for array, n in zip(batch.inputs, lengths, strict=True)],
        [array[:n] for array, n in zip(outputs[0].numpy(), lengths, strict=True)],
        [np.where((m > 0)[:n, None], t[:n], np.nan) for t, m, n in zip(batch.targets, batch.mask, lengths, strict=True)],
        channels=task.channels,
        dt=settings.dt,
        title=f"{task.id}, {settings.connectivity}, seed {settings.seeds[place]}",
    )
    draw.save(figure, folder.path / "trials.png")


def table(path: Path) -> str:
    """The short table that the command prints at its end.

    Returns
    -------
    str
        Several lines.
    """
    with restoring(path / "summary.json", SUMMARY_FIX):
        return _table(read_summary(RunFolder(path)), path)


def _table(summary: dict[str, Any], path: Path) -> str:
    lines = ["", f"   seed      state   steps   {summary['measure']}"]
    for row in summary["networks"]:
        score = "      -" if row["score"] is None else f"{row['score']:7.3f}"
        lines.append(f"{row['seed']:7d} {row['state']:>10s} {row['steps']:7d}  {score}")
    count = len(summary["networks"])
    lines.append(
        f"{summary['learned']} of {count} learned the task ({summary['measure']} of at least {summary['criterion']:g} on "
        f"{summary['settings']['heldout']} fresh trials); {summary['parameters']} trained parameters each"
    )
    lines.append(f"seconds: training {summary['seconds']['train']:.0f}, in all {summary['seconds']['total']:.0f}")
    lines += filter(None, [memory_text(summary.get("memory"))])
    names = ("summary.json", "learning.png", "trials.png", WEIGHTS)
    lines.append(f"{path}/: {', '.join(name for name in names if (path / name).exists())}")
    return "\n".join(lines)
