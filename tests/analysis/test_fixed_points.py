"""Fixed points of maps of which they are known."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

from cordstasks.analysis import dynamics
from cordstasks.errors import InputError, Note


def tanh_map(states: np.ndarray) -> np.ndarray:
    return np.tanh(1.5 * states)


def known() -> np.ndarray:
    """All fixed points of `tanh_map` in three dimensions."""
    one = brentq(lambda x: np.tanh(1.5 * x) - x, 0.1, 2)
    return np.array(list(product((-one, 0.0, one), repeat=3)))


class TestTanh:
    @pytest.mark.parametrize("seed", range(20))
    def test_all_27(self, seed: int):
        starts = np.random.default_rng(seed).standard_normal((512, 3))
        found = dynamics.fixed_points(tanh_map, starts)
        assert len(found) == 27
        assert found.starts.sum() == 512
        distances = np.linalg.norm(known()[:, None] - found.xstar, axis=2)
        assert (distances.min(1) < 1e-8).all()
        zeros = (np.abs(found.xstar) < 1e-6).sum(1)
        np.testing.assert_array_equal(found.n_unstable, zeros)
        np.testing.assert_array_equal(found.is_stable, zeros == 0)

    def test_what_is_known_of_each(self):
        starts = np.random.default_rng(5).uniform(-1, 1, (200, 3))
        found = dynamics.fixed_points(
            tanh_map, starts, jacobian=lambda x: np.eye(3) * (1.5 / np.cosh(1.5 * x) ** 2)[:, None]
        )
        np.testing.assert_allclose(found.F_xstar, tanh_map(found.xstar))
        np.testing.assert_allclose(found.qstar, np.sum((found.F_xstar - found.xstar) ** 2, 1) / 2, atol=1e-30)
        slopes = 1.5 / np.cosh(1.5 * found.xstar) ** 2
        np.testing.assert_allclose(np.einsum("pii->pi", found.J_xstar), slopes, atol=1e-10)
        np.testing.assert_allclose(np.abs(found.eigval_J_xstar), np.sort(slopes, 1)[:, ::-1], atol=1e-10)
        expected = np.sort(20.0 / np.abs(np.log(slopes)), 1)[:, ::-1]
        np.testing.assert_allclose(found.time_constants(20.0), expected, rtol=1e-6)
        vectors = found.eigvec_J_xstar
        np.testing.assert_allclose(found.J_xstar @ vectors, vectors * found.eigval_J_xstar[:, None, :], atol=1e-12)
        # each start is one that the search was given
        assert (np.abs(found.x_init[:, None] - starts).max(2).min(1) == 0).all()


def test_differences_do_as_well_as_the_jacobian():
    rng = np.random.default_rng(2)
    weights = rng.standard_normal((5, 5))

    def jacobian(states: np.ndarray) -> np.ndarray:
        return (1 - np.tanh(states @ weights.T) ** 2)[:, :, None] * weights

    def step(states: np.ndarray) -> np.ndarray:
        return np.tanh(states @ weights.T)

    starts = rng.standard_normal((60, 5))
    exact, differences = (dynamics.fixed_points(step, starts, jacobian=each) for each in (jacobian, None))
    assert len(exact) == len(differences) > 1
    nearest = np.linalg.norm(exact.xstar[:, None] - differences.xstar, axis=2).min(1)
    assert nearest.max() < 1e-6


def test_inputs_belong_to_their_starts():
    starts, inputs = np.zeros((4, 2)), np.array([[1.0], [2.0], [2.0], [4.0]])
    found = dynamics.fixed_points(lambda x, u: 0.5 * x + u, starts, inputs=inputs)
    assert found.inputs is not None
    order = np.argsort(found.inputs[:, 0])
    np.testing.assert_allclose(found.xstar[order], [[2, 2], [4, 4], [8, 8]], atol=1e-8)
    np.testing.assert_array_equal(found.starts[order], [1, 2, 1])


def test_slow_points_only_where_asked_for():
    """x + 0.01 + x^2 has no fixed point, and is slowest at 0."""

    def step(x: np.ndarray) -> np.ndarray:
        return x + 0.01 + x**2

    starts = np.array([[0.5], [-0.4], [0.2]])
    assert len(dynamics.fixed_points(step, starts)) == 0
    slow = dynamics.fixed_points(step, starts, slow_tolerance=0.1)
    assert len(slow) == 1
    assert abs(slow.xstar[0, 0]) < 1e-3
    assert not slow.is_fixed[0]
    assert slow.qstar[0] == pytest.approx(0.01**2 / 2, rel=1e-3)


@pytest.mark.parametrize(
    ("states", "step", "message"),
    [
        (np.zeros((2, 3), np.float16), tanh_map, "initial_states of type float16"),
        (np.zeros(3), tanh_map, r"initial_states of shape \(3,\): give \(state, unit\)"),
        (np.zeros((0, 3)), tanh_map, r"initial_states of shape \(0, 3\)"),
        (np.full((2, 3), np.nan), tanh_map, "initial_states: 6 of the values are not finite"),
        (np.ones((2, 3)), lambda x: x[:, :2], r"step: returns shape \(2, 2\) for states of shape \(2, 3\)"),
        (np.ones((2, 3)), lambda x: x.astype(np.float16), "step: returns type float16"),
        (np.ones((2, 3)), lambda x: x * np.nan, "step: returns values that are not finite"),
        (np.ones((2, 3)), None, "step=None: give a function"),
        (np.ones((2, 3000)), tanh_map, "initial_states of 3000 units"),
    ],
)
def test_what_is_refused(states: np.ndarray, step: Any, message: str):
    with pytest.raises(InputError, match=message):
        dynamics.fixed_points(step, states)


def test_a_step_with_noise():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="gives other states the second time"):
        dynamics.fixed_points(lambda x: x + rng.standard_normal(x.shape), np.ones((2, 3)))


def test_inputs_of_another_number_of_states():
    with pytest.raises(InputError, match=r"inputs of shape \(3, 1\): give \(channel,\) or \(2, channel\)"):
        dynamics.fixed_points(lambda x, u: x + u, np.ones((2, 3)), inputs=np.ones((3, 1)))


def test_a_jacobian_of_another_shape():
    with pytest.raises(InputError, match=r"jacobian: returns shape \(3, 3\)"):
        dynamics.fixed_points(tanh_map, np.ones((2, 3)), jacobian=lambda x: np.eye(3))


def test_a_jacobian_that_is_not_finite():
    with pytest.raises(InputError, match="jacobian: returns values that are not finite"):
        dynamics.fixed_points(np.tanh, np.ones((3, 2)), jacobian=lambda x: np.full((len(x), 2, 2), np.nan))


def test_a_step_that_changes_its_states_in_place():
    def step(states: np.ndarray) -> np.ndarray:
        states *= 0.5
        return states

    with pytest.raises(InputError, match="step: changes the states that it is given; let it return new ones"):
        dynamics.fixed_points(step, np.ones((3, 2)))


def test_too_few_iterations_are_said():
    starts = np.random.default_rng(0).standard_normal((8, 2))
    with pytest.warns(Note, match=r"fixed_points: 8 of 8 starts still move after 1 iterations, with relative speeds from"):
        assert not len(dynamics.fixed_points(lambda x: np.tanh(3 * x), starts, iterations=1))
    assert len(dynamics.fixed_points(lambda x: np.tanh(3 * x), starts)) > 1
