"""Control ``direct`` (C in the paper): a CordsNet learns from random weights under the full loss."""

from __future__ import annotations

from cordstasks.pretraining.context import Context
from cordstasks.pretraining.stages.through_time import protocol_now, train_through_time, unrolled

NEEDS: tuple[str, ...] = ()


def run(context: Context) -> None:
    """Train a CordsNet without any stage before, and write ``direct.safetensors``."""
    network = context.network()
    unroll = unrolled(network, context)
    context.note("direct", "before", protocol_now(context, unroll()))
    train_through_time(context, "direct", network, unroll)
    context.save_network("direct", network)
