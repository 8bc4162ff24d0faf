"""Distances between many networks by linear centred kernel alignment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from cordstasks.analysis._checks import Floats, real_array
from cordstasks.errors import InputError

__all__ = ["kernel_alignment_distances"]


def kernel_alignment_distances(activities: Sequence[ArrayLike]) -> Floats:
    """The arc cosine of linear centred kernel alignment (CKA) between all pairs of many networks.

    As an angle, CKA is a metric (Williams, Kunz, Kornblith & Linderman 2021). It is computed on all samples, so nothing is
    fitted and nothing is held out; it is biased towards similarity where there are few samples (see `linear_cka`).

    Parameters
    ----------
    activities : sequence of (sample, unit)
        At least two networks, on the same samples, of any numbers of units. Not modified.

    Returns
    -------
    ndarray of shape (network, network)
        Angles in rad, from 0 to pi / 2; symmetric, 0 on the diagonal.

    Raises
    ------
    InputError
        If there are fewer than two networks, their samples differ in number, or one of them is constant or not finite.

    References
    ----------
    Kornblith, Norouzi, Lee & Hinton 2019, "Similarity of neural network representations revisited", ICML 97: 3519.
    """
    if len(activities) < 2:
        raise InputError(f"activities holds {len(activities)} networks; give at least 2")
    arrays: list[Floats] = []
    for place, values in enumerate(activities):
        name = f"activities[{place}]"
        array = real_array(name, values, ("sample", "unit"))
        if arrays and len(array) != len(arrays[0]):
            raise InputError(f"{name} has {len(array)} samples and activities[0] {len(arrays[0])}; give the same samples")
        centred = array - array.mean(axis=0)
        size = np.sqrt(np.linalg.norm(centred.T @ centred))
        if not size > 0:
            raise InputError(f"{name} does not vary; leave it out")
        arrays.append(centred / size)  # its kernel then has the norm 1
    result = np.zeros((len(arrays), len(arrays)))
    for i, first in enumerate(arrays):
        for j, second in enumerate(arrays[i + 1 :], start=i + 1):
            alignment = np.sum((first.T @ second) ** 2)
            result[i, j] = result[j, i] = np.arccos(min(float(alignment), 1.0))
    return result
