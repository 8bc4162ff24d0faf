"""What holds the memory of trained networks: the states at the end of a delay, and what becomes of them."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cordstasks import analysis
from cordstasks.errors import InputError, unknown
from cordstasks.rnn.network import RNN
from cordstasks.rnn.system import RNNSystem
from cordstasks.runs.loading import TrainedNetworks, TrainedRun, load_run
from cordstasks.tasks import AbstractBatch
from cordstasks.utils.arguments import number, seed_of, shown, whole
from cordstasks.utils.files import writable_folder, write_bytes

__all__ = ["Memory", "attractors_of_run", "memory_of", "write_attractors"]

Floats = NDArray[np.float64]
TRIALS = 96  # of which the memories are followed, at most
STARTS = 24  # of the search for fixed points
SEARCHED = 600  # units up to which fixed points are searched for


@dataclass(frozen=True, eq=False)
class Memory:
    """The memory of one network.

    Attributes
    ----------
    network : int
        Its number within the run.
    memories : float64 (trial, unit)
        States at the end of the delay.
    conditions : dict of str to array (trial,)
        Of these trials.
    inputs : float64 (channel,)
        Inputs at the end of the delay, which are held fixed.
    input_spread : float
        By how much the inputs of trials differ from that, relative to its norm.
    settle : float
        For how long states are followed, in ms.
    attractor : cordstasks.analysis.dynamics.Attractor
        What becomes of them.
    fixed : cordstasks.analysis.dynamics.FixedPoints or None
        Fixed and slow points near the set; None for larger networks.
    """

    network: int
    memories: Floats
    conditions: dict[str, NDArray[Any]]
    inputs: Floats
    input_spread: float
    settle: float
    attractor: analysis.dynamics.Attractor
    fixed: analysis.dynamics.FixedPoints | None

    def row(self) -> dict[str, Any]:
        """The evidence, as a row of a table.

        Returns
        -------
        dict of str to object
            By column, rounded; drift per second, time constants in ms. What was not found or not searched is empty.
        """
        found, fixed = self.attractor, self.fixed
        constants = np.median(found.time_constants, axis=0)
        return {
            "network": self.network,
            "kind": found.points.kind,
            "groups": found.points.number_of_groups,
            "dimension": round(found.points.dimension, 3),
            "closure": round(found.points.closure, 3),
            "hole": round(found.points.hole, 3),
            "coverage": round(found.points.coverage, 3),
            "slow_modes": found.slow_modes,
            "along": round(found.along, 3),
            "drift_per_s": round(found.drift, 4),
            "slowest_ms": round(float(constants[0]), 1),
            "second_ms": round(float(constants[1]), 1) if len(constants) > 1 else "",
            "fixed_points": "" if fixed is None else int(fixed.is_fixed.sum()),
            "stable": "" if fixed is None else int((fixed.is_fixed & fixed.is_stable).sum()),
            "settle_ms": round(self.settle, 1),
            "input_spread": round(self.input_spread, 5),
        }


def attractors_of_run(
    run: TrainedRun | TrainedNetworks | str | os.PathLike[str],
    *,
    period: str = "delay",
    settle: float | None = None,
    probes: int = 400,
    seed: int = 0,
    device: str = "cpu",
    bank: Path | str | bool | None = None,
) -> list[Memory]:
    """The memory of each network of a run.

    Parameters
    ----------
    run : TrainedRun, TrainedNetworks or path-like
        A run, or its folder. Of a visual run, the recurrent network is followed, with the input that it gets from the
        front-end at the end of the delay held fixed.
    period : str, default "delay"
        The period at whose end something is held in memory.
    settle : float, optional
        For how long to follow the states, in ms (default: the longest such period of the trials).
    probes : int, default 400
        Mixtures of memories that are followed, too.
    seed : int, default 0
        Draws trials of abstract tasks, and the mixtures.
    device, bank :
        See `cordstasks.load_run`.

    Returns
    -------
    list of Memory

    Raises
    ------
    InputError
        If there is no such run, it is not trained, or its task has no such period.
    """
    seed, probes = seed_of(seed), whole("probes", probes, least=0)
    if not isinstance(run, TrainedRun | TrainedNetworks):
        run = load_run(run, device=device, bank=bank)
    networks, inputs, ends, conditions, durations = _recorded(run, period, seed)
    held = inputs[np.arange(len(ends)), ends - 1]
    mean = held.mean(0)
    spread = float(np.linalg.norm(held - mean, axis=1).max() / max(np.linalg.norm(mean), 1e-12))
    longest = (
        float(durations.max()) if settle is None else number("settle", settle, "give a duration in ms above 0", above=0)
    )
    return [
        memory_of(
            network, inputs, ends, mean, longest, conditions, spread=spread, number_in_run=place, probes=probes, seed=seed
        )
        for place, network in enumerate(networks)
    ]


def memory_of(
    network: RNN,
    inputs: Floats,
    ends: NDArray[np.int64],
    held: Floats,
    settle: float,
    conditions: dict[str, NDArray[Any]],
    *,
    spread: float = 0.0,
    number_in_run: int = 0,
    probes: int = 400,
    seed: int = 0,
) -> Memory:
    """The memory of one network; see `attractors_of_run`.

    Parameters
    ----------
    network : RNN
    inputs : float64 (trial, time, channel)
        Of trials.
    ends : int64 (trial,)
        The step after the last of each trial's delay.
    held : float64 (channel,)
        Inputs that are held fixed afterwards.
    settle : float
        For how long, in ms.
    conditions : dict
        Of the trials.
    spread, number_in_run :
        See `Memory`.
    probes, seed :
        See `attractors_of_run`.

    Returns
    -------
    Memory
        With fixed points if the network has few enough units to search for them.
    """
    system = RNNSystem(network, held)
    initial = network.initial_state
    state = (
        np.zeros((len(ends), system.size)) if initial is None else np.tile(initial.detach().double().numpy(), (len(ends), 1))
    )
    memories = np.zeros_like(state)
    for step in range(int(ends.max())):
        state = system.step(state, inputs[:, step])
        memories[ends == step + 1] = state[ends == step + 1]
    attractor = analysis.dynamics.memory_attractor(system, memories, dt=system.dt, settle=settle, probes=probes, rng=seed)
    fixed = None
    if system.size <= SEARCHED:
        chosen = np.random.default_rng(seed).permutation(len(attractor.states))[:STARTS]
        fixed = analysis.dynamics.fixed_points(system, attractor.states[chosen], slow_tolerance=1e-3, iterations=50)
    return Memory(number_in_run, memories, conditions, held, spread, settle, attractor, fixed)


def _recorded(
    run: TrainedRun | TrainedNetworks, period: str, seed: int
) -> tuple[list[RNN], Floats, NDArray[np.int64], dict[str, NDArray[Any]], Floats]:
    """Networks, inputs (trial, time, channel), the end of each trial's delay in steps, conditions, and the delays in ms."""
    if isinstance(run, TrainedNetworks):
        quiet = replace(run.task, noise=0.0, catch=0.0)
        batch: Any = quiet.sample(TRIALS, seed=seed, dt=run.settings.dt)
        networks = run.networks
    else:
        batch = run.heldout()
        networks = [run.model.rnn]
    if period not in batch.periods:
        raise unknown("period", period, batch.periods)
    steps = batch.steps(period)
    usable = np.flatnonzero(steps[:, 1] > steps[:, 0])
    if len(usable) < 2:
        raise InputError(f"period={shown(period)}: fewer than two trials have it; name another")
    rows = usable[np.unique(np.linspace(0, len(usable) - 1, min(TRIALS, len(usable))).round().astype(int))]
    if isinstance(batch, AbstractBatch):
        inputs = np.asarray(batch.inputs[rows], np.float64)
    else:
        features = run.model.inputs(run.features(batch).to(run.frontend.device))  # type: ignore[union-attr]
        inputs = features.take(torch.from_numpy(rows).to(features.index.device)).double().cpu().numpy()
    durations = (batch.periods[period][rows, 1] - batch.periods[period][rows, 0]).astype(np.float64)
    return networks, inputs, steps[rows, 1], {name: values[rows] for name, values in batch.conditions.items()}, durations


