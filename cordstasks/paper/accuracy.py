"""Figure 2D and table 1, at our size: staged and direct training, a CNN and a dense network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cordstasks import analysis
from cordstasks.analysis.statistics import difference_of_proportions
from cordstasks.experiments.table1 import (
    COLUMNS,
    PAPER,
    SMALL,
    Conclusion,
    cells,
    check_made_so,
    columns_of,
    command_of_cell,
    compute,
    conclusions,
    finished,
)
from cordstasks.paper.findings import Drawing, Finding, Outcome, judge
from cordstasks.paper.parts import Workplace
from cordstasks.pretraining.settings import PretrainSettings

__all__ = ["QUICK", "table1"]

QUICK: dict[str, Any] = {
    **SMALL,
    "train_images": 2000,
    "cnn_epochs": 1,
    "match_images": 640,
    "linear_images": 64,
    "anneal_images": 32,
    "finetune_images": 256,
    "test_images": 200,
}
RULE = (
    "agrees if the whole 95 % interval of the difference on the same {images} test images lies above {least:g} points; "
    "Newcombe's interval; one network of each kind, so that it says nothing about other seeds"
)
CAPTION = (
    "Test accuracies beside those of the paper's table 1. R: dense network, C: direct training, initialised and fine-tuned: "
    "in stages, CNN: the feed-forward network that the stages begin with"
)
SMALLER = (
    "two areas at {size} px, {train:,} training images, {finetune:,} images of fine-tuning through time; the paper trains "
    "on all images for hundreds of epochs"
)


def table1(folder: Path, workplace: Workplace) -> Outcome:
    """Train CordsNet-R2, its CNN and both controls on CIFAR-10, and on MNIST if it is given.

    Parameters
    ----------
    folder : Path
        Folder of the runs; a run that was stopped is continued, one that is finished is not made again.
    workplace : Workplace
        How to make them; its ``images`` are needed, its ``mnist`` adds a row.

    Returns
    -------
    Outcome
        For each data set and each of the paper's conclusions, the difference of two accuracies.
    """
    given = QUICK if workplace.quick else SMALL
    places = {"cifar10": workplace.images, "mnist": workplace.mnist}
    networks = {f"{name}/r2": path for name, path in places.items() if path is not None}
    for cell in cells():
        network, way = cell.rsplit("/", 1)
        data = networks.get(network)
        if data is not None and finished(folder / network, way):
            check_made_so(cell, folder, data, given)  # the numbers of images below are those of today
        elif data is not None:
            compute(cell, folder, data, given, workplace.device)
    table = {network: columns_of(folder / network) for network in networks}
    images = int(given["test_images"])
    findings = [
        _finding(conclusion, network, table[network], images)
        for conclusion in conclusions()
        for network in networks
        if conclusion.concerns(network)
    ]
    rows = {
        network: {"ours": table[network], "paper": dict(zip(COLUMNS, PAPER[network], strict=True))} for network in networks
    }
    analysis.figures.save(analysis.figures.accuracies(rows, COLUMNS, images=images), folder / "table1.png")
    listed = "; ".join(
        f"{network}: " + ", ".join(f"{column} {own[column]:.1f} %" for column in COLUMNS) for network, own in table.items()
    )
    commands = [
        command_of_cell(folder / network / way, way) for network in networks for way in ("staged", "direct", "dense")
    ]
    chosen = PretrainSettings.of(given)
    note = SMALLER.format(size=chosen.image_size, train=chosen.train_images or 0, finetune=chosen.finetune_images or 0)
    return Outcome(
        findings,
        [Drawing("table1.png", CAPTION, f"Test accuracies. {listed}.")],
        commands,
        [chosen.seed],
        [note, listed],
    )


def _finding(conclusion: Conclusion, network: str, own: Mapping[str, float], images: int) -> Finding:
    """One conclusion for one network."""
    better, worse = (round(own[name] * images / 100) for name in (conclusion.better, conclusion.worse))
    difference, (low, high) = difference_of_proportions(better, images, worse, images)
    theirs = dict(zip(COLUMNS, PAPER[network], strict=True))
    return Finding(
        f"{conclusion.claim[0].upper()}{conclusion.claim[1:]} ({network}).",
        f"{100 * difference:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f}): {conclusion.better} "
        f"{own[conclusion.better]:.1f} %, {conclusion.worse} {own[conclusion.worse]:.1f} %; in the paper "
        f"{theirs[conclusion.better]:g} % and {theirs[conclusion.worse]:g} %",
        judge((100 * low, 100 * high), above=conclusion.least),
        RULE.format(images=images, least=conclusion.least),
    )
