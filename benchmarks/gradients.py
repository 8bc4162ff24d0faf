"""Memory and time per image of the three gradients of the loss through time, and how well they agree.

    python benchmarks/gradients.py [--depths 2 4 6 8] [--image-size 64] [--images 4] [--device cuda]

For each depth the table has, for each kind of gradient, the seconds per image of one loss with its gradient, the memory per
image at the peak (of the process, on Linux, or of CUDA's allocator), and the cosine of the gradient to the full one.
The loss is the paper's. --weights FILE takes a trained CordsNet, whose cosines say more than those of random weights.

With --accuracy DIR it also fine-tunes a CordsNet from DIR (a folder of `cordstasks.pretrain` with what stage ``anneal``
left) for the same number of seconds with each gradient, and prints the accuracy that each reaches.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cordstasks.cordsnet import CordsNet, load
from cordstasks.errors import InputError
from cordstasks.pretraining.datasets import read_dataset
from cordstasks.pretraining.loop import batches
from cordstasks.pretraining.objectives import full_loss
from cordstasks.pretraining.pipeline import recorded
from cordstasks.pretraining.presentation import Presentation, augmentation_of
from cordstasks.pretraining.promises import protocol_accuracy
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.pretraining.unrolled import Unrolled
from cordstasks.utils.command_line import Parser, named_path, run_command
from cordstasks.utils.measured import machine_line, note_number
from cordstasks.utils.run_folder import RunFolder

KINDS = ("full", "truncated", "equilibrium")
PAPER: dict[str, Any] = {"spontaneous_target": "constant", "spontaneous_weight": 1e-3, "spontaneous_images": None}
"""The paper's spontaneous term, of all images, for the table."""


def measured(network: CordsNet, x: Tensor, targets: Tensor, settings: PretrainSettings) -> dict[str, Any]:
    """Seconds and MB per image, and the gradient, of one batch."""
    before = memory(x.device, reset=True)
    start = time.perf_counter()
    loss = full_loss(Unrolled(network), x, targets, settings).loss
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    after = memory(x.device)  # waits for a GPU
    return {
        "seconds": (time.perf_counter() - start) / len(x),
        "peak": (after - before) / 1e6 / len(x),
        "gradient": torch.cat([g.flatten() for g in gradients]).double(),
    }


def memory(device: torch.device, *, reset: bool = False) -> float:
    """Bytes in use, after forgetting the largest number so far; or else that number."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() if reset else torch.cuda.max_memory_allocated()
    if not Path("/proc/self/clear_refs").exists():
        return float("nan")
    if reset:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # or memory that was freed would be used again without being seen
        Path("/proc/self/clear_refs").write_text("5")
    field = "VmRSS:" if reset else "VmHWM:"
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return 1024 * float(line.split()[1])


def table(options: argparse.Namespace) -> None:
    """Print memory, time and agreement for each depth."""
    device = torch.device(options.device)
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(machine_line())
    print(
        f"{where}, load {os.getloadavg()[0]:.1f}; {options.image_size} px, {options.images} images a batch, 100 steps each"
    )
    print("network  gradient     s/image  MB/image  cosine to full")
    for depth in options.depths:
        torch.manual_seed(0)
        if options.weights is not None:
            network = load(options.weights, map_location=device)
        else:
            network = CordsNet(depth, classes=10, image_size=options.image_size).to(device)
        side, channels = network.image_size, network.in_channels
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(options.images, channels, side, side, generator=generator).to(device)
        targets = torch.eye(network.classes, device=device)[torch.arange(options.images) % network.classes]
        exact: Tensor | None = None
        short = PretrainSettings(gradients="full", image_steps=30, after_steps=10, **PAPER)
        measured(network, x, targets, short)  # warms up
        for kind in KINDS:
            settings = PretrainSettings(gradients=kind, checkpoint_steps=options.checkpoint_steps, **PAPER)
            found = measured(network, x, targets, settings)
            exact = found["gradient"] if kind == "full" else exact
            assert exact is not None
            cosine = float(torch.nn.functional.cosine_similarity(found["gradient"], exact, dim=0))
            print(f"R{network.depth:<7} {kind:<12}{found['seconds']:8.3f}{found['peak']:10.1f}{cosine:16.4f}", flush=True)
            if kind == "full":
                whole = found
            what = f"R{network.depth} at {options.image_size} px, gradient {kind}"
            note_number(what, found["seconds"], "s per image", ratio=whole["seconds"] / found["seconds"], beside="full")
            note_number(what, found["peak"], "MB per image", ratio=whole["peak"] / found["peak"], beside="full")
        if options.weights is not None:
            break


def race(folder: Path, data: Path, seconds: float, images: int) -> None:
    """Print the accuracy that fine-tuning reaches in the same time with each gradient."""
    settings = recorded(RunFolder(folder))
    start = load(folder / "anneal.safetensors")
    pair = read_dataset(data, settings)
    presentation = Presentation(
        settings.image_size,
        pair.preprocessing.mean,
        pair.preprocessing.std,
        classes=len(pair.train.classes),
        device=torch.device("cpu"),
        augmentation=augmentation_of(settings.augmentation, settings.dataset),
    )
    test = pair.test.subset(images)
    before = protocol_accuracy(Unrolled(start), test, presentation, settings)["test"]
    where = f"R{start.depth}, {start.image_size} px, load {os.getloadavg()[0]:.1f}"
    print(f"{where}; fine-tuned for {seconds:g} s from {before:.1%} ({len(test)} test images):")
    for kind in KINDS:
        network = load(folder / "anneal.safetensors")
        own = replace(settings, gradients=kind)
        optimiser = torch.optim.AdamW(network.parameters(), lr=own.finetune_learning_rate)
        end, steps = time.perf_counter() + seconds, 0
        for _, pick, generator in batches(len(pair.train), own.finetune_batch, 0, 10**6, seed=own.seed):
            if time.perf_counter() > end:
                break
            x, targets = presentation.training(*pair.train.batch(pick), generator)
            optimiser.zero_grad()
            full_loss(Unrolled(network), x, targets, own).loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), own.finetune_clip)
            optimiser.step()
            steps += 1
        score = protocol_accuracy(Unrolled(network), test, presentation, settings)["test"]
        print(f"  {kind:<12}{steps:4d} batches  {score:.1%}", flush=True)


def main() -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", type=int, nargs="+", default=[2, 4, 6, 8])
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--images", type=int, default=4, help="images in a batch")
    parser.add_argument("--checkpoint-steps", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--weights", help="a CordsNet to take instead of random weights, such as cordsnet-r8")
    parser.add_argument(
        "--accuracy", type=named_path, metavar="DIR", help="a folder of cordstasks.pretrain to fine-tune from"
    )
    parser.add_argument("--data", type=named_path, help="its images")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--test-images", type=int, default=500)
    options = parser.parse_args()
    if options.accuracy is None:
        table(options)
    elif options.data is None:
        raise InputError("data=none: --accuracy needs the images; name their folder")
    else:
        race(options.accuracy, options.data, options.seconds, options.test_images)
    return 0


if __name__ == "__main__":
    run_command(main)
