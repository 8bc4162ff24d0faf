import numpy as np
import pytest
from scipy.cluster.hierarchy import cophenet, fcluster, leaves_list
from scipy.spatial.distance import squareform

from cordstasks.analysis import cluster, embed
from cordstasks.errors import InputError


def _distances(points):
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


POINTS = np.random.default_rng(0).standard_normal((9, 2)) * [3, 1] + 5


@pytest.mark.parametrize("method", ["classical", "stress"])
def test_points_of_a_plane_come_back(method: str):
    found = embed(_distances(POINTS), method=method)
    np.testing.assert_allclose(_distances(found.coordinates), _distances(POINTS), atol=1e-5)
    np.testing.assert_allclose(found.coordinates.mean(axis=0), 0, atol=1e-10)
    assert found.stress < 1e-5
    # along the axes of largest spread
    covariance = found.coordinates.T @ found.coordinates
    assert covariance[0, 0] > covariance[1, 1] and abs(covariance[0, 1]) < 1e-4


def test_signs_are_fixed():
    order = np.random.default_rng(1).permutation(9)
    plain, shuffled = embed(_distances(POINTS)), embed(_distances(POINTS[order]))
    np.testing.assert_allclose(shuffled.coordinates, plain.coordinates[order], atol=1e-8)
    assert (plain.coordinates.max(axis=0) > -plain.coordinates.min(axis=0)).all()


def test_what_does_not_fit_in_a_plane_has_stress():
    simplex = 1 - np.eye(6)
    classical, least = embed(simplex), embed(simplex, method="stress")
    assert 0.2 < least.stress < classical.stress
    embedded = _distances(least.coordinates)
    assert least.stress == pytest.approx(np.sqrt(np.sum((embedded - simplex) ** 2) / np.sum(simplex**2)))
    assert embed(simplex, dimensions=5).stress < 1e-7


def test_clusters_are_those_of_the_points():
    groups = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    points = np.array([[0, 0], [10, 0], [0, 10]])[groups] + 0.1 * np.random.default_rng(0).standard_normal((8, 2))
    found = fcluster(cluster(_distances(points)), 3, "maxclust")
    assert len(set(zip(groups.tolist(), found.tolist(), strict=True))) == 3
    leaves = groups[leaves_list(cluster(_distances(points)))]
    assert (np.diff(leaves) != 0).sum() == 2


def test_average_linkage_of_three():
    distances = np.array([[0, 1, 4], [1, 0, 6], [4, 6, 0.0]])
    np.testing.assert_allclose(squareform(cophenet(cluster(distances))), [[0, 1, 5], [1, 0, 5], [5, 5, 0]])
    np.testing.assert_allclose(squareform(cophenet(cluster(distances, method="single")))[0], [0, 1, 4])


@pytest.mark.parametrize("function", [embed, cluster])
@pytest.mark.parametrize(
    ("distances", "message"),
    [
        (np.ones((3, 4)), r"distances has shape \(3, 4\); give one row and one column"),
        (np.zeros((1, 1)), r"distances has shape \(1, 1\)"),
        (np.ones((3, 3)), "distances must be symmetric, 0 on the diagonal"),
        (np.triu(np.ones((3, 3)), 1), "distances must be symmetric"),
        (np.eye(3) - 1, "nowhere negative"),
        (np.where(np.eye(3), 0, np.nan), "distances holds 6 values that are not finite"),
    ],
)
def test_what_is_no_distance_matrix(function, distances, message: str):
    with pytest.raises(InputError, match=message):
        function(distances)


def test_bad_options():
    with pytest.raises(InputError, match="dimensions is 9 for 9 networks; give at most 8"):
        embed(_distances(POINTS), dimensions=9)
    with pytest.raises(InputError, match="method 'classic' is unknown; did you mean 'classical'"):
        embed(_distances(POINTS), method="classic")
    with pytest.raises(InputError, match="method 'ward' is unknown"):
        cluster(_distances(POINTS), method="ward")
