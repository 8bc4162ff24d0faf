"""``python -m cordstasks.tasks``: list the tasks, or draw trials of one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from cordstasks.command import Parser, named_path, run_command

_SHOWN = 8  # values of a condition that are listed


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = Parser(prog="python -m cordstasks.tasks", description="List the tasks, or draw trials of one.")
    actions = made.add_subparsers(dest="action", metavar="ACTION")
    listing = actions.add_parser("list", help="every task, or one, with timing and conditions (the default)")
    listing.add_argument("task", nargs="?", help="a task's name, or the file of your own")
    preview = actions.add_parser("preview", help="write a contact sheet (PNG) and an animation (GIF) of trials")
    preview.add_argument("task", help="a task's name, or the file of your own")
    preview.add_argument("--out", type=named_path, required=True, metavar="DIR", help="where to write them")
    preview.add_argument("--trials", type=int, default=6, help="how many trials (default 6)")
    preview.add_argument("--seed", type=int, default=0, help="which trials (default 0)")
    preview.add_argument("--training", action="store_true", help="the task as it is trained on")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
    from cordstasks.tasks import get, names  # late: they load NumPy, which --help need not wait for

    if options.action == "preview":
        from cordstasks.tasks.preview import write_preview

        task = get(options.task)
        task = task.for_training() if options.training else task
        for path in write_preview(task, options.out, trials=options.trials, seed=options.seed):
            print(path)
        return 0
    one = getattr(options, "task", None)
    print("\n\n".join(_described(name) for name in ([one] if one else names())))
    return 0


def _described(name: str) -> str:
    from cordstasks.tasks import get

    task = get(name)
    summary = (type(task).__doc__ or "").strip().partition("\n")[0]
    timing = ", ".join(f"{period} {_duration(duration)}" for period, duration in task.timing.items())
    rows = [("timing", f"{timing} (ms)"), ("actions", ", ".join(task.actions))]
    design, training = task.design(), task.for_training().design()
    for condition in design[0]:
        text = _values([row[condition] for row in design])
        trained = _values([row[condition] for row in training])
        rows.append((condition, text if trained == text else f"{text}; trained on {trained}"))
    rows.append(("block", f"{len(design)} trials"))
    return "\n".join([f"{task.id}: {summary}", *(f"  {label:<10} {text}" for label, text in rows)])


def _duration(duration: float | tuple[float, float]) -> str:
    return f"{duration[0]:g}-{duration[1]:g}" if isinstance(duration, tuple) else f"{duration:g}"


def _values(values: Sequence[float | str]) -> str:
    """Different values in their order, all of them or, if they are many, some."""
    texts = list(dict.fromkeys(value if isinstance(value, str) else f"{value:g}" for value in values))
    if len(texts) <= _SHOWN:
        return ", ".join(texts)
    if isinstance(values[0], str):
        return f"{', '.join(texts[:3])} and {len(texts) - 3} more"
    return f"{texts[0]}, {texts[1]}, ..., {texts[-1]} ({len(texts)} values)"


if __name__ == "__main__":
    run_command(main)
