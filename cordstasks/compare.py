"""``python -m cordstasks.compare``: are convolutional networks closer to full ones than low-rank and sparse ones are?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from cordstasks.errors import InputError, unknown
from cordstasks.training.settings import (
    ACTIVATIONS,
    CONNECTIVITIES,
    AbstractSettings,
    VisualSettings,
    first_repeated,
    seeds_of_text,
)
from cordstasks.utils.command_line import Parser, command_of, loading, named_path, run_command

OF_SWEEPS = ("sweep", "match", "dsa", "tasks", "conditions", "out")  # flags that matter to networks trained already
TASKS = ("perceptual-dm", "parametric-wm", "multisensory-dm", "contextual-dm", "dms")  # those of the paper


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = Parser(
        prog="python -m cordstasks.compare",
        description="Train networks of several connectivities on abstract or visual tasks, align their trajectories on one "
        "set of trials without noise, and compare them by shape distances and canonical correlations, as in Soo et al. "
        "(2024), figure 1C. Run the same command again to continue one that was stopped.",
    )
    made.add_argument("--tasks", nargs="+", default=list(TASKS), metavar="TASK", help=f"default: {' '.join(TASKS)}")
    made.add_argument("--connectivities", nargs="+", default=list(CONNECTIVITIES), metavar="KIND", help="default: all four")
    made.add_argument("--activations", nargs="+", default=["relu"], metavar="NAME", help="default: relu")
    made.add_argument("--seeds", default="0:5", help="one per network: 0:5 for 0 to 4, or 0,2,5 (default 0:5)")
    made.add_argument("--units", type=int, help="recurrent units of each network (default: 100; visual tasks 512)")
    made.add_argument("--steps", type=int, help="largest number of training batches (default: by task)")
    made.add_argument("--quick", action="store_true", help="small trainings, to see the whole way")
    made.add_argument("--alpha", type=float, default=1.0, help="0 whitens (canonical), 1 does not (Procrustes; default 1)")
    made.add_argument("--conditions", type=int, default=48, help="trials compared, at most, each of its own (default 48)")
    made.add_argument("--permutations", type=int, default=20, help="shuffles of conditions for the null (default 20)")
    made.add_argument(
        "--dsa", action="store_true", help="also compare dynamics, by dynamical similarity analysis (needs dsa-metric)"
    )
    made.add_argument(
        "--recording",
        type=named_path,
        metavar="FILE",
        help="a .npy array (condition, time, neuron), or a recording whose stimulus ids are the numbers of conditions, to "
        "compare with the networks of one task, on the conditions and times of OUT/TASK/conditions.csv",
    )
    made.add_argument("--bank", type=named_path, help="of visual tasks: folder of the feature bank (default: in the cache)")
    made.add_argument(
        "--sweep",
        type=named_path,
        nargs="+",
        metavar="FOLDER",
        help="compare the networks of these sweeps, over their hyperparameters, instead of training any",
    )
    made.add_argument(
        "--match",
        metavar="WHAT",
        help="of sweeps: units or parameters, to compare networks with as many units, or about as many trained parameters "
        "(default: units)",
    )
    made.add_argument("--device", default="cpu", help="where to train: auto, cpu, cuda or mps (default cpu)")
    made.add_argument("--report", action="store_true", help="also write OUT/report.html")
    made.add_argument("--out", type=named_path, default=Path("comparisons/networks"), help="default: comparisons/networks")
    return made


def _settings(
    options: argparse.Namespace, task: str, connectivity: str, activation: str
) -> AbstractSettings | VisualSettings:
    """What networks of one kind are trained with."""
    with loading():
        from cordstasks import tasks

    given = {name: getattr(options, name) for name in ("steps", "units") if getattr(options, name) is not None}
    given |= {"connectivity": connectivity, "activation": activation, "quick": options.quick}
    if isinstance(tasks.get(task), tasks.AbstractTask):
        return AbstractSettings.new(task, seeds=options.seeds, **given)
    return VisualSettings.new(task, **given)


def _compare_sweeps(options: argparse.Namespace) -> int:
    """Compare networks that are trained already."""
    made = parser()
    for name, value in vars(options).items():
        if name not in OF_SWEEPS and value != made.get_default(name):
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"{flag}: has no effect on the networks of --sweep, which are trained already; leave it out")
    if options.conditions < 4:
        raise InputError(f"--conditions {options.conditions}: must be at least 4")
    with loading():
        from cordstasks.experiments.architectures import MATCHES, compare_architectures, table  # late, as in main

    summary = compare_architectures(
        options.sweep,
        options.out,
        tasks=None if options.tasks == made.get_default("tasks") else options.tasks,
        conditions=options.conditions,
        match=options.match or MATCHES[0],
        dsa=options.dsa,
    )
    print(table(summary))
    print(f"{summary['seconds']:.0f} s; {options.out}/: summary.json, differences.png")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    with loading():
        from cordstasks import tasks  # late, since --help needs no NumPy

    made = parser()
    options = made.parse_args(arguments)
    if options.sweep is not None:
        return _compare_sweeps(options)
    if options.match is not None:
        raise InputError(f"--match {options.match}: matters to sweeps only; give them with --sweep, or leave it out")
    options.command = command_of(made, options)
    for task in options.tasks:
        tasks.get(task)
    for name, flag, known in (
        ("connectivity", "connectivities", CONNECTIVITIES),
        ("activation", "activations", ACTIVATIONS),
    ):
        values = getattr(options, flag)
        for value in values:
            if value not in known:
                raise unknown(name, value, known)
        again = first_repeated(values)
        if again is not None:
            raise InputError(f"--{flag} {' '.join(values)}: {values[again]} comes twice; name each once")
    again = first_repeated(options.tasks)
    if again is not None:
        raise InputError(f"--tasks {' '.join(options.tasks)}: {options.tasks[again]} comes twice; name each once")
    options.seeds = AbstractSettings.checked("seeds", seeds_of_text(options.seeds))
    if not 0 <= options.alpha <= 1:
        raise InputError(f"--alpha {options.alpha:g}: give a number from 0 to 1")
    for name, least in (("conditions", 4), ("permutations", 1)):
        if getattr(options, name) < least:
            raise InputError(f"--{name} {getattr(options, name)}: must be at least {least}")
    if options.recording is not None and (len(options.tasks) > 1 or not options.recording.is_file()):
        raise InputError(f"--recording {options.recording}: give a file that exists, and one task with --tasks")
    if options.bank is not None and all(tasks.is_abstract(task) for task in options.tasks):
        raise InputError(f"--bank {options.bank}: has no effect, since none of the tasks shows movies; leave it out")
    combinations = product(options.tasks, options.connectivities, options.activations)
    chosen = {combination: _settings(options, *combination) for combination in combinations}
    with loading():  # late: it loads torch, which mistakes need not wait for
        from cordstasks.experiments.comparison import compare_networks

    return compare_networks(options, chosen)


if __name__ == "__main__":
    run_command(main)
