"""One run: train networks, test them, and write everything into a run folder."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from cordstasks import tasks
from cordstasks.analysis.figures import abstract as abstract_figures
from cordstasks.analysis.figures.general import save
from cordstasks.errors import InputError
from cordstasks.rnn.network import RNN
from cordstasks.rnn.stack import RNNStack
from cordstasks.training.abstract import DIVERGED, Trainer
from cordstasks.training.abstract_settings import Settings
from cordstasks.utils.devices import resolve
from cordstasks.utils.files import read_json, write_json
from cordstasks.utils.run_folder import RunFolder, environment, unfinished_folder
from cordstasks.utils.states import restoring

__all__ = ["carry_out", "load_networks", "read_summary", "recorded_settings", "table", "train_command"]

SAVE_SECONDS = 10.0
WEIGHTS = "networks.pt"
SUMMARY_FIX = "remove it, and --resume makes it again"
NETWORK = ("seed", "state", "learned", "score", "steps")  # what a summary must say of each network


def train_command(settings: Settings | None, given: Mapping[str, Any], options: argparse.Namespace) -> int:
    """Carry out, or continue, the run that the command line asks for."""
    if settings is None:
        folder = RunFolder(options.out or unfinished_folder(given.get("task")))
        settings = _earlier(folder, given)
    else:
        folder = RunFolder(options.out or Path("runs") / settings.task, numbered=options.out is None)
        folder.check_free()
    if options.resume and folder.finished:
        print(f"{folder.path}: this run is finished")
        print(table(folder.path))
        return 0
    device = resolve(options.device)
    names = f"{settings.connectivity}, {settings.units} units, {settings.activation}, {settings.form} form"
    try:
        with folder.lock(), tqdm(total=settings.steps, desc="training", unit="batch", leave=False) as bar:
            print(f"task {settings.task}, {len(settings.seeds)} networks: {names}")
            print(f"run folder {folder.path}", flush=True)
            carry_out(settings, folder, device, resume=options.resume, bar=bar)
    except KeyboardInterrupt:
        if not folder.begun:
            raise
        again = f"python -m cordstasks.train --resume --out {folder.path}"
        print(f"\nstopped; this continues the run: {again}", file=sys.stderr)
        return 130
    print(table(folder.path))
    return 0


def carry_out(
    settings: Settings,
    folder: RunFolder,
    device: torch.device | None = None,
    *,
    resume: bool = False,
    bar: tqdm[Any] | None = None,
    figures: bool = True,
) -> dict[str, Any]:
    """Train and test the networks of `settings`; returns what summary.json holds.

    Raises
    ------
    InputError : the folder cannot be written, holds another run, or one that another process writes.
    KeyboardInterrupt : after Ctrl-C, with the checkpoint written.
    """
    with folder.lock():
        return _carry_out(settings, folder, device, resume=resume, bar=bar, figures=figures)


def _carry_out(
    settings: Settings,
    folder: RunFolder,
    device: torch.device | None,
    *,
    resume: bool,
    bar: tqdm[Any] | None,
    figures: bool,
) -> dict[str, Any]:
    """The run itself, in a folder that no other process writes."""
    began = time.monotonic()
    device = device or torch.device("cpu")
    machine = environment(device)
    trainer = Trainer(settings, device)
    if resume:
        folder.tidy()
        state = folder.load("checkpoint.pt", device)
        if state is not None:
            with restoring(folder.path / "checkpoint.pt"):
                trainer.restore(state)
        folder.log.keep(trainer.step)
        folder.log.note_gaps(trainer.step, every=settings.evaluate_every, end=settings.steps)
    else:
        folder.start({**settings.as_dict(), "environment": machine})
    saved = time.monotonic()
    if bar is not None:
        bar.update(trainer.step)
    with _stop_between_steps() as asked:
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
        "settings": settings.as_dict(),
        "environment": machine,
    }
    write_json(folder.path / "summary.json", summary)
    return summary


def load_networks(path: str | Path, *, learned: bool = False) -> list[RNN]:
    """The trained networks of a run folder, in the order of its seeds.

    Parameters
    ----------
    path : the run's folder.
    learned : only those that have learned their task, by the run's summary.

    Raises
    ------
    InputError : the folder holds no finished run of this kind.
    """
    from cordstasks.training.abstract import initial_network

    folder = RunFolder(Path(path))
    if (folder.path / "config.json").exists():
        recorded_settings(folder)
    state = folder.load(WEIGHTS, torch.device("cpu"))
    if state is None:
        raise InputError(f"{path}: holds no trained networks ({WEIGHTS}); finish the run first")
    settings = recorded_settings(folder)
    networks = []
    with restoring(folder.path / WEIGHTS, "remove it and summary.json, and --resume makes them again"):
        for place, seed in enumerate(settings.seeds):
            network = initial_network(settings, seed)
            network.load_state_dict({name: value[place] for name, value in state["networks"].items()})
            networks.append(network)
    if learned:
        rows = read_summary(folder)["networks"]
        networks = [network for network, row in zip(networks, rows, strict=True) if row["learned"]]
    return networks


def trained_parameters(network: RNN) -> int:
    """How many numbers training sets in one network; of a sparse one, those inside its mask."""
    total = 0
    for name, parameter in network.named_parameters():
        masked = name == "recurrent_weights" and "recurrent_mask" in network.recurrent_names
        count = int(network.get_buffer("recurrent_mask").sum()) if masked else parameter.numel()
        total += count if parameter.requires_grad else 0
    return total


def recorded_settings(folder: RunFolder) -> Settings:
    """The settings of the run of an abstract task that a folder holds.

    Raises
    ------
    InputError : the folder holds no run, one of a visual task, or settings that lack something or were damaged.
    """
    config = folder.config()
    config.pop("environment", None)
    none, task = f"{folder.path} holds no run of an abstract task of this version", config.get("task")
    if isinstance(task, str) and task not in tasks.abstract_names() and "frontend" in config:
        raise InputError(f"{none}, but one of the visual task {task}; load it with cordstasks.runs.loading.load_run")
    missing = sorted({field.name for field in fields(Settings)} - set(config))
    if missing:
        raise InputError(f"{none} (its config.json lacks {missing[0]!r}); choose another folder")
    try:
        return Settings.from_dict(config)
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{none}: its config.json cannot be used ({error}); correct it, or choose another folder"
        ) from error


def read_summary(folder: RunFolder) -> dict[str, Any]:
    """What summary.json of a finished run holds.

    Raises
    ------
    InputError : it is damaged, or is not the summary of a run of an abstract task.
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


