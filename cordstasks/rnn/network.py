"""Recurrent networks: leaky units in rate or current form, connected in one of four ways, read out linearly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from cordstasks.errors import InputError, unknown
from cordstasks.rnn.connectivity import KINDS, SIGNS, Connections, Connectivity, Full, LowRank, balanced
from cordstasks.rnn.noise import normal as standard_normal
from cordstasks.rnn.packing import Packing
from cordstasks.rnn.recurrence import Dynamics, run_packed
from cordstasks.utils.arguments import number, plain, whole

__all__ = ["ACTIVATIONS", "FORMS", "RNN"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "tanh": torch.tanh, "softplus": F.softplus}
FORMS = ("rate", "current")


class RNN(nn.Module):
    """A leaky recurrent network, read out linearly.

    In rate form ``tau dx/dt = -x + f(W x + b + W_in u + noise)`` with rates x; in current form
    ``tau dh/dt = -h + W f(h) + b + W_in u + noise`` with rates f(h). `step` is this equation in Euler steps of
    ``alpha = dt / tau``; `forward` takes it for every time step of the inputs.

    Parameters
    ----------
    inputs : int
        Number of input channels.
    units : int
        Number of recurrent units.
    outputs : int
        Number of output channels.
    dt : float
        Euler step in ms, at most `tau`.
    tau : float or sequence of float (unit,)
        Time constant in ms, one for all units or one for each.
    noise : float
        Standard deviation of the private noise of each unit, white in time: beside the inputs, drawn at each
        step with standard deviation ``noise * sqrt(2 / alpha)``, so that rates vary alike at every step size
        (Yang et al. 2019).
    activation : str
        ``"relu"``, ``"tanh"`` or ``"softplus"``.
    gain : float
        Spectral radius of the initial recurrent weights.
    generator : torch.Generator, optional
        Where the initial weights are drawn from.
    connectivity : Connectivity, optional
        `cordstasks.rnn.connectivity.Full` (default), `LowRank`, `Sparse` or `Convolutional`.
    form : str
        ``"rate"`` or ``"current"``.
    excitatory : float, optional
        Fraction of the units that excite, the others inhibiting (Dale's law); None for no such law. The sign belongs
        to the unit and the parameters are taken by their absolute values, so that training cannot break it.
    train_inputs, train_outputs : bool
        Whether the input weights, and the read-out with its bias, are trained.
    initial : sequence of float (unit,), optional
        State before the first step (default zero).
    train_initial : bool
        Whether that state is trained.

    Attributes
    ----------
    dt : float
        Euler step in ms.
    tau : float or Tensor (unit,)
        Time constant in ms.

    Raises
    ------
    InputError
        For sizes below one, a step longer than a time constant, negative noise, an unknown activation or form, units
        that the connectivity does not fit, or Dale's law with rates that may be negative.

    References
    ----------
    Dubreuil, Valente, Beiran, Mastrogiuseppe & Ostojic 2022, "The role of population structure in computations through
    neural dynamics", Nature Neuroscience 25: 783-794, for the current form.

    Yang, Joglekar, Song, Newsome & Wang 2019, "Task representations in neural networks trained to perform many cognitive
    tasks", Nature Neuroscience 22: 297-306, for the noise.
    """

    tau: float | Tensor

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
            excitatory = number("excitatory", excitatory, "give a fraction of the units above 0 and below 1")
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
        if not isinstance(plain(tau), tuple):
            self.tau = number("tau", tau, "a time constant must be a finite number above 0 (ms)")
            asked = f"an Euler step must be above 0 and at most the time constant tau={self.tau!r} (ms)"
            self.dt = number("dt", dt, asked, above=0, most=self.tau)
        else:
            asked = "an Euler step must be above 0 and at most every time constant tau (ms)"
            self.dt = number("dt", dt, asked, above=0)
            self.register_buffer("tau", _vector("tau", plain(tau), units))
            alpha = torch.as_tensor(self.alpha)
            if not bool(((alpha > 0) & (alpha <= 1)).all()):
                raise InputError(f"dt={self.dt!r}: {asked}")
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
    def alpha(self) -> float | Tensor:
        """The Euler step as a fraction of the time constant, ``dt / tau``: a number, or (unit,)."""
        return self.dt / self.tau

    @property
    def noise_per_step(self) -> float | Tensor:
        """Standard deviation of what is drawn at each step, ``noise * sqrt(2 / alpha)``: a number, or (unit,)."""
        return self.noise * (2 / self.alpha) ** 0.5

    @property
    def units(self) -> int:
        """Number of recurrent units."""
        return len(self.bias)

    @property
    def connectivity(self) -> Connections:
        """How the units are connected, with the present weights: ``matrix()`` and ``apply(rates)``."""
        return Connections(self.kind, self.recurrent())

    def recurrent(self) -> dict[str, Tensor]:
        """The recurrent parameters and buffers by name.

        Returns
        -------
        dict of str to Tensor
            The network's own tensors, not copies.
        """
        return {name: getattr(self, name) for name in self.recurrent_names}

    def settings(self) -> dict[str, Any]:
        """What two networks must share to be run side by side.

        Returns
        -------
        dict of str to object
            By name; equal for such networks.
        """
        shared = {"form": self.form, "activation": self.activation, "noise": self.noise, "connectivity": self.kind}
        return shared | {"dt": self.dt}

    def rates(self, state: Tensor) -> Tensor:
        """The rates that go with a state (trial, unit): x itself in rate form, f(h) in current form.

        Returns
        -------
        Tensor of shape (trial, unit)
            Of the shape of the state.
        """
        return state if self.form == "rate" else ACTIVATIONS[self.activation](state)

    def step(self, state: Tensor, input: Tensor, noise: Tensor | None = None) -> Tensor:
        """One Euler step: the network's equation.

        In rate form ``x <- x + alpha (-x + f(W x + b + W_in u + noise))``, in current form
        ``h <- h + alpha (-h + W f(h) + b + W_in u + noise)``.

        Parameters
        ----------
        state : Tensor (trial, unit)
            Rates x in rate form, currents h in current form; not modified.
        input : Tensor (trial, channel) or (channel,)
            The inputs u, for each trial or the same for all.
        noise : Tensor (trial, unit), optional
            What is added beside the inputs; `forward` draws it with a standard deviation of `noise_per_step`.

        Returns
        -------
        Tensor (trial, unit)
            The state `dt` ms later.

        Raises
        ------
        InputError
            If state or input have other numbers of units or channels than the network.
        """
        for name, given, size in (("state", state, self.units), ("input", input, self.input_weights.shape[1])):
            if not given.ndim or given.shape[-1] != size:
                raise InputError(f"{name} of shape {tuple(given.shape)}: the last axis must have {size} entries")
        drive = F.linear(input, self.input_weights, self.bias)
        if noise is not None:
            drive = drive + noise
        drive = drive.expand(torch.broadcast_shapes(drive.shape, state.shape))
        return self._advanced(state, self.rates(state), drive, self.kind.operator(self.recurrent()), self.alpha)

    def _advanced(
        self, state: Tensor, rates: Tensor, drive: Tensor, recur: Callable[[Tensor, Tensor], Tensor], alpha: float | Tensor
    ) -> Tensor:
        """The state after a step in which inputs, bias and noise add up to `drive`; `recur` adds ``W rates`` to it."""
        total = recur(drive, rates)
        total = total.to(state.dtype)  # autocast may have made it of half precision
        return torch.lerp(state, ACTIVATIONS[self.activation](total) if self.form == "rate" else total, alpha)

    def forward(
        self,
        inputs: Tensor | NDArray[Any],
        *,
        return_states: bool = False,
        initial: Tensor | NDArray[Any] | None = None,
        generator: torch.Generator | None = None,
        current: Tensor | NDArray[Any] | None = None,
        change: Callable[[int, Tensor], Tensor] | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Run the network.

        Where `cordstasks.rnn.recurrence` has the gradient written out, the result can be differentiated once, in reverse.
        For higher derivatives, take `step` for each input.

        Parameters
        ----------
        inputs : Tensor or array (trial, time, channel)
            Of any type of number.
        return_states : bool
            Also return the rates.
        initial : Tensor or array (trial, unit), optional
            State before the first step, rates x or currents h (default: that of the network, zero); one of (unit,) or
            (1, unit) holds for all trials.
        generator : torch.Generator, optional
            Where the noise is drawn from; without one, no noise is added.
        current : Tensor or array (trial, time, unit), optional
            Added to each unit's input, such as an injected current; an axis of length 1 holds for all trials or times.
        change : callable, optional
            Takes the number of a step and the rates (trial, unit) after it, -1 for those before the first, and returns the
            rates that take their place, such as those with some units silenced.

        Returns
        -------
        outputs : Tensor (trial, time, channel)
        rates : Tensor (trial, time, unit)
            After each step; only with `return_states`.

        Raises
        ------
        InputError
            If the inputs, the initial state or the current have another shape.
        """
        inputs = torch.as_tensor(inputs).to(self.input_weights.dtype)
        if inputs.ndim != 3 or inputs.shape[2] != self.input_weights.shape[1]:
            raise InputError(f"inputs of shape {tuple(inputs.shape)}: expected (trial, time, {self.input_weights.shape[1]})")
        rows = self._drives(inputs.transpose(0, 1).flatten(0, 1))
        if generator is not None and self.noise:
            rows = self._noisy(rows, standard_normal(rows.shape, generator, rows.dtype))
        drives = rows.unflatten(0, (inputs.shape[1], len(inputs)))
        if current is not None:
            added = _spread("current", torch.as_tensor(current), (*inputs.shape[:2], self.units))
            drives = drives + added.to(drives).transpose(0, 1)
        shape = (len(inputs), self.units)
        state = (
            self._start(len(inputs)) if initial is None else _spread("initial", torch.as_tensor(initial), shape).to(inputs)
        )
        if change is None and self._written():
            rates = self._run(drives.flatten(0, 1), state, (len(inputs),) * inputs.shape[1])
        else:
            rates = self._step_by_step(drives, state, change)
        rates = rates.unflatten(0, drives.shape[:2])
        outputs = self.outputs(rates).transpose(0, 1)
        return (outputs, rates.transpose(0, 1)) if return_states else outputs

    def packed(self, inputs: Tensor | NDArray[Any], packing: Packing, *, generator: torch.Generator | None = None) -> Tensor:
        """Rates of the network in trials of different lengths, without the steps after their ends.

        They are those of `forward` up to the end of each trial, with the same noise. `outputs` reads them out.

        Parameters
        ----------
        inputs : Tensor or array of shape (row, channel)
            Packed inputs of all trials, of any type of number.
        packing : Packing
            Which step of which trial each row is.
        generator : torch.Generator, optional
            Where the noise is drawn from; without one, no noise is added.

        Returns
        -------
        Tensor of shape (row, unit)
            Rates after each step, packed as the inputs are.

        Raises
        ------
        InputError
            If the inputs have another shape.
        """
        inputs = torch.as_tensor(inputs).to(self.input_weights.dtype)
        expected = len(packing.trial), self.input_weights.shape[1]
        if inputs.shape != expected:
            raise InputError(f"inputs of shape {tuple(inputs.shape)}: expected {expected}, a row for each step of a trial")
        rows = self._drives(inputs)
        if generator is not None and self.noise:
            shape = packing.steps * packing.trials, self.units
            rows = self._noisy(rows, packing.pack_by_time(standard_normal(shape, generator, rows.dtype)))
        state = self._start(packing.trials)
        if self._written():
            return self._run(rows, state, packing.counts)
        return self._step_by_step(rows.split(packing.counts), state, None)

    def outputs(self, rates: Tensor) -> Tensor:
        """The read-out of rates.

        Parameters
        ----------
        rates : Tensor of shape (..., unit)
            Such as those of `packed`.

        Returns
        -------
        Tensor of shape (..., channel)
            Output weights times rates, plus the bias.
        """
        return F.linear(rates, self.output_weights, self.output_bias)

    def _drives(self, inputs: Tensor) -> Tensor:
        """Inputs (row, channel) through their weights, and the bias: (row, unit)."""
        # one matrix, since autograd copies what is added in place to a view
        return F.linear(inputs, self.input_weights, self.bias)

    def _noisy(self, rows: Tensor, drawn: Tensor) -> Tensor:
        """Drives (row, unit) with standard normal numbers (row, unit) as private noise, in the place of the drives."""
        scale = self.noise_per_step
        return rows.add_(drawn, alpha=scale) if isinstance(scale, float) else rows.addcmul_(drawn, scale)

    def _written(self) -> bool:
        """Whether to use the written-out gradient: it needs a dense matrix, and knows no other differentiation."""
        return self.units <= self.kind.dense_up_to and not torch._C._are_functorch_transforms_active()

    def _run(self, rows: Tensor, state: Tensor, counts: tuple[int, ...]) -> Tensor:
        """Rates (row, unit), all steps at once; `rows`, drives (row, unit), are overwritten."""
        dynamics = Dynamics(self.form, self.activation, self.alpha)
        return run_packed(dynamics, rows[None], self.kind.matrix(self.recurrent())[None], state[None], counts).squeeze(0)

    def _step_by_step(
        self, drives: Iterable[Tensor], state: Tensor, change: Callable[[int, Tensor], Tensor] | None
    ) -> Tensor:
        """Rates (row, unit) for the drives (trial, unit) of each step, of all trials or of the first."""
        recur, alpha = self.kind.operator(self.recurrent()), self.alpha
        state, rate = self._changed(-1, state, change)
        kept = []
        for step, drive in enumerate(drives):
            if len(drive) < len(state):
                state, rate = state[: len(drive)], rate[: len(drive)]
            state = self._advanced(state, rate, drive, recur, alpha)
            state, rate = self._changed(step, state, change)
            kept.append(rate)
        return torch.cat(kept) if kept else rate[:0]

    def _changed(self, step: int, state: Tensor, change: Callable[[int, Tensor], Tensor] | None) -> tuple[Tensor, Tensor]:
        """State and rates after `change`; in current form, currents go on as they were below the changed rates."""
        rate = self.rates(state)
        if change is None:
            return state, rate
        rate = change(step, rate)
        return (rate if self.form == "rate" else state), rate

    def _start(self, trials: int) -> Tensor:
        if self.initial_state is None:
            return self.bias.new_zeros(trials, self.units)
        return self.initial_state.expand(trials, -1)

    @torch.no_grad()
    def reparametrise(self) -> Tensor:
        """Rewrite a low-rank network's patterns, in place, as those of its singular value decomposition.

        Columns of m are orthogonal to each other and so are those of n, sorted by strength, with equal lengths in m and n.
        The recurrent weights stay the same.

        Returns
        -------
        Tensor of shape (rank,)
            Singular values of the recurrent weights, the largest first.

        Raises
        ------
        InputError
            If the network is not of low rank, or obeys Dale's law, which the new patterns would not.
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
        names : list of str
            Names of the vectors, such as ``"I1"``.
        products : Tensor of shape (vector, vector)
            Their scalar products over the number of units.

        Raises
        ------
        InputError
            If the network is not of low rank, or obeys Dale's law.
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


def _spread(name: str, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Values of this shape, where an axis of length 1 holds for all."""
    try:
        return values.expand(shape)
    except RuntimeError as error:
        raise InputError(
            f"{name} of shape {tuple(values.shape)}: expected {shape}, or 1 for an axis on which all agree"
        ) from error


def _vector(name: str, values: Sequence[float] | Tensor, units: int) -> Tensor:
    try:
        vector = torch.as_tensor(np.asarray(plain(values), dtype=np.float64)).float()
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: give a number for each unit ({error})") from error
    if vector.shape != (units,) or not vector.isfinite().all():
        raise InputError(f"{name} of shape {tuple(vector.shape)}: give a finite number for each of {units} units")
    return vector
