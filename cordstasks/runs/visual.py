"""One run from movies to summary: sample trials, see them through the front-end, train, test, report."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cordstasks import reports, tasks
from cordstasks.cordsnet.architecture import check_areas
from cordstasks.cordsnet.network import CordsNet
from cordstasks.errors import InputError
from cordstasks.frontend.frontend import Features, FrontEnd
from cordstasks.model import MultiAreaModel, principal_components
from cordstasks.rnn.network import RNN
from cordstasks.runs.recorded import named_weights, read_config, recorded_network
from cordstasks.stimuli import Display
from cordstasks.tasks import TrialBatch, VisualTask
from cordstasks.tasks.visual.base import Duration
from cordstasks.training.distillation import check_number, fit_teacher
from cordstasks.training.visual import TrainSettings, train, trial_set
from cordstasks.utils.files import write_json
from cordstasks.utils.run_folder import RunFolder, environment, unfinished_folder

TAUGHT_INPUTS = 48  # directions in feature space that the recurrent network is given, chosen by a teacher
AVERAGE = 0.98  # by which weights fade in the running average that is kept, where few pictures make evaluations noisy
INPUTS = 300  # or as many principal components
SETS = ("training", "validation", "heldout", "controls")


@dataclass
class Clock:
    """Seconds spent on parts of a run."""

    bank: float = 0.0
    train: float = 0.0

    def features(self, frontend: FrontEnd, batch: TrialBatch, label: str) -> Features:
        """Features of a batch, with the time they took counted as the bank's."""
        began = time.monotonic()
        features = frontend.features(batch.movies, dt=batch.dt, label=label)
        self.bank += time.monotonic() - began
        return features


def run(config: dict[str, Any], options: argparse.Namespace, *, given: set[str]) -> int:
    """Carry out, or continue, the run that the command line asks for; see `cordstasks.train`."""
    folder = _folder(config, options)
    try:
        with ExitStack() as held:
            return _run(folder, config, options, given, held)
    except KeyboardInterrupt:
        if not folder.begun:
            raise
        again = f"python -m cordstasks.train --resume --out {folder.path}"
        print(f"\nstopped; this continues the run: {again}", file=sys.stderr)
        return 130


