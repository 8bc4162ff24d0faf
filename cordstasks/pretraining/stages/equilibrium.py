"""End-to-end training at equilibrium: the whole network's steady states are trained to classify, and to be reached soon.

Areas feed forward only, so the network's steady state is that of each area in turn, given those below. A few relaxation
steps larger than the network's own reach it, and gradients pass back through these steps: fixed points do not depend on
alpha, and an area that contracts at the large step contracts at the small one. (A real eigenvalue of an area's Jacobian
must lie below 1 for any alpha, and above 1 - 2 / alpha; the bound is the tighter one for the larger alpha.) What the
paper reaches by backpropagation through hundreds of steps is reached here with eight.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from cordstasks.cordsnet import architecture as arch
from cordstasks.errors import InputError
from cordstasks.pretraining.data import ImageSet
from cordstasks.pretraining.deadline import Deadline, OutOfTime
from cordstasks.pretraining.feedforward import Folded
from cordstasks.pretraining.presentation import Presentation
from cordstasks.pretraining.stages.cnn import CHECK_BATCHES, SAVE_SECONDS, accuracy, batches, batches_per_epoch
from cordstasks.pretraining.stages.match import Area
from cordstasks.utils.files import Log
from cordstasks.utils.states import read_state, save_state

FLAT_IMAGES = 16  # in each batch: nothing, and uniform fields, on which the network must settle too
WARMUP = 0.1  # fraction of the batches in which the learning rate rises


@dataclass(frozen=True)
class EquilibriumSettings:
    """How the whole network is trained: AdamW, warm-up and cosine decay to zero.

    Attributes
    ----------
    epochs : passes over the training images.
    batch : images per batch.
    learning_rate : peak, for the weights of areas of 64 channels; inversely proportional to channels.
    weight_decay : decoupled.
    step : relaxation step (dt / T).
    iterates : relaxation steps from the rectified drive.
    distillation : weight of the divergence from the CNN's probabilities; the labels' cross-entropy has the rest.
    temperature : at which these probabilities are compared.
    settling : weight of the mean over areas of the last relaxation step's squared size relative to the variance.
    label_smoothing : of the cross-entropy.
    seed : of the order of images and of their augmentation.
    bfloat16 : mixed precision.
    """

    epochs: int = 0
    batch: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    step: float = 0.7
    iterates: int = 8
    distillation: float = 0.5
    temperature: float = 2.0
    settling: float = 1.0
    label_smoothing: float = 0.1
    seed: int = 0
    bfloat16: bool = False


@dataclass
class SteadyNetwork:
    """A whole CordsNet without its dynamics' time course: stem, skips, areas and read-out as plain tensors.

    Parameters
    ----------
    folded : stem, skips and wiring (its own areas, those of the CNN, are not used).
    areas : dynamical areas.
    readout : linear layer from the pooled sum of the last two areas.
    """

    folded: Folded
    areas: list[Area]
    readout: nn.Linear

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

    def rates(self, x: Tensor, settings: EquilibriumSettings) -> tuple[list[Tensor], list[Tensor]]:
        """Steady activity (image, channel, height, width) of each area, and each area's activity one step before.

        `x` are normalised images (image, channel, S, S).
        """
        drive = self.folded.drive(x)
        rates: list[Tensor] = []
        before: list[Tensor] = []
        for index, area in enumerate(self.areas):
            r, earlier = area.settle(self.folded.input(index, drive, rates), settings.iterates, step=settings.step)
            rates.append(r)
            before.append(earlier)
        return rates, before

    def logits(self, rates: list[Tensor]) -> Tensor:
        """Logits (image, class) of the steady activity of the two last areas."""
        return self.readout((rates[-1].float() + rates[-2].float()).mean((2, 3)))


def trainable(folded: Folded, areas: list[Area], readout: nn.Linear) -> SteadyNetwork:
    """A copy whose tensors can be trained."""

    def own(tensor: Tensor) -> Tensor:
        return tensor.detach().clone().requires_grad_(True)

    linear = nn.Linear(readout.in_features, readout.out_features, device=readout.weight.device)
    linear.load_state_dict(readout.state_dict())
    return SteadyNetwork(
        replace(folded, stem=own(folded.stem), inp_skip=own(folded.inp_skip), skips=[own(skip) for skip in folded.skips]),
        [Area(own(area.inp), own(area.rec), own(area.bias), area.stride) for area in areas],
        linear,
    )


def flat_images(count: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """Normalised images (count, channel, S, S) of one level each: first nothing (zero), then random ones."""
    levels = 5 * torch.rand(count, 1, 1, 1, generator=generator, dtype=torch.float32) - 2.5
    levels[0] = 0
    return levels.to(like).expand(count, *like.shape[1:])


def train_at_equilibrium(
    network: SteadyNetwork,
    teacher: Callable[[Tensor], Tensor],
    train: ImageSet,
    test: ImageSet,
    presentation: Presentation,
    settings: EquilibriumSettings,
    checkpoint: Path,
    log: Log,
    *,
    deadline: Deadline | None = None,
) -> None:
    """Train `network` in place, from `checkpoint` if that exists.

    Parameters
    ----------
    network : SteadyNetwork
    teacher : callable
        The CNN: normalised images (image, channel, S, S) -> logits (image, class).
    train, test : ImageSet
    presentation : Presentation
    settings : EquilibriumSettings
    checkpoint : Path
    log : Log
    deadline : Deadline, optional

    Raises
    ------
    InputError
        If the network diverges; the message names the area, and the checkpoint before stays.
    OutOfTime
        If `deadline` has passed; the checkpoint holds what has been done.
    """
    deadline = deadline or Deadline()
    device = network.folded.stem.device
    optimiser = torch.optim.AdamW(network.groups(settings.learning_rate), weight_decay=settings.weight_decay)
    per_epoch = batches_per_epoch(len(train), settings.batch)
    steps = settings.epochs * per_epoch
    done, totals = 0, torch.zeros(3, dtype=torch.float64, device=device)  # loss, correct, settling
    state = read_state(checkpoint, device)
    if state is not None:
        with torch.no_grad():
            for own, kept in zip(network.tensors(), state["tensors"], strict=True):
                own.copy_(kept)
        optimiser.load_state_dict(state["optimiser"])
        done, totals = state["step"], state["totals"]
    log.keep(done)

    def save() -> None:
        if not math.isfinite(float(totals.sum())):
            raise _diverged(network, rates, settings, done)
        state = {"tensors": network.tensors(), "optimiser": optimiser.state_dict(), "step": done, "totals": totals}
        save_state(checkpoint, state)

    last_save = time.monotonic()
    rates: list[Tensor] = []
    with tqdm(total=steps, initial=done, desc="equilibrium", unit="batch") as bar:
        for step, pick, generator in batches(len(train), settings.batch, done, steps, seed=settings.seed + 1):
            if deadline.passed():
                save()
                raise OutOfTime
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * schedule(step, steps)
            images, labels = train.images[pick], train.labels[pick]
            x, targets = presentation.training(images, labels, generator, progress=step / steps)
            loss, rates, correct, change = _loss(network, teacher, x, targets, generator, settings)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.tensors(), 1.0)
            optimiser.step()
            totals += torch.stack([loss.detach(), correct, change.detach()])
            done = step + 1
            bar.update()
            if done % CHECK_BATCHES == 0 and not math.isfinite(float(totals.sum())):
                raise _diverged(network, rates, settings, done)
            if done % per_epoch == 0:
                row = _row(network, test, presentation, settings, totals / per_epoch, done // per_epoch)
                log.write({**row, "step": done})
                bar.write(
                    f"equilibrium epoch {row['epoch']}/{settings.epochs}: loss {row['loss']:.3f}, training "
                    f"{row['train']:.1%} (augmented), test {row['test']:.2%}, settling {row['settling']:.1e}"
                )
                totals = torch.zeros_like(totals)
            if time.monotonic() - last_save > SAVE_SECONDS or done == steps:
                save()
                last_save = time.monotonic()


def schedule(step: int, steps: int) -> float:
    """Fraction of the peak learning rate: a linear rise, then half a cosine down to zero."""
    warm = max(1, round(WARMUP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _loss(
    network: SteadyNetwork,
    teacher: Callable[[Tensor], Tensor],
    x: Tensor,
    targets: Tensor,
    generator: torch.Generator,
    settings: EquilibriumSettings,
) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
    """The loss, the rates it came from, the fraction of images that are right, and how far rates still move."""
    flat = flat_images(FLAT_IMAGES, x, generator)
    shown = torch.cat([x, flat]).contiguous(memory_format=torch.channels_last)
    with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=settings.bfloat16):
        with torch.no_grad():
            expected = teacher(x).float()
        rates, before = network.rates(shown, settings)
    logits = network.logits(rates)[: len(x)]
    change = torch.stack(
        [(r - b).square().mean() / r.detach().var().clamp_min(1e-12) for r, b in zip(rates, before, strict=True)]
    )
    cross_entropy = F.cross_entropy(logits, targets, label_smoothing=settings.label_smoothing)
    temperature = settings.temperature
    divergence = temperature**2 * F.kl_div(
        F.log_softmax(logits / temperature, 1),
        F.log_softmax(expected / temperature, 1),
        log_target=True,
        reduction="batchmean",
    )
    weight = settings.distillation
    loss = (1 - weight) * cross_entropy + weight * divergence + settings.settling * change.mean()
    correct = (logits.detach().argmax(1) == targets.argmax(1)).float().mean()
    return loss, rates, correct, change.mean()


@torch.no_grad()
def _row(
    network: SteadyNetwork,
    test: ImageSet,
    presentation: Presentation,
    settings: EquilibriumSettings,
    means: Tensor,
    epoch: int,
) -> dict[str, Any]:
    def logits(images: Tensor) -> Tensor:
        with torch.autocast(presentation.device.type, dtype=torch.bfloat16, enabled=settings.bfloat16):
            rates = network.rates(presentation.test(images), settings)[0]
        return network.logits(rates)

    loss, correct, change = means.tolist()
    return {
        "stage": "equilibrium",
        "epoch": epoch,
        "loss": loss,
        "train": correct,
        "settling": change,
        "test": accuracy(logits, test),
    }


def _diverged(network: SteadyNetwork, rates: list[Tensor], settings: EquilibriumSettings, done: int) -> InputError:
    bad = [index for index, r in enumerate(rates) if not bool(r.isfinite().all())]
    where = f"area {bad[0]}" if bad else "the loss"
    return InputError(
        f"equilibrium_learning_rate={settings.learning_rate:g}: {where} was no longer finite at or before batch {done}; "
        "choose a smaller one (the checkpoint before is kept)"
    )
