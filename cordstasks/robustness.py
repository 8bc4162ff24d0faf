"""``python -m cordstasks.robustness``: images and blanks in a row, and images under noise, in three kinds of networks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from cordstasks.errors import naming
from cordstasks.experiments.robustness_settings import RobustnessSettings
from cordstasks.utils.command_line import Parser, loading, named_path, run_command
from cordstasks.utils.settings import add_flags, given_by_flags


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = Parser(
        prog="python -m cordstasks.robustness",
        description="Show a CordsNet, a feed-forward CNN and a discrete-time recurrent CNN a sequence of images and blanks "
        "without resets, and images under white noise, as in Soo et al. (2024), figure 3: activity and softmax over time, "
        "what is left after an image, deviation and accuracy at each level of noise. Run the same command again to continue "
        "one that was stopped.",
    )
    made.add_argument(
        "--images",
        type=named_path,
        required=True,
        metavar="DIR",
        help="test images, in one folder per class of the networks",
    )
    made.add_argument("--out", type=named_path, required=True, metavar="DIR", help="folder for numbers and figures")
    add_flags(made, RobustnessSettings)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
    given = given_by_flags(options, RobustnessSettings)
    RobustnessSettings(**given)  # mistakes need not wait for torch
    with loading():
        from cordstasks.experiments.robustness import in_words, run_robustness

    with naming({"path=": "--out "}):
        found = run_robustness(options.images, options.out, **given)
    print(in_words(found))
    print(f"{found['seconds']:.0f} s; {options.out}/: summary.json, autonomy.png, noise.png")
    return 0


if __name__ == "__main__":
    run_command(main)
