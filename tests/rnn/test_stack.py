"""Stacks of networks: outputs, rates and gradients are those of each network alone, and of finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cordstasks.errors import InputError
from cordstasks.rnn import RNN
from cordstasks.rnn.connectivity import Connectivity, Convolutional, Full, LowRank, Sparse
from cordstasks.rnn.stack import TOGETHER, RNNStack
from helpers import random_rnns

NETWORKS, TRIALS, STEPS, CHANNELS, UNITS, OUTPUTS = TOGETHER + 2, 5, 7, 3, 12, 2
KINDS = [Full(), LowRank(2), Sparse(0.4), Convolutional(2, 2, 3)]
TAUS = {"one": 100.0, "each its own": np.linspace(25.0, 200.0, UNITS).tolist()}


def networks(kind: Connectivity = KINDS[0], count: int = NETWORKS, **options: Any) -> list[RNN]:
    made = random_rnns(kind, count, inputs=CHANNELS, units=UNITS, outputs=OUTPUTS, **options)
    return [network.double() for network in made]


def numbers(*shape: int, seed: int = 3) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def step_by_step(network: RNN, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs and rates of the public step, which autograd differentiates."""
    state = network._start(len(inputs))
    rates = []
    for step in range(inputs.shape[1]):
        state = network.step(state, inputs[:, step])
        rates.append(network.rates(state))
    read = torch.stack(rates, 1)
    return read @ network.output_weights.T + network.output_bias, read


class TestAgainstEachAlone:
    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
    @pytest.mark.parametrize("form", ["rate", "current"])
    @pytest.mark.parametrize("activation", ["relu", "tanh", "softplus"])
    @pytest.mark.parametrize("tau", TAUS)
    def test_outputs_rates_and_gradients(self, kind: Connectivity, form: str, activation: str, tau: str):
        alone = networks(kind, form=form, activation=activation, tau=TAUS[tau], train_initial=True)
        stack = RNNStack(alone)
        inputs = numbers(NETWORKS, TRIALS, STEPS, CHANNELS)
        by_output, by_rate = (
            numbers(NETWORKS, TRIALS, STEPS, OUTPUTS, seed=4),
            numbers(NETWORKS, TRIALS, STEPS, UNITS, seed=5),
        )
        by_output[:, :, -2:] = 0  # late steps that nobody asks about
        by_rate[:, :, -1:] = 0
        outputs, rates = stack(inputs, return_states=True)
        ((outputs * by_output).sum() + (rates * by_rate).sum()).backward()
        for index, network in enumerate(alone):
            y, r = step_by_step(network, inputs[index])
            ((y * by_output[index]).sum() + (r * by_rate[index]).sum()).backward()
            torch.testing.assert_close(outputs[index], y, rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(rates[index], r, rtol=1e-10, atol=1e-12)
            for name, parameter in network.named_parameters():
                gradient = stack.get_parameter(name).grad
                assert gradient is not None, name
                torch.testing.assert_close(gradient[index], parameter.grad, rtol=1e-6, atol=1e-8, msg=name)

    @pytest.mark.parametrize("form", ["rate", "current"])
    def test_the_written_gradient_against_finite_differences(self, form: str):
        stack = RNNStack(networks(LowRank(2), 2, form=form, activation="tanh", noise=0.3, train_initial=True))
        inputs, weight = numbers(2, TRIALS, STEPS, CHANNELS), numbers(2, TRIALS, STEPS, OUTPUTS, seed=8)

        def loss() -> Tensor:
            noise = [np.random.Generator(np.random.SFC64(seed)) for seed in (1, 2)]
            return (stack(inputs, noise=noise) * weight).sum()

        loss().backward()
        for number, (name, parameter) in enumerate(stack.named_parameters()):
            direction = numbers(*parameter.shape, seed=20 + number)
            assert parameter.grad is not None
            slope, ends = float((parameter.grad * direction).sum()), []
            with torch.no_grad():
                for sign in (1, -1):
                    parameter += sign * 1e-5 * direction
                    ends.append(float(loss()))
                    parameter -= sign * 1e-5 * direction
            assert slope == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6), name

    def test_dales_law(self):
        alone = networks(Sparse(0.5), 3, excitatory=0.75)
        stack, inputs = RNNStack(alone), numbers(3, TRIALS, STEPS, CHANNELS)
        outputs = stack(inputs)
        outputs.square().sum().backward()
        for index, network in enumerate(alone):
            step_by_step(network, inputs[index])[0].square().sum().backward()
            gradient = stack.get_parameter("recurrent_weights").grad
            assert gradient is not None
            torch.testing.assert_close(
                gradient[index], network.get_parameter("recurrent_weights").grad, rtol=1e-8, atol=1e-10
            )


