"""How fast this machine is, so that a command can say beforehand how long it takes."""

from __future__ import annotations

import time

import numpy as np

__all__ = ["REFERENCE", "machine_rate"]

REFERENCE = 170.0  # GFLOP/s of float32 products on both cores of the machine on which the seconds of parts were measured
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
