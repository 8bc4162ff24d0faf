"""How long the paper's training of CordsNet-R8 on ImageNet would take on 1, 8 and 64 GPUs: a projection, not a measurement.

    python benchmarks/projection.py [--gpus 1 8 64] [--rates 1:1.1 8:13.0 32:31.9] [any setting of cordstasks.pretrain]

Floating-point operations are counted, not estimated: each stage's loss with its gradient is carried out on PyTorch's device
"meta", which computes shapes alone, under its counter of operations. The time is these operations over measured rates
(TFLOP/s by images per batch, interpolated in logarithm), plus an assumed time for the sum of the gradients.

The default --rates are those of docs/performance.md on one H100 at 224 px: the direct implementation, which uses PyTorch's
convolutions as training does (image steps per second of the table, divided by its ratio, times 2 x 2.755 G multiply-
accumulates). --fast is the table's rate of the simulator's own kernel, which training does not use: a bound. What is left
out, such as reading images, evaluation and starting again, makes it take longer.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cordstasks.errors import InputError
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.utils.command_line import Parser, run_command
from cordstasks.utils.measured import machine_line
from cordstasks.utils.settings import add_flags, given_by_flags

IMAGENET = {"images": 1_281_167, "classes": 1000}
DIRECT = ("1:1.1", "8:13.0", "32:31.9")
SIMULATOR = ("1:24.2", "8:66.9", "32:109.7")
STAGES = ("cnn", "match", "linear", "anneal", "finetune")
DAY = 24 * 3600


def rates_of(texts: Sequence[str]) -> list[tuple[float, float]]:
    """Pairs of images per batch and FLOP/s, from texts as 8:13.0."""
    try:
        rates = sorted((float(images), 1e12 * float(rate)) for images, rate in (text.split(":") for text in texts))
        if not rates or min(min(pair) for pair in rates) <= 0:
            raise ValueError
        return rates
    except ValueError:
        raise InputError(f"--rates {' '.join(texts)}: give images:TFLOP/s, both above 0, as in {' '.join(DIRECT)}") from None


def rate_at(rates: list[tuple[float, float]], images: float) -> float:
    """FLOP/s with so many images, interpolated in logarithm; beyond the measured numbers it is that of the nearest."""
    images = min(max(images, rates[0][0]), rates[-1][0])
    for (few, slow), (many, fast) in zip(rates, rates[1:], strict=False):
        if images <= many:
            part = math.log(images / few) / math.log(many / few)
            return math.exp(math.log(slow) + part * math.log(fast / slow))
    return rates[-1][1]


def operations(stage: str, images: int, settings: PretrainSettings) -> float:
    """Floating-point operations of the loss of a stage for so many images, with its gradient."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from cordstasks.cordsnet import CordsNet
    from cordstasks.pretraining.feedforward import FeedForward, fold
    from cordstasks.pretraining.objectives import full_loss
    from cordstasks.pretraining.stages.match import linear_steady, potentials
    from cordstasks.pretraining.unrolled import Unrolled

    with torch.device("meta"):
        x = torch.empty(images, 3, settings.image_size, settings.image_size)
        targets = torch.empty(images, IMAGENET["classes"])
        cnn = FeedForward(settings.depth, classes=IMAGENET["classes"])
        network = CordsNet(settings.depth, classes=IMAGENET["classes"], image_size=settings.image_size)
    with FlopCounterMode(display=False) as counter:
        if stage == "cnn":
            torch.nn.functional.cross_entropy(cnn(x), targets).backward()
        elif stage == "match":
            with torch.no_grad():
                inputs, _ = potentials(fold(cnn, settings.image_size), x)
            for number, u in enumerate(inputs):
                module, inp = network.area_conv[number], network.area_area[number]
                with torch.no_grad():
                    d = inp(u)
                steady, _ = linear_steady(module.weight, d + network.conv_bias[number], settings.match_iterates)
                steady.sum().backward()
        else:
            full_loss(Unrolled(network), x, targets, settings, from_zero=stage == "linear").loss.backward()
    return float(counter.get_total_flops())


def work(stage: str, gpus: int, settings: PretrainSettings) -> tuple[int, int, float]:
    """Batches of a stage, images that each GPU computes at a time, and its operations for its part of a batch."""
    batch = getattr(settings, f"{stage}_batch")
    images = getattr(settings, f"{stage}_images", None) or IMAGENET["images"]
    own = math.ceil(batch / gpus)
    return getattr(settings, f"{stage}_epochs") * (images // batch), own, operations(stage, own, settings)


def sum_seconds(gpus: int, settings: PretrainSettings, bandwidth: float) -> float:
    """Seconds to sum the gradients of all weights in a ring."""
    import torch

    from cordstasks.cordsnet import CordsNet

    with torch.device("meta"):
        network = CordsNet(settings.depth, classes=IMAGENET["classes"], image_size=settings.image_size)
    size = 4 * sum(parameter.numel() for parameter in network.parameters())
    return 2 * (gpus - 1) / gpus * size / (1e9 * bandwidth)


def project(options: argparse.Namespace, settings: PretrainSettings) -> None:
    """Print operations and days, by stage and number of GPUs."""
    slow, fast = rates_of(options.rates), rates_of(options.fast)
    print(f"Projection for CordsNet-R{settings.depth}, ImageNet, {settings.image_size} px, gradients {settings.gradients}")
    print(f"{'GPUs':>4} {'stage':10}{'batches':>10}{'images a GPU':>14}{'PFLOP a batch':>15}{'days':>9}{'days (bound)':>14}")
    for gpus in options.gpus:
        totals = [0.0, 0.0]
        for stage in STAGES:
            count, own, flops = work(stage, gpus, settings)
            waiting = sum_seconds(gpus, settings, options.bandwidth)
            days = [count * (flops / rate_at(rates, own) + waiting) / DAY for rates in (slow, fast)]
            totals = [total + own_days for total, own_days in zip(totals, days, strict=True)]
            row = f"{gpus:4d} {stage:10}{count:10d}{own:14d}{gpus * flops / 1e15:15.2f}"
            print(row + f"{days[0]:9.2f}{days[1]:14.2f}", flush=True)
        print(f"{gpus:4d} {'together':49}{totals[0]:9.1f}{totals[1]:14.1f}")


def main() -> int:
    """Read the flags and print the projection."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64], help="numbers of GPUs (default 1 8 64)")
    parser.add_argument("--rates", nargs="+", default=DIRECT, metavar="IMAGES:TFLOPS", help="measured rates")
    parser.add_argument("--fast", nargs="+", default=SIMULATOR, metavar="IMAGES:TFLOPS", help="rates of the bound")
    parser.add_argument("--bandwidth", type=float, default=25.0, help="GB/s of the sum of gradients, assumed (default 25)")
    parser.add_argument("--recipe", default="paper", help="defaults of the settings (default paper)")
    add_flags(parser, PretrainSettings)
    options = parser.parse_args()
    if min(options.gpus) < 1 or not options.bandwidth > 0:
        raise InputError("--gpus and --bandwidth: give numbers above 0")
    given: dict[str, Any] = {"dataset": "imagenet", "depth": 8, **given_by_flags(options, PretrainSettings)}
    settings = PretrainSettings.of(given, options.recipe)
    print(machine_line(), flush=True)
    project(options, replace(settings, accumulate=1))
    return 0


if __name__ == "__main__":
    run_command(main)
