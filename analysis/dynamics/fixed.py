"""Fixed points and slow points of a step, from many starts at once."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.analysis._checks import Floats, count
from cordstasks.analysis.dynamics.maps import Map, Step, states_of
from cordstasks.errors import InputError, Note
from cordstasks.utils.arguments import number

__all__ = ["FixedPoints", "fixed_points"]

LARGEST = 2048  # units, since the Jacobian is formed
ENTRIES = 1 << 23  # of the Jacobians that are held at once


@dataclass(frozen=True, eq=False)
class FixedPoints:
    """Fixed points of a step F, and slow points if they were asked for, sorted by speed, the slowest first.

    The names are those of FixedPointFinder (Golub & Sussillo 2018).

    Attributes
    ----------
    xstar : float64 (point, unit)
        The points.
    F_xstar : float64 (point, unit)
        The states one step later.
    qstar : float64 (point,)
        ``|F(x) - x|^2 / 2``, half the squared speed per step.
    x_init : float64 (point, unit)
        A start that led there.
    inputs : float64 (point, channel), or None
        The inputs of that start.
    J_xstar : float64 (point, unit to, unit from)
        The step's Jacobian.
    eigval_J_xstar : complex128 (point, unit)
        Its eigenvalues, largest modulus first.
    eigvec_J_xstar : complex128 (point, unit, unit)
        Its eigenvectors, in columns.
    is_stable : bool (point,)
        Whether all moduli are below 1.
    is_fixed : bool (point,)
        Whether the point is fixed within the tolerance; the others are slow points.
    n_iters : int64 (point,)
        Iterations from that start.
    starts : int64 (point,)
        How many starts led to the point.
    """

    xstar: Floats
    F_xstar: Floats
    qstar: Floats
    x_init: Floats
    inputs: Floats | None
    J_xstar: Floats
    eigval_J_xstar: NDArray[np.complex128]
    eigvec_J_xstar: NDArray[np.complex128]
    is_stable: NDArray[np.bool_]
    is_fixed: NDArray[np.bool_]
    n_iters: NDArray[np.int64]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.xstar)

    @property
    def n_unstable(self) -> NDArray[np.int64]:
        """Number of unstable directions of each point (point,)."""
        found: NDArray[np.int64] = (np.abs(self.eigval_J_xstar) > 1).sum(1)
        return found

    def time_constants(self, dt: float) -> Floats:
        """Time constants (point, unit) of the modes around each point, ``dt / |log |eigenvalue||``, the slowest first.

        Parameters
        ----------
        dt : float
            Duration of a step.

        Returns
        -------
        float64 (point, mode)
            In units of `dt`; infinite for an eigenvalue of modulus 1.
        """
        with np.errstate(divide="ignore"):
            logs = np.abs(np.log(np.abs(self.eigval_J_xstar)))
            return np.asarray(np.sort(np.where(logs > 0, dt / logs, np.inf), axis=1)[:, ::-1])


def fixed_points(
    step: Any,
    initial_states: ArrayLike,
    *,
    inputs: ArrayLike | None = None,
    jacobian: Step | None = None,
    tolerance: float = 1e-9,
    slow_tolerance: float | None = None,
    unique_tolerance: float = 1e-3,
    iterations: int = 200,
) -> FixedPoints:
    """Find the fixed points of a step by damped Newton iterations (Levenberg-Marquardt) from many starts.

    ``|F(x) - x|^2 / 2`` is made smaller until it is zero, at stable and unstable points alike.

    Parameters
    ----------
    step : callable or System
        ``step(states)``, or ``step(states, inputs)`` with inputs, for states (state, unit): F, deterministic, in float64.
    initial_states : array (state, unit)
        The starts, such as states that the network visits.
    inputs : array (channel,) or (state, channel), optional
        Inputs of each start, or of all.
    jacobian : callable, optional
        ``jacobian(states[, inputs])`` -> (state, unit to, unit from); by default that of the system, or central differences.
    tolerance : float, default 1e-9
        Largest speed ``|F(x) - x|`` per step of a fixed point, relative to the norm of a typical start or point.
    slow_tolerance : float, optional
        Also return points of locally least speed, up to this speed, relative likewise.
    unique_tolerance : float, default 1e-3
        Points closer than this, relative to the norm of a typical start or point, count as one.
    iterations : int, default 200
        Largest number of iterations.

    Returns
    -------
    FixedPoints
        None at all is possible: then ``len()`` is 0.

    Raises
    ------
    InputError
        If the states are not finite or in half precision, the step changes their shape, is not deterministic or gives values
        that are not finite, or there are more than 2,048 units.

    Warns
    -----
    Note
        If starts still move after the last iteration, with their speeds. They are left out.

    Notes
    -----
    Not valid as a proof that there are no others: only starts in a point's basin find it. Each iteration takes the
    Jacobians of all starts that still move and as many linear systems, units^3 each; memory for 8 million entries of
    Jacobians at once. In a relu network the Jacobian jumps between regions, where the iteration may stop at points that
    are not fixed; these are left out.

    References
    ----------
    Sussillo & Barak 2013, "Opening the black box", Neural Computation 25: 626-649.

    Golub & Sussillo 2018, "FixedPointFinder", Journal of Open Source Software 3: 1003.
    """
    starts = states_of("initial_states", initial_states)
    size = starts.shape[1]
    if size > LARGEST:
        raise InputError(
            f"initial_states of {size} units: the Jacobian is formed, for at most {LARGEST}; follow the step instead, or "
            "reduce the system"
        )
    tolerance = number("tolerance", tolerance, "give a relative speed above 0", above=0)
    unique_tolerance = number("unique_tolerance", unique_tolerance, "give a relative distance above 0", above=0)
    iterations = count("iterations", iterations, 1)
    given = _inputs(inputs, len(starts))
    made = Map(step, starts, given, jacobian=jacobian)
    tolerance = max(tolerance, 16 * made.rounding)
    limit = (
        tolerance
        if slow_tolerance is None
        else max(tolerance, number("slow_tolerance", slow_tolerance, "give a relative speed above 0", above=0))
    )
    found, used = np.empty_like(starts), np.zeros(len(starts), np.int64)
    moving = np.zeros(len(starts), bool)
    most = max(1, ENTRIES // size**2)
    for first in range(0, len(starts), most):
        rows = slice(first, first + most)
        own = given[rows] if given is not None else None
        found[rows], used[rows], moving[rows] = _descended(made, starts[rows], own, iterations)
    after = made.attempt(found, given)
    speed = np.linalg.norm(after - found, axis=1)
    scale = np.maximum(np.sqrt(np.mean(np.sum(starts**2, 1))), np.linalg.norm(found, axis=1))
    scale = np.where(scale > 0, scale, 1.0)
    unfinished = moving & (speed > limit * scale)
    if unfinished.any():
        left = (speed / scale)[unfinished]
        warnings.warn(
            f"fixed_points: {len(left)} of {len(starts)} starts still move after {iterations} iterations, with relative "
            f"speeds from {left.min():.1e} to {left.max():.1e}; give more iterations",
            Note,
            stacklevel=2,
        )
    kept = np.flatnonzero(speed <= limit * scale)
    chosen, number_of_starts = _unique(found, given, kept[np.argsort(speed[kept], kind="stable")], unique_tolerance * scale)
    return _described(made, found, after, starts, given, chosen, number_of_starts, used, speed <= tolerance * scale)


def _inputs(inputs: ArrayLike | None, states: int) -> Floats | None:
    """Inputs (state, channel)."""
    if inputs is None:
        return None
    found = np.asarray(inputs, dtype=np.float64)
    if found.ndim not in (1, 2) or (found.ndim == 2 and len(found) not in (1, states)):
        raise InputError(f"inputs of shape {found.shape}: give (channel,) or ({states}, channel)")
    if not np.isfinite(found).all():
        raise InputError("inputs: not all of them are finite numbers")
    return np.array(np.broadcast_to(found, (states, found.shape[-1])))


def _descended(
    made: Map, starts: Floats, inputs: Floats | None, iterations: int
) -> tuple[Floats, NDArray[np.int64], NDArray[np.bool_]]:
    """Where the speed has a minimum, from each start, the iterations that this took, and whether it is not found yet."""
    x, used = starts.copy(), np.zeros(len(starts), np.int64)
    damping = np.full(len(x), 1e-3)
    error = made(x, inputs) - x
    moving = np.ones(len(x), bool)
    identity = np.eye(x.shape[1])
    for _ in range(iterations):
        rows = np.flatnonzero(moving)
        if not len(rows):
            break
        own = None if inputs is None else inputs[rows]
        slope = made.jacobian(x[rows], own) - identity
        gradient = np.einsum("sij,si->sj", slope, error[rows])
        normal = slope.transpose(0, 2, 1) @ slope
        weight = np.maximum(np.trace(normal, axis1=1, axis2=2) / x.shape[1], 1e-12)
        change = -np.linalg.solve(normal + (damping[rows] * weight)[:, None, None] * identity, gradient[:, :, None])[:, :, 0]
        tried = x[rows] + change
        tried_error = made.attempt(tried, own) - tried
        before, now = (np.sum(each**2, 1) for each in (error[rows], tried_error))
        better = now < before
        x[rows[better]], error[rows[better]] = tried[better], tried_error[better]
        damping[rows] = np.where(better, np.maximum(damping[rows] / 5, 1e-13), np.minimum(damping[rows] * 4, 1e12))
        used[rows] += 1
        short = np.linalg.norm(change, axis=1) <= 1e-14 * (1 + np.linalg.norm(x[rows], axis=1))
        slow = better & (before - now <= 1e-10 * before) & (before > 0)
        moving[rows] = ~(short | slow | (np.minimum(before, now) < 1e-32))
    return x, used, moving


def _unique(
    points: Floats, inputs: Floats | None, order: NDArray[np.intp], apart: Floats
) -> tuple[list[int], NDArray[np.int64]]:
    """The first of each group of points that are the same under the same inputs, and the sizes of the groups."""
    chosen: list[int] = []
    number_of_starts: list[int] = []
    for place in order:
        if chosen:
            near = np.linalg.norm(points[chosen] - points[place], axis=1) <= apart[place]
            if inputs is not None:
                near &= (inputs[chosen] == inputs[place]).all(1)
            if near.any():
                number_of_starts[int(near.argmax())] += 1
                continue
        chosen.append(int(place))
        number_of_starts.append(1)
    return chosen, np.array(number_of_starts, np.int64)


def _described(
    made: Map,
    points: Floats,
    after: Floats,
    starts: Floats,
    inputs: Floats | None,
    chosen: list[int],
    number_of_starts: NDArray[np.int64],
    used: NDArray[np.int64],
    fixed: NDArray[np.bool_],
) -> FixedPoints:
    size = points.shape[1]
    x, own = points[chosen], None if inputs is None else inputs[chosen]
    jacobians = made.jacobian(x, own) if chosen else np.empty((0, size, size))
    values: NDArray[np.complex128] = np.zeros((0, size), np.complex128)
    vectors: NDArray[np.complex128] = np.zeros((0, size, size), np.complex128)
    if chosen:
        found, directions = np.linalg.eig(jacobians)
        order = np.argsort(-np.abs(found), axis=1, kind="stable")
        values = np.take_along_axis(found, order, 1).astype(np.complex128)
        vectors = np.take_along_axis(directions, order[:, None, :], 2).astype(np.complex128)
    return FixedPoints(
        xstar=x,
        F_xstar=after[chosen],
        qstar=np.sum((after[chosen] - x) ** 2, 1) / 2,
        x_init=starts[chosen],
        inputs=own,
        J_xstar=jacobians,
        eigval_J_xstar=values,
        eigvec_J_xstar=vectors,
        is_stable=np.asarray((np.abs(values) < 1).all(1)),
        is_fixed=fixed[chosen],
        n_iters=used[chosen],
        starts=number_of_starts,
    )
