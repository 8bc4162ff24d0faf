"""Control ``recurrent``: a discrete-time recurrent CNN of the same size learns the classes at one step."""

from __future__ import annotations

import torch

from cordstasks.pretraining.context import Context
from cordstasks.pretraining.loop import accuracy
from cordstasks.pretraining.recurrent import RecurrentCNN
from cordstasks.pretraining.stages.cnn import training_of

NEEDS: tuple[str, ...] = ()


def run(context: Context) -> None:
    """Train the recurrent CNN as the stage ``cnn`` does, and write ``recurrent.safetensors``."""
    settings, train = context.settings, context.images.train
    torch.manual_seed(settings.seed)
    network = RecurrentCNN(
        settings.depth, classes=len(train.classes), in_channels=train.channels, steps=settings.recurrent_steps
    ).to(context.device)
    if settings.recurrent_epochs:
        context.train(training_of(network, context, "recurrent"))
    network.eval()
    score = accuracy(lambda images: network(context.presentation.test(images)), context.images.test, label="recurrent CNN")
    context.note("recurrent", "after", {"test": score})
    context.save_tensors("recurrent", network.state_dict())
