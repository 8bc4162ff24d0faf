"""Leading eigenvalues of operators by implicitly restarted Arnoldi iteration, with the residual of each."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigs

from cordstasks.analysis._checks import Floats, count
from cordstasks.analysis.dynamics.operators import DENSE, applied, check_transpose, square_operator
from cordstasks.errors import InputError, Note, unknown
from cordstasks.utils.arguments import number

__all__ = ["Spectrum", "eigenvalues"]

Complexes = NDArray[np.complex128]
TINY = float(np.finfo(np.float64).tiny)
SMALL = 256  # up to this size the matrix is formed
MARGIN, MARGIN_FRACTION = 6, 0.1  # how many more are sought than asked for: at least, and as a fraction of those
POWER, POWER_RESTARTS = 3, 10  # of the operator whose iteration needs fewer vectors, and restarts until it is given up
# what is sorted by, the largest first
ORDERS: dict[str, Callable[[Any], Any]] = {
    "LM": np.abs,
    "SM": lambda values: -np.abs(values),
    "LR": np.real,
    "SR": lambda values: -np.real(values),
    "LI": lambda values: np.abs(np.imag(values)),
    "SI": lambda values: -np.abs(np.imag(values)),
}


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Some eigenvalues of an operator, in the order of `which`.

    Attributes
    ----------
    values : complex128 (value,)
        Eigenvalues; a pair of conjugates has the one with positive imaginary part first.
    residuals : float64 (value,)
        ``|A v - value v|`` for the eigenvector v of norm 1.
    converged : bool (value,)
        Whether the residual is at most the tolerance times the largest modulus of the values.
    vectors : complex128 (unit, value), or None
        Right eigenvectors of norm 1, where asked for.
    left_vectors : complex128 (unit, value), or None
        Left eigenvectors w, where asked for: ``w^H A = value w^H``, scaled so that ``w^H v = 1``. The norm of w is the
        eigenvalue's condition number.
    applications : int
        Products with the operator that were computed.
    """

    values: Complexes
    residuals: Floats
    converged: NDArray[np.bool_]
    vectors: Complexes | None
    left_vectors: Complexes | None
    applications: int

    def __len__(self) -> int:
        return len(self.values)


class _Counted(LinearOperator):  # type: ignore[misc]
    """An operator that counts its products."""

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__(operator.dtype, operator.shape)
        self.operator, self.count = operator, 0
        self.multiply_accumulates = getattr(operator, "multiply_accumulates", None)

    def _matvec(self, x: NDArray[Any]) -> NDArray[Any]:
        self.count += 1
        return np.asarray(self.operator.matvec(x))

    def _matmat(self, X: NDArray[Any]) -> NDArray[Any]:
        self.count += X.shape[1]
        return np.asarray(self.operator.matmat(X))


