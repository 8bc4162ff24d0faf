"""Drawing an animal's head from its features: shaded parts painted over one another.

Lengths are in units of half the picture's side, x rightward and y upward from its centre. Every part is drawn for every
animal, possibly with zero size or zero strength, so that a small change of any feature is a small change of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_LIGHT = np.array([-0.42, 0.58, 0.70])
_AMBIENT = 0.5
_SIDES = (-1.0, 1.0)
_Where = tuple[slice, slice]  # rows and columns of a part of the picture


def draw(features: Mapping[str, float], pixels: int, *, x: float = 0.0, y: float = 0.0, size: float = 1.0) -> Floats:
    """An animal's head.

    Parameters
    ----------
    features : mapping of str to float
        As in `cordstasks.stimuli.animals.FEATURES`.
    pixels : int
        Side of the picture.
    x, y, size : float
        Shift of the head, and its size, in units of the picture.

    Returns
    -------
    float64 (height, width, 4)
        Red, green, blue and coverage, from 0 to 1; colours are multiplied by the coverage.
    """
    canvas = _Canvas(pixels, x, y, size)
    _Head(canvas, dict(features)).paint()
    return canvas.picture()


class _Canvas:
    """A picture at twice its resolution, on which shapes are painted."""

    def __init__(self, pixels: int, x: float, y: float, size: float) -> None:
        self.pixels, self.fine = pixels, 2 * pixels if pixels < 512 else pixels
        centre = (np.arange(self.fine) + 0.5) * 2 / self.fine - 1
        self.x, self.y = (centre - x) / size, (-centre - y) / size
        self.per_unit = size * self.fine / 2  # fine pixels
        self.image = np.zeros((self.fine, self.fine, 4))

    def window(self, x: float, y: float, across: float, up: float) -> tuple[_Where, Floats, Floats]:
        """The part of the picture within `across` and `up` of a point: its slices, and x and y from that point."""
        margin = 2 / self.per_unit
        columns = slice(*np.searchsorted(self.x, [x - across - margin, x + across + margin]))
        rows = slice(*np.searchsorted(-self.y, [-y - up - margin, -y + up + margin]))
        return (rows, columns), self.x[None, columns] - x, self.y[rows, None] - y

    def paint(self, where: _Where, cover: Floats, colour: Floats) -> None:
        """Paint `colour` (3,) or (row, column, 3) with coverage (row, column) on a part of the picture."""
        part = self.image[where]
        part *= (1 - cover)[..., None]
        part[..., :3] += cover[..., None] * colour
        part[..., 3] += cover

    def tint(self, where: _Where, cover: Floats, colour: Floats) -> None:
        """As `paint`, but only on pixels that are already painted."""
        self.paint(where, cover * self.image[where][..., 3], colour)

    def edge(self, inside: Floats) -> Floats:
        """Coverage where `inside` is the distance to an edge, positive inside."""
        return np.clip(inside * self.per_unit + 0.5, 0, 1)

    def picture(self) -> Floats:
        if self.fine == self.pixels:
            return self.image
        fine: Floats = self.image.reshape(self.pixels, 2, self.pixels, 2, 4)
        return fine.mean((1, 3))


def _shade(normal_x: Floats, normal_y: Floats, relief: float = 1.0) -> Floats:
    """Brightness of a surface with the given normal; `relief` flattens it."""
    normal_x, normal_y = normal_x * relief, normal_y * relief
    upright = np.sqrt(np.maximum(1 - normal_x**2 - normal_y**2, 0.02))
    towards = normal_x * _LIGHT[0] + normal_y * _LIGHT[1] + upright * _LIGHT[2]
    return _AMBIENT + 0.6 * np.maximum(towards, 0)


class _Head:
    def __init__(self, canvas: _Canvas, features: dict[str, float]) -> None:
        self.canvas, self.f = canvas, features
        self.coat = np.array([features["coat_red"], features["coat_green"], features["coat_blue"]])
        self.pale = self.coat + (np.array([0.97, 0.95, 0.92]) - self.coat) * features["pale"]

    def paint(self) -> None:
        """The parts, back to front."""
        f = self.f
        self._chest()
        self._face()
        self._marks()
        for side in _SIDES:
            self._ear(side)
        self._muzzle()
        for side in _SIDES:
            self._eye(side)
        self._nose_and_mouth()
        if f["whiskers"] > 0:
            self._whiskers()

    def _ellipse(self, x: float, y: float, a: float, b: float, tilt: float = 0.0) -> tuple[_Where, Floats, Floats]:
        """Slices, and the coordinates in an ellipse, of semi-axes 1, of the part of the picture around it."""
        reach = max(a, b)
        where, right, up = self.canvas.window(x, y, reach, reach)
        cos, sin = math.cos(tilt), math.sin(tilt)
        return where, (cos * right + sin * up) / a, (cos * up - sin * right) / b

    def _blob(
        self,
        x: float,
        y: float,
        a: float,
        b: float,
        colour: Floats,
        *,
        relief: float = 0.0,
        tilt: float = 0.0,
        strength: float = 1.0,
    ) -> None:
        """An ellipse, shaded as a solid of that relief."""
        if min(a, b) * self.canvas.per_unit < 0.1:
            return
        where, u, v = self._ellipse(x, y, a, b, tilt)
        distance = np.hypot(u, v)
        cover = strength * self.canvas.edge((1 - distance) * min(a, b))
        lit = _shade(np.clip(u, -1, 1), np.clip(v, -1, 1), relief)[..., None] if relief else 1.0
        self.canvas.paint(where, cover, np.clip(colour * lit, 0, 1))

    def _haze(self, x: float, y: float, a: float, b: float, colour: Floats, strength: float, *, tilt: float = 0.0) -> None:
        """A soft spot of another colour on the coat."""
        where, u, v = self._ellipse(x, y, 1.6 * a, 1.6 * b, tilt)
        near = np.clip(1 - (u**2 + v**2), 0, 1) ** 1.5
        self.canvas.tint(where, np.clip(strength * 1.6 * near, 0, 1), colour)

    def _chest(self) -> None:
        f = self.f
        where, u, v = self._ellipse(0, -1.12, f["chest_width"], 0.62)
        # the bust ends with the picture
        inside = np.minimum((1 - np.hypot(u, v)) * min(f["chest_width"], 0.62), 0.62 * v - 0.12)
        lit = _shade(np.clip(u, -1, 1), np.clip(v, -1, 1), 0.7)[..., None]
        self.canvas.paint(where, self.canvas.edge(inside), 0.8 * self.coat * lit)
        self._haze(0, -0.98, 0.45 * f["chest_width"], 0.4, 0.85 * self.pale, 0.8)

    def _face(self) -> None:
        f = self.f
        width, height, y = f["head_width"], f["head_height"], f["head_y"]
        where, right, up = self.canvas.window(0, y, 1.4 * width, height)
        v = up / height
        # cheeks: wider or narrower below the middle
        broad = width * (1 + f["cheeks"] * np.clip(-v, -1, 1) * (1 - np.clip(v, -1, 1) ** 2))
        u = right / broad
        distance = (np.abs(u) ** 2.3 + np.abs(v) ** 2.3) ** (1 / 2.3)
        lit = _shade(np.clip(u, -1, 1), np.clip(v, -1, 1), 0.85)[..., None]
        self.canvas.paint(where, self.canvas.edge((1 - distance) * min(width, height)), np.clip(self.coat * lit, 0, 1))

    def _marks(self) -> None:
        """Stripes, a dark mask, a white blaze and dark patches."""
        f = self.f
        where, right, up = self.canvas.window(0, 0, 1.0, 1.0)
        brow = np.exp(-(((up - f["eye_y"] - 0.42) / 0.24) ** 2)) * np.exp(-((right / 0.36) ** 2))
        across = np.exp(-(((np.abs(right) - f["head_width"] * 0.86) / 0.22) ** 2)) * np.exp(-(((up + 0.18) / 0.3) ** 2))
        bars = brow * (0.5 + 0.5 * np.cos(2 * np.pi * right / 0.23)) ** 2
        bars = bars + across * (0.5 + 0.5 * np.cos(2 * np.pi * (up + 0.35 * np.abs(right)) / 0.24)) ** 2
        self.canvas.tint(where, np.clip(f["stripes"] * bars, 0, 1), 0.25 * self.coat)
        self._haze(0, -0.2, 0.42, 0.5, 0.28 * self.coat, f["mask"])
        light = np.array([0.97, 0.95, 0.92])
        self._haze(0, f["head_y"] + 0.3 * f["head_height"], 0.13, 0.62 * f["head_height"], light, f["blaze"])
        for side in _SIDES:
            self._haze(side * f["eye_x"], f["eye_y"] + 0.02, 0.22, 0.26, 0.35 * self.coat, f["patches"])

    def _ear(self, side: float) -> None:
        """A band along a curve from the ear's base over its bend to its tip, whose width follows from the features."""
        f = self.f
        base = np.array([f["ear_x"], f["ear_y"]])
        bend = base + np.array([f["bend_x"], f["bend_y"]])
        tip = base + np.array([f["tip_x"], f["tip_y"]])
        along = np.linspace(0, 1, 13)[:, None]
        blend = np.hstack([(1 - along) ** 2, 2 * along * (1 - along), along**2])
        spine = blend @ np.stack([base, bend, tip])
        spine[:, 0] *= side
        radius = blend @ np.array([f["ear_base"], f["ear_middle"], f["ear_tip"]])
        low, high = (spine - radius[:, None]).min(0), (spine + radius[:, None]).max(0)
        middle, half = (low + high) / 2, (high - low) / 2
        where, right, up = self.canvas.window(middle[0], middle[1], half[0], half[1])
        right, up = right + middle[0], up + middle[1]
        depth = np.full(np.broadcast_shapes(right.shape, up.shape), -np.inf)
        scale, lean_x, lean_y = np.ones_like(depth), np.zeros_like(depth), np.zeros_like(depth)
        for start, step, thick, change in zip(spine, np.diff(spine, axis=0), radius, np.diff(radius), strict=False):
            off_x, off_y = right - start[0], up - start[1]
            share = np.clip((off_x * step[0] + off_y * step[1]) / max(float(step @ step), 1e-12), 0, 1)
            off_x, off_y = off_x - share * step[0], off_y - share * step[1]
            own = thick + share * change
            inside = own - np.hypot(off_x, off_y)
            deeper = inside > depth
            depth = np.where(deeper, inside, depth)
            scale = np.where(deeper, own, scale)
            lean_x, lean_y = np.where(deeper, off_x / own, lean_x), np.where(deeper, off_y / own, lean_y)
        colour = self.coat * (1 - f["ear_dark"])
        lit = _shade(np.clip(lean_x, -1, 1), np.clip(lean_y, -1, 1), 0.8)[..., None]
        rim = np.clip(0.75 + 2.5 * depth, 0, 1)[..., None]  # a darker edge separates an ear from the head
        self.canvas.paint(where, self.canvas.edge(depth), np.clip(colour * lit * rim, 0, 1))
        # the open inside of an upright ear
        inner = self.canvas.edge(np.minimum(depth - 0.42 * scale, 0.5)) * f["ear_inside"]
        self.canvas.paint(where, inner, np.array([0.80, 0.55, 0.52]) * np.clip(lit, 0.7, 1))

    def _muzzle(self) -> None:
        f = self.f
        y, width, height = f["muzzle_y"], f["muzzle_width"], f["muzzle_height"]
        # a long muzzle throws a shadow and rises to the brow
        self._haze(0.03, y - 0.08, 1.1 * width, 1.15 * height, 0.4 * self.coat, 0.75 * f["muzzle_length"])
        colour = self.pale
        self._blob(0, y - 0.35 * height, 0.62 * width, 0.75 * height, 0.9 * colour, relief=0.75)
        self._blob(
            0,
            y + 0.3 * height,
            0.72 * width,
            height,
            colour,
            relief=0.35 + 0.5 * f["muzzle_length"],
            strength=f["muzzle_length"],
        )
        for side in _SIDES:
            self._blob(side * 0.46 * width, y, 0.58 * width, 0.62 * height, colour, relief=0.7)

    def _eye(self, side: float) -> None:
        f = self.f
        x, y, tilt = side * f["eye_x"], f["eye_y"], side * f["eye_tilt"]
        a, b = f["eye_width"], f["eye_height"]
        self._blob(x, y, a + 0.035, b + 0.035, np.array([0.06, 0.05, 0.05]), tilt=tilt)
        iris = np.array([f["iris_red"], f["iris_green"], f["iris_blue"]])
        self._blob(x, y, a, b, iris, tilt=tilt)
        self._blob(x, y, f["pupil_width"], f["pupil_height"], np.array([0.02, 0.02, 0.02]))
        self._blob(x - 0.35 * a, y + 0.4 * b, 0.035, 0.035, np.ones(3))
        # brows
        self._haze(x, y + b + 0.1, 0.13, 0.06, self.pale, f["brows"], tilt=side * -0.3)

    def _nose_and_mouth(self) -> None:
        f = self.f
        y, a, b = f["nose_y"], f["nose_width"], f["nose_height"]
        dark = np.array([0.05, 0.045, 0.05])
        colour = dark + (np.array([0.78, 0.45, 0.43]) - dark) * f["nose_pink"]
        low = y - b
        line = 0.022 + 0.008 * f["muzzle_length"]
        self._blob(0, low - 0.06, line, 0.08, dark)
        for side in _SIDES:
            where, right, up = self.canvas.window(side * 0.5 * f["mouth"], low - 0.12, 0.6 * f["mouth"], 0.14)
            curve = 0.09 * np.sin(np.pi * np.clip(side * right / f["mouth"] + 0.5, 0, 1))
            within = (np.abs(right) < 0.5 * f["mouth"]).astype(float)
            self.canvas.paint(where, within * self.canvas.edge(line - np.abs(up + curve)), dark)
        self._blob(0, low - 0.27, 0.6 * f["mouth"], 0.15, np.array([0.85, 0.38, 0.42]), relief=0.6, strength=f["tongue"])
        where, u, v = self._ellipse(0, y, a, b)
        # from an oval to a triangle that points downward
        narrow = 1 + 0.75 * f["nose_pointed"] * np.clip(v, -1, 1)
        distance = (np.abs(u / np.maximum(narrow, 0.15)) ** 2.5 + np.abs(v) ** 2.5) ** 0.4
        lit = _shade(np.clip(u, -1, 1), np.clip(v, -1, 1), 0.8)[..., None]
        self.canvas.paint(where, self.canvas.edge((1 - distance) * min(a, b)), np.clip(colour * lit, 0, 1))
        self._blob(-0.3 * a, y + 0.45 * b, 0.22 * a, 0.16 * b, np.full(3, 0.8), strength=0.7)

    def _whiskers(self) -> None:
        f = self.f
        for side in _SIDES:
            for rise in (-0.14, 0.02, 0.18):
                length, start = f["whisker_length"], 0.62 * f["muzzle_width"]
                x, y = side * (start + length / 2), f["muzzle_y"] + 0.02 + rise * 0.35
                where, right, up = self.canvas.window(x, y, length / 2, 0.3)
                along = side * right / length + 0.5
                height = up - rise * length * (along - 0.5) - 0.05 * np.sin(np.pi * np.clip(along, 0, 1))
                within = np.clip(np.minimum(along, 1 - along) * 12, 0, 1)
                cover = f["whiskers"] * within * self.canvas.edge(0.012 - np.abs(height))
                self.canvas.paint(where, cover, np.full(3, 0.95))
