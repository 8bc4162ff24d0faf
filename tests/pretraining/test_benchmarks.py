"""The benchmarks of pre-training on a few images: what they compute, print, continue and refuse."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from cordstasks.cordsnet import CordsNet, save
from cordstasks.errors import InputError
from cordstasks.experiments import table1
from cordstasks.pretraining import convolution
from cordstasks.pretraining.pipeline import stage_seconds
from cordstasks.pretraining.settings import PretrainSettings

ROOT = Path(__file__).resolve().parents[2]
FEW = ["--test-images", "6", "--blank-steps", "6", "--image-steps", "6", "--after-steps", "4", "--image-window", "2"]
FEW += ["--after-window", "1", "--cnn-epochs", "1", "--anneal-epochs", "2"]
FEW += [f for stage in ("match", "linear", "anneal", "finetune") for f in (f"--{stage}-images", "16")]
FEW += [
    f for stage in ("cnn", "match", "linear", "anneal", "finetune", "direct", "dense") for f in (f"--{stage}-batch", "8")
]


def benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A function that calls a benchmark with arguments, and returns what it prints."""

    def run(name: str, *arguments: Any) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        capsys.readouterr()
        assert benchmark(name).main() == 0
        return capsys.readouterr().out

    return run


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files as MNIST's, of 24 training and 10 test images."""
    folder = tmp_path_factory.mktemp("digits")
    rng = np.random.default_rng(0)
    for part, count in (("train", 24), ("t10k", 10)):
        images, labels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8), np.arange(count, dtype=np.uint8) % 10
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
            (folder / f"{part}-{name}-ubyte").write_bytes(head + array.tobytes())
    return folder


class TestTable1:
    def test_computes_cells_once_and_prints_them_beside_the_paper(
        self, digits: Path, tmp_path: Path, call: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arguments = ["--out", tmp_path, "--mnist", digits, "--cells", "mnist/r2", *FEW]
        text = call("table1", *arguments)
        assert [line.split(":")[0] for line in text.splitlines() if line.startswith("[")][::2] == [
            "[1/3] mnist/r2/staged",
            "[2/3] mnist/r2/direct",
            "[3/3] mnist/r2/dense",
        ]
        folder = tmp_path / "mnist" / "r2"
        summary = json.loads((folder / "staged" / "summary.json").read_text())
        row = next(line for line in text.splitlines() if line.startswith("mnist/r2 "))
        assert f"{100 * summary['protocol']['accuracy']['200']:.1f} (98.48)" in row
        assert f"{100 * summary['protocol']['cnn']:.1f} (98.56)" in row
        assert summary["protocol"]["images"] == 6
        commands = [line for line in text.splitlines() if line.startswith("  python -m cordstasks.pretrain")]
        assert ["--stage all" in commands[0], "--stage direct" in commands[1], "--stage dense" in commands[2]] == [True] * 3
        again = call("table1", *arguments)
        assert again.count("done before") == 3
        assert again[again.index("\n\n") :] == text[text.index("\n\n") :]
        for way in ("staged", "direct"):
            table1.check_made_so(f"mnist/r2/{way}", tmp_path, digits, {"test_images": 6})
            with pytest.raises(
                InputError, match=f"r2/{way}: was made with test_images=6, and now 7 is wanted; move it away"
            ):
                table1.check_made_so(f"mnist/r2/{way}", tmp_path, digits, {"test_images": 7})
        # the controls' images: as many as are learned from in the time of all stages up to annealing
        direct, dense = (json.loads((folder / way / "config.json").read_text()) for way in ("direct", "dense"))
        assert direct["direct_images"] == dense["dense_images"]
        (folder / "direct" / "config.json").unlink()
        monkeypatch.setattr(table1, "_seconds_per_image", lambda settings, device: 0.01)
        assert table1.images_of_controls(folder, PretrainSettings(), "cpu") == dense["dense_images"]
        (folder / "dense" / "config.json").unlink()
        seconds = stage_seconds(folder / "staged")
        expected = 100 * sum(seconds[stage] for stage in ("cnn", "fold", "match", "linear", "anneal"))
        assert table1.images_of_controls(folder, PretrainSettings(), "cpu") == round(expected)

    def test_conclusions_are_differences(self) -> None:
        table = {"mnist/r2": {"R": 90.0, "C": 95.0, "initialised": 94.0, "fine-tuned": 96.0, "CNN": 98.5}}
        table["cifar10/r2"] = {"C": 30.0, "initialised": 41.5, "fine-tuned": 50.0, "CNN": 60.0}
        found = [
            (network, difference, difference > conclusion.least)
            for conclusion in table1.conclusions()
            for network, difference in conclusion.differences(table)
        ]
        assert found == [
            ("cifar10/r2", 11.5, True),  # not of MNIST, of which the paper does not say it
            ("mnist/r2", 5.0, True),
            ("mnist/r2", -2.5, True),
            ("cifar10/r2", -10.0, False),
        ]

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            (["--cells", "mnits"], "--cells mnits: no cell begins so; there are mnist/r2/staged"),
            (["--depth", "4"], "depth=4: the cell says it; leave it out"),
        ],
    )
    def test_bad_arguments_are_named(self, more: list[str], message: str, tmp_path: Path, call: Callable[..., str]) -> None:
        with pytest.raises(InputError, match=message):
            call("table1", "--out", tmp_path, *more)

    def test_settings_of_a_cell_are_the_small_ones_and_those_given(self, tmp_path: Path) -> None:
        given = {**table1.SMALL, "finetune_images": 7, "seed": 2}
        own = PretrainSettings.of(table1.settings_of("fashion-mnist/r4", tmp_path, given))
        assert (own.dataset, own.depth, own.finetune_images, own.seed) == ("fashion-mnist", 4, 7, 2)
        small = table1.SMALL
        assert (own.train_images, own.cnn_optimiser) == (small["train_images"], small["cnn_optimiser"])
        assert own.check_images == own.test_images == small["test_images"]  # one set of images for all columns
        (tmp_path / "train").mkdir()  # CIFAR-10 as folders of images
        own = PretrainSettings.of(table1.settings_of("cifar10/r8", tmp_path, {}))
        assert (own.dataset, own.augmentation, own.train_images) == ("folder", "cifar", None)
        assert PretrainSettings.of(table1.settings_of("cifar10/r8", tmp_path / "none", {})).dataset == "cifar10"

    def test_cells_without_images_are_left_out(self, tmp_path: Path, call: Callable[..., str]) -> None:
        text = call("table1", "--out", tmp_path)
        assert text.count("left out, --cifar10 is not given") == 7
        assert "cifar10/r8/staged" in text and "cifar10/r8/direct" not in text


