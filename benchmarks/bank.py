"""What shared histories and copied settled states save: many numerosity trials made of few pictures.

``python benchmarks/bank.py`` prints the steps that the trials last, the steps that were simulated, the bound on the error of
what was copied, and the seconds.
"""

from __future__ import annotations

import argparse
import time

from cordstasks import tasks
from cordstasks.frontend import FrontEnd
from cordstasks.utils.measured import machine_line, note_number


def main() -> None:
    """Simulate, without a bank, what training on numerosity shows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument(
        "--pictures", type=int, default=25, help="of each number and kind of display (default 25: 500 in all)"
    )
    parser.add_argument("--areas", type=int, nargs="+", metavar="AREA", help="areas that are read (default: the last)")
    parser.add_argument("--side", type=int, help="average their maps to at most so many locations per side")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    task = tasks.get("numerosity", training_pictures=options.pictures).for_training()
    batch = task.sample(options.trials, seed=options.seed)
    pictures = len(task.numbers) * len(task.controls) * options.pictures  # type: ignore[attr-defined]
    frontend = FrontEnd(areas=options.areas, side=options.side, bank=False)
    print(machine_line())
    print(f"reads {frontend.describe()}; a step takes {frontend.step_fraction:.0%} of the whole network's arithmetic")
    began = time.monotonic()
    cost = frontend.features(batch.movies, label=f"{options.trials} trials").cost
    seconds = time.monotonic() - began
    print(f"{options.trials} trials of {pictures} pictures: {seconds:.0f} s")
    print(
        f"steps of 2 ms: {cost.requested} requested, {cost.simulated} simulated "
        f"({cost.requested / cost.simulated:.0f} times fewer)"
    )
    step = 1e3 * seconds / cost.simulated
    what = f"steps for {options.trials} trials of {pictures} pictures"
    note_number(what, cost.simulated, "steps", ratio=cost.requested / cost.simulated, beside="every trial by itself")
    note_number(what, step, "ms per step of one history")
    print(f"error of copied states at most {cost.bound:.1e} of each area's activity; {step:.2f} ms a step")


if __name__ == "__main__":
    main()
