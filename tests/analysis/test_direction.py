import itertools
import json

import numpy as np
import pytest
from scipy.stats import f_oneway, kstest

from cordstasks.analysis import benjamini_hochberg, direction_tuning
from cordstasks.errors import InputError

LEVELS = np.array([0.0, 0.064, 0.256, 0.512])


def _trials(rng, trials, directions=(0.0, 180.0)):
    return rng.choice(directions, trials), rng.choice(LEVELS, trials)


def _planted(rng, *, trials=240, steps=7, units=30, gain=3.0):
    """Units 0-9 prefer 0 deg, 10-19 prefer 180 deg, with a difference of 2 * gain * coherence; the rest are noise."""
    direction, coherence = _trials(rng, trials)
    sign = np.where(direction == 0, 1.0, -1.0)
    weight = np.concatenate([np.full(10, gain), np.full(10, -gain), np.zeros(units - 20)])
    mean = 2.0 + sign[:, None] * coherence[:, None] * weight
    return mean[:, None] + rng.standard_normal((trials, steps, units)), direction, coherence


def _rejected(p, rate):
    """Benjamini & Hochberg's rule as they state it: reject the k smallest for the largest k with p(k) <= k rate / m."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    largest = max((k for k in range(1, len(p) + 1) if p[order[k - 1]] <= k * rate / len(p)), default=0)
    return {order[i] for i in range(largest)}


def test_benjamini_hochberg_rejects_by_the_definition():
    rng = np.random.default_rng(0)
    for size in (1, 4, 23):
        p = np.round(rng.random(size) ** 2, 3)  # rounded, so that some are tied
        adjusted = benjamini_hochberg(p)
        for rate in (0.013, 0.052, 0.21, 0.9):
            assert set(np.flatnonzero(adjusted <= rate)) == _rejected(p.tolist(), rate)
    assert benjamini_hochberg([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.04, 0.04])
    assert len(benjamini_hochberg([])) == 0


def test_planted_tuning_is_found_with_its_preference():
    rng = np.random.default_rng(1)
    activity, direction, coherence = _planted(rng)
    before = activity.copy()
    tuning = direction_tuning(activity, direction, coherence, rng=rng)
    assert (tuning.preferred[:20] == [0.0] * 10 + [180.0] * 10).all()
    assert tuning.tuned[:20].all()
    assert tuning.p_value[:20].max() < 0.005
    assert tuning.tuned[20:].sum() <= 2
    assert tuning.fraction == tuning.tuned.mean()
    assert tuning.fraction_interval[0] < 20 / 30 < tuning.fraction_interval[1]
    assert set(tuning.clearest(5)) <= set(range(20))
    assert (np.diff(tuning.selectivity[tuning.clearest(99)]) <= 0).all()
    np.testing.assert_array_equal(activity, before)


def test_p_values_of_noise_are_uniform():
    rng = np.random.default_rng(2)
    direction, coherence = _trials(rng, 90, (0.0, 120.0, 240.0))
    tuning = direction_tuning(rng.standard_normal((90, 3, 600)), direction, coherence, rng=rng)
    assert kstest(tuning.p_value, "uniform").pvalue > 0.01
    assert tuning.tuned.sum() <= 3


def test_p_values_agree_with_every_permutation_written_out():
    rng = np.random.default_rng(3)
    direction = np.array([0.0, 180.0] * 4)
    responses = rng.standard_normal((8, 5)) + 0.8 * (direction == 0)[:, None]
    coherence = np.full(8, 0.256)
    tuning = direction_tuning(responses[:, None], direction, coherence, permutations=20_000, rng=rng)
    observed = np.abs(responses[::2].mean(axis=0) - responses[1::2].mean(axis=0))
    splits = list(itertools.combinations(range(8), 4))
    extreme = np.zeros(5)
    for first in splits:
        rest = [i for i in range(8) if i not in first]
        extreme += np.abs(responses[list(first)].mean(axis=0) - responses[rest].mean(axis=0)) >= observed - 1e-12
    # Four standard errors of a fraction of 20,000 draws.
    np.testing.assert_allclose(tuning.p_value, extreme / len(splits), atol=4 * np.sqrt(0.25 / 20_000))


def test_an_effect_of_coherence_is_no_tuning():
    # Directions are unbalanced over coherences, so whoever ignores coherence finds a strong effect of direction.
    rng = np.random.default_rng(4)
    coherence = np.repeat([0.064, 0.512], 60)
    direction = np.where(np.arange(120) % 60 < np.where(coherence > 0.1, 50, 10), 0.0, 180.0)
    responses = 10 * coherence[:, None] + rng.standard_normal((120, 200))
    naive = responses[direction == 0].mean(axis=0) - responses[direction == 180].mean(axis=0)
    assert naive.min() > 1
    tuning = direction_tuning(responses[:, None], direction, coherence, rng=rng)
    assert kstest(tuning.p_value, "uniform").pvalue > 0.01
    assert 0.35 < (tuning.preferred == 0).mean() < 0.65
    assert tuning.selectivity.mean() < 0.3


def test_p_values_of_three_unequal_directions_are_those_of_the_variance_ratio():
    rng = np.random.default_rng(14)
    direction = np.repeat([0.0, 90.0, 180.0], [4, 6, 20])
    responses = rng.standard_normal((30, 12)) + 0.3 * (direction == 0)[:, None]
    tuning = direction_tuning(responses[:, None], direction, np.full(30, 0.256), permutations=5000, rng=rng)

    def ratio(order):
        return f_oneway(*(responses[order][direction == angle] for angle in (0.0, 90.0, 180.0))).statistic

    observed = ratio(np.arange(30))
    reference = np.mean([ratio(rng.permutation(30)) >= observed for _ in range(1500)], axis=0)
    # Four standard errors of the difference of two fractions.
    np.testing.assert_allclose(tuning.p_value, reference, atol=4 * np.sqrt(0.25 / 1500 + 0.25 / 5000))


def test_selectivity_is_the_sensitivity_that_was_planted():
    rng = np.random.default_rng(5)
    direction, coherence = _trials(rng, 4000)
    responses = 5 * coherence[:, None] + rng.standard_normal((4000, 6))
    responses[:, :4] += np.where(direction == 180, 1.5, 0.0)[:, None]
    responses *= np.array([1, 1e-3, 50, 7, 1, 1])  # d' has no unit
    tuning = direction_tuning(responses[:, None], direction, coherence, permutations=20, rng=rng)
    # The standard error of d' is about 2 / sqrt(3000).
    np.testing.assert_allclose(tuning.selectivity[:4], 1.5, atol=0.15)
    assert (tuning.selectivity[4:] < 0.15).all()


def test_difference_follows_its_definition_fold_by_fold():
    rng = np.random.default_rng(6)
    directions = (0.0, 90.0, 225.0)
    direction, coherence = _trials(rng, 150, directions)
    activity = rng.standard_normal((150, 4, 40)) + (direction == 90)[:, None, None] * coherence[:, None, None]
    tuning = direction_tuning(activity, direction, coherence, permutations=10, rng=rng)
    responses = activity.mean(axis=1)
    for unit in range(40):
        expected = np.zeros(4)
        for half in (tuning.first_half, ~tuning.first_half):
            centred = responses[:, unit].copy()
            for level in LEVELS:
                centred[half & (coherence == level)] -= centred[half & (coherence == level)].mean()
            best = max(directions, key=lambda a: centred[half & (coherence > 0) & (direction == a)].mean())
            if half is tuning.first_half:
                assert tuning.preferred_first[unit] == best
            for i, level in enumerate(LEVELS):
                cell = ~half & (coherence == level)
                means = {a: responses[cell & (direction == a), unit].mean() for a in directions}
                expected[i] += 0.5 * (means.pop(best) - np.mean(list(means.values())))
        np.testing.assert_allclose(tuning.difference[unit], expected, atol=1e-12)
        assert tuning.coherence_slope[unit] == pytest.approx(np.polyfit(LEVELS, expected, 1)[0], abs=1e-9)
    assert abs(tuning.first_half.sum() - 75) <= 1


def test_each_half_holds_each_direction():
    # One trial of each direction and coherence: alternating over coherences would give each half one direction only.
    coherence, direction = np.repeat([0.032, 0.064, 0.128, 0.256, 0.512], 2), np.tile([0.0, 180.0], 5)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        tuning = direction_tuning(rng.random((10, 2, 3)), direction, coherence, permutations=5, rng=rng)
        counts = [tuning.first_half[direction == angle].sum() for angle in (0.0, 180.0)]
        assert set(counts) <= {2, 3}
        assert np.isfinite(tuning.preferred_first).all()


def test_cross_validated_difference_is_flat_for_noise():
    rng = np.random.default_rng(7)
    direction, coherence = _trials(rng, 200)
    noise = rng.standard_normal((200, 2, 800))
    tuning = direction_tuning(noise, direction, coherence, permutations=20, rng=rng)
    mean, error = tuning.population_difference()
    assert (np.abs(mean) < 4 * error).all()
    slope_error = tuning.coherence_slope.std() / np.sqrt(800)
    assert abs(tuning.coherence_slope.mean()) < 4 * slope_error
    # Preference and difference from the same trials would have shown a difference here.
    responses, moving = noise.mean(axis=1), coherence > 0
    biased = np.abs(responses[moving & (direction == 0)].mean(axis=0) - responses[moving & (direction == 180)].mean(axis=0))
    assert biased.mean() > 6 * error.max()


def test_cross_validated_difference_rises_as_planted():
    rng = np.random.default_rng(8)
    activity, direction, coherence = _planted(rng, trials=400)
    tuning = direction_tuning(activity, direction, coherence, permutations=50, rng=rng)
    # Trials have a standard deviation of 1 / sqrt(7); 50 a cell and 20 units leave errors of about 0.03.
    np.testing.assert_allclose(tuning.difference[:20].mean(axis=0), 6 * LEVELS, atol=0.1)
    assert tuning.coherence_slope[:20].mean() == pytest.approx(6, abs=0.3)
    assert tuning.as_dict()["coherence_slope"] > 0


def test_only_the_window_counts():
    rng = np.random.default_rng(9)
    activity, direction, coherence = _planted(rng, gain=0.0)
    activity[direction == 180, 5:, 3] += 4
    late = np.arange(7) >= 5
    for window, tuned in ((slice(5, None), True), (late, True), (slice(0, 5), False), (~late, False)):
        tuning = direction_tuning(activity, direction, coherence, window=window, rng=np.random.default_rng(1))
        assert tuning.tuned[3] == tuned


def test_units_that_never_vary_are_neither_tuned_nor_a_warning():
    rng = np.random.default_rng(10)
    activity, direction, coherence = _planted(rng)
    activity = activity.astype(np.float32)
    activity[:, :, [2, 25]] = np.float32(0.1)
    activity[:, :, 26] = 0
    tuning = direction_tuning(activity, direction, coherence, rng=rng)
    still = [2, 25, 26]
    assert (~tuning.varies).nonzero()[0].tolist() == still
    assert not tuning.tuned[still].any()
    assert (tuning.p_value[still] == 1).all()
    assert np.isnan(tuning.preferred[still]).all()
    assert (tuning.selectivity[still] == 0).all()
    assert (tuning.difference[still] == 0).all()
    assert tuning.tuned[[0, 1, 3, 4]].all()
    silent = direction_tuning(np.zeros((240, 7, 4)), direction, coherence, rng=rng)
    assert silent.fraction == 0
    assert len(silent.clearest(3)) == 0
    row = silent.as_dict()
    assert (row["varying"], row["tuned"], row["median_selectivity_of_tuned"]) == (0, 0, None)
    assert row["coherence_slope"] is None


def test_a_coherence_without_one_of_the_directions_is_unknown():
    rng = np.random.default_rng(11)
    activity, direction, coherence = _planted(rng)
    direction[coherence == LEVELS[1]] = 0.0
    tuning = direction_tuning(activity, direction, coherence, permutations=20, rng=rng)
    assert np.isnan(tuning.difference[:, 1]).all()
    assert np.isfinite(tuning.difference[:, [0, 2, 3]]).all()
    assert np.isfinite(tuning.coherence_slope).all()
    assert tuning.as_dict()["difference_by_coherence"][1]["difference"] is None


def test_results_are_json_and_repeat_with_the_seed():
    activity, direction, coherence = _planted(np.random.default_rng(12))
    first, second = (
        direction_tuning(activity, direction - 360, coherence, permutations=300, rng=np.random.default_rng(1))
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.p_value, second.p_value)
    np.testing.assert_array_equal(first.difference, second.difference)
    row = first.as_dict()
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert [entry["direction"] for entry in row["tuned_by_preferred_direction"]] == [0.0, 180.0]
    assert sum(entry["units"] for entry in row["tuned_by_preferred_direction"]) == row["tuned"]


GOOD = np.arange(12 * 3 * 2, dtype=float).reshape(12, 3, 2)
ANGLES = np.tile([0.0, 180.0], 6)
STRENGTHS = np.full(12, 0.256)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((GOOD[0], ANGLES, STRENGTHS), {}, r"activity has shape \(3, 2\)"),
        ((GOOD, ANGLES[:5], STRENGTHS), {}, "direction has 5 trials but activity has 12"),
        ((GOOD, ANGLES, STRENGTHS[:5]), {}, "coherence has 5 trials but activity has 12"),
        ((GOOD, ANGLES, -STRENGTHS), {}, "coherence reaches -0.256.*absolute value"),
        ((GOOD, ANGLES, 100 * STRENGTHS), {}, "coherence reaches 25.6.*divide it by 100"),
        ((GOOD, 0 * ANGLES, STRENGTHS), {}, r"direction has too few trials with moving dots \(0 deg: 12\)"),
        ((GOOD, ANGLES, 0 * STRENGTHS), {}, r"too few trials with moving dots \(0 deg: 0, 180 deg: 0\)"),
        ((GOOD * np.nan, ANGLES, STRENGTHS), {}, "activity holds values that are not finite"),
        ((GOOD, ANGLES, STRENGTHS), {"window": slice(3, 3)}, "holds none of the 3 time steps"),
        ((GOOD, ANGLES, STRENGTHS), {"window": np.ones(4, bool)}, r"window has shape \(4,\)"),
        ((GOOD, ANGLES, STRENGTHS), {"permutations": 0}, "permutations is 0"),
        ((GOOD, ANGLES, STRENGTHS), {"false_discovery": 5}, "false_discovery is 5"),
    ],
)
def test_bad_input_is_named(arguments, options, message):
    with pytest.raises(InputError, match=message):
        direction_tuning(*arguments, rng=np.random.default_rng(0), **options)


def test_p_values_outside_their_range_are_refused():
    with pytest.raises(InputError, match="values outside"):
        benjamini_hochberg([0.5, 1.5])
