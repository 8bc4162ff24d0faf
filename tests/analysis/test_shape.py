from itertools import permutations

import numpy as np
import pytest
from scipy.linalg import fractional_matrix_power, orthogonal_procrustes

from cordstasks.analysis import canonical_correlations, linear_cka, pairwise_distances, shape_distance
from cordstasks.errors import InputError

ALPHAS = (0.0, 0.3, 1.0)
METRICS = ("angular", "euclidean")


def _network(seed, samples=83, units=6):
    """Correlated activity with variances from 1 to 100 and a mean."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((samples, units)) * np.geomspace(1, 10, units) @ rng.standard_normal((units, units)) + 4


def _rotation(seed, units=6):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((units, units)))[0]


def _treated(values, alpha, normalise=True):
    """The convention written out: centre, normalise, whiten in part, rescale to the variance that was there."""
    values = values - values.mean(axis=0)
    if normalise:
        values = values / np.linalg.norm(values)
    whitened = values @ (alpha * np.eye(values.shape[1]) + (1 - alpha) * fractional_matrix_power(values.T @ values, -0.5))
    return whitened * np.linalg.norm(values) / np.linalg.norm(whitened)


def _reference(x, y, alpha, metric, normalise=True):
    """Distance by SciPy's Procrustes rotation of zero-padded arrays."""
    a, b = _treated(x, alpha, normalise), _treated(y, alpha, normalise)
    units = max(a.shape[1], b.shape[1])
    a, b = (np.pad(each, ((0, 0), (0, units - each.shape[1]))) for each in (a, b))
    rotated = a @ orthogonal_procrustes(a, b)[0]
    if metric == "euclidean":
        return np.linalg.norm(rotated - b)
    return np.arccos(np.sum(rotated * b) / np.linalg.norm(a) / np.linalg.norm(b))


class TestShapeDistance:
    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("alpha", ALPHAS)
    @pytest.mark.parametrize("normalise", [True, False])
    def test_against_whitening_and_procrustes_written_out(self, alpha: float, metric: str, normalise: bool):
        x, y = _network(0), 3 * _network(1, units=4)
        found = shape_distance(x, y, alpha=alpha, metric=metric, normalise=normalise)
        assert found == pytest.approx(_reference(x, y, alpha, metric, normalise), abs=1e-10)
        assert found > 0.1

    def test_whitened_it_is_the_mean_canonical_correlation(self):
        x, y = _network(0), _network(1)
        expected = np.arccos(canonical_correlations(x, y).mean())
        assert shape_distance(x, y, alpha=0) == pytest.approx(expected, abs=1e-12)

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("alpha", ALPHAS)
    def test_rotation_reflection_shift_and_scale_do_not_matter(self, alpha: float, metric: str):
        x = _network(0)
        for seed in range(4):
            rotation = _rotation(seed) * [1, 1, 1, 1, 1, (-1) ** seed]
            moved = 2.5 * x @ rotation + np.arange(6)
            assert shape_distance(x, moved, alpha=alpha, metric=metric) < 1e-12

    def test_linear_maps_matter_unless_all_is_whitened(self):
        x = _network(0)
        mapped = x @ np.random.default_rng(3).standard_normal((6, 6))
        assert shape_distance(x, mapped, alpha=0.0) < 1e-12
        assert shape_distance(x, mapped, alpha=0.3) > 0.02
        assert shape_distance(x, mapped, alpha=1.0) > 0.1

    @pytest.mark.parametrize("alpha", ALPHAS)
    def test_small_distances_keep_their_digits(self, alpha: float):
        # A turn by a known angle: half of the variance is moved orthogonally to all of the activity's samples.
        rng = np.random.default_rng(0)
        basis = np.linalg.qr(np.hstack([np.ones((60, 1)), rng.standard_normal((60, 8))]))[0][:, 1:]
        x, orthogonal = basis[:, :4], basis[:, 4:]
        for angle in (1e-2, 1e-5, 1e-9):
            turned = np.cos(angle) * x + np.sin(angle) * orthogonal
            assert shape_distance(x, turned @ _rotation(1, 4), alpha=alpha) == pytest.approx(angle, rel=1e-5, abs=2e-15)

    def test_both_sides_of_the_change_of_formula(self):
        x, noise = _network(0, units=4), _network(1, units=4)
        for size in np.geomspace(1e-4, 1e-2, 9):
            y = x + size * noise
            for metric in METRICS:
                assert shape_distance(x, y, metric=metric) == pytest.approx(_reference(x, y, 1.0, metric), rel=1e-5)

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("alpha", ALPHAS)
    def test_it_is_a_metric(self, alpha: float, metric: str):
        # Networks of several sizes; some near to one another, where inequalities are tight.
        networks = [_network(seed, units=units) for seed, units in enumerate((3, 4, 5, 6, 6))]
        networks += [networks[0] @ np.eye(3, 6) + 0.3 * networks[3], networks[3] + 0.1 * networks[4]]
        distances = np.array([[shape_distance(x, y, alpha=alpha, metric=metric) for y in networks] for x in networks])
        np.testing.assert_allclose(distances, distances.T, atol=1e-12)
        assert (np.diag(distances) < 1e-12).all()
        assert (distances[~np.eye(7, dtype=bool)] > 1e-3).all()
        for i, j, k in permutations(range(7), 3):
            assert distances[i, k] <= distances[i, j] + distances[j, k] + 1e-12

    def test_the_triangle_is_tight_on_a_geodesic(self):
        x, y = _treated(_network(0), 1.0), _treated(_network(1), 1.0)
        y = y @ orthogonal_procrustes(y, x)[0]
        middle = x + y
        ends = shape_distance(x, y)
        assert shape_distance(x, middle) + shape_distance(middle, y) == pytest.approx(ends, abs=1e-10)

    def test_silent_units_change_nothing(self):
        x, y = _network(0), _network(1)
        padded = np.insert(y, [0, 3], 7.0, axis=1)
        for alpha in ALPHAS:
            assert shape_distance(x, padded, alpha=alpha) == pytest.approx(shape_distance(x, y, alpha=alpha), abs=1e-12)

    def test_dimensions_that_one_lacks_count_as_unlike(self):
        x = _network(0)
        assert shape_distance(x, x[:, :4], alpha=0) == pytest.approx(np.arccos(np.sqrt(4 / 6)), abs=1e-10)

    def test_scale_matters_in_between_unless_normalised(self):
        x, y = _network(0), _network(1)
        for alpha in ALPHAS:
            assert shape_distance(9 * x, y, alpha=alpha) == pytest.approx(shape_distance(x, y, alpha=alpha), abs=1e-12)
        plain = [shape_distance(scale * x, scale * y, alpha=0.5, normalise=False) for scale in (0.01, 1.0)]
        assert abs(plain[0] - plain[1]) > 0.01

    def test_components(self):
        x, y = _network(0), _network(1)
        first = x - x.mean(axis=0)
        left, scale, _ = np.linalg.svd(first, full_matrices=False)
        assert shape_distance(x, y, alpha=0, components=2) == pytest.approx(
            shape_distance(left[:, :2] * scale[:2], y, alpha=0, components=2), abs=1e-12
        )
        assert shape_distance(x, y, components="auto") == shape_distance(x, y)
        assert shape_distance(x, y, alpha=0, components="auto") != shape_distance(x, y, alpha=0)


