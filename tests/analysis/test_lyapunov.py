"""Lyapunov exponents and measures of activity, where they are known in closed form or from the literature."""

from __future__ import annotations

import numpy as np
import pytest

from cordstasks.analysis import dynamics
from cordstasks.errors import InputError, Note


def lorenz(states: np.ndarray, dt: float = 0.02) -> np.ndarray:
    """One Runge-Kutta step of the Lorenz system."""

    def slope(s: np.ndarray) -> np.ndarray:
        x, y, z = s[..., 0], s[..., 1], s[..., 2]
        return np.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], -1)

    a = slope(states)
    b = slope(states + dt / 2 * a)
    c = slope(states + dt / 2 * b)
    return states + dt / 6 * (a + 2 * b + 2 * c + slope(states + dt * c))


class TestLyapunov:
    @pytest.mark.parametrize("known", [True, False])
    def test_a_linear_map(self, known: bool):
        rng = np.random.default_rng(0)
        basis = rng.standard_normal((4, 4))
        matrix = basis @ np.diag([0.95, -0.8, 0.5, 0.2]) @ np.linalg.inv(basis)
        found = dynamics.lyapunov_exponents(
            lambda x: x @ matrix.T,
            np.ones(4),
            3,
            steps=60,
            transient=100,
            dt=2.0,
            jvp=(lambda x, v: v @ matrix.T) if known else None,
        )
        np.testing.assert_allclose(found.values, np.log([0.95, 0.8, 0.5]) / 2, atol=1e-6)
        assert found.converged.all()
        assert (found.errors < 1e-4).all()

    def test_lorenz(self):
        found = dynamics.lyapunov_exponents(
            lorenz, np.array([1.0, 1.0, 20.0]), 3, steps=10_000, dt=0.02, transient=500, every=5, tolerance=0.05
        )
        assert found.values[0] == pytest.approx(0.906, abs=0.03)
        assert found.values[1] == pytest.approx(0, abs=0.03)
        assert found.values.sum() == pytest.approx(-(10 + 1 + 8 / 3), abs=0.01)  # the divergence
        assert found.errors[0] < 0.05
        assert found.dimension == pytest.approx(2.06, abs=0.01)
        assert found.history[-1, 0] == pytest.approx(found.values[0])
        assert found.times[-1] == pytest.approx(200.0)

    def test_too_few_steps_are_said(self):
        with pytest.warns(Note, match=r"lyapunov_exponents: 1 of 1 have not converged, with standard errors up to"):
            found = dynamics.lyapunov_exponents(lorenz, np.array([1.0, 1.0, 20.0]), steps=100, dt=0.02, transient=0)
        assert not found.converged.any()

    def test_the_halves_of_the_time_must_agree(self):
        rates = np.where(np.arange(1000) < 500, 0.9, 1.1)  # of growth, one for each step
        calls = iter(range(10**6))

        def jvp(states: np.ndarray, tangents: np.ndarray) -> np.ndarray:
            return tangents * np.exp(rates[next(calls)])

        options = {"steps": 1000, "transient": 0, "jvp": jvp, "tolerance": 0.08}
        with pytest.warns(Note, match=r"differences of up to 0\.2 between the halves"):
            found = dynamics.lyapunov_exponents(lambda x: x, np.ones(2), **options)
        assert found.values[0] == pytest.approx(1)
        assert found.errors[0] < 0.08 and not found.converged[0]

    def test_directions_lost_in_rounding_are_said(self):
        def henon(x: np.ndarray) -> np.ndarray:  # whose exponents are 0.419 and -1.623
            return np.stack([1 - 1.4 * x[:, 0] ** 2 + x[:, 1], 0.3 * x[:, 0]], 1)

        found = dynamics.lyapunov_exponents(henon, np.full(2, 0.1), 2, steps=2000)
        np.testing.assert_allclose(found.values, [0.419, -1.623], atol=0.02)
        assert found.converged.all()
        with pytest.warns(Note, match=r"1 of 2 are of directions that shrink below rounding .* smaller every \(now 400\)"):
            found = dynamics.lyapunov_exponents(henon, np.full(2, 0.1), 2, steps=8000, every=400)
        assert found.converged.tolist() == [True, False]

    def test_what_is_refused(self):
        for options, message in (
            ({"k": 4}, "k=4: a system of 3 units"),
            ({"steps": 9}, "steps=9: give at least 10"),
            ({"dt": 0}, "dt=0: give a duration above 0"),
        ):
            with pytest.raises(InputError, match=message):
                dynamics.lyapunov_exponents(lorenz, np.ones(3), **{"steps": 20, **options})
        with pytest.raises(InputError, match="give one state"):
            dynamics.lyapunov_exponents(lorenz, np.ones((2, 3)))
        with pytest.raises(InputError, match="not finite"):
            dynamics.lyapunov_exponents(lorenz, np.array([1.0, np.nan, 0.0]))


class TestActivity:
    def test_participation_ratio(self):
        rng = np.random.default_rng(1)
        activity = rng.standard_normal((3, 4000, 5)) * [3.0, 1.0, 1.0, 0.0, 0.0] + 7
        variances = np.array([9.0, 1.0, 1.0])
        assert dynamics.participation_ratio(activity) == pytest.approx(variances.sum() ** 2 / (variances**2).sum(), rel=0.02)
        line = np.outer(np.arange(9.0), [1.0, 2.0, 3.0, 4.0])
        assert dynamics.participation_ratio(line) == pytest.approx(1)
        assert dynamics.participation_ratio(line.T + np.eye(4, 9)) <= 3

    def test_autocorrelation_time_of_an_autoregressive_process(self):
        rng = np.random.default_rng(2)
        noise = rng.standard_normal((2, 8000, 6))
        activity = np.zeros_like(noise)
        for step in range(1, 8000):
            activity[:, step] = 0.9 * activity[:, step - 1] + noise[:, step]
        assert dynamics.autocorrelation_time(activity, 5.0) == pytest.approx(5 / -np.log(0.9), rel=0.08)
        np.testing.assert_allclose(dynamics.autocorrelation(activity, 4), 0.9 ** np.arange(4), atol=0.02)

    def test_the_peak_of_the_power_spectrum(self):
        time = np.arange(4000) * 2.0
        activity = np.stack([np.sin(2 * np.pi * 0.0125 * time), 0.5 * np.cos(2 * np.pi * 0.0125 * time)], 1)
        frequencies, power = dynamics.power_spectrum(activity, 2.0)
        assert frequencies[power.argmax()] == pytest.approx(12.5, abs=1)
        assert np.trapezoid(power, frequencies) == pytest.approx((0.5 + 0.125) / 2, rel=0.02)

    def test_what_is_refused(self):
        with pytest.raises(InputError, match="constant in all units"):
            dynamics.participation_ratio(np.ones((5, 3)))
        with pytest.raises(InputError, match=r"activity of shape \(5,\)"):
            dynamics.participation_ratio(np.ones(5))
        with pytest.raises(InputError, match="1 of the values are not finite"):
            dynamics.power_spectrum(np.array([[1.0, 2.0], [np.nan, 3.0]]), 2.0)
        with pytest.raises(InputError, match="segments=9"):
            dynamics.power_spectrum(np.random.default_rng(0).standard_normal((64, 2)), 2.0, segments=9)
