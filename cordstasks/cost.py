"""``python -m cordstasks.cost``: what an image costs in CordsNet and in the classification models of torchvision."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cordstasks.errors import InputError
from cordstasks.utils.command_line import Parser, loading, named_path, run_command


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = Parser(
        prog="python -m cordstasks.cost",
        description="Count the multiply-accumulates and the parameters of CordsNet R2 to R8, as published and with this "
        "package's simulator, and of every classification model of torchvision, for one image of 224 px, as in Soo et al. "
        "(2024), figure 2C. No weights are needed, and nothing is downloaded.",
    )
    made.add_argument("--steps", type=int, default=300, help="steps of CordsNet's simulation (default 300)")
    made.add_argument("--out", type=named_path, default=Path("cost"), help="folder of table and figure (default: cost)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
    if options.steps < 1:
        raise InputError(f"--steps {options.steps}: give a whole number of at least 1")
    with loading():
        from cordstasks.experiments.cost import run_cost  # late: it loads torch, which mistakes need not wait for

    return run_cost(options.out, steps=options.steps)


if __name__ == "__main__":
    run_command(main)
