"""Trials with their features, as tensors on the device that trains."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cordstasks.frontend.features import Features
from cordstasks.tasks import TrialBatch, VisualTask
from cordstasks.training.recombination import Recombination

__all__ = ["TrialSet", "trial_set"]


@dataclass(frozen=True)
class TrialSet:
    """Trials with their features, as tensors on the device that trains.

    Attributes
    ----------
    inputs : Features
        Inputs of the recurrent network.
    targets : Tensor of shape (trial, time), int64
        The right action at each step.
    mask : Tensor of shape (trial, time)
        Weight of each step in the loss.
    answers : Tensor of shape (trial,), int64
        The correct action.
    response_mask : Tensor of shape (trial, time), bool
        Steps at which the answer is due.
    evidence : Tensor of shape (trial, time), bool
        Steps of the stimulus.
    timing : Tensor of shape (trial,), int64
        The number of its timing: trials with the same periods have the same number.
    options : tuple of int
        The actions that compete when a choice is read.
    auxiliary : dict of str to Tensor of shape (trial, time), int64
        By name: the class to report; -1 where there is none.
    recombination : Recombination or None
        How trials are recombined; None for trials that cannot be.
    soft_targets : dict of str to Tensor of shape (class, class)
        By name: target probabilities that replace the classes of an auxiliary target.
    """

    inputs: Features
    targets: Tensor
    mask: Tensor
    answers: Tensor
    response_mask: Tensor
    evidence: Tensor
    timing: Tensor
    options: tuple[int, ...]
    auxiliary: dict[str, Tensor] = field(default_factory=dict)
    recombination: Recombination | None = None
    soft_targets: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.inputs)


def trial_set(inputs: Features, batch: TrialBatch, device: torch.device, task: VisualTask) -> TrialSet:
    """Trials of a task, with their inputs."""
    time_ms = torch.arange(inputs.steps, dtype=torch.float32) * batch.dt
    onset, end = torch.from_numpy(batch.periods[task.stimulus]).T[..., None]
    response_mask = torch.from_numpy(batch.response_mask)
    # features are averages over a step, so the step that begins at onset is the first with evidence
    evidence = (time_ms >= onset) & (time_ms < end)
    return TrialSet(
        inputs=inputs.to(device),
        targets=torch.from_numpy(batch.targets).to(device),
        mask=torch.from_numpy(batch.mask).to(device),
        answers=torch.from_numpy(batch.answers).to(device),
        response_mask=response_mask.to(device),
        evidence=evidence.to(device),
        timing=torch.from_numpy(_timings(batch)).to(device),
        options=batch.options,
        auxiliary={name: torch.from_numpy(values).to(device) for name, values in batch.auxiliary.items()},
        recombination=None if task.compared is None else Recombination.of(batch, task.compared, device),
        soft_targets={name: torch.from_numpy(table).float().to(device) for name, table in task.soft_targets.items()},
    )


def _timings(batch: TrialBatch) -> NDArray[np.int64]:
    """The number of each trial's timing (trial,)."""
    rows = np.column_stack([np.nan_to_num(batch.periods[name], nan=-1) for name in batch.periods])
    return np.unique(rows, axis=0, return_inverse=True)[1].astype(np.int64).ravel()
