"""Stage ``check``: the rounded weights of the last network under the paper's protocol, and their file with its card."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordstasks.cordsnet.checkpoints import load, save
from cordstasks.errors import InputError
from cordstasks.pretraining.card import card
from cordstasks.pretraining.context import Context
from cordstasks.pretraining.loop import accuracy
from cordstasks.pretraining.protocol import check_frames, check_images
from cordstasks.stimuli import Display, RandomDots, discs, random_dots
from cordstasks.utils.files import write_json

NEEDS = ("finetune", "equilibrium", "anneal", "match", "direct")


def run(context: Context, data: Path) -> None:
    """Write ``cordsnet-r<depth>.safetensors`` and ``summary.json``, and print what was found."""
    settings, images = context.settings, context.images
    source = context.require("check", *NEEDS)
    network = context.read_network(source)
    if network.card.get("match") == "linear":
        raise InputError(
            f"stage=check: the areas in {context.folder.path} have no relu yet; run stage=linear and stage=anneal first"
        )
    weights = context.folder.path / f"cordsnet-r{settings.depth}.safetensors"
    network.card = {}
    save(network, weights, half=True)
    network = load(weights, map_location=context.device)  # what is checked is what is shipped: the rounded weights
    checked = images.test.subset(settings.check_images)
    result: dict[str, Any] = {"stage": source, "images": settings.tested}
    result["protocol"] = check_images(network, checked, batch=50 if context.device.type == "cpu" else 500)
    if source != "direct":
        cnn = context.read_cnn()
        result["protocol"]["cnn"] = accuracy(lambda x: cnn(context.presentation.test(x)), checked)
        result["cnn"] = accuracy(lambda x: cnn(context.presentation.test(x)), images.test, label="CNN")
    result["frames"] = check_frames(network, task_frames(settings.image_size))
    network.card = card(settings, data, images, source, result)
    save(network, weights, half=True)
    write_json(context.folder.path / "summary.json", {"command": network.card["command"], **result})
    context.folder.log.write(result)
    _report(result, weights, settings.tested)


def task_frames(pixels: int) -> dict[str, NDArray[np.uint8]]:
    """Frames that tasks show, uint8 (pixels, pixels, 1): black, a spot, and random dots."""
    display = Display(pixels=pixels)
    dots = random_dots(RandomDots(0.5, 0.0), display, duration_ms=display.frame_ms, rng=np.random.default_rng(0))
    return {
        "black": np.zeros((pixels, pixels, 1), np.uint8),
        "spot": discs(display, 0.0, 0.0, 0.5),
        "dots": dots.frames[0],
    }


def _report(result: dict[str, Any], weights: Path, tested: str) -> None:
    protocol = result["protocol"]
    times = ", ".join(f"{fraction:.2%} at {ms} ms" for ms, fraction in protocol["accuracy"].items())
    cnn = f"; CNN {protocol['cnn']:.2%}" if "cnn" in protocol else ""
    print(f"protocol ({protocol['images']} {tested} images): {times}{cnn}")
    worst = {"images": max(protocol["return"]), **{name: max(left) for name, left in result["frames"].items()}}
    print("distance left 200 ms after: " + ", ".join(f"{name} {left:.2%}" for name, left in worst.items()) + " at most")
    print(f"weights: {weights} ({weights.stat().st_size / 1e6:.1f} MB)", file=sys.stdout)
