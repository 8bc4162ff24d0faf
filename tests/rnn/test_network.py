"""The recurrent network against a loop in NumPy, closed forms and finite differences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import expm

from cordstasks.errors import InputError
from cordstasks.rnn import RNN

TRIALS, STEPS, CHANNELS, UNITS, OUTPUTS = 3, 6, 4, 7, 2
ACTIVATIONS = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh, "softplus": lambda z: np.logaddexp(0, z)}


def made(**options: Any) -> RNN:
    """A small network in float64 in which every parameter matters."""
    generator = torch.Generator().manual_seed(1)
    rnn = RNN(CHANNELS, UNITS, OUTPUTS, generator=generator, **options).double()
    with torch.no_grad():
        for parameter in (rnn.bias, rnn.output_bias):
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return rnn


def arrays(rnn: RNN) -> dict[str, NDArray[np.float64]]:
    return {name: parameter.detach().numpy() for name, parameter in rnn.named_parameters()}


def random_inputs(steps: int = STEPS) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(2).normal(size=(TRIALS, steps, CHANNELS)))


class TestEquations:
    @pytest.mark.parametrize("activation", ACTIVATIONS)
    @pytest.mark.parametrize(("dt", "tau"), [(20.0, 100.0), (7.0, 30.0), (25.0, 25.0)])
    def test_against_a_loop(self, activation: str, dt: float, tau: float):
        rnn, inputs = made(activation=activation, dt=dt, tau=tau), random_inputs()
        initial = np.random.default_rng(3).normal(size=(TRIALS, UNITS))
        outputs, states = rnn(inputs, return_states=True, initial=torch.from_numpy(initial))
        p = arrays(rnn)
        for trial in range(TRIALS):
            x = initial[trial]
            for step in range(STEPS):
                drive = p["recurrent_weights"] @ x + p["bias"] + p["input_weights"] @ inputs[trial, step].numpy()
                x = x + dt / tau * (-x + ACTIVATIONS[activation](drive))
                np.testing.assert_allclose(states[trial, step].detach(), x, rtol=1e-12, atol=1e-14)
                y = p["output_weights"] @ x + p["output_bias"]
                np.testing.assert_allclose(outputs[trial, step].detach(), y, rtol=1e-12, atol=1e-14)

    def test_rates_begin_at_zero(self):
        rnn, inputs = made(), random_inputs()
        zero = torch.zeros(TRIALS, UNITS, dtype=torch.float64)
        assert torch.equal(rnn(inputs), rnn(inputs, initial=zero))
        assert isinstance(rnn(inputs), torch.Tensor)

    def test_it_converges_to_the_matrix_exponential(self):
        """Above threshold it is linear: ``T dx/dt = (W - 1) x + b + W_in u``; Euler's error is of first order."""
        tau, duration = 100.0, 120.0
        drive, errors = np.random.default_rng(4).normal(size=CHANNELS), []
        for dt in (10.0, 5.0, 2.5, 1.25):
            rnn = made(dt=dt, tau=tau)
            with torch.no_grad():
                rnn.bias.fill_(20.0)
            p = arrays(rnn)
            steps = round(duration / dt)
            _, states = rnn(torch.from_numpy(drive).expand(1, steps, -1), return_states=True)
            matrix = p["recurrent_weights"] - np.eye(UNITS)
            rest = -np.linalg.solve(matrix, p["bias"] + p["input_weights"] @ drive)
            exact = rest - expm(matrix * duration / tau) @ rest
            reached = states[0, -1].detach().numpy()
            assert (p["recurrent_weights"] @ reached + p["bias"] + p["input_weights"] @ drive > 0).all()
            errors.append(np.linalg.norm(reached - exact) / np.linalg.norm(exact))
        assert errors[-1] < 0.01
        ratios = np.array(errors[:-1]) / errors[1:]
        np.testing.assert_allclose(ratios, 2, atol=0.1)

    def test_one_trial_does_not_see_another(self):
        rnn, inputs = made(), random_inputs()
        torch.testing.assert_close(rnn(inputs)[1:2], rnn(inputs[1:2]), rtol=1e-12, atol=1e-14)


