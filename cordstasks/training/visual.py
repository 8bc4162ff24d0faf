"""Supervised training of a multi-area model on features of its front-end."""

from __future__ import annotations

import copy
import math
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from cordstasks.errors import InputError
from cordstasks.model import MultiAreaModel
from cordstasks.rnn.noise import normal
from cordstasks.rnn.packing import Packing
from cordstasks.training.distillation import Teacher, running_evidence
from cordstasks.training.evaluation import choices, run_until
from cordstasks.training.losses import AuxiliaryHeads, masked_cross_entropy, taught_loss
from cordstasks.training.mixing import TrialMixing
from cordstasks.training.settings import VisualSettings
from cordstasks.training.trials import TrialSet
from cordstasks.utils.allocation import kept_memory
from cordstasks.utils.devices import one_pass
from cordstasks.utils.interrupt import stop_between_steps
from cordstasks.utils.run_folder import RunFolder
from cordstasks.utils.states import restore_optimiser, restoring

__all__ = ["load_best", "train"]


def load_best(model: MultiAreaModel, folder: RunFolder, device: torch.device, *, needed: bool = True) -> None:
    """Give `model` the best weights of a run.

    Raises
    ------
    InputError
        If ``best.pt`` is damaged, is of another model, or is not there although it is `needed`.
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
    settings: VisualSettings,
    folder: RunFolder,
    *,
    teacher: Teacher | None = None,
    save_seconds: float = 10.0,
) -> dict[str, Any]:
    """Train `model` in place, from the folder's checkpoint if there is one, and leave it with the best weights.

    Returns
    -------
    dict of str to object
        With ``"steps"``, ``"best_step"``, ``"best_validation_loss"`` and ``"seconds"``.

    Raises
    ------
    InputError
        If the loss is no longer a finite number.
    KeyboardInterrupt
        After Ctrl-C, with the checkpoint written.
    """
    device = trials.targets.device
    mixing = _mixing(trials, settings, teacher)
    heads = AuxiliaryHeads(model.rnn.output_weights.shape[1], _classes(trials, settings), trials.soft_targets).to(device)
    optimiser = _optimiser([*model.parameters(), *heads.parameters()], settings)
    averaged = _averaged(model, settings)
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
    state = folder.load("checkpoint.pt", torch.device("cpu"))  # each part is then moved to the device of its target
    if state is not None:
        with restoring(folder.path / "checkpoint.pt"):
            model.load_state_dict(state["model"])
            heads.load_state_dict(state["heads"])
            if averaged is not None:
                averaged.load_state_dict(state["averaged"])
            restore_optimiser(optimiser, state["optimiser"])
            generator.set_state(state["generator"].cpu())
            progress = {**state["progress"], **{name: type(v)(state["progress"][name]) for name, v in progress.items()}}
        load_best(copy.deepcopy(model), folder, device, needed=progress["best_step"] > 0)  # now, not after training
    folder.log.keep(progress["step"])
    folder.log.note_gaps(progress["step"], every=settings.evaluate_every, end=settings.steps)
    began = time.monotonic() - progress["seconds"]

    def save() -> None:
        progress["seconds"] = time.monotonic() - began
        folder.save(
            "checkpoint.pt",
            {
                "model": model.state_dict(),
                "heads": heads.state_dict(),
                "averaged": None if averaged is None else averaged.state_dict(),
                "optimiser": optimiser.state_dict(),
                "generator": generator.get_state(),
                "teacher": None if teacher is None else {"matrix": teacher.matrix, "lags": teacher.lags},
                "progress": dict(progress),
            },
        )

    saved = time.monotonic()
    bar = tqdm(total=settings.steps, initial=progress["step"], desc="training", unit="batch", leave=False)
    with bar, kept_memory(), stop_between_steps() as asked:
        while progress["step"] < settings.steps and progress["waited"] < settings.patience:
            for group in optimiser.param_groups:
                group["lr"] = _learning_rate(progress["step"], settings)
            loss = _step(model, heads, trials, mixing, teacher, optimiser, generator, settings)
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


def _mixing(trials: TrialSet, settings: VisualSettings, teacher: Teacher | None) -> TrialMixing | None:
    if not settings.mix:
        return None
    answers = trials.answers if teacher is None else None
    return TrialMixing.of(
        trials.inputs.take(slice(None)), trials.timing, answers, sizes=settings.mix_sizes, fewest=settings.mix_fewest
    )


def _classes(trials: TrialSet, settings: VisualSettings) -> dict[str, int]:
    """The number of classes of each auxiliary target."""
    return {name: int(values.max()) + 1 for name, values in trials.auxiliary.items()} if settings.auxiliary else {}


def _optimiser(parameters: list[nn.Parameter], settings: VisualSettings) -> torch.optim.Optimizer:
    fused = one_pass(parameters[0].device)
    return torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=fused)


def _averaged(model: MultiAreaModel, settings: VisualSettings) -> AveragedModel | None:
    """The running average of the weights, if there is to be one."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.average)) if settings.average else None


def _learning_rate(step: int, settings: VisualSettings) -> float:
    along = 0.5 * (1 + math.cos(math.pi * step / settings.steps))
    return settings.learning_rate * (0.05 + 0.95 * along)


def _step(
    model: MultiAreaModel,
    heads: AuxiliaryHeads,
    trials: TrialSet,
    mixing: TrialMixing | None,
    teacher: Teacher | None,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    settings: VisualSettings,
) -> float:
    """Train on one batch; returns the loss of the actions, without the loss of the auxiliary targets."""
    device = trials.targets.device
    pick = torch.randint(len(trials), (settings.batch,), generator=generator, device=device)
    targets, mask, evidence = trials.targets[pick], trials.mask[pick], trials.evidence[pick]
    auxiliary = {name: values[pick] for name, values in trials.auxiliary.items()}
    if mixing is not None:
        inputs = mixing.draw(pick, generator)
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
        inputs = inputs.add_(normal(inputs.shape, generator, inputs.dtype), alpha=settings.input_noise)
    asked = [mask > 0, *(values >= 0 for values in auxiliary.values())]
    judged = evidence | trials.response_mask[pick]  # where the difference of two logits is to be a teacher's evidence
    packing = Packing.up_to_last(torch.stack(asked if teacher is None else [*asked, judged]).any(0))
    rates = model.rnn.packed(packing.pack(inputs), packing, generator=generator)

    def rows(values: Tensor) -> Tensor:
        return packing.pack(values)[None]

    # losses are means over steps, whichever trial these are of, so all rows can be the steps of one trial
    logits, scores = heads.read(rates[None], model.rnn.output_weights, model.rnn.output_bias)
    if teacher is None:
        loss = masked_cross_entropy(logits, rows(targets), rows(mask))
    else:
        odds = running_evidence(inputs, teacher.matrix, teacher.lags, evidence)
        loss = taught_loss(logits, rows(odds), rows(targets), rows(mask), rows(judged), typical=settings.odds_typical)
    whole = loss
    if settings.auxiliary:
        whole = loss + settings.auxiliary * heads(scores, {name: rows(values) for name, values in auxiliary.items()})
    optimiser.zero_grad(set_to_none=True)
    whole.backward()
    nn.utils.clip_grad_norm_([*model.parameters(), *heads.parameters()], settings.clip)
    optimiser.step()
    return float(loss.detach())


def _evaluate(
    model: MultiAreaModel, validation: TrialSet, settings: VisualSettings, folder: RunFolder, progress: dict[str, Any]
) -> None:
    # no rates are kept, and steps that nothing is read from are left out
    logits = run_until(model, validation.inputs, (validation.mask > 0) | validation.response_mask)
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
