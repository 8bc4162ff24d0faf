import itertools
import json
import math

import numpy as np
import pytest

from cordstasks.analysis import accuracy_by_condition, chance_p_value, spearman, wilson_interval
from cordstasks.analysis.statistics import difference_of_proportions
from cordstasks.errors import InputError


@pytest.mark.parametrize(
    ("correct", "trials", "low", "high"),
    # Newcombe (1998, Stat. Med. 17:857), table I, method 3: four decimals.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_has_the_published_values(correct, trials, low, high):
    assert wilson_interval(correct, trials) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_solves_the_score_equation():
    # Its ends are the p at which |k/n - p| is z standard errors of p.
    correct, trials = np.array([[3], [11]]), np.array([12, 40, 100])
    for end in wilson_interval(correct, trials, confidence=0.9):
        z = np.abs(correct / trials - end) / np.sqrt(end * (1 - end) / trials)
        np.testing.assert_allclose(z, 1.6448536269514722, rtol=1e-9)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [((56, 70, 48, 80), 0.0524, 0.3339), ((9, 10, 3, 10), 0.1705, 0.8090), ((5, 56, 0, 29), -0.0381, 0.1926)],
)
def test_difference_of_proportions_has_the_published_intervals(counts, low, high):
    """Newcombe 1998, table II, method 10."""
    difference, interval = difference_of_proportions(*counts)
    assert difference == pytest.approx(counts[0] / counts[1] - counts[2] / counts[3])
    assert interval == pytest.approx((low, high), abs=5e-5)
    opposite, other = difference_of_proportions(*counts[2:], *counts[:2])
    assert (opposite, other) == (pytest.approx(-difference), pytest.approx((-interval[1], -interval[0])))


def test_wilson_interval_at_the_edges():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(7, 7)[1] == 1.0
    assert wilson_interval(0, 7)[0] == 0.0
    for correct in range(8):
        low, high = wilson_interval(correct, 7)
        assert low <= correct / 7 <= high


def test_accuracy_by_condition_counts_each_value():
    coherence = np.array([0.128, 0.0, 0.128, 0.512, 0.128])
    correct = np.array([True, False, True, True, False])
    rows = accuracy_by_condition(coherence, correct)
    assert [(row["value"], row["trials"], row["accuracy"]) for row in rows] == [
        (0.0, 1, 0.0),
        (0.128, 3, pytest.approx(2 / 3)),
        (0.512, 1, 1.0),
    ]
    assert rows[1]["interval"] == pytest.approx(list(wilson_interval(2, 3)))
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert type(rows[0]["value"]) is float


def test_accuracy_by_condition_takes_names_and_whole_numbers():
    rows = accuracy_by_condition(["same", "other", "same"], [1, 0, 0])
    assert [(row["value"], row["accuracy"]) for row in rows] == [("other", 0.0), ("same", 0.5)]
    assert type(accuracy_by_condition([3, 4], [True, True])[0]["value"]) is int


def test_chance_p_value_is_the_sum_of_binomial_terms():
    for correct, trials, chance in itertools.product((0, 1, 9, 13), (13, 20), (0.5, 0.25)):
        terms = [math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(correct, trials + 1)]
        assert chance_p_value(correct, trials, chance=chance) == pytest.approx(sum(terms), rel=1e-10)


def test_spearman_is_the_correlation_of_ranks_and_none_where_undefined():
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 6, 40), rng.integers(0, 9, 40)
    ranks = [[(z < value).sum() + ((z == value).sum() + 1) / 2 for value in z] for z in (x, y)]
    assert spearman(x, y) == pytest.approx(np.corrcoef(ranks)[0, 1], abs=1e-12)
    assert spearman([1, 2, 3], [0.5, 0.6, 0.9]) == pytest.approx(1.0)
    assert spearman([1, 2, 3], [1, 1, 1]) is None
    assert spearman([1], [1]) is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wilson_interval(5, 4), "correct is 5 of trials 4; give whole numbers"),
        (lambda: wilson_interval([1, 2.5], 4), r"correct is \[1, 2\.5\] of trials 4; give whole numbers"),
        (lambda: difference_of_proportions(1, 4, 0, 0), "trials are 4 and 0; give at least one of each"),
        (lambda: difference_of_proportions(5, 4, 1, 2), "correct is 5 of trials 4; give whole numbers"),
        (lambda: wilson_interval(1, 4, confidence=95), "confidence is 95; give a number between 0 and 1"),
        (lambda: chance_p_value(5, 4), "correct is 5 of trials 4"),
        (lambda: chance_p_value(3, 4, chance=1.0), "chance is 1.0"),
        (lambda: accuracy_by_condition([0.1, 0.2], [True]), "correct has 1 trials but condition has 2"),
        (lambda: accuracy_by_condition([0.1], [0.7]), r"correct holds values other than False and True, such as 0\.7"),
        (lambda: accuracy_by_condition([math.nan], [1]), "condition holds 1 values that are not finite"),
        (lambda: accuracy_by_condition([["a"], ["b"]], [1, 0]), r"condition has shape \(2, 1\)"),
        (lambda: spearman([1, 2], [1, 2, 3]), "y has 3 trials but x has 2"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
