"""Time in trials: durations and periods in ms, and what they are in time steps."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError
from cordstasks.utils.arguments import is_number, number

__all__ = [
    "Duration",
    "Timed",
    "check_duration",
    "check_durations",
    "check_step",
    "draw_duration",
    "ends_of",
    "steps_before",
    "timeline",
]

Duration = float | tuple[float, float]
"""A duration in ms: fixed, or the two ends of a uniform distribution."""

MOST_STEPS = 1_000_000  # of a period; more are a mistake, and would only fill the memory


class Timed(Protocol):
    """Whatever has periods, such as a task."""

    @property
    def timing(self) -> Mapping[str, Duration]:
        """{period: duration in ms}, in order."""


@overload
def steps_before(time_ms: float, dt: float) -> int: ...


@overload
def steps_before(time_ms: NDArray[Any], dt: float) -> NDArray[np.int64]: ...


def steps_before(time_ms: float | NDArray[Any], dt: float) -> Any:
    """Convert times in ms to time steps.

    Parameters
    ----------
    time_ms : float or array
        Times from the start of the trial. In an array NaN, for a period that a trial lacks, counts as the start.
    dt : float
        Duration of a time step in ms.

    Returns
    -------
    int or int64 array
        How many whole steps end by each time; a time that rounding puts just before a step's end counts as its end.
    """
    if not isinstance(time_ms, np.ndarray):
        return int(np.floor(time_ms / dt + 1e-9))
    return np.floor(np.nan_to_num(time_ms, nan=0.0) / dt + 1e-9).astype(np.int64)


def ends_of(duration: Duration) -> tuple[float, float]:
    """The shortest and the longest that a duration can be, in ms.

    Returns
    -------
    float
        The shortest.
    float
        The longest.
    """
    return duration if isinstance(duration, tuple) else (duration, duration)


def timeline(durations: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Lay out periods that follow each other.

    Parameters
    ----------
    durations : mapping of str to float
        In ms, in order.

    Returns
    -------
    dict of str to (float, float)
        Start and end of each period in ms.

    Raises
    ------
    InputError
        If a duration is a range, from which one is to be drawn before.
    """
    for name, duration in durations.items():
        if not isinstance(duration, Real):
            raise InputError(f"{name}={duration!r}: is not one duration in ms; draw it first, with draw_duration")
    ends = np.cumsum(list(durations.values()))
    starts = [0.0, *ends[:-1]]
    return {name: (float(start), float(end)) for name, start, end in zip(durations, starts, ends, strict=True)}


def draw_duration(name: str, duration: Duration, rng: np.random.Generator) -> float:
    """A duration in ms: the fixed value, or a uniform draw between two.

    Returns
    -------
    float
        In ms.
    """
    if isinstance(duration, tuple):
        return float(rng.uniform(*duration))
    return float(duration)


def check_duration(name: str, duration: Duration, *, positive: bool = True) -> None:
    """Raise an InputError unless `duration` (ms) is a possible one.

    Parameters
    ----------
    name : str
        What the error calls it.
    duration : float or (float, float)
    positive : bool
        Whether it must be above 0; else it may be 0.

    Raises
    ------
    InputError
        If it is not; the message names the parameter and its value.
    """
    ends = duration if isinstance(duration, tuple) else (duration, duration)
    possible = len(ends) == 2 and all(map(is_number, ends)) and 0 <= ends[0] <= ends[1]
    if not possible or (positive and ends[0] == 0):
        least = "above 0" if positive else "at least 0"
        raise InputError(f"{name}={duration!r}: give a duration {least} ms, or (shortest, longest)")


def check_durations(task: Timed) -> None:
    """Raise an InputError unless every period of `task` has a possible duration above 0 ms.

    Raises
    ------
    InputError
        If one does not; the message names the period.
    """
    if not isinstance(task.timing, Mapping):
        raise InputError(f"timing={task.timing!r}: give {{period: duration in ms}}")
    for name, duration in task.timing.items():
        check_duration(name, duration)


def check_step(dt: float, task: Timed) -> float:
    """Return `dt` as a float, or raise an InputError unless every period of `task` can hold a time step of `dt` ms.

    Periods of more than a million steps are refused, since they would only fill the memory.

    Returns
    -------
    float
        In ms.

    Raises
    ------
    InputError
        If `dt` is not a number above 0, or a period would have no steps or too many.
    """
    dt = number("dt", dt, "a time step must be above 0 ms", above=0)
    for name, duration in task.timing.items():
        shortest, longest = ends_of(duration)
        if longest > MOST_STEPS * dt:
            raise InputError(
                f"dt={dt:g} ms makes more than {MOST_STEPS:,} steps of {name} ({longest:g} ms); choose a larger dt, or a "
                f"shorter {name}"
            )
        if 0 < shortest < dt:  # a period that may last 0 ms may as well have no step
            raise InputError(f"dt={dt:g} ms is longer than {name} can be ({shortest:g} ms); choose a smaller dt")
    return dt
