"""Recurrent networks: leaky units in rate or current form, connected in one of four ways, read out linearly."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from cordstasks.errors import InputError, unknown
from cordstasks.rnn.connectivity import KINDS, SIGNS, Connections, Connectivity, Full, LowRank, balanced
from cordstasks.utils.arguments import number, plain, whole

__all__ = ["ACTIVATIONS", "FORMS", "RNN"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "tanh": torch.tanh, "softplus": F.softplus}
FORMS = ("rate", "current")


class RNN(nn.Module):
    """A leaky recurrent network, read out linearly.

    In rate form ``T dx/dt = -x + f(W x + b + W_in u + noise)`` with rates x; in current form, that of Dubreuil et al. 2022,
    ``T dh/dt = -h + W f(h) + b + W_in u + noise`` with rates f(h).

    Parameters
    ----------
    inputs : number of input channels.
    units : number of recurrent units.
    outputs : number of output channels.
    dt : Euler step in ms.
    tau : time constant T in ms, one for all units or (unit,); alpha = dt / tau.
    noise : standard deviation of the private noise of each unit, white in time: beside the inputs, drawn at each
        step with standard deviation ``noise * sqrt(2 / alpha)``, so that rates vary alike at every step size
        (Yang et al. 2019).
    activation : ``"relu"``, ``"tanh"`` or ``"softplus"``.
    gain : spectral radius of the initial recurrent weights.
    generator : where the initial weights are drawn from.
    connectivity : `cordstasks.rnn.connectivity.Full` (default), `LowRank`, `Sparse` or `Convolutional`.
    form : ``"rate"`` or ``"current"``.
    excitatory : share of the units that excite, the others inhibiting (Dale's law); None for no such law. The sign belongs
        to the unit and the parameters are taken by their absolute values, so that training cannot break it.
    train_inputs, train_outputs : whether the input weights, and the read-out with its bias, are trained.
    initial : state (unit,) before the first step (default zero).
    train_initial : whether that state is trained.

    Raises
    ------
    InputError : sizes below one, a step longer than a time constant, negative noise, an unknown activation or form, units
        that the connectivity does not fit, or Dale's law with rates that may be negative.
    """

    def __init__(
        self,
        inputs: int,
        units: int = 512,
        outputs: int = 3,
        *,
        dt: float = 20.0,
        tau: float | Sequence[float] | Tensor = 100.0,
        noise: float = 0.01,
        activation: str = "relu",
        gain: float = 0.9,
        generator: torch.Generator | None = None,
        connectivity: Connectivity | None = None,
        form: str = "rate",
        excitatory: float | None = None,
        train_inputs: bool = True,
        train_outputs: bool = True,
        initial: Sequence[float] | Tensor | None = None,
        train_initial: bool = False,
    ) -> None:
        super().__init__()
        inputs, units, outputs = (
            whole(name, size, asked="must be at least 1, and whole")
            for name, size in (("inputs", inputs), ("units", units), ("outputs", outputs))
        )
        noise = number("noise", noise, "a standard deviation must be a finite number of at least 0", least=0)
        gain = number("gain", gain, "a spectral radius must be a finite number of at least 0", least=0)
        if excitatory is not None:
            excitatory = number("excitatory", excitatory, "give a share of the units above 0 and below 1")
        if activation not in ACTIVATIONS:
            raise unknown("activation", activation, ACTIVATIONS)
        if form not in FORMS:
            raise unknown("form", form, FORMS)
        if excitatory is not None and activation == "tanh":
            raise InputError("activation='tanh': Dale's law (excitatory) needs rates of at least 0; choose relu or softplus")
        if not isinstance(connectivity, Connectivity | None):
            raise InputError(f"connectivity={connectivity!r}: give one of {', '.join(KINDS)}, such as LowRank(2)")
        self.kind = connectivity or Full()
        self.kind.check(units)
        self.alpha: float | Tensor
        if not isinstance(plain(tau), tuple):
            tau = number("tau", tau, "a time constant must be a finite number above 0 (ms)")
            asked = f"an Euler step must be above 0 and at most the time constant tau={tau!r} (ms)"
            dt = number("dt", dt, asked, above=0, most=tau)
            self.alpha = dt / tau
        else:
            dt = number("dt", dt, "an Euler step must be above 0 and at most every time constant tau (ms)", above=0)
            self.register_buffer("alpha", dt / _vector("tau", plain(tau), units))
            if not ((self.alpha > 0) & (self.alpha <= 1)).all():
                raise InputError(f"dt={dt!r}: an Euler step must be above 0 and at most every time constant tau (ms)")
        self.noise = noise
        self.activation = activation
        self.form = form

        def normal(rows: int, columns: int, scale: float) -> Tensor:
            return scale * torch.randn(rows, columns, generator=generator, dtype=torch.float32)

        self.input_weights = nn.Parameter(normal(units, inputs, 1 / math.sqrt(inputs)), requires_grad=train_inputs)
        self.recurrent_names = []
        for name, values in self.kind.parameters(units, gain, generator).items():
            self.register_parameter(name, nn.Parameter(values))
            self.recurrent_names.append(name)
        for name, values in self.kind.buffers(units, generator).items():
            self.register_buffer(name, values)
            self.recurrent_names.append(name)
        if excitatory is not None:
            self._obey_dale(excitatory)
        self.bias = nn.Parameter(torch.zeros(units, dtype=torch.float32))
        self.output_weights = nn.Parameter(normal(outputs, units, 1 / math.sqrt(units)), requires_grad=train_outputs)
        self.output_bias = nn.Parameter(torch.zeros(outputs, dtype=torch.float32), requires_grad=train_outputs)
        self.initial_state: Tensor | None = None
        if initial is not None or train_initial:
            del self.initial_state
            state = torch.zeros(units, dtype=torch.float32) if initial is None else _vector("initial", initial, units)
            if train_initial:
                self.register_parameter("initial_state", nn.Parameter(state))
            else:
                self.register_buffer("initial_state", state)

    def _obey_dale(self, excitatory: float) -> None:
        """Give units their signs, and balance excitation with inhibition at the start."""
        signs = self.kind.signs(len(self.input_weights), excitatory)
        self.register_buffer(SIGNS, signs)
        self.recurrent_names.append(SIGNS)
        with torch.no_grad():
            if "recurrent_weights" in self.recurrent_names:
                weights = self.get_parameter("recurrent_weights")
                masked = "recurrent_mask" in self.recurrent_names
                density = float(self.get_buffer("recurrent_mask").mean()) if masked else 1.0
                weights.copy_(balanced(weights, signs, density))
            elif "recurrent_kernel" in self.recurrent_names:
                kernel = self.get_parameter("recurrent_kernel")
                by_map = signs[:: len(signs) // len(kernel)]
                kernel.copy_(balanced(kernel.permute(0, 2, 3, 1), by_map).permute(0, 3, 1, 2))
            else:
                n = self.get_parameter("recurrent_n")
                n.copy_(balanced(n.mT, signs).mT)

    @property
    def units(self) -> int:
        """Number of recurrent units."""
        return len(self.bias)

    @property
    def connectivity(self) -> Connections:
        """How the units are connected, with the present weights: ``matrix()`` and ``apply(rates)``."""
        return Connections(self.kind, self.recurrent())

    def recurrent(self) -> dict[str, Tensor]:
        """The recurrent parameters and buffers by name."""
        return {name: getattr(self, name) for name in self.recurrent_names}

    def settings(self) -> dict[str, Any]:
        """What two networks must share to be run side by side."""
        return {"form": self.form, "activation": self.activation, "noise": self.noise, "connectivity": self.kind}

    def forward(
        self,
        inputs: Tensor | NDArray[Any],
        *,
        return_states: bool = False,
        initial: Tensor | NDArray[Any] | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Run the network.

        Parameters
        ----------
        inputs : (trial, time, channel), a tensor or an array of any type of number.
        return_states : also return the rates.
        initial : state (trial, unit) before the first step, rates x or currents h (default: that of the network, zero).
        generator : where the noise is drawn from; without one, no noise is added.

        Returns
        -------
        outputs (trial, time, channel), and with `return_states` also rates (trial, time, unit), after each step.
        """
        inputs = torch.as_tensor(inputs).to(self.input_weights.dtype)
        if inputs.ndim != 3 or inputs.shape[2] != self.input_weights.shape[1]:
            raise InputError(f"inputs of shape {tuple(inputs.shape)}: expected (trial, time, {self.input_weights.shape[1]})")
        activate, alpha = ACTIVATIONS[self.activation], self.alpha
        drive = F.linear(inputs, self.input_weights, self.bias).transpose(0, 1)
        if generator is not None and self.noise:
            scale = self.noise * (2 / alpha) ** 0.5
            drive = drive + scale * torch.randn(drive.shape, generator=generator, device=drive.device, dtype=drive.dtype)
        recur = self.kind.operator(self.recurrent())
        state = self._start(inputs) if initial is None else torch.as_tensor(initial).to(inputs)
        states = []
        if self.form == "rate":
            for step in drive:
                state = torch.lerp(state, activate(recur(step, state)), alpha)
                states.append(state)
            rates = torch.stack(states, 1)
        else:
            rate = activate(state)
            for step in drive:
                state = torch.lerp(state, recur(step, rate), alpha)
                rate = activate(state)
                states.append(rate)
            rates = torch.stack(states, 1)
        outputs = F.linear(rates, self.output_weights, self.output_bias)
        return (outputs, rates) if return_states else outputs

    def _start(self, inputs: Tensor) -> Tensor:
        if self.initial_state is None:
            return inputs.new_zeros(len(inputs), self.units)
        return self.initial_state.expand(len(inputs), -1)

    @torch.no_grad()
    def reparametrise(self) -> Tensor:
        """Rewrite a low-rank network's patterns, in place, as those of its singular value decomposition.

        Columns of m are orthogonal to each other and so are those of n, sorted by strength, with equal lengths in m and n.
        The recurrent weights stay the same.

        Returns
        -------
        singular values of the recurrent weights (rank,), the largest first.

        Raises
        ------
        InputError : the network is not of low rank, or obeys Dale's law, which the new patterns would not.
        """
        m, n = self._patterns("reparametrise")
        # of the factors' triangular parts only, never of the whole matrix
        (qm, rm), (qn, rn) = torch.linalg.qr(m), torch.linalg.qr(n)
        left, values, right = torch.linalg.svd(rm @ rn.mT / self.units)
        scale = (values * self.units).sqrt()
        m.copy_(qm @ left * scale)
        n.copy_(qn @ right.mT * scale)
        return values

    @torch.no_grad()
    def overlaps(self) -> tuple[list[str], Tensor]:
        """Overlaps of a low-rank network's vectors: input I, input patterns n, output patterns m, and read-out w.

        Returns
        -------
        names of the vectors, such as ``"I1"``, and their scalar products over the number of units (vector, vector).

        Raises
        ------
        InputError : the network is not of low rank, or obeys Dale's law.
        """
        m, n = self._patterns("overlaps")
        groups = {"I": self.input_weights, "n": n, "m": m, "w": self.output_weights.T}
        names = [f"{name}{column + 1}" for name, vectors in groups.items() for column in range(vectors.shape[1])]
        vectors = torch.cat(list(groups.values()), 1)
        return names, vectors.T @ vectors / self.units

    def _patterns(self, what: str) -> tuple[Tensor, Tensor]:
        if not isinstance(self.kind, LowRank):
            raise InputError(f"{what}: needs a network of low rank, and this one's connectivity is {self.kind.name!r}")
        if SIGNS in self.recurrent_names:
            raise InputError(f"{what}: the patterns of a network that obeys Dale's law must keep their signs")
        return self.get_parameter("recurrent_m"), self.get_parameter("recurrent_n")


def _vector(name: str, values: Sequence[float] | Tensor, units: int) -> Tensor:
    try:
        vector = torch.as_tensor(np.asarray(plain(values), dtype=np.float64)).float()
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: give a number for each unit ({error})") from error
    if vector.shape != (units,) or not vector.isfinite().all():
        raise InputError(f"{name} of shape {tuple(vector.shape)}: give a finite number for each of {units} units")
    return vector
