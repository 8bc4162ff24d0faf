"""``python -m cordstasks.dynamics``: attractors of a run's memory, and regimes of random networks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cordstasks.errors import InputError
from cordstasks.utils.command_line import Parser, loading, named_path, run_command


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
        "figure.",
    )
    random.add_argument("--gains", type=float, nargs="+", metavar="GAIN", help="default: 0.6 to 2.0")
    for name, what in (
        ("channels", "maps of the convolutional network (default 8)"),
        ("side", "height and width of a map (default 8)"),
        ("seeds", "networks for each gain and kind (default 2)"),
        ("seed", "of the first (default 0)"),
        ("steps", "steps of 2 ms over which to measure (default 3000)"),
        ("transient", "steps before that (default 1500)"),
    ):
        random.add_argument(f"--{name}", type=int, help=what)
    random.add_argument("--out", type=named_path, default=Path("regimes"), metavar="DIR", help="default: regimes")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
    if options.action == "regimes":
        with loading():
            from cordstasks.experiments.regimes import Regimes, write_regimes  # late: --help needs no NumPy

        names = ("gains", "channels", "side", "seeds", "seed", "steps", "transient")
        given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
        write_regimes(Regimes(**given), options.out)
        return 0
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
