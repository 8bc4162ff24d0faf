"""Representational similarity against brute force and SciPy."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

from cordstasks.analysis.rsa import (
    compare_dissimilarities,
    crossvalidated_dissimilarities,
    dissimilarities,
    noise_ceiling,
    rank_correlation,
    to_rsatoolbox,
)
from cordstasks.errors import InputError


def _activity(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(3.0, 1.0, size=(7, 4, 11))


class TestDissimilarities:
    @pytest.mark.parametrize(("metric", "scale"), [("correlation", 1.0), ("euclidean", 11**-0.5)])
    def test_they_are_those_of_scipy_at_each_time(self, metric: str, scale: float):
        activity = _activity()
        found = dissimilarities(activity, metric=metric)
        for time in range(4):
            np.testing.assert_allclose(found[time], scale * pdist(activity[:, time], metric), rtol=1e-10)

    def test_crossvalidated_ones_are_products_of_different_repeats(self):
        rng = np.random.default_rng(1)
        rates, stimulus = rng.normal(size=(12, 2, 5)), np.array(list("bacd" * 3))
        found = crossvalidated_dissimilarities(rates, stimulus)
        expected = []
        for one, other in combinations("abcd", 2):
            a, b = rates[stimulus == one], rates[stimulus == other]
            products = [(a[i, 1] - b[i, 1]) @ (a[j, 1] - b[j, 1]) / 5 for i in range(3) for j in range(3) if i != j]
            expected.append(np.mean(products))
        np.testing.assert_allclose(found[1], expected, atol=1e-12)
        far = crossvalidated_dissimilarities(rates + 1e6, stimulus)  # raw values of a camera, for example
        np.testing.assert_allclose(far[1], expected, atol=1e-8)

    def test_crossvalidated_ones_of_noise_are_zero_on_average_and_euclidean_ones_are_not(self):
        rates = np.random.default_rng(2).normal(size=(80, 1, 30))
        stimulus = np.tile(np.arange(20), 4)
        assert abs(crossvalidated_dissimilarities(rates, stimulus).mean()) < 0.1
        assert dissimilarities(rates[:20], metric="euclidean").mean() > 1

    def test_bad_input_is_refused(self):
        flat = _activity()
        flat[2, 3] = 0.5
        with pytest.raises(InputError, match="stimulus 2 at time 3 has the same response in all units"):
            dissimilarities(flat)
        with pytest.raises(InputError, match="metric 'cosine' is unknown"):
            dissimilarities(_activity(), metric="cosine")
        with pytest.raises(InputError, match="stimuli have 1 to 2 presentations"):
            crossvalidated_dissimilarities(_activity(), [0, 0, 1, 1, 2, 2, 3])


class TestComparison:
    def test_tau_a_is_concordant_less_discordant_pairs(self):
        rng = np.random.default_rng(3)
        x, y = rng.integers(5, size=23).astype(float), rng.integers(7, size=23).astype(float)
        signs = [np.sign((x[i] - x[j]) * (y[i] - y[j])) for i, j in combinations(range(23), 2)]
        assert rank_correlation(x, y, method="kendall") == pytest.approx(np.mean(signs))
        assert rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic)
        assert rank_correlation(np.ones(23), y) == rank_correlation(np.ones(23), y, method="kendall") == 0

    @pytest.mark.parametrize("method", ["spearman", "kendall"])
    def test_models_are_ordered_and_intervals_hold_the_values(self, method: str):
        rng = np.random.default_rng(4)
        truth = rng.normal(size=(30, 1, 50))
        reference = dissimilarities(truth)[0]
        models = np.concatenate(
            [dissimilarities(truth + noise * rng.normal(size=truth.shape)) for noise in (0.3, 1.0, 30.0)]
        )
        found = compare_dissimilarities(models, reference, method=method, resamples=60)
        assert found.values[0] > found.values[1] > found.values[2]
        for value, row, (low, high) in zip(found.values, models, found.intervals, strict=True):
            assert value == pytest.approx(rank_correlation(row, reference, method=method))
            assert low < high
        assert found.intervals[2, 0] < 0 < found.intervals[2, 1]
        difference, (low, high) = found.difference(0, 2)
        assert difference == pytest.approx(found.values[0] - found.values[2])
        assert 0 < low < high

    def test_bootstrapped_stimuli_are_never_paired_with_themselves(self):
        # with the reference itself, any set of stimuli gives exactly 1, unless pairs without a dissimilarity came in
        reference = dissimilarities(_activity())[0]
        found = compare_dissimilarities(np.stack([reference, -reference]), reference, resamples=50)
        np.testing.assert_allclose(found.samples, np.tile([1.0, -1.0], (50, 1)))

    def test_the_noise_ceiling_encloses_the_truth(self):
        rng = np.random.default_rng(5)
        truth = rng.normal(size=190)
        subjects = truth + 0.8 * rng.normal(size=(6, 190))
        lower, upper = noise_ceiling(subjects)
        value = np.mean([rank_correlation(truth, each) for each in subjects])
        assert lower < value < upper

    @pytest.mark.parametrize(
        ("models", "reference", "message"),
        [
            (np.ones((2, 10)), np.ones(6), "models has 10 pairs and reference 6"),
            (np.ones((2, 7)), np.ones(7), r"reference has 7 pairs; give n \(n - 1\) / 2"),
        ],
    )
    def test_bad_input_is_refused(self, models: np.ndarray, reference: np.ndarray, message: str):
        with pytest.raises(InputError, match=message):
            compare_dissimilarities(models, reference)
        with pytest.raises(InputError, match="two or more subjects"):
            noise_ceiling(np.ones((1, 6)))


def test_export_to_rsatoolbox():
    pytest.importorskip("rsatoolbox", reason="needs cordstasks[rsa]")
    found = dissimilarities(_activity())
    made = to_rsatoolbox(found, stimuli=list("abcdefg"), times=[0, 10, 20, 30])
    np.testing.assert_allclose(made.dissimilarities, found)
    assert list(made.pattern_descriptors["stimulus"]) == list("abcdefg")
