"""Trajectories of a CordsNet's areas while images of two classes are shown (Soo et al. 2024, figure 4A)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cordstasks import analysis
from cordstasks.analysis import dynamics
from cordstasks.cordsnet.checkpoints import load
from cordstasks.cordsnet.network import CordsNet
from cordstasks.cordsnet.simulator import Simulator
from cordstasks.cordsnet.streaming import stream
from cordstasks.errors import InputError
from cordstasks.stimuli.pictures import picture_files, read_picture
from cordstasks.utils.arguments import number, seed_of, whole
from cordstasks.utils.files import writable_folder, write_json
from cordstasks.utils.folders import locked
from cordstasks.utils.interrupt import Interrupted

__all__ = ["in_words", "run_trajectories"]

Floats = NDArray[np.float64]
COMPONENTS, SHOWN = 20, 3  # components of the last area in which the axis is followed over time, and those in the table


def run_trajectories(
    images: str | os.PathLike[str],
    classes: tuple[str, str],
    out: str | os.PathLike[str],
    *,
    network: str = "cordsnet-r8",
    count: int = 50,
    image_ms: float = 200.0,
    after_ms: float = 200.0,
    folds: int = 5,
    seed: int = 0,
    resamples: int = 2000,
) -> dict[str, Any]:
    """Follow the last area on its principal components and on the axis between two classes, and every area's latency.

    Parameters
    ----------
    images : path-like
        A folder with one folder of images for each class.
    classes : (str, str)
        Names of two of them.
    out : path-like
        Folder for ``summary.json`` and ``trajectories.png``.
    network : str
        CordsNet: a name or a file.
    count : int
        Images of each class, taken evenly from its sorted files.
    image_ms, after_ms : float
        Time with an image and without one after it, in ms.
    folds : int
        Of the cross-validation of the axis, which is fitted to the activity at the end of the image.
    seed : int
        Of the folds and of the bootstrap.
    resamples : int
        Of the bootstrap over images.

    Returns
    -------
    dict
        What ``summary.json`` holds: ``"axis"`` (d', accuracy held out with its interval), ``"variance_ratio"`` of the
        components, ``"latency"`` and ``"distance"`` rows for each area.

    Raises
    ------
    InputError
        If images, network, numbers or the folder cannot be used.
    """
    began = time.monotonic()
    source, target = Path(images), Path(out)
    count, folds = whole("count", count, least=2), whole("folds", folds, least=2)
    seed, resamples = seed_of(seed), whole("resamples", resamples)
    if not source.is_dir():
        raise InputError(f"images={source}: there is no such folder; name one with a folder of images for each class")
    if count < folds:
        raise InputError(f"count={count}: fewer images of a class than folds={folds}; give more")
    own = load(network)
    steps = tuple(
        round(number(name, ms, "give a duration above 0 ms", above=0) / own.dt)
        for name, ms in (("image_ms", image_ms), ("after_ms", after_ms))
    )
    if min(steps) < 1:
        raise InputError(f"image_ms={image_ms:g}, after_ms={after_ms:g}: give at least a step of {own.dt:g} ms each")
    files = [_files(source, name, count) for name in _two(classes)]
    labels = np.repeat(np.array(classes), count)
    writable_folder(target, "out")
    with locked(target, "out"):
        try:
            followed = _Followed(own, steps, [file for each in files for file in each])
            scores = dynamics.principal_trajectories(followed.blocks(), COMPONENTS)
        except KeyboardInterrupt as stop:
            raise Interrupted("the same command, from its beginning") from stop
        axis = dynamics.discriminant_axis(followed.ends, labels, folds=folds, rng=seed)
        found: dict[str, Any] = {
            "network": network,
            "classes": list(classes),
            "images": count,
            "axis": {"d_prime": axis.d_prime, "accuracy": axis.accuracy, "interval": list(axis.interval)},
            "variance_ratio": scores.variance_ratio[:SHOWN].tolist(),
            "areas": followed.table(resamples, seed),
        }
        courses = scores.scores.reshape(2 * count, sum(steps), -1)
        along = axis.project(scores.mean + courses @ scores.components)
        figure = analysis.figures.class_trajectories(
            courses, along, followed.relative(), labels, followed.times_ms, image_ms=steps[0] * own.dt
        )
        analysis.figures.save(figure, target / "trajectories.png")
        found["seconds"] = time.monotonic() - began
        write_json(target / "summary.json", found)
    return found


def _two(classes: tuple[str, str]) -> tuple[str, str]:
    if len(classes) != 2 or classes[0] == classes[1]:
        raise InputError(f"classes={' '.join(classes)}: name two different folders of images, such as cat dog")
    return classes


def _files(source: Path, name: str, count: int) -> list[Path]:
    folder = source / name
    if not folder.is_dir():
        raise InputError(f"classes={name}: {source} has no folder of this name; name two of its folders")
    files = picture_files(folder)
    if len(files) < count:
        raise InputError(f"count={count}: {folder} holds {len(files)} images; choose at most as many")
    return [files[place] for place in np.linspace(0, len(files) - 1, count).astype(int)]


class _Followed:
    """One pass over the images: blocks of the last area, and each area's distance from rest on the way.

    Parameters
    ----------
    network : CordsNet
    steps : (int, int)
        With an image and after it.
    files : list of Path
        Of the images.
    """

    def __init__(self, network: CordsNet, steps: tuple[int, ...], files: list[Path]) -> None:
        self._network, self._steps, self._files = network, steps, files
        self._rest = [r[0].reshape(-1).numpy() for r in Simulator(network).spontaneous()]
        self._cuts = np.cumsum([len(r) for r in self._rest])[:-1]
        self.distances: list[Floats] = []  # of each block, (step, area)
        self.ends = np.empty((len(files), len(self._rest[-1])))
        self.times_ms = network.dt * np.arange(1, sum(steps) + 1)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Activity (step, unit) of the last area."""
        seen = 0
        pictures = (read_picture(path) for path in tqdm(self._files, desc="simulating", unit="image"))
        image_steps, after_steps = self._steps
        for block in stream(self._network, pictures, image_steps=image_steps, after_steps=after_steps):
            parts = np.split(block, self._cuts, axis=1)
            both = zip(parts, self._rest, strict=True)
            self.distances.append(np.stack([np.linalg.norm(part - rest, axis=1) for part, rest in both], axis=1))
            image, first = divmod(seen, sum(self._steps))
            end = image_steps - 1 - first
            if 0 <= end < len(block):
                self.ends[image] = parts[-1][end]
            seen += len(block)
            yield parts[-1]

    def relative(self) -> Floats:
        """Distance from rest (image, time, area), relative to the mean at the end of the image."""
        raw = np.concatenate(self.distances).reshape(len(self._files), sum(self._steps), -1)
        return np.asarray(raw / raw[:, self._steps[0] - 1].mean(axis=0))

    def table(self, resamples: int, seed: int) -> list[dict[str, Any]]:
        """Latency of each area's response, and the distance that is left at the end, with bootstrap intervals."""
        relative, rows = self.relative(), list[dict[str, Any]]()
        shown, times = self._steps[0], self.times_ms
        for area in range(relative.shape[2]):
            latency = dynamics.response_latency(relative[:, :shown, area].T, times[:shown])
            left = relative[:, -1, area] / relative[:, shown - 1, area]
            row: dict[str, Any] = {"area": area, "images": len(relative)}
            for name, values in (("latency", latency), ("left", left)):
                mean, low, high = analysis.statistics.bootstrap_mean(values, resamples=resamples, rng=seed)
                row |= {name: float(mean), f"{name}_interval": [float(low), float(high)]}
            rows.append(row)
        return rows


def in_words(found: dict[str, Any]) -> str:
    """The results as lines to print.

    Returns
    -------
    str
        Several lines, without a line end after the last; latencies in ms.
    """
    first, second = found["classes"]
    axis = found["axis"]
    low, high = axis["interval"]
    ratios = ", ".join(f"{100 * ratio:.1f}" for ratio in found["variance_ratio"])
    lines = [
        f"{found['network']}, {found['images']} images each of {first} and {second}",
        f"axis between them, held out: d' {axis['d_prime']:.2f}, accuracy {axis['accuracy']:.3f} ({low:.3f} to {high:.3f})",
        f"variance of the last area along its components: {ratios} %",
        "area   latency of half the largest distance (ms)   distance from rest that is left at the end",
    ]
    for row in found["areas"]:
        (early, late), (least, most) = row["latency_interval"], row["left_interval"]
        lines.append(
            f"{row['area']:4d}   {row['latency']:6.1f} ({early:.1f} to {late:.1f})                        "
            f"{row['left']:.4f} ({least:.4f} to {most:.4f})"
        )
    return "\n".join(lines)
