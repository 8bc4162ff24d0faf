"""Convolutions of training as products of matrices, beside PyTorch's, on the CPU: layer by layer, and what trains with them.

    python benchmarks/convolutions.py [--images 64] [--precisions float32 bfloat16] [--rounds 5]

Both ways take turns within a run. Printed are medians of the milliseconds of a layer forward and backward, then of a batch
of a CNN and of so many steps of an R8 through time at 64 px, all with the gradients of their weights, and the ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cordstasks.utils.command_line import Parser, at_least_one, run_command
from cordstasks.utils.measured import machine_line, note_number

if TYPE_CHECKING:
    import torch

LAYERS = ((512, 512, 2, 1), (256, 512, 4, 2), (256, 256, 4, 1), (128, 256, 8, 2))  # in, out, side, stride
STEPS = 10
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
PRODUCTS, CONVOLUTIONS = "products", "PyTorch's convolutions"


def main() -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=at_least_one, default=64, help="in a batch (default 64)")
    parser.add_argument("--precisions", nargs="+", choices=("float32", "bfloat16"), default=("float32", "bfloat16"))
    parser.add_argument("--rounds", type=at_least_one, default=5, help="timings of each (default 5)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="wall time, or processor time of all threads")
    options = parser.parse_args()
    run(options)
    return 0


def run(options: argparse.Namespace) -> None:
    import torch

    torch.manual_seed(0)
    print(f"{machine_line()}; {options.clock} time, {options.images} images")
    print(f"{'ms, forward and backward':50}{'products':>10}{'PyTorch':>10}{'ratio':>8}")
    for precision in options.precisions:
        kind = getattr(torch, precision)
        for layer in LAYERS:
            channels, out, side, stride = layer
            name = f"{precision}, {channels} to {out} channels, {side} x {side}, stride {stride}"
            compare(name, layer_work(layer, options.images, kind), options)
        compare(f"{precision}, a batch of the CNN", cnn_work(options.images, kind), options)
        compare(f"{precision}, {STEPS} steps through time", time_work(options.images, kind), options)


def layer_work(layer: tuple[int, int, int, int], images: int, kind: torch.dtype) -> Callable[[], None]:
    """A layer forward and backward."""
    import torch

    from cordstasks.pretraining.convolution import convolve

    channels, out, side, stride = layer
    x = torch.randn(images, channels, side, side, dtype=kind).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(out, channels, 3, 3, dtype=kind).contiguous(memory_format=torch.channels_last).requires_grad_()

    def work() -> None:
        convolve(x, weight, stride=stride).sum().backward()

    return work


def cnn_work(images: int, kind: torch.dtype) -> Callable[[], None]:
    """A batch of the CNN that CordsNet starts from."""
    import torch

    from cordstasks.pretraining.feedforward import FeedForward

    cnn = FeedForward().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(images, 3, 64, 64).contiguous(memory_format=torch.channels_last)

    def work() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=kind == torch.bfloat16):
            logits = cnn(x)
        logits.float().square().mean().backward()

    return work


def time_work(images: int, kind: torch.dtype) -> Callable[[], None]:
    """Steps of the shipped network with an image, and the gradient through them."""
    import torch

    from cordstasks.cordsnet import load
    from cordstasks.pretraining.unrolled import Unrolled

    network = load("cordsnet-r8").requires_grad_(True)
    x = torch.randn(images, 3, 64, 64).contiguous(memory_format=torch.channels_last)

    def work() -> None:
        unrolled = Unrolled(network, bfloat16=kind == torch.bfloat16)
        drives, rates = unrolled.drives(x), unrolled.zero_state(images)
        for _ in range(STEPS):
            rates = unrolled.step(rates, drives)
        unrolled.logits(rates).square().mean().backward()

    return work


def never(*layer: object) -> bool:
    """No convolution is a product."""
    return False


def compare(name: str, work: Callable[[], None], options: argparse.Namespace) -> None:
    """Time both ways in turns, and print medians and the median of the ratios within a round."""
    from cordstasks.pretraining import convolution

    clock, used = CLOCKS[options.clock], convolution.is_small
    found: dict[str, list[float]] = {PRODUCTS: [], CONVOLUTIONS: []}
    try:
        for round_ in range(options.rounds + 1):
            for way in found:
                convolution.is_small = used if way == PRODUCTS else never  # type: ignore[assignment]
                began = clock()
                work()
                if round_:  # the first warms up
                    found[way].append(1000 * (clock() - began))
    finally:
        convolution.is_small = used
    ratio = statistics.median(b / a for a, b in zip(*found.values(), strict=True))
    products, convolutions = (statistics.median(values) for values in found.values())
    print(f"{name:50}{products:>10.1f}{convolutions:>10.1f}{ratio:>8.1f}", flush=True)
    note_number(name, products, "ms", ratio=ratio, beside=CONVOLUTIONS)


if __name__ == "__main__":
    run_command(main)
