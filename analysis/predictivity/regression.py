"""Linear regressions from many features: partial least squares and ridge, with what they share computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh, svd

from cordstasks.analysis._checks import Floats, count, real_array
from cordstasks.errors import InputError, unknown

METHODS = ("pls", "ridge")
PENALTIES = tuple(float(each) for each in np.logspace(-4, 4, 9))
_NOTHING = 1e-12  # covariance, or variance, relative to the first, below which nothing is left to fit

_STILL = 1e-9  # deviation, relative to the size of the features, below which they do not vary


@dataclass(frozen=True)
class Regression:
    """Which regression to use.

    Attributes
    ----------
    method : str
        ``"pls"``: partial least squares; ``"ridge"``.
    components : int
        Of partial least squares; fewer where the features vary in fewer dimensions.
    penalties : tuple of float
        Of ridge, in units of the mean squared singular value of the training features; each unit gets the penalty with the
        smallest leave-one-out error over training samples.

    Raises
    ------
    InputError
        If the method is unknown, or a number is out of range.
    """

    method: str = "pls"
    components: int = 25
    penalties: tuple[float, ...] = PENALTIES

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown("method", self.method, METHODS)
        count("components", self.components, 1)
        if not self.penalties or not all(np.isfinite(each) and each > 0 for each in self.penalties):
            raise InputError(f"penalties={self.penalties!r}: give one or more finite numbers above 0")

    def check(self, samples: int) -> None:
        """Refuse more components than so many training samples allow.

        Parameters
        ----------
        samples : int
            Number of training samples.

        Raises
        ------
        InputError
            If partial least squares would have as many components as samples, or more.
        """
        if self.method == "pls" and self.components > samples - 1:
            raise InputError(
                f"components={self.components}: {samples} training samples allow {samples - 1} at most; give fewer "
                "components, more stimuli, or ridge"
            )


class Training:
    """Features of training samples, and what regressions of any targets on them need, computed once when it is needed.

    Parameters
    ----------
    x : (sample, feature)
        Not modified.
    """

    def __init__(self, x: Floats) -> None:
        self.mean = x.mean(axis=0)
        centred = x - self.mean
        # features that differ by rounding alone, such as those before the onset of a stimulus, hold nothing to fit
        still = np.linalg.norm(centred) <= _STILL * np.linalg.norm(x)
        self._x = np.zeros_like(centred) if still else centred

    @cached_property
    def _gram(self) -> Floats:
        return self._x.T @ self._x

    @cached_property
    def _svd(self) -> tuple[Floats, Floats, Floats]:
        left, scale, right = svd(self._x, full_matrices=False, check_finite=False)
        kept = scale > _NOTHING * max(float(scale[0]), np.finfo(float).tiny)
        return left[:, kept], scale[kept], right[kept].T

    def fit(self, y: Floats, regression: Regression) -> tuple[Floats, Floats]:
        """Coefficients (feature, unit) and intercepts (unit,) for targets (sample, unit).

        Parameters
        ----------
        y : (sample, unit)
            Targets of the training samples; not modified.
        regression : Regression

        Returns
        -------
        coefficients : (feature, unit)
            In units of the targets per unit of the features.
        intercepts : (unit,)
            What is added to features times coefficients to predict the targets.
        """
        centre = y.mean(axis=0)
        centred = y - centre
        if regression.method == "pls":
            coefficients = _pls(self._gram, self._x.T @ centred, regression.components)
        else:
            coefficients = self._ridge(centred, regression.penalties)
        return coefficients, centre - self.mean @ coefficients

    def _ridge(self, y: Floats, penalties: tuple[float, ...]) -> Floats:
        left, scale, directions = self._svd
        if not len(scale):
            return np.zeros((self._x.shape[1], y.shape[1]))
        projected = left.T @ y
        squares = scale**2
        best = np.full(y.shape[1], np.inf)
        chosen = np.zeros((len(scale), y.shape[1]))
        for penalty in penalties:
            shrunk = squares / (squares + penalty * squares.mean())
            leverage = 1 / len(y) + (left**2) @ shrunk
            left_out = (y - left @ (shrunk[:, None] * projected)) / np.maximum(1 - leverage, _NOTHING)[:, None]
            error = np.mean(left_out**2, axis=0)
            better = error < best
            best[better] = error[better]
            chosen[:, better] = (shrunk / scale)[:, None] * projected[:, better]
        return directions @ chosen


def _pls(gram: Floats, covariance: Floats, components: int) -> Floats:
    """Coefficients (feature, unit) of partial least squares, from products of the centred features and targets.

    The same as the NIPALS iteration run to convergence, but nothing of the size of the samples is deflated (Dayal &
    MacGregor 1997). The products are of the training samples: features with features, and features with targets.
    """
    left = covariance.copy()
    first, variance = float(np.linalg.norm(left)), float(np.trace(gram))
    coefficients = np.zeros_like(left)
    rotations: list[Floats] = []
    loadings: list[Floats] = []
    for _ in range(components):
        if not np.linalg.norm(left) > _NOTHING * max(first, np.finfo(float).tiny):
            break
        rotation = weights = _dominant(left)
        for earlier, loading in zip(rotations, loadings, strict=True):
            rotation = rotation - (loading @ weights) * earlier
        image = gram @ rotation
        power = float(rotation @ image)
        if not power > _NOTHING * variance * float(rotation @ rotation) / len(gram):
            break
        loading, answer = image / power, left.T @ rotation / power
        left -= power * np.outer(loading, answer)
        coefficients += np.outer(rotation, answer)
        rotations.append(rotation)
        loadings.append(loading)
    return coefficients


def _dominant(matrix: Floats) -> Floats:
    """The left singular vector of the largest singular value."""
    rows, columns = matrix.shape
    if columns == 1:
        vector = matrix[:, 0]
    elif columns <= rows:
        _, top = eigh(matrix.T @ matrix, subset_by_index=[columns - 1, columns - 1], check_finite=False)
        vector = matrix @ top[:, 0]
    else:
        _, top = eigh(matrix @ matrix.T, subset_by_index=[rows - 1, rows - 1], check_finite=False)
        vector = top[:, 0]
    unit: Floats = vector / np.linalg.norm(vector)
    return unit


def pls_predictions(x: ArrayLike, y: ArrayLike, x_new: ArrayLike, *, components: int = 25) -> Floats:
    """Predict by partial least squares (PLS2, as scikit-learn's ``PLSRegression(scale=False)``).

    Parameters
    ----------
    x : (sample, feature)
        Training features; not modified.
    y : (sample, unit)
        Training targets.
    x_new : (new sample, feature)
        Features to predict from.
    components : int
        Number of latent components, at most the number of training samples less one; fewer are used if the features vary in
        fewer dimensions.

    Returns
    -------
    (new sample, unit)

    Raises
    ------
    InputError
        If arrays do not fit, or there are fewer training samples than components.

    References
    ----------
    Wold, Sjöström & Eriksson 2001, Chemometr. Intell. Lab. Syst. 58:109; Dayal & MacGregor 1997, J. Chemometr. 11:73.
    """
    return _predicted(x, y, x_new, Regression("pls", components))


def ridge_predictions(x: ArrayLike, y: ArrayLike, x_new: ArrayLike, *, penalties: tuple[float, ...] = PENALTIES) -> Floats:
    """Predict by ridge regression, the penalty of each unit chosen by its leave-one-out error over training samples.

    Parameters
    ----------
    x : (sample, feature)
        Training features; not modified.
    y : (sample, unit)
        Training targets.
    x_new : (new sample, feature)
        Features to predict from.
    penalties : tuple of float
        In units of the mean squared singular value of the centred training features.

    Returns
    -------
    (new sample, unit)

    Raises
    ------
    InputError
        If arrays do not fit, or a penalty is not above 0.
    """
    return _predicted(x, y, x_new, Regression("ridge", penalties=tuple(penalties)))


def _predicted(x: ArrayLike, y: ArrayLike, x_new: ArrayLike, regression: Regression) -> Floats:
    features, targets = real_array("x", x, ("sample", "feature")), real_array("y", y, ("sample", "unit"))
    new = real_array("x_new", x_new, ("sample", "feature"))
    if len(features) != len(targets) or features.shape[1] != new.shape[1]:
        raise InputError(
            f"x has shape {features.shape}, y {targets.shape} and x_new {new.shape}; give as many samples of y as of x, and "
            "the same features in x_new"
        )
    regression.check(len(features))
    small, small_new = features, new
    if features.shape[1] > len(features):  # rotate to as many features as there are samples, which changes nothing
        basis, triangle = np.linalg.qr(features.T)
        small, small_new = triangle.T, new @ basis
    coefficients, intercepts = Training(small).fit(targets, regression)
    return np.asarray(small_new @ coefficients + intercepts)
