"""Each area x time of CordsNet-R8, beside macaque and human IT: Spearman correlations of dissimilarities of 92 images.

    python benchmarks/monkey_it.py ../shared/data/kriegeskorte2008_92images.mat --out monkey_it.png

The file is the supplement of Kriegeskorte et al. 2008 as rsatoolbox distributes it; it is not part of cordstasks. Beside the
network stand pixels and an R8 of random weights, at its steady state. There are no weights of the feed-forward network that
`cordsnet-r8` was made from in the package, so it is not among them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from cordstasks import analysis
from cordstasks.analysis import rsa
from cordstasks.experiments.monkey_it import BIN_MS, HUMAN, MACAQUE, compare_with_it, read_92_images, similarity_figure
from cordstasks.utils.measured import machine_line


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("file", type=Path)
    arguments.add_argument("--out", type=Path, help="a PNG file for the figure")
    arguments.add_argument("--resamples", type=int, default=1000, help="bootstrapped sets of stimuli (default 1000)")
    arguments.add_argument("--seed", type=int, default=0, help="of the random network and the bootstrap")
    options = arguments.parse_args()
    print(machine_line(), flush=True)
    similarities = compare_with_it(options.file, resamples=options.resamples, seed=options.seed)
    for name, found in similarities.items():
        compared = found.compared
        texts = [_text(value, ends) for value, ends in zip(compared.values, compared.intervals, strict=True)]
        print(f"\n{name}: Spearman correlation of dissimilarities, 95 % interval over {options.resamples} sets of stimuli")
        print(f"{'':<8}{'10 to 20 ms':<25}{'190 to 200 ms':<25}{'best time bin':<36}{'random weights, 190 ms':<25}")
        for area in range(found.areas):
            early, late, top = texts[3 * area : 3 * area + 3]
            when = f" from {BIN_MS * found.best[area]:g} ms"
            print(f"area {area:<3}{early:<25}{late:<25}{top + when:<36}{texts[found.untrained(area)]:<25}")
        print(f"pixels  {texts[found.pixels]}")
        leader = max(range(found.areas), key=lambda area: compared.values[found.late(area)])
        others = {"pixels": found.pixels, "the same area with random weights": found.untrained(leader)}
        for what, other in others.items():
            difference, (low, high) = compared.difference(found.late(leader), other)
            print(f"area {leader} from 190 ms, less {what}: {difference:.3f} ({low:.3f} to {high:.3f})")
    _, references = read_92_images(options.file)
    between = rsa.compare_dissimilarities(references[HUMAN][None], references[MACAQUE], resamples=options.resamples)
    print(f"\nhuman IT with macaque IT: {_text(between.values[0], between.intervals[0])}")
    if options.out is not None:
        analysis.figures.save(similarity_figure(similarities), options.out)


def _text(value: float, interval: np.ndarray) -> str:
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


if __name__ == "__main__":
    main()
