import numpy as np
import pytest
from scipy.optimize import curve_fit

from cordstasks.analysis import tuning
from cordstasks.errors import InputError

NUMBERS = np.arange(1.0, 8.0)
ANGLES = 45.0 * np.arange(8)


def _gaussian(x, centre, width, amplitude, baseline):
    return baseline + amplitude * np.exp(-((x - centre) ** 2) / (2 * width**2))


def _von_mises(degrees, centre, log_kappa, amplitude, baseline):
    kappa = np.exp(log_kappa)
    bump = np.exp(kappa * (np.cos(np.radians(degrees - centre)) - 1))
    return baseline + amplitude * (bump - np.exp(-2 * kappa)) / (1 - np.exp(-2 * kappa))


def _units(rng, curve, x, truth, noise):
    """Responses (trial, unit) at `x` (trial,) of units with the parameters `truth` (unit, 4)."""
    return np.stack([curve(x, *row) for row in truth], axis=1) + noise * rng.standard_normal((len(x), len(truth)))


def _truth(rng, units, low, high):
    return rng.uniform(low, high, (units, 4))


@pytest.mark.parametrize("logarithmic", [False, True])
def test_gaussians_without_noise_are_recovered(logarithmic):
    rng = np.random.default_rng(0)
    number = np.repeat(NUMBERS, [2, 3, 1, 2, 4, 2, 1])
    truth = _truth(rng, 40, [1.5, 0.5, 0.5, -3.0], [6.5, 2.0, 50.0, 3.0])
    if logarithmic:
        truth[:, 0] = np.log2(truth[:, 0])
        truth[:, 1] /= 2
    axis = np.log2(number) if logarithmic else number
    found = tuning.fit_gaussian(_units(rng, _gaussian, axis, truth, 0.0), number, logarithmic=logarithmic)
    centre = 2 ** truth[:, 0] if logarithmic else truth[:, 0]
    np.testing.assert_allclose(found.centre, centre, rtol=1e-4)
    np.testing.assert_allclose(found.width, truth[:, 1], rtol=1e-3)
    np.testing.assert_allclose(found.amplitude, truth[:, 2], rtol=1e-3)
    np.testing.assert_allclose(found.baseline, truth[:, 3], atol=1e-2)
    np.testing.assert_allclose(found.r_squared, 1, atol=1e-6)
    assert not found.at_bound.any()
    assert found.centre_error.max() < 1e-3
    np.testing.assert_allclose(found.predict(NUMBERS), _units(rng, _gaussian, np.unique(axis), truth, 0.0), atol=1e-3)


def test_von_mises_curves_without_noise_are_recovered():
    rng = np.random.default_rng(1)
    angle = np.repeat(ANGLES, [2, 3, 1, 2, 4, 2, 1, 1])
    truth = _truth(rng, 40, [0.0, np.log(0.3), 0.5, -3.0], [360.0, np.log(10.0), 50.0, 3.0])
    found = tuning.fit_von_mises(_units(rng, _von_mises, angle, truth, 0.0), angle - 360)
    away = np.mod(found.centre - truth[:, 0] + 180, 360) - 180
    np.testing.assert_allclose(away, 0, atol=1e-2)
    np.testing.assert_allclose(found.kappa, np.exp(truth[:, 1]), rtol=1e-3)
    np.testing.assert_allclose(found.amplitude, truth[:, 2], rtol=1e-3)
    np.testing.assert_allclose(found.baseline, truth[:, 3], atol=1e-2)
    assert ((found.centre >= 0) & (found.centre < 360)).all()
    for unit in range(40):
        # Half way down, by the definition.
        height = found.baseline[unit] + found.amplitude[unit] / 2
        there = _von_mises(found.centre[unit] + found.half_width[unit], *truth[unit])
        assert there == pytest.approx(height, abs=1e-3 * found.amplitude[unit])
    np.testing.assert_allclose(found.predict(ANGLES), _units(rng, _von_mises, ANGLES, truth, 0.0), atol=1e-2)


