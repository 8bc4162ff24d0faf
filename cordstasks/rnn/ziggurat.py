"""Normal numbers by the ziggurat method (Marsaglia & Tsang 2000) from an SFC64 generator, exactly as NumPy draws them.

The area under the normal density is cut into 256 layers of equal area. A random word of 32 bits has 8 bits for a layer k,
one for the sign, and 23 for a position: ``x = position * wi[k]``. If ``position < ki[k]``, which holds for 98.9 % of the
words, x lies under the density whatever its height in the layer, and is the result. Otherwise a second word decides by the
height, ``fi[k]`` being the density at the layer's edge; in the lowest layer, two words make a number of the tail.

NumPy draws one number at a time and waits for each word, the branch on the sign and the tables. Here, a block of words is
made first, then the results of all of them as if each were the first of a number, in vector instructions, and last a pass
copies the results, and decides where one word was not enough.

References
----------
Marsaglia & Tsang (2000), The ziggurat method for generating random variables, Journal of Statistical Software 5 (8).
"""

# mypy: ignore-errors
# what numba compiles looks like Python, but has types of its own

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numba.np.random._constants import fi_float, ki_float, wi_float, ziggurat_nor_inv_r_f, ziggurat_nor_r_f

BLOCK = 1024  # words made at once; with their results, they stay in the innermost cache
RUN = 8  # results that are copied at once if the word of each is enough, which is so in 11 of 12 cases
ONE, THREE, ELEVEN, LEFT, RIGHT, HALF = (np.uint64(number) for number in (1, 3, 11, 24, 40, 32))
LAYER, POSITION = np.uint32(0xFF), np.uint32(0x7FFFFF)
UNIT = np.float32(1 / 2**24)


@njit(nogil=True)
def _words(state, made):
    """Fill an array, not an empty one, with the generator's next numbers of 64 bits."""
    a, b, c, count = state[0], state[1], state[2], state[3]
    word = ONE
    for place in range(len(made)):
        made[place] = word = a + b + count
        count += ONE
        a = b ^ (b >> ELEVEN)
        b = c + (c << THREE)
        c = ((c << LEFT) | (c >> RIGHT)) + word
    state[0], state[1], state[2], state[3] = a, b, c, count
    state[5] = word >> HALF


@njit(nogil=True)
def _next(state, words, place, end):
    """The next 32 bits, from the block while it lasts, and the place after them."""
    if place < end:
        return words[place], place + 1
    if state[4]:  # the second half of a number was left
        state[4] = 0
        return np.uint32(state[5]), place
    one = np.empty(1, np.uint64)
    _words(state, one)
    state[4] = ONE
    return np.uint32(one[0] & np.uint64(0xFFFFFFFF)), place


@njit(nogil=True)
def _fraction(word):
    return np.float32(word >> np.uint32(8)) * UNIT


@njit(nogil=True)
def _decide(word, state, words, place, end):
    """The result of a word that is not enough, whether it is accepted, and the place after the words that this took."""
    k, position = word & LAYER, (word >> np.uint32(9)) & POSITION
    if k == 0:
        while True:
            first, place = _next(state, words, place, end)
            second, place = _next(state, words, place, end)
            beyond = np.float32(-ziggurat_nor_inv_r_f * np.float32(math.log1p(-_fraction(first))))
            height = -np.float32(math.log1p(-_fraction(second)))
            if height + height > beyond * beyond:
                x = np.float32(ziggurat_nor_r_f + beyond)
                return -x if (position >> np.uint32(8)) & np.uint32(1) else x, True, place
    x = np.float32(np.int32(position)) * wi_float[k]
    other, place = _next(state, words, place, end)
    height = (fi_float[k - 1] - fi_float[k]) * _fraction(other) + fi_float[k]
    return -x if (word >> np.uint32(8)) & np.uint32(1) else x, height < math.exp(-0.5 * np.float64(x) * np.float64(x)), place


@njit(nogil=True)
def _results(words, results, doubtful):
    """The result of each word if it is the first of a number, and 1 if that needs another word to decide, else 0."""
    for place in range(len(words)):
        word = words[place]
        k, position = word & LAYER, np.int32((word >> np.uint32(9)) & POSITION)
        x = np.float32(position) * wi_float[k]
        results[place] = -x if (word >> np.uint32(8)) & np.uint32(1) else x
        doubtful[place] = np.uint8(position >= np.int32(ki_float[k]))


def _fill(state, out):
    """Fill out with normal numbers; state: the generator's four words, whether half a number is left, and that half."""
    made = np.empty(BLOCK // 2, np.uint64)
    words, results, doubtful = made.view(np.uint32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.uint8)
    runs = doubtful.view(np.uint64)
    done = 0
    while done < len(out):
        # every word of a block is used, since each number takes one at least
        end = min(BLOCK, len(out) - done) // 2 * 2
        if state[4] or end == 0:
            words[0], end = _next(state, words, 0, 0)[0], 1
        else:
            _words(state, made[: end // 2])
        _results(words[:end], results, doubtful)
        place = 0
        while place < end:
            if place % RUN == 0 and place + RUN <= end and runs[place // RUN] == 0:
                for k in range(RUN):
                    out[done + k] = results[place + k]
                done, place = done + RUN, place + RUN
                continue
            word, x, accepted = words[place], results[place], doubtful[place] == 0
            place += 1
            if not accepted:
                x, accepted, place = _decide(word, state, words, place, end)
            if accepted:
                out[done] = x
                done += 1


try:
    fill = njit(nogil=True, cache=True)(_fill)
except (RuntimeError, OSError):  # no folder that numba could keep compiled code in can be written
    fill = njit(nogil=True)(_fill)
