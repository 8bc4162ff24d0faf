"""``python -m cordstasks.dynamics``: attractors of a run's memory, regimes of random networks, spectra, early and late."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cordstasks.errors import InputError, naming
from cordstasks.experiments.dynamics_settings import EarlyLateSettings, Regimes, SpectraSettings
from cordstasks.utils.command_line import Parser, loading, named_path, run_command
from cordstasks.utils.settings import Settings, add_flags, given_by_flags

SETTINGS: dict[str, type[Settings]] = {"regimes": Regimes, "spectra": SpectraSettings, "early-late": EarlyLateSettings}


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = Parser(prog="python -m cordstasks.dynamics", description="Networks as dynamical systems.")
    actions = made.add_subparsers(dest="action", metavar="ACTION", required=True)
    memory = actions.add_parser(
        "attractors",
        help="what the memory of a trained run is made of: separate points, a line or a ring",
        description="Follow the states at the end of a run's delays, and mixtures of them, with the input held fixed, and "
        "say whether they are separate points, a line or a ring, with the evidence. Writes a table and a figure of each "
        "network.",
    )
    memory.add_argument("run", type=named_path, metavar="RUN", help="folder of a run of cordstasks.train")
    memory.add_argument("--period", default="delay", help="period at whose end something is in memory (default delay)")
    memory.add_argument("--settle", type=float, metavar="MS", help="how long to follow the states (default: longest delay)")
    memory.add_argument("--probes", type=int, default=400, help="mixtures of two memories, followed as well (default 400)")
    memory.add_argument("--seed", type=int, default=0, help="of the trials and mixtures (default 0)")
    memory.add_argument("--device", default="cpu", help="of a visual run's front-end: auto, cpu, cuda or mps (default cpu)")
    memory.add_argument("--bank", type=named_path, metavar="DIR", help="of a visual run: folder of the feature bank")
    memory.add_argument("--out", type=named_path, metavar="DIR", help="where to write (default: RUN/dynamics)")
    random = actions.add_parser(
        "regimes",
        help="rest and chaos of random networks over the gain",
        description="Simulate random tanh networks, convolutional as one area of a CordsNet and fully connected, over the "
        "gain of their weights. Writes leading Lyapunov exponents, dimensions and autocorrelation times as a table and a "
        "figure. Run the same command again to continue one that was stopped.",
    )
    spectra = actions.add_parser(
        "spectra",
        help="leading eigenvalues of the recurrent weights of each area of a CordsNet",
        description="Compute the leading eigenvalues of W_rec - I of each area, as in Soo et al. (2024), figure 4C, without "
        "forming a matrix. Prints residuals, and writes numbers and a figure. Run the same command again to continue one "
        "that was stopped.",
    )
    pairs = actions.add_parser(
        "early-late",
        help="overshoot and spectra of networks that are trained to answer early and late",
        description="Train pairs of CordsNets from the same weights, random or given, with the same images, one to answer "
        "early after image onset and one late, as in Soo et al. (2024), figure 4B, and compare the overshoot of their "
        "responses and their leading eigenvalues. Run the same command again to continue one that was stopped.",
    )
    pairs.add_argument(
        "--images",
        type=named_path,
        required=True,
        metavar="DIR",
        help="folder with train/CLASS and test/CLASS, or that of --dataset's files",
    )
    for action, name in ((random, "regimes"), (spectra, "spectra"), (pairs, "early-late")):
        action.add_argument("--out", type=named_path, default=Path(name), metavar="DIR", help=f"default: {name}")
        add_flags(action, SETTINGS[name])
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
    if options.action == "attractors":
        return _attractors(options)
    given = given_by_flags(options, SETTINGS[options.action])
    SETTINGS[options.action](**given)  # mistakes need not wait for NumPy and torch
    with naming({"path=": "--out "}):
        return _run(options, given)


def _run(options: argparse.Namespace, given: dict[str, Any]) -> int:
    """One of the actions that have settings."""
    if options.action == "regimes":
        with loading():
            from cordstasks.experiments.regimes import write_regimes

        write_regimes(Regimes(**given), options.out)
        return 0
    if options.action == "spectra":
        with loading():
            from cordstasks.experiments import spectra

        found = spectra.run_spectra(options.out, **given)
        print(spectra.in_words(found))
        print(f"{found['seconds']:.0f} s; {options.out}/: summary.json, area-*.json, spectra.png")
        return 0
    with loading():
        from cordstasks.experiments import early_late

    found = early_late.run_early_late(options.images, options.out, **given)
    print(early_late.in_words(found))
    print(f"{found['seconds']:.0f} s; {options.out}/: summary.json, early_late.png, and a folder of each network")
    return 0


def _attractors(options: argparse.Namespace) -> int:
    if not options.run.is_dir():
        raise InputError(f"{options.run}: there is no such folder; give that of a run of cordstasks.train")
    with loading():
        from cordstasks.experiments.attractors import write_attractors  # late: it loads torch

    return write_attractors(
        options.run,
        options.out,
        period=options.period,
        settle=options.settle,
        probes=options.probes,
        seed=options.seed,
        device=options.device,
        bank=options.bank,
    )


if __name__ == "__main__":
    run_command(main)
