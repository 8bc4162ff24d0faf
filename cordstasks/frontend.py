"""The visual front-end: movies in, features of a frozen CordsNet's last area out."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from cordstasks.arguments import is_number, number, plain, shown, whole
from cordstasks.bank import Bank, Shard
from cordstasks.cordsnet import CordsNet, load
from cordstasks.devices import resolve
from cordstasks.errors import InputError, unknown
from cordstasks.histories import Accounts, Plan, Simulation, plan
from cordstasks.simulator import Simulator
from cordstasks.stimuli import Movie

__all__ = ["Features", "FrontEnd"]

STEP_MS = 2.0
WARMUP_MS = 200.0  # of a trial's first frame, from the spontaneous state, before the trial begins
READOUTS = ("flatten", "pool")
SHARD_MOVIES = 64
FORMAT = 2  # changes when the meaning of stored features does


@dataclass(frozen=True)
class Features:
    """Features of trials over time; equal feature vectors are stored once.

    Attributes
    ----------
    rows : float16 (row, unit).
    index : int64 (trial, time): a row for each step; -1 beyond a trial's end, where features are zero.
    accounts : what the simulation cost.
    """

    rows: Tensor
    index: Tensor
    accounts: Accounts

    def __len__(self) -> int:
        return len(self.index)

    @property
    def units(self) -> int:
        """Features a time step."""
        return self.rows.shape[1]

    @property
    def steps(self) -> int:
        """Time steps of the longest trial."""
        return self.index.shape[1]

    def take(self, trials: Tensor | slice) -> Tensor:
        """Features (trial, time, unit) of some trials, in float32.

        `trials` are indices (trial,), a slice, or indices (trial, time) that name a trial for each of the first time steps.
        """
        if isinstance(trials, Tensor) and trials.ndim == 2:
            index = self.index[trials, torch.arange(trials.shape[1], device=self.index.device)]
        else:
            index = self.index[trials]
        chosen = self.rows[index.clamp_min(0)].float()
        return chosen if bool((index >= 0).all()) else chosen * (index >= 0)[..., None]

    def to(self, device: torch.device) -> Features:
        """The same on another device."""
        return Features(self.rows.to(device), self.index.to(device), self.accounts)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (unit,) over all steps of all trials, in float32."""
        count = torch.bincount(self.index[self.index >= 0].flatten(), minlength=len(self.rows)).double()
        weight = count / count.sum()
        mean = torch.zeros(self.units, dtype=torch.float64, device=self.rows.device)
        square = torch.zeros_like(mean)
        for start in range(0, len(self.rows), 8192):
            part, share = self.rows[start : start + 8192].double(), weight[start : start + 8192]
            mean += share @ part
            square += share @ part.square()
        return mean.float(), (square - mean.square()).clamp_min(0).sqrt().float()


