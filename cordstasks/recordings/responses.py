"""Responses of models in the form of a recording, so that either side can stand anywhere."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from cordstasks.cordsnet.checkpoints import load
from cordstasks.cordsnet.network import CordsNet
from cordstasks.cordsnet.simulator import Simulator
from cordstasks.errors import InputError
from cordstasks.frontend.frontend import FrontEnd
from cordstasks.recordings.recording import Recording
from cordstasks.runs.loading import TrainedNetworks, TrainedRun
from cordstasks.stimuli import Movie
from cordstasks.tasks import TrialBatch
from cordstasks.tasks.abstract.base import AbstractBatch
from cordstasks.utils.arguments import number, plain, whole
from cordstasks.utils.devices import resolve

__all__ = ["Bins", "area_name", "projections", "respond", "respond_run", "time_bins"]

BATCH = 32  # images at once at 64 px
FULL_SIZE = 64
Bins = NDArray[np.float64]
Weights = str | os.PathLike[str] | CordsNet


def area_name(area: int) -> str:
    """The region of an area's units.

    Parameters
    ----------
    area : int
        Numbered from 0.

    Returns
    -------
    str
        Such as ``"area 0"``.
    """
    return f"area {area}"


def time_bins(bins_ms: ArrayLike, duration_ms: float) -> Bins:
    """Bins (time bin, 2) in ms: as they are, or of one width from the onset to the end.

    Parameters
    ----------
    bins_ms : float or (time bin, 2)
        Width of the bins, or the start and end of each, in ms.
    duration_ms : float
        The end, for bins of one width.

    Returns
    -------
    float64 array (time bin, 2)
        Start and end of each bin in ms after the onset; bins of one width that would go beyond the end are left out.

    Raises
    ------
    InputError
        If the width is not above 0 or longer than the duration, or bins have another shape or are not finite.
    """
    given = plain(bins_ms)
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        width = number("bins_ms", given, "give a width in ms above 0, or start and end of each bin", above=0)
        count = int(np.floor(duration_ms / width + 1e-9))
        if count < 1:
            raise InputError(f"bins_ms={width:g}: is longer than the {duration_ms:g} ms shown; give narrower bins")
        starts = np.arange(count) * width
        return np.stack([starts, starts + width], axis=1)
    bins = np.asarray(given, dtype=np.float64)
    if bins.ndim != 2 or bins.shape[1:] != (2,) or not np.isfinite(bins).all():
        raise InputError(f"bins_ms has shape {bins.shape}; give a width in ms, or (time bin, 2) starts and ends")
    return bins


def respond(
    model: Weights,
    stimuli: Sequence[NDArray[np.uint8]] | NDArray[np.uint8] | Sequence[Movie],
    *,
    stimulus_ids: Sequence[str] | None = None,
    bins_ms: ArrayLike = 10.0,
    image_ms: float = 200.0,
    areas: int | Iterable[int] | None = None,
    side: int | None = None,
    projection: int | None = None,
    rng: int = 0,
    device: str = "auto",
    progress: bool = True,
) -> Recording:
    """The activity of areas of a CordsNet while it sees images or movies.

    An image appears at 0 ms after the spontaneous state, stays for `image_ms`, and is followed by a blank (a zero tensor).
    The network's state after each Euler step stands for the time of that step, and bins of any width average it. Before
    0 ms the state is the spontaneous one. Movies are watched by a `cordstasks.frontend.FrontEnd`, which begins each with
    200 ms of its first frame; their bins have one width, a multiple of 2 ms.

    Parameters
    ----------
    model : path-like or CordsNet
        Weights, see `cordstasks.cordsnet.load`, or a CordsNet.
    stimuli : sequence of uint8 arrays (height, width, channel), or of Movie
        Images of any sizes, or movies of one duration.
    stimulus_ids : sequence of str, optional
        Names of the stimuli (default: their numbers).
    bins_ms : float or (time bin, 2)
        Width of the bins, which then go from 0 to `image_ms`; or the start and end of each bin, in ms.
    image_ms : float
        How long an image is shown.
    areas : int or iterable of int, optional
        Areas, numbered from 0 (default: all).
    side : int, optional
        Average each area's map to at most `side` x `side` locations: 1 pools over the whole map (None: keep every unit).
    projection : int, optional
        Areas of more features than this are projected at random to this number (a sparse random matrix, Li, Hastie & Church
        2006), which bounds memory and keeps distances approximately. Only images can be projected.
    rng : int
        Seed of the projection.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Recording
        One row per stimulus; regions are ``"area 0"``, ``"area 1"`` and so on.

    Raises
    ------
    InputError
        If the stimuli are no images or movies, or a number is out of range.
    """
    if isinstance(stimuli, np.ndarray) and stimuli.ndim != 4:
        raise InputError(f"stimuli has shape {stimuli.shape}; give uint8 images (image, height, width, channel), or movies")
    if not len(stimuli):
        raise InputError("stimuli is empty; give at least one image or movie")
    ids = [str(each) for each in (range(len(stimuli)) if stimulus_ids is None else stimulus_ids)]
    if len(ids) != len(stimuli):
        raise InputError(f"stimulus_ids has {len(ids)} names for {len(stimuli)} stimuli; give one for each")
    if isinstance(stimuli[0], Movie):
        if projection is not None:
            raise InputError(f"projection={projection}: is for images; give side=4 to have fewer features of movies")
        return _watched(model, stimuli, ids, bins_ms, areas, side, device)  # type: ignore[arg-type]
    network = model if isinstance(model, CordsNet) else load(model)
    image_ms = number("image_ms", image_ms, "give a duration in ms above 0", above=0)
    bins = time_bins(bins_ms, image_ms)
    chosen = range(network.depth) if areas is None else areas
    simulator = Simulator(network.to(resolve(device)), areas=chosen, device=resolve(device))
    matrices = projections(network, simulator.areas, side, projection, rng)
    size = max(1, BATCH * FULL_SIZE**2 // max(FULL_SIZE**2, network.image_size**2))
    parts = []
    with tqdm(total=len(stimuli), desc="responses", unit="image", leave=False, **_hidden(not progress)) as bar:
        for start in range(0, len(stimuli), size):
            images = stimuli[start : start + size]
            parts.append(presented(simulator, images, bins, image_ms, side, matrices))  # type: ignore[arg-type]
            bar.update(len(images))
    blocks = [np.concatenate([part[place] for part in parts]) for place in range(len(simulator.areas))]
    return _recording(blocks, simulator.areas, ids, bins, str(network.card.get("weights", "CordsNet")))


def _hidden(hidden: bool) -> dict[str, bool]:
    """The option of tqdm that hides a bar; without it, the environment variable TQDM_DISABLE decides."""
    return {"disable": True} if hidden else {}


def _recording(blocks: Sequence[NDArray[Any]], areas: Sequence[int], ids: Sequence[str], bins: Bins, name: str) -> Recording:
    sizes = [block.shape[2] for block in blocks]
    return Recording(
        np.concatenate(blocks, axis=2),
        np.array(ids),
        bins,
        regions=np.repeat([area_name(area) for area in areas], sizes),
        unit_ids=np.array([f"{area}.{unit}" for area, size in zip(areas, sizes, strict=True) for unit in range(size)]),
        name=name,
    )


def projections(network: CordsNet, areas: Sequence[int], side: int | None, projection: int | None, rng: int) -> list[Any]:
    """A sparse random matrix (feature, component) for each area that has more features than `projection`, else None.

    Parameters
    ----------
    network : CordsNet
    areas : sequence of int
        Areas, numbered from 0.
    side : int, optional
        Areas' maps are averaged to at most `side` x `side` locations first (None: every unit is a feature).
    projection : int, optional
        Number of components (None: no area is projected).
    rng : int
        Seed; each area has a matrix of its own.

    Returns
    -------
    list of (SciPy sparse matrix or None)
        One for each area, float32, in compressed columns; features times the matrix are the components.

    Raises
    ------
    InputError
        If the number of components is not a whole number of at least 1.
    """
    from sklearn.random_projection import SparseRandomProjection

    made: list[Any] = []
    most = None if projection is None else whole("projection", projection)
    for area in areas:
        width = min(side or network.sides[area], network.sides[area])
        features = int(network.conv_bias[area].shape[0]) * width**2
        if most is None or features <= most:
            made.append(None)
            continue
        fitted = SparseRandomProjection(
            most, random_state=np.random.RandomState([rng, area])
        )  # scikit-learn takes no Generator
        made.append(fitted.fit(np.zeros((1, features), np.float32)).components_.T.astype(np.float32).tocsc())
    return made


@torch.no_grad()
def presented(
    simulator: Simulator,
    images: Sequence[NDArray[np.uint8]],
    bins: Bins,
    image_ms: float,
    side: int | None,
    matrices: Sequence[Any],
) -> list[NDArray[np.float32]]:
    """Activity (image, time bin, feature) of each of the simulator's areas in response to some images."""
    network = simulator.network
    x = torch.cat([network.preprocess(np.asarray(image)[None]) for image in images])
    shown, blank = simulator.drives(x), simulator.drives(torch.zeros_like(x))
    weights, before = _overlaps(bins, network.dt)
    rates = simulator.spontaneous(len(x))
    made: list[list[NDArray[np.float32]]] = [[] for _ in simulator.areas]
    totals: list[Tensor | float] = []

    def read() -> list[Tensor]:
        return [_pooled(rates[area], side) for area in simulator.areas]

    at_rest, done = read(), 0
    for place in range(len(bins)):
        totals = [float(before[place]) * rest for rest in at_rest]
        steps = np.flatnonzero(weights[place])
        for step in steps.tolist():
            while done < step + 1:
                drives = shown if done * network.dt < image_ms - 1e-9 else blank
                simulator.step(rates, drives)
                done += 1
            for index, maps in enumerate(read()):
                totals[index] = totals[index] + float(weights[place, step]) * maps
        for index, (total, matrix) in enumerate(zip(totals, matrices, strict=True)):
            assert isinstance(total, Tensor)
            values = total.float().cpu().numpy()
            made[index].append(values if matrix is None else np.asarray(values @ matrix, dtype=np.float32))
    return [np.stack(each, axis=1) for each in made]


