import json
import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from cordstasks.analysis import fit_choices, fit_weibull
from cordstasks.errors import InputError

LEVELS = np.array([0.0, 0.032, 0.064, 0.128, 0.256, 0.512])


def _choices(rng, trials, slope, bias, lapse):
    signed = rng.choice(LEVELS, trials) * rng.choice([-1, 1], trials)
    return signed, rng.random(trials) < lapse + (1 - 2 * lapse) * expit(slope * signed + bias)


def _outcomes(rng, trials, threshold, slope, lapse):
    coherence = rng.choice(LEVELS, trials)
    return coherence, rng.random(trials) < 1 - lapse - (0.5 - lapse) * np.exp(-((coherence / threshold) ** slope))


@pytest.mark.parametrize(
    ("slope", "bias", "lapse"), [(6.0, 0.0, 0.0), (15.0, 0.6, 0.03), (40.0, -0.8, 0.1), (-12.0, 0.3, 0.05)]
)
def test_fit_choices_recovers_its_parameters(slope, bias, lapse):
    rng = np.random.default_rng(7)
    fit = fit_choices(*_choices(rng, 100_000, slope, bias, lapse), bootstrap=0, rng=rng)
    # About four standard errors at 100,000 trials.
    assert fit.slope == pytest.approx(slope, rel=0.06)
    assert fit.bias == pytest.approx(bias, abs=0.06)
    assert fit.lapse == pytest.approx(lapse, abs=0.005)
    assert fit.at_bound == ()


@pytest.mark.parametrize(("threshold", "slope", "lapse"), [(0.08, 1.3, 0.0), (0.15, 2.0, 0.04), (0.05, 0.9, 0.1)])
def test_fit_weibull_recovers_its_parameters(threshold, slope, lapse):
    rng = np.random.default_rng(8)
    fit = fit_weibull(*_outcomes(rng, 200_000, threshold, slope, lapse), bootstrap=0, rng=rng)
    assert fit.threshold == pytest.approx(threshold, rel=0.05)
    assert fit.slope == pytest.approx(slope, rel=0.08)
    assert fit.lapse == pytest.approx(lapse, abs=0.008)
    assert fit.predict(fit.threshold) == pytest.approx(1 - fit.lapse - (0.5 - fit.lapse) / math.e)


def _least_cost(cost, starts, bounds):
    return min(minimize(cost, start, bounds=bounds, method="L-BFGS-B").fun for start in starts)


def _cost(share, outcome):
    share = np.clip(share, 1e-9, 1 - 1e-9)
    return -np.log(np.where(outcome, share, 1 - share)).sum()


@pytest.mark.parametrize("seed", range(8))
def test_fits_reach_the_likelihood_of_a_general_optimiser(seed):
    rng = np.random.default_rng(seed)
    signed, right = _choices(rng, 300, rng.uniform(3, 50), rng.uniform(-1, 1), rng.uniform(0, 0.1))
    fit = fit_choices(signed, right, bootstrap=0, rng=rng)
    reference = _least_cost(
        lambda t: _cost(t[2] + (1 - 2 * t[2]) * expit(t[0] * signed + t[1]), right),
        [[start, 0, 0.02] for start in (3, 15, 60)],
        [(-312, 312), (-10, 10), (0, 0.2)],
    )
    assert _cost(fit.predict(signed), right) <= reference + 1e-6

    coherence, correct = _outcomes(rng, 300, rng.uniform(0.05, 0.3), rng.uniform(0.8, 3), rng.uniform(0, 0.1))
    weibull = fit_weibull(coherence, correct, bootstrap=0, rng=rng)
    reference = _least_cost(
        lambda t: _cost(1 - t[2] - (0.5 - t[2]) * np.exp(-((coherence / t[0]) ** t[1])), correct),
        [[start, 1.5, 0.02] for start in (0.05, 0.1, 0.3)],
        [(0.008, 1.024), (0.2, 10), (0, 0.2)],
    )
    assert _cost(weibull.predict(coherence), correct) <= reference + 1e-6


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    # 80 % intervals of 100 data sets: 0.66-0.92 is three and a half binomial standard errors on either side.
    rng = np.random.default_rng(10)
    covered = np.zeros(4)
    for _ in range(100):
        choices = fit_choices(*_choices(rng, 600, 15, 0.4, 0.03), bootstrap=100, rng=rng, confidence=0.8)
        weibull = fit_weibull(*_outcomes(rng, 600, 0.1, 1.4, 0.03), bootstrap=100, rng=rng, confidence=0.8)
        ends = [
            (choices.slope_interval, 15),
            (choices.bias_interval, 0.4),
            (weibull.threshold_interval, 0.1),
            (weibull.slope_interval, 1.4),
        ]
        covered += [low <= truth <= high for (low, high), truth in ends]
    assert ((covered / 100 > 0.66) & (covered / 100 < 0.92)).all(), covered


def test_the_bootstrap_agrees_with_resampling_the_trials_one_by_one():
    rng = np.random.default_rng(11)
    signed, right = _choices(rng, 500, 14, 0.2, 0.0)
    fast = fit_choices(signed, right, bootstrap=4000, rng=rng, lapse=False)
    slopes = []
    for _ in range(300):
        drawn = rng.integers(0, 500, 500)
        slopes.append(fit_choices(signed[drawn], right[drawn], bootstrap=0, rng=rng, lapse=False).slope)
    width = fast.slope_interval[1] - fast.slope_interval[0]
    # 300 resamples give each end of the interval to about a tenth of its width.
    assert np.quantile(slopes, [0.025, 0.975]) == pytest.approx(fast.slope_interval, abs=0.15 * width)


