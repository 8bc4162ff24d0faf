"""What eigenvalues do not show: singular values, numerical abscissa, transient growth, pseudospectrum."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigvalsh_tridiagonal, schur, solve_triangular
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh

from cordstasks.analysis._checks import Floats, count, real_array
from cordstasks.analysis.dynamics.operators import DENSE, check_transpose, linear_operator, square_operator
from cordstasks.errors import InputError, Note
from cordstasks.utils.arguments import integers, number

__all__ = ["numerical_abscissa", "pseudospectrum", "singular_values", "transient_growth"]

LARGEST = 1000  # units for a pseudospectrum
ITERATIONS = 100  # of inverse Lanczos iteration at most, at each point of a pseudospectrum


def singular_values(operator: Any, k: int = 6, *, tolerance: float = 1e-8, rng: int | np.random.Generator = 0) -> Floats:
    """The largest singular values of an operator, such as the most that one step can amplify activity.

    Parameters
    ----------
    operator : matrix or LinearOperator
        Of any shape, with ``rmatvec``.
    k : int, default 6
        How many, at most as many as the shorter side of the operator.
    tolerance : float, default 1e-8
        Relative accuracy of their squares.
    rng : int or Generator, default 0
        Draws the start vector.

    Returns
    -------
    float64 (value,)
        The largest first.

    Raises
    ------
    InputError
        If the operator cannot be used (see `eigenvalues`), its ``rmatvec`` is not the transpose of its ``matvec``, or k is
        too large.

    Warns
    -----
    Note
        If some have not converged; those that have are returned.
    """
    found = linear_operator(operator)
    check_transpose(found)
    k = count("k", k, 1)
    if k > min(found.shape):
        raise InputError(f"k={k}: an operator of shape {found.shape} has {min(found.shape)} singular values; give no more")
    squared = _squared(found)
    return np.sqrt(np.maximum(_symmetric(squared, k, tolerance, rng), 0))


def numerical_abscissa(operator: Any, *, tolerance: float = 1e-8, rng: int | np.random.Generator = 0) -> float:
    """The largest eigenvalue of an operator's symmetric part, ``(A + A^T) / 2``.

    For ``dr/dt = A r`` it is the largest rate at which the norm of activity can grow at first. If it is above zero while all
    eigenvalues have negative real parts, activity grows before it decays.

    Parameters
    ----------
    operator : matrix or LinearOperator
        Square, with ``rmatvec``; the generator of the dynamics, such as W - I (`shifted`).
    tolerance : float, default 1e-8
        Relative accuracy.
    rng : int or Generator, default 0
        Draws the start vector.

    Returns
    -------
    float

    Raises
    ------
    InputError
        As `singular_values`, and if the operator is not square.
    """
    found = square_operator(operator)
    check_transpose(found)

    def both(x: NDArray[Any]) -> NDArray[Any]:
        return np.asarray((found.matvec(x) + found.rmatvec(x)) / 2)

    return float(_symmetric(LinearOperator(found.shape, matvec=both, dtype=found.dtype), 1, tolerance, rng)[0])


def transient_growth(
    operator: Any, steps: ArrayLike, *, tolerance: float = 1e-6, rng: int | np.random.Generator = 0
) -> Floats:
    """The largest factor by which activity can have grown after a number of steps, ``|A^steps|``.

    Parameters
    ----------
    operator : matrix or LinearOperator
        Square, with ``rmatvec``: one step of the dynamics, such as `jacobian_operator`. For ``dr/dt = A r``, give the
        operator of an Euler step, I + dt A.
    steps : array of int (time,)
        Numbers of steps.
    tolerance : float, default 1e-6
        Relative accuracy of the squared factor.
    rng : int or Generator, default 0
        Draws the start vector.

    Returns
    -------
    float64 (time,)
        Above 1 where activity in some direction has grown. The step 0 gives 1. Factors too small for numbers are 0.

    Raises
    ------
    InputError
        As `numerical_abscissa`, or for steps below 0 or so many that activity grows beyond what numbers can hold.

    Notes
    -----
    Not valid far from the state of the linearisation: in a nonlinear network the factor is of small perturbations. The cost
    is about 40 times the number of steps in products, for each entry of `steps`.
    """
    found = square_operator(operator)
    check_transpose(found)
    wanted = integers("steps", steps, least=0)

    def growth(number_of_steps: int) -> float:
        if number_of_steps == 0:
            return 1.0

        def forth_and_back(x: NDArray[Any]) -> NDArray[Any]:
            for _ in range(number_of_steps):
                x = found.matvec(x)
            for _ in range(number_of_steps):
                x = found.rmatvec(x)
            return x

        product = LinearOperator(found.shape, matvec=forth_and_back, dtype=found.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            tried = product.matvec(np.ones(found.shape[0], found.dtype))
        if not np.linalg.norm(tried) < np.sqrt(np.finfo(found.dtype).max):  # nor if it is not a number
            raise InputError(f"steps={number_of_steps}: activity grows beyond what numbers can hold; give fewer steps")
        return float(np.sqrt(max(0.0, _symmetric(product, 1, tolerance, rng)[0])))

    return np.array([growth(each) for each in wanted])


def pseudospectrum(matrix: Any, real: ArrayLike, imaginary: ArrayLike) -> Floats:
    """The smallest singular value of ``z I - A`` over a grid of complex numbers z.

    Its level line at epsilon encloses all eigenvalues that A can have after a perturbation of norm epsilon.

    Parameters
    ----------
    matrix : matrix or LinearOperator
        Square, of at most 1,000 units: the matrix is formed.
    real, imaginary : array
        The grid's coordinates.

    Returns
    -------
    float64 (imaginary, real)

    Raises
    ------
    InputError
        If the matrix cannot be used or is larger, or coordinates are not finite.

    Notes
    -----
    Inverse Lanczos iteration on the triangular Schur form, about 20 triangular solves for each point. It stops at a relative
    change of 1e-8. Values too small for numbers are 0.

    References
    ----------
    Trefethen & Embree 2005, "Spectra and pseudospectra", Princeton, chapter 39.
    """
    found = square_operator(matrix)
    size = found.shape[0]
    if size > LARGEST:
        raise InputError(f"matrix of {size} units: a pseudospectrum needs the whole matrix; give at most {LARGEST} units")
    x, y = real_array("real", real, ("value",)), real_array("imaginary", imaginary, ("value",))
    dense = np.asarray(found.matmat(np.eye(size, dtype=found.dtype)), dtype=np.complex128)
    triangular, _ = schur(dense, output="complex")
    start = np.random.default_rng(0).standard_normal(size) + 0j
    return np.array([[_smallest(complex(a, b), triangular, start) for a in x] for b in y])


def _smallest(z: complex, triangular: NDArray[np.complex128], vector: NDArray[np.complex128]) -> float:
    """The smallest singular value of ``z I`` minus a triangular matrix."""
    moved = -triangular
    moved[np.diag_indices_from(moved)] += z
    if not np.abs(moved.diagonal()).all():
        return 0.0
    basis = (vector / np.linalg.norm(vector))[None]
    diagonal, beside, last = list[float](), list[float](), 0.0
    for _ in range(min(ITERATIONS, len(vector))):
        with np.errstate(over="ignore", invalid="ignore"):
            half = solve_triangular(moved, basis[-1], trans="C", check_finite=False)
            vector = solve_triangular(moved, half, check_finite=False)
            diagonal.append(float(np.vdot(basis[-1], vector).real))
        if not np.isfinite(vector).all() or not np.isfinite(diagonal[-1]):
            return 0.0
        estimate = float(eigvalsh_tridiagonal(np.array(diagonal), np.array(beside))[-1])
        for _ in range(2):  # once more, for what rounding has left
            vector = vector - (basis.conj() @ vector) @ basis
        length = float(np.linalg.norm(vector))
        if abs(estimate - last) <= 1e-8 * estimate or length <= 1e-12 * estimate:
            break
        last = estimate
        beside.append(length)
        basis = np.concatenate([basis, vector[None] / length])
    return float(1 / np.sqrt(estimate))


def _squared(operator: LinearOperator) -> LinearOperator:
    """``A^T A``, or ``A A^T`` if that is smaller."""
    rows, columns = operator.shape
    first: Callable[[Any], Any]
    second: Callable[[Any], Any]
    first, second = (operator.matvec, operator.rmatvec) if columns <= rows else (operator.rmatvec, operator.matvec)
    side = min(rows, columns)
    return LinearOperator((side, side), matvec=lambda x: second(first(x)), dtype=operator.dtype)


def _symmetric(operator: LinearOperator, k: int, tolerance: float, rng: int | np.random.Generator) -> Floats:
    """The k largest eigenvalues of a symmetric operator, the largest first."""
    tolerance = number("tolerance", tolerance, "give a relative accuracy above 0 and below 1", above=0, below=1)
    size = operator.shape[0]
    if size <= 64 or k >= size - 1:
        if size > DENSE:
            raise InputError(f"k={k}: nearly all of {size} values, too many to compute; give fewer")
        dense = np.column_stack([operator.matvec(column) for column in np.eye(size, dtype=operator.dtype)])
        return np.asarray(np.linalg.eigvalsh((dense + dense.conj().T) / 2)[::-1][:k], dtype=np.float64)
    kind = np.dtype(operator.dtype)
    start = np.random.default_rng(rng).standard_normal(size).astype(kind)
    least = float(np.finfo(kind).eps)
    if not np.any(operator.matvec(start)):  # nor is any other vector
        return np.zeros(k)
    try:
        values = eigsh(operator, k, which="LA", v0=start, tol=max(tolerance, least), return_eigenvectors=False)
    except ArpackNoConvergence as stopped:
        values = stopped.eigenvalues
        message = f"only {len(values)} of {k} values have converged to {tolerance:g}; give a larger tolerance"
        if not len(values):
            raise InputError(f"tolerance={tolerance:g}: {message}") from stopped
        warnings.warn(message, Note, stacklevel=3)
    except ArpackError as error:
        raise InputError(f"operator: the iteration fails ({error}); scale the operator to values near 1") from error
    return np.asarray(np.sort(values)[::-1], dtype=np.float64)
