"""Regimes of random networks over the gain: one area of a CordsNet beside a fully connected network of the same size."""

from __future__ import annotations

import csv
import io
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from cordstasks import analysis
from cordstasks.errors import InputError, Note, unknown
from cordstasks.utils.arguments import is_number, number, plain, shown, whole
from cordstasks.utils.files import writable_folder, write_bytes

__all__ = ["RandomNetwork", "Regimes", "random_network", "regimes_over_gain", "write_regimes"]

Floats = NDArray[np.float64]
KINDS = ("convolutional", "fully connected")
TAU = 10.0  # ms, as in CordsNet
SETTLED = 1e-6  # standard deviation over time, below which activity counts as settled


@dataclass(frozen=True)
class Regimes:
    """What `regimes_over_gain` simulates.

    Parameters
    ----------
    gains : tuple of float
        Of the recurrent weights.
    channels, side : int
        Maps of the convolutional network, channels x side x side; the other has as many units.
    seeds : int
        Networks for each gain and kind.
    seed : int
        Of the first.
    steps, transient : int
        Steps of `dt` over which to measure, and before.
    dt : float
        In ms; the time constant is 10 ms.
    kinds : tuple of str
        Of ``"convolutional"`` and ``"fully connected"``.
    """

    gains: tuple[float, ...] = (0.6, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.7, 2.0)
    channels: int = 8
    side: int = 8
    seeds: int = 2
    seed: int = 0
    steps: int = 3000
    transient: int = 1500
    dt: float = 2.0
    kinds: tuple[str, ...] = KINDS

    def __post_init__(self) -> None:
        gains = plain(self.gains)
        gains = gains if isinstance(gains, tuple) else (gains,)
        if not gains or not all(is_number(gain) and gain >= 0 for gain in gains) or len(set(gains)) < len(gains):
            raise InputError(
                f"gains={' '.join(map(shown, gains))}: give different numbers of at least 0, such as 0.8 1.0 1.5"
            )
        object.__setattr__(self, "gains", tuple(sorted(float(gain) for gain in gains)))
        for kind in self.kinds:
            if kind not in KINDS:
                raise unknown("kind", kind, KINDS)
        for name, least in (("channels", 1), ("side", 1), ("seeds", 1), ("seed", 0), ("steps", 100), ("transient", 0)):
            object.__setattr__(self, name, whole(name, getattr(self, name), least=least))
        asked = f"give an Euler step above 0 and at most {TAU:g} (ms)"
        object.__setattr__(self, "dt", number("dt", self.dt, asked, above=0, most=TAU))

    @property
    def units(self) -> int:
        """Units of each network."""
        return self.channels * self.side**2


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
    rng : Generator

    Returns
    -------
    RandomNetwork
        With a time step of ``settings.dt`` ms.
    """
    units = settings.units
    if kind == "convolutional":
        scale = gain / math.sqrt(9 * settings.channels)
        kernel = scale * rng.standard_normal((settings.channels, settings.channels, 3, 3))
        operator = analysis.dynamics.convolution_operator(kernel, (settings.channels, settings.side, settings.side))
        return RandomNetwork(lambda rates: np.asarray(operator.matmat(rates.T)).T, units, settings.dt / TAU)
    weights = gain / math.sqrt(units) * rng.standard_normal((units, units))
    return RandomNetwork(lambda rates: rates @ weights.T, units, settings.dt / TAU)


def regimes_over_gain(
    settings: Regimes | None = None, *, progress: bool = False
) -> tuple[list[dict[str, Any]], dict[float, Floats]]:
    """Simulate random networks over the gain, and measure their regimes.

    Parameters
    ----------
    settings : Regimes, optional
        Default settings if None.
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

    References
    ----------
    Sompolinsky, Crisanti & Sommers 1988, "Chaos in random neural networks", Physical Review Letters 61: 259-262: large fully
    connected networks become chaotic as the gain exceeds 1. Below, the leading exponent is that of rest, gain - 1 per time
    constant.

    Soo, Battista, Radmard & Wang 2024, NeurIPS 37, figure 1B and appendix B.2.
    """
    chosen = settings or Regimes()
    places = np.unique(np.linspace(0, len(chosen.gains) - 1, min(4, len(chosen.gains))).round().astype(int))
    shown_gains = {chosen.gains[place] for place in places}
    jobs = [(kind, gain, seed) for kind in chosen.kinds for gain in chosen.gains for seed in range(chosen.seeds)]
    rows: list[dict[str, Any]] = []
    examples: dict[float, Floats] = {}
    for kind, gain, seed in tqdm(jobs, desc="networks", disable=not progress, leave=False):
        # the same directions of the weights at all gains
        rng = np.random.default_rng([chosen.seed + seed, chosen.kinds.index(kind)])
        network = random_network(kind, gain, chosen, rng)
        row, activity = _measured(network, chosen, np.random.default_rng([chosen.seed + seed, 99]))
        rows.append({"kind": kind, "gain": gain, "seed": chosen.seed + seed, **row})
        if kind == chosen.kinds[0] and seed == 0 and gain in shown_gains:
            examples[gain] = activity[:400, :: max(1, chosen.units // 8)][:, :8]
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

    Parameters
    ----------
    settings : Regimes
    out : Path
        The folder.

    Returns
    -------
    list of dict
        The rows of the table, see `regimes_over_gain`.
    """
    folder = writable_folder(out, "out")
    rows, examples = regimes_over_gain(settings, progress=True)
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
    return rows


def _mean(rows: Sequence[dict[str, Any]], name: str) -> str:
    values = [row[name] for row in rows if row[name] is not None]
    return f"{np.mean(values):.1f}" if values else "settled"
