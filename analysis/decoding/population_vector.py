"""Population vectors: a location or a direction, decoded from many units, in degrees."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cordstasks.analysis._checks import Floats, real_array
from cordstasks.errors import InputError

__all__ = ["population_angle"]

_NO_DIRECTION = 1e-9  # length of the vector, relative to the sum of the weights, below which it has no direction


def population_angle(activity: ArrayLike, locations: ArrayLike, *, softmax: bool = False) -> Floats:
    """Decode an angle from units that each vote for their own angle (Georgopoulos, Schwartz & Kettner 1986, Science 233).

    Every unit contributes a vector that points to its location and is as long as its activity. The decoded angle is the
    angle of their sum. It may lie between locations.

    Parameters
    ----------
    activity : (trial, unit)
        Rates, which must not be negative; or with `softmax` the logits of choices, whose probabilities are the weights.
    locations : (unit,)
        The location that each unit represents, in deg.
    softmax : bool
        Whether `activity` holds logits.

    Returns
    -------
    (trial,)
        Angles in deg, in [0, 360); NaN for a trial whose vectors cancel.

    Raises
    ------
    InputError
        If the lengths differ, rates are negative, or values are not finite.
    """
    weights = real_array("activity", activity, ("trial", "unit"))
    angles = np.deg2rad(real_array("locations", locations, ("unit",)))
    if len(angles) != weights.shape[1]:
        raise InputError(f"locations has {len(angles)} angles but activity has {weights.shape[1]} units; give one for each")
    if softmax:
        weights = np.exp(weights - weights.max(axis=1, keepdims=True))
    elif weights.min() < 0:
        raise InputError(f"activity reaches {weights.min():g}; give rates of at least 0, or logits with softmax=True")
    vector = weights @ np.exp(1j * angles)
    angle = np.rad2deg(np.angle(vector)) % 360
    angle[angle == 360] = 0  # a negative angle within rounding of 0
    return np.where(np.abs(vector) > _NO_DIRECTION * weights.sum(axis=1), angle, np.nan)
