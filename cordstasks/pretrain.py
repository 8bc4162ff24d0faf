"""``python -m cordstasks.pretrain``: make a CordsNet from image folders, by way of a feed-forward network."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from cordstasks.utils.command_line import Parser, named_path, run_command
from cordstasks.utils.folders import locked


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = Parser(
        prog="python -m cordstasks.pretrain",
        description="Train a feed-forward network, match each area of a CordsNet to it, train the whole at equilibrium, and "
        "check the result under the paper's protocol. An interrupted run continues with --resume.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("--data", type=named_path, required=True, help="folder with train/<class>/ and test/<class>/ images")
    made.add_argument("--out", type=named_path, required=True, help="folder for checkpoints, log and weights")
    made.add_argument("--resume", action="store_true", help="continue the run in --out")
    made.add_argument("--depth", type=int, default=8, help="number of areas: 2, 4, 6 or 8")
    made.add_argument("--image-size", type=int, default=64, help="side of the network's input in px")
    made.add_argument("--init", type=named_path, help="safetensors file of a CNN to start from instead of random weights")
    made.add_argument("--cnn-epochs", type=int, default=30, help="passes over the training images for the CNN")
    made.add_argument("--cnn-learning-rate", type=float, default=0.08, help="its peak learning rate")
    made.add_argument("--cnn-batch", type=int, default=128, help="images per batch for the CNN")
    made.add_argument("--augmentation", default="light", help="of training images: light (shifts, flips) or strong")
    made.add_argument("--match-steps", type=int, default=400, help="batches for each area's matching")
    made.add_argument("--match-learning-rate", type=float, default=2e-3, help="its peak learning rate for 64 channels")
    made.add_argument("--equilibrium-epochs", type=int, default=0, help="passes for the whole network at equilibrium")
    made.add_argument("--equilibrium-batch", type=int, default=128, help="images per batch at equilibrium")
    made.add_argument("--equilibrium-learning-rate", type=float, default=1e-3, help="peak for 64 channels")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    made.add_argument("--time-limit", type=float, metavar="SECONDS", help="stop cleanly after so long, to be resumed")
    made.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of products in training")
    made.add_argument("--check-images", type=int, default=2000, help="test images for the check under the protocol")
    made.add_argument("--train-images", type=int, help="use only so many training images (for a trial run)")
    made.add_argument("--seed", type=int, default=0, help="seed of initial weights and augmentation")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
    from cordstasks.pretraining.pipeline import pretrain

    with locked(options.out, "out"):
        return pretrain(options)


if __name__ == "__main__":
    run_command(main)
