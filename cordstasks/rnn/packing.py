"""Trials of different lengths in one batch, without the steps after a trial's end.

The trials are sorted, the longest first, so that those which still run at a step are the first ones. The rows of packed
trials are the trials that run at the first step, then those that run at the second, and so on. They can be multiplied like
any matrix, and nothing is computed for a trial that has ended.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Packing"]


@dataclass(frozen=True)
class Packing:
    """Which step of which trial each row of packed trials is; `up_to_last` makes it.

    Attributes
    ----------
    trial, step : Tensor of shape (row,), int64
        The trial and the time step of each row.
    counts : tuple of int, one per time step of the longest trial
        Trials that run at this step. It never increases.
    order : Tensor of shape (trial,), int64
        The trials, the longest first.
    steps : int
        Time steps of the unpacked arrays.
    """

    trial: Tensor
    step: Tensor
    counts: tuple[int, ...]
    order: Tensor
    steps: int

    @classmethod
    def up_to_last(cls, needed: Tensor) -> Packing:
        """The packing of trials up to the last step of each at which it is needed.

        Parameters
        ----------
        needed : Tensor of shape (trial, time), bool
            Steps that are needed, and with them those before; a trial without any has no rows.

        Returns
        -------
        Packing
            On the same device.
        """
        time = torch.arange(needed.shape[1], device=needed.device)
        lengths = torch.where(needed, time + 1, 0).amax(1)
        order = lengths.argsort(descending=True, stable=True)
        running = lengths[order] > time[:, None]
        step, place = running.nonzero().unbind(1)
        counts = tuple(count for count in running.sum(1).tolist() if count)
        return cls(order[place], step, counts, order, needed.shape[1])

    @property
    def trials(self) -> int:
        """Trials of the batch."""
        return len(self.order)

    @property
    def whole(self) -> bool:
        """Whether all trials last to the last step; rows are then those of an array (time, trial)."""
        return len(self.trial) == self.steps * self.trials

    def pack(self, values: Tensor) -> Tensor:
        """Rows (row, ...) of an array (trial, time, ...).

        Returns
        -------
        Tensor of shape (row, ...)
            A copy.
        """
        if self.whole:
            return values.transpose(0, 1).flatten(0, 1)
        return values.flatten(0, 1)[self.trial * self.steps + self.step]

    def pack_by_time(self, values: Tensor) -> Tensor:
        """Rows (row, ...) of an array that is laid out as (time and trial, ...).

        Returns
        -------
        Tensor of shape (row, ...)
            A copy, or the array itself if all trials last to the last step.
        """
        return values if self.whole else values[self.step * self.trials + self.trial]

    def unpack(self, rows: Tensor) -> Tensor:
        """An array (trial, time, ...) of rows (row, ...), which is zero after the end of a trial.

        Returns
        -------
        Tensor of shape (trial, time, ...)
            A copy.
        """
        values = rows.new_zeros(self.trials * self.steps, *rows.shape[1:])
        values[self.trial * self.steps + self.step] = rows
        return values.unflatten(0, (self.trials, self.steps))
