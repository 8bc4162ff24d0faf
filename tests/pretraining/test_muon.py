"""Muon: its directions, its step, its checkpoints, and what it is for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cordstasks.errors import InputError
from cordstasks.pretraining.effects import check_used
from cordstasks.pretraining.muon import Muon, orthogonalised
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.pretraining.stages import cnn

SHAPES = [(6, 2, 3, 3), (2, 6, 3, 3), (5, 1, 2, 2), (40, 3, 3, 3), (4, 4, 1, 1)]  # wide, wide, tall, tall, square


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def muon(kernels: list[Tensor], others: list[Tensor], **given: Any) -> Muon:
    chosen = {"kernel_rate": 0.1, "rate": 0.1, "kernel_momentum": 0.6, "momentum": 0.9, **given}
    return Muon(kernels, others, **chosen)


class TestDirections:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
    def test_singular_vectors_stay_and_values_become_one(
        self, shape: tuple[int, ...], last: bool, dtype: torch.dtype
    ) -> None:
        kernel = normal(*shape)
        shown = kernel.contiguous(memory_format=torch.channels_last) if last else kernel
        left, _, right = torch.linalg.svd(kernel.flatten(1), full_matrices=False)
        found = left.T @ orthogonalised(shown, dtype).flatten(1) @ right.T
        assert orthogonalised(shown, dtype).dtype == torch.float32
        values = found.diagonal()
        assert (values > 0.6).all()
        assert (values < 1.25).all()
        off = found - torch.diag(values)
        assert off.abs().max() < (1e-4 if dtype == torch.float32 else 0.06)

    @pytest.mark.parametrize("size", [1e-35, 1e-24, 1e-12, 1.0, 1e12, 1e30])
    def test_size_does_not_matter(self, size: float) -> None:
        kernel = normal(4, 3, 3, 3)
        torch.testing.assert_close(orthogonalised(size * kernel), orthogonalised(kernel), rtol=1e-4, atol=1e-4)

    def test_no_gradient_gives_no_step(self) -> None:
        assert not orthogonalised(torch.zeros(4, 3, 3, 3)).any()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_a_gradient_that_has_become_zero_leaves_numbers(self, dtype: torch.dtype) -> None:
        """The momentum then decays until nothing is left of it."""
        kernel = nn.Parameter(normal(4, 3, 3, 3))
        optimiser = muon([kernel], [], dtype=dtype)
        for step in range(400):
            kernel.grad = normal(4, 3, 3, 3, seed=1) * (step == 0)
            optimiser.step()
        assert kernel.isfinite().all()

    def test_hardly_any_direction_stays_small(self) -> None:
        """A gradient with singular values from 1 to 0.01 becomes a step with values from 0.7 to 1.2."""
        left, _, right = torch.linalg.svd(normal(8, 72), full_matrices=False)
        gradient = left @ torch.diag(torch.logspace(0, -2, 8)) @ right
        values = torch.linalg.svdvals(orthogonalised(gradient.view(8, 8, 3, 3)).flatten(1))
        assert values.max() / values.min() < 2


class TestStep:
    def test_a_kernel_changes_by_the_rate_relative_to_its_norm(self) -> None:
        kernel = nn.Parameter(5 * normal(6, 4, 3, 3))
        direction = kernel.detach() / kernel.detach().norm()
        kernel.grad = normal(6, 4, 3, 3, seed=1)
        muon([kernel], [], kernel_rate=0.05).step()
        start = 6**0.5 * direction
        torch.testing.assert_close(kernel.detach() - start, -0.05 * orthogonalised(kernel.grad), rtol=1e-4, atol=1e-6)
        assert float((kernel.detach() - start).norm() / start.norm()) == pytest.approx(0.05, rel=0.2)

    def test_a_kernel_of_zeros_begins_to_learn(self) -> None:
        kernel = nn.Parameter(torch.zeros(6, 4, 3, 3))
        kernel.grad = normal(6, 4, 3, 3)
        muon([kernel], []).step()
        torch.testing.assert_close(kernel.detach(), -0.1 * orthogonalised(kernel.grad))

    def test_momentum_adds_up_gradients_of_before(self) -> None:
        kernel, gradients = nn.Parameter(normal(6, 4, 3, 3)), [normal(6, 4, 3, 3, seed=seed) for seed in (1, 2)]
        optimiser = muon([kernel], [], kernel_momentum=0.6)
        for gradient in gradients:
            before = kernel.detach() * 6**0.5 / kernel.detach().norm()
            kernel.grad = gradient.clone()
            optimiser.step()
        momentum = 0.6 * gradients[0] + gradients[1]
        expected = orthogonalised(gradients[1] + 0.6 * momentum)
        torch.testing.assert_close(before - kernel.detach(), 0.1 * expected, rtol=1e-4, atol=1e-5)

    def test_other_weights_change_as_by_sgd(self) -> None:
        ours, theirs = nn.Parameter(normal(3, 2)), nn.Parameter(normal(3, 2))
        own = muon([], [ours], weight_decay=0.01)
        sgd = torch.optim.SGD([theirs], lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
        for seed in range(4):
            ours.grad, theirs.grad = normal(3, 2, seed=seed), normal(3, 2, seed=seed)
            own.step()
            sgd.step()
        torch.testing.assert_close(ours, theirs)

    def test_gradients_stay_as_they_are(self) -> None:
        kernel, other = nn.Parameter(normal(3, 2, 3, 3)), nn.Parameter(normal(3))
        for weight in (kernel, other):
            weight.grad = torch.ones_like(weight)
        muon([kernel], [other], weight_decay=0.5).step()
        assert all((weight.grad == 1).all() for weight in (kernel, other))

    def test_weights_without_a_gradient_stay(self) -> None:
        kernel, other = nn.Parameter(normal(3, 2, 3, 3)), nn.Parameter(normal(3))
        before = [kernel.detach().clone(), other.detach().clone()]
        muon([kernel], [other], weight_decay=0.1).step()
        assert torch.equal(kernel, before[0])
        assert torch.equal(other, before[1])

    def test_continues_from_its_state(self) -> None:
        def run(optimiser: Muon, kernel: nn.Parameter, seeds: range) -> None:
            for seed in seeds:
                kernel.grad = normal(4, 3, 3, 3, seed=seed)
                optimiser.step()

        whole = nn.Parameter(normal(4, 3, 3, 3))
        run(muon([whole], []), whole, range(6))
        part = nn.Parameter(normal(4, 3, 3, 3))
        first = muon([part], [])
        run(first, part, range(3))
        second = muon([part], [], kernel_rate=9.0)  # the state has the rates, too
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        run(second, part, range(3, 6))
        assert torch.equal(part, whole)

    def test_a_closure_is_refused(self) -> None:
        with pytest.raises(ValueError, match="closure: Muon does not compute a loss again"):
            muon([], [nn.Parameter(normal(2))]).step(lambda: 0.0)  # type: ignore[arg-type]


def test_learns_what_varies_little_as_soon_as_what_varies_much() -> None:
    """Regression on inputs with standard deviations from 1 to 0.03; SGD has the largest rate at which it is stable."""
    scales = torch.logspace(0, -1.5, 16)
    x, target = normal(4096, 16) * scales, normal(8, 16, seed=1)
    target = target * 8**0.5 / target.norm()

    def left(make: Callable[[nn.Parameter], torch.optim.Optimizer]) -> float:
        """Fraction of the target's directions that is not yet learned."""
        kernel = nn.Parameter(torch.zeros(8, 16, 1, 1) + 1e-3 * normal(8, 16, 1, 1, seed=2))
        optimiser = make(kernel)
        for step in range(200):
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * (1 - step / 200)
            kernel.grad = None
            (x @ (kernel[:, :, 0, 0] - target).T).square().sum(1).mean().backward()
            optimiser.step()
        return float((kernel[:, :, 0, 0] - target).square().sum() / target.square().sum())

    by_muon = left(lambda kernel: muon([kernel], [], kernel_rate=0.1))
    by_sgd = min(
        left(lambda kernel, rate=rate: torch.optim.SGD([{"params": [kernel], "peak": rate}], lr=rate, momentum=0.9))  # type: ignore[misc]
        for rate in (0.01, 0.03, 0.1, 0.3)
    )
    assert by_muon < by_sgd / 3


