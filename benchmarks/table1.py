"""Table 1 of Soo et al. (2024), ours: CordsNets, their CNNs and both controls, beside the paper's numbers.

    python benchmarks/table1.py --out DIR --mnist DIR --fashion-mnist DIR --cifar10 DIR [--cells mnist/r2 ...] [--seed 0]
                                [any setting of cordstasks.pretrain]

A cell is DATASET/rDEPTH/WAY. The way ``staged`` runs all stages of the paper, and gives three columns: the accuracy of the
CNN, of the initialised network (after stage anneal) and of the fine-tuned one. The way ``direct`` (C) trains a CordsNet from
random weights on as many images as take as long as all stages up to anneal did, at a measured speed. ``dense`` (R) trains a
fully connected network with as many parameters on the same number of images. Controls wait for the staged cell of their
network. R8 has no controls, as they take hours.

All accuracies of a row are of the same test images, at the end of the image under the paper's protocol. What DIR holds is
not computed again, and an interrupted cell continues. --cells takes beginnings of names. After each cell its time is
printed, and at the end the table, the command of each cell, and the paper's three conclusions.

--small is the budget of the documentation's table, in which a network takes minutes on one thread of a CPU: at most 20,000
training images, one epoch of the CNN, light augmentation, and some thousand images through time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cordstasks.errors import InputError
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.utils.command_line import Parser, named_path, run_command
from cordstasks.utils.measured import machine_line
from cordstasks.utils.settings import add_flags, given_by_flags

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
    "train_images": 20000,
    "cnn_epochs": 1,
    "match_images": 3200,
    "linear_images": 256,
    "anneal_images": 64,
    "finetune_images": 2048,
    "test_images": 300,
}
OF_CELLS = ("dataset", "depth", "check_images")  # settings that are no choice
INITIALISING = ("cnn", "fold", "match", "linear", "anneal")
NEAR = 3.0  # percent: a fine-tuned network that is worse than its CNN by no more comes near it


def cells() -> list[str]:
    """All cells, the quick ones first."""
    names = sorted(PAPER, key=lambda name: (name.split("/")[1], DATASETS.index(name.split("/")[0])))
    return [f"{name}/{way}" for name in names for way in ways(name)]


def ways(network: str) -> tuple[str, ...]:
    """The ways in which a network of the table is trained."""
    return ("staged",) if network.endswith("r8") else ("staged", "direct", "dense")


def settings_of(network: str, options: argparse.Namespace, data: Path) -> dict[str, Any]:
    """The settings of a network's runs that are not defaults."""
    dataset, depth = network.split("/")
    given: dict[str, Any] = {"dataset": dataset, "depth": int(depth[1:])}
    if dataset == "cifar10" and (data / "train").is_dir():
        given |= {"dataset": "folder", "augmentation": "cifar"}
    given |= {**(SMALL if options.small else {}), **given_by_flags(options, PretrainSettings)}
    return {**given, "check_images": PretrainSettings.of(given).test_images}


def run(cell: str, options: argparse.Namespace) -> None:
    """Compute a cell, or what is missing of it."""
    from cordstasks.pretraining.pipeline import pretrain

    network, way = cell.rsplit("/", 1)
    data: Path = getattr(options, network.split("/")[0].replace("-", "_"))
    given = settings_of(network, options, data)
    folder = options.out / network / way
    stage = {"staged": "all"}.get(way, way)
    if way != "staged":
        images = images_of_controls(options.out / network, PretrainSettings.of(given), options.device)
        given |= {f"{way}_images": images, f"{way}_epochs": 1}
    pretrain(data, folder, stage=stage, resume=(folder / "config.json").exists(), device=options.device, **given)


def images_of_controls(network: Path, settings: PretrainSettings, device: str) -> int:
    """How many images both controls see: as many as a CordsNet learns from in the time that initialisation took."""
    from cordstasks.pretraining.pipeline import stage_seconds

    for way in ("direct", "dense"):
        if (network / way / "config.json").exists():
            return int(json.loads((network / way / "config.json").read_text())[f"{way}_images"])
    seconds = stage_seconds(network / "staged")
    return round(sum(seconds[stage] for stage in INITIALISING) / seconds_per_image(settings, device))


def seconds_per_image(settings: PretrainSettings, device: str) -> float:
    """Seconds that control direct takes to learn from an image, by two batches of noise after a first one."""
    import torch

    from cordstasks.cordsnet import CordsNet
    from cordstasks.pretraining.objectives import full_loss
    from cordstasks.pretraining.unrolled import Unrolled
    from cordstasks.utils.devices import resolve

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
    """Whether a cell has been computed."""
    return (folder / way / ("summary.json" if way == "staged" else f"{way}.safetensors")).exists()


