import numpy as np
import pytest
from scipy.stats import f_oneway, sem

from cordstasks.analysis import tuning
from cordstasks.analysis.statistics.anova import one_way
from cordstasks.errors import InputError

NUMBERS = np.arange(1.0, 6.0)


def _numerosity(rng, *, trials=200, tuned=20, noise=7, steps=6, width=1.0, gain=2.0):
    """Units with Gaussian tuning to number in turn, then units of noise, then one that is silent."""
    number = rng.choice(NUMBERS, trials)
    preferred = np.concatenate([np.resize(NUMBERS, tuned), np.full(noise + 1, np.nan)])
    bump = gain * np.exp(-((number[:, None] - preferred) ** 2) / (2 * width**2))
    activity = 1 + np.nan_to_num(bump)[:, None] + rng.standard_normal((trials, steps, tuned + noise + 1))
    activity[..., -1] = 0.0
    return activity, number, preferred


def test_window_mean_takes_a_window_of_each_trial_s_own():
    activity = np.arange(3 * 5 * 2, dtype=np.float64).reshape(3, 5, 2)
    window = np.array([[0, 1, 1, 0, 0], [0, 0, 0, 1, 0], [1, 1, 1, 1, 1]], dtype=bool)
    expected = [activity[0, 1:3].mean(0), activity[1, 3], activity[2].mean(0)]
    np.testing.assert_allclose(tuning.window_mean(activity, window), expected)
    outside = activity.copy()
    outside[1, 4] = np.nan  # beyond the window
    np.testing.assert_allclose(tuning.window_mean(outside, window), expected)
    window[1] = False
    with pytest.raises(InputError, match="window holds no time step of trial 1"):
        tuning.window_mean(activity, window)
    with pytest.raises(InputError, match=r"give a slice, \(5,\) booleans, or \(3, 5\) booleans"):
        tuning.window_mean(activity, np.ones((5, 3), dtype=bool))


def test_window_mean_takes_slices_and_masks():
    activity = np.arange(24.0).reshape(2, 4, 3)
    expected = (activity[:, 1] + activity[:, 2]) / 2
    np.testing.assert_allclose(tuning.window_mean(activity, slice(1, 3)), expected)
    np.testing.assert_allclose(tuning.window_mean(activity, np.array([False, True, True, False])), expected)


def test_curves_are_means_and_standard_errors_by_condition():
    rng = np.random.default_rng(0)
    responses, colour = rng.gamma(2.0, 3.0, (31, 4)), rng.choice(["red", "green", "blue"], 31)
    before = responses.copy()
    curves = tuning.tuning_curves(responses, colour)
    assert curves.values.tolist() == ["blue", "green", "red"]
    for i, name in enumerate(curves.values):
        part = responses[colour == name]
        assert curves.trials[i] == len(part)
        np.testing.assert_allclose(curves.mean[i], part.mean(axis=0))
        np.testing.assert_allclose(curves.standard_error[i], sem(part, axis=0))
        assert (curves.preferred == i).sum() == (curves.mean.argmax(axis=0) == i).sum()
    np.testing.assert_array_equal(responses, before)


def test_preferences_are_found_and_silent_units_have_none():
    activity, number, preferred = _numerosity(np.random.default_rng(1))
    curves = tuning.tuning_curves(tuning.window_mean(activity), number)
    np.testing.assert_array_equal(NUMBERS[curves.preferred[:20]], preferred[:20])
    assert curves.preferred[-1] == -1
    assert not curves.varies[-1]
    assert curves.units_by_preference(np.arange(28) < 20) == [{"value": n, "units": 4} for n in NUMBERS]
    assert sum(row["units"] for row in curves.units_by_preference()) == 27


def test_a_condition_of_one_trial_has_no_standard_error():
    curves = tuning.tuning_curves([[1.0], [3.0], [5.0]], [1, 1, 2])
    assert curves.standard_error[0, 0] == pytest.approx(1.0)
    assert np.isnan(curves.standard_error[1, 0])


def test_one_way_agrees_with_scipy_for_unequal_groups():
    rng = np.random.default_rng(2)
    group = rng.choice(4, 57, p=[0.1, 0.2, 0.3, 0.4])
    rates = 1e6 + rng.standard_normal((57, 3)) + 0.4 * group[:, None]
    found = one_way(rates, group)
    parts = [rates[group == i] for i in range(4)]
    expected = f_oneway(*parts)
    np.testing.assert_allclose(found.f, expected.statistic, rtol=1e-7)
    np.testing.assert_allclose(found.p_value, expected.pvalue, rtol=1e-7)
    between = sum(len(part) * (part.mean(axis=0) - rates.mean(axis=0)) ** 2 for part in parts)
    total = ((rates - rates.mean(axis=0)) ** 2).sum(axis=0)
    error = (total - between) / (57 - 4)
    np.testing.assert_allclose(found.eta_squared, between / total, rtol=1e-7)
    np.testing.assert_allclose(found.omega_squared, (between - 3 * error) / (total + error), rtol=1e-7)


