"""The experiments on autonomy and robustness in one folder: networks, images, results, figures."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from cordstasks import analysis
from cordstasks.errors import InputError
from cordstasks.experiments.autonomy import Autonomy, autonomy, times_shown
from cordstasks.experiments.in_time import InTime, read_cnn, read_cordsnet
from cordstasks.experiments.noise import NoiseResponse, deviation_ratio, noise_response
from cordstasks.experiments.robustness_settings import RobustnessSettings
from cordstasks.pretraining.datasets import read_folder
from cordstasks.utils.files import write_bytes, write_json
from cordstasks.utils.interrupt import Interrupted
from cordstasks.utils.run_folder import RunFolder, environment

__all__ = ["in_words", "run_robustness"]

LARGEST_SIDE = 256  # px, of images of several sizes, before each network resizes them to its own


def run_robustness(images: str | os.PathLike[str], out: str | os.PathLike[str], **settings: Any) -> dict[str, Any]:
    """Show networks sequences of images and blanks, and images under noise; write numbers and figures.

    Called again with the same arguments, it continues what was stopped: each network's part of an experiment is kept when it
    is complete.

    Parameters
    ----------
    images : path-like
        Test images: a folder with one folder per class, named and sorted as the classes that the networks know.
    out : path-like
        Folder for ``config.json``, ``summary.json``, ``autonomy.png`` and ``noise.png``.
    **settings
        Any of `cordstasks.experiments.robustness_settings.RobustnessSettings`, such as ``count=50``.

    Returns
    -------
    dict
        What ``summary.json`` holds: ``"networks"``; for each network rows of ``"autonomy"`` and of ``"noise"``, and
        ``"answers"``, its accuracy over the time of the first image; and ``"deviation_ratio"``, rows of the other networks'
        deviations relative to those of the CordsNet.

    Raises
    ------
    InputError
        If a setting, a network, the images or the folder cannot be used.
    KeyboardInterrupt
        After Ctrl-C; complete parts are kept.
    """
    began = time.monotonic()
    chosen, folder, source = RobustnessSettings(**settings), RunFolder(Path(out)), Path(images)
    networks = _networks(chosen)
    pixels, labels = _images(source, chosen.count, networks)
    images_digest = hashlib.sha256(pixels.numpy().tobytes() + labels.numpy().tobytes()).hexdigest()
    with folder.lock():
        folder.begin(chosen, images=str(source.resolve()), environment=environment(torch.device("cpu")))
        try:
            found: dict[str, Any] = {"networks": {}, "autonomy": {}, "answers": {}, "noise": {}}
            runs, responses = dict[str, Autonomy](), dict[str, NoiseResponse]()
            for network in networks:
                name = network.name
                shown = network, pixels, labels, chosen
                runs[name] = _kept(folder, "autonomy", network, images_digest, Autonomy, partial(_show, *shown))
                responses[name] = _kept(folder, "noise", network, images_digest, NoiseResponse, partial(_disturb, *shown))
                bootstrap = {"resamples": chosen.resamples, "seed": chosen.seed}
                found["networks"][name] = {"step_ms": network.step_ms, "weights": network.digest}
                found["autonomy"][name] = runs[name].summary(chosen.periods, **bootstrap)
                found["noise"][name] = responses[name].summary(**bootstrap)
                found["answers"][name] = runs[name].answers(chosen.periods)
            first = networks[0].name
            found["deviation_ratio"] = {
                name: deviation_ratio(own, responses[first], resamples=chosen.resamples, seed=chosen.seed)
                for name, own in responses.items()
                if name != first
            }
            _figures(folder.path, chosen, runs, found["noise"])
        except KeyboardInterrupt as stop:
            raise Interrupted("the same command") from stop
        found["seconds"] = time.monotonic() - began
        write_json(folder.path / "summary.json", found)
    return found


def _networks(settings: RobustnessSettings) -> list[InTime]:
    networks: list[InTime] = [read_cordsnet(settings.network)]
    for stage in ("cnn", "recurrent"):
        folder = getattr(settings, stage)
        if folder is not None:
            networks.append(read_cnn(Path(folder), stage, settings.discrete_ms))
    return networks


def _images(source: Path, count: int, networks: list[InTime]) -> tuple[Tensor, Tensor]:
    """uint8 images (image, height, width, channel) and their labels."""
    if not source.is_dir():
        raise InputError(f"images={source}: there is no such folder; name one with a folder of images per class")
    found, _ = read_folder(source, LARGEST_SIDE)
    for network in networks:
        if len(found.classes) != network.classes:
            raise InputError(
                f"images={source}: holds {len(found.classes)} classes ({', '.join(found.classes[:4])}, ...), but "
                f"{network.name} knows {network.classes}; name the folder of its test images, such as DATA/test"
            )
    if len(found) < count:
        raise InputError(f"count={count}: {source} holds {len(found)} images; choose at most as many")
    chosen = found.subset(count)
    return chosen.batch(torch.arange(len(chosen)))


def _kept(folder: RunFolder, part: str, network: InTime, images: str, kind: Any, make: Callable[[], Any]) -> Any:
    """A result that an earlier call has left, if it is of these weights and images; otherwise a new one, which is then left.

    `images` is a digest of the images and their labels.
    """
    path = folder.path / f"{part}-{network.name.replace(' ', '-')}.npz"
    names = [field.name for field in fields(kind)]
    if path.is_file():
        try:
            with np.load(io.BytesIO(path.read_bytes())) as arrays:
                if (str(arrays["weights"]), str(arrays["images"])) == (network.digest, images):
                    return kind(**{name: arrays[name] for name in names})
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            pass  # damaged, so it is made again
    result = make()
    content = io.BytesIO()
    np.savez(content, weights=network.digest, images=images, **{name: getattr(result, name) for name in names})
    write_bytes(path, content.getvalue())
    return result


def _show(network: InTime, pixels: Tensor, labels: Tensor, settings: RobustnessSettings) -> Autonomy:
    return autonomy(
        network,
        pixels,
        labels,
        settings.periods,
        rest_ms=settings.rest_ms,
        every_ms=settings.every_ms,
        batch=settings.batch,
    )


def _disturb(network: InTime, pixels: Tensor, labels: Tensor, settings: RobustnessSettings) -> NoiseResponse:
    return noise_response(
        network,
        pixels,
        labels,
        settings.noise_levels,
        noise_in=settings.noise_in,
        image_ms=settings.noise_image_ms,
        rest_ms=settings.rest_ms,
        batch=settings.batch,
        seed=settings.seed,
    )


def _figures(
    folder: Path, settings: RobustnessSettings, runs: Mapping[str, Autonomy], noise: Mapping[str, list[dict[str, Any]]]
) -> None:
    figures, shown = analysis.figures, list(times_shown(settings.periods))
    panels: dict[str, dict[str, Any]] = {
        "distance of the last area from rest (relative to its largest mean)": {
            name: own.distance.mean(axis=1) / max(own.distance.mean(axis=1).max(), 1e-30) for name, own in runs.items()
        }
    }
    slots = min(2, next(iter(runs.values())).probability.shape[0])
    for slot in range(slots):
        panels[f"softmax probability of the class of image {slot + 1}"] = {
            name: own.probability[slot].mean(axis=1) for name, own in runs.items()
        }
    for slot in range(slots):
        panels[f"accuracy for image {slot + 1}"] = {name: _with_interval(own.correct[slot]) for name, own in runs.items()}
    figure = figures.responses_over_time({name: own.times_ms for name, own in runs.items()}, panels, shown=shown)
    figures.save(figure, folder / "autonomy.png")
    measures = {"deviation of the last area, relative": "deviation", "accuracy": "accuracy"}
    levels = {title: {name: _columns(rows[1:], key) for name, rows in noise.items()} for title, key in measures.items()}
    unit = "SD of images" if settings.noise_in == "image" else "RMS activity of the area"
    figure = figures.noise_levels(settings.noise_levels, levels, unit=unit, logarithmic=[next(iter(measures))])
    figures.save(figure, folder / "noise.png")


def _with_interval(correct: Any) -> Any:
    low, high = analysis.wilson_interval(correct.sum(axis=1), np.full(len(correct), correct.shape[1]))
    return np.stack([correct.mean(axis=1), low, high])


def _columns(rows: list[dict[str, Any]], key: str) -> tuple[Any, Any, Any]:
    ends = "interval" if key == "accuracy" else f"{key}_interval"
    return [row[key] for row in rows], [row[ends][0] for row in rows], [row[ends][1] for row in rows]


def in_words(found: Mapping[str, Any]) -> str:
    """The results as lines to print.

    Returns
    -------
    str
        Several lines, without a line end after the last.
    """
    lines = []
    for name, rows in found["autonomy"].items():
        lines.append(
            f"{name}: at the end of each period, accuracy for the image of the period or the last one, and distance"
        )
        for row in rows:
            answer = "" if row["accuracy"] is None else f"accuracy {row['accuracy']:.3f} {_ends(row['interval'])}  "
            lines.append(
                f"  {row['end_ms']:7.0f} ms  {row['shown']:<8} {answer:<33}distance from rest {row['distance']:.4f} "
                f"{_ends(row['distance_interval'], 4)}"
            )
    for name, own in found["answers"].items():
        best, end = own["best"], own["end"]
        lines.append(
            f"{name}: accuracy for the first image at best {best['accuracy']:.3f} {_ends(best['interval'])}, "
            f"{best['after_ms']:g} ms after its onset; at its end, {end['after_ms']:g} ms after its onset, "
            f"{end['accuracy']:.3f} {_ends(end['interval'])}"
        )
    for name, rows in found["noise"].items():
        lines.append(f"{name}: noise of a level, deviation of the last area, accuracy")
        for row in rows:
            lines.append(
                f"  {row['level']:5g}  deviation {row['deviation']:.4f} {_ends(row['deviation_interval'], 4)}  "
                f"accuracy {row['accuracy']:.3f} {_ends(row['interval'])}"
            )
    for name, rows in found["deviation_ratio"].items():
        lines.append(f"{name}: deviation relative to that of {next(iter(found['noise']))}")
        lines += [f"  {row['level']:5g}  {row['ratio']:.2f} {_ends(row['interval'], 2)}" for row in rows]
    return "\n".join(lines)


def _ends(interval: list[float], digits: int = 3) -> str:
    return f"({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"
