"""Figures of predictivity and of models beside recordings: they show the numbers that were given."""

from __future__ import annotations

import numpy as np
import pytest

from cordstasks.analysis import figures
from cordstasks.errors import InputError

BINS = np.array([[0, 10], [10, 20], [20, 30]])


def _rows(*medians: float | None) -> list[dict]:
    return [{"median": each, "interval": None if each is None else [each - 0.1, each + 0.1]} for each in medians]


class TestOverTime:
    def test_medians_are_drawn_at_the_middles_of_bins(self):
        figure = figures.predictivity_over_time(
            BINS, {"area 0": _rows(0.1, 0.2, 0.3), "area 5": _rows(0.4, None, 0.6)}, ceiling=_rows(0.8, 0.9, 0.9)
        )
        lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
        np.testing.assert_allclose(lines["area 0"].get_xdata(), [5, 15, 25])
        np.testing.assert_allclose(lines["area 0"].get_ydata(), [0.1, 0.2, 0.3])
        np.testing.assert_allclose(lines["area 5"].get_ydata(), [0.4, np.nan, 0.6])
        np.testing.assert_allclose(lines["ceiling"].get_ydata(), [0.8, 0.9, 0.9])

    def test_rows_must_fit_bins(self):
        with pytest.raises(InputError, match=r"areas\['a'\] has 2 rows for 3 time bins"):
            figures.predictivity_over_time(BINS, {"a": _rows(0.1, 0.2)})


def test_areas_have_their_median_interval_and_shuffles():
    figure = figures.predictivity_by_area(
        {"area 1": _rows(0.5)[0], "area 2": _rows(None)[0]}, {"area 1": 0.2}, ceiling=_rows(0.9)[0]
    )
    drawn = [tuple(np.asarray(line.get_ydata(), float)) for line in figure.axes[0].get_lines()]
    assert (0.5,) in drawn
    assert (0.4, 0.6) in drawn
    assert (0.2,) in drawn
    assert (0.9, 0.9) in drawn
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["area 1", "area 2"]


def test_the_map_has_the_model_upward_and_the_recording_along():
    model = np.array([[-10, 0], [0, 10], [10, 20], [20, 30]])
    values = np.arange(12.0).reshape(4, 3) / 12
    values[0] = np.nan
    figure = figures.predictivity_map(model, BINS, {"area 3": values, "area 4": values / 2})
    mesh = figure.axes[0].collections[0]
    np.testing.assert_allclose(np.ma.filled(mesh.get_array(), np.nan), values)
    assert mesh.get_clim() == (0, pytest.approx(11 / 12))
    with pytest.raises(InputError, match=r"maps\['a'\] has shape \(3, 4\); give \(4, 3\)"):
        figures.predictivity_map(model, BINS, {"a": values.T})


def test_similarity_has_a_line_for_each_area_and_an_interval_at_its_end():
    values, ends = np.array([[0.1, 0.2, 0.3], [0.2, 0.3, 0.4]]), np.array([[0.2, 0.4], [0.3, 0.5]])
    figure = figures.similarity_over_time(
        [5, 15, 25], {"IT": (values, ends)}, ["area 0", "area 1"], beside={"IT": {"pixels": 0.15}}
    )
    lines = figure.axes[0].get_lines()
    np.testing.assert_allclose(lines[0].get_ydata(), values[0])
    np.testing.assert_allclose(lines[3].get_ydata(), ends[1])
    assert min(lines[1].get_xdata()) > 25
    assert lines[-1].get_label() == "pixels"
    with pytest.raises(InputError, match=r"references\['IT'\] has shapes \(2, 3\) and \(1, 2\)"):
        figures.similarity_over_time([5, 15, 25], {"IT": (values, ends[:1])}, ["area 0", "area 1"])


def test_ramps_of_two_choices_share_their_coherences_colour():
    courses = {(choice, level): ([0, 20, 40], [1, 2, 3 + level]) for choice in ("T1", "T2") for level in (0.0, 0.512)}
    figure = figures.ramps({"LIP": courses, "network": courses}, units=["Hz", "SD"])
    lines = figure.axes[0].get_lines()
    assert [line.get_linestyle() for line in lines] == ["-", "-", "--", "--"]
    assert lines[0].get_color() == lines[2].get_color() != lines[1].get_color()
    assert [axis.get_ylabel() for axis in figure.axes] == ["Hz", "SD"]
    with pytest.raises(InputError, match="units has 1 entries for 2 panels"):
        figures.ramps({"LIP": courses, "network": courses}, units=["Hz"])
    with pytest.raises(InputError, match="has 3 times and 2 responses"):
        figures.ramps({"LIP": {("T1", 0.0): ([0, 1, 2], [1, 2])}}, units=["Hz"])
