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
import torch
from scipy.io import loadmat

from cordstasks import analysis
from cordstasks.analysis import rsa
from cordstasks.cordsnet import CordsNet, load
from cordstasks.recordings import respond
from cordstasks.utils.measured import machine_line

WIDTH, SHOWN = 10.0, 200.0  # ms


def dissimilarities_of(network: CordsNet | str, images: list[np.ndarray]) -> np.ndarray:
    """Correlation distances (area, time bin, pair)."""
    found = respond(network, images, bins_ms=WIDTH, image_ms=SHOWN, device="cpu")
    return np.stack([rsa.dissimilarities(found.select(region=area).rates) for area in found.areas])


def random_network(seed: int) -> CordsNet:
    """An R8 of the shape and preprocessing of the shipped one, with the weights that training starts from."""
    shipped = load("cordsnet-r8")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = CordsNet(8, classes=shipped.classes, image_size=shipped.image_size, preprocessing=shipped.preprocessing)
    return made.eval()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("file", type=Path)
    arguments.add_argument("--out", type=Path, help="a PNG file for the figure")
    arguments.add_argument("--resamples", type=int, default=1000, help="bootstrapped sets of stimuli (default 1000)")
    arguments.add_argument("--seed", type=int, default=0, help="of the random network and the bootstrap")
    options = arguments.parse_args()
    print(machine_line(), flush=True)
    content = loadmat(options.file, squeeze_me=True, struct_as_record=False)
    images = [np.asarray(each.image) for each in content["stimuli_92objs"]]
    references = {"macaque IT": content["RDMs_mIT_hIT_fig1"][0].RDM, "human IT": content["RDMs_mIT_hIT_fig1"][1].RDM}
    trained = dissimilarities_of("cordsnet-r8", images)
    untrained = dissimilarities_of(random_network(options.seed), images)[:, -1]
    pixels = rsa.dissimilarities(np.stack([image.reshape(1, -1) for image in images]).astype(float))
    areas, times, _ = trained.shape
    shown = [1, times - 1]  # time bins that are printed for each area, besides the best
    curves = {}
    for name, reference in references.items():
        target = np.asarray(reference, float)
        courses = np.array([[rsa.rank_correlation(each, target) for each in area] for area in trained])
        best = courses.argmax(axis=1)
        chosen = [trained[area, time] for area in range(areas) for time in (*shown, int(best[area]))]
        compared = rsa.compare_dissimilarities(
            np.stack([*chosen, *untrained, pixels[0]]), target, resamples=options.resamples, rng=options.seed
        )
        texts = [_text(value, ends) for value, ends in zip(compared.values, compared.intervals, strict=True)]
        print(f"\n{name}: Spearman correlation of dissimilarities, 95 % interval over {options.resamples} sets of stimuli")
        print(f"{'':<8}{'10 to 20 ms':<25}{'190 to 200 ms':<25}{'best time bin':<36}{'random weights, 190 ms':<25}")
        for area in range(areas):
            early, late, top = texts[3 * area : 3 * area + 3]
            when = f" from {WIDTH * best[area]:g} ms"
            print(f"area {area:<3}{early:<25}{late:<25}{top + when:<36}{texts[3 * areas + area]:<25}")
        print(f"pixels  {texts[-1]}")
        last = compared.values[1 : 3 * areas : 3]
        leader = int(np.argmax(last))
        for what, other in (("pixels", len(texts) - 1), ("the same area with random weights", 3 * areas + leader)):
            difference, (low, high) = compared.difference(3 * leader + 1, other)
            print(f"area {leader} from 190 ms, less {what}: {difference:.3f} ({low:.3f} to {high:.3f})")
        lines = {"pixels": float(compared.values[-1]), "best random area": float(compared.values[-9:-1].max())}
        curves[name] = courses, compared.intervals[1 : 3 * areas : 3], lines
    between = rsa.compare_dissimilarities(
        np.asarray(references["human IT"], float)[None],
        np.asarray(references["macaque IT"], float),
        resamples=options.resamples,
    )
    print(f"\nhuman IT with macaque IT: {_text(between.values[0], between.intervals[0])}")
    if options.out is not None:
        figure = analysis.figures.similarity_over_time(
            (np.arange(times) + 0.5) * WIDTH,
            {name: (courses, ends) for name, (courses, ends, _) in curves.items()},
            [f"area {area}" for area in range(areas)],
            beside={name: lines for name, (_, _, lines) in curves.items()},
        )
        analysis.figures.save(figure, options.out)


def _text(value: float, interval: np.ndarray) -> str:
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


if __name__ == "__main__":
    main()
