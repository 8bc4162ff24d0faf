"""The display of the oculomotor delayed-response task of Funahashi, Bruce & Goldman-Rakic (1989)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError
from cordstasks.stimuli._checks import finite, not_negative, positive
from cordstasks.stimuli.discs import discs
from cordstasks.stimuli.display import Display


def saccade_display(
    display: Display,
    *,
    angle: float | None = None,
    eccentricity: float = 13.0,
    cue: float = 1.0,
    spot: float = 1.0,
) -> NDArray[np.uint8]:
    """White spots on black: a fixation spot and a cue in the periphery.

    Funahashi, Bruce & Goldman-Rakic 1989, J. Neurophysiol. 61: 331-349.

    Parameters
    ----------
    display : Display
        The screen.
    angle : float, optional
        Polar angle of the cue in deg, 0 rightward and counter-clockwise; None for no cue.
    eccentricity : float
        Distance of the cue from the screen's centre, in deg.
    cue : float
        Diameter of the cue, in deg.
    spot : float
        Diameter of the fixation spot, in deg; 0 for none.

    Returns
    -------
    uint8 (height, width, 1)

    Raises
    ------
    InputError
        If a value is not finite or out of its range, or the cue is not wholly on the screen.
    """
    places = [(0.0, 0.0, float(spot))] if not_negative("spot", spot, "deg") else []
    if angle is not None:
        turn = math.radians(finite("angle", angle, "deg"))
        far, size = not_negative("eccentricity", eccentricity, "deg"), positive("cue", cue, "deg")
        x, y = far * math.cos(turn), far * math.sin(turn)
        if max(abs(x), abs(y)) + size / 2 > display.field_of_view / 2:
            raise InputError(
                f"eccentricity is {far:g} deg: the cue at ({x:.3g}, {y:.3g}) deg is not wholly on the screen of "
                f"{display.field_of_view:g} deg; give a smaller one, or a Display with a wider field_of_view"
            )
        places.append((x, y, size))
    if not places:
        return np.zeros((display.pixels, display.pixels, 1), np.uint8)
    across, up, diameter = np.array(places).T
    return discs(display, across, up, diameter)
