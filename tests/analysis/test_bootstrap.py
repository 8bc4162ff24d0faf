"""Bootstrap intervals of means, against resampling one by one and against the normal distribution."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cordstasks.analysis.statistics import bootstrap_mean
from cordstasks.errors import InputError


def test_interval_is_that_of_resampled_means() -> None:
    values = np.random.default_rng(0).gamma(2.0, size=(2, 3, 40))
    mean, low, high = bootstrap_mean(values, resamples=4000, rng=1)
    assert mean.shape == low.shape == high.shape == (2, 3)
    rng = np.random.default_rng(5)
    means = np.stack([values[..., rng.integers(40, size=40)].mean(axis=-1) for _ in range(4000)])
    np.testing.assert_allclose(mean, values.mean(axis=-1))
    np.testing.assert_allclose(low, np.percentile(means, 2.5, axis=0), atol=0.05)
    np.testing.assert_allclose(high, np.percentile(means, 97.5, axis=0), atol=0.05)


def test_coverage_changes_the_width_and_the_seed_repeats_it() -> None:
    values = np.random.default_rng(2).normal(size=50)
    wide, narrow = (bootstrap_mean(values, confidence=confidence) for confidence in (0.99, 0.5))
    assert wide[1] < narrow[1] < narrow[0] < narrow[2] < wide[2]
    # half of the normal distribution lies within 0.674 standard deviations
    np.testing.assert_allclose(narrow[2] - narrow[1], 2 * 0.674 * values.std() / 50**0.5, rtol=0.1)
    again = bootstrap_mean(values, confidence=0.5)
    assert narrow == again
    assert bootstrap_mean(values, confidence=0.5, rng=3)[1] != narrow[1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 0)), r"values has shape \(2, 0\); give an array"),
        (np.array([1.0, np.nan]), "values holds 1 values that are not finite"),
        (["a"], "values must be an array of numbers"),
    ],
)
def test_mistakes(values: NDArray[np.float64], message: str) -> None:
    with pytest.raises(InputError, match=message):
        bootstrap_mean(values)
