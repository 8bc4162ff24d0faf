"""Kinds of sets of points, memories of known networks, flow fields and nullclines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cordstasks.analysis import dynamics
from cordstasks.errors import InputError

RNG = np.random.default_rng(4)
EMBED = np.linalg.qr(RNG.standard_normal((9, 2)))[0].T  # of a plane in nine dimensions


def ring(points: int = 200) -> np.ndarray:
    angles = np.sort(RNG.uniform(0, 2 * np.pi, points))
    return np.stack([np.cos(angles), np.sin(angles)], 1)


class TestKinds:
    def test_a_ring(self):
        found = dynamics.classify_points(3 + ring() @ EMBED)
        assert found.kind == "ring"
        assert found.closure < 0.1
        assert found.hole == pytest.approx(1, abs=0.1)
        assert found.dimension == pytest.approx(2, abs=0.1)
        assert found.extent == pytest.approx(1, abs=0.05)
        assert found.number_of_groups == 1
        assert len(found.order) > 190

    def test_lines_straight_and_bent(self):
        place = RNG.uniform(0, 1, 200)
        straight = dynamics.classify_points(np.outer(place, EMBED[0]))
        assert (straight.kind, straight.closure) == ("line", pytest.approx(1))
        sorted_places = place[straight.order]
        assert (np.diff(sorted_places) > 0).all() or (np.diff(sorted_places) < 0).all()
        angles = 1.2 * np.pi * place
        bent = dynamics.classify_points(np.stack([np.cos(angles), np.sin(angles)], 1) @ EMBED)
        assert bent.kind == "line"
        assert bent.hole > 0.3  # like a ring, and yet open
        assert 0.3 < bent.closure < 0.6

    @pytest.mark.parametrize("number", [2, 3, 8])
    def test_separate_points(self, number: int):
        angles = 2 * np.pi * RNG.integers(0, number, 150) / number
        points = np.stack([np.cos(angles), np.sin(angles)], 1) @ EMBED + 1e-3 * RNG.standard_normal((150, 9))
        found = dynamics.classify_points(points)
        assert (found.kind, found.number_of_groups) == ("discrete", number)
        same = angles[:, None] == angles
        np.testing.assert_array_equal(found.groups[:, None] == found.groups, same)

    @pytest.mark.parametrize(("stray", "kind"), [(4, "line"), (40, "other")])
    def test_a_line_and_other_groups(self, stray: int, kind: str):
        line = np.linspace(0, 1, 120)[:, None] * np.eye(6)[0]
        away = np.repeat([[0, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]], stray // 2, axis=0)
        found = dynamics.classify_points(np.concatenate([line, away]))
        assert found.kind == kind

    def test_a_plane_is_no_line(self):
        found = dynamics.classify_points(RNG.uniform(-1, 1, (400, 2)) @ EMBED)
        assert found.kind == "other"
        assert found.coverage < 0.9

    @pytest.mark.parametrize(("number", "dimension"), [(40, 2), (440, 5), (440, 7), (40, 9)])
    def test_a_cloud_makes_no_groups(self, number: int, dimension: int):
        points = np.random.default_rng(0).standard_normal((number, dimension))
        assert dynamics.classify_points(points).kind == "other"

    def test_one_point(self):
        assert dynamics.classify_points(np.ones((12, 3))).kind == "point"
        points = 1 + 1e-3 * RNG.standard_normal((12, 3))
        assert dynamics.classify_points(points, scale=1.0).kind == "point"
        assert dynamics.classify_points(points).kind != "point"

    def test_what_is_refused(self):
        with pytest.raises(InputError, match="points: 9 of them"):
            dynamics.classify_points(np.zeros((9, 2)))
        with pytest.raises(InputError, match="points holds 1 values that are not finite"):
            dynamics.classify_points(np.where(np.eye(12) * np.arange(12) == 5, np.nan, 1.0))


def ring_step(states: np.ndarray) -> np.ndarray:
    """Attracts to the unit circle in a plane, and to the plane, and leaves the angle alone."""
    plane = states @ EMBED.T
    radius = np.linalg.norm(plane, axis=1, keepdims=True)
    return plane * (1 + 0.2 * (1 - radius)) @ EMBED + 0.5 * (states - plane @ EMBED)


class TestMemories:
    def probed(self, step: Any, memories: np.ndarray) -> dynamics.Attractor:
        return dynamics.memory_attractor(step, memories, dt=20.0, settle=2000.0, rng=3)

    def test_a_ring_that_only_mixtures_reveal(self):
        angles = 2 * np.pi * np.arange(8) / 8 + 0.2
        found = self.probed(ring_step, np.stack([np.cos(angles), np.sin(angles)], 1) @ EMBED)
        assert found.points.kind == "ring"
        assert found.drift < 1e-6
        assert found.slow_modes == 1
        assert found.along > 0.98
        others = found.time_constants[:, 1]
        np.testing.assert_allclose(others, 20 / -np.log(0.8), rtol=1e-3)

    def test_a_line(self):
        def step(states: np.ndarray) -> np.ndarray:
            return 0.5 * states + 0.5 * (states @ EMBED[:1].T) @ EMBED[:1]

        found = self.probed(step, np.outer([-1.0, 0.4, 1.0], EMBED[0]))
        assert (found.points.kind, found.slow_modes) == ("line", 1)
        assert found.along == pytest.approx(1)
        assert found.drift < 1e-9

    def test_two_points(self):
        def step(states: np.ndarray) -> np.ndarray:
            return 0.9 * states + 0.1 * np.tanh(3 * states @ EMBED[:1].T) @ EMBED[:1]

        found = self.probed(step, np.outer([-1.0, 1.0], EMBED[0]))
        assert (found.points.kind, found.points.number_of_groups, found.slow_modes) == ("discrete", 2, 0)

    def test_a_memory_that_is_forgotten(self):
        found = self.probed(lambda x: 0.8 * x, np.outer([-1.0, 1.0], EMBED[0]))
        assert found.points.kind == "point"
        assert found.time_constants.max() == pytest.approx(20 / -np.log(0.8), rel=1e-3)

    def test_inputs_are_held(self):
        found = dynamics.memory_attractor(
            lambda x, u: 0.5 * x + u, np.array([[0.0, 1.0], [1.0, 0.0]]), dt=10.0, settle=1000.0, inputs=[1.0, 2.0]
        )
        np.testing.assert_allclose(found.states, np.broadcast_to([2.0, 4.0], found.states.shape), atol=1e-9)

    def test_what_is_refused(self):
        with pytest.raises(InputError, match="give the states of two or more memories"):
            self.probed(ring_step, np.ones((1, 9)))
        with pytest.raises(InputError, match="settle=5: give a duration in ms of at least one step"):
            dynamics.memory_attractor(ring_step, np.ones((2, 9)), dt=20.0, settle=5)
        with pytest.raises(InputError, match="gives other states the second time"):
            self.probed(lambda x: x + RNG.standard_normal(x.shape), np.ones((2, 9)))


class TestPlanes:
    def test_flow_on_a_plane(self):
        matrix = np.array([[0.9, 0.2, 0.0], [0.0, 0.8, 0.0], [0.3, 0.0, 0.5]])
        x, y = np.linspace(-1, 1, 4), np.linspace(-2, 2, 5)
        field = dynamics.flow_field(lambda s: s @ matrix.T, np.zeros(3), [[1.0, 0, 0], [2.0, 3.0, 0]], x, y)
        assert field.velocity.shape == (5, 4, 2)
        np.testing.assert_allclose(field.velocity[1, 2], (matrix - np.eye(3))[:2, :2] @ [x[2], y[1]], atol=1e-12)
        change = (matrix - np.eye(3)) @ [x[2], y[1], 0]
        assert field.inside[1, 2] == pytest.approx(np.linalg.norm(change[:2]) / np.linalg.norm(change))

    def test_parallel_axes(self):
        with pytest.raises(InputError, match="the two are parallel"):
            dynamics.flow_field(lambda s: s, np.zeros(3), [[1.0, 0, 0], [2.0, 0, 0]], [0.0], [0.0])

    @pytest.mark.parametrize("form", ["rate", "current"])
    def test_latent_dynamics_are_those_of_the_network(self, form: str):
        units, rank, dt = 40, 2, 1e-4
        m, n = RNG.standard_normal((2, units, rank))
        drive, k = RNG.standard_normal(units), RNG.standard_normal((1, rank))
        velocity = dynamics.latent_dynamics(m, n, drive)(k)
        if form == "current":
            state = drive + k @ m.T
            change = -state + np.tanh(state) @ n @ m.T / units + drive
            after = np.linalg.lstsq(m, (state + dt * change - drive)[0], rcond=None)[0]
        else:
            state = k @ np.linalg.pinv(n.T / units).T
            after = ((state + dt * (-state + np.tanh(state @ n @ m.T / units + drive))) @ n / units)[0]
        np.testing.assert_allclose((after - k[0]) / dt, velocity[0], atol=1e-8)

    def test_nullclines(self):
        (fixed,) = dynamics.nullclines(lambda k: np.asarray(k) * (1 - np.asarray(k) ** 2), np.linspace(-1.5, 1.7, 30))
        np.testing.assert_allclose(np.sort(fixed[:, 0]), [-1, 0, 1], atol=1e-9)

        def velocity(k: Any) -> np.ndarray:
            return np.stack([k[:, 1] - k[:, 0] ** 2, k[:, 0] - 0.5], 1)

        first, second = dynamics.nullclines(velocity, np.linspace(-1, 1, 12), np.linspace(-0.5, 1.5, 9))
        np.testing.assert_allclose(first[:, 1], first[:, 0] ** 2, atol=1e-9)
        assert len(first) > 15
        np.testing.assert_allclose(second[:, 0], 0.5, atol=1e-9)
        assert len(second) == 9

    def test_patterns_that_do_not_fit(self):
        with pytest.raises(InputError, match=r"n of shape \(4, 1\): m has shape \(4, 2\)"):
            dynamics.latent_dynamics(np.ones((4, 2)), np.ones((4, 1)))
        with pytest.raises(InputError, match="give the ascending values of one or two"):
            dynamics.nullclines(lambda k: np.asarray(k), [0.0, 1.0], [0.0, 1.0], [0.0, 1.0])
