"""Table 1 of Soo et al. (2024), cell by cell: CordsNets, their CNNs and both controls."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cordstasks.cordsnet import CordsNet
from cordstasks.errors import InputError
from cordstasks.pretraining.card import command_of
from cordstasks.pretraining.objectives import full_loss
from cordstasks.pretraining.pipeline import pretrain, recorded, stage_seconds
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.pretraining.unrolled import Unrolled
from cordstasks.utils.devices import resolve
from cordstasks.utils.files import Log
from cordstasks.utils.run_folder import RunFolder
from cordstasks.utils.settings import as_text

__all__ = [
    "COLUMNS",
    "DATASETS",
    "PAPER",
    "SMALL",
    "Conclusion",
    "cells",
    "check_made_so",
    "columns_of",
    "command_of_cell",
    "compute",
    "conclusions",
    "finished",
    "images_of_controls",
    "settings_of",
]

DATASETS = ("mnist", "fashion-mnist", "cifar10")
COLUMNS = ("R", "C", "initialised", "fine-tuned", "CNN")
PAPER = {
    "mnist/r2": (97.45, 98.07, 97.85, 98.48, 98.56),
    "mnist/r4": (97.81, 99.26, 98.82, 99.24, 99.59),
    "fashion-mnist/r2": (74.17, 77.75, 85.60, 88.12, 88.44),
    "fashion-mnist/r4": (84.39, 87.63, 91.64, 92.68, 93.65),
    "cifar10/r2": (45.68, 44.44, 62.83, 71.83, 73.89),
    "cifar10/r4": (48.79, 60.64, 81.38, 88.76, 90.29),
    "cifar10/r8": (53.74, 83.15, 91.57, 94.56, 95.99),
}
"""Test accuracies in percent (Soo et al. 2024, Table 1), in the order of `COLUMNS`."""
SMALL: dict[str, Any] = {
    "image_size": 32,
    "augmentation": "light",
    "train_images": 50000,
    "cnn_epochs": 4,
    "cnn_optimiser": "muon",
    "match_images": 12800,
    "linear_images": 1024,
    "anneal_images": 128,
    "finetune_images": 8192,
    "test_images": 1000,
}
"""The budget of the documentation's table: two areas and their controls take less than an hour on one thread of a CPU."""
INITIALISING = ("cnn", "fold", "match", "linear", "anneal")
NEAR = 3.0  # percent: a fine-tuned network that is worse than its CNN by no more comes near it


@dataclass(frozen=True)
class Conclusion:
    """A conclusion of the paper about two columns of the table.

    Attributes
    ----------
    claim : str
        In a few words.
    better, worse : str
        The columns.
    least : float
        The accuracy of the first exceeds that of the second by more than this, in percent.
    but : tuple of str
        Data sets for which the paper does not draw it.
    """

    claim: str
    better: str
    worse: str
    least: float = 0.0
    but: tuple[str, ...] = ()

    def concerns(self, network: str) -> bool:
        """Whether the paper draws it for a network.

        Parameters
        ----------
        network : str
            ``DATASET/rDEPTH``.

        Returns
        -------
        bool
        """
        return network.split("/")[0] not in self.but

    def differences(self, table: Mapping[str, Mapping[str, float]]) -> Iterator[tuple[str, float]]:
        """The differences in percent of the networks that it concerns and that have both columns.

        Parameters
        ----------
        table : mapping of str to mapping of str to float
            By network, what `columns_of` gives.

        Yields
        ------
        (str, float)
            The network and its difference.
        """
        for network, own in table.items():
            if self.concerns(network) and self.better in own and self.worse in own:
                yield network, own[self.better] - own[self.worse]


def conclusions() -> tuple[Conclusion, ...]:
    """What the paper concludes from the table.

    Returns
    -------
    tuple of Conclusion
    """
    return (
        Conclusion("staged initialisation beats direct training in the same time", "initialised", "C", but=("mnist",)),
        Conclusion("convolutional beats dense", "C", "R"),
        Conclusion(f"fine-tuned is within {NEAR:g} points of the CNN", "fine-tuned", "CNN", -NEAR),
    )


def cells() -> list[str]:
    """All cells of the table, the quick ones first.

    Returns
    -------
    list of str
        ``DATASET/rDEPTH/WAY``. The way ``staged`` runs all stages of the paper, and gives the columns of the CNN, of the
        initialised network (after stage anneal) and of the fine-tuned one. ``direct`` (C) trains a CordsNet from random
        weights on as many images as take as long as all stages up to anneal did. ``dense`` (R) trains a fully connected
        network with as many parameters on the same number of images. R8 has no controls, as they take hours.
    """
    names = sorted(PAPER, key=lambda name: (name.split("/")[1], DATASETS.index(name.split("/")[0])))
    return [f"{name}/{way}" for name in names for way in _ways(name)]


def _ways(network: str) -> tuple[str, ...]:
    """The ways in which a network of the table is trained."""
    return ("staged",) if network.endswith("r8") else ("staged", "direct", "dense")


