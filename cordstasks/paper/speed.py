"""How fast this machine is, so that a command can say beforehand how long it takes."""

from __future__ import annotations

import time

import numpy as np
from threadpoolctl import threadpool_limits

from cordstasks.paper.parts import Part, Workplace

__all__ = ["REFERENCE", "duration_text", "expected_seconds", "machine_rate"]

REFERENCE = 130.0  # GFLOP/s of float32 products on one core of the machine to which the seconds of parts belong
SIDE = 1024


def machine_rate(repeats: int = 8) -> float:
    """Rate of float32 matrix products of one core in GFLOP/s, the fastest of some repeats.

    What counts is the processor's time, not the clock's: other work on the machine makes both longer, but the clock's by as
    much as it happens to take at this moment.

    Parameters
    ----------
    repeats : int, default 8
        Products that are timed.

    Returns
    -------
    float
        Billions of additions and multiplications per second.
    """
    matrix = np.ones((SIDE, SIDE), np.float32)
    with threadpool_limits(1):  # a thread that waits for another one also takes the processor's time
        result = matrix @ matrix
        fastest = float("inf")
        for _ in range(repeats):
            began = time.process_time()
            np.matmul(matrix, matrix, out=result)
            taken = time.process_time() - began
            fastest = min(fastest, taken) if taken > 0 else fastest  # some clocks tick once in 16 ms
    return 2 * SIDE**3 / fastest / 1e9 if fastest < float("inf") else REFERENCE


def expected_seconds(part: Part, workplace: Workplace, *, rate: float | None = None) -> float:
    """How long a part will take on one core of this machine, from a short measurement of its speed.

    Parameters
    ----------
    part : Part
        What is to be made.
    workplace : Workplace
        Whether the settings are small.
    rate : float, optional
        What `machine_rate` gave; it is measured if it is left out.

    Returns
    -------
    float
        Seconds of a core that does nothing else. Most parts are faster on several cores.
    """
    return part.seconds[0 if workplace.quick else 1] * REFERENCE / (machine_rate() if rate is None else rate)


def duration_text(seconds: float) -> str:
    """A duration as precise as an estimate deserves.

    Parameters
    ----------
    seconds : float
        The estimate.

    Returns
    -------
    str
        Such as ``"about 20 minutes"`` or ``"about 1.5 hours"``.
    """
    minutes = seconds / 60
    if minutes < 1.5:
        return "about a minute"
    if minutes < 10:
        return f"about {minutes:.0f} minutes"
    if minutes < 57.5:
        return f"about {5 * round(minutes / 5)} minutes"
    hours = round(minutes / 30) / 2
    return "about an hour" if hours == 1 else f"about {hours:g} hours"
