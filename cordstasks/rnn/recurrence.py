"""Many leaky recurrent networks through time at once, with the gradient written out.

Autograd keeps and passes through a dozen small operations for each step. Here a step is three: a product, the activation,
and the Euler update. With drive d (inputs, bias and noise), recurrent weights W, activation f and ``alpha = dt / tau``,

    rate form      x <- x + alpha (f(W x + d) - x)
    current form   h <- h + alpha (W f(h) + d - h)

On the way back, let g be the gradient of the loss with respect to the rates after a step, delta that with respect to the
drive of a step, and m alpha times that with respect to the state. From the last step to the first,

    rate form      m <- m + alpha (g + W' delta - m);              delta = f'(W x + d) m
    current form   m <- m + alpha (f'(h) (g + W' delta) - m);      delta = m

which is as much work as a step forward. The gradient with respect to W is the sum over all steps and trials of
``delta x'`` (of ``delta f(h)'`` in current form): one product for all of them, after the last step.

Everything is laid out as (network, time, trial, unit), so that the steps and trials of a network are the rows of one matrix,
and what all steps need (input weights, read-out, gradients of weights) is one product for each network. Where trials end at
different times, the rows of those that have ended are left out (`cordstasks.rnn.packing`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["Dynamics", "run", "run_packed"]

aten = torch.ops.aten


@dataclass(frozen=True)
class Activation:
    """An activation function f, in place, and its derivative as a function of its own output.

    Attributes
    ----------
    apply : callable
        ``apply(input, result)`` writes f(input) into result, which may be the input.
    backward : callable
        ``backward(gradient, output, result)`` writes gradient * f' into result.
    """

    apply: Callable[[Tensor, Tensor], Any]
    backward: Callable[[Tensor, Tensor, Tensor], Any]


def _softplus_backward(gradient: Tensor, output: Tensor, result: Tensor) -> None:
    # 1 / (1 + exp(-x)) = 1 - exp(-softplus(x))
    torch.mul(gradient, torch.expm1(-output).neg_(), out=result)  # result may be the gradient itself


ACTIVATIONS = {
    "relu": Activation(
        lambda x, result: torch.clamp_min(x, 0, out=result),
        lambda g, y, result: aten.threshold_backward.grad_input(g, y, 0, grad_input=result),
    ),
    "tanh": Activation(
        lambda x, result: torch.tanh(x, out=result),
        lambda g, y, result: aten.tanh_backward.grad_input(g, y, grad_input=result),
    ),
    "softplus": Activation(lambda x, result: aten.softplus.out(x, out=result), _softplus_backward),
}


@dataclass(frozen=True)
class Dynamics:
    """The equation that all networks of a batch share; see `cordstasks.rnn.RNN`.

    Attributes
    ----------
    form : {"rate", "current"}
        Whether the state is rates or currents.
    activation : {"relu", "tanh", "softplus"}
        Activation function f.
    alpha : float or Tensor
        dt / tau, one for all units or (unit,).
    """

    form: str
    activation: str
    alpha: float | Tensor


def run(dynamics: Dynamics, drive: Tensor, recurrent: Tensor, initial: Tensor) -> Tensor:
    """Run networks side by side.

    The result can be differentiated once, with respect to the drive, the recurrent weights and the initial states.

    Parameters
    ----------
    dynamics : Dynamics
        The networks' equation.
    drive : Tensor of shape (network, time, trial, unit)
        What is added to the recurrent input at each step: inputs through their weights, bias and noise. It is overwritten.
    recurrent : Tensor of shape (network, unit to, unit from)
        The recurrent weights.
    initial : Tensor of shape (network, trial, unit)
        States before the first step.

    Returns
    -------
    Tensor of shape (network, time, trial, unit)
        Rates after each step.
    """
    steps, trials = drive.shape[1:3]
    return run_packed(dynamics, drive.flatten(1, 2), recurrent, initial, (trials,) * steps).unflatten(1, (steps, trials))


def run_packed(dynamics: Dynamics, drive: Tensor, recurrent: Tensor, initial: Tensor, counts: tuple[int, ...]) -> Tensor:
    """Run networks side by side, on trials of different lengths; see `cordstasks.rnn.packing`.

    Parameters
    ----------
    dynamics : Dynamics
        The networks' equation.
    drive : Tensor of shape (network, row, unit)
        As for `run`, of the trials that run at the first step, then of those that run at the second, and so on. It is
        overwritten.
    recurrent : Tensor of shape (network, unit to, unit from)
        The recurrent weights.
    initial : Tensor of shape (network, trial, unit)
        States before the first step.
    counts : tuple of int, one per time step
        The number of trials that run at this step. They are the first trials, so it never increases.

    Returns
    -------
    Tensor of shape (network, row, unit)
        Rates after each step.
    """
    function = _Rate if dynamics.form == "rate" else _Current
    kind = initial.dtype
    with _without_autocast(drive.device):
        rates: Tensor = function.apply(dynamics, counts, drive.to(kind), recurrent.to(kind), initial)
    return rates


def _without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Keep the type of the state, which moves by small fractions at each step, where the caller has asked for half of it."""
    return torch.autocast(device.type, enabled=False) if torch.amp.is_autocast_available(device.type) else nullcontext()


