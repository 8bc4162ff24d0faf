"""Interventions in a trained model: units are silenced, lesioned, clamped, or get a current, in a window of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cordstasks.cordsnet.engines import Portable
from cordstasks.cordsnet.simulator import Simulator
from cordstasks.errors import InputError, unknown
from cordstasks.frontend.features import Features
from cordstasks.frontend.frontend import STEP_MS, WARMUP_MS, FrontEnd
from cordstasks.frontend.histories import Cost
from cordstasks.model import MultiAreaModel
from cordstasks.stimuli import Movie

__all__ = ["ACTIONS", "Intervention", "perturbed_features", "run_perturbed"]

ACTIONS = ("silence", "lesion", "clamp", "current")
BATCH = 64


@dataclass(frozen=True, eq=False)
class Intervention:
    """What is done to which units, and when.

    Attributes
    ----------
    action : str
        ``"silence"`` holds the rates at 0 within the window, ``"lesion"`` throughout the trial, ``"clamp"`` holds them at
        `strength` within the window, and ``"current"`` adds `strength` to the units' input.
    units : ndarray of bool
        Which units: (unit,) of the recurrent network, or (channel, height, width) of an area of the front-end.
    window : ndarray of shape (trial, 2)
        Start and end in ms; NaN for a trial without a window.
    strength : float
        In units of the rates.

    Raises
    ------
    InputError
        If there is no such action, the set of units is empty, or a window ends before it starts.
    """

    action: str
    units: NDArray[np.bool_]
    window: NDArray[np.float64]
    strength: float = 0.0

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise unknown("action", self.action, ACTIONS)
        units = np.asarray(self.units)
        if units.dtype != bool or not units.any():
            raise InputError(
                f"units: {int(units.sum())} units in an array of {units.dtype}; give booleans, one or more true"
            )
        window = np.asarray(self.window, np.float64)
        if window.ndim != 2 or window.shape[1] != 2 or (window[:, 0] > window[:, 1]).any():
            raise InputError("window: give start and end in ms of each trial, (trial, 2), with the start before the end")

    def active(self, times: NDArray[Any], length: float) -> NDArray[np.bool_]:
        """The steps (trial, time) in which something is done, by the `times` (time,) in ms at which steps of `length` end.

        A step counts if its middle lies in the window.

        Returns
        -------
        bool ndarray of shape (trial, time)
            All True for a lesion.

        Raises
        ------
        InputError
            If there is no such step in any trial.
        """
        middle = times - length / 2
        start, end = np.asarray(self.window, np.float64).T[..., None]
        inside: NDArray[np.bool_] = (middle >= start) & (middle < end)
        if self.action == "lesion":
            inside = np.ones_like(inside)
        if not inside.any():
            low, high = np.nanmin([*self.window[:, 0], np.inf]), np.nanmax([*self.window[:, 1], -np.inf])
            shown = f"{low:g} to {high:g} ms" if np.isfinite(low) else "none"
            raise InputError(f"window={shown}: no step of any trial lies there; the trials last {times[-1]:g} ms")
        return inside


@torch.no_grad()
def run_perturbed(
    model: MultiAreaModel,
    inputs: Features,
    intervention: Intervention,
    *,
    dt: float,
    generator: torch.Generator | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Run a model while something is done to its recurrent units.

    Parameters
    ----------
    model : MultiAreaModel
    inputs : Features
        The recurrent network's inputs.
    intervention : Intervention
        In units (unit,) of the recurrent network.
    dt : float
        The network's step in ms.
    generator : torch.Generator, optional
        Where the units' private noise is drawn from; without one, there is no noise.

    Returns
    -------
    logits : ndarray of shape (trial, time, action)
    rates : ndarray of shape (trial, time, unit)

    Raises
    ------
    InputError
        If the numbers of units or trials differ from the model's and the inputs', or no step lies in the window.
    """
    rnn = model.rnn
    if intervention.units.shape != (rnn.units,):
        raise InputError(f"units: has shape {intervention.units.shape}; give ({rnn.units},) booleans")
    if len(intervention.window) != len(inputs):
        raise InputError(f"window: is of {len(intervention.window)} trials but inputs of {len(inputs)}; give one for each")
    device = rnn.bias.device
    steps = np.arange(1, inputs.steps + 1) * float(dt)
    active = torch.from_numpy(intervention.active(steps, dt)).to(device)
    units = torch.from_numpy(intervention.units).to(device)
    held = 0.0 if intervention.action in ("silence", "lesion") else intervention.strength
    logits, rates = [], []
    for start in range(0, len(inputs), BATCH):
        part = active[start : start + BATCH]
        if intervention.action == "current":
            current = intervention.strength * (part[..., None] & units).float()
            out, states = rnn(
                inputs.take(slice(start, start + BATCH)), return_states=True, current=current, generator=generator
            )
        else:
            before = torch.ones_like(part[:, 0]) if intervention.action == "lesion" else torch.zeros_like(part[:, 0])

            def change(step: int, now: Tensor, part: Tensor = part, before: Tensor = before) -> Tensor:
                there = (before if step < 0 else part[:, step])[:, None] & units
                return torch.where(there, torch.full_like(now, held), now)

            out, states = rnn(
                inputs.take(slice(start, start + BATCH)), return_states=True, change=change, generator=generator
            )
        logits.append(out.cpu())
        rates.append(states.cpu())
    return torch.cat(logits).numpy(), torch.cat(rates).numpy()


