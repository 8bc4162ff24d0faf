"""What batches of visual and of abstract trials share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError, unknown
from cordstasks.tasks.timing import steps_before

FIXATE = 0
"""The action, and the target, of every task before it is time to answer."""

_Batch = TypeVar("_Batch", bound="Batch")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Trials of a task on a common grid of time steps; shorter trials are padded at their end.

    Attributes
    ----------
    dt : float
        Duration of a time step in ms.
    targets : array (trial, time, ...)
        What is right at each step.
    mask : float32 (trial, time)
        Weight of each step in a loss; zero beyond a trial's end.
    response_mask : bool (trial, time)
        The steps at which the answer is read.
    answers : int64 (trial,)
        The right action of each trial, an index into the task's `actions`.
    conditions : dict of str to array (trial,)
        One row per trial.
    periods : dict of str to float64 (trial, 2)
        Start and end of each period in ms; NaN in trials that lack the period. `steps` converts them.
    """

    _in_time: ClassVar[tuple[str, ...]] = ("targets", "mask", "response_mask")  # fields of (trial, time, ...)

    dt: float
    targets: NDArray[Any]
    mask: NDArray[np.float32]
    response_mask: NDArray[np.bool_]
    answers: NDArray[np.int64]
    conditions: dict[str, NDArray[Any]]
    periods: dict[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Time steps of each trial (trial,), without those that only pad it."""
        ends = np.stack([steps_before(period[:, 1], self.dt) for period in self.periods.values()])
        longest: NDArray[np.int64] = ends.max(0)
        return longest

    def steps(self, period: str) -> NDArray[np.int64]:
        """A period on the grid of time steps.

        Parameters
        ----------
        period : str
            One of `periods`.

        Returns
        -------
        int64 (trial, 2)
            First step, and the step after the last; both 0 in trials that lack the period.

        Raises
        ------
        InputError
            If there is no such period.
        """
        if period not in self.periods:
            raise unknown("period", period, self.periods)
        return steps_before(self.periods[period], self.dt)

    def select(self: _Batch, rows: slice | Sequence[int] | NDArray[Any], *, trim: bool = True) -> _Batch:
        """Some of the trials.

        Parameters
        ----------
        rows : slice, sequence of int or ndarray of shape (trial,)
            The trials to keep: a slice, indices or booleans.
        trim : bool
            Whether to drop the steps that only pad the selected trials to the length of others.

        Returns
        -------
        Batch
            Of the same class.

        Raises
        ------
        InputError
            If `rows` selects no trial.
        """
        kept = np.arange(len(self))[rows]
        if not kept.size:
            raise InputError(f"rows={rows!r}: selects none of {len(self)} trials; select at least one")
        steps = int(self.lengths[kept].max()) if trim else self.mask.shape[1]
        return type(self)(**{field.name: self._part(field.name, kept, steps) for field in fields(self)})

    def _part(self, name: str, rows: NDArray[np.intp], steps: int) -> Any:
        """The field `name` of the selected trials."""
        value = getattr(self, name)
        if name in self._in_time:
            return value[rows, :steps]
        if isinstance(value, dict):
            return {key: array[rows] for key, array in value.items()}
        return value[rows] if isinstance(value, np.ndarray) else value
