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

from cordstasks.errors import InputError
from cordstasks.pretraining.data import ImageSet
from cordstasks.pretraining.deadline import Deadline, OutOfTime
from cordstasks.pretraining.feedforward import FeedForward
from cordstasks.pretraining.presentation import Presentation
from cordstasks.utils.files import Log
from cordstasks.utils.states import read_state, save_state

SAVE_SECONDS = 120.0
CHECK_BATCHES = 20  # batches between looks at the loss, for which a GPU has to be waited for


@dataclass(frozen=True)
class CnnSettings:
    """How the CNN is trained: SGD with Nesterov momentum 0.9, warm-up, then linear decay to zero."""

    epochs: int = 12
    batch: int = 128
    learning_rate: float = 0.08
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    warmup: float = 0.1  # fraction of all steps
    seed: int = 0
    bfloat16: bool = False  # mixed precision; faster on CPUs and GPUs that multiply bfloat16 natively


def learning_rate(step: int, steps: int, settings: CnnSettings) -> float:
    """Linear warm-up from a tenth of the peak, then linear decay to zero."""
    warm = max(1, round(settings.warmup * steps))
    if step < warm:
        return settings.learning_rate * (0.1 + 0.9 * step / warm)
    return settings.learning_rate * (steps - step) / max(1, steps - warm)


def batches_per_epoch(images: int, batch: int) -> int:
    """Whole batches in one pass over the images; what remains is left out, but fewer than a batch are one batch."""
    return max(1, images // batch)


def batches(
    images: int, batch: int, step: int, steps: int, *, seed: int = 0
) -> Iterator[tuple[int, Tensor, torch.Generator]]:
    """Batches from `step` on: (step, indices of images, generator for what is random in this batch).

    Each depends on the seed, the epoch and the step alone, so that any run can resume.
    """
    per_epoch = batches_per_epoch(images, batch)
    order = torch.empty(0)
    while step < steps:
        epoch, within = divmod(step, per_epoch)
        if within == 0 or not len(order):
            order = torch.randperm(images, generator=torch.Generator().manual_seed(seed * 10_007 + epoch))
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        yield step, order[within * batch : (within + 1) * batch], generator
        step += 1


@torch.no_grad()
def accuracy(logits: Callable[[Tensor], Tensor], data: ImageSet, *, batch: int = 250, label: str = "") -> float:
    """Fraction of `data` that `logits` (uint8 images -> logits) classifies correctly."""
    right = 0
    with tqdm(total=len(data), desc=label, unit="image", leave=False, disable=not label) as bar:
        for start in range(0, len(data), batch):
            part = slice(start, start + batch)
            right += int((logits(data.images[part]).argmax(1).to(data.labels.device) == data.labels[part]).sum())
            bar.update(len(data.labels[part]))
    return right / len(data)


def train_cnn(
    cnn: FeedForward,
    train: ImageSet,
    test: ImageSet,
    presentation: Presentation,
    settings: CnnSettings,
    checkpoint: Path,
    log: Log,
    *,
    deadline: Deadline | None = None,
) -> None:
    """Train `cnn` in place, on its device, from `checkpoint` if that exists.

    Raises
    ------
    InputError
        If the loss is no longer finite; the checkpoint before stays.
    OutOfTime
        If `deadline` has passed; the checkpoint holds what has been done.
    """
    deadline = deadline or Deadline()
    device = next(cnn.parameters()).device
    cnn.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.SGD(cnn.parameters(), lr=0.0, momentum=0.9, nesterov=True, weight_decay=settings.weight_decay)
    per_epoch = batches_per_epoch(len(train), settings.batch)
    steps = settings.epochs * per_epoch
    done = 0
    totals = torch.zeros(2, dtype=torch.float64, device=device)  # loss, correct
    state = read_state(checkpoint, device)
    if state is not None:
        cnn.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        done, totals = state["step"], state["totals"]
    log.keep(done)

    def save() -> None:
        state: dict[str, Any] = {
            "model": cnn.state_dict(),
            "optimiser": optimiser.state_dict(),
            "step": done,
            "totals": totals,
        }
        save_state(checkpoint, state)

    def check() -> None:
        if not math.isfinite(float(totals[0])):
            raise InputError(
                f"cnn_learning_rate={settings.learning_rate:g}: the CNN's loss became {float(totals[0])} at or before "
                f"batch {done}; choose a smaller one"
            )

    last_save = time.monotonic()
    cnn.train()
    with tqdm(total=steps, initial=done, desc="CNN", unit="batch") as bar:
        for step, pick, generator in batches(len(train), settings.batch, done, steps, seed=settings.seed):
            if deadline.passed():
                check()
                save()
                raise OutOfTime
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, steps, settings)
            labels = train.labels[pick]
            x, targets = presentation.training(train.images[pick], labels, generator, progress=step / steps)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.bfloat16):
                logits = cnn(x).float()
            loss = F.cross_entropy(logits, targets, label_smoothing=settings.label_smoothing)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            correct = (logits.detach().argmax(1) == targets.argmax(1)).float().mean()
            totals += torch.stack([loss.detach(), correct])
            done = step + 1
            bar.update()
            if done % CHECK_BATCHES == 0 or done % per_epoch == 0:
                check()
            if done % per_epoch == 0:
                cnn.eval()
                score = accuracy(lambda x: cnn(presentation.test(x)), test)
                cnn.train()
                mean_loss, mean_correct = (totals / per_epoch).tolist()
                epoch = done // per_epoch
                log.write(
                    {"stage": "cnn", "epoch": epoch, "loss": mean_loss, "train": mean_correct, "test": score, "step": done}
                )
                bar.write(
                    f"CNN epoch {epoch}/{settings.epochs}: loss {mean_loss:.3f}, "
                    f"training {mean_correct:.1%} (augmented), test {score:.2%}"
                )
                totals = torch.zeros_like(totals)
            if time.monotonic() - last_save > SAVE_SECONDS or done == steps:
                check()  # the last good checkpoint is kept
                save()
                last_save = time.monotonic()
    cnn.eval()
