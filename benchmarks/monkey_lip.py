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
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from cordstasks import analysis
from cordstasks.experiments.monkey_lip import CHOICES, lip_courses, network_courses, slopes
from cordstasks.utils.measured import machine_line


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("run", type=Path, help="folder of a run of the task rdm")
    arguments.add_argument("file", type=Path, help="the table of LIP's rates")
    arguments.add_argument("--out", type=Path, help="a PNG file for the figure")
    arguments.add_argument("--seed", type=int, default=0, help="of the halves of trials")
    options = arguments.parse_args()
    print(machine_line(), flush=True)
    lip, saccade = lip_courses(options.file, "dots"), lip_courses(options.file, "sacc")
    model, counts = network_courses(options.run, options.seed)
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
