"""Compiled stacks: outputs, rates and gradients are those of the public step, however the work is divided."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cordstasks.rnn import RNN, RNNStack
from cordstasks.rnn import fast as fast_package
from cordstasks.rnn.connectivity import Connectivity, Convolutional, Full, LowRank, Sparse
from cordstasks.rnn.fast import engine
from helpers import ROOT, random_rnns

STEPS, CHANNELS, OUTPUTS = 7, 3, 2
KINDS = [Full(), LowRank(2), Sparse(0.4), Convolutional(3, 4, 3)]
UNITS = 36  # of the convolutional network's maps
TAUS = {"one": 100.0, "each its own": np.linspace(25.0, 200.0, UNITS).tolist()}


def supported() -> bool:
    if importlib.util.find_spec("numba") is None:
        return False
    from cordstasks.utils.vectors import SUPPORTED

    return bool(SUPPORTED)


needs_compiled_code = pytest.mark.skipif(not supported(), reason="numba is not installed, or this processor has no AVX2")


@pytest.fixture(autouse=True)
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks are compiled, too."""
    monkeypatch.setattr(engine, "FEWEST", 0)


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The networks of each call of compiled code."""
    calls: list[int] = []
    compiled = engine.run

    def run(dynamics: Any, stack: Any, **options: Any) -> Any:
        calls.append(len(stack.inputs))
        return compiled(dynamics, stack, **options)

    monkeypatch.setattr(fast_package, "run", run)
    return calls


def networks(kind: Connectivity = KINDS[0], count: int = 2, units: int = UNITS, **options: Any) -> list[RNN]:
    return random_rnns(kind, count, inputs=CHANNELS, units=units, outputs=OUTPUTS, **options)


def numbers(*shape: int, seed: int = 3) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


def generators(count: int) -> list[np.random.Generator]:
    return [np.random.Generator(np.random.SFC64(seed)) for seed in range(count)]


def step_by_step(network: RNN, inputs: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Outputs and rates (trial, time, ...) of the public step, which autograd differentiates."""
    state, rates = network._start(len(inputs)), []
    for step in range(inputs.shape[1]):
        state = network.step(state, inputs[:, step], None if noise is None else noise[step])
        rates.append(network.rates(state))
    read = torch.stack(rates, 1)
    return read @ network.output_weights.T + network.output_bias, read


def close(ours: Tensor, exact: Tensor, what: str = "") -> None:
    """Relative to the largest number, since sums of many numbers are rounded in another order."""
    assert ours.shape == exact.shape
    assert float((ours.double() - exact).abs().max()) < 3e-6 * float(exact.abs().max()), what