def _many(number=5, conditions=11, steps=7, noise=0.4):
    """Networks of different sizes that share a latent trajectory, and the condition of each sample."""
    rng = np.random.default_rng(0)
    latent = np.cumsum(rng.standard_normal((conditions, steps, 3)), axis=1).reshape(-1, 3)
    networks = []
    for units in range(5, 5 + number):
        activity = latent @ rng.standard_normal((3, units))
        networks.append(activity + noise * rng.standard_normal(activity.shape) + rng.standard_normal(units))
    return networks, np.repeat(np.arange(conditions), steps)


class TestPairwiseDistances:
    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("alpha", ALPHAS)
    def test_they_are_the_distances_of_pairs(self, alpha: float, metric: str):
        networks, _ = _many()
        options = {"alpha": alpha, "metric": metric, "components": 4}
        found = pairwise_distances(networks, progress=False, **options)
        for i in range(5):
            for j in range(5):
                expected = shape_distance(networks[i], networks[j], **options) if i != j else 0.0
                assert found[i, j] == pytest.approx(expected, abs=1e-12)

    def test_auto_is_one_number_for_all(self):
        networks, _ = _many()
        line = networks[0][:, :1] * np.ones(9) + 0.01 * np.random.default_rng(1).standard_normal((77, 9))
        found = pairwise_distances([*networks, line], alpha=0.0, progress=False)
        np.testing.assert_allclose(found, pairwise_distances([*networks, line], alpha=0.0, components=1, progress=False))
        assert (found[:5, :5] != pairwise_distances(networks, alpha=0.0, progress=False)).any()

    @pytest.mark.parametrize("alpha", ALPHAS)
    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("normalise", [True, False])
    def test_held_out_against_a_plain_loop_over_folds(self, alpha: float, metric: str, normalise: bool):
        networks, groups = _many()
        x, y = networks[1], networks[3]
        options = {"groups": groups, "folds": 3, "seed": 5, "components": None, "alpha": alpha, "metric": metric}
        found = pairwise_distances([networks[0], x, y], progress=False, normalise=normalise, **options)[1, 2]
        fold_of = np.random.default_rng(5).permutation(11) % 3
        first, second = [], []
        for fold in range(3):
            tested = fold_of[groups] == fold
            mapped = []
            for values in (x, y):
                train = _treated(values[~tested], alpha, normalise)
                centred = values[~tested] - values[~tested].mean(axis=0)
                weights = np.linalg.lstsq(centred, train, rcond=None)[0]
                mapped.append((train, (values[tested] - values[~tested].mean(axis=0)) @ weights))
            padding = ((0, 0), (0, 2))
            rotation = orthogonal_procrustes(np.pad(mapped[0][0], padding), mapped[1][0])[0]
            first.append(np.pad(mapped[0][1], padding) @ rotation)
            second.append(mapped[1][1])
        a, b = np.concatenate(first), np.concatenate(second)
        if normalise or metric == "angular":
            a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
        expected = np.arccos(np.sum(a * b)) if metric == "angular" else np.linalg.norm(a - b)
        assert found == pytest.approx(expected, abs=1e-9)

    def test_held_out_distances_of_equals_are_zero(self):
        (x, *_), groups = _many()
        for alpha in ALPHAS:
            options = {"groups": groups, "components": None, "alpha": alpha, "progress": False}
            assert pairwise_distances([x, 2 * x @ _rotation(0, 5) + 1], **options)[0, 1] < 1e-12

    def test_held_out_noise_is_at_a_right_angle(self):
        rng = np.random.default_rng(0)
        noise = [rng.standard_normal((300, 20)) for _ in range(8)]
        pairs = np.triu_indices(8, 1)
        assert pairwise_distances(noise, progress=False)[pairs].mean() < 1.4
        held_out = pairwise_distances(noise, groups=np.arange(300), progress=False)[pairs]
        assert held_out.mean() == pytest.approx(np.pi / 2, abs=0.02)

    def test_workers_do_not_matter(self):
        networks, groups = _many()
        one, three = (pairwise_distances(networks, groups=groups, workers=n, progress=False) for n in (1, 3))
        np.testing.assert_array_equal(one, three)

    def test_progress_bar(self, capsys):
        networks, _ = _many()
        pairwise_distances(networks, progress=False)
        assert capsys.readouterr().err == ""
        pairwise_distances(networks)
        assert "0/10" in capsys.readouterr().err