def _earlier(folder: RunFolder, given: Mapping[str, Any]) -> Settings:
    """The settings of the run in a folder; options given again must agree with them."""
    earlier = recorded_settings(folder)
    for name, value in sorted(given.items()):
        had = getattr(earlier, name)
        if had != value:
            flag = "--set" if name == "parameters" else "--" + name.replace("train_", "fixed-").replace("_", "-")
            raise InputError(f"{flag} {value}: the run in {folder.path} has {had}; leave it out, or use --out")
    return earlier


def _median(rows: list[dict[str, Any]]) -> float:
    scores = [row["score"] for row in rows if row["score"] is not None]
    return float(np.median(scores)) if scores else float("nan")


@torch.no_grad()
def _figures(trainer: Trainer, folder: RunFolder, scores: list[float | None]) -> None:
    """The learning curves, and trials of the network with the median score."""
    task, settings = trainer.task, trainer.settings
    log = [row for row in folder.log.rows("seed", "step", "stage") if "score" in row]
    if log:
        figure = abstract_figures.learning_curves(
            [row["seed"] for row in log],
            [row["step"] for row in log],
            [np.nan if row["score"] is None else row["score"] for row in log],
            [row["stage"] for row in log],
            measure=task.measure,
            criterion=task.criterion,
            title=f"{task.id}, {settings.connectivity}",
        )
        save(figure, folder.path / "learning.png")
    fit = [place for place, score in enumerate(scores) if score is not None]
    if not fit:
        return
    place = sorted(fit, key=lambda p: scores[p] or 0.0)[len(fit) // 2]
    batch = task.sample(3, seed=[settings.seeds[place], 99], dt=settings.dt)
    stack = RNNStack([trainer.best.network(place)])
    outputs = stack(torch.from_numpy(batch.inputs)[None])
    assert isinstance(outputs, torch.Tensor)
    lengths = batch.lengths
    figure = abstract_figures.example_trials(
        [array[:n] for array, n in zip(batch.inputs, lengths, strict=True)],
        [array[:n] for array, n in zip(outputs[0].numpy(), lengths, strict=True)],
        [np.where((m > 0)[:n, None], t[:n], np.nan) for t, m, n in zip(batch.targets, batch.mask, lengths, strict=True)],
        channels=task.channels,
        dt=settings.dt,
        title=f"{task.id}, {settings.connectivity}, seed {settings.seeds[place]}",
    )
    save(figure, folder.path / "trials.png")


def table(path: Path) -> str:
    """The short table that the command prints at its end."""
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
    names = ("summary.json", "learning.png", "trials.png", WEIGHTS)
    lines.append(f"{path}/: {', '.join(name for name in names if (path / name).exists())}")
    return "\n".join(lines)


@contextmanager
def _stop_between_steps() -> Iterator[list[int]]:
    """While open, Ctrl-C fills the list instead of interrupting, so that a step is never cut in two."""
    asked: list[int] = []

    def note(number: int, _: Any) -> None:
        if asked:  # the second Ctrl-C does not wait
            raise KeyboardInterrupt
        asked.append(number)

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # not in the main thread, where signals are not ours
        yield asked
        return
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
