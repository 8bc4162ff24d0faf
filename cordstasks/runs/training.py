"""Train on a visual or an abstract task: what ``python -m cordstasks.train`` does, as a function."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cordstasks import reports, tasks
from cordstasks.analysis.psychophysics.observers import Observer, read_observers
from cordstasks.cordsnet import pretrained
from cordstasks.cordsnet.network import CordsNet
from cordstasks.errors import InputError, naming, unknown
from cordstasks.reports import observers
from cordstasks.reports.random_dots import beside
from cordstasks.runs import abstract, visual
from cordstasks.runs.loading import TrainedNetworks, TrainedRun, load_run
from cordstasks.runs.page import write_report
from cordstasks.runs.recorded import recorded_network, recorded_settings
from cordstasks.training.settings import ABSTRACT_QUICK, AbstractSettings, VisualSettings
from cordstasks.utils.arguments import path_of, shown
from cordstasks.utils.devices import resolve
from cordstasks.utils.files import absolute, read_json
from cordstasks.utils.folders import family_of
from cordstasks.utils.interrupt import Interrupted
from cordstasks.utils.run_folder import RunFolder, unfinished_folder

__all__ = ["train"]


def train(
    task: str | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    quick: bool = False,
    device: str = "auto",
    weights: str | os.PathLike[str] | CordsNet | None = None,
    bank: Path | str | bool | None = None,
    bank_limit: float = 10.0,
    monkey: str | os.PathLike[str] | None = None,
    report: bool = False,
    verbose: bool = False,
    **settings: Any,
) -> TrainedRun | TrainedNetworks:
    """Train on a task, test what was trained, and write everything into a run folder.

    Parameters
    ----------
    task : str, optional
        Name of a visual or an abstract task, or the path of a file that registers one. A resumed run knows its own.
    out : path-like, optional
        The run's folder; by default the next of runs/TASK-001, -002, ..., and for a resumed run the last unfinished one.
    resume : bool
        Continue the run in `out`; settings that are given again must be those of the run.
    quick : bool
        A small run, to see the whole way.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    weights : path-like, optional
        Of visual tasks: file of the front-end's weights.
    bank, bank_limit : path-like or bool, float
        Of visual tasks: see `cordstasks.frontend.FrontEnd`.
    monkey : path-like, optional
        Of random-dot motion: a CSV table of animals' choices (see `cordstasks.analysis.psychophysics.read_observers`), whose
        accuracy is drawn beside the model's in ``observers.png``. If the run and the table have reaction times, these are
        drawn as well, and what the fits found is written into ``observers.json``.
    report : bool
        Write ``report.html`` into the folder: results, figures, settings and versions in one file.
    verbose : bool
        Print what a command prints.
    **settings
        Any of `cordstasks.training.settings.VisualSettings` or, for an abstract task, of `AbstractSettings`, such as
        ``seed=1``, ``connectivity="lowrank"``, ``rank=8`` or ``parameters={"motion": 1000}``.

    Returns
    -------
    TrainedRun or TrainedNetworks
        The finished run, as `cordstasks.load_run` gives it.

    Raises
    ------
    InputError
        If there is no such task, a setting is not possible, the folder holds another run or cannot be written, or the
        weights are not those that a resumed run was begun with.
    KeyboardInterrupt
        After Ctrl-C; ``resume=True`` continues the run from its last checkpoint.
    """
    execution = visual.Execution(device, weights, bank, bank_limit)
    with naming({"path=": "out="}):
        folder = carry_out(
            task, settings, execution, out=out, resume=resume, quick=quick, monkey=monkey, report=report, verbose=verbose
        )
    return load_run(folder.path, weights, device=device, bank=bank)


def carry_out(
    task: str | None,
    settings: Mapping[str, Any],
    execution: visual.Execution,
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    quick: bool = False,
    monkey: str | os.PathLike[str] | None = None,
    report: bool = False,
    verbose: bool = False,
) -> RunFolder:
    """Carry out or continue a run of either family, see `train`; returns its folder."""
    out = None if out is None else path_of("out", out)
    if resume:
        # a run's folder bears the id of its task, also if that is given as a file
        wanted = tasks.get(task).id if out is None and task is not None and str(task).endswith(".py") else task
        folder = RunFolder(out if out is not None else unfinished_folder(wanted))
        is_abstract = family_of(folder.path) == AbstractSettings.FAMILY
    else:
        if task is None:
            raise InputError("task=None: name one, such as task='rdm'")
        made = tasks.get(task)
        is_abstract = isinstance(made, tasks.AbstractTask)
        folder = RunFolder(out if out is not None else Path("runs") / made.id, numbered=out is None)
        folder.check_free()
    given = _settled(task, settings)
    for name, value in (("weights", execution.weights), ("bank", execution.bank)) if is_abstract else ():
        if value is not None:
            raise InputError(f"{name}={shown(value)}: goes with visual tasks, which have a front-end; leave it out")
    animals = None if monkey is None else _animals(monkey, folder.config()["task"] if resume else made.id)
    try:
        if is_abstract:
            _abstract(given, folder, execution, resume=resume, quick=quick, verbose=verbose)
        else:
            _visual(given, folder, execution, resume=resume, quick=quick, verbose=verbose)
    except KeyboardInterrupt as stop:
        if not folder.begun:
            raise
        raise Interrupted(f"python -m cordstasks.train --resume --out {folder.path}") from stop
    if animals is not None:
        summary = read_json(folder.path / "summary.json")
        if observers.comparable(folder.path, animals):
            rows = observers.beside(folder.path, animals)
            lines = [line for row in rows for line in observers.observer_lines(row["observer"], row)]
        else:
            lines = [_observer_line(row) for row in beside(summary, animals, folder.path)]
        if verbose:
            print("\n".join(lines))
    if report:
        written = write_report(folder.path)
        if verbose:
            print(f"report {written}")
    return folder


def _animals(path: str | os.PathLike[str], task: str) -> list[Observer]:
    """The animals of a table; the table is read before anything is computed."""
    table = path_of("monkey", path)
    if task != "rdm":
        raise InputError(f"monkey={path}: goes with task rdm, not {task}; leave it out")
    with naming({"path=": "monkey="}):
        return read_observers(table)


def _observer_line(row: Mapping[str, Any]) -> str:
    if row["threshold"] is None or "threshold" in row["at_bound"]:
        return f"{row['observer']}: {row['trials']} trials, no threshold"
    ends = row["threshold_interval"]
    interval = "" if ends is None else f" ({ends[0]:.3f} to {ends[1]:.3f})"
    return f"{row['observer']}: threshold {row['threshold']:.3f}{interval} in {row['trials']} trials"


def _settled(task: str | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with absolute paths, so that a run can be continued and loaded from any working directory."""
    given = dict(settings)
    if task is not None:
        given["task"] = absolute(task) if str(task).endswith(".py") else task
    frontend = given.get("frontend")
    if isinstance(frontend, str | os.PathLike) and frontend not in pretrained.names():
        given["frontend"] = absolute(frontend) if Path(frontend).expanduser().is_file() else frontend
    parameters = given.get("parameters")
    if isinstance(parameters, Mapping) and parameters.get("stimuli_dir") is not None:
        given["parameters"] = {**parameters, "stimuli_dir": absolute(path_of("stimuli_dir", parameters["stimuli_dir"]))}
    return given


