"""Ctrl-C: work stops between steps, never within a step, and the command prints how to continue."""

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
    """While open, the first Ctrl-C fills the list instead of interrupting, so that no step is interrupted.

    The second Ctrl-C interrupts at once. In threads other than the main thread, which get no signals, nothing changes.

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
