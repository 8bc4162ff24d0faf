"""``python -m cordstasks``: list the commands, and print what a bug report needs to say of this installation."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from cordstasks import __version__
from cordstasks.about import about, commands
from cordstasks.errors import InputError, unknown
from cordstasks.utils.command_line import Parser, run_command

WIDTH = 22


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = Parser(
        prog="python -m cordstasks",
        description="List the commands, and print versions, weights, cache and devices. Paste the output into a bug report.",
    )
    made.add_argument("--version", action="version", version=f"cordstasks {__version__}", help="print the version and end")
    made.add_argument("--json", action="store_true", help="print the same as JSON")
    made.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
    listed = commands()
    if options.command is not None:
        module = f"cordstasks.{options.command}"
        if module not in listed:
            raise unknown("command", options.command, [name.removeprefix("cordstasks.") for name in listed])
        raise InputError(f"{options.command}: is a command of its own; write python -m {module}")
    if options.json:
        print(json.dumps({"commands": listed, **about()}, indent=2))
        return 0
    width = max(map(len, listed)) + 2
    print(f"cordstasks {__version__}: multi-area models of the brain that see real images\n\ncommands (each has --help)")
    for module, purpose in listed.items():
        print(f"  python -m {module:<{width}}{purpose}")
    print(_text(about()), flush=True)
    return 0


def _text(found: Mapping[str, Any]) -> str:
    """The installation in lines for people."""
    lines = ["", "this installation"]
    lines += [_line(name, found[name]) for name in ("cordstasks", "location", "python", "platform")]
    lines += [_line("device", text) for text in _device_lines(found["devices"], found["processors"])]
    lines += [_line(name, value) for name, value in found["variables"].items()]
    cache = found["cache"]
    held = "{folder} ({files} files, {megabytes:.1f} MB)"
    lines.append(_line("cache", cache["problem"] if "problem" in cache else held.format(**cache)))
    lines += ["", "weights", *(f"  {name:<{WIDTH}}{place}" for name, place in found["weights"].items())]
    there = [f"{name} {version}" for name, version in found["packages"].items() if version is not None]
    missing = [name for name, version in found["packages"].items() if version is None]
    lines += ["", "packages", *_wrapped(there)]
    if missing:
        lines += ["", "not installed (pip install -e '.[EXTRA]' adds what an extra needs)", *_wrapped(missing)]
    return "\n".join(lines)


def _line(name: str, value: object) -> str:
    return f"  {name:<{WIDTH}}{value}"


def _device_lines(found: Mapping[str, Any], processors: int | None) -> list[str]:
    if "problem" in found:
        return [found["problem"]]
    lines = [f"cpu, {processors} processors, {found['threads']} threads"]
    lines += [f"cuda:{number}, {name}" for number, name in enumerate(found["cuda"])]
    return [*lines, "mps"] if found["mps"] else lines


def _wrapped(words: Sequence[str], limit: int = 100) -> list[str]:
    lines = [""]
    for word in words:
        longer = f"{lines[-1]}, {word}" if lines[-1] else f"  {word}"
        if len(longer) > limit:
            lines[-1] += ","
            lines.append(f"  {word}")
        else:
            lines[-1] = longer
    return lines


if __name__ == "__main__":
    run_command(main)
