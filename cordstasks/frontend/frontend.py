"""The visual front-end: movies in, features of areas of a frozen CordsNet out."""

from __future__ import annotations

import copy
import hashlib
import json
import operator
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from cordstasks.cordsnet.architecture import CHANNELS_OUT
from cordstasks.cordsnet.checkpoints import load, to_bytes
from cordstasks.cordsnet.network import CordsNet
from cordstasks.cordsnet.simulator import Simulator, multiply_accumulates
from cordstasks.errors import FULL, InputError, Note, WriteError, naming, unknown
from cordstasks.frontend.bank import Bank, Shard
from cordstasks.frontend.features import Features, joined, read_areas
from cordstasks.frontend.histories import Cost, Histories, plan
from cordstasks.frontend.stretches import Stepper
from cordstasks.frontend.work import Piece, Recipe, simulated
from cordstasks.stimuli import Movie
from cordstasks.utils.arguments import is_number, number, plain, shown, whole
from cordstasks.utils.devices import resolve
from cordstasks.utils.parallel import Spread

__all__ = ["FrontEnd", "weights_digest"]

STEP_MS = 2.0
WARMUP_MS = 200.0  # of a trial's first frame, from the spontaneous state, before the trial begins
READOUTS = ("flatten", "pool")
SHARD_MOVIES = 64
CUDA_MOVIES = 512  # the same on CUDA, which many histories at once keep busy
FORMAT = 2  # changes when the meaning of stored features does


