"""Seconds until Python, the package and every command's --help have answered, each in a fresh process.

With cordstasks installed: ``python benchmarks/startup.py``. From the root of a checkout that is not installed:
``PYTHONPATH=. python benchmarks/startup.py``. Everything takes turns within a round, and medians over the rounds are
printed. ``--modules NAME`` prints instead in which modules a command's --help spends its time, by ``-X importtime``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

from cordstasks.about import commands
from cordstasks.errors import InputError, unknown
from cordstasks.utils.command_line import at_least_one, run_command
from cordstasks.utils.measured import machine_line, note_number

BARE, PACKAGE = "python -c pass", "import cordstasks"
MOST = 15  # modules that --modules prints


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Seconds until Python, the package and every command's --help have answered, each in a fresh process.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rounds", type=at_least_one, default=5, help="timings of each, of which the median is printed")
    parser.add_argument("--modules", metavar="COMMAND", help="print instead what this command imports, such as train")
    options = parser.parse_args()
    print(machine_line(), flush=True)
    known = [name.removeprefix("cordstasks.") for name in commands()]
    if options.modules is not None:
        if options.modules not in known:
            raise unknown("command", options.modules, known)
        print_modules(options.modules)
        return 0
    if options.rounds < 1:
        raise InputError(f"--rounds {options.rounds}: give a number of at least 1")
    works = {
        BARE: [sys.executable, "-c", "pass"],
        PACKAGE: [sys.executable, "-c", "import cordstasks"],
        "cordstasks": [sys.executable, "-m", "cordstasks", "--help"],
        **{name: [sys.executable, "-m", f"cordstasks.{name}", "--help"] for name in known},
        "train --task dms": [sys.executable, "-m", "cordstasks.train", "--task", "dms", "--help"],
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    with tempfile.TemporaryDirectory() as compiled:
        for round_ in range(options.rounds + 1):
            for name, command in works.items():
                taken = timed(command, compiled)
                if round_:  # the first compiles the modules
                    seconds[name].append(taken)
    print(f"{'':24}{'seconds':>8}{'processor s':>13}{'more than bare Python':>23}")
    medians = {name: [statistics.median(column) for column in zip(*values, strict=True)] for name, values in seconds.items()}
    for name, (wall, processor) in medians.items():
        print(f"{name:24}{wall:8.3f}{processor:13.3f}{processor - medians[BARE][1]:23.3f}")
        ratio = medians[BARE][0] / wall
        note_number(f"start-up: {name}", wall, "s", ratio=ratio, beside=BARE)
    return 0


def timed(command: list[str], compiled: str) -> tuple[float, float]:
    """Seconds that a command takes, and processor time, which other programs change less (0 on Windows)."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**environment, "PYTHONPYCACHEPREFIX": compiled}
    )
    wall, after = time.perf_counter() - began, os.times()
    if done.returncode:
        raise InputError(f"{' '.join(command[1:])}: failed ({done.stderr.strip()[-200:]})")
    return wall, sum(after[2:4]) - sum(before[2:4])


def print_modules(name: str) -> None:
    """Print the modules that take longest to import, without those that they import in turn."""
    command = [sys.executable, "-X", "importtime", "-m", f"cordstasks.{name}", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    rows = []
    for line in done.stderr.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if line.startswith("import time:") and parts[0].strip().isdigit():
            rows.append((int(parts[0]), int(parts[1]), parts[2].strip()))
    print(f"{'own ms':>8}{'with its imports':>18}  module")
    for own, whole, module in sorted(rows, reverse=True)[:MOST]:
        print(f"{own / 1e3:8.1f}{whole / 1e3:18.1f}  {module}")


if __name__ == "__main__":
    run_command(main)
