"""Stage ``equilibrium``: the whole network's steady states are trained to classify, and to be reached soon.

Areas feed forward only, so the network's steady state is that of each area in turn, given those below. A few relaxation
steps larger than the network's own reach it, and gradients pass back through these steps: fixed points do not depend on
alpha, and an area that contracts at the large step contracts at the small one. (A real eigenvalue of an area's Jacobian
must lie below 1 for any alpha, and above 1 - 2 / alpha; the bound is the tighter one for the larger alpha.) What the
paper reaches by backpropagation through hundreds of steps is reached here with eight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cordstasks.cordsnet import architecture as arch
from cordstasks.cordsnet.network import CordsNet
from cordstasks.errors import InputError
from cordstasks.pretraining.context import Context
from cordstasks.pretraining.feedforward import Folded
from cordstasks.pretraining.loop import Training, accuracy, cosine
from cordstasks.pretraining.objectives import Outcome
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.pretraining.stages.match import Area, assemble
from cordstasks.pretraining.stages.through_time import protocol_now, unrolled
from cordstasks.utils.devices import one_pass

NEEDS = ("match",)


def run(context: Context) -> None:
    """Train a nonlinear ``match.safetensors`` with ``cnn.safetensors`` as teacher, and write ``equilibrium.safetensors``.

    Raises
    ------
    InputError
        If the areas were matched without their relu.
    """
    context.require("equilibrium", "match")
    context.require("equilibrium", "cnn")
    start = context.read_network("match")
    if start.card.get("match") != "nonlinear":
        raise InputError(
            f"stage=equilibrium: the areas in {context.folder.path} were matched with match=linear, so they have no relu "
            "yet; go on with stage=linear, or use another folder with match=nonlinear"
        )
    context.note("equilibrium", "before", protocol_now(context, unrolled(start, context)()))
    network = SteadyNetwork.of(start)
    context.train(training_of(network, context.read_cnn(), context))
    done = assemble(context.network(), network.folded, network.areas, network.readout)
    context.note("equilibrium", "after", protocol_now(context, unrolled(done, context)()))
    context.save_network("equilibrium", done)


@dataclass
class SteadyNetwork:
    """A whole CordsNet without its dynamics' time course: stem, skips, areas and read-out as plain tensors.

    Parameters
    ----------
    folded : Folded
        Stem, skips and wiring; it has no areas of its own.
    areas : list of Area
        Dynamical areas.
    readout : torch.nn.Linear
        From the pooled sum of the last two areas.
    """

    folded: Folded
    areas: list[Area]
    readout: nn.Linear

    @classmethod
    def of(cls, network: CordsNet) -> SteadyNetwork:
        """A copy of a network's weights that can be trained."""

        def own(tensor: Any) -> Tensor:
            return tensor.detach().clone().requires_grad_(True)

        readout = nn.Linear(network.out_fc.in_features, network.classes, device=network.device)
        readout.load_state_dict({"weight": network.out_fc.weight.detach(), "bias": network.out_fc.bias.detach()})
        skips = [own(module.weight) for module in network.skip_area]
        areas = [
            Area(own(inp.weight), own(rec.weight), own(bias), stride)
            for inp, rec, bias, stride in zip(
                network.area_area, network.area_conv, network.conv_bias, arch.STRIDES, strict=False
            )
        ]
        folded = Folded(own(network.inp_conv.weight), own(network.inp_skip.weight), skips, [], network.sides)
        return cls(folded, areas, readout)

    def groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """All tensors as parameter groups, with the learning rate that suits their channels."""
        channels = [arch.STEM_CHANNELS, *(skip.shape[1] for skip in self.folded.skips)]
        tensors = [[self.folded.stem, self.folded.inp_skip], *([skip] for skip in self.folded.skips)]
        channels += [arch.CHANNELS_OUT[index] for index in range(len(self.areas))]
        tensors += [area.tensors() for area in self.areas]
        channels.append(self.readout.in_features)
        tensors.append(list(self.readout.parameters()))
        return [
            {"params": part, "lr": learning_rate * 64 / width, "peak": learning_rate * 64 / width}
            for part, width in zip(tensors, channels, strict=True)
        ]

    def tensors(self) -> list[Tensor]:
        """All tensors that are trained, in the order of `groups`."""
        return [tensor for group in self.groups(1.0) for tensor in group["params"]]

    def rates(self, x: Tensor, settings: PretrainSettings) -> tuple[list[Tensor], list[Tensor]]:
        """Steady activity (image, channel, height, width) of each area, and each area's activity one step before.

        `x` are normalised images (image, channel, S, S).
        """
        drive = self.folded.drive(x)
        rates: list[Tensor] = []
        before: list[Tensor] = []
        for index, area in enumerate(self.areas):
            r, earlier = area.settle(
                self.folded.input(index, drive, rates), settings.equilibrium_iterates, step=settings.equilibrium_step
            )
            rates.append(r)
            before.append(earlier)
        return rates, before

    def logits(self, rates: list[Tensor]) -> Tensor:
        """Logits (image, class) of the steady activity of the two last areas."""
        return self.readout((rates[-1].float() + rates[-2].float()).mean((2, 3)))


