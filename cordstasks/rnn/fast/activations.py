"""Activation functions, element by element, in a form that LLVM turns into vector instructions.

The compiler knows no vectors of the C library's exponential and logarithm. Tanh and softplus are both made of
``exp(x)`` or ``E(x) = exp(x) - 1`` for x <= 0:

    tanh(x) = sign(x) * -E / (E + 2)             with E = E(-2 |x|)
    softplus(x) = max(x, 0) + log(1 + z)         with z = exp(-|x|)

and derivatives, as functions of the output y, are ``1 - y ** 2`` for tanh and ``-E(-y)`` for softplus.

For E, ``x = n log 2 + r`` with a whole number n and ``|r| <= log(2) / 2``, so that ``exp(x) = 2 ** n E(r) + 2 ** n``
and ``E(x) = 2 ** n E(r) + (2 ** n - 1)``.
E(r) is its Taylor series up to ``r ** 7 / 7!``, whose next term is below half a unit in the last place. For the logarithm,
``log(1 + z) = 2 artanh(s)`` with ``s = z / (2 + z)``, which is at most 1 / 3, and the series of artanh up to ``s ** 13``.
"""

# mypy: ignore-errors
# what numba compiles looks like Python, but has types of its own

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["CODES", "OPTIONS", "by_code"]

CODES = {"relu": 0, "tanh": 1, "softplus": 2}
RELU, TANH = np.int64(CODES["relu"]), np.int64(CODES["tanh"])
ZERO, HALF, ONE, TWO = (np.float32(number) for number in (0, 0.5, 1, 2))
LOWEST = np.float32(-87)  # exp of it is still a normal number
PER_LOG2 = np.float32(1 / math.log(2))
LOG2 = np.float32(0.693359375)  # short, so that n LOG2 is exact
LOG2_REST = np.float32(math.log(2) - 0.693359375)
MAGIC = np.float32(1.5 * 2**23)  # a number to which this is added is rounded to a whole one, in the last bits of the sum
SHIFT, EXPONENT_OF_ONE = np.int32(23), np.int32(127 << 23)
EXP = tuple(np.float32(1 / math.factorial(n)) for n in range(7, 1, -1))
ARTANH = tuple(np.float32(2 / n) for n in range(13, 0, -2))
# products and sums may be fused, which changes nothing but rounding; dividing by zero is no error, so that nothing branches
OPTIONS = {"fastmath": {"contract"}, "error_model": "numpy"}


@njit(**OPTIONS)
def _parts(x):
    """``2 ** n`` and E(r), for x <= 0."""
    x = LOWEST if x < LOWEST else x
    sum_ = x * PER_LOG2 + MAGIC
    n = sum_ - MAGIC
    r = (x - n * LOG2) - n * LOG2_REST
    series = EXP[0]
    for k in range(1, len(EXP)):
        series = series * r + EXP[k]
    small = series * r * r + r
    power = np.int32((np.float32(sum_).view(np.int32) << SHIFT) + EXPONENT_OF_ONE).view(np.float32)
    return power, small


@njit(**OPTIONS)
def _exp(x):
    power, small = _parts(x)
    return power * small + power


@njit(**OPTIONS)
def _expm1(x):
    power, small = _parts(x)
    return power * small + (power - ONE)


@njit(**OPTIONS)
def _log1p(z):
    """``log(1 + z)`` for z from 0 to 1."""
    s = z / (TWO + z)
    square = s * s
    series = ARTANH[0]
    for k in range(1, len(ARTANH)):
        series = series * square + ARTANH[k]
    return series * s


@njit(**OPTIONS)
def _relu(x):
    return ZERO if x < ZERO else x  # nan stays


@njit(**OPTIONS)
def _tanh(x):
    size = abs(x)
    small = _expm1(-TWO * size)
    y = -small / (small + TWO)
    return -y if x < ZERO else y


@njit(**OPTIONS)
def _softplus(x):
    return _relu(x) + _log1p(_exp(-abs(x)))


@njit(**OPTIONS)
def _relu_slope(y):
    return ONE if y > ZERO else ZERO


@njit(**OPTIONS)
def _tanh_slope(y):
    return ONE - y * y


@njit(**OPTIONS)
def _softplus_slope(y):
    return -_expm1(-y)


def by_code(make):
    """A function whose first argument is the code of an activation, of what ``make(function, derivative)`` makes of each."""
    relu, tanh, softplus = make(_relu, _relu_slope), make(_tanh, _tanh_slope), make(_softplus, _softplus_slope)

    @njit
    def chosen(code, *arrays):
        if code == RELU:
            relu(*arrays)
        elif code == TANH:
            tanh(*arrays)
        else:
            softplus(*arrays)

    return chosen
