"""Cats, dogs and their blends: a parametric replacement for the stimuli of Freedman et al. (2001).

The original pictures, morphs of three-dimensional models of cats and dogs, are not public; `cordstasks.stimuli.ImageFolder`
shows them if you have them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError, unknown
from cordstasks.stimuli._animal_drawing import draw
from cordstasks.stimuli._checks import finite, positive
from cordstasks.stimuli._prototypes import PROTOTYPES
from cordstasks.stimuli.display import Display

CATS = ("tabby", "siamese", "persian")
DOGS = ("hound", "retriever", "spaniel")

FEATURES = tuple(PROTOTYPES["tabby"])
"""Names of what an animal is made of: shape, proportion and coat, lengths in units of half the picture's side."""

LINES = (*product(CATS, DOGS), *combinations(CATS, 2), *combinations(DOGS, 2))
"""The pairs of prototypes whose blends are morph lines: nine between the categories, then six within."""


def prototype(name: str) -> NDArray[np.float64]:
    """The vector (feature,) of a prototype, one of `CATS` and `DOGS`; its entries are named by `FEATURES`.

    Returns
    -------
    ndarray of shape (feature,), float64
        In the order of `FEATURES`.

    Raises
    ------
    InputError
        If there is no such prototype.
    """
    if name not in PROTOTYPES:
        raise unknown("prototype", name, PROTOTYPES)
    return np.array([PROTOTYPES[name][feature] for feature in FEATURES])


def morph(first: str, second: str, level: float) -> NDArray[np.float64]:
    """The blend (feature,) of two prototypes.

    Parameters
    ----------
    first, second : str
        Names of prototypes.
    level : float
        Fraction of the second prototype, from 0 to 1.

    Returns
    -------
    ndarray of shape (feature,), float64
        Named by `FEATURES`, as those of a prototype.

    Raises
    ------
    InputError
        If there is no such prototype, or the level is out of its range.
    """
    share = finite("level", level)
    if not 0 <= share <= 1:
        raise InputError(f"level is {level!r}; give the fraction of {second}, from 0 to 1")
    return (1 - share) * prototype(first) + share * prototype(second)


@dataclass(frozen=True)
class Pose:
    """Location and size of an animal on the screen.

    Parameters
    ----------
    size : float
        Side of the picture in deg.
    x, y : float
        Location of its centre in deg, rightward and upward from the screen's centre.

    Raises
    ------
    InputError
        If a value is not finite, or the size not above 0.
    """

    size: float = 4.2
    x: float = 0.0
    y: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", positive("size", self.size, "deg"))
        for name in ("x", "y"):
            object.__setattr__(self, name, finite(name, getattr(self, name), "deg"))


def animal(
    features: NDArray[np.float64], display: Display, *, pose: Pose | None = None, colour: bool = True
) -> NDArray[np.uint8]:
    """A picture of an animal's head on black, with shading and anti-aliased edges.

    Parameters
    ----------
    features : float64 (feature,)
        From `prototype` or `morph`. Any blend of prototypes is an animal.
    display : Display
        The screen.
    pose : Pose, optional
        Location and size; by default 4.2 deg at the screen's centre, as in Freedman, Riesenhuber, Poggio & Miller (2001,
        Science 291: 312-316).
    colour : bool
        Whether the picture has three channels or is grey.

    Returns
    -------
    uint8 (height, width, 3), or (height, width, 1) in grey

    Raises
    ------
    InputError
        If the picture does not fit on the screen, or the features are not as many as `FEATURES`.
    """
    pose = Pose() if pose is None else pose
    values = np.asarray(features, dtype=np.float64)
    if values.shape != (len(FEATURES),):
        raise InputError(f"features has shape {values.shape}; give ({len(FEATURES)},), from prototype() or morph()")
    if pose.size / 2 + max(abs(pose.x), abs(pose.y)) > display.field_of_view / 2:
        raise InputError(
            f"size is {pose.size:g} deg at ({pose.x:g}, {pose.y:g}) deg: the picture leaves the screen of "
            f"{display.field_of_view:g} deg; give a smaller size, or a Display with a wider field_of_view"
        )
    half = display.field_of_view / 2
    named = dict(zip(FEATURES, values.tolist(), strict=True))
    light = draw(named, display.pixels, x=pose.x / half, y=pose.y / half, size=pose.size / 2 / half)[..., :3]
    if not colour:
        light = light @ np.array([[0.299], [0.587], [0.114]])
    picture: NDArray[np.uint8] = np.rint(255 * np.clip(light, 0, 1)).astype(np.uint8)
    return picture
