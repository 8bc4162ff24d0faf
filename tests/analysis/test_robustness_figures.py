"""Figures of cost, of responses and of trajectories: what they draw, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cordstasks.analysis import figures
from cordstasks.errors import InputError


class TestCost:
    NETWORKS: tuple[Any, ...] = ([1e6, 2e6, 3e6, 4e6], [1e9, 2e9, 5e9, 7e9], ["many", "many", "many", "own"])

    def test_draws_each_family_and_names_some(self) -> None:
        named = [False, True, False, True]
        (axis,) = figures.cost_and_parameters(*self.NETWORKS, names=list("abcd"), named=named).axes
        assert [line.get_label() for line in axis.lines] == ["many", "own"]
        np.testing.assert_allclose(axis.lines[0].get_ydata(), [1, 2, 5])
        np.testing.assert_allclose(axis.lines[1].get_xdata(), [4e6])
        assert [text.get_text() for text in axis.texts] == ["b", "d"]

    def test_mistakes(self) -> None:
        with pytest.raises(InputError, match="names has 3 entries for 4 networks"):
            figures.cost_and_parameters(*self.NETWORKS, names=list("abc"), named=[True] * 4)
        x, y, families = self.NETWORKS
        with pytest.raises(InputError, match="must be above 0"):
            figures.cost_and_parameters([0.0, *x[1:]], y, families, names=list("abcd"), named=[True] * 4)


class TestOverTime:
    def test_draws_lines_with_intervals_over_the_images(self) -> None:
        times = {"one": [10.0, 20.0, 30.0], "two": [5.0, 25.0]}
        panels = {"accuracy": {"one": [[0.5, 0.6, 0.7], [0.4, 0.5, 0.6], [0.6, 0.7, 0.8]], "two": [0.1, 0.2]}}
        (axis,) = figures.responses_over_time(times, panels, shown=[(0, 20, "image 1")]).axes
        np.testing.assert_allclose(axis.lines[0].get_ydata(), [0.5, 0.6, 0.7])
        np.testing.assert_allclose(axis.lines[1].get_xdata(), [5, 25])
        assert [text.get_text() for text in axis.texts] == ["image 1"]

    def test_mistakes(self) -> None:
        with pytest.raises(InputError, match="panels or times_ms is empty"):
            figures.responses_over_time({}, {}, shown=[])
        with pytest.raises(InputError, match="accuracy of one has 2 values for 3 times"):
            figures.responses_over_time({"one": [1, 2, 3]}, {"accuracy": {"one": [1.0, 2.0]}}, shown=[])


class TestNoise:
    def test_draws_values_and_ends(self) -> None:
        values = ([0.2, 0.4], [0.1, 0.3], [0.35, 0.6])
        (axis,) = figures.noise_levels([0.1, 1], {"deviation": {"one": values}}, unit="SD", logarithmic=["deviation"]).axes
        np.testing.assert_allclose(axis.lines[0].get_ydata(), values[0])
        assert axis.get_yscale() == "log" and axis.get_xlabel() == "level of noise (SD)"

    def test_mistakes(self) -> None:
        with pytest.raises(InputError, match="levels must be above 0"):
            figures.noise_levels([0, 1], {"deviation": {}}, unit="SD")
        with pytest.raises(InputError, match="deviation of one has 1 values for 2 levels"):
            figures.noise_levels([1, 2], {"deviation": {"one": ([1], [1], [1])}}, unit="SD")


class TestTrajectories:
    rng = np.random.default_rng(0)
    GIVEN: tuple[Any, ...] = (rng.normal(size=(4, 5, 3)), rng.normal(size=(4, 5)), rng.random((4, 5, 2)), list("aabb"))

    def test_draws_means_of_classes_and_areas(self) -> None:
        plane, axis, areas = figures.class_trajectories(*self.GIVEN, np.arange(1, 6), image_ms=3).axes
        thick = [line for line in plane.lines if line.get_label() in ("a", "b")]
        np.testing.assert_allclose(thick[1].get_ydata(), self.GIVEN[0][2:, :, 1].mean(axis=0))
        np.testing.assert_allclose(axis.lines[0].get_ydata(), self.GIVEN[1][:2].mean(axis=0))
        np.testing.assert_allclose(areas.lines[1].get_ydata(), self.GIVEN[2][..., 1].mean(axis=0))

    def test_mistakes(self) -> None:
        scores, along, away, _ = self.GIVEN
        with pytest.raises(InputError, match="labels 1 classes"):
            figures.class_trajectories(scores, along, away, list("aaaa"), np.arange(1, 6), image_ms=3)
        with pytest.raises(InputError, match="differ in their images or times"):
            figures.class_trajectories(scores, along[:, 1:], away, list("aabb"), np.arange(1, 6), image_ms=3)
