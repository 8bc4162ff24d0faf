"""Simulating a batch of stretches of histories: the work itself, which depends on nothing but what it is given.

A stretch begins with the state of the areas at one step of a trial, goes through one or several periods (frames shown for
some time), and ends with the last of them, or when the state has settled. Batches are independent of each other, so they
can be simulated in any order, in any process, and their results can be kept on disk: see `cordstasks.frontend.histories`
for what they are made of, and `cordstasks.frontend.work` for who simulates them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cordstasks.cordsnet.simulator import Simulator

__all__ = ["Batch", "Ending", "Period", "Result", "Settled", "Stepper", "Stretch"]

CHECK_STEPS = 10  # how far apart the states are that tell whether a frame's response has settled
# A fast response can hide a slow one that is still small, so no response is taken to shrink by more than this factor in
# CHECK_STEPS: one with a time constant of up to 95 steps (190 ms) cannot hide.
SHRINKS_TO = 0.9
ROUNDING = 3e-6  # states that are less than this apart, relative to their norm, may differ by rounding errors alone


@dataclass(frozen=True)
class Period:
    """A frame that is shown for some time.

    Attributes
    ----------
    frame : int
        Its number in the plan.
    length : int
        Steps it is shown for.
    branches : tuple of int
        Steps into the period after which other histories begin, so that the state is needed.
    """

    frame: int
    length: int
    branches: tuple[int, ...] = ()


@dataclass(frozen=True)
class Stretch:
    """Periods that follow one another.

    Attributes
    ----------
    state : int or None
        Row of `Batch.states` with which they begin; None for the beginning of a trial, where the first frame is shown from
        the spontaneous state before the trial begins.
    start : int
        Step of the trial at which they begin.
    periods : tuple of Period
        In order.
    """

    state: int | None
    start: int
    periods: tuple[Period, ...]


@dataclass(frozen=True)
class Batch:
    """Stretches that are simulated at once. All begin with a trial, or none does.

    Attributes
    ----------
    stretches : tuple of Stretch
    images : mapping of int to ndarray of shape (height, width, channel), uint8
        The frames that they show, by number.
    states : Tensor of shape (state, unit), float32, or None
        The activity of all areas in turn, and then the sums of the bin under way of those that are read.
    """

    stretches: tuple[Stretch, ...]
    images: Mapping[int, NDArray[np.uint8]]
    states: Tensor | None


@dataclass(frozen=True)
class Settled:
    """A state that stays as it is while its frame stays.

    Attributes
    ----------
    done : int
        Steps into the period at which it was found to have settled.
    state : int
        Its row of `Result.states`.
    part : int
        Row of `Result.rows`: the features of the bin under way, if the state stays until its end.
    whole : int
        Row of `Result.rows`: the features of a bin in which the state stays throughout.
    """

    done: int
    state: int
    part: int
    whole: int


@dataclass
class Ending:
    """What became of a stretch.

    Attributes
    ----------
    rows : list of list of int
        For each period that was begun, the rows of `Result.rows` with the features of the bins that ended in it.
    branches : list of dict of int to int
        For each of them, by steps into the period, the row of `Result.states` where other histories begin.
    settled : Settled or None
        The state in which the last of them settled.
    """

    rows: list[list[int]] = field(default_factory=lambda: [[]])
    branches: list[dict[int, int]] = field(default_factory=lambda: [{}])
    settled: Settled | None = None


@dataclass(frozen=True)
class Result:
    """What came out of a batch.

    Attributes
    ----------
    endings : list of Ending
        One per stretch.
    rows : Tensor of shape (row, feature), float16
        Features, on the CPU.
    states : Tensor of shape (state, unit), float32
        As `Batch.states`.
    sizes : tuple of int
        Units of each area, in the order in which a state holds them.
    simulated : int
        Steps that were simulated.
    warmup : int
        How many of these were before a trial began.
    bound : float
        Largest estimated error of a settled state, relative to the norm of each area's activity.
    engine : str or None
        How steps were simulated, in words.
    """

    endings: list[Ending]
    rows: Tensor
    states: Tensor
    sizes: tuple[int, ...]
    simulated: int
    warmup: int
    bound: float
    engine: str | None


@dataclass(eq=False)
class _Running:
    """A stretch being simulated: how far it is."""

    stretch: Stretch
    ending: Ending
    number: int = 0  # of the period
    done: int = 0  # steps into it
    at: int = 0  # step of the trial
    earlier: list[Tensor] = field(default_factory=list)  # the state CHECK_STEPS ago
    moved: list[Tensor] = field(default_factory=list)  # how far it had come since the one before, relative, by area

    @property
    def period(self) -> Period:
        return self.stretch.periods[self.number]


@dataclass
class Stepper:
    """Simulates batches of stretches.

    Parameters
    ----------
    simulator : Simulator
        The frozen front-end.
    prepare : callable
        Makes the simulator's input of images (image, height, width, channel) of uint8.
    readout : callable
        Makes features (image, unit) of the activity of the simulator's areas of interest, each (image, channel, height,
        width).
    bin_steps : int
        Steps that a feature row averages over.
    warmup_steps : int
        Steps of the first frame, from the spontaneous state, before a trial begins.
    tolerance : float
        A state counts as settled when its estimated distance from the fixed point is less than this, relative to the norm of
        each area's activity; 0 simulates everything.
    """

    simulator: Simulator
    prepare: Callable[[NDArray[np.uint8]], Tensor]
    readout: Callable[[list[Tensor]], Tensor]
    bin_steps: int
    warmup_steps: int
    tolerance: float

    def __post_init__(self) -> None:
        self._rates: list[Tensor] = []
        self._totals: list[Tensor] = []

    @torch.no_grad()
    def simulate(self, batch: Batch, progress: Callable[[int], None] = lambda steps: None) -> Result:
        """Simulate a batch.

        Parameters
        ----------
        batch : Batch
        progress : callable, optional
            Called with the number of steps that have just been simulated; those before a trial are not counted.

        Returns
        -------
        Result
        """
        self._rows: list[Tensor] = []
        self._states: list[Tensor] = []
        self._bound, self._images = 0.0, batch.images
        running = [_Running(stretch, Ending(), at=stretch.start) for stretch in batch.stretches]
        endings = [each.ending for each in running]
        self._begin(batch)
        sizes = tuple(r[0].numel() for r in self._rates)
        warmup = 0 if batch.states is not None else len(running) * self.warmup_steps
        simulated = warmup
        while running:
            drives = self._drives([each.period.frame for each in running])
            for row, each in enumerate(running):
                if not each.done and self._watched(each):
                    each.earlier = self._copies(row)
            same = True
            while same:
                steps = min(self._pause(each) for each in running)
                self.simulator.step_summed(self._rates, drives, self._totals, steps)
                simulated += steps * len(running)
                progress(steps * len(running))
                for each in running:
                    each.done += steps
                    each.at += steps
                self._record(running)
                before = [each.number for each in running]
                left = [row for row, each in enumerate(running) if self._goes_on(each, row)]
                same = len(left) == len(running) and before == [each.number for each in running]
            if len(left) < len(running):
                running = [running[row] for row in left]
                self._rates, self._totals = ([_chosen(part, left) for part in all] for all in (self._rates, self._totals))
        nothing = torch.zeros((0, sum(sizes)), device=self.simulator_device)
        engine = getattr(getattr(self.simulator, "engine", None), "description", None)
        return Result(
            endings,
            torch.stack(self._rows) if self._rows else torch.zeros((0, 0), dtype=torch.float16),
            torch.stack(self._states) if self._states else nothing,
            sizes,
            simulated,
            warmup,
            self._bound,
            engine,
        )

    @property
    def simulator_device(self) -> torch.device:
        """Where states are."""
        return self._rates[0].device

    def _drives(self, frames: list[int]) -> list[Tensor]:
        return self.simulator.drives(self.prepare(np.stack([self._images[frame] for frame in frames])))

    def _begin(self, batch: Batch) -> None:
        """The states with which the stretches begin, in tensors that are the batch's own."""
        count = len(batch.stretches)
        rates = self.simulator.spontaneous(1 if batch.states is not None else count)
        if batch.states is None:
            drives = self._drives([stretch.periods[0].frame for stretch in batch.stretches])
            self.simulator.step(rates, drives, self.warmup_steps)
            self._rates = [_own(r) for r in rates]
            self._totals = [torch.zeros_like(r) for r in self._read(self._rates)]
            return
        shapes = [r.shape[1:] for r in (*rates, *self._read(rates))]
        chosen = batch.states.to(rates[0].device)[[stretch.state for stretch in batch.stretches]]
        parts = chosen.split([shape.numel() for shape in shapes], 1)
        state = [_own(part.reshape(count, *shape)) for part, shape in zip(parts, shapes, strict=True)]
        self._rates, self._totals = state[: len(rates)], state[len(rates) :]

    def _read(self, state: list[Tensor]) -> list[Tensor]:
        """The activity of the areas that are read."""
        return [state[area] for area in self.simulator.areas]

    def _copies(self, row: int) -> list[Tensor]:
        return [r[row].clone() for r in self._rates]

    def _state(self, row: int) -> int:
        """Keep the state of one stretch; returns its number."""
        self._states.append(torch.cat([part[row].flatten() for part in (*self._rates, *self._totals)]))
        return len(self._states) - 1

    def _row(self, feature: Tensor) -> int:
        self._rows.append(feature)
        return len(self._rows) - 1

    def _pause(self, each: _Running) -> int:
        """Steps until something must be done about a stretch."""
        period, done = each.period, each.done
        ahead = [period.length, *(offset for offset in period.branches if offset > done)]
        ahead.append(done + self.bin_steps - each.at % self.bin_steps)
        if self._watched(each):
            ahead.append(done + CHECK_STEPS - done % CHECK_STEPS)
        return min(ahead) - done

    def _watched(self, each: _Running) -> bool:
        return self.tolerance > 0 and each.period.length > 3 * CHECK_STEPS

    def _record(self, running: list[_Running]) -> None:
        """Keep the features of the stretches whose bin has ended, and begin its sums anew."""
        ended = [row for row, each in enumerate(running) if each.at % self.bin_steps == 0]
        if not ended:
            return
        rows = torch.tensor(ended, device=self.simulator_device)
        features = self.readout([t[rows] / self.bin_steps for t in self._totals]).half().cpu()
        for row, feature in zip(ended, features, strict=True):
            running[row].ending.rows[-1].append(self._row(feature))
        for total in self._totals:
            total[rows] = 0

    def _goes_on(self, each: _Running, row: int) -> bool:
        """Do what is due for a stretch; whether it is to be simulated further."""
        period, done = each.period, each.done
        if done in period.branches:
            each.ending.branches[-1][done] = self._state(row)
        if done == period.length:
            each.number, each.done, each.moved = each.number + 1, 0, []
            if each.number == len(each.stretch.periods):
                return False
            each.ending.rows.append([])
            each.ending.branches.append({})
        elif self._watched(each) and done % CHECK_STEPS == 0 and self._has_settled(each, row):
            size = self.bin_steps
            rates, totals = ([part[row : row + 1] for part in all] for all in (self._read(self._rates), self._totals))
            left = size - each.at % size
            part, whole = (
                self._row(self.readout(activity).half().cpu()[0])
                for activity in ([(t + left * r) / size for t, r in zip(totals, rates, strict=True)], rates)
            )
            each.ending.settled = Settled(done, self._state(row), part, whole)
            return False
        return True

    def _has_settled(self, each: _Running, row: int) -> bool:
        """Whether what is left to the fixed point is within the tolerance in every area.

        With distances d between states CHECK_STEPS apart shrinking by a factor q each time, d q / (1 - q) is left; q is
        the larger of the last two, because states may be close by chance while a response turns round. No state comes
        further in what is left of the period than d at each check. Where d is as small as rounding errors, q says nothing.
        """
        rates = self._copies(row)
        size = torch.stack([r.norm() for r in rates]).clamp_min(1e-12)
        each.moved.append(torch.stack([(r - e).norm() for r, e in zip(rates, each.earlier, strict=True)]) / size)
        each.earlier = rates
        if len(each.moved) < 3:
            return False
        first, second, third = each.moved[-3:]
        ratio = torch.maximum(second / first.clamp_min(1e-30), third / second.clamp_min(1e-30)).clamp_min(SHRINKS_TO)
        checks = (each.period.length - each.done) / CHECK_STEPS
        ahead = torch.where(ratio < 1, (ratio / (1 - ratio)).clamp_max(checks), torch.inf)
        left = float((third * torch.where(third < ROUNDING, checks, ahead)).max())
        if not left < self.tolerance:  # a diverging network's is not a number
            return False
        self._bound = max(self._bound, left)
        return True


def _own(tensor: Tensor) -> Tensor:
    """A copy that no other tensor shares, with channels last."""
    return torch.empty_like(tensor, memory_format=torch.channels_last).copy_(tensor)


def _chosen(tensor: Tensor, rows: list[int]) -> Tensor:
    return tensor[rows].contiguous(memory_format=torch.channels_last)