def test_one_way_of_still_and_of_perfectly_explained_units():
    group = np.repeat([0, 1, 2], 4)
    found = one_way(np.stack([np.full(12, 0.3), group * 0.7], axis=1), group)
    assert found.f.tolist() == [0.0, np.inf]
    assert found.p_value.tolist() == [1.0, 0.0]
    np.testing.assert_allclose(found.eta_squared, [0.0, 1.0], atol=1e-12)


def test_each_way_prefers_by_one_half_and_measures_in_the_other():
    activity, number, _ = _numerosity(np.random.default_rng(3), trials=61)
    responses = tuning.window_mean(activity)
    curves = tuning.cross_validated_curves(responses, number, rng=np.random.default_rng(4))
    for way, half in enumerate((curves.first_half, ~curves.first_half)):
        own = tuning.tuning_curves(responses[half], number[half])
        other = tuning.tuning_curves(responses[~half], number[~half])
        np.testing.assert_array_equal(curves.preferred[way], own.preferred)
        np.testing.assert_allclose(curves.mean[way], other.mean)
        np.testing.assert_allclose(curves.standard_error[way], other.standard_error)
        np.testing.assert_array_equal(curves.trials[way], other.trials)
        np.testing.assert_allclose(curves.p_value[way], one_way(responses[half], number[half].astype(int)).p_value)
    assert np.abs(np.diff(curves.trials, axis=0)).max() <= 1
    assert curves.agreement == (curves.preferred[0] == curves.preferred[1])[:-1].mean()


@pytest.mark.parametrize("false_discovery", [None, 0.5])
def test_white_noise_is_flat_only_with_cross_validation(false_discovery):
    rng = np.random.default_rng(5)
    number, responses = rng.choice(NUMBERS, 60), rng.standard_normal((60, 4000))
    curves = tuning.cross_validated_curves(responses, number, rng=rng)
    aligned = tuning.align(curves, fold=True, false_discovery=false_discovery)
    assert aligned.units.min() > (1000 if false_discovery is None else 0)
    assert aligned.population_mean[0] == 0
    # Units are independent here, so the error over units is right: four of them are a generous bound.
    error = np.nan_to_num(aligned.population_standard_error, nan=1.0)
    assert (np.abs(aligned.population_mean) <= 4 * error).all()
    if false_discovery is None:
        assert error.max() < 0.02
    # The same noise with preferences from the same trials seems tuned, by a third of a standard deviation.
    naive = tuning.tuning_curves(responses, number)
    peak = naive.mean.max(axis=0) - naive.mean.mean(axis=0)
    assert (peak / responses.std(axis=0)).mean() > 0.3


def test_tuned_units_fall_with_distance_and_their_shape_is_right():
    activity, number, _ = _numerosity(np.random.default_rng(6), trials=4000, noise=0, steps=2, width=1.5)
    responses = tuning.window_mean(activity)
    curves = tuning.cross_validated_curves(responses, number, rng=np.random.default_rng(7))
    assert curves.agreement == 1.0
    for preferred in NUMBERS:
        aligned = tuning.align(curves, preferred=preferred)
        assert aligned.falls
        np.testing.assert_array_equal(aligned.offsets, NUMBERS - preferred)
        assert aligned.units.tolist() == [4] * 5
        shape = 2 * np.exp(-((NUMBERS - preferred) ** 2) / (2 * 1.5**2))
        spread = np.sqrt(0.5 + shape.var())
        # Twenty thousandths of a standard deviation: 800 trials a condition and four units.
        np.testing.assert_allclose(aligned.population_mean, (shape - shape.max()) / spread, atol=0.08)
    folded = tuning.align(curves, fold=True)
    assert folded.offsets.tolist() == [0, 1, 2, 3, 4]
    assert folded.units.tolist() == [20, 20, 20, 16, 8]
    assert folded.falls
    assert folded.as_dict()["units"] == 20
    upside_down = tuning.cross_validated_curves(-responses, number, rng=np.random.default_rng(7))
    assert not tuning.align(upside_down, preferred=1.0, fold=True).falls