def flat_images(count: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """Normalised images (count, channel, S, S) of one level each: first nothing (zero), then random ones."""
    levels = 5 * torch.rand(count, 1, 1, 1, generator=generator, dtype=torch.float32) - 2.5
    levels[0] = 0
    return levels.to(like).expand(count, *like.shape[1:])


def training_of(network: SteadyNetwork, teacher: Callable[[Tensor], Tensor], context: Context) -> Training:
    """The training of a network at equilibrium, in place.

    Parameters
    ----------
    network : SteadyNetwork
    teacher : callable
        The CNN: normalised images (image, channel, S, S) -> logits (image, class).
    context : Context
    """
    settings, presentation = context.settings, context.presentation
    optimiser = torch.optim.AdamW(
        network.groups(settings.equilibrium_learning_rate),
        weight_decay=settings.equilibrium_weight_decay,
        fused=one_pass(presentation.device),
    )

    def loss(x: Tensor, targets: Tensor, generator: torch.Generator, step: int) -> Outcome:
        return _loss(network, teacher, x, targets, generator, settings)

    def logits(images: Tensor) -> Tensor:
        with torch.autocast(presentation.device.type, dtype=torch.bfloat16, enabled=settings.bfloat16):
            rates = network.rates(presentation.test(images), settings)[0]
        return network.logits(rates)

    common = {**context.common("equilibrium"), "schedule": cosine, "seed": settings.seed + 1}
    return Training(
        **common,
        state={str(number): tensor for number, tensor in enumerate(network.tensors())},
        optimiser=optimiser,
        loss=loss,
        evaluate=lambda: {"test": accuracy(logits, context.images.test)},
    )


def _loss(
    network: SteadyNetwork,
    teacher: Callable[[Tensor], Tensor],
    x: Tensor,
    targets: Tensor,
    generator: torch.Generator,
    settings: PretrainSettings,
) -> Outcome:
    """The loss with the fraction of images that are right, and how far rates still move."""
    flat = flat_images(settings.equilibrium_flat_images, x, generator)
    shown = torch.cat([x, flat]).contiguous(memory_format=torch.channels_last)
    with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=settings.bfloat16):
        with torch.no_grad():
            expected = teacher(x).float()
        rates, before = network.rates(shown, settings)
    logits = network.logits(rates)[: len(x)]
    change = torch.stack(
        [(r - b).square().mean() / r.detach().var().clamp_min(1e-12) for r, b in zip(rates, before, strict=True)]
    ).mean()
    cross_entropy = F.cross_entropy(logits, targets, label_smoothing=settings.equilibrium_label_smoothing)
    temperature = settings.equilibrium_temperature
    divergence = temperature**2 * F.kl_div(
        F.log_softmax(logits / temperature, 1),
        F.log_softmax(expected / temperature, 1),
        log_target=True,
        reduction="batchmean",
    )
    weight = settings.equilibrium_distillation
    value = (1 - weight) * cross_entropy + weight * divergence + settings.equilibrium_settling * change
    correct = (logits.detach().argmax(1) == targets.argmax(1)).float().mean()
    activity = torch.stack([r.detach().float().square().mean() for r in rates])
    return Outcome(value, {"train": correct, "settling": change.detach()}, activity)