def test_separable_choices_give_a_bounded_slope_that_says_so():
    signed = np.repeat([-0.512, -0.064, 0.064, 0.512], 25)
    fit = fit_choices(signed, signed > 0, rng=np.random.default_rng(0), bootstrap=50)
    assert fit.slope == pytest.approx(10 / 0.128)
    assert fit.slope_interval == pytest.approx((fit.slope, fit.slope))
    assert fit.at_bound == ("slope",)
    assert fit.bias == pytest.approx(0, abs=1e-3)
    inverted = fit_choices(signed, signed < 0, rng=np.random.default_rng(0), bootstrap=0)
    assert inverted.slope == pytest.approx(-fit.slope)


def test_accuracy_at_its_ceiling_or_at_chance_bounds_the_threshold():
    rng = np.random.default_rng(12)
    coherence = rng.choice(LEVELS, 400)
    perfect = fit_weibull(coherence, coherence > 0, rng=rng, bootstrap=20)
    assert perfect.threshold == pytest.approx(0.032 / 4)
    assert "threshold" in perfect.at_bound
    wrong = fit_weibull(coherence, np.arange(400) % 5 == 0, rng=rng, bootstrap=20)
    assert wrong.threshold == pytest.approx(2 * 0.512)
    assert "threshold" in wrong.at_bound


def test_what_cannot_be_estimated_is_none():
    rng = np.random.default_rng(13)
    one_side = fit_choices(np.linspace(-0.5, 0.5, 30), np.ones(30, bool), rng=rng)
    one_level = fit_choices(np.full(30, 0.256), np.arange(30) % 3 == 0, rng=rng)
    one_strength = fit_weibull(np.repeat([0.0, 0.256], 15), np.arange(30) % 3 == 0, rng=rng)
    for fit in (one_side, one_level, one_strength):
        row = fit.as_dict()
        assert row.pop("trials") == 30
        assert row.pop("at_bound") == []
        assert len(row) == 6
        assert set(row.values()) == {None}
    assert np.isnan(one_level.predict([0.1])).all()


def test_fixed_parameters_stay_fixed_and_have_no_interval():
    rng = np.random.default_rng(14)
    fit = fit_choices(*_choices(rng, 500, 14, 0.5, 0.05), rng=rng, bootstrap=20, bias=False, lapse=False)
    assert (fit.bias, fit.lapse) == (0.0, 0.0)
    assert fit.as_dict()["bias_interval"] is None
    assert fit.as_dict()["lapse_interval"] is None
    assert fit.slope_interval[0] < fit.slope < fit.slope_interval[1]
    assert fit.predict(0.0) == pytest.approx(0.5)
    # A single strength of motion cannot tell a lapse from a shallow slope.
    few = fit_choices([-0.1] * 20 + [0.1] * 20, [1, 0, 0, 0] * 5 + [1, 1, 1, 0] * 5, rng=rng, bootstrap=5)
    assert few.lapse == 0.0
    assert few.slope == pytest.approx(math.log(3) / 0.1, rel=1e-4)
    assert few.as_dict()["lapse_interval"] is None
    # Two strengths determine threshold and slope exactly, and leave nothing for a lapse.
    two = fit_weibull([0.1] * 10 + [0.4] * 10, [1] * 7 + [0] * 3 + [1] * 9 + [0], rng=rng, bootstrap=5)
    assert two.as_dict()["lapse_interval"] is None
    assert two.predict([0.1, 0.4]) == pytest.approx([0.7, 0.9], abs=1e-5)


def test_results_are_json_and_repeat_with_the_seed():
    signed, right = _choices(np.random.default_rng(15), 200, 14, 0.2, 0.02)
    first, second = (fit_choices(signed, right, rng=np.random.default_rng(1), bootstrap=30) for _ in range(2))
    assert first == second
    row = first.as_dict()
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert row["slope_interval"] == list(first.slope_interval)
    weibull = fit_weibull(np.abs(signed), right, rng=np.random.default_rng(1), bootstrap=30).as_dict()
    assert json.loads(json.dumps(weibull, allow_nan=False)) == weibull


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: fit_choices([-51.2, 51.2], [0, 1], rng=rng), r"signed_coherence reaches 51\.2.*divide it by 100"),
        (lambda rng: fit_choices([-0.1, 0.1], [0], rng=rng), "chose_right has 1 trials but signed_coherence has 2"),
        (lambda rng: fit_choices([], [], rng=rng), r"signed_coherence has shape \(0,\)"),
        (lambda rng: fit_choices([0.1, np.nan], [0, 1], rng=rng), "signed_coherence holds 1 values that are not"),
        (lambda rng: fit_choices(["a"], [0], rng=rng), "signed_coherence must be an array of numbers"),
        (lambda rng: fit_choices([0.1, 0.2], [0, 2], rng=rng), "chose_right holds values other than"),
        (lambda rng: fit_choices([0.1, 0.2], [0, 1], rng=rng, bootstrap=-1), "bootstrap is -1; give a whole number"),
        (lambda rng: fit_weibull([-0.1, 0.1], [0, 1], rng=rng), "coherence reaches -0.1.*absolute value"),
        (lambda rng: fit_weibull([0.1, 0.2], [0, 1], rng=rng, confidence=0), "confidence is 0; give a number"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call(np.random.default_rng(0))
