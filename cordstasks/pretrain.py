"""``python -m cordstasks.pretrain``: make a CordsNet from image folders, by way of a feed-forward network."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from cordstasks.errors import naming
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.utils.command_line import Parser, named_path, run_command
from cordstasks.utils.settings import add_flags, given_by_flags

UNFINISHED = 75  # exit status at the time limit: "temporary failure, try again", which queues understand


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = Parser(
        prog="python -m cordstasks.pretrain",
        description="Train a feed-forward network, match each area of a CordsNet to it, train the whole at equilibrium, and "
        "check the result under the paper's protocol. An interrupted run continues with --resume.",
    )
    made.add_argument("--data", type=named_path, required=True, help="folder with train/<class>/ and test/<class>/ images")
    made.add_argument("--out", type=named_path, required=True, help="folder for checkpoints, log and weights")
    made.add_argument("--resume", action="store_true", help="continue the run in --out")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default auto)")
    made.add_argument("--time-limit", type=float, metavar="SECONDS", help="stop cleanly after so long, to be resumed")
    made.add_argument(
        "--check-images", type=int, default=2000, help="test images for the check under the protocol (default 2000)"
    )
    add_flags(made, PretrainSettings)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
    given = given_by_flags(options, PretrainSettings)
    PretrainSettings(**given)  # mistakes need not wait for torch
    from cordstasks.pretraining.pipeline import pretrain

    with naming({"path=": "--out "}):
        done = pretrain(
            options.data,
            options.out,
            resume=options.resume,
            device=options.device,
            time_limit=options.time_limit,
            check_images=options.check_images,
            **given,
        )
    return 0 if done else UNFINISHED


if __name__ == "__main__":
    run_command(main)
