"""Errors that a user can fix: errors that a command prints as one line, without a traceback."""

from __future__ import annotations

import contextlib
import difflib
import errno
import re
from collections.abc import Iterable, Iterator, Mapping

# errors of the system for a location that may be written but is full or broken
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class InputError(ValueError):
    """An argument, file or folder that cannot be used; the message names it, its value and the fix."""


class WriteError(InputError):
    """A file that cannot be written because of missing space or permission; the message names it.

    Parameters
    ----------
    message : str
        What cannot be written, why, and what helps.
    number : int or None
        The operating system's number of the error, see the module `errno` of the standard library; kept as `errno`.
    """

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)
        self.errno = number


class Note(UserWarning):
    """A warning: what a user should know while the work continues; the message names the argument or file."""


def reworded(message: str, names: Mapping[str, str]) -> str:
    """Replace the names of the arguments in a message.

    Parameters
    ----------
    message : str
        Such as ``"path=runs/a: holds another run; continue it with resume=True"``.
    names : mapping of str to str
        What stands for what, such as ``{"path=": "--out ", "resume=True": "--resume"}``. A name counts at the message's
        beginning and after a space or a bracket; a name after ``--set`` is a task's parameter and is not changed.

    Returns
    -------
    str
        Such as ``"--out runs/a: holds another run; continue it with --resume"``.
    """
    if not names:
        return message
    longest_first = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<![^ (])(?<!--set )(?:{longest_first})", lambda found: names[found[0]], message)


@contextlib.contextmanager
def naming(names: Mapping[str, str]) -> Iterator[None]:
    """Give the arguments in an InputError from this block the names that the caller uses, see `reworded`.

    Raises
    ------
    InputError
        The one from inside, reworded.
    """
    try:
        yield
    except InputError as error:
        error.args = (reworded(str(error), names), *error.args[1:])
        raise


def unknown(kind: str, name: object, known: Iterable[str]) -> InputError:
    """The error for a name that is not in `known`, with the nearest known name."""
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.4)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    return InputError(f"{kind} {name!r} is unknown{guess} (known: {', '.join(names)})")
