"""Trajectories, against decompositions of the whole array, closed forms and invariances."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from cordstasks.analysis.dynamics.trajectories import (
    RunningComponents,
    discriminant_axis,
    distance_from_rest,
    principal_trajectories,
    response_latency,
)
from cordstasks.errors import InputError

Floats = NDArray[np.float64]


def recording(samples: int = 173, units: int = 31, seed: int = 0) -> Floats:
    """Samples whose variances fall by half from direction to direction, on a mean that is not zero."""
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(units, units)))
    return rng.normal(size=(samples, units)) * 2.0 ** (-np.arange(units) / 2) @ rotation + rng.normal(size=units)


def signed(found: Floats, expected: Floats) -> Floats:
    """`found` (sample, component) with the signs of `expected`."""
    return found * np.sign((found * expected).sum(axis=0))


class TestPrincipalTrajectories:
    # one sample at a time, blocks of no regular size, all at once
    @pytest.mark.parametrize("cuts", [range(1, 173), (5, 6, 90, 91, 92, 150), ()])
    def test_is_the_decomposition_of_the_whole(self, cuts: Any) -> None:
        whole = recording()
        before = whole.copy()
        found = principal_trajectories(iter(np.split(whole, list(cuts))), 3)
        exact = PCA(3).fit(whole)
        np.testing.assert_allclose(found.mean, whole.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(found.variance, exact.explained_variance_, rtol=1e-3)
        np.testing.assert_allclose(found.variance_ratio, exact.explained_variance_ratio_, rtol=1e-3)
        np.testing.assert_allclose(abs((found.components * exact.components_).sum(axis=1)), 1, atol=1e-4)
        np.testing.assert_allclose(found.components @ found.components.T, np.eye(3), atol=1e-10)
        expected = exact.transform(whole)
        np.testing.assert_allclose(signed(found.scores, expected), expected, atol=0.02)
        np.testing.assert_allclose(found.project(whole), found.scores, atol=0.02)
        assert (whole == before).all()

    def test_is_exact_where_few_directions_vary(self) -> None:
        rng = np.random.default_rng(1)
        whole = rng.normal(size=(90, 4)) @ rng.normal(size=(4, 50)) + 3
        found = principal_trajectories(np.array_split(whole, 11), 4)
        expected = PCA(4).fit_transform(whole)
        np.testing.assert_allclose(signed(found.scores, expected), expected, atol=1e-10)
        np.testing.assert_allclose(found.project(whole[:7].reshape(7, 1, 50))[:, 0], found.scores[:7], atol=1e-10)
        assert found.variance_ratio.sum() == pytest.approx(1)

    def test_float32_and_few_samples(self) -> None:
        whole = recording(40).astype(np.float32)
        found = principal_trajectories(np.array_split(whole, 3), 2)
        exact = principal_trajectories([whole.astype(np.float64)], 2)
        np.testing.assert_allclose(signed(found.scores, exact.scores), exact.scores, atol=0.02)
        few = principal_trajectories([whole[:1], whole[1:2]], 5)
        assert few.components.shape == (1, 31) and few.scores.shape == (2, 1)
        np.testing.assert_allclose(few.project(whole[:2]), few.scores, rtol=1e-5)
        assert few.variance_ratio == pytest.approx([1])

    @pytest.mark.parametrize("kind", [np.float32, np.float64])
    def test_stored_and_continued(self, kind: type) -> None:
        blocks = np.array_split(recording().astype(kind), 9)
        running = RunningComponents(3)
        for block in blocks[:4]:
            running.add(block)
        content = io.BytesIO()
        np.savez(content, **running.state(), more=np.array(1))
        content.seek(0)
        with np.load(content) as state:
            continued = RunningComponents.from_state(state)
        for block in blocks[4:]:
            continued.add(block)
        found, expected = continued.result(), principal_trajectories(blocks, 3)
        for name in ("mean", "components", "variance", "variance_ratio", "scores"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        with pytest.raises(InputError, match="block 9 has 5 units but the first has 31"):
            continued.add(np.ones((2, 5)))

    def test_no_state(self) -> None:
        with pytest.raises(InputError, match="state: there are no samples yet"):
            RunningComponents().state()
        with pytest.raises(InputError, match="state: lacks 'mean'"):
            RunningComponents.from_state({})

    @pytest.mark.parametrize(
        ("blocks", "message"),
        [
            ([], "blocks hold 0 samples"),
            ([np.ones((1, 3))], "blocks hold 1 samples"),
            ([np.ones((2, 3)), np.ones((2, 4))], "block 1 has 4 units but the first has 3"),
            ([np.ones(3)], r"block 0 has shape \(3,\)"),
            ([np.array([[1.0, np.nan]])], "block 0 holds 1 values that are not finite"),
            ([np.array([["a"]])], "block 0 has shape"),
            ([np.ones((2, 3)), np.ones((4, 3))], "blocks hold samples that are all the same"),
        ],
    )
    def test_mistakes(self, blocks: list[NDArray[Any]], message: str) -> None:
        with pytest.raises(InputError, match=message):
            principal_trajectories(blocks, 1)
        with pytest.raises(InputError, match=r"activity has shape \(2,\); give \(..., 31\)"):
            principal_trajectories([recording()], 2).project(np.ones(2))


def two_classes(trials: int = 60, units: int = 9, gap: float = 3.0, seed: int = 0) -> tuple[Floats, NDArray[Any], Floats]:
    """Activity of two classes with a common covariance, their labels, and the direction of the difference."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=units)
    direction /= np.linalg.norm(direction)
    labels = np.array(["spaniel", "retriever"])[np.arange(trials) % 2]
    offsets = np.where(labels == "spaniel", gap / 2, -gap / 2)
    return rng.normal(size=(trials, units)) + offsets[:, None] * direction + 5, labels, direction


