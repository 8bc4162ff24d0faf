"""Time to compare many networks: shape distances of all pairs and canonical correlations of one.

python benchmarks/metrics.py
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable


def main() -> None:
    parser = argparse.ArgumentParser(description="Time to compare many networks, in processor and in wall-clock seconds.")
    parser.add_argument("--networks", type=int, default=200, help="number of networks (default 200)")
    parser.add_argument("--units", type=int, default=100, help="units of each (default 100)")
    parser.add_argument("--samples", type=int, default=5000, help="samples of each (default 5000)")
    parser.add_argument("--workers", type=int, default=None, help="threads (default: one per core)")
    arguments = parser.parse_args()

    # Threads work on different pairs, so each keeps to one core; set before NumPy is loaded
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    import numpy as np

    from cordstasks.analysis import canonical_correlations, pairwise_distances, shape_distance
    from cordstasks.utils.measured import machine_line

    rng = np.random.default_rng(0)
    shape = (arguments.samples, arguments.units)
    shared = rng.standard_normal((arguments.samples, 8))
    # full rank: no direction can be left out
    activities = [
        shared @ rng.standard_normal((8, arguments.units)) + rng.standard_normal(shape) for _ in range(arguments.networks)
    ]
    conditions = np.arange(arguments.samples) * 50 // arguments.samples
    options = {"workers": arguments.workers}

    print(machine_line())
    print(f"{arguments.networks} networks of {arguments.units} units, {arguments.samples} samples")
    print(f"{'':<58}  {'processor s':>11}  {'wall s':>7}")
    timed("all pairs, alpha 1", lambda: pairwise_distances(activities, **options))
    timed("all pairs, alpha 1, held out, 2 folds", lambda: pairwise_distances(activities, groups=conditions, **options))
    timed("all pairs, alpha 0, at most 20 components", lambda: pairwise_distances(activities, alpha=0, **options))
    timed(
        "all pairs, alpha 0, at most 20 components, held out, 5 folds",
        lambda: pairwise_distances(activities, alpha=0, groups=conditions, folds=5, **options),
    )
    x, y = activities[:2]
    timed("one pair, shape distance, alpha 1", lambda: shape_distance(x, y))
    timed("one pair, canonical correlations", lambda: canonical_correlations(x, y))


def timed(what: str, function: Callable[[], object]) -> None:
    from cordstasks.utils.measured import note_number

    processor, wall = time.process_time(), time.perf_counter()
    function()
    seconds, passed = time.process_time() - processor, time.perf_counter() - wall
    print(f"{what:<58}  {seconds:>11.3f}  {passed:>7.3f}", flush=True)
    note_number(what, passed, "s")


if __name__ == "__main__":
    main()
