import numpy as np
import pytest

from cordstasks.analysis import figures
from cordstasks.analysis.psychophysics import behaviour
from cordstasks.errors import InputError
from helpers import assert_texts_are_readable

DISPLAYS = ["standard", "equal area", "equal circumference", "low density", "high density", "linear", "mixed shapes"]
MORPHS = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])


def _numerosity(*columns):
    rng = np.random.default_rng(0)
    table = {"distance": rng.integers(0, 5, 900), "display": rng.choice(DISPLAYS, 900)}
    return behaviour.performance_table({name: table[name] for name in columns}, rng.random(900) < 0.8)


def _catdog(*, lines=False, guess=False):
    rng = np.random.default_rng(1)
    morph, line = rng.choice(MORPHS, 600), rng.integers(0, 4, 600)
    chose = rng.random(600) < (0.5 if guess else 1 / (1 + np.exp(-12 * (morph - 0.45))))
    fit = behaviour.fit_boundary(morph, chose, rng=rng, bootstrap=50)
    rows = behaviour.performance_table({"morph": morph}, chose)
    return rows, fit, behaviour.performance_table({"morph": morph, "line": line}, chose) if lines else ()


def _saccade(*, by_location=False):
    rng = np.random.default_rng(2)
    location, delay = 45 * rng.integers(0, 8, 700), rng.choice([1500, 3000, 6000], 700)
    angle = location + rng.standard_normal(700) * delay / 400
    conditions = {"location": location, "delay": delay}
    accuracies = behaviour.performance_table(conditions, np.abs(angle - location) < 15)
    columns = conditions if by_location else {"delay": delay}
    return accuracies, behaviour.angular_error_table(columns, angle, location, rng=rng, bootstrap=50)


def _matrix(labels, seed=3):
    rng = np.random.default_rng(seed)
    answer = rng.integers(0, len(labels), 400)
    choice = np.where(rng.random(400) < 0.7, answer, rng.integers(0, len(labels), 400))
    return behaviour.confusions(np.array(labels)[answer], np.array(labels)[choice])


def _boundary(**options):
    rows, fit, lines = _catdog(**options)
    return figures.boundary(rows, fit, lines=lines)


FIGURES = {
    "distance": lambda: figures.performance(_numerosity("distance"), "distance", chance=0.5),
    "displays": lambda: figures.performance(_numerosity("display"), "display", chance=0.5),
    "distance by display": lambda: figures.performance(
        _numerosity("distance", "display"), "distance", lines="display", chance=0.5, x_label="distance in number"
    ),
    "display by distance": lambda: figures.performance(
        _numerosity("distance", "display"), "display", lines="distance", chance=0.5
    ),
    "boundary": _boundary,
    "boundary with lines": lambda: _boundary(lines=True),
    "boundary of guesses": lambda: _boundary(guess=True),
    "confusions of numbers": lambda: figures.confusion(_matrix([1, 2, 3, 4, 5]), condition="number"),
    "confusions of locations": lambda: figures.confusion(_matrix(list(range(0, 360, 45))), unit="\u00b0"),
    "confusions of names": lambda: figures.confusion(_matrix(["match", "nonmatch"])),
    "location by delay": lambda: figures.location_by_delay(*_saccade(), chance=1 / 8, trained=3000),
    "locations by delay": lambda: figures.location_by_delay(*_saccade(by_location=True), chance=1 / 8),
}


@pytest.mark.parametrize("name", FIGURES)
def test_texts_are_large_apart_and_inside(name, monkeypatch):
    assert_texts_are_readable(FIGURES[name](), monkeypatch)


def test_performance_has_a_line_for_each_kind():
    rows = _numerosity("distance", "display")
    axis = figures.performance(rows, "distance", lines="display", chance=0.5).axes[0]
    assert [container.get_label() for container in axis.containers] == sorted(DISPLAYS)
    for container in axis.containers:
        own = [row for row in rows if row["display"] == container.get_label()]
        np.testing.assert_allclose(container.lines[0].get_ydata(), [row["accuracy"] for row in own])
        # Shifted aside by less than half the way to the next distance.
        assert np.abs(container.lines[0].get_xdata() - [row["distance"] for row in own]).max() < 0.5
        ends = np.array([segment[:, 1] for segment in container.lines[2][0].get_segments()])
        np.testing.assert_allclose(ends, [row["interval"] for row in own], atol=1e-12)
    assert set(axis.lines[0].get_ydata()) == {0.5}


def test_boundary_shows_choices_and_fit_in_percent():
    rows, fit, _ = _catdog()
    axis = figures.boundary(rows, fit, second="dog").axes[0]
    np.testing.assert_allclose(axis.containers[0].lines[0].get_xdata(), 100 * MORPHS)
    np.testing.assert_allclose(axis.containers[0].lines[0].get_ydata(), [row["accuracy"] for row in rows])
    curve = next(line for line in axis.lines if line.get_label() == "logistic fit")
    np.testing.assert_allclose(curve.get_ydata(), fit.predict(curve.get_xdata() / 100))
    marked = next(line for line in axis.lines if line.get_label().startswith("boundary"))
    assert marked.get_xdata()[0] == pytest.approx(100 * fit.boundary)


