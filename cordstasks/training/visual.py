"""Supervised training of a multi-area model on features of its front-end."""

from __future__ import annotations

import copy
import math
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from cordstasks.errors import InputError
from cordstasks.frontend.frontend import Features
from cordstasks.model import MultiAreaModel
from cordstasks.tasks import TrialBatch, VisualTask
from cordstasks.training.distillation import TYPICAL, Teacher, running_evidence
from cordstasks.training.mixing import Mixtures
from cordstasks.training.recombination import Recombination
from cordstasks.utils.arguments import plain_fields
from cordstasks.utils.run_folder import RunFolder
from cordstasks.utils.states import restore_optimiser, restoring

__all__ = ["TrainSettings", "choices", "run_model", "train"]


@dataclass(frozen=True)
class TrainSettings:
    """How a model is trained: Adam, masked cross-entropy, clipped gradients, the best of its evaluations kept.

    Where trials have auxiliary targets, linear read-outs of the recurrent units learn these too; they are no part of the
    trained model.

    Attributes
    ----------
    steps : largest number of batches.
    batch : trials a batch.
    learning_rate : Adam's, falling to a twentieth along a cosine.
    clip : largest norm of the gradient.
    mix : mix trials, see `cordstasks.training.mixing`: any of the same timing with a teacher, who knows what a mixture
        shows; without one, trials of the same answer.
    auxiliary : weight in the loss of the mean cross-entropy of auxiliary targets; 0 for none.
    recombine : share of the batches whose trials get others' tests, see `cordstasks.training.recombination`.
    input_noise : standard deviation of the noise on inputs, for trials that are not mixed.
    weight_decay : decoupled, on all weights.
    average : what is evaluated and kept is a running average of the weights, in which those of a step fade by this factor a
        step; 0 for the weights as they are.
    evaluate_every : batches between evaluations on the validation trials.
    patience : evaluations without a better one after which training stops.
    seed : of the order of trials and of all noise.
    """

    steps: int = 1000
    batch: int = 128
    learning_rate: float = 4e-3
    clip: float = 1.0
    mix: bool = False
    auxiliary: float = 1.0
    recombine: float = 0.75
    input_noise: float = 0.1
    weight_decay: float = 1e-4
    average: float = 0.0
    evaluate_every: int = 25
    patience: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        plain_fields(self)


@dataclass(frozen=True)
class TrialSet:
    """Trials with their features, as tensors on the device that trains.

    Attributes
    ----------
    inputs : of the recurrent network.
    targets : int64 (trial, time).
    mask : (trial, time), weight of each step.
    answers : int64 (trial,), the right action.
    response_mask : bool (trial, time), steps at which the answer is due.
    evidence : bool (trial, time), steps of the stimulus.
    timing : int64 (trial,), the number of its timing: trials of the same periods have the same.
    options : the actions that compete when a choice is read.
    auxiliary : {name: int64 (trial, time)}, the class to be told; -1 where there is none.
    recombination : None for trials that cannot be recombined.
    soft_targets : {name: (class, class)}, probabilities that stand in for the classes of an auxiliary target.
    """

    inputs: Features
    targets: Tensor
    mask: Tensor
    answers: Tensor
    response_mask: Tensor
    evidence: Tensor
    timing: Tensor
    options: tuple[int, ...]
    auxiliary: dict[str, Tensor] = field(default_factory=dict)
    recombination: Recombination | None = None
    soft_targets: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.inputs)


def trial_set(inputs: Features, batch: TrialBatch, device: torch.device, task: VisualTask) -> TrialSet:
    """Trials of a task, with their inputs."""
    time_ms = torch.arange(inputs.steps, dtype=torch.float32) * batch.dt
    onset, end = torch.from_numpy(batch.periods[task.stimulus]).T[..., None]
    response_mask = torch.from_numpy(batch.response_mask)
    # a step's features average over it, so the step that begins at onset is the first to hold evidence
    evidence = (time_ms >= onset) & (time_ms < end)
    return TrialSet(
        inputs=inputs.to(device),
        targets=torch.from_numpy(batch.targets).to(device),
        mask=torch.from_numpy(batch.mask).to(device),
        answers=torch.from_numpy(batch.answers).to(device),
        response_mask=response_mask.to(device),
        evidence=evidence.to(device),
        timing=torch.from_numpy(_timings(batch)).to(device),
        options=batch.options,
        auxiliary={name: torch.from_numpy(values).to(device) for name, values in batch.auxiliary.items()},
        recombination=None if task.compared is None else Recombination.of(batch, task.compared, device),
        soft_targets={name: torch.from_numpy(table).float().to(device) for name, table in task.soft_targets.items()},
    )