def _run(folder: RunFolder, config: dict[str, Any], options: argparse.Namespace, given: set[str], held: ExitStack) -> int:
    """Carry out the run; `held` gets the lock of its folder."""
    began = time.monotonic()
    network = None
    if options.resume:
        config = _continued(folder, config, given)
        if not folder.finished:
            held.enter_context(folder.lock())
            folder.tidy()
        if options.weights is not None or not folder.finished:
            network = recorded_network(folder.path, config, options.weights, name="--weights")
        if folder.finished:  # then it is only read; another process may have finished it meanwhile
            print(f"{folder.path}: this run is finished")
            print(reports.table(folder.path / "summary.json"))
            return 0
    task = task_of(config)
    if network is None:
        network, config["weights"] = named_weights(options.weights or options.frontend)
    frontend = _frontend(config, options, network, asked="areas" in given or options.resume)
    task = task_of(config, frontend.image_size)
    config = {**config, "areas": list(frontend.areas), "inputs": _inputs(config, frontend, task)}
    seeds = _seeds(config)
    dt = config["dt"]
    frontend.bin_steps(dt)
    model = model_of(config, frontend, task)
    training_task = task.for_training()
    batches = {
        "training": training_task.sample(config["trials"], seed=seeds["training"], dt=dt),
        "validation": training_task.sample(config["validation"], seed=seeds["validation"], dt=dt),
        "heldout": heldout_trials(config, task),
    }
    reports.check(task, batches["heldout"])
    if _is_taught(config, task):
        check_number(len(batches["training"]))
    machine = environment(frontend.device)
    if options.resume:
        _compare(config["environment"], machine)
    else:
        held.enter_context(folder.lock())
        folder.start({**config, "environment": machine})
    name = frontend.network.card.get("name", "a CordsNet without a card")
    source = f" with the weights of {options.weights}" if options.weights else ""
    print(
        f"task {task.id}, front-end {config['frontend']}{source}: {name}, sha256 {frontend.digest()[:12]}, "
        f"reads {frontend.describe()}"
    )
    print(f"run folder {folder.path}", flush=True)

    clock, device = Clock(), frontend.device
    sets = {
        name: trial_set(clock.features(frontend, batch, f"front-end, {name} movies"), batch, frontend.device, task)
        for name, batch in batches.items()
    }
    learned = time.monotonic()
    seen = sets["training"]
    teacher = None
    if _is_taught(config, task):
        inputs = model.projection.shape[1]
        teacher = fit_teacher(seen.inputs, seen.answers == 1, seen.evidence, dt=dt, inputs=inputs)
        model.normalise_by(teacher.mean, teacher.projection)
    else:
        steps = seen.evidence if task.stationary else seen.inputs.index >= 0
        number = model.projection.shape[1]
        # slow streams of small signals need every direction; pictures are told apart best by the large ones
        model.normalise_by(*principal_components(seen.inputs, steps, number, whiten=task.stationary))
    sets = {name: replace(trials, inputs=model.inputs(trials.inputs)) for name, trials in sets.items()}
    fitted = time.monotonic() - learned
    settings = TrainSettings(
        steps=config["steps"],
        batch=config["batch"],
        learning_rate=config["learning_rate"],
        mix=task.stationary,
        average=0.0 if task.stationary else AVERAGE,
        seed=config["seed"],
    )
    if config["labels_only"]:
        settings = replace(settings, auxiliary=0.0, recombine=0.0)
    trained = train(model, sets["training"], sets["validation"], settings, folder, teacher=teacher)
    clock.train = trained.pop("seconds") + fitted

    report = reports.make(
        reports.Material(
            task=task,
            model=model,
            heldout=batches["heldout"],
            trials=sets["heldout"],
            inputs=lambda batch, label: model.inputs(clock.features(frontend, batch, f"front-end, {label}").to(device)),
            rng=np.random.default_rng(seeds["controls"]),
            folder=folder,
        )
    )
    bank = frontend.bank
    summary = {
        "task": task.id,
        "frontend": config["frontend"],
        "weights": {**config["weights"], "card": frontend.network.card},
        "read": {"areas": list(frontend.areas), "sides": list(frontend.sides), "features": frontend.units},
        "seed": config["seed"],
        **report,
        "training": {"trials": config["trials"], "teacher": teacher is not None, **trained},
        "bank": {
            "steps_asked": sum(set_.inputs.cost.requested for set_ in sets.values()),
            "steps_simulated": sum(set_.inputs.cost.simulated for set_ in sets.values()),
            "plateau_error_bound": max(set_.inputs.cost.bound for set_ in sets.values()),
            "step_fraction": frontend.step_fraction,
            "megabytes": None if bank is None else bank.size() / 1e6,
        },
        "seconds": {"bank": clock.bank, "train": clock.train, "total": time.monotonic() - began},
        "environment": machine,
    }
    write_json(folder.path / "summary.json", summary)
    if bank is not None and bank.damaged:
        print(f"note: {bank.damaged} files of the bank were damaged, or of another version, and were computed again")
    print(reports.table(folder.path / "summary.json"))
    return 0


def _seeds(config: dict[str, Any]) -> dict[str, int]:
    """A seed for each set of trials."""
    return dict(zip(SETS, np.random.SeedSequence(config["seed"]).generate_state(len(SETS)).tolist(), strict=True))


def heldout_trials(config: dict[str, Any], task: VisualTask) -> TrialBatch:
    """The trials that a run of these settings is tested on."""
    return task.for_testing().sample(config["heldout"], seed=_seeds(config)["heldout"], dt=config["dt"])


def _folder(config: dict[str, Any], options: argparse.Namespace) -> RunFolder:
    name = None if options.task is None else tasks.get(options.task).id
    if options.out is not None:
        folder = RunFolder(options.out)
        if not options.resume:
            folder.check_free()
        return folder
    if options.resume:
        return RunFolder(unfinished_folder(name))
    return RunFolder(Path("runs") / str(name), numbered=True)


def _continued(folder: RunFolder, config: dict[str, Any], given: set[str]) -> dict[str, Any]:
    """The settings of the run in `folder`; options given again must agree with them."""
    earlier = read_config(folder)
    flags = [("--" + name.replace("_", "-"), config[name], earlier[name]) for name in sorted(given & set(config) - {"set"})]
    parameters, had = dict(config["set"]), earlier["set"]
    if "stimuli_dir" in given:
        flags.append(("--stimuli-dir", parameters.pop("stimuli_dir"), had.get("stimuli_dir")))
    if "set" in given:
        differing = {name: v for name, v in parameters.items() if not _same(v, had.get(name))}
        flags.append(("--set", differing, {name: had.get(name) for name in differing}))
    for flag, now, then in flags:
        if not _same(now, then):
            shown = "none" if then is None else then
            raise InputError(f"{flag} {now}: the run in {folder.path} has {shown}; leave it out, or use --out")
    return earlier