def _room(drive: Tensor, initial: Tensor) -> Tensor:
    """Room for the rates before the first step and after each."""
    return drive.new_empty(len(drive), initial.shape[1] + drive.shape[1], drive.shape[2])


def _contiguous(drive: Tensor, initial: Tensor) -> Tensor | None:
    """Room for the products of a step, which a batch of them writes side by side; one can take the place of the drive."""
    return None if len(drive) == 1 else drive.new_empty(initial.shape)


def _steps(rates: Tensor, drive: Tensor, counts: tuple[int, ...]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """For each step: the rates before it of the trials that run, their drive, and room for the rates after it."""
    states = rates.split([rates.shape[1] - drive.shape[1], *counts], 1)
    for before, d, after in zip(states[:-1], drive.split(counts, 1), states[1:], strict=True):
        yield _first(before, d.shape[1]), d, after


def _first(values: Tensor, trials: int) -> Tensor:
    """Values of the first trials; those of all without a view, which would take as long as the arithmetic on few units."""
    return values if values.shape[1] == trials else values[:, :trials]


def _added(drive: Tensor, rates: Tensor, across: Tensor, room: Tensor | None) -> Tensor:
    """The drive of a step plus the recurrent input, in the room, or else in the place of the drive."""
    if room is None:
        torch.addmm(drive[0], rates[0], across[0], out=drive[0])
        return drive
    return torch.baddbmm(drive, rates, across, out=_first(room, drive.shape[1]))


def _fraction(alpha: float | Tensor, like: Tensor) -> float | Tensor:
    """Alpha as `torch.lerp` takes it."""
    return alpha if isinstance(alpha, float) else alpha.expand(like.shape)


def _steps_that_matter(gradients: Sequence[Tensor]) -> int:
    """The number of steps up to the last at which the gradient (network, trial, unit) is not zero."""
    steps = len(gradients)
    while steps and not bool(gradients[steps - 1].any()):
        steps -= 1
    return steps


def _add_later(gradient: Tensor, later: Tensor | None, weights: Tensor, total: Tensor) -> None:
    """Add what comes back from the next step, which fewer trials may have, to the gradient of a step."""
    if later is None:
        total.copy_(gradient)
        return
    going_on = later.shape[1]
    torch.baddbmm(_first(gradient, going_on), later, weights, out=_first(total, going_on))
    if going_on < total.shape[1]:
        total[:, going_on:] = gradient[:, going_on:]


def _by_weights(delta: Tensor, rates: Tensor, counts: tuple[int, ...], steps: int) -> Tensor:
    """The gradient with respect to the recurrent weights: delta times the rates before each step, over steps and trials."""
    rows, trials = sum(counts[:steps]), rates.shape[1] - delta.shape[1]
    before = rates[:, :rows]
    if rows < steps * trials:  # the trials that have ended leave gaps
        before = torch.cat([here for here, *_ in islice(_steps(rates, delta, counts), steps)], 1)
    return torch.bmm(delta[:, :rows].mT, before)


class _Rate(torch.autograd.Function):
    """``x <- x + alpha (f(W x + d) - x)``."""

    @staticmethod
    def forward(
        ctx: Any, dynamics: Dynamics, counts: tuple[int, ...], drive: Tensor, recurrent: Tensor, initial: Tensor
    ) -> Tensor:
        activate, trials = ACTIVATIONS[dynamics.activation].apply, initial.shape[1]
        rates, across, room = _room(drive, initial), recurrent.mT.contiguous(), _contiguous(drive, initial)
        rates[:, :trials] = initial
        for before, d, after in _steps(rates, drive, counts):
            total = _added(d, before, across, room)
            activate(total, d)  # in the place of the drive, for the way back
            torch.lerp(before, d, _fraction(dynamics.alpha, d), out=after)
        ctx.dynamics, ctx.counts = dynamics, counts
        ctx.save_for_backward(recurrent, rates, drive)
        return rates[:, trials:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        with _without_autocast(gradient.device):
            return _Rate._back(ctx, gradient)

    @staticmethod
    def _back(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        recurrent, rates, active = ctx.saved_tensors
        dynamics: Dynamics = ctx.dynamics
        counts: tuple[int, ...] = ctx.counts
        differentiate = ACTIVATIONS[dynamics.activation].backward
        trials = rates.shape[1] - active.shape[1]
        state, alpha = torch.zeros_like(rates[:, :trials]), dynamics.alpha
        scaled = recurrent if isinstance(alpha, float) else recurrent * alpha
        delta, gradients = torch.empty_like(active), gradient.split(counts, 1)
        steps, deltas, later = _steps_that_matter(gradients), delta.split(counts, 1), None
        delta[:, sum(counts[:steps]) :] = 0
        for g, y, d in reversed(list(zip(gradients, active.split(counts, 1), deltas, strict=True))[:steps]):
            m = _first(state, d.shape[1])
            if later is not None:
                going_on = _first(m, later.shape[1])
                if isinstance(alpha, float):  # the leak is a factor of the product
                    torch.baddbmm(going_on, later, scaled, beta=1 - alpha, alpha=alpha, out=going_on)
                else:
                    going_on.mul_(1 - alpha).baddbmm_(later, scaled)
            m.add_(g, alpha=alpha) if isinstance(alpha, float) else m.addcmul_(g, alpha)
            differentiate(m, y, d)
            later = d
        by_initial = None
        if ctx.needs_input_grad[4]:
            by_initial = state.mul_(1 / dynamics.alpha - 1)
            if later is not None:
                by_initial[:, : later.shape[1]].baddbmm_(later, recurrent)
        return None, None, delta, _by_weights(delta, rates, counts, steps), by_initial


class _Current(torch.autograd.Function):
    """``h <- h + alpha (W f(h) + d - h)``."""

    @staticmethod
    def forward(
        ctx: Any, dynamics: Dynamics, counts: tuple[int, ...], drive: Tensor, recurrent: Tensor, initial: Tensor
    ) -> Tensor:
        activate, trials = ACTIVATIONS[dynamics.activation].apply, initial.shape[1]
        rates, across, room = _room(drive, initial), recurrent.mT.contiguous(), _contiguous(drive, initial)
        activate(initial, rates[:, :trials])
        states = initial.clone(memory_format=torch.contiguous_format)
        for before, d, after in _steps(rates, drive, counts):
            total, state = _added(d, before, across, room), _first(states, d.shape[1])
            torch.lerp(state, total, _fraction(dynamics.alpha, d), out=state)
            activate(state, after)
        ctx.dynamics, ctx.counts = dynamics, counts
        ctx.save_for_backward(recurrent, rates)
        return rates[:, trials:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        with _without_autocast(gradient.device):
            return _Current._back(ctx, gradient)

    @staticmethod
    def _back(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        recurrent, rates = ctx.saved_tensors
        dynamics: Dynamics = ctx.dynamics
        counts: tuple[int, ...] = ctx.counts
        differentiate = ACTIVATIONS[dynamics.activation].backward
        trials = rates.shape[1] - gradient.shape[1]
        back, delta = torch.empty_like(rates[:, :trials]), rates.new_empty(gradient.shape)
        after, gradients, deltas = rates[:, trials:].split(counts, 1), gradient.split(counts, 1), delta.split(counts, 1)
        steps, m = _steps_that_matter(gradients), None
        delta[:, sum(counts[:steps]) :] = 0
        for g, y, d in reversed(list(zip(gradients, after, deltas, strict=True))[:steps]):
            total = _first(back, d.shape[1])
            _add_later(g, m, recurrent, total)
            differentiate(total, y, total)
            going_on = 0 if m is None else m.shape[1]
            if m is not None:
                torch.lerp(m, _first(total, going_on), _fraction(dynamics.alpha, m), out=_first(d, going_on))
            if going_on < d.shape[1]:
                torch.mul(total[:, going_on:], dynamics.alpha, out=d[:, going_on:])
            m = d
        by_initial = None
        if ctx.needs_input_grad[4]:
            by_initial = torch.zeros_like(rates[:, :trials])
            if m is not None:
                # the initial state acts through its leak and through its rates
                through_rates = torch.bmm(m, recurrent)
                differentiate(through_rates, rates[:, : m.shape[1]], through_rates)
                by_initial[:, : m.shape[1]] = (m * (1 / dynamics.alpha - 1)).add_(through_rates)
        return None, None, delta, _by_weights(delta, rates, counts, steps), by_initial
