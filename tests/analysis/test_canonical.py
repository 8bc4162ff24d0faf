import numpy as np
import pytest
from scipy.linalg import eigh

from cordstasks.analysis import align, canonical_correlations, cross_validated_correlations, pairwise_correlations
from cordstasks.errors import InputError


def _activities(seed=0, samples=311, shared=3, first=7, second=9):
    """Two networks that share some latent signals and have others of their own, at very different variances."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((samples, shared))

    def network(units):
        own = rng.standard_normal((samples, units))
        return np.hstack([common, own]) @ rng.standard_normal((shared + units, units)) * np.geomspace(1, 30, units) + 5

    return network(first), network(second)


def _trajectories(seed=0, conditions=13, steps=17, units=(8, 6), shared=0, noise=0.0):
    """Smooth trajectories (sample, unit) of two networks over conditions, and the condition of each sample."""
    rng = np.random.default_rng(seed)
    common = np.cumsum(rng.standard_normal((conditions, steps, shared)), axis=1)
    networks = []
    for number in units:
        own = np.cumsum(rng.standard_normal((conditions, steps, 4)), axis=1)
        latent = np.concatenate([2 * common, own], axis=2).reshape(conditions * steps, -1)
        activity = latent @ rng.standard_normal((latent.shape[1], number))
        networks.append(activity + noise * rng.standard_normal(activity.shape))
    return *networks, np.repeat(np.arange(conditions), steps)


def _generalised_eigenvalues(x, y, ridge=0.0):
    """Canonical correlations as the positive generalised eigenvalues of the joint covariance's two parts."""
    a, b = x.shape[1], y.shape[1]
    joint = np.cov(np.hstack([x, y]).T, bias=True)
    between, within = joint.copy(), joint.copy()
    between[:a, :a], between[a:, a:], within[:a, a:], within[a:, :a] = 0, 0, 0, 0
    within[:a, :a] += ridge * np.trace(within[:a, :a]) / a * np.eye(a)
    within[a:, a:] += ridge * np.trace(within[a:, a:]) / b * np.eye(b)
    return eigh(between, within, eigvals_only=True)[::-1][: min(a, b)]


class TestCanonicalCorrelations:
    @pytest.mark.parametrize("ridge", [0.0, 0.03])
    @pytest.mark.parametrize("seed", [0, 1])
    def test_they_are_generalised_eigenvalues(self, seed: int, ridge: float):
        x, y = _activities(seed)
        found = canonical_correlations(x, y, regularisation=ridge)
        np.testing.assert_allclose(found, _generalised_eigenvalues(x, y, ridge), atol=1e-10)
        assert 0.05 < found[3] < found[0] < 0.999

    def test_components_are_a_projection_on_the_first_principal_components(self):
        x, y = _activities()

        def projected(values, number):
            values = values - values.mean(axis=0)
            _, axes = np.linalg.eigh(values.T @ values)
            return values @ axes[:, ::-1][:, :number]

        expected = _generalised_eigenvalues(projected(x, 4), projected(y, 4))
        np.testing.assert_allclose(canonical_correlations(x, y, components=4), expected, atol=1e-10)
        expected = _generalised_eigenvalues(projected(x, 7), projected(y, 8))
        np.testing.assert_allclose(canonical_correlations(x, y, components=8), expected, atol=1e-10)

    def test_auto_keeps_the_same_number_of_both_up_to_20(self):
        rng = np.random.default_rng(0)
        wide = rng.standard_normal((400, 30))
        # 4 directions hold 99 % of the variance of the first and 6 of the second
        x = wide * np.r_[np.full(4, 1.0), np.full(26, 1e-3)]
        y = rng.standard_normal((400, 25)) * np.r_[np.full(6, 1.0), np.full(19, 1e-3)]
        np.testing.assert_array_equal(
            canonical_correlations(x, y, components="auto"), canonical_correlations(x, y, components=4)
        )
        assert len(canonical_correlations(wide, wide[:, :25], components="auto")) == 20

    def test_invertible_linear_maps_do_not_matter(self):
        x, y = _activities()
        rng = np.random.default_rng(1)
        mapped = x @ rng.standard_normal((7, 7)) - 3
        np.testing.assert_allclose(canonical_correlations(mapped, y), canonical_correlations(x, y), atol=1e-10)
        np.testing.assert_allclose(canonical_correlations(x, mapped), 1, atol=1e-10)

    def test_directions_without_variance_are_left_out(self):
        x, y = _activities()
        doubled = np.hstack([x, x[:, :2], np.full((len(x), 1), 1e6), 3 * x[:, 1:2] - x[:, 4:5]])
        np.testing.assert_allclose(canonical_correlations(doubled, y), canonical_correlations(x, y), atol=1e-10)
        # in single precision too, where the copies differ by rounding
        single = (doubled[:, :9] * 0.1).astype(np.float32)
        assert canonical_correlations(single, y).shape == (7,)

    def test_swapping_changes_nothing(self):
        x, y = _activities()
        np.testing.assert_allclose(canonical_correlations(x, y), canonical_correlations(y, x), atol=1e-12)

    def test_inputs_are_left_as_they_are(self):
        x, y = _activities()
        copies = x.copy(), y.copy()
        align(x, y)
        assert (x == copies[0]).all() and (y == copies[1]).all()


