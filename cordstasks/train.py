"""``python -m cordstasks.train --task rdm``: train a multi-area model on a task and see how it behaves."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cordstasks.cordsnet import pretrained as registry
from cordstasks.errors import InputError, naming
from cordstasks.runs import abstract_command as abstract
from cordstasks.utils.command_line import Parser, named_path, run_command
from cordstasks.utils.files import absolute
from cordstasks.utils.folders import unfinished_folder

# options that say where and whether, not what: they may differ when a run is resumed
WHERE = ("out", "resume", "bank", "no_bank", "bank_limit", "weights", "quick", "stimuli_dir")


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = Parser(
        prog="python -m cordstasks.train",
        description="Train a recurrent network on what a frozen, pretrained CordsNet sees of a task's movies, test it on "
        "held-out trials, and write weights, numbers and figures into a run folder. Ctrl-C stops cleanly; --resume goes on.",
    )
    made.add_argument(
        "--task",
        default=None,
        help="the task: rdm (random-dot motion), numerosity, catdog, saccade, or a file my_task.py that registers one; "
        "abstract tasks, such as dms, have options of their own: --task dms --help",
    )
    made.add_argument("--stimuli-dir", type=named_path, metavar="DIR", help="pictures of your own, for --task catdog")
    made.add_argument("--out", type=named_path, help="the run's folder (default: the next runs/TASK-NNN)")
    made.add_argument("--resume", action="store_true", help="continue the run in --out (default: the last unfinished)")
    made.add_argument("--quick", action="store_true", help="a small run of about three minutes, to see the whole way")

    size = made.add_argument_group("how much")
    size.add_argument("--trials", type=int, default=None, help="training trials (default by task; rdm 480, each a movie)")
    size.add_argument("--heldout", type=int, default=None, help="trials to test on, never trained on (rdm 420)")
    size.add_argument("--validation", type=int, default=None, help="trials to choose the best weights by (rdm 64)")
    size.add_argument("--steps", type=int, default=None, help="largest number of training batches (rdm 1000)")

    net = made.add_argument_group("the network")
    net.add_argument("--frontend", default="cordsnet-r8", help="registry name or file of a CordsNet (default cordsnet-r8)")
    net.add_argument("--weights", type=named_path, help="file of the front-end's weights, on a machine without network")
    net.add_argument(
        "--areas",
        type=int,
        nargs="+",
        default=None,
        metavar="AREA",
        help="the front-end's areas that are read, from 0; those above are not simulated (default: rdm 1, others the last)",
    )
    net.add_argument(
        "--side",
        type=int,
        default=None,
        help="average the maps that are read to at most SIDE x SIDE (default by task; rdm 8, others keep every unit)",
    )
    net.add_argument("--readout", default="flatten", help="flatten (keeps place, default) or pool whole maps, as --side 1")
    net.add_argument(
        "--inputs",
        type=int,
        default=None,
        help="directions in feature space that the recurrent network is given (default by task and teacher)",
    )
    net.add_argument("--units", type=int, default=512, help="recurrent units (default 512)")
    net.add_argument("--dt", type=float, default=20.0, help="the recurrent network's step in ms (default 20)")
    net.add_argument("--tau", type=float, default=100.0, help="its time constant in ms (default 100)")
    net.add_argument("--noise", type=float, default=0.01, help="standard deviation of its private noise (default 0.01)")

    how = made.add_argument_group("how")
    how.add_argument("--seed", type=int, default=0, help="seed of movies, initial weights and noise (default 0)")
    how.add_argument("--learning-rate", type=float, default=None, help="Adam's (rdm 0.004)")
    how.add_argument(
        "--labels-only",
        action="store_true",
        help="train on the right actions alone: no teacher, auxiliary targets or recombined trials (see the docs)",
    )
    how.add_argument("--batch", type=int, default=None, help="trials a batch (rdm 128)")
    how.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default auto)")
    how.add_argument("--precision", default=None, help="of the front-end's products: float32, tf32, bfloat16")
    how.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a task parameter, such as motion=1000 (repeatable)",
    )
    how.add_argument("--bank", type=named_path, help="folder of the feature bank (default: in the user's cache)")
    how.add_argument("--no-bank", action="store_true", help="keep no features on disk")
    how.add_argument("--bank-limit", type=float, default=10.0, metavar="GB", help="the bank's largest size (default 10)")
    return made


def config_of(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that determine a run's results, with defaults filled in."""
    config = {name: value for name, value in vars(options).items() if name not in WHERE}
    if options.stimuli_dir is not None:
        config["set"] = [*config["set"], f"stimuli_dir={json.dumps(str(options.stimuli_dir))}"]
    defaults, quick = _defaults(options.task)
    if not options.quick:
        quick = {}
    for name, value in defaults.items():
        if config[name] is None:
            config[name] = quick.get(name, value)
    for name in ("trials", "heldout", "validation", "steps", "units", "batch"):
        if config[name] < 1:
            raise InputError(f"--{name} {config[name]}: must be at least 1")
    for name in ("side", "inputs"):
        if config[name] is not None and config[name] < 1:
            raise InputError(f"--{name} {config[name]}: must be at least 1")
    if isinstance(config["areas"], int):
        config["areas"] = [config["areas"]]
    elif config["areas"] is not None:
        config["areas"] = sorted(config["areas"])
    if not 0 <= config["seed"] < 2**63:
        raise InputError(f"--seed {config['seed']}: must be from 0 to 2**63 - 1")
    for name in ("dt", "tau", "noise", "learning_rate"):
        if not math.isfinite(config[name]):
            raise InputError(f"--{name.replace('_', '-')} {config[name]}: must be a finite number")
    if not config["learning_rate"] > 0:
        raise InputError(f"--learning-rate {config['learning_rate']:g}: must be above 0")
    config["set"] = {**quick.get("set", {}), **dict(_assignment(text) for text in config["set"])}
    _settle_paths(config)
    return config


