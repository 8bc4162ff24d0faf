"""Front-end and recurrent network as one system, against the two run one after the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cordstasks.analysis import dynamics
from cordstasks.frontend import FrontEnd
from cordstasks.model import MultiAreaModel
from cordstasks.rnn import RNN
from cordstasks.runs.system import MultiAreaSystem
from cordstasks.stimuli import Movie
from helpers import settling_cordsnet

RNG = np.random.default_rng(6)
IMAGE = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def parts() -> tuple[FrontEnd, MultiAreaModel]:
    frontend = FrontEnd(settling_cordsnet(), side=1, bank=False, tolerance=0, device="cpu")
    generator = torch.Generator().manual_seed(1)
    model = MultiAreaModel(RNN(3, 7, 2, dt=6.0, generator=generator), frontend.units)
    projection = torch.randn(frontend.units, 3, generator=generator) / 8
    model.normalise_by(torch.rand(frontend.units, generator=generator), projection)
    return frontend, model


def test_it_is_the_front_end_followed_by_the_network(parts: tuple[FrontEnd, MultiAreaModel]):
    frontend, model = parts
    system = MultiAreaSystem(frontend, model, IMAGE)
    inputs = model.inputs(frontend.features([Movie.still(IMAGE, 60.0)], dt=6.0)).take(slice(None))
    with torch.no_grad():
        expected = model(inputs)[1][0, -1].numpy()
    state = np.concatenate([system.vision.settled(), np.zeros(7)])
    got = system.flow(state, 10)
    np.testing.assert_allclose(got[system.split :], expected, atol=2e-3)  # features are stored in half precision
    assert np.abs(expected).max() > 0.05


def test_its_jacobian(parts: tuple[FrontEnd, MultiAreaModel]):
    system = MultiAreaSystem(*parts, IMAGE)
    state = system.flow(np.concatenate([system.vision.settled(), np.zeros(7)]), 5)
    operator = dynamics.jacobian_operator(system, state)
    x, y = RNG.standard_normal((2, system.size))
    assert y @ operator.matvec(x) == pytest.approx(operator.rmatvec(y) @ x, rel=1e-8)
    difference = (system.step(state + 1e-6 * x) - system.step(state - 1e-6 * x)) / 2e-6
    np.testing.assert_allclose(operator.matvec(x), difference, atol=1e-4)
    # nothing feeds back: a change of the network does not reach the front-end
    moved = np.concatenate([np.zeros(system.split), RNG.standard_normal(7)])
    assert not operator.matvec(moved)[: system.split].any()
    assert operator.matvec(moved)[system.split :].any()
