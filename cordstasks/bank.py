"""``python -m cordstasks.bank``: list, or clear, the features that front-ends have computed."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from cordstasks.errors import InputError
from cordstasks.frontend.bank import Bank
from cordstasks.utils.command_line import Parser, named_path, run_command


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = Parser(
        prog="python -m cordstasks.bank", description="List, or clear, the features that front-ends have computed."
    )
    made.add_argument("action", nargs="?", choices=("list", "clear"), default="list")
    made.add_argument("--bank", type=named_path, metavar="DIR", help="the bank's folder (default: in the user's cache)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
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
    if known:
        requested, simulated = (sum(cost[name] for cost in known) for name in ("requested", "simulated"))
        print(
            f"steps of 2 ms: {requested:.0f} requested, {simulated:.0f} simulated ({simulated / max(requested, 1):.0%}); "
            f"settled states are copied, with an error of at most {max(cost['bound'] for cost in known):.1e} of the activity"
        )
    return 0


def _cost(cost: dict[str, float] | None) -> str:
    if cost is None:
        return "damaged"
    return f"{cost['requested']:11.0f}  {cost['simulated']:11.0f}  {cost['bound']:15.1e}"


if __name__ == "__main__":
    run_command(main)
