"""Checks of recorded activity and conditions, for the analyses of tuning."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.analysis._checks import Booleans, Floats, array_of, column, numbers, same_trials
from cordstasks.errors import InputError

_STILL = 1e-6  # range of a unit's responses, relative to the largest, below which it does not vary


def recorded(activity: ArrayLike) -> NDArray[Any]:
    """Return activity as an array of numbers (trial, time, unit), not copied."""
    array = array_of(activity)
    if array.ndim != 3 or array.size == 0 or array.dtype.kind not in "fiub":
        raise InputError(f"activity has shape {array.shape} and type {array.dtype}; give numbers (trial, time, unit)")
    return array


def varying(responses: Floats) -> Booleans:
    """Return which units (unit,) have responses that vary between trials, except for rounding."""
    return np.asarray(np.ptp(responses, axis=0) > _STILL * np.abs(responses).max(axis=0))


def grouped(
    name: str, condition: ArrayLike, trials: int, *, least: int = 1, partner: str = "responses"
) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return the values of a condition (value,), sorted, and the index of each trial's value (trial,).

    Conditions are numbers or names. `least` is the number of trials that each value needs.
    """
    given = column(name, condition)
    same_trials(name, given, trials, partner)
    values, group = np.unique(given, return_inverse=True)
    if len(values) < 2:
        raise InputError(f"{name} is {values[0]} in all trials; give trials of two or more values")
    counts = np.bincount(group)
    if counts.min() < least:
        rarest = int(counts.argmin())
        raise InputError(f"{name} {values[rarest]} has {counts[rarest]} trials; give {least} or more of each value")
    return values, group


def numeric(name: str, values: NDArray[Any]) -> Floats:
    """Return the values of a condition as floats, refusing names."""
    if values.dtype.kind not in "fiub":
        raise InputError(f"{name} has names such as {str(values[0])!r}; this needs numbers")
    return numbers(name, values)
