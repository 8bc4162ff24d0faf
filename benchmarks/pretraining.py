"""What an epoch of pre-training costs, stage by stage, and what it spends its time in, by PyTorch's profiler.

    python benchmarks/pretraining.py [--images 256] [--depth 8] [--image-size 32] [--last cnn]

The images are noise in MNIST's format, so nothing needs to be downloaded; what is learned does not matter here. The stages
cnn, anneal and finetune each see all images once, in batches of 32, after the stages that they need. Their seconds are
measured first, and then again with the profiler, which slows them a little.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import tempfile
from pathlib import Path
from typing import Any

from cordstasks.errors import InputError
from cordstasks.utils.command_line import run_command
from cordstasks.utils.measured import machine_line, note_number

STAGES = ("cnn", "anneal", "finetune")
BEFORE = {"cnn": (), "anneal": ("fold", "match", "linear"), "finetune": ()}
SHOWN = 5  # operations per stage
# what operations of PyTorch belong to, by how their names begin or what they hold
GROUPS = {
    "convolutions, backward": ("convolution_backward",),
    "convolutions": ("mkldnn_convolution", "convolution", "conv2d", "thnn_conv"),
    "normalisation of weights and batches": ("batch_norm", "weight_norm"),
    "matrix products": ("addmm", "aten::mm", "bmm", "matmul"),
    "resampling of images": ("grid_sampler", "affine_grid", "upsample"),
    "optimiser": ("Optimizer", "foreach", "_fused_"),
}
OTHER = "element by element, copies and the rest"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256, help="training images (default 256)")
    parser.add_argument("--depth", type=int, default=8, help="areas: 2, 4, 6 or 8 (default 8)")
    parser.add_argument("--image-size", type=int, default=32, help="side of the images in px (default 32)")
    parser.add_argument(
        "--last", choices=STAGES, default=STAGES[-1], help=f"the last stage to measure (default {STAGES[-1]})"
    )
    options = parser.parse_args()
    if options.images < 32:
        raise InputError(f"--images {options.images}: give at least 32, which are one batch")
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # the profiler says on every machine without a GPU that there is none
    print(machine_line(), flush=True)
    print(f"R{options.depth} at {options.image_size} px, {options.images} images once in each stage")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_images(folder / "digits", options.images)
        for stage in STAGES[: STAGES.index(options.last) + 1]:
            for each in BEFORE[stage]:
                seconds_of(each, folder, "timed", options)
            report(stage, seconds_of(stage, folder, "timed", options), profile(stage, folder, options), options.images)
    return 0


def write_images(folder: Path, count: int) -> None:
    """Noise in files as MNIST's."""
    import numpy as np

    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, images in (("train", count), ("t10k", 32)):
        noise = rng.integers(0, 256, (images, 28, 28), dtype=np.uint8)
        for name, array in (("images-idx3", noise), ("labels-idx1", np.arange(images, dtype=np.uint8) % 10)):
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
            (folder / f"{part}-{name}-ubyte").write_bytes(head + array.tobytes())


def seconds_of(stage: str, folder: Path, run: str, options: argparse.Namespace) -> float:
    """Carry out a stage; its seconds."""
    from cordstasks.pretraining.pipeline import pretrain, stage_seconds

    few = {f"{name}_images": options.images for name in ("match", "linear", "anneal", "finetune")}
    own: dict[str, Any] = {"dataset": "mnist", "depth": options.depth, "image_size": options.image_size}
    epochs = {"cnn_epochs": 1, "anneal_epochs": 1, "test_images": 32}
    sizes = {f"{name}_batch": 32 for name in ("cnn", "match", "linear", "anneal", "finetune")}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        pretrain(
            folder / "digits",
            folder / run,
            stage=stage,
            resume=(folder / run).exists(),
            device="cpu",
            **{**own, **few, **epochs, **sizes},
        )
    return stage_seconds(folder / run)[stage]


def profile(stage: str, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """The fraction of a stage's processor time in each group of operations; the stage is carried out once more."""
    import shutil

    import torch

    shutil.copytree(folder / "timed", folder / "profiled")
    for path in (folder / "profiled").glob(f"*{stage}*"):
        path.unlink()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        seconds_of(stage, folder, "profiled", options)
    shutil.rmtree(folder / "profiled")
    groups: dict[str, float] = {}
    for event in found.key_averages():
        group = next((name for name, parts in GROUPS.items() if any(part in event.key for part in parts)), OTHER)
        groups[group] = groups.get(group, 0.0) + event.self_cpu_time_total
    whole = sum(groups.values())
    return {name: value / whole for name, value in sorted(groups.items(), key=lambda pair: -pair[1])}


def report(stage: str, seconds: float, parts: dict[str, float], images: int) -> None:
    """Print one stage."""
    print(f"\n{stage}: {seconds:.1f} s, {1e3 * seconds / images:.1f} ms per image")
    for name, fraction in list(parts.items())[:SHOWN]:
        print(f"  {fraction:5.0%}  {name}")
    note_number(f"pre-training, {stage}", 1e3 * seconds / images, "ms per image")


if __name__ == "__main__":
    run_command(main)
