"""The dynamics of training, the loss through time, and its three gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cordstasks.cordsnet import CordsNet
from cordstasks.pretraining.objectives import full_loss, relax, spontaneous_state, window_weights
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.pretraining.unrolled import Unrolled

Maker = Callable[..., CordsNet]
SHORT = PretrainSettings(
    gradients="truncated",
    blank_steps=7,
    image_steps=9,
    after_steps=8,
    image_window=4,
    after_window=3,
    first_weight=0.01,
    spontaneous_weight=0.5,
    spontaneous_target="constant",
    spontaneous_images=None,
    checkpoint_steps=2,
)


@pytest.fixture
def network(random_network: Maker) -> CordsNet:
    return random_network(2, classes=3, in_channels=2).double()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, 2, 32, 32, generator=generator, dtype=torch.float64)
    return x, torch.softmax(torch.randn(3, 3, generator=generator, dtype=torch.float64), 1)


def by_hand(network: CordsNet, x: Tensor, targets: Tensor, settings: PretrainSettings) -> Tensor:
    """The definition, with the network's own step."""
    blank, shown = network.drive(None), network.drive(x)
    with torch.no_grad():
        rest = network.zero_state(1)
        for _ in range(settings.blank_steps):
            rest = network.step(rest, blank)
    rates = [r.expand(len(x), -1, -1, -1) for r in rest]
    entropies, distances = [], []
    for _ in range(settings.image_steps):
        rates = network.step(rates, shown)
        entropies.append(F.cross_entropy(network.readout(rates[-1], rates[-2]), targets))
    for _ in range(settings.after_steps):
        rates = network.step(rates, blank)
        distances.append(torch.stack([(r - own).square().mean() for r, own in zip(rates, rest, strict=True)]).mean())
    exponents = np.linspace(np.log10(settings.first_weight), 0, settings.image_window)
    last = entropies[-settings.image_window :]
    entropy = sum(10**exponent * value for exponent, value in zip(exponents, last, strict=True)) / len(last)
    last = distances[-settings.after_window :]
    return entropy + settings.spontaneous_weight * sum(last) / len(last)


def gradient(network: CordsNet, loss: Tensor) -> Tensor:
    gradients = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
    flat = [g if g is not None else torch.zeros_like(p) for g, p in zip(gradients, network.parameters(), strict=True)]
    return torch.cat([g.flatten() for g in flat])