def columns_of(folder: Path) -> dict[str, float]:
    """The accuracies in percent of what has been computed of a network, by column."""
    found = {}
    for column, way, stage in (("R", "dense", "dense"), ("C", "direct", "direct"), ("initialised", "staged", "anneal")):
        if finished(folder, way):
            found[column] = 100 * last_accuracy(folder / way / f"{stage}.jsonl")
    if finished(folder, "staged"):
        protocol = json.loads((folder / "staged" / "summary.json").read_text())["protocol"]
        found |= {"fine-tuned": 100 * protocol["accuracy"]["200"], "CNN": 100 * protocol["cnn"]}
    return found


def last_accuracy(log: Path) -> float:
    """The last accuracy on test images in a stage's log."""
    from cordstasks.utils.files import Log

    return float(Log(log).rows("test")[-1]["test"])


def conclusions(table: dict[str, dict[str, float]]) -> Iterator[str]:
    """What the paper concludes, and what the networks of a table say of it."""
    claims = (
        ("staged initialisation beats direct training in the same time", "initialised", "C", 0.0),
        ("convolutional beats dense", "C", "R", 0.0),
        (f"fine-tuned is within {NEAR:g} points of the CNN", "fine-tuned", "CNN", -NEAR),
    )
    for claim, better, worse, least in claims:
        yield f"{claim}:"
        for network, own in table.items():
            if better in own and worse in own:
                difference = own[better] - own[worse]
                yield f"  {network:18}{difference:+7.2f} points  {'yes' if difference > least else 'no'}"


def report(options: argparse.Namespace) -> None:
    """Print the table of what has been computed, the commands and times, and the conclusions."""
    from cordstasks.pretraining.pipeline import stage_seconds

    table = {network: columns_of(options.out / network) for network in PAPER}
    table = {network: own for network, own in table.items() if own}
    print(f"\n{'':18}" + "".join(f"{column + ' (paper)':>24}" for column in COLUMNS))
    for network, own in table.items():
        numbers = [f"{own[column]:.1f}" if column in own else "-" for column in COLUMNS]
        print(f"{network:18}" + "".join(f"{n + f' ({p:.2f})':>24}" for n, p in zip(numbers, PAPER[network], strict=True)))
    print("\ncells, with the seconds of their stages:")
    for cell in cells():
        network, way = cell.rsplit("/", 1)
        if finished(options.out / network, way):
            seconds = stage_seconds(options.out / cell)
            parts = ", ".join(f"{stage} {value:.0f}" for stage, value in seconds.items())
            print(f"{cell}: {sum(seconds.values()):.0f} s ({parts})\n  {command(options.out / cell, way)}")
    print("\n" + "\n".join(conclusions(table)))


def command(folder: Path, way: str) -> str:
    """The command that computes a cell by itself."""
    from cordstasks.pretraining.card import command_of
    from cordstasks.pretraining.pipeline import recorded
    from cordstasks.utils.run_folder import RunFolder

    return command_of(recorded(RunFolder(folder)), Path("DATA"), {"staged": "all"}.get(way, way))


def main() -> int:
    """Compute the cells that are asked for and print the table."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=named_path, required=True, help="folder of all runs")
    for dataset in DATASETS:
        parser.add_argument(
            f"--{dataset}", type=named_path, metavar="DIR", help="its images; without, its cells are left out"
        )
    parser.add_argument("--cells", nargs="*", default=[""], help="beginnings of the names of cells (default: all)")
    parser.add_argument("--small", action="store_true", help="the budget of the documentation's table")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default auto)")
    add_flags(parser, PretrainSettings)
    options = parser.parse_args()
    for name in OF_CELLS:
        if getattr(options, name) is not None:
            raise InputError(f"{name}={getattr(options, name)}: the cell says it; leave it out")
    chosen = [cell for cell in cells() if cell.startswith(tuple(options.cells))]
    if not chosen and options.cells:
        raise InputError(f"--cells {' '.join(options.cells)}: no cell begins so; there are {', '.join(cells())}")
    print(machine_line(), flush=True)
    for number, cell in enumerate(chosen, 1):
        network, way = cell.rsplit("/", 1)
        if finished(options.out / network, way):
            print(f"[{number}/{len(chosen)}] {cell}: done before")
        elif getattr(options, network.split("/")[0].replace("-", "_")) is None:
            print(f"[{number}/{len(chosen)}] {cell}: left out, --{network.split('/')[0]} is not given")
        elif way != "staged" and not finished(options.out / network, "staged"):
            print(f"[{number}/{len(chosen)}] {cell}: left out, {network}/staged comes first")
        else:
            print(f"[{number}/{len(chosen)}] {cell}", flush=True)
            start = time.perf_counter()
            run(cell, options)
            print(f"[{number}/{len(chosen)}] {cell}: {time.perf_counter() - start:.0f} s", flush=True)
    report(options)
    return 0


if __name__ == "__main__":
    run_command(main)
