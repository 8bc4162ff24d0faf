"""Settings of the experiments on dynamics: regimes, trajectories, spectra, early and late. This module needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cordstasks.errors import InputError
from cordstasks.utils.settings import (
    Settings,
    choice,
    not_negative,
    number,
    optional,
    positive,
    setting,
    several,
    text,
    whole,
)

__all__ = ["KINDS", "TAU", "EarlyLateSettings", "Regimes", "SpectraSettings", "TrajectorySettings"]

KINDS = ("convolutional", "fully connected")
TAU = 10.0  # ms, as in CordsNet
DT = 2.0  # ms, of CordsNet
MEMORY = 1.0  # GB that the weights of a fully connected network may take
DATASETS = ("folder", "mnist", "fashion-mnist", "cifar10", "cifar100")
NETWORKS, MEASURES, TRAINING = "the networks", "what is measured", "training"


@dataclass(frozen=True, kw_only=True)
class Regimes(Settings):
    """What `cordstasks.experiments.regimes.regimes_over_gain` simulates.

    References
    ----------
    Soo, Battista, Radmard & Wang 2024, "Recurrent neural network dynamical systems for biological vision", NeurIPS 37,
    figure 1B and appendix B.2.
    """

    FAMILY: ClassVar[str] = "regimes"

    gains: tuple[float, ...] = setting(
        several(not_negative(), "different numbers of at least 0, such as 0.8 1.0 1.5", different=True, in_order=True),
        "gains of the recurrent weights",
        default=(0.6, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.7, 2.0),
        group=NETWORKS,
        metavar="GAIN",
    )
    channels: int = setting(whole(), "maps of the convolutional network", default=8, group=NETWORKS)
    side: int = setting(whole(), "height and width of a map", default=8, group=NETWORKS)
    kinds: tuple[str, ...] = setting(
        several(choice(*KINDS), f"one or both of {' and '.join(map(repr, KINDS))}", different=True),
        "convolutional, as one area of a CordsNet, or 'fully connected', with a matrix of as many units",
        default=KINDS,
        group=NETWORKS,
        metavar="KIND",
    )
    seeds: int = setting(whole(), "networks for each gain and kind", default=2, group=NETWORKS)
    seed: int = setting(whole(least=0), "of the first", default=0, group=NETWORKS)
    steps: int = setting(whole(least=100), "steps of 2 ms over which to measure", default=3000, group=MEASURES)
    transient: int = setting(whole(least=0), "steps before that", default=1500, group=MEASURES)
    dt: float = setting(
        number(f"an Euler step above 0 and at most {TAU:g} (ms)", above=0.0, most=TAU),
        "Euler step in ms; the time constant is 10 ms",
        default=DT,
        group="",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        needed = 8e-9 * self.units**2
        if KINDS[1] in self.kinds and needed > MEMORY:
            raise InputError(
                f"channels={self.channels}, side={self.side}: the weights of a fully connected network of {self.units} "
                f"units take {needed:.1f} GB; add kinds={KINDS[0]}, whose weights are never a matrix, or choose smaller maps"
            )

    @property
    def units(self) -> int:
        """Units of each network."""
        return self.channels * self.side**2


@dataclass(frozen=True, kw_only=True)
class TrajectorySettings(Settings):
    """Whose images are shown to which network, for how long.

    References
    ----------
    Soo, Battista, Radmard & Wang 2024, "Recurrent neural network dynamical systems for biological vision", NeurIPS 37,
    figure 4A.
    """

    FAMILY: ClassVar[str] = "trajectories"

    classes: tuple[str, ...] = setting(
        several(text(), "two different folders of images, such as cat dog"), "two folders of images", group=""
    )
    network: str = setting(text(), "CordsNet: a name or a file", default="cordsnet-r8", group=NETWORKS)
    count: int = setting(whole(least=2), "images of each class, taken evenly", default=50, group=MEASURES)
    image_ms: float = setting(positive(), "ms with an image", default=200.0, group=MEASURES)
    after_ms: float = setting(positive(), "ms without one after it", default=200.0, group=MEASURES)
    folds: int = setting(whole(least=2), "of the cross-validation of the axis", default=5, group=MEASURES)
    seed: int = setting(whole(least=0), "of the folds and the bootstrap", default=0, group=MEASURES)
    resamples: int = setting(whole(), "of the bootstrap over images", default=2000, group=MEASURES)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.classes) != 2 or self.classes[0] == self.classes[1]:
            raise InputError(f"classes={' '.join(self.classes)}: name two different folders of images, such as cat dog")
        if self.count < self.folds:
            raise InputError(f"count={self.count}: fewer images of a class than folds={self.folds}; give more")


@dataclass(frozen=True, kw_only=True)
class SpectraSettings(Settings):
    """Of which areas of a network the leading eigenvalues are computed.

    References
    ----------
    Soo, Battista, Radmard & Wang 2024, "Recurrent neural network dynamical systems for biological vision", NeurIPS 37,
    figure 4C.
    """

    FAMILY: ClassVar[str] = "spectra"

    network: str = setting(text(), "CordsNet: a name or a file", default="cordsnet-r8", group=NETWORKS)
    areas: tuple[int, ...] | None = setting(
        optional(several(whole(least=0), "different areas, from 0", different=True, in_order=True)),
        "areas, from 0 (default: all)",
        default=None,
        group=NETWORKS,
        metavar="AREA",
    )
    eigenvalues: int = setting(whole(), "leading eigenvalues of each area", default=100, group=MEASURES)
    tolerance: float = setting(
        number("a number above 0 and below 1", above=0.0, below=1.0),
        "largest residual, relative to the largest modulus, with which an eigenvalue counts as converged",
        default=1e-4,
        group=MEASURES,
    )


@dataclass(frozen=True, kw_only=True)
class EarlyLateSettings(Settings):
    """Which networks are trained to answer early and late, and how their activity and spectra are measured.

    References
    ----------
    Soo, Battista, Radmard & Wang 2024, "Recurrent neural network dynamical systems for biological vision", NeurIPS 37,
    figure 4B.
    """

    FAMILY: ClassVar[str] = "early-late"

    dataset: str = setting(
        choice(*DATASETS), f"what --images holds: {', '.join(DATASETS)}", default="folder", group=NETWORKS
    )
    weights: str | None = setting(
        optional(text()),
        "registry name or file of a trained CordsNet, which both are to begin with (by default random weights); depth and "
        "image size are its own",
        default=None,
        group=NETWORKS,
    )
    depth: int = setting(whole(least=2), "number of areas: 2, 4, 6 or 8", default=2, group=NETWORKS)
    image_size: int = setting(whole(), "side of the networks' input in px", default=32, group=NETWORKS)
    early: tuple[float, ...] = setting(
        several(positive(), "begin and end in ms after image onset, such as 140 200"),
        "when the early networks have to answer, in ms after image onset; their images last until its end",
        default=(140.0, 200.0),
        group=TRAINING,
        metavar="MS",
    )
    late: tuple[float, ...] = setting(
        several(positive(), "begin and end in ms after image onset, such as 240 300"),
        "when the late networks have to answer",
        default=(240.0, 300.0),
        group=TRAINING,
        metavar="MS",
    )
    seeds: int = setting(
        whole(), "pairs of networks, each of its own random weights and order of images", default=3, group=TRAINING
    )
    seed: int = setting(whole(least=0), "of the first pair", default=0, group=TRAINING)
    batches: int = setting(whole(), "batches that each network is trained with", default=150, group=TRAINING)
    batch: int = setting(whole(), "images per batch", default=32, group=TRAINING)
    learning_rate: float = setting(positive(), "peak learning rate of AdamW", default=1e-3, group=TRAINING)
    gradients: str = setting(
        choice("full", "truncated"),
        "of the loss: full (through all steps), truncated (through its windows)",
        default="full",
        group=TRAINING,
    )
    train_images: int | None = setting(
        optional(whole(least=2)), "use only so many training images", default=None, group=TRAINING
    )
    count: int = setting(
        whole(least=2),
        "test images, taken evenly from all classes, whose responses are measured",
        default=100,
        group=MEASURES,
    )
    observe_ms: float = setting(positive(), "ms for which each of them is shown", default=400.0, group=MEASURES)
    eigenvalues: int = setting(whole(), "leading eigenvalues of each spectrum", default=100, group=MEASURES)
    jacobians: int = setting(
        whole(), "images in whose final state the Jacobian's eigenvalues are computed", default=5, group=MEASURES
    )
    resamples: int = setting(whole(), "of the bootstrap over images", default=2000, group=MEASURES)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("early", "late"):
            window = getattr(self, name)
            if len(window) != 2 or window[1] - window[0] < DT:
                raise InputError(
                    f"{name}={' '.join(f'{ms:g}' for ms in window)}: give begin and end in ms, at least a step of {DT:g} ms "
                    "apart, such as 140 200"
                )
        if self.early == self.late:
            same = " ".join(f"{ms:g}" for ms in self.late)
            raise InputError(f"late={same}: the same window as early; give another")
        if self.observe_ms < max(self.early[1], self.late[1]):
            latest = max(self.early[1], self.late[1])
            raise InputError(f"observe_ms={self.observe_ms:g}: networks answer until {latest:g} ms; give at least that")
        if self.jacobians > self.count:
            raise InputError(f"jacobians={self.jacobians}: only count={self.count} images are shown; give at most as many")

    def window(self, name: str) -> tuple[int, int]:
        """The loss of a network in steps.

        Parameters
        ----------
        name : {"early", "late"}
            Which one.

        Returns
        -------
        image_steps, image_window : int
            For how many steps the image stays, and how many of the last of them count.
        """
        begin, end = getattr(self, name)
        return round(end / DT), max(1, round((end - begin) / DT))
