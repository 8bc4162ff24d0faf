"""The CPU engines of the frozen simulator side by side: time per step, and features of default random-dot movies.

With cordstasks and its extra ``fast`` installed: ``python benchmarks/engines.py``. From the root of a checkout that is not
installed: ``PYTHONPATH=. python benchmarks/engines.py``. OMP_NUM_THREADS sets the number of CPU threads.

The engines take turns within a run, in another order in every round. What is printed are medians over the rounds and the
median of the ratios within a round, so that a machine that is busy for a while slows both alike. On a machine that is always
busy, ``OMP_NUM_THREADS=1`` and ``--clock cpu`` compare processor time, which other programs change less.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cordstasks.errors import InputError
from cordstasks.utils.command_line import at_least_one, run_command
from cordstasks.utils.measured import machine_line, note_number

if TYPE_CHECKING:
    from torch import Tensor

    from cordstasks.cordsnet import CordsNet

CASES = ("64:64", "64:16", "64:1", "224:8", "224:1")
STEPS = {64: 10, 16: 20, 8: 5, 1: 40}  # in a timing, by images
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
FAST, PACKED = "fast", "oneDNN"


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Time per step of the frozen simulator through its fast CPU engine and through oneDNN's convolutions.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--cases", nargs="*", default=CASES, metavar="PX:N", help="side of the images in px, and how many")
    parser.add_argument("--movies", type=int, default=64, help="random-dot movies to make features of; 0: none")
    parser.add_argument("--rounds", type=at_least_one, default=5, help="timings of each")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="wall time, or processor time of all threads")
    run(parser.parse_args())
    return 0


def run(options: argparse.Namespace) -> None:
    import torch

    from cordstasks.cordsnet import CordsNet, load
    from cordstasks.cordsnet.engines import Fast
    from cordstasks.cordsnet.simulator import Simulator

    if not Fast.installed():
        raise InputError("numba is not installed, so there is nothing to compare; pip install 'cordstasks[fast]'")
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    print(f"{machine_line()}; {options.clock} time")
    networks: dict[int, CordsNet] = {64: load("cordsnet-r8")}
    clock = CLOCKS[options.clock]
    began = clock()
    simulator = Simulator(networks[64], engine=Fast())
    simulator.step(simulator.zero_state(1), simulator.zero_state(1))
    print(f"first step of this process: {clock() - began:.2f} s, which loads numba, compiles, and transforms weights")
    print(f"{'':24}{PACKED:>12}{FAST:>12}{'ratio':>8}{'error':>10}")
    for case in options.cases:
        size, images = map(int, case.split(":"))
        if size not in networks:
            networks[size] = CordsNet(8, image_size=size).eval()
            for bias in networks[size].conv_bias:
                bias.uniform_(0, 0.1)
        compare_steps(networks[size], images, options)
    if options.movies:
        compare_features(networks[64], options)


def compare_steps(network: CordsNet, images: int, options: argparse.Namespace) -> None:
    """Time steps of random images, and print it in ms per step."""
    import torch

    from cordstasks.cordsnet.engines import Fast, Packed
    from cordstasks.cordsnet.simulator import Simulator

    x = torch.randn(images, network.in_channels, network.image_size, network.image_size)
    steps = STEPS.get(images, 10)
    works: dict[str, Callable[[], object]] = {}
    ends: dict[str, list[Tensor]] = {}
    for name, engine in ((PACKED, Packed()), (FAST, Fast())):
        simulator = Simulator(network, engine=engine)
        state, drives = simulator.spontaneous(images), simulator.drives(x)
        ends[name] = state

        def work(simulator: Simulator = simulator, state: list[Tensor] = state, drives: list[Tensor] = drives) -> None:
            simulator.step(state, drives, steps)

        works[name] = work
    seconds = timings(works, options)
    error = max(float((a - b).norm() / b.norm()) for a, b in zip(ends[FAST], ends[PACKED], strict=True))
    report(f"{network.image_size} px, batch {images}", seconds, 1e3 / steps, "ms", error)


def compare_features(network: CordsNet, options: argparse.Namespace) -> None:
    """Time features of movies, without a bank, and print it in seconds."""
    from cordstasks.cordsnet.engines import Packed
    from cordstasks.cordsnet.simulator import Simulator
    from cordstasks.frontend import FrontEnd
    from cordstasks.tasks import get

    movies = [trial.movie for trial in get("rdm").trials(options.movies, seed=3)]
    fast, packed = (FrontEnd(network, device="cpu", bank=False) for _ in range(2))
    packed.simulator = Simulator(packed.network, engine=Packed())
    made: dict[str, Tensor] = {}

    def features(name: str, front_end: FrontEnd) -> None:
        made[name] = front_end.features(movies).take(slice(None))

    seconds = timings({PACKED: lambda: features(PACKED, packed), FAST: lambda: features(FAST, fast)}, options)
    error = float((made[FAST] - made[PACKED]).norm() / made[PACKED].norm())
    report(f"features of {options.movies} movies", seconds, 1, "s", error)


def timings(works: dict[str, Callable[[], object]], options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each work in each round."""
    clock = CLOCKS[options.clock]
    for work in works.values():  # the first call packs weights, compiles, and touches memory
        work()
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(options.rounds):
        for name in sorted(works, reverse=bool(number % 2)):
            began = clock()
            works[name]()
            seconds[name].append(clock() - began)
    return seconds


def report(what: str, seconds: dict[str, list[float]], scale: float, unit: str, error: float) -> None:
    ratio = statistics.median(slow / fast for slow, fast in zip(seconds[PACKED], seconds[FAST], strict=True))
    medians = [statistics.median(seconds[name]) * scale for name in (PACKED, FAST)]
    print(
        f"{what:24}" + "".join(f"{f'{median:.2f} {unit}':>12}" for median in medians) + f"{ratio:8.2f}{error:10.1e}",
        flush=True,
    )
    note_number(f"{FAST}: {what}", medians[1], unit, ratio=ratio, beside=PACKED)


if __name__ == "__main__":
    run_command(main)
