"""Training of the feed-forward network that CordsNet starts from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from cordstasks.checkpoints import save_state
from cordstasks.errors import InputError
from cordstasks.files import Log
from cordstasks.pretraining.cnn import FeedForward
from cordstasks.pretraining.images import ImageSet, augment
from cordstasks.runs import read_state

SAVE_SECONDS = 120.0


@dataclass(frozen=True)
class CnnSettings:
    """How the CNN is trained: SGD with Nesterov momentum 0.9, warm-up, then linear decay to zero."""

    epochs: int = 12
    batch: int = 128
    learning_rate: float = 0.08
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    warmup: float = 0.1  # share of all steps
    seed: int = 0
    bfloat16: bool = False  # mixed precision; faster on CPUs and GPUs that multiply bfloat16 natively


def learning_rate(step: int, steps: int, settings: CnnSettings) -> float:
    """Linear warm-up from a tenth of the peak, then linear decay to zero."""
    warm = max(1, round(settings.warmup * steps))
    if step < warm:
        return settings.learning_rate * (0.1 + 0.9 * step / warm)
    return settings.learning_rate * (steps - step) / max(1, steps - warm)


def batches_per_epoch(data: ImageSet, settings: CnnSettings) -> int:
    """Whole batches in one pass over `data`; what remains is left out, but a set smaller than a batch is one batch."""
    return max(1, len(data) // settings.batch)


def batches(data: ImageSet, settings: CnnSettings, step: int, steps: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Augmented batches from `step` on. Each depends on the seed, the epoch and the step alone, so any run can resume."""
    per_epoch = batches_per_epoch(data, settings)
    order = torch.empty(0)
    while step < steps:
        epoch, within = divmod(step, per_epoch)
        if within == 0 or not len(order):
            order = torch.randperm(len(data), generator=torch.Generator().manual_seed(settings.seed * 10_007 + epoch))
        pick = order[within * settings.batch : (within + 1) * settings.batch]
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
        yield step, augment(data.images[pick], generator), data.labels[pick]
        step += 1


@torch.no_grad()
def accuracy(logits: Callable[[Tensor], Tensor], data: ImageSet, *, batch: int = 250, label: str = "") -> float:
    """Share of `data` that `logits` (uint8 images -> logits) classifies correctly."""
    right = 0
    with tqdm(total=len(data), desc=label, unit="image", leave=False, disable=not label) as bar:
        for start in range(0, len(data), batch):
            part = slice(start, start + batch)
            right += int((logits(data.images[part]).argmax(1).cpu() == data.labels[part]).sum())
            bar.update(len(data.labels[part]))
    return right / len(data)


def train_cnn(
    cnn: FeedForward,
    train: ImageSet,
    test: ImageSet,
    prepare: Callable[[Tensor], Tensor],
    settings: CnnSettings,
    checkpoint: Path,
    log: Log,
) -> None:
    """Train `cnn` in place, from `checkpoint` if that exists; `prepare` turns uint8 images into the network's input."""
    device = next(cnn.parameters()).device
    cnn.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.SGD(cnn.parameters(), lr=0.0, momentum=0.9, nesterov=True, weight_decay=settings.weight_decay)
    per_epoch = batches_per_epoch(train, settings)
    steps = settings.epochs * per_epoch
    step = 0
    totals = [0.0, 0.0]
    state = read_state(checkpoint, device)
    if state is not None:
        cnn.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        step, totals = state["step"], state["totals"]
    log.keep(step)

    def save(done: int) -> None:
        state: dict[str, Any] = {
            "model": cnn.state_dict(),
            "optimiser": optimiser.state_dict(),
            "step": done,
            "totals": totals,
        }
        save_state(checkpoint, state)

    last_save = time.monotonic()
    cnn.train()
    with tqdm(total=steps, initial=step, desc="CNN", unit="batch") as bar:
        for step, images, labels in batches(train, settings, step, steps):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, steps, settings)
            labels = labels.to(device)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.bfloat16):
                logits = cnn(prepare(images).contiguous(memory_format=torch.channels_last)).float()
            loss = F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            if not math.isfinite(float(loss.detach())):
                raise InputError(
                    f"--cnn-learning-rate {settings.learning_rate:g}: the CNN's loss became {float(loss.detach())} at batch "
                    f"{step}; choose a smaller one"
                )
            totals[0] += float(loss.detach())
            totals[1] += float((logits.detach().argmax(1) == labels).float().mean())
            bar.update()
            if (step + 1) % per_epoch == 0:
                cnn.eval()
                score = accuracy(lambda x: cnn(prepare(x)), test)
                cnn.train()
                epoch = (step + 1) // per_epoch
                row = {"stage": "cnn", "epoch": epoch, "loss": totals[0] / per_epoch, "train": totals[1] / per_epoch}
                row |= {"test": score, "step": step + 1}
                log.write(row)
                bar.write(
                    f"CNN epoch {epoch}/{settings.epochs}: loss {row['loss']:.3f}, "
                    f"training {row['train']:.1%} (augmented), test {score:.2%}"
                )
                totals = [0.0, 0.0]
            if (step + 1) % per_epoch == 0 or time.monotonic() - last_save > SAVE_SECONDS:
                save(step + 1)
                last_save = time.monotonic()
    cnn.eval()
