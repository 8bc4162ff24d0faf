"""What a user can mend: errors that a command prints as one line, without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """An argument, file or folder that cannot be used; the message names it, its value and the mend."""


def unknown(kind: str, name: object, known: Iterable[str]) -> InputError:
    """The error for a name that is not in `known`, with the nearest known name."""
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.4)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    return InputError(f"{kind} {name!r} is unknown{guess} (known: {', '.join(names)})")
