"""Fits of choices, accuracy, boundaries and tuning, for conditions of any kind: a few, one for each trial, nearly equal."""

import numpy as np
import pytest
from scipy.special import expit, xlogy
from sklearn.linear_model import LogisticRegression

from cordstasks.analysis import fit_choices, fit_weibull, tuning
from cordstasks.analysis.psychophysics.behaviour import fit_boundary
from cordstasks.analysis.psychophysics.levels import distinct, resolution

LEVELS = np.array([0.0, 0.032, 0.064, 0.128, 0.256, 0.512])


def _few(rng, trials):
    return rng.choice(LEVELS, trials) * rng.choice([-1, 1], trials)


DESIGNS = {
    "few": _few,
    "continuous": lambda rng, trials: rng.uniform(-1, 1, trials),
    "staircase": lambda rng, trials: np.append(rng.uniform(-0.01, 0.01, trials - 9), rng.choice([-1.0, 1.0], 9)),
    "nearly equal": lambda rng, trials: _few(rng, trials) + rng.normal(0, 1e-9, trials),
    "jittered": lambda rng, trials: _few(rng, trials) + rng.normal(0, 1e-4, trials),
    "one side": lambda rng, trials: rng.uniform(0.3, 0.5, trials),
    "two": lambda rng, trials: rng.choice([-0.1, 0.3], trials),
    "three": lambda rng, trials: rng.choice([-0.1, 0.1, 0.3], trials),
}


def _likelihood(fit, coherence, right):
    share = np.clip(fit.predict(coherence), 1e-300, 1 - 1e-16)
    return np.log(np.where(right, share, 1 - share)).sum()


def test_continuous_coherences_give_the_true_slope():
    covered = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        coherence = rng.uniform(-1, 1, 500)
        right = rng.random(500) < expit(8 * coherence)
        fit = fit_choices(coherence, right, rng=rng, bootstrap=0, lapse=False)
        assert fit.slope == pytest.approx(8, rel=0.35)  # four standard errors
        assert fit.at_bound == ()
        if seed < 8:
            low, high = fit_choices(coherence, right, rng=rng, bootstrap=60, lapse=False).slope_interval
            assert high < 16
            covered.append(low < 8 < high)
    assert sum(covered) >= 5


@pytest.mark.parametrize("design", DESIGNS)
def test_fits_of_choices_agree_with_logistic_regression(design):
    # An independent reference for slopes from very shallow to very steep. Its coefficients come from standardised levels.
    checked = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        coherence = DESIGNS[design](rng, int(rng.choice([40, 150, 600])))
        slope = rng.choice([-1, 1]) * 10 ** rng.uniform(-1, 3)
        right = rng.random(len(coherence)) < expit(slope * (coherence - rng.choice(coherence)))
        if right.all() or not right.any():
            continue
        plain = fit_choices(coherence, right, rng=rng, bootstrap=0, lapse=False)
        lapsing = fit_choices(coherence, right, rng=rng, bootstrap=0)
        share = right.mean()
        null = len(right) * (xlogy(share, share) + xlogy(1 - share, 1 - share))
        reached = _likelihood(plain, coherence, right)
        assert reached >= null - 1e-6
        # A parameter more never fits worse, but where the slope ends at its bound for both.
        assert _likelihood(lapsing, coherence, right) >= reached - 1e-6
        if plain.at_bound:
            continue
        checked += 1
        centre, scale = coherence.mean(), coherence.std()
        reference = LogisticRegression(C=1e12, tol=1e-10, max_iter=10_000).fit((coherence - centre)[:, None] / scale, right)
        assert plain.slope == pytest.approx(reference.coef_[0, 0] / scale, rel=5e-3, abs=1e-3)
        assert plain.bias == pytest.approx(
            reference.intercept_[0] - reference.coef_[0, 0] * centre / scale, rel=5e-3, abs=1e-2
        )
    assert checked >= 2


def test_nearly_equal_coherences_are_one():
    rng = np.random.default_rng(0)
    coherence, noise = _few(rng, 300), rng.normal(0, 1e-9, 300)
    right = rng.random(300) < expit(12 * coherence)
    exact, near = (fit_choices(c, right, rng=np.random.default_rng(1), bootstrap=30) for c in (coherence, coherence + noise))
    assert near.slope == pytest.approx(exact.slope, rel=1e-4)
    assert near.slope_interval == pytest.approx(exact.slope_interval, rel=1e-3)
    strength = np.abs(coherence)
    correct = rng.random(300) < 1 - 0.5 * np.exp(-strength / 0.1)
    accuracies = [
        fit_weibull(np.abs(c), correct, rng=np.random.default_rng(1), bootstrap=30) for c in (strength, strength + noise)
    ]
    assert accuracies[1].threshold == pytest.approx(accuracies[0].threshold, rel=1e-4)
    boundaries = [fit_boundary(c, right, rng=np.random.default_rng(1), bootstrap=30) for c in (coherence, coherence + noise)]
    assert boundaries[1].boundary == pytest.approx(boundaries[0].boundary, abs=1e-5)
    # Two levels, or two strengths, that rounding has parted are one, from which nothing can be estimated.
    split = 0.3 + 1e-9 * rng.integers(0, 2, 300)
    assert np.isnan(fit_choices(split, right, rng=rng).slope)
    assert np.isnan(fit_weibull(split, right, rng=rng).threshold)
    assert np.isnan(fit_boundary(split, right, rng=rng).boundary)
    # A level a billionth of the unit is a level where all are so small.
    small = fit_boundary(1e-10 * coherence, right, rng=rng, bootstrap=0)
    assert small.slope == pytest.approx(1e10 * boundaries[0].slope, rel=1e-3)


