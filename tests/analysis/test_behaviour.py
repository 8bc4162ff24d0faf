import json
from collections import Counter

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import circmean

from cordstasks.analysis import wilson_interval
from cordstasks.analysis.psychophysics import behaviour
from cordstasks.errors import InputError

MORPHS = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])


def test_performance_is_counted_at_each_combination():
    rng = np.random.default_rng(0)
    distance, display = rng.integers(0, 3, 80), rng.choice(["standard", "equal area"], 80)
    # One combination is absent: no standard display at distance 2.
    display[distance == 2] = "equal area"
    correct = rng.random(80) < 0.7
    rows = behaviour.performance_table({"distance": distance, "display": display}, correct)
    seen = Counter(zip(distance.tolist(), display.tolist(), strict=True))
    assert [(row["distance"], row["display"]) for row in rows] == sorted(seen)
    for row in rows:
        own = (distance == row["distance"]) & (display == row["display"])
        assert row["trials"] == seen[row["distance"], row["display"]]
        assert row["accuracy"] == pytest.approx(correct[own].mean())
        assert row["interval"] == pytest.approx(list(wilson_interval(int(correct[own].sum()), int(own.sum()))))
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert list(rows[0]) == ["distance", "display", "trials", "accuracy", "interval"]


def _choices(rng, boundary, slope, lapse, trials=4000, scale=1.0):
    morph = scale * rng.choice(MORPHS, trials)
    return morph, rng.random(trials) < lapse + (1 - 2 * lapse) / (1 + np.exp(-slope * (morph - boundary)))


@pytest.mark.parametrize(("boundary", "slope", "lapse"), [(0.5, 12.0, 0.04), (0.35, 8.0, 0.0), (0.6, -9.0, 0.02)])
def test_a_boundary_is_recovered(boundary, slope, lapse):
    rng = np.random.default_rng(1)
    fit = behaviour.fit_boundary(*_choices(rng, boundary, slope, lapse), rng=rng, bootstrap=200, confidence=0.999)
    assert fit.boundary_interval[0] < boundary < fit.boundary_interval[1]
    assert fit.slope_interval[0] < slope < fit.slope_interval[1]
    assert abs(fit.lapse - lapse) < 0.02
    assert fit.boundary == pytest.approx(boundary, abs=0.03)
    assert fit.at_bound == ()
    assert fit.predict(boundary) == pytest.approx(0.5, abs=0.08)


def test_a_boundary_has_the_largest_likelihood():
    rng = np.random.default_rng(2)
    morph, chose = _choices(rng, 0.45, 10.0, 0.05, trials=300)

    def loss(theta):
        p = theta[2] + (1 - 2 * theta[2]) / (1 + np.exp(-theta[1] * (morph - theta[0])))
        return -np.log(np.where(chose, p, 1 - p)).sum()

    best = minimize(loss, [0.5, 8.0, 0.03], bounds=[(0, 1), (-50, 50), (1e-6, 0.2)])
    fit = behaviour.fit_boundary(morph, chose, rng=rng, bootstrap=0)
    assert loss([fit.boundary, fit.slope, fit.lapse]) <= best.fun + 1e-4
    assert [fit.boundary, fit.slope] == pytest.approx(best.x[:2], rel=1e-2)
    assert np.isnan(fit.boundary_interval[0])


def test_percent_give_the_same_boundary_as_fractions():
    fits = [
        behaviour.fit_boundary(*_choices(np.random.default_rng(3), 0.5 * s, 12.0 / s, 0.0, scale=s), rng=rng, bootstrap=0)
        for s, rng in ((1.0, np.random.default_rng(0)), (100.0, np.random.default_rng(0)))
    ]
    assert fits[1].boundary == pytest.approx(100 * fits[0].boundary, rel=1e-3)
    assert fits[1].slope == pytest.approx(fits[0].slope / 100, rel=1e-3)


def test_boundaries_that_cannot_be_known_say_so():
    rng = np.random.default_rng(4)
    morph = np.repeat(MORPHS, 20)
    separable = behaviour.fit_boundary(morph, morph > 0.5, rng=rng, bootstrap=50)
    assert "slope" in separable.at_bound
    assert 0.4 < separable.boundary < 0.6
    nothing = behaviour.fit_boundary(morph, np.ones(120), rng=rng)
    assert json.loads(json.dumps(nothing.as_dict(), allow_nan=False))["boundary"] is None
    always = behaviour.fit_boundary(morph, rng.random(120) < 0.7 + 0.25 * morph, rng=rng, bootstrap=0)
    assert "boundary" in always.at_bound


