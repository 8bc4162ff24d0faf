"""``python -m cordstasks.kernel RUN``: when motion counts for the choices of a trained model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cordstasks.errors import InputError, naming
from cordstasks.utils.command_line import Parser, loading, named_path, run_command


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = Parser(
        prog="python -m cordstasks.kernel",
        description="Show a trained model dots that move with a coherence of 0, and correlate its choices with their motion "
        "energy in time, beside shuffled choices. Of a run with reaction times, choices are those at its bound, and motion "
        "before each decision counts.",
    )
    made.add_argument("run", type=named_path, help="the folder of a finished run of random-dot motion")
    made.add_argument("--trials", type=int, default=400, help="trials with a coherence of 0 (default %(default)s)")
    made.add_argument("--shuffles", type=int, default=1000, help="of the choices over trials (default %(default)s)")
    made.add_argument("--seed", type=int, default=0, help="of the trials and the shuffles (default %(default)s)")
    made.add_argument("--out", type=named_path, help="folder for the results (default: kernels/RUN)")
    made.add_argument("--weights", type=named_path, help="file of the front-end's weights, if it is elsewhere now")
    made.add_argument("--bank", type=named_path, help="folder of the feature bank (default: in the user's cache)")
    made.add_argument("--no-bank", action="store_true", help="keep no features on disk")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default auto)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
    if options.no_bank and options.bank is not None:
        raise InputError(f"--bank {options.bank}: has no effect with --no-bank; leave one of them out")
    with loading():
        from cordstasks.experiments.kernels import motion_kernel  # late: these load torch
        from cordstasks.runs.loading import load_run

    with naming({"folder=": "", "path=": ""}):
        bank = False if options.no_bank else options.bank
        run = load_run(options.run, options.weights, device=options.device, bank=bank)
        out = options.out or Path("kernels") / options.run.resolve().name
        motion_kernel(run, trials=options.trials, seed=options.seed, shuffles=options.shuffles, out=out, verbose=True)
    print(f"{out}/: summary.json, kernel.png")
    return 0


if __name__ == "__main__":
    run_command(main)
