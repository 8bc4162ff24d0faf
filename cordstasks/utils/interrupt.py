"""Ctrl-C: work stops between steps, never within a step, and the command prints how to continue."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

__all__ = ["INTERRUPTED", "STOPPED", "Interrupted", "stop_at_once", "stop_between_steps", "stop_by_exception"]

INTERRUPTED = 130  # exit status of a command after Ctrl-C, as shells have it
STOPPED = "\nstopped"  # what a command prints where there is nothing to continue


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


def _end(number: int, _: Any) -> None:
    """End the process. An exception would not do: modules that are being loaded may catch it."""
    os.write(2, f"{STOPPED}\n".encode())
    os._exit(INTERRUPTED)


def stop_at_once() -> None:
    """Let Ctrl-C end the process at once, with one line, until `stop_by_exception` is called.

    This is for a command that loads its modules and has begun nothing, since nothing that is open is closed. Where Ctrl-C
    is ignored or is handled otherwise, and in threads other than the main thread, nothing changes.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, _end)


def stop_by_exception() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, after `stop_at_once`."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
