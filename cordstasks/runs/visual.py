"""Runs of visual tasks, from movies to summary: sample trials, compute their features, train, test, report."""

from __future__ import annotations

import json
import os
import time
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
from cordstasks.frontend.features import Features
from cordstasks.frontend.frontend import FrontEnd
from cordstasks.model import MultiAreaModel, principal_components
from cordstasks.reports import reaction_times
from cordstasks.runs.recorded import named_weights, recorded_network
from cordstasks.stimuli import Display
from cordstasks.tasks import TrialBatch, VisualTask
from cordstasks.tasks.timing import Duration
from cordstasks.training.distillation import Teacher, check_number, fit_teacher
from cordstasks.training.networks import initial_network
from cordstasks.training.settings import VisualSettings
from cordstasks.training.trials import TrialSet, trial_set
from cordstasks.training.visual import train
from cordstasks.utils.files import write_json
from cordstasks.utils.memory import memory
from cordstasks.utils.run_folder import RunFolder, environment, note_differences
from cordstasks.utils.states import restoring

__all__ = ["Execution", "carry_out", "frontend_of", "heldout_trials", "model_of", "prepare", "task_of", "validation_trials"]

SETS = ("training", "validation", "heldout", "controls")
OF_REACTION_TIMES = ("bound", "bound_trials", "non_decision", "inter_trial", "time_out", "reward_from")


@dataclass(frozen=True)
class Execution:
    """Where and how a run is carried out; none of this determines its results, up to rounding.

    Attributes
    ----------
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    weights : str, path-like or CordsNet, optional
        Where to take the front-end's weights from; by default what the settings name.
    bank : path-like or bool, optional
        See `cordstasks.frontend.FrontEnd`.
    bank_limit : float
        Largest size of the bank in GB.
    """

    device: str = "auto"
    weights: str | os.PathLike[str] | CordsNet | None = None
    bank: Path | str | bool | None = None
    bank_limit: float = 10.0


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


@dataclass(frozen=True)
class Prepared:
    """A checked run: all its errors have been found, and nothing has been simulated yet.

    Attributes
    ----------
    settings : VisualSettings
        With the areas and the number of inputs that the front-end has.
    task : VisualTask
        On a screen of the front-end's size.
    frontend, model : FrontEnd, MultiAreaModel
        The front-end, and the model with its initial weights.
    batches : dict of str to TrialBatch
        ``"training"``, ``"validation"`` and ``"heldout"``.
    weights : dict
        What identifies the front-end's weights, see `cordstasks.runs.recorded.weights_record`.
    machine : dict
        What results may depend on beside the settings.
    """

    settings: VisualSettings
    task: VisualTask
    frontend: FrontEnd
    model: MultiAreaModel
    batches: dict[str, TrialBatch]
    weights: dict[str, Any]
    machine: dict[str, Any]


def _refuse_without_effect(settings: VisualSettings, chosen: frozenset[str]) -> None:
    """Refuse settings of reaction times, other than their defaults, where there are none."""
    defaults = {each.name: each.default for each in fields(VisualSettings)}
    for name in OF_REACTION_TIMES:
        value = getattr(settings, name)
        if name in chosen and value != defaults[name]:
            raise InputError(
                f"{name}={value:g}: has no effect, since trials of this task are not answered while the evidence is shown; "
                "leave it out (task rdm has reaction times with reaction_time=true)"
            )


def prepare(
    settings: VisualSettings, folder: RunFolder, execution: Execution, *, chosen: frozenset[str] = frozenset()
) -> Prepared:
    """Load weights and sample the trials of a run, and check all that can be checked before hours of computing.

    Parameters
    ----------
    settings : VisualSettings
        Of the run.
    folder : RunFolder
        If the run has begun, its weights are those that it was begun with.
    execution : Execution
        Where the run is carried out.
    chosen : frozenset of str
        Settings that the caller chose, rather than the task; these are never adapted to the front-end.

    Raises
    ------
    InputError
        If a setting does not fit the task or the front-end, or the weights are not those of the run.
    """
    if folder.begun:
        chosen = frozenset(settings.names())
        network, record = recorded_network(folder, settings.frontend, execution.weights)
    else:
        task_of(settings)  # before weights are downloaded
        source = settings.frontend if execution.weights is None else execution.weights
        if isinstance(source, CordsNet):
            raise InputError("weights=a CordsNet: a run needs a file, to be continued from; save it with cordsnet.save")
        network, record = named_weights(source)
    frontend = frontend_of(settings, network, execution, exactly="areas" in chosen)
    settings = replace(settings, areas=frontend.areas).with_inputs(frontend.units, chosen="inputs" in chosen)
    task = task_of(settings, frontend.image_size)
    frontend.bin_steps(settings.dt)
    model = model_of(settings, frontend, task)
    batches = {
        "training": training_trials(settings, task),
        "validation": validation_trials(settings, task),
        "heldout": heldout_trials(settings, task),
    }
    reports.check(task, batches["heldout"])
    if not folder.begun and not reaction_times.applies(task, batches["heldout"]):
        _refuse_without_effect(settings, chosen)
    if settings.teacher:
        if not (task.stationary and len(task.actions) == 3):
            raise InputError(f"teacher=True: task {task.id} has no stationary evidence for two answers; leave it out")
        check_number(len(batches["training"]))
    return Prepared(settings, task, frontend, model, batches, record, environment(frontend.device))


