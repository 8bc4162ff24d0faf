"""The command on trajectories: numbers against the network's own recording, figure, mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cordstasks import analysis, cordsnet, trajectories
from cordstasks.experiments.trajectories import run_trajectories
from cordstasks.stimuli.pictures import read_picture
from helpers import printed_by, read, refused, settling_cordsnet


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that differ in colour, of seven images each, and a third one."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for label, name in enumerate(("ape", "bee", "cow")):
        (folder / name).mkdir()
        for number in range(7):
            pixels = rng.integers(0, 200, (32, 32, 3), dtype=np.uint8)
            pixels[..., label] //= 2
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "own.safetensors"
    cordsnet.save(settling_cordsnet(), path)
    return path


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, images: Path, network: Path) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("out")
    settings: dict[str, Any] = {"count": 6, "image_ms": 60, "after_ms": 30, "folds": 3, "resamples": 100}
    return run_trajectories(images, ("ape", "cow"), out, network=str(network), **settings), out


class TestNumbers:
    def test_latency_and_distance_are_those_of_the_recording(
        self, found: tuple[dict[str, Any], Path], images: Path, network: Path
    ) -> None:
        own = cordsnet.load(network)
        files = [images / name / f"{number}.png" for name in ("ape", "cow") for number in (0, 1, 2, 3, 4, 6)]
        recorded = own.record(np.stack([read_picture(file) for file in files]), image_steps=30, after_steps=15)
        for area, row in enumerate(found[0]["areas"]):
            states = recorded[area].flatten(2).double().numpy()
            away = np.linalg.norm(states[100:] - states[99], axis=2)
            latency = analysis.dynamics.response_latency(away[:30], 2.0 * np.arange(1, 31))
            assert row["latency"] == pytest.approx(latency.mean(), rel=1e-3)
            assert row["latency_interval"][0] < row["latency"] < row["latency_interval"][1]
            assert row["left"] == pytest.approx((away[-1] / away[29]).mean(), rel=1e-2)
        assert found[0]["areas"][0]["latency"] < found[0]["areas"][1]["latency"] + 2

    def test_axis_separates_colours(self, found: tuple[dict[str, Any], Path]) -> None:
        axis = found[0]["axis"]
        assert axis["accuracy"] > 0.9
        assert axis["interval"][0] < axis["accuracy"] <= axis["interval"][1]
        assert 0.5 < sum(found[0]["variance_ratio"]) <= 1
        assert len(found[0]["variance_ratio"]) == 3

    def test_files(self, found: tuple[dict[str, Any], Path]) -> None:
        summary, out = found
        assert read(out)["areas"] == summary["areas"]
        assert (out / "trajectories.png").stat().st_size > 10_000


def test_command(images: Path, network: Path, tmp_path: Path) -> None:
    words = ["--images", images, "--network", network, "--count", 5, "--image-ms", 20, "--after-ms", 10]
    printed = printed_by(trajectories.main, *words, "--classes", "ape", "bee", "--out", tmp_path / "out")
    assert "5 images each of ape and bee" in printed and "latency" in printed
    assert read(tmp_path / "out")["classes"] == ["ape", "bee"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--classes", "ape", "ape"], "--classes ape ape: name two different folders"),
        (["--classes", "ape", "elk", "--count", 7], "--classes elk: "),
        (["--classes", "ape", "bee", "--count", 8], "--count 8: "),
        (["--classes", "ape", "bee", "--count", 3], "--count 3: fewer images of a class than --folds 5"),
        (["--classes", "ape", "bee", "--count", 5, "--image-ms", 0], "--image-ms 0"),
        (["--classes", "ape", "bee", "--count", 5, "--image-ms", 0.5], "--image-ms 0.5, "),
        (["--classes", "ape", "bee", "--count", 5, "--seed", -1], "--seed -1: "),
        (["--classes", "ape", "bee", "--images", "nowhere"], "--images nowhere: there is no such folder"),
        (["--classes", "ape", "bee", "--network", "none.safetensors"], "none.safetensors"),
    ],
)
def test_mistakes(images: Path, network: Path, tmp_path: Path, words: list[Any], message: str) -> None:
    common = ["--images", images, "--out", tmp_path / "out"] + ([] if "--network" in words else ["--network", network])
    assert message in refused(trajectories.main, *common, *words)
    assert not (tmp_path / "out").exists()
