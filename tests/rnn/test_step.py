"""The public step of a recurrent network: the equation written out, and all that must agree with it over many steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cordstasks.errors import InputError
from cordstasks.rnn import RNN, RNNStack
from cordstasks.rnn.connectivity import Connectivity, Convolutional, Full, LowRank, Sparse
from cordstasks.rnn.recurrence import Dynamics, run

TRIALS, STEPS, CHANNELS, UNITS, OUTPUTS = 5, 7, 3, 12, 2
KINDS = [Full(), LowRank(2), Sparse(0.4), Convolutional(2, 2, 3)]
TAUS = {"one": 100.0, "each its own": np.linspace(25.0, 200.0, UNITS).tolist()}
ACTIVATIONS = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh, "softplus": lambda z: np.logaddexp(0, z)}

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
every_form = pytest.mark.parametrize("form", ["rate", "current"])
every_activation = pytest.mark.parametrize("activation", list(ACTIVATIONS))
every_tau = pytest.mark.parametrize("tau", list(TAUS))


def made(kind: Connectivity, seed: int = 1, **options: Any) -> RNN:
    """A small network in float64 in which every parameter matters."""
    generator = torch.Generator().manual_seed(seed)
    rnn = RNN(CHANNELS, UNITS, OUTPUTS, dt=10.0, connectivity=kind, generator=generator, **options).double()
    with torch.no_grad():
        for parameter in (rnn.bias, rnn.output_bias):
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return rnn


def numbers(*shape: int, seed: int = 3) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def stepped(rnn: RNN, inputs: Tensor, state: Tensor, noise: Tensor | None = None) -> Tensor:
    """Rates (trial, time, unit) of the public step, taken once for each of the inputs (trial, time, channel)."""
    rates = []
    for number in range(inputs.shape[1]):
        state = rnn.step(state, inputs[:, number], None if noise is None else noise[number])
        rates.append(rnn.rates(state))
    return torch.stack(rates, 1)


@every_kind
@every_form
@every_activation
@every_tau
class TestEveryNetwork:
    def test_a_step_is_the_equation(self, kind: Connectivity, form: str, activation: str, tau: str):
        rnn = made(kind, form=form, activation=activation, tau=TAUS[tau])
        state, inputs, noise = numbers(TRIALS, UNITS), numbers(TRIALS, CHANNELS, seed=4), numbers(TRIALS, UNITS, seed=5)
        p: dict[str, NDArray[Any]] = {name: value.detach().numpy() for name, value in rnn.named_parameters()}
        matrix, f = rnn.connectivity.matrix().detach().numpy(), ACTIVATIONS[activation]
        alpha = 10.0 / np.array(TAUS[tau], np.float32).astype(np.float64)
        for given in (None, noise):
            ours = rnn.step(state, inputs, given).detach().numpy()
            for trial in range(TRIALS):
                x = state[trial].numpy()
                beside = p["bias"] + p["input_weights"] @ inputs[trial].numpy()
                beside = beside if given is None else beside + given[trial].numpy()
                change = f(matrix @ x + beside) if form == "rate" else matrix @ f(x) + beside
                np.testing.assert_allclose(ours[trial], x + alpha * (-x + change), rtol=1e-12, atol=1e-14)
        expected = state.numpy() if form == "rate" else f(state.numpy())
        np.testing.assert_allclose(rnn.rates(state), expected, rtol=1e-14)

    def test_forward_stack_and_recurrence_are_its_steps(self, kind: Connectivity, form: str, activation: str, tau: str):
        networks = [made(kind, seed, form=form, activation=activation, tau=TAUS[tau], noise=0.3) for seed in (1, 2)]
        inputs, start = numbers(2, TRIALS, STEPS, CHANNELS), numbers(2, TRIALS, UNITS, seed=4)
        stack = RNNStack(networks)
        _, together = stack(inputs, return_states=True)
        given = numbers(STEPS, 2, TRIALS, UNITS, seed=5)
        through = torch.einsum("nbtc,nuc->ntbu", inputs, stack.input_weights) + stack.bias[:, None, None]
        drive = (through + given.transpose(0, 1)).detach()  # `run` has no bias of its own, and overwrites the drive
        by_time = run(Dynamics(form, activation, stack.alpha), drive, stack.recurrent(), start)
        for index, rnn in enumerate(networks):
            expected = stepped(rnn, inputs[index], torch.zeros(TRIALS, UNITS, dtype=torch.float64))
            torch.testing.assert_close(together[index], expected, rtol=1e-10, atol=1e-12)
            outputs, rates = rnn(inputs[index], return_states=True)
            torch.testing.assert_close(rates, expected, rtol=1e-12, atol=1e-14)
            torch.testing.assert_close(outputs, expected @ rnn.output_weights.T + rnn.output_bias, rtol=1e-12, atol=1e-14)
            begun = stepped(rnn, inputs[index], start[index], given[:, index])
            torch.testing.assert_close(by_time[index].transpose(0, 1), begun, rtol=1e-10, atol=1e-12)
            _, rates = rnn(inputs[index], return_states=True, initial=start[index])
            torch.testing.assert_close(rates, stepped(rnn, inputs[index], start[index]), rtol=1e-12, atol=1e-14)

    def test_the_noise_of_forward_and_stack_is_given_to_the_step(
        self, kind: Connectivity, form: str, activation: str, tau: str
    ):
        rnn = made(kind, form=form, activation=activation, tau=TAUS[tau], noise=0.3)
        inputs, zero = numbers(TRIALS, STEPS, CHANNELS), torch.zeros(TRIALS, UNITS, dtype=torch.float64)
        shape = (STEPS, TRIALS, UNITS)
        drawn = torch.randn(shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
        _, rates = rnn(inputs, return_states=True, generator=torch.Generator().manual_seed(6))
        expected = stepped(rnn, inputs, zero, rnn.noise_per_step * drawn)
        torch.testing.assert_close(rates, expected, rtol=1e-12, atol=1e-14)
        _, rates = RNNStack([rnn])(inputs[None], return_states=True, noise=[np.random.default_rng(6)])
        drawn = torch.from_numpy(np.random.default_rng(6).standard_normal(shape))
        expected = stepped(rnn, inputs, zero, rnn.noise_per_step * drawn)
        torch.testing.assert_close(rates[0], expected, rtol=1e-10, atol=1e-12)


@every_kind
@every_form
@every_activation
@every_tau
class TestTheGradient:
    def test_it_is_that_of_the_steps(self, kind: Connectivity, form: str, activation: str, tau: str):
        """With respect to everything that `forward` is given, by autograd through the public step."""
        rnn = made(kind, form=form, activation=activation, tau=TAUS[tau])
        inputs, start = numbers(TRIALS, STEPS, CHANNELS), numbers(TRIALS, UNITS, seed=4)
        current, late = numbers(TRIALS, STEPS, UNITS, seed=5), numbers(TRIALS, STEPS, UNITS, seed=6)
        late[:, -2:] = 0  # nothing depends on the last steps
        given = {"inputs": inputs, "start": start, "current": current}
        wanted = [*rnn.parameters(), *(value.requires_grad_() for value in given.values())]
        outputs, rates = rnn(inputs, return_states=True, initial=start, current=current)
        loss = (rates * late).sum() + outputs[:, :-2].square().sum()
        expected = stepped(rnn, inputs, start, current.transpose(0, 1))
        read = expected @ rnn.output_weights.T + rnn.output_bias
        reference = (expected * late).sum() + read[:, :-2].square().sum()
        pairs = zip(torch.autograd.grad(loss, wanted), torch.autograd.grad(reference, wanted), strict=True)
        for name, (ours, theirs) in zip([*dict(rnn.named_parameters()), *given], pairs, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")


class TestHowItIsDifferentiated:
    @every_form
    def test_by_finite_differences(self, form: str):
        alpha = torch.linspace(0.1, 0.5, 4, dtype=torch.float64)
        drive, weights, start = numbers(2, 5, 3, 4), numbers(2, 4, 4, seed=4), numbers(2, 3, 4, seed=5)
        for fraction in (0.3, alpha):

            def rates(*given: Tensor, fraction: float | Tensor = fraction) -> Tensor:
                return run(Dynamics(form, "softplus", fraction), given[0].clone(), *given[1:])

            assert torch.autograd.gradcheck(rates, [value.requires_grad_() for value in (drive, weights, start)])

    @every_form
    def test_twice_from_one_run(self, form: str):
        rnn, inputs = made(Full(), form=form), numbers(TRIALS, STEPS, CHANNELS)
        loss = rnn(inputs).square().sum()
        first, second = (torch.autograd.grad(loss, list(rnn.parameters()), retain_graph=True) for _ in range(2))
        for one, other in zip(first, second, strict=True):
            assert one.any()
            assert torch.equal(one, other)

    @every_form
    def test_nothing_depends_on_anything(self, form: str):
        rnn = made(Full(), form=form, train_initial=True)
        (rnn(numbers(TRIALS, STEPS, CHANNELS)) * 0).sum().backward()
        for name, parameter in rnn.named_parameters():
            assert parameter.grad is not None, name
            assert not parameter.grad.any(), name

    def test_a_second_derivative_is_refused(self):
        rnn, inputs = made(Full(), activation="tanh"), numbers(TRIALS, STEPS, CHANNELS)
        slopes = torch.autograd.grad(rnn(inputs).square().sum(), list(rnn.parameters()), create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            slopes[1].square().sum().backward()

    @every_form
    def test_transforms_of_functions_see_the_steps(self, form: str):
        rnn, inputs, ways = made(Full(), form=form, activation="tanh"), numbers(TRIALS, STEPS, CHANNELS), numbers(UNITS)
        start = numbers(UNITS, seed=4)

        def end(state: Tensor) -> Tensor:
            return rnn(inputs[:1], return_states=True, initial=state[None])[1][0, -1]

        cotangent = numbers(UNITS, seed=5)
        pulled = torch.func.vjp(end, start)[1](cotangent)[0]
        with torch.no_grad():
            ahead, behind = (float(end(start + sign * 1e-5 * ways) @ cotangent) for sign in (1, -1))
        assert float(pulled @ ways) == pytest.approx((ahead - behind) / 2e-5, rel=1e-6)


class TestOneStep:
    @every_form
    def test_dales_law_holds(self, form: str):
        rnn = made(Sparse(0.5), form=form, excitatory=0.75)
        inputs, state = numbers(TRIALS, STEPS, CHANNELS), numbers(TRIALS, UNITS, seed=4)
        _, rates = rnn(inputs, return_states=True, initial=state)
        torch.testing.assert_close(stepped(rnn, inputs, state), rates, rtol=1e-12, atol=1e-14)

    @every_kind
    def test_one_input_does_for_all_trials(self, kind: Connectivity):
        rnn, state, inputs = made(kind), numbers(TRIALS, UNITS), numbers(CHANNELS, seed=4)
        before = state.clone()
        ours, expected = rnn.step(state, inputs), rnn.step(state, inputs.expand(TRIALS, -1))
        torch.testing.assert_close(ours, expected, rtol=1e-13, atol=1e-15)
        assert torch.equal(state, before)

    @every_form
    def test_it_can_be_differentiated_by_the_state(self, form: str):
        rnn = made(Full(), form=form, activation="tanh")
        inputs = numbers(CHANNELS, seed=4)
        assert torch.autograd.gradcheck(lambda state: rnn.step(state, inputs), numbers(2, UNITS).requires_grad_())

    @every_form
    def test_one_initial_state_does_for_all_trials(self, form: str):
        rnn, inputs, start = made(Full(), form=form), numbers(TRIALS, STEPS, CHANNELS), numbers(UNITS, seed=4)
        expected = stepped(rnn, inputs, start.expand(TRIALS, -1))
        for given in (start, start[None]):
            _, rates = rnn(inputs, return_states=True, initial=given)
            torch.testing.assert_close(rates, expected, rtol=1e-12, atol=1e-14)

    @every_form
    def test_arrays_of_numpy_are_taken_as_tensors_are(self, form: str):
        rnn = made(Full(), form=form)
        given = (numbers(TRIALS, STEPS, CHANNELS), numbers(UNITS, seed=4), numbers(1, STEPS, UNITS, seed=5))
        inputs, start, current = (value.numpy() for value in given)
        expected = rnn(given[0], initial=given[1], current=given[2])
        assert torch.equal(rnn(inputs, initial=start, current=current), expected)
        assert not torch.equal(rnn(inputs, initial=start), expected)

    @pytest.mark.parametrize(
        ("name", "shape", "message"),
        [
            ("initial", (TRIALS - 1, UNITS), r"initial of shape \(4, 12\): expected \(5, 12\), or 1 for an axis"),
            ("current", (TRIALS, STEPS - 1, UNITS), r"current of shape \(5, 6, 12\): expected \(5, 7, 12\), or 1 for"),
        ],
    )
    def test_wrong_shapes_of_a_whole_run_are_named(self, name: str, shape: tuple[int, ...], message: str):
        with pytest.raises(InputError, match=f"^{message}"):
            made(Full())(numbers(TRIALS, STEPS, CHANNELS), **{name: numbers(*shape)})

    @pytest.mark.parametrize(
        ("state", "inputs", "message"),
        [
            (
                (TRIALS, UNITS + 1),
                (TRIALS, CHANNELS),
                rf"state of shape \({TRIALS}, 13\): the last axis must have 12 entries",
            ),
            ((TRIALS, UNITS), (TRIALS, 1), rf"input of shape \({TRIALS}, 1\): the last axis must have 3 entries"),
            ((TRIALS, UNITS), (), r"input of shape \(\): the last axis must have 3 entries"),
        ],
    )
    def test_wrong_shapes_are_named(self, state: tuple[int, ...], inputs: tuple[int, ...], message: str):
        with pytest.raises(InputError, match=message):
            made(Full()).step(torch.zeros(state).double(), torch.zeros(inputs).double())


class TestTime:
    def test_step_and_time_constant_are_attributes(self):
        rnn = RNN(CHANNELS, UNITS, dt=5.0, tau=40.0)
        assert (rnn.dt, rnn.tau, rnn.alpha) == (5.0, 40.0, 0.125)
        assert "tau" not in rnn.state_dict()

    def test_a_time_constant_for_each_unit_is_part_of_the_state_dict(self):
        rnn = RNN(CHANNELS, UNITS, dt=5.0, tau=TAUS["each its own"])
        expected = torch.tensor(TAUS["each its own"])
        assert torch.equal(torch.as_tensor(rnn.tau), expected)
        assert torch.equal(torch.as_tensor(rnn.alpha), 5.0 / expected)
        assert torch.equal(rnn.state_dict()["tau"], expected)

    def test_networks_of_other_steps_cannot_be_run_side_by_side(self):
        with pytest.raises(InputError, match=r"'dt': 5\.0.* cannot be run beside"):
            RNNStack([RNN(2, 4, dt=10.0, tau=100.0), RNN(2, 4, dt=5.0, tau=50.0)])