def _settle_paths(config: dict[str, Any]) -> None:
    """Make relative paths absolute, so that the run can be continued and loaded from any working directory."""
    if config["task"] is not None and config["task"].endswith(".py"):
        config["task"] = absolute(config["task"])
    if config["frontend"] not in registry.names() and Path(config["frontend"]).expanduser().is_file():
        config["frontend"] = absolute(config["frontend"])
    if isinstance(config["set"].get("stimuli_dir"), str):
        config["set"]["stimuli_dir"] = absolute(config["set"]["stimuli_dir"])


def _defaults(task: str | None) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The settings of a task's runs, and what --quick changes of them; a resumed run has its own."""
    from cordstasks import tasks  # late, since --help needs no NumPy

    chosen = tasks.VisualTask if task is None else tasks.get(task)
    return {**tasks.VisualTask.run_defaults, **chosen.run_defaults}, chosen.quick_defaults


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError(f"--set {text}: write NAME=VALUE, such as motion=1000")
    try:
        parsed = json.loads(value, parse_constant=_no_number)
    except ValueError:
        if not value or value[0] in '[{"' or value in ("NaN", "Infinity", "-Infinity"):
            raise InputError(
                f"--set {text}: the value must be a number, true, false, a name or a list such as [0,90]"
            ) from None
        parsed = value  # a name needs no quotes
    return name, tuple(parsed) if isinstance(parsed, list) else parsed


def _no_number(constant: str) -> float:
    raise ValueError(constant)  # NaN and Infinity, which Python's JSON has beyond the standard


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    arguments = _with_folder(sys.argv[1:] if arguments is None else arguments)
    if abstract.is_abstract(arguments):
        return abstract.main(arguments)
    made = parser()
    options = made.parse_args(arguments)
    if options.task is None and not options.resume:
        raise InputError("--task is missing; name one, such as --task rdm")
    config = config_of(options)
    from cordstasks.runs.visual import run  # late: it loads torch, which --help and mistakes need not wait for

    # of a resumed run the task parameters that are not on the command line have proved right before
    with naming({"path=": "--out ", **{f"{name}=": f"--set {name}=" for name in config["set"]}}):
        return run(config, options, given=_given(made, arguments))


def _with_folder(arguments: Sequence[str]) -> Sequence[str]:
    """The command line, with the latest unfinished run's folder if it resumes a run and names neither folder nor task."""
    given = _given(parser(), arguments)
    if "resume" not in given or given & {"task", "out"} or {"-h", "--help"} & set(arguments):
        return arguments
    return [*arguments, "--out", str(unfinished_folder())]


def _given(made: argparse.ArgumentParser, arguments: Sequence[str]) -> set[str]:
    """Names of the options that the command line itself holds."""
    bare = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    for action in made._actions:
        if action.option_strings and action.dest != "help":
            switch = isinstance(action, argparse._StoreTrueAction)
            kind: dict[str, Any] = {"action": "store_true"} if switch else {"action": "append", "nargs": action.nargs}
            bare.add_argument(*action.option_strings, dest=action.dest, **kind)
    return set(vars(bare.parse_known_args(arguments)[0]))


if __name__ == "__main__":
    run_command(main)
