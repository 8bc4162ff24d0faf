"""Standard normal numbers as NumPy's generators draw them, faster where numba is installed."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["fill_normal"]

FEWEST = 50_000  # numbers for which numba is loaded
TRIED = 100_000  # numbers that are compared with NumPy's before the compiled code is used

Compiled = Callable[[NDArray[np.uint64], NDArray[np.float32]], None]
_lock = threading.Lock()
_found: list[Compiled | None] = []  # what is used in this process, once that is known


def fill_normal(generator: np.random.Generator, out: NDArray[Any]) -> None:
    """Fill an array with what ``generator.standard_normal(out=out, dtype=out.dtype)`` draws, bit for bit.

    Where numba is installed, many float32 numbers of an `numpy.random.SFC64` come from `cordstasks.rnn.ziggurat`, which has
    the same algorithm in another order. The generator is then in the same state as after NumPy's own drawing.

    Parameters
    ----------
    generator : numpy.random.Generator
        Where the numbers are drawn from.
    out : ndarray of float32 or float64
        C-contiguous; overwritten.
    """
    source = generator.bit_generator
    compiled = None
    if isinstance(source, np.random.SFC64) and out.dtype == np.float32 and out.size >= FEWEST:
        compiled = _compiled()
    if compiled is None:
        generator.standard_normal(out=out, dtype=out.dtype)
    else:
        _draw(compiled, source, out)


def _draw(compiled: Compiled, source: Any, out: NDArray[np.float32]) -> None:
    state = source.state
    words = np.array([*state["state"]["state"], state["has_uint32"], state["uinteger"]], np.uint64)
    compiled(words, out.reshape(-1))
    state["state"]["state"] = words[:4]
    state["has_uint32"], state["uinteger"] = int(words[4]), int(words[5])
    source.state = state


def _compiled() -> Compiled | None:
    """The compiled drawing if it works here, which is found out once; else None."""
    with _lock:
        if not _found:
            _found.append(_tried())
        return _found[0]


def _tried() -> Compiled | None:
    if importlib.util.find_spec("numba") is None:
        return None
    try:
        from cordstasks.rnn.ziggurat import fill

        ours, expected = np.random.SFC64(0), np.random.Generator(np.random.SFC64(0))
        drawn = np.empty(TRIED, np.float32)
        _draw(fill, ours, drawn)
        same = np.array_equal(drawn, expected.standard_normal(TRIED, np.float32))
        return fill if same and str(ours.state) == str(expected.bit_generator.state) else None
    except Exception:  # whatever numba, LLVM or another version of NumPy make of it, there is another way
        return None