@needs_compiled_code
class TestAgainstTheSteps:
    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
    @pytest.mark.parametrize("form", ["rate", "current"])
    @pytest.mark.parametrize("activation", ["relu", "tanh", "softplus"])
    @pytest.mark.parametrize("tau", TAUS)
    def test_outputs_rates_and_gradients(self, counted: list[int], kind: Connectivity, form: str, activation: str, tau: str):
        alone = networks(kind, form=form, activation=activation, tau=TAUS[tau], noise=0.3, train_initial=True)
        stack, inputs = RNNStack(alone), numbers(2, 19, STEPS, CHANNELS)
        by_output, by_rate = numbers(2, 19, STEPS, OUTPUTS, seed=4), numbers(2, 19, STEPS, UNITS, seed=5)
        by_output[:, :, -2:] = 0  # late steps that nobody asks about
        by_rate[:, :, -1:] = 0
        outputs, rates = stack(inputs, return_states=True, noise=generators(2))
        ((outputs * by_output).sum() + (rates * by_rate).sum()).backward()
        assert counted == [2]
        for index, (network, generator) in enumerate(zip(alone, generators(2), strict=True)):
            network.double()
            drawn = torch.from_numpy(generator.standard_normal((STEPS, 19, UNITS), np.float32)).double()
            y, r = step_by_step(network, inputs[index].double(), network.noise_per_step * drawn)
            ((y * by_output[index]).sum() + (r * by_rate[index]).sum()).backward()
            close(outputs[index], y, "outputs")
            close(rates[index], r, "rates")
            for name, parameter in network.named_parameters():
                gradient = stack.get_parameter(name).grad
                assert gradient is not None and parameter.grad is not None, name
                close(gradient[index], parameter.grad, name)

    @pytest.mark.parametrize("units", [4, 15, 16, 17, 33, 64, 100, 130, 200])
    @pytest.mark.parametrize("trials", [1, 2, 3, 32, 33, 71])
    def test_sizes(self, counted: list[int], units: int, trials: int):
        """Blocks of every height and panels of every width; more trials than go through all steps together."""
        (network,) = networks(units=units, count=1)
        stack, inputs = RNNStack([network]), numbers(1, trials, STEPS, CHANNELS)
        outputs = stack(inputs)
        outputs.square().sum().backward()
        assert counted == [1]
        y, _ = step_by_step(network.double(), inputs[0].double())
        y.square().sum().backward()
        close(outputs[0], y)
        for name, parameter in network.named_parameters():
            gradient = stack.get_parameter(name).grad
            assert gradient is not None and parameter.grad is not None, name
            close(gradient[0], parameter.grad, name)

    def test_the_gradient_of_rates_alone(self):
        (network,) = networks(count=1)
        stack, inputs = RNNStack([network]), numbers(1, 5, STEPS, CHANNELS)
        stack(inputs, return_states=True)[1].square().sum().backward()
        step_by_step(network.double(), inputs[0].double())[1].square().sum().backward()
        for name in ("input_weights", "recurrent_weights", "bias"):
            gradient, expected = stack.get_parameter(name).grad, network.get_parameter(name).grad
            assert gradient is not None and expected is not None
            close(gradient[0], expected, name)

    def test_dales_law(self):
        (network,) = networks(Sparse(0.5), 1, excitatory=0.75)
        stack, inputs = RNNStack([network]), numbers(1, 5, STEPS, CHANNELS)
        stack(inputs).square().sum().backward()
        step_by_step(network.double(), inputs[0].double())[0].square().sum().backward()
        gradient, expected = stack.get_parameter("recurrent_weights").grad, network.get_parameter("recurrent_weights").grad
        assert gradient is not None and expected is not None
        close(gradient[0], expected)


