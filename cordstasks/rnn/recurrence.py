"""Many leaky recurrent networks through time at once, with the gradient written out.

Autograd keeps a dozen small operations of every step. Here a step is one batched product and two element-wise operations in
place on the way forward, and two products on the way back. Everything is laid out as (time, network, trial, unit), so that
each step is contiguous, and inputs stand beside the rates in one array, so that one product serves both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

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


def run(
    dynamics: Dynamics,
    inputs: Tensor,
    weights: Tensor,
    output_weights: Tensor,
    initial: Tensor,
    noise: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run networks side by side.

    Parameters
    ----------
    dynamics : Dynamics
        The networks' equation.
    inputs : Tensor of shape (time, network, trial, channel)
        Inputs; no gradient is computed for them.
    weights : Tensor of shape (network, unit to, unit from and channel)
        The recurrent weights and beside them the input weights.
    output_weights : Tensor of shape (network, output, unit)
        Weights of the read-out.
    initial : Tensor of shape (network, trial, unit)
        States before the first step.
    noise : Tensor of shape (time, network, trial, unit), optional
        Added to the recurrent input; it is overwritten.

    Returns
    -------
    outputs : Tensor of shape (time, network, trial, output)
        After each step.
    rates : Tensor of shape (time, network, trial, unit)
        After each step.
    """
    function = _Rate if dynamics.form == "rate" else _Current
    outputs, rates = function.apply(dynamics, inputs, weights, output_weights, initial, noise)
    return outputs, rates


def _beside(inputs: Tensor, initial: Tensor) -> Tensor:
    """Room for rates, and the inputs beside them: (time + 1, network, trial, unit and channel)."""
    both = initial.new_empty(len(inputs) + 1, *initial.shape[:2], initial.shape[2] + inputs.shape[3])
    both[:-1, ..., initial.shape[2] :] = inputs
    both[-1, ..., initial.shape[2] :] = 0
    return both


def _steps_that_matter(gradient: Tensor) -> list[bool]:
    """Which steps of a gradient (time, ...) are not all zero."""
    kept: list[bool] = (gradient != 0).flatten(1).any(1).tolist()
    return kept


