"""Pre-training as one function: the stages alone or in a row, in a folder of their own."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from cordstasks.cordsnet import architecture as arch
from cordstasks.errors import InputError, naming, unknown
from cordstasks.pretraining.card import command_of
from cordstasks.pretraining.context import Context
from cordstasks.pretraining.data import kept_out
from cordstasks.pretraining.datasets import Pair, read_dataset
from cordstasks.pretraining.deadline import Deadline, OutOfTime
from cordstasks.pretraining.effects import check_recipe, check_used
from cordstasks.pretraining.presentation import Presentation, augmentation_of
from cordstasks.pretraining.processes import Processes
from cordstasks.pretraining.settings import STAGES, PretrainSettings
from cordstasks.utils.arguments import number
from cordstasks.utils.devices import resolve
from cordstasks.utils.files import write_json
from cordstasks.utils.interrupt import Interrupted
from cordstasks.utils.run_folder import RunFolder, environment, note_differences

__all__ = ["in_a_row", "pretrain", "recorded", "stage_seconds"]


def pretrain(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    stage: str = "all",
    recipe: str | None = None,
    resume: bool = False,
    download: bool = False,
    device: str = "auto",
    time_limit: float | None = None,
    **settings: Any,
) -> bool:
    """Make a CordsNet from images: one stage, or all of them, in a folder of their own.

    Parameters
    ----------
    data : path-like
        Where the images are, see `cordstasks.pretraining.datasets.read_dataset`.
    out : path-like
        Folder for checkpoints, logs and weights.
    stage : str
        One of `cordstasks.pretraining.settings.STAGES`, which reads what earlier ones have left in `out`; or ``"all"``.
    recipe : str, optional
        Defaults of the settings: ``"laptop"``, or ``"paper"`` for the paper's numbers; by default ``"laptop"``, or what
        `out` was begun with.
    resume : bool
        Continue what `out` holds.
    download : bool
        Fetch a data set that is missing.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    time_limit : float, optional
        Seconds after which to stop cleanly, to be resumed.
    **settings
        Any of `cordstasks.pretraining.settings.PretrainSettings`, such as ``depth=4``; of a folder that holds a run, those
        that are given again must be the run's, unless they belong to a stage that it has not begun.

    Returns
    -------
    bool
        Whether it came to its end; False at the time limit.

    Raises
    ------
    InputError
        If a setting, the images or the folder cannot be used, `out` holds a run of other settings, or a stage that is
        needed has not been run.
    KeyboardInterrupt
        After Ctrl-C, with a checkpoint written.
    """
    if stage not in (*STAGES, "all"):
        raise unknown("stage", stage, (*STAGES, "all"))
    if time_limit is not None:
        time_limit = number("time_limit", time_limit, "choose a number of seconds above 0", above=0)
    processes = Processes(resolve(device))
    where, folder, data = processes.device, RunFolder(Path(out)), Path(data)
    with naming({"path=": "out="}):
        chosen, before = _settings(folder, stage, resume, recipe, settings)
    arch.check_depth(chosen.depth)
    arch.check_image_size(chosen.image_size)
    augmentation_of(chosen.augmentation, chosen.dataset)
    deadline = Deadline(time_limit)
    again = f"python -m cordstasks.pretrain --resume --stage {stage} --data {data} --out {out}"
    begun = folder.begun
    processes.wait()  # all have seen what the folder holds before one of them writes there
    with folder.lock() if processes.main else contextlib.nullcontext():
        try:
            if processes.main:
                folder.tidy()
            print(f"reading {data}", flush=True)
            images = _images(data, chosen, download, where)
            context = _context(chosen, images, folder, deadline, command_of(chosen, data), processes)
            _check_start(context, stage)
            now = environment(where)
            if before is not None:
                note_differences(before.get("environment", {}), now)
            if processes.main and not begun:
                folder.start(chosen, environment=now)
            elif processes.main and before is not None:
                write_json(folder.path / "config.json", {**before, **chosen.as_dict()})
            processes.wait()
            with fast_convolutions(where):
                for each in in_a_row(chosen, stage):
                    _run(context, each, data)
        except OutOfTime:
            print(f"stopped at the time limit; this continues: {again}")
            return False
        except KeyboardInterrupt as stop:
            if not folder.begun:
                raise
            raise Interrupted(again) from stop
    processes.close()
    return True


def in_a_row(settings: PretrainSettings, stage: str = "all") -> tuple[str, ...]:
    """The stages that a name stands for, in order; those without epochs are left out of ``"all"``.

    Returns
    -------
    tuple of str
        Names of stages.
    """
    if stage != "all":
        return (stage,)
    trained = ("linear", "anneal", "finetune") if settings.match == "linear" else ("equilibrium",)
    chosen = [name for name in trained if getattr(settings, f"{name}_epochs") or name in ("linear", "anneal")]
    return ("cnn", "fold", "match", *chosen, "check")


def recorded(folder: RunFolder) -> PretrainSettings:
    """The settings of the pre-training that a folder holds.

    Returns
    -------
    PretrainSettings

    Raises
    ------
    InputError
        If it holds none, or settings that lack something or were damaged.
    """
    config = folder.config()
    if config.get("family") != PretrainSettings.FAMILY:
        raise InputError(f"path={folder.path}: holds no pre-training of this version; choose another folder")
    return PretrainSettings.from_dict(config, str(folder.path / "config.json"))


def _settings(
    folder: RunFolder, stage: str, resume: bool, recipe: str | None, given: dict[str, Any]
) -> tuple[PretrainSettings, dict[str, Any] | None]:
    """The settings to work with, and the folder's config.json, if there is one."""
    fresh = PretrainSettings.of(given, recipe or "laptop")
    if not folder.begun:
        check_used(fresh, given, recipe or "laptop")
        if resume:
            folder.config()
        return fresh, None
    begun = {name for name in STAGES if any((folder.path / f"{name}.{end}").exists() for end in ("pt", "safetensors"))}
    if not resume and (stage == "all" or stage in begun):
        folder.check_free()
    before = recorded(folder)
    if recipe is not None:
        check_recipe(recipe, before, given, folder.path)
    return before.changed(given, begun, folder.path), folder.config()