class TestAlign:
    def test_coordinates_are_uncorrelated_but_with_their_partner(self):
        x, y = _activities()
        alignment = align(x, y)
        samples = len(x)
        for own in (alignment.x_coordinates, alignment.y_coordinates):
            np.testing.assert_allclose(own.mean(axis=0), 0, atol=1e-10)
            np.testing.assert_allclose(own.T @ own / samples, np.eye(7), atol=1e-10)
        cross = alignment.x_coordinates.T @ alignment.y_coordinates / samples
        np.testing.assert_allclose(cross, np.diag(canonical_correlations(x, y)), atol=1e-10)

    def test_weights_give_the_coordinates(self):
        x, y = _activities()
        alignment = align(x, y, components=5, regularisation=0.1)
        np.testing.assert_allclose(alignment.transform_x(x[3:8]), alignment.x_coordinates[3:8], atol=1e-10)
        np.testing.assert_allclose(alignment.transform_y(y[3:8]), alignment.y_coordinates[3:8], atol=1e-10)
        np.testing.assert_allclose(
            alignment.correlations, canonical_correlations(x, y, components=5, regularisation=0.1), atol=1e-12
        )

    def test_signs_are_fixed(self):
        x, y = _activities()
        coordinates = align(x, y).x_coordinates
        assert (coordinates.max(axis=0) > -coordinates.min(axis=0)).all()
        np.testing.assert_allclose(align(-x, y).x_coordinates, coordinates, atol=1e-9)

    def test_other_numbers_of_units_are_refused(self):
        x, y = _activities()
        with pytest.raises(InputError, match="activity has 9 units; the alignment was made from 7"):
            align(x, y).transform_x(y)


