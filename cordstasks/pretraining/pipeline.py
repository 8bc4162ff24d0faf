"""The stages of pre-training one after the other: CNN, fold, matching, check, weights with their card."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from cordstasks import __version__
from cordstasks.cordsnet import architecture as arch
from cordstasks.cordsnet.checkpoints import load, save
from cordstasks.cordsnet.network import CordsNet, Preprocessing
from cordstasks.errors import InputError, naming, unknown
from cordstasks.pretraining.data import ImageSet, read_folder
from cordstasks.pretraining.deadline import Deadline, OutOfTime
from cordstasks.pretraining.feedforward import FeedForward, fold
from cordstasks.pretraining.presentation import Presentation, augmentation_of
from cordstasks.pretraining.protocol import check_frames, check_images
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.pretraining.stages.cnn import CnnSettings, accuracy, train_cnn
from cordstasks.pretraining.stages.equilibrium import EquilibriumSettings, SteadyNetwork, train_at_equilibrium, trainable
from cordstasks.pretraining.stages.match import MatchSettings, assemble, match_areas
from cordstasks.stimuli import Display, RandomDots, discs, random_dots
from cordstasks.utils.arguments import number, whole
from cordstasks.utils.devices import resolve
from cordstasks.utils.files import Log, write_bytes, write_json
from cordstasks.utils.interrupt import Interrupted
from cordstasks.utils.run_folder import RunFolder, environment

CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
Stage = TypeVar("Stage", CnnSettings, MatchSettings, EquilibriumSettings)


def pretrain(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    resume: bool = False,
    device: str = "auto",
    time_limit: float | None = None,
    check_images: int = 2000,
    **settings: Any,
) -> bool:
    """Make a CordsNet from image folders: all stages, in a folder of their own.

    Parameters
    ----------
    data : path-like
        A folder with train/<class>/ and test/<class>/ images.
    out : path-like
        Folder for checkpoints, log and weights.
    resume : bool
        Continue what `out` holds.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    time_limit : float, optional
        Seconds after which to stop cleanly, to be resumed.
    check_images : int
        Test images for the check under the protocol.
    **settings
        Any of `cordstasks.pretraining.settings.PretrainSettings`, such as ``depth=4``; of a resumed run, those that are
        given again must be the run's.

    Returns
    -------
    bool
        Whether it came to its end; False at the time limit.

    Raises
    ------
    InputError
        If a setting, the images or the folder cannot be used, or `out` holds a run of other settings.
    KeyboardInterrupt
        After Ctrl-C, with a checkpoint written.
    """
    check_images = whole("check_images", check_images)
    if time_limit is not None:
        time_limit = number("time_limit", time_limit, "choose a number of seconds above 0", above=0)
    unknown_names = sorted(set(settings) - set(PretrainSettings.names()))
    if unknown_names:
        raise unknown("setting", unknown_names[0], PretrainSettings.names())
    where, folder = resolve(device), RunFolder(Path(out))
    with naming({"path=": "out="}):
        if resume:
            chosen = recorded(folder)
            chosen.agree(settings, folder.path)
        else:
            chosen = PretrainSettings(**settings)
            folder.check_free()
    arch.check_depth(chosen.depth)
    arch.check_image_size(chosen.image_size)
    augmentation_of(chosen.augmentation)
    deadline = Deadline(time_limit)
    again = f"python -m cordstasks.pretrain --resume --data {data} --out {out}"
    with folder.lock():
        folder.tidy()
        try:
            _pretrain(chosen, Path(data), folder, where, deadline, check_images)
        except OutOfTime:
            print(f"stopped at the time limit; this continues: {again}")
            return False
        except KeyboardInterrupt as stop:
            if not folder.begun:
                raise
            raise Interrupted(again) from stop
    return True


def recorded(folder: RunFolder) -> PretrainSettings:
    """The settings of the pre-training that a folder holds.

    Raises
    ------
    InputError
        If it holds none, or settings that lack something or were damaged.
    """
    config = folder.config()
    if config.get("family") != PretrainSettings.FAMILY:
        raise InputError(f"path={folder.path}: holds no pre-training of this version; choose another folder")
    return PretrainSettings.from_dict(config, str(folder.path / "config.json"))


def _pretrain(
    settings: PretrainSettings, data: Path, folder: RunFolder, device: torch.device, deadline: Deadline, checks: int
) -> None:
    out = folder.path
    train, test = _read_images(data)
    train, test = train.subset(settings.train_images).to(device), test.to(device)
    preprocessing = Preprocessing(CIFAR10_MEAN, CIFAR10_STD)
    presentation = Presentation(
        settings.image_size,
        preprocessing.mean,
        preprocessing.std,
        classes=len(train.classes),
        device=device,
        augmentation=augmentation_of(settings.augmentation),
    )

    torch.manual_seed(settings.seed)
    cnn = FeedForward(settings.depth, classes=len(train.classes)).to(device)
    if settings.init is not None:
        _start_from(cnn, Path(settings.init))
    if not folder.begun:
        folder.start(settings, environment=environment(device))
    with fast_convolutions(device):
        steady, equilibrium = _train(settings, data, cnn, train, test, presentation, folder, deadline)

        def steady_logits(images: Tensor) -> Tensor:
            with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.bfloat16):
                rates = steady.rates(presentation.test(images), equilibrium)[0]
            return steady.logits(rates)

        result: dict[str, Any] = {
            "cnn": accuracy(lambda x: cnn(presentation.test(x)), test, label="CNN on all test images"),
            "steady": accuracy(steady_logits, test, label="steady states of all test images"),
        }
    print(f"CNN {result['cnn']:.2%}, steady states {result['steady']:.2%} of {len(test)} test images")
    network = CordsNet(
        settings.depth, classes=len(train.classes), image_size=settings.image_size, preprocessing=preprocessing
    )
    assemble(network, steady.folded, steady.areas, steady.readout)
    weights = out / f"cordsnet-r{settings.depth}.safetensors"
    save(network, weights, half=True)
    network = load(weights, map_location=device)  # what is checked is what is shipped: the rounded weights
    checked = test.subset(checks)
    result["protocol"] = check_images(network, checked, batch=50 if device.type == "cpu" else 500)
    result["protocol"]["cnn"] = accuracy(lambda x: cnn(presentation.test(x)), checked)
    result["frames"] = check_frames(network, task_frames(settings.image_size))
    network.card = _card(settings, data, train, test, result)
    save(network, weights, half=True)
    write_json(out / "summary.json", {"command": network.card["command"], **result})
    folder.log.write(result)
    _report(result, weights)


def _train(
    settings: PretrainSettings,
    data: Path,
    cnn: FeedForward,
    train: ImageSet,
    test: ImageSet,
    presentation: Presentation,
    folder: RunFolder,
    deadline: Deadline,
) -> tuple[SteadyNetwork, EquilibriumSettings]:
    """The stages that train: CNN, folding, matching, and the whole network at equilibrium."""
    out, cnn_settings = folder.path, _stage(CnnSettings, settings, "cnn_")
    train_cnn(cnn, train, test, presentation, cnn_settings, out / "cnn.pt", Log(out / "cnn.jsonl"), deadline=deadline)
    weights = {name: value.contiguous() for name, value in cnn.state_dict().items()}
    content = to_bytes(weights, metadata={"command": _command(settings, data), "start": _start(settings)})
    write_bytes(out / "cnn.safetensors", content)  # what another run can start from with --init
    folded = fold(cnn.to(memory_format=torch.contiguous_format), settings.image_size)  # type: ignore[call-overload]

    matching = _stage(MatchSettings, settings, "match_")
    logs = {name: Log(out / f"{name}.jsonl") for name in ("matching", "equilibrium")}
    areas = match_areas(folded, train, presentation, matching, out / "matching.pt", logs["matching"], deadline=deadline)

    equilibrium = _stage(EquilibriumSettings, settings, "equilibrium_")
    steady = trainable(folded, areas, cnn.readout)
    if equilibrium.epochs:
        state = out / "equilibrium.pt"
        train_at_equilibrium(
            steady, cnn, train, test, presentation, equilibrium, state, logs["equilibrium"], deadline=deadline
        )
    return steady, equilibrium


def _stage(kind: type[Stage], settings: PretrainSettings, prefix: str) -> Stage:
    """The settings of one stage, whose names have a prefix among all."""
    own = {name.removeprefix(prefix): getattr(settings, name) for name in settings.names() if name.startswith(prefix)}
    return kind(**own, seed=settings.seed, bfloat16=settings.bfloat16)


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


def task_frames(pixels: int) -> dict[str, NDArray[np.uint8]]:
    """Frames that tasks show, uint8 (pixels, pixels, 1): black, a spot, and random dots."""
    display = Display(pixels=pixels)
    dots = random_dots(RandomDots(0.5, 0.0), display, duration_ms=display.frame_ms, rng=np.random.default_rng(0))
    return {
        "black": np.zeros((pixels, pixels, 1), np.uint8),
        "spot": discs(display, 0.0, 0.0, 0.5),
        "dots": dots.frames[0],
    }


def _read_images(folder: Path) -> tuple[ImageSet, ImageSet]:
    for part in ("train", "test"):
        if not (folder / part).is_dir():
            raise InputError(f"data={folder}: has no folder {part}/; expected train/<class>/ and test/<class>/")
    print(f"reading {folder}", flush=True)
    train, test = read_folder(folder / "train"), read_folder(folder / "test")
    if train.classes != test.classes:
        raise InputError(f"data={folder}: train/ and test/ have different classes")
    return train, test


def _start_from(cnn: FeedForward, path: Path) -> None:
    try:
        state = {name: value.float() for name, value in load_file(path).items()}
        missing, unexpected = cnn.load_state_dict(state, strict=False)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"init={path}: not a CNN of this depth and these classes ({reason})") from error
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise InputError(f"init={path}: tensors missing {missing[:3]}, not known {unexpected[:3]}")


def _command(settings: PretrainSettings, data: Path) -> str:
    """The command that made the weights, without where its data and results were."""
    given = [
        f"--{each.name.replace('_', '-')} {Path(value).name if each.name == 'init' else value}"
        for each in fields(settings)
        if (value := getattr(settings, each.name)) is not None
    ]
    return f"python -m cordstasks.pretrain --data {data.name} {' '.join(given)}"


def _start(settings: PretrainSettings) -> str:
    if settings.init is None:
        return "random weights"
    with safe_open(settings.init, framework="pt") as file:
        metadata = file.metadata() or {}
    return f"{Path(settings.init).name} ({'; '.join(f'{name}: {value}' for name, value in metadata.items())})"


def _card(settings: PretrainSettings, data: Path, train: ImageSet, test: ImageSet, result: dict[str, Any]) -> dict[str, Any]:
    protocol = result["protocol"]
    return {
        "name": f"CordsNet-R{settings.depth}, {settings.image_size} px",
        "architecture": "CordsNet (Soo, Battista, Radmard & Wang, NeurIPS 2024), trained by cordstasks",
        "cordstasks": __version__,
        "data": f"{len(train)} training and {len(test)} test images of {len(train.classes)} classes, from the folder "
        f"{data.resolve().name}, resized to {settings.image_size} px; of their values from 0 to 1 the mean "
        f"{CIFAR10_MEAN} is subtracted, and the rest is divided by {CIFAR10_STD}",
        "classes": list(train.classes),
        "origin": f"CNN started from {_start(settings)}; trained, folded, then matched area by area to the CNN's activity",
        "command": _command(settings, data),
        "accuracy": {
            "protocol": protocol["accuracy"],
            "images": protocol["images"],
            "cnn_on_the_same_images": protocol["cnn"],
            "cnn_on_all_test_images": result["cnn"],
            "steady_states_on_all_test_images": result["steady"],
        },
        "return_200_ms_after_image": protocol["return"],
        "limits": f"trained on images of {len(train.classes)} classes; not a model of any subject; responses to others "
        "are unvalidated except for the frames of the tasks in this package",
    }


def _report(result: dict[str, Any], weights: Path) -> None:
    protocol = result["protocol"]
    times = ", ".join(f"{share:.2%} at {ms} ms" for ms, share in protocol["accuracy"].items())
    print(f"protocol ({protocol['images']} test images): {times}; CNN {protocol['cnn']:.2%}")
    worst = {"images": max(protocol["return"]), **{name: max(left) for name, left in result["frames"].items()}}
    print("distance left 200 ms after: " + ", ".join(f"{name} {left:.2%}" for name, left in worst.items()) + " at most")
    print(f"weights: {weights} ({weights.stat().st_size / 1e6:.1f} MB)", file=sys.stdout)
