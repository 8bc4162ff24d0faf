"""Stage ``match``: each area's steady state is trained to be the CNN's layer.

``match=linear`` is the paper's: with d = b + Conv_inp u, the linear steady state is (I + W + W^2 + W^3) d, and the target is
the CNN's layer before its relu. A penalty on W^3 d keeps the spectrum inside the unit circle. W and b start afresh, all else
is the folded CNN's (Soo et al. 2024, section 3). Areas learn side by side, since each is fed the CNN's activity.

``match=nonlinear`` is ours: the steady state with relu is trained to be the CNN's activity, with Conv_inp free too. Fixed
points do not depend on alpha, so areas are settled with large steps; that they are also stable at the network's own alpha
is what stage ``check`` checks. Areas learn one after the other: each is fed the steady states that those below really
have, and can correct what they got wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cordstasks.cordsnet import architecture as arch
from cordstasks.cordsnet.network import CordsNet, set_weight
from cordstasks.pretraining.context import Context
from cordstasks.pretraining.convolution import Convolution, convolve
from cordstasks.pretraining.feedforward import Folded
from cordstasks.pretraining.loop import Training, accuracy, batches_per_epoch, cosine
from cordstasks.pretraining.objectives import Outcome
from cordstasks.pretraining.promises import spectral_radius
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.pretraining.stages.fold import read_folded
from cordstasks.utils.devices import one_pass

NEEDS = ("fold",)
NONLINEAR_WARMUP = 0.2  # fraction of an area's batches in which its rate rises


def run(context: Context) -> None:
    """Match the areas to ``fold.safetensors``, and write ``match.safetensors``."""
    settings = context.settings
    folded, readout = read_folded(context, "match")
    if settings.match == "linear":
        network = linear_start(context.network(1.0), folded, readout)
        context.train(linear_training(network, folded, context))
        after = linear_promise(network, folded, context)
    else:
        areas = [initial_area(folded, number) for number in range(settings.depth)]
        context.train(nonlinear_training(areas, folded, context))
        network = assemble(context.network(), folded, areas, readout)
        after = nonlinear_promise(areas, folded, readout, context)
    context.note("match", "after", {**after, "spectral radius by area": radii(network)})
    context.save_network("match", network, match=settings.match)


def radii(network: CordsNet) -> list[float]:
    """Spectral radius of each area's recurrent convolution."""
    pairs = zip(network.area_conv, network.sides, strict=True)
    return [spectral_radius(module.weight.detach(), side) for module, side in pairs]  # type: ignore[operator]


