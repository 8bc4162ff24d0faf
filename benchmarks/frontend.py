"""Time per step of the visual front-end: frozen simulator, definition and a direct implementation, side by side.

With cordstasks installed: ``python benchmarks/frontend.py``. From the root of a checkout that is not installed:
``PYTHONPATH=. python benchmarks/frontend.py``. OMP_NUM_THREADS sets the number of CPU threads.

All contenders take turns within a run, and medians over the rounds are printed: a busy machine slows them alike.
The matrix-product rate that the simulator is measured against is taken in the same rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from cordstasks.utils.command_line import at_least_one, run_command
from cordstasks.utils.measured import machine_line, note_number

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from cordstasks.cordsnet import CordsNet

BLANK_STEPS = IMAGE_STEPS = 100
SIMULATOR, DEFINITION, DIRECT = "simulator", "CordsNet.record", "direct"


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Time per step of the visual front-end: frozen simulator, CordsNet.record, and a direct "
        "implementation that recomputes the stem in every area at every step, normalises weights at every use and "
        "recomputes the blank.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--image-size", type=int, default=224, help="side of the images in px")
    parser.add_argument("--depth", type=int, default=8, help="number of areas: 2, 4, 6 or 8")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32], metavar="N", help="images at once")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps")
    parser.add_argument("--precision", help="of the simulator's products: float32, bfloat16, or tf32 (default on CUDA)")
    parser.add_argument("--steps", type=int, help="steps in each timing (default: fewer for larger batches)")
    parser.add_argument("--rounds", type=at_least_one, default=5, help="timings of each, of which the median is printed")
    parser.add_argument(
        "--seconds", type=float, help="for all batches together; fewer rounds, at least one, where it is short"
    )
    parser.add_argument(
        "--full", action="store_true", help="run all 100 + 100 steps in each timing of the protocol instead of scaling"
    )
    run(parser.parse_args())
    return 0


def run(options: argparse.Namespace) -> None:
    import torch

    from cordstasks.cordsnet import CordsNet
    from cordstasks.utils.devices import resolve

    device = resolve(options.device)
    precision = options.precision or ("tf32" if device.type == "cuda" else "float32")
    torch.manual_seed(0)
    network = CordsNet(options.depth, image_size=options.image_size).to(device).eval()
    with torch.no_grad():
        for bias in network.conv_bias:
            bias.uniform_(0, 0.1)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device}, {torch.get_num_threads()} threads"
    print(machine_line())
    print(f"CordsNet-R{options.depth} at {options.image_size} px, simulator in {precision}, on {name}")
    began = time.perf_counter()
    for number, batch in enumerate(options.batches):
        until = None
        if options.seconds is not None:  # what is left, in equal parts for the batches to come
            now = time.perf_counter()
            until = now + (began + options.seconds - now) / (len(options.batches) - number)
        with torch.no_grad():
            compare(network, batch, precision, options, until)


class Direct:
    """CordsNet straight from its equations, with nothing kept between steps: what a simulator must be faster than."""

    def __init__(self, network: CordsNet) -> None:
        self.parameters = {name: value.detach() for name, value in network.state_dict().items()}
        self.depth, self.alpha = network.depth, network.alpha

    def conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        """Convolve with a weight that is normalised here and now."""
        from torch.nn import functional as F

        norm, direction = (self.parameters[f"{name}.parametrizations.weight.original{part}"] for part in (0, 1))
        weight = direction * (norm / direction.flatten(1).norm(dim=1).view_as(norm))
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def stem(self, image: Tensor) -> Tensor:
        """What the image sends to the areas."""
        from torch.nn import functional as F

        return F.avg_pool2d(self.conv("inp_conv", image, 2), 3, stride=2, padding=1)

    def input(self, area: int, rates: list[Tensor], image: Tensor) -> Tensor:
        """What Conv_inp of an area is fed."""
        inp = self.stem(image)  # by every area, also by those that it does not reach, as in the published code
        if area == 0:
            return inp
        if area == 1:
            return rates[0] + self.conv("inp_skip", inp)
        if area % 2 == 0:
            return rates[area - 1] + rates[area - 2]
        return rates[area - 1] + self.conv(f"skip_area.{(area - 3) // 2}", rates[area - 2], 2)

    def step(self, rates: list[Tensor], image: Tensor) -> list[Tensor]:
        """One synchronous step of every area."""
        new = []
        for area, r in enumerate(rates):
            drive = self.conv(f"area_conv.{area}", r) + self.parameters[f"conv_bias.{area}"]
            stride = 2 if area in (2, 4, 6) else 1
            drive = drive + self.conv(f"area_area.{area}", self.input(area, rates, image), stride)
            new.append((1 - self.alpha) * r + self.alpha * drive.relu())
        return new


@dataclass(frozen=True)
class Products:
    """Square matrix products in the simulator's precision, on its device."""

    device: torch.device
    precision: str

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides of the matrices that are tried."""
        return (4096, 8192, 16384) if self.device.type == "cuda" else (512, 1024, 2048)

    def timings(self, clock: Callable[[Callable[[], object]], float]) -> dict[int, float]:
        """Operations a second for each size."""
        import torch

        dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = self.precision == "tf32"
        rates = {}
        for size in self.sizes:
            a, b = (torch.randn(size, size, device=self.device).to(dtype) for _ in range(2))
            product = partial(torch.mm, a, b)
            clock(product)  # which also waits for all that was asked for before, so that only one product is timed next
            rates[size] = 2 * size**3 / clock(product)
        torch.backends.cuda.matmul.allow_tf32 = before
        return rates


def compare(network: CordsNet, batch: int, precision: str, options: argparse.Namespace, until: float | None) -> None:
    """Time everything for one batch size, in rounds until this time on the clock, and print it."""
    import torch

    from cordstasks.cordsnet.simulator import Simulator

    device = network.device
    simulator = Simulator(network, precision=precision)
    direct = Direct(network)
    size, channels = network.image_size, network.in_channels
    image = torch.randn(batch, channels, size, size, device=device)
    blank = torch.zeros_like(image)
    steps = options.steps or (BLANK_STEPS if device.type == "cuda" else max(2, 32 // batch))

    def clock(work: Callable[[], object]) -> float:
        began = time.perf_counter()
        work()
        if device.type in ("cuda", "mps"):
            getattr(torch, device.type).synchronize()
        return time.perf_counter() - began

    spontaneous, drives = simulator.spontaneous(batch), simulator.drives(image)
    moving = [r.clone() for r in spontaneous]

    def direct_steps(rates: list[Tensor], shown: Tensor, count: int) -> list[Tensor]:
        for _ in range(count):
            rates = direct.step(rates, shown)
        return rates

    ours = [r.clone() for r in spontaneous]
    simulator.step(ours, drives, 3)
    theirs = direct_steps(spontaneous, image, 3)
    off = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, theirs, strict=True))
    print(f"\nbatch {batch}: simulator and direct implementation differ by {off:.1e} of an area's largest activity")
    if device.type == "cuda":
        print("steps of the simulator:", getattr(simulator.engine, "why_not_fused", "") or "one kernel for all areas")

    contenders: dict[str, Callable[[], object]] = {
        SIMULATOR: lambda: simulator.step(moving, drives, steps),
        DEFINITION: lambda: network.record(image, blank_steps=0, image_steps=steps, areas=[network.depth - 1]),
        DIRECT: lambda: direct_steps(spontaneous, image, steps),
        "drives": lambda: simulator.drives(image),
    }

    def cached() -> None:
        rates = [r.clone() for r in spontaneous]
        simulator.step(rates, simulator.drives(image), IMAGE_STEPS)

    def recomputed() -> None:
        rates = simulator.zero_state(batch)
        simulator.step(rates, simulator.drives(blank), BLANK_STEPS)
        simulator.step(rates, simulator.drives(image), IMAGE_STEPS)

    if options.full:
        contenders |= {
            "direct protocol": lambda: direct_steps(
                direct_steps(network.zero_state(batch), blank, BLANK_STEPS), image, IMAGE_STEPS
            ),
            "cached": cached,
            "recomputed": recomputed,
        }
    medians, rates, rounds = measured(contenders, Products(device, precision), clock, options.rounds, until)
    best, peak = max(rates.items(), key=lambda pair: pair[1])
    report_steps(network, batch, {name: medians[name] / steps for name in (SIMULATOR, DEFINITION, DIRECT)}, peak, best)
    if options.full:
        how = f"each run in full, median of {rounds}"
        protocol = [medians[name] for name in ("direct protocol", "cached", "recomputed")]
    else:
        how = f"scaled from {steps} steps, median of {rounds}; --full runs all"
        step, once = medians[SIMULATOR] / steps, medians["drives"]
        protocol = [(BLANK_STEPS + IMAGE_STEPS) * medians[DIRECT] / steps, once + IMAGE_STEPS * step]
        protocol.append(2 * once + (BLANK_STEPS + IMAGE_STEPS) * step)
    report_protocol(protocol, how)


def measured(
    contenders: dict[str, Callable[[], object]],
    products: Products,
    clock: Callable[[Callable[[], object]], float],
    rounds: int,
    until: float | None,
) -> tuple[dict[str, float], dict[int, float], int]:
    """Median seconds of every contender, median rate of matrix products by size, and the number of rounds."""
    for work in contenders.values():  # the first call packs weights, compiles a kernel or captures a graph
        clock(work)
    timings: dict[str, list[float]] = {name: [] for name in contenders}
    rates: dict[int, list[float]] = {size: [] for size in products.sizes}
    done = 0
    while done < rounds and (not done or until is None or time.perf_counter() < until):
        for name, work in contenders.items():
            timings[name].append(clock(work))
        for size, rate in products.timings(clock).items():
            rates[size].append(rate)
        done += 1
    seconds = {name: statistics.median(values) for name, values in timings.items()}
    return seconds, {size: statistics.median(values) for size, values in rates.items()}, done


def report_steps(network: CordsNet, batch: int, seconds: dict[str, float], peak: float, size: int) -> None:
    from cordstasks.cordsnet.simulator import multiply_accumulates

    side, channels = network.image_size, network.in_channels
    costs = multiply_accumulates(network.depth, image_size=side, in_channels=channels)
    stem = ((side + 1) // 2) ** 2 * 64 * channels * 49
    products = {
        SIMULATOR: costs["step"],
        DEFINITION: costs["published"] - network.depth * stem,  # its stem is computed once a run
        DIRECT: costs["published"],
    }
    print(f"{'':17}{'ms/step':>10}{'images x steps/s':>18}{'G multiply-accumulates':>24}{'GFLOP/s':>10}{'of peak':>9}")
    for name, value in seconds.items():
        rate = 2 * batch * products[name] / value
        print(
            f"{name:17}{1e3 * value:10.2f}{batch / value:18,.1f}{batch * products[name] / 1e9:24.3f}"
            f"{rate / 1e9:10,.1f}{rate / peak:9.0%}"
        )
        what = f"{name}: {side} px, batch {batch}, {network.device.type}"
        note_number(what, 1e3 * value, "ms per step", ratio=seconds[DIRECT] / value, beside=DIRECT)
    print(f"peak: products of {size} x {size} matrices, {peak / 1e9:,.1f} GFLOP/s; convolutions counted as direct ones")


def report_protocol(seconds: list[float], how: str) -> None:
    direct, cached, recomputed = seconds
    print(f"{BLANK_STEPS} blank + {IMAGE_STEPS} image steps ({how}):")
    print(
        f"direct {direct:.2f} s; simulator with the blank cached {cached:.2f} s ({direct / cached:.1f} x), "
        f"with it recomputed for every image {recomputed:.2f} s ({direct / recomputed:.1f} x)"
    )


if __name__ == "__main__":
    run_command(main)
