"""``python -m cordstasks.train --task rdm``: train a model on a task and see how it behaves."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from cordstasks.errors import InputError, naming
from cordstasks.training.settings import AbstractSettings, NetworkSettings, VisualSettings, seeds_of_text
from cordstasks.utils.command_line import Parser, loading, named_path, run_command
from cordstasks.utils.files import read_json
from cordstasks.utils.folders import family_of, finished, recorded_device, unfinished_folder
from cordstasks.utils.settings import add_flags, as_text, assignments, given_by_flags

BANK_LIMIT = 10.0  # GB


def _device(visual: bool) -> str:
    """The device of a run unless one is given: the networks of abstract tasks are small."""
    return "auto" if visual else "cpu"


def parser(
    family: type[VisualSettings] | type[AbstractSettings] = VisualSettings, task: str | None = None
) -> argparse.ArgumentParser:
    """The command's arguments.

    Parameters
    ----------
    family : type
        Whose flags there are.
    task : str, optional
        The task whose defaults ``--help`` shows.
    """
    visual = family is VisualSettings
    made = Parser(
        prog="python -m cordstasks.train",
        description="Train a recurrent network on what a frozen, pretrained CordsNet sees of a task's movies, test it on "
        "held-out trials, and write weights, numbers and figures into a run folder. Ctrl-C stops cleanly; --resume goes on."
        if visual
        else "Train recurrent networks on an abstract task, all seeds in one pass, test each on fresh trials, and write "
        "weights, numbers and figures into a run folder. Ctrl-C stops cleanly; --resume goes on.",
    )
    made.add_argument(
        "--task",
        help="the task: rdm (random-dot motion), numerosity, catdog, saccade, an abstract task, or a file my_task.py that "
        "registers one; abstract tasks, such as dms, have options of their own: --task dms --help",
    )
    made.add_argument("--out", type=named_path, help="the run's folder (default: the next runs/TASK-NNN)")
    made.add_argument("--resume", action="store_true", help="continue the run in --out (default: the last unfinished)")
    made.add_argument("--quick", action="store_true", help="a small run, to see the whole way")
    made.add_argument(
        "--report", action="store_true", help="also write report.html; with --resume, of a run that was finished before, too"
    )
    made.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"a task parameter, such as {'motion=1000' if visual else 'delay=500'} (repeatable)",
    )
    made.add_argument("--device", help=f"auto, cpu, cuda or mps (default {_device(visual)})")
    if visual:
        made.add_argument("--stimuli-dir", type=named_path, metavar="DIR", help="pictures of your own, for --task catdog")
        made.add_argument("--weights", type=named_path, help="file of the front-end's weights, on a machine without network")
        made.add_argument(
            "--monkey", type=named_path, metavar="FILE", help="for --task rdm: CSV table of animals' choices, drawn beside"
        )
        made.add_argument("--bank", type=named_path, help="folder of the feature bank (default: in the user's cache)")
        made.add_argument("--no-bank", action="store_true", help="keep no features on disk")
        made.add_argument(
            "--seeds",
            help="several runs, one per seed: 0:5 for 0 to 4, or 0,2,5, in folders of --out; with --trials-seed they share "
            "their movies; the same command continues",
        )
        made.add_argument("--bank-limit", type=float, metavar="GB", help=f"the bank's largest size (default {BANK_LIMIT:g})")
    defaults = None
    if task is not None:
        with contextlib.suppress(InputError):  # a task that cannot be is refused when the flags are known
            defaults = family.new(task)
    add_flags(made, family, defaults=defaults)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    task, out, resume = _look(arguments)
    if resume and task is None and out is None and not {"-h", "--help"} & set(arguments):
        with naming({"resume=True": "--resume", "out=": "--out "}):
            out = unfinished_folder()
    family = _family(task, out, resume=resume)
    options = parser(family, task).parse_args(arguments)
    if options.task is None and not options.resume:
        raise InputError("--task is missing; name one, such as --task rdm")
    visual = family is VisualSettings
    _check_effects(options, out if options.out is None else options.out, visual=visual)
    given = given_by_flags(options, family)
    given.pop("task", None)
    parameters = assignments(options.set, "motion=1000")
    if getattr(options, "stimuli_dir", None) is not None:
        if "stimuli_dir" in parameters:
            raise InputError(f"--stimuli-dir {options.stimuli_dir}: is also given with --set; leave one of them out")
        parameters["stimuli_dir"] = str(options.stimuli_dir)
    if parameters:
        given["parameters"] = parameters
    # of a resumed run the task parameters that are not on the command line have proved right before
    names = {"path=": "--out ", "parameters=": "--set ", **{f"{name}=": f"--set {name}=" for name in parameters}}
    if not options.resume:  # mistakes need not wait for torch
        NetworkSettings.check_used(given)
        with naming(names):
            family.new(options.task, quick=options.quick, **given)
    with loading():
        from cordstasks.runs.training import carry_out  # late: these load torch
        from cordstasks.runs.visual import Execution

    visual = family is VisualSettings
    several = options.seeds if visual else None
    execution = Execution(
        options.device or _device(visual),
        options.weights if visual else None,
        (False if options.no_bank else options.bank) if visual else None,
        options.bank_limit if visual and options.bank_limit is not None else BANK_LIMIT,
    )
    with naming(names):
        if several is not None:
            with loading():
                from cordstasks.runs.seeds import train_seeds

            if options.resume or options.monkey is not None:
                unfit = "--resume" if options.resume else f"--monkey {options.monkey}"
                raise InputError(f"{unfit}: does not go with --seeds; leave it out (the same command with --out continues)")
            train_seeds(
                options.task,
                seeds_of_text(several),
                out=options.out,
                quick=options.quick,
                execution=execution,
                report=options.report,
                verbose=True,
                **given,
            )
            return 0
        carry_out(
            options.task,
            given,
            execution,
            out=out if options.out is None else options.out,
            resume=options.resume,
            quick=options.quick,
            monkey=options.monkey if visual else None,
            report=options.report,
            verbose=True,
        )
    return 0


def _check_effects(options: argparse.Namespace, out: Path | None, *, visual: bool) -> None:
    """Refuse flags that would have no effect; settings are checked where they are made, or against those of the run."""
    if visual and options.no_bank:
        for name in ("bank", "bank_limit"):
            if getattr(options, name) is not None:
                raise InputError(
                    f"{name}={as_text(getattr(options, name))}: has no effect with --no-bank; leave one of them out"
                )
    if not options.resume or out is None or not finished(out):
        return
    given: dict[str, object] = {}
    if options.device is not None and options.device.split(":")[0] not in (_device(visual), recorded_device(out)):
        given["device"] = options.device
    banked = _had_bank(out) if visual else None
    if banked is False:
        given |= {"bank": options.bank, "bank_limit": options.bank_limit}
    elif banked is True:
        given["no_bank"] = options.no_bank or None
    for name, value in given.items():
        if value is not None:
            raise InputError(f"{name}={as_text(value)}: has no effect, since the run in {out} is finished; leave it out")


def _had_bank(out: Path) -> bool | None:
    """Whether a finished run kept its features on disk; None if its summary does not say."""
    with contextlib.suppress(InputError, KeyError, TypeError):
        return read_json(out / "summary.json")["bank"]["megabytes"] is not None
    return None


def _look(arguments: Sequence[str]) -> tuple[str | None, Path | None, bool]:
    """The task, folder and --resume of a command line whose other flags are not known yet."""
    look = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    look.add_argument("--task")
    look.add_argument("--out", type=Path)
    look.add_argument("--resume", action="store_true")
    try:
        known = look.parse_known_args(list(arguments))[0]
    except (argparse.ArgumentError, SystemExit):
        return None, None, False
    return known.task, known.out, known.resume


def _family(task: str | None, out: Path | None, *, resume: bool) -> type[VisualSettings] | type[AbstractSettings]:
    """The settings of a run, by its task or by the run that is resumed."""
    with loading():
        from cordstasks import tasks  # late, since --help needs no NumPy

    if resume and out is not None and task is None:
        return AbstractSettings if family_of(out) == AbstractSettings.FAMILY else VisualSettings
    return AbstractSettings if task is not None and tasks.is_abstract(task) else VisualSettings


if __name__ == "__main__":
    run_command(main)