def potentials(folded: Folded, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs u_l of all areas of the CNN for normalised images, and what the areas rectify."""
    drive = folded.drive(x)
    inputs: list[Tensor] = []
    found: list[Tensor] = []
    rates: list[Tensor] = []
    for number in range(len(folded.areas)):
        inputs.append(folded.input(number, drive, rates))
        found.append(_precise(folded.potential(number, inputs[-1])))
        rates.append(F.relu(found[-1]))
    return inputs, found


def _precise(x: Tensor) -> Tensor:
    """Products in bfloat16 are summed up in float32."""
    return x.float() if x.dtype == torch.bfloat16 else x


# the linear way


@torch.no_grad()
def linear_start(network: CordsNet, folded: Folded, readout: nn.Linear) -> CordsNet:
    """Put all of the folded CNN but the recurrent convolutions and biases into a new network, which is returned."""
    _common(network, folded, readout)
    for module, part in zip(network.area_area, folded.areas, strict=True):
        set_weight(module, part.inp)
    return network


def linear_steady(weight: Tensor, d: Tensor, iterates: int) -> tuple[Tensor, Tensor]:
    """The sum of W^k d for k from 0 to `iterates`, and its last term."""
    r, last = d, d
    convolution = Convolution(weight, d.shape[-1])
    for _ in range(iterates):
        last = _precise(convolution(last))
        r = r + last
    return r, last


def linear_training(network: CordsNet, folded: Folded, context: Context) -> Training:
    """The training of all areas of a network side by side, in place."""
    settings = context.settings
    parts = [[*network.area_conv[number].parameters(), network.conv_bias[number]] for number in range(network.depth)]
    peak = settings.match_learning_rate
    parameters = [tensor for part in parts for tensor in part]
    optimiser = torch.optim.AdamW(
        [{"params": parameters, "peak": peak}],
        lr=peak,
        weight_decay=settings.weight_decay,
        fused=one_pass(context.presentation.device),
    )

    def loss(x: Tensor, targets: Tensor, generator: torch.Generator, step: int) -> Outcome:
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=settings.bfloat16):
            with torch.no_grad():
                inputs, wanted = potentials(folded, x)
            total = x.new_zeros(())
            activity = []
            for number, (u, target) in enumerate(zip(inputs, wanted, strict=True)):
                d = _linear_drive(network, number, u)
                r, last = linear_steady(network.area_conv[number].weight, d, settings.match_iterates)  # type: ignore[arg-type]
                total = total + (target - r).square().mean() + settings.match_penalty * last.square().mean()
                activity.append(r.detach().square().mean())
        return Outcome(total / network.depth, {}, torch.stack(activity))

    common = {**context.common("match"), "schedule": _match_schedule(settings)}
    return Training(**common, state=network.state_dict(), optimiser=optimiser, loss=loss, clipped=parts, plain=True)


def _match_schedule(settings: PretrainSettings) -> Any:
    return cosine if settings.match_schedule == "cosine" else lambda step, steps: 1.0


def _linear_drive(network: CordsNet, number: int, u: Tensor) -> Tensor:
    weight: Any = network.area_area[number].weight
    return convolve(u, weight.detach(), stride=arch.STRIDES[number]).float() + network.conv_bias[number]


@torch.no_grad()
def linear_promise(network: CordsNet, folded: Folded, context: Context) -> dict[str, Any]:
    """Unexplained variance of each area's target by its linear steady state, and the accuracy of these steady states."""
    images, _ = context.images.test.batch(torch.arange(min(250, len(context.images.test))))
    x, iterates = context.presentation.test(images), context.settings.match_iterates
    inputs, wanted = potentials(folded, x)
    errors = []
    for number, (u, target) in enumerate(zip(inputs, wanted, strict=True)):
        r, _ = linear_steady(network.area_conv[number].weight, _linear_drive(network, number, u), iterates)  # type: ignore[arg-type]
        errors.append(float((r - target).square().mean() / target.var()))

    def logits(images: Tensor) -> Tensor:
        drive = folded.drive(context.presentation.test(images))
        rates: list[Tensor] = []
        for number in range(network.depth):
            d = _linear_drive(network, number, folded.input(number, drive, rates))
            rates.append(F.relu(linear_steady(network.area_conv[number].weight, d, iterates)[0]))  # type: ignore[arg-type]
        return network.readout(rates[-1], rates[-2])

    score = accuracy(logits, context.images.test, label="linear steady states")
    return {"test": score, "error by area": errors}


# the nonlinear way


@dataclass
class Area:
    """A dynamical area: r <- r + step * (-r + relu(rec * r + bias + inp * u))."""

    inp: Tensor
    rec: Tensor
    bias: Tensor
    stride: int

    def tensors(self) -> list[Tensor]:
        """The trained tensors."""
        return [self.inp, self.rec, self.bias]

    def settle(self, u: Tensor, iterates: int, *, step: float) -> tuple[Tensor, Tensor]:
        """The activity after `iterates` relaxation steps of the input `u`, and the activity one step earlier."""
        drive = convolve(u, self.inp, stride=self.stride).float() + self.bias
        recurrent = Convolution(self.rec, drive.shape[-1])
        r = before = F.relu(drive)
        for _ in range(iterates):
            before = r
            r = torch.lerp(r, F.relu(recurrent(r).float() + drive), step)
        return r, before


def composed(rec: Tensor, inp: Tensor, stride: int) -> Tensor:
    """The central 3x3 taps of the one kernel that equals `inp` (with `stride`) followed by `rec`."""
    kernel = rec.new_zeros(rec.shape[0], inp.shape[1], 3, 3)
    offsets = (-1, 0, 1)
    for dy in offsets:
        for dx in offsets:
            for ey in offsets:
                for ex in offsets:
                    y, x = stride * dy + ey, stride * dx + ex
                    if abs(y) <= 1 and abs(x) <= 1:
                        kernel[:, :, y + 1, x + 1] += rec[:, :, dy + 1, dx + 1] @ inp[:, :, ey + 1, ex + 1]
    return kernel


@torch.no_grad()
def initial_area(folded: Folded, area: int) -> Area:
    """An area without recurrence that computes the CNN's layer as well as one 3x3 kernel can."""
    part = folded.areas[area]
    stride = arch.STRIDES[area]
    return Area(
        inp=composed(part.rec, part.inp, stride),
        rec=torch.zeros_like(part.rec),
        bias=(F.conv2d(part.before[None], part.rec, padding=1)[0] + part.after),
        stride=stride,
    )


def steady_rates(folded: Folded, areas: list[Area], x: Tensor, *, iterates: int = 8, step: float = 0.5) -> list[Tensor]:
    """The steady activity of every given area, for normalised images `x` (image, channel, height, width)."""
    drive = folded.drive(x)
    rates: list[Tensor] = []
    for index, area in enumerate(areas):
        rates.append(area.settle(folded.input(index, drive, rates), iterates, step=step)[0])
    return rates


def nonlinear_training(areas: list[Area], folded: Folded, context: Context) -> Training:
    """The training of areas one after the other, in place: the first epochs are the first area's, and so on."""
    settings = context.settings
    groups = []
    for number, area in enumerate(areas):
        peak = settings.match_learning_rate * 64 / arch.CHANNELS_OUT[number]
        for tensor in area.tensors():
            tensor.requires_grad_(True)
        groups.append({"params": area.tensors(), "peak": peak, "lr": peak})
    optimiser = torch.optim.AdamW(groups, weight_decay=0.0, fused=one_pass(context.presentation.device))
    common = context.common("match")
    common["epochs"] = settings.match_epochs * len(areas)
    own = settings.match_epochs * batches_per_epoch(settings.match_images or len(context.images.train), settings.match_batch)

    def schedule(step: int, steps: int) -> float:
        return cosine(step % own, own, warmup=NONLINEAR_WARMUP)

    def loss(x: Tensor, targets: Tensor, generator: torch.Generator, step: int) -> Outcome:
        number = step // own
        area = areas[number]
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=settings.bfloat16):
            with torch.no_grad():
                target = F.relu(potentials(folded, x)[1][number])
                below = steady_rates(
                    folded, areas[:number], x, iterates=settings.match_settled, step=settings.match_relaxation
                )
                u = folded.input(number, folded.drive(x), below)
                variance = target.var()
            r, before = area.settle(u, 2 * settings.match_iterates, step=settings.match_relaxation)
        error = (r - target).square().mean() / variance
        value = error + (r - before).square().mean() / variance
        activity = torch.zeros(len(areas), device=x.device)
        activity[number] = r.detach().square().mean()
        silent = (r.detach().amax((0, 2, 3)) == 0).float().mean()
        return Outcome(value, {"error": error.detach(), "silent": silent}, activity)

    state: Mapping[str, Tensor] = {
        f"{number}.{name}": getattr(area, name) for number, area in enumerate(areas) for name in ("inp", "rec", "bias")
    }
    common["schedule"] = schedule
    clipped = [area.tensors() for area in areas]
    return Training(**common, state=state, optimiser=optimiser, loss=loss, clipped=clipped, plain=True)