class TestSettings:
    @pytest.mark.parametrize("name", ["cnn_kernel_rate", "cnn_kernel_momentum"])
    def test_kernels_have_no_rate_of_their_own_with_sgd(self, name: str) -> None:
        given = {name: 0.3}
        with pytest.raises(InputError, match=f"^{name}=0.3: has no effect unless cnn_optimiser=muon; leave it out"):
            check_used(PretrainSettings.of(given), given, "laptop")
        given = {name: 0.3, "cnn_optimiser": "muon"}
        check_used(PretrainSettings.of(given), given, "laptop")

    def test_a_run_from_before_there_was_a_choice_goes_on_with_sgd(self) -> None:
        values = PretrainSettings().as_dict()
        for name in ("cnn_optimiser", "cnn_kernel_rate", "cnn_kernel_momentum"):
            del values[name]
        assert PretrainSettings.from_dict(values, "a file").cnn_optimiser == "sgd"

    def test_only_kernels_are_orthogonalised(self, tmp_path: Path, make_context: Callable[..., Any]) -> None:
        context = make_context(tmp_path, cnn_optimiser="muon", cnn_learning_rate=0.02, cnn_kernel_rate=0.05)
        network = context.new_cnn()
        optimiser = cnn.training_of(network, context).optimiser
        assert isinstance(optimiser, Muon)
        kernels, others = optimiser.param_groups
        assert {weight.ndim for weight in kernels["params"]} == {4}
        assert {weight.ndim for weight in others["params"]} == {1, 2}
        assert len(kernels["params"]) + len(others["params"]) == len(list(network.parameters()))
        assert (kernels["peak"], others["peak"]) == (0.05, 0.02)
        assert (kernels["momentum"], others["momentum"]) == (context.settings.cnn_kernel_momentum, 0.9)

    def test_trains(self, tmp_path: Path, make_context: Callable[..., Any]) -> None:
        context = make_context(tmp_path, cnn_optimiser="muon")
        cnn.run(context)
        rows = context.log("cnn").read()
        assert rows[1]["loss"] < rows[0]["loss"]

    def test_divergence_names_both_rates(self, tmp_path: Path, make_context: Callable[..., Any]) -> None:
        context = make_context(tmp_path, cnn_optimiser="muon", cnn_kernel_rate=1e30, cnn_learning_rate=0.02)
        with pytest.raises(
            InputError, match=r"^cnn_learning_rate=0\.02, cnn_kernel_rate=1e\+30: .* of stage cnn; choose a smal"
        ):
            cnn.run(context)

    @pytest.mark.parametrize("name", ["cnn_optimiser", "cnn_momentum", "cnn_schedule"])
    def test_what_the_recurrent_control_shares_stays_once_that_has_begun(self, name: str) -> None:
        settings, given = PretrainSettings(), {"cnn_optimiser": "muon", "cnn_momentum": 0.5, "cnn_schedule": "thirds"}
        assert getattr(settings.changed({name: given[name]}, {"match"}, "here"), name) == given[name]
        for begun in ("cnn", "recurrent"):
            with pytest.raises(InputError, match=f"{name}="):
                settings.changed({name: given[name]}, {begun}, "here")
        assert settings.changed({"cnn_epochs": 7}, {"recurrent"}, "here").cnn_epochs == 7  # not shared
