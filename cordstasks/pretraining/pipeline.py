"""The stages of pre-training one after the other: CNN, fold, matching, check, weights with their card."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
from cordstasks.errors import InputError
from cordstasks.pretraining.data import ImageSet, read_folder
from cordstasks.pretraining.deadline import Deadline, OutOfTime
from cordstasks.pretraining.feedforward import FeedForward, fold
from cordstasks.pretraining.presentation import Presentation, augmentation_of
from cordstasks.pretraining.protocol import check_frames, check_images
from cordstasks.pretraining.stages.cnn import CnnSettings, accuracy, train_cnn
from cordstasks.pretraining.stages.equilibrium import EquilibriumSettings, SteadyNetwork, train_at_equilibrium, trainable
from cordstasks.pretraining.stages.match import MatchSettings, assemble, match_areas
from cordstasks.stimuli import Display, RandomDots, discs, random_dots
from cordstasks.utils.devices import resolve
from cordstasks.utils.files import Log, read_json, writable_folder, write_bytes, write_json

CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
# options that may differ between a run and its continuation
FREE = {"resume", "out", "data", "check_images", "device", "time_limit"}
SMALLEST = {
    "cnn_epochs": 0,
    "cnn_batch": 1,
    "match_steps": 3,
    "equilibrium_epochs": 0,
    "equilibrium_batch": 1,
    "check_images": 1,
    "train_images": 2,
}
POSITIVE = ("cnn_learning_rate", "match_learning_rate", "equilibrium_learning_rate")
UNFINISHED = 75  # exit status at the time limit: "temporary failure, try again", which queues understand


def pretrain(options: argparse.Namespace) -> int:
    """Run all stages, continuing from what `options.out` holds if `options.resume`; returns the exit status."""
    deadline = Deadline(options.time_limit)
    try:
        return _pretrain(options, deadline)
    except OutOfTime:
        print(f"stopped at the time limit; this continues: {_command(options)} --resume --out {options.out}")
        return UNFINISHED


def _pretrain(options: argparse.Namespace, deadline: Deadline) -> int:
    arch.check_depth(options.depth)
    arch.check_image_size(options.image_size)
    _check_numbers(options)
    device = resolve(options.device)
    augmentation = augmentation_of(options.augmentation)
    out, config = _check_folder(options)
    train, test = _read_images(options.data)
    train, test = train.subset(options.train_images).to(device), test.to(device)
    preprocessing = Preprocessing(CIFAR10_MEAN, CIFAR10_STD)
    presentation = Presentation(
        options.image_size,
        preprocessing.mean,
        preprocessing.std,
        classes=len(train.classes),
        device=device,
        augmentation=augmentation,
    )
    half = options.precision == "bfloat16"
    log = Log(out / "metrics.jsonl")

    torch.manual_seed(options.seed)
    cnn = FeedForward(options.depth, classes=len(train.classes)).to(device)
    if options.init is not None:
        _start_from(cnn, options.init)
    write_json(out / "config.json", config)  # from here on the folder holds a run
    with fast_convolutions(device):
        steady, settings = _train(options, cnn, train, test, presentation, out, deadline)

        def steady_logits(images: Tensor) -> Tensor:
            with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
                rates = steady.rates(presentation.test(images), settings)[0]
            return steady.logits(rates)

        result: dict[str, Any] = {
            "cnn": accuracy(lambda x: cnn(presentation.test(x)), test, label="CNN on all test images"),
            "steady": accuracy(steady_logits, test, label="steady states of all test images"),
        }
    print(f"CNN {result['cnn']:.2%}, steady states {result['steady']:.2%} of {len(test)} test images")
    network = CordsNet(options.depth, classes=len(train.classes), image_size=options.image_size, preprocessing=preprocessing)
    assemble(network, steady.folded, steady.areas, steady.readout)
    weights = out / f"cordsnet-r{options.depth}.safetensors"
    save(network, weights, half=True)
    network = load(weights, map_location=device)  # what is checked is what is shipped: the rounded weights
    checked = test.subset(options.check_images)
    result["protocol"] = check_images(network, checked, batch=50 if device.type == "cpu" else 500)
    result["protocol"]["cnn"] = accuracy(lambda x: cnn(presentation.test(x)), checked)
    result["frames"] = check_frames(network, task_frames(options.image_size))
    network.card = _card(options, train, test, result)
    save(network, weights, half=True)
    write_json(out / "summary.json", {"command": network.card["command"], **result})
    log.write(result)
    _report(result, weights)
    return 0


def _train(
    options: argparse.Namespace,
    cnn: FeedForward,
    train: ImageSet,
    test: ImageSet,
    presentation: Presentation,
    out: Path,
    deadline: Deadline,
) -> tuple[SteadyNetwork, EquilibriumSettings]:
    """The stages that train: CNN, folding, matching, and the whole network at equilibrium."""
    half = options.precision == "bfloat16"
    cnn_settings = CnnSettings(
        epochs=options.cnn_epochs,
        batch=options.cnn_batch,
        learning_rate=options.cnn_learning_rate,
        seed=options.seed,
        bfloat16=half,
    )
    train_cnn(cnn, train, test, presentation, cnn_settings, out / "cnn.pt", Log(out / "cnn.jsonl"), deadline=deadline)
    weights = {name: value.contiguous() for name, value in cnn.state_dict().items()}
    content = to_bytes(weights, metadata={"command": _command(options), "start": _start(options)})
    write_bytes(out / "cnn.safetensors", content)  # what another run can start from with --init
    folded = fold(cnn.to(memory_format=torch.contiguous_format), options.image_size)  # type: ignore[call-overload]

    matching = MatchSettings(
        steps=options.match_steps, learning_rate=options.match_learning_rate, seed=options.seed, bfloat16=half
    )
    logs = {name: Log(out / f"{name}.jsonl") for name in ("matching", "equilibrium")}
    areas = match_areas(folded, train, presentation, matching, out / "matching.pt", logs["matching"], deadline=deadline)

    settings = EquilibriumSettings(
        epochs=options.equilibrium_epochs,
        batch=options.equilibrium_batch,
        learning_rate=options.equilibrium_learning_rate,
        seed=options.seed,
        bfloat16=half,
    )
    steady = trainable(folded, areas, cnn.readout)
    if settings.epochs:
        state = out / "equilibrium.pt"
        train_at_equilibrium(steady, cnn, train, test, presentation, settings, state, logs["equilibrium"], deadline=deadline)
    return steady, settings


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


def _check_numbers(options: argparse.Namespace) -> None:
    for name, smallest in SMALLEST.items():
        value = getattr(options, name)
        if value is not None and value < smallest:
            raise InputError(f"--{name.replace('_', '-')} {value}: choose at least {smallest}")
    if options.time_limit is not None and not 0 < options.time_limit < math.inf:
        raise InputError(f"--time-limit {options.time_limit:g}: choose a number of seconds above 0")
    for name in POSITIVE:
        if not 0 < getattr(options, name) < math.inf:
            raise InputError(f"--{name.replace('_', '-')} {getattr(options, name)}: choose a number above 0")


def _check_folder(options: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    """The run's folder and its settings, which must be those of the run that the folder holds if that is resumed."""
    out = writable_folder(options.out, "out")
    config = {name: value for name, value in vars(options).items() if name not in FREE}
    config = {name: str(value) if isinstance(value, Path) else value for name, value in config.items()}
    path = out / "config.json"
    if path.exists():
        if not options.resume:
            raise InputError(f"--out {out}: holds another run; choose another folder, or continue it with --resume")
        earlier = read_json(path)
        for name, value in config.items():
            if earlier.get(name) != value:
                flag = "--" + name.replace("_", "-")
                raise InputError(f"{flag} {value}: the run in {out} has {earlier.get(name)}; give that, or a new --out")
    elif options.resume:
        raise InputError(f"--resume: {out} holds no run (no config.json); start one without --resume")
    return out, config


