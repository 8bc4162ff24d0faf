"""The paper's loss through time, and three ways to its gradient.

From the spontaneous state (steps without an image, no gradient) an image is shown, then nothing. The loss is the
cross-entropy in the last steps with the image, with weights that rise evenly in logarithm, plus a weight times the mean
squared distance to the spontaneous state in the last steps after it, averaged over areas (Soo et al. 2024, section 3).
The spontaneous state is a constant in the paper (``spontaneous_target=constant``). A network can then also change this term
by moving its spontaneous state, and slow areas chase it. With ``spontaneous_target=moving`` the distance is that of two
trajectories without an image, one from the image's state and one from the spontaneous state, and both have gradients. What
makes it smaller is contraction alone.

Gradients are taken through all steps (``full``; the states between checkpoints are computed again, so that memory grows
with the square root of time), through the windows that the loss looks at (``truncated``; what came before is a constant), or
at the steady state that the image leads to (``equilibrium``; by the implicit function theorem, also known as recurrent
backpropagation, whose memory does not depend on time). The last two are approximations. `equilibrium` is exact where the
network has settled; its distance to the spontaneous state, which is zero there, is differentiated as in `truncated`.

References
----------
Almeida 1987, "A learning rule for asynchronous perceptrons with feedback", and Pineda 1987, "Generalization of
back-propagation to recurrent neural networks".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.pretraining.unrolled import Dynamics

__all__ = ["Outcome", "full_loss", "relax", "settle_implicitly", "spontaneous_state", "window_weights"]

State = list[Tensor]


@dataclass(frozen=True)
class Outcome:
    """A batch's loss, and what is logged of it.

    Attributes
    ----------
    loss : Tensor ()
    terms : dict of str to Tensor ()
        Detached; the loop logs their means over an epoch.
    activity : Tensor (area,)
        Mean square of each area's activity, detached: where it is not finite, that area has diverged.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    activity: Tensor


def window_weights(steps: int, first: float, like: Tensor) -> Tensor:
    """Weights (step,) of the cross-entropy: from `first` to 1, evenly in logarithm; one step alone has the weight 1."""
    if steps == 1:
        return like.new_ones(1)
    return torch.logspace(float(torch.log10(torch.tensor(first, dtype=torch.float64))), 0, steps, dtype=torch.float64).to(
        like
    )


@torch.no_grad()
def relax(
    network: Dynamics, rates: Sequence[Tensor], drives: Sequence[Tensor], steps: int, *, alpha: float | None = None
) -> State:
    """The state so many steps later; no gradient is recorded.

    With another `alpha` than the network's own dt / tau, as many steps of that size as make the same time.
    """
    rates = list(rates)
    if alpha is not None:
        steps = math.ceil(steps * network.alpha / alpha)
    for _ in range(steps):
        rates = network.step(rates, drives, alpha=alpha)
    return rates


@torch.no_grad()
def spontaneous_state(network: Dynamics, steps: int) -> State:
    """The state (1, ...) of every area so many steps after zero activity, without an image."""
    return relax(network, network.zero_state(1), network.drives(None), steps)


def full_loss(
    network: Dynamics, x: Tensor, targets: Tensor, settings: PretrainSettings, *, from_zero: bool = False
) -> Outcome:
    """The loss of a batch, with the gradients that ``settings.gradients`` names.

    Parameters
    ----------
    network : Dynamics
    x : Tensor (image, channel, S, S)
        Normalised images.
    targets : Tensor (image, class)
        Probabilities.
    settings : PretrainSettings
        Steps, windows, weights and the kind of gradient.
    from_zero : bool
        Begin with zero activity and end with the image, as the paper's linear stage does: no spontaneous term.

    Returns
    -------
    Outcome
    """
    rest = network.zero_state(1) if from_zero else spontaneous_state(network, settings.blank_steps)
    moves = settings.spontaneous_target == "moving"
    rates = [r.expand(len(x), *r.shape[1:]) for r in rest]
    weights = window_weights(settings.image_window, settings.first_weight, x)
    shown = network.drives(x)
    early = settings.image_steps - settings.image_window

    def image_terms(rates: State, step: int) -> Tensor:
        return weights[step] * F.cross_entropy(network.logits(rates), targets)

    def after_terms(rates: State, step: int) -> Tensor:
        # where the spontaneous state has a gradient, too, it is the last one of the batch
        pairs = [(r[:-1], r[-1:]) for r in rates] if moves else list(zip(rates, rest, strict=True))
        return torch.stack([(r - own).square().mean() for r, own in pairs]).mean()

    if settings.gradients == "equilibrium":
        steady = relax(network, rates, shown, settings.image_steps, alpha=settings.settling_step)
        rates = settle_implicitly(network, steady, shown, settings.implicit_iterates, settings.implicit_step)
        entropy = weights.mean() * F.cross_entropy(network.logits(rates), targets)
    elif settings.gradients == "truncated":
        rates = relax(network, rates, shown, early)
        rates, entropy = _steps(network, rates, shown, settings.image_window, image_terms)
        entropy = entropy / settings.image_window
    else:
        every = settings.checkpoint_steps
        rates, _ = _checkpointed(network, rates, shown, early, None, every)
        rates, entropy = _checkpointed(network, rates, shown, settings.image_window, image_terms, every)
        entropy = entropy / settings.image_window
    correct = (network.logits(rates).detach().argmax(1) == targets.argmax(1)).float().mean()
    activity = torch.stack([r.detach().float().square().mean() for r in rates])
    terms = {"entropy": entropy.detach(), "train": correct}
    loss = entropy
    if not from_zero and settings.spontaneous_weight:
        blank = network.drives(None)
        rates = [r[: settings.spontaneous_images] for r in rates]  # of random images in any case
        if moves:
            rates = [torch.cat([r, own]) for r, own in zip(rates, rest, strict=True)]
        quiet = settings.after_steps - settings.after_window
        if settings.gradients == "full":
            rates, _ = _checkpointed(network, rates, blank, quiet, None, settings.checkpoint_steps)
            _, distance = _checkpointed(network, rates, blank, settings.after_window, after_terms, settings.checkpoint_steps)
        else:
            alpha = settings.settling_step if settings.gradients == "equilibrium" else None
            rates = relax(network, [r.detach() for r in rates], blank, quiet, alpha=alpha)
            _, distance = _steps(network, rates, blank, settings.after_window, after_terms)
        distance = distance / settings.after_window
        terms["spontaneous"] = distance.detach()
        loss = loss + settings.spontaneous_weight * distance
    return Outcome(loss, terms, activity)


