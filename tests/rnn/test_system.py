"""A recurrent network as a system: its step and its derivatives, against the network and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cordstasks.analysis import dynamics
from cordstasks.errors import InputError
from cordstasks.rnn import RNN, RNNSystem
from cordstasks.rnn.connectivity import Convolutional, LowRank

RNG = np.random.default_rng(3)


def network_of(form: str, **options: object) -> RNN:
    generator = torch.Generator().manual_seed(2)
    made = RNN(2, 6, 3, form=form, generator=generator, activation="tanh", noise=0.3, **options)  # type: ignore[arg-type]
    with torch.no_grad():
        made.bias.normal_(generator=generator)
    return made


@pytest.mark.parametrize("form", ["rate", "current"])
@pytest.mark.parametrize("connectivity", [None, LowRank(2), Convolutional(1, 2, 3)])
def test_step_and_jacobian(form: str, connectivity: object):
    network = network_of(form, connectivity=connectivity)
    system = RNNSystem(network, [0.3, -0.2])
    x = RNG.standard_normal((4, 6))
    expected = network.double().step(torch.from_numpy(x), torch.tensor([0.3, -0.2], dtype=torch.float64))
    np.testing.assert_allclose(system.step(x), expected.detach().numpy(), atol=1e-12)
    jacobian = system.jacobian(x)
    moved = np.stack([(system.step(x + 1e-6 * unit) - system.step(x - 1e-6 * unit)) / 2e-6 for unit in np.eye(6)], 2)
    np.testing.assert_allclose(jacobian, moved, atol=1e-8)
    v = RNG.standard_normal((4, 6))
    np.testing.assert_allclose(system.jvp(x, v), np.einsum("sij,sj->si", jacobian, v), atol=1e-12)
    np.testing.assert_allclose(system.vjp(x, v), np.einsum("sji,sj->si", jacobian, v), atol=1e-12)
    operator = dynamics.jacobian_operator(system, x[1])
    np.testing.assert_allclose(operator @ np.eye(6), jacobian[1], atol=1e-12)
    np.testing.assert_allclose(operator.rmatmat(np.eye(6)), jacobian[1].T, atol=1e-12)


def test_inputs_of_each_state_and_flow():
    network = network_of("rate")
    system = RNNSystem(network)
    x, u = RNG.standard_normal((4, 6)), RNG.standard_normal((4, 2))
    for row in range(4):
        np.testing.assert_allclose(system.step(x, u)[row], system.step(x[row], u[row]), atol=1e-12)
        np.testing.assert_allclose(system.jacobian(x, u)[row], system.jacobian(x[row], u[row]), atol=1e-12)
    flow = system.flow(x, 3, u, every=1)
    np.testing.assert_allclose(flow[3], system.step(system.step(system.step(x, u), u), u), atol=1e-12)
    assert system.outputs(x).shape == (4, 3)


def test_what_is_refused():
    system = RNNSystem(network_of("rate"))
    with pytest.raises(InputError, match=r"inputs of shape \(3,\): this network takes \(2,\)"):
        system.step(np.zeros(6), [1.0, 2.0, 3.0])
    with pytest.raises(InputError, match="inputs of 3 states: there are 2 states"):
        system.step(np.zeros((2, 6)), np.zeros((3, 2)))
    with pytest.raises(InputError, match="inputs: not all of them are finite"):
        RNNSystem(network_of("rate"), [np.nan, 0.0])
    with pytest.raises(InputError, match=r"tangents of shape \(3, 6\): this system takes \(2, 6\)"):
        system.jvp(np.zeros((2, 6)), np.zeros((3, 6)))