def carry_out(prepared: Prepared, folder: RunFolder, *, verbose: bool = False) -> dict[str, Any]:
    """Carry out, or continue, a run; the folder must be locked.

    Parameters
    ----------
    prepared : Prepared
        From `prepare`.
    folder : RunFolder
        Where the run is, or is to be.
    verbose : bool
        Whether to print what a command prints.

    Returns
    -------
    dict
        What summary.json holds.

    Raises
    ------
    InputError
        If the folder cannot be written, holds another run, or training diverges.
    KeyboardInterrupt
        After Ctrl-C, with a checkpoint written if training had begun.
    """
    began = time.monotonic()
    settings, task, frontend, model = prepared.settings, prepared.task, prepared.frontend, prepared.model
    if folder.begun:
        note_differences(folder.config().get("environment", {}), prepared.machine)
    else:
        folder.start(settings, weights=prepared.weights, environment=prepared.machine)
    if verbose:
        print(_heading(prepared, folder), flush=True)
    clock, device = Clock(), frontend.device
    sets = {
        name: trial_set(clock.features(frontend, batch, f"front-end, {name} movies"), batch, device, task)
        for name, batch in prepared.batches.items()
    }
    engine = frontend.engine
    if verbose and engine is not None:
        print(f"front-end simulated on {device} through {engine}", flush=True)
    fitting = time.monotonic()
    teacher = _inputs(settings, model, sets["training"], folder, stationary=task.stationary)
    sets = {name: replace(trials, inputs=model.inputs(trials.inputs)) for name, trials in sets.items()}
    fitted = time.monotonic() - fitting
    trained = train(model, sets["training"], sets["validation"], settings, folder, teacher=teacher)
    clock.train = trained.pop("seconds") + fitted
    report = reports.make(
        reports.Material(
            task=task,
            model=model,
            heldout=prepared.batches["heldout"],
            trials=sets["heldout"],
            inputs=lambda batch, label: model.inputs(clock.features(frontend, batch, f"front-end, {label}").to(device)),
            rng=np.random.default_rng(_seeds(settings)["controls"]),
            folder=folder,
            settings=settings,
        )
    )
    summary = {
        "task": task.id,
        "frontend": settings.frontend,
        "weights": {**prepared.weights, "card": frontend.network.card},
        "read": {"areas": list(frontend.areas), "sides": list(frontend.sides), "features": frontend.units},
        "seed": settings.seed,
        "connectivity": settings.connectivity,
        **report,
        "training": {"trials": settings.trials, "teacher": teacher is not None, **trained},
        "bank": _cost(frontend, sets),
        "seconds": {"bank": clock.bank, "train": clock.train, "total": time.monotonic() - began},
        "memory": memory(device),
        "environment": prepared.machine,
    }
    write_json(folder.path / "summary.json", summary)
    bank = frontend.bank
    if verbose and bank is not None and bank.damaged:
        print(f"note: {bank.damaged} files of the bank were damaged, or of another version, and were computed again")
    return summary


def _heading(prepared: Prepared, folder: RunFolder) -> str:
    settings, frontend = prepared.settings, prepared.frontend
    name = frontend.network.card.get("name", "a CordsNet without a card")
    return (
        f"task {prepared.task.id}, front-end {settings.frontend} from {prepared.weights['path']}: {name}, sha256 "
        f"{frontend.digest()[:12]}, reads {frontend.describe()}\n"
        f"network: {settings.connectivity}, {settings.units} units, {settings.activation}, {settings.form} form\n"
        f"run folder {folder.path}"
    )


def _inputs(
    settings: VisualSettings, model: MultiAreaModel, seen: TrialSet, folder: RunFolder, *, stationary: bool
) -> Teacher | None:
    """As `_choose_inputs`, but for a run that goes on what it has begun with.

    Decompositions may differ in their last bits between two calls, and with them directions of nearly equal variance.
    """
    state = folder.load("checkpoint.pt", model.mean.device)
    with restoring(folder.path / "checkpoint.pt"):
        known = state is not None and "teacher" in state
    if state is None or not known:
        return _choose_inputs(settings, model, seen, stationary=stationary)
    with restoring(folder.path / "checkpoint.pt"):
        mean, projection = (state["model"][name] for name in ("mean", "projection"))
        model.normalise_by(mean, projection)
        if not settings.teacher:
            return None
        matrix = torch.as_tensor(state["teacher"]["matrix"]).to(model.mean).reshape(projection.shape[1], -1)
        return Teacher(mean, projection, matrix, tuple(int(lag) for lag in state["teacher"]["lags"]))


