"""``python -m cordstasks.predict``: how much of a recording does each area predict, moment by moment?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cordstasks.errors import InputError
from cordstasks.experiments.predict_settings import PredictSettings
from cordstasks.utils.command_line import Parser, loading, named_path, run_command
from cordstasks.utils.files import absolute
from cordstasks.utils.settings import add_flags, given_by_flags


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = Parser(
        prog="python -m cordstasks.predict",
        description="Show the stimuli of a recording to a CordsNet, and predict the recording from the activity of each "
        "area: in each time bin, spanning time at the best lag, beside the recording's ceiling and a null whose time bins "
        "are shuffled. Run the same command again to continue one that was stopped.",
    )
    made.add_argument(
        "--recording", type=named_path, metavar="FILE", help="a recording: .npz, .npy with tables, .mat or .nc (netCDF)"
    )
    made.add_argument(
        "--stimuli", type=named_path, metavar="DIR", help="folder of the pictures that were shown, named by stimulus id"
    )
    made.add_argument(
        "--out", type=named_path, help="the folder of results (default: predictions/NAME, with the file's name)"
    )
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default auto)")
    add_flags(made, PredictSettings, defaults=None)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
    for name, what in (("recording", "a file of a recording"), ("stimuli", "the folder of the pictures that were shown")):
        if getattr(options, name) is None:
            raise InputError(f"--{name} is missing; give {what}")
    if not options.recording.is_file():
        raise InputError(f"--recording {options.recording}: there is no such file; correct the path")
    if not options.stimuli.is_dir():
        raise InputError(f"--stimuli {options.stimuli}: there is no such folder; correct the path")
    given = {
        **given_by_flags(options, PredictSettings),
        "recording": absolute(options.recording),
        "stimuli": absolute(options.stimuli),
    }
    settings = PredictSettings(**given)
    out = options.out or Path("predictions") / options.recording.stem
    with loading():
        from cordstasks.experiments.predictivity import predict  # late: it loads torch, which mistakes need not wait for

    predict(settings, out, device=options.device, verbose=True)
    return 0


if __name__ == "__main__":
    run_command(main)