class FrontEnd:
    """A frozen CordsNet that watches movies.

    The activity (channel x height x width) of the areas that are read is averaged over the front-end's 2 ms steps within
    each step of the network that reads it. Areas above the highest of them are not simulated, which changes nothing, since
    an area is driven only by those below it. Trials with a common past are simulated once, settled states are copied (see
    `cordstasks.frontend.histories`), and results are kept in a bank on disk.

    Parameters
    ----------
    weights : path-like or CordsNet, default "cordsnet-r8"
        A registry name or a file, see `cordstasks.cordsnet.load`, or a CordsNet, of which the front-end takes a copy: the
        caller's stays as and where it is, and what becomes of it later changes nothing here.
    areas : int or iterable of int, optional
        The area or areas to read, numbered from 0 (default: the last). Features are those of each area's units in turn, from
        the lowest area to the highest, and not scaled; `Features.blocks` has the number of each.
    side : int, optional
        Average each area's map to at most `side` x `side` locations; smaller maps stay as they are (None: keep every unit).
    device : {"auto", "cpu", "cuda", "mps"}, default "auto"
        Where to simulate.
    readout : str, default "flatten"
        ``"flatten"`` keeps locations, ``"pool"`` averages over the whole maps, as ``side=1`` does.
    precision : str, optional
        Precision of the products, see `cordstasks.cordsnet.simulator.Simulator`.
    bank : path-like or bool, optional
        Folder of the bank (None: in the user's cache; False: no bank). One that cannot be written is only read: what it
        lacks is computed each time, and a `cordstasks.errors.Note` says so once.
    bank_limit : float, default 10.0
        Largest size of the bank in GB.
    tolerance : float, default 0.001
        Error allowed to a settled state, relative to the norm of each area's activity; 0 simulates every step.
    batch : int, optional
        Histories simulated at once (None: by device).

    Attributes
    ----------
    areas : tuple of int
        The areas that are read, in increasing order.
    sides : tuple of int
        The side of each one's map of features.

    Raises
    ------
    InputError
        If the weights, areas, device, read-out or precision are unknown, or the side is below 1.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | CordsNet = "cordsnet-r8",
        *,
        areas: int | Iterable[int] | None = None,
        side: int | None = None,
        device: str = "auto",
        readout: str = "flatten",
        precision: str | None = None,
        bank: Path | str | bool | None = None,
        bank_limit: float = 10.0,
        tolerance: float = 1e-3,
        batch: int | None = None,
    ) -> None:
        if readout not in READOUTS:
            raise unknown("readout", readout, READOUTS)
        most = 1 if readout == "pool" else _check_side(side)
        asked = "give a relative error of at least 0 (simulate everything) and below 0.1"
        tolerance = number("tolerance", tolerance, asked, least=0, below=0.1)
        if batch is not None:
            batch = whole("batch", batch)
        self.device = resolve(device)
        network = copy.deepcopy(weights).float() if isinstance(weights, CordsNet) else load(weights)
        if network.dt != STEP_MS:
            raise InputError(
                f"weights: a network of steps of {network.dt:g} ms; the front-end takes those of {STEP_MS:g} ms"
            )
        self.network = network.to(self.device)
        self._sha256 = weights_digest(self.network)  # now, since the simulator computes with the weights of now
        self.simulator = Simulator(self.network, areas=areas, device=self.device, precision=precision)
        self.areas = self.simulator.areas
        self.sides = tuple(min(most or whole, whole) for whole in (self.network.sides[area] for area in self.areas))
        self.readout, self.tolerance, self.precision = readout, tolerance, precision
        self.batch = batch or _batch_size(self.device, self.network, self.simulator.depth)
        if bank is False:
            self.bank = None
        else:
            with naming({"folder=": "bank=", "limit_gb=": "bank_limit="}):
                self.bank = Bank(None if bank is None or bank is True else bank, limit_gb=bank_limit)
        self._bank_writable = True
        self._engine: str | None = None

    @property
    def image_size(self) -> int:
        """Side in px of the images the network sees."""
        return self.network.image_size

    @property
    def units(self) -> int:
        """Features per time step."""
        return sum(self.blocks)

    @property
    def blocks(self) -> tuple[int, ...]:
        """How many of them each area has."""
        return tuple(CHANNELS_OUT[area] * side**2 for area, side in zip(self.areas, self.sides, strict=True))

    @property
    def step_fraction(self) -> float:
        """Multiply-accumulates of a step, as a fraction of those of a step of the whole network."""
        simulated, whole = (
            multiply_accumulates(depth, image_size=self.image_size, in_channels=self.network.in_channels)["step"]
            for depth in (self.simulator.depth, self.network.depth)
        )
        return simulated / whole

    @property
    def engine(self) -> str | None:
        """How steps have been simulated, in words; None if none have been, as all features were in the bank."""
        return self._engine

    def describe(self) -> str:
        """What is read, in words: ``"area 3, averaged to 4 x 4: 2,048 features"``.

        Returns
        -------
        str
            For a command's output.
        """
        first, *more = map(str, self.areas)
        names = f"areas {', '.join([first, *more[:-1]])} and {more[-1]}" if more else f"area {first}"
        averaged = ""
        if self.sides != tuple(self.network.sides[area] for area in self.areas):
            most = max(self.sides)
            averaged = f", averaged to {'at most ' if min(self.sides) < most else ''}{most} x {most}"
        return f"{names}{averaged}: {self.units:,} features"

    def digest(self) -> str:
        """SHA-256 of the weights that the front-end computes with, see `weights_digest`.

        Returns
        -------
        str
            64 hexadecimal digits.
        """
        return self._sha256

    def bin_steps(self, dt: float) -> int:
        """Front-end steps in one step of `dt` ms of the network that reads the features.

        Returns
        -------
        int
            At least 1.

        Raises
        ------
        InputError
            If `dt` is not a multiple of the front-end's step.
        """
        steps = round(dt / STEP_MS) if is_number(plain(dt)) else 0
        if steps < 1 or abs(steps * STEP_MS - dt) > 1e-9:
            named = f"{dt:g}" if isinstance(plain(dt), Real) else shown(dt)
            raise InputError(f"dt={named} ms: give a multiple of the front-end's step of {STEP_MS:g} ms")
        return steps

    def features(
        self, movies: Sequence[Movie], *, dt: float = 20.0, label: str = "front-end", spread: Spread | None = None
    ) -> Features:
        """Features of `movies`, from the bank where it has them.

        The bank is written as the work goes on, so that a call that is interrupted has lost no more than the batch that was
        being simulated: the next call with the same movies goes on from there.

        Parameters
        ----------
        movies : sequence of Movie
            One per trial.
        dt : float, default 20.0
            Duration in ms of the steps over which features are averaged, a multiple of 2 ms.
        label : str, default "front-end"
            What the progress bar says.
        spread : Spread, optional
            Processes that share the simulation (default: this one alone).

        Returns
        -------
        Features
            Of all movies, in order. They do not depend on `spread`, up to the last bits if the number of threads of a
            process differs.

        Raises
        ------
        InputError
            If there are no movies, or `dt` is not a multiple of the front-end's step.
        """
        if not len(movies):
            raise InputError("movies is empty; give at least one Movie")
        size = self.bin_steps(dt)
        cost = Cost()
        parts = self._parts(movies, size)
        keys = [self._key(part, dt) for part in parts]
        shards: dict[str, Shard] = {}
        problem: WriteError | None = None
        with tqdm(total=_steps(movies), desc=label, unit="step", unit_scale=True, leave=False) as bar:

            def missing() -> Iterator[Piece]:
                """What is not in the bank when its turn comes, since other processes may write there, too."""
                for key, part in dict(zip(keys, parts, strict=True)).items():
                    steps = _steps(part) * keys.count(key)
                    shard = self.bank.read(key) if self.bank else None
                    if shard is None:
                        yield self._piece(key, part, size, bar, steps)
                    else:
                        shards[key] = shard
                        bar.update(steps)

            for piece, shard in self._simulated(missing(), size, spread):
                shards[piece.key] = shard
                problem = self._store(piece, shard) or problem
                cost.add(Cost(**shard.cost))  # type: ignore[arg-type]
        if problem is not None:
            message = f"{problem}; features that are not in the bank yet are computed and not kept"
            warnings.warn(message, Note, stacklevel=2)
        return joined([shards[key] for key in keys], cost, self.blocks)

    def _store(self, piece: Piece, shard: Shard) -> WriteError | None:
        """Keep a shard in the bank; what says that the bank may only be read is returned the first time, and not raised."""
        if self.bank is None or not self._bank_writable:
            return None
        try:
            self.bank.write(piece.key, shard, parts=piece.used)
        except WriteError as error:
            if error.errno in FULL:
                raise
            self._bank_writable = False
            return error
        return None

    def _parts(self, movies: Sequence[Movie], size: int) -> list[Sequence[Movie]]:
        """Movies in groups that are stored together: small ones, unless a large one shares more histories."""
        most = CUDA_MOVIES if self.device.type == "cuda" else SHARD_MOVIES
        parts = [movies[start : start + most] for start in range(0, len(movies), most)]
        if len(parts) == 1:
            return parts
        whole = plan(movies, STEP_MS, size).cost()
        apart = sum(plan(part, STEP_MS, size).cost() for part in parts)
        return parts if apart <= 1.1 * whole else [movies]

    def _prepare(self, images: NDArray[np.uint8]) -> Tensor:
        return self.network.preprocess(images)

    def read(self, activity: Sequence[Tensor]) -> Tensor:
        """Features (image, unit) of the activity (image, channel, height, width) of each of `areas`.

        Returns
        -------
        Tensor of shape (image, unit)
            Areas one after the other, each flattened.
        """
        return read_areas(activity, self.sides)

    def _piece(self, key: str, movies: Sequence[Movie], size: int, bar: tqdm[Any], steps: int) -> Piece:
        """Movies to be simulated and stored together, for which `bar` counts so many steps."""
        made = plan(movies, STEP_MS, size)
        most, done, shown = made.cost(), 0, 0

        def progress(more: int) -> None:
            nonlocal done, shown
            done += more
            now = min(steps, steps * done // most)
            bar.update(now - shown)
            shown = now

        histories = Histories(
            made, areas=self.areas, bin_steps=size, tolerance=self.tolerance, batch=self.batch, progress=progress
        )
        return Piece(key, histories, progress)

    def _simulated(self, pieces: Iterable[Piece], size: int, spread: Spread | None) -> Iterator[tuple[Piece, Shard]]:
        """Simulate pieces, here or elsewhere; the shard of each as soon as it is there."""
        how = {"bin_steps": size, "warmup_steps": round(WARMUP_MS / STEP_MS), "tolerance": self.tolerance}
        stepper = Stepper(self.simulator, prepare=self._prepare, readout=self.read, **how)  # type: ignore[arg-type]
        weights = recipe = None
        if spread is not None:
            content = to_bytes(self.network)
            weights = np.frombuffer(content, np.uint8)
            threads = spread.threads(torch.get_num_threads())
            where = str(self.device)
            sent = hashlib.sha256(content).hexdigest()
            recipe = Recipe(sent, self.areas, self.sides, where, self.precision, **how, threads=threads)  # type: ignore[arg-type]
        bank = self.bank if self._bank_writable else None
        for piece, engine in simulated(pieces, stepper, bank, spread=spread, weights=weights, recipe=recipe):
            self._engine = engine or self._engine
            rows, index = piece.histories.features()
            yield piece, Shard(rows.numpy(), index, asdict(piece.histories.cost))

    def _key(self, movies: Sequence[Movie], dt: float) -> str:
        """Hash of all that determines the features of `movies`: their very pixels, the weights and how they are run."""
        about: dict[str, Any] = {
            "format": FORMAT,
            "weights": self._sha256,
            "alpha": self.simulator.alpha,
            "preprocessing": asdict(self.network.preprocessing),
            "precision": self._products(),
            "areas": self.areas,
            "sides": self.sides,
            "tolerance": float(self.tolerance),
            "dt": float(dt),
            "step": STEP_MS,
            "warmup": WARMUP_MS,
        }
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
        for movie in movies:
            digest.update(repr((movie.frames.shape, movie.duration_ms)).encode())
            for array in (movie.frames, movie.onsets_ms, movie.shown):
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def _products(self) -> str:
        """What decides the last bits of features: float32 agrees between devices and engines to what is kept."""
        precision = self.precision or ("tf32" if self.device.type == "cuda" else "float32")
        return precision if precision in ("float32", "tf32") else f"{precision} on {self.device.type}"


def _steps(movies: Sequence[Movie]) -> int:
    """Steps that movies last."""
    return sum(int(movie.duration_ms // STEP_MS) for movie in movies)


def weights_digest(network: CordsNet) -> str:
    """SHA-256, in hexadecimal, of a network's parameters: their names and float32 values, in order.

    It is that of the tensors, not of the file that they came from, so it is the same for a ``.pth`` and a
    ``.safetensors`` file of equal weights.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _check_side(side: int | None) -> int | None:
    """Return `side` as an int, or None, if maps can be averaged to it."""
    if side is None:
        return None
    try:
        most = 0 if isinstance(side, bool) else operator.index(side)
    except TypeError:
        most = 0
    if most < 1:
        raise InputError(f"side={side!r}: give a whole number of at least 1, or None to keep every unit")
    return most


def _batch_size(device: torch.device, network: CordsNet, depth: int) -> int:
    """Histories at once: enough to fill the processor, within a fraction of its memory."""
    if device.type != "cuda":
        return max(1, SHARD_MOVIES * 64**2 // max(64**2, network.image_size**2))
    state = sum(b.numel() for b in network.conv_bias[:depth]) * 4
    free = torch.cuda.mem_get_info(device)[0]
    return int(max(1, min(1024, free // 8 // (4 * state))))
