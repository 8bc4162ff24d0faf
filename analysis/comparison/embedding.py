"""Embedding and clustering: positions in a plane and a tree, from a distance matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from cordstasks.analysis._checks import Floats, count, real_array, rounding
from cordstasks.errors import InputError, unknown

__all__ = ["Embedding", "cluster", "embed"]

EMBEDDINGS = ("classical", "stress")
LINKAGES = ("average", "complete", "single", "weighted")


@dataclass(frozen=True, eq=False)
class Embedding:
    """Positions of networks that preserve their distances as well as possible, from `embed`.

    Attributes
    ----------
    coordinates : (network, dimension)
        Mean 0, along the axes of largest spread, in the unit of the distances; the sign of an axis is that which makes
        the largest of its coordinates positive.
    stress : float
        Root of the sum of squared differences between embedded distances and true ones, over that of the true ones:
        0 is perfect, and above about 0.2 the picture should not be trusted.
    """

    coordinates: Floats
    stress: float


def embed(distances: ArrayLike, *, dimensions: int = 2, method: str = "classical") -> Embedding:
    """Multidimensional scaling: positions of networks from their distances.

    Parameters
    ----------
    distances : (network, network)
        Symmetric, with 0 on the diagonal. Not modified.
    dimensions : int
        At most one fewer than networks.
    method : "classical" or "stress"
        Classical scaling (Torgerson 1952, Psychometrika 17:401), which takes distances for Euclidean and is exact where
        they are; or, from there, the least sum of squared differences between distances (scikit-learn's SMACOF), a local
        optimum.

    Returns
    -------
    Embedding

    Raises
    ------
    InputError
        If the distances are not a distance matrix, or the dimensions too many.
    """
    matrix = checked_distances(distances)
    number = len(matrix)
    if count("dimensions", dimensions, 1) >= number:
        raise InputError(f"dimensions is {dimensions} for {number} networks; give at most {number - 1}")
    if method not in EMBEDDINGS:
        raise unknown("method", method, EMBEDDINGS)
    centring = np.eye(number) - 1 / number
    values, vectors = np.linalg.eigh(-centring @ matrix**2 @ centring / 2)
    coordinates = (vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1][:, :dimensions]
    if method == "stress":
        from sklearn.manifold import smacof

        coordinates, _ = smacof(
            matrix, n_components=dimensions, init=coordinates, n_init=1, max_iter=1000, eps=1e-9, normalized_stress=False
        )
        coordinates = coordinates - coordinates.mean(axis=0)
        coordinates = coordinates @ np.linalg.svd(coordinates, full_matrices=False)[2].T
    peak = np.argmax(np.abs(coordinates), axis=0)
    coordinates = coordinates * np.where(coordinates[peak, np.arange(dimensions)] < 0, -1.0, 1.0)
    embedded = np.linalg.norm(coordinates[:, None] - coordinates[None], axis=-1)
    size = float(np.linalg.norm(matrix))
    return Embedding(coordinates, float(np.linalg.norm(embedded - matrix) / size) if size else 0.0)


def cluster(distances: ArrayLike, *, method: str = "average") -> Floats:
    """Hierarchical clustering, with the leaves ordered so that similar networks are neighbours.

    Parameters
    ----------
    distances : (network, network)
        Symmetric, with 0 on the diagonal. Not modified.
    method : "average", "complete", "single" or "weighted"
        How the distance of clusters follows from those of their members, as in `scipy.cluster.hierarchy.linkage`. Its
        other methods take distances for Euclidean, which these are not.

    Returns
    -------
    (network - 1, 4)
        SciPy's linkage matrix, for `scipy.cluster.hierarchy.fcluster` and `figures.dendrogram`.

    Raises
    ------
    InputError
        If the distances are not a distance matrix.
    """
    matrix = checked_distances(distances)
    if method not in LINKAGES:
        raise unknown("method", method, LINKAGES)
    return np.asarray(linkage(squareform(matrix, checks=False), method, optimal_ordering=True))


def checked_distances(distances: ArrayLike) -> Floats:
    """Return distances (network, network), made exactly symmetric if they are symmetric up to rounding."""
    matrix = real_array("distances", distances, ("network", "network"))
    if matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise InputError(f"distances has shape {matrix.shape}; give one row and one column for each of at least 2 networks")
    tolerance = max(1e-8, 4 * rounding(distances))
    if (matrix < 0).any() or np.diag(matrix).any() or not np.allclose(matrix, matrix.T, rtol=tolerance, atol=1e-12):
        raise InputError("distances must be symmetric, 0 on the diagonal and nowhere negative; give those of pairs")
    return (matrix + matrix.T) / 2