def _steps(
    network: Dynamics,
    rates: State,
    drives: Sequence[Tensor],
    steps: int,
    term: Callable[[State, int], Tensor] | None,
    first: int = 0,
) -> tuple[State, Tensor]:
    """The state so many steps later, and the sum of the terms of each of these states."""
    total = drives[0].new_zeros(())
    for step in range(steps):
        rates = network.step(rates, drives)
        if term is not None:
            total = total + term(rates, first + step)
    return rates, total


def _checkpointed(
    network: Dynamics,
    rates: State,
    drives: Sequence[Tensor],
    steps: int,
    term: Callable[[State, int], Tensor] | None,
    every: int,
) -> tuple[State, Tensor]:
    """The same, keeping only every so manyth state for the gradient."""

    def part(first: int, count: int, *flat: Tensor) -> tuple[Tensor, ...]:
        rates, total = _steps(network, list(flat[: len(flat) // 2]), flat[len(flat) // 2 :], count, term, first)
        return (*rates, total)

    total = drives[0].new_zeros(())
    for first in range(0, steps, every):
        result: Any = checkpoint(part, first, min(every, steps - first), *rates, *drives, use_reentrant=False)
        rates, total = list(result[:-1]), total + result[-1]
    return rates, total


class _Adjoint(torch.autograd.Function):
    """The identity on a steady state, whose gradient g becomes v with v = g + J'v, J the Jacobian of one whole step."""

    @staticmethod
    def forward(
        ctx: Any, transposed: Callable[[Sequence[Tensor]], State], iterates: int, size: float, *rates: Tensor
    ) -> Any:
        ctx.transposed, ctx.iterates, ctx.size = transposed, iterates, size
        return tuple(r.view_as(r) for r in rates)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        with torch.enable_grad():
            v = list(gradients)
            for _ in range(ctx.iterates):
                back = ctx.transposed(v)
                v = [torch.lerp(own, g + b, ctx.size) for own, g, b in zip(v, gradients, back, strict=True)]
        return (None, None, None, *v)


def settle_implicitly(network: Dynamics, steady: State, drives: Sequence[Tensor], iterates: int, size: float = 0.5) -> State:
    """A steady state as a function of the weights and of what drives it.

    Parameters
    ----------
    network : Dynamics
    steady : list of Tensor (image, ...)
        A fixed point of `network.step` with these drives.
    drives : sequence of Tensor
        May depend on weights.
    iterates : int
        Steps of the iteration that solves for the gradient; as many as areas are needed for it to reach the first one.
    size : float
        Of these steps. They converge as the network itself does where this is its dt / tau.

    Returns
    -------
    list of Tensor (image, ...)
        After one more whole step (dt = tau), the same but for rounding, with the gradient of the implicit function.
    """
    start = [r.detach().requires_grad_(True) for r in steady]
    with torch.enable_grad():
        stepped = network.step(start, [d.detach() for d in drives], alpha=1.0)

    def transposed(v: Sequence[Tensor]) -> State:
        return list(torch.autograd.grad(stepped, start, v, retain_graph=True))

    result = network.step([r.detach() for r in steady], drives, alpha=1.0)
    return list(_Adjoint.apply(transposed, iterates, size, *result))
