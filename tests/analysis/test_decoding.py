import json

import numpy as np
import pytest

from cordstasks.analysis import Decoding, decode, wilson_interval
from cordstasks.errors import InputError

PLACES = 45 * np.arange(8)


def _bumps(rng, place, units=40, noise=0.5):
    tuned = np.exp(2 * (np.cos(np.radians(place[:, None] - np.linspace(0, 360, units, endpoint=False))) - 1))
    return tuned + noise * rng.standard_normal((len(place), units))


def test_places_are_read_out_of_tuned_units():
    rng = np.random.default_rng(0)
    place = rng.choice(PLACES, 200)
    activity = _bumps(rng, place)
    before = activity.copy()
    found = decode(activity, place, rng=rng, permutations=15)
    assert isinstance(found, Decoding)
    assert found.accuracy > 0.8
    assert found.accuracy == (found.predicted == place).mean()
    assert found.interval == wilson_interval(int((found.predicted == place).sum()), 200)
    assert found.p_value == pytest.approx(1 / 16)
    assert found.chance == pytest.approx(1 / 8, abs=0.03)
    assert found.chance_interval[0] < found.chance < found.chance_interval[1] < found.interval[0]
    assert json.loads(json.dumps(found.as_dict()))["accuracy"] == found.accuracy
    np.testing.assert_array_equal(activity, before)


def test_numbers_along_one_dimension_do_not_mask_one_another():
    rng = np.random.default_rng(1)
    number = rng.integers(1, 6, 300)
    activity = number[:, None] * [1.0, -2.0, 0.0] + 0.2 * rng.standard_normal((300, 3))
    assert decode(activity, number, rng=rng, permutations=1).accuracy > 0.97


def test_noise_is_at_chance_and_its_p_values_are_not_small():
    rng = np.random.default_rng(2)
    p, accuracy, chance = [], [], []
    for _ in range(16):
        label = rng.choice(["left", "right", "up"], 45, p=[0.5, 0.25, 0.25])
        found = decode(rng.standard_normal((45, 60)), label, rng=rng, permutations=9, folds=3)
        p.append(found.p_value)
        accuracy.append(found.accuracy)
        chance.append(found.chance)
    # The mean of 16 p values that are uniform has a standard error of 0.07, about 0.55 with so few permutations.
    assert 0.25 < np.mean(p) < 0.85
    # That of 16 accuracies of 45 trials, 0.02.
    assert np.mean(accuracy) == pytest.approx(np.mean(chance), abs=0.08)


def test_repeated_trials_are_known_again_unless_they_are_kept_together():
    rng = np.random.default_rng(3)
    picture = np.repeat(np.arange(20), 5)
    label = picture % 2
    activity = rng.standard_normal((20, 100))[picture]  # nothing of the label, the same in every showing
    fooled = decode(activity, label, rng=rng, permutations=19)
    assert fooled.accuracy > 0.9
    kept = decode(activity, label, rng=rng, permutations=19, groups=picture)
    assert kept.accuracy < 0.75
    assert kept.p_value > 0.05


def test_a_trace_is_read_out_unless_there_is_noise():
    rng = np.random.default_rng(4)
    place = np.resize(PLACES, 160)
    trace = 5.0 + 1e-4 * _bumps(rng, place, noise=0.01)
    assert decode(trace, place, rng=rng, permutations=1).accuracy > 0.95
    noisy = decode(trace, place, rng=rng, permutations=1, noise=0.01)
    # Chance, give or take four standard deviations of 160 trials.
    assert noisy.accuracy == pytest.approx(1 / 8, abs=0.1)
    # What differs by rounding only is nothing to go by, noise or not.
    rounding = 5.0 + 1e-9 * _bumps(rng, place, noise=0.0)
    found = decode(rounding, place, rng=rng, permutations=19)
    assert found.accuracy == pytest.approx(1 / 8, abs=0.05)
    assert found.p_value > 0.05


def test_the_same_seed_gives_the_same_answers():
    place = np.resize(PLACES, 80)
    activity = _bumps(np.random.default_rng(5), place, noise=1.5)
    first, second = (decode(activity, place, rng=np.random.default_rng(6), permutations=5, noise=0.1) for _ in range(2))
    np.testing.assert_array_equal(first.predicted, second.predicted)
    assert first.as_dict() == second.as_dict()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [1, 2] * 11}, "labels has 22 trials but activity has 20"),
        ({"labels": [1] * 18 + [2] * 2}, "labels 2 has 2 trials; give 5 or more of each value"),
        ({"groups": np.resize([0, 0, 1], 20)}, "groups has 0 under two labels"),
        ({"groups": np.resize([0, 1, 2, 3], 20)}, "labels 1 has 2 groups for 5 folds"),
        ({"labels": [1] * 18 + [2] * 2, "folds": 2}, "labels 2 has one trial in the folds that a fit is made from"),
        ({"folds": 1}, "folds is 1; give a whole number of at least 2"),
        ({"permutations": 0}, "permutations is 0"),
        ({"noise": -1}, "noise is -1; give a standard deviation of 0 or more"),
        ({"activity": np.ones(20)}, r"activity has shape \(20,\)"),
        ({"activity": np.full((20, 2), np.nan)}, "activity holds 40 values that are not finite"),
    ],
)
def test_bad_input_is_named(changes, message):
    arguments = {"activity": np.ones((20, 2)), "labels": [1, 2] * 10, **changes}
    with pytest.raises(InputError, match=message):
        decode(**arguments, rng=np.random.default_rng())
