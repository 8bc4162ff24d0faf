"""How commands end: a user's mistake is one line and exit status 2; Ctrl-C is a clean stop."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from cordstasks.errors import InputError


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are InputErrors, so that they too end as one line."""

    def error(self, message: str) -> NoReturn:
        """Raise an InputError instead of printing the usage and exiting."""
        raise InputError(f"{message[0].lower()}{message[1:]}; see --help")


def folder(text: str) -> Path:
    """The type of an option that names a folder to write in; no name would be the working directory."""
    if not text.strip():
        raise argparse.ArgumentTypeError("give the name of a folder, which may be new")
    return Path(text)


def run_command(main: Callable[[], int]) -> NoReturn:
    """Run `main` and exit with its status, 2 after an InputError and 130 after Ctrl-C."""
    try:
        status = main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
    except BrokenPipeError:  # the reader of our output has gone, as in `... | head`
        sys.stderr.close()
        status = 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        status = 130
    sys.exit(status)
