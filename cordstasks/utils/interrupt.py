"""Ctrl-C: work stops between steps, never within one, and the command says how to go on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Interrupted", "stop_between_steps"]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in work that can be continued.

    Parameters
    ----------
    again : str
        The command that continues it.
    """

    def __init__(self, again: str) -> None:
        super().__init__(again)
        self.again = again


@contextmanager
def stop_between_steps() -> Iterator[list[int]]:
    """While open, the first Ctrl-C fills the list instead of interrupting, so that a step is never cut in two.

    The second does not wait. In a thread other than the main one, where signals do not arrive, nothing changes.

    Yields
    ------
    list of int
        Empty until Ctrl-C.
    """
    asked: list[int] = []

    def note(number: int, _: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # not in the main thread
        yield asked
        return
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
