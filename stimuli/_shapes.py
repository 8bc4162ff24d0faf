"""Small convex shapes at sub-pixel positions, each drawn on its own patch: fast if a picture has many shapes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROWS_PER_PIXEL = 16


def _regular(corners: int) -> Floats:
    """Corners (corner, 2) of a regular polygon with the area of a disc of diameter 1, about its centre."""
    angle = 2 * math.pi * (np.arange(corners) / corners) + math.pi / 2
    radius = math.sqrt(math.pi / 4 / (corners / 2 * math.sin(2 * math.pi / corners)))
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _bar(ratio: float) -> Floats:
    """Corners (corner, 2) of a rectangle `ratio` times as long as wide, with the area of a disc of diameter 1."""
    short = 0.5 * math.sqrt(math.pi / 4 / ratio)
    return np.array([[1.0, ratio], [-1.0, ratio], [-1.0, -ratio], [1.0, -ratio]]) * short


DISC = 0
POLYGONS: tuple[Floats | None, ...] = (None, _regular(3), _regular(4), _regular(5), _bar(2.0))
"""Corners of each shape, by number; the first is a disc."""
REACH = np.array([0.5, *(float(np.hypot(*corners.T).max()) for corners in POLYGONS if corners is not None)])
"""How far each shape reaches from its centre, for the area of a disc of diameter 1."""


def covers(
    column: Floats, row: Floats, diameter: Floats, shape: NDArray[np.int64], angle: Floats
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Fraction of each pixel that shapes cover, on a square patch around each shape.

    Along a row of pixels the fraction is exact; across rows it is the mean over sixteen lines per pixel.

    Parameters
    ----------
    column, row : float64 (shape,)
        Centres in pixels from the left and from the top edge.
    diameter : float64 (shape,)
        Diameter in pixels of the disc of equal area.
    shape : int64 (shape,)
        Indices into `POLYGONS`.
    angle : float64 (shape,)
        By how much each is turned, in radians.

    Returns
    -------
    left, top : int64 (shape,)
        First column and first row of each patch.
    share : float64 (shape, patch row, patch column)
    """
    reach = math.ceil(float((REACH[shape] * diameter).max()))
    side = 2 * reach + 1
    left = np.floor(column).astype(np.int64) - reach
    top = np.floor(row).astype(np.int64) - reach
    lines = (np.arange(side * _ROWS_PER_PIXEL) + 0.5) / _ROWS_PER_PIXEL
    height = lines - (row - top)[:, None]
    begin, end = _chords(height, diameter, shape, angle)
    begin += (column - left)[:, None]
    end += (column - left)[:, None]
    edge = np.arange(side, dtype=np.float64)
    covered = np.minimum(end[..., None], edge + 1)
    covered -= np.maximum(begin[..., None], edge)
    np.maximum(covered, 0, out=covered)
    share = covered.reshape(len(row), side, _ROWS_PER_PIXEL, side).mean(2)
    return left, top, share


def _chords(height: Floats, diameter: Floats, shape: NDArray[np.int64], angle: Floats) -> tuple[Floats, Floats]:
    """Where each shape begins and ends (shape, line) on lines at `height` (shape, line) below its centre, in pixels."""
    half = np.sqrt(np.maximum((0.5 * diameter[:, None]) ** 2 - height**2, 0))
    begin, end = -half, half
    for number in np.unique(shape[shape != DISC]):
        which = np.flatnonzero(shape == number)
        corners = POLYGONS[number]
        assert corners is not None  # only the disc has no corners
        cos, sin = np.cos(angle[which]), np.sin(angle[which])
        turn = np.array([[cos, sin], [-sin, cos]]).transpose(2, 0, 1)
        points = diameter[which, None, None] * (corners @ turn)
        follow = np.roll(points, -1, axis=1)
        x, y, rise = points[..., 0, None], points[..., 1, None], (follow - points)[..., 1, None]
        # an edge parallel to the lines meets at most one line, which has no width
        along = (height[which, None] - y) / np.where(rise == 0, np.inf, rise)
        met = (along >= 0) & (along <= 1) & (rise != 0)
        at = x + along * (follow - points)[..., 0, None]
        begin[which] = np.where(met, at, np.inf).min(1)
        end[which] = np.where(met, at, -np.inf).max(1)
    return begin, end
