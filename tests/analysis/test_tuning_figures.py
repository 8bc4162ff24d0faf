import numpy as np
import pytest

from cordstasks.analysis import figures, tuning
from cordstasks.errors import InputError
from helpers import assert_texts_are_readable

TIMES = 20.0 * np.arange(45) + 10
PERIODS = {"fixation": (0.0, 300.0), "sample": (300.0, 600.0), "delay": (600.0, 900.0), "go": (890.0, 900.0)}


def _numerosity(seed=0, gain=2.0, trials=160, tuned=25, noise=12):
    """Units with Gaussian tuning to number from 300 ms on, then units of noise, then a silent one."""
    rng = np.random.default_rng(seed)
    number = rng.integers(1, 6, trials)
    preferred = np.resize(np.arange(1, 6), tuned)
    bump = np.zeros((trials, tuned + noise + 1))
    bump[:, :tuned] = gain * np.exp(-((number[:, None] - preferred) ** 2) / 2)
    activity = 1 + (TIMES > 300)[:, None] * bump[:, None] + 0.7 * rng.standard_normal((trials, 45, tuned + noise + 1))
    activity[..., -1] = 0
    responses = tuning.window_mean(activity, TIMES > 300)
    return tuning.cross_validated_curves(responses, number, rng=rng), activity, number, TIMES


def _saccade(seed=0):
    rng = np.random.default_rng(seed)
    place = 45.0 * rng.integers(0, 8, 200)
    bump = np.exp(2 * (np.cos(np.radians(place[:, None] - 45 * np.arange(16))) - 1))
    activity = (TIMES > 300)[:, None] * bump[:, None] + 0.5 * rng.standard_normal((200, 45, 16))
    responses = tuning.window_mean(activity, TIMES > 300)
    return tuning.cross_validated_curves(responses, place, rng=rng), activity, place, TIMES


def _units(number):
    _, activity, condition, times = _numerosity()
    return activity, condition, times, list(range(number))


