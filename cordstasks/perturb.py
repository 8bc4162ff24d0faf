"""``python -m cordstasks.perturb RUN --silence tuned --window delay``: causal tests of a trained model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from cordstasks.errors import InputError, naming
from cordstasks.experiments.perturbation_settings import PerturbationSettings
from cordstasks.utils.command_line import Parser, loading, named_path, run_command
from cordstasks.utils.settings import add_flags, given_by_flags

ACTIONS = {"silence": "silence", "lesion": "lesion", "clamp": "clamp", "stimulate": "current"}


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = Parser(
        prog="python -m cordstasks.perturb",
        description="Silence, lesion, clamp or stimulate units of a trained model, chosen by a rule, and measure in "
        "held-out trials what changes, beside random sets of as many units. The rules: tuned (the most selective), "
        "prefer=VALUE (those that respond most to a value, such as prefer=90), random, units=1,2,3 and, of an area, "
        "channels=1,2,3 or locations=1,2,3. Random sets beside are of the same kind.",
    )
    made.add_argument("run", type=named_path, help="the folder of a finished run of a visual task")
    what = made.add_argument_group("one of these, with a rule")
    for flag, text in (
        ("silence", "hold the units' rates at 0 within the window"),
        ("lesion", "hold them at 0 throughout the trial"),
        ("clamp", "hold them at --strength"),
        ("stimulate", "add a current of --strength to their input"),
    ):
        what.add_argument(f"--{flag}", metavar="RULE", help=text)
    made.add_argument("--out", type=named_path, help="folder for the results (default: perturbations/RUN-...)")
    made.add_argument("--weights", type=named_path, help="file of the front-end's weights, if it is elsewhere now")
    made.add_argument("--bank", type=named_path, help="folder of the feature bank (default: in the user's cache)")
    made.add_argument("--no-bank", action="store_true", help="keep no features on disk")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default auto)")
    add_flags(made, PerturbationSettings)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
    asked = [flag for flag in ACTIONS if getattr(options, flag) is not None]
    if len(asked) != 1:
        said = " and ".join(f"--{flag}" for flag in asked) or "none of them"
        raise InputError(f"{said}: give one of --silence, --lesion, --clamp and --stimulate, with a rule such as tuned")
    rule = getattr(options, asked[0])
    if options.no_bank and options.bank is not None:
        raise InputError(f"--bank {options.bank}: has no effect with --no-bank; leave one of them out")
    given = given_by_flags(options, PerturbationSettings)
    # only the setting at a message's beginning, which is followed by a quoted rule, and not the rule units=1,2,3
    with naming({f"units={quote}": f"--{asked[0]} {quote}" for quote in "'\""}):
        settings = PerturbationSettings(ACTIONS[asked[0]], rule, **given)
        with loading():
            from cordstasks.experiments.perturbation import default_folder, perturb  # late: these load torch
            from cordstasks.runs.loading import load_run

        with naming({"folder=": "", "path=": ""}):
            run = load_run(
                options.run, options.weights, device=options.device, bank=False if options.no_bank else options.bank
            )
        out = options.out or default_folder(options.run, settings)
        perturb(run, settings.action, settings.units, out=out, verbose=True, **given)
    return 0


if __name__ == "__main__":
    run_command(main)
