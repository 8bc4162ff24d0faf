"""What determines a pre-training: the settings of all stages, with their flags. This module needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from cordstasks.errors import InputError, unknown
from cordstasks.utils.settings import (
    Settings,
    choice,
    number,
    optional,
    setting,
    text,
    whole,
)

__all__ = ["DATASETS", "RECIPES", "STAGES", "PretrainSettings"]

DATASETS = ("mnist", "fashion-mnist", "cifar10", "cifar100", "imagenet", "folder")
STAGES = ("cnn", "fold", "match", "linear", "anneal", "finetune", "equilibrium", "direct", "dense", "recurrent", "check")
"""What ``--stage`` may name beside ``all``."""

NET, DATA, GENERAL, LOSS = "the network", "the images", "in general", "the loss through time"
CNN, MATCH, EQUILIBRIUM = "stage cnn", "stage match", "stage equilibrium"
LINEAR, ANNEAL, FINETUNE = "stage linear", "stage anneal", "stage finetune"
DIRECT, DENSE, RECURRENT = "control direct", "control dense", "control recurrent"

_ABOVE = number("a finite number above 0", above=0.0)
_FROM_ZERO = number("a finite number of at least 0", least=0.0)
_FRACTION = number("a number from 0 to 1", least=0.0, most=1.0)
_STEP = number("a number above 0 and at most 1", above=0.0, most=1.0)


def _epochs(group: str, default: int) -> Any:
    return setting(whole(least=0), "epochs; 0 leaves the stage out", default=default, group=group)


def _images(group: str, default: int | None, what: str = "an epoch") -> Any:
    return setting(
        optional(whole()),
        f"training images in {what}, if not all (the next epoch goes on with others)",
        default=default,
        group=group,
    )


def _batch(group: str, default: int) -> Any:
    return setting(whole(), "images per batch", default=default, group=group)


def _rate(group: str, default: float, help: str = "peak learning rate of AdamW") -> Any:
    return setting(_ABOVE, help, default=default, group=group)


def _clip(group: str, default: float, help: str = "largest norm of the gradient; a longer one is shortened") -> Any:
    return setting(_ABOVE, help, default=default, group=group)


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(Settings):
    """How a CordsNet is made from images: the paper's stages, ours, and the controls.

    References
    ----------
    Soo, Battista, Radmard & Wang 2024, "Recurrent neural network dynamical systems for biological vision", NeurIPS 37,
    section 3 and appendix.
    """

    FAMILY: ClassVar[str] = "pretraining"

    depth: int = setting(whole(least=2), "number of areas: 2, 4, 6 or 8", default=8, group=NET)
    image_size: int = setting(
        whole(), "side of the network's input in px; mnist and fashion-mnist: 32, imagenet: 224", default=64, group=NET
    )
    init: str | None = setting(
        optional(text()),
        "safetensors file of a CNN to start from instead of random weights",
        default=None,
        group=NET,
        metavar="FILE",
    )

    dataset: str = setting(choice(*DATASETS), f"what --data holds: {', '.join(DATASETS)}", default="folder", group=DATA)
    augmentation: str | None = setting(
        optional(text()),
        "of training images: none, light (shifts, flips), moderate, strong, or the paper's for mnist, fashion-mnist, cifar, "
        "imagenet (by default the data set's own, and light for a folder)",
        default=None,
        group=DATA,
    )
    train_images: int | None = setting(
        optional(whole(least=2)), "use only so many training images (for a trial run)", default=None, group=DATA
    )
    validation_images: int | None = setting(
        optional(whole()),
        "training images to keep out of training, taken evenly, and to test with in place of the test images: for choosing "
        "settings",
        default=None,
        group=DATA,
    )
    test_images: int = setting(
        whole(), "test images for the accuracies under the protocol that stages log", default=300, group=DATA
    )
    check_images: int = setting(whole(), "test images for the final check under the protocol", default=2000, group=DATA)
    memory_images: float = setting(
        _FROM_ZERO,
        "GB of images that are kept in memory; of larger sets each batch is read from disk",
        default=4.0,
        group=DATA,
    )
    broken_images: float = setting(
        _FRACTION, "largest fraction of a folder's images that may be broken and are left out", default=0.01, group=DATA
    )

    seed: int = setting(whole(least=0), "of initial weights, order of images and augmentation", default=0, group=GENERAL)
    precision: str = setting(
        choice("float32", "bfloat16"), "of products in training: float32, bfloat16", default="float32", group=GENERAL
    )
    accumulate: int = setting(
        whole(), "parts that a batch is computed in, one after the other, to save memory", default=1, group=GENERAL
    )
    save_seconds: float = setting(_ABOVE, "time between checkpoints", default=120.0, group=GENERAL)

    blank_steps: int = setting(whole(), "steps from zero to the spontaneous state", default=100, group=LOSS)
    image_steps: int = setting(whole(), "steps for which the image stays", default=100, group=LOSS)
    after_steps: int = setting(whole(), "steps without an image after it", default=100, group=LOSS)
    image_window: int = setting(whole(), "last steps with the image whose cross-entropy counts", default=30, group=LOSS)
    after_window: int = setting(
        whole(), "last steps after the image in which the distance to the spontaneous state counts", default=10, group=LOSS
    )
    first_weight: float = setting(
        _STEP,
        "weight of the first step of image-window; weights rise to 1, evenly in logarithm; 1 for equal weights",
        default=1e-3,
        group=LOSS,
    )
    spontaneous_weight: float = setting(
        _FROM_ZERO, "weight of the mean squared distance to the spontaneous state", default=30.0, group=LOSS
    )
    spontaneous_images: int | None = setting(
        optional(whole()), "images of a batch that this distance is measured with, if not all", default=8, group=LOSS
    )
    spontaneous_target: str = setting(
        choice("constant", "moving"),
        "what this distance is measured to: constant (the spontaneous state before the image, without a gradient: the "
        "paper's), moving (the same state at the same time without an image, with a gradient of its own: areas contract)",
        default="moving",
        group=LOSS,
    )
    gradients: str = setting(
        choice("equilibrium", "truncated", "full"),
        "of the loss: equilibrium (implicit), truncated (through the windows), full (through all steps, with checkpoints)",
        default="equilibrium",
        group=LOSS,
    )
    checkpoint_steps: int = setting(
        whole(),
        "steps between the states that gradients=full keeps; what lies between is computed again",
        default=10,
        group=LOSS,
    )
    settling_step: float = setting(
        _STEP,
        "dt / T of the steps in which gradients=equilibrium settles; steady states do not depend on it",
        default=0.5,
        group=LOSS,
    )
    implicit_iterates: int = setting(
        whole(), "steps in which gradients=equilibrium solves for the gradient", default=30, group=LOSS
    )
    implicit_step: float = setting(
        _STEP, "size of these steps: smaller ones converge for more networks, and more slowly", default=0.5, group=LOSS
    )
    schedule: str = setting(
        choice("cosine", "constant"),
        "of the learning rate in linear, finetune, direct, dense: cosine (warm-up, then falls to 0), constant; in anneal, "
        "whose last epochs change most, cosine does not fall",
        default="cosine",
        group=LOSS,
    )

    weight_decay: float = setting(
        _FROM_ZERO, "of AdamW in match, linear, anneal, finetune, direct and dense", default=0.01, group=LOSS
    )
    test_every: int = setting(
        whole(), "epochs between accuracies under the protocol; the last epoch has one always", default=10, group=LOSS
    )

    cnn_epochs: int = setting(whole(least=0), "passes over the training images", default=30, group=CNN)
    cnn_half_epochs: int = setting(
        whole(least=0),
        "of them the first ones with images of half the side, which take less time",
        default=0,
        group=CNN,
        added=True,
    )
    cnn_batch: int = _batch(CNN, 128)
    cnn_optimiser: str = setting(
        choice("sgd", "muon"),
        "sgd, or muon: kernels change in all directions alike (Jordan et al. 2024), all other weights by SGD",
        default="sgd",
        group=CNN,
        added=True,
    )
    cnn_learning_rate: float = _rate(CNN, 0.08, "peak learning rate of SGD")
    cnn_momentum: float = setting(_FRACTION, "Nesterov momentum of SGD", default=0.9, group=CNN)
    cnn_weight_decay: float = setting(_FROM_ZERO, "weight decay of SGD", default=5e-4, group=CNN)
    cnn_kernel_rate: float = setting(
        _ABOVE, "muon's peak change of a kernel in a step, relative to the kernel", default=0.05, group=CNN, added=True
    )
    cnn_kernel_momentum: float = setting(
        _FRACTION, "muon's Nesterov momentum of kernels", default=0.6, group=CNN, added=True
    )
    cnn_label_smoothing: float = setting(_FRACTION, "of the cross-entropy", default=0.1, group=CNN)
    cnn_warmup: float = setting(_FRACTION, "fraction of all batches in which the rate rises", default=0.1, group=CNN)
    cnn_schedule: str = setting(
        choice("linear", "thirds"),
        "of the learning rate: linear (falls to 0), thirds (a third of the batches at 1, 0.1 and 0.01 of the peak)",
        default="linear",
        group=CNN,
    )

    match: str = setting(
        choice("linear", "nonlinear"),
        "linear: the paper's, each area's linear steady state to the CNN's layer before its relu; nonlinear: its steady "
        "state with relu to the CNN's activity, area after area",
        default="linear",
        group=MATCH,
    )
    match_epochs: int = setting(whole(), "epochs (per area where nonlinear)", default=1, group=MATCH)
    match_images: int | None = _images(MATCH, 25600)
    match_batch: int = _batch(MATCH, 64)
    match_learning_rate: float = _rate(
        MATCH, 2e-3, "peak of AdamW; where nonlinear, for 64 channels, and inversely proportional to channels"
    )
    match_clip: float = _clip(MATCH, 1.0, "largest norm of an area's gradient; a longer one is shortened")
    match_schedule: str = setting(
        choice("cosine", "constant"), "of the learning rate where linear", default="cosine", group=MATCH
    )
    match_penalty: float = setting(
        _FROM_ZERO,
        "weight of the last iterate's mean square where linear: keeps the spectrum inside the unit circle",
        default=10.0,
        group=MATCH,
    )
    match_iterates: int = setting(
        whole(), "iterates of the linear steady state; of the nonlinear one twice as many", default=3, group=MATCH
    )
    match_settled: int = setting(whole(), "relaxation steps of the areas below where nonlinear", default=8, group=MATCH)
    match_relaxation: float = setting(_STEP, "relaxation step (dt / T) where nonlinear", default=0.5, group=MATCH)

    linear_epochs: int = _epochs(LINEAR, 1)
    linear_images: int | None = _images(LINEAR, 1024)
    linear_batch: int = _batch(LINEAR, 32)
    linear_learning_rate: float = _rate(LINEAR, 1e-4)
    linear_clip: float = _clip(LINEAR, 1.0)

    anneal_epochs: int = _epochs(ANNEAL, 20)
    anneal_images: int | None = _images(ANNEAL, 512)
    anneal_batch: int = _batch(ANNEAL, 32)
    anneal_learning_rate: float = _rate(ANNEAL, 5e-4)
    anneal_clip: float = _clip(ANNEAL, 1.0)
    anneal_slope: float = setting(
        _FRACTION,
        "slope below zero of the activation in the first epoch; it falls evenly to 0 in the last",
        default=0.95,
        group=ANNEAL,
    )

    finetune_epochs: int = _epochs(FINETUNE, 1)
    finetune_images: int | None = _images(FINETUNE, 16384)
    finetune_batch: int = _batch(FINETUNE, 32)
    finetune_learning_rate: float = _rate(FINETUNE, 2.5e-4)
    finetune_clip: float = _clip(FINETUNE, 1.0)

    equilibrium_epochs: int = _epochs(EQUILIBRIUM, 0)
    equilibrium_batch: int = _batch(EQUILIBRIUM, 128)
    equilibrium_learning_rate: float = _rate(
        EQUILIBRIUM, 1e-3, "peak of AdamW for 64 channels; inversely proportional to channels"
    )
    equilibrium_weight_decay: float = setting(_FROM_ZERO, "weight decay of AdamW", default=0.02, group=EQUILIBRIUM)
    equilibrium_step: float = setting(_STEP, "relaxation step (dt / T)", default=0.7, group=EQUILIBRIUM)
    equilibrium_iterates: int = setting(whole(), "relaxation steps from the rectified drive", default=8, group=EQUILIBRIUM)
    equilibrium_distillation: float = setting(
        _FRACTION,
        "weight of the divergence from the CNN's probabilities; the labels' cross-entropy has the rest",
        default=0.5,
        group=EQUILIBRIUM,
    )
    equilibrium_temperature: float = setting(
        _ABOVE, "temperature at which these probabilities are compared", default=2.0, group=EQUILIBRIUM
    )
    equilibrium_settling: float = setting(
        _FROM_ZERO,
        "weight of the mean over areas of the last relaxation step's squared size relative to the variance",
        default=1.0,
        group=EQUILIBRIUM,
    )
    equilibrium_label_smoothing: float = setting(_FRACTION, "of the cross-entropy", default=0.1, group=EQUILIBRIUM)
    equilibrium_flat_images: int = setting(
        whole(),
        "uniform fields in each batch, the first of them nothing, on which the network must settle too",
        default=16,
        group=EQUILIBRIUM,
    )
    equilibrium_clip: float = _clip(EQUILIBRIUM, 1.0)

    direct_epochs: int = setting(whole(), "epochs", default=1, group=DIRECT)
    direct_images: int | None = _images(DIRECT, 6400)
    direct_batch: int = _batch(DIRECT, 64)
    direct_learning_rate: float = _rate(DIRECT, 1e-3)
    direct_clip: float = _clip(DIRECT, 1.0)

    dense_units: str = setting(
        choice("matched", "same"),
        "matched: as many parameters as the CordsNet; same: as many units in each area, which takes much memory",
        default="matched",
        group=DENSE,
    )
    dense_memory: float = setting(_ABOVE, "GB that its weights may take in training", default=8.0, group=DENSE)
    dense_epochs: int = setting(whole(), "epochs", default=1, group=DENSE)
    dense_images: int | None = _images(DENSE, 6400)
    dense_batch: int = _batch(DENSE, 64)
    dense_learning_rate: float = _rate(DENSE, 1e-3)
    dense_clip: float = _clip(DENSE, 1.0)

    recurrent_steps: int = setting(
        whole(),
        "steps from zero activity to the answer; the image reaches two more areas with each",
        default=5,
        group=RECURRENT,
    )
    recurrent_epochs: int = setting(
        whole(least=0),
        "passes over the training images; optimiser, momentum, decay and schedule are those of cnn",
        default=30,
        group=RECURRENT,
    )
    recurrent_batch: int = _batch(RECURRENT, 128)
    recurrent_learning_rate: float = _rate(RECURRENT, 0.05, "peak learning rate of SGD")

    def __post_init__(self) -> None:
        super().__post_init__()
        for window, steps in (("image_window", "image_steps"), ("after_window", "after_steps")):
            if getattr(self, window) > getattr(self, steps):
                raise InputError(
                    f"{window}={getattr(self, window)}: is longer than {steps}={getattr(self, steps)}; shorten it"
                )
        if self.cnn_half_epochs >= max(self.cnn_epochs, 1):
            raise InputError(
                f"cnn_half_epochs={self.cnn_half_epochs}: leave no epoch of cnn_epochs={self.cnn_epochs} for images of the "
                "whole size, on which the network is used; give fewer"
            )

    @property
    def tested(self) -> str:
        """What the images that accuracies are measured with are: test images, or some kept out of the training images."""
        return "test" if self.validation_images is None else "validation"

    @property
    def bfloat16(self) -> bool:
        """Whether products are in bfloat16."""
        return self.precision == "bfloat16"

    @classmethod
    def of(cls, given: Mapping[str, Any], recipe: str = "laptop") -> PretrainSettings:
        """Settings with the defaults of a data set and of a recipe.

        Parameters
        ----------
        given : mapping
            Settings of the caller's, which come before all defaults.
        recipe : str
            One of `RECIPES`: ``"laptop"``, or ``"paper"`` for the numbers of the paper.

        Returns
        -------
        PretrainSettings

        Raises
        ------
        InputError
            If a name or a value is not known.
        """
        unknown_names = sorted(set(given) - set(cls.names()))
        if unknown_names:
            raise unknown("setting", unknown_names[0], cls.names())
        if recipe not in RECIPES:
            raise unknown("recipe", recipe, RECIPES)
        dataset = cls.checked("dataset", given.get("dataset", "folder"))
        return cls(**{**BY_DATASET.get(dataset, {}), **RECIPES[recipe], **given})

    def changed(self, given: Mapping[str, Any], begun: set[str], folder: Any) -> PretrainSettings:
        """These settings of a run with others for stages that it has not begun, and others that change no weights.

        Parameters
        ----------
        given : mapping
            Settings that the caller gave again.
        begun : set of str
            Stages whose settings stay.
        folder : path-like
            The run's folder, for messages.

        Returns
        -------
        PretrainSettings
            A copy; these settings are not modified.

        Raises
        ------
        InputError
            If a setting of a begun stage, or one that concerns all stages, differs.
        """
        free = {
            name: value
            for name, value in given.items()
            if name in AT_ANY_TIME or (_stages_of(name) and begun.isdisjoint(_stages_of(name)))
        }
        self.agree({name: value for name, value in given.items() if name not in free}, folder)
        return replace(self, **free)


AT_ANY_TIME = {"test_images", "check_images", "test_every", "save_seconds", "memory_images"}
"""Settings that may change within a run, since its weights do not depend on them."""


ALSO_OF_RECURRENT = {
    "cnn_optimiser",
    "cnn_kernel_rate",
    "cnn_kernel_momentum",
    "cnn_momentum",
    "cnn_weight_decay",
    "cnn_label_smoothing",
    "cnn_warmup",
    "cnn_schedule",
}
"""Settings of the stage cnn that the control recurrent is trained with, too."""


def _stages_of(name: str) -> set[str]:
    """The stages that a setting belongs to; none for those of all."""
    stage = "cnn" if name == "init" else name.split("_")[0]
    if stage not in STAGES or stage == "check":
        return set()
    return {stage, "recurrent"} if name in ALSO_OF_RECURRENT else {stage}


_SMALL: dict[str, Any] = {"image_size": 32, "cnn_epochs": 2, "cnn_batch": 64}
BY_DATASET: dict[str, dict[str, Any]] = {
    "mnist": _SMALL,
    "fashion-mnist": {**_SMALL, "cnn_epochs": 5},
    "imagenet": {"image_size": 224},
}
"""Defaults of single data sets, beside those of the fields."""

_PAPER_DYNAMICS = {"learning_rate": 1e-5, "clip": 1e-4, "images": None}
RECIPES: dict[str, dict[str, Any]] = {
    "laptop": {},
    "paper": {
        "gradients": "full",
        "schedule": "constant",
        "spontaneous_images": None,
        "spontaneous_target": "constant",
        "spontaneous_weight": 1e-3,
        "cnn_epochs": 300,
        "cnn_batch": 256,
        "cnn_learning_rate": 0.1,
        "cnn_weight_decay": 1e-4,
        "cnn_label_smoothing": 0.0,
        "cnn_schedule": "thirds",
        "match_epochs": 100,
        "match_images": None,
        "match_batch": 256,
        "match_learning_rate": 1e-4,
        "match_clip": 1e-3,
        "match_schedule": "constant",
        "linear_epochs": 100,
        "finetune_epochs": 20,
        **{
            f"{stage}_{name}": value
            for stage in ("linear", "anneal", "finetune", "direct", "dense")
            for name, value in _PAPER_DYNAMICS.items()
        },
        **{f"{stage}_batch": 256 for stage in ("linear", "anneal", "finetune", "direct", "dense")},
    },
}
"""Named sets of numbers: ``laptop``, the defaults, and ``paper``, those of Soo et al. (2024)."""
