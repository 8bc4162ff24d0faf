"""Kinds of recurrent connectivity: dense matrices against their definition, and against their fast application."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cordstasks.errors import InputError
from cordstasks.rnn import RNN
from cordstasks.rnn.connectivity import Connectivity, Convolutional, Full, LowRank, Sparse, named

UNITS = 24
KINDS = [Full(), LowRank(3), Sparse(0.3), Convolutional(2, 3, 4)]
EVERY = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def made(kind: Connectivity, units: int = UNITS, seed: int = 0, **options: Any) -> RNN:
    generator = torch.Generator().manual_seed(seed)
    return RNN(3, units, 2, connectivity=kind, generator=generator, **options).double()


def matrix_of(network: RNN) -> np.ndarray:
    return network.connectivity.matrix().detach().numpy()


def by_hand(network: RNN) -> np.ndarray:
    """The recurrent weights, one at a time, from the definition."""
    weights = {name: value.detach().numpy() for name, value in network.recurrent().items()}
    kind, units = network.kind, network.units
    dense = np.zeros((units, units))
    for to in range(units):
        for source in range(units):
            if isinstance(kind, LowRank):
                dense[to, source] = sum(
                    weights["recurrent_m"][to, r] * weights["recurrent_n"][source, r] / units for r in range(kind.rank)
                )
            elif isinstance(kind, Convolutional):
                place = kind.height * kind.width
                (c1, p1), (c2, p2) = divmod(to, place), divmod(source, place)
                down, right = p2 // kind.width - p1 // kind.width, p2 % kind.width - p1 % kind.width
                if abs(down) <= 1 and abs(right) <= 1:
                    dense[to, source] = weights["recurrent_kernel"][c1, c2, down + 1, right + 1]
            else:
                dense[to, source] = weights["recurrent_weights"][to, source]
                if isinstance(kind, Sparse):
                    dense[to, source] *= weights["recurrent_mask"][to, source]
    return dense


class TestMatrix:
    @EVERY
    def test_it_is_the_definition(self, kind: Connectivity):
        network = made(kind)
        np.testing.assert_allclose(matrix_of(network), by_hand(network), rtol=1e-12, atol=1e-15)

    @EVERY
    @pytest.mark.parametrize("excitatory", [None, 0.5])
    def test_it_is_what_the_fast_application_does(self, kind: Connectivity, excitatory: float | None):
        network = made(kind, excitatory=excitatory)
        rates = torch.from_numpy(np.random.default_rng(1).normal(size=(5, UNITS)))
        expected = rates.numpy() @ matrix_of(network).T
        np.testing.assert_allclose(network.connectivity.apply(rates).detach(), expected, rtol=1e-11, atol=1e-13)

    @EVERY
    def test_a_network_runs_by_it(self, kind: Connectivity):
        network, inputs = made(kind), torch.from_numpy(np.random.default_rng(2).normal(size=(4, 6, 3)))
        _, rates = network(inputs, return_states=True)
        dense, p = matrix_of(network), {name: v.detach().numpy() for name, v in network.named_parameters()}
        x = np.zeros((4, UNITS))
        for step in range(6):
            drive = x @ dense.T + p["bias"] + inputs[:, step].numpy() @ p["input_weights"].T
            x = 0.8 * x + 0.2 * np.maximum(drive, 0)
            np.testing.assert_allclose(rates[:, step].detach(), x, rtol=1e-11, atol=1e-13)

    @pytest.mark.parametrize("kind", [Full(), Sparse(0.2), Convolutional(16, 5, 5), LowRank(1)], ids=lambda kind: kind.name)
    def test_its_spectral_radius_is_about_the_gain(self, kind: Connectivity):
        radii = [np.abs(np.linalg.eigvals(matrix_of(made(kind, 400, seed=seed, gain=0.7)))).max() for seed in range(3)]
        # the border takes some weights from a map, and a kernel's few numbers scatter
        assert np.mean(radii) == pytest.approx(0.7, rel=0.2 if kind.name in ("conv", "lowrank") else 0.08)


class TestSparse:
    def test_the_fraction_of_connections_is_exact_and_anywhere(self):
        mask = made(Sparse(0.3), units=50).get_buffer("recurrent_mask").numpy()
        assert set(np.unique(mask)) == {0, 1}
        assert mask.sum() == 750
        assert abs(mask.mean(0) - 0.3).max() < 5 * np.sqrt(0.21 / 50)
        assert abs(mask.mean(1) - 0.3).max() < 5 * np.sqrt(0.21 / 50)
        assert not np.array_equal(mask, made(Sparse(0.3), units=50, seed=1).get_buffer("recurrent_mask").numpy())

    def test_what_is_masked_gets_no_gradient_and_stays(self):
        network = made(Sparse(0.3))
        network(torch.ones(2, 5, 3, dtype=torch.float64)).square().sum().backward()
        weights, mask = network.get_parameter("recurrent_weights"), network.get_buffer("recurrent_mask")
        assert weights.grad is not None
        assert not weights.grad[mask == 0].any()
        assert weights.grad[mask == 1].any()
        torch.optim.Adam(network.parameters(), lr=0.1).step()
        assert not matrix_of(network)[mask.numpy() == 0].any()


class TestLowRank:
    def test_its_rank(self):
        assert np.linalg.matrix_rank(matrix_of(made(LowRank(3)))) == 3

    def test_reparametrising_keeps_the_weights_and_finds_the_singular_values(self):
        network = made(LowRank(3))
        before = matrix_of(network).copy()
        values = network.reparametrise()
        np.testing.assert_allclose(matrix_of(network), before, atol=1e-14)
        np.testing.assert_allclose(values, np.linalg.svd(before, compute_uv=False)[:3], rtol=1e-10)
        m, n = (network.get_parameter(name).detach().numpy() for name in ("recurrent_m", "recurrent_n"))
        np.testing.assert_allclose(m.T @ m / UNITS, np.diag(values), atol=1e-12)
        np.testing.assert_allclose(n.T @ n / UNITS, np.diag(values), atol=1e-12)

    def test_overlaps(self):
        network = made(LowRank(2))
        names, overlaps = network.overlaps()
        assert names == ["I1", "I2", "I3", "n1", "n2", "m1", "m2", "w1", "w2"]
        p = {name: value.detach().numpy() for name, value in network.named_parameters()}
        assert float(overlaps[1, 3]) == pytest.approx(p["input_weights"][:, 1] @ p["recurrent_n"][:, 0] / UNITS)
        assert float(overlaps[4, 5]) == pytest.approx(p["recurrent_n"][:, 1] @ p["recurrent_m"][:, 0] / UNITS)
        assert float(overlaps[8, 6]) == pytest.approx(p["output_weights"][1] @ p["recurrent_m"][:, 1] / UNITS)

    def test_the_overlap_of_n_and_m_holds_the_eigenvalues(self):
        network = made(LowRank(2), units=60)
        names, overlaps = network.overlaps()
        n, m = slice(names.index("n1"), names.index("n2") + 1), slice(names.index("m1"), names.index("m2") + 1)
        small = np.sort(np.abs(np.linalg.eigvals(overlaps[n, m].numpy())))
        large = np.sort(np.abs(np.linalg.eigvals(matrix_of(network))))[-2:]
        np.testing.assert_allclose(small, large, rtol=1e-9)

    def test_other_networks_have_no_patterns(self):
        with pytest.raises(
            InputError, match="reparametrise: needs a network of low rank, and this one's connectivity is 'full'"
        ):
            made(Full()).reparametrise()
        with pytest.raises(InputError, match="overlaps: the patterns of a network that obeys Dale's law"):
            made(LowRank(2), excitatory=0.8).overlaps()


class TestDalesLaw:
    @EVERY
    def test_all_weights_of_a_unit_have_its_sign_whatever_training_does(self, kind: Connectivity):
        network = made(kind, excitatory=0.5)
        with torch.no_grad():
            for name in ("recurrent_weights", "recurrent_m", "recurrent_n", "recurrent_kernel"):
                if name in network.recurrent_names:
                    parameter = network.get_parameter(name)
                    parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)))
        dense = matrix_of(network)
        assert (dense[:, :12] >= 0).all()
        assert (dense[:, 12:] <= 0).all()
        assert (dense[:, :12] > 0).any()
        assert (dense[:, 12:] < 0).any()

    @pytest.mark.parametrize("kind", [Full(), Sparse(0.3)], ids=lambda kind: kind.name)
    def test_it_begins_balanced_with_the_radius_asked_for(self, kind: Connectivity):
        dense = matrix_of(made(kind, 400, excitatory=0.8, gain=0.7))
        excitation, inhibition = dense[:, :320].sum(), -dense[:, 320:].sum()
        assert excitation / inhibition == pytest.approx(1, abs=0.05)
        centred = dense - dense.mean(1, keepdims=True)  # without what imbalance is left in each row
        assert np.abs(np.linalg.eigvals(centred)).max() == pytest.approx(0.7, rel=0.2)


class TestBadInput:
    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            (LowRank(25), "rank=25: must be from 1 to the number of units, 24"),
            (LowRank(0), "rank=0: must be from 1 to the number of units, 24"),
            (Sparse(0.0), r"density=0\.0: must be above 0 and at most 1"),
            (Sparse(1.5), r"density=1\.5: must be above 0 and at most 1"),
            (Sparse(float("nan")), "density=nan"),
            (Convolutional(2, 3, 5), "maps of 2 x 3 x 5: .* their product the number of units, 24"),
            (Convolutional(-2, -3, 4), "must be at least 1"),
        ],
    )
    def test_of_kinds(self, kind: Connectivity, message: str):
        with pytest.raises(InputError, match=message):
            made(kind)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"form": "rat"}, r"form 'rat' is unknown; did you mean 'rate'\?"),
            ({"excitatory": 0.8, "activation": "tanh"}, r"activation='tanh': Dale's law \(excitatory\) needs rates"),
            ({"excitatory": 1.0}, r"excitatory=1\.0: leaves one kind of unit without any of 24"),
            ({"tau": [100.0] * 5}, r"tau of shape \(5,\): give a finite number for each of 24 units"),
            ({"tau": [10.0] * 24}, r"dt=20\.0: an Euler step must be above 0 and at most every time constant"),
            ({"initial": [float("nan")] * 24}, "initial of shape .*: give a finite number"),
        ],
    )
    def test_of_networks(self, options: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message):
            made(Full(), **options)

    def test_of_names(self):
        with pytest.raises(InputError, match=r"connectivity 'lowrnk' is unknown; did you mean 'lowrank'\?"):
            named("lowrnk")
        assert named("lowrank", rank=4) == LowRank(4)
        assert named("sparse", density=0.1) == Sparse(0.1)
        assert named("conv", shape=(1, 3, 3)) == Convolutional(1, 3, 3)
        assert named("full") == Full()