def eigenvalues(
    operator: Any,
    k: int = 6,
    *,
    which: str = "LM",
    tolerance: float = 1e-6,
    vectors: bool = False,
    left: bool = False,
    subspace: int | None = None,
    restarts: int | None = None,
    rng: int | np.random.Generator = 0,
) -> Spectrum:
    """Leading eigenvalues of an operator that is never formed as a matrix, each with its residual.

    Implicitly restarted Arnoldi iteration (ARPACK). For many eigenvalues of largest modulus of a convolution it takes the
    third power, which needs fewer vectors, and whose eigenvectors span the space in which the convolution's own eigenvalues
    are then found. A tenth more than k are sought, at least 6 more, and the first k are kept: of eigenvalues of nearly the
    same size, an iteration for k alone may stop at one that is not among the first k, and leave out one that is. Up to 256
    units, or if nearly all eigenvalues are asked for, the matrix is formed and all are computed directly.

    Parameters
    ----------
    operator : matrix or LinearOperator
        Square, in float32 or float64, such as `convolution_operator` or `jacobian_operator`. It is computed in its type.
    k : int, default 6
        How many eigenvalues, at most as many as there are units.
    which : {"LM", "SM", "LR", "SR", "LI", "SI"}, default "LM"
        Those of largest or smallest modulus (M), real part (R) or modulus of the imaginary part (I).
    tolerance : float, default 1e-6
        Largest residual, relative to the largest modulus found, with which an eigenvalue counts as converged.
    vectors : bool
        Whether to return right eigenvectors.
    left : bool
        Whether to return left eigenvectors, too; this takes a second iteration, with the operator's ``rmatvec``.
    subspace : int, optional
        Dimension of the Krylov space, above k + 1 (default: 2.5 times the number that is sought, at least 40). It takes
        that many vectors of memory. Below twice the number that is sought, fewer are sought.
    restarts : int, optional
        Largest number of restarts (default 100).
    rng : int or Generator, default 0
        Draws the start vector.

    Returns
    -------
    Spectrum

    Raises
    ------
    InputError
        If the operator is not square, gives values that are not finite or differ from call to call, is in half precision,
        or k is larger than its size.

    Warns
    -----
    Note
        If eigenvalues have not converged, with their number and residuals. They are returned, and not marked as converged.

    Notes
    -----
    Not valid as a proof of completeness: an eigenvalue that the start vector hardly contains may be missed, and of one that
    occurs several times some copies may be. A tolerance far above the default makes this more likely. Residuals bound
    the error of an eigenvalue only up to its condition number, which is large in strongly non-normal operators. "SM" and
    eigenvalues inside the spectrum converge slowly, since nothing is inverted. Where many eigenvalues have nearly the same
    modulus, as at the edge of a random matrix's disc, thousands of products are needed.

    References
    ----------
    Lehoucq, Sorensen & Yang 1998, "ARPACK users' guide", SIAM.
    """
    found = square_operator(operator)
    size = found.shape[0]
    k = count("k", k, 1)
    if k > size:
        raise InputError(f"k={k}: the operator has {size} eigenvalues; give at most {size}")
    if which not in ORDERS:
        raise unknown("which", which, ORDERS)
    tolerance = number(
        "tolerance", tolerance, "give a relative residual above 0 and below 1, such as 1e-6", above=0, below=1
    )
    if left:
        check_transpose(found)
    counted = _Counted(found)
    if size <= SMALL or k >= size - 1:
        if size > DENSE:
            raise InputError(f"k={k}: nearly all of {size} eigenvalues, too many to compute; give at most {size - 2}")
        values, right = _dense(counted)
    else:
        values, right = _arnoldi(counted, k, which, tolerance, subspace, restarts, rng)
    values, right = _sorted(values, right, which, k)
    residuals = _residuals(counted, values, right)
    scale = max(float(np.abs(values).max(initial=0)), TINY)
    floor = 100 * float(np.finfo(counted.dtype).eps)
    converged = residuals <= max(tolerance, floor) * scale
    lefts = _left(found, values, right, which, tolerance, subspace, restarts, rng) if left else None
    if lefts is not None:
        _warn_of_left(found, values, lefts, max(tolerance, floor) * scale)
    if not converged.all():
        worst = residuals[~converged]
        warnings.warn(
            f"eigenvalues: {int((~converged).sum())} of {k} have not converged, with residuals from {worst.min():.1e} to "
            f"{worst.max():.1e}; give a larger subspace or more restarts, or a larger tolerance",
            Note,
            stacklevel=2,
        )
    return Spectrum(values, residuals, converged, right if vectors else None, lefts, counted.count)


def _dense(operator: LinearOperator) -> tuple[Complexes, Complexes]:
    values, vectors = np.linalg.eig(np.asarray(operator.matmat(np.eye(operator.shape[0], dtype=operator.dtype))))
    return values.astype(np.complex128), vectors.astype(np.complex128)