def _check_names(given: Mapping[str, Any], kind: type[VisualSettings] | type[AbstractSettings]) -> None:
    for name in given:
        if name not in kind.names():
            raise unknown(f"setting of a run of the {kind.FAMILY} family", name, kind.names())


def _check_quick(
    settings: VisualSettings | AbstractSettings, small: Mapping[str, Any], given: Mapping[str, Any], folder: RunFolder
) -> None:
    """Raise an InputError if a run that is resumed was not begun with the settings `small` of quick runs."""
    try:
        settings.agree({name: value for name, value in small.items() if name not in given}, folder.path)
    except InputError as error:
        raise InputError(
            f"quick=True: has no effect, since the run in {folder.path} was begun with settings of its own; leave it out"
        ) from error


def _visual(
    given: dict[str, Any], folder: RunFolder, execution: visual.Execution, *, resume: bool, quick: bool, verbose: bool
) -> None:
    _check_names(given, VisualSettings)
    if resume:
        settings = recorded_settings(folder, VisualSettings)
        settings.agree(given, folder.path)
        if quick:
            _check_quick(settings, tasks.get(settings.task).quick_defaults, given, folder)
        if folder.finished and execution.weights is not None:
            recorded_network(folder, settings.frontend, execution.weights)
    else:
        settings = VisualSettings.new(**{**given, "quick": quick})
    prepared = None
    if not folder.begun:  # an impossible run is refused before it has a folder
        prepared = visual.prepare(settings, folder, execution, chosen=frozenset(given))
    if not folder.finished:
        with folder.lock():
            if not folder.finished:  # another process may have finished it in the meantime
                folder.tidy()
                visual.carry_out(prepared or visual.prepare(settings, folder, execution), folder, verbose=verbose)
                resume = False
    if verbose:
        _show(folder, reports.table(folder.path / "summary.json"), before=resume)


def _abstract(
    given: dict[str, Any], folder: RunFolder, execution: visual.Execution, *, resume: bool, quick: bool, verbose: bool
) -> None:
    _check_names(given, AbstractSettings)
    if resume:
        settings = recorded_settings(folder, AbstractSettings)
        settings.agree(given, folder.path)
        if quick:
            _check_quick(settings, ABSTRACT_QUICK, given, folder)
    else:
        settings = AbstractSettings.new(**{**given, "quick": quick})
    device = resolve(execution.device)
    finished = folder.finished
    if not finished:
        with folder.lock(), tqdm(total=settings.steps, desc="training", unit="batch", leave=False) as bar:
            if verbose:
                names = f"{settings.connectivity}, {settings.units} units, {settings.activation}, {settings.form} form"
                print(f"task {settings.task}, {len(settings.seeds)} networks: {names}")
                print(f"run folder {folder.path}", flush=True)
            abstract.carry_out(settings, folder, device, resume=resume, bar=bar)
    if verbose:
        _show(folder, abstract.table(folder.path), before=finished)


def _show(folder: RunFolder, table: str, *, before: bool) -> None:
    """Print the table of a finished run, and whether it was finished before."""
    print(f"{folder.path}: this run is finished\n{table}" if before else table)