class TestLinearCka:
    def test_against_the_kernels_written_out(self):
        x, y = _network(0), _network(1, units=4)
        centring = np.eye(83) - 1 / 83
        a, b = centring @ x @ x.T @ centring, centring @ y @ y.T @ centring
        expected = np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)
        assert linear_cka(x, y) == pytest.approx(expected, abs=1e-12)
        assert 0.001 < expected < 0.9

    def test_likeness(self):
        x = _network(0)
        assert linear_cka(x, 3 * x @ _rotation(0) + 1) == pytest.approx(1.0, abs=1e-12)
        basis = np.linalg.qr(np.hstack([np.ones((40, 1)), np.random.default_rng(0).standard_normal((40, 6))]))[0][:, 1:]
        assert linear_cka(basis[:, :2], basis[:, 2:]) < 1e-20


class TestBadInput:
    @pytest.mark.parametrize(
        ("x", "options", "message"),
        [
            (_network(0), {"alpha": 1.5}, r"alpha is 1.5; give a number from 0 \(whitened\) to 1"),
            (_network(0), {"alpha": np.nan}, "alpha is nan"),
            (_network(0), {"metric": "angle"}, "metric 'angle' is unknown; did you mean 'angular'?"),
            (_network(0)[:50], {}, "has 83 samples but .* has 50; record both on the same samples"),
            (np.zeros((83, 3)), {}, "is constant: none of its 3 units varies"),
            (np.full((83, 3), np.nan), {}, "holds 249 values that are not finite"),
            (np.random.default_rng(0).standard_normal((83, 90)), {}, "has 83 samples of 90 units, fewer samples than units"),
        ],
    )
    def test_of_one_and_of_many(self, x, options, message: str):
        with pytest.raises(InputError, match=message):
            shape_distance(x, _network(1), **options)
        with pytest.raises(InputError, match=message):
            pairwise_distances([x, _network(1)], progress=False, **options)

    def test_of_many(self):
        with pytest.raises(InputError, match="activities holds 1 networks"):
            pairwise_distances([_network(0)])
        with pytest.raises(InputError, match="workers is 0"):
            pairwise_distances([_network(0), _network(1)], workers=0)
        still = np.where(np.arange(83)[:, None] < 40, _network(0), 0.0)
        with pytest.raises(InputError, match=r"activities\[1\] is constant over the conditions left"):
            pairwise_distances([_network(0), still], groups=np.arange(83) < 40)

    def test_few_samples_can_be_projected(self):
        wide = np.random.default_rng(0).standard_normal((83, 90))
        assert 0 < shape_distance(wide, _network(1), components=5) < np.pi / 2