class TestNoise:
    @pytest.mark.parametrize("form", ["rate", "current"])
    def test_it_is_drawn_by_each_networks_own_generator(self, form: str):
        alone = networks(count=3, noise=0.4, form=form)
        inputs = numbers(3, TRIALS, STEPS, CHANNELS)
        together = RNNStack(alone)(inputs, noise=[np.random.default_rng(seed) for seed in range(3)])
        for index, network in enumerate(alone):
            one = RNNStack([network])(inputs[index : index + 1], noise=[np.random.default_rng(index)])
            torch.testing.assert_close(together[index], one[0], rtol=1e-10, atol=1e-12)
        silent = RNNStack(alone)(inputs)
        assert not torch.allclose(together, silent)

    def test_a_longer_run_begins_like_a_shorter_one(self):
        stack = RNNStack(networks(count=2, noise=0.4))
        inputs = numbers(2, TRIALS, STEPS, CHANNELS)
        long = stack(inputs, noise=[np.random.default_rng(7), np.random.default_rng(8)])
        short = stack(inputs[:, :, :4], noise=[np.random.default_rng(7), np.random.default_rng(8)])
        torch.testing.assert_close(long[:, :, :4], short, rtol=1e-12, atol=1e-14)

    @pytest.mark.parametrize("form", ["rate", "current"])
    def test_its_variance_is_that_of_a_single_network(self, form: str):
        """A lone unit above threshold is an Ornstein-Uhlenbeck process of variance ``noise ** 2 / (1 - alpha / 2)``."""
        network = RNN(1, 40, 1, noise=0.3, form=form)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.zero_()
            network.bias.fill_(5.0)
        _, rates = RNNStack([network, network])(
            torch.zeros(2, 150, 80, 1), return_states=True, noise=[np.random.default_rng(1), np.random.default_rng(2)]
        )
        late = rates[:, :, 40:].detach().double()
        assert float(late.var()) == pytest.approx(0.09 / 0.9, rel=0.04)
        a, b = late[0, :, -1].flatten().numpy(), late[1, :, -1].flatten().numpy()
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(len(a))


class TestStacking:
    def test_networks_come_out_as_they_went_in(self):
        alone = networks(Sparse(0.4), 3)
        stack = RNNStack(alone)
        assert len(stack) == 3
        for network, back in zip(alone, stack.networks(), strict=True):
            assert back.state_dict().keys() == network.state_dict().keys()
            for name, value in network.state_dict().items():
                assert torch.equal(back.state_dict()[name], value), name
        part = stack.subset([2, 0])
        assert torch.equal(part.bias[0], alone[2].bias)
        assert torch.equal(part.get_buffer("recurrent_mask")[1], alone[0].get_buffer("recurrent_mask"))
        with torch.no_grad():
            stack.bias.zero_()
        assert alone[0].bias.any()  # they are copies
        assert part.bias.any()

    def test_fixed_weights_stay_fixed(self):
        stack = RNNStack(networks(count=2, train_inputs=False, train_outputs=False))
        stack(numbers(2, TRIALS, STEPS, CHANNELS)).square().sum().backward()
        fixed = {name for name, parameter in stack.named_parameters() if not parameter.requires_grad}
        assert fixed == {"input_weights", "output_weights", "output_bias"}
        for name, parameter in stack.named_parameters():
            assert (parameter.grad is None) == (name in fixed)

    def test_not_a_number_in_one_does_not_reach_another(self):
        alone = networks(count=3)
        inputs = numbers(3, TRIALS, STEPS, CHANNELS)
        clean = RNNStack(alone)(inputs)
        inputs[1, 2, 3] = float("nan")
        stack = RNNStack(alone)
        outputs = stack(inputs)
        outputs.square().sum((1, 2, 3)).sum().backward()
        assert not outputs[1].isfinite().all()
        assert torch.equal(outputs[[0, 2]], clean[[0, 2]])
        gradient = stack.bias.grad
        assert gradient is not None
        assert gradient[[0, 2]].isfinite().all()


class TestBadInput:
    @pytest.mark.parametrize(
        ("others", "message"),
        [
            ({"form": "current"}, "'form': 'current'.* cannot be run beside"),
            ({"noise": 0.5}, "'noise': 0.5"),
            ({"kind": LowRank(2)}, "LowRank"),
            ({"tau": 50.0}, "must have the same sizes and time constants"),
            ({"tau": TAUS["each its own"]}, "must have the same sizes and time constants"),
        ],
    )
    def test_networks_that_differ(self, others: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message):
            RNNStack([*networks(count=1), *networks(count=1, **others)])

    def test_none_and_wrong_inputs(self):
        with pytest.raises(InputError, match="networks: give at least one"):
            RNNStack([])
        with pytest.raises(InputError, match=r"inputs of shape \(5, 7, 3\): expected \(2, trial, time, 3\)"):
            RNNStack(networks(count=2))(numbers(5, 7, 3))
        with pytest.raises(InputError, match="noise: has 1 generators; give one for each of 2 networks"):
            RNNStack(networks(count=2))(numbers(2, 5, 7, 3), noise=[np.random.default_rng(0)])
