import json
from itertools import product

import numpy as np
import pytest

from cordstasks.analysis import (
    architecture_table,
    canonical_correlations,
    closer_to,
    compare_activity,
    on_common_times,
    pairwise_correlations,
    pairwise_distances,
    permutation_null,
    shape_distance,
)
from cordstasks.errors import InputError


def _trajectories(seed, conditions=11, steps=14, units=9, own=0.5):
    """A network (condition, time, unit) that follows latent signals all networks share, and signals of its own."""
    shared = np.cumsum(np.random.default_rng(100).standard_normal((conditions, steps, 3)), axis=1)
    rng = np.random.default_rng(seed)
    private = np.cumsum(rng.standard_normal((conditions, steps, 3)), axis=1)
    return np.tanh(0.3 * np.concatenate([shared, own * private], axis=2) @ rng.standard_normal((6, units)))


def _distances(labels, centres, seed=0, spread=0.3):
    """Euclidean distances of points scattered around the centre of their label."""
    rng = np.random.default_rng(seed)
    points = np.array([centres[label] for label in labels]) + spread * rng.standard_normal((len(labels), 2))
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


LABELS = ["full"] * 5 + ["sparse"] * 4 + ["convolutional"] * 6 + ["low-rank"] * 3
CENTRES = {"full": (0, 0), "convolutional": (1, 0), "sparse": (3, 0), "low-rank": (0, 1.0)}


