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
and what all steps need (input weights, read-out, gradients of weights) is one product for each network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["Dynamics", "run"]

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
    function = _Rate if dynamics.form == "rate" else _Current
    rates: Tensor = function.apply(dynamics, drive, recurrent, initial)
    return rates


def _room(drive: Tensor, initial: Tensor) -> Tensor:
    """Room for the rates before the first step and after each."""
    return drive.new_empty(len(drive), drive.shape[1] + 1, *initial.shape[1:])


def _contiguous(drive: Tensor, initial: Tensor) -> Tensor | None:
    """Room for the products of a step, which a batch of them writes side by side; one can take the place of the drive."""
    return None if len(drive) == 1 else drive.new_empty(initial.shape)


def _added(drive: Tensor, rates: Tensor, across: Tensor, room: Tensor | None) -> Tensor:
    """The drive of a step plus the recurrent input, in the room, or else in the place of the drive."""
    if room is None:
        torch.addmm(drive[0], rates[0], across[0], out=drive[0])
        return drive
    return torch.baddbmm(drive, rates, across, out=room)


def _fraction(alpha: float | Tensor, like: Tensor) -> float | Tensor:
    """Alpha as `torch.lerp` takes it."""
    return alpha if isinstance(alpha, float) else alpha.expand(like.shape)


def _steps_that_matter(gradient: Tensor) -> int:
    """The number of steps (network, time, ...) up to the last at which the gradient is not zero."""
    steps = gradient.shape[1]
    while steps and not bool(gradient[:, steps - 1].any()):
        steps -= 1
    return steps


def _by_weights(delta: Tensor, rates: Tensor, steps: int) -> Tensor:
    """The gradient with respect to the recurrent weights: delta times the rates before each step, over steps and trials."""
    return torch.bmm(delta[:, :steps].flatten(1, 2).mT, rates[:, :steps].flatten(1, 2))


class _Rate(torch.autograd.Function):
    """``x <- x + alpha (f(W x + d) - x)``."""

    @staticmethod
    def forward(ctx: Any, dynamics: Dynamics, drive: Tensor, recurrent: Tensor, initial: Tensor) -> Tensor:
        activate, fraction = ACTIVATIONS[dynamics.activation].apply, _fraction(dynamics.alpha, initial)
        rates, across, room = _room(drive, initial), recurrent.mT.contiguous(), _contiguous(drive, initial)
        rates[:, 0] = initial
        for before, d, after in zip(rates[:, :-1].unbind(1), drive.unbind(1), rates[:, 1:].unbind(1), strict=True):
            total = _added(d, before, across, room)
            activate(total, d)  # in the place of the drive, for the way back
            torch.lerp(before, d, fraction, out=after)
        ctx.dynamics = dynamics
        ctx.save_for_backward(recurrent, rates, drive)
        return rates[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        recurrent, rates, active = ctx.saved_tensors
        dynamics: Dynamics = ctx.dynamics
        differentiate = ACTIVATIONS[dynamics.activation].backward
        m, back = torch.zeros_like(rates[:, 0]), torch.empty_like(rates[:, 0])
        fraction, steps = _fraction(dynamics.alpha, m), _steps_that_matter(gradient)
        delta = torch.empty_like(active)
        delta[:, steps:] = 0
        for step in reversed(range(steps)):
            if step + 1 < steps:
                torch.baddbmm(gradient[:, step], delta[:, step + 1], recurrent, out=back)
            else:
                back.copy_(gradient[:, step])
            torch.lerp(m, back, fraction, out=m)
            differentiate(m, active[:, step], delta[:, step])
        by_initial = None
        if ctx.needs_input_grad[3]:
            by_initial = m.mul_(1 / dynamics.alpha - 1)
            if steps:
                by_initial.baddbmm_(delta[:, 0], recurrent)
        return None, delta, _by_weights(delta, rates, steps), by_initial


class _Current(torch.autograd.Function):
    """``h <- h + alpha (W f(h) + d - h)``."""

    @staticmethod
    def forward(ctx: Any, dynamics: Dynamics, drive: Tensor, recurrent: Tensor, initial: Tensor) -> Tensor:
        activate, fraction = ACTIVATIONS[dynamics.activation].apply, _fraction(dynamics.alpha, initial)
        rates, across, room = _room(drive, initial), recurrent.mT.contiguous(), _contiguous(drive, initial)
        activate(initial, rates[:, 0])
        state = initial.clone(memory_format=torch.contiguous_format)
        for before, d, after in zip(rates[:, :-1].unbind(1), drive.unbind(1), rates[:, 1:].unbind(1), strict=True):
            total = _added(d, before, across, room)
            torch.lerp(state, total, fraction, out=state)
            activate(state, after)
        ctx.dynamics = dynamics
        ctx.save_for_backward(recurrent, rates)
        return rates[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        recurrent, rates = ctx.saved_tensors
        dynamics: Dynamics = ctx.dynamics
        differentiate = ACTIVATIONS[dynamics.activation].backward
        m, back = torch.zeros_like(rates[:, 0]), torch.empty_like(rates[:, 0])
        fraction, steps = _fraction(dynamics.alpha, m), _steps_that_matter(gradient)
        delta = rates.new_empty(gradient.shape)
        delta[:, steps:] = 0
        for step in reversed(range(steps)):
            if step + 1 < steps:
                torch.baddbmm(gradient[:, step], m, recurrent, out=back)
            else:
                back.copy_(gradient[:, step])
            differentiate(back, rates[:, step + 1], back)
            m = torch.lerp(m, back, fraction, out=delta[:, step])
        by_initial = None
        if ctx.needs_input_grad[3]:
            # the initial state acts through its leak and through its rates
            through_rates = torch.bmm(m, recurrent)
            differentiate(through_rates, rates[:, 0], through_rates)
            by_initial = (m * (1 / dynamics.alpha - 1)).add_(through_rates)
        return None, delta, _by_weights(delta, rates, steps), by_initial
