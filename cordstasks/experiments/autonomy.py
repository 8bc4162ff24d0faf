"""Autonomous inference: a sequence of images and blanks in one run, without resets (Soo et al. 2024, figure 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from cordstasks import analysis
from cordstasks.errors import InputError
from cordstasks.experiments.in_time import InTime, rest, run
from cordstasks.experiments.robustness_settings import Period

__all__ = ["Autonomy", "autonomy"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Autonomy:
    """What one network did while a sequence was shown.

    Attributes
    ----------
    times_ms : (time,)
        After the beginning of the sequence, in ms.
    probability : (shown image, time, trial)
        Softmax probability of the class of each image of the sequence.
    correct : (shown image, time, trial)
        1 where that class has the largest logit, otherwise 0.
    activity : (time, trial)
        Mean over the units of the last area.
    distance : (time, trial)
        Norm of the last area's difference from its activity at rest.
    """

    times_ms: Floats
    probability: Floats
    correct: Floats
    activity: Floats
    distance: Floats

    def summary(self, sequence: Sequence[Period], *, resamples: int = 2000, seed: int = 0) -> list[dict[str, Any]]:
        """What the network answered at the end of each period, and how far from rest it was.

        Parameters
        ----------
        sequence : sequence of Period
            As it was shown.
        resamples, seed : int
            Of the bootstrap over trials.

        Returns
        -------
        list of dict
            For each period ``"shown"`` ("image 1", "blank"), ``"end_ms"``, ``"trials"``, ``"accuracy"`` for the image of the
            period (before the first one: None; in a blank: for the last image) with its Wilson ``"interval"``,
            ``"probability"`` of that class with ``"probability_interval"``, and ``"distance"`` from rest, relative to the
            mean at the end of the first image, with ``"distance_interval"``.
        """
        rows, end, last = list[dict[str, Any]](), 0.0, None
        scale = self._scale(sequence)
        for period in sequence:
            end += period.duration
            last = period.image if period.image is not None else last
            place = int(np.searchsorted(self.times_ms, end + 1e-6)) - 1
            row: dict[str, Any] = {
                "shown": "blank" if period.image is None else f"image {period.image + 1}",
                "end_ms": end,
                "trials": self.distance.shape[1],
            }
            row["accuracy"] = row["interval"] = row["probability"] = row["probability_interval"] = None
            if last is not None:
                right = self.correct[last, place]
                row["accuracy"] = float(right.mean())
                row["interval"] = list(analysis.wilson_interval(int(right.sum()), len(right)))
                row["probability"], row["probability_interval"] = _mean(self.probability[last, place], resamples, seed)
            row["distance"], row["distance_interval"] = _mean(self.distance[place] / scale, resamples, seed)
            rows.append(row)
        return rows

    def answers(self, sequence: Sequence[Period]) -> dict[str, Any]:
        """When the network is right about the first image, while this is shown.

        Parameters
        ----------
        sequence : sequence of Period
            As it was shown.

        Returns
        -------
        dict
            ``"after_ms"`` (times after its onset), ``"accuracy"`` and ``"interval"`` (Wilson) at each of these times, and
            ``"best"`` and ``"end"``, the same three at the time of the largest accuracy and at the last one. The best of
            many times is somewhat too good, as it was chosen by the same trials.
        """
        first = next(row for row, period in enumerate(sequence) if period.image is not None)
        onset = sum(period.duration for period in sequence[:first])
        end = onset + sequence[first].duration
        shown = np.flatnonzero((self.times_ms > onset + 1e-6) & (self.times_ms < end + 1e-6))
        image = sequence[first].image
        assert image is not None
        right = self.correct[image, shown]
        times, accuracy = (self.times_ms[shown] - onset).tolist(), right.mean(axis=1).tolist()
        low, high = analysis.wilson_interval(right.sum(axis=1), np.full(len(right), right.shape[1]))
        intervals = [[float(a), float(b)] for a, b in zip(low, high, strict=True)]
        found: dict[str, Any] = {"after_ms": times, "accuracy": accuracy, "interval": intervals}
        for name, row in (("best", int(np.argmax(accuracy))), ("end", len(times) - 1)):
            found[name] = {"after_ms": times[row], "accuracy": accuracy[row], "interval": intervals[row]}
        return found

    def _scale(self, sequence: Sequence[Period]) -> float:
        """Mean distance from rest at the end of the first image."""
        first = next(place for place, period in enumerate(sequence) if period.image is not None)
        end = sum(period.duration for period in sequence[: first + 1])
        return float(self.distance[int(np.searchsorted(self.times_ms, end + 1e-6)) - 1].mean())


def _mean(values: Floats, resamples: int, seed: int) -> tuple[float, list[float]]:
    mean, low, high = analysis.statistics.bootstrap_mean(values, resamples=resamples, rng=seed)
    return float(mean), [float(low), float(high)]


def autonomy(
    network: InTime,
    images: Tensor,
    labels: Tensor,
    sequence: Sequence[Period],
    *,
    rest_ms: float = 200.0,
    every_ms: float = 10.0,
    batch: int = 25,
    progress: bool = True,
) -> Autonomy:
    """Show every trial the sequence, each with images of its own.

    Trial i shows image i, then the image that lies a fraction of the whole further, and so on: with images sorted by class,
    those of one trial are of different classes.

    Parameters
    ----------
    network : InTime
    images : Tensor (image, height, width, channel)
        uint8.
    labels : Tensor (image,)
        int64.
    sequence : sequence of Period
        At least one of them with an image.
    rest_ms : float
        Time without an image before the sequence, in ms.
    every_ms : float
        Time between measurements, in ms.
    batch : int
        Images at a time.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Autonomy

    Raises
    ------
    InputError
        If `every_ms` is shorter than a step or than the sequence has measurements, or activity is not finite.
    """
    slots = 1 + max(period.image for period in sequence if period.image is not None)
    order = [(torch.arange(len(images)) + slot * (len(images) // slots)) % len(images) for slot in range(slots)]
    every = round(every_ms / network.step_ms)
    if every < 1 or sum(period.duration for period in sequence) < every_ms:
        raise InputError(
            f"every_ms={every_ms:g}: give at least a step of {network.name}, {network.step_ms:g} ms, and at most the "
            "sequence's duration"
        )
    parts: list[dict[str, Floats]] = []
    starts = range(0, len(images), batch)
    for start in tqdm(starts, desc=f"autonomy, {network.name}", unit="batch", leave=False, disable=not progress):
        picks = [own[start : start + batch] for own in order]
        shown = [network.preprocess(images[pick]) for pick in picks]
        parts.append(_measured(network, shown, [labels[pick] for pick in picks], sequence, rest_ms, every))
    joined = {name: np.concatenate([part[name] for part in parts], axis=-1) for name in parts[0] if name != "times_ms"}
    return Autonomy(parts[0]["times_ms"], **joined)


def _measured(
    network: InTime, shown: list[Tensor], labels: list[Tensor], sequence: Sequence[Period], rest_ms: float, every: int
) -> dict[str, Floats]:
    state = rest(network, shown[0], rest_ms)
    baseline = state[-1].clone()
    inputs = [(None if period.image is None else shown[period.image], period.duration) for period in sequence]
    rows: dict[str, list[Any]] = {name: [] for name in ("times_ms", "probability", "correct", "activity", "distance")}
    for number, (time, state) in enumerate(run(network, inputs, state), start=1):
        if number % every:
            continue
        logits = network.logits(state)
        if not bool(logits.isfinite().all()):
            raise InputError(f"network={network.name}: its activity is no longer finite {time:g} ms after the beginning")
        chances = logits.double().softmax(1)
        rows["times_ms"].append(time)
        rows["probability"].append([chances.gather(1, own[:, None])[:, 0].numpy() for own in labels])
        rows["correct"].append([(logits.argmax(1) == own).double().numpy() for own in labels])
        rows["activity"].append(state[-1].double().mean((1, 2, 3)).numpy())
        rows["distance"].append((state[-1] - baseline).double().flatten(1).norm(dim=1).numpy())
    arrays = {name: np.array(values) for name, values in rows.items()}
    for name in ("probability", "correct"):
        arrays[name] = np.moveaxis(arrays[name], 1, 0)
    return arrays


def times_shown(sequence: Sequence[Period]) -> Iterator[tuple[float, float, str]]:
    """Beginning, end and name of each period with an image, for figures."""
    begin = 0.0
    for period in sequence:
        if period.image is not None:
            yield begin, begin + period.duration, f"image {period.image + 1}"
        begin += period.duration
