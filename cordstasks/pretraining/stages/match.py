"""Layer-wise matching: each area's nonlinear steady state is trained to be the CNN's activity of that layer.

Fixed points do not depend on alpha, so areas are settled with large steps; that they are also stable at the network's own
alpha is what `cordstasks.pretraining.protocol` checks. Areas feed forward only, so the steady state of the whole network
is found area by area, and each area learns from the steady inputs that the areas below really give it: it can correct what
they got wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from cordstasks.cordsnet import architecture as arch
from cordstasks.cordsnet.network import CordsNet, set_weight
from cordstasks.errors import InputError
from cordstasks.pretraining.data import ImageSet
from cordstasks.pretraining.deadline import Deadline, OutOfTime
from cordstasks.pretraining.feedforward import Folded
from cordstasks.pretraining.presentation import Presentation
from cordstasks.utils.files import Log
from cordstasks.utils.states import read_state, save_state

STEP = 0.5  # Euler step of the relaxation
ITERATES = 6  # unrolled when an area is trained
SETTLED_ITERATES = 8  # when an area's steady state is what the next one is fed


@dataclass(frozen=True)
class MatchSettings:
    """How areas are matched: AdamW, one cycle; the rate falls with the number of inputs of a unit."""

    steps: int = 300  # per area
    batch: int = 64
    learning_rate: float = 2e-3  # for 64 channels; inversely proportional to channels
    seed: int = 0
    bfloat16: bool = False


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

    def settle(self, u: Tensor, iterates: int, *, step: float = STEP) -> tuple[Tensor, Tensor]:
        """The activity after `iterates` relaxation steps of the input `u`, and the activity one step earlier."""
        drive = F.conv2d(u, self.inp, stride=self.stride, padding=1).float() + self.bias
        r = before = F.relu(drive)
        for _ in range(iterates):
            before = r
            r = torch.lerp(r, F.relu(F.conv2d(r, self.rec, padding=1).float() + drive), step)
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


def steady_rates(folded: Folded, areas: list[Area], x: Tensor, *, iterates: int = SETTLED_ITERATES) -> list[Tensor]:
    """The steady activity of every given area, for normalised images `x` (image, channel, height, width)."""
    drive = folded.drive(x)
    rates: list[Tensor] = []
    for index, area in enumerate(areas):
        rates.append(area.settle(folded.input(index, drive, rates), iterates)[0])
    return rates


def match_areas(
    folded: Folded,
    train: ImageSet,
    presentation: Presentation,
    settings: MatchSettings,
    checkpoint: Path,
    log: Log,
    *,
    deadline: Deadline | None = None,
) -> list[Area]:
    """Match every area in turn; finished areas are read from `checkpoint` and kept there.

    Raises
    ------
    InputError
        If an area's error is no longer finite.
    OutOfTime
        If `deadline` has passed; the areas finished so far are kept.
    """
    areas: list[Area] = []
    for state in read_state(checkpoint, folded.stem.device) or []:
        areas.append(Area(**state))
    log.keep(len(areas) - 1, key="area")
    for index in range(len(areas), len(folded.areas)):
        area = initial_area(folded, index)
        row = _match_area(index, area, areas, folded, train, presentation, settings, deadline or Deadline())
        areas.append(area)
        save_state(checkpoint, [vars(each) for each in areas])
        log.write(row)
    return areas


def _match_area(
    index: int,
    area: Area,
    below: list[Area],
    folded: Folded,
    train: ImageSet,
    presentation: Presentation,
    settings: MatchSettings,
    deadline: Deadline,
) -> dict[str, Any]:
    rate = settings.learning_rate * 64 / arch.CHANNELS_OUT[index]
    for tensor in area.tensors():
        tensor.requires_grad_(True)
    optimiser = torch.optim.AdamW(area.tensors(), lr=rate, weight_decay=0.0)
    rising = max(0.2, 2 / settings.steps)  # OneCycleLR divides by zero where it rises for one step only
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=settings.steps, pct_start=rising)
    generator = torch.Generator().manual_seed(settings.seed * 1_009 + index)
    kept: list[Tensor] = []
    for _ in tqdm(range(settings.steps), desc=f"matching area {index}", unit="batch", leave=False):
        if deadline.passed():
            raise OutOfTime
        pick = torch.randint(len(train), (settings.batch,), generator=generator)
        x = presentation.augmented(train.images[pick], generator).contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=settings.bfloat16):
            with torch.no_grad():
                target = _targets(folded, x, index)[index]
                drive = folded.drive(x)
                u = folded.input(index, drive, steady_rates(folded, below, x))
                variance = target.float().var()
            r, before = area.settle(u, ITERATES)
        error = (r - target.float()).square().mean() / variance
        loss = error + (r - before).square().mean() / variance
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(area.tensors(), 1.0)
        optimiser.step()
        schedule.step()
        kept.append(error.detach())
    for tensor in area.tensors():
        tensor.requires_grad_(False)
    errors = torch.stack(kept).tolist()
    if not math.isfinite(sum(errors)):
        raise InputError(
            f"match_learning_rate={settings.learning_rate:g}: matching area {index} diverged; choose a smaller one"
        )
    last = sum(errors[-20:]) / len(errors[-20:])
    silent = float((r.detach().amax((0, 2, 3)) == 0).float().mean())
    tqdm.write(f"area {index}: {last:.3f} of the variance unexplained, {silent:.1%} of channels silent")
    return {"stage": "matching", "area": index, "error": last, "first_error": errors[0], "silent": silent}


def _targets(folded: Folded, x: Tensor, area: int) -> list[Tensor]:
    drive = folded.drive(x)
    rates: list[Tensor] = []
    for index in range(area + 1):
        rates.append(folded.activity(index, folded.input(index, drive, rates)))
    return rates


@torch.no_grad()
def assemble(network: CordsNet, folded: Folded, areas: list[Area], readout: torch.nn.Linear) -> CordsNet:
    """Put the matched areas, the folded stem and skips and a read-out into `network`, which is returned."""
    set_weight(network.inp_conv, folded.stem)
    set_weight(network.inp_skip, folded.inp_skip)
    for module, weight in zip(network.skip_area, folded.skips, strict=True):
        set_weight(module, weight)
    for index, area in enumerate(areas):
        set_weight(network.area_area[index], area.inp)
        set_weight(network.area_conv[index], area.rec)
        network.conv_bias[index].copy_(area.bias)
    set_weight(network.out_fc, readout.weight)
    network.out_fc.bias.copy_(readout.bias)
    return network