def _same(now: Any, then: Any) -> bool:
    """Whether two values of a setting are equal, or paths of one file or folder by way of links."""
    paths = isinstance(now, str) and isinstance(then, str) and os.path.exists(now)
    return now == then or (paths and os.path.realpath(now) == os.path.realpath(then))


def _compare(then: dict[str, Any], now: dict[str, Any]) -> None:
    """Say so if a resumed run cannot come out bit for bit as it would have."""
    for name in ("device", "threads", "torch"):
        if then.get(name) != now[name]:
            print(
                f"note: begun with {name} {then.get(name)}, continued with {now[name]}: results may differ in the last bits"
            )


def _is_taught(config: dict[str, Any], task: VisualTask) -> bool:
    return task.stationary and len(task.actions) == 3 and not config["labels_only"]


def task_of(config: dict[str, Any], image_size: int | None = None) -> VisualTask:
    """The task of a run's settings, on a screen of `image_size` px."""
    task = tasks.get(config["task"])
    for name, value in config["set"].items():
        if name in signature(type(task)).parameters:
            _check_kind(task, name, value)
    display = {} if image_size is None else {"display": replace(task.display, pixels=image_size)}
    return tasks.get(config["task"], **config["set"], **display)


def _check_kind(task: VisualTask, name: str, value: Any) -> None:
    """Raise an InputError unless `value` is of the kind of the task's own value; the task itself checks its range."""
    own = getattr(task, name)
    if isinstance(own, Display):
        raise InputError(f"{name}={value}: the screen takes the front-end's image size; leave it out")

    def number(given: Any) -> bool:
        return isinstance(given, (int, float)) and not isinstance(given, bool)

    numbers = isinstance(value, tuple) and all(map(number, value))
    if isinstance(own, bool):
        kind, fits = "true or false", isinstance(value, bool)
    elif name in task.timing or name in {f.name for f in fields(task) if f.type in ("Duration", Duration)}:  # type: ignore[arg-type]
        kind, fits = "a duration in ms or [shortest, longest]", number(value) or numbers
    elif isinstance(own, tuple) and any(isinstance(item, str) for item in own):
        kind, fits = "a list of names", isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    elif isinstance(own, tuple):
        kind, fits = "a list of numbers", numbers
    elif own is None or isinstance(own, str):  # only the task knows what it may be
        return
    else:
        kind, fits = "a number", number(value) or value is None
    if not fits:
        raise InputError(f"{name}={json.dumps(value)}: give {kind}, such as {json.dumps(own)}")


def _frontend(config: dict[str, Any], options: argparse.Namespace, network: CordsNet, *, asked: bool) -> FrontEnd:
    """The front-end of a run; areas that were not asked for are a task's default, which a small network need not have."""
    areas, last = config["areas"], network.depth - 1
    if areas is not None and not asked:
        areas = {min(area, last) for area in areas}
    label = None if areas is None else f"--areas {' '.join(map(str, areas))}"
    bank: bool | Path | None = False if options.no_bank else options.bank
    return FrontEnd(
        network,
        areas=check_areas(areas, network.depth, label=label),
        side=config["side"],
        device=config["device"],
        readout=config["readout"],
        precision=config["precision"],
        bank=bank,
        bank_limit=options.bank_limit,
    )


def _inputs(config: dict[str, Any], frontend: FrontEnd, task: VisualTask) -> int:
    """How many inputs the recurrent network has: as asked, or as suits the way in which they are chosen."""
    if config["inputs"] is None:
        return min(TAUGHT_INPUTS if _is_taught(config, task) else INPUTS, frontend.units)
    if config["inputs"] > frontend.units:
        raise InputError(f"--inputs {config['inputs']}: the front-end has {frontend.units} features; give at most as many")
    return int(config["inputs"])


def model_of(config: dict[str, Any], frontend: FrontEnd, task: VisualTask) -> MultiAreaModel:
    """The untrained model of a run's settings."""
    generator = torch.Generator().manual_seed(config["seed"])
    rnn = RNN(
        config["inputs"],
        config["units"],
        len(task.actions),
        dt=config["dt"],
        tau=config["tau"],
        noise=config["noise"],
        generator=generator,
    )
    return MultiAreaModel(rnn, frontend.units).to(frontend.device)
