"""Numerosity displays, as in Nieder, Freedman & Miller (2002)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError, unknown
from cordstasks.stimuli import _shapes
from cordstasks.stimuli._checks import not_negative, positive, whole
from cordstasks.stimuli._placement import in_line, scattered, spaced
from cordstasks.stimuli.discs import discs
from cordstasks.stimuli.display import Display
from cordstasks.utils.arguments import plain

CONTROLS = (
    "standard",
    "equal_area",
    "equal_circumference",
    "low_density",
    "high_density",
    "linear",
    "shapes",
)
"""Kinds of display: the standard one, and those that hold something else than the number equal."""


@dataclass(frozen=True)
class Numerosity:
    """Dots on a disc, the displays of Nieder, Freedman & Miller (2002, Science 297: 1708-1711).

    Black dots of random diameter at random locations on a grey disc on black. They neither touch each other nor leave the
    disc. Controls keep a property constant that would otherwise change with the number:

    - ``"equal_area"``: the dots' total area.
    - ``"equal_circumference"``: their total circumference.
    - ``"low_density"``, ``"high_density"``: the mean distance of a dot to its nearest neighbour, centre to centre.
    - ``"linear"``: the arrangement; all dots lie on a line with a random direction.
    - ``"shapes"``: none; the shape varies: discs, triangles, squares, pentagons and bars, each with the area of a dot.

    Parameters
    ----------
    number : int
        Number of dots.
    control : str
        One of `CONTROLS`.
    disc : float
        Diameter of the grey disc, in deg.
    diameters : (float, float)
        Smallest and largest diameter of a dot, in deg; those of one display are scaled together in the controls of
        area and circumference.
    gap : float
        Least distance between the edges of two dots, in deg, and half of it to the edge of the disc.
    total_area : float
        Of all dots with the control of area, in deg^2.
    total_circumference : float
        Of all dots with the control of circumference, in deg.
    spacings : (float, float)
        Mean distance to the nearest neighbour at low and at high density, in deg.
    luminance : (float, float)
        Of the disc and of the dots, from 0 (black) to 1 (white).

    Raises
    ------
    InputError
        If a value is not finite or out of its range, or the control is unknown.
    """

    number: int
    control: str = "standard"
    disc: float = 6.0
    diameters: tuple[float, float] = (0.5, 0.9)
    gap: float = 0.2
    total_area: float = 1.2
    total_circumference: float = 6.0
    spacings: tuple[float, float] = (2.1, 1.2)
    luminance: tuple[float, float] = (0.5, 0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", whole("number", self.number))
        if self.control not in CONTROLS:
            raise unknown("control", self.control, CONTROLS)
        for name in ("disc", "total_area", "total_circumference"):
            object.__setattr__(self, name, positive(name, getattr(self, name), "deg"))
        object.__setattr__(self, "gap", not_negative("gap", self.gap, "deg"))
        for name, ordered in (("diameters", True), ("spacings", False)):
            object.__setattr__(self, name, _two(name, getattr(self, name), ordered=ordered))
        levels = tuple(not_negative("luminance", level) for level in self.luminance)
        if len(levels) != 2 or max(levels) > 1 or levels[0] == levels[1]:
            raise InputError(f"luminance is {self.luminance!r}; give two different fractions of white, disc and dots")
        object.__setattr__(self, "luminance", levels)


@dataclass(frozen=True, eq=False)
class Dots:
    """Locations and sizes of the dots of a display.

    Attributes
    ----------
    x, y : ndarray of shape (dot,), float64
        Centres in deg, rightward and upward from the screen's centre.
    diameter : ndarray of shape (dot,), float64
        Diameter in deg of the disc of equal area.
    shape : ndarray of shape (dot,), int64
        Number of the shape, 0 for a disc.
    angle : ndarray of shape (dot,), float64
        Angle by which each is turned, in radians.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    diameter: NDArray[np.float64]
    shape: NDArray[np.int64]
    angle: NDArray[np.float64]


