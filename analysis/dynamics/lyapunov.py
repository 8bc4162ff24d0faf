"""Lyapunov exponents by the method of Benettin: tangents carried along and made orthogonal again by QR."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.analysis._checks import Floats, array_of, count, real_array
from cordstasks.analysis.dynamics.maps import Map, Step, states_of
from cordstasks.errors import InputError, Note
from cordstasks.utils.arguments import number

__all__ = ["LyapunovExponents", "lyapunov_exponents"]

TINIEST = float(np.log(np.finfo(np.float64).tiny))
ROUNDING = 1e-14  # of the largest growth between two decompositions, below which a tangent is rounding
BLOCKS = 10  # of which the spread of the means gives the standard error


@dataclass(frozen=True, eq=False)
class LyapunovExponents:
    """Lyapunov exponents, with an estimate of how far they have converged.

    Attributes
    ----------
    values : float64 (exponent,)
        Per unit of time of `dt`, the largest first.
    errors : float64 (exponent,)
        Standard errors, from the means over ten blocks of time.
    converged : bool (exponent,)
        Whether the standard error, and half the difference between the two halves of the time, are within the tolerance, and
        the direction is larger than rounding throughout.
    times : float64 (time,)
        In units of `dt`, since the end of the transient.
    history : float64 (time, exponent)
        The running estimates at these times.
    state : float64 (unit,)
        The last state.
    """

    values: Floats
    errors: Floats
    converged: NDArray[np.bool_]
    times: Floats
    history: Floats
    state: Floats

    @property
    def dimension(self) -> float:
        """Kaplan-Yorke dimension of the attractor; at least the number of exponents, if their sum is not negative."""
        sums = np.cumsum(self.values)
        if self.values[0] < 0:
            return 0.0
        whole = int(np.flatnonzero(sums >= 0)[-1]) + 1
        if whole == len(sums):
            return float(whole)
        return float(whole + sums[whole - 1] / abs(self.values[whole]))


def lyapunov_exponents(
    step: Any,
    initial_state: ArrayLike,
    k: int = 1,
    *,
    steps: int = 10_000,
    dt: float = 1.0,
    transient: int = 1_000,
    every: int = 1,
    inputs: ArrayLike | None = None,
    jvp: Step | None = None,
    tolerance: float | None = None,
    rng: int | np.random.Generator = 0,
) -> LyapunovExponents:
    """The largest Lyapunov exponents of a map, or of a flow sampled every `dt`.

    Parameters
    ----------
    step : callable or System
        ``step(states)`` or ``step(states, inputs)`` with states (state, unit).
    initial_state : array (unit,)
        Where to begin.
    k : int, default 1
        How many exponents, at most as many as there are units.
    steps : int, default 10000
        Steps over which growth is averaged.
    dt : float, default 1
        Duration of a step, in any unit of time; exponents are per that unit.
    transient : int, default 1000
        Steps before, in which the state reaches the attractor and the tangents turn to the directions of growth.
    every : int, default 1
        Steps between two QR decompositions.
    inputs : array (channel,), optional
        The same at all steps.
    jvp : callable, optional
        ``jvp(states, tangents[, inputs])``; by default that of the system, or central differences.
    tolerance : float, optional
        Largest standard error of an exponent that counts as converged (default: 5 % of the largest absolute value).
    rng : int or Generator, default 0
        Draws the first tangents.

    Returns
    -------
    LyapunovExponents

    Raises
    ------
    InputError
        If the step changes the shape, is not deterministic or gives values that are not finite, or there are fewer than ten
        decompositions.

    Warns
    -----
    Note
        If exponents have not converged, with their standard errors, or are of directions that were lost in rounding.

    Notes
    -----
    Not valid for steps with noise, unless the noise is frozen and part of the inputs. Directions that shrink faster than
    rounding between two decompositions are lost: use a smaller `every`.

    References
    ----------
    Benettin, Galgani, Giorgilli & Strelcyn 1980, "Lyapunov characteristic exponents for smooth dynamical systems and for
    Hamiltonian systems", Meccanica 15: 9-30.
    """
    given = array_of(initial_state)
    if given.ndim != 1:
        raise InputError(f"initial_state of shape {given.shape}: give one state (unit,)")
    state = states_of("initial_state", given[None])[0]
    k, steps, every = count("k", k, 1), count("steps", steps, 1), count("every", every, 1)
    transient = count("transient", transient, 0)
    if k > len(state):
        raise InputError(f"k={k}: a system of {len(state)} units has as many exponents; give at most {len(state)}")
    dt = number("dt", dt, "give a duration above 0", above=0)
    if tolerance is not None:
        tolerance = number("tolerance", tolerance, "give a standard error above 0", above=0)
    if steps // every < BLOCKS:
        raise InputError(f"steps={steps}: give at least {BLOCKS * every}, {BLOCKS} times every={every}")
    held = None if inputs is None else real_array("inputs", inputs, ("channel",))
    made = Map(step, state[None], held, jvp=jvp)
    tangents = np.linalg.qr(np.random.default_rng(rng).standard_normal((len(state), k)))[0].T
    state, tangents, _ = _carried(made, state, tangents, transient // every, every, held)
    state, tangents, logs = _carried(made, state, tangents, steps // every, every, held)
    lost = (logs <= np.maximum(logs.max(1, keepdims=True) + np.log(ROUNDING), TINIEST)).any(0)
    rates = logs / (every * dt)
    values = rates.mean(0)
    blocks = np.stack([part.mean(0) for part in np.array_split(rates, BLOCKS)])
    errors = blocks.std(0, ddof=1) / np.sqrt(BLOCKS)
    halves = np.abs(rates[: len(rates) // 2].mean(0) - rates[len(rates) // 2 :].mean(0)) / 2
    allowed = 0.05 * float(np.abs(values).max()) if tolerance is None else tolerance
    converged = (np.maximum(errors, halves) <= max(allowed, 1e-12)) & ~lost
    if lost.any():
        warnings.warn(
            f"lyapunov_exponents: {int(lost.sum())} of {k} are of directions that shrink below rounding between two "
            f"decompositions; give a smaller every (now {every}), or a smaller k",
            Note,
            stacklevel=2,
        )
    unsteady = ~converged & ~lost
    if unsteady.any():
        warnings.warn(
            f"lyapunov_exponents: {int(unsteady.sum())} of {k} have not converged, with standard errors up to "
            f"{errors[unsteady].max():.2g} and differences of up to {2 * halves[unsteady].max():.2g} between the halves of "
            "the time; give more steps, or a larger tolerance",
            Note,
            stacklevel=2,
        )
    times = np.arange(1.0, len(rates) + 1) * (every * dt)
    history = np.cumsum(rates, 0) / np.arange(1, len(rates) + 1)[:, None]
    order = np.argsort(-values, kind="stable")
    return LyapunovExponents(
        values[order], errors[order], np.asarray(converged[order]), np.asarray(times, np.float64), history[:, order], state
    )


def _carried(
    made: Map, state: Floats, tangents: Floats, decompositions: int, every: int, inputs: Floats | None
) -> tuple[Floats, Floats, Floats]:
    """The state, the tangents (tangent, unit), and the logarithms of growth (decomposition, tangent)."""
    logs = np.zeros((decompositions, len(tangents)))
    for row in range(decompositions):
        for _ in range(every):
            state, tangents = made.carried(state, tangents, inputs)
        basis, triangle = np.linalg.qr(tangents.T)
        lengths = np.abs(triangle.diagonal())
        logs[row] = np.maximum(np.log(np.maximum(lengths, 1e-320)), TINIEST)
        tangents = basis.T
    return state, tangents, logs
