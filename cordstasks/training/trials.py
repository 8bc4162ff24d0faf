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
    inputs : of the recurrent network.
    targets : int64 (trial, time).
    mask : (trial, time), weight of each step.
    answers : int64 (trial,), the correct action.
    response_mask : bool (trial, time), steps at which the answer is due.
    evidence : bool (trial, time), steps of the stimulus.
    timing : int64 (trial,), the number of its timing: trials with the same periods have the same number.
    options : the actions that compete when a choice is read.
    auxiliary : {name: int64 (trial, time)}, the class to report; -1 where there is none.
    recombination : None for trials that cannot be recombined.
    soft_targets : {name: (class, class)}, target probabilities that replace the classes of an auxiliary target.
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
