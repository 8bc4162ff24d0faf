"""Responses: mean activity in a time window."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.analysis._checks import Booleans, Floats, array_of
from cordstasks.analysis._trials import recorded
from cordstasks.errors import InputError

__all__ = ["window_mean"]


def window_mean(activity: ArrayLike, window: slice | ArrayLike = slice(None)) -> Floats:
    """Mean activity in a time window, the response of each trial and unit.

    Parameters
    ----------
    activity : (trial, time, unit)
        Recorded activity; not modified.
    window : slice, (time,) bool or (trial, time) bool
        The time steps that count, such as ``(times > 500) & (times <= 1300)``; all of them by default. Where periods
        begin or end at different times in different trials, give each trial its own window.

    Returns
    -------
    (trial, unit)
        In units of the activity.

    Raises
    ------
    InputError
        If the window is empty, in one trial even, or does not fit, or activity inside it is not finite.
    """
    array = recorded(activity)
    if not isinstance(window, slice):
        window = array_of(window)
        if window.shape not in (array.shape[1:2], array.shape[:2]) or window.dtype != bool:
            raise InputError(
                f"window has shape {window.shape} and type {window.dtype}; give a slice, ({array.shape[1]},) booleans, or "
                f"{array.shape[:2]} booleans for a window of each trial's own"
            )
    if isinstance(window, np.ndarray) and window.ndim == 2:
        responses = _means_of_own_windows(array, window)
    else:
        part = array[:, window]
        if not part.shape[1]:
            raise InputError(f"window {window} holds none of the {array.shape[1]} time steps; widen it")
        responses = part.mean(axis=1, dtype=np.float64)
    if not np.isfinite(responses).all():
        raise InputError("activity holds values that are not finite inside the window; drop those trials or units")
    return np.asarray(responses)


def _means_of_own_windows(array: NDArray[Any], window: Booleans) -> Floats:
    empty = np.flatnonzero(~window.any(axis=1))
    if len(empty):
        raise InputError(f"window holds no time step of trial {empty[0]}; widen it, or leave that trial out")
    # trial by trial: values outside a window, which may not be finite, have no influence
    return np.stack([rates[steps].mean(axis=0, dtype=np.float64) for rates, steps in zip(array, window, strict=True)])
