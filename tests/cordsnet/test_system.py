"""A CordsNet as a system: its step, its derivatives and its Jacobian, against the network and dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator

from cordstasks.analysis import dynamics
from cordstasks.cordsnet import CordsNetSystem, area_operator
from cordstasks.errors import InputError
from helpers import settling_cordsnet, tiny_cordsnet

RNG = np.random.default_rng(8)
IMAGE = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def system() -> CordsNetSystem:
    return CordsNetSystem(settling_cordsnet(depth=4), IMAGE)


@pytest.fixture(scope="module")
def state(system: CordsNetSystem) -> np.ndarray:
    return system.settled(500)


class TestStep:
    def test_it_is_that_of_the_network(self, system: CordsNetSystem):
        network = settling_cordsnet(depth=4)
        recorded = network.record(IMAGE[None], blank_steps=0, image_steps=6)
        expected = system.state_of([recorded[area][-1] for area in range(4)])[0]
        got = system.flow(np.zeros(system.size), 6)
        np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())
        assert got.dtype == np.float64
        assert [part.shape for part in system.maps(got)] == list(system.shapes)

    def test_states_do_not_influence_each_other(self, system: CordsNetSystem):
        states = RNG.random((3, system.size))
        together = system.step(states)
        np.testing.assert_allclose(together[1], system.step(states[1]), atol=1e-12)
        assert system.flow(states, 5, every=2).shape == (3, 3, system.size)

    def test_the_network_is_not_changed(self):
        network = tiny_cordsnet()
        before = {name: value.clone() for name, value in network.state_dict().items()}
        CordsNetSystem(network).step(np.zeros(2 * 64 * 8 * 8))
        after = network.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(value, after[name]) for name, value in before.items())
        network.record(IMAGE[None], blank_steps=1, image_steps=1)

    def test_it_settles_where_it_no_longer_moves(self, system: CordsNetSystem, state: np.ndarray):
        assert np.linalg.norm(system.step(state) - state) < 1e-8 * np.linalg.norm(state)


class TestJacobian:
    @pytest.mark.parametrize("activation", ["relu", 0.3])
    def test_products_agree_with_differences(self, activation: str | float):
        system = CordsNetSystem(settling_cordsnet(activation=activation), IMAGE)
        x, v = RNG.standard_normal((2, system.size)) * 0.3, RNG.standard_normal((2, system.size))
        difference = (system.step(x + 1e-7 * v) - system.step(x - 1e-7 * v)) / 2e-7
        np.testing.assert_allclose(system.jvp(x, v), difference, atol=1e-5)
        push, pull = system.linearised(x[0])
        np.testing.assert_allclose(push(v), system.jvp(np.stack([x[0], x[0]]), v), atol=1e-10)
        np.testing.assert_allclose(pull(v), system.vjp(np.stack([x[0], x[0]]), v), atol=1e-10)

    def test_the_transpose_identity(self, system: CordsNetSystem, state: np.ndarray):
        operator = dynamics.jacobian_operator(system, state)
        x, y = RNG.standard_normal((2, system.size))
        assert y @ operator.matvec(x) == pytest.approx(operator.rmatvec(y) @ x, rel=1e-9)

    def test_its_spectrum_is_that_of_the_areas_together(self):
        """No area drives one below, so that the Jacobian is block-triangular."""
        system = CordsNetSystem(settling_cordsnet(), IMAGE)
        state = system.settled(500)
        together = dynamics.eigenvalues(dynamics.jacobian_operator(system, state), 3, tolerance=1e-6)
        push, _ = system.linearised(state)
        largest = []
        for area in range(2):
            own = slice(4096 * area, 4096 * (area + 1))

            def block(x: np.ndarray, own: slice = own) -> np.ndarray:
                whole = np.zeros((1, system.size))
                whole[0, own] = x.ravel()
                return push(whole)[0, own]

            operator = LinearOperator((4096, 4096), matvec=block, dtype=np.float64)
            largest += dynamics.eigenvalues(operator, 3, tolerance=1e-6).values.tolist()
        assert together.converged.all()
        expected = np.sort(np.abs(largest))[::-1][:3]
        np.testing.assert_allclose(np.abs(together.values), expected, atol=1e-4)

    def test_of_an_area_alone_it_is_the_convolution(self):
        network = settling_cordsnet()
        operator = area_operator(network, 1, precision="float64")
        kernel = network.area_conv[1].weight.detach().double().numpy()
        same = dynamics.convolution_operator(kernel, (64, 8, 8))
        x = RNG.standard_normal((4096, 3))
        np.testing.assert_allclose(operator.matmat(x), same.matmat(x), atol=1e-10)
        np.testing.assert_allclose(operator.rmatvec(x[:, 0]), same.rmatvec(x[:, 0]), atol=1e-10)
        assert operator.multiply_accumulates == same.multiply_accumulates == 64 * 64 * 9 * 8 * 8


class TestRefused:
    def test_states(self, system: CordsNetSystem):
        with pytest.raises(InputError, match=r"states of shape \(3,\): this system takes"):
            system.step(np.zeros(3))
        with pytest.raises(InputError, match="states of type float16"):
            system.step(np.zeros(system.size, np.float16))
        with pytest.raises(InputError, match=f"states: {system.size} of the values are not finite"):
            system.step(np.full(system.size, np.nan))
        with pytest.raises(InputError, match="this system takes none with its step"):
            system.step(np.zeros(system.size), np.zeros(3))
        with pytest.raises(InputError, match="too large to form"):
            system.jacobian(np.zeros(system.size))
        with pytest.raises(InputError, match="state of shape"):
            dynamics.jacobian_operator(system, np.zeros(4))
        with pytest.raises(InputError, match="values are not finite"):
            dynamics.jacobian_operator(system, np.full(system.size, np.inf))

    def test_two_images_at_once(self):
        with pytest.raises(InputError, match="give a single image"):
            CordsNetSystem(tiny_cordsnet(), np.stack([IMAGE, IMAGE]))

    def test_precisions_and_areas(self):
        with pytest.raises(InputError, match="precision='float16': give float64 or float32"):
            CordsNetSystem(tiny_cordsnet(), precision="float16")
        with pytest.raises(InputError, match="area=2: there is no area 2"):
            area_operator(tiny_cordsnet(), 2)

    def test_activity_that_does_not_settle(self):
        with pytest.raises(InputError, match="steps=3: the activity is not steady"):
            CordsNetSystem(settling_cordsnet(), IMAGE).settled(3)

    def test_activity_that_grows_without_limit(self):
        with pytest.raises(InputError, match="grows beyond finite numbers"):
            CordsNetSystem(settling_cordsnet(1e4), IMAGE, precision="float32").flow(np.ones(8192), 40)
