"""Standard normal numbers as NumPy's and PyTorch's generators draw them, faster where numba is installed."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["fill_normal", "normal"]

FEWEST = 50_000  # numbers for which numba is loaded
TRIED = 100_000  # numbers that are compared with the generator's own before the compiled code is used
WORDS = 624  # of PyTorch's Mersenne Twister

_lock = threading.Lock()
_found: dict[str, Callable[..., Any] | None] = {}  # what is used in this process, by the test that it has passed


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
    source, compiled = generator.bit_generator, None
    if isinstance(source, np.random.SFC64) and out.dtype == np.float32 and out.size >= FEWEST:
        compiled = _compiled("ziggurat", _ziggurat)
    if compiled is None:
        generator.standard_normal(out=out, dtype=out.dtype)
    else:
        _fill(compiled, source, out)


def normal(shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """What ``torch.randn(shape, generator=generator, dtype=dtype)`` draws, on the generator's device, up to rounding.

    Where numba is installed, many float32 numbers on a CPU come from `cordstasks.rnn.box_muller`. The generator is then in
    the same state as after PyTorch's own drawing.

    Parameters
    ----------
    shape : sequence of int
        Of the result.
    generator : torch.Generator
        Where the numbers are drawn from.
    dtype : torch.dtype
        Of the result.

    Returns
    -------
    Tensor
        Of this shape.
    """
    out, compiled = torch.empty(tuple(shape), dtype=dtype, device=generator.device), None
    if generator.device.type == "cpu" and dtype == torch.float32 and out.numel() >= FEWEST:
        compiled = _compiled("box_muller", _box_muller)
    if compiled is None:
        return out.normal_(generator=generator)
    _fill_tensor(compiled, generator, out)
    return out


def _fill(compiled: Callable[..., Any], source: Any, out: NDArray[np.float32]) -> None:
    with source.lock:  # as NumPy's own drawing does, so that threads can share a generator
        _fill_locked(compiled, source, out)


def _fill_locked(compiled: Callable[..., Any], source: Any, out: NDArray[np.float32]) -> None:
    state = source.state
    words = np.array([*state["state"]["state"], state["has_uint32"], state["uinteger"]], np.uint64)
    compiled(words, out.reshape(-1))
    state["state"]["state"] = words[:4]
    state["has_uint32"], state["uinteger"] = int(words[4]), int(words[5])
    source.state = state


def _fill_tensor(compiled: Callable[..., Any], generator: torch.Generator, out: Tensor) -> None:
    state = generator.get_state()
    fields = state.numpy()
    # the seed, how many words are left (and one), whether there is a seed, the place of the next word, and the words
    left, place, words = (
        fields[8:12].view(np.int32),
        fields[16:24].view(np.uint64),
        fields[24 : 24 + 8 * WORDS].view(np.uint64),
    )
    used = WORDS if left[0] == 1 else int(place[0])
    twisted = words.astype(np.uint32)
    used = compiled(twisted, used, out.numpy().reshape(-1))
    words[:], place[0], left[0] = twisted, used, WORDS + 1 - used
    generator.set_state(state)


def _compiled(name: str, trial: Callable[[], Callable[..., Any] | None]) -> Callable[..., Any] | None:
    """Compiled code if it passes its trial here, which is found out once; else None."""
    with _lock:
        if name not in _found:
            _found[name] = None
            if importlib.util.find_spec("numba") is not None:
                try:
                    _found[name] = trial()
                except Exception:  # whatever numba, LLVM or another version make of it, there is another way
                    _found[name] = None
        return _found[name]


def _ziggurat() -> Callable[..., Any] | None:
    from cordstasks.rnn.ziggurat import fill

    ours, theirs = np.random.SFC64(0), np.random.Generator(np.random.SFC64(0))
    drawn = np.empty(TRIED, np.float32)
    _fill(fill, ours, drawn)
    same = np.array_equal(drawn, theirs.standard_normal(TRIED, np.float32))
    return fill if same and str(ours.state) == str(theirs.bit_generator.state) else None


def _box_muller() -> Callable[..., Any] | None:
    from cordstasks.rnn.box_muller import fill

    ours, theirs = (torch.Generator().manual_seed(0) for _ in range(2))
    drawn = torch.empty(TRIED, dtype=torch.float32)
    _fill_tensor(fill, ours, drawn)
    same = torch.allclose(drawn, torch.randn(TRIED, generator=theirs, dtype=torch.float32), rtol=1e-4, atol=1e-5)
    return fill if same and torch.equal(ours.get_state(), theirs.get_state()) else None