def place_dots(what: Numerosity, rng: np.random.Generator) -> Dots:
    """Draw the dots of a display.

    Returns
    -------
    Dots
        Positions and diameters in deg.

    Raises
    ------
    InputError
        If the dots do not fit on the disc as the control requires.
    """
    diameter = rng.uniform(*what.diameters, size=what.number)
    if what.control == "equal_area":
        diameter *= math.sqrt(what.total_area / (math.pi / 4 * float((diameter**2).sum())))
    elif what.control == "equal_circumference":
        diameter *= what.total_circumference / (math.pi * float(diameter.sum()))
    shape: NDArray[np.int64] = np.zeros(what.number, np.int64)
    if what.control == "shapes":
        shape = rng.integers(len(_shapes.POLYGONS), size=what.number)
    reach = _shapes.REACH[shape] * diameter
    room = (what.disc - what.gap) / 2
    if what.control == "linear":
        places = in_line(reach, room, what.gap, rng)
    elif what.control in ("low_density", "high_density"):
        spacing = what.spacings[what.control == "high_density"]
        places = spaced(reach, room, what.gap, spacing, rng)
    else:
        places = scattered(reach, room, what.gap, rng)
    if places is None:
        raise InputError(
            f"number is {what.number}: {what.control} dots of up to {diameter.max():.2g} deg and {what.gap:g} deg apart do "
            f"not fit on a disc of {what.disc:g} deg; give fewer or smaller dots, or a larger disc"
        )
    return Dots(places[:, 0], places[:, 1], diameter, shape, 2 * np.pi * rng.random(what.number))


def numerosity(what: Numerosity, display: Display, *, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A picture of dots.

    Parameters
    ----------
    what : Numerosity
        What is shown.
    display : Display
        The screen; the disc is at its centre.
    rng : numpy.random.Generator
        Draws the dots.

    Returns
    -------
    uint8 (height, width, 1)
        Every pixel shows the mean luminance over its area.

    Raises
    ------
    InputError
        If the disc is larger than the screen, or the dots do not fit on it.
    """
    if what.disc > display.field_of_view:
        raise InputError(
            f"disc is {what.disc:g} deg, larger than the screen; "
            f"give at most the Display's field_of_view ({display.field_of_view:g} deg)"
        )
    dots = place_dots(what, rng)
    ground, light = what.luminance
    left, top, share = _shapes.covers(
        display.columns(dots.x),
        display.rows(dots.y),
        dots.diameter * display.pixels_per_degree,
        dots.shape,
        dots.angle,
    )
    side = share.shape[1]
    margin = side  # patches may extend beyond the screen's edge, although their dots do not
    image = np.pad(_disc(display, what.disc, ground), margin)
    for first, start, cover in zip(left + margin, top + margin, share, strict=True):
        image[start : start + side, first : first + side] += cover * (light - ground)
    inner = image[margin:-margin, margin:-margin]
    grey: NDArray[np.uint8] = np.rint(255 * np.clip(inner, 0, 1)).astype(np.uint8)[:, :, None]
    return grey


@lru_cache(maxsize=16)
def _disc(display: Display, diameter: float, luminance: float) -> NDArray[np.float64]:
    """The disc without dots (height, width), luminance from 0 to 1."""
    picture: NDArray[np.float64] = discs(display, 0, 0, diameter)[..., 0].astype(np.float64) * (luminance / 255)
    picture.flags.writeable = False
    return picture


def _two(name: str, values: object, *, ordered: bool) -> tuple[float, float]:
    given = plain(values)
    if not isinstance(given, tuple) or len(given) != 2:
        raise InputError(f"{name} is {values!r}; give two numbers (deg)")
    first, second = (positive(name, value, "deg") for value in given)
    if ordered and first > second:
        raise InputError(f"{name} is {values!r}; give the smaller first (deg)")
    return first, second
