"""Normal numbers from PyTorch's CPU generator by the method of Box & Muller (1958), as ``torch.randn`` draws them.

The generator is a Mersenne Twister (Matsumoto & Nishimura 1998): 624 words of 32 bits, which are renewed all at once. The
low 24 bits of each word make a number from 0 to 1. Of sixteen such numbers in turn, eight u and eight v become

    sqrt(-2 log(1 - u)) cos(2 pi v)    and    sqrt(-2 log(1 - u)) sin(2 pi v),

which are independent normal numbers. If sixteen do not divide how many are drawn, the last sixteen are drawn again.

On processors with AVX-512, PyTorch (2.14) computes these functions for one number at a time. Here they are polynomials
(those of Cephes, Moshier 1989) in vector instructions, so that the numbers are PyTorch's up to rounding, and the state of
the generator is the same.
"""

# mypy: ignore-errors
# what numba compiles looks like Python, but has types of its own

from __future__ import annotations

import numpy as np
from numba import njit

WORDS, AHEAD = 624, 397
BLOCK = 2048  # numbers made at once; they stay in the innermost cache
GROUP, HALF_GROUP = 16, 8  # numbers that are made of each other
UPPER, LOWER, MATRIX = np.uint32(0x80000000), np.uint32(0x7FFFFFFF), np.uint32(0x9908B0DF)
LOW, UNIT = np.uint32(0xFFFFFF), np.float32(1 / 2**24)
ONE, TWO, THREE, FOUR, HALF = (np.float32(number) for number in (1, 2, 3, 4, 0.5))
ROOT, QUARTER = np.float32(0.5**0.5), np.float32(np.pi / 2)
# log(1 + x), whose first terms are x - x ** 2 / 2, and the logarithm of 2 in two parts
LOG = tuple(
    np.float32(number)
    for number in (
        *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
        *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
    )
)
LOG2, LOG2_REST = np.float32(0.693359375), np.float32(-2.12194440e-4)
SIN = tuple(np.float32(number) for number in (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1))
COS = tuple(np.float32(number) for number in (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2))


@njit(nogil=True)
def _twisted(here, following, ahead):
    both = (here & UPPER) | (following & LOWER)
    return np.uint32(ahead ^ (both >> np.uint32(1)) ^ (MATRIX if both & np.uint32(1) else np.uint32(0)))


@njit(nogil=True)
def _renew(state):
    """The generator's next 624 words, before tempering."""
    for k in range(WORDS - AHEAD):
        state[k] = _twisted(state[k], state[k + 1], state[k + AHEAD])
    for k in range(WORDS - AHEAD, WORDS - 1):
        state[k] = _twisted(state[k], state[k + 1], state[k + AHEAD - WORDS])
    state[WORDS - 1] = _twisted(state[WORDS - 1], state[0], state[AHEAD - 1])


@njit(nogil=True)
def _uniform(state, place, out):
    """Fill with numbers from 0 to 1; place: how many of the state's words have been used. Returns the place after it."""
    done = 0
    while done < len(out):
        if place == WORDS:
            _renew(state)
            place = 0
        count = min(WORDS - place, len(out) - done)
        for k in range(count):
            word = state[place + k]
            word = np.uint32(word ^ (word >> np.uint32(11)))
            word = np.uint32(word ^ ((word << np.uint32(7)) & np.uint32(0x9D2C5680)))
            word = np.uint32(word ^ ((word << np.uint32(15)) & np.uint32(0xEFC60000)))
            word = np.uint32(word ^ (word >> np.uint32(18)))
            out[done + k] = np.float32(np.int32(word & LOW)) * UNIT
        done, place = done + count, place + count
    return place


@njit(nogil=True, fastmath={"contract"})
def _log(mantissa, exponent):
    """Logarithm of mantissa (from 1/2 to 1) times 2 ** exponent."""
    small = mantissa < ROOT
    x = mantissa + mantissa - ONE if small else mantissa - ONE
    e = exponent - ONE if small else exponent
    square = x * x
    y = LOG[0]
    for k in range(1, 9):
        y = y * x + LOG[k]
    y = y * x * square + e * LOG2_REST - HALF * square
    return x + y + e * LOG2


@njit(nogil=True, fastmath={"contract"})
def _radii(u, bits, mantissas):
    """Turn u into sqrt(-2 log(1 - u)); bits and mantissas are the same room, as int32 and as float32."""
    for k in range(len(u)):
        mantissas[k] = ONE - u[k]
    for k in range(len(u)):
        u[k] = np.float32(np.int32((bits[k] >> np.int32(23)) - np.int32(126)))
        bits[k] = np.int32((bits[k] & np.int32(0x7FFFFF)) | np.int32(0x3F000000))
    for k in range(len(u)):
        u[k] = np.sqrt(-TWO * _log(mantissas[k], u[k]))


@njit(nogil=True, fastmath={"contract"})
def _points(radii, v):
    """Turn radii and v into radius * cos(2 pi v) and radius * sin(2 pi v)."""
    for k in range(len(v)):
        turned = FOUR * v[k]
        quarter = np.floor(turned + HALF)
        angle = (turned - quarter) * QUARTER
        square = angle * angle
        sine = ((SIN[0] * square + SIN[1]) * square + SIN[2]) * square * angle + angle
        cosine = ((COS[0] * square + COS[1]) * square + COS[2]) * square * square - HALF * square + ONE
        odd = (quarter == ONE) | (quarter == THREE)
        along, across = sine if odd else cosine, cosine if odd else sine
        radius = radii[k]
        radii[k] = radius * (-along if (quarter == ONE) | (quarter == TWO) else along)
        v[k] = radius * (-across if (quarter == TWO) | (quarter == THREE) else across)


@njit(nogil=True)
def _normal(out, u, v, bits, mantissas):
    """Sixteen by sixteen, turn numbers from 0 to 1 into normal ones; the others are room for half as many."""
    groups = len(out) // GROUP
    for group in range(groups):
        for k in range(HALF_GROUP):
            u[group * HALF_GROUP + k] = out[group * GROUP + k]
            v[group * HALF_GROUP + k] = out[group * GROUP + HALF_GROUP + k]
    size = groups * HALF_GROUP
    _radii(u[:size], bits, mantissas)
    _points(u[:size], v[:size])
    for group in range(groups):
        for k in range(HALF_GROUP):
            out[group * GROUP + k] = u[group * HALF_GROUP + k]
            out[group * GROUP + HALF_GROUP + k] = v[group * HALF_GROUP + k]


def _fill(state, place, out):
    """Fill out, of 16 numbers or more; state: 624 words; place: how many of them are used. Returns the place after it."""
    u, v, bits = np.empty(BLOCK // 2, np.float32), np.empty(BLOCK // 2, np.float32), np.empty(BLOCK // 2, np.int32)
    mantissas = bits.view(np.float32)
    whole = len(out) // GROUP * GROUP
    for first in range(0, whole, BLOCK):
        part = out[first : min(first + BLOCK, whole)]
        place = _uniform(state, place, part)
        _normal(part, u, v, bits, mantissas)
    if whole < len(out):
        # the words of the last incomplete group are used, too, before the last sixteen are drawn again
        place = _uniform(state, place, out[whole:])
        last = out[len(out) - GROUP :]
        place = _uniform(state, place, last)
        _normal(last, u, v, bits, mantissas)
    return place


try:
    fill = njit(nogil=True, cache=True)(_fill)
except (RuntimeError, OSError):  # no folder that numba could keep compiled code in can be written
    fill = njit(nogil=True)(_fill)