def test_ablations_share_the_first_stages(digits: Path, tmp_path: Path, call: Callable[..., str]) -> None:
    arguments = ["--data", digits, "--out", tmp_path, "--seeds", "3", "--check-images", "5", *FEW]
    text = call("ablations", *arguments)
    rows = [line[:22].strip() for line in text[text.index("\nR2, 32 px") :].splitlines()[3:]]
    assert rows == ["full loss", "no spontaneous term", "no log weights", "no stages", "CNN"]
    configs = {path.parent.name: json.loads(path.read_text()) for path in (tmp_path / "seed-3").glob("*/config.json")}
    assert configs["no-spontaneous-term"]["spontaneous_weight"] == 0 < configs["full-loss"]["spontaneous_weight"]
    assert configs["no-log-weights"]["first_weight"] == 1 > configs["full-loss"]["first_weight"]
    assert configs["no-stages"]["direct_images"] == 16 + 2 * 16 + 16
    assert {config["seed"] for config in configs.values()} == {3}
    with pytest.raises(InputError, match="seed=4: give the seeds of all runs by --seeds"):
        call("ablations", *arguments, "--seed", "4")


def test_gradients_race_from_a_folder_s_annealed_network(
    digits: Path, tmp_path: Path, call: Callable[..., str], make_context: Callable[..., Any]
) -> None:
    context = make_context(tmp_path / "run", channels=1)
    context.folder.start(PretrainSettings.of({"dataset": "mnist", "depth": 2, "image_steps": 30, "finetune_batch": 3}))
    torch.manual_seed(0)
    save(CordsNet(2, classes=10, in_channels=1, image_size=32), tmp_path / "run" / "anneal.safetensors")
    arguments = ["--accuracy", tmp_path / "run", "--seconds", "0.01", "--test-images", "5"]
    rows = call("gradients", *arguments, "--data", digits).splitlines()
    assert rows[0].startswith("R2, 32 px, load") and rows[0].endswith("% (5 test images):")
    assert [row.split()[:3] for row in rows[1:]] == [[kind, "1", "batches"] for kind in ("full", "truncated", "equilibrium")]
    with pytest.raises(InputError, match="data=none: --accuracy needs the images"):
        call("gradients", *arguments)


class TestProjection:
    def test_rates_are_interpolated_in_logarithm(self) -> None:
        projection = benchmark("projection")
        rates = projection.rates_of(["8:40", "2:10"])
        assert [projection.rate_at(rates, images) for images in (1, 2, 4, 8, 100)] == pytest.approx(
            [1e13, 1e13, 2e13, 4e13, 4e13]
        )
        with pytest.raises(InputError, match="--rates 8: give images:TFLOP/s"):
            projection.rates_of(["8"])

    def test_operations_are_those_of_the_convolutions(self) -> None:
        projection = benchmark("projection")
        own: dict[str, Any] = {"depth": 2, "image_size": 32, "gradients": "truncated", "image_steps": 5, "image_window": 3}
        settings = PretrainSettings(**own, blank_steps=4, after_steps=4, after_window=2, spontaneous_weight=0.0)
        areas = 2 * 64 * 64 * 9 * 8 * 8 * 3  # two recurrent convolutions, and one from area 0 to area 1, of 8 x 8 maps
        step = projection.operations("finetune", 6, settings) - projection.operations(
            "finetune", 6, PretrainSettings(**{**own, "image_steps": 4}, blank_steps=4, spontaneous_weight=0.0)
        )
        assert step == 6 * areas  # of one more step without a gradient
        blank = projection.operations("finetune", 6, settings) - projection.operations(
            "finetune", 6, PretrainSettings(**own, blank_steps=3, spontaneous_weight=0.0)
        )
        assert blank == areas  # of one image


class TestConvolutions:
    def test_compares_both_ways_and_leaves_training_as_it_was(self, call: Callable[..., str]) -> None:
        used = convolution.is_small
        text = call("convolutions", "--images", 2, "--rounds", 1, "--precisions", "bfloat16")
        assert [line.split(",")[0] for line in text.splitlines()[2:]] == ["bfloat16"] * 6
        assert convolution.is_small is used

    def test_way_by_way(self) -> None:
        module = benchmark("convolutions")
        seen = []
        options = argparse.Namespace(clock="wall", rounds=2)
        weight = torch.zeros(1, 1, 3, 3)
        module.compare("layer", lambda: seen.append(convolution.is_small(weight, 2, 1)), options)
        assert seen == [True, False] * 3  # the first round warms up

    @pytest.mark.parametrize("name", ["images", "rounds"])
    def test_counts_below_one_are_refused(self, call: Callable[..., str], name: str) -> None:
        with pytest.raises(InputError, match=f"--{name}: 0: give a whole number of at least 1"):
            call("convolutions", f"--{name}", 0)