def _timings(batch: TrialBatch) -> NDArray[np.int64]:
    """The number of each trial's timing (trial,)."""
    rows = np.column_stack([np.nan_to_num(batch.periods[name], nan=-1) for name in batch.periods])
    return np.unique(rows, axis=0, return_inverse=True)[1].astype(np.int64).ravel()


def masked_cross_entropy(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Mean cross-entropy over the steps of `mask` (trial, time).

    `targets` are actions (trial, time), or their probabilities (trial, time, action).
    """
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(0, 1), reduction="none")
    return (losses * mask.flatten()).sum() / mask.sum()


class Readouts(nn.Module):
    """Linear read-outs of the recurrent units, one for each auxiliary target; needed in training only.

    Parameters
    ----------
    units : recurrent units.
    classes : {name: number of classes}.
    soft_targets : {name: (class, class)}, probabilities of being told in the place of each class.
    """

    def __init__(self, units: int, classes: Mapping[str, int], soft_targets: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.soft_targets = dict(soft_targets)
        self.readouts = nn.ModuleDict(
            {name: nn.Linear(units, number, dtype=torch.float32) for name, number in classes.items()}
        )
        for readout in self.readouts.values():
            nn.init.zeros_(readout.weight)  # type: ignore[arg-type]
            nn.init.zeros_(readout.bias)  # type: ignore[arg-type]

    def forward(self, rates: Tensor, auxiliary: Mapping[str, Tensor]) -> Tensor:
        """Mean cross-entropy over the targets (trial, time) of rates (trial, time, unit), where these are not -1."""
        losses = []
        for name, readout in self.readouts.items():
            asked = auxiliary[name] >= 0
            if bool(asked.any()):
                right = auxiliary[name][asked]
                if name in self.soft_targets:
                    right = self.soft_targets[name][right]
                losses.append(F.cross_entropy(readout(rates[asked]), right))
        return torch.stack(losses).mean() if losses else rates.new_zeros(())


def taught_loss(logits: Tensor, odds: Tensor, targets: Tensor, mask: Tensor, steps: Tensor) -> Tensor:
    """Loss of following a teacher.

    Parameters
    ----------
    logits : (trial, time, action), the first action being to fixate.
    odds : (trial, time), the teacher's log odds of the first answer against the second.
    targets : int64 (trial, time); where they are not to fixate, the teacher's probabilities stand in for them.
    mask : (trial, time), weight of each step in the cross-entropy.
    steps : bool (trial, time), where the difference of the two answers' logits is to equal `odds`.
    """
    first = torch.sigmoid(odds)
    answer = torch.stack([torch.zeros_like(first), first, 1 - first], 2)
    fixate = F.one_hot(torch.zeros_like(targets), 3).to(answer.dtype)
    soft = torch.where((targets == 0)[..., None], fixate, answer)
    # linear beyond what is typical, or the few trials that the matrix knows by heart would outweigh all others
    distance = F.smooth_l1_loss((logits[..., 1] - logits[..., 2])[steps], odds[steps], beta=TYPICAL)
    return masked_cross_entropy(logits, soft, mask) + distance


def choices(logits: Tensor, response_mask: Tensor, options: tuple[int, ...]) -> Tensor:
    """The action (trial,) of the `options` with the largest logit, averaged over the steps of the decision.

    Parameters
    ----------
    logits : (trial, time, action).
    response_mask : bool (trial, time).
    options : the actions that compete.
    """
    weight = response_mask.float()
    mean = (logits * weight[..., None]).sum(1) / weight.sum(1, keepdim=True)
    competing = torch.tensor(options, device=logits.device)
    return competing[mean[:, competing].argmax(1)]


@torch.no_grad()
def run_model(model: MultiAreaModel, inputs: Features, *, batch: int = 128) -> tuple[Tensor, Tensor]:
    """Logits (trial, time, action) and rates (trial, time, unit) of all trials, without noise, on the CPU."""
    logits, rates = [], []
    for start in range(0, len(inputs), batch):
        out, states = model(inputs.take(slice(start, start + batch)))
        logits.append(out.cpu())
        rates.append(states.cpu())
    return torch.cat(logits), torch.cat(rates)


@contextmanager
def _stop_between_steps() -> Iterator[list[int]]:
    """While open, Ctrl-C fills the list instead of interrupting, so that a step is never cut in two."""
    asked: list[int] = []

    def note(number: int, _: Any) -> None:
        if asked:  # the second Ctrl-C does not wait
            raise KeyboardInterrupt
        asked.append(number)

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # not in the main thread, where signals are not ours
        yield asked
        return
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def load_best(model: MultiAreaModel, folder: RunFolder, device: torch.device, *, needed: bool = True) -> None:
    """Give `model` the best weights of a run.

    Raises
    ------
    InputError : ``best.pt`` is damaged, is of another model, or is not there although it is `needed`.
    """
    best, path = folder.load("best.pt", device), folder.path / "best.pt"
    if best is not None:
        with restoring(path, "remove it, checkpoint.pt and summary.json to start afresh"):
            model.load_state_dict(best["model"])
    elif needed:
        raise InputError(f"{path}: is missing, and checkpoint.pt counts on it; remove that, too, to start afresh")


def train(
    model: MultiAreaModel,
    trials: TrialSet,
    validation: TrialSet,
    settings: TrainSettings,
    folder: RunFolder,
    *,
    teacher: Teacher | None = None,
    save_seconds: float = 10.0,
) -> dict[str, Any]:
    """Train `model` in place, from the folder's checkpoint if there is one, and leave it with the best weights.

    Returns
    -------
    ``{"steps", "best_step", "best_validation_loss", "seconds"}``.

    Raises
    ------
    InputError : the loss is no longer a finite number.
    KeyboardInterrupt : after Ctrl-C, with the checkpoint written.
    """
    device = trials.targets.device
    mixtures = None
    if settings.mix:
        answers = trials.answers if teacher is None else None
        mixtures = Mixtures.of(trials.inputs.take(slice(None)), trials.timing, answers)
    classes = {name: int(values.max()) + 1 for name, values in trials.auxiliary.items()} if settings.auxiliary else {}
    readouts = Readouts(model.rnn.output_weights.shape[1], classes, trials.soft_targets).to(device)
    parameters = [*model.parameters(), *readouts.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.average)) if settings.average else None
    judged = model if averaged is None else averaged.module
    assert isinstance(judged, MultiAreaModel)
    generator = torch.Generator(device).manual_seed(settings.seed)
    progress: dict[str, Any] = {
        "step": 0,
        "best_step": 0,
        "best_loss": math.inf,
        "waited": 0,
        "seconds": 0.0,
        "total": 0.0,
    }
    state = folder.load("checkpoint.pt", torch.device("cpu"))  # each part goes where what it is loaded into is
    if state is not None:
        with restoring(folder.path / "checkpoint.pt"):
            model.load_state_dict(state["model"])
            readouts.load_state_dict(state["readouts"])
            if averaged is not None:
                averaged.load_state_dict(state["averaged"])
            restore_optimiser(optimiser, state["optimiser"])
            generator.set_state(state["generator"].cpu())
            progress = {**state["progress"], **{name: type(v)(state["progress"][name]) for name, v in progress.items()}}
        load_best(copy.deepcopy(model), folder, device, needed=progress["best_step"] > 0)  # now, not after hours of training
    folder.log.keep(progress["step"])
    folder.log.note_gaps(progress["step"], every=settings.evaluate_every, end=settings.steps)
    began = time.monotonic() - progress["seconds"]

    def save() -> None:
        progress["seconds"] = time.monotonic() - began
        folder.save(
            "checkpoint.pt",
            {
                "model": model.state_dict(),
                "readouts": readouts.state_dict(),
                "averaged": None if averaged is None else averaged.state_dict(),
                "optimiser": optimiser.state_dict(),
                "generator": generator.get_state(),
                "progress": dict(progress),
            },
        )

    saved = time.monotonic()
    bar = tqdm(total=settings.steps, initial=progress["step"], desc="training", unit="batch", leave=False)
    with bar, _stop_between_steps() as asked:
        while progress["step"] < settings.steps and progress["waited"] < settings.patience:
            for group in optimiser.param_groups:
                group["lr"] = _learning_rate(progress["step"], settings)
            loss = _step(model, readouts, trials, mixtures, teacher, optimiser, generator, settings)
            if not math.isfinite(loss):
                raise InputError(
                    f"learning_rate={settings.learning_rate:g}: the loss became {loss} at batch {progress['step']}; "
                    "choose a smaller one"
                )
            if averaged is not None:
                averaged.update_parameters(model)
            progress["step"] += 1
            progress["total"] += loss
            bar.update()
            if progress["step"] % settings.evaluate_every == 0 or progress["step"] == settings.steps:
                _evaluate(judged, validation, settings, folder, progress)
                bar.set_postfix(validation=f"{progress['accuracy']:.1%}")
            if asked or time.monotonic() - saved > save_seconds:
                save()
                saved = time.monotonic()
            if asked:
                raise KeyboardInterrupt
        save()
    load_best(model, folder, device, needed=progress["best_step"] > 0)
    return {
        "steps": progress["step"],
        "best_step": progress["best_step"],
        "best_validation_loss": progress["best_loss"],
        "seconds": progress["seconds"],
    }


def _learning_rate(step: int, settings: TrainSettings) -> float:
    along = 0.5 * (1 + math.cos(math.pi * step / settings.steps))
    return settings.learning_rate * (0.05 + 0.95 * along)


def _step(
    model: MultiAreaModel,
    readouts: Readouts,
    trials: TrialSet,
    mixtures: Mixtures | None,
    teacher: Teacher | None,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    settings: TrainSettings,
) -> float:
    """Train on one batch; returns the loss of the actions, without that of auxiliary targets."""
    device = trials.targets.device
    pick = torch.randint(len(trials), (settings.batch,), generator=generator, device=device)
    targets, mask, evidence = trials.targets[pick], trials.mask[pick], trials.evidence[pick]
    auxiliary = {name: values[pick] for name, values in trials.auxiliary.items()}
    if mixtures is not None:
        inputs = mixtures.draw(pick, generator)
    else:
        source = pick
        if (
            trials.recombination is not None
            and float(torch.rand(1, generator=generator, device=device, dtype=torch.float32)) < settings.recombine
        ):
            source, targets, mask, auxiliary = trials.recombination.joined(
                pick, trials.recombination.partners(pick, generator), trials.targets, trials.mask, trials.auxiliary
            )
        inputs = trials.inputs.take(source)
        inputs = inputs + settings.input_noise * torch.randn(
            inputs.shape, generator=generator, device=device, dtype=inputs.dtype
        )
    logits, rates = model(inputs, generator=generator)
    if teacher is None:
        loss = masked_cross_entropy(logits, targets, mask)
    else:
        odds = running_evidence(inputs, teacher.matrix, teacher.lags, evidence)
        loss = taught_loss(logits, odds, targets, mask, evidence | trials.response_mask[pick])
    whole = loss + settings.auxiliary * readouts(rates, auxiliary) if settings.auxiliary else loss
    optimiser.zero_grad(set_to_none=True)
    whole.backward()
    nn.utils.clip_grad_norm_([*model.parameters(), *readouts.parameters()], settings.clip)
    optimiser.step()
    return float(loss.detach())


def _evaluate(
    model: MultiAreaModel, validation: TrialSet, settings: TrainSettings, folder: RunFolder, progress: dict[str, Any]
) -> None:
    logits, _ = run_model(model, validation.inputs)
    logits = logits.to(validation.targets.device)
    loss = float(masked_cross_entropy(logits, validation.targets, validation.mask))
    right = choices(logits, validation.response_mask, validation.options) == validation.answers
    progress["accuracy"] = float(right.float().mean())
    batches = progress["step"] % settings.evaluate_every or settings.evaluate_every  # since the last evaluation
    row = {
        "step": progress["step"],
        "loss": progress["total"] / batches,
        "validation_loss": loss,
        "validation_accuracy": progress["accuracy"],
    }
    progress["total"] = 0.0
    progress["waited"] += 1
    if loss < progress["best_loss"]:
        progress |= {"best_loss": loss, "best_step": progress["step"], "waited": 0}
        folder.save("best.pt", {"model": model.state_dict(), "step": progress["step"]})
    folder.log.write(row)
