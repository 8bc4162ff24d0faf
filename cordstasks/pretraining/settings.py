"""What determines a pre-training: the settings of all stages, with their flags. This module needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cordstasks.utils.settings import (
    Settings,
    choice,
    fraction,
    not_negative,
    number,
    optional,
    positive,
    setting,
    text,
    whole,
)

__all__ = ["PretrainSettings"]

NET, CNN, MATCH, EQUILIBRIUM, CHECK = "the network", "the CNN", "matching", "equilibrium", "in general"


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(Settings):
    """How a CordsNet is made from images: CNN, folding, matching area by area, the whole at equilibrium."""

    FAMILY: ClassVar[str] = "pretraining"

    depth: int = setting(whole(least=2), "number of areas: 2, 4, 6 or 8", default=8, group=NET)
    image_size: int = setting(whole(), "side of the network's input in px", default=64, group=NET)
    init: str | None = setting(
        optional(text()),
        "safetensors file of a CNN to start from instead of random weights",
        default=None,
        group=NET,
        metavar="FILE",
    )
    seed: int = setting(whole(least=0), "of initial weights, order of images and augmentation", default=0, group=CHECK)
    precision: str = setting(
        choice("float32", "bfloat16"), "of products in training: float32, bfloat16", default="float32", group=CHECK
    )
    augmentation: str = setting(text(), "of training images: light (shifts, flips) or strong", default="light", group=CHECK)
    train_images: int | None = setting(
        optional(whole(least=2)), "use only so many training images (for a trial run)", default=None, group=CHECK
    )

    cnn_epochs: int = setting(whole(least=0), "passes over the training images", default=30, group=CNN)
    cnn_batch: int = setting(whole(), "images per batch", default=128, group=CNN)
    cnn_learning_rate: float = setting(positive(), "peak learning rate of SGD", default=0.08, group=CNN)
    cnn_weight_decay: float = setting(not_negative(), "weight decay of SGD", default=5e-4, group=CNN)
    cnn_label_smoothing: float = setting(fraction(), "of the cross-entropy", default=0.1, group=CNN)
    cnn_warmup: float = setting(fraction(), "fraction of all batches in which the rate rises", default=0.1, group=CNN)

    match_steps: int = setting(whole(least=3), "batches per area", default=400, group=MATCH)
    match_batch: int = setting(whole(), "images per batch", default=64, group=MATCH)
    match_learning_rate: float = setting(
        positive(), "peak of AdamW for 64 channels; inversely proportional to channels", default=2e-3, group=MATCH
    )

    equilibrium_epochs: int = setting(whole(least=0), "passes over the training images", default=0, group=EQUILIBRIUM)
    equilibrium_batch: int = setting(whole(), "images per batch", default=128, group=EQUILIBRIUM)
    equilibrium_learning_rate: float = setting(
        positive(),
        "peak of AdamW for 64 channels; inversely proportional to channels",
        default=1e-3,
        group=EQUILIBRIUM,
    )
    equilibrium_weight_decay: float = setting(not_negative(), "weight decay of AdamW", default=0.02, group=EQUILIBRIUM)
    equilibrium_step: float = setting(
        number("a number above 0 and at most 1", above=0.0, most=1.0),
        "relaxation step (dt / tau)",
        default=0.7,
        group=EQUILIBRIUM,
    )
    equilibrium_iterates: int = setting(whole(), "relaxation steps from the rectified drive", default=8, group=EQUILIBRIUM)
    equilibrium_distillation: float = setting(
        fraction(),
        "weight of the divergence from the CNN's probabilities; the labels' cross-entropy has the rest",
        default=0.5,
        group=EQUILIBRIUM,
    )
    equilibrium_temperature: float = setting(
        positive(), "temperature at which these probabilities are compared", default=2.0, group=EQUILIBRIUM
    )
    equilibrium_settling: float = setting(
        not_negative(),
        "weight of the mean over areas of the last relaxation step's squared size relative to the variance",
        default=1.0,
        group=EQUILIBRIUM,
    )
    equilibrium_label_smoothing: float = setting(fraction(), "of the cross-entropy", default=0.1, group=EQUILIBRIUM)

    @property
    def bfloat16(self) -> bool:
        """Whether products are in bfloat16."""
        return self.precision == "bfloat16"