class _Rate(torch.autograd.Function):
    """``x += alpha (-x + f(W x + W_in u + noise))``."""

    @staticmethod
    def forward(
        ctx: Any,
        dynamics: Dynamics,
        inputs: Tensor,
        weights: Tensor,
        output_weights: Tensor,
        initial: Tensor,
        noise: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        activate, alpha = ACTIVATIONS[dynamics.activation].apply, dynamics.alpha
        units = initial.shape[2]
        both = _beside(inputs, initial)
        rates = both[..., :units]
        rates[0] = initial
        active = initial.new_empty(len(inputs), *initial.shape) if noise is None else noise
        across, outward = weights.mT, output_weights.mT
        outputs = initial.new_empty(len(inputs), *initial.shape[:2], output_weights.shape[1])
        fraction = alpha if isinstance(alpha, float) else alpha.expand(initial.shape)
        before = initial
        for step, (p, x) in enumerate(zip(active.unbind(), rates[1:].unbind(), strict=True)):
            if noise is None:
                torch.bmm(both[step], across, out=p)
            else:
                p.baddbmm_(both[step], across)
            activate(p, p)
            torch.lerp(before, p, fraction, out=x)
            torch.bmm(x, outward, out=outputs[step])
            before = x
        ctx.dynamics = dynamics
        ctx.save_for_backward(weights, output_weights, both, active)
        return outputs, rates[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        by_output, by_rate = gradients
        weights, output_weights, both, active = ctx.saved_tensors
        dynamics: Dynamics = ctx.dynamics
        differentiate, alpha = ACTIVATIONS[dynamics.activation].backward, dynamics.alpha
        recurrent = weights[..., : weights.shape[1]]
        adjoint, delta = torch.zeros_like(active[0]), torch.empty_like(active[0])
        to_weights, to_outputs = torch.zeros_like(weights), torch.zeros_like(output_weights)
        asked, asked_rate, begun = _steps_that_matter(by_output), _steps_that_matter(by_rate), False
        for step in reversed(range(len(active))):
            if asked[step]:
                adjoint.baddbmm_(by_output[step], output_weights)
                to_outputs.baddbmm_(by_output[step].mT, both[step + 1, ..., : adjoint.shape[2]])
            if asked_rate[step]:
                adjoint.add_(by_rate[step])
            begun = begun or asked[step] or asked_rate[step]
            if not begun:
                continue
            differentiate(adjoint, active[step], delta)
            if isinstance(alpha, float):
                to_weights.baddbmm_(delta.mT, both[step])
                adjoint.baddbmm_(delta, recurrent, beta=1 - alpha, alpha=alpha)
            else:
                delta.mul_(alpha)
                to_weights.baddbmm_(delta.mT, both[step])
                adjoint.mul_(1 - alpha).baddbmm_(delta, recurrent)
        if isinstance(alpha, float):
            to_weights.mul_(alpha)
        return None, None, to_weights, to_outputs, adjoint, None


class _Current(torch.autograd.Function):
    """``h += alpha (-h + W f(h) + W_in u + noise)``."""

    @staticmethod
    def forward(
        ctx: Any,
        dynamics: Dynamics,
        inputs: Tensor,
        weights: Tensor,
        output_weights: Tensor,
        initial: Tensor,
        noise: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        activate, alpha = ACTIVATIONS[dynamics.activation].apply, dynamics.alpha
        state = initial.clone()
        both = _beside(inputs, initial)
        rates = both[..., : initial.shape[2]]
        activate(state, rates[0])
        across, outward = weights.mT, output_weights.mT
        outputs = initial.new_empty(len(inputs), *initial.shape[:2], output_weights.shape[1])
        drive = torch.empty_like(state)
        for step, r in enumerate(rates[1:].unbind()):
            if isinstance(alpha, float):
                state.baddbmm_(both[step], across, beta=1 - alpha, alpha=alpha)
                if noise is not None:
                    state.add_(noise[step], alpha=alpha)
            else:
                torch.bmm(both[step], across, out=drive)
                if noise is not None:
                    drive.add_(noise[step])
                state.mul_(1 - alpha).addcmul_(drive, alpha.expand(state.shape))
            activate(state, r)
            torch.bmm(r, outward, out=outputs[step])
        ctx.dynamics = dynamics
        ctx.save_for_backward(weights, output_weights, both)
        return outputs, rates[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        by_output, by_rate = gradients
        weights, output_weights, both = ctx.saved_tensors
        dynamics: Dynamics = ctx.dynamics
        differentiate, alpha = ACTIVATIONS[dynamics.activation].backward, dynamics.alpha
        rates = both[..., : weights.shape[1]]
        recurrent = weights[..., : weights.shape[1]]
        adjoint = both.new_zeros(rates.shape[1:])  # of the state
        back = torch.zeros_like(adjoint)  # of the rates
        to_weights, to_outputs = torch.zeros_like(weights), torch.zeros_like(output_weights)
        asked, asked_rate, begun = _steps_that_matter(by_output), _steps_that_matter(by_rate), False
        for step in reversed(range(len(both) - 1)):
            if asked[step]:
                back.baddbmm_(by_output[step], output_weights)
                to_outputs.baddbmm_(by_output[step].mT, rates[step + 1])
            if asked_rate[step]:
                back.add_(by_rate[step])
            begun = begun or asked[step] or asked_rate[step]
            if not begun:
                continue
            differentiate(back, rates[step + 1], back)
            if isinstance(alpha, float):
                torch.add(back, adjoint, alpha=1 - alpha, out=adjoint)
                to_weights.baddbmm_(adjoint.mT, both[step])
                back.baddbmm_(adjoint, recurrent, beta=0, alpha=alpha)
            else:
                adjoint.mul_(1 - alpha).add_(back)
                scaled = adjoint * alpha
                to_weights.baddbmm_(scaled.mT, both[step])
                back.baddbmm_(scaled, recurrent, beta=0)
        if isinstance(alpha, float):
            to_weights.mul_(alpha)
        # the initial state acts through its leak and through its rates
        differentiate(back, rates[0], back)
        to_initial = adjoint.mul_(1 - alpha).add_(back)
        return None, None, to_weights, to_outputs, to_initial, None
