"""Ramps of a trained network beside firing rates of area LIP, by coherence (Roitman & Shadlen 2002)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_rel

from cordstasks import load_run
from cordstasks.errors import InputError
from cordstasks.recordings import respond_run
from cordstasks.runs.loading import TrainedRun

__all__ = ["CHOICES", "Courses", "lip_courses", "network_courses", "slopes", "time_matters"]

Courses = dict[tuple[str, float], tuple[NDArray[np.float64], NDArray[np.float64]]]
CHOICES = ("T1", "T2")  # into the response field, or for a unit its preferred direction, and away from it
WINDOW_MS = (100.0, 400.0)  # after the onset of the dots, in which a network ramps
EQUAL = 1e-9  # correlations that differ by less do so by rounding
LAG_MS = 100.0  # how much later LIP begins to ramp


def lip_courses(path: Path, align: str) -> Courses:
    """Mean rates of LIP by choice and coherence.

    Parameters
    ----------
    path : Path
        A table with the columns ``align``, ``choice`` (T1 or T2), ``time`` (ms), ``coherence`` (%) and ``firing_rate`` (Hz).
    align : str
        ``"dots"`` or ``"sacc"``: what happens at 0 ms.

    Returns
    -------
    dict of (str, float) to (ndarray, ndarray)
        By choice and coherence (a fraction), times in ms and rates in Hz.

    Raises
    ------
    InputError
        If the file cannot be read, or lacks a column or such rows.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.DictReader(stream) if row["align"] == align]
        found: Courses = {}
        for choice in CHOICES:
            for level in sorted({float(row["coherence"]) for row in rows}):
                own = [row for row in rows if row["choice"] == choice and float(row["coherence"]) == level]
                times, rates = (np.array([float(row[name]) for row in own]) for name in ("time", "firing_rate"))
                found[choice, level / 100] = times, rates
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: is not the table of LIP's rates ({error}); give that file") from error
    if not found:
        raise InputError(f"{path}: has no rows aligned to {align!r}; give the table of LIP's rates")
    return found


