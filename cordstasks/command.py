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


def named_path(text: str) -> Path:
    """A path that a flag names, for `argparse`; "" would silently be the working directory."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; name a file or folder, or leave the flag out")
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
