"""Responses under white noise that is redrawn at each step (Soo et al. 2024, figure 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from cordstasks import analysis
from cordstasks.errors import InputError
from cordstasks.experiments.in_time import InTime, Noise, State, rest, run

__all__ = ["NoiseResponse", "deviation_ratio", "noise_response"]

Floats = NDArray[np.float64]
MEASURED = 20  # most states of the second half that are compared, which limits the memory of large networks


@dataclass(frozen=True, eq=False)
class NoiseResponse:
    """What one network did under noise.

    Attributes
    ----------
    levels : (level,)
        Of the noise.
    deviation : (level, image)
        Norm of the difference of the last area from its activity without noise at the same time, relative to the norm of
        that activity; mean over the second half of the image.
    correct : (level, image)
        1 where the answer at the end of the image is right, otherwise 0.
    clean : (image,)
        The same without noise.
    """

    levels: Floats
    deviation: Floats
    correct: Floats
    clean: Floats

    def summary(self, *, resamples: int = 2000, seed: int = 0) -> list[dict[str, Any]]:
        """Deviation and accuracy at each level.

        Parameters
        ----------
        resamples, seed : int
            Of the bootstrap over images.

        Returns
        -------
        list of dict
            ``"level"`` (the first row is without noise, 0), ``"images"``, ``"deviation"`` and ``"deviation_interval"``
            (bootstrap), ``"accuracy"`` and ``"interval"`` (Wilson).
        """
        mean, low, high = analysis.statistics.bootstrap_mean(self.deviation, resamples=resamples, rng=seed)
        rows = [_row(0.0, (0.0, 0.0, 0.0), self.clean)]
        for place, level in enumerate(self.levels):
            rows.append(_row(float(level), (float(mean[place]), float(low[place]), float(high[place])), self.correct[place]))
        return rows


def deviation_ratio(
    response: NoiseResponse, reference: NoiseResponse, *, resamples: int = 2000, seed: int = 0
) -> list[dict[str, Any]]:
    """How many times larger the mean deviation of one network is than that of another, at each level.

    Parameters
    ----------
    response, reference : NoiseResponse
        Of two networks to the same images at the same levels.
    resamples, seed : int
        Of the bootstrap over images, which are the same for both.

    Returns
    -------
    list of dict
        ``"level"``, ``"ratio"`` and its bootstrap ``"interval"``.

    Raises
    ------
    InputError
        If levels or images differ.
    """
    if response.deviation.shape != reference.deviation.shape or not np.array_equal(response.levels, reference.levels):
        raise InputError(
            f"response of {response.deviation.shape} (level, image) and reference of {reference.deviation.shape}: show both "
            "networks the same images at the same levels"
        )
    images = response.deviation.shape[1]
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(images, np.full(images, 1 / images), size=resamples).T / images
    rows = []
    for level, own, other in zip(response.levels, response.deviation, reference.deviation, strict=True):
        low, high = np.percentile((own @ weights) / (other @ weights), [2.5, 97.5])
        ratio = float(own.mean() / other.mean())
        rows.append({"level": float(level), "ratio": ratio, "interval": [float(low), float(high)]})
    return rows


def _row(level: float, deviation: tuple[float, float, float], right: Floats) -> dict[str, Any]:
    return {
        "level": level,
        "images": len(right),
        "deviation": deviation[0],
        "deviation_interval": list(deviation[1:]),
        "accuracy": float(right.mean()),
        "interval": list(analysis.wilson_interval(int(right.sum()), len(right))),
    }


def noise_response(
    network: InTime,
    images: Tensor,
    labels: Tensor,
    levels: Sequence[float],
    *,
    noise_in: str = "image",
    image_ms: float = 200.0,
    rest_ms: float = 200.0,
    batch: int = 25,
    seed: int = 0,
    progress: bool = True,
) -> NoiseResponse:
    """Show every image from rest, without noise and with noise of several levels, which is there from the image's onset.

    Parameters
    ----------
    network : InTime
    images : Tensor (image, height, width, channel)
        uint8.
    labels : Tensor (image,)
        int64.
    levels : sequence of float
        Standard deviations of the noise. In the image, relative to the normalised image, whose standard deviation over the
        data set is 1. In units, relative to the root-mean-square activity of each area at the end of the image without
        noise.
    noise_in : str
        ``"image"``, or ``"units"`` for noise inside the activation of every unit.
    image_ms, rest_ms : float
        Time with the image and time without one before it, in ms.
    batch : int
        Images at a time.
    seed : int
        Of the noise.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    NoiseResponse

    Raises
    ------
    InputError
        If the image is shown for less than two steps, or the activity is not finite or is zero.
    """
    steps = round(image_ms / network.step_ms)
    if steps < 2:
        raise InputError(f"image_ms={image_ms:g}: give at least two steps of {network.name}, {2 * network.step_ms:g} ms")
    half = range(steps // 2 + 1, steps + 1)
    measured = {half[place] for place in np.linspace(0, len(half) - 1, min(MEASURED, len(half))).round().astype(int)}
    starts = range(0, len(images), batch)
    inputs = [network.preprocess(images[start : start + batch]) for start in starts]
    bar = tqdm(
        total=(1 + len(levels)) * len(inputs), desc=f"noise, {network.name}", unit="batch", leave=False, disable=not progress
    )
    with bar:
        clean, right = list[dict[int, Tensor]](), list[Tensor]()
        squares: Floats = np.zeros(1)
        for x in inputs:
            states, end = _states(network, x, image_ms, rest_ms, measured, None, 0)
            clean.append(states)
            right.append(network.logits(end).argmax(1))
            squares = squares + len(x) * np.array([float(r.double().square().mean()) for r in end])
            bar.update()
        sizes = np.sqrt(squares / len(images))
        if not (np.isfinite(sizes).all() and sizes[-1] > 0):
            raise InputError(
                f"network={network.name}: its activity with the image is zero or not finite; choose another one"
            )
        deviation, correct = np.empty((2, len(levels), len(images)))
        for number, level in enumerate(levels):
            noise = Noise(image=level) if noise_in == "image" else Noise(units=tuple(level * sizes))
            for place, (start, x) in enumerate(zip(starts, inputs, strict=True)):
                rows = slice(start, start + len(x))
                own_seed = int(np.random.SeedSequence([seed, number, place]).generate_state(1, np.uint64)[0] >> 1)
                noisy, end = _states(network, x, image_ms, rest_ms, measured, noise, own_seed)
                deviation[number, rows] = _deviations(noisy, clean[place])
                correct[number, rows] = (network.logits(end).argmax(1) == labels[rows]).numpy()
                bar.update()
    return NoiseResponse(
        np.array(levels, dtype=np.float64), deviation, correct, (torch.cat(right) == labels).double().numpy()
    )


def _states(
    network: InTime, x: Tensor, image_ms: float, rest_ms: float, measured: set[int], noise: Noise | None, seed: int
) -> tuple[dict[int, Tensor], State]:
    """The last area at the measured steps, and the last state."""
    state = rest(network, x, rest_ms)
    kept = {}
    generator = torch.Generator().manual_seed(seed)
    for number, (_, state) in enumerate(run(network, [(x, image_ms)], state, noise=noise, generator=generator), start=1):
        if number in measured:
            kept[number] = state[-1].clone()
    return kept, state


def _deviations(noisy: dict[int, Tensor], clean: dict[int, Tensor]) -> Floats:
    """Relative deviation of each image, mean over the measured steps."""
    found = []
    for number, own in clean.items():
        difference = (noisy[number] - own).double().flatten(1).norm(dim=1)
        found.append((difference / own.double().flatten(1).norm(dim=1).clamp_min(1e-30)).numpy())
    return np.mean(found, axis=0)
