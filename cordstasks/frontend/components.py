"""Leading eigenvectors of the covariance of many features, without forming or decomposing the whole matrix.

Features stay in half precision; only a part of their rows is in single precision at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["block_factors", "from_rows", "inverse_root", "leading", "mean_of"]

PART = 1024  # rows in single precision at a time
EARLY_ROWS = 4096  # at least so many rows, spread evenly, seek the directions that all rows then refine
EARLY_PASSES = 2


def inverse_root(eigenvalues: Tensor) -> Tensor:
    """1 / sqrt of ascending eigenvalues (value,); zero for those that are zero up to rounding.

    Returns
    -------
    Tensor of shape (value,)
        At least 0.
    """
    largest = eigenvalues[-1].clamp_min(1e-30)
    return torch.where(eigenvalues > 1e-6 * largest, eigenvalues.clamp_min(1e-30).rsqrt(), 0.0)


def mean_of(rows: Tensor) -> Tensor:
    """Mean (unit,) of rows (row, unit), in float32.

    Returns
    -------
    Tensor of shape (unit,)
        In float32.
    """
    total = torch.zeros(rows.shape[1], device=rows.device, dtype=torch.float32)
    for part in rows.split(PART):
        total += part.float().mean(0) * (len(part) / len(rows))
    return total


def block_factors(rows: Tensor, mean: Tensor, blocks: Sequence[int]) -> Tensor:
    """Factors (unit,) that scale each block of units to a total variance of one, or to zero if nothing varies in it.

    Parameters
    ----------
    rows : Tensor of shape (row, unit)
        Feature vectors.
    mean : Tensor of shape (unit,)
        Mean of the rows.
    blocks : sequence of int
        Number of units of each block, in order. A single one, or none, is not scaled.

    Returns
    -------
    Tensor
        One factor per unit, the same within a block.
    """
    if len(blocks) < 2:
        return torch.ones_like(mean)
    variance = torch.zeros_like(mean)
    for some in rows.split(PART):
        variance += (some.float() - mean).square().sum(0) / len(rows)
    totals = [(part.sum(), len(part)) for part in variance.split(list(blocks))]
    return torch.cat([torch.where(total > 0, total.rsqrt(), 0.0).expand(units) for total, units in totals])


def precise(values: Tensor) -> Tensor:
    """The values in float64, in which matrices of low rank are decomposed reliably, where the device has it.

    Parameters
    ----------
    values : Tensor
        In any precision.

    Returns
    -------
    Tensor
        In float64, or on MPS, which has none, in float32.
    """
    return values if values.device.type == "mps" else values.double()


def from_rows(rows: Tensor, mean: Tensor, factors: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """As `leading`, and exact: from the products of all rows (row, unit), which should be few.

    Returns
    -------
    Tensor of shape (component,)
        Variances, ascending.
    Tensor of shape (unit, component)
        Directions, one per variance.
    """
    centred = precise((rows.float() - mean) * factors)
    values, left = torch.linalg.eigh(centred @ centred.T / len(rows))
    vectors = centred.T @ (left * inverse_root(values)) / len(rows) ** 0.5
    silent = max(0, number - len(values))  # rows have no more directions
    values, vectors = torch.nn.functional.pad(values, (silent, 0)), torch.nn.functional.pad(vectors, (silent, 0))
    return values[-number:].float(), vectors[:, -number:].float()


def leading(rows: Tensor, mean: Tensor, factors: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Largest eigenvalues and their eigenvectors of the covariance of ``(rows - mean) * factors``.

    By subspace iteration from random directions, the same each time, and a Nystroem approximation at its end (Halko,
    Martinsson & Tropp, SIAM Review 2011). Errors are largest for the last of the `number` directions; together they hold
    the largest variance possible up to about 1e-4 of it, where variances fall off as those of activity do.

    Parameters
    ----------
    rows : Tensor of shape (row, unit)
        Feature vectors.
    mean : Tensor of shape (unit,)
        Mean of the rows.
    factors : Tensor of shape (unit,)
        Factor by which each unit is scaled.
    number : int
        How many components, at most the number of units.

    Returns
    -------
    tuple of Tensor
        Eigenvalues (number,), ascending, and eigenvectors (unit, number), in float32.
    """
    width = min(rows.shape[1], number + number // 4 + 32)
    draw = torch.Generator().manual_seed(0)
    basis = torch.randn(rows.shape[1], width, generator=draw, dtype=torch.float32).to(rows.device)
    early = rows[:: max(1, len(rows) // max(EARLY_ROWS, 8 * width))]
    for _ in range(EARLY_PASSES):
        basis = torch.linalg.qr(_covariance_times(basis, early, mean, factors))[0]
    image = _covariance_times(basis, rows, mean, factors).double()
    small = basis.double().T @ image
    values, vectors = torch.linalg.eigh((small + small.T) / 2)
    root = image @ (vectors * inverse_root(values))  # root @ root.T approximates the covariance
    values, vectors = torch.linalg.eigh(root.T @ root)
    values, vectors = values[-number:], root @ (vectors * inverse_root(values))[:, -number:]
    return values.float(), vectors.float()


def _covariance_times(directions: Tensor, rows: Tensor, mean: Tensor, factors: Tensor) -> Tensor:
    """Covariance of the scaled rows times `directions` (unit, direction)."""
    total = torch.zeros_like(directions)
    for part in rows.split(PART):
        centred = (part.float() - mean) * factors
        total += centred.T @ (centred @ directions)
    return total / len(rows)