def network_courses(run: TrainedRun | str | Path, seed: int = 0) -> tuple[Courses, dict[str, int]]:
    """Mean responses of a network's tuned units, in standard deviations, by choice and coherence; correct trials only.

    Each unit's preferred direction is found on one half of the held-out trials; responses are means over the other half.

    Parameters
    ----------
    run : TrainedRun or path-like
        Of the task rdm.
    seed : int
        Of the halves of trials.

    Returns
    -------
    courses : dict of (str, float) to (ndarray, ndarray)
        As `lip_courses`; T1 is the choice of the unit's preferred direction.
    counts : dict of str to int
        ``units`` that are tuned, ``of`` how many, and ``trials`` that are averaged.

    Raises
    ------
    InputError
        If there is no such run, or no unit is tuned.
    """
    run = run if isinstance(run, TrainedRun) else load_run(run, device="cpu")
    batch = run.heldout()
    seen = run.behaviour(batch)
    rates = respond_run(run, batch).rates.astype(float)
    coherence, direction = batch.conditions["coherence"], batch.conditions["direction"]
    start, end = np.round(batch.periods["motion"][0] / batch.dt).astype(int)
    late = rates[:, (start + end) // 2 : end].mean(axis=1)
    half = np.random.default_rng(seed).permutation(len(batch)) < len(batch) // 2
    first, second = np.unique(direction)[:2]
    fit = half & (coherence == coherence.max())
    deviation = rates[half].std(axis=(0, 1))
    active = deviation > 1e-6
    tuning = np.zeros(rates.shape[2])
    difference = late[fit & (direction == first)].mean(axis=0) - late[fit & (direction == second)].mean(axis=0)
    spread = late[fit].std(axis=0)
    tuning[active] = difference[active] / np.maximum(spread[active], 1e-9)
    tuned = active & (np.abs(tuning) > 0.5)
    scaled = (rates[:, :, tuned] - rates[half][:, :start, tuned].mean(axis=(0, 1))) / deviation[tuned]
    prefers = np.where(tuning[tuned] > 0, first, second)
    times = (np.arange(start, end) + 0.5) * batch.dt - start * batch.dt
    if not tuned.any():
        raise InputError(f"run={run.path}: no unit is tuned to direction; train it for longer")
    one, other = run.task.directions  # type: ignore[union-attr]
    found: Courses = {}
    for choice in CHOICES:
        for level in np.unique(coherence):
            trials = np.flatnonzero(~half & (coherence == level) & (seen.chosen > 0) & (seen.correct | (level == 0)))
            chosen = np.where(seen.chosen[trials] == 1, one, other)
            own = (chosen[:, None] == prefers[None]) == (choice == "T1")
            window = scaled[trials, start:end]
            weight = own[:, None].astype(float)
            total = weight.sum()
            if total:
                found[choice, float(level)] = times, (window * weight).sum(axis=(0, 2)) / total
    return found, {"units": int(tuned.sum()), "of": rates.shape[2], "trials": int((~half).sum())}


def slopes(courses: Courses, low: float, high: float) -> dict[tuple[str, float], float]:
    """Slope of each course between two times.

    Parameters
    ----------
    courses : dict of (str, float) to (ndarray, ndarray)
        Times in ms and values.
    low, high : float
        The times in ms.

    Returns
    -------
    dict of (str, float) to float
        Per second; without courses that have fewer than three times there.
    """
    found = {}
    for key, (times, values) in courses.items():
        inside = (times >= low) & (times <= high)
        if inside.sum() > 2:
            found[key] = float(1000 * np.polyfit(times[inside], values[inside], 1)[0])
    return found


def time_matters(lip: Courses, model: Courses, *, permutations: int = 200, seed: int = 0) -> dict[str, Any]:
    """Whether a network's time course follows that of LIP better than LIP's with its time bins shuffled.

    Of each choice and coherence, the responses of the network from 100 to 400 ms are correlated over time with the rates of
    LIP 100 ms later, and with the same rates in other orders.

    Parameters
    ----------
    lip, model : dict of (str, float) to (ndarray, ndarray)
        See `lip_courses` and `network_courses`.
    permutations : int
        Orders of LIP's time bins, the same for all conditions.
    seed : int
        Of the orders, and of the bootstrap over conditions.

    Returns
    -------
    dict of str to object
        ``conditions``; ``correlation``, its mean; ``difference`` from the mean of shuffled ones with its 95 % ``interval``;
        ``t`` and ``p_t`` of the paired t-test over conditions, None where all differences are equal.

    Raises
    ------
    InputError
        If fewer than two conditions can be compared.
    """
    low, high = WINDOW_MS
    pairs = []
    for key in sorted(set(lip) & set(model)):
        times, values = model[key]
        inside = (times >= low) & (times <= high)
        rates = np.interp(times[inside] + LAG_MS, *lip[key])
        if inside.sum() > 2 and np.ptp(rates) > 0 and np.ptp(values[inside]) > 0:
            pairs.append((values[inside], rates))
    if len(pairs) < 2 or len({len(values) for values, _ in pairs}) > 1:
        raise InputError(f"model: {len(pairs)} conditions have responses from {low:g} to {high:g} ms; two are needed")
    responses, recorded = (np.stack(each) for each in zip(*pairs, strict=True))
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(responses.shape[1]) for _ in range(permutations)]
    real = _correlations(responses, recorded)
    shuffled = np.mean([_correlations(responses, recorded[:, order]) for order in orders], axis=0)
    difference = real - shuffled
    drawn = difference[rng.integers(len(difference), size=(2000, len(difference)))].mean(axis=1)
    tested = ttest_rel(real, shuffled) if np.ptp(difference) > EQUAL else None
    return {
        "conditions": len(real),
        "correlation": float(real.mean()),
        "difference": float(difference.mean()),
        "interval": [float(end) for end in np.quantile(drawn, [0.025, 0.975])],
        "t": None if tested is None else float(tested.statistic),
        "p_t": None if tested is None else float(tested.pvalue),
    }


def _correlations(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's correlation of each row of two arrays."""
    x, y = (each - each.mean(axis=1, keepdims=True) for each in (x, y))
    return np.asarray((x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1)))
