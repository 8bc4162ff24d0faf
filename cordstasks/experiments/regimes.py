"""Regimes of random networks over the gain: one area of a CordsNet beside a fully connected network of the same size."""

from __future__ import annotations

import csv
import io
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from cordstasks import analysis
from cordstasks.errors import InputError, Note
from cordstasks.experiments.dynamics_settings import KINDS, TAU, Regimes
from cordstasks.utils.files import Log, write_bytes
from cordstasks.utils.interrupt import Interrupted
from cordstasks.utils.run_folder import RunFolder

__all__ = ["RandomNetwork", "Regimes", "random_network", "regimes_over_gain", "write_regimes"]

Floats = NDArray[np.float64]
MEASURED = ("kind", "gain", "seed", "exponent", "error", "converged", "deviation", "dimension", "autocorrelation_ms")
SHOWN = 400  # steps of the activity that figures show
SETTLED = 1e-6  # standard deviation over time, below which activity counts as settled


class RandomNetwork:
    """``tau dr/dt = -r + tanh(W r)`` in Euler steps, as a system of `cordstasks.analysis.dynamics`.

    Parameters
    ----------
    recurrence : callable
        Rates (state, unit) times W.
    size : int
        Number of units.
    alpha : float
        Euler step as a fraction of the time constant.
    """

    def __init__(self, recurrence: Callable[[Floats], Floats], size: int, alpha: float) -> None:
        self.recurrence, self.size, self.alpha = recurrence, size, alpha

    def step(self, states: ArrayLike, inputs: ArrayLike | None = None) -> Floats:
        """The states (state, unit) one step later.

        Returns
        -------
        float64 ndarray of shape (state, unit)
        """
        rates = np.asarray(states, np.float64)
        return rates + self.alpha * (np.tanh(self.recurrence(rates)) - rates)

    def jvp(self, states: ArrayLike, tangents: ArrayLike, inputs: ArrayLike | None = None) -> Floats:
        """The Jacobian at each state times its tangent.

        Returns
        -------
        float64 ndarray of shape (state, unit)
            The tangents one step later.
        """
        rates, moved = np.asarray(states, np.float64), np.asarray(tangents, np.float64)
        both = self.recurrence(np.concatenate([rates, moved]))
        slope = 1 - np.tanh(both[: len(rates)]) ** 2
        return moved + self.alpha * (slope * both[len(rates) :] - moved)


def random_network(kind: str, gain: float, settings: Regimes, rng: np.random.Generator) -> RandomNetwork:
    """A network of Gaussian weights, of variance gain^2 over the number of inputs of a unit.

    Parameters
    ----------
    kind : {"convolutional", "fully connected"}
        A 3 x 3 convolution with zero padding, of ``9 x channels`` inputs to a unit, or a matrix.
    gain : float
    settings : Regimes
        Its sizes, and the time step.
    rng : Generator
        Draws the weights.

    Returns
    -------
    RandomNetwork
        With a time step of ``settings.dt`` ms.
    """
    units = settings.units
    if kind == KINDS[0]:
        scale = gain / math.sqrt(9 * settings.channels)
        kernel = scale * rng.standard_normal((settings.channels, settings.channels, 3, 3))
        operator = analysis.dynamics.convolution_operator(kernel, (settings.channels, settings.side, settings.side))
        return RandomNetwork(lambda rates: np.asarray(operator.matmat(rates.T)).T, units, settings.dt / TAU)
    weights = gain / math.sqrt(units) * rng.standard_normal((units, units))
    return RandomNetwork(lambda rates: rates @ weights.T, units, settings.dt / TAU)


