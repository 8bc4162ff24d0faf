"""Noise: the numbers that NumPy and PyTorch draw, whoever draws them."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from cordstasks.rnn import noise
from cordstasks.rnn.noise import FEWEST, fill_normal, normal

needs_numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")


def pair(seed: int, kind: Any = np.random.SFC64) -> tuple[np.random.Generator, np.random.Generator]:
    return np.random.Generator(kind(seed)), np.random.Generator(kind(seed))


@needs_numba
class TestNumPysNumbers:
    @pytest.mark.parametrize("size", [FEWEST, FEWEST + 1, FEWEST + 1023, 3_000_000])
    @pytest.mark.parametrize("before", [0, 1, 2])
    def test_numbers_and_state(self, size: int, before: int):
        """Three million have all layers and hundreds of the tail; an odd number before leaves half a word behind."""
        ours, theirs = pair(size + before)
        for generator in (ours, theirs):
            generator.integers(0, 2**32, before, np.uint32)
        out = np.empty(size, np.float32)
        fill_normal(ours, out)
        assert noise._found["ziggurat"] is not None
        np.testing.assert_array_equal(out, theirs.standard_normal(size, np.float32))
        assert str(ours.bit_generator.state) == str(theirs.bit_generator.state)
        assert size < 3_000_000 or (np.abs(out) > 3.6541529).sum() > 300

    def test_calls_follow_one_another(self):
        ours, theirs = pair(5)
        for size in (FEWEST + 7, 3, FEWEST):
            out = np.empty(size, np.float32)
            fill_normal(ours, out)
            np.testing.assert_array_equal(out, theirs.standard_normal(size, np.float32))

    def test_threads_that_share_a_generator_draw_different_numbers(self):
        generator, drawn = pair(7)[0], np.empty((6, 500_000), np.float32)
        fill_normal(generator, drawn[0])  # compiled before the threads begin
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(fill_normal, [generator] * len(drawn), drawn))
        assert len(np.unique(drawn[:, :100])) > 590

    def test_arrays_of_several_axes(self):
        ours, theirs = pair(6)
        out = np.empty((3, FEWEST // 4, 5), np.float32)
        fill_normal(ours, out)
        np.testing.assert_array_equal(out, theirs.standard_normal(out.shape, np.float32))


@needs_numba
class TestPyTorchsNumbers:
    @pytest.mark.parametrize("shape", [(FEWEST,), (FEWEST + 1,), (3, FEWEST // 4, 5), (1_000_015,)])
    @pytest.mark.parametrize("before", [0, 1, 623, 624, 625])
    def test_numbers_and_state(self, shape: tuple[int, ...], before: int):
        ours, theirs = (torch.Generator().manual_seed(sum(shape)) for _ in range(2))
        for generator in (ours, theirs):
            torch.randint(7, (before,), generator=generator)
        drawn = normal(shape, ours, torch.float32)
        assert noise._found["box_muller"] is not None
        torch.testing.assert_close(drawn, torch.randn(shape, generator=theirs), rtol=1e-5, atol=2e-6)
        assert torch.equal(ours.get_state(), theirs.get_state())
        after = torch.randn(5, generator=ours), torch.randn(5, generator=theirs)
        assert torch.equal(*after)

    def test_they_are_normal_in_the_tails_too(self):
        drawn = normal((2_000_000,), torch.Generator().manual_seed(1), torch.float32).double()
        for bound, expected in ((1.0, 0.317311), (3.0, 0.0026998), (4.5, 6.795e-6)):
            assert float((drawn.abs() > bound).double().mean()) == pytest.approx(expected, abs=5 * (expected / 2e6) ** 0.5)


@needs_numba
class TestTrials:
    @pytest.mark.parametrize("module", ["ziggurat", "box_muller"])
    def test_other_numbers_and_errors_are_noticed(self, monkeypatch: pytest.MonkeyPatch, module: str):
        def nothing(*given: Any) -> int:
            return 624

        def broken(*given: Any) -> int:
            raise RuntimeError

        trial = getattr(noise, f"_{module}")
        for wrong in (nothing, broken):
            monkeypatch.setattr(f"cordstasks.rnn.{module}.fill", wrong)
            monkeypatch.setattr(noise, "_found", {})
            assert noise._compiled(module, trial) is None


class TestWithoutNumba:
    @pytest.mark.parametrize("kind", [np.random.PCG64, np.random.SFC64])
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_numbers_are_those_of_the_generators(self, monkeypatch: pytest.MonkeyPatch, kind: Any, dtype: str):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        monkeypatch.setattr(noise, "_found", {})
        ours, theirs = pair(7, kind)
        out = np.empty(FEWEST, dtype)
        fill_normal(ours, out)
        np.testing.assert_array_equal(out, theirs.standard_normal(FEWEST, out.dtype.type))
        one, other = (torch.Generator().manual_seed(3) for _ in range(2))
        drawn = normal((FEWEST,), one, getattr(torch, dtype))
        assert torch.equal(drawn, torch.randn(FEWEST, generator=other, dtype=getattr(torch, dtype)))
        assert not any(noise._found.values())
