"""Stage ``cnn``: the feed-forward network that CordsNet starts from learns the classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from cordstasks.cordsnet import architecture as arch
from cordstasks.errors import InputError
from cordstasks.pretraining.context import Context
from cordstasks.pretraining.feedforward import FeedForward
from cordstasks.pretraining.loop import Training, accuracy
from cordstasks.pretraining.muon import Muon
from cordstasks.pretraining.objectives import Outcome
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.utils.devices import one_pass

NEEDS: tuple[str, ...] = ()


def run(context: Context) -> None:
    """Train a CNN and write ``cnn.safetensors``, which another run can start from with ``init``."""
    settings = context.settings
    cnn = started_cnn(context)
    if settings.cnn_epochs:
        context.train(training_of(cnn, context))
    score = accuracy(lambda images: cnn(context.presentation.test(images)), context.images.test, label="CNN")
    context.note("cnn", "after", {"test": score})
    context.save_tensors("cnn", cnn.state_dict(), start=start_of(settings))


def training_of(cnn: FeedForward, context: Context, stage: str = "cnn") -> Training:
    """The training of a CNN, in place, by the stage that it belongs to; what that has no setting for is as in ``cnn``."""
    settings, presentation = context.settings, context.presentation
    shown = Shown(getattr(settings, f"{stage}_half_epochs", 0))
    peak = getattr(settings, f"{stage}_learning_rate")
    cnn.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = _optimiser(list(cnn.parameters()), peak, context)

    def loss(x: Tensor, targets: Tensor, generator: torch.Generator, step: int) -> Outcome:
        cnn.train()
        x = shown(x)
        _check_normalised(x, settings, stage)
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=settings.bfloat16):
            rates = cnn.areas(x)[1]
            logits = cnn.logits(rates).float()
        value = F.cross_entropy(logits, targets, label_smoothing=settings.cnn_label_smoothing)
        correct = (logits.detach().argmax(1) == targets.argmax(1)).float().mean()
        activity = torch.stack([r.detach().float().square().mean() for r in rates])
        cnn.eval()
        return Outcome(value, {"train": correct}, activity)

    def logits_now(images: Tensor) -> Tensor:
        with torch.autocast(presentation.device.type, dtype=torch.bfloat16, enabled=settings.bfloat16):
            return cnn(shown(presentation.test(images)))

    def evaluate() -> dict[str, Any]:
        return {"test": accuracy(logits_now, context.images.test)}

    common = context.common(stage)
    common["schedule"] = lambda step, steps: schedule(step, steps, settings)
    return Training(
        **common, state=cnn.state_dict(), optimiser=optimiser, loss=loss, evaluate=evaluate, begin_epoch=shown.begin
    )


def _optimiser(parameters: list[nn.Parameter], peak: float, context: Context) -> torch.optim.Optimizer:
    settings = context.settings
    if settings.cnn_optimiser == "muon":
        return Muon(
            [weight for weight in parameters if weight.ndim == 4],
            [weight for weight in parameters if weight.ndim != 4],
            kernel_rate=settings.cnn_kernel_rate,
            rate=peak,
            kernel_momentum=settings.cnn_kernel_momentum,
            momentum=settings.cnn_momentum,
            weight_decay=settings.cnn_weight_decay,
            dtype=torch.bfloat16 if settings.bfloat16 else torch.float32,
        )
    return torch.optim.SGD(
        [{"params": parameters, "peak": peak}],
        lr=peak,
        momentum=settings.cnn_momentum,
        nesterov=settings.cnn_momentum > 0,
        weight_decay=settings.cnn_weight_decay,
        fused=one_pass(context.device),
    )


def _check_normalised(x: Tensor, settings: PretrainSettings, stage: str) -> None:
    """Batch normalisation needs more than one unit of each channel."""
    if len(x) == 1 and arch.area_sides(x.shape[-1], settings.depth)[-1] == 1:
        batch = getattr(settings, f"{stage}_batch")
        raise InputError(
            f"{stage}_batch={batch}, accumulate={settings.accumulate}: one image at a time cannot "
            f"be normalised where areas have 1 x 1 units (images of {x.shape[-1]} px); use more images in a batch, smaller "
            "accumulate, or larger image_size"
        )


class Shown:
    """The size that images have in an epoch: half the side at first, which takes a quarter of the arithmetic.

    Parameters
    ----------
    half_epochs : int
        Number of epochs with half the side.
    """

    def __init__(self, half_epochs: int) -> None:
        self.half_epochs, self.half = half_epochs, half_epochs > 0

    def begin(self, epoch: int) -> None:
        """An epoch begins."""
        self.half = epoch < self.half_epochs

    def __call__(self, x: Tensor) -> Tensor:
        """Images (image, channel, S, S) in this epoch's size: S, or half of it by averages of 2 x 2 pixels."""
        return F.avg_pool2d(x, 2) if self.half else x


def schedule(step: int, steps: int, settings: PretrainSettings) -> float:
    """Fraction of the peak learning rate: a linear warm-up from a tenth of it, then a linear fall to zero, or thirds."""
    warm = max(1, round(settings.cnn_warmup * steps))
    rising = 0.1 + 0.9 * step / warm
    if settings.cnn_schedule == "thirds":
        return min(1.0, rising) * 0.1 ** min(2, 3 * step // max(1, steps))
    return rising if step < warm else (steps - step) / max(1, steps - warm)


def started_cnn(context: Context) -> FeedForward:
    """A CNN with random weights or with those of ``init``."""
    cnn = context.new_cnn()
    if context.settings.init is None:
        return cnn
    path = Path(context.settings.init)
    try:
        state = {name: value.float() for name, value in load_file(path).items()}
        missing, unexpected = cnn.load_state_dict(state, strict=False)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"init={path}: not a CNN of this depth and these classes ({reason})") from error
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise InputError(f"init={path}: tensors missing {missing[:3]}, not known {unexpected[:3]}")
    return cnn.eval()


def start_of(settings: PretrainSettings) -> str:
    """What a CNN was started from, in words."""
    if settings.init is None:
        return "random weights"
    with safe_open(settings.init, framework="pt") as file:
        metadata = file.metadata() or {}
    return f"{Path(settings.init).name} ({'; '.join(f'{name}: {value}' for name, value in metadata.items())})"
