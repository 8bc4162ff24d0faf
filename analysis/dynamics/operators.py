"""Linear operators that are never formed as matrices: checks, shifts, and the Jacobian of a system at a state."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from cordstasks.analysis._checks import Floats, array_of
from cordstasks.errors import InputError

__all__ = ["System", "applied", "check_transpose", "jacobian_operator", "shifted", "square_operator"]

DENSE = 4096  # largest side of a matrix that is formed


@runtime_checkable
class System(Protocol):
    """A dynamical system in discrete time: what the tools of this package need to know of a network.

    `cordstasks.cordsnet.system.CordsNetSystem` and `cordstasks.rnn.system.RNNSystem` are systems. States are
    (state, unit), one row for each, and the rows do not influence each other.
    """

    @property
    def size(self) -> int:
        """Number of units."""

    def step(self, states: ArrayLike, inputs: ArrayLike | None = None) -> Floats:
        """The states (state, unit) one step later, with inputs (channel,) or (state, channel)."""

    def jvp(self, states: ArrayLike, tangents: ArrayLike, inputs: ArrayLike | None = None) -> Floats:
        """The step's Jacobian at each state times its tangent, both (state, unit)."""

    def vjp(self, states: ArrayLike, cotangents: ArrayLike, inputs: ArrayLike | None = None) -> Floats:
        """The step's transposed Jacobian at each state times its cotangent, both (state, unit)."""


def square_operator(operator: Any) -> LinearOperator:
    """Return a matrix, sparse matrix or operator as a square LinearOperator, after trying it on a vector.

    Parameters
    ----------
    operator : matrix, sparse matrix or LinearOperator
        Square; whole numbers become float64.

    Returns
    -------
    LinearOperator
        With float or complex numbers; one that was given is returned as it is.

    Raises
    ------
    InputError
        If it is none, not square, in half precision, gives values that are not finite, or does not give the same twice.
    """
    found = linear_operator(operator)
    rows, columns = found.shape
    if rows != columns:
        raise InputError(
            f"operator of shape ({rows}, {columns}): eigenvalues need a square one; give as many outputs as inputs"
        )
    return found


def linear_operator(operator: Any) -> LinearOperator:
    """Return a matrix, sparse matrix or operator as a LinearOperator, after trying it on a vector; see `square_operator`."""
    if not (isinstance(operator, LinearOperator) or issparse(operator)):
        operator = array_of(operator)
        if operator.ndim != 2 or operator.dtype.kind not in "fiubc" or not operator.size:
            raise InputError(
                f"operator of shape {operator.shape} and type {operator.dtype}: give a matrix of numbers, or an operator "
                "such as convolution_operator(kernel, shape)"
            )
        if operator.dtype.kind in "iub":
            operator = operator.astype(np.float64)
    if operator.dtype is not None and operator.dtype == np.float16:
        raise InputError("operator of type float16: too coarse for a spectrum; convert it to float32 or float64")
    found: LinearOperator = aslinearoperator(operator)
    if np.dtype(found.dtype).kind not in "fc":
        raise InputError(f"operator of type {found.dtype}: give its dtype as float32 or float64")
    probe = np.random.default_rng(0).standard_normal(found.shape[1]).astype(np.dtype(found.dtype).type(0).real.dtype)
    try:
        once, again = (np.asarray(found.matvec(probe)) for _ in range(2))
    except ValueError as error:
        rows, columns = found.shape
        raise InputError(f"operator: its matvec does not give {rows} values for {columns} ({error}); correct it") from error
    if not np.isfinite(once).all():
        raise InputError("operator: gives values that are not finite; correct the weights or the state that it comes from")
    if np.abs(once - again).max() > 1e-4 * max(float(np.abs(once).max()), 1e-300):
        raise InputError("operator: gives other values the second time; remove what is random, such as noise or dropout")
    return found


def applied(operator: LinearOperator, vectors: NDArray[Any]) -> NDArray[Any]:
    """An operator times vectors (unit, vector), which may be complex where the operator is real.

    Parameters
    ----------
    operator : LinearOperator
    vectors : array (unit, vector)
        One vector in each column.

    Returns
    -------
    array (row of the operator, vector)
        Complex if the operator or the vectors are.
    """
    if np.iscomplexobj(vectors) and np.dtype(operator.dtype).kind != "c":
        return np.asarray(operator.matmat(vectors.real)) + 1j * np.asarray(operator.matmat(vectors.imag))
    return np.asarray(operator.matmat(vectors))


