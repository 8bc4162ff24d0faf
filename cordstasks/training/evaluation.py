"""A model's behaviour in a batch of trials: its choices and its activity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cordstasks.errors import InputError
from cordstasks.frontend.features import Features
from cordstasks.model import MultiAreaModel
from cordstasks.rnn.packing import Packing
from cordstasks.tasks import TrialBatch

__all__ = ["Behaviour", "behave", "behaviour_of", "choices", "run_model", "run_until"]

_ROUNDING = 1e-6  # ms, by which sums of durations and multiples of a step may differ


@dataclass(frozen=True)
class Behaviour:
    """A model's behaviour in a batch of trials.

    Attributes
    ----------
    logits : ndarray of shape (trial, time, action)
        The network's outputs.
    rates : ndarray of shape (trial, time, unit)
        Rates of the recurrent units.
    chosen : ndarray of shape (trial,), int64
        The action at the decision.
    correct : ndarray of shape (trial,), bool
        Whether that action is right.
    times : ndarray of shape (time,)
        The end of each step in ms, which is when its rates are those recorded.
    chance : float
        Accuracy of the best guess that does not look: always the most frequent answer, or any of equally many.
    """

    logits: NDArray[np.float32]
    rates: NDArray[np.float32]
    chosen: NDArray[np.int64]
    correct: NDArray[np.bool_]
    times: NDArray[np.float64]
    chance: float

    def window(self, start: float, end: float) -> slice:
        """The steps that end after `start` and by `end`, in ms, the same for all trials.

        If periods differ between trials, use `within`.

        Returns
        -------
        slice
            Of time steps.

        Raises
        ------
        InputError
            If no step ends there.
        """
        inside = np.flatnonzero((self.times > start + _ROUNDING) & (self.times <= end + _ROUNDING))
        if not len(inside):
            raise InputError(f"start={start:g}, end={end:g}: no step ends between these times (ms); give a wider window")
        return slice(int(inside[0]), int(inside[-1]) + 1)

    def within(self, start: ArrayLike, end: ArrayLike, *, whole: bool = False) -> NDArray[np.bool_]:
        """The steps of each trial that end in a window of its own, after `start` and by `end`.

        `cordstasks.analysis.tuning.window_mean` averages over them.

        Parameters
        ----------
        start, end : float or (trial,)
            In ms, such as the columns of ``batch.periods["delay"]``. NaN for a trial that has no such window.
        whole : bool
            Only steps that begin in the window, too: for what is an average over the step, as a front-end's features are,
            and not the state at its end, as rates are.

        Returns
        -------
        bool (trial, time)
        """
        shape = len(self.rates), 1
        first, last = (np.broadcast_to(np.asarray(time, np.float64).reshape(-1, 1), shape) for time in (start, end))
        begun = self.times - self.times[0] >= first - _ROUNDING if whole else self.times > first + _ROUNDING
        inside: NDArray[np.bool_] = begun & (self.times <= last + _ROUNDING)  # False for NaN
        return inside


def behave(model: MultiAreaModel, inputs: Features, batch: TrialBatch) -> Behaviour:
    """Run the model without noise on its `inputs` of a batch of trials.

    Returns
    -------
    Behaviour
        Logits, rates and choices of all trials.
    """
    return behaviour_of(*run_model(model, inputs), batch)


def behaviour_of(logits: Tensor, rates: Tensor, batch: TrialBatch) -> Behaviour:
    """The behaviour of a model with these logits (trial, time, action) and rates (trial, time, unit).

    Returns
    -------
    Behaviour
        These, and the choices of all trials.
    """
    chosen = choices(logits, torch.from_numpy(batch.response_mask), batch.options).numpy()
    frequent = np.bincount(batch.answers).max() / len(batch)
    return Behaviour(
        logits=logits.numpy(),
        rates=rates.numpy(),
        chosen=chosen,
        correct=chosen == batch.answers,
        times=np.arange(1, rates.shape[1] + 1, dtype=np.float64) * float(batch.dt),
        chance=max(1 / len(batch.options), float(frequent)),
    )


def choices(logits: Tensor, response_mask: Tensor, options: tuple[int, ...]) -> Tensor:
    """The action (trial,) of the `options` with the largest logit, averaged over the steps of the decision.

    Parameters
    ----------
    logits : Tensor of shape (trial, time, action)
        The network's outputs.
    response_mask : Tensor of shape (trial, time), bool
        Steps at which the answer is due.
    options : tuple of int
        The actions that compete.

    Returns
    -------
    Tensor of shape (trial,), int64
        Numbers of actions.
    """
    weight = response_mask.float()
    mean = (logits * weight[..., None]).sum(1) / weight.sum(1, keepdim=True)
    competing = torch.tensor(options, device=logits.device)
    return competing[mean[:, competing].argmax(1)]


@torch.no_grad()
def run_model(model: MultiAreaModel, inputs: Features, *, batch: int = 128) -> tuple[Tensor, Tensor]:
    """Logits (trial, time, action) and rates (trial, time, unit) of all trials, without noise, on the CPU.

    Returns
    -------
    Tensor of shape (trial, time, action)
        Logits.
    Tensor of shape (trial, time, unit)
        Rates.
    """
    logits, rates = [], []
    for start in range(0, len(inputs), batch):
        out, states = model(inputs.take(slice(start, start + batch)))
        logits.append(out.cpu())
        rates.append(states.cpu())
    return torch.cat(logits), torch.cat(rates)


@torch.no_grad()
def run_until(model: MultiAreaModel, inputs: Features, read: Tensor, *, batch: int = 128) -> Tensor:
    """Logits of all trials, without noise, up to the last step of each trial that is read.

    Parameters
    ----------
    model : MultiAreaModel
        The model.
    inputs : Features
        Its inputs.
    read : Tensor of shape (trial, time), bool
        Steps whose logits are used.
    batch : int, default 128
        Trials that are run at once.

    Returns
    -------
    Tensor of shape (trial, time, action)
        On the device of the inputs; zero after the last step that is read.
    """
    logits, rnn = [], model.rnn
    for start in range(0, len(inputs), batch):
        part = slice(start, start + batch)
        packing = Packing.up_to_last(read[part])
        logits.append(packing.unpack(rnn.outputs(rnn.packed(packing.pack(inputs.take(part)), packing))))
    return torch.cat(logits)
