"""Principal components of many features against the eigenvectors of the whole covariance matrix in double precision."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from torch import Tensor

from cordstasks import model
from cordstasks.frontend import Features, components
from cordstasks.frontend.components import block_factors, from_rows, leading, mean_of
from cordstasks.frontend.histories import Cost
from cordstasks.model import principal_components

UNITS = 400


def activity(
    rows: int,
    *,
    units: int = UNITS,
    directions: int = 300,
    decay: float = 1.6,
    seed: int = 0,
    dtype: torch.dtype = torch.float16,
) -> Tensor:
    """Rows (row, unit) whose variances fall off as a power, on a mean that is larger than all of them."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(units, directions)))[0]
    deviations = np.arange(1, directions + 1) ** (-decay / 2)
    made = 3 + rng.normal(size=units) + (rng.normal(size=(rows, directions)) * deviations) @ axes.T
    return torch.from_numpy(made).to(dtype)


def exact(rows: Tensor, factors: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors of the covariance matrix, in float64."""
    scaled = (rows.double() - rows.double().mean(0)) * (1 if factors is None else factors.double())
    values, vectors = torch.linalg.eigh(scaled.T @ scaled / len(rows))
    return values, vectors


def angle(ours: Tensor, theirs: Tensor) -> float:
    """Sine of the largest angle between two subspaces with orthonormal bases (unit, direction)."""
    cosines = torch.linalg.svdvals(ours.double().T @ theirs.double())
    return math.sqrt(max(0.0, 1 - float(cosines.min()) ** 2))


def features_of(rows: Tensor, blocks: tuple[int, ...] = ()) -> tuple[Features, Tensor]:
    index = torch.arange(len(rows)).view(-1, 20)
    return Features(rows, index, Cost(), blocks), torch.ones_like(index, dtype=torch.bool)


class TestLeading:
    @pytest.mark.parametrize("number", [5, 24, 100])
    def test_against_the_whole_matrix(self, number: int):
        rows = activity(9000)  # more than those that seek the first directions
        values, vectors = leading(rows, mean_of(rows), torch.ones(UNITS), number)
        expected, axes = exact(rows)
        assert values.shape == (number,)
        assert vectors.dtype == torch.float32
        torch.testing.assert_close(vectors.T @ vectors, torch.eye(number), rtol=0, atol=1e-4)
        covariance = axes * expected @ axes.T
        held = torch.einsum("ui,uv,vi->", vectors.double(), covariance, vectors.double())
        best = expected[-number:].sum()
        assert 0 <= 1 - float(held / best) < 2e-4
        torch.testing.assert_close(values.double(), expected[-number:], rtol=0.05, atol=0)
        half = -(number // 2)
        torch.testing.assert_close(values[half:].double(), expected[half:], rtol=2e-3, atol=0)
        assert angle(vectors[:, half:], axes[:, half - number // 4 :]) < 0.02

    def test_it_is_the_same_each_time(self):
        rows = activity(3000)
        first, again = (leading(rows, mean_of(rows), torch.ones(UNITS), 10) for _ in range(2))
        assert torch.equal(first[1], again[1])
        state = torch.get_rng_state()
        leading(rows, mean_of(rows), torch.ones(UNITS), 10)
        assert torch.equal(torch.get_rng_state(), state)

    def test_directions_that_do_not_vary_are_zero(self):
        rows = activity(3000, directions=6, decay=0.5, dtype=torch.float32)  # the rounding of half precision varies
        values, vectors = leading(rows, mean_of(rows), torch.ones(UNITS), 10)
        assert (vectors[:, :4] == 0).all()
        torch.testing.assert_close(vectors.norm(dim=0)[4:], torch.ones(6), rtol=1e-4, atol=0)
        assert angle(vectors[:, 4:], exact(rows)[1][:, -6:]) < 1e-3
        torch.testing.assert_close(values[4:].double(), exact(rows)[0][-6:], rtol=1e-4, atol=0)

    def test_it_takes_no_longer_than_it_should(self):
        """A tenth of the largest case that is meant to be quick, for which a whole decomposition takes minutes."""
        rows = activity(3000, units=8192, directions=40)
        began = time.process_time()
        leading(rows, mean_of(rows), torch.ones(8192), 24)
        assert time.process_time() - began < 20


class TestFromRows:
    @pytest.mark.parametrize("number", [5, 60])
    def test_against_the_whole_matrix(self, number: int):
        rows, factors = activity(120), torch.linspace(0.5, 2, UNITS)
        values, vectors = from_rows(rows, mean_of(rows), factors, number)
        expected, axes = exact(rows, factors)
        torch.testing.assert_close(values.double(), expected[-number:], rtol=1e-3, atol=1e-6)
        alike = (vectors.double() * axes[:, -number:]).sum(0).abs()
        torch.testing.assert_close(alike, torch.ones_like(alike), rtol=1e-3, atol=0)

    def test_more_directions_than_rows_are_zero(self):
        rows = activity(20)
        values, vectors = from_rows(rows, mean_of(rows), torch.ones(UNITS), 30)
        assert vectors.shape == (UNITS, 30)
        assert (vectors[:, :11] == 0).all()  # twenty rows less their mean
        assert float(vectors[:, 11:].norm(dim=0).min()) > 0.99
        assert (values[:10] == 0).all()


@pytest.mark.parametrize("rows", [1, 1000, 1024, 3001])
def test_the_mean(rows: int):
    made = activity(rows)
    torch.testing.assert_close(mean_of(made).double(), made.double().mean(0), rtol=1e-6, atol=1e-6)


class TestBlocks:
    def test_each_gets_a_total_variance_of_one(self):
        rows = activity(2500)
        rows[:, 100:] *= 5
        factors = block_factors(rows, mean_of(rows), (100, 250, 50))
        scaled = (rows.double() * factors).var(0, correction=0).split((100, 250, 50))
        for part, same in zip(scaled, factors.split((100, 250, 50)), strict=True):
            assert float(part.sum()) == pytest.approx(1, rel=1e-4)
            assert len(same.unique()) == 1

    def test_one_is_left_as_it_is(self):
        rows = activity(10)
        for blocks in ((), (UNITS,)):
            assert torch.equal(block_factors(rows, mean_of(rows), blocks), torch.ones(UNITS))

    def test_one_that_does_not_vary_is_left_out(self):
        rows = activity(200)
        rows[:, :100] = 7.0
        features, steps = features_of(rows, (100, 300))
        mean, projection = principal_components(features, steps, 10, whiten=True)
        assert (projection[:100] == 0).all()
        assert torch.isfinite(projection).all()
        assert float(mean[0]) == 7


class TestPrincipalComponents:
    @pytest.mark.parametrize("whiten", [False, True])
    @pytest.mark.parametrize("blocks", [(), (150, 250)])
    @pytest.mark.parametrize("count", [240, 5000])
    def test_every_way_gives_the_same(
        self, monkeypatch: pytest.MonkeyPatch, whiten: bool, blocks: tuple[int, ...], count: int
    ):
        features, steps = features_of(activity(count), blocks)
        mean, projection = principal_components(features, steps, 8, whiten=whiten)
        monkeypatch.setattr(model, "EXACT", 300)  # fewer than the units, and than the rows of one of the cases
        way = components.from_rows if count < 300 else components.leading
        called = []
        monkeypatch.setattr(model, way.__name__, lambda *given: called.append(1) or way(*given))
        again, other = principal_components(features, steps, 8, whiten=whiten)
        assert called
        torch.testing.assert_close(again, mean, rtol=1e-5, atol=1e-5)
        one, two = (((features.rows.float() - mean) @ p).double() for p in (projection, other))
        signs = (one * two).sum(0).sign()
        torch.testing.assert_close(two * signs, one, rtol=0, atol=0.02 * float(one.abs().max()))
        variance = two.var(0, correction=0)
        expected = variance if whiten else variance.mean()
        torch.testing.assert_close(expected, torch.ones_like(expected), rtol=5e-3, atol=0)

    def test_a_block_of_large_rates_does_not_outweigh_another(self):
        rng = np.random.default_rng(1)
        signal = rng.normal(size=(2000, 2))
        small = signal[:, :1] * np.ones(30) + 0.05 * rng.normal(size=(2000, 30))
        large = 100 * (signal[:, 1:] * np.ones(300) + 0.3 * rng.normal(size=(2000, 300)))
        rows = torch.from_numpy(np.hstack([small, large]).astype(np.float16))
        found = []
        for blocks in ((), (30, 300)):
            features, steps = features_of(rows, blocks)
            mean, projection = principal_components(features, steps, 2, whiten=True)
            seen = ((rows.float() - mean) @ projection).numpy()
            fit = seen @ np.linalg.lstsq(seen, signal, rcond=None)[0]
            found.append([np.corrcoef(fit[:, i], signal[:, i])[0, 1] for i in range(2)])
        assert found[0][0] < 0.2  # the first signal is in a few small units only
        assert min(found[1]) > 0.95