class TestPermutationNull:
    def test_conditions_change_places_and_keep_their_course(self):
        groups = np.tile(np.arange(5), 3)  # samples of one condition need not be neighbours
        x = np.arange(15.0)[:, None]
        seen = []
        permutation_null(lambda x, y: seen.append(y[:, 0].astype(int)) or 0.0, x, x, groups, permutations=30, seed=1)
        *shuffled, plain = seen
        np.testing.assert_array_equal(plain, np.arange(15))
        orders = set()
        for order in shuffled:
            np.testing.assert_array_equal(np.sort(order), np.arange(15))
            # at each of the 3 times stands one sample of that time, of the same condition every time
            np.testing.assert_array_equal(order // 5, np.arange(15) // 5)
            np.testing.assert_array_equal(order[:5], order[5:10] - 5)
            np.testing.assert_array_equal(order[:5], order[10:] - 10)
            orders.add(tuple(order[:5]))
        assert len(orders) > 20

    def test_p_values_are_uniform_for_unrelated_and_small_for_related_networks(self):
        groups = np.repeat(np.arange(11), 14)

        def p_value(x, y):
            x, y = x.reshape(154, -1), y.reshape(154, -1)
            null = permutation_null(
                lambda x, y: canonical_correlations(x, y, components=3)[0], x, y, groups, permutations=39
            )
            return float(null.p_value())

        assert p_value(_trajectories(1), _trajectories(2)) == 1 / 40
        unrelated = [
            p_value(np.cumsum(a, axis=1), np.cumsum(b, axis=1))
            for a, b in (np.random.default_rng(seed).standard_normal((2, 11, 14, 5)) for seed in range(40))
        ]
        assert 0.3 < np.mean(unrelated) < 0.7 and min(unrelated) < 0.2 and max(unrelated) > 0.8

    def test_distances_are_small_where_they_are_remarkable(self):
        x, y = (_trajectories(seed).reshape(154, 9) for seed in (1, 2))
        null = permutation_null(shape_distance, x, y, np.repeat(np.arange(11), 14), permutations=19)
        assert null.p_value(larger=False) == 1 / 20 and null.p_value(larger=True) == 1.0
        assert null.mean == pytest.approx(null.shuffled.mean()) and null.mean > null.observed

    def test_statistics_may_be_arrays(self):
        x, y = (_trajectories(seed).reshape(154, 9) for seed in (1, 2))
        null = permutation_null(canonical_correlations, x, y, np.repeat(np.arange(11), 14), permutations=3)
        assert null.shuffled.shape == (3, 9) and null.p_value().shape == (9,)
        np.testing.assert_array_equal(null.observed, canonical_correlations(x, y))

    @pytest.mark.parametrize(
        ("groups", "message"),
        [
            (np.arange(12) // 5, "groups has conditions of 2 to 5 samples"),
            (np.zeros(12), "groups holds a single condition"),
            (np.zeros(11), r"groups has shape \(11,\)"),
        ],
    )
    def test_bad_groups(self, groups, message: str):
        with pytest.raises(InputError, match=message):
            permutation_null(shape_distance, np.eye(12, 3), np.eye(12, 3), groups)


class TestArchitectureTable:
    def test_means_are_those_of_pairs(self):
        distances = _distances(LABELS, CENTRES)
        rows = {(row["first"], row["second"]): row for row in architecture_table(distances, LABELS, bootstrap=50)}
        assert len(rows) == 10
        named = np.array(LABELS)
        between = distances[np.ix_(named == "sparse", named == "convolutional")]
        assert rows["sparse", "convolutional"]["distance"] == pytest.approx(between.mean())
        assert rows["sparse", "convolutional"]["pairs"] == 24
        within = distances[np.ix_(named == "full", named == "full")][np.triu_indices(5, 1)]
        assert rows["full", "full"]["distance"] == pytest.approx(within.mean())
        assert rows["full", "full"]["pairs"] == 10

    def test_only_matching_networks_are_compared(self):
        distances = _distances(LABELS, CENTRES)
        match = ["relu", "tanh"] * 9
        rows = {
            (row["first"], row["second"]): row for row in architecture_table(distances, LABELS, match=match, bootstrap=5)
        }
        pairs = [(i, j) for i, j in product(range(5), range(5, 9)) if match[i] == match[j]]
        assert rows["full", "sparse"]["pairs"] == len(pairs)
        assert rows["full", "sparse"]["distance"] == pytest.approx(np.mean([distances[pair] for pair in pairs]))
        lone = {(row["first"], row["second"]): row for row in architecture_table(distances, LABELS, match=list(range(18)))}
        assert lone["full", "sparse"]["pairs"] == 0 and lone["full", "sparse"]["distance"] is None

    def test_intervals_are_of_networks_and_not_of_pairs(self):
        # One far network makes the mean of its architecture's pairs uncertain, though they are many.
        labels = ["a"] * 8 + ["b"] * 9
        distances = np.ones((17, 17)) - np.eye(17)
        distances[0, 8:] = distances[8:, 0] = 9.0
        (row,) = [row for row in architecture_table(distances, labels) if (row["first"], row["second"]) == ("a", "b")]
        # drawn 0, 1, 2 ... times of 8: the 2.5 and 97.5 % points of a binomial are 0 and 3
        assert row["interval"] == pytest.approx([1.0, 1 + 8 * 3 / 8])
        (row,) = [row for row in architecture_table(distances, labels) if (row["first"], row["second"]) == ("b", "b")]
        assert row["interval"] is None  # all the same

    def test_intervals_cover_the_truth(self):
        # Means between two clouds of points on a line, far enough apart that the true mean distance is known.
        hits = 0
        for seed in range(60):
            labels = ["a"] * 12 + ["b"] * 15
            rng = np.random.default_rng(seed)
            points = np.r_[rng.standard_normal(12), 20 + rng.standard_normal(15)]
            rows = architecture_table(np.abs(points[:, None] - points), labels, bootstrap=300, seed=seed)
            low, high = rows[1]["interval"]
            hits += low < 20 < high
        assert 49 <= hits <= 60  # 95 % of 60 is 57; percentile intervals of a dozen are a little narrow

    def test_few_networks_are_held_fixed(self):
        labels = ["recording"] + ["full"] * 5 + ["sparse"] * 2
        distances = _distances(labels, {"recording": (5, 5), **CENTRES})
        rows = {(row["first"], row["second"]): row for row in architecture_table(distances, labels)}
        assert rows["recording", "recording"]["distance"] is None
        assert rows["recording", "sparse"]["interval"] is None and rows["sparse", "sparse"]["interval"] is None
        low, high = rows["recording", "full"]["interval"]
        assert low < rows["recording", "full"]["distance"] < high

    def test_labels_must_fit(self):
        with pytest.raises(InputError, match=r"labels has shape \(3,\) for 18 networks"):
            architecture_table(_distances(LABELS, CENTRES), ["full"] * 3)


class TestCloserTo:
    def test_the_answer_of_known_places(self):
        rows = {row["other"]: row for row in closer_to(_distances(LABELS, CENTRES), LABELS)}
        assert rows["sparse"]["verdict"] == "closer"
        assert rows["sparse"]["difference"] == pytest.approx(-2, abs=0.5)
        assert rows["sparse"]["interval"][1] < 0
        assert rows["low-rank"]["verdict"] == "undecided"
        assert json.loads(json.dumps(list(rows.values()))) == list(rows.values())
        (row,) = closer_to(_distances(LABELS, CENTRES), LABELS, candidate="sparse", others=["convolutional"])
        assert row["verdict"] == "farther" and row["difference"] == -rows["sparse"]["difference"]

    def test_references_are_resampled_together(self):
        # Candidate and other are each as far as their reference network says, and the candidate always 0.1 nearer.
        rng = np.random.default_rng(0)
        labels = ["full"] * 6 + ["convolutional"] * 5 + ["sparse"] * 4
        own = rng.uniform(1, 5, 6)
        distances = np.ones((15, 15))
        distances[:6, 6:11], distances[:6, 11:] = own[:, None], own[:, None] + 0.1
        distances = np.triu(distances, 1) + np.triu(distances, 1).T
        distances[0, 14] = distances[14, 0] = own[0] + 0.10001  # else the difference would never vary
        (row,) = closer_to(distances, labels)
        assert row["difference"] == pytest.approx(-0.1, abs=1e-4)
        assert row["interval"] == pytest.approx([-0.1, -0.1], abs=1e-4)

    def test_hierarchical_intervals_are_of_other_matches_too(self):
        # Each of 12 matches has an offset of its own, and two networks of each label. Resampled networks alone know nothing
        # of how offsets vary, whose mean over 12 has a standard error of 0.29.
        labels = ["full", "full", "convolutional", "convolutional", "sparse"] * 12
        match = np.repeat(np.arange(12), 5)
        rng = np.random.default_rng(1)
        offsets, noise = rng.standard_normal(12), 1e-3 * rng.uniform(size=(60, 60))
        named = np.array(labels)
        distances = 5.0 + noise + noise.T
        for number in range(12):
            for i in np.flatnonzero((match == number) & (named == "full")):
                for j in np.flatnonzero((match == number) & (named == "convolutional")):
                    distances[i, j] = distances[j, i] = 5.0 + offsets[number]
        np.fill_diagonal(distances, 0.0)
        (row,) = closer_to(distances, labels, match=match, hierarchical=True)
        low, high = row["interval"]
        assert row["difference"] == pytest.approx(offsets.mean(), abs=0.01)
        assert high - low == pytest.approx(2 * 1.96 * offsets.std() / np.sqrt(12), rel=0.15)
        (alone,) = closer_to(distances, labels, match=match)
        assert alone["interval"] is None  # two networks of a match are not resampled

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"hierarchical": True}, "hierarchical=True: says that what networks have in common is resampled; give match"),
            ({"candidate": "convolution"}, "architecture 'convolution' is unknown; did you mean 'convolutional'?"),
            ({"others": ["full"]}, "give different labels"),
            ({"others": []}, "give different labels"),
            ({"match": list(range(18))}, "no full network matches one of convolutional or of sparse"),
            ({"confidence": 95}, "confidence is 95; give a number between 0 and 1"),
        ],
    )
    def test_bad_input(self, options, message: str):
        with pytest.raises(InputError, match=message):
            closer_to(_distances(LABELS, CENTRES), LABELS, **options)


