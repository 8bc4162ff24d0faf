"""Settings of the experiments on autonomy and robustness. This module does not need torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cordstasks.errors import InputError
from cordstasks.utils.settings import Settings, choice, number, optional, setting, several, text, whole

__all__ = ["PARTS", "Period", "RobustnessSettings", "periods"]

PARTS = ("autonomy", "noise")
NETWORKS, SEQUENCE, NOISE, GENERAL = "the networks", "part autonomy", "part noise", "in general"
_ABOVE = number("a finite number above 0", above=0.0)


@dataclass(frozen=True)
class Period:
    """A period of a sequence.

    Attributes
    ----------
    image : int or None
        Which of the images that one trial shows, from 0; None for no image.
    duration : float
        In ms.
    """

    image: int | None
    duration: float


def periods(texts: tuple[str, ...]) -> tuple[Period, ...]:
    """The periods of a sequence such as ``("blank:100", "image:400", "blank:200", "image:400")``.

    Every ``image`` is another one; ``image1`` is the first of them again, ``image2`` the second.

    Parameters
    ----------
    texts : tuple of str
        What is shown, a colon, and its duration in ms.

    Returns
    -------
    tuple of Period

    Raises
    ------
    InputError
        If a text is no such period, or no image is shown.
    """
    found, shown = list[Period](), 0
    for each in texts:
        what, _, duration = each.partition(":")
        try:
            ms = float(duration)
        except ValueError:
            ms = 0.0
        again = what.removeprefix("image")
        valid = what in ("blank", "image") or (what.startswith("image") and again.isdecimal() and 1 <= int(again) <= shown)
        if not valid or not 0 < ms < float("inf"):
            raise InputError(
                f"sequence={each}: write image:MS, blank:MS, or image1:MS for the first image again, such as image:400"
            )
        if what == "image":
            found.append(Period(shown, ms))
            shown += 1
        else:
            found.append(Period(None if what == "blank" else int(again) - 1, ms))
    if not shown:
        raise InputError(f"sequence={' '.join(texts)}: shows no image; add image:400")
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class RobustnessSettings(Settings):
    """Which networks see what for how long, and under how much noise.

    References
    ----------
    Soo, Battista, Radmard & Wang 2024, "Recurrent neural network dynamical systems for biological vision", NeurIPS 37,
    figure 3.
    """

    FAMILY: ClassVar[str] = "robustness"

    network: str = setting(text(), "CordsNet: a name such as cordsnet-r8, or a file", default="cordsnet-r8", group=NETWORKS)
    cnn: str | None = setting(
        optional(text()),
        "folder in which `python -m cordstasks.pretrain --stage cnn` has trained a feed-forward CNN",
        default=None,
        group=NETWORKS,
        metavar="DIR",
    )
    recurrent: str | None = setting(
        optional(text()),
        "folder in which `python -m cordstasks.pretrain --stage recurrent` has trained a discrete-time recurrent CNN",
        default=None,
        group=NETWORKS,
        metavar="DIR",
    )
    discrete_ms: float = setting(
        _ABOVE, "ms that a step of the other networks stands for; CordsNet's is its own dt", default=10.0, group=NETWORKS
    )
    rest_ms: float = setting(_ABOVE, "ms without an image before each sequence begins", default=200.0, group=NETWORKS)

    sequence: tuple[str, ...] = setting(
        several(text(), "periods such as image:400 blank:200"),
        "what is shown for how many ms: image (another one each time), blank, or image1 for the first image again",
        default=("blank:50", "image:400", "blank:200", "image:400", "blank:200"),
        group=SEQUENCE,
        metavar="WHAT:MS",
    )
    every_ms: float = setting(_ABOVE, "ms between measurements", default=10.0, group=SEQUENCE)

    noise_levels: tuple[float, ...] = setting(
        several(_ABOVE, "numbers above 0", different=True, in_order=True),
        "standard deviations of the noise: of normalised images (1 is a standard deviation of the data set's pixels), or "
        "relative to the root-mean-square activity of each area",
        default=(0.1, 0.2, 0.5, 1.0, 2.0),
        group=NOISE,
    )
    noise_in: str = setting(
        choice("image", "units"),
        "where noise is added: image, units (in the activation of every unit)",
        default="image",
        group=NOISE,
    )
    noise_image_ms: float = setting(_ABOVE, "ms of the image; the second half is measured", default=200.0, group=NOISE)

    count: int = setting(whole(least=2), "images, taken evenly from all classes", default=100, group=GENERAL)
    batch: int = setting(whole(), "images at a time", default=25, group=GENERAL)
    seed: int = setting(whole(least=0), "of the noise and of the bootstrap", default=0, group=GENERAL)
    resamples: int = setting(whole(), "of the bootstrap", default=2000, group=GENERAL)

    def __post_init__(self) -> None:
        super().__post_init__()
        periods(self.sequence)
        if self.count <= max(period.image or 0 for period in self.periods):
            raise InputError(f"count={self.count}: the sequence shows more images than that; raise it")

    @property
    def periods(self) -> tuple[Period, ...]:
        """The sequence."""
        return periods(self.sequence)