@pytest.mark.parametrize("design", ["few", "continuous", "staircase", "jittered", "one side", "two"])
def test_separable_choices_say_how_steep_they_are_at_least(design):
    rng = np.random.default_rng(3)
    coherence = DESIGNS[design](rng, 200)
    right = coherence > (0.4 if design == "one side" else 0.01 if design == "two" else 1e-3)
    gap = coherence[right].min() - coherence[~right].max()
    for sign in (1, -1):
        fit = fit_choices(sign * coherence, right, rng=rng, bootstrap=20)
        assert fit.at_bound == ("slope",)
        assert 0 < sign * fit.slope <= 10.001 / gap
        if design in ("few", "two", "jittered"):
            assert sign * fit.slope == pytest.approx(10 / gap, rel=1e-6)
        assert np.isfinite(fit.slope_interval).all()
        boundary = fit_boundary(sign * coherence, right, rng=rng, bootstrap=0)
        assert boundary.at_bound == ("slope",)
        assert coherence[~right].max() <= sign * boundary.boundary <= coherence[right].min()


def test_a_sudden_change_with_lapses_is_at_the_bound_too():
    # Errors far from the change leave the slope without an upper end, although choices are not separable.
    rng = np.random.default_rng(4)
    coherence = rng.choice([-0.5, -0.3, -0.1, 0.1, 0.3, 0.5], 600) + rng.normal(0, 1e-4, 600)
    right = (coherence > 0) ^ (rng.random(600) < 0.1)
    fit = fit_choices(coherence, right, rng=rng, bootstrap=20)
    assert fit.at_bound == ("slope",)
    assert fit.slope == pytest.approx(10 / 0.2, rel=0.01)
    assert fit.lapse == pytest.approx(0.1, abs=0.04)
    assert fit.slope_interval[1] == pytest.approx(fit.slope)


def test_choices_may_change_far_from_zero():
    rng = np.random.default_rng(5)
    coherence = rng.uniform(0.1, 0.9, 4000)
    right = rng.random(4000) < expit(120 * (coherence - 0.6))
    fit = fit_choices(coherence, right, rng=rng, bootstrap=0)
    assert -fit.bias / fit.slope == pytest.approx(0.6, abs=0.005)
    assert fit.slope == pytest.approx(120, rel=0.25)
    assert fit.at_bound == ()
    # Without a bias, choices at positive coherences only are explained by a change at 0.
    shallow = rng.random(4000) < expit(3 * coherence)
    assert fit_choices(coherence, shallow, rng=rng, bootstrap=0, bias=False, lapse=False).slope == pytest.approx(3, rel=0.15)


def test_condensed_resamples_give_the_interval_of_all_levels(monkeypatch):
    rng = np.random.default_rng(6)
    coherence = rng.uniform(-1, 1, 900)
    right = rng.random(900) < expit(25 * coherence + 2)
    ends = []
    for most in (400, 10_000):
        monkeypatch.setattr("cordstasks.analysis.statistics.likelihood._MOST", most)
        fit = fit_choices(coherence, right, rng=np.random.default_rng(0), bootstrap=150, lapse=False)
        ends.append((*fit.slope_interval, *fit.bias_interval))
    # Both are of 150 resamples, drawn differently.
    assert ends[0] == pytest.approx(ends[1], rel=0.15)


@pytest.mark.parametrize("most", [0.05, 0.6, 1.0])
def test_continuous_strengths_give_the_true_threshold(most):
    rng = np.random.default_rng(7)
    strength = rng.uniform(0, most, 4000)
    strength[0] = 1e-9  # as good as none, and no reason for a threshold of nearly nothing
    true = most / 5
    correct = rng.random(4000) < 1 - 0.5 * np.exp(-((strength / true) ** 1.3))
    fit = fit_weibull(strength, correct, rng=rng, bootstrap=60, lapse=False)
    assert fit.threshold == pytest.approx(true, rel=0.15)
    assert fit.slope == pytest.approx(1.3, rel=0.2)
    assert fit.threshold_interval[0] < fit.threshold < fit.threshold_interval[1]
    assert fit.at_bound == ()


