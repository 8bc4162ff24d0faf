"""All benchmarks of speed, one process after the other, and one table of their numbers and ratios.

    python benchmarks/all.py --out DIR [--quick] [--only engines rnn ...] [--list]

DIR gets what each benchmark printed (NAME.txt), and the table as results.csv and results.md: each number with its unit, its
ratio to what was measured beside it in the same run, and the processor, the widest instructions that PyTorch uses and the
number of threads. A benchmark that fails is reported, and the others are still run. Ctrl-C writes the table of those that
are done. OMP_NUM_THREADS sets the number of CPU threads. Benchmarks that need data or hours, such as table1.py, are not
among them.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cordstasks.errors import InputError, unknown
from cordstasks.utils.command_line import Parser, named_path, run_command
from cordstasks.utils.files import writable_folder
from cordstasks.utils.interrupt import Interrupted
from cordstasks.utils.measured import TABLE, machine_line

HERE = Path(__file__).resolve().parent
# arguments of the whole benchmark, and of a quick one, which shows that it works more than how fast
BENCHMARKS: dict[str, tuple[str, str]] = {
    "startup": ("", "--rounds 1"),
    "engines": ("", "--cases 64:16 64:1 --movies 0 --rounds 2"),
    "frontend": ("--image-size 64", "--image-size 64 --batches 1 --rounds 2"),
    "bank": ("--trials 2000 --pictures 5", "--trials 100 --pictures 2 --areas 0"),
    "rnn": ("", "--rounds 2 --networks 4 --batch 16"),
    "visual_training": ("", "--rounds 1 --units 64"),
    "pretraining": ("", "--images 32 --depth 2 --last cnn"),
    "convolutions": ("", "--images 16 --precisions float32 --rounds 1"),
    "gradients": ("--depths 2 8 --image-size 32", "--depths 2 --image-size 32 --images 2"),
    "dynamics": ("", "--only shipped --vectors 120"),
    "metrics": ("", "--networks 10 --samples 500"),
    "stimuli": ("", "--repeats 2 --movies 4"),
    "abstract_sampling": ("", "--repeats 2 --trials 500"),
}
COLUMNS = ("benchmark", "what", "value", "unit", "ratio", "beside", "capability", "threads", "processor", "torch")


def main() -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=named_path, help="folder of the results")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some of them (default: all, see --list)")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that all of them work")
    parser.add_argument("--list", action="store_true", help="print their names and commands")
    options = parser.parse_args()
    chosen = list(BENCHMARKS) if options.only is None else options.only
    for name in chosen:
        if name not in BENCHMARKS:
            raise unknown("benchmark", name, BENCHMARKS)
    if options.list:
        for name in chosen:
            print(f"python benchmarks/{name}.py {BENCHMARKS[name][options.quick]}".rstrip())
        return 0
    if options.out is None:
        raise InputError("--out is missing; name a folder for the results")
    out = writable_folder(options.out, "out").resolve()
    print(machine_line(), flush=True)
    rows: list[dict[str, Any]] = []
    failed: list[str] = []
    try:
        for number, name in enumerate(chosen, 1):
            began = time.monotonic()
            print(f"[{number}/{len(chosen)}] {name}", end=" ", flush=True)
            status = measure(name, BENCHMARKS[name][options.quick].split(), out, rows)
            if status:
                failed.append(name)
            how = f"failed with exit status {status}, see {out / name}.txt" if status else "done"
            print(f"{how} ({time.monotonic() - began:.0f} s)", flush=True)
    except KeyboardInterrupt as stop:
        write(rows, out)
        raise Interrupted(f"the same command, with --only for what is missing; {out}/results.csv has the rest") from stop
    write(rows, out)
    print("\n" + table(rows))
    print(f"{out}/: results.csv, results.md and what each benchmark printed")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return int(bool(failed))


def measure(name: str, arguments: list[str], out: Path, rows: list[dict[str, Any]]) -> int:
    """Run one benchmark and add its numbers; its exit status."""
    numbers = out / f".{name}.numbers"
    numbers.unlink(missing_ok=True)
    # no progress bars, which fill a file
    environment = {**os.environ, TABLE: str(numbers), "PYTHONUNBUFFERED": "1", "TQDM_DISABLE": "1"}
    command = [sys.executable, str(HERE / f"{name}.py"), *arguments]
    try:
        with (out / f"{name}.txt").open("w", encoding="utf-8") as stream:
            stream.write(f"python benchmarks/{name}.py {' '.join(arguments)}".rstrip() + "\n")
            stream.flush()
            done = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, env=environment, check=False)
    finally:
        if numbers.exists():
            for line in numbers.read_text(encoding="utf-8").splitlines():
                rows.append({"benchmark": name, **json.loads(line)})
            numbers.unlink()
    return done.returncode


def write(rows: list[dict[str, Any]], out: Path) -> None:
    """Write the table so far, with all digits and as it is printed."""
    with (out / "results.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    lines = table(rows).splitlines()
    (out / "results.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def table(rows: list[dict[str, Any]]) -> str:
    """The numbers as a table in Markdown, each with the processor's capability and the number of threads."""
    lines = ["| benchmark | what | value | ratio | processor |", "| --- | --- | ---: | --- | --- |"]
    for row in rows:
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f} x {row['beside']}"
        value = f"{row['value']:,.0f}" if abs(row["value"]) >= 1000 else f"{row['value']:.4g}"
        where = f"{row['capability']}, {row['threads']} threads"
        lines.append(f"| {row['benchmark']} | {row['what']} | {value} {row['unit']} | {ratio} | {where} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(main)
