"""How commands end: a user's error gives one line and exit status 2; Ctrl-C gives a clean stop."""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NoReturn

from cordstasks.errors import FULL, InputError, Note, naming, reworded
from cordstasks.utils.interrupt import INTERRUPTED, STOPPED, Interrupted, stop_at_once, stop_by_exception

# the running command's names of the parameters in the library's errors, see `cordstasks.errors.reworded`
_FLAGS: ContextVar[dict[str, str] | None] = ContextVar("flags", default=None)

# how torch says it, in a RuntimeError
_NO_MEMORY = re.compile("can't allocate memory|out of memory|not enough memory", re.IGNORECASE)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are InputErrors, so that they are also printed as one line.

    Within `run_command` it also records its flags. Errors of the library, which name parameters, are then printed with the
    flags that set these parameters. Flags cannot be shortened, since `--seed` of one command is not `--seeds` of another.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, **options})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse as `argparse` does."""
        flags = _FLAGS.get()
        if flags is not None:
            flags.update(self._flags())
        return super().parse_known_args(args, namespace)

    def _flags(self) -> dict[str, str]:
        """The names of parameters in printed errors, see `cordstasks.errors.reworded`."""
        flags: dict[str, str] = {}
        for action in self._actions:
            flag = max(action.option_strings, key=len, default="")
            if isinstance(action, argparse.BooleanOptionalAction):
                flags |= {f"{action.dest}=True": action.option_strings[0], f"{action.dest}=False": flag}
            elif flag and action.nargs == 0:
                flags[f"{action.dest}=True"] = flag
                if action.dest.startswith("no_"):
                    flags[f"{action.dest.removeprefix('no_')}=False"] = flag
            elif flag:
                flags[f"{action.dest}="] = f"{flag} "
        return flags

    def error(self, message: str) -> NoReturn:
        """Raise an InputError instead of printing the usage and exiting."""
        raise InputError(f"{message[0].lower()}{message[1:]}; see --help")


def command_of(parser: argparse.ArgumentParser, options: argparse.Namespace) -> str:
    """The command line that gives a command these options, without those that have their defaults.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        The command's.
    options : argparse.Namespace
        As it has parsed them.
    """
    words = parser.prog.split()
    for action in parser._actions:
        value = getattr(options, action.dest, action.default)
        if not action.option_strings or action.dest == "help" or value == action.default:
            continue
        flag = max(action.option_strings, key=len)
        if action.nargs == 0:
            words.append(flag)
        else:
            words += [flag, *map(str, value if isinstance(value, list | tuple) else [value])]
    return shlex.join(words)


def named_path(text: str) -> Path:
    """The path given with a flag, for `argparse`; "" would silently be the working directory."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; name a file or folder, or leave the flag out")
    return Path(text)


def at_least_one(text: str) -> int:
    """A flag's count: of timings, for instance."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number of at least 1")
    return value


def run_command(main: Callable[[], int]) -> NoReturn:
    """Run `main` and exit with its status, 2 after an InputError and 130 after Ctrl-C.

    Errors name the command's flags, and each `cordstasks.errors.Note` is one line.
    """
    flags: dict[str, str] = {}
    known = _FLAGS.set(flags)
    try:
        stop_by_exception()  # since the package was loaded, Ctrl-C ended the command, see `cordstasks`
        with warnings.catch_warnings(), naming(flags):
            warnings.showwarning = _short(warnings.showwarning)
            status = main()
            sys.stdout.flush()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
    except BrokenPipeError:  # the reader of our output has ended, as in `... | head`
        sys.stderr.close()
        status = 1
    except OSError as error:
        if error.filename is not None or error.errno not in FULL:  # then the error is not from printing
            raise
        sys.stdout = None  # otherwise Python tries to write again at exit
        print(f"error: standard output cannot be written ({error.strerror})", file=sys.stderr)
        status = 1
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or _NO_MEMORY.search(str(error))):
            raise
        print(f"error: not enough memory ({' '.join(str(error).split())[:200]}); choose smaller sizes", file=sys.stderr)
        status = 2
    except Interrupted as stop:
        print(f"{STOPPED}; this continues: {stop.again}", file=sys.stderr)
        status = INTERRUPTED
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        status = INTERRUPTED
    finally:
        _FLAGS.reset(known)
    sys.exit(status)


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """While open, Ctrl-C ends a running command at once with one line; for modules that load for a second or more.

    Some modules turn a KeyboardInterrupt while they are loaded into another error. Outside `run_command` nothing changes.
    """
    if _FLAGS.get() is None:
        yield
        return
    stop_at_once()
    try:
        yield
    finally:
        stop_by_exception()


def _short(usual: Callable[..., None]) -> Callable[..., None]:
    """A `warnings.showwarning` that prints notes without their location in the code."""

    def show(message: Warning | str, category: type[Warning], *more: Any, **named: Any) -> None:
        if issubclass(category, Note):
            print(f"note: {reworded(str(message), _FLAGS.get() or {})}", file=sys.stderr)
        else:
            usual(message, category, *more, **named)

    return show