def settings_of(network: str, data: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a network's runs that are not defaults.

    Parameters
    ----------
    network : str
        ``DATASET/rDEPTH``.
    data : Path
        Folder of its images.
    given : mapping of str to object
        Settings of `cordstasks.pretraining.settings.PretrainSettings` to choose, such as those of `SMALL`.

    Returns
    -------
    dict of str to object
        By name.
    """
    dataset, depth = network.split("/")
    own: dict[str, Any] = {"dataset": dataset, "depth": int(depth[1:])}
    if dataset == "cifar10" and (data / "train").is_dir():
        own |= {"dataset": "folder", "augmentation": "cifar"}
    own |= given
    return {**own, "check_images": PretrainSettings.of(own).test_images}


def compute(cell: str, out: Path, data: Path, given: Mapping[str, Any], device: str = "auto") -> None:
    """Compute a cell, or what is missing of it.

    Parameters
    ----------
    cell : str
        One of `cells`.
    out : Path
        Folder of all runs.
    data : Path
        Folder of its images.
    given : mapping of str to object
        As for `settings_of`.
    device : str
        As for `cordstasks.pretraining.pipeline.pretrain`.

    Raises
    ------
    InputError
        If the images or the folder cannot be used, or the folder holds runs of other settings.
    """
    network, way = cell.rsplit("/", 1)
    settings = settings_of(network, data, given)
    folder = out / network / way
    if way != "staged":
        images = images_of_controls(out / network, PretrainSettings.of(settings), device)
        settings |= {f"{way}_images": images, f"{way}_epochs": 1}
    pretrain(data, folder, stage=_stage(way), resume=(folder / "config.json").exists(), device=device, **settings)


def check_made_so(cell: str, out: Path, data: Path, given: Mapping[str, Any]) -> None:
    """Raise an InputError if a finished cell was computed with other settings.

    Parameters
    ----------
    cell, out, data, given
        As for `compute`.

    Raises
    ------
    InputError
        With the first setting that differs.
    """
    network, way = cell.rsplit("/", 1)
    folder = out / network / way
    own, wanted = recorded(RunFolder(folder)), PretrainSettings.of(settings_of(network, data, given))
    for name in given:
        if getattr(own, name) != getattr(wanted, name):
            raise InputError(
                f"{folder}: was made with {name}={as_text(getattr(own, name))}, and now {as_text(getattr(wanted, name))} is "
                "wanted; move it away, or choose another folder for the results"
            )


def _stage(way: str) -> str:
    """The stage of pre-training that a way runs."""
    return {"staged": "all"}.get(way, way)


def images_of_controls(network: Path, settings: PretrainSettings, device: str) -> int:
    """How many images both controls see: as many as a CordsNet learns from in the time that initialisation took.

    Parameters
    ----------
    network : Path
        Folder of the network's cells.
    settings : PretrainSettings
        Of the staged cell.
    device : str
        Where the controls are trained.

    Returns
    -------
    int
        The number of a control that has begun, or a new one from a measurement of the speed.
    """
    for way in ("direct", "dense"):
        if (network / way / "config.json").exists():
            return int(json.loads((network / way / "config.json").read_text())[f"{way}_images"])
    seconds = stage_seconds(network / "staged")
    return round(sum(seconds[stage] for stage in INITIALISING) / _seconds_per_image(settings, device))


def _seconds_per_image(settings: PretrainSettings, device: str) -> float:
    """Seconds that control direct takes to learn from an image, by two batches of noise after a first one."""
    channels, batch = (1 if settings.dataset in ("mnist", "fashion-mnist") else 3), settings.direct_batch
    torch.manual_seed(settings.seed)
    network = CordsNet(settings.depth, classes=10, in_channels=channels, image_size=settings.image_size).to(resolve(device))
    x = torch.randn(batch, channels, settings.image_size, settings.image_size, device=network.device)
    targets = torch.eye(10, device=network.device)[torch.arange(batch) % 10]
    start = 0.0
    for number in range(3):
        full_loss(Unrolled(network), x, targets, settings).loss.backward()
        float(network.conv_bias[0].grad.sum())  # waits for a GPU
        start = start if number else time.perf_counter()
    return (time.perf_counter() - start) / (2 * batch)


def finished(folder: Path, way: str) -> bool:
    """Whether a cell has been computed.

    Parameters
    ----------
    folder : Path
        Of the network's cells.
    way : str
        The last part of the cell's name.

    Returns
    -------
    bool
    """
    return (folder / way / ("summary.json" if way == "staged" else f"{way}.safetensors")).exists()


def columns_of(folder: Path) -> dict[str, float]:
    """The test accuracies of what has been computed of a network.

    Parameters
    ----------
    folder : Path
        Of the network's cells.

    Returns
    -------
    dict of str to float
        In percent, by column.
    """
    found = {}
    for column, way, stage in (("R", "dense", "dense"), ("C", "direct", "direct"), ("initialised", "staged", "anneal")):
        if finished(folder, way):
            found[column] = 100 * float(Log(folder / way / f"{stage}.jsonl").rows("test")[-1]["test"])
    if finished(folder, "staged"):
        protocol = json.loads((folder / "staged" / "summary.json").read_text())["protocol"]
        found |= {"fine-tuned": 100 * protocol["accuracy"]["200"], "CNN": 100 * protocol["cnn"]}
    return found


def command_of_cell(folder: Path, way: str) -> str:
    """The command that computes a cell by itself.

    Parameters
    ----------
    folder : Path
        Of the cell.
    way : str
        The last part of its name.

    Returns
    -------
    str
        In one line.
    """
    return command_of(recorded(RunFolder(folder)), Path("DATA"), _stage(way))
