"""The loops of one area through a chunk of steps, compiled.

`advance` computes the states after steps `done` + 1 to `done` + `steps` of some images. The state after step t lies in slot
t modulo the number of slots. A chunk is done in groups of images, and within them in blocks of steps:

1. what areas below send during a block of steps, which is known: either as sums (stride 2), or as products that await
   those of the area itself (stride 1);
2. the recurrence, step by step: factors of the old state, products, and one pass that makes the new state of them.

Large maps are done a strip of tiles at a time, so that factors and products stay in the cache.
"""

# mypy: ignore-errors
# what numba compiles looks like Python, but has types of its own

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from cordstasks.cordsnet.engines.fast.vectors import FLOAT, add, copy, product, tile_in, tile_out
from cordstasks.cordsnet.engines.portable import SMALLEST
from cordstasks.utils import vectors

NOTHING, DIRECT, STRIDED, SKIPPED = range(4)  # what an area is sent at every step, see `Area.below`
BORDER = 1  # of zeros around each map
PAD = 48  # floats between the products of a tile, so that they do not all fall into the same sets of the cache


class Area(NamedTuple):
    """An area of some images, as compiled code sees it.

    Attributes
    ----------
    below : int
        What it is sent: `NOTHING` (area 0, beside its drive), `DIRECT` (the area below; area 1), `STRIDED` (the sum of the
        two areas below, at stride 2; areas 2, 4 and 6), `SKIPPED` (the area below, and the one below that through a 1x1
        convolution of stride 2; areas 3, 5 and 7).
    algorithm, products, outputs, first : int
        See `cordstasks.cordsnet.engines.fast.transforms.Algorithm`; `first` counts from the border.
    images, side, tiles : int
        Number of images, side of the map, tiles along a side.
    group, block, strip : int
        Images, steps and rows of tiles that are done at once.
    states, lower, lowest : ndarray of shape (slot, image, row, column, channel)
        States of this area, of the one below, and of the one below that, with their borders.
    drive : ndarray of shape (image or 1, row, column, channel)
        What is added at every step.
    recurrent, forward, skip : ndarray
        Weights in panels.
    factors, results : ndarray
        Room for the transformed inputs of the products, and for the products.
    sums : ndarray
        Room for what areas below send in a block of steps: with stride 2 the drive and it, with a skip the input map.
    patches : ndarray of shape (row, floats)
        Room for what a direct product multiplies.
    """

    below: int
    algorithm: int
    products: int
    outputs: int
    first: int
    images: int
    side: int
    tiles: int
    group: int
    block: int
    strip: int
    states: np.ndarray
    lower: np.ndarray
    lowest: np.ndarray
    drive: np.ndarray
    recurrent: np.ndarray
    forward: np.ndarray
    skip: np.ndarray
    factors: np.ndarray
    results: np.ndarray
    sums: np.ndarray
    patches: np.ndarray


@njit
def _at(maps, slot, image, row, column):
    """Address of a location's channels in states."""
    strides = maps.strides
    return maps.ctypes.data + slot * strides[0] + image * strides[1] + row * strides[2] + column * strides[3]


@njit
def _transform(area, source, row, pixel, top, height, target, apart, channels):
    """Factors of the tiles of one map in `height` rows of tiles from `top`; the border's corner lies at `source`."""
    for y in range(height):
        for x in range(area.tiles):
            corner = source + ((top + y) * area.outputs + area.first) * row + (x * area.outputs + area.first) * pixel
            place = target + (y * area.tiles + x) * channels * FLOAT
            tile_in(area.algorithm, corner, row, pixel, place, apart, channels)


@njit
def _multiply(area, rows, weights, length, results, results_apart, added):
    """All products of the factors of `rows` tiles with weights (product, length, channel)."""
    channels = area.states.shape[4]
    factors_apart = (rows * length + PAD) * FLOAT
    for number in range(area.products):
        product(
            area.factors.ctypes.data + number * factors_apart,
            length * FLOAT,
            weights.ctypes.data + number * length * channels * FLOAT,
            results + number * results_apart,
            channels * FLOAT,
            rows,
            length,
            channels,
            added,
        )


@njit
def _strided(area, image, images, done, steps):
    """Sums = drive + the two maps below, added and convolved at stride 2, of each step and image in turn."""
    slots, channels, inputs = area.states.shape[0], area.states.shape[4], area.lower.shape[4]
    side, pixel = area.side, channels * FLOAT
    most, length = area.patches.shape[0], 9 * inputs
    patches, sums = area.patches.ctypes.data, area.sums.ctypes.data
    begun, filled = 0, 0
    for step in range(steps):
        slot = (done + step) % slots
        for number in range(image, image + images):
            for y in range(side):
                if filled + side > most:
                    target = sums + begun * pixel
                    product(patches, length * FLOAT, area.forward.ctypes.data, target, pixel, filled, length, channels, True)
                    begun += filled
                    filled = 0
                drive = _drive(area, number) + y * area.drive.strides[1]
                copy(drive, sums + (begun + filled) * pixel, side * channels)
                for x in range(side):
                    for tap in range(3):
                        # the border makes location 2 y + tap - 1 of a map the row 2 y + tap
                        first = _at(area.lower, slot, number, 2 * y + tap, 2 * x)
                        second = _at(area.lowest, slot, number, 2 * y + tap, 2 * x)
                        add(first, second, patches + ((filled + x) * 9 + 3 * tap) * inputs * FLOAT, 3 * inputs)
                filled += side
    target = sums + begun * pixel
    product(patches, length * FLOAT, area.forward.ctypes.data, target, pixel, filled, length, channels, True)


