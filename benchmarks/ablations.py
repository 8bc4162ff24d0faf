"""What each part of the paper's training does: the loss without its parts, and no stages at all, on MNIST.

    python benchmarks/ablations.py --data DIR --out DIR [--seeds 0 1] [--depth 2] [any setting of cordstasks.pretrain]

For each seed the CNN is trained, folded and matched once. From there the linear, annealing and fine-tuning stages run with
the full loss, without the spontaneous term (spontaneous_weight 0), and with equal weights in time (first_weight 1). "No
stages" is the control direct: the full loss from random weights, for as many images as the stages from the CNN on see
through time. What the folder holds already is not computed again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
from pathlib import Path
from typing import Any

from cordstasks.errors import InputError
from cordstasks.pretraining.pipeline import pretrain, stage_seconds
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.utils.command_line import Parser, named_path, run_command
from cordstasks.utils.measured import machine_line
from cordstasks.utils.settings import add_flags, given_by_flags

SHARED = ("cnn", "fold", "match")
STAGED = ("linear", "anneal", "finetune", "check")
VARIANTS: dict[str, dict[str, Any]] = {
    "full loss": {},
    "no spontaneous term": {"spontaneous_weight": 0.0},
    "no log weights": {"first_weight": 1.0},
}


def run(data: Path, folder: Path, stages: tuple[str, ...], given: dict[str, Any]) -> float:
    """Run what a folder lacks of some stages; the seconds of all stages that were run in it."""
    for stage in stages:
        finished = folder / ("summary.json" if stage == "check" else f"{stage}.safetensors")
        if not finished.exists():
            pretrain(data, folder, stage=stage, resume=(folder / f"{stage}.pt").exists(), **given)
    return sum(stage_seconds(folder).values())


def seen_through_time(settings: PretrainSettings) -> int:
    """Images that the stages linear, anneal and finetune see."""
    return sum(
        getattr(settings, f"{stage}_epochs") * (getattr(settings, f"{stage}_images") or 60000)
        for stage in ("linear", "anneal", "finetune")
    )


def main() -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=named_path, required=True, help="MNIST, as cordstasks.pretrain reads it")
    parser.add_argument("--out", type=named_path, required=True, help="folder of all runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="seeds of the runs (default 0 1)")
    add_flags(parser, PretrainSettings)
    options = parser.parse_args()
    if options.seed is not None:
        raise InputError(f"seed={options.seed}: give the seeds of all runs by --seeds")
    given = {"dataset": "mnist", "depth": 2, **given_by_flags(options, PretrainSettings)}
    settings = PretrainSettings.of(given)
    print(machine_line(), flush=True)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in (*VARIANTS, "no stages")}
    for seed in options.seeds:
        own = {**given, "seed": seed}
        shared = options.out / f"seed-{seed}" / "shared"
        run(options.data, shared, SHARED, own)
        for name, change in VARIANTS.items():
            folder = options.out / f"seed-{seed}" / name.replace(" ", "-")
            folder.mkdir(parents=True, exist_ok=True)
            for stage in SHARED:
                shutil.copy(shared / f"{stage}.safetensors", folder)
            seconds = run(options.data, folder, STAGED, {**own, **change})
            found[name].append({"seconds": seconds, **json.loads((folder / "summary.json").read_text())})
        folder = options.out / f"seed-{seed}" / "no-stages"
        direct = {**own, "direct_epochs": 1, "direct_images": seen_through_time(settings)}
        seconds = run(options.data, folder, ("direct", "check"), direct)
        found["no stages"].append({"seconds": seconds, **json.loads((folder / "summary.json").read_text())})
    print(f"\nR{settings.depth}, {settings.image_size} px, seeds {options.seeds}, load {os.getloadavg()[0]:.1f};", end=" ")
    print(f"{seen_through_time(settings)} images through time, {settings.check_images} test images")
    print(f"{'':22}{'at 200 ms':>16}{'at 400 ms':>16}{'left after 200 ms':>20}{'seconds':>9}")
    for name, rows in found.items():
        cells = [spread([100 * row["protocol"]["accuracy"][ms] for row in rows]) for ms in ("200", "400")]
        left = spread([100 * max(row["protocol"]["return"]) for row in rows])
        seconds = statistics.mean(row["seconds"] for row in rows)
        print(f"{name:22}{cells[0]:>16}{cells[1]:>16}{left:>20}{seconds:9.0f}")
    cnn = spread([100 * row["cnn"] for row in found["full loss"]])
    print(f"{'CNN':22}{cnn:>16}")
    return 0


def spread(values: list[float]) -> str:
    """Every seed's value, in percent."""
    return " / ".join(f"{value:.2f}" for value in values)


if __name__ == "__main__":
    run_command(main)