FIGURES = {
    "heat map": lambda: figures.heat_map(*_numerosity(), periods=PERIODS),
    "heat map of all": lambda: figures.heat_map(*_numerosity(), periods=PERIODS, false_discovery=None),
    "heat map of places": lambda: figures.heat_map(*_saccade(), unit="\u00b0"),
    "aligned": lambda: figures.aligned_tuning(_numerosity()[0], condition="number of dots", fold=True),
    "aligned, with sign": lambda: figures.aligned_tuning(_numerosity()[0], condition="number of dots"),
    "aligned places": lambda: figures.aligned_tuning(_saccade()[0], condition="place (deg)", period=360),
    "five units": lambda: figures.peristimulus(*_units(5), periods=PERIODS, name="number of dots"),
    "two units": lambda: figures.peristimulus(*_saccade()[1:], [0, 9], circular=True, unit="\u00b0", name="place"),
    "one unit": lambda: figures.peristimulus(*_units(1), periods=PERIODS, titles=["Unit 0 prefers 1"]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_texts_are_large_apart_and_inside(name, monkeypatch):
    assert_texts_are_readable(FIGURES[name](), monkeypatch)


def test_heat_map_has_held_out_differences_of_the_units_tuned_in_the_other_half():
    curves, activity, number, times = _numerosity()
    axis = figures.heat_map(curves, activity, number, times, periods=PERIODS).axes[0]
    picture = np.asarray(axis.images[0].get_array())
    chosen = np.flatnonzero(tuning.align(curves).chosen[0])
    assert picture.shape == (len(chosen), 45)
    expected = set()
    for unit in chosen:
        held_out, shown = activity[~curves.first_half, :, unit], number[~curves.first_half]
        means = np.stack([held_out[shown == value].mean(axis=0) for value in range(1, 6)])
        best = curves.preferred[0, unit]
        difference = means[best] - np.delete(means, best, axis=0).mean(axis=0)
        expected.add(tuple(np.round(difference / np.sqrt(held_out.var(axis=0).mean()), 9)))
    assert {tuple(np.round(row, 9)) for row in picture} == expected
    # Nothing before 300 ms, the effect after.
    assert abs(picture[:, times < 300].mean()) < 0.1
    assert picture[:, times > 300].mean() > 1
    assert axis.get_yticklabels()[0].get_text().startswith("1 (")
    named = {text.get_text() for text in axis.texts}
    assert named == {"fixation", "sample", "delay"}  # "go" lasts too briefly for its name


def test_heat_map_of_noise_is_pale():
    figure = figures.heat_map(*_numerosity(gain=0.0), false_discovery=None)
    picture = np.asarray(figure.axes[0].images[0].get_array())
    assert abs(picture.mean()) < 5 * picture.std() / np.sqrt(picture.size)
    assert "No unit is tuned" in figures.heat_map(*_numerosity(gain=0.0)).texts[0].get_text()


def test_rows_are_sorted_by_preference():
    curves, activity, number, times = _saccade()
    axis = figures.heat_map(curves, activity, number, times, false_discovery=None, unit="\u00b0").axes[0]
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert labels == [f"{45 * i}\u00b0 ({n})" for i, n in enumerate(np.bincount(curves.preferred[0], minlength=8)) if n]


def test_aligned_curves_are_those_of_the_analysis():
    curves = _saccade()[0]
    left, right = figures.aligned_tuning(curves, condition="place (deg)", period=360).axes
    overall = tuning.align(curves, period=360)
    drawn = right.containers[0]
    np.testing.assert_allclose(drawn.lines[0].get_xydata(), np.stack([overall.offsets, overall.population_mean], axis=1))
    ends = np.array([segment[:, 1] for segment in drawn.lines[2][0].get_segments()])
    error = overall.population_standard_error[:, None] * [-1, 1]
    np.testing.assert_allclose(ends, overall.population_mean[:, None] + error, atol=1e-12)
    of_90 = next(c for c in left.containers if c.get_label().startswith("90 ("))
    by_90 = tuning.align(curves, preferred=90)
    np.testing.assert_allclose(of_90.lines[0].get_xdata(), 45 * np.arange(8))
    np.testing.assert_allclose(of_90.lines[0].get_ydata(), by_90.population_mean)


def test_peristimulus_shows_means_and_errors_by_condition():
    activity, number, times, _ = _units(1)
    axis = figures.peristimulus(activity, number, times, [7]).axes[0]
    lines = {line.get_label(): line.get_ydata() for line in axis.lines}
    assert list(lines) == ["1", "2", "3", "4", "5"]
    rates = activity[number == 3][:, :, 7]
    np.testing.assert_allclose(lines["3"], rates.mean(axis=0))
    band = axis.collections[2].get_paths()[0].vertices
    error = rates.std(axis=0, ddof=1) / np.sqrt(len(rates))
    assert band[:, 1].max() == pytest.approx((rates.mean(axis=0) + error).max())
    assert band[:, 1].min() == pytest.approx((rates.mean(axis=0) - error).min())


def test_examples_are_the_most_selective_for_each_condition():
    _, activity, number, times = _numerosity(seed=3)
    responses = tuning.window_mean(activity, times > 300)
    curves = tuning.tuning_curves(responses, number)
    tests = tuning.selectivity(responses, number, rng=np.random.default_rng(0), permutations=200)
    examples = tuning.example_units(curves, tests)
    assert curves.preferred[examples].tolist() == [0, 1, 2, 3, 4]
    for unit in examples:
        rivals = tests.selective & (curves.preferred == curves.preferred[unit])
        assert tests.selective[unit]
        assert tests.omega_squared[unit] == tests.omega_squared[rivals].max()
    two = tuning.example_units(curves, tests, number=2)
    assert set(two) == set(examples[np.argsort(-tests.omega_squared[examples])[:2]])
    assert (np.diff(curves.preferred[two]) > 0).all()
    noise = tuning.selectivity(responses[:, -3:], number, rng=np.random.default_rng(0), permutations=50)
    assert len(tuning.example_units(tuning.tuning_curves(responses[:, -3:], number), noise)) == 0
    figure = figures.peristimulus(activity, number, times, [])
    assert "No unit is tuned" in figure.texts[0].get_text()


CURVES, ACTIVITY, NUMBER, _ = _numerosity()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: figures.heat_map(CURVES, ACTIVITY[1:], NUMBER[1:], TIMES), "curves are of 160 trials and 38 units"),
        (lambda: figures.heat_map(CURVES, ACTIVITY, NUMBER, TIMES[1:]), "time_ms has 44 steps but activity has 45"),
        (lambda: figures.heat_map(CURVES, ACTIVITY, NUMBER + 1, TIMES), "condition holds other values than curves"),
        (lambda: figures.peristimulus(ACTIVITY, NUMBER, TIMES, [38]), r"units is \[38\]; give indices from 0 to 37"),
        (lambda: figures.peristimulus(ACTIVITY, NUMBER, TIMES, [3], titles=[]), "titles has 0 names for 1 units"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
