"""Choices of animals from a table, and the figure in which they stand beside a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cordstasks import analysis
from cordstasks.analysis.psychophysics import read_observers
from cordstasks.errors import InputError

ROWS = "monkey,rt,coh,correct,trgchoice\n2,0.5,0.512,1.0,1\n1,0.4,0,0,2\n2,0.6,0.128,0,1\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "choices.csv"
    path.write_text(text)
    return path


class TestReading:
    def test_each_observer_has_its_trials_in_order(self, tmp_path: Path):
        first, second = read_observers(written(tmp_path, ROWS))
        assert (first.name, second.name) == ("monkey 1", "monkey 2")
        np.testing.assert_array_equal(first.coherence, [0.0])
        np.testing.assert_array_equal(second.coherence, [0.512, 0.128])
        np.testing.assert_array_equal(second.correct, [True, False])
        assert second.correct.dtype == bool
        np.testing.assert_allclose(second.reaction_time, [500.0, 600.0])

    def test_other_names_of_columns(self, tmp_path: Path):
        (only,) = read_observers(written(tmp_path, "\ufeffSubject,Coherence,correct\nanna,0.5,1\n"))
        assert only.name == "Subject anna"
        assert only.reaction_time is None

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("coh,correct\n0.5,1\n", "has no column monkey or subject or observer"),
            ("monkey,correct\n1,1\n", "has no column coh or coherence"),
            ("", "has no column"),
            ("monkey;coh;correct\n1;0.1;1\n", r"\(but monkey;coh;correct\); name the columns so, separated by commas"),
            ("monkey,coh,correct\n", "holds no trials"),
            (ROWS + "1,0.4,51.2,1,1\n", r"line 5 has coherence 51\.2; it is a fraction"),
            (ROWS + "1,0.4,-0.1,1,1\n", "line 5 has coherence -0.1"),
            (ROWS + "1,0.4,0.1,2,1\n", "line 5 has correct 2; give 1 or 0"),
            (ROWS + "1,0.4,x,1,1\n", "line 5 has coh 'x'; give a number"),
            (ROWS + "1,0.4\n", "line 5 has coh None; give a number"),
            (ROWS + "1,0.4,nan,1,1\n", "line 5 has coh 'nan'; give a number"),
            (ROWS + "1,355,0.1,1,1\n", "line 5 has rt 355; give a time in s above 0"),
            (ROWS + "1,,0.1,1,1\n", "line 5 has rt ''; give a number"),
        ],
    )
    def test_what_is_wrong_is_named_with_its_line(self, tmp_path: Path, text: str, message: str):
        with pytest.raises(InputError, match=message) as caught:
            read_observers(written(tmp_path, text))
        assert "\n" not in str(caught.value)

    def test_no_file(self, tmp_path: Path):
        with pytest.raises(InputError, match=r"path=.*none\.csv: cannot be read"):
            read_observers(tmp_path / "none.csv")

    def test_the_monkeys_of_roitman_and_shadlen(self, shared: Path):
        monkeys = read_observers(shared / "data" / "roitman_rts.csv")
        assert [len(each.correct) for each in monkeys] == [2615, 3534]
        for monkey in monkeys:
            assert set(monkey.coherence) == {0, 0.032, 0.064, 0.128, 0.256, 0.512}
            fit = analysis.fit_weibull(monkey.coherence, monkey.correct, bootstrap=0, rng=np.random.default_rng(0))
            assert 0.05 < fit.threshold < 0.1  # about 7 % in the paper


class TestFigure:
    def drawn(self, levels: tuple[float, ...], names: tuple[str, ...] = ("model", "monkey")):
        rng = np.random.default_rng(1)
        rows, fits = [], []
        for gain in (4.0, 8.0)[: len(names)]:
            coherence = np.repeat(levels, 200)
            correct = rng.random(len(coherence)) < 0.5 + 0.5 * (1 - np.exp(-gain * coherence))
            rows.append(analysis.accuracy_by_condition(coherence, correct))
            fits.append(analysis.fit_weibull(coherence, correct, bootstrap=20, rng=rng))
        return analysis.figures.observers(rows, fits, names), rows, fits

    def test_points_are_accuracies_and_the_legend_has_thresholds(self):
        figure, rows, fits = self.drawn((0.0, 0.064, 0.128, 0.256, 0.512))
        (axis,) = figure.axes
        for container, own in zip(axis.containers, rows, strict=True):
            np.testing.assert_allclose(container[0].get_ydata(), [row["accuracy"] for row in own])
        texts = [text.get_text() for text in axis.get_legend().get_texts()]
        for name, fit in zip(("model", "monkey"), fits, strict=True):
            assert any(text.startswith(f"{name}: threshold {100 * fit.threshold:.3g} %") for text in texts)
        assert [label.get_text() for label in axis.get_xticklabels()] == ["0", "6.4", "12.8", "25.6", "51.2"]
        # the observers' points lie around the tick of their coherence
        np.testing.assert_allclose(np.mean([each[0].get_xdata() for each in axis.containers], axis=0), axis.get_xticks())
        np.testing.assert_allclose(axis.get_xticks()[1:], [6.4, 12.8, 25.6, 51.2])

    def test_without_coherence_zero_the_axis_is_not_broken(self):
        figure, _, _ = self.drawn((0.064, 0.256))
        (axis,) = figure.axes
        assert [label.get_text() for label in axis.get_xticklabels()] == ["6.4", "25.6"]

    def test_a_name_is_no_mathematics(self, tmp_path: Path):
        figure, _, _ = self.drawn((0.064, 0.256), ("model", "monkey $\\frac$"))
        analysis.figures.save(figure, tmp_path / "observers.png")

    def test_numbers_must_agree(self):
        _, rows, fits = self.drawn((0.0, 0.128, 0.512))
        with pytest.raises(InputError, match="2, 2 and 1; give one of each"):
            analysis.figures.observers(rows, fits, ["model"])
        with pytest.raises(InputError, match="0, 0 and 0"):
            analysis.figures.observers([], [], [])