def _choose_inputs(settings: VisualSettings, model: MultiAreaModel, seen: TrialSet, *, stationary: bool) -> Teacher | None:
    """Fit the projection of features onto the recurrent network's inputs, and the teacher if the settings have one."""
    if settings.teacher:
        teacher = fit_teacher(seen.inputs, seen.answers == 1, seen.evidence, settings)
        model.normalise_by(teacher.mean, teacher.projection)
        return teacher
    assert settings.inputs is not None
    steps = seen.evidence if stationary else seen.inputs.index >= 0
    # streams of small signals need every direction; large components discriminate pictures best
    model.normalise_by(*principal_components(seen.inputs, steps, settings.inputs, whiten=settings.whiten))
    return None


def _cost(frontend: FrontEnd, sets: dict[str, TrialSet]) -> dict[str, Any]:
    """The cost of the front-end, for the summary."""
    cost = [trials.inputs.cost for trials in sets.values()]
    return {
        "steps_requested": sum(each.requested for each in cost),
        "steps_simulated": sum(each.simulated for each in cost),
        "plateau_error_bound": max(each.bound for each in cost),
        "step_fraction": frontend.step_fraction,
        "engine": frontend.engine,
        "megabytes": None if frontend.bank is None else frontend.bank.size() / 1e6,
    }


def _seeds(settings: VisualSettings) -> dict[str, int]:
    """A seed for each set of trials."""
    state = np.random.SeedSequence(settings.seed_of_trials).generate_state(len(SETS))
    return dict(zip(SETS, state.tolist(), strict=True))


def training_trials(settings: VisualSettings, task: VisualTask) -> TrialBatch:
    """The trials that a run of these settings learns from."""
    return task.for_training().sample(settings.trials, seed=_seeds(settings)["training"], dt=settings.dt)


def validation_trials(settings: VisualSettings, task: VisualTask) -> TrialBatch:
    """The trials by which a run of these settings chooses the best weights."""
    return task.for_training().sample(settings.validation, seed=_seeds(settings)["validation"], dt=settings.dt)


def heldout_trials(settings: VisualSettings, task: VisualTask) -> TrialBatch:
    """The trials on which a run of these settings is tested."""
    return task.for_testing().sample(settings.heldout, seed=_seeds(settings)["heldout"], dt=settings.dt)


def task_of(settings: VisualSettings, image_size: int | None = None) -> VisualTask:
    """The task of a run's settings, on a screen of `image_size` px."""
    task = tasks.get(settings.task)
    for name, value in settings.parameters.items():
        if name in signature(type(task)).parameters:
            _check_kind(task, name, value)
    display = {} if image_size is None else {"display": replace(task.display, pixels=image_size)}
    made: VisualTask = tasks.get(settings.task, **settings.parameters, **display)
    return made


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
    elif own is None or isinstance(own, str):  # only the task knows the allowed values
        return
    else:
        kind, fits = "a number", number(value) or value is None
    if not fits:
        raise InputError(f"{name}={json.dumps(value)}: give {kind}, such as {json.dumps(own)}")


def frontend_of(settings: VisualSettings, network: CordsNet, execution: Execution, *, exactly: bool = True) -> FrontEnd:
    """The front-end of a run.

    Parameters
    ----------
    settings : VisualSettings
        Of the run.
    network : CordsNet
        With the run's weights.
    execution : Execution
        Where it is carried out.
    exactly : bool
        Whether the areas must exist; otherwise they are a task's default, which a small network may lack, so that
        its last area stands in.
    """
    areas, last = settings.areas, network.depth - 1
    if areas is not None and not exactly:
        areas = tuple({min(area, last) for area in areas})
    label = None if areas is None else f"areas={' '.join(map(str, areas))}"
    return FrontEnd(
        network,
        areas=check_areas(areas, network.depth, label=label),
        side=settings.side,
        device=execution.device,
        readout=settings.readout,
        precision=settings.precision,
        bank=execution.bank,
        bank_limit=execution.bank_limit,
        tolerance=settings.tolerance,
    )


def model_of(settings: VisualSettings, frontend: FrontEnd, task: VisualTask) -> MultiAreaModel:
    """The untrained model of a run's settings."""
    if settings.inputs is None:  # config.json was edited: a run records how many it has
        raise InputError("inputs=null: the settings of this run do not say how many inputs it has; give their number")
    rnn = initial_network(settings, settings.inputs, len(task.actions), seed=settings.seed)
    return MultiAreaModel(rnn, frontend.units).to(torch.device(frontend.device))
