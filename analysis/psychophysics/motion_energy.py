"""Motion energy of movies (Adelson & Bergen 1985), in degrees and milliseconds."""

from __future__ import annotations

from math import factorial

import numpy as np
from numpy.typing import ArrayLike
from scipy.signal import fftconvolve, lfilter

from cordstasks.analysis._checks import Floats, real_array
from cordstasks.errors import InputError

__all__ = ["motion_energy"]

# parameters of Kiani, Hanks & Shadlen 2008, J. Neurosci. 28: 3017-3029
ALONG, ACROSS = 0.35, 0.05  # deg: extent along and across the direction of motion
RATE = 60.0  # per s: speed of the temporal filters
FAST, SLOW = 3, 5  # orders of the temporal filters
REACH_DEG, REACH_MS = 1.4, 300.0  # where the filters have faded


def motion_energy(
    frames: ArrayLike, *, pixels_per_degree: float, frame_ms: float, direction: float = 0.0, opponent: bool = True
) -> Floats:
    """Motion energy in a direction, minus that in the opposite direction, in each frame of a movie.

    Two spatial filters in quadrature and two temporal filters make pairs that are oriented in space and time; their squared
    responses add up to the energy. They prefer about 2 cycles per degree at 5 to 10 Hz, which is motion of about 4 deg/s.

    Parameters
    ----------
    frames : (time, height, width)
        Luminance, rows from top to bottom, at equal intervals; not modified. The first frame is taken to have been there
        before.
    pixels_per_degree : float
    frame_ms : float
        Time from one frame to the next, in ms.
    direction : float
        In deg, 0 rightward and counter-clockwise.
    opponent : bool
        Whether to subtract the energy in the opposite direction.

    Returns
    -------
    (time,)
        Mean over the pixels, in squared units of the luminance, up to a factor that all movies share.

    Raises
    ------
    InputError
        If the frames have another shape or are not finite, or a number is not above 0.

    References
    ----------
    Adelson & Bergen 1985, J. Opt. Soc. Am. A 2: 284-299.
    """
    shown = real_array("frames", frames, ("time", "height", "width"))
    for name, value in (("pixels_per_degree", pixels_per_degree), ("frame_ms", frame_ms)):
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name}={value!r}: give a number above 0")
    even, odd = _spatial(pixels_per_degree, direction)
    fast, slow = (_temporal(order, frame_ms) for order in (FAST, SLOW))
    change = shown - shown[:1]
    in_space = [fftconvolve(change, kernel[None], mode="same", axes=(1, 2)) for kernel in (even, odd)]
    (even_fast, even_slow), (odd_fast, odd_slow) = (
        [lfilter(filter_, [1.0], response, axis=0) for filter_ in (fast, slow)] for response in in_space
    )
    energy = (odd_fast - even_slow) ** 2 + (odd_slow + even_fast) ** 2
    if opponent:
        energy = energy - (odd_fast + even_slow) ** 2 - (odd_slow - even_fast) ** 2
    return np.asarray(energy.mean((1, 2)))


def _spatial(pixels_per_degree: float, direction: float) -> tuple[Floats, Floats]:
    """The even and the odd filter (height, width)."""
    reach = int(np.ceil(REACH_DEG * pixels_per_degree))
    at = np.arange(-reach, reach + 1) / pixels_per_degree
    x, y = np.meshgrid(at, -at)  # rows go from top to bottom
    angle = np.deg2rad(direction)
    along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    phase = np.arctan(along / ALONG)
    # narrower than a pixel, the profile across would depend on where the pixels lie
    width = max(ACROSS, 0.5 / pixels_per_degree)
    envelope = np.cos(phase) ** 4 * np.exp(-(across**2) / (2 * width**2))
    even, odd = envelope * np.cos(4 * phase), envelope * np.sin(4 * phase)
    even -= envelope * even.sum() / envelope.sum()  # blind to uniform light
    return even / np.sqrt((even**2).sum()), odd / np.sqrt((odd**2).sum())


def _temporal(order: int, frame_ms: float) -> Floats:
    """The filter of an order, at the times of frames."""
    scaled = RATE * np.arange(0, REACH_MS, frame_ms) / 1000
    return np.asarray(scaled**order * np.exp(-scaled) * (1 / factorial(order) - scaled**2 / factorial(order + 2)))
