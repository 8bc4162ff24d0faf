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

--small is the budget of the docs' table: two areas and their controls take less than an hour on one thread of a CPU.
It has at most 50,000 training images of 32 px with light augmentation, four epochs of the CNN by Muon, 1,024 images through
time in stage linear, 2,560 in anneal and 8,192 in finetune, and 1,000 test images.
"""

from __future__ import annotations

import argparse
import time

from cordstasks.errors import InputError
from cordstasks.experiments.table1 import (
    COLUMNS,
    DATASETS,
    PAPER,
    SMALL,
    cells,
    columns_of,
    command_of_cell,
    compute,
    conclusions,
    finished,
)
from cordstasks.pretraining.pipeline import stage_seconds
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.utils.command_line import Parser, named_path, run_command
from cordstasks.utils.measured import machine_line
from cordstasks.utils.settings import add_flags, given_by_flags

OF_CELLS = ("dataset", "depth", "check_images")  # settings that are no choice


def report(options: argparse.Namespace) -> None:
    """Print the table of what has been computed, the commands and times, and the conclusions."""
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
            print(f"{cell}: {sum(seconds.values()):.0f} s ({parts})\n  {command_of_cell(options.out / cell, way)}")
    print()
    for conclusion in conclusions():
        print(f"{conclusion.claim}:")
        for network, difference in conclusion.differences(table):
            print(f"  {network:18}{difference:+7.2f} points  {'yes' if difference > conclusion.least else 'no'}")


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
            given = {**(SMALL if options.small else {}), **given_by_flags(options, PretrainSettings)}
            compute(cell, options.out, getattr(options, network.split("/")[0].replace("-", "_")), given, options.device)
            print(f"[{number}/{len(chosen)}] {cell}: {time.perf_counter() - start:.0f} s", flush=True)
    report(options)
    return 0


if __name__ == "__main__":
    run_command(main)
