"""Features of trials over time, equal ones stored once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cordstasks.frontend.bank import Shard
from cordstasks.frontend.histories import Cost

__all__ = ["Features", "joined", "read_areas"]


@dataclass(frozen=True)
class Features:
    """Features of trials over time; equal feature vectors are stored once.

    Attributes
    ----------
    rows : Tensor of shape (row, unit), float16
        Distinct feature vectors.
    index : Tensor of shape (trial, time), int64
        A row for each step; -1 beyond a trial's end, where features are zero.
    cost : Cost
        What the simulation cost.
    blocks : tuple of int
        Units of each area that was read, in the order of their features; empty for features that are no areas'.
    """

    rows: Tensor
    index: Tensor
    cost: Cost
    blocks: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.index)

    @property
    def units(self) -> int:
        """Features per time step."""
        return self.rows.shape[1]

    @property
    def steps(self) -> int:
        """Time steps of the longest trial."""
        return self.index.shape[1]

    def take(self, trials: Tensor | slice) -> Tensor:
        """Features (trial, time, unit) of some trials, in float32.

        `trials` are indices (trial,), a slice, or indices (trial, time) that name a trial for each of the first time steps.

        Returns
        -------
        Tensor of shape (trial, time, unit)
            In the order of `trials`.
        """
        if isinstance(trials, Tensor) and trials.ndim == 2:
            index = self.index[trials, torch.arange(trials.shape[1], device=self.index.device)]
        else:
            index = self.index[trials]
        chosen, beyond = self.rows[index.clamp_min(0)].float(), index < 0
        if bool(beyond.any()):
            chosen[beyond] = 0
        return chosen

    def to(self, device: torch.device) -> Features:
        """The same on another device.

        Returns
        -------
        Features
            With its tensors there.
        """
        return replace(self, rows=self.rows.to(device), index=self.index.to(device))

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (unit,) over all steps of all trials, in float32.

        Returns
        -------
        Tensor of shape (unit,)
            Means.
        Tensor of shape (unit,)
            Standard deviations.
        """
        count = torch.bincount(self.index[self.index >= 0].flatten(), minlength=len(self.rows)).double()
        weight = count / count.sum()
        mean = torch.zeros(self.units, dtype=torch.float64, device=self.rows.device)
        square = torch.zeros_like(mean)
        for start in range(0, len(self.rows), 8192):
            part, fraction = self.rows[start : start + 8192].double(), weight[start : start + 8192]
            mean += fraction @ part
            square += fraction @ part.square()
        return mean.float(), (square - mean.square()).clamp_min(0).sqrt().float()


def joined(shards: list[Shard], cost: Cost, blocks: tuple[int, ...]) -> Features:
    """Features of all shards, in order; `blocks` are the units of each area that was read.

    Returns
    -------
    Features
        With the cost of all.
    """
    steps = max(shard.index.shape[1] for shard in shards)
    rows, indices, first = [], [], 0
    for shard in shards:
        index = np.full((len(shard.index), steps), -1, np.int64)
        index[:, : shard.index.shape[1]] = np.where(shard.index >= 0, shard.index + first, -1)
        rows.append(shard.rows)
        indices.append(index)
        first += len(shard.rows)
    return Features(torch.from_numpy(np.concatenate(rows)), torch.from_numpy(np.concatenate(indices)), cost, blocks)


def read_areas(activity: Sequence[Tensor], sides: Sequence[int]) -> Tensor:
    """Features of the activity of areas, each averaged to at most `side` x `side` locations.

    Parameters
    ----------
    activity : sequence of Tensor of shape (image, channel, height, width)
        One per area.
    sides : sequence of int
        The side of each one's map of features.

    Returns
    -------
    Tensor of shape (image, unit)
        Areas one after the other, each flattened.
    """
    blocks = [
        (maps if side == maps.shape[-1] else F.adaptive_avg_pool2d(maps, side)).flatten(1)
        for maps, side in zip(activity, sides, strict=True)
    ]
    return torch.cat(blocks, 1)
