"""How fast this machine is, so that a command can say beforehand how long it takes."""

from __future__ import annotations

import time

import numpy as np

from cordstasks.paper.parts import Part, Workplace

__all__ = ["REFERENCE", "expected_seconds", "machine_rate"]

REFERENCE = 170.0  # GFLOP/s of float32 products on both cores of the machine to which the seconds of parts belong
SIDE = 1024


def machine_rate(repeats: int = 8) -> float:
    """Rate of float32 matrix products in GFLOP/s, the fastest of some repeats.

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
    result = matrix @ matrix
    fastest = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        np.matmul(matrix, matrix, out=result)
        fastest = min(fastest, time.perf_counter() - began)
    return 2 * SIDE**3 / fastest / 1e9


def expected_seconds(part: Part, workplace: Workplace, *, rate: float | None = None) -> float:
    """How long a part will take on this machine, from a short measurement of its speed.

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
        Seconds, roughly: those of most parts are estimates from runs of their kind, not timings.
    """
    return part.seconds[0 if workplace.quick else 1] * REFERENCE / (machine_rate() if rate is None else rate)