@needs_compiled_code
class TestHowTheWorkIsDivided:
    @pytest.mark.parametrize("count", [1, 2, 3, 7])
    def test_it_changes_nothing_but_rounding(self, threads: int, count: int):
        results = []
        for number in (1, threads, threads):
            torch.set_num_threads(number)
            stack = RNNStack(networks(count=count, noise=0.3))
            outputs = stack(numbers(count, 40, STEPS, CHANNELS), noise=generators(count))
            outputs.square().sum().backward()
            gradient = stack.get_parameter("recurrent_weights").grad
            assert gradient is not None
            results.append((outputs, gradient))
        (alone, by_alone), (one, by_one), (other, by_other) = results
        assert torch.equal(alone, one)
        assert torch.equal(one, other)
        assert torch.equal(by_one, by_other)
        close(by_one, by_alone.double())

    def test_trials_are_divided_only_where_networks_would_leave_threads_idle(self, threads: int):
        def parts(count: int, trials: int) -> int:
            jobs = engine._jobs(count, trials)
            for network in range(count):
                spans = [job.trials for job in jobs if job.network == network]
                assert [trial for first, last in spans for trial in range(first, last)] == list(range(trials))
            return len(jobs) // count

        assert parts(30, 32) == 1
        assert parts(1, 32) == threads
        assert parts(1, 15) == 1  # too few trials
        assert parts(2, 32) == (1 if threads < 3 else 3)

    def test_an_error_in_a_thread_is_raised(self, threads: int):
        class Broken(np.random.Generator):
            def standard_normal(self, *given: Any, **named: Any) -> Any:
                raise RuntimeError("no more numbers")

        broken = [Broken(np.random.PCG64(seed)) for seed in range(3)]
        with pytest.raises(RuntimeError, match="no more numbers"):
            RNNStack(networks(count=3, noise=0.3))(numbers(3, 5, STEPS, CHANNELS), noise=broken)

    @pytest.mark.parametrize("form", ["rate", "current"])
    def test_what_is_not_kept_without_a_way_back_is_not_missed(self, form: str):
        stack, inputs = RNNStack(networks(form=form)), numbers(2, 40, STEPS, CHANNELS)
        outputs, rates = stack(inputs, return_states=True)
        with torch.no_grad():
            assert torch.equal(stack(inputs), outputs)
            again, states = stack(inputs, return_states=True)
        assert torch.equal(again, outputs)
        assert torch.equal(states, rates)

    @pytest.mark.parametrize("mode", ["inference", "no_grad", "float64"])
    def test_the_comparison_needs_no_mode_of_its_own(self, monkeypatch: pytest.MonkeyPatch, mode: str):
        monkeypatch.setattr(engine, "_found", {})
        stack, inputs = RNNStack(networks()), numbers(2, 5, STEPS, CHANNELS)
        before = torch.get_default_dtype()
        try:
            torch.set_default_dtype(torch.float64 if mode == "float64" else before)
            with torch.inference_mode(mode == "inference"), torch.set_grad_enabled(mode == "float64"):
                outputs = stack(inputs)
            if mode == "float64":
                outputs.square().sum().backward()
                assert stack.bias.grad is not None and stack.bias.grad.dtype == torch.float32
        finally:
            torch.set_default_dtype(before)
        assert engine._found == {"reason": ""}
        assert torch.equal(outputs, stack(inputs))

    @pytest.mark.parametrize("place", ["inputs", "weights"])
    def test_not_a_number_does_not_reach_other_networks_or_trials(self, place: str):
        inputs, stack = numbers(3, 40, STEPS, CHANNELS), RNNStack(networks(count=3))
        clean = stack(inputs)
        with torch.no_grad():
            if place == "inputs":
                inputs[1, 2, 3] = float("nan")
            else:
                stack.get_parameter("recurrent_weights")[1, 4, 5] = float("nan")
        outputs = stack(inputs)
        outputs.square().sum().backward()
        assert outputs[1, 2, 3:].isnan().all()
        assert torch.equal(outputs[[0, 2]], clean[[0, 2]])
        if place == "inputs":
            assert torch.equal(outputs[1, 3:], clean[1, 3:])
        gradient = stack.bias.grad
        assert gradient is not None
        assert gradient[[0, 2]].isfinite().all()
        assert not gradient[1].isfinite().all()