def test_a_boundary_that_explains_less_than_nothing_is_no_fit():
    rng = np.random.default_rng(8)
    morph = rng.uniform(0, 1, 400)
    flat = fit_boundary(morph, rng.random(400) < 0.33, rng=rng, bootstrap=20)
    assert np.isnan([flat.boundary, flat.slope, *flat.boundary_interval]).all()
    assert flat.at_bound == ("boundary",)
    assert flat.as_dict()["boundary"] is None
    for seed, (boundary, slope) in enumerate([(0.5, 12.0), (0.3, -20.0), (0.8, 150.0)]):
        rng = np.random.default_rng(seed)
        place = 100 * rng.uniform(0, 1, 800)
        chose = rng.random(800) < expit(slope * (place / 100 - boundary))
        fit = fit_boundary(place, chose, rng=rng, bootstrap=40)
        assert fit.boundary == pytest.approx(100 * boundary, abs=4)
        assert fit.boundary_interval[0] <= fit.boundary <= fit.boundary_interval[1]
        assert 0.4 < fit.slope / (slope / 100) < 3
        assert "boundary" not in fit.at_bound


@pytest.mark.parametrize(
    ("name", "span"), [("continuous", 10.0), ("nearly equal", 10.0), ("an outlier", 10.0), ("small", 1e-8)]
)
def test_tuning_widths_follow_any_conditions(name, span):
    rng = np.random.default_rng(9)
    x = {
        "continuous": rng.uniform(0, span, 400),
        "nearly equal": rng.integers(1, 9, 400) + rng.normal(0, 1e-9, 400),
        "an outlier": np.append(rng.integers(1, 9, 395), np.full(5, 1000.0)),
        "small": rng.uniform(0, span, 400),
    }[name]
    centre, width = span * rng.uniform(0.3, 0.5, 20), span * rng.uniform(0.05, 0.15, 20)
    responses = 2 + 3 * np.exp(-((x[:, None] - centre) ** 2) / (2 * width**2)) + 0.2 * rng.standard_normal((400, 20))
    fit = tuning.fit_gaussian(responses, x)
    np.testing.assert_allclose(fit.centre, centre, atol=0.02 * span)
    np.testing.assert_allclose(fit.width, width, rtol=0.25)
    assert not fit.at_bound.any()


@pytest.mark.parametrize("name", ["continuous", "nearly equal", "one millionth apart", "an arc"])
def test_tuning_to_any_angles(name):
    rng = np.random.default_rng(10)
    eight = 45.0 * rng.integers(0, 8, 400)
    angle = {
        "continuous": rng.uniform(0, 360, 400),
        "nearly equal": eight + rng.normal(0, 1e-9, 400),
        "one millionth apart": np.append(eight[:395], np.full(5, 45 + 1e-5)),
        "an arc": rng.uniform(0, 40, 400),
    }[name]
    centre = rng.uniform(10, 30, 20) if name == "an arc" else rng.uniform(0, 360, 20)
    kappa = np.exp(rng.uniform(3, 5, 20) if name == "an arc" else rng.uniform(-0.5, 1.5, 20))
    responses = 1 + 2 * np.exp(kappa * (np.cos(np.radians(angle[:, None] - centre)) - 1))
    fit = tuning.fit_von_mises(responses + 0.05 * rng.standard_normal((400, 20)), angle)
    away = np.mod(fit.centre - centre + 180, 360) - 180
    np.testing.assert_allclose(away, 0, atol=4)
    np.testing.assert_allclose(fit.kappa, kappa, rtol=0.3)


def test_levels_are_joined_by_their_distance_alone():
    levels, group = distinct(np.array([0.3, 0.1 + 0.2, 0.5, 0.3 + 1e-9, -0.5]))
    assert len(levels) == 3
    assert group.tolist() == [1, 1, 2, 1, 0]
    np.testing.assert_allclose(levels, [-0.5, 0.3, 0.5])
    # A chain of values, each near the next, is not one level.
    chain = np.arange(1000) * 5e-7
    chain[-1] = 1.0
    assert len(distinct(chain)[0]) > 300
    assert resolution(np.array([0.0, 1.0, 3.0]), np.array([20.0, 20.0, 20.0])) == 1.0
    assert resolution(np.array([0.0, 1.0]), np.array([1.0, 1.0])) == 1.0
    even = np.linspace(0, 1, 201)
    even[100] = even[99] + 1e-5  # one close pair does not matter
    assert resolution(even, np.ones(201)) == pytest.approx(0.025, rel=0.25)


@pytest.mark.parametrize("seed", [36, 70, 84, 88, 92, 101])  # of the first five, resamples once had singular Newton steps
def test_a_few_trials_never_stop_a_fit(seed):
    rng = np.random.default_rng(seed)
    trials = int(rng.choice([4, 8, 15, 30, 60]))
    shown = rng.choice([0, 0.0, 0.256, 1.0, 0.5], trials) * rng.choice([-1, 1], trials)
    coherence = shown if seed % 2 else rng.uniform(-1, 1, trials)
    right = rng.random(trials) < 0.5 + 0.5 * np.tanh(rng.choice([0, 0.2, 3, 50]) * coherence)
    for options in ({}, {"bias": False}, {"lapse": False}):
        fit = fit_choices(coherence, right, rng=rng, bootstrap=200, **options)
        assert np.isfinite(fit.slope) == np.isfinite(fit.slope_interval).all()
    fit_weibull(np.abs(coherence), right, rng=rng, bootstrap=200)
    fit_boundary(coherence, right, rng=rng, bootstrap=200)
