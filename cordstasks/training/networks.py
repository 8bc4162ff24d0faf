"""The recurrent network that settings describe."""

from __future__ import annotations

import torch

from cordstasks.rnn.connectivity import named
from cordstasks.rnn.network import RNN
from cordstasks.training.settings import NetworkSettings

__all__ = ["initial_network", "trained_parameters"]


def initial_network(settings: NetworkSettings, inputs: int, outputs: int, *, seed: int) -> RNN:
    """The untrained network.

    Parameters
    ----------
    settings : NetworkSettings
        Size, connectivity, activation and the rest.
    inputs, outputs : int
        Numbers of channels.
    seed : int
        Of the initial weights.

    Returns
    -------
    RNN
    """
    return RNN(
        inputs,
        settings.units,
        outputs,
        dt=settings.dt,
        tau=settings.tau,
        noise=settings.noise,
        activation=settings.activation,
        gain=settings.gain,
        generator=torch.Generator().manual_seed(seed),
        connectivity=named(settings.connectivity, rank=settings.rank, density=settings.density, shape=settings.shape),
        form=settings.form,
        excitatory=settings.excitatory,
        train_inputs=settings.train_inputs,
        train_outputs=settings.train_outputs,
    )


def trained_parameters(network: RNN) -> int:
    """How many numbers training sets in one network; of a sparse one, those inside its mask."""
    total = 0
    for name, parameter in network.named_parameters():
        masked = name == "recurrent_weights" and "recurrent_mask" in network.recurrent_names
        count = int(network.get_buffer("recurrent_mask").sum()) if masked else parameter.numel()
        total += count if parameter.requires_grad else 0
    return total
