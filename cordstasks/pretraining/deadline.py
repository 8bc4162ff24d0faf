"""A limit on the time that a pre-training may take, for machines that are lent for so long."""

from __future__ import annotations

import time


class OutOfTime(Exception):
    """The time is up; what had been done is saved."""


class Deadline:
    """The moment at which a command must have stopped.

    Parameters
    ----------
    seconds : float or None
        From now on; None for no limit.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.end = None if seconds is None else time.monotonic() + seconds

    def passed(self) -> bool:
        """Whether the time is up."""
        return self.end is not None and time.monotonic() > self.end
