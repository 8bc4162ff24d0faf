"""Networks that are trained to answer early and late: overshoot of responses, and spectra (Soo et al. 2024, figure 4B).

From the same weights, random ones or those of a trained network, with the same images in the same order, two networks are
trained that differ only in when their answer counts. Then the same test images are shown to both.

The response of an area to an image is followed along its final direction,

    c(t) = <r(t) - r(0), r(T) - r(0)> / |r(T) - r(0)|^2,

where r(0) is the spontaneous state and r(T) the mean of the last 20 ms of a long presentation: 0 before the image, and 1 at
the end. The overshoot is ``max c(t) - 1``, 0 for a response that only rises.

Eigenvalues are those of W_rec - I of each area, which assume that all units are active, and of the Jacobian of the whole
network in its state at the end of an image, in which units that are silent take no part. Both are in units of 1 / T, T the
time constant of 10 ms: an imaginary part of 1 is a frequency of 1 / (2 pi T) = 15.9 Hz. Leading are those that differ most
from -1, where all eigenvalues would be without recurrence.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student
from torch import Tensor
from tqdm import tqdm

from cordstasks import analysis
from cordstasks.analysis import dynamics
from cordstasks.cordsnet import architecture as arch
from cordstasks.cordsnet.checkpoints import load, save
from cordstasks.cordsnet.network import CordsNet
from cordstasks.cordsnet.simulator import Simulator
from cordstasks.cordsnet.system import CordsNetSystem, area_operator
from cordstasks.errors import InputError, naming
from cordstasks.experiments.dynamics_settings import DT, EarlyLateSettings
from cordstasks.experiments.in_time import digest_of
from cordstasks.pretraining.data import Images
from cordstasks.pretraining.datasets import read_dataset
from cordstasks.pretraining.pipeline import pretrain
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.utils.files import write_bytes, write_json
from cordstasks.utils.interrupt import Interrupted
from cordstasks.utils.run_folder import RunFolder, environment

__all__ = ["WINDOWS", "Responses", "difference", "in_words", "measure", "run_early_late"]

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
WINDOWS = ("early", "late")
END_MS = 20.0  # over which the final state is averaged
TOLERANCE = 1e-4  # of eigenvalues
STORED = 1 << 25  # numbers of one batch's responses that are held at once
MEASURES = {  # what is compared, in words
    "imaginary_jacobian": "mean modulus of the imaginary parts of the leading eigenvalues of the Jacobian under an image",
    "imaginary_weights": "the same of W_rec - I, mean over areas",
    "overshoot": "overshoot of the last area",
}


@dataclass(frozen=True, eq=False)
class Responses:
    """What one network did, and its spectra.

    Attributes
    ----------
    times_ms : (time,)
        After image onset.
    response : (time, area)
        Mean over images of c(t), see this module.
    overshoot : (image, area)
        Largest c(t) minus 1.
    correct : (image, time)
        1 where the image's class has the largest logit, otherwise 0.
    weights : complex (area, value)
        Leading eigenvalues of W_rec - I of each area.
    jacobian : complex (image, value)
        Leading eigenvalues of the whole network's Jacobian at the end of some of the images.
    residual : ()
        Largest residual of all of these eigenvalues, relative to the largest modulus of their operator's.
    """

    times_ms: Floats
    response: Floats
    overshoot: Floats
    correct: Floats
    weights: Complexes
    jacobian: Complexes
    residual: Floats

    def values(self, measure: str) -> Floats:
        """One of `MEASURES` for each image or area.

        Parameters
        ----------
        measure : {"imaginary_jacobian", "imaginary_weights", "overshoot"}
            What to return.

        Returns
        -------
        float64 (image,) or (area,)
        """
        if measure == "overshoot":
            return self.overshoot[:, -1]
        spectra = self.jacobian if measure == "imaginary_jacobian" else self.weights
        return np.asarray(np.abs(spectra.imag).mean(axis=1))

    def accuracy(self, window: Sequence[float]) -> Floats:
        """The fraction of a window in which each image is classified correctly.

        Parameters
        ----------
        window : (float, float)
            Begin, which is not part of it, and end in ms.

        Returns
        -------
        float64 (image,)
        """
        inside = (self.times_ms > window[0] + 1e-6) & (self.times_ms < window[1] + 1e-6)
        return np.asarray(self.correct[:, inside].mean(axis=1))


def run_early_late(images: str | os.PathLike[str], out: str | os.PathLike[str], **settings: Any) -> dict[str, Any]:
    """Train pairs of networks to answer early and late, and compare their overshoot and spectra.

    Called again with the same arguments, it continues what was stopped, within the training of a network, too.

    Parameters
    ----------
    images : path-like
        A folder with train/CLASS and test/CLASS, or that of the files of ``dataset``.
    out : path-like
        Folder for ``config.json``, a folder of each network, ``summary.json`` and ``early_late.png``.
    **settings
        Any of `cordstasks.experiments.dynamics_settings.EarlyLateSettings`, such as ``batches=50``.

    Returns
    -------
    dict
        What ``summary.json`` holds: ``"networks"``, a row for each, and ``"differences"``, early minus late by measure, with
        Student's 95 % interval over pairs.

    Raises
    ------
    InputError
        If images, a setting or the folder cannot be used.
    Interrupted
        After Ctrl-C; the same call continues.
    """
    began = time.monotonic()
    chosen, folder, source = EarlyLateSettings(**settings), RunFolder(Path(out)), Path(images)
    if not source.is_dir():
        raise InputError(f"images={source}: there is no such folder; name that of the images")
    seeds = range(chosen.seed, chosen.seed + chosen.seeds)
    start = None if chosen.weights is None else load(chosen.weights)
    if start is not None:
        for name in ("depth", "image_size"):
            if name in settings and settings[name] != getattr(start, name):
                raise InputError(
                    f"{name}={settings[name]}: the network of weights={chosen.weights} has {getattr(start, name)}; leave it "
                    "out, or give other weights"
                )
        chosen = replace(chosen, depth=start.depth, image_size=start.image_size)
    _check(chosen)
    if not all(_weights(folder.path, chosen, seed, name).is_file() for seed in seeds for name in WINDOWS):
        # mistakes are not to be noticed after hours of training
        _check_fit(chosen, start, _test_images(source, chosen))
    whose = {} if start is None else {"start": digest_of(start)}
    with folder.lock():
        _check_same_start(chosen, folder, whose)
        folder.begin(chosen, images=str(source.resolve()), **whose, environment=environment(torch.device("cpu")))
        try:
            paths = {
                (seed, name): _trained(source, folder.path, chosen, seed, name, start) for seed in seeds for name in WINDOWS
            }
            found = _kept_all(paths, source, chosen)
        except KeyboardInterrupt as stop:
            raise Interrupted("the same command") from stop
        summary = _summary(found, chosen)
        _figure(folder.path, found, chosen)
        summary["seconds"] = time.monotonic() - began
        write_json(folder.path / "summary.json", summary)
    return summary


def _check(settings: EarlyLateSettings) -> None:
    """Refuse networks that do not exist, or that have fewer units than there are to be eigenvalues."""
    depth, side = arch.check_depth(settings.depth), arch.check_image_size(settings.image_size)
    sides = arch.area_sides(side, depth)
    units = [channels * side**2 for channels, side in zip(arch.CHANNELS_OUT, sides, strict=False)]
    fewest = min(units)
    if settings.eigenvalues > fewest:
        raise InputError(
            f"eigenvalues={settings.eigenvalues}: area {units.index(fewest)} has {fewest} units; give at most as many"
        )


def _check_fit(settings: EarlyLateSettings, start: CordsNet | None, images: Images) -> None:
    """Refuse a trained network that was made for other images, or for other steps in time."""
    if start is not None and start.dt != DT:
        raise InputError(
            f"weights={settings.weights}: a network of steps of {start.dt:g} ms, but windows are counted in steps of "
            f"{DT:g} ms; give other weights"
        )
    if start is not None and (start.classes, start.in_channels) != (len(images.classes), images.channels):
        raise InputError(
            f"weights={settings.weights}: a network of {start.classes} classes and {start.in_channels} colour channels, but "
            f"the images have {len(images.classes)} and {images.channels}; give weights that were trained on such images"
        )


def _check_same_start(settings: EarlyLateSettings, folder: RunFolder, whose: dict[str, str]) -> None:
    """Refuse to continue a run if the file of its first weights has changed."""
    began = folder.config().get("start") if folder.begun else None
    if whose and began is not None and began != whose["start"]:
        raise InputError(
            f"weights={settings.weights}: other weights than those from which the run in {folder.path} began; give the "
            "same, or use another folder"
        )


def _stage(settings: EarlyLateSettings) -> str:
    """The stage of pre-training that trains the networks."""
    return "direct" if settings.weights is None else "finetune"


def _weights(folder: Path, settings: EarlyLateSettings, seed: int, name: str) -> Path:
    """Where the weights of a trained network are."""
    return folder / f"{name}-{seed}" / f"{_stage(settings)}.safetensors"


def _trained(source: Path, folder: Path, settings: EarlyLateSettings, seed: int, name: str, start: CordsNet | None) -> Path:
    """The weights of one network, which is trained if it was not."""
    weights = _weights(folder, settings, seed, name)
    place = weights.parent
    if weights.is_file():
        return weights
    image_steps, image_window = settings.window(name)
    print(f"seed {seed}, {name}", flush=True)
    stage = _stage(settings)
    resume = (place / "config.json").exists()
    if start is not None and not resume:  # as if the stage before had left it
        place.mkdir(parents=True, exist_ok=True)
        save(start, place / "anneal.safetensors")
    training: dict[str, Any] = {
        f"{stage}_images": settings.batches * settings.batch,
        f"{stage}_batch": settings.batch,
        f"{stage}_learning_rate": settings.learning_rate,
    }
    pretrain(
        source,
        place,
        stage=stage,
        resume=resume,
        device="cpu",
        dataset=settings.dataset,
        depth=settings.depth,
        image_size=settings.image_size,
        train_images=settings.train_images,
        test_images=settings.count,
        seed=seed,
        gradients=settings.gradients,
        image_steps=image_steps,
        image_window=image_window,
        **training,
    )
    return weights


def _kept_all(
    paths: dict[tuple[int, str], Path], source: Path, settings: EarlyLateSettings
) -> dict[tuple[int, str], Responses]:
    """What all networks do; images are read only if a network was not measured before."""
    found: dict[tuple[int, str], Responses] = {}
    data: Images | None = None
    for key, path in tqdm(paths.items(), desc="measuring", unit="network", leave=False):
        network = load(path)
        kept = _read(path.parent / "responses.npz", network)
        if kept is None:
            if data is None:
                data = _test_images(source, settings)
            kept = measure(
                network,
                *data.batch(torch.arange(len(data))),
                observe_ms=settings.observe_ms,
                eigenvalues=settings.eigenvalues,
                jacobians=settings.jacobians,
            )
            _write(path.parent / "responses.npz", network, kept)
        found[key] = kept
    return found


def _test_images(source: Path, settings: EarlyLateSettings) -> Images:
    with naming({"data=": "images="}):
        whole = read_dataset(source, PretrainSettings.of({"dataset": settings.dataset})).test
    if len(whole) < settings.count:
        raise InputError(f"count={settings.count}: {source} holds {len(whole)} test images; choose at most as many")
    return whole.subset(settings.count)


def _read(path: Path, network: CordsNet) -> Responses | None:
    """What an earlier call has measured of these weights."""
    try:
        with np.load(io.BytesIO(path.read_bytes())) as arrays:
            if str(arrays["digest"]) == digest_of(network):
                return Responses(**{field.name: arrays[field.name] for field in fields(Responses)})
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):  # there is none, or it is damaged
        pass
    return None


def _write(path: Path, network: CordsNet, responses: Responses) -> None:
    content = io.BytesIO()
    arrays = {field.name: getattr(responses, field.name) for field in fields(Responses)}
    np.savez(content, digest=np.array(digest_of(network)), **arrays)
    write_bytes(path, content.getvalue())


@torch.no_grad()
def measure(
    network: CordsNet,
    images: Tensor,
    labels: Tensor,
    *,
    observe_ms: float = 400.0,
    eigenvalues: int = 100,
    jacobians: int = 5,
) -> Responses:
    """Show images to a network from rest, and compute its spectra.

    Not valid for networks that are not steady after `observe_ms`: c(t) is then relative to a state that passes.

    Parameters
    ----------
    network : CordsNet
        A relu network. Not modified.
    images : Tensor (image, height, width, channel)
        uint8.
    labels : Tensor (image,)
        int64, their classes.
    observe_ms : float
        For how long each is shown, above 20 ms.
    eigenvalues : int
        Leading eigenvalues of each spectrum.
    jacobians : int
        Images, taken evenly, in whose final state the Jacobian is taken.

    Returns
    -------
    Responses

    Raises
    ------
    InputError
        If an area does not respond, activity is not finite, an area has fewer units than eigenvalues are asked for, or
        images are shown for too short.
    """
    steps, last = round(observe_ms / network.dt), round(END_MS / network.dt)
    if steps <= last:
        raise InputError(f"observe_ms={observe_ms:g}: give more than the {END_MS:g} ms over which the end is averaged")
    simulator = Simulator(network)
    units = sum(bias.numel() for bias in network.conv_bias)
    batch = max(1, STORED // (units * steps))
    chosen = np.unique(np.linspace(0, len(images) - 1, min(jacobians, len(images))).round().astype(int))
    course, peaks, right = list[Floats](), list[Floats](), list[Floats]()
    ends: dict[int, list[Tensor]] = {}
    for first in range(0, len(images), batch):
        x = network.preprocess(images[first : first + batch])
        rest = simulator.spontaneous(len(x))
        rates, drives = [r.clone() for r in rest], simulator.drives(x)
        changes: list[list[Tensor]] = [[] for _ in rates]
        answers = []
        for _ in range(steps):
            simulator.step(rates, drives)
            for own, r, before in zip(changes, rates, rest, strict=True):
                own.append((r - before).flatten(1))
            answers.append((network.readout(rates[-1], rates[-2]).argmax(1) == labels[first : first + batch]).double())
        along = np.stack([_along(torch.stack(own), last) for own in changes], axis=-1)
        course.append(along)
        peaks.append(along.max(axis=1) - 1)
        right.append(torch.stack(answers, 1).numpy())
        for row in chosen[(chosen >= first) & (chosen < first + len(x))]:
            ends[int(row)] = [r[row - first : row - first + 1].contiguous() for r in rates]
    spectra = [_spectrum(area_operator(network, area), eigenvalues) for area in range(network.depth)]
    states = [_jacobian_spectrum(network, images[row].numpy(), ends[int(row)], eigenvalues) for row in chosen]
    return Responses(
        times_ms=np.asarray(network.dt * np.arange(1.0, steps + 1), np.float64),
        response=np.concatenate(course).mean(axis=0),
        overshoot=np.concatenate(peaks),
        correct=np.concatenate(right),
        weights=np.stack([values for values, _ in spectra]) - 1,
        jacobian=np.stack([values for values, _ in states]) - 1,
        residual=np.array(max(residual for _, residual in [*spectra, *states])),
    )


def _along(changes: Tensor, last: int) -> Floats:
    """Change from rest (time, image, unit) along its final direction, as c(t) (image, time)."""
    final = changes[-last:].mean(dim=0)
    size = final.double().square().sum(dim=1)
    if not bool(size.isfinite().all()) or float(size.min()) == 0:
        raise InputError("network: an area does not respond to an image, or not with finite activity; choose another one")
    return np.asarray((torch.einsum("tiu,iu->it", changes, final).double() / size[:, None]).numpy())


def _spectrum(operator: Any, count: int) -> tuple[Complexes, float]:
    """Leading eigenvalues, and their largest relative residual."""
    found = dynamics.eigenvalues(operator, count, tolerance=TOLERANCE)
    return found.values, float(found.residuals.max() / np.abs(found.values).max())


def _jacobian_spectrum(
    network: CordsNet, image: NDArray[np.uint8], rates: list[Tensor], count: int
) -> tuple[Complexes, float]:
    """The same of W, gated by which units are active, for all areas and the connections between them."""
    system = CordsNetSystem(network, image, precision="float32")
    step = dynamics.jacobian_operator(system, system.state_of(rates)[0])
    values, residual = _spectrum(dynamics.shifted(step, 1 - network.alpha), count)
    return values / network.alpha, residual


def difference(early: Sequence[float], late: Sequence[float]) -> dict[str, Any]:
    """The mean difference of pairs, with Student's 95 % interval.

    Not valid for differences that are far from normally distributed; with three pairs the interval is wide.

    Parameters
    ----------
    early, late : sequence of float
        One value for each pair.

    Returns
    -------
    dict
        ``"mean"`` of early minus late, ``"interval"`` (None for a single pair) and ``"pairs"``.
    """
    gaps = np.asarray(early, np.float64) - np.asarray(late, np.float64)
    mean = float(gaps.mean())
    if len(gaps) < 2:
        return {"mean": mean, "interval": None, "pairs": len(gaps)}
    half = float(student.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps)))
    return {"mean": mean, "interval": [mean - half, mean + half], "pairs": len(gaps)}


def _summary(found: dict[tuple[int, str], Responses], settings: EarlyLateSettings) -> dict[str, Any]:
    rows = []
    for (seed, name), own in found.items():
        row: dict[str, Any] = {"seed": seed, "trained": name, "residual": float(own.residual)}
        measured = {measure: own.values(measure) for measure in MEASURES}
        measured |= {f"accuracy_{window}": own.accuracy(getattr(settings, window)) for window in WINDOWS}
        for measure, values in measured.items():
            row[measure] = float(values.mean())
            if measure != "imaginary_weights":  # of areas, which are no sample
                _, low, high = analysis.statistics.bootstrap_mean(values, resamples=settings.resamples, rng=seed)
                row[f"{measure}_interval"] = [float(low), float(high)]
        row["overshoot_by_area"] = own.overshoot.mean(axis=0).tolist()
        rows.append(row)
    differences = {
        measure: difference(*([row[measure] for row in rows if row["trained"] == name] for name in WINDOWS))
        for measure in MEASURES
    }
    return {
        "windows": {name: list(getattr(settings, name)) for name in WINDOWS},
        "networks": rows,
        "differences": differences,
    }


def _figure(folder: Path, found: dict[tuple[int, str], Responses], settings: EarlyLateSettings) -> None:
    first = next(iter(found.values()))
    responses = {
        f"{name} ({'-'.join(f'{ms:g}' for ms in getattr(settings, name))} ms)": np.stack(
            [own.response[:, -1] for (_, trained), own in found.items() if trained == name]
        )
        for name in WINDOWS
    }
    spectra = {
        label: np.concatenate([own.jacobian.ravel() for (_, trained), own in found.items() if trained == name])
        for label, name in zip(responses, WINDOWS, strict=True)
    }
    pairs = {
        title: [
            [float(own.values(measure).mean()) for (_, trained), own in found.items() if trained == name] for name in WINDOWS
        ]
        for measure, title in (("overshoot", "overshoot"), ("imaginary_jacobian", "mean |imaginary part|"))
    }
    figure = analysis.figures.early_and_late(first.times_ms, responses, spectra, pairs)
    analysis.figures.save(figure, folder / "early_late.png")


def in_words(found: dict[str, Any]) -> str:
    """The results as lines to print.

    Returns
    -------
    str
        A table of the networks and a line for each difference, without a line end after the last.
    """
    begin, end = (" to ".join(f"{ms:g}" for ms in found["windows"][name]) for name in WINDOWS)
    lines = [
        f"accuracy from {begin} ms and from {end} ms; overshoot of the last area; mean modulus of the imaginary parts",
        "of leading eigenvalues of the Jacobian under an image and of W_rec - I; 95 % intervals over images",
        "seed  trained  accuracy early, late   overshoot                   Jacobian                    W_rec - I",
    ]
    for row in found["networks"]:
        both = f"{row['accuracy_early']:.3f}, {row['accuracy_late']:.3f}"
        measured = [
            f"{row[name]:.4f} ({row[f'{name}_interval'][0]:.4f} to {row[f'{name}_interval'][1]:.4f})"
            for name in ("overshoot", "imaginary_jacobian")
        ]
        lines.append(
            f"{row['seed']:4d}  {row['trained']:<7}  {both:<20}   {measured[0]:<26}  {measured[1]:<26}  "
            f"{row['imaginary_weights']:.4f}"
        )
    lines.append("early minus late, with 95 % intervals over pairs of networks:")
    for measure, gap in found["differences"].items():
        ends = "" if gap["interval"] is None else f" ({gap['interval'][0]:+.4f} to {gap['interval'][1]:+.4f})"
        lines.append(f"  {gap['mean']:+.4f}{ends}  {MEASURES[measure]}")
    lines.append(f"largest relative residual of the eigenvalues: {max(row['residual'] for row in found['networks']):.1e}")
    return "\n".join(lines)
