"""``python -m cordstasks.train --task dms --connectivity lowrank --seeds 0:32``: the arguments, checked without torch."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cordstasks import tasks
from cordstasks.errors import InputError, naming
from cordstasks.training.abstract_settings import (
    ACTIVATIONS,
    CONNECTIVITIES,
    FORMS,
    MOST_SEEDS,
    ONLY_FOR,
    Settings,
    defaults,
    first_repeated,
)
from cordstasks.utils.command_line import Parser, named_path

# what --quick changes, unless it is given
QUICK = {"steps": 300, "heldout": 200, "validation": 100}
# options that say where and whether, not what: they may differ when a run is resumed
WHERE = ("out", "resume", "quick", "device", "set")


def is_abstract(arguments: Sequence[str]) -> bool:
    """Whether a command line of ``cordstasks.train`` is about an abstract task, by --task or by the run that it resumes."""
    look = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    look.add_argument("--task")
    look.add_argument("--out")
    try:
        known = look.parse_known_args(list(arguments))[0]
    except (argparse.ArgumentError, SystemExit):
        return False
    if known.task is None and known.out is not None:
        try:
            return json.loads((Path(known.out) / "config.json").read_text())["task"] in tasks.abstract_names()
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return False
    return known.task in tasks.abstract_names()


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = Parser(
        prog="python -m cordstasks.train",
        description="Train recurrent networks on an abstract task, all seeds in one pass, test each on fresh trials, and "
        "write weights, numbers and figures into a run folder. Ctrl-C stops cleanly; --resume goes on. Defaults depend on "
        "task and connectivity; config.json has them.",
    )
    made.add_argument("--task", help=f"the task: {', '.join(tasks.abstract_names())}")
    made.add_argument("--out", type=named_path, help="the run's folder (default: the next runs/TASK-NNN)")
    made.add_argument("--resume", action="store_true", help="continue the run in --out (default: the last unfinished)")
    made.add_argument("--quick", action="store_true", help="a small run: " + ", ".join(f"{v} {k}" for k, v in QUICK.items()))
    made.add_argument("--seeds", help="one a network: 0:32 for 0 to 31, or 3, or 0,2,5 (default 0:5)")

    net = made.add_argument_group("the networks")
    net.add_argument("--connectivity", help=f"{', '.join(CONNECTIVITIES)} (default full)")
    net.add_argument("--units", type=int, help="recurrent units of each (default 100)")
    net.add_argument("--rank", type=int, help="of low-rank networks (default 2)")
    net.add_argument("--density", type=float, help="share of connections of sparse networks (default 0.2)")
    net.add_argument("--shape", help="channels, height and width of convolutional networks (default 4x5x5)")
    net.add_argument("--activation", help=f"{', '.join(ACTIVATIONS)} (default relu)")
    net.add_argument("--form", help=f"{', '.join(FORMS)} (default rate)")
    net.add_argument("--noise", type=float, help="standard deviation of the private noise (default 0.05)")
    net.add_argument("--gain", type=float, help="spectral radius of the initial recurrent weights (default 0.9)")
    net.add_argument("--excitatory", type=float, metavar="SHARE", help="obey Dale's law with this share of excitatory units")
    net.add_argument("--fixed-inputs", action="store_true", default=None, help="do not train the input weights")
    net.add_argument("--fixed-outputs", action="store_true", default=None, help="do not train the read-out")
    net.add_argument("--dt", type=float, help="time step in ms (default 20)")
    net.add_argument("--tau", type=float, help="time constant in ms (default 100)")

    how = made.add_argument_group("how")
    how.add_argument("--steps", type=int, help="largest number of batches (default 3000)")
    how.add_argument("--batch", type=int, help="trials a batch (default 32)")
    how.add_argument("--learning-rate", type=float, help="Adam's (default 0.002)")
    how.add_argument("--goal", type=float, help="score at which a network stops (default: a little above the task's own)")
    how.add_argument("--validation", type=int, help="trials of each test during training (default 256)")
    how.add_argument("--heldout", type=int, help="trials of the test at the end (default 1000)")
    how.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default auto)")
    how.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a task parameter, such as delay=500 or delay=[500,1000] (repeatable)",
    )
    return made


def given_settings(options: argparse.Namespace) -> dict[str, Any]:
    """What the command line itself says of the settings."""
    given = {name: value for name, value in vars(options).items() if name not in WHERE and value is not None}
    if "seeds" in given:
        given["seeds"] = seeds(given["seeds"])
    if "shape" in given:
        given["shape"] = shape(given["shape"])
    for name in ("inputs", "outputs"):
        if given.pop(f"fixed_{name}", False):
            given[f"train_{name}"] = False
    if options.set:
        assigned = [_assignment(text) for text in options.set]
        again = first_repeated([name for name, _ in assigned])
        if again is not None:
            raise InputError(f"--set {options.set[again]}: {assigned[again][0]} is set twice; leave one out")
        given["parameters"] = dict(assigned)
    return given


def settings(given: dict[str, Any], *, quick: bool) -> Settings:
    """All settings of a new run."""
    for name, connectivity in ONLY_FOR.items():
        if name in given and given.get("connectivity", "full") != connectivity:
            value = "x".join(map(str, given[name])) if name == "shape" else given[name]
            raise InputError(
                f"--{name} {value}: matters to {connectivity} networks only; leave it out, or give "
                f"--connectivity {connectivity}"
            )
    filled = {"seeds": tuple(range(5)), **(QUICK if quick else {}), **given}
    return defaults(filled.pop("task"), filled.pop("connectivity", "full"), **filled)


def seeds(text: str) -> tuple[int, ...]:
    """Seeds from ``"0:32"``, ``"3"`` or ``"0,2,5"``; `Settings` checks them."""
    try:
        if ":" in text:
            first, last = (int(part) for part in text.split(":"))
            if last - first > MOST_SEEDS:  # before so many numbers fill the memory
                raise InputError(f"--seeds {text}: are {last - first} networks; give at most {MOST_SEEDS}")
            return tuple(range(first, last))
        return tuple(int(part) for part in text.split(","))
    except InputError:
        raise
    except ValueError:
        raise InputError(f"--seeds {text}: write 0:32 for 0 to 31, or 3, or 0,2,5") from None


def shape(text: str) -> tuple[int, int, int]:
    """Channels, height and width from ``"4x5x5"``."""
    parts = text.split("x")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        raise InputError(f"--shape {text}: write channels, height and width as 4x5x5")
    channels, height, width = map(int, parts)
    return channels, height, width


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError(f"--set {text}: write NAME=VALUE, such as delay=500")
    try:
        parsed = json.loads(value, parse_constant=_no_number)
    except ValueError:
        raise InputError(f"--set {text}: the value must be a number, true, false or a list such as [500,1000]") from None
    return name, tuple(parsed) if isinstance(parsed, list) else parsed


def _no_number(constant: str) -> float:
    raise ValueError(constant)  # NaN and Infinity, which Python's JSON has beyond the standard


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
    given = given_settings(options)
    if options.task is None and not options.resume:
        raise InputError("--task is missing; name one, such as --task dms")
    with naming({"path=": "--out ", **{f"{name}=": f"--set {name}=" for name in given.get("parameters", {})}}):
        chosen = None if options.resume else settings(given, quick=options.quick)
        from cordstasks.runs.abstract import train_command  # late: it loads torch, which mistakes need not wait for

        return train_command(chosen, given, options)
