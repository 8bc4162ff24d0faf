"""Maps of PyTorch as dynamical systems of NumPy arrays: step, products with the Jacobian, flow over many steps."""

from __future__ import annotations

import functools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cordstasks.errors import InputError
from cordstasks.utils.arguments import whole

__all__ = ["TorchSystem"]

Floats = NDArray[np.float64]
Products = tuple[Callable[[NDArray[Any]], NDArray[Any]], Callable[[NDArray[Any]], NDArray[Any]]]
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
LARGEST = 4096  # units of which the whole Jacobian is formed


class TorchSystem(ABC):
    """A step of a network as a function of NumPy arrays, with its derivatives.

    States, tangents and cotangents are (state, unit): one row for each, and rows do not influence each other. A single
    vector (unit,) will do, and gives a vector back.

    Parameters
    ----------
    size : int
        Number of units.
    dt : float
        Duration of a step in ms.
    precision : {"float64", "float32"}
        What the step is computed in.

    Raises
    ------
    InputError
        If the precision is none of these.
    """

    def __init__(self, size: int, dt: float, precision: str = "float64") -> None:
        if precision not in PRECISIONS:
            raise InputError(f"precision={precision!r}: give float64 or float32; less is too coarse for derivatives")
        self.size, self.dt = size, dt
        self._kind = PRECISIONS[precision]
        self.dtype = np.dtype(precision)

    @abstractmethod
    def _map(self, states: Tensor, inputs: Tensor | None) -> Tensor:
        """The states (state, unit) one step later; a function without side effects."""

    def _checked_inputs(self, inputs: ArrayLike | None) -> Tensor | None:
        """The inputs of the step; a system without inputs refuses them."""
        if inputs is not None:
            raise InputError("inputs: this system takes none with its step; they are given when it is made")
        return None

    def step(self, states: ArrayLike, inputs: ArrayLike | None = None) -> Floats:
        """The states one step later.

        Parameters
        ----------
        states : array (state, unit) or (unit,)
        inputs : array (channel,) or (state, channel), optional
            If the system takes inputs.

        Returns
        -------
        float64 array of the same shape
        """
        x, single = self._rows("states", states)
        with torch.no_grad():
            return self._array(self._map(x, self._checked_inputs(inputs)), single)

    def jvp(self, states: ArrayLike, tangents: ArrayLike, inputs: ArrayLike | None = None) -> Floats:
        """The Jacobian at each state times its tangent, by forward differentiation.

        Parameters
        ----------
        states, tangents : array (state, unit) or (unit,)
        inputs : array (channel,) or (state, channel), optional

        Returns
        -------
        float64 array of the same shape
        """
        x, single = self._rows("states", states)
        v, _ = self._rows("tangents", tangents, like=x)
        given = self._checked_inputs(inputs)
        return self._array(_jvp(lambda s: self._map(s, given), (x,), (v,))[1], single)

    def vjp(self, states: ArrayLike, cotangents: ArrayLike, inputs: ArrayLike | None = None) -> Floats:
        """The transposed Jacobian at each state times its cotangent, by reverse differentiation; see `jvp`.

        Parameters
        ----------
        states, cotangents : array (state, unit) or (unit,)
        inputs : array (channel,) or (state, channel), optional

        Returns
        -------
        float64 array of the same shape

        Raises
        ------
        InputError
            If the shapes do not fit the system or each other, values are not finite, or there are inputs and it takes none.
        """
        x, single = self._rows("states", states)
        v, _ = self._rows("cotangents", cotangents, like=x)
        given = self._checked_inputs(inputs)
        pull: Any = torch.func.vjp(lambda s: self._map(s, given), x)[1]
        return self._array(pull(v)[0], single)

    def flow(self, states: ArrayLike, steps: int, inputs: ArrayLike | None = None, *, every: int | None = None) -> Floats:
        """The states after many steps.

        Parameters
        ----------
        states : array (state, unit) or (unit,)
        steps : int
            How many, at least 0.
        inputs : array (channel,) or (state, channel), optional
            The same at all steps.
        every : int, optional
            Also return the states after every so many steps, the first ones included.

        Returns
        -------
        float64 array (state, unit), or (time, state, unit) with `every`
            Without the axis of states if a single one is given.

        Raises
        ------
        InputError
            If the activity leaves the range of finite numbers.
        """
        x, single = self._rows("states", states)
        steps = whole("steps", steps, least=0)
        every = None if every is None else whole("every", every)
        given = self._checked_inputs(inputs)
        kept = [x]
        with torch.no_grad():
            for step in range(1, steps + 1):
                x = self._map(x, given)
                if every is not None and step % every == 0:
                    kept.append(x)
        if not bool(x.isfinite().all()):
            raise InputError(f"steps={steps}: the activity grows beyond finite numbers; the network is unstable")
        if every is None:
            return self._array(x, single)
        return np.stack([self._array(each, single) for each in kept])

    def jacobian(self, states: ArrayLike, inputs: ArrayLike | None = None) -> Floats:
        """The whole Jacobian at each state; see `cordstasks.analysis.dynamics.jacobian_operator` for larger networks.

        Parameters
        ----------
        states : array (state, unit) or (unit,)
        inputs : array (channel,) or (state, channel), optional

        Returns
        -------
        float64 (state, unit to, unit from), or (unit to, unit from)

        Raises
        ------
        InputError
            If the network has more than 4,096 units.
        """
        if self.size > LARGEST:
            raise InputError(
                f"jacobian of {self.size} units: too large to form; use jacobian_operator(system, state) instead"
            )
        x, single = self._rows("states", states)
        given = self._checked_inputs(inputs)
        rows = []
        for place, state in enumerate(x):
            own = given[place] if given is not None and given.ndim == 2 else given

            def pushed(tangent: Tensor, state: Tensor = state, own: Tensor | None = own) -> Tensor:
                return _jvp(lambda s: self._map(s[None], own)[0], (state,), (tangent,))[1]

            columns = torch.func.vmap(pushed, chunk_size=512)(torch.eye(self.size, dtype=self._kind, device=x.device))
            rows.append(columns.mT)
        return self._array(torch.stack(rows), single)

    def linearised(self, state: ArrayLike, inputs: ArrayLike | None = None) -> Products:
        """The Jacobian at a state as two functions of vectors (vector, unit): the product, and the transposed product.

        Parameters
        ----------
        state : array (unit,)
        inputs : array (channel,), optional

        Returns
        -------
        push, pull : callable
        """
        x, _ = self._rows("state", state)
        forward = self._linear(x[:1], self._checked_inputs(inputs))

        def push(tangents: NDArray[Any]) -> NDArray[Any]:
            with torch.no_grad():
                return self._native(forward(self._tensor(tangents)))

        def pull(cotangents: NDArray[Any]) -> NDArray[Any]:
            v = self._tensor(cotangents)
            return self._native(torch.func.vjp(forward, torch.zeros_like(v))[1](v)[0])

        return push, pull

    def _linear(self, state: Tensor, inputs: Tensor | None) -> Callable[[Tensor], Tensor]:
        """A linear function of tangents (vector, unit): the product with the Jacobian at a state (1, unit)."""

        def forward(tangents: Tensor) -> Tensor:
            at = state.repeat(len(tangents), 1)
            return _jvp(lambda s: self._map(s, inputs), (at,), (tangents,))[1]

        return forward

    def _device(self) -> torch.device:
        return torch.device("cpu")

    def _tensor(self, values: ArrayLike) -> Tensor:
        return torch.as_tensor(np.array(values, dtype=self.dtype), device=self._device())

    def _rows(self, name: str, values: ArrayLike, like: Tensor | None = None) -> tuple[Tensor, bool]:
        given = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
        if given.dtype.kind not in "fiub" or given.dtype == np.float16:
            raise InputError(f"{name} of type {given.dtype}: give numbers in float64 or float32")
        rows = given[None] if given.ndim == 1 else given
        if rows.ndim != 2 or rows.shape[1] != self.size or (like is not None and len(rows) != len(like)):
            wanted = f"({'state' if like is None else len(like)}, {self.size})"
            raise InputError(f"{name} of shape {given.shape}: this system takes {wanted}")
        if not np.isfinite(rows).all():
            raise InputError(f"{name}: {int((~np.isfinite(rows)).sum())} of the values are not finite")
        return self._tensor(rows), given.ndim == 1

    def _array(self, rows: Tensor, single: bool) -> Floats:
        found: Floats = rows.detach().cpu().numpy().astype(np.float64)
        return found[0] if single else found

    def _native(self, rows: Tensor) -> NDArray[Any]:
        return np.asarray(rows.detach().cpu().numpy())


def _jvp(function: Callable[[Tensor], Tensor], at: tuple[Tensor], tangent: tuple[Tensor]) -> tuple[Tensor, Tensor]:
    """`torch.func.jvp`, without the warning that PyTorch gives itself when it is first used."""
    _prepare()
    found: Any = torch.func.jvp(function, at, tangent)
    return found[0], found[1]


@functools.lru_cache(maxsize=1)
def _prepare() -> None:
    zero = torch.zeros(1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script", FutureWarning)
        warnings.filterwarnings("ignore", "`torch.jit.script", DeprecationWarning)
        torch.func.jvp(torch.tanh, (zero,), (zero,))