class FrontEnd:
    """A frozen CordsNet that watches movies.

    The last area's activity (channel x height x width) is averaged over the front-end's 2 ms steps within each step of
    the network that reads it. Trials with a common past are simulated once, settled states are copied (see
    `cordstasks.histories`), and results are kept in a bank on disk.

    Parameters
    ----------
    weights : a registry name or a file, see `cordstasks.cordsnet.load`.
    device : ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``.
    readout : ``"flatten"`` keeps every unit of the last area, ``"pool"`` averages over its map.
    precision : of the products, see `cordstasks.simulator.Simulator`.
    bank : folder of the bank (None: in the user's cache; False: no bank).
    bank_limit : its largest size in GB.
    tolerance : error allowed to a settled state, relative to the norm of each area's activity; 0 simulates every step.
    batch : histories simulated at once (None: by device).

    Raises
    ------
    InputError : unknown weights, device, read-out or precision.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | CordsNet = "cordsnet-r8",
        *,
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
        asked = "give a relative error from 0 (simulate everything) to 0.1"
        tolerance = number("tolerance", tolerance, asked, least=0, below=0.1)
        if batch is not None:
            batch = whole("batch", batch)
        self.device = resolve(device)
        self.network = weights if isinstance(weights, CordsNet) else load(weights)
        self.network.to(self.device)
        self.simulator = Simulator(self.network, device=self.device, precision=precision)
        self.readout, self.tolerance, self.precision = readout, tolerance, precision
        self.batch = batch or _batch_size(self.device, self.network)
        if bank is False:
            self.bank = None
        else:
            self.bank = Bank(None if bank is None or bank is True else Path(bank), limit_gb=bank_limit)

    @property
    def image_size(self) -> int:
        """Side in px of the images the network sees."""
        return self.network.image_size

    @property
    def units(self) -> int:
        """Features a time step."""
        channels, height, width = self.network.conv_bias[-1].shape
        return int(channels) if self.readout == "pool" else int(channels * height * width)

    def digest(self) -> str:
        """SHA-256 of the weights."""
        digest = hashlib.sha256()
        for name, tensor in self.network.state_dict().items():
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def bin_steps(self, dt: float) -> int:
        """Front-end steps in one step of `dt` ms of the network that reads the features."""
        steps = round(dt / STEP_MS) if is_number(plain(dt)) else 0
        if steps < 1 or abs(steps * STEP_MS - dt) > 1e-9:
            named = f"{dt:g}" if isinstance(plain(dt), Real) else shown(dt)
            raise InputError(f"dt={named} ms: give a multiple of the front-end's step of {STEP_MS:g} ms")
        return steps

    def features(self, movies: Sequence[Movie], *, dt: float = 20.0, label: str = "front-end") -> Features:
        """Features of `movies`, from the bank where it has them.

        Parameters
        ----------
        movies : one a trial.
        dt : duration in ms of the steps over which features are averaged, a multiple of 2 ms.
        label : what the progress bar says.
        """
        if not len(movies):
            raise InputError("movies is empty; give at least one Movie")
        size = self.bin_steps(dt)
        shards: list[Shard] = []
        accounts = Accounts()
        keys = [(part, self._key(part, dt)) for part in self._parts(movies, size)]
        total = sum(int(movie.duration_ms // STEP_MS) for movie in movies)
        with tqdm(total=total, desc=label, unit="step", unit_scale=True, leave=False) as bar:
            for part, key in keys:
                shard = self.bank.read(key) if self.bank else None
                end = bar.n + sum(int(movie.duration_ms // STEP_MS) for movie in part)
                if shard is None:
                    shard = self._simulate(part, size, bar, end)
                    if self.bank:
                        self.bank.write(key, shard)
                    accounts.add(Accounts(**shard.accounts))  # type: ignore[arg-type]
                bar.update(end - bar.n)
                shards.append(shard)
        return _joined(shards, accounts)

    def _parts(self, movies: Sequence[Movie], size: int) -> list[Sequence[Movie]]:
        """Movies in groups that are stored together: small ones, unless a large one shares more histories."""
        parts = [movies[start : start + SHARD_MOVIES] for start in range(0, len(movies), SHARD_MOVIES)]
        if len(parts) == 1:
            return parts
        whole = plan(movies, STEP_MS, size).cost()
        apart = sum(plan(part, STEP_MS, size).cost() for part in parts)
        return parts if apart <= 1.1 * whole else [movies]

    def _prepare(self, images: NDArray[np.uint8]) -> Tensor:
        return self.network.preprocess(images)

    def read(self, activity: Tensor) -> Tensor:
        """Features (image, unit) of the last area's activity (image, channel, height, width)."""
        return activity.mean((2, 3)) if self.readout == "pool" else activity.flatten(1)

    def _simulate(self, movies: Sequence[Movie], size: int, bar: tqdm[Any], end: int) -> Shard:
        """Simulate some movies; `bar` counts the steps that they ask for, up to `end`."""
        made: Plan = plan(movies, STEP_MS, size)
        begun, cost, done = bar.n, made.cost(), 0

        def progress(steps: int) -> None:
            nonlocal done
            done += steps
            bar.update(min(end, begun + (end - begun) * done // cost) - bar.n)

        simulation = Simulation(
            self.simulator,
            prepare=self._prepare,
            readout=self.read,
            bin_steps=size,
            warmup_steps=round(WARMUP_MS / STEP_MS),
            tolerance=self.tolerance,
            batch=self.batch,
            progress=progress,
        )
        rows, index, accounts = simulation.run(made)
        return Shard(rows.numpy(), index, asdict(accounts))

    def _key(self, movies: Sequence[Movie], dt: float) -> str:
        """Hash of all that determines the features of `movies`: their very pixels, the weights and how they are run."""
        about: dict[str, Any] = {
            "format": FORMAT,
            "weights": self._digest(),
            "alpha": self.network.alpha,
            "preprocessing": asdict(self.network.preprocessing),
            "precision": self.precision or ("tf32" if self.device.type == "cuda" else "float32"),
            "readout": self.readout,
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

    def _digest(self) -> str:
        if not hasattr(self, "_kept_digest"):
            self._kept_digest = self.digest()
        return self._kept_digest


def _joined(shards: list[Shard], accounts: Accounts) -> Features:
    steps = max(shard.index.shape[1] for shard in shards)
    rows, indices, first = [], [], 0
    for shard in shards:
        index = np.full((len(shard.index), steps), -1, np.int64)
        index[:, : shard.index.shape[1]] = np.where(shard.index >= 0, shard.index + first, -1)
        rows.append(shard.rows)
        indices.append(index)
        first += len(shard.rows)
    return Features(torch.from_numpy(np.concatenate(rows)), torch.from_numpy(np.concatenate(indices)), accounts)


def _batch_size(device: torch.device, network: CordsNet) -> int:
    """Histories at once: enough to fill the processor, within a share of its memory."""
    if device.type != "cuda":
        return max(1, SHARD_MOVIES * 64**2 // max(64**2, network.image_size**2))
    state = sum(b.numel() for b in network.conv_bias) * 4
    free = torch.cuda.mem_get_info(device)[0]
    return int(max(1, min(1024, free // 8 // (4 * state))))
