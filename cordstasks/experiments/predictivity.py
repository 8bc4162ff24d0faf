"""How much of a recording each area predicts: responses, regressions, ceiling, null, figures and summary."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cordstasks.analysis import predictivity as analysis
from cordstasks.analysis.predictivity.ceiling import LEAST
from cordstasks.analysis.predictivity.temporal import LEAST_FOR_LAGS, check_training
from cordstasks.cordsnet import architecture as arch
from cordstasks.cordsnet.checkpoints import load
from cordstasks.cordsnet.network import CordsNet
from cordstasks.errors import InputError
from cordstasks.experiments.predict_report import draw, printed, summarised
from cordstasks.experiments.predict_settings import PredictSettings
from cordstasks.experiments.responses_on_disk import AreaResponses
from cordstasks.frontend.frontend import weights_digest
from cordstasks.recordings.files import read
from cordstasks.recordings.pictures import picture_paths, read_pictures
from cordstasks.recordings.recording import Recording
from cordstasks.utils.arguments import path_of
from cordstasks.utils.devices import resolve
from cordstasks.utils.files import read_json, write_json
from cordstasks.utils.interrupt import Interrupted
from cordstasks.utils.run_folder import RunFolder, environment

__all__ = ["Prepared", "predict"]

Bins = NDArray[np.float64]
EVEN = 1e-6  # ms by which distances between bins may differ


@dataclass(frozen=True, eq=False)
class Prepared:
    """A checked recording and model, before anything is computed.

    Attributes
    ----------
    recording : Recording
        Of the chosen region and bins, and of stimuli that have a picture.
    notes : tuple of str
        What was left out.
    splits : list of Split
    lead : int
        How many of the model's bins precede those of the recording.
    model_bins : (model time, 2)
        In ms.
    network : CordsNet
    areas : tuple of int
    pictures : str
        SHA-256 of the files of the pictures, in hexadecimal.
    """

    recording: Recording
    notes: tuple[str, ...]
    splits: list[analysis.Split]
    lead: int
    model_bins: Bins
    network: CordsNet
    areas: tuple[int, ...]
    pictures: str


def predict(
    settings: PredictSettings,
    out: str | os.PathLike[str],
    *,
    device: str = "auto",
    model: CordsNet | None = None,
    verbose: bool = False,
) -> dict[str, Any]:
    """Do what ``python -m cordstasks.predict`` does.

    Everything is kept in the folder, area by area, so that a call that was stopped is continued by the same call, and a
    second call only reads.

    Parameters
    ----------
    settings : PredictSettings
        Everything that determines the results.
    out : path-like
        The folder of results.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    model : CordsNet, optional
        A network of your own, in place of ``settings.weights``.
    verbose : bool
        Print what a command prints.

    Returns
    -------
    dict
        What ``summary.json`` holds.

    Raises
    ------
    InputError
        If the recording, the pictures, the weights or the folder cannot be used, or the folder holds results of other
        settings, of other pictures or of another recording.
    KeyboardInterrupt
        After Ctrl-C; the same call continues.
    """
    began = time.monotonic()
    prepared = prepare(settings, model)
    run = RunFolder(path_of("out", out))
    place = resolve(device)
    identity = {
        "pictures_sha256": prepared.pictures,
        "recording_sha256": prepared.recording.digest(),
        "weights_sha256": weights_digest(prepared.network),
    }
    _check_folder(run, settings, identity)
    with run.lock():
        if not run.begun:
            run.start(settings, **identity, environment=environment(place))
        run.tidy()
        try:
            return _carry_out(settings, prepared, run, str(place), began, verbose=verbose)
        except KeyboardInterrupt as stop:
            raise Interrupted(f"the same command, from {run.path}") from stop


def _check_folder(run: RunFolder, settings: PredictSettings, identity: Mapping[str, str]) -> None:
    """Refuse a folder with results of other settings, of changed pictures or a changed recording, or of other weights."""
    if not run.begun:
        return
    config = run.config()
    if config.get("family") != settings.FAMILY:
        raise InputError(f"out={run.path}: holds a run of another command; choose another folder")
    PredictSettings.from_dict(config, f"{run.path}/config.json").agree(settings.as_dict(), run.path, instead="give the same")
    for name, value in identity.items():
        if config.get(name) != value:
            what = name.removesuffix("_sha256")
            other = "other pictures" if what == "pictures" else f"another {what} of this name"
            raise InputError(f"out={run.path}: its results are of {other}; choose another folder")


def prepare(settings: PredictSettings, model: CordsNet | None = None) -> Prepared:
    """Read and check the recording, the pictures' names and the model.

    Raises
    ------
    InputError
        As `predict`.
    """
    recording = read(settings.recording)
    recording = recording.select(region=settings.region, from_ms=settings.from_ms, to_ms=settings.to_ms)
    paths = picture_paths(settings.stimuli, recording.stimuli)
    files = {each: path for each, path in zip(recording.stimuli, paths, strict=True) if path is not None}
    shown = list(files)
    notes = list(recording.notes)
    if len(shown) < len(paths):
        notes.append(f"stimuli without a picture, left out: {len(paths) - len(shown)} of {len(paths)}")
    if not shown:
        raise InputError(
            f"stimuli={settings.stimuli}: no stimulus has a picture, such as {recording.stimuli[0]!r}; name files like the "
            "stimulus ids, or give a table (CSV) with the columns stimulus_id and file"
        )
    recording = recording.select(stimuli=shown)
    if np.ptp(recording.rates, axis=(0, 1)).max() == 0:
        raise InputError(
            f"recording={settings.recording}: nothing varies in the chosen region and bins, and among the stimuli that have "
            "a picture; choose others"
        )
    twice = len(files) - len(set(files.values()))
    if twice:
        notes.append(
            f"stimuli that have the picture of another stimulus, and may be predicted from it: {twice} of {len(files)}"
        )
    if not _repeated(recording):
        notes.append("stimuli have single presentations, so that there is no ceiling")
    splits = _splits(settings, recording, notes)
    lead, bins = model_bins(recording.bins_ms, settings.lag_ms, notes)
    fitted = len(splits[0].train)
    if lead and fitted < LEAST_FOR_LAGS:
        raise InputError(
            f"lag_ms={settings.lag_ms:g}: lags are chosen on the stimuli to fit on, which are {fitted}, but "
            f"{LEAST_FOR_LAGS} are needed; give more stimuli, or lag_ms=0"
        )
    check_training(fitted, len(recording.bins_ms), lead + 1, regression_of(settings))
    network = load(settings.weights) if model is None else model
    areas = arch.check_areas(range(network.depth) if settings.areas is None else settings.areas, network.depth)
    end = float(recording.bins_ms[-1, 1])
    if end < network.dt:
        raise InputError(
            f"recording={settings.recording}: its last time bin ends at {end:g} ms, before the end of the model's first "
            f"step of {network.dt:g} ms; give times in ms (not in s) after the onset of the stimulus"
        )
    return Prepared(recording, tuple(notes), splits, lead, bins, network, areas, _contents(files.values()))


def _contents(files: Iterable[Path]) -> str:
    """SHA-256 of the content of files, in hexadecimal."""
    digest = hashlib.sha256()
    for file in files:
        try:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        except OSError as error:
            raise InputError(f"{file}: cannot be read ({error.strerror}); replace or remove it") from error
    return digest.hexdigest()


def _splits(settings: PredictSettings, recording: Recording, notes: list[str]) -> list[analysis.Split]:
    objects = recording.average().objects if settings.stratify else None
    options: dict[str, Any] = {"splits": settings.splits, "held_out": settings.held_out, "rng": settings.seed}
    try:
        return analysis.stimulus_splits(len(recording.stimuli), objects=objects, **options)
    except InputError as error:
        if objects is None or not str(error).startswith("objects"):
            raise
        notes.append(
            f"splits are drawn without regard to objects: {len(set(objects.tolist()))} are too many to hold out each"
        )
        return analysis.stimulus_splits(len(recording.stimuli), **options)


def model_bins(bins: Bins, lag_ms: float, notes: list[str]) -> tuple[int, Bins]:
    """Bins of the model: those of the recording, and as many before them as the largest lag asks."""
    steps = np.diff(bins[:, 0])
    widths = bins[:, 1] - bins[:, 0]
    if len(bins) == 1:
        steps = widths
    if max(np.ptp(steps), np.ptp(widths)) > EVEN:
        notes.append("time bins are not evenly spaced, so that no lag is tried")
        return 0, bins
    step = float(steps[0])
    lead = int(np.floor(lag_ms / step + 1e-9))
    before = bins[0] - step * np.arange(lead, 0, -1)[:, None]
    return lead, np.concatenate([before, bins])


def regression_of(settings: PredictSettings, method: str | None = None) -> analysis.Regression:
    """The regression that settings describe."""
    return analysis.Regression(method or settings.method, settings.components)


def _carry_out(
    settings: PredictSettings, prepared: Prepared, run: RunFolder, device: str, began: float, *, verbose: bool
) -> dict[str, Any]:
    recording = prepared.recording
    if verbose:
        print(recording.describe())
        print("\n".join(f"note: {note}" for note in prepared.notes) + ("\n" if prepared.notes else ""), end="")
    ceiling = _ceiling(settings, recording)
    responses = AreaResponses(run.path / "responses", settings, prepared.areas, prepared.model_bins)
    missing = [area for area in prepared.areas if not _file(run, area).is_file()]
    if missing:
        responses.compute(prepared.network, lambda ids: read_pictures(settings.stimuli, ids), recording.stimuli, device)
    found: dict[int, dict[str, NDArray[Any]]] = {}
    per_area = 2 * settings.splits + (0 if settings.time_map == "none" else len(prepared.model_bins))
    hidden = {} if missing else {"disable": True}  # otherwise the environment variable TQDM_DISABLE decides
    with tqdm(total=per_area * len(missing), desc="regressions", unit="step", leave=False, **hidden) as bar:
        for area in prepared.areas:
            if area in missing:
                bar.set_postfix_str(f"area {area}")
                scores = _scores(settings, prepared, responses.area(area), bar)
                responses.write(_file(run, area), scores)
            found[area] = responses.read(_file(run, area))
    summary = summarised(settings, recording, prepared.notes, ceiling, found)
    earlier = _seconds(run)
    summary |= {
        "environment": run.config().get("environment"),
        "seconds": earlier if earlier is not None and not missing else time.monotonic() - began,
    }
    draw(settings, recording, prepared.model_bins, ceiling, found, run.path)
    write_json(run.path / "summary.json", summary)
    if verbose:
        print(printed(summary))
        print(f"{time.monotonic() - began:.0f} s; {run.path}/: summary.json and figures")
    return summary


def _seconds(run: RunFolder) -> float | None:
    """The duration of the command that computed the results, if they are complete."""
    value = read_json(run.path / "summary.json").get("seconds") if run.finished else None
    return float(value) if isinstance(value, (int, float)) else None


def _file(run: RunFolder, area: int) -> Path:
    return run.path / "areas" / f"area-{area}.npz"


def _ceiling(settings: PredictSettings, recording: Recording) -> analysis.Ceiling | None:
    """The recording's ceiling, or None where presentations are not repeated."""
    if not _repeated(recording):
        return None
    return analysis.split_half_ceiling(
        recording.rates, recording.stimulus_ids, halves=settings.halves, rng=np.random.default_rng([settings.seed, 1])
    )


