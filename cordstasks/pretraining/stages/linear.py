"""Stage ``linear``: end to end with the identity inside areas, from zero activity, an image and no blank."""

from __future__ import annotations

from cordstasks.errors import InputError
from cordstasks.pretraining.context import Context
from cordstasks.pretraining.stages.through_time import protocol_now, train_through_time, unrolled

NEEDS = ("match",)


def run(context: Context) -> None:
    """Train ``match.safetensors`` with the log-weighted cross-entropy, and write ``linear.safetensors``.

    What areas send each other is rectified; what is inside them is not (Soo et al. 2024, section 3).

    Raises
    ------
    InputError
        If the areas were matched with their relu.
    """
    context.require("linear", "match")
    network = context.read_network("match", slope=1.0)
    if network.card.get("match") == "nonlinear":
        raise InputError(
            f"stage=linear: the areas in {context.folder.path} were matched with match=nonlinear, so they have their relu "
            "already; go on with stage=equilibrium or stage=finetune"
        )
    unroll = unrolled(network, context)
    context.note("linear", "before", protocol_now(context, unroll(), from_zero=True))
    train_through_time(context, "linear", network, unroll, from_zero=True)
    context.save_network("linear", network)