@torch.no_grad()
def nonlinear_promise(areas: list[Area], folded: Folded, readout: nn.Linear, context: Context) -> dict[str, Any]:
    """Unexplained variance of the CNN's activity by each area's steady state, and the accuracy of these steady states."""
    settings = context.settings

    def rates_of(images: Tensor) -> list[Tensor]:
        x = context.presentation.test(images)
        return steady_rates(folded, areas, x, iterates=2 * settings.match_settled, step=settings.match_relaxation)

    images, _ = context.images.test.batch(torch.arange(min(250, len(context.images.test))))
    wanted = [F.relu(target) for target in potentials(folded, context.presentation.test(images))[1]]
    errors = [float((r - target).square().mean() / target.var()) for r, target in zip(rates_of(images), wanted, strict=True)]

    def logits(images: Tensor) -> Tensor:
        rates = rates_of(images)
        return readout((rates[-1] + rates[-2]).mean((2, 3)))

    return {"test": accuracy(logits, context.images.test, label="steady states"), "error by area": errors}


@torch.no_grad()
def assemble(network: CordsNet, folded: Folded, areas: list[Area], readout: nn.Linear) -> CordsNet:
    """Put the matched areas, the folded stem and skips and a read-out into `network`, which is returned."""
    _common(network, folded, readout)
    for index, area in enumerate(areas):
        set_weight(network.area_area[index], area.inp)
        set_weight(network.area_conv[index], area.rec)
        network.conv_bias[index].copy_(area.bias)
    return network


@torch.no_grad()
def _common(network: CordsNet, folded: Folded, readout: nn.Linear) -> None:
    set_weight(network.inp_conv, folded.stem)
    set_weight(network.inp_skip, folded.inp_skip)
    for module, weight in zip(network.skip_area, folded.skips, strict=True):
        set_weight(module, weight)
    set_weight(network.out_fc, readout.weight)
    network.out_fc.bias.copy_(readout.bias)
