"""``python -m cordstasks.trajectories``: a CordsNet's areas on their way while images of two classes are shown."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cordstasks.utils.command_line import Parser, loading, named_path, run_command


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = Parser(
        prog="python -m cordstasks.trajectories",
        description="Show a CordsNet images of two classes from rest; follow its last area on its principal components and "
        "on the cross-validated axis between the classes, as in Soo et al. (2024), figure 4A, and every area's latency and "
        "distance from rest.",
    )
    made.add_argument("--images", type=named_path, required=True, metavar="DIR", help="folder with one folder per class")
    made.add_argument("--classes", nargs=2, required=True, metavar="NAME", help="two of these folders, such as cat dog")
    made.add_argument("--network", default="cordsnet-r8", help="CordsNet: a name or a file (default cordsnet-r8)")
    made.add_argument("--count", type=int, default=50, help="images of each class (default 50)")
    made.add_argument("--image-ms", type=float, default=200.0, help="ms with an image (default 200)")
    made.add_argument("--after-ms", type=float, default=200.0, help="ms without one after it (default 200)")
    made.add_argument("--folds", type=int, default=5, help="of the cross-validation (default 5)")
    made.add_argument("--seed", type=int, default=0, help="of the folds and the bootstrap (default 0)")
    made.add_argument("--out", type=named_path, default=Path("trajectories"), help="default: trajectories")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
    with loading():
        from cordstasks.experiments.trajectories import in_words, run_trajectories  # late: it loads torch

    found = run_trajectories(
        options.images,
        tuple(options.classes),
        options.out,
        network=options.network,
        count=options.count,
        image_ms=options.image_ms,
        after_ms=options.after_ms,
        folds=options.folds,
        seed=options.seed,
    )
    print(in_words(found))
    print(f"{found['seconds']:.0f} s; {options.out}/: summary.json, trajectories.png")
    return 0


if __name__ == "__main__":
    run_command(main)
