"""Normal numbers by the ziggurat method (Marsaglia & Tsang 2000) from an SFC64 generator, exactly as NumPy draws them.

The area under the normal density is cut into 256 layers of equal area. A random word of 32 bits has 8 bits for a layer k,
one for the sign, and 23 for a position: ``x = position * wi[k]``. If ``position < ki[k]``, which holds for 98.9 % of the
words, x lies under the density whatever its height in the layer, and is the result. Otherwise a second word decides by the
height, ``fi[k]`` being the density at the layer's edge; in the lowest layer, two words make a number of the tail.

NumPy draws one number at a time and waits for each word, the branch on the sign and the tables. Here, a block of words is
made first, then the results of all of them as if each were the first of a number, in vector instructions. The words that
are not enough, 1.5 % of all, are listed, and whether the next word accepts their results is computed for each of them. Last,
a pass copies the results between them, and skips the words that were taken as second ones.

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

from cordstasks.utils.vectors import FLOAT, LANES, written

BLOCK = 1024  # words made at once; with their results, they stay in the innermost cache
RUN = 8  # words that are looked at together, for whether one of them is not enough
REJECTED, ACCEPTED, UNKNOWN = range(3)
NEAR = 1e-8  # a height is compared with an approximate density if they differ by more than this
EXP = tuple(1 / math.factorial(n) for n in range(12, -1, -1))
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


@njit(nogil=True)
def _listed(doubtful, runs, end, places):
    """List the places below `end` of words that are not enough; the number of them."""
    some = 0
    for run in range(-(-end // RUN)):  # without a branch that could not be predicted
        places[some] = run
        some += runs[run] != 0
    found = np.empty(RUN * some, np.int64)
    count = 0
    for number in range(some):
        for place in range(RUN * places[number], RUN * places[number] + RUN):
            found[count] = place
            count += doubtful[place] & (place < end)
    places[:count] = found[:count]
    return count


@njit(nogil=True)
def _density(x):
    """``exp(-x ** 2 / 2)`` for |x| < 3.66 as the eighth power of a Taylor series, to within 1e-9."""
    part = -0.0625 * x * x
    series = EXP[0]
    for k in range(1, len(EXP)):
        series = series * part + EXP[k]
    square = series * series
    return (square * square) * (square * square)


@njit(nogil=True)
def _judge(words, results, places, count, end, verdicts):
    """Whether the next word accepts the result of each listed word: rejected, accepted, or unknown."""
    for number in range(count):
        place = places[number]
        k, x = words[place] & LAYER, np.float64(results[place])
        height = (fi_float[k - 1] - fi_float[k]) * _fraction(words[place + 1]) + fi_float[k]
        density = _density(x)
        verdict = ACCEPTED if height < density else REJECTED
        # the tail, a height that is too near, and a word whose next one is in the next block
        known = (k != 0) & (abs(height - density) > NEAR) & (place + 1 < end)
        verdicts[number] = verdict if known else UNKNOWN


@njit(nogil=True)
def _copied(results, place, until, out, done):
    """Copy results to the end of what is done; how many are done then. Vectors may reach beyond what is to be copied."""
    floats = until - place
    if done + floats + LANES <= len(out):
        copy(results.ctypes.data + place * FLOAT, out.ctypes.data + done * FLOAT, floats)
    else:
        for k in range(floats):
            out[done + k] = results[place + k]
    return done + floats


def _write_copy(code, source, target, floats):
    with code.counting(floats, LANES) as (number, _):
        offset = code.bytes_of(number)
        code.store(code.load(code.builder.add(source, offset)), code.builder.add(target, offset))


copy = written(_write_copy)


def _fill(state, out):
    """Fill out with normal numbers; state: the generator's four words, whether half a number is left, and that half."""
    made = np.empty(BLOCK // 2 + 1, np.uint64)
    words, results, doubtful = made.view(np.uint32), np.empty(BLOCK + LANES, np.float32), np.empty(BLOCK, np.uint8)
    runs = doubtful.view(np.uint64)
    places, verdicts = np.empty(BLOCK + 1, np.int64), np.empty(BLOCK, np.uint8)
    done = 0
    while done < len(out):
        # every word of a block is used, since each number takes one at least
        end = min(BLOCK, len(out) - done) // 2 * 2
        if state[4] or end == 0:
            words[0], end = _next(state, words, 0, 0)[0], 1
        else:
            _words(state, made[: end // 2])
        _results(words[:end], results, doubtful)
        count = _listed(doubtful, runs, end, places)
        _judge(words, results, places, count, end, verdicts)
        place = 0
        for number in range(count):
            until = places[number]
            if until < place:  # this was a second word
                continue
            done = _copied(results, place, until, out, done)
            out[done], accepted, place = results[until], verdicts[number] == ACCEPTED, until + 2
            if verdicts[number] == UNKNOWN:
                x, accepted, place = _decide(words[until], state, words, until + 1, end)
                out[done] = x
            done += accepted
        if place < end:
            done = _copied(results, place, end, out, done)


try:
    fill = njit(nogil=True, cache=True)(_fill)
except (RuntimeError, OSError):  # no folder that numba could keep compiled code in can be written
    fill = njit(nogil=True)(_fill)