def test_angles_are_aligned_around_the_circle():
    rng = np.random.default_rng(8)
    places = 45.0 * np.arange(8)
    place = rng.choice(places, 600)
    best = places[np.arange(16) % 8]
    response = np.exp(2 * (np.cos(np.radians(place[:, None] - best)) - 1)) + 0.1 * rng.standard_normal((600, 16))
    curves = tuning.cross_validated_curves(response, place, rng=rng)
    aligned = tuning.align(curves, period=360)
    assert aligned.offsets.tolist() == [-135, -90, -45, 0, 45, 90, 135, 180]
    assert aligned.units.tolist() == [16] * 8
    np.testing.assert_allclose(aligned.population_mean[:3], aligned.population_mean[6:3:-1], atol=0.1)
    assert aligned.population_mean.argmax() == 3
    assert aligned.population_mean.argmin() in (0, 6, 7)


def test_units_are_chosen_by_the_half_of_their_preference():
    activity, number, _ = _numerosity(np.random.default_rng(9), noise=200)
    curves = tuning.cross_validated_curves(tuning.window_mean(activity), number, rng=np.random.default_rng(10))
    chosen = tuning.align(curves).chosen
    assert chosen[:, :20].all()
    assert chosen[:, 20:].mean() < 0.03
    everyone = tuning.align(curves, false_discovery=None).chosen
    assert everyone[:, :-1].all()
    assert not everyone[:, -1].any()


def test_pictures_stay_in_one_half_and_are_not_taken_for_tuning():
    rng = np.random.default_rng(11)
    picture = np.repeat(np.arange(20), 6)
    number = NUMBERS[picture % 5]
    # A unit answers to each picture by itself, the same in every trial: four pictures a number, no effect of number.
    responses = rng.standard_normal((20, 3000))[picture]
    split = tuning.cross_validated_curves(responses, number, rng=rng, groups=picture)
    for shown in range(20):
        assert len(np.unique(split.first_half[picture == shown])) == 1
    held_out = tuning.align(split, fold=True, false_discovery=None).population_mean
    assert np.abs(held_out).max() < 0.08
    mixed = tuning.cross_validated_curves(responses, number, rng=rng)
    assert tuning.align(mixed, fold=True, false_discovery=None).population_mean[1:].max() < -0.3


NUMBER = np.resize(NUMBERS, 25)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: tuning.tuning_curves(r[0], NUMBER), r"responses has shape \(3,\); give an array \(trial, unit\)"),
        (lambda r: tuning.tuning_curves(r, NUMBER[1:]), "condition has 24 trials but responses has 25"),
        (lambda r: tuning.tuning_curves(r, np.ones(25)), "condition is 1.0 in all trials; give trials of two"),
        (lambda r: tuning.tuning_curves(np.log(r - 1), NUMBER), "responses holds 75 values that are not finite"),
        (lambda r: tuning.tuning_curves(r, np.full((25, 2), "a")), r"condition has shape \(25, 2\) and type <U1"),
        (
            lambda r: tuning.cross_validated_curves(r[:15], NUMBER[:15], rng=np.random.default_rng()),
            "condition 1.0 has 3 trials; give 4 or more of each value",
        ),
        (
            lambda r: tuning.cross_validated_curves(r, NUMBER, rng=np.random.default_rng(), groups=np.arange(25) // 5),
            "groups has 0 in two conditions",
        ),
        (
            lambda r: tuning.cross_validated_curves(r, NUMBER, rng=np.random.default_rng(), groups=NUMBER),
            "condition 1.0 has one group of trials; halves",
        ),
        (lambda r: tuning.window_mean(r), r"activity has shape \(25, 3\)"),
        (lambda r: tuning.window_mean(r[:, None], np.zeros(1, bool)), "holds none of the 1 time steps"),
    ],
)
def test_bad_input_is_named(call, message):
    with np.errstate(divide="ignore"), pytest.raises(InputError, match=message):
        call(np.ones((25, 3)))


def test_align_names_what_is_wrong():
    activity, number, _ = _numerosity(np.random.default_rng(12))
    responses = tuning.window_mean(activity)
    curves = tuning.cross_validated_curves(responses, number, rng=np.random.default_rng(0))
    with pytest.raises(InputError, match=r"preferred is 7; give one of the conditions: 1, 2, 3, 4, 5"):
        tuning.align(curves, preferred=7)
    with pytest.raises(InputError, match="period is 4, but the conditions span 4; give 360"):
        tuning.align(curves, period=4)
    named = tuning.cross_validated_curves(responses, np.where(number > 2, "many", "few"), rng=np.random.default_rng(0))
    with pytest.raises(InputError, match="condition has names such as 'few'; this needs numbers"):
        tuning.align(named)