def _read_images(folder: Path) -> tuple[ImageSet, ImageSet]:
    for part in ("train", "test"):
        if not (folder / part).is_dir():
            raise InputError(f"--data {folder}: has no folder {part}/; expected train/<class>/ and test/<class>/")
    print(f"reading {folder}", flush=True)
    train, test = read_folder(folder / "train"), read_folder(folder / "test")
    if train.classes != test.classes:
        raise InputError(f"--data {folder}: train/ and test/ have different classes")
    return train, test


def _start_from(cnn: FeedForward, path: Path) -> None:
    try:
        state = {name: value.float() for name, value in load_file(path).items()}
        missing, unexpected = cnn.load_state_dict(state, strict=False)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--init {path}: not a CNN of this depth and these classes ({reason})") from error
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise InputError(f"--init {path}: tensors missing {missing[:3]}, not known {unexpected[:3]}")


def _command(options: argparse.Namespace) -> str:
    given = " ".join(
        f"--{name.replace('_', '-')} {Path(value).name if isinstance(value, Path) else value}"
        for name, value in vars(options).items()
        if name not in {"resume", "out", "check_images", "device", "time_limit"} and value is not None
    )
    return f"python -m cordstasks.pretrain {given}"


def _start(options: argparse.Namespace) -> str:
    if options.init is None:
        return "random weights"
    with safe_open(options.init, framework="pt") as file:
        metadata = file.metadata() or {}
    return f"{options.init.name} ({'; '.join(f'{name}: {value}' for name, value in metadata.items())})"


def _card(options: argparse.Namespace, train: ImageSet, test: ImageSet, result: dict[str, Any]) -> dict[str, Any]:
    protocol = result["protocol"]
    return {
        "name": f"CordsNet-R{options.depth}, {options.image_size} px",
        "architecture": "CordsNet (Soo, Battista, Radmard & Wang, NeurIPS 2024), trained by cordstasks",
        "cordstasks": __version__,
        "data": f"{len(train)} training and {len(test)} test images of {len(train.classes)} classes, from the folder "
        f"{options.data.resolve().name}, resized to {options.image_size} px; of their values from 0 to 1 the mean "
        f"{CIFAR10_MEAN} is subtracted, and the rest is divided by {CIFAR10_STD}",
        "classes": list(train.classes),
        "origin": f"CNN started from {_start(options)}; trained, folded, then matched area by area to the CNN's activity",
        "command": _command(options),
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
