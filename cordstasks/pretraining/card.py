"""The model card of weights that a pre-training has made."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from cordstasks import __version__
from cordstasks.pretraining.datasets import Pair
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.pretraining.stages.cnn import start_of

__all__ = ["card", "command_of"]

WAYS = {
    "finetune": "end to end through time with the full loss",
    "anneal": "end to end through time while its activation became a relu",
    "equilibrium": "end to end at equilibrium",
    "match": "matched area by area to the CNN's activity",
    "direct": "trained through time from random weights, without a CNN",
}


def command_of(settings: PretrainSettings, data: Path, stage: str = "all") -> str:
    """The command that makes the weights; of the folders of its data and results it has the name alone, or none."""
    given = [
        f"--{each.name.replace('_', '-')} {Path(value).name if each.name == 'init' else value}"
        for each in fields(settings)
        if (value := getattr(settings, each.name)) is not None and value != each.default
    ]
    return " ".join([f"python -m cordstasks.pretrain --data {data.name} --out DIR --stage {stage}", *given])


def card(settings: PretrainSettings, data: Path, images: Pair, source: str, result: dict[str, Any]) -> dict[str, Any]:
    """What a user of the weights should know.

    Parameters
    ----------
    settings : PretrainSettings
    data : Path
        Where the images were.
    images : Pair
    source : str
        The stage whose network it is.
    result : dict
        Of stage ``check``.
    """
    protocol, used = result["protocol"], images.preprocessing
    origin = "" if source == "direct" else f"CNN started from {start_of(settings)}; trained, folded, matched area by area; "
    return {
        "name": f"CordsNet-R{settings.depth}, {settings.image_size} px",
        "architecture": "CordsNet (Soo, Battista, Radmard & Wang, NeurIPS 2024), trained by cordstasks",
        "cordstasks": __version__,
        "data": f"{len(images.train)} training and {len(images.test)} {settings.tested} images of "
        f"{len(images.train.classes)} classes, data set {settings.dataset}, from the folder {data.resolve().name}, resized "
        f"to {settings.image_size} px; of their values from 0 to 1 the mean {used.mean} is subtracted, and the rest is "
        f"divided by {used.std}",
        "classes": list(images.train.classes),
        "origin": f"{origin}{WAYS[source]}",
        "command": command_of(settings, data),
        "accuracy": {
            "protocol": protocol["accuracy"],
            "images": protocol["images"],
            "cnn_on_the_same_images": protocol.get("cnn"),
            "cnn_on_all_test_images": result.get("cnn"),
        },
        "return_200_ms_after_image": protocol["return"],
        "limits": f"trained on images of {len(images.train.classes)} classes; not a model of any subject; responses to "
        "others are unvalidated except for the frames of the tasks in this package",
    }
