"""Stage ``finetune``: the whole network with relu learns under the full loss."""

from __future__ import annotations

from cordstasks.pretraining.context import Context
from cordstasks.pretraining.stages.through_time import protocol_now, train_through_time, unrolled

NEEDS = ("anneal", "equilibrium", "match")


def run(context: Context) -> None:
    """Train what ``anneal``, ``equilibrium`` or a nonlinear ``match`` has left, and write ``finetune.safetensors``.

    Raises
    ------
    InputError
        If there is only a linear match, whose areas have no relu yet.
    """
    network = context.read_network(context.require("finetune", *NEEDS))
    if network.card.get("match") == "linear":
        context.require("finetune", "anneal")
    unroll = unrolled(network, context)
    context.note("finetune", "before", protocol_now(context, unroll()))
    train_through_time(context, "finetune", network, unroll)
    context.save_network("finetune", network)
