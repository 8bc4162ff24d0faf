"""Random-dot motion over seeds: accuracy by coherence, tuned units, and the controls of all seeds together.

With cordstasks installed: ``python benchmarks/motion.py --seeds 0 1 2 --out motion``. Each seed is a run of
``python -m cordstasks.train --task rdm`` in a folder of its own under ``--out``; ``--settings`` changes it, as in
``--settings '{"areas": [7], "side": 2, "trials": 960}'``. Runs that are finished are not run again, so the command can be
repeated. ``--timing`` instead runs the default and the reading of the last area (as in Soo et al. 2024, with the defaults of
that time and convolutions by oneDNN), both without a feature bank, one after the other, and prints the ratio of seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cordstasks.utils.command_line import run_command
from cordstasks.utils.measured import machine_line

# the defaults before areas could be chosen
LAST_AREA = {
    **{"areas": (7,), "side": 2, "inputs": 24, "trials": 960},
    **{"steps": 1000, "batch": 128, "tau": 100.0, "lags_ms": (20.0, 40.0), "average": 0.0},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="seeds of the runs (default 0 to 4)")
    parser.add_argument("--out", type=Path, default=Path("motion"), help="folder of the runs (default motion)")
    parser.add_argument("--settings", type=json.loads, default={}, metavar="JSON", help="settings of cordstasks.runs.train")
    parser.add_argument("--timing", action="store_true", help="time the default beside the last area's reading")
    options = parser.parse_args()
    print(machine_line(), flush=True)
    if options.timing:
        print_timing(options)
    else:
        print_table([run(options.out / f"seed-{seed}", seed, options.settings) for seed in options.seeds])
    return 0


def run(folder: Path, seed: int, settings: dict[str, Any], bank: bool | None = None) -> dict[str, Any]:
    """The summary of one run, which is carried out, or continued, if need be."""
    from cordstasks import runs

    if (folder / "config.json").exists():
        done = runs.train(out=folder, resume=True, bank=bank)
    else:
        done = runs.train("rdm", out=folder, seed=seed, bank=bank, **settings)
    return done.summary


def print_timing(options: argparse.Namespace) -> None:
    """Seconds of both readings for one seed, cold."""

    def seconds(name: str, settings: dict[str, Any]) -> dict[str, float]:
        return run(options.out / f"timing-{name}", options.seeds[0], settings, bank=False)["seconds"]

    found = {"default": seconds("default", {})}
    with without_numba():
        found["last-area"] = seconds("last-area", LAST_AREA)
    print("reading".ljust(12) + "".join(name.rjust(14) for name in ("front-end s", "training s", "in all s")))
    for name, seconds in found.items():
        print(name.ljust(12) + "".join(f"{seconds[key]:14.0f}" for key in ("bank", "train", "total")))
    print(f"ratio {found['default']['total'] / found['last-area']['total']:.2f}")


@contextmanager
def without_numba() -> Iterator[None]:
    """A context in which numba seems not to be installed, so that oneDNN's convolutions are used."""
    module = sys.modules.pop("numba", None)
    sys.modules["numba"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["numba"]
        if module is not None:
            sys.modules["numba"] = module


def print_table(summaries: list[dict[str, Any]]) -> None:
    """A row for each seed, and their means; then the controls of all seeds together."""
    from cordstasks.analysis import wilson_interval

    levels = [row["coherence"] for row in summaries[0]["heldout"]["by_condition"]]
    rows = []
    for summary in summaries:
        right = [100 * row["accuracy"] for row in summary["heldout"]["by_condition"]]
        seconds = summary["seconds"]
        rows.append([*right, 100 * summary["tuning"]["fraction"], seconds["bank"], seconds["train"], seconds["total"]])
    names = [*(f"{100 * level:.1f} %" for level in levels), "tuned %", "front-end s", "training s", "in all s"]
    print("seed".ljust(6) + "".join(name.rjust(13) for name in names))
    for summary, row in zip(summaries, rows, strict=True):
        print(str(summary["seed"]).ljust(6) + "".join(f"{value:13.1f}" for value in row))
    print("mean".ljust(6) + "".join(f"{statistics.mean(column):13.1f}" for column in zip(*rows, strict=True)))
    lowest = [summary["heldout"]["by_condition"][0] for summary in summaries]
    pooled = {"zero coherence": lowest} if levels[0] == 0 else {}
    pooled |= {name: [summary["controls"][name] for summary in summaries] for name in ("shuffled", "reversed")}
    for name, parts in pooled.items():
        trials = sum(part["trials"] for part in parts)
        right = round(sum(part["trials"] * part["accuracy"] for part in parts))
        low, high = wilson_interval(right, trials)
        print(f"{name}: {right / trials:.1%} of {trials} trials ({low:.1%} to {high:.1%})")


if __name__ == "__main__":
    run_command(main)