class TestNoise:
    @staticmethod
    def lone_units(dt: float, noise: float) -> RNN:
        rnn = RNN(1, 40, 1, dt=dt, tau=100.0, noise=noise)
        with torch.no_grad():
            rnn.recurrent_weights.zero_()
            rnn.input_weights.zero_()
            rnn.bias.fill_(5.0)  # far above threshold
        return rnn

    @pytest.mark.parametrize("dt", [40.0, 20.0, 5.0])
    def test_variance_and_time_constant_are_those_of_the_step_less_limit(self, dt: float):
        """A lone unit is an Ornstein-Uhlenbeck process of variance ``noise ** 2``, sampled by Euler's method.

        Exactly, that has variance ``noise ** 2 / (1 - alpha / 2)``: the bias of the largest step here is a quarter.
        """
        noise, alpha = 0.3, dt / 100
        rnn = self.lone_units(dt, noise)
        steps = round(1500 / dt)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            _, states = rnn(torch.zeros(300, steps, 1), return_states=True, generator=generator)
        late = states[:, round(1000 / dt) :].double() - 5
        assert abs(float(late.mean())) < 0.01 * noise + 5 * math.exp(-10) + 0.01
        variance = float(late.square().mean())
        assert variance == pytest.approx(noise**2 / (1 - alpha / 2), rel=0.04)
        lag = float((late[:, 1:] * late[:, :-1]).mean()) / variance
        assert lag == pytest.approx(1 - alpha, abs=0.02)

    def test_it_is_private(self):
        rnn = self.lone_units(20.0, 0.3)
        with torch.no_grad():
            _, states = rnn(torch.zeros(200, 60, 1), return_states=True, generator=torch.Generator().manual_seed(1))
        correlation = np.corrcoef(states[:, -1].numpy().T)
        assert abs(correlation[~np.eye(40, dtype=bool)]).max() < 0.35  # 5 / sqrt(200)

    def test_it_follows_the_generator(self):
        rnn, inputs = made(noise=0.5), random_inputs()
        one, two, other = (rnn(inputs, generator=torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
        assert torch.equal(one, two)
        assert not torch.allclose(one, other)

    def test_without_a_generator_there_is_none(self):
        rnn, inputs = made(noise=0.5), random_inputs()
        assert torch.equal(rnn(inputs), rnn(inputs))
        silent = made(noise=0.0)
        assert torch.equal(silent(inputs, generator=torch.Generator().manual_seed(5)), rnn(inputs))


class TestGradient:
    @pytest.mark.parametrize("activation", ["tanh", "softplus"])
    def test_against_finite_differences(self, activation: str):
        rnn, inputs = made(activation=activation, noise=0.3), random_inputs()
        weight = torch.from_numpy(np.random.default_rng(6).normal(size=(TRIALS, STEPS, OUTPUTS)))

        def loss() -> torch.Tensor:
            return (rnn(inputs, generator=torch.Generator().manual_seed(9)) * weight).sum()

        loss().backward()
        for number, (name, parameter) in enumerate(rnn.named_parameters()):
            direction = torch.from_numpy(np.random.default_rng(number).normal(size=parameter.shape))
            assert parameter.grad is not None
            slope = float((parameter.grad * direction).sum())
            ends = []
            with torch.no_grad():
                for sign in (1, -1):
                    parameter += sign * 1e-5 * direction
                    ends.append(float(loss()))
                    parameter -= sign * 1e-5 * direction
            assert slope == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6), name


class TestInitialWeights:
    def test_the_spectral_radius_is_the_gain(self):
        rnn = RNN(2, 400, 3, gain=0.7, generator=torch.Generator().manual_seed(0))
        radius = np.abs(np.linalg.eigvals(rnn.recurrent_weights.detach().numpy())).max()
        assert radius == pytest.approx(0.7, rel=0.08)  # the circular law, at 400 units

    def test_they_follow_the_generator(self):
        one, two, other = (RNN(4, 5, 2, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
        assert torch.equal(one.recurrent_weights, two.recurrent_weights)
        assert not torch.equal(one.recurrent_weights, other.recurrent_weights)

    def test_sizes(self):
        rnn = made()
        assert (rnn.units, rnn.alpha) == (UNITS, 0.2)


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"inputs": 0}, "inputs=0: must be at least 1"),
            ({"units": 0}, "units=0: must be at least 1"),
            ({"outputs": -1}, "outputs=-1: must be at least 1"),
            ({"dt": 0.0}, r"dt=0\.0: an Euler step must be above 0 and at most the time constant tau=100\.0"),
            ({"dt": 101.0}, r"dt=101\.0: .* tau=100\.0"),
            ({"tau": -5.0}, r"dt=20\.0: .* tau=-5\.0"),
            ({"tau": float("nan")}, "tau=nan"),
            ({"tau": float("inf")}, "tau=inf"),
            ({"noise": -0.1}, r"noise=-0\.1: a standard deviation must be a finite number of at least 0"),
            ({"noise": float("nan")}, "noise=nan"),
            ({"activation": "rellu"}, r"activation 'rellu' is unknown; did you mean 'relu'\?"),
        ],
    )
    def test_of_the_network(self, options: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message):
            RNN(**{"inputs": 4, "units": 5, "outputs": 2, **options})

    @pytest.mark.parametrize("shape", [(3, 6, 5), (6, 4), (1, 3, 6, 4)])
    def test_of_the_inputs(self, shape: tuple[int, ...]):
        with pytest.raises(InputError, match=r"inputs of shape .*: expected \(trial, time, 4\)"):
            made()(torch.zeros(shape, dtype=torch.float64))
