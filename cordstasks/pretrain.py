"""``python -m cordstasks.pretrain``: make a CordsNet from images, by the paper's stages or by ours."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from cordstasks.errors import InputError, naming
from cordstasks.pretraining.settings import RECIPES, STAGES, PretrainSettings
from cordstasks.utils.arguments import path_of
from cordstasks.utils.command_line import Parser, loading, named_path, run_command
from cordstasks.utils.settings import add_flags, given_by_flags

UNFINISHED = 75  # exit status at the time limit: "temporary failure, try again", which queues understand


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = Parser(
        prog="python -m cordstasks.pretrain",
        description="Train a feed-forward network, fold its normalisation, match each area of a CordsNet to it, train it "
        "end to end, and check it under the paper's protocol. A stage alone reads what earlier ones have left in --out. An "
        "interrupted run continues with --resume.",
    )
    made.add_argument(
        "--data",
        type=named_path,
        help="where the images are: a folder with train/<class>/ and test/<class>/ images, or that of --dataset's files",
    )
    made.add_argument("--out", type=named_path, required=True, help="folder for checkpoints, logs and weights")
    made.add_argument(
        "--stage",
        default="all",
        metavar="NAME",
        help=f"{', '.join(STAGES)}, or all: those of --match in a row (default all)",
    )
    made.add_argument(
        "--recipe",
        metavar="NAME",
        help=f"what the numbers below are unless given: {', '.join(RECIPES)} (default laptop, as listed)",
    )
    made.add_argument("--resume", action="store_true", help="continue the run in --out")
    made.add_argument("--download", action="store_true", help="fetch --dataset's files if they are missing")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default auto)")
    made.add_argument("--time-limit", type=float, metavar="SECONDS", help="stop cleanly after so long, to be resumed")
    add_flags(made, PretrainSettings)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
    given = given_by_flags(options, PretrainSettings)
    if given.get("dataset", "").startswith("folder:"):
        name, place = given["dataset"].split(":", 1)
        if options.data is not None:
            raise InputError(
                f"--data {options.data}: has no effect with --dataset {given['dataset']}; leave one of them out"
            )
        given["dataset"], options.data = name, path_of("data", place)
    if options.data is None:
        raise InputError("--data: is missing; name the folder of the images")
    PretrainSettings.of(given, options.recipe or "laptop")  # mistakes need not wait for torch
    with loading():
        from cordstasks.pretraining.pipeline import pretrain  # late: it loads torch

    with naming({"path=": "--out ", "out=": "--out "}):
        done = pretrain(
            options.data,
            options.out,
            stage=options.stage,
            recipe=options.recipe,
            resume=options.resume,
            download=options.download,
            device=options.device,
            time_limit=options.time_limit,
            **given,
        )
    return 0 if done else UNFINISHED


if __name__ == "__main__":
    run_command(main)
