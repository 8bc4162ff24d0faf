"""Activity of one network: checked, centred, and rotated to its principal directions; used by all comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import qr, svd

from cordstasks.analysis._checks import Floats, count, real_array, rounding
from cordstasks.errors import InputError

Components = int | Literal["auto"] | None

SHARE, MOST = 0.99, 20  # of the variance, and of the components, that "auto" keeps


@dataclass(frozen=True, eq=False)
class Principal:
    """Centred activity as ``basis @ diag(scale) @ directions.T``, without the directions in which it does not vary.

    Attributes
    ----------
    mean : (unit,)
    basis : ndarray of shape (sample, dimension)
        Orthonormal columns of mean 0.
    scale : ndarray of shape (dimension,)
        Positive and descending; its squares are the variances times the number of samples.
    directions : ndarray of shape (unit, dimension)
        Directions of the components, orthonormal columns.
    total : float
        Sum of squares of the centred activity, those of dimensions left out included.
    """

    mean: Floats
    basis: Floats
    scale: Floats
    directions: Floats
    total: float

    @property
    def units(self) -> int:
        """Number of units."""
        return len(self.mean)

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.basis)

    def held(self, components: int) -> float:
        """Fraction of the variance that the first components hold."""
        return float(np.sum(self.scale[:components] ** 2) / self.total)

    def first(self, components: int | None) -> Principal:
        """Keep the first components, or all if there are fewer."""
        return replace(
            self,
            basis=self.basis[:, :components],
            scale=self.scale[:components],
            directions=self.directions[:, :components],
        )


def principal(name: str, values: ArrayLike) -> Principal:
    """Decompose activity (sample, unit).

    Directions that may be rounding are left out: those whose singular value is below (the larger side of the array) x
    (machine epsilon of float64, in which everything is computed) x (the largest singular value), or below half a unit in
    the last place of the most active unit, in the original type of the activity.
    """
    epsilon = float(np.finfo(np.float64).eps)
    array = real_array(name, values, ("sample", "unit"))
    if len(array) < 2:
        raise InputError(f"{name} has {len(array)} sample; give at least 2")
    still = np.ptp(array, axis=0) <= 8 * epsilon * np.abs(array).max(axis=0)
    if still.all():
        raise InputError(f"{name} is constant: none of its {len(still)} units varies over the samples; leave it out")
    mean = array.mean(axis=0)
    centred = array - mean
    centred[:, still] = 0.0  # otherwise the rounding of the mean would be their activity
    if len(centred) > centred.shape[1]:
        q, r = qr(centred, mode="economic", overwrite_a=True, check_finite=False)
        left, scale, right = svd(r, full_matrices=False, check_finite=False)
        left = q @ left
    else:
        left, scale, right = svd(centred, full_matrices=False, check_finite=False)
    last_place = rounding(values) / 2 * float(np.linalg.norm(array, axis=0).max())
    kept = max(1, int((scale > max(epsilon * max(array.shape) * scale[0], last_place)).sum()))
    return Principal(mean, left[:, :kept], scale[:kept], right[:kept].T, float(np.sum(scale**2)))


def principals(names: Sequence[str], activities: Sequence[ArrayLike], components: Components) -> list[Principal]:
    """Decompose the activities of several networks on the same samples and keep the same number of components of each.

    `components` is a number, "auto" (see `automatic`) or None, which keeps all directions and for which there must be
    as many samples as units.
    """
    wanted = checked_components(components)
    found: list[Principal] = []
    for name, values in zip(names, activities, strict=True):
        each = principal(name, values)
        if found and each.samples != found[0].samples:
            raise InputError(
                f"{name} has {each.samples} samples but {names[0]} has {found[0].samples}; record both on the same samples"
            )
        if wanted is None and each.samples < each.units:
            raise InputError(
                f"{name} has {each.samples} samples of {each.units} units, fewer samples than units; give more samples, "
                f"or project on principal components first, such as components={MOST}"
            )
        found.append(each)
    number = automatic(found) if wanted == "auto" else wanted
    return [each.first(number) for each in found]


def checked_components(components: Components) -> Components:
    """Return `components` if it is "auto", None or a whole number above 0."""
    if components is None or components == "auto":
        return components
    if isinstance(components, str):
        raise InputError(f"components is {components!r}; give a whole number, 'auto' or None")
    return count("components", components, 1)


def automatic(networks: Sequence[Principal]) -> int:
    """The number of components that hold 99 % of the variance of the network that needs fewest, at most 20.

    With more components, that network would have directions with almost no variance, which whitening makes as large as any
    other.
    """
    return min(MOST, min(_holding(each.scale, SHARE) for each in networks))


def _holding(scale: Floats, share: float) -> int:
    held = np.cumsum(scale**2) / np.sum(scale**2)
    return int(np.searchsorted(held, share - 1e-12) + 1)
