"""What the stages that train a CordsNet through time have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cordstasks.cordsnet.network import CordsNet
from cordstasks.pretraining.context import Context
from cordstasks.pretraining.loop import Training
from cordstasks.pretraining.objectives import Outcome, full_loss
from cordstasks.pretraining.promises import protocol_accuracy
from cordstasks.pretraining.unrolled import Dynamics, Unrolled
from cordstasks.utils.devices import one_pass


def train_through_time(
    context: Context,
    stage: str,
    network: nn.Module,
    unroll: Callable[[], Dynamics],
    *,
    slope: Callable[[int], float] | None = None,
    from_zero: bool = False,
) -> None:
    """Train a network in place with the loss through time, AdamW, and what the stage's settings say.

    Parameters
    ----------
    context : Context
    stage : str
        ``"linear"``, ``"anneal"``, ``"finetune"``, ``"direct"`` or ``"dense"``.
    network : torch.nn.Module
        Whose parameters are trained.
    unroll : callable
        () -> its dynamics with its weights of now.
    slope : callable, optional
        Epoch -> slope of the activation below zero, which is set before the epoch.
    from_zero : bool
        See `full_loss`.
    """
    settings, common = context.settings, context.common(stage)
    if not common["epochs"]:
        return
    parameters, peak = list(network.parameters()), getattr(settings, f"{stage}_learning_rate")
    optimiser = torch.optim.AdamW(
        [{"params": parameters, "peak": peak}],
        lr=peak,
        weight_decay=settings.weight_decay,
        fused=one_pass(context.presentation.device),
    )
    epoch_now = 0

    def begin_epoch(epoch: int) -> None:
        nonlocal epoch_now
        epoch_now = epoch
        if slope is not None:
            network.negative_slope = slope(epoch)  # type: ignore[assignment]

    def loss(x: Tensor, targets: Tensor, generator: torch.Generator, step: int) -> Outcome:
        return full_loss(unroll(), x, targets, settings, from_zero=from_zero)

    def evaluate() -> Mapping[str, Any]:
        row: dict[str, Any] = {} if slope is None else {"slope": slope(epoch_now)}
        last = epoch_now + 1 == common["epochs"]
        if last or (epoch_now + 1) % settings.test_every == 0:
            row.update(protocol_now(context, unroll(), from_zero=from_zero))
        return row

    context.train(
        Training(
            **common,
            state=network.state_dict(),
            optimiser=optimiser,
            loss=loss,
            evaluate=evaluate,
            begin_epoch=begin_epoch,
        )
    )


def protocol_now(context: Context, dynamics: Dynamics, *, from_zero: bool = False) -> dict[str, Any]:
    """Accuracy and return to the spontaneous state on ``settings.test_images`` test images."""
    images = context.images.test.subset(context.settings.test_images)
    return protocol_accuracy(dynamics, images, context.presentation, context.settings, from_zero=from_zero)


def unrolled(network: CordsNet, context: Context) -> Callable[[], Dynamics]:
    """A function that unrolls a CordsNet with the precision of the settings."""
    return lambda: Unrolled(network, bfloat16=context.settings.bfloat16)
