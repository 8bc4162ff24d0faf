"""``python -m cordstasks.tasks``: list the tasks, or draw trials of one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from cordstasks.errors import naming
from cordstasks.utils.command_line import Parser, loading, named_path, run_command


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = Parser(prog="python -m cordstasks.tasks", description="List the tasks, or draw trials of one.")
    actions = made.add_subparsers(dest="action", metavar="ACTION")
    listing = actions.add_parser(
        "list", help="every task, with timing and conditions (the default), or one, with its parameters as well"
    )
    listing.add_argument("task", nargs="?", help="a task's name, or the file of your own")
    preview = actions.add_parser(
        "preview",
        help="draw trials: a contact sheet (PNG) and an animation (GIF), or inputs and targets of an abstract task",
    )
    preview.add_argument("task", help="a task's name, or the file of your own")
    preview.add_argument("--out", type=named_path, required=True, metavar="DIR", help="where to write them")
    preview.add_argument("--trials", type=int, default=6, help="how many trials (default 6)")
    preview.add_argument("--seed", type=int, default=0, help="which trials (default 0)")
    preview.add_argument(
        "--training", action="store_true", help="the task as it is trained on; of an abstract task, as it is first"
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
    with loading():
        from cordstasks import tasks  # late: it loads NumPy, which --help need not wait for

    if options.action == "preview":
        with loading():
            from cordstasks.tasks.preview import write_preview

        task = tasks.get(options.task)
        if options.training:
            task = task.curriculum()[0] if isinstance(task, tasks.AbstractTask) else task.for_training()
        with naming({"folder=": "out="}):
            paths = write_preview(task, options.out, trials=options.trials, seed=options.seed)
        print(*paths, sep="\n")
        return 0
    with loading():
        from cordstasks.tasks.listing import described

    one = getattr(options, "task", None)
    if one is not None:
        print(described(tasks.get(one), parameters=True))
    else:
        print("\n\n".join(described(tasks.get(name)) for name in (*tasks.names(), *tasks.abstract_names())))
    return 0


if __name__ == "__main__":
    run_command(main)