@pytest.fixture(scope="module")
def networks():
    return [_trajectories(seed, units=7 + seed) for seed in range(6)], ["full"] * 3 + ["convolutional"] * 3


class TestCompareActivity:
    def test_it_is_made_of_its_parts(self, networks):
        arrays, labels = networks
        flat = [array.reshape(154, -1) for array in arrays]
        groups = np.repeat(np.arange(11), 14)
        found = compare_activity(arrays, labels, alpha=0.4, permutations=2, folds=4, seed=8, progress=False)
        split = np.random.SeedSequence(8).spawn(2)[0]
        options = {"groups": groups, "folds": 4, "seed": split}
        expected = pairwise_distances(flat, alpha=0.4, progress=False, **options)
        np.testing.assert_allclose(found.distances, expected, atol=1e-12)
        expected = pairwise_correlations(flat, **options)
        np.testing.assert_allclose(found.correlations, expected, atol=1e-12)
        assert found.correlations.shape == (6, 6, found.components)
        shares = [np.cumsum(s**2) / np.sum(s**2) for s in (np.linalg.svd(f - f.mean(0))[1] for f in flat)]
        assert found.components == min(np.searchsorted(share, 0.99) + 1 for share in shares)
        np.testing.assert_allclose(found.variance_held, [share[found.components - 1] for share in shares])

    def test_all_directions_where_nothing_is_whitened(self, networks):
        arrays, labels = networks
        flat = [array.reshape(154, -1) for array in arrays]
        found = compare_activity(arrays, labels, permutations=1, seed=8, progress=False)
        assert found.distance_components is None
        split = np.random.SeedSequence(8).spawn(2)[0]
        expected = pairwise_distances(flat, groups=np.repeat(np.arange(11), 14), folds=5, seed=split, progress=False)
        np.testing.assert_allclose(found.distances, expected, atol=1e-12)
        assert found.correlations.shape[2] == found.components < 7

    def test_table_and_nulls(self, networks):
        arrays, labels = networks
        found = compare_activity(arrays, labels, components=3, permutations=12, progress=False)
        assert found.names == tuple(f"{label} {i}" for label in ("full", "convolutional") for i in range(3))
        rows = found.table(bootstrap=200)
        assert [(row["first"], row["second"]) for row in rows] == [
            ("full", "full"),
            ("full", "convolutional"),
            ("convolutional", "convolutional"),
        ]
        assert json.loads(json.dumps(rows, allow_nan=False)) == rows
        for row in rows:
            assert row["distance"] < 0.6 * row["null_distance"]
            assert row["correlation"] > 0.5 and abs(row["null_correlation"]) < 0.25
            low, high = row["correlation_interval"]
            assert low <= row["correlation"] <= high
        assert rows[1]["correlation"] == pytest.approx(found.correlations[:3, 3:].mean())
        assert rows[1]["null_distance"] == pytest.approx(found.null_distances[:, :3, 3:].mean())
        text = found.text(bootstrap=200)
        assert "full - convolutional" in text and f"{rows[1]['distance']:.3f}" in text
        assert len({len(line) for line in text.splitlines()[1:]}) == 1

    def test_recordings_stand_in_for_one_side(self, networks):
        arrays, labels = networks
        recording = 30 + 25 * _trajectories(50, units=40)  # rates in Hz
        found = compare_activity([*arrays, recording], [*labels, "recording"], components=4, permutations=3, progress=False)
        rows = {(row["first"], row["second"]): row for row in found.table(bootstrap=100)}
        assert rows["full", "recording"]["distance"] < rows["full", "recording"]["null_distance"]
        assert rows["recording", "recording"]["distance"] is None
        assert "-" in found.text(bootstrap=10).splitlines()[-1]

    def test_same_seed_same_numbers(self, networks):
        arrays, labels = networks
        first, second, other = (
            compare_activity(arrays, labels, components=3, permutations=2, seed=seed, progress=False) for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(first.null_distances, second.null_distances)
        assert (first.distances != other.distances).any()
        assert (first.null_distances[0] != first.null_distances[1]).any()

    @pytest.mark.parametrize(
        ("change", "options", "message"),
        [
            (lambda x: x[:9], {}, r"activities\[1\] has 9 conditions but activities\[0\] has 11; give the same ones"),
            (lambda x: x[:, :9], {}, r"activities\[1\] has 9 times but activities\[0\] has 14; see on_common_times"),
            (lambda x: x[0], {}, r"activities\[1\] has shape .* give an array \(condition, time, unit\)"),
            (np.zeros_like, {}, r"activities\[1\] is constant"),
            (lambda x: np.tile(x, 30), {}, r"activities\[1\] has 154 samples of 240 units, fewer samples than units"),
            (np.copy, {"components": None}, "components is None, and correlations of all directions mean nothing"),
            (np.copy, {"names": ["one"]}, "names has 1 entries for 2 activities"),
            (np.copy, {"permutations": 0}, "permutations is 0"),
            (np.copy, {"metric": "cosine"}, "metric 'cosine' is unknown"),
        ],
    )
    def test_bad_input(self, networks, change, options, message: str):
        arrays = [networks[0][0], change(networks[0][1])]
        with pytest.raises(InputError, match=message):
            compare_activity(arrays, ["full", "sparse"], progress=False, **options)


class TestOnCommonTimes:
    def test_lines_are_interpolated_exactly(self):
        slope, offset = np.random.default_rng(0).standard_normal((2, 3, 1, 4))
        first, second = np.arange(0, 401, 50.0), np.array([30.0, 70, 200, 330, 360, 415])
        activities = [slope * times[None, :, None] + offset for times in (first, second)]
        found, times = on_common_times(activities, [first, second], step_ms=20)
        np.testing.assert_array_equal(times, np.arange(30, 391, 20))
        for array in found:
            np.testing.assert_allclose(array, slope * times[:, None] + offset, atol=1e-12)

    def test_equal_times_stay(self):
        array = _trajectories(0)
        times = 0.1 * np.arange(14)
        (found,), new = on_common_times([array], [times], step_ms=0.1)
        np.testing.assert_allclose(new, times)
        np.testing.assert_allclose(found, array, atol=1e-9)

    @pytest.mark.parametrize(
        ("times", "step", "message"),
        [
            ([np.arange(14.0), np.arange(14.0) + 13], 1.0, "times_ms have 0 ms in common; give an overlap of 1 ms"),
            ([np.arange(14.0), np.arange(13.0)], 1.0, r"times_ms\[1\] has 13 times for 14 of its activity"),
            ([np.arange(14.0), -np.arange(14.0)], 1.0, r"times_ms\[1\] has 14 times .* ascending"),
            ([np.arange(14.0)], 1.0, "times_ms has 1 entries for 2 activities"),
            ([np.arange(14.0)] * 2, 0.0, "step_ms is 0.0; give a number above 0"),
        ],
    )
    def test_bad_input(self, times, step: float, message: str):
        with pytest.raises(InputError, match=message):
            on_common_times([_trajectories(0), _trajectories(1)], times, step_ms=step)
