"""``python -m cordstasks.paper``: figures of the paper from our own runs, with what was claimed and what was measured."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cordstasks.errors import InputError
from cordstasks.paper.parts import OUTCOME, PARTS, Part, Workplace, chosen
from cordstasks.utils.command_line import Parser, loading, named_path, run_command
from cordstasks.utils.files import read_json

DATA = ("images", "mnist", "recordings")  # folders of data that some parts need or take


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = Parser(
        prog="python -m cordstasks.paper",
        description="Reproduce figures and tables of Soo, Battista, Radmard & Wang (2024) with runs of this package, and "
        "compare each conclusion of the paper with what was measured. Run the same command again to continue one that was "
        "stopped.",
    )
    known = ", ".join(part.figure for part in PARTS)
    made.add_argument("--figures", nargs="+", metavar="FIGURE", help=f"what to make (default: all): {known}")
    made.add_argument("--quick", action="store_true", help="small settings, to see the whole way")
    made.add_argument("--list", action="store_true", help="print what there is and how long it takes here, and stop")
    made.add_argument("--images", type=named_path, metavar="DIR", help="CIFAR-10 (train/CLASS/, test/CLASS/)")
    made.add_argument("--mnist", type=named_path, metavar="DIR", help="MNIST, as torchvision reads it")
    made.add_argument("--recordings", type=named_path, metavar="DIR", help="recordings, each with a folder of its pictures")
    made.add_argument("--bank", type=named_path, help="folder of the feature bank (default: in the cache)")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default auto)")
    made.add_argument("--report", action="store_true", help="also write OUT/report.html")
    made.add_argument("--out", type=named_path, default=Path("paper"), help="default: paper")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
    parts = chosen(options.figures)
    for name in DATA:
        value = getattr(options, name)
        if value is not None and not any(name in (*part.needs, *part.takes) for part in parts):
            figures = ", ".join(part.figure for part in parts)
            raise InputError(f"{name}={value}: has no effect on figures {figures}; leave it out")
    data = {name: getattr(options, name) for name in DATA}
    workplace = Workplace(options.quick, options.device, options.bank, **data)
    print(_plan(parts, workplace, options.out), flush=True)
    if options.list:
        return 0
    with loading():  # late: it loads torch, which mistakes need not wait for
        from cordstasks.paper.report import write_paper_report
        from cordstasks.paper.reproduce import reproduce, table

    print(table(reproduce(parts, options.out, workplace)))
    print(f"{options.out}/: paper.json, and a folder for each part")
    if options.report:
        print(f"report {write_paper_report(options.out)}")
    return 0


def _plan(parts: Sequence[Part], workplace: Workplace, out: Path) -> str:
    """What will be made and about how long it takes."""
    with loading():
        from cordstasks.paper.speed import duration_text, expected_seconds, machine_rate  # late: --help needs no NumPy

    rate, whole, lines = machine_rate(), 0.0, []
    listed = {part.figure for part in parts}
    for part in parts:
        first = [figure for figure in part.uses if figure not in listed and not (out / figure / OUTCOME).exists()]
        together = [*(chosen(first) if first else ()), part]
        lacking, seconds = part.lacks(workplace), sum(expected_seconds(each, workplace, rate=rate) for each in together)
        takes = duration_text(seconds) + (f", with {', '.join(first)}, which it uses" if first else "")
        listed |= set(first)
        if (out / part.figure / OUTCOME).exists():
            takes = "finished" + _other_settings(out / part.figure / OUTCOME, workplace)
        elif lacking:
            takes = f"needs --{lacking[0]}, then {takes}"
        else:
            whole += seconds
        lines.append(f"{part.figure:<4} {part.title:<62} {takes}")
    if whole:
        lines.append(f"{duration_text(whole)} in all, of one core that does nothing else")
    return "\n".join(lines)


def _other_settings(path: Path, workplace: Workplace) -> str:
    """What to say of a finished part that these settings cannot take over."""
    found = read_json(path)
    if found["quick"] == workplace.quick:
        return ""
    return f" with {'small' if found['quick'] else 'full'} settings: use another folder"


if __name__ == "__main__":
    run_command(main)
