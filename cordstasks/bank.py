"""``python -m cordstasks.bank``: list, clear, or compute beforehand, the features that front-ends compute."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from cordstasks.errors import InputError, naming
from cordstasks.frontend.bank import LIMIT_GB, UNFINISHED, Bank
from cordstasks.utils.command_line import Parser, loading, named_path, run_command
from cordstasks.utils.interrupt import Interrupted
from cordstasks.utils.parallel import BACKENDS, Spread

BUILD = "build"


def parser(action: str | None = None) -> argparse.ArgumentParser:
    """The command's arguments.

    Parameters
    ----------
    action : str, optional
        ``"build"``, which has flags of its own.
    """
    build = action == BUILD
    made = Parser(
        prog="python -m cordstasks.bank",
        description="Compute the features of a run's movies and keep them in the bank, where `python -m cordstasks.train` "
        "with the same settings finds them; in several processes or on a cluster. Ctrl-C stops; the same command continues."
        if build
        else "List, or clear, the features that front-ends have computed; or compute those of a run beforehand, also in "
        "several processes: build --help.",
    )
    made.add_argument("action", nargs="?", choices=("list", "clear", BUILD), default="list")
    made.add_argument("--bank", type=named_path, metavar="DIR", help="the bank's folder (default: in the user's cache)")
    if not build:
        return made
    with loading():  # late, since listing needs no NumPy
        from cordstasks.training.settings import VisualSettings
        from cordstasks.utils.settings import add_flags

    made.add_argument("--task", help="the task: rdm, numerosity, catdog, saccade, or a file my_task.py that registers one")
    made.add_argument("--jobs", type=int, help="processes at once, -1 for one per core (default: this process alone)")
    made.add_argument("--backend", help=f"{', '.join(BACKENDS)}: what runs the processes (default loky, here)")
    made.add_argument("--scheduler", help="address of a Dask scheduler, or file that names it (default: start workers here)")
    made.add_argument("--quick", action="store_true", help="of a small run")
    made.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a task parameter, such as motion=1000 (repeatable)",
    )
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default auto)")
    made.add_argument("--weights", type=named_path, help="file of the front-end's weights, on a machine without network")
    made.add_argument(
        "--bank-limit",
        type=float,
        metavar="GB",
        default=LIMIT_GB,
        help=f"the bank's largest size (default {LIMIT_GB:g})",
    )
    add_flags(made, VisualSettings)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    options = parser(BUILD if BUILD in arguments else None).parse_args(arguments)
    if options.action == BUILD:
        return _build(options)
    if options.bank is not None and not options.bank.is_dir():
        raise InputError(f"--bank {options.bank}: there is no such folder")
    bank = Bank(options.bank)
    for path in bank.strangers():
        print(f"{path}: is no file of the bank; left alone")
    if options.action == "clear":
        print(f"{bank.folder}: {bank.clear() / 1e6:.1f} MB freed")
        return 0
    entries = bank.entries()
    costs = [bank.cost(path) for _, path, _ in entries]
    if entries:
        print("file                  size      last used          requested    simulated  error of copies")
    for (used, path, size), cost in zip(entries, costs, strict=True):
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(used))
        print(f"{path.stem[:16]}  {size / 1e6:8.1f} MB  {when}  {_cost(cost)}")
    known = [cost for cost in costs if cost is not None]
    print(f"{bank.folder}: {len(entries)} files, {sum(size for _, _, size in entries) / 1e6:.1f} MB")
    unfinished = sum(path.stem.endswith(UNFINISHED) for _, path, _ in entries)
    if unfinished:
        print(f"{unfinished} of them are parts of work that was stopped, which the same run or command continues")
    if known:
        requested, simulated = (sum(cost[name] for cost in known) for name in ("requested", "simulated"))
        print(
            f"steps of 2 ms: {requested:.0f} requested, {simulated:.0f} simulated ({simulated / max(requested, 1):.0%}); "
            f"settled states are copied, with an error of at most {max(cost['bound'] for cost in known):.1e} of the activity"
        )
    return 0


def _build(options: argparse.Namespace) -> int:
    """Compute the features of a run."""
    with loading():
        from cordstasks.training.settings import VisualSettings
        from cordstasks.utils.settings import assignments, given_by_flags

    if options.task is None:
        raise InputError("--task is missing; name one, such as --task rdm")
    spread = None
    if any(value is not None for value in (options.jobs, options.backend, options.scheduler)):
        with naming({"processes=": "--jobs ", "backend=": "--backend ", "scheduler=": "--scheduler "}):
            spread = Spread(-1 if options.jobs is None else options.jobs, options.backend or "loky", options.scheduler)
    given = given_by_flags(options, VisualSettings)
    given.pop("task", None)
    parameters = assignments(options.set, "motion=1000")
    if parameters:
        given["parameters"] = parameters
    flags = {"processes=": "--jobs ", "bank=": "--bank ", "bank_limit=": "--bank-limit "}
    with naming({"parameters=": "--set ", **flags, **{f"{name}=": f"--set {name}=" for name in parameters}}):
        VisualSettings.new(options.task, quick=options.quick, **given)  # mistakes need not wait for torch
        with loading():
            from cordstasks.runs.bank import build_bank

        try:
            build_bank(
                options.task,
                quick=options.quick,
                device=options.device,
                weights=options.weights,
                bank=options.bank,
                bank_limit=options.bank_limit,
                spread=spread,
                verbose=True,
                **given,
            )
        except KeyboardInterrupt as stop:
            raise Interrupted("the same command") from stop
    return 0


def _cost(cost: dict[str, float] | None) -> str:
    if cost is None:
        return "damaged"
    return f"{cost['requested']:11.0f}  {cost['simulated']:11.0f}  {cost['bound']:15.1e}"


if __name__ == "__main__":
    run_command(main)