def write_attractors(
    run: str | os.PathLike[str],
    out: Path | None = None,
    *,
    period: str = "delay",
    settle: float | None = None,
    probes: int = 400,
    seed: int = 0,
    device: str = "cpu",
    bank: Path | None = None,
) -> int:
    """Find the attractors of a run's memory, print the table, and write ``attractors.csv`` and a figure of each network.

    Parameters
    ----------
    run : path-like
        The run's folder.
    out : Path, optional
        Where to write (default: ``dynamics`` in the run's folder).
    period, settle, probes, seed, device, bank :
        See `attractors_of_run`.

    Returns
    -------
    int
        0, the exit status of the command.
    """
    loaded = load_run(run, device=device, bank=bank)
    folder = writable_folder(loaded.path / "dynamics" if out is None else out, "out")
    memories = attractors_of_run(loaded, period=period, settle=settle, probes=probes, seed=seed)
    rows = [memory.row() for memory in memories]
    shown_columns = (
        "network",
        "kind",
        "groups",
        "dimension",
        "closure",
        "slow_modes",
        "along",
        "drift_per_s",
        "slowest_ms",
        "second_ms",
    )
    print("  ".join(f"{name:>11s}" for name in shown_columns))
    for row in rows:
        print("  ".join(f"{row[name]!s:>11s}" for name in shown_columns))
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(folder / "attractors.csv", table.getvalue().encode())
    for memory in memories:
        figure = analysis.figures.memory_states(
            memory.memories,
            memory.attractor.states,
            memory.attractor.points.groups,
            memory.attractor.time_constants,
            fixed=None if memory.fixed is None else memory.fixed.xstar[memory.fixed.is_fixed],
            stable=None if memory.fixed is None else memory.fixed.is_stable[memory.fixed.is_fixed],
            settle=memory.settle,
            title=f"network {memory.network}: {memory.attractor.points.kind}",
        )
        analysis.figures.save(figure, folder / f"attractor-{memory.network}.png")
    print(f"written: {folder}/attractors.csv, attractor-*.png")
    return 0
