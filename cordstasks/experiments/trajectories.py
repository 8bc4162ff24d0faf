"""Trajectories of a CordsNet's areas while images of two classes are shown (Soo et al. 2024, figure 4A)."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cordstasks import analysis
from cordstasks.analysis import dynamics
from cordstasks.cordsnet.checkpoints import load
from cordstasks.cordsnet.network import CordsNet
from cordstasks.cordsnet.simulator import Simulator
from cordstasks.cordsnet.streaming import stream_together
from cordstasks.errors import InputError
from cordstasks.experiments.dynamics_settings import TrajectorySettings
from cordstasks.experiments.in_time import digest_of
from cordstasks.stimuli.pictures import picture_files, read_picture
from cordstasks.utils.files import write_bytes, write_json
from cordstasks.utils.interrupt import Interrupted, stop_between_steps
from cordstasks.utils.run_folder import RunFolder

__all__ = ["in_words", "run_trajectories"]

Floats = NDArray[np.float64]
SAVE_SECONDS = 30.0
TOGETHER = 16  # images at a time, at most
STEP_BYTES = 4_000_000  # of the activity of all of them in one step: so many images at 64 px, fewer that are larger
PROGRESS = "progress.npz"
COMPONENTS, SHOWN = 20, 3  # components of the last area in which the axis is followed over time, and those in the table


def run_trajectories(
    images: str | os.PathLike[str], classes: tuple[str, str], out: str | os.PathLike[str], **settings: Any
) -> dict[str, Any]:
    """Follow the last area on its principal components and on the axis between two classes, and every area's latency.

    Called again with the same arguments, it continues what was stopped: what the images so far have given is kept. If
    weights or image files have changed since, it begins again.

    Parameters
    ----------
    images : path-like
        A folder with one folder of images for each class.
    classes : (str, str)
        Names of two of them.
    out : path-like
        Folder for ``config.json``, ``summary.json``, ``trajectories.png``, and ``progress.npz``, from which it continues.
    **settings
        Any other of `cordstasks.experiments.dynamics_settings.TrajectorySettings`, such as ``count=200``.

    Returns
    -------
    dict
        What ``summary.json`` holds: ``"axis"`` (d', accuracy held out with its interval), ``"variance_ratio"`` of the
        components, and ``"areas"`` with a row for each area.

    Raises
    ------
    InputError
        If images, network, numbers or the folder cannot be used.
    Interrupted
        After Ctrl-C; the same call continues, with the images that were under way.
    """
    began = time.monotonic()
    source, folder, chosen = Path(images), RunFolder(Path(out)), TrajectorySettings(classes=classes, **settings)
    if not source.is_dir():
        raise InputError(f"images={source}: there is no such folder; name one with a folder of images for each class")
    own = load(chosen.network)
    steps = tuple(round(ms / own.dt) for ms in (chosen.image_ms, chosen.after_ms))
    if min(steps) < 1:
        raise InputError(
            f"image_ms={chosen.image_ms:g}, after_ms={chosen.after_ms:g}: give at least a step of {own.dt:g} ms each"
        )
    files = [_files(source, name, chosen.count) for name in chosen.classes]
    labels = np.repeat(np.array(chosen.classes), chosen.count)
    with folder.lock():
        folder.begin(chosen, images=str(source.resolve()))
        followed = _Followed(own, steps, [file for each in files for file in each], folder.path / PROGRESS)
        followed.run()
        scores = followed.components.result()
        axis = dynamics.discriminant_axis(followed.ends, labels, folds=chosen.folds, rng=chosen.seed)
        found: dict[str, Any] = {
            "network": chosen.network,
            "classes": list(chosen.classes),
            "images": chosen.count,
            "axis": {"d_prime": axis.d_prime, "accuracy": axis.accuracy, "interval": list(axis.interval)},
            "variance_ratio": scores.variance_ratio[:SHOWN].tolist(),
            "areas": followed.table(chosen.resamples, chosen.seed),
        }
        courses = scores.scores.reshape(len(labels), sum(steps), -1)
        along = axis.project(scores.mean + courses @ scores.components)
        figure = analysis.figures.class_trajectories(
            courses, along, followed.relative(), labels, followed.times_ms, image_ms=steps[0] * own.dt
        )
        analysis.figures.save(figure, folder.path / "trajectories.png")
        found["seconds"] = time.monotonic() - began
        write_json(folder.path / "summary.json", found)
    return found


def _files(source: Path, name: str, count: int) -> list[Path]:
    folder = source / name
    if not folder.is_dir():
        raise InputError(f"classes={name}: {source} has no folder of this name; name two of its folders")
    files = picture_files(folder)
    if len(files) < count:
        raise InputError(f"count={count}: {folder} holds {len(files)} images; choose at most as many")
    return [files[row] for row in np.linspace(0, len(files) - 1, count).astype(int)]


def _digest_of_files(files: list[Path]) -> str:
    """Changes with the files' names, order and content."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.parent.name}/{file.name}".encode(errors="surrogateescape"))
        with contextlib.suppress(OSError):  # reading it as an image says what is wrong
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


class _Followed:
    """One pass over the images: components of the last area, and each area's distance from rest on the way.

    Parameters
    ----------
    network : CordsNet
    steps : (int, int)
        With an image and after it.
    files : list of Path
        Of the images.
    progress : Path
        Where what the images so far have given is kept, every half a minute and after Ctrl-C.
    """

    def __init__(self, network: CordsNet, steps: tuple[int, ...], files: list[Path], progress: Path) -> None:
        self._network, self._steps, self._files, self._progress = network, steps, files, progress
        self._digest, self._images = digest_of(network), _digest_of_files(files)
        self._rest = [r[0].reshape(-1).numpy() for r in Simulator(network).spontaneous()]
        self._cuts = np.cumsum([len(r) for r in self._rest])[:-1]
        self._done = 0
        self.components = dynamics.RunningComponents(COMPONENTS)
        self.distances: Floats = np.empty((len(files), sum(steps), len(self._rest)))
        self.ends = np.empty((len(files), len(self._rest[-1])))
        self.times_ms = network.dt * np.arange(1, sum(steps) + 1)
        self._resume()

    def run(self) -> None:
        """Simulate the images that are left."""
        saved = time.monotonic()
        remaining = self._files[self._done :]
        image_steps, after_steps = self._steps
        pictures = (read_picture(path) for path in remaining)
        together = max(1, min(TOGETHER, STEP_BYTES // sum(rest.nbytes for rest in self._rest)))
        blocks = stream_together(
            self._network, pictures, together=together, image_steps=image_steps, after_steps=after_steps
        )
        progress = tqdm(desc="simulating", unit="image", initial=self._done, total=len(self._files))
        with stop_between_steps() as asked, progress:
            while self._done < len(self._files):
                progress.update(self._follow(blocks, asked))
                if asked or (self._done < len(self._files) and time.monotonic() - saved > SAVE_SECONDS):
                    self._save()
                    saved = time.monotonic()
                if asked:
                    raise Interrupted("the same command")
        if remaining:
            self._save()

    def _follow(self, blocks: Iterator[NDArray[np.float32]], asked: list[int]) -> int:
        """Take in the activity under the next images, block by block; their number, or 0 if they are `asked` to stop."""
        first, last = 0, list[NDArray[np.float32]]()
        while first < sum(self._steps):
            block = next(blocks)
            if asked:
                return 0
            images, until = slice(self._done, self._done + len(block)), first + block.shape[1]
            parts = np.split(block, self._cuts, axis=2)
            for area, (part, rest) in enumerate(zip(parts, self._rest, strict=True)):
                self.distances[images, first:until, area] = np.linalg.norm(part - rest, axis=2)
            last.append(parts[-1])
            first = until
        activity = np.concatenate(last, 1)
        self.ends[images] = activity[:, self._steps[0] - 1]
        for course in activity:  # scores are in the order of the images
            self.components.add(course)
        self._done += len(activity)
        return len(activity)

    def _resume(self) -> None:
        """Continue with what an earlier call has left, if it is of these weights and images, and whole."""
        try:
            with np.load(io.BytesIO(self._progress.read_bytes())) as arrays:
                if (str(arrays["weights"]), str(arrays["images"])) != (self._digest, self._images):
                    return
                components, done = dynamics.RunningComponents.from_state(arrays), int(arrays["done"])
                self.distances[:done], self.ends[:done] = arrays["distances"], arrays["ends"]
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):  # there is none, or it is damaged
            return
        self.components, self._done = components, done

    def _save(self) -> None:
        content, done = io.BytesIO(), self._done
        kept: dict[str, Any] = {"weights": self._digest, "images": self._images, "done": done}
        kept |= {"distances": self.distances[:done], "ends": self.ends[:done], **self.components.state()}
        np.savez(content, **kept)
        write_bytes(self._progress, content.getvalue())

    def relative(self) -> Floats:
        """Distance from rest (image, time, area), relative to the mean at the end of the image."""
        return np.asarray(self.distances / self.distances[:, self._steps[0] - 1].mean(axis=0))

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
