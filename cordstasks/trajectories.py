"""``python -m cordstasks.trajectories``: a CordsNet's areas on their way while images of two classes are shown."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cordstasks.errors import naming
from cordstasks.experiments.dynamics_settings import TrajectorySettings
from cordstasks.utils.command_line import Parser, loading, named_path, run_command
from cordstasks.utils.settings import add_flags, given_by_flags


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = Parser(
        prog="python -m cordstasks.trajectories",
        description="Show a CordsNet images of two classes from rest; follow its last area on its principal components and "
        "on the cross-validated axis between the classes, as in Soo et al. (2024), figure 4A, and every area's latency and "
        "distance from rest. Run the same command again to continue one that was stopped.",
    )
    made.add_argument("--images", type=named_path, required=True, metavar="DIR", help="folder with one folder per class")
    made.add_argument("--classes", nargs=2, required=True, metavar="NAME", help="two of these folders, such as cat dog")
    made.add_argument("--out", type=named_path, default=Path("trajectories"), help="default: trajectories")
    add_flags(made, TrajectorySettings)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
    given = given_by_flags(options, TrajectorySettings)
    TrajectorySettings(**given)  # mistakes need not wait for torch
    with loading():
        from cordstasks.experiments.trajectories import in_words, run_trajectories  # late: it loads torch

    with naming({"path=": "--out "}):
        found = run_trajectories(options.images, out=options.out, **given)
    print(in_words(found))
    print(f"{found['seconds']:.0f} s; {options.out}/: summary.json, trajectories.png")
    return 0


if __name__ == "__main__":
    run_command(main)
