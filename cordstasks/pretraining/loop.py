"""The one loop of all stages: epochs, log, checkpoints within an epoch, resuming, Ctrl-C, time limit, divergence."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from cordstasks.errors import InputError
from cordstasks.pretraining.data import Images, ahead
from cordstasks.pretraining.deadline import Deadline, OutOfTime
from cordstasks.pretraining.objectives import Outcome
from cordstasks.pretraining.presentation import Presentation
from cordstasks.pretraining.processes import Processes
from cordstasks.pretraining.sharing import reading
from cordstasks.utils.allocation import kept_memory
from cordstasks.utils.files import Log
from cordstasks.utils.interrupt import stop_between_steps
from cordstasks.utils.states import computed_as_before, read_state, restoring, save_state

__all__ = ["Training", "accuracy", "batches", "batches_per_epoch", "cosine", "run_training"]

CHECK_BATCHES = 20  # batches between looks at the loss on a device for which the CPU would have to wait
OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")  # as CUDA, CPU and MPS say it

Batch = tuple[Tensor, Tensor]


@dataclass(kw_only=True)
class Training:
    """What a stage asks of the loop.

    Attributes
    ----------
    stage : str
        Its name, with which its settings begin.
    state : mapping of str to Tensor
        Everything that training changes, besides the optimiser: parameters and buffers. A checkpoint is copied into them.
    optimiser : torch.optim.Optimizer
        Each of its parameter groups has ``"peak"``, its largest learning rate.
    loss : callable
        (x, targets, generator, step) -> Outcome.
    epochs, batch : int
        An epoch is what is logged and evaluated as one.
    images : int, optional
        Training images in an epoch (default: all of them).
    schedule : callable
        (step, steps) -> fraction of the peak learning rate.
    clip : float, optional
        Largest norm of the gradient of each of `clipped`.
    clipped : sequence of sequence of Tensor
        Parameters whose gradients are shortened together (default: all of them).
    evaluate : callable, optional
        () -> what a row of the log says beside the means of the batch's terms.
    accumulate : int
        Parts that a batch is computed in.
    seed : int
        Of the order of images and of what is random in a batch.
    plain : bool
        Show images without mixing, as stages that need no classes do.
    save_seconds : float
        Time between checkpoints.
    begin_epoch : callable
        Called with each epoch's number, from 0, before its first batch: to set the slope of the activation.
    """

    stage: str
    state: Mapping[str, Tensor]
    optimiser: torch.optim.Optimizer
    loss: Callable[[Tensor, Tensor, torch.Generator, int], Outcome]
    epochs: int
    batch: int
    images: int | None = None
    schedule: Callable[[int, int], float]
    clip: float | None = None
    clipped: Sequence[Sequence[Tensor]] | None = None
    evaluate: Callable[[], Mapping[str, Any]] = dict
    accumulate: int = 1
    seed: int = 0
    plain: bool = False
    save_seconds: float = 120.0
    begin_epoch: Callable[[int], None] = field(default=lambda epoch: None)

    def parameters(self) -> list[Tensor]:
        """All that the optimiser changes."""
        return [tensor for group in self.optimiser.param_groups for tensor in group["params"]]


def batches_per_epoch(images: int, batch: int) -> int:
    """Whole batches in one pass over the images; what remains is left out, but fewer than a batch are one batch."""
    return max(1, images // batch)


def batches(
    images: int, batch: int, step: int, steps: int, *, seed: int = 0
) -> Iterator[tuple[int, Tensor, torch.Generator]]:
    """Batches from `step` on: (step, indices of images, generator for what is random in this batch).

    Each depends on the seed, the pass over the images and the step alone, so that any run can resume.
    """
    per_pass = batches_per_epoch(images, batch)
    order = torch.empty(0)
    while step < steps:
        number, within = divmod(step, per_pass)
        if within == 0 or not len(order):
            order = torch.randperm(images, generator=torch.Generator().manual_seed(seed * 10_007 + number))
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        yield step, order[within * batch : (within + 1) * batch], generator
        step += 1


def cosine(step: int, steps: int, *, warmup: float = 0.1) -> float:
    """Fraction of the peak learning rate: a linear rise, then half a cosine down to zero."""
    warm = max(1, round(warmup * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


@torch.no_grad()
def accuracy(logits: Callable[[Tensor], Tensor], data: Images, *, batch: int = 250, label: str = "") -> float:
    """Fraction of `data` that `logits` (uint8 images -> logits) classifies correctly; broken images do not count."""
    right = seen = 0
    picks = ((torch.arange(start, min(start + batch, len(data))),) for start in range(0, len(data), batch))
    with tqdm(total=len(data), desc=label, unit="image", leave=False, disable=not label) as bar:
        for images, labels in ahead(picks, data.batch):
            guess = logits(images).argmax(1)
            right += int((guess == labels.to(guess.device)).sum())
            seen += len(labels)
            bar.update(len(labels))
    return right / seen


def run_training(
    training: Training,
    data: Images,
    presentation: Presentation,
    checkpoint: Path,
    log: Log,
    *,
    deadline: Deadline | None = None,
    processes: Processes | None = None,
) -> None:
    """Train in place, from `checkpoint` if that exists.

    Parameters
    ----------
    training : Training
    data : Images
        To train on.
    presentation : Presentation
        How images are shown.
    checkpoint : Path
        Written every `Training.save_seconds`, at the end, and when the loop is stopped.
    log : Log
        One row an epoch.
    deadline : Deadline, optional
    processes : Processes, optional
        Those that train together; by default this one is alone.

    Raises
    ------
    InputError
        If training diverges (the message names the area, and the checkpoint before stays), memory is too little, or the
        checkpoint is of another training.
    OutOfTime
        If `deadline` has passed; the checkpoint holds what has been done.
    KeyboardInterrupt
        After Ctrl-C; the same.
    """
    with stop_between_steps() as asked, kept_memory():
        together = processes or Processes(presentation.device)
        _Loop(training, data, presentation, checkpoint, log, deadline or Deadline(), asked, together).run()


class _Loop:
    def __init__(
        self,
        training: Training,
        data: Images,
        presentation: Presentation,
        checkpoint: Path,
        log: Log,
        deadline: Deadline,
        asked: list[int],
        processes: Processes,
    ) -> None:
        self.training, self.data, self.presentation, self.checkpoint = training, data, presentation, checkpoint
        self.log, self.deadline, self.asked, self.processes = log, deadline, asked, processes
        self.per_epoch = batches_per_epoch(training.images or len(data), training.batch)
        self.steps = training.epochs * self.per_epoch
        self.done = 0
        self.totals: dict[str, Tensor] = {}
        self.activity: Tensor | None = None

    def run(self) -> None:
        training = self.training
        self._resume()
        last_save = time.monotonic()
        hidden = not self.processes.main
        with tqdm(total=self.steps, initial=self.done, desc=training.stage, unit="batch", disable=hidden) as bar:
            for step, generator, images, labels in self._batches():
                stopped = self.processes.any(bool(self.asked))
                if stopped or self.processes.any(self.deadline.passed()):
                    self.save()
                    raise KeyboardInterrupt if stopped else OutOfTime
                if step % self.per_epoch == 0 or step == self.done == self.first:
                    training.begin_epoch(step // self.per_epoch)
                self._step(step, images, labels, generator)
                self.done = step + 1
                bar.update()
                if self.done % self.per_epoch == 0:
                    self._end_epoch(bar)
                if self.processes.any(time.monotonic() - last_save > training.save_seconds) or self.done == self.steps:
                    self.save()
                    last_save = time.monotonic()
        if self.asked:
            raise KeyboardInterrupt

    def _batches(self) -> Iterator[tuple[int, torch.Generator, Tensor, Tensor]]:
        own, shared = self.training, reading(self.data, self.processes)

        def read(step: int, pick: Tensor, generator: torch.Generator) -> tuple[int, torch.Generator, tuple[Tensor, ...]]:
            return step, generator, shared.read(pick, seed=own.seed * 1_000_003 + step)

        for step, generator, part in ahead(batches(len(self.data), own.batch, self.done, self.steps, seed=own.seed), read):
            yield step, generator, *shared.together(part)

    def _resume(self) -> None:
        device = next(iter(self.training.state.values())).device
        state = read_state(self.checkpoint, device)
        if state is not None:
            with restoring(self.checkpoint), torch.no_grad():
                if state["steps"] != self.steps:
                    raise ValueError(f"it is of {state['steps']} batches, not {self.steps}")
                if state["state"].keys() != self.training.state.keys():
                    raise ValueError("its tensors have other names")
                for name, own in self.training.state.items():
                    own.copy_(state["state"][name])
                self.training.optimiser.load_state_dict(computed_as_before(self.training.optimiser, state["optimiser"]))
                self.done, self.totals = state["step"], state["totals"]
        self.first = self.done
        if self.processes.main:
            self.log.keep(self.done)
        else:  # the first has the sums over all processes
            self.totals = {name: torch.zeros_like(total) for name, total in self.totals.items()}
        self.processes.wait()

    def save(self) -> None:
        self._check()
        training = self.training
        state = {
            "state": dict(training.state),
            "optimiser": training.optimiser.state_dict(),
            "step": self.done,
            "steps": self.steps,
            "totals": self.processes.add_all(self.totals),
        }
        if self.processes.main:
            save_state(self.checkpoint, state)
        self.processes.wait()

    def _step(self, step: int, images: Tensor, labels: Tensor, generator: torch.Generator) -> None:
        training, optimiser = self.training, self.training.optimiser
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * training.schedule(step, self.steps)
        progress = 1.0 if training.plain else step / self.steps
        x, targets = self.presentation.training(images, labels, generator, progress=progress)
        optimiser.zero_grad(set_to_none=True)
        try:
            own = self.processes.part(x), self.processes.part(targets)
            for part, part_targets in zip(*(tensor.chunk(training.accumulate) for tensor in own), strict=True):
                outcome = training.loss(part, part_targets, generator, step)
                weight = len(part) / len(x)
                self._look(outcome, weight)
                (weight * outcome.loss).backward()
        except (RuntimeError, MemoryError) as error:
            raise self._too_large(error) from error
        self.processes.add_gradients(training.parameters())
        if training.clip is not None:
            for tensors in training.clipped or [training.parameters()]:
                nn.utils.clip_grad_norm_(tensors, training.clip)
        optimiser.step()

    def _look(self, outcome: Outcome, weight: float) -> None:
        self.activity = outcome.activity
        for name, value in {"loss": outcome.loss.detach(), **outcome.terms}.items():
            self.totals[name] = self.totals.get(name, 0) + weight * value.double()
        if self.activity.device.type == "cpu" or self.done % CHECK_BATCHES == 0:
            self._check()

    def _check(self) -> None:
        """Raise an InputError if the loss is no longer finite, before a checkpoint is replaced."""
        if "loss" not in self.totals or math.isfinite(float(self.totals["loss"])):
            return
        activity = self.activity
        bad = [] if activity is None else torch.nonzero(~activity.isfinite())[:, 0].tolist()
        where = f"area {bad[0]}" if bad else "the loss"
        stage, groups = self.training.stage, self.training.optimiser.param_groups
        rates = {f"{stage}_learning_rate": max(group["peak"] for group in groups if not group.get("kernels"))}
        if any(group.get("kernels") for group in groups):
            rates["cnn_kernel_rate"] = max(group["peak"] for group in groups if group.get("kernels"))
        raise InputError(
            f"{', '.join(f'{name}={rate:g}' for name, rate in rates.items())}: {where} was no longer finite at or before "
            f"batch {self.done + 1} of stage {stage}; choose a smaller one (the checkpoint before is kept)"
        )

    def _too_large(self, error: BaseException) -> BaseException:
        if not isinstance(error, MemoryError) and not any(text in str(error) for text in OUT_OF_MEMORY):
            return error
        training = self.training
        return InputError(
            f"{training.stage}_batch={training.batch}: too little memory for its gradients; choose a smaller batch, or "
            f"accumulate={2 * training.accumulate}, or gradients=truncated or equilibrium"
        )

    def _end_epoch(self, bar: Any) -> None:
        self._check()
        training, epoch = self.training, self.done // self.per_epoch
        totals = self.processes.add_all(self.totals)
        row: dict[str, Any] = {name: float(totals[name]) / self.per_epoch for name in totals}
        row.update(training.evaluate())
        if self.processes.main:
            self.log.write({"stage": training.stage, "epoch": epoch, **row, "step": self.done})
            bar.write(f"{training.stage} epoch {epoch}/{training.epochs}: {in_words(row)}")
        self.totals = {}


PERCENT = ("train", "test")


def in_words(row: Mapping[str, Any]) -> str:
    """Numbers of a row of the log, for the screen."""
    parts = []
    for name, value in row.items():
        if isinstance(value, (list, tuple)):
            text = " ".join(f"{each:.3g}" for each in value)
        elif isinstance(value, float):
            text = f"{value:.2%}" if name.split()[0] in PERCENT else f"{value:.3g}"
        else:
            text = str(value)
        parts.append(f"{name} {text}")
    return ", ".join(parts)
