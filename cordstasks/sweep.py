"""``python -m cordstasks.sweep config.toml``: train networks over tasks, connectivities and other settings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cordstasks.errors import InputError, unknown
from cordstasks.experiments.sweep import read_sweep
from cordstasks.utils.command_line import Parser, loading, named_path, run_command

BACKENDS = ("loky", "dask", "ray")


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = Parser(
        prog="python -m cordstasks.sweep",
        description="Train networks over every combination of the settings in a TOML file, in parallel processes. "
        "OUT/results.csv has a row for each network and grows as the sweep goes on; run the same command again to continue "
        "one that was stopped.",
    )
    made.add_argument("config", type=named_path, help="the TOML file, see the page on networks in the documentation")
    made.add_argument("--out", type=named_path, help="the sweep's folder (default: sweeps/NAME, with the file's name)")
    made.add_argument("--jobs", type=int, help="processes at once, of --backend loky (default: one per core)")
    made.add_argument("--backend", default="loky", help=f"{', '.join(BACKENDS)}: what runs the work (default loky, here)")
    made.add_argument("--scheduler", help="address of a Dask scheduler, or file that names it (default: start workers here)")
    made.add_argument("--device", default="cpu", help="where to train: auto, cpu, cuda or mps (default cpu)")
    made.add_argument("--no-figures", action="store_true", help="draw no learning curves")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
    sweep = read_sweep(options.config)
    if options.backend not in BACKENDS:
        raise unknown("backend", options.backend, BACKENDS)
    jobs = -1 if options.jobs is None else options.jobs
    if options.jobs is not None and options.backend == "dask":
        raise InputError(f"--jobs {jobs}: has no effect with --backend dask, which uses all its workers; leave it out")
    if jobs == 0 or jobs < -1:
        raise InputError(f"--jobs {jobs}: give a number of at least 1, or -1 for one per core")
    if options.scheduler is not None and options.backend != "dask":
        raise InputError(f"--scheduler {options.scheduler}: goes with --backend dask")
    out = options.out or Path("sweeps") / options.config.stem
    with loading():  # late: it loads torch, which mistakes need not wait for
        from cordstasks.experiments.sweep_jobs import run_sweep

    return run_sweep(
        sweep,
        out,
        jobs_at_once=jobs,
        backend=options.backend,
        scheduler=options.scheduler,
        device=options.device,
        figures=not options.no_figures,
    )


if __name__ == "__main__":
    run_command(main)
