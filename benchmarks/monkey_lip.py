"""Ramps of a trained network beside firing rates of area LIP, by coherence (Roitman & Shadlen 2002).

    python -m cordstasks.train --task rdm --seed 0 --out runs/rdm
    python benchmarks/monkey_lip.py runs/rdm ../shared/data/roitman_lip_rates.csv --out monkey_lip.png

The table has the columns `align` (dots or sacc), `choice` (T1 or T2), `time` (ms), `coherence` (%) and `firing_rate` (Hz),
as seaborn distributes it; it is not part of cordstasks. The network's trials last as long as its task says, and it does not
move its eyes, so both are aligned to the onset of the dots; LIP's rates around the saccade are drawn without a counterpart.
Each unit's preferred direction is found on one half of the held-out trials, and the ramps are means over the other half.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from cordstasks import analysis, load_run
from cordstasks.recordings import respond_run
from cordstasks.utils.measured import machine_line

Courses = dict[tuple[str, float], tuple[np.ndarray, np.ndarray]]
CHOICES = ("T1", "T2")  # into the response field, or for a unit its preferred direction, and away from it


def monkey(path: Path, align: str) -> Courses:
    """Mean rates of LIP by choice and coherence."""
    with path.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["align"] == align]
    found: Courses = {}
    for choice in CHOICES:
        for level in sorted({float(row["coherence"]) for row in rows}):
            own = [row for row in rows if row["choice"] == choice and float(row["coherence"]) == level]
            times, rates = (np.array([float(row[name]) for row in own]) for name in ("time", "firing_rate"))
            found[choice, level / 100] = times, rates
    return found


def network(folder: Path, seed: int) -> tuple[Courses, dict[str, int]]:
    """Mean responses of the network's tuned units, in standard deviations, by choice and coherence; correct trials only."""
    run = load_run(folder, device="cpu")
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
    found: Courses = {}
    for choice in CHOICES:
        for level in np.unique(coherence):
            trials = np.flatnonzero(~half & (coherence == level) & (seen.chosen > 0) & (seen.correct | (level == 0)))
            chosen = np.where(seen.chosen[trials] == 1, *run.task.directions)
            own = (chosen[:, None] == prefers[None]) == (choice == "T1")
            window = scaled[trials, start:end]
            weight = own[:, None].astype(float)
            total = weight.sum()
            if total:
                found[choice, float(level)] = times, (window * weight).sum(axis=(0, 2)) / total
    return found, {"units": int(tuned.sum()), "of": rates.shape[2], "trials": int((~half).sum())}


def slopes(courses: Courses, low: float, high: float) -> dict[tuple[str, float], float]:
    """Slope of each course between two times, per s."""
    found = {}
    for key, (times, values) in courses.items():
        inside = (times >= low) & (times <= high)
        if inside.sum() > 2:
            found[key] = float(1000 * np.polyfit(times[inside], values[inside], 1)[0])
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("run", type=Path, help="folder of a run of the task rdm")
    arguments.add_argument("file", type=Path, help="the table of LIP's rates")
    arguments.add_argument("--out", type=Path, help="a PNG file for the figure")
    arguments.add_argument("--seed", type=int, default=0, help="of the halves of trials")
    options = arguments.parse_args()
    print(machine_line(), flush=True)
    lip, saccade = monkey(options.file, "dots"), monkey(options.file, "sacc")
    model, counts = network(options.run, options.seed)
    print(f"{counts['units']} of {counts['of']} units are tuned; ramps are of {counts['trials']} trials")
    found = {"LIP": slopes(lip, 200.0, 500.0), "network": slopes(model, 100.0, 400.0)}
    print("slope per s, by coherence (LIP: Hz/s from 200 to 500 ms; network: SD/s from 100 to 400 ms)")
    levels = sorted({level for each in found.values() for _, level in each})
    print(f"{'':<22}" + "".join(f"{100 * level:>8.3g} %" for level in levels))
    for name, each in found.items():
        for choice in CHOICES:
            row = "".join(f"{each[choice, level]:>10.1f}" if (choice, level) in each else f"{'-':>10}" for level in levels)
            print(f"{name:<9}{'preferred' if choice == 'T1' else 'other':<13}{row}")
            own = [(level, each[choice, level]) for level in levels if (choice, level) in each]
            rho, p = spearmanr(*zip(*own, strict=True))
            print(f"{'':<22}rank correlation with coherence {rho:.2f} (p = {p:.3f}, {len(own)} coherences)")
    both = sorted(set(found["LIP"]) & set(found["network"]))
    pairs = [(found["LIP"][key], found["network"][key]) for key in both]
    rng = np.random.default_rng(options.seed)
    drawn = [
        spearmanr(*zip(*(pairs[i] for i in rng.integers(len(pairs), size=len(pairs))), strict=True))[0] for _ in range(2000)
    ]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    print(
        f"slopes of LIP and network over {len(both)} choices x coherences: rank correlation "
        f"{spearmanr(*zip(*pairs, strict=True))[0]:.2f} ({low:.2f} to {high:.2f}, bootstrap over these)"
    )
    if options.out is not None:
        panels = {"LIP, dots at 0 ms": lip, "LIP, saccade at 0 ms": saccade, "network, dots at 0 ms": model}
        units = ("firing rate (Hz)", "firing rate (Hz)", "response (SD)")
        analysis.figures.save(analysis.figures.ramps(panels, units=units), options.out)


if __name__ == "__main__":
    main()
