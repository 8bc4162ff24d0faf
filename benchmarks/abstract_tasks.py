"""Every abstract task with every connectivity, over seeds: held-out scores, failures and seconds.

With cordstasks installed: ``python benchmarks/abstract_tasks.py``. From the root of a checkout that is not installed:
``PYTHONPATH=. python benchmarks/abstract_tasks.py``. OMP_NUM_THREADS sets the number of CPU threads.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from cordstasks import tasks
from cordstasks.training.settings import CONNECTIVITIES, AbstractSettings, seeds_of_text
from cordstasks.utils.command_line import run_command
from cordstasks.utils.measured import machine_line


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Train networks of every connectivity on every abstract task with the default settings.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--tasks", nargs="+", default=list(tasks.abstract_names()), metavar="TASK")
    parser.add_argument("--connectivities", nargs="+", default=list(CONNECTIVITIES), metavar="KIND")
    parser.add_argument("--seeds", default="0:5", help="one per network")
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--out", type=Path, help="keep the run folders here; those of finished runs are not trained again")
    options = parser.parse_args()
    print(machine_line(), flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        run(options, options.out or Path(temporary))
    return 0


def run(options: argparse.Namespace, out: Path) -> None:
    from cordstasks.runs.abstract import carry_out
    from cordstasks.utils.files import read_json
    from cordstasks.utils.run_folder import RunFolder

    print(f"{'task':<16} {'connectivity':<12} {'learned':>7} {'batches':>11} {'seconds':>7}  held-out score of each seed")
    learned = networks = 0
    seconds = 0.0
    for task in options.tasks:
        for connectivity in options.connectivities:
            folder = RunFolder(out / f"{task}-{connectivity}")
            settings = AbstractSettings(
                task, connectivity=connectivity, units=options.units, seeds=seeds_of_text(options.seeds)
            )
            if folder.finished:
                summary = read_json(folder.path / "summary.json")
            else:
                summary = carry_out(settings, folder, resume=(folder.path / "config.json").exists())
            rows = summary["networks"]
            scores = " ".join("diverged" if row["score"] is None else f"{row['score']:.3f}" for row in rows)
            steps = [row["steps"] for row in rows]
            spent = summary["seconds"]["train"]
            print(
                f"{task:<16} {connectivity:<12} {summary['learned']:>2} of {len(rows):<2} "
                f"{min(steps):>5}-{max(steps):<5} {spent:>7.0f}  {summary['measure']} {scores}",
                flush=True,
            )
            learned, networks, seconds = learned + summary["learned"], networks + len(rows), seconds + spent
    print(f"{learned} of {networks} networks learned their task (accuracy of at least 0.95, R2 of at least 0.9); ", end="")
    print(f"{networks - learned} failed; {seconds:.0f} s")


if __name__ == "__main__":
    run_command(main)