class TestHeldOut:
    def test_against_a_plain_loop_over_folds(self):
        x, y, groups = _trajectories(shared=2, noise=0.5)
        found = cross_validated_correlations(x, y, groups, folds=4, components=None, regularisation=0.01, seed=3)
        fold_of = np.random.default_rng(3).permutation(13) % 4
        products, x_size, y_size = np.zeros((3, 6))
        for fold in range(4):
            tested = fold_of[groups] == fold
            alignment = align(x[~tested], y[~tested], regularisation=0.01)
            a, b = alignment.transform_x(x[tested]), alignment.transform_y(y[tested])
            # `align` scales its coordinates by the root of the number of samples it saw
            products += (a * b).sum(axis=0) / (~tested).sum()
            x_size += (a**2).sum(axis=0) / (~tested).sum()
            y_size += (b**2).sum(axis=0) / (~tested).sum()
        np.testing.assert_allclose(found, products / np.sqrt(x_size * y_size), atol=1e-10)

    def test_nothing_in_common_gives_about_zero_where_the_plain_ones_are_high(self):
        held_out, plain = [], []
        for seed in range(30):
            x, y, groups = _trajectories(seed)
            held_out.append(cross_validated_correlations(x, y, groups, components=4))
            plain.append(canonical_correlations(x, y, components=4))
        assert np.mean(plain, axis=0)[0] > 0.5
        # 4 dimensions x 30 pairs of networks: a standard error of about 0.03
        assert abs(np.mean(held_out)) < 0.1

    def test_what_is_shared_is_found(self):
        x, y, groups = _trajectories(shared=2, conditions=29, noise=0.1)
        found = cross_validated_correlations(x, y, groups, components=6)
        assert (found[:2] > 0.98).all() and (np.abs(found[2:]) < 0.6).all()

    def test_all_pairs_are_the_pairs(self):
        x, y, groups = _trajectories(shared=1, noise=0.3)
        z = _trajectories(5, noise=0.3)[0]
        found = pairwise_correlations([x, y, z], groups, components=5, folds=3, seed=2)
        for i, j, pair in ((0, 1, (x, y)), (0, 2, (x, z)), (1, 2, (y, z))):
            alone = cross_validated_correlations(*pair, groups, components=5, folds=3, seed=2)
            np.testing.assert_allclose(found[i, j], alone, atol=1e-12)
            np.testing.assert_allclose(found[j, i], alone, atol=1e-12)
        assert (found[range(3), range(3)] == 1).all()

    def test_networks_of_fewer_dimensions_have_fewer_correlations(self):
        x, y, groups = _trajectories(units=(3, 6), noise=0.3)
        found = pairwise_correlations([x, y], groups, components=5)
        assert np.isfinite(found[0, 1, :3]).all() and np.isnan(found[0, 1, 3:]).all()
        assert (found[1, 1] == 1).all()

    def test_conditions_by_name(self):
        x, y, groups = _trajectories(noise=0.3)
        names = np.array([f"condition {index:02d}" for index in groups])
        np.testing.assert_array_equal(cross_validated_correlations(x, y, names), cross_validated_correlations(x, y, groups))


GOOD = np.random.default_rng(0).standard_normal((50, 4))


class TestBadInput:
    @pytest.mark.parametrize(
        ("x", "options", "message"),
        [
            (GOOD[:40], {}, "y has 50 samples but x has 40; record both on the same samples"),
            (np.full((50, 3), 2.5), {}, "x is constant: none of its 3 units varies"),
            (np.full((50, 3), 0.1) * 3, {}, "x is constant"),
            (np.where(np.eye(50, 4), np.nan, GOOD), {}, "x holds 4 values that are not finite"),
            (
                np.ones((50, 70)) * GOOD[:, :1],
                {},
                "x has 50 samples of 70 units, fewer samples than units; .* components=20",
            ),
            (GOOD[:, 0], {}, r"x has shape \(50,\); give an array \(sample, unit\)"),
            (GOOD, {"components": 0}, "components is 0; give a whole number of at least 1"),
            (GOOD, {"components": "all"}, "components is 'all'; give a whole number, 'auto' or None"),
            (GOOD, {"regularisation": -0.1}, r"regularisation is -0.1; give 0 or more"),
        ],
    )
    def test_of_both(self, x, options, message: str):
        for function in (canonical_correlations, align):
            with pytest.raises(InputError, match=message):
                function(x, GOOD, **options)

    def test_more_units_than_samples_can_be_projected(self):
        rng = np.random.default_rng(0)
        assert canonical_correlations(rng.standard_normal((50, 70)), GOOD, components=3).shape == (3,)

    @pytest.mark.parametrize(
        ("groups", "options", "message"),
        [
            (np.zeros(50), {}, "groups holds a single condition; .* give at least 2"),
            (np.zeros(49), {}, r"groups has shape \(49,\); give the condition of each of the 50 samples"),
            (np.full(50, np.nan), {}, "groups holds values that are not finite"),
            (np.arange(50), {"folds": 1}, "folds is 1; give a whole number of at least 2"),
        ],
    )
    def test_of_groups(self, groups, options, message: str):
        with pytest.raises(InputError, match=message):
            cross_validated_correlations(GOOD, GOOD[:, ::-1], groups, **options)

    def test_a_network_that_varies_in_one_fold_only(self):
        lone = np.where(np.arange(50)[:, None] < 10, GOOD, 0.0)
        with pytest.raises(InputError, match=r"activities\[0\] is constant over the conditions left"):
            cross_validated_correlations(lone, GOOD, np.arange(50) // 10)

    def test_one_network_has_no_pairs(self):
        with pytest.raises(InputError, match="activities holds 1 networks; give at least 2"):
            pairwise_correlations([GOOD], np.arange(50))
