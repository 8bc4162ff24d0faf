"""Control ``dense`` (R in the paper): a fully connected recurrent network learns under the full loss."""

from __future__ import annotations

import torch

from cordstasks.pretraining.context import Context
from cordstasks.pretraining.dense import DenseNetwork, DenseUnrolled, units_like
from cordstasks.pretraining.stages.through_time import protocol_now, train_through_time

NEEDS: tuple[str, ...] = ()


def run(context: Context) -> None:
    """Train a dense network without any stage before, and write ``dense.safetensors``.

    Raises
    ------
    InputError
        If it does not fit into ``dense_memory``.
    """
    settings, train = context.settings, context.images.train
    convolutional = context.network()
    units = units_like(
        settings.depth,
        settings.image_size,
        channels=train.channels,
        classes=len(train.classes),
        kind=settings.dense_units,
        memory=settings.dense_memory,
        parameters=sum(parameter.numel() for parameter in convolutional.parameters()),
    )
    torch.manual_seed(settings.seed)
    network = DenseNetwork(
        units, pixels=train.channels * settings.image_size**2, classes=len(train.classes), alpha=convolutional.alpha
    ).to(context.device)
    print(
        f"dense: {' + '.join(map(str, units))} units, {sum(p.numel() for p in network.parameters()) / 1e6:.2f} M parameters"
    )

    def unroll() -> DenseUnrolled:
        return DenseUnrolled(network)

    context.note("dense", "before", protocol_now(context, unroll()))
    train_through_time(context, "dense", network, unroll)
    context.save_tensors("dense", network.state_dict())