@needs_compiled_code
class TestHowItIsDifferentiated:
    @pytest.mark.parametrize("form", ["rate", "current"])
    def test_twice_from_one_run(self, form: str):
        stack = RNNStack(networks(form=form))
        loss, weights = stack(numbers(2, 5, STEPS, CHANNELS)).square().sum(), list(stack.parameters())
        first, second = (torch.autograd.grad(loss, weights, retain_graph=True) for _ in range(2))
        for one, other in zip(first, second, strict=True):
            assert one.any()
            assert torch.equal(one, other)

    @pytest.mark.parametrize("of", ["outputs", "rates"])
    def test_a_second_derivative_is_refused(self, of: str, threads: int):
        """The gradient that arrives has a gradient itself, in whatever thread it is used."""
        stack = RNNStack(networks(activation="tanh"))
        weights = [weight for name, weight in stack.named_parameters() if of == "outputs" or "output" not in name]
        outputs, rates = stack(numbers(2, 40, STEPS, CHANNELS), return_states=True)
        loss = (outputs if of == "outputs" else rates).square().sum()
        slopes = torch.autograd.grad(loss, weights, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            slopes[0].square().sum().backward()

    def test_nothing_depends_on_anything(self):
        stack = RNNStack(networks(train_initial=True))
        (stack(numbers(2, 5, STEPS, CHANNELS)) * 0).sum().backward()
        for name, parameter in stack.named_parameters():
            assert parameter.grad is not None, name
            assert not parameter.grad.any(), name

    def test_fixed_weights_stay_fixed(self):
        stack = RNNStack(networks(train_inputs=False, train_outputs=False))
        stack(numbers(2, 5, STEPS, CHANNELS)).square().sum().backward()
        assert stack.input_weights.grad is None
        assert stack.get_parameter("recurrent_weights").grad is not None


@needs_compiled_code
class TestParts:
    @pytest.mark.parametrize(
        ("rows", "length", "columns"), [(1, 1, 1), (3, 5, 16), (14, 100, 17), (23, 7, 100), (9, 33, 200)]
    )
    @pytest.mark.parametrize("transposed", [False, True])
    def test_products(self, rows: int, length: int, columns: int, transposed: bool):
        from cordstasks.rnn.fast.products import LANES
        from cordstasks.rnn.fast.steps import _add

        generator, width = np.random.default_rng(0), -(-columns // LANES) * LANES
        left = generator.normal(size=(length, rows) if transposed else (rows, length)).astype(np.float32)
        right = generator.normal(size=(length, width + 5)).astype(np.float32)
        sums = generator.normal(size=(rows, width + 7)).astype(np.float32)
        factor = left.T if transposed else left
        expected = sums.astype(np.float64)
        expected[:, :width] += factor.astype(np.float64) @ right[:, :width]
        _add(factor, right, sums, columns)
        np.testing.assert_allclose(sums, expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(sums[:, width:], expected[:, width:].astype(np.float32))

    @pytest.mark.parametrize(
        ("name", "exact"),
        [
            ("relu", lambda x: np.maximum(x, 0)),
            ("tanh", np.tanh),
            ("softplus", lambda x: np.where(x < 0, np.log1p(np.exp(np.minimum(x, 0))), x + np.log1p(np.exp(-np.abs(x))))),
        ],
    )
    def test_activations_are_exact_to_rounding(self, name: str, exact: Any):
        from cordstasks.rnn.fast.activations import CODES
        from cordstasks.rnn.fast.steps import _current_back, _current_step

        def function(x: Any, y: Any) -> None:  # a whole step from zero
            _current_step(CODES[name], x, np.ones_like(x), np.zeros_like(x), y)

        sizes = np.geomspace(1e-20, 85, 20_001)
        x = np.concatenate([-sizes, [0.0], sizes]).astype(np.float32)
        y, slopes = np.empty_like(x), np.zeros_like(x)
        function(x, y)
        np.testing.assert_allclose(y, exact(x.astype(np.float64)), rtol=3e-7)
        _current_back(CODES[name], np.ones_like(x), np.ones_like(x), y, slopes)
        output = y.astype(np.float64)
        derivative = {"relu": (output > 0) * 1.0, "tanh": 1 - output**2, "softplus": -np.expm1(-output)}[name]
        np.testing.assert_allclose(slopes, derivative, rtol=3e-7, atol=1e-7 if name == "tanh" else 0)
        extreme = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30], np.float32)
        result = np.empty_like(extreme)
        function(extreme, result)
        expected = exact(extreme.astype(np.float64)).astype(np.float32)
        np.testing.assert_allclose(result, expected, rtol=3e-7, atol=1e-37)


class TestWhereItIsNotUsed:
    def check_operations_ran(self, counted: list[int], stack: RNNStack, inputs: Tensor, **options: Any) -> None:
        outputs = stack(inputs, **options)
        assert isinstance(outputs, Tensor)
        outputs.float().square().sum().backward()
        assert counted == []
        exact = step_by_step(stack.network(0).double(), inputs[0].double())[0]
        assert float((outputs[0].double() - exact).norm() / exact.norm()) < 0.02  # half precision

    def test_other_types_and_inputs_that_are_differentiated(self, counted: list[int]):
        stack, inputs = RNNStack(networks()), numbers(2, 5, STEPS, CHANNELS)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            self.check_operations_ran(counted, stack, inputs)
        self.check_operations_ran(counted, stack, inputs.requires_grad_())
        assert inputs.grad is not None
        self.check_operations_ran(counted, stack.double(), inputs.detach())

    def test_large_and_very_small_networks(self, counted: list[int], monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(engine, "LARGEST", UNITS - 1)
        stack, inputs = RNNStack(networks()), numbers(2, 5, STEPS, CHANNELS)
        self.check_operations_ran(counted, stack, inputs)
        monkeypatch.setattr(engine, "LARGEST", CHANNELS)  # the bias is one more input
        self.check_operations_ran(counted, RNNStack(networks(units=CHANNELS)), inputs)
        monkeypatch.undo()
        assert engine.FEWEST > 5 * STEPS * UNITS
        assert not engine.usable(stack._given(inputs))

    def test_transforms_of_functions(self, counted: list[int]):
        stack, inputs = RNNStack(networks()), numbers(2, 5, STEPS, CHANNELS)
        given = dict(stack.named_parameters())
        torch.func.functional_call(stack, given, (inputs,))  # this is no transform
        calls = len(counted)
        with pytest.raises(RuntimeError, match="setup_context"):  # as before: PyTorch's operations are refused likewise
            torch.func.grad(lambda p: torch.func.functional_call(stack, p, (inputs,)).sum())(given)
        assert len(counted) == calls

    def test_numba_that_is_not_installed(self, counted: list[int], monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(engine, "_found", {})
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        self.check_operations_ran(counted, RNNStack(networks()), numbers(2, 5, STEPS, CHANNELS))
        assert engine.why_not() == "numba is not installed"

    @needs_compiled_code
    def test_wrong_numbers(self, counted: list[int], monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(engine, "_found", {})
        for_each = engine._for_each
        monkeypatch.setattr(engine, "_for_each", lambda units, value: for_each(units, value) * np.float32(1.001))
        self.check_operations_ran(counted, RNNStack(networks()), numbers(2, 5, STEPS, CHANNELS))
        assert engine.why_not().startswith("5 units differ by ")

    @needs_compiled_code
    def test_a_compiler_that_fails(self, counted: list[int], monkeypatch: pytest.MonkeyPatch):
        def fail(*arguments: object) -> None:
            raise NotImplementedError("no such instruction")

        monkeypatch.setattr(engine, "_found", {})
        monkeypatch.setattr("cordstasks.rnn.fast.steps.forward", fail)
        self.check_operations_ran(counted, RNNStack(networks()), numbers(2, 5, STEPS, CHANNELS))
        assert engine.why_not() == "NotImplementedError: no such instruction"


ELSEWHERE = """
from cordstasks.rnn.fast import steps, why_not
from cordstasks.utils.vectors import LANES

print(LANES, steps.forward._cache.__class__.__name__, why_not())
"""


def printed_elsewhere(**variables: str) -> str:
    """What `ELSEWHERE` prints in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@needs_compiled_code
class TestOtherProcessors:
    @pytest.mark.slow
    def test_avx2_only(self):
        features = "+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+popcnt,+sse4.2"
        assert printed_elsewhere(NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES=features) == "8 FunctionCache"

    def test_without_it(self):
        printed = printed_elsewhere(NUMBA_CPU_NAME="nehalem", NUMBA_CPU_FEATURES="+sse4.2,+popcnt")
        assert printed == "8 FunctionCache this processor has no AVX2"

    @pytest.mark.slow
    def test_where_compiled_code_cannot_be_kept(self):
        printed = printed_elsewhere(NUMBA_CACHE_LOCATOR_CLASSES="IPythonCacheLocator")  # which is for other files than this
        assert printed in ("8 NullCache", "16 NullCache")