def _repeated(recording: Recording) -> bool:
    """Whether enough stimuli have two or more presentations for a ceiling."""
    return int(np.sum(np.unique(recording.stimulus_ids, return_counts=True)[1] > 1)) >= LEAST


def _scores(
    settings: PredictSettings, prepared: Prepared, features: NDArray[Any], bar: tqdm[Any]
) -> dict[str, NDArray[Any]]:
    """What one area predicts, as arrays that are kept."""
    recorded = prepared.recording.average().rates
    regression = regression_of(settings)
    lead, splits = prepared.lead, prepared.splits
    over_time = analysis.temporal_predictivity(
        features,
        recorded,
        splits,
        regression=regression,
        lead=lead,
        lags=range(lead + 1),
        dimensions=settings.dimensions,
        rng=np.random.default_rng([settings.seed, 2]),
        progress=bar.update,
    )
    kept = {
        "per_bin": over_time.per_bin,
        "spanning": over_time.spanning,
        "lags": over_time.lags,
        "held": np.array(over_time.held),
        "features": np.array(features.shape[2]),
    }
    if recorded.shape[1] > 1:
        null = analysis.shuffled_time(
            features,
            recorded,
            splits,
            regression=regression,
            lead=lead,
            lags=over_time.lags.tolist(),
            permutations=settings.permutations,
            dimensions=settings.dimensions,
            rng=np.random.default_rng([settings.seed, 3]),
            progress=bar.update,
        )
        kept["shuffled"] = null.shuffled
    if settings.time_map != "none":
        kept["map"] = analysis.time_map(
            features, recorded, splits, regression=regression_of(settings, settings.time_map), progress=bar.update
        )
    return kept