def check_transpose(operator: LinearOperator) -> None:
    """Refuse an operator whose ``rmatvec`` is not the transpose of its ``matvec``.

    Parameters
    ----------
    operator : LinearOperator
        Tried on two random vectors.

    Raises
    ------
    InputError
        If it has no ``rmatvec``, or this belongs to another operator.
    """
    rng = np.random.default_rng(1)
    kind = np.dtype(operator.dtype).type(0).real.dtype
    x, y = (rng.standard_normal(size).astype(kind) for size in operator.shape[::-1])
    try:
        there, back = np.asarray(operator.matvec(x)), np.asarray(operator.rmatvec(y))
    except (NotImplementedError, AttributeError, TypeError) as error:
        raise InputError("operator: has no rmatvec, which this needs; give the transposed product, too") from error
    one, other = np.vdot(y, there), np.vdot(back, x)
    scale = np.linalg.norm(there) * np.linalg.norm(y) + np.linalg.norm(back) * np.linalg.norm(x)
    if abs(one - other) > 1e-3 * max(float(scale), 1e-300) / np.sqrt(len(x)):
        raise InputError(
            f"operator: its rmatvec is not the transpose of its matvec (<A x, y> = {one:.6g}, <x, A' y> = {other:.6g}); "
            "the two must belong to one operator"
        )


def shifted(operator: Any, shift: float) -> LinearOperator:
    """An operator minus a multiple of the identity: ``shifted(W, 1)`` is W - I, the generator of ``tau dr/dt = -r + W r``.

    Parameters
    ----------
    operator : matrix or LinearOperator
        Square.
    shift : float
        The multiple.

    Returns
    -------
    LinearOperator
        With ``matvec``, ``rmatvec`` and ``matmat``, of the operator's type.

    Raises
    ------
    InputError
        If the operator cannot be used, see `eigenvalues`, or the shift is not finite.
    """
    found = square_operator(operator)
    if not np.isfinite(shift):
        raise InputError(f"shift={shift!r}: give a finite number")

    def forward(x: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(found.matmat(x.reshape(len(x), -1)) - shift * x.reshape(len(x), -1)).reshape(x.shape)

    def backward(x: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(found.rmatmat(x.reshape(len(x), -1)) - np.conj(shift) * x.reshape(len(x), -1)).reshape(x.shape)

    return LinearOperator(found.shape, matvec=forward, rmatvec=backward, matmat=forward, rmatmat=backward, dtype=found.dtype)


def jacobian_operator(system: System, state: ArrayLike, inputs: ArrayLike | None = None) -> LinearOperator:
    """The Jacobian of a system's step at a state, as an operator.

    Parameters
    ----------
    system : System
        With ``jvp`` and ``vjp``. If it also has a method ``linearised(state, inputs)``, which returns both products as
        functions of vectors (vector, unit), this is used: it does not compute the step again for each product.
    state : array of shape (unit,)
        Where to linearise; the step need not leave it unchanged.
    inputs : array of shape (channel,), optional
        The step's inputs there.

    Returns
    -------
    LinearOperator
        Of shape (unit, unit), with ``matvec``, ``rmatvec``, ``matmat`` and ``rmatmat``.

    Raises
    ------
    InputError
        If the state has another size than the system, or is not finite.
    """
    point = array_of(state)
    if point.dtype == np.float16:
        raise InputError("state of type float16: too coarse to linearise at; convert it to float64")
    point = np.asarray(point, dtype=np.float64)
    if point.shape != (system.size,):
        raise InputError(f"state of shape {point.shape}: the system has {system.size} units; give ({system.size},)")
    if not np.isfinite(point).all():
        raise InputError(f"state: {int((~np.isfinite(point)).sum())} of its {len(point)} values are not finite")
    linearised = getattr(system, "linearised", None)
    if linearised is not None:
        push, pull = linearised(point, inputs)
    else:

        def push(tangents: Floats) -> Floats:
            return system.jvp(np.broadcast_to(point, tangents.shape), tangents, inputs)

        def pull(cotangents: Floats) -> Floats:
            return system.vjp(np.broadcast_to(point, cotangents.shape), cotangents, inputs)

    kind = np.dtype(getattr(system, "dtype", np.float64))

    def forward(x: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(push(np.ascontiguousarray(x.reshape(len(x), -1).T))).T.reshape(x.shape)

    def backward(x: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(pull(np.ascontiguousarray(x.reshape(len(x), -1).T))).T.reshape(x.shape)

    shape = (system.size, system.size)
    return LinearOperator(shape, matvec=forward, rmatvec=backward, matmat=forward, rmatmat=backward, dtype=kind)
