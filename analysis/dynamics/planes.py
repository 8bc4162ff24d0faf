"""Flow fields on a plane through state space, and the latent dynamics of low-rank networks with their nullclines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from cordstasks.analysis._checks import Floats, real_array
from cordstasks.analysis.dynamics.maps import Map, states_of
from cordstasks.errors import InputError, unknown

__all__ = ["FlowField", "flow_field", "latent_dynamics", "nullclines"]

ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "softplus": lambda x: np.logaddexp(0, x),
}


@dataclass(frozen=True, eq=False)
class FlowField:
    """Velocities on a plane.

    Attributes
    ----------
    x, y : float64 (x,), (y,)
        Coordinates along the plane's axes.
    velocity : float64 (y, x, 2)
        The part of the change per step that lies in the plane.
    inside : float64 (y, x)
        Norm of that part as a fraction of the whole change: where it is far below 1, states leave the plane.
    """

    x: Floats
    y: Floats
    velocity: Floats
    inside: Floats


def flow_field(
    step: Any, origin: ArrayLike, axes: ArrayLike, x: ArrayLike, y: ArrayLike, *, inputs: ArrayLike | None = None
) -> FlowField:
    """Change per step over a grid on a plane through state space.

    Parameters
    ----------
    step : callable or System
        ``step(states)`` or ``step(states, inputs)``.
    origin : array (unit,)
        The state at coordinates (0, 0).
    axes : array (2, unit)
        Directions of the plane; made orthonormal, in this order.
    x, y : array
        Coordinates of the grid.
    inputs : array (channel,), optional
        The same everywhere.

    Returns
    -------
    FlowField

    Raises
    ------
    InputError
        If the axes are parallel or arrays do not fit.
    """
    centre = real_array("origin", origin, ("unit",))
    given = real_array("axes", axes, ("axis", "unit"))
    if given.shape != (2, len(centre)):
        raise InputError(f"axes of shape {given.shape}: give (2, {len(centre)}), two directions in the space of the origin")
    basis, triangle = np.linalg.qr(given.T)
    if np.abs(triangle.diagonal()).min() < 1e-9 * np.abs(triangle).max():
        raise InputError("axes: the two are parallel, or one is zero; give two directions that make a plane")
    plane = (basis * np.sign(triangle.diagonal())).T
    across, up = real_array("x", x, ("x",)), real_array("y", y, ("y",))
    grid = np.stack(np.meshgrid(across, up), -1)
    states = states_of("origin", centre + grid.reshape(-1, 2) @ plane)
    held = None if inputs is None else real_array("inputs", inputs, ("channel",))
    change = Map(step, states, held)(states, held) - states
    flat = change @ plane.T
    whole = np.linalg.norm(change, axis=1)
    inside = np.linalg.norm(flat, axis=1) / np.where(whole > 0, whole, 1)
    return FlowField(across, up, flat.reshape(*grid.shape), np.where(whole > 0, inside, 1).reshape(grid.shape[:2]))


def latent_dynamics(
    m: ArrayLike, n: ArrayLike, drive: ArrayLike | None = None, *, activation: str = "tanh"
) -> Callable[[ArrayLike], Floats]:
    """The dynamics of a low-rank network ``W = m n^T / units`` in its few latent variables, exactly.

    ``tau dk/dt = -k + n^T f(m k + drive) / units``. In rate form k is ``n^T x / units``; in current form it is the
    coordinate in ``h = drive + m k``.

    Parameters
    ----------
    m, n : array (unit, rank)
        Output and input patterns.
    drive : array (unit,), optional
        What else each unit receives: bias and ``W_in u`` (default: zero).
    activation : {"tanh", "relu", "softplus"}

    Returns
    -------
    callable
        A function of latent states (state, rank) that returns ``tau dk/dt`` (state, rank).

    Raises
    ------
    InputError
        If patterns do not fit each other.

    References
    ----------
    Dubreuil, Valente, Beiran, Mastrogiuseppe & Ostojic 2022, Nature Neuroscience 25: 783-794.
    """
    out, into = real_array("m", m, ("unit", "rank")), real_array("n", n, ("unit", "rank"))
    if out.shape != into.shape:
        raise InputError(f"n of shape {into.shape}: m has shape {out.shape}; give both alike")
    constant = np.zeros(len(out)) if drive is None else real_array("drive", drive, ("unit",))
    if len(constant) != len(out):
        raise InputError(f"drive of {len(constant)} units: m has {len(out)}; give one value for each")
    if activation not in ACTIVATIONS:
        raise unknown("activation", activation, ACTIVATIONS)
    function = ACTIVATIONS[activation]

    def velocity(latent: ArrayLike) -> Floats:
        k = real_array("latent", latent, ("state", "rank"))
        return np.asarray(-k + function(k @ out.T + constant) @ into / len(out))

    return velocity


def nullclines(velocity: Callable[[ArrayLike], Floats], *coordinates: ArrayLike) -> list[Floats]:
    """Where each latent variable stands still, for one or two of them.

    Parameters
    ----------
    velocity : callable
        Such as `latent_dynamics` returns.
    *coordinates : array
        The grid along each latent variable, ascending; one array or two.

    Returns
    -------
    list of float64 (point, rank)
        Points of each variable's nullcline. For one variable they are the fixed points; for two, these are where the
        nullclines cross.

    Raises
    ------
    InputError
        If there are other than one or two coordinates.

    Notes
    -----
    Zeros are found where the velocity changes its sign between neighbours on the grid: two zeros between two neighbours are
    missed.
    """
    grids = [real_array("coordinates", each, ("value",)) for each in coordinates]
    if len(grids) not in (1, 2) or any(len(grid) < 2 or (np.diff(grid) <= 0).any() for grid in grids):
        raise InputError("coordinates: give the ascending values of one or two latent variables")
    lines = [np.empty((1, 0))] if len(grids) == 1 else [grids[1][:, None], grids[0][:, None]]
    found: list[Floats] = []
    for variable in range(len(grids)):
        points: list[Floats] = []
        for axis, grid in enumerate(grids):  # along each axis, so that steep and flat pieces are both seen
            for rest in lines[axis]:
                points += _zeros(velocity, variable, axis, grid, rest)
        found.append(np.array(points).reshape(-1, len(grids)))
    return found


def _zeros(velocity: Callable[[ArrayLike], Floats], variable: int, axis: int, grid: Floats, rest: Floats) -> list[Floats]:
    """Where one component of the velocity is zero along a line of the grid."""

    def at(value: float) -> Floats:
        return np.insert(rest, axis, value)

    values = velocity(np.array([at(value) for value in grid]))[:, variable]
    points = [at(float(grid[i])) for i in np.flatnonzero(values == 0)]
    for i in np.flatnonzero(values[:-1] * values[1:] < 0):
        zero = brentq(lambda value: float(velocity(at(value)[None])[0, variable]), grid[i], grid[i + 1])
        points.append(at(float(zero)))
    return points
