"""Stage ``anneal``: the activation goes from almost linear to relu, one step an epoch."""

from __future__ import annotations

from cordstasks.pretraining.context import Context
from cordstasks.pretraining.stages.through_time import protocol_now, train_through_time, unrolled

NEEDS = ("linear",)


def run(context: Context) -> None:
    """Train ``linear.safetensors`` with the full loss while the slope below zero falls, and write ``anneal.safetensors``.

    The activation is max(0, x) + a min(0, x), with a from ``anneal_slope`` in the first epoch to 0 in the last (Soo et al.
    2024, section 3).
    """
    settings = context.settings
    context.require("anneal", "linear")
    network = context.read_network("linear", slope=settings.anneal_slope)
    unroll = unrolled(network, context)

    def slope(epoch: int) -> float:
        return slope_of(epoch, settings.anneal_epochs, settings.anneal_slope)

    context.note("anneal", "before", protocol_now(context, unroll()))
    train_through_time(context, "anneal", network, unroll, slope=slope)
    network.negative_slope = 0.0
    context.save_network("anneal", network)


def slope_of(epoch: int, epochs: int, first: float) -> float:
    """The slope of an epoch (from 0): from `first` evenly down to 0 in the last; one epoch alone has 0."""
    return first * (1 - epoch / (epochs - 1)) if epochs > 1 else 0.0
