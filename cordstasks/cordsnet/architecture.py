"""The wiring that CordsNet and its feed-forward counterpart share (Soo et al. 2024, Fig. 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import index
from typing import Generic, TypeVar

from cordstasks.errors import InputError
from cordstasks.utils.arguments import whole

Activity = TypeVar("Activity")

DEPTHS = (2, 4, 6, 8)
STEM_CHANNELS = 64
CHANNELS_IN = (64, 64, 64, 128, 128, 256, 256, 512)
CHANNELS_OUT = (64, 64, 128, 128, 256, 256, 512, 512)
STRIDES = (1, 1, 2, 1, 2, 1, 2, 1)
SMALLEST_IMAGE, LARGEST_IMAGE = 32, 512


def check_depth(depth: int) -> int:
    """Return `depth` if a CordsNet of that many areas exists, else raise an InputError."""
    asked = f"CordsNet has 2, 4, 6 or 8 areas; choose one of {DEPTHS}"
    chosen = whole("depth", depth, asked=asked)
    if chosen not in DEPTHS:
        raise InputError(f"depth={depth!r}: {asked}")
    return chosen


def check_image_size(image_size: int) -> int:
    """Return `image_size` (px) if a CordsNet can see it, else raise an InputError."""
    asked = f"choose a whole number of pixels from {SMALLEST_IMAGE} to {LARGEST_IMAGE}"
    chosen = whole("image_size", image_size, least=SMALLEST_IMAGE, asked=asked)
    if chosen > LARGEST_IMAGE:
        raise InputError(f"image_size={image_size!r}: {asked}")
    return chosen


def check_areas(areas: int | Iterable[int] | None, depth: int, *, label: str | None = None) -> tuple[int, ...]:
    """The areas to read, in increasing order.

    Parameters
    ----------
    areas : one or more different areas, numbered from 0; None for the last.
    depth : number of areas that there are.
    label : how error messages begin (default ``areas=...``).

    Returns
    -------
    tuple of int
        The areas in increasing order.

    Raises
    ------
    InputError
        If `areas` is empty, repeats an area, or names one that there is not.
    """
    if areas is None:
        return (depth - 1,)
    label = label or f"areas={areas!r}"
    there_are = f"areas 0 to {depth - 1}"
    try:
        if isinstance(areas, (str, bytes)):
            raise TypeError
        given = list(areas) if isinstance(areas, Iterable) and getattr(areas, "ndim", 1) > 0 else [areas]
        if any(isinstance(area, bool) for area in given):
            raise TypeError
        numbers = [index(area) for area in given]  # type: ignore[arg-type]
    except TypeError:
        raise InputError(f"{label}: not a number or a list of numbers of areas; this network has {there_are}") from None
    if not numbers:
        raise InputError(f"{label}: names no area; this network has {there_are}")
    for number in numbers:
        if not 0 <= number < depth:
            raise InputError(f"{label}: there is no area {number}; this network has {there_are}")
        if numbers.count(number) > 1:
            raise InputError(f"{label}: names area {number} more than once; name each area once")
    return tuple(sorted(numbers))


def area_sides(image_size: int, depth: int = 8) -> tuple[int, ...]:
    """Height (= width) in units of each area's map, for square images of `image_size` px."""
    side = _halved(_halved(image_size))  # stem convolution, then pooling
    sides = []
    for stride in STRIDES[:depth]:
        side = _halved(side) if stride == 2 else side
        sides.append(side)
    return tuple(sides)


def _halved(side: int) -> int:
    return (side + 1) // 2  # odd kernels k, stride 2, padding (k - 1) / 2


@dataclass(frozen=True)
class Drive(Generic[Activity]):
    """What an image gives the areas, the same at every step for as long as it stays.

    Attributes
    ----------
    stem : array (image, 64, height, width)
        The stem's output: the input h_0 of area 0.
    skip : array (image, 64, height, width)
        What the 3x3 convolution `inp_skip` makes of it and adds to the input h_1 of area 1.
    """

    stem: Activity
    skip: Activity


def area_input(
    area: int, drive: Drive[Activity], rates: Sequence[Activity], skips: Sequence[Callable[[Activity], Activity]]
) -> Activity:
    """What area `area` is fed, the input h_l of its Conv_inp: the activity of the area below plus a shortcut.

    Parameters
    ----------
    area : int
        From 0.
    drive : Drive
        Of the image shown.
    rates : sequence of array
        Activity of each area, at least of those below.
    skips : sequence of callable
        ``skips[k]`` is the 1x1 convolution of stride 2 that feeds area 2k + 3.

    Returns
    -------
    array
    """
    if area == 0:
        return drive.stem
    if area == 1:
        return rates[0] + drive.skip  # type: ignore[operator]
    if area % 2 == 0:
        return rates[area - 1] + rates[area - 2]  # type: ignore[operator]
    return rates[area - 1] + skips[(area - 3) // 2](rates[area - 2])  # type: ignore[operator]