def regimes_over_gain(
    settings: Regimes | None = None, *, log: Log | None = None, progress: bool = False
) -> tuple[list[dict[str, Any]], dict[float, Floats]]:
    """Simulate random networks over the gain, and measure their regimes.

    Parameters
    ----------
    settings : Regimes, optional
        Default settings if None.
    log : Log, optional
        A row of each network is written here as soon as it is measured, and networks whose row is there are not simulated
        again. All of its rows must be of the same settings.
    progress : bool
        Show a bar.

    Returns
    -------
    rows : list of dict
        One for each network: ``kind``, ``gain``, ``seed``, ``exponent`` (leading Lyapunov exponent per time constant) with
        its standard ``error`` and whether it has ``converged``, ``deviation`` (standard deviation of rates over time), and,
        None where activity has settled, ``dimension`` (participation ratio) and ``autocorrelation_ms``.
    examples : dict of float to array (time, unit)
        Activity of eight units of the first convolutional network at up to four of the gains.

    Notes
    -----
    The weights of a convolutional network are never a matrix: a step of 32 x 16 x 16 units takes milliseconds. Memory is
    that of the activity, 8 bytes for each step and unit, a few times. A fully connected network has a matrix, and a step
    takes as many products as this has entries.

    References
    ----------
    Sompolinsky, Crisanti & Sommers 1988, "Chaos in random neural networks", Physical Review Letters 61: 259-262: large fully
    connected networks become chaotic as the gain exceeds 1. Below, the leading exponent is that of rest, gain - 1 per time
    constant.

    Soo, Battista, Radmard & Wang 2024, NeurIPS 37, figure 1B and appendix B.2.
    """
    chosen = settings or Regimes()
    ends = np.unique(np.linspace(0, len(chosen.gains) - 1, min(4, len(chosen.gains))).round().astype(int))
    shown_gains = {chosen.gains[end] for end in ends}
    jobs = [(kind, gain, seed) for kind in chosen.kinds for gain in chosen.gains for seed in range(chosen.seeds)]
    earlier = {} if log is None else {(row.get("kind"), row.get("gain"), row.get("seed")): row for row in log.read()}
    rows: list[dict[str, Any]] = []
    examples: dict[float, Floats] = {}
    for kind, gain, seed in tqdm(jobs, desc="networks", disable=not progress, leave=False):
        is_shown = kind == chosen.kinds[0] and seed == 0 and gain in shown_gains
        row = earlier.get((kind, gain, chosen.seed + seed))
        if row is None or not {*MEASURED, "example"} <= row.keys():
            # the same directions of the weights at all gains
            rng = np.random.default_rng([chosen.seed + seed, KINDS.index(kind)])
            network = random_network(kind, gain, chosen, rng)
            found, activity = _measured(network, chosen, np.random.default_rng([chosen.seed + seed, 99]))
            example = activity[:SHOWN, :: max(1, chosen.units // 8)][:, :8] if is_shown else None
            row = {"kind": kind, "gain": gain, "seed": chosen.seed + seed, **found, "example": example}
            if log is not None:
                log.write(row)
        if is_shown:
            examples[gain] = np.asarray(row["example"], np.float64)
        rows.append({name: row[name] for name in MEASURED})
    return rows, examples


def _measured(network: RandomNetwork, settings: Regimes, rng: np.random.Generator) -> tuple[dict[str, Any], Floats]:
    """The regime of one network, and its activity (time, unit) after the transient."""
    state = rng.standard_normal((1, network.size))
    for _ in range(settings.transient):
        state = network.step(state)
    kept = np.empty((settings.steps, network.size))
    walked = state
    for step in range(settings.steps):
        kept[step] = walked[0]
        walked = network.step(walked)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)  # the row says whether it has converged
        found = analysis.dynamics.lyapunov_exponents(
            network,
            state[0],
            steps=settings.steps,
            transient=min(500, settings.steps),
            dt=settings.dt / TAU,
            every=5,
            rng=rng,
        )
    deviation = float(np.sqrt(kept.var(0).mean()))
    row: dict[str, Any] = {
        "exponent": float(found.values[0]),
        "error": float(found.errors[0]),
        "converged": bool(found.converged[0]),
        "deviation": deviation,
        "dimension": None,
        "autocorrelation_ms": None,
    }
    if deviation > SETTLED:
        row["dimension"] = analysis.dynamics.participation_ratio(kept)
        try:
            row["autocorrelation_ms"] = analysis.dynamics.autocorrelation_time(kept, settings.dt)
        except InputError:  # slower than half of the time that was simulated
            row["autocorrelation_ms"] = None
    return row, kept


def write_regimes(settings: Regimes, out: Path) -> list[dict[str, Any]]:
    """Simulate, print the table, and write ``regimes.csv`` and ``regimes.png``.

    Called again with the same settings, it continues what was stopped: each network that was measured is kept.

    Parameters
    ----------
    settings : Regimes
        What to simulate.
    out : Path
        The folder. It also holds ``config.json``, and ``networks.jsonl`` with what each network has given.

    Returns
    -------
    list of dict
        The rows of the table, see `regimes_over_gain`.

    Raises
    ------
    InputError
        If the folder cannot be written, or holds another run or one of other settings.
    Interrupted
        After Ctrl-C; the same call continues.
    """
    run = RunFolder(Path(out))
    with run.lock():
        run.begin(settings)
        try:
            rows, examples = regimes_over_gain(settings, log=Log(run.path / "networks.jsonl"), progress=True)
        except KeyboardInterrupt as stop:
            raise Interrupted("the same command") from stop
        _write(settings, run.path, rows, examples)
    return rows


def _write(settings: Regimes, folder: Path, rows: list[dict[str, Any]], examples: dict[float, Floats]) -> None:
    """The table and the figure, and what is printed."""
    print(f"{settings.units} units, {settings.steps} steps of {settings.dt:g} ms, {settings.seeds} networks each")
    print(f"{'kind':16s} {'gain':>5s} {'exponent':>9s} {'error':>7s} {'dimension':>10s} {'autocorrelation ms':>19s}")
    for kind in settings.kinds:
        for gain in settings.gains:
            own = [row for row in rows if row["kind"] == kind and row["gain"] == gain]
            exponent, error = (float(np.mean([row[name] for row in own])) for name in ("exponent", "error"))
            print(
                f"{kind:16s} {gain:5.3g} {exponent:9.3f} {error:7.3f} {_mean(own, 'dimension'):>10s} "
                f"{_mean(own, 'autocorrelation_ms'):>19s}"
            )
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(folder / "regimes.csv", text.getvalue().encode())
    analysis.figures.save(analysis.figures.regimes(rows, examples, dt=settings.dt), folder / "regimes.png")
    print(f"written: {folder}/regimes.csv, regimes.png")


def _mean(rows: Sequence[dict[str, Any]], name: str) -> str:
    values = [row[name] for row in rows if row[name] is not None]
    return f"{np.mean(values):.1f}" if values else "settled"