def _pooled(maps: Tensor, side: int | None) -> Tensor:
    """Features (image, feature) of an area's maps; the result does not share memory with the state."""
    if side is not None and side < maps.shape[-1]:
        maps = F.adaptive_avg_pool2d(maps, side)
    return maps.flatten(1).clone()


def _overlaps(bins: Bins, dt: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The fraction of each bin that each Euler step fills (bin, step), and that lies before 0 ms (bin,).

    Step k, counted from 0, stands for the time from k dt to (k + 1) dt, with the state at its end.
    """
    starts, ends = bins[:, :1], bins[:, 1:]
    steps = max(1, int(np.ceil(ends.max() / dt - 1e-9)))
    edges = np.arange(steps + 1) * dt
    overlap = np.minimum(ends, edges[None, 1:]) - np.maximum(starts, edges[None, :-1])
    widths = ends - starts
    weights = np.where(overlap > 1e-9, overlap, 0.0) / widths
    before = np.clip(np.minimum(ends, 0.0) - starts, 0.0, None)[:, 0] / widths[:, 0]
    return weights, before


def _watched(
    model: Weights,
    movies: Sequence[Movie],
    ids: Sequence[str],
    bins_ms: ArrayLike,
    areas: int | Iterable[int] | None,
    side: int | None,
    device: str,
) -> Recording:
    """Movies through a front-end, with its bank."""
    width = plain(bins_ms)
    if not isinstance(width, (int, float)):
        raise InputError("bins_ms: movies are read in bins of one width; give it in ms, a multiple of 2 ms")
    if areas is None:
        areas = range((model if isinstance(model, CordsNet) else load(model)).depth)
    frontend = FrontEnd(model, areas=areas, side=side, device=device)
    durations = {movie.duration_ms for movie in movies}
    if len(durations) > 1:
        raise InputError(
            f"stimuli: movies last from {min(durations):g} to {max(durations):g} ms; give movies of one duration"
        )
    features = frontend.features(movies, dt=float(width))
    rates = features.take(slice(None)).cpu().numpy()
    bins = time_bins(width, rates.shape[1] * float(width))
    blocks = np.split(rates, np.cumsum(frontend.blocks)[:-1], axis=2)
    return _recording(blocks, frontend.areas, ids, bins, str(frontend.network.card.get("weights", "CordsNet")))


@torch.no_grad()
def respond_run(
    run: TrainedRun | TrainedNetworks,
    batch: TrialBatch | AbstractBatch,
    *,
    by: Sequence[str] = (),
    network: int = 0,
) -> Recording:
    """The activity of a trained network's recurrent units in trials of its task, without private noise.

    Parameters
    ----------
    run : TrainedRun or TrainedNetworks
        From `cordstasks.load_run`.
    batch : TrialBatch
        Trials, such as ``run.heldout()`` or ``run.task.sample(100, seed=0, dt=run.settings.dt)``.
    by : sequence of str
        Conditions that name a stimulus, so that trials alike in all of them are repeats of one (default: each trial is a
        stimulus of its own).
    network : int
        Which of the networks of an abstract task.

    Returns
    -------
    Recording
        One row per trial, bins of the run's time step from the beginning of the trial, one region ``"rnn"``.

    Raises
    ------
    InputError
        If a condition or network does not exist, or the batch has another time step.
    """
    if batch.dt != run.settings.dt:
        raise InputError(f"batch: its steps last {batch.dt:g} ms, those of the run {run.settings.dt:g} ms")
    for name in by:
        if name not in batch.conditions:
            raise InputError(f"by={name!r}: the trials have the conditions {', '.join(batch.conditions)}")
    if isinstance(run, TrainedRun) and isinstance(batch, TrialBatch):
        inputs = run.model.inputs(run.features(batch).to(run.frontend.device)).take(slice(None))
        rnn = run.model.rnn
    elif isinstance(run, TrainedRun) or not isinstance(batch, AbstractBatch):
        raise InputError("batch: holds trials of another kind of task than the run's; take them from run.task.sample")
    else:
        if not 0 <= network < len(run.networks):
            raise InputError(f"network={network!r}: the run has {len(run.networks)}; give a number from 0")
        rnn, inputs = run.networks[network], torch.as_tensor(batch.inputs)
    _, states = rnn(inputs, return_states=True)
    rates: NDArray[np.float32] = states.cpu().numpy()
    columns = [batch.conditions[name] for name in by]
    rows = zip(*columns, strict=True) if columns else ((index,) for index in range(len(rates)))
    ids = [" ".join(_named(name, value) for name, value in zip(by or ("trial",), row, strict=True)) for row in rows]
    starts = np.arange(rates.shape[1]) * batch.dt
    bins = np.stack([starts, starts + batch.dt], axis=1)
    return Recording(rates, np.array(ids), bins, regions=np.repeat("rnn", rates.shape[2]), name=run.path.name)


def _named(name: str, value: Any) -> str:
    given = plain(value)
    return f"{name}={given:g}" if isinstance(given, (int, float)) and not isinstance(given, bool) else f"{name}={given}"
