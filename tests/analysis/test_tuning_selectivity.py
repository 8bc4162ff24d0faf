import json
from itertools import permutations as orders

import numpy as np
import pytest
from scipy.stats import f_oneway, false_discovery_control, kstest

from cordstasks.analysis import tuning
from cordstasks.errors import InputError

COLOURS = np.array(["red", "green", "blue"])


def _delayed(rng, *, trials=90, steps=30, units=11, tuned=4, onset=12, gain=1.5):
    """The first units tell colours apart from step `onset` on; time goes in steps of 10 ms from 5 ms."""
    colour = rng.choice(COLOURS, trials)
    effect = np.searchsorted(np.sort(COLOURS), colour) - 1.0
    activity = rng.standard_normal((trials, steps, units))
    activity[:, onset:, :tuned] += gain * effect[:, None, None]
    return activity, colour, 10.0 * np.arange(steps) + 5


def test_f_and_its_p_value_agree_with_scipy():
    activity, colour, _ = _delayed(np.random.default_rng(1), gain=0.3)
    responses = tuning.window_mean(activity)
    found = tuning.selectivity(responses, colour, rng=np.random.default_rng(2), permutations=0)
    expected = f_oneway(*(responses[colour == name] for name in COLOURS))
    np.testing.assert_allclose(found.f, expected.statistic, rtol=1e-9)
    np.testing.assert_allclose(found.p_value, expected.pvalue, rtol=1e-9)
    np.testing.assert_array_equal(found.selective, false_discovery_control(expected.pvalue) <= 0.05)


def test_permutation_p_values_are_those_of_all_orders():
    rng = np.random.default_rng(3)
    group = np.array([0, 0, 1, 1, 2, 2, 2])
    responses = rng.standard_normal((7, 3)) + [[0.0, 1.0, 2.0]] * group[:, None]
    found = tuning.selectivity(responses, group, rng=rng, permutations=20_000)
    for unit in range(3):
        y = responses[:, unit]
        f = np.array([f_oneway(*(y[list(order)][group == i] for i in range(3))).statistic for order in orders(range(7))])
        exact = (f >= found.f[unit] * (1 - 1e-9)).mean()
        # Five standard errors of a share from 20,000 draws, and the draw that is added to it.
        assert found.p_value[unit] == pytest.approx(exact, abs=5 * np.sqrt(exact * (1 - exact) / 20_000) + 1e-4)


def test_permutation_p_values_of_skewed_noise_are_uniform():
    rng = np.random.default_rng(4)
    found = tuning.selectivity(rng.gamma(0.3, 1.0, (40, 600)), np.resize([1, 2, 3, 4], 40), rng=rng, permutations=499)
    assert kstest(found.p_value, "uniform").pvalue > 0.01
    assert found.selective.sum() <= 2
    assert abs(found.omega_squared.mean()) < 0.01
    assert found.eta_squared.mean() == pytest.approx(3 / 39, abs=0.01)


def test_selective_units_are_found_and_silent_ones_are_not():
    activity, colour, _ = _delayed(np.random.default_rng(5))
    activity[..., -1] = 0.7
    responses = tuning.window_mean(activity)
    before = responses.copy()
    found = tuning.selectivity(responses, colour, rng=np.random.default_rng(6), permutations=300)
    assert found.selective[:4].all()
    assert found.selective[4:].sum() <= 1
    assert (found.f[-1], found.eta_squared[-1], found.p_value[-1]) == (0.0, 0.0, 1.0)
    assert found.fraction == found.selective.sum() / 11
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["selective"] == found.selective.sum()
    np.testing.assert_array_equal(responses, before)


def test_windows_slide_over_time():
    activity, colour, times = _delayed(np.random.default_rng(7))
    found = tuning.selectivity_over_time(
        activity, colour, time_ms=times, width_ms=40, step_ms=20, permutations=0, rng=np.random.default_rng(8)
    )
    starts = range(0, 27, 2)
    np.testing.assert_array_equal(found.windows, [[10 * i + 5, 10 * i + 35] for i in starts])
    np.testing.assert_array_equal(found.time_ms, [10 * i + 20 for i in starts])
    for row, start in enumerate(starts):
        parts = activity[:, start : start + 4].mean(axis=1)
        expected = f_oneway(*(parts[colour == name] for name in COLOURS))
        np.testing.assert_allclose(found.f[row], expected.statistic, rtol=1e-9)
        np.testing.assert_allclose(found.p_value[row], expected.pvalue, rtol=1e-9)
    adjusted = false_discovery_control(found.p_value.ravel()).reshape(found.p_value.shape)
    np.testing.assert_array_equal(found.selective, adjusted <= 0.05)


def test_selectivity_starts_when_the_effect_does():
    activity, colour, times = _delayed(np.random.default_rng(9), gain=3.0)
    found = tuning.selectivity_over_time(
        activity, colour, time_ms=times, width_ms=30, step_ms=10, permutations=200, rng=np.random.default_rng(10)
    )
    # The effect begins with the step at 125 ms, which enters the windows with middles from 115 ms on.
    assert set(found.latency_ms()[:4]) <= {115.0, 125.0}
    assert np.isnan(found.latency_ms()[4:]).all()
    assert found.fraction[:10].max() <= 1 / 11
    assert found.fraction[-1] >= 4 / 11
    assert np.isnan(found.latency_ms(consecutive=99)).all()


def test_the_same_seed_gives_the_same_p_values():
    activity, colour, times = _delayed(np.random.default_rng(11), gain=0.3)
    first, second, third = (
        tuning.selectivity_over_time(activity, colour, time_ms=times, permutations=50, rng=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.p_value, second.p_value)
    assert (first.p_value != third.p_value).any()


def _over_time(**changes):
    activity, colour, times = _delayed(np.random.default_rng(0))
    arguments = {"time_ms": times, "rng": np.random.default_rng(0), "permutations": 0, **changes}
    return tuning.selectivity_over_time(arguments.pop("activity", activity), colour, **arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time_ms": np.arange(29.0)}, "time_ms has 29 steps but activity has 30"),
        ({"time_ms": np.arange(30.0) ** 2}, "time_ms goes in steps of 1 to 57 ms; give equal steps"),
        ({"width_ms": 310}, "width_ms is 310, longer than the 300 ms recorded"),
        ({"step_ms": 0}, "step_ms is 0; give a time in ms above 0"),
        ({"permutations": -1}, "permutations is -1"),
        ({"false_discovery": 5}, "false_discovery is 5; give a number between 0 and 1"),
        ({"activity": np.zeros((90, 30))}, r"activity has shape \(90, 30\)"),
        ({"activity": np.full((90, 30, 2), np.nan)}, "activity holds values that are not finite"),
        ({"activity": np.zeros((4, 30, 2))}, "condition has 90 trials but activity has 4"),
    ],
)
def test_bad_input_is_named(changes, message):
    with pytest.raises(InputError, match=message):
        _over_time(**changes)


def test_a_condition_needs_two_trials():
    with pytest.raises(InputError, match="condition b has 1 trials; give 2 or more of each value"):
        tuning.selectivity(np.ones((3, 2)), ["a", "a", "b"], rng=np.random.default_rng())