def test_confusions_are_counted_by_answer_and_choice():
    answer, choice = ["a", "b", "b", "c", "b", "a"], ["a", "c", "b", "c", "break", "a"]
    matrix = behaviour.confusions(answer, choice)
    assert matrix.labels.tolist() == ["a", "b", "break", "c"]
    expected = Counter(zip(answer, choice, strict=True))
    for i, right in enumerate(matrix.labels):
        for j, chosen in enumerate(matrix.labels):
            assert matrix.counts[i, j] == expected[right, chosen]
    np.testing.assert_allclose(matrix.fractions[1], [0, 1 / 3, 1 / 3, 1 / 3])
    assert np.isnan(matrix.fractions[2]).all()
    assert json.loads(json.dumps(matrix.as_dict()))["counts"][0] == [2, 0, 0, 0]


def test_angles_differ_the_short_way_round():
    np.testing.assert_allclose(
        behaviour.angular_difference([10, 350, 180, 0, 725], [350, 10, 0, 180, 0]), [20, -20, 180, 180, 5]
    )


def test_angular_errors_are_those_of_the_definition():
    rng = np.random.default_rng(5)
    target = 45.0 * rng.integers(0, 8, 501)
    error = 12 * rng.standard_normal(501) + 5
    found = behaviour.angular_error(target + error + 360, target, rng=rng)
    assert found.median_absolute == pytest.approx(np.median(np.abs(error)))
    assert found.bias == pytest.approx(circmean(error, high=180, low=-180))
    radians = np.radians(error)
    assert found.concentration == pytest.approx(np.hypot(np.cos(radians).mean(), np.sin(radians).mean()))
    assert found.interval[0] < found.median_absolute < found.interval[1]
    assert found.trials == 501


def test_the_interval_of_the_median_covers_it():
    rng = np.random.default_rng(6)
    true = 10 * 0.6744897501960817  # the median of the absolute value of a Gaussian with a standard deviation of 10
    covered = 0
    for _ in range(200):
        found = behaviour.angular_error(10 * rng.standard_normal(80), np.zeros(80), rng=rng, bootstrap=200)
        covered += found.interval[0] < true < found.interval[1]
    # 95 % of 200, give or take four binomial standard deviations.
    assert 0.88 < covered / 200 <= 1.0


def test_guesses_have_no_direction():
    rng = np.random.default_rng(7)
    guesses = behaviour.angular_error(rng.uniform(0, 360, 4000), np.zeros(4000), rng=rng, bootstrap=0)
    assert guesses.median_absolute == pytest.approx(90, abs=4)
    assert guesses.concentration < 0.06
    opposite = behaviour.angular_error([0.0, 180.0], [0.0, 0.0], rng=rng, bootstrap=0)
    assert np.isnan(opposite.bias)
    assert opposite.as_dict()["bias"] is None
    assert opposite.as_dict()["interval"] is None


def test_one_trial_has_an_error_and_no_interval():
    found = behaviour.angular_error([20.0], [5.0], rng=np.random.default_rng(0))
    assert found.median_absolute == pytest.approx(15)
    assert np.isnan(found.interval).all()
    assert found.as_dict()["interval"] is None


def test_angular_errors_by_condition():
    rng = np.random.default_rng(8)
    delay, place = rng.choice([1500, 3000, 6000], 90), 45 * rng.integers(0, 2, 90)
    angle = place + rng.standard_normal(90) * delay / 500
    rows = behaviour.angular_error_table({"place": place, "delay": delay}, angle, place, rng=rng, bootstrap=20)
    assert [(row["place"], row["delay"]) for row in rows] == [(p, d) for p in (0, 45) for d in (1500, 3000, 6000)]
    for row in rows:
        own = (place == row["place"]) & (delay == row["delay"])
        assert row["trials"] == own.sum()
        assert row["median_absolute_error"] == pytest.approx(np.median(np.abs(angle - place)[own]))
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: behaviour.performance_table({}, [True]), "conditions has no columns"),
        (lambda: behaviour.performance_table({"n": [1, 2]}, [True]), "n has 2 trials but correct has 1"),
        (lambda: behaviour.performance_table({"n": [np.nan]}, [True]), "n holds 1 values that are not finite"),
        (lambda: behaviour.performance_table({"trials": [1]}, [True]), "column 'trials', which is a column of the result"),
        (lambda: behaviour.performance_table({"n": [1]}, [0.3]), "correct holds values other than False and True"),
        (lambda: behaviour.fit_boundary([0.1, 0.2], [True], rng=RNG), "chose_second has 1 trials but morph has 2"),
        (lambda: behaviour.confusions([1, 2], ["a", "b"]), "choice has type <U1 but answer int64; give numbers for both"),
        (lambda: behaviour.confusions([1, 2], [1]), "choice has 1 trials but answer has 2"),
        (lambda: behaviour.confusions([[1]], [1]), r"answer has shape \(1, 1\)"),
        (lambda: behaviour.angular_error([1.0, 2.0], [1.0], rng=RNG), "target has 1 trials but angle has 2"),
        (lambda: behaviour.angular_error([np.inf], [1.0], rng=RNG), "angle holds 1 values that are not finite"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
