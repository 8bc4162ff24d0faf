"""Blurred boxes integrated over pixels: dots and discs are drawn from these.

A box blurred by a Gaussian is separable, and so is a pixel: the light that a pixel receives is a product of two
one-dimensional integrals, each a second difference of the integral of the normal distribution function.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def ramp(distance: Floats, blur: float) -> Floats:
    """An even function whose second derivative is the Gaussian of standard deviation `blur`.

    That is |t|/2 erf(|t| / (blur sqrt 2)) + blur/sqrt(2 pi) exp(-t^2 / (2 blur^2)), with erf from Abramowitz & Stegun
    1964, formula 7.1.26 (absolute error at most 1.5e-7), because NumPy has no erf. Any shape, `blur` in the units of
    `distance`.
    """
    size = np.abs(distance)
    if blur == 0:
        return 0.5 * size
    scaled = size * (1 / (blur * math.sqrt(2)))
    bell = np.exp(-scaled * scaled)
    k = 1 / (1 + 0.3275911 * scaled)
    tail = ((((1.061405429 * k - 1.453152027) * k + 1.421413741) * k - 0.284496736) * k + 0.254829592) * k
    value: Floats = 0.5 * size * (1 - tail * bell) + blur / math.sqrt(2 * math.pi) * bell
    return value


def box_profile(edges: Floats, centre: Floats, width: Floats | float, blur: float) -> Floats:
    """Fraction of each pixel, along one axis, that is covered by a blurred box of height 1.

    Parameters
    ----------
    edges : float64 (..., pixel + 1)
        Edges of the pixels, one apart.
    centre, width : float64, broadcast against `edges`
        Centre and width of the box, in pixels.
    blur : float
        Standard deviation of the Gaussian, in pixels; 0 for a sharp box.

    Returns
    -------
    float64 (..., pixel)
    """
    offset = edges - centre
    half = 0.5 * width
    share: Floats = np.diff(ramp(offset + half, blur) - ramp(offset - half, blur), axis=-1)
    return share


def squares(
    pixels: int,
    frames: int,
    frame: NDArray[np.int64],
    column: Floats,
    row: Floats,
    *,
    width: float,
    blur: float,
    gain: float,
) -> NDArray[np.uint8]:
    """Blurred squares of light on black at sub-pixel positions; light adds up and is clipped at white.

    Parameters
    ----------
    pixels : int
        Pixels along each side of an image.
    frames : int
        Number of images.
    frame : int64 (dot,)
        The image on which each square is drawn, in ascending order.
    column, row : float64 (dot,)
        Centre of each square in pixels from the left and from the top edge.
    width, blur : float
        Side of the squares and standard deviation of the blur, in pixels.
    gain : float
        Light of a square before the blur, as a fraction of white.

    Returns
    -------
    uint8 (frame, height, width)
    """
    # Beyond four standard deviations a dot of peak 1 adds less than 0.1 grey level.
    reach = math.ceil(0.5 * width + 4 * blur)
    side = 2 * reach + 1
    left = np.floor(column).astype(np.int64) - reach
    top = np.floor(row).astype(np.int64) - reach
    edge = np.arange(side + 1)
    across = box_profile((left - column)[:, None] + edge, np.zeros(1), width, blur) * (255 * gain)
    down = box_profile((top - row)[:, None] + edge, np.zeros(1), width, blur)

    ends = np.concatenate([left, top, pixels - side - left, pixels - side - top])
    margin = max(0, -int(ends.min(initial=0)))
    canvas = pixels + 2 * margin
    patch = (np.arange(side)[:, None] * canvas + np.arange(side)).ravel()
    image = np.empty((frames, pixels, pixels), np.uint8)
    # A few frames at a time, so that the sums stay in the cache.
    chunk = max(1, 2**17 // canvas**2)
    for start in range(0, frames, chunk):
        count = min(chunk, frames - start)
        dots = slice(*np.searchsorted(frame, [start, start + count]))
        corner = ((frame[dots] - start) * canvas + top[dots] + margin) * canvas + left[dots] + margin
        light = (down[dots, :, None] * across[dots, None, :]).ravel()
        # bincount adds in the order of the dots, so the result depends on no linear algebra library.
        counts = np.bincount((corner[:, None] + patch).ravel(), light, minlength=count * canvas**2)
        # Without dots bincount gives integers.
        total = np.asarray(counts, dtype=np.float64)
        total += 0.5
        np.minimum(total, 255, out=total)
        inner = slice(margin, margin + pixels)
        image[start : start + count] = total.reshape(count, canvas, canvas)[:, inner, inner]
    return image
