"""Random-dot motion, as in Roitman & Shadlen (2002)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError
from cordstasks.stimuli._antialias import squares
from cordstasks.stimuli._checks import finite, not_negative, positive, whole
from cordstasks.stimuli.display import Display
from cordstasks.stimuli.movie import Movie


@dataclass(frozen=True)
class RandomDots:
    """The random-dot kinematogram of Roitman & Shadlen (2002, J. Neurosci. 22: 9475-9489): white dots on black.

    The dots are in the square that encloses a circular aperture, and only dots inside the aperture are drawn.
    Several sets take turns, one per frame, so at 75 Hz each of three sets is shown for one frame and redrawn 40 ms
    later. When a set is redrawn, each of its dots steps in the direction of motion with a probability equal to the
    coherence, and otherwise jumps to a random location in the square. A dot that steps out of the square enters at the
    opposite side.

    Parameters
    ----------
    coherence : float
        Probability that a dot steps with the motion, a fraction from 0 to 1 (0.512, not 51.2).
    direction : float
        Direction of motion in deg: 0 is rightward, 90 upward. Any value.
    aperture : float
        Diameter of the aperture, in deg.
    density : float
        Dots per square degree and second. A frame has density * aperture^2 / refresh dots in the square on average,
        5.57 by default; a set has the whole number below or above, drawn at random for each set of each movie so that
        the mean is right.
    speed : float
        Speed of the coherent dots, in deg/s: the step is speed * sets / refresh, 0.2 deg by default.
    dot_size : float
        Side of the square dots, in deg.
    sets : int
        Number of interleaved sets.
    blur : float
        Standard deviation in deg of the Gaussian that blurs the dots, as an eye's optics would.
    peak : float or None
        Brightness at the centre of an isolated blurred dot, as a fraction of white, so that a dot much smaller than a
        pixel still carries light. A pixel shows the mean over its area, which is less. None: a white dot of `dot_size`
        that the blur dims.

    Raises
    ------
    InputError
        If a value is not finite or out of its range.
    """

    coherence: float
    direction: float
    aperture: float = 5.0
    density: float = 16.7
    speed: float = 5.0
    dot_size: float = 0.1
    sets: int = 3
    blur: float = 0.15
    peak: float | None = 1.0

    def __post_init__(self) -> None:
        values: dict[str, float | int] = {
            "coherence": finite("coherence", self.coherence),
            "direction": finite("direction", self.direction, "deg"),
            "aperture": positive("aperture", self.aperture, "deg"),
            "density": positive("density", self.density, "dots per square degree and second"),
            "speed": not_negative("speed", self.speed, "deg/s"),
            "dot_size": positive("dot_size", self.dot_size, "deg"),
            "sets": whole("sets", self.sets),
            "blur": not_negative("blur", self.blur, "deg"),
        }
        if not 0 <= values["coherence"] <= 1:
            raise InputError(f"coherence is {self.coherence!r}; give a fraction from 0 to 1, such as 0.512 for 51.2 %")
        if self.peak is not None:
            values["peak"] = positive("peak", self.peak)
            if values["peak"] > 1:
                raise InputError(f"peak is {self.peak!r}; give a fraction of white above 0 and up to 1, or None")
        for name, value in values.items():
            object.__setattr__(self, name, value)


def random_dots(dots: RandomDots, display: Display, *, duration_ms: float, rng: np.random.Generator) -> Movie:
    """A movie of random-dot motion.

    Parameters
    ----------
    dots : RandomDots
        What is shown.
    display : Display
        The screen; the stimulus is at its centre.
    duration_ms : float
        Duration in ms. The movie has ceil(duration * refresh / 1000) frames, the last cut short by the duration.
    rng : numpy.random.Generator
        Draws the dots. The movie depends on nothing else that is random, so give each movie its own generator for
        movies that do not depend on which others are made.

    Returns
    -------
    Movie
        Of grey frames, uint8 (frame, height, width, 1), each shown once.

    Raises
    ------
    InputError
        If the duration is not above 0 or the aperture is larger than the screen.
    """
    duration = positive("duration_ms", duration_ms, "ms")
    if dots.aperture > display.field_of_view:
        raise InputError(
            f"aperture is {dots.aperture:g} deg, larger than the screen; "
            f"give at most the Display's field_of_view ({display.field_of_view:g} deg)"
        )
    # A duration of a whole number of frames may exceed it by a rounding error.
    frames = max(1, math.ceil(duration / display.frame_ms - 1e-9))
    x, y, drawn = _places(dots, display.refresh, frames, rng)
    frame = np.nonzero(drawn)[0]
    scale = display.pixels_per_degree
    images = squares(
        display.pixels,
        frames,
        frame,
        display.columns(x[drawn]),
        display.rows(y[drawn]),
        width=dots.dot_size * scale,
        blur=dots.blur * scale,
        gain=_gain(dots),
    )
    return Movie(images[..., None], np.arange(frames) * display.frame_ms, duration_ms=duration)


def _places(
    dots: RandomDots, refresh: float, frames: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Locations of the dots (deg from the centre) and which are drawn, each (frame, dot)."""
    mean = dots.density * dots.aperture**2 / refresh
    most = math.ceil(mean)
    number = math.floor(mean) + (rng.random(dots.sets) < mean % 1)
    exists = np.arange(most) < number[:, None]

    redraws = math.ceil(frames / dots.sets)
    steps = rng.random((redraws, dots.sets, most)) < dots.coherence
    fresh = rng.random((redraws, dots.sets, most, 2)) * dots.aperture
    # A dot's location is its last random location plus a number of steps, so no rounding accumulates.
    redraw = np.arange(redraws)[:, None, None]
    steps[0] = False
    jumped = np.maximum.accumulate(np.where(steps, 0, redraw), axis=0)
    angle = math.radians(dots.direction)
    step = dots.speed * dots.sets / refresh * np.array([math.cos(angle), math.sin(angle)])
    origin = np.take_along_axis(fresh, jumped[..., None], axis=0)
    place = (origin + (redraw - jumped)[..., None] * step) % dots.aperture - dots.aperture / 2

    place = place.reshape(redraws * dots.sets, most, 2)[:frames]
    x, y = place[..., 0], place[..., 1]
    drawn = np.tile(exists, (redraws, 1))[:frames] & (x**2 + y**2 <= (dots.aperture / 2) ** 2)
    return x, y, drawn


def _gain(dots: RandomDots) -> float:
    """Luminance of a dot before the blur, as a fraction of white, that gives the blurred dot its peak."""
    if dots.peak is None:
        return 1.0
    if dots.blur == 0:
        return dots.peak
    return dots.peak / math.erf(dots.dot_size / (2 * math.sqrt(2) * dots.blur)) ** 2
