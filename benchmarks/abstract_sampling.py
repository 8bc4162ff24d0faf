"""Trials of the abstract tasks drawn a second, noise included, on one core.

python benchmarks/abstract_sampling.py
"""

from __future__ import annotations

import argparse
import time

from cordstasks.utils.command_line import at_least_one


def main() -> None:
    parser = argparse.ArgumentParser(description="Trials of the abstract tasks drawn a second, noise included, on one core.")
    parser.add_argument("--trials", type=int, default=20_000, help="trials in each timing (default 20000)")
    parser.add_argument("--repeats", type=at_least_one, default=5, help="timings, of which the best counts (default 5)")
    arguments = parser.parse_args()

    import numpy as np

    from cordstasks import tasks
    from cordstasks.utils.measured import machine_line, note_number

    print(machine_line())
    print(f"{'task':<16}  {'steps':>5}  {'trials/s':>11}  {'median':>11}  {'million steps/s':>15}")
    for name in tasks.abstract_names():
        task, rates = tasks.get(name), []
        for repeat in range(arguments.repeats):
            # Processor time: drawing runs on one core, and a busy machine is no fault of the code.
            start = time.process_time()
            task.sample(arguments.trials, seed=repeat)
            rates.append(arguments.trials / (time.process_time() - start))
        steps = task.steps(20.0)
        best, median = max(rates), float(np.median(rates))
        print(f"{name:<16}  {steps:>5}  {best:>11,.0f}  {median:>11,.0f}  {best * steps / 1e6:>15.1f}")
        note_number(f"{name}: sampling", median, "trials per s")


if __name__ == "__main__":
    main()
