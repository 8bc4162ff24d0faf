"""Recordings whose origin is known, to see whether an analysis finds it: an area of a CordsNet, later, with noise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cordstasks.recordings.files import write
from cordstasks.recordings.recording import Recording
from cordstasks.recordings.responses import respond

__all__ = ["KnownRecording", "gabor_pictures", "write_known_recording"]

SIDE, PATCHES = 64, 6
BIN_MS, FIRST_MS, LAST_MS = 10.0, 20.0, 100.0


@dataclass(frozen=True)
class KnownRecording:
    """What `write_known_recording` makes.

    Parameters
    ----------
    area : int
        The recorded area, numbered from 0.
    lag_ms : float
        How much later the recording is than the area.
    stimuli : int
        Number of pictures.
    repeats : int
        Presentations of each.
    units : int
        Recorded units: those of the area that vary most.
    noise : float
        Standard deviation of the noise on each presentation, relative to that of a unit.
    shuffled : bool
        Whether the time bins change places, in the same way for all stimuli and units, so that the time course is not that
        of any area.
    seed : int
        Of pictures, noise and order of bins.
    weights : str
        Of the network, see `cordstasks.cordsnet.load`.
    """

    area: int = 5
    lag_ms: float = 20.0
    stimuli: int = 100
    repeats: int = 4
    units: int = 30
    noise: float = 1.0
    shuffled: bool = False
    seed: int = 0
    weights: str = "cordsnet-r8"


def gabor_pictures(count: int, rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    """Pictures that are sums of coloured Gabor patches at random locations.

    Parameters
    ----------
    count : int
        Number of pictures.
    rng : numpy.random.Generator
        Where locations, orientations, periods, widths and colours are drawn from.

    Returns
    -------
    list of uint8 ndarray of shape (64, 64, 3)
    """
    y, x = np.mgrid[:SIDE, :SIDE]
    pictures = []
    for _ in range(count):
        values = np.full((SIDE, SIDE, 3), 0.5)
        for _ in range(PATCHES):
            cx, cy = rng.uniform(8, SIDE - 8, 2)
            angle, period, width = rng.uniform(0, np.pi), rng.uniform(6, 24), rng.uniform(4, 14)
            wave = np.cos(2 * np.pi * ((x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)) / period)
            patch = wave * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * width**2))
            values += 0.4 * patch[..., None] * rng.normal(size=3)
        pictures.append((255 * values.clip(0, 1)).astype(np.uint8))
    return pictures


def write_known_recording(settings: KnownRecording, folder: Path, *, device: str = "cpu") -> Recording:
    """Write a recording and its pictures.

    Parameters
    ----------
    settings : KnownRecording
        What to record.
    folder : Path
        Where ``recording.npz`` and the folder ``pictures`` go.
    device : str
        Where the network is simulated.

    Returns
    -------
    Recording
        What was written.

    Raises
    ------
    InputError
        If there is no such area or network, or the folder cannot be written.
    """
    rng = np.random.default_rng(settings.seed)
    pictures = gabor_pictures(settings.stimuli, rng)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    ids = [f"picture{number}" for number in range(settings.stimuli)]
    for name, picture in zip(ids, pictures, strict=True):
        Image.fromarray(picture).save(folder / "pictures" / f"{name}.png")
    starts = np.arange(FIRST_MS, LAST_MS, BIN_MS)
    bins = np.stack([starts, starts + BIN_MS], axis=1)
    seen = respond(settings.weights, pictures, bins_ms=bins - settings.lag_ms, areas=settings.area, device=device)
    deviation = seen.rates.std(axis=(0, 1))
    chosen = np.argsort(deviation)[-settings.units :]
    clean = seen.rates[:, :, chosen] / deviation[chosen]
    rates = clean + settings.noise * rng.normal(size=(settings.repeats, *clean.shape))
    if settings.shuffled:
        rates = rates[:, :, _moved(len(bins), rng)]
    shown = np.array(ids * settings.repeats)
    recording = Recording(rates.reshape(-1, *clean.shape[1:]), shown, bins, name="recording")
    write(recording, folder / "recording.npz")
    return recording


def _moved(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A random order in which nothing is where it was."""
    while True:
        order = rng.permutation(count)
        if (order != np.arange(count)).all():
            return order
