"""Dynamical similarity, on linear systems whose dynamics are known."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cordstasks.analysis.dynamics.similarity import dynamical_distances
from cordstasks.errors import InputError

Floats = NDArray[np.float64]


def rotation(angle: float, radius: float = 0.95) -> Floats:
    return radius * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def spiral(angle: float, *, units: int, seed: int, inputs: Floats | None = None, gain: float = 1.0) -> Floats:
    """Trials (trial, time, unit) of a plane that turns, seen through a random isometry."""
    rng = np.random.default_rng(seed)
    seen, _ = np.linalg.qr(rng.normal(size=(units, 2)))
    state = rng.normal(size=(13, 2))
    states = []
    for time in range(30):
        states.append(state)
        state = state @ rotation(angle).T + (0 if inputs is None else gain * inputs[:, time])
    return np.stack(states, axis=1) @ seen.T


class TestDynamicalSimilarity:
    def test_sees_dynamics_and_not_the_code(self) -> None:
        pytest.importorskip("DSA")
        distances = dynamical_distances(
            [spiral(0.3, units=7, seed=0), spiral(0.3, units=4, seed=1), spiral(0.8, units=5, seed=2)], components=2
        )
        assert distances.shape == (3, 3)
        np.testing.assert_allclose(distances, distances.T)
        assert np.abs(np.diag(distances)).max() == 0
        assert distances[0, 1] < 1e-4
        # eigenvalues 0.95 exp(+-0.3 i) and 0.95 exp(+-0.8 i): the mean of their squared distances
        assert distances[0, 2] == pytest.approx((2 * 0.95 * np.sin(0.25)) ** 2, rel=1e-3)

    def test_sees_input_maps(self) -> None:
        pytest.importorskip("DSA")
        drives = np.random.default_rng(5).normal(size=(3, 13, 30, 2))
        activities = [
            spiral(0.3, units=6, seed=0, inputs=drives[0]),
            spiral(0.3, units=6, seed=0, inputs=drives[1]),
            spiral(1.2, units=6, seed=0, inputs=drives[2]),
        ]
        distances = dynamical_distances(activities, inputs=list(drives), components=2)
        assert distances[0, 1] < 0.5 * distances[0, 2]


class TestMistakes:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"activities": [np.ones((2, 5, 3))]}, "activities holds 1 networks"),
            ({"activities": [np.ones((2, 5, 3))] * 2}, r"activities\[0\] is constant"),
            ({"delays": 29}, r"activities\[0\] has 30 times; 29 delays need at least 31"),
            ({"compare": "state"}, "compare is 'state'; give one of joint, control"),
            ({"components": 0}, "components is 0"),
            ({"inputs": [np.ones((13, 30, 2))]}, "inputs has 1 entries for 2 activities"),
            ({"inputs": [np.ones((13, 30, 2)), np.ones((13, 29, 2))]}, r"inputs\[1\] has shape \(13, 29, 2\)"),
        ],
    )
    def test_arguments(self, change: dict[str, Any], message: str) -> None:
        given = {"activities": [spiral(0.3, units=3, seed=0), spiral(0.4, units=3, seed=1)], **change}
        with pytest.raises(InputError, match=message):
            dynamical_distances(given.pop("activities"), **given)

    def test_without_the_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "DSA", None)
        with pytest.raises(InputError, match=r"needs the package dsa-metric .*pip install 'cordstasks\[dsa\]'"):
            dynamical_distances([spiral(0.3, units=3, seed=0), spiral(0.4, units=3, seed=1)])
