"""What a model does in a batch of trials: its choices, and the activity behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cordstasks.frontend import Features
from cordstasks.model import MultiAreaModel
from cordstasks.tasks import TrialBatch
from cordstasks.training import choices, run_model

__all__ = ["Behaviour", "behave"]


@dataclass(frozen=True)
class Behaviour:
    """What a model does in a batch of trials.

    Attributes
    ----------
    logits : (trial, time, action).
    rates : (trial, time, unit).
    chosen : int64 (trial,), the action at the decision.
    correct : bool (trial,).
    times : (time,), the end of each step in ms, which is when its rates are those recorded.
    chance : accuracy of the best guess that does not look: always the most frequent answer, or any of equally many.
    """

    logits: NDArray[np.float32]
    rates: NDArray[np.float32]
    chosen: NDArray[np.int64]
    correct: NDArray[np.bool_]
    times: NDArray[np.float64]
    chance: float

    def window(self, start: float, end: float) -> slice:
        """The steps that end after `start` and by `end`, in ms."""
        inside = np.flatnonzero((self.times > start) & (self.times <= end + 1e-6))
        return slice(int(inside[0]), int(inside[-1]) + 1)


def behave(model: MultiAreaModel, inputs: Features, batch: TrialBatch) -> Behaviour:
    """Run a batch of trials, without noise, on the model's `inputs` of them."""
    logits, rates = run_model(model, inputs)
    chosen = choices(logits, torch.from_numpy(batch.answering), batch.options).numpy()
    frequent = np.bincount(batch.answers).max() / len(batch)
    return Behaviour(
        logits=logits.numpy(),
        rates=rates.numpy(),
        chosen=chosen,
        correct=chosen == batch.answers,
        times=np.arange(1, rates.shape[1] + 1, dtype=np.float64) * float(batch.dt),
        chance=max(1 / len(batch.options), float(frequent)),
    )