@njit
def _skipped(area, image, images, done, steps):
    """Sums = maps with borders: the map below + the one below that through the skip, of each step and image in turn."""
    slots, side, inputs, lowest = area.states.shape[0], area.side, area.lower.shape[4], area.lowest.shape[4]
    rows = steps * images * side * side
    patches = area.patches.ctypes.data
    filled = 0
    for step in range(steps):
        slot = (done + step) % slots
        for number in range(image, image + images):
            for y in range(side):
                for x in range(side):
                    source = _at(area.lowest, slot, number, 2 * y + BORDER, 2 * x + BORDER)
                    copy(source, patches + filled * lowest * FLOAT, lowest)
                    filled += 1
    sent = patches + rows * lowest * FLOAT
    product(patches, lowest * FLOAT, area.skip.ctypes.data, sent, inputs * FLOAT, rows, lowest, inputs, False)
    row = area.lower.strides[2]
    for step in range(steps):
        slot = (done + step) % slots
        for number in range(images):
            corner = area.sums.ctypes.data + (step * images + number) * area.lower.strides[1]
            for y in range(side):
                target = corner + (y + BORDER) * row + BORDER * inputs * FLOAT
                source = sent + ((step * images + number) * side + y) * side * inputs * FLOAT
                add(_at(area.lower, slot, image + number, y + BORDER, BORDER), source, target, side * inputs)


@njit
def _forward_products(area, image, images, done, steps, top, height, apart):
    """Results = products of what is sent during some steps, rows in the order step, image, tile."""
    slots, inputs = area.states.shape[0], area.lower.shape[4]
    tiles = height * area.tiles
    rows = steps * images * tiles
    for step in range(steps):
        slot = (done + step) % slots
        for number in range(images):
            if area.below == SKIPPED:
                source = area.sums.ctypes.data + (step * images + number) * area.lower.strides[1]
            else:
                source = _at(area.lower, slot, image + number, 0, 0)
            target = area.factors.ctypes.data + (step * images + number) * tiles * inputs * FLOAT
            apart_in = (rows * inputs + PAD) * FLOAT
            _transform(area, source, area.lower.strides[2], inputs * FLOAT, top, height, target, apart_in, inputs)
    _multiply(area, rows, area.forward, inputs, area.results.ctypes.data, apart, False)


@njit
def _drive(area, image):
    """Address of an image's drive, which all images may share."""
    return area.drive.ctypes.data + (image if area.drive.shape[0] > 1 else 0) * area.drive.strides[0]


@njit
def _recurrent_step(area, alpha, image, images, done, step, top, height, apart):
    """The new state of a strip, after step `done` + `step` + 1; `step` is that within the block."""
    slots, channels, side, outputs = area.states.shape[0], area.states.shape[4], area.side, area.outputs
    pixel, row = channels * FLOAT, area.states.strides[2]
    old, new = (done + step) % slots, (done + step + 1) % slots
    tiles = height * area.tiles
    rows = images * tiles
    for number in range(images):
        target = area.factors.ctypes.data + number * tiles * pixel
        source = _at(area.states, old, image + number, 0, 0)
        _transform(area, source, row, pixel, top, height, target, (rows * channels + PAD) * FLOAT, channels)
    awaited = area.below == DIRECT or area.below == SKIPPED
    results = area.results.ctypes.data + (step * rows * pixel if awaited else 0)
    _multiply(area, rows, area.recurrent, channels, results, apart, awaited)
    for number in range(images):
        if area.below == STRIDED:
            drive = area.sums.ctypes.data + (step * images + number) * side * side * pixel
        else:
            drive = _drive(area, image + number)
        for y in range(height):
            for x in range(area.tiles):
                down, right = (top + y) * outputs, x * outputs
                tile_out(
                    area.algorithm,
                    results + (number * tiles + y * area.tiles + x) * pixel,
                    apart,
                    drive + (down * side + right) * pixel,
                    side * pixel,
                    pixel,
                    _at(area.states, old, image + number, down + BORDER, right + BORDER),
                    _at(area.states, new, image + number, down + BORDER, right + BORDER),
                    row,
                    pixel,
                    channels,
                    side - down,
                    side - right,
                    alpha,
                )


@njit
def _advance_group(area, alpha, image, images, done, steps):
    """A block of steps of a group of images."""
    if area.below == STRIDED:
        _strided(area, image, images, done, steps)
    elif area.below == SKIPPED:
        _skipped(area, image, images, done, steps)
    for top in range(0, area.tiles, area.strip):
        height = min(area.strip, area.tiles - top)
        rows = images * height * area.tiles
        if area.below == DIRECT or area.below == SKIPPED:
            apart = (steps * rows * area.states.shape[4] + PAD) * FLOAT
            _forward_products(area, image, images, done, steps, top, height, apart)
        else:
            apart = (rows * area.states.shape[4] + PAD) * FLOAT
        for step in range(steps):
            _recurrent_step(area, alpha, image, images, done, step, top, height, apart)


def _digest():
    """Hash of the sources that are compiled: numba keys its cache by one function's file, not by those that it calls."""
    folder = Path(__file__).parent
    sources = [*(folder / f"{name}.py" for name in ("transforms", "vectors", "areas")), Path(vectors.__file__)]
    constants = repr(SMALLEST).encode()
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources) + constants).hexdigest()


def _made(digest, options):
    @njit(nogil=True, **options)
    def advance(area, alpha, done, steps):
        if digest == "":  # never; a variable of the enclosing function becomes part of the cache's key
            return
        for image in range(0, area.images, area.group):
            images = min(area.group, area.images - image)
            for first in range(done, done + steps, area.block):
                _advance_group(area, alpha, image, images, first, min(area.block, done + steps - first))

    return advance


try:
    advance = _made(_digest(), {"cache": True})
except (RuntimeError, OSError):  # no folder that numba could keep compiled code in can be written
    advance = _made("not kept", {})
