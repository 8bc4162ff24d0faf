"""Filled discs at sub-pixel positions: fixation spots, targets, cues, numerosity displays."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.errors import InputError
from cordstasks.stimuli._antialias import box_profile
from cordstasks.stimuli._checks import not_negative
from cordstasks.stimuli.display import Display

_SLICES_PER_PIXEL = 16


def discs(
    display: Display,
    x: ArrayLike,
    y: ArrayLike,
    diameter: ArrayLike,
    *,
    luminance: ArrayLike = 1.0,
    background: float = 0.0,
    blur: float = 0.0,
) -> NDArray[np.uint8]:
    """An image of filled, anti-aliased discs.

    Every pixel shows the mean luminance over its area. Discs are painted in order, each over the previous ones.

    Parameters
    ----------
    display : Display
        The screen.
    x, y : float or float (disc,)
        Centres in deg, rightward and upward from the screen's centre.
    diameter : float or float (disc,)
        Diameters in deg.
    luminance : float or float (disc,)
        From 0 (black) to 1 (white).
    background : float
        Luminance around the discs, from 0 to 1.
    blur : float
        Standard deviation in deg of a Gaussian that blurs each disc; 0 for sharp edges.

    Returns
    -------
    uint8 (height, width, 1)

    Raises
    ------
    InputError
        If a value is not finite or out of its range, if the arguments' lengths differ, or if a disc lies wholly
        outside the screen.
    """
    columns = _per_disc(x=x, y=y, diameter=diameter, luminance=luminance)
    blur = not_negative("blur", blur, "deg") * display.pixels_per_degree
    _check(display, columns, background)
    image = np.full((display.pixels, display.pixels), float(background))
    for centre_x, centre_y, width, light in columns.T:
        cover = _cover(display, centre_x, centre_y, width, blur)
        image += cover * (light - image)
    grey: NDArray[np.uint8] = np.rint(255 * image).astype(np.uint8)[:, :, None]
    return grey


def _per_disc(**values: ArrayLike) -> NDArray[np.float64]:
    """The arguments as float64 (argument, disc)."""
    try:
        arrays = [np.asarray(value, dtype=np.float64) for value in values.values()]
        table = np.stack(np.broadcast_arrays(*arrays))
    except (TypeError, ValueError) as error:
        raise InputError(f"{', '.join(values)} are not one number or one number a disc each: {error}") from None
    if table.ndim > 2:
        raise InputError(f"{', '.join(values)} have {table.ndim - 1} dimensions; give one number or one number a disc")
    return table.reshape(len(values), -1)


def _check(display: Display, columns: NDArray[np.float64], background: float) -> None:
    x, y, diameter, luminance = columns
    if not np.isfinite(columns).all():
        raise InputError("x, y, diameter or luminance is not finite; give finite numbers (deg, luminance from 0 to 1)")
    if (diameter <= 0).any():
        raise InputError(f"diameter is {diameter.min():g}; give diameters above 0 (deg)")
    if ((luminance < 0) | (luminance > 1)).any():
        worst = luminance[np.argmax(np.abs(luminance - 0.5))]
        raise InputError(f"luminance is {worst:g}; give a fraction from 0 (black) to 1 (white)")
    if not 0 <= background <= 1:
        raise InputError(f"background is {background!r}; give a fraction from 0 (black) to 1 (white)")
    outside = np.maximum(np.abs(x), np.abs(y)) - diameter / 2 >= display.field_of_view / 2
    if outside.any():
        first = int(np.argmax(outside))
        raise InputError(
            f"disc {first} at ({x[first]:g}, {y[first]:g}) deg lies outside the screen of "
            f"{display.field_of_view:g} deg; move it or use a Display with a wider field_of_view"
        )


def _cover(display: Display, x: float, y: float, diameter: float, blur: float) -> NDArray[np.float64]:
    """Fraction of each pixel (row, column) that a blurred disc covers; `blur` in pixels.

    The disc is a stack of thin boxes. Each is as wide as the disc's mean chord over the box, so the area is exact. Each box
    is blurred and integrated over the pixels exactly.
    """
    radius = 0.5 * diameter * display.pixels_per_degree
    slices = math.ceil(2 * radius * _SLICES_PER_PIXEL)
    height = np.linspace(-1, 1, slices + 1, dtype=np.float64)
    segment = height * np.sqrt(1 - height**2) + np.arcsin(height)
    thickness = 2 * radius / slices
    chord = np.diff(segment) * radius**2 / thickness
    middle = radius * 0.5 * (height[1:] + height[:-1])
    edges = np.arange(display.pixels + 1, dtype=np.float64)
    across = box_profile(edges, display.columns(np.array([[x]])), chord[:, None], blur)
    down = box_profile(edges, display.rows(np.array([[y]])) + middle[:, None], thickness, blur)
    cover: NDArray[np.float64] = down.T @ across
    return cover