def _images(data: Path, settings: PretrainSettings, download: bool, device: torch.device) -> Pair:
    pair = read_dataset(data, settings, download=download)
    train: Any = pair.train.subset(settings.train_images)
    test: Any = pair.test
    if settings.validation_images is not None:
        train, test = kept_out(train, settings.validation_images)
    if device.type != "cpu":
        train, test = (images.to(device) if hasattr(images, "to") else images for images in (train, test))
    return Pair(train, test, pair.preprocessing, pair.broken)


def _context(
    settings: PretrainSettings, images: Pair, folder: RunFolder, deadline: Deadline, command: str, processes: Processes
) -> Context:
    presentation = Presentation(
        settings.image_size,
        images.preprocessing.mean,
        images.preprocessing.std,
        classes=len(images.train.classes),
        device=processes.device,
        augmentation=augmentation_of(settings.augmentation, settings.dataset),
    )
    return Context(settings, images, presentation, folder, processes.device, deadline, command, processes)


def _check_start(context: Context, stage: str) -> None:
    """Find out before a run begins that it could not."""
    first = in_a_row(context.settings, stage)[0]
    if first == "cnn" and context.settings.init is not None:
        from cordstasks.pretraining.stages.cnn import started_cnn

        started_cnn(context)
    needs = _module(first).NEEDS
    if needs:
        context.require(first, *needs)


def _module(stage: str) -> Any:
    return import_module(f"cordstasks.pretraining.stages.{stage}")


def _run(context: Context, stage: str, data: Path) -> None:
    if stage != "check" and context.result(stage).exists():
        print(f"{stage}: done before")
        return
    start = time.perf_counter()
    try:
        if stage != "check":
            _module(stage).run(context)
        elif context.processes.main:
            _module(stage).run(context, data)
        context.processes.wait()
    finally:  # of a stage that is stopped and continued, each part has a row
        seconds = time.perf_counter() - start
        if context.processes.main:
            context.folder.log.write({"stage": stage, "seconds": seconds})
            print(f"{stage}: {seconds:.0f} s", flush=True)


def stage_seconds(folder: str | os.PathLike[str]) -> dict[str, float]:
    """The seconds that each stage of a run took, those of a stopped and continued stage added up.

    Parameters
    ----------
    folder : path-like
        Of the run.

    Returns
    -------
    dict of str to float
        By stage, in the order in which they ran.
    """
    seconds: dict[str, float] = {}
    for row in RunFolder(Path(folder)).log.rows("seconds"):
        seconds[row["stage"]] = seconds.get(row["stage"], 0.0) + row["seconds"]
    return seconds


@contextlib.contextmanager
def fast_convolutions(device: torch.device) -> Iterator[None]:
    """On CUDA, let cuDNN try its algorithms and use TF32 while networks are trained."""
    if device.type != "cuda":
        yield
        return
    flags = {"benchmark": True, "allow_tf32": True}
    before = {name: getattr(torch.backends.cudnn, name) for name in flags}
    try:
        for name, value in flags.items():
            setattr(torch.backends.cudnn, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(torch.backends.cudnn, name, value)
