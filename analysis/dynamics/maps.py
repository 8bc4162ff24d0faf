"""A step function or a system, checked: what it returns has the right shape, is finite, and is the same each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.analysis._checks import Floats, array_of
from cordstasks.errors import InputError

__all__ = ["Map", "Step", "states_of"]

Step = Callable[..., Any]
DIFFERENCE = float(np.finfo(np.float64).eps) ** (1 / 3)  # of central differences, relative to the state


def states_of(name: str, values: ArrayLike) -> Floats:
    """Return states (state, unit) in float64, if they are finite and not in half precision."""
    array = array_of(values)
    if array.dtype.kind not in "fiub" or array.dtype == np.float16:
        raise InputError(f"{name} of type {array.dtype}: give numbers in float64; half precision is too coarse")
    if array.ndim != 2 or not array.size:
        raise InputError(f"{name} of shape {array.shape}: give (state, unit), one row for each state")
    if not np.isfinite(array).all():
        raise InputError(f"{name}: {int((~np.isfinite(array)).sum())} of the values are not finite; drop those states")
    return np.array(array, dtype=np.float64)


class Map:
    """A step of states (state, unit), from a callable or a `System`, with its derivatives.

    Parameters
    ----------
    step : callable or System
        ``step(states)`` or ``step(states, inputs)``.
    states : array (state, unit)
        States to try it on.
    inputs : array (state, channel) or (channel,), optional
    jvp, jacobian : callable, optional
        Derivatives of a callable: ``jvp(states, tangents[, inputs])`` and ``jacobian(states[, inputs])``; by default those
        of the system, or central differences.
    """

    def __init__(
        self,
        step: Any,
        states: Floats,
        inputs: Floats | None = None,
        *,
        jvp: Step | None = None,
        jacobian: Step | None = None,
    ) -> None:
        function = getattr(step, "step", step)
        if not callable(function):
            raise InputError(f"step={step!r}: give a function of states (state, unit), or a system with a method step")
        self._step: Step = function
        self._jvp: Step | None = jvp or getattr(step, "jvp", None)
        self._jacobian: Step | None = jacobian or getattr(step, "jacobian", None)
        probe = states[:4]
        own = inputs[:4] if inputs is not None and inputs.ndim == 2 else inputs
        given = [probe.copy() for _ in range(2)]
        raw = [np.array(array_of(self._called(self._step, states, own))) for states in given]
        if not all(np.array_equal(states, probe) for states in given):
            raise InputError("step: changes the states that it is given; let it return new ones, without += or out=")
        if raw[0].dtype.kind not in "fiub" or raw[0].dtype == np.float16:
            raise InputError(f"step: returns type {raw[0].dtype}; let it compute in float64")
        self.rounding = float(np.finfo(raw[0].dtype).eps) if raw[0].dtype.kind == "f" else float(np.finfo(np.float64).eps)
        once, again = (self._checked(each, probe) for each in raw)
        if np.abs(once - again).max() > 1e-9 * max(1.0, float(np.abs(once).max())) and self.rounding < 1e-9:
            raise InputError("step: gives other states the second time; remove what is random, such as noise or dropout")
        if np.abs(once - again).max() > 1e-4 * max(1.0, float(np.abs(once).max())):
            raise InputError("step: gives other states the second time; remove what is random, such as noise or dropout")

    @staticmethod
    def _called(function: Step, *arguments: Any) -> Any:
        """Call with inputs, the last argument, only if there are some."""
        return function(*(arguments if arguments[-1] is not None else arguments[:-1]))

    @staticmethod
    def _checked(values: NDArray[Any], states: Floats) -> Floats:
        found = np.asarray(values, dtype=np.float64)
        if found.shape != states.shape:
            raise InputError(f"step: returns shape {found.shape} for states of shape {states.shape}; it must keep the shape")
        if not np.isfinite(found).all():
            raise InputError("step: returns values that are not finite; the states, inputs or weights are out of range")
        return found

    def __call__(self, states: Floats, inputs: Floats | None = None) -> Floats:
        """The states one step later."""
        return self._checked(array_of(self._called(self._step, states, inputs)), states)

    def attempt(self, states: Floats, inputs: Floats | None = None) -> Floats:
        """The states one step later, infinite where the step overflows."""
        with np.errstate(all="ignore"):
            found = np.asarray(array_of(self._called(self._step, states, inputs)), dtype=np.float64)
        return np.nan_to_num(found, nan=np.inf, posinf=np.inf, neginf=np.inf)

    def carried(self, state: Floats, tangents: Floats, inputs: Floats | None = None) -> tuple[Floats, Floats]:
        """One state (unit,) a step later, and the Jacobian there times tangents (tangent, unit)."""
        if self._jvp is not None:
            at = np.array(np.broadcast_to(state, tangents.shape))
            pushed = self._checked(array_of(self._called(self._jvp, at, tangents, inputs)), tangents)
            return self(state[None], inputs)[0], pushed
        lengths = np.linalg.norm(tangents, axis=1, keepdims=True)
        size = self._difference(state) / np.where(lengths > 0, lengths, 1)
        after = self(np.concatenate([state[None], state + size * tangents, state - size * tangents]), inputs)
        ahead, behind = after[1 : 1 + len(tangents)], after[1 + len(tangents) :]
        return after[0], (ahead - behind) / (2 * size)

    def jacobian(self, states: Floats, inputs: Floats | None = None) -> Floats:
        """The Jacobians (state, unit to, unit from)."""
        count, size = states.shape
        if self._jacobian is not None:
            found = np.asarray(array_of(self._called(self._jacobian, states, inputs)), dtype=np.float64)
            if found.shape != (count, size, size):
                raise InputError(
                    f"jacobian: returns shape {found.shape}; give (state, unit to, unit from), {(count, size, size)}"
                )
            if not np.isfinite(found).all():
                raise InputError("jacobian: returns values that are not finite; correct it, or leave it out")
            return found
        made = np.empty((count, size, size))
        step = np.array([self._difference(state) for state in states])[:, None]
        for unit in range(size):
            moved = np.zeros(size)
            moved[unit] = 1.0
            made[:, :, unit] = (self(states + step * moved, inputs) - self(states - step * moved, inputs)) / (2 * step)
        return made

    def _difference(self, state: Floats) -> float:
        scale = max(1.0, float(np.abs(state).max()))
        return float(max(DIFFERENCE, self.rounding ** (1 / 3)) * scale)