def _arnoldi(
    operator: LinearOperator,
    k: int,
    which: str,
    tolerance: float,
    subspace: int | None,
    restarts: int | None,
    rng: int | np.random.Generator,
) -> tuple[Complexes, Complexes]:
    """At least k eigenpairs, of which some may not have converged."""
    size = operator.shape[0]
    sought = min(k + max(MARGIN, int(MARGIN_FRACTION * k)), size - 2)
    if subspace is None:
        dimension = min(size, max(40, 5 * sought // 2 + 1))
    else:
        dimension = count("subspace", subspace, k + 2)
        if dimension > size:
            raise InputError(f"subspace={dimension}: the operator has only {size} units; give at most {size}")
        sought = min(sought, max(k, dimension // 2))  # convergence is slow without room beyond what is sought
    most = 100 if restarts is None else count("restarts", restarts, 1)
    kind = np.dtype(operator.dtype)
    start = np.random.default_rng(rng).standard_normal(size).astype(kind)
    if not np.any(operator.matvec(start)):  # nor is any other vector, so that there is nothing to iterate with
        return np.zeros(k, np.complex128), np.eye(size, k, dtype=np.complex128)
    least = float(np.finfo(kind).eps)
    tol = max(tolerance / 2, least)
    if which == "LM" and _is_cheap(operator, dimension):
        power = _power(operator, start, POWER)
        if np.any(power.matvec(start)):
            found = _iterate(
                power, start, max(tol / 4, least), k=sought, which=which, ncv=dimension, maxiter=min(most, POWER_RESTARTS)
            )
            values, vectors = _on_subspace(operator, found)
            if len(values) >= k and (found.converged or most <= POWER_RESTARTS):
                return values, vectors
    found = _iterate(operator, start, tol, k=sought, which=which, ncv=dimension, maxiter=most)
    return found.values, found.vectors


class _Found(NamedTuple):
    values: Complexes
    vectors: Complexes
    converged: bool


def _iterate(operator: LinearOperator, start: NDArray[Any], tol: float, **options: Any) -> _Found:
    """What ARPACK finds; where some have not converged, these with the best ones of a single Krylov space."""
    size, k = operator.shape[0], options["k"]
    try:
        values, vectors = eigs(operator, v0=start, tol=tol, **options)
        return _Found(values.astype(np.complex128), vectors.astype(np.complex128), True)
    except ArpackNoConvergence as stopped:
        done, known = stopped.eigenvalues, stopped.eigenvectors
    except ArpackError as error:
        raise InputError(f"operator: the iteration fails ({error}); scale the operator to values near 1") from error
    if known.size:  # they would be found again, and again be all that is found
        start = (start / np.linalg.norm(start) + known.real.sum(1) / max(1, known.shape[1])).astype(start.dtype)
    rough, approximate = eigs(operator, v0=start, tol=1e10, **options)
    new = [i for i, value in enumerate(rough) if not len(done) or np.abs(done - value).min() > 1e-3 * abs(value)]
    values = np.concatenate([done, rough[new]])
    vectors = np.concatenate([known.reshape(size, -1), approximate[:, new]], axis=1)
    if len(values) < k:
        rest = [i for i in range(len(rough)) if i not in new][: k - len(values)]
        values, vectors = np.concatenate([values, rough[rest]]), np.concatenate([vectors, approximate[:, rest]], axis=1)
    return _Found(values.astype(np.complex128), vectors.astype(np.complex128), False)


def _is_cheap(operator: LinearOperator, dimension: int) -> bool:
    """Whether a product takes less than to make its result orthogonal to a subspace, which four passes over it do.

    Only convolutions say what a product takes.
    """
    taken = getattr(operator, "multiply_accumulates", None)
    return taken is not None and np.dtype(operator.dtype).kind == "f" and taken < 4 * dimension * operator.shape[0]


def _power(operator: LinearOperator, start: NDArray[Any], exponent: int) -> LinearOperator:
    """A power of the operator, scaled so that its values neither vanish nor overflow.

    It has the same eigenvectors, in the same order of modulus, and these lie further apart. So the iteration needs fewer
    vectors, and to keep these orthogonal takes far more time than the products of a convolution. Odd, since the squares of
    a value and of its negative are one.
    """
    scale = float(np.linalg.norm(operator.matvec(start)) / np.linalg.norm(start))

    def product(x: NDArray[Any]) -> NDArray[Any]:
        for _ in range(exponent):
            x = operator.matvec(x) / scale
        return x

    return LinearOperator(operator.shape, matvec=product, dtype=operator.dtype)


def _on_subspace(operator: LinearOperator, found: _Found) -> tuple[Complexes, Complexes]:
    """Eigenpairs of the operator in the space that eigenvectors of its power span (Rayleigh-Ritz)."""
    once, twisted = (found.vectors[:, chosen] for chosen in (found.values.imag >= 0, found.values.imag > 0))
    basis, lengths = np.linalg.qr(np.concatenate([once.real, twisted.imag], axis=1))
    basis = basis[:, np.abs(np.diag(lengths)) > 1e-6].astype(operator.dtype)  # of vectors of norm 1
    products = applied(operator, np.ascontiguousarray(basis))
    values, within = np.linalg.eig(basis.T.astype(np.float64) @ products)
    return values.astype(np.complex128), basis @ within.astype(np.complex128)


def _sorted(values: Complexes, vectors: Complexes, which: str, k: int) -> tuple[Complexes, Complexes]:
    """The first k in the order of `which`, conjugates side by side, and their vectors with norm 1."""
    key = ORDERS[which](values)
    scale = max(float(np.abs(values).max(initial=0)), TINY)
    rounded = np.round(key / scale, 9)  # otherwise rounding decides the order of conjugates
    order = np.lexsort((-values.imag, -np.abs(values.imag), -np.round(values.real / scale, 9), -rounded))[:k]
    chosen = vectors[:, order]
    return values[order], chosen / np.linalg.norm(chosen, axis=0)


def _residuals(operator: LinearOperator, values: Complexes, vectors: Complexes) -> Floats:
    """``|A v - value v|``, computed once for both of a pair of conjugates."""
    residuals = np.zeros(len(values))
    for start in range(0, len(values), 16):
        part = slice(start, start + 16)
        own, of = vectors[:, part], values[part]
        real = np.dtype(operator.dtype).kind != "c"
        once = np.array([not (real and i and of[i] == of[i - 1].conjugate() and of[i].imag < 0) for i in range(len(of))])
        products = applied(operator, np.ascontiguousarray(own[:, once]))
        found = np.linalg.norm(products - own[:, once] * of[once], axis=0)
        residuals[part] = found[np.cumsum(once) - 1]
    return residuals


def _left(
    operator: LinearOperator,
    values: Complexes,
    right: Complexes,
    which: str,
    tolerance: float,
    subspace: int | None,
    restarts: int | None,
    rng: int | np.random.Generator,
) -> Complexes:
    """Left eigenvectors that belong to these eigenvalues, scaled by the right ones."""
    adjoint = LinearOperator(operator.shape, matvec=operator.rmatvec, matmat=operator.rmatmat, dtype=operator.dtype)
    if operator.shape[0] <= SMALL or len(values) >= operator.shape[0] - 1:
        found, vectors = _dense(adjoint)
    else:
        # one more, since the last may be one of a pair of conjugates of which the other is asked for
        more = min(len(values) + 1, operator.shape[0] - 2)
        found, vectors = _arnoldi(adjoint, more, which, tolerance, None if subspace is None else subspace + 1, restarts, rng)
    lefts = np.empty_like(right)
    free = np.ones(len(found), bool)
    for place, value in enumerate(values):
        distance = np.where(free, np.abs(found - value.conjugate()), np.inf)
        near = int(distance.argmin())
        free[near] = False
        overlap = np.vdot(vectors[:, near], right[:, place])
        if abs(overlap) < 1e-12:
            raise InputError(
                "left=True: an eigenvalue is defective or occurs several times, so that left and right eigenvectors cannot "
                "be paired; leave left=True out"
            )
        lefts[:, place] = vectors[:, near] / np.conj(overlap)
    return lefts


def _warn_of_left(operator: LinearOperator, values: Complexes, lefts: Complexes, allowed: float) -> None:
    """A note if left eigenvectors, which come from an iteration of their own, have not converged."""
    adjoint = LinearOperator(operator.shape, matvec=operator.rmatvec, matmat=operator.rmatmat, dtype=operator.dtype)
    off = np.linalg.norm(applied(adjoint, lefts) - lefts * values.conj(), axis=0) / np.linalg.norm(lefts, axis=0)
    if off.max() > allowed:
        warnings.warn(
            f"left: {int((off > allowed).sum())} of {len(values)} left eigenvectors have not converged, with residuals up "
            f"to {off.max():.1e}; give a larger subspace or more restarts",
            Note,
            stacklevel=3,
        )
