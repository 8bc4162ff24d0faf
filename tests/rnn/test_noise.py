"""Noise: the numbers that NumPy draws, bit for bit, whoever draws them."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from cordstasks.rnn import noise
from cordstasks.rnn.noise import FEWEST, fill_normal

needs_numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")


def pair(seed: int, kind: Any = np.random.SFC64) -> tuple[np.random.Generator, np.random.Generator]:
    return np.random.Generator(kind(seed)), np.random.Generator(kind(seed))


@needs_numba
class TestCompiled:
    def test_it_is_used_here(self):
        assert noise._compiled() is not None

    @pytest.mark.parametrize("size", [FEWEST, FEWEST + 1, FEWEST + 1023, 3_000_000])
    @pytest.mark.parametrize("before", [0, 1, 2])
    def test_numbers_and_state_are_those_of_numpy(self, size: int, before: int):
        """Three million have all layers and hundreds of the tail; an odd number before leaves half a word behind."""
        ours, theirs = pair(size + before)
        for generator in (ours, theirs):
            generator.integers(0, 2**32, before, np.uint32)
        out = np.empty(size, np.float32)
        fill_normal(ours, out)
        np.testing.assert_array_equal(out, theirs.standard_normal(size, np.float32))
        assert str(ours.bit_generator.state) == str(theirs.bit_generator.state)
        assert size < 3_000_000 or (np.abs(out) > 3.6541529).sum() > 300

    def test_calls_follow_one_another(self):
        ours, theirs = pair(5)
        for size in (FEWEST + 7, 3, FEWEST):
            out = np.empty(size, np.float32)
            fill_normal(ours, out)
            np.testing.assert_array_equal(out, theirs.standard_normal(size, np.float32))

    def test_arrays_of_several_axes(self):
        ours, theirs = pair(6)
        out = np.empty((3, FEWEST // 4, 5), np.float32)
        fill_normal(ours, out)
        np.testing.assert_array_equal(out, theirs.standard_normal(out.shape, np.float32))

    def test_other_numbers_are_noticed(self, monkeypatch: pytest.MonkeyPatch):
        from cordstasks.rnn import ziggurat

        for wrong in (lambda state, out: out.fill(0), lambda state, out: 1 / 0):
            monkeypatch.setattr(ziggurat, "fill", wrong)
            assert noise._tried() is None


class TestNumPy:
    @pytest.mark.parametrize("kind", [np.random.PCG64, np.random.SFC64])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_what_is_not_compiled_comes_from_numpy(self, monkeypatch: pytest.MonkeyPatch, kind: Any, dtype: Any):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        monkeypatch.setattr(noise, "_found", [])
        ours, theirs = pair(7, kind)
        out = np.empty(FEWEST, dtype)
        fill_normal(ours, out)
        np.testing.assert_array_equal(out, theirs.standard_normal(FEWEST, dtype))
        assert noise._found in ([], [None])