class TestUnrolled:
    @pytest.mark.parametrize("slope", [0.0, 0.4, 1.0])
    @pytest.mark.parametrize("depth", [2, 6])
    def test_steps_are_the_network_s(self, depth: int, slope: float, random_network: Maker) -> None:
        network = random_network(depth, classes=3, in_channels=2, activation=slope).double()
        generator = torch.Generator().manual_seed(5)
        x = torch.randn(2, 2, 32, 32, generator=generator, dtype=torch.float64)
        ours, drive, unrolled = network.zero_state(2), network.drive(x), Unrolled(network)
        theirs, drives = unrolled.zero_state(2), unrolled.drives(x)
        for _ in range(4):
            ours, theirs = network.step(ours, drive), unrolled.step(theirs, drives)
        for own, other in zip(ours, theirs, strict=True):
            assert float(own.abs().max()) > 0
            torch.testing.assert_close(other, own, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(unrolled.logits(theirs), network.readout(ours[-1], ours[-2]))
        blank = unrolled.drives(None)
        assert [len(d) for d in blank] == [1] * depth
        torch.testing.assert_close(blank[0][0], network.conv_bias[0].data)

    def test_another_alpha_goes_another_part_of_the_way(self, network: CordsNet, batch: tuple[Tensor, Tensor]) -> None:
        unrolled = Unrolled(network)
        rates, drives = relax(unrolled, unrolled.zero_state(3), unrolled.drives(batch[0]), 3), unrolled.drives(batch[0])
        whole, part = unrolled.step(rates, drives, alpha=1.0), unrolled.step(rates, drives)
        for r, w, p in zip(rates, whole, part, strict=True):
            torch.testing.assert_close(p, r + 0.2 * (w - r))


class TestLoss:
    @pytest.mark.parametrize("gradients", ["full", "truncated"])
    def test_is_the_paper_s(self, gradients: str, network: CordsNet, batch: tuple[Tensor, Tensor]) -> None:
        outcome = full_loss(Unrolled(network), *batch, replace(SHORT, gradients=gradients))
        torch.testing.assert_close(outcome.loss, by_hand(network, *batch, SHORT))
        distance = (outcome.loss - outcome.terms["entropy"]) / SHORT.spontaneous_weight
        torch.testing.assert_close(outcome.terms["spontaneous"], distance.detach())
        assert float(distance) > 0
        assert outcome.activity.shape == (2,)

    def test_the_distance_to_a_moving_target_is_that_of_two_trajectories(
        self, network: CordsNet, batch: tuple[Tensor, Tensor]
    ) -> None:
        x, targets = batch
        moving = replace(SHORT, spontaneous_target="moving")
        found = full_loss(Unrolled(network), x, targets, moving)
        without = replace(SHORT, spontaneous_weight=0.0)
        entropy = gradient(network, full_loss(Unrolled(network), x, targets, without).loss)
        blank = network.drive(None)
        with torch.no_grad():  # up to the window
            alone = network.zero_state(1)
            for _ in range(SHORT.blank_steps):
                alone = network.step(alone, blank)
            rates = [r.expand(3, -1, -1, -1) for r in alone]
            for _ in range(SHORT.image_steps):
                rates = network.step(rates, network.drive(x))
            for _ in range(SHORT.after_steps - SHORT.after_window):
                rates, alone = network.step(rates, blank), network.step(alone, blank)
        blank, distance = network.drive(None), torch.zeros((), dtype=torch.float64)
        for _ in range(SHORT.after_window):
            rates, alone = network.step(rates, blank), network.step(alone, blank)
            distance = distance + sum((r - own).square().mean() for r, own in zip(rates, alone, strict=True)) / 2 / 3
        torch.testing.assert_close(found.terms["spontaneous"], distance.detach())
        ours = gradient(network, found.loss) - entropy
        torch.testing.assert_close(ours, gradient(network, SHORT.spontaneous_weight * distance), rtol=1e-6, atol=1e-12)
        constant = gradient(network, full_loss(Unrolled(network), x, targets, SHORT).loss) - entropy
        assert float((constant - ours).norm() / ours.norm()) > 0.1

    def test_the_distance_may_be_that_of_a_few_images(self, network: CordsNet, batch: tuple[Tensor, Tensor]) -> None:
        x, targets = batch
        few = full_loss(Unrolled(network), x, targets, replace(SHORT, spontaneous_images=2)).terms["spontaneous"]
        own = full_loss(Unrolled(network), x[:2], targets[:2], SHORT).terms["spontaneous"]
        torch.testing.assert_close(few, own)

    def test_weights_rise_evenly_in_logarithm(self) -> None:
        weights = window_weights(30, 1e-3, torch.zeros(1, dtype=torch.float64))
        np.testing.assert_allclose(weights, np.logspace(-3, 0, 30))
        np.testing.assert_allclose(window_weights(4, 1.0, torch.zeros(1)), np.ones(4))
        assert window_weights(1, 1e-3, torch.zeros(1)).tolist() == [1.0]

    def test_the_linear_stage_begins_with_nothing_and_ends_with_the_image(
        self, network: CordsNet, batch: tuple[Tensor, Tensor]
    ) -> None:
        x, targets = batch
        network.negative_slope = 1.0
        one = replace(SHORT, image_steps=2, image_window=1)
        outcome = full_loss(Unrolled(network), x, targets, one, from_zero=True)
        rates, drive = network.zero_state(3), network.drive(x)
        for _ in range(2):
            rates = network.step(rates, drive)
        assert min(float(r.min()) for r in rates) < 0  # not rectified within
        torch.testing.assert_close(outcome.loss, F.cross_entropy(network.readout(rates[-1], rates[-2]), targets))
        assert "spontaneous" not in outcome.terms

    def test_the_spontaneous_state_is_that_of_a_record(self, network: CordsNet) -> None:
        recorded = network.record(torch.zeros(1, 2, 32, 32), blank_steps=7, image_steps=0)
        for area, r in enumerate(spontaneous_state(Unrolled(network), 7)):
            torch.testing.assert_close(r, recorded[area][-1])


class TestGradients:
    @pytest.mark.parametrize("every", [1, 5, 100])
    def test_full_is_backpropagation_through_all_steps(
        self, every: int, network: CordsNet, batch: tuple[Tensor, Tensor]
    ) -> None:
        expected = gradient(network, by_hand(network, *batch, SHORT))
        settings = replace(SHORT, gradients="full", checkpoint_steps=every)
        ours = gradient(network, full_loss(Unrolled(network), *batch, settings).loss)
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)

    def test_truncated_is_exact_where_the_window_is_all_of_time(
        self, network: CordsNet, batch: tuple[Tensor, Tensor]
    ) -> None:
        whole = replace(SHORT, image_window=9, spontaneous_weight=0.0)
        full, truncated = (
            gradient(network, full_loss(Unrolled(network), *batch, replace(whole, gradients=kind)).loss)
            for kind in ("full", "truncated")
        )
        torch.testing.assert_close(truncated, full, rtol=1e-9, atol=1e-12)
        half = replace(whole, image_window=4, gradients="truncated")
        part = gradient(network, full_loss(Unrolled(network), *batch, half).loss)
        exact = gradient(network, full_loss(Unrolled(network), *batch, replace(half, gradients="full")).loss)
        cosine = float(F.cosine_similarity(part, exact, dim=0))
        assert 0.3 < cosine < 0.9999  # what came before the window is a constant

    def test_equilibrium_is_exact_where_the_network_has_settled(
        self, network: CordsNet, batch: tuple[Tensor, Tensor]
    ) -> None:
        long = replace(SHORT, image_steps=200, image_window=1, spontaneous_weight=0.0, checkpoint_steps=200)
        batch = (batch[0][:1], batch[1][:1])
        full, implicit = (
            full_loss(Unrolled(network), *batch, replace(long, gradients=kind, implicit_iterates=60))
            for kind in ("full", "equilibrium")
        )
        torch.testing.assert_close(implicit.loss, full.loss, rtol=1e-9, atol=1e-12)
        exact = gradient(network, full.loss)
        torch.testing.assert_close(gradient(network, implicit.loss), exact, rtol=1e-6, atol=1e-7 * float(exact.abs().max()))

    def test_equilibrium_settles_in_the_same_time_by_larger_steps(
        self, network: CordsNet, batch: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes: list[float | None] = []
        usual = Unrolled.step

        def noted(self: Unrolled, *arguments: Any, alpha: float | None = None) -> list[Tensor]:
            sizes.append(alpha)
            return usual(self, *arguments, alpha=alpha)

        monkeypatch.setattr(Unrolled, "step", noted)
        settings = replace(SHORT, gradients="equilibrium", settling_step=0.5)
        full_loss(Unrolled(network), *batch, settings)
        # 7 of blank; 9 * 0.2 / 0.5 of image; two whole ones of the implicit function; 5 * 0.2 / 0.5 after; a window of 3
        assert sizes == [None] * 7 + [0.5] * 4 + [1.0] * 2 + [0.5] * 2 + [None] * 3

    def test_equilibrium_keeps_no_more_for_more_time(self, network: CordsNet, batch: tuple[Tensor, Tensor]) -> None:
        sizes = {}
        for steps in (10, 40):
            kept = []

            def pack(tensor: Tensor, kept: list[int] = kept) -> Tensor:
                kept.append(tensor.numel())
                return tensor

            settings = replace(SHORT, image_steps=steps, gradients="equilibrium", spontaneous_weight=0.0)
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                full_loss(Unrolled(network), *batch, settings)
            sizes[steps] = sum(kept)
        assert sizes[10] == sizes[40] > 0