class TestDiscriminantAxis:
    def test_finds_the_direction(self) -> None:
        rates, labels, direction = two_classes(400)
        found = discriminant_axis(rates, labels)
        assert list(found.labels) == ["retriever", "spaniel"]
        assert found.axis @ direction / np.linalg.norm(found.axis) > 0.97
        for label, coordinate in (("retriever", -1), ("spaniel", 1)):
            assert found.project(rates[labels == label]).mean() == pytest.approx(coordinate)
        # classes three standard deviations apart: d' = 3, and half of it lies between the middle and a mean
        assert found.d_prime == pytest.approx(3, rel=0.1)
        assert found.accuracy == pytest.approx(0.933, abs=0.025)
        assert found.interval[0] < found.accuracy < found.interval[1]
        assert found.project(rates.reshape(20, 20, 9)).shape == (20, 20)

    def test_held_out_numbers_are_not_those_of_the_fit(self) -> None:
        rates, labels, _ = two_classes(40, units=60, gap=0.0)
        found = discriminant_axis(rates, labels, components=30)
        fitted = ((found.project(rates) > 0) == (labels == "spaniel")).mean()
        assert fitted > 0.9
        assert found.accuracy < 0.7

    def test_rows_of_a_group_stay_together(self) -> None:
        rates, labels, _ = two_classes(20, units=40, gap=0.0)
        repeated, names, groups = np.repeat(rates, 6, axis=0), np.repeat(labels, 6), np.repeat(np.arange(20), 6)
        assert discriminant_axis(repeated, names).accuracy > 0.9
        assert discriminant_axis(repeated, names, groups=groups).accuracy < 0.75

    def test_seed(self) -> None:
        rates, labels, _ = two_classes()
        one, again, other = (discriminant_axis(rates, labels, rng=seed).held_out for seed in (1, 1, 2))
        assert (one == again).all() and (one != other).any()

    def test_many_units_give_the_same_axis_whatever_was_drawn_before(self) -> None:
        rates, labels, _ = two_classes(units=600)
        np.random.seed(1)  # noqa: NPY002
        one = discriminant_axis(rates, labels)
        np.random.seed(2)  # noqa: NPY002
        again = discriminant_axis(rates, labels)
        assert (one.held_out == again.held_out).all() and (one.axis == again.axis).all()

    def test_mistakes(self) -> None:
        rates, labels, _ = two_classes()
        with pytest.raises(InputError, match="labels hold 1 classes"):
            discriminant_axis(rates, ["spaniel"] * 60)
        with pytest.raises(InputError, match="labels: b has 2 trials for 5 folds"):
            discriminant_axis(rates, ["a"] * 58 + ["b"] * 2)
        with pytest.raises(InputError, match="labels has 59 trials but activity has 60"):
            discriminant_axis(rates, labels[1:])
        with pytest.raises(InputError, match="activity is the same in all trials"):
            discriminant_axis(np.ones_like(rates), labels)


class TestDistanceAndLatency:
    def test_distance(self) -> None:
        rng = np.random.default_rng(0)
        activity, rest = rng.normal(size=(5, 3, 4)), rng.normal(size=4)
        found = distance_from_rest(activity, rest)
        assert found.shape == (5, 3)
        assert found[2, 1] == pytest.approx(np.sqrt(sum((activity[2, 1, unit] - rest[unit]) ** 2 for unit in range(4))))
        with pytest.raises(InputError, match="rest has 3 units but activity has 4"):
            distance_from_rest(activity, rest[1:])

    def test_latency_of_exponential_responses(self) -> None:
        times = np.arange(1.0, 400.0)
        time_constants = np.array([10.0, 30.0])
        distance = np.array([2.0, 5.0]) * (1 - np.exp(-times[:, None] / time_constants))
        np.testing.assert_allclose(response_latency(distance, times), np.log(2) * time_constants, rtol=2e-3)
        np.testing.assert_allclose(response_latency(distance, times, fraction=0.9), np.log(10) * time_constants, rtol=2e-3)

    def test_latency_is_interpolated_also_before_the_first_time(self) -> None:
        found = response_latency(np.array([[4.0, 0.0], [4.0, 1.0], [2.0, 4.0]]), [2.0, 4.0, 10.0])
        assert found.tolist() == pytest.approx([1, 6])

    def test_mistakes(self) -> None:
        with pytest.raises(InputError, match="times_ms has 2 times for 3 distances"):
            response_latency(np.ones((3, 2)), [1, 2])
        with pytest.raises(InputError, match="ascending from above 0"):
            response_latency(np.ones((2, 2)), [0, 2])
        with pytest.raises(InputError, match="distance is 0 throughout in 1 trials"):
            response_latency(np.array([[1.0, 0.0]]), [2])
        with pytest.raises(InputError, match="fraction is 1"):
            response_latency(np.ones((1, 2)), [2], fraction=1)