def test_confusions_are_in_their_places():
    matrix = behaviour.confusions(["a", "a", "b", "c", "c"], ["a", "b", "b", "none", "c"])
    axis = figures.confusion(matrix).axes[0]
    np.testing.assert_allclose(np.asarray(axis.images[0].get_array()), [[50, 50, 0, 0], [0, 100, 0, 0], [0, 0, 50, 50]])
    assert [label.get_text() for label in axis.get_xticklabels()] == ["a", "b", "c", "none"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a (2)", "b (1)", "c (2)"]


def test_location_by_delay_has_accuracies_and_errors():
    accuracies, errors = _saccade()
    left, right, _ = figures.location_by_delay(accuracies, errors, chance=1 / 8, trained=3000).axes
    picture = np.asarray(left.images[0].get_array())
    assert picture.shape == (3, 8)
    for row in accuracies:
        assert picture[[1500, 3000, 6000].index(row["delay"]), row["location"] // 45] == pytest.approx(100 * row["accuracy"])
    drawn = right.containers[0]
    np.testing.assert_allclose(drawn.lines[0].get_xydata(), [[row["delay"], row["median_absolute_error"]] for row in errors])
    ends = np.array([segment[:, 1] for segment in drawn.lines[2][0].get_segments()])
    np.testing.assert_allclose(ends, [row["interval"] for row in errors], atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: figures.performance([], "x", chance=0.5), "rows is empty"),
        (lambda: figures.performance(_numerosity("display"), "x", chance=0.5), "no column 'x'; they have display"),
        (lambda: figures.boundary(_numerosity("display"), _catdog()[1]), "rows have no column 'morph'"),
        (lambda: figures.location_by_delay(_numerosity("display"), [], chance=0.5), "rows have no column 'location'"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


class TestPerturbation:
    LEVELS = (-0.5, -0.1, 0.1, 0.5)

    def effect(self, *, timed: bool, moved: bool = True, beyond: bool = False) -> dict:
        row = {"change": -0.2, "interval": [-0.3, -0.1]}
        shift = {
            "towards": 0.0,
            "shift": 0.5 if beyond else 0.125,
            "interval": [0.1, 0.5],
            "beyond": beyond,
            "by_coherence": [{"coherence": level, "before": 0.5 + level, "after": 0.5} for level in self.LEVELS],
        }
        times = {
            "change": -30.0,
            "interval": [-40.0, -20.0],
            "by_choice": [
                {"choice": "0 deg", **row, "change": -60.0},
                {"choice": "180 deg", "change": None, "interval": None},
            ],
        }
        return {
            "accuracy": row,
            "choices_changed": 0.3,
            "choices_changed_interval": [0.2, 0.4],
            "by_value": [{"value": 0.0, **row}, {"value": 180.0, **row}],
            "shift": shift if moved else None,
            **({"reaction_times": times} if timed else {}),
        }

    @pytest.mark.parametrize(
        ("timed", "moved", "panels"), [(True, True, 4), (False, True, 3), (True, False, 3), (False, False, 2)]
    )
    def test_a_panel_for_all_that_was_measured(self, timed: bool, moved: bool, panels: int, monkeypatch: pytest.MonkeyPatch):
        effect = self.effect(timed=timed, moved=moved)
        figure = figures.perturbation(effect, [effect, effect], title="silence")
        assert len(figure.axes) == panels
        assert_texts_are_readable(figure, monkeypatch)

    def test_reaction_times_of_choices_that_were_made(self):
        effect = self.effect(timed=True, beyond=True)
        _, _, times, psychometric = figures.perturbation(effect, [effect]).axes
        assert [text.get_text() for text in times.get_xticklabels()] == ["all", "0 deg", "180 deg"]
        assert [container.lines[0].get_ydata()[0] for container in times.containers] == [-30.0, -60.0]
        labels = [text.get_text() for text in psychometric.get_legend().get_texts()]
        assert "chosen units: shift beyond 50 % coherence" in labels

    @pytest.mark.parametrize(("chosen", "random"), [((0, 1, 2, 3), (1, 3)), ((1, 3), (0, 1, 2, 3)), ((0, 2), (1,))])
    def test_choices_stand_at_their_coherence_where_others_have_none(self, chosen: tuple, random: tuple):
        def only(places: tuple) -> dict:
            effect = self.effect(timed=False)
            effect["shift"]["by_coherence"] = [effect["shift"]["by_coherence"][place] for place in places]
            return effect

        axis = figures.perturbation(only(chosen), [only(random)]).axes[-1]
        ticks = dict(zip(axis.get_xticks(), (label.get_text() for label in axis.get_xticklabels()), strict=True))
        drawn = [[ticks[x] for x in line.get_xdata()] for line in axis.lines[:3]]
        names = {place: f"{100 * self.LEVELS[place]:g}".replace("-", "\N{MINUS SIGN}") for place in range(4)}
        expected = [[names[place] for place in places] for places in (random, chosen, chosen)]
        assert [[label.replace("-", "\N{MINUS SIGN}") for label in row] for row in drawn] == expected