@torch.no_grad()
def perturbed_features(
    frontend: FrontEnd, movies: Sequence[Movie], intervention: Intervention, area: int, *, dt: float
) -> Features:
    """Features of movies while something is done to units of an area of the front-end.

    Every step is simulated, and nothing is kept in the bank: shared histories and settled states would hold for intact
    areas only. Areas that the area drives see its changed rates.

    Parameters
    ----------
    frontend : FrontEnd
    movies : sequence of Movie
    intervention : Intervention
        In units (channel, height, width) of the area, windows in ms from the start of the trial.
    area : int
        The area, numbered from 0; one that is simulated.
    dt : float
        Duration in ms of the steps over which features are averaged.

    Returns
    -------
    Features

    Raises
    ------
    InputError
        If the area is not simulated, the units are not those of its maps, or no step lies in the window.
    """
    simulator = Simulator(frontend.network, areas=frontend.areas, device=frontend.device, engine=Portable())
    if not 0 <= area < simulator.depth:
        raise InputError(f"area={area}: the run reads areas up to {simulator.depth - 1}, those above have no effect")
    shape = tuple(simulator.zero_state(1)[area].shape[1:])
    if intervention.units.shape != shape:
        raise InputError(f"units: has shape {intervention.units.shape}; area {area} has maps of shape {shape}")
    if len(intervention.window) != len(movies):
        raise InputError(f"window: is of {len(intervention.window)} trials but there are {len(movies)} movies")
    size = frontend.bin_steps(dt)
    steps = [int(np.floor(movie.duration_ms / STEP_MS + 1e-9)) // size * size for movie in movies]
    ends = np.arange(1, max(steps) + 1) * STEP_MS
    active = intervention.active(ends, STEP_MS)
    rows, index = [], np.full((len(movies), max(steps) // size), -1, np.int64)
    count = 0
    for start in range(0, len(movies), BATCH):
        part = slice(start, start + BATCH)
        made = _simulated(frontend, simulator, movies[part], steps[part], active[part], intervention, area, size)
        for trial, length in enumerate(steps[part], start):
            kept = made[trial - start, : length // size]
            index[trial, : len(kept)] = np.arange(count, count + len(kept))
            rows.append(kept)
            count += len(kept)
    return Features(torch.cat(rows), torch.from_numpy(index), Cost(count * size, count * size), frontend.blocks)


def _simulated(
    frontend: FrontEnd,
    simulator: Simulator,
    movies: Sequence[Movie],
    steps: Sequence[int],
    active: NDArray[np.bool_],
    intervention: Intervention,
    area: int,
    size: int,
) -> Tensor:
    """Features (trial, bin, unit) of movies side by side; those after a movie's end mean nothing."""
    clock = np.arange(max(steps)) * STEP_MS
    shown = [movie.at(np.minimum(clock, movie.duration_ms - STEP_MS)) for movie in movies]
    drives = _drives(frontend, simulator, [movie.frames[frames[0]] for movie, frames in zip(movies, shown, strict=True)])
    rates = simulator.spontaneous(len(movies))
    units = torch.from_numpy(intervention.units).to(rates[area].device)
    lesion = intervention.action == "lesion"
    held = 0.0 if intervention.action in ("silence", "lesion") else intervention.strength
    injected = drives

    def take(there: Tensor | None) -> None:
        simulator.step(rates, injected)
        if there is not None and intervention.action != "current":
            rates[area].masked_fill_(there, held)

    everywhere = units.expand(len(movies), *units.shape) if lesion else None
    for _ in range(round(WARMUP_MS / STEP_MS)):
        take(everywhere)
    totals, bins = [torch.zeros_like(rates[each]) for each in frontend.areas], []
    for step in range(max(steps)):
        changed = [trial for trial, frames in enumerate(shown) if step and frames[step] != frames[step - 1]]
        if changed:
            fresh = _drives(frontend, simulator, [movies[trial].frames[shown[trial][step]] for trial in changed])
            for old, new in zip(drives, fresh, strict=True):
                old[changed] = new
        now = torch.from_numpy(active[:, step]).to(units.device)
        there = (now[:, None, None, None] & units) if bool(now.any()) else None
        injected = drives
        if there is not None and intervention.action == "current":
            injected = [*drives]
            injected[area] = drives[area] + intervention.strength * there
        take(there)
        for total, each in zip(totals, frontend.areas, strict=True):
            total += rates[each]
        if (step + 1) % size == 0:
            bins.append(frontend.read([total / size for total in totals]).half().cpu())
            for total in totals:
                total.zero_()
    return torch.stack(bins, 1)


def _drives(frontend: FrontEnd, simulator: Simulator, images: list[NDArray[np.uint8]]) -> list[Tensor]:
    """What images add to each area at every step, with a row for each image in every area."""
    made = simulator.drives(frontend.network.preprocess(np.stack(images)))
    return [drive.clone() if drive.shape[0] == len(images) else drive.repeat(len(images), 1, 1, 1) for drive in made]