def test_fits_and_errors_agree_with_scipy():
    rng = np.random.default_rng(2)
    number = rng.choice(NUMBERS, 150)
    truth = _truth(rng, 12, [2.0, 0.6, 2.0, -1.0], [6.0, 1.5, 4.0, 1.0])
    responses = _units(rng, _gaussian, number, truth, 0.5)
    found = tuning.fit_gaussian(responses, number)
    assert not found.at_bound.any()
    means = np.stack([responses[number == value].mean(axis=0) for value in NUMBERS])
    freedom = len(number) - len(NUMBERS)
    scatter = np.sqrt(
        sum(((responses[number == v] - m) ** 2).sum(axis=0) for v, m in zip(NUMBERS, means, strict=True)) / freedom
    )
    trials = np.array([(number == value).sum() for value in NUMBERS])
    for unit in range(12):
        sigma = scatter[unit] / np.sqrt(trials)
        best, covariance = curve_fit(
            _gaussian, NUMBERS, means[:, unit], p0=truth[unit], sigma=sigma, absolute_sigma=True, maxfev=5000
        )
        ours = [found.centre, found.width, found.amplitude, found.baseline]
        errors = [found.centre_error, found.width_error, found.amplitude_error, found.baseline_error]
        np.testing.assert_allclose([part[unit] for part in ours], [best[0], abs(best[1]), *best[2:]], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose([part[unit] for part in errors], np.sqrt(np.diag(covariance)), rtol=1e-2)
        # Against the shape of the fit: the fraction of variance between conditions.
        left = (trials * (means[:, unit] - _gaussian(NUMBERS, *best)) ** 2).sum()
        all_of_it = (trials * (means[:, unit] - responses[:, unit].mean()) ** 2).sum()
        assert found.r_squared[unit] == pytest.approx(1 - left / all_of_it, abs=1e-5)


def test_standard_errors_cover_the_truth():
    rng = np.random.default_rng(3)
    angle = rng.choice(ANGLES, 320)
    truth = np.tile([350.0, np.log(3.0), 2.0, 1.0], (600, 1))
    found = tuning.fit_von_mises(_units(rng, _von_mises, angle, truth, 0.7), angle)
    away = np.mod(found.centre - 350 + 180, 360) - 180
    width = tuning.fit_von_mises(_units(rng, _von_mises, angle, truth[:1], 0.0), angle).half_width[0]
    for deviation, error in ((away, found.centre_error), (found.half_width - width, found.half_width_error)):
        # 95 % of 600, give or take four binomial standard deviations.
        assert 0.91 < (np.abs(deviation) < 1.96 * error).mean() < 0.99


def test_tuning_that_is_symmetric_on_a_logarithmic_axis_fits_better_there():
    rng = np.random.default_rng(4)
    number = rng.choice(NUMBERS, 400)
    truth = np.column_stack([np.log2(rng.uniform(2, 5, 30)), np.full(30, 0.5), np.full(30, 3.0), np.zeros(30)])
    responses = _units(rng, _gaussian, np.log2(number), truth, 0.2)
    linear, logarithmic = (tuning.fit_gaussian(responses, number, logarithmic=log) for log in (False, True))
    assert (logarithmic.r_squared > linear.r_squared).mean() > 0.9


def test_units_that_rise_to_an_end_and_still_units_say_so():
    number = np.repeat(NUMBERS, 3)
    rising = np.exp(0.3 * number)
    found = tuning.fit_gaussian(np.stack([rising, np.full(21, 2.0), 1 / rising], axis=1), number)
    assert found.at_bound.tolist() == [True, False, True]
    assert found.centre[0] == 7
    assert found.centre[2] == 1
    assert np.isnan(found.centre_error[0])
    assert np.isnan(found.width[1])
    assert np.isnan(found.r_squared[1])
    assert (found.amplitude[[0, 2]] > 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: tuning.fit_gaussian(r, np.resize([1, 2, 3, 4], 21)), "condition has 4 different values; a curve of four"),
        (lambda r: tuning.fit_von_mises(r, np.resize([0, 90, 180, 270, 360], 21)), "angle has 4 different values"),
        (lambda r: tuning.fit_gaussian(r, np.arange(21), logarithmic=True), "condition reaches 0, which has no logarithm"),
        (lambda r: tuning.fit_gaussian(r, np.resize(list("abcde"), 21)), "condition has names such as 'a'"),
        (lambda r: tuning.fit_gaussian(r, np.arange(20)), "condition has 20 trials but responses has 21"),
        (lambda r: tuning.fit_von_mises(r, np.full(21, np.inf)), "angle holds 21 values that are not finite"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call(np.random.default_rng(0).standard_normal((21, 2)))


@pytest.mark.parametrize("fit", [tuning.fit_gaussian, tuning.fit_von_mises])
def test_units_without_variance_to_explain(fit):
    rng = np.random.default_rng(4)
    angle = np.repeat(ANGLES, 3)
    same_means, tiny = np.tile([0.0, 1.0, 2.0], 8), 1e-200 * rng.random(24)
    tuned = np.cos(np.radians(angle)) + 0.1 * rng.standard_normal(24)
    found = fit(np.column_stack([same_means, tiny, np.full(24, 2.0), tuned]), angle)  # without a warning
    assert np.isnan(found.r_squared[:3]).all()
    assert 0 < found.r_squared[3] <= 1
