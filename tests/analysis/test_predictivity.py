"""Neural predictivity against independent implementations, and recovery of what was put in."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge

from cordstasks.analysis.predictivity import (
    Ceiling,
    Regression,
    TimeNull,
    median_interval,
    pls_predictions,
    reduced,
    ridge_predictions,
    shuffled_time,
    split_half_ceiling,
    stimulus_splits,
    temporal_predictivity,
    time_map,
    unit_correlations,
)
from cordstasks.errors import InputError


def _data(seed: int, samples: int, features: int, units: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of unequal variances and targets that follow some of them, with noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, features)) * np.linspace(2, 0.1, features) + rng.normal(size=features)
    return x, x @ rng.normal(size=(features, units)) + 3 * rng.normal(size=(samples, units)) + 5


def _sklearn(x: np.ndarray, y: np.ndarray, new: np.ndarray, components: int) -> np.ndarray:
    # its power iteration must converge, which by default it does not have to
    model = PLSRegression(components, scale=False, tol=1e-28, max_iter=20000).fit(x, y)
    return model.predict(new).reshape(len(new), -1)


class TestRegressions:
    @pytest.mark.parametrize(
        ("samples", "features", "units", "components"),
        [(40, 13, 5, 7), (37, 150, 6, 25), (30, 200, 1, 8), (60, 9, 20, 9), (31, 64, 50, 25)],
        ids=["tall", "wide", "one unit", "more units than features", "more units than samples"],
    )
    def test_partial_least_squares_is_that_of_scikit_learn(self, samples: int, features: int, units: int, components: int):
        x, y = _data(samples, samples + 11, features, units)
        mine = pls_predictions(x[:samples], y[:samples], x[samples:], components=components)
        theirs = _sklearn(x[:samples], y[:samples], x[samples:], components)
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6 * np.std(theirs))

    def test_one_component_is_a_regression_on_the_direction_of_largest_covariance(self):
        x, y = _data(3, 29, 6, 1)
        centred, target = x - x.mean(0), y - y.mean(0)
        score = centred @ (centred.T @ target[:, 0])
        expected = y.mean() + score * (score @ target[:, 0]) / (score @ score)
        np.testing.assert_allclose(pls_predictions(x, y, x, components=1)[:, 0], expected, rtol=1e-10)

    def test_all_components_are_least_squares(self):
        x, y = _data(4, 50, 7, 3)
        solution = np.linalg.lstsq(np.c_[x, np.ones(50)], y, rcond=None)[0]
        np.testing.assert_allclose(pls_predictions(x, y, x, components=20), np.c_[x, np.ones(50)] @ solution, rtol=1e-7)

    def test_rotated_features_give_the_same(self):
        x, y = _data(5, 33, 12, 4)
        turn = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))[0]
        one, other = (pls_predictions(each[:25], y[:25], each[25:], components=5) for each in (x, x @ turn))
        np.testing.assert_allclose(one, other, rtol=1e-8)

    def test_ridge_is_that_of_scikit_learn(self):
        for features in (8, 90):
            x, y = _data(6, 50, features, 3)
            squares = np.mean(np.linalg.svd(x[:40] - x[:40].mean(0), compute_uv=False)[: min(features, 39)] ** 2)
            theirs = Ridge(alpha=0.3 * squares).fit(x[:40], y[:40]).predict(x[40:])
            np.testing.assert_allclose(ridge_predictions(x[:40], y[:40], x[40:], penalties=(0.3,)), theirs, atol=1e-6)

    def test_ridge_chooses_the_penalty_of_each_unit_by_leaving_one_out(self):
        x, y = _data(7, 50, 12, 4)
        y[:, :2] += 300 * np.random.default_rng(0).normal(size=(50, 2))  # wants a larger penalty
        penalties = (0.001, 0.1, 10.0)
        squares = np.mean(np.linalg.svd(x[:40] - x[:40].mean(0), compute_uv=False) ** 2)
        expected = np.empty((10, 4))
        for unit in range(4):
            errors = [
                np.mean(
                    [
                        float(
                            y[i, unit]
                            - Ridge(alpha=p * squares).fit(*_without(x[:40], y[:40, unit], i)).predict(x[i : i + 1])[0]
                        )
                        ** 2
                        for i in range(40)
                    ]
                )
                for p in penalties
            ]
            best = penalties[int(np.argmin(errors))]
            expected[:, unit] = Ridge(alpha=best * squares).fit(x[:40], y[:40, unit]).predict(x[40:])
        np.testing.assert_allclose(ridge_predictions(x[:40], y[:40], x[40:], penalties=penalties), expected, rtol=1e-6)

    def test_features_that_do_not_vary_predict_the_mean(self):
        y = np.random.default_rng(0).normal(size=(9, 2))
        for predict in (pls_predictions, ridge_predictions):
            options = {"components": 3} if predict is pls_predictions else {}
            found = predict(np.ones((9, 4)), y, np.full((3, 4), 2.0), **options)
            np.testing.assert_allclose(found, np.tile(y.mean(0), (3, 1)))

    @pytest.mark.parametrize("features", [4, 40])
    def test_features_that_differ_by_rounding_predict_the_mean(self, features: int):
        rng = np.random.default_rng(3)
        x, y = np.tile(rng.normal(size=features), (12, 1)), rng.normal(size=(12, 2))
        x = np.nextafter(x, np.inf, where=rng.random(x.shape) < 0.5, out=x.copy())
        for predict in (pls_predictions, ridge_predictions):
            options = {"components": 3} if predict is pls_predictions else {}
            found = predict(x[:9], y[:9], x[9:], **options)
            np.testing.assert_allclose(found, np.tile(y[:9].mean(0), (3, 1)), rtol=1e-9)
        assert not reduced(x[None], dimensions=3)[0].any()

    def test_more_components_than_samples_allow_are_refused(self):
        x, y = _data(0, 20, 30, 2)
        with pytest.raises(InputError, match=r"^components=25: 20 training samples allow 19 at most; give fewer"):
            pls_predictions(x, y, x)

    def test_an_unknown_method_is_refused(self):
        with pytest.raises(InputError, match="method 'pcr' is unknown"):
            Regression("pcr")


def _without(x: np.ndarray, y: np.ndarray, i: int) -> tuple[np.ndarray, np.ndarray]:
    return np.delete(x, i, axis=0), np.delete(y, i, axis=0)


class TestReduction:
    def test_inner_products_stay(self):
        x = np.random.default_rng(0).normal(size=(4, 3, 50)).astype(np.float32)
        small, held = reduced(x)
        assert small.shape == (4, 3, 12)
        assert held == 1.0
        flat, wide = small.reshape(12, -1), x.reshape(12, -1).astype(np.float64)
        np.testing.assert_allclose(flat @ flat.T, wide @ wide.T, atol=1e-10)

    @pytest.mark.parametrize(("samples", "features"), [(60, 9), (15, 40)])
    def test_the_first_principal_components_and_the_variance_they_hold(self, samples: int, features: int):
        x, _ = _data(1, samples, features, 1)
        small, held = reduced(x, dimensions=4)
        u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
        np.testing.assert_allclose(np.abs(small), np.abs(u[:, :4] * s[:4]), atol=1e-7)
        assert held == pytest.approx(np.sum(s[:4] ** 2) / np.sum(s**2))


class TestSplits:
    def test_each_holds_out_a_tenth_and_they_differ(self):
        splits = stimulus_splits(47, splits=6, rng=3)
        assert len(splits) == 6
        for split in splits:
            assert len(split.test) == 5
            assert sorted([*split.train, *split.test]) == list(range(47))
        assert len({tuple(split.test) for split in splits}) == 6
        assert all((a.test == b.test).all() for a, b in zip(splits, stimulus_splits(47, splits=6, rng=3), strict=True))

    def test_each_object_has_its_fraction_held_out(self):
        objects = np.repeat(["face", "tree", "car"], [40, 20, 10])
        for split in stimulus_splits(70, objects=objects, held_out=0.1, rng=0):
            assert [int(np.sum(objects[split.test] == each)) for each in ("face", "tree", "car")] == [4, 2, 1]

    def test_what_is_left_over_is_drawn(self):
        objects = np.repeat([0, 1, 2], 5)
        seen = [
            tuple(np.bincount(objects[s.test], minlength=3)) for s in stimulus_splits(15, objects=objects, held_out=0.25)
        ]
        assert set(seen) == {(2, 1, 1), (1, 2, 1), (1, 1, 2)}

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"stimuli": 20}, r"held_out=0.1: holds out 2 of 20 stimuli"),
            ({"stimuli": 40, "objects": np.arange(40)}, "40 objects cannot all be among 4 stimuli"),
            ({"stimuli": 40, "objects": np.arange(3)}, "objects has 3 entries for 40 stimuli"),
            ({"stimuli": 40, "held_out": 1.0}, "held_out is 1.0"),
        ],
    )
    def test_impossible_ones_are_refused(self, options: dict, message: str):
        with pytest.raises(InputError, match=message):
            stimulus_splits(**options)


class TestScores:
    def test_correlations_are_those_of_numpy(self):
        rng = np.random.default_rng(0)
        actual, predicted = rng.normal(size=(9, 2, 3)), rng.normal(size=(9, 2, 3))
        found = unit_correlations(actual, predicted)
        for place in np.ndindex(2, 3):
            assert found[place] == pytest.approx(
                np.corrcoef(actual[(slice(None), *place)], predicted[(slice(None), *place)])[0, 1]
            )

    def test_nothing_predicted_is_zero_and_nothing_to_predict_has_no_score(self):
        varies, still = np.arange(5.0), np.full(5, 0.1)
        found = unit_correlations(np.stack([varies, still, still], 1), np.stack([still, varies, still], 1))
        np.testing.assert_array_equal(found, [0.0, np.nan, np.nan])

    def test_the_median_and_its_interval(self):
        rng = np.random.default_rng(1)
        row = median_interval([*rng.normal(0.5, 0.1, 200), np.nan])
        assert row["median"] == pytest.approx(0.5, abs=0.02)
        assert 0.45 < row["interval"][0] < row["median"] < row["interval"][1] < 0.55
        assert (row["units"], row["left_out"]) == (200, 1)
        assert median_interval([np.nan])["median"] is None


class TestCeiling:
    def test_known_reliability_is_found(self):
        rng = np.random.default_rng(2)
        signal = rng.normal(size=(300, 4, 20))
        repeats = 6
        for noise, bins in ((1.0, slice(0, 2)), (3.0, slice(2, 4))):
            rates = signal[None] + noise * rng.normal(size=(repeats, *signal.shape))
            stimulus = np.tile(np.arange(300), repeats)
            ceiling = split_half_ceiling(rates.reshape(-1, 4, 20), stimulus, rng=0)
            expected = 1 / (1 + noise**2 / repeats)
            assert np.median(ceiling.per_bin[bins]) == pytest.approx(expected, abs=0.03)
            assert np.median(ceiling.spanning) == pytest.approx(expected, abs=0.03)
            mean = rates.mean(0)
            perfect = np.median(unit_correlations(mean[:, bins], signal[:, bins]))
            assert np.median(Ceiling.of_a_perfect_model(ceiling.per_bin[bins])) == pytest.approx(perfect, abs=0.02)

    @pytest.mark.parametrize("counts", [(3,), (5,), (2, 3, 7)])
    def test_odd_and_different_numbers_of_presentations(self, counts: tuple[int, ...]):
        rng = np.random.default_rng(1)
        stimuli = 1500
        stimulus = np.repeat(np.arange(stimuli), [counts[place % len(counts)] for place in range(stimuli)])
        signal = rng.normal(size=(stimuli, 1, 20))
        ceiling = split_half_ceiling(signal[stimulus] + rng.normal(size=(len(stimulus), 1, 20)), stimulus, rng=0)
        expected = 1 / (1 + np.mean(1 / np.array(counts)))
        assert np.mean(ceiling.per_bin) == pytest.approx(expected, abs=0.008)

    def test_single_presentations_are_left_out_and_counted(self):
        rates = np.random.default_rng(0).normal(size=(11, 2, 3))
        ceiling = split_half_ceiling(rates, ["a", "a", "b", "b", "c", "c", "c", "d", "e", "f", "g"])
        assert (ceiling.stimuli, ceiling.left_out) == (3, 4)
        assert np.isfinite(ceiling.per_bin).all()

    def test_one_repeat_has_no_ceiling(self):
        with pytest.raises(InputError, match="stimulus: 0 of 9 stimuli have two or more presentations; a ceiling needs 3"):
            split_half_ceiling(np.zeros((9, 2, 3)), np.arange(9))


def _synthetic(lag: int, *, noise: float = 0.3, stimuli: int = 60, seed: int = 0, still: bool = False):
    """Activity of two areas with different time courses, and a recording of the first, `lag` bins later."""
    rng = np.random.default_rng(seed)
    times, bins, lead = 14, 8, 4
    areas = []
    for _ in range(2):
        loads = rng.normal(size=(stimuli, 5))
        courses = rng.normal(size=(5, times)).cumsum(axis=1)
        if still:
            courses = np.repeat(courses[:, :1], times, axis=1)
        areas.append(np.einsum("sk,kt,kf->stf", loads, courses, rng.normal(size=(5, 30))))
    recorded = areas[0][:, lead - lag : lead - lag + bins] @ rng.normal(size=(30, 7))
    recorded += noise * recorded.std() * rng.normal(size=recorded.shape)
    return areas, recorded, lead


class TestOverTime:
    def test_the_area_and_the_lag_are_found(self):
        areas, recorded, lead = _synthetic(2)
        splits = stimulus_splits(60, rng=0)
        found = [
            temporal_predictivity(
                area, recorded, splits, regression=Regression(components=5), lead=lead, lags=range(5), progress=None
            )
            for area in areas
        ]
        assert (found[0].lags == 2).all()
        expected = 1 / np.sqrt(1 + 0.3**2)  # what is left of the correlation by noise
        assert np.median(found[0].per_bin) == pytest.approx(expected, abs=0.04)
        assert np.median(found[0].spanning) == pytest.approx(expected, abs=0.04)
        assert np.median(found[1].spanning) < 0.3
        assert found[0].per_bin.shape == (8, 7)
        assert found[0].lag_scores.shape == (10, 5)

    def test_scores_agree_with_scikit_learn(self):
        areas, recorded, lead = _synthetic(1, noise=1.0)
        areas[0] += np.random.default_rng(8).normal(size=areas[0].shape)  # so that no component is one of rounding errors
        splits = stimulus_splits(60, splits=3, rng=1)
        found = temporal_predictivity(
            areas[0], recorded, splits, regression=Regression(components=6), lead=lead, lags=(1,), dimensions=None
        )
        x = areas[0][:, lead - 1 : lead + 7]
        per_bin, spanning = [], []
        for train, test in splits:
            predicted = np.stack([_sklearn(x[train, b], recorded[train, b], x[test, b], 6) for b in range(8)], axis=1)
            per_bin.append(unit_correlations(recorded[test], predicted))
            flat = [each.reshape(-1, each.shape[2]) for each in (x[train], recorded[train], x[test], recorded[test])]
            spanning.append(unit_correlations(flat[3], _sklearn(*flat[:3], 6)))
        np.testing.assert_allclose(found.per_bin, np.mean(per_bin, axis=0), atol=1e-6)
        np.testing.assert_allclose(found.spanning, np.mean(spanning, axis=0), atol=1e-6)

    def test_a_lag_is_found_with_few_stimuli(self):
        areas, recorded, lead = _synthetic(1, noise=0.0, stimuli=10)
        splits = stimulus_splits(10, splits=4, held_out=0.3)
        found = temporal_predictivity(
            areas[0], recorded, splits, regression=Regression(components=6), lead=lead, lags=range(lead)
        )
        assert found.lags.tolist() == [1] * 4

    def test_the_lag_does_not_depend_on_the_stimuli_held_out(self):
        areas, recorded, lead = _synthetic(2)
        splits = stimulus_splits(60, splits=1, rng=0)
        changed = recorded.copy()
        changed[splits[0].test] = np.random.default_rng(1).normal(size=changed[splits[0].test].shape) * 100
        options = {"regression": Regression(components=5), "lead": lead, "lags": range(5)}
        one, other = (temporal_predictivity(areas[0], each, splits, **options) for each in (recorded, changed))
        np.testing.assert_array_equal(one.lag_scores, other.lag_scores)
        assert np.median(other.spanning) < 0.5 < np.median(one.spanning)

    @pytest.mark.parametrize("method", ["pls", "ridge"])
    def test_the_map_is_best_where_model_and_recording_are_at_one_moment(self, method: str):
        # each bin has stimulus responses of its own, so that one moment predicts no other
        rng = np.random.default_rng(5)
        features = rng.normal(size=(80, 6, 9))
        recorded = features[:, 1:5] @ rng.normal(size=(9, 7)) + 0.1 * rng.normal(size=(80, 4, 7))
        scores = np.median(
            time_map(features, recorded, stimulus_splits(80, rng=0), regression=Regression(method, components=5)), axis=2
        )
        assert scores.shape == (6, 4)
        same = np.eye(6, dtype=bool)[:, 1:5]
        assert scores[same].min() > 0.9
        assert np.abs(scores[~same]).max() < 0.5

    def test_bad_input_is_refused(self):
        areas, recorded, lead = _synthetic(0)
        splits = stimulus_splits(60, splits=2)
        with pytest.raises(InputError, match="lags: 5 needs the model times -1 to 6, of 14"):
            temporal_predictivity(areas[0], recorded, splits, regression=Regression(components=3), lead=lead, lags=(5,))
        with pytest.raises(InputError, match="features has 59 stimuli but recorded 60"):
            time_map(areas[0][1:], recorded, splits)
        with pytest.raises(InputError, match="components=80: 54 training samples allow 53"):
            time_map(areas[0], recorded, splits, regression=Regression(components=80))
        few = stimulus_splits(8, splits=2, held_out=0.4)
        with pytest.raises(InputError, match="lags: one of 2 is chosen on the stimuli to fit on, which are 4, but 6 are"):
            temporal_predictivity(
                areas[0][:8], recorded[:8], few, regression=Regression(components=3), lead=lead, lags=(0, 1)
            )
        fifteen = Regression(components=15)  # of 17 stimuli to fit on, 13 are left where a lag is chosen on 4
        single = (areas[0][:20], recorded[:20, :1], stimulus_splits(20, splits=1, held_out=0.15))
        with pytest.raises(InputError, match="components=15: 13 training samples allow 12"):
            temporal_predictivity(*single, regression=fifteen, lead=lead, lags=(0, 1))
        assert temporal_predictivity(*single, regression=fifteen, lead=lead).lags.tolist() == [0]
        with pytest.raises(InputError, match=r"lags=.*each once"):
            temporal_predictivity(areas[0], recorded, splits, regression=Regression(components=3), lead=lead, lags=(1, 1))


class TestNull:
    def test_shuffled_bins_are_predicted_worse(self):
        areas, recorded, lead = _synthetic(1)
        null = shuffled_time(
            areas[0], recorded, stimulus_splits(60, rng=0), regression=Regression(components=5), lead=lead, lags=[1] * 10
        )
        result = null.test()
        assert null.shuffled.shape == (20, 7)
        assert result["difference"] > 0.2
        assert result["interval"][0] > 0
        assert result["p_t"] < 0.001
        assert result["p_permutation"] == pytest.approx(1 / 21)

    def test_it_is_at_chance_where_time_carries_nothing(self):
        areas, recorded, lead = _synthetic(0, noise=0.0)
        still = np.repeat(
            recorded[:, 3:4], 8, axis=1
        )  # each stimulus has one response throughout, while the activity changes
        noisy = still + still.std() * np.random.default_rng(3).normal(size=still.shape)
        null = shuffled_time(
            areas[0], noisy, stimulus_splits(60, rng=0), regression=Regression(components=5), lead=lead, permutations=39
        )
        result = null.test()
        assert np.median(null.scores) > 0.2
        assert abs(result["difference"]) < 0.02
        assert 0.05 < result["p_permutation"] < 0.95

    def test_a_recording_that_does_not_change_over_time_has_p_of_one(self):
        areas, recorded, lead = _synthetic(0, noise=0.0, still=True)
        null = shuffled_time(
            areas[0], recorded, stimulus_splits(60, splits=2), regression=Regression(components=4), lead=lead, permutations=5
        )
        assert null.test()["p_permutation"] == 1.0
        rounding = 1e-16 * np.arange(1, 8)
        found = TimeNull(0.5 + rounding, np.tile(0.5 - rounding, (3, 1))).test()
        assert (found["t"], found["p_t"]) == (None, None)

    def test_a_single_bin_cannot_be_shuffled(self):
        with pytest.raises(InputError, match="recorded has 1 time bin"):
            shuffled_time(np.ones((9, 1, 2)), np.ones((9, 1, 3)), stimulus_splits(40, splits=1))
