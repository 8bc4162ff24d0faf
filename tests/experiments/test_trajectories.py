"""The command on trajectories: numbers against the network's own recording, figure, mistakes."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cordstasks import analysis, cordsnet, trajectories
from cordstasks.cordsnet.streaming import stream_together
from cordstasks.errors import InputError
from cordstasks.experiments import trajectories as experiment
from cordstasks.experiments.trajectories import run_trajectories
from cordstasks.stimuli.pictures import read_picture
from cordstasks.utils.interrupt import Interrupted
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


GIVEN: dict[str, Any] = {"count": 6, "image_ms": 60, "after_ms": 30, "folds": 3, "resamples": 100}


class TestContinuing:
    def test_stopped_and_continued(
        self, images: Path, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(experiment, "TOGETHER", 4)
        whole = run_trajectories(images, ("ape", "cow"), tmp_path / "whole", network=str(network), **GIVEN)
        out, seen = tmp_path / "out", list[Path]()

        def reading(path: Path) -> Any:
            seen.append(path)
            if len(seen) == 5:
                signal.raise_signal(signal.SIGINT)  # the four images under way are simulated again
            return read_picture(path)

        monkeypatch.setattr(experiment, "read_picture", reading)
        with pytest.raises(Interrupted, match="the same command"):
            run_trajectories(images, ("ape", "cow"), out, network=str(network), **GIVEN)
        assert len(seen) == 8 and not (out / "summary.json").exists()
        summary = run_trajectories(images, ("ape", "cow"), out, network=str(network), **GIVEN)
        assert len(seen) == 8 + 8
        reference = {key: value for key, value in whole.items() if key != "seconds"}
        assert {key: value for key, value in summary.items() if key != "seconds"} == reference
        assert (out / "trajectories.png").read_bytes() == (tmp_path / "whole" / "trajectories.png").read_bytes()
        run_trajectories(images, ("ape", "cow"), out, network=str(network), **GIVEN)
        assert len(seen) == 16  # nothing is simulated again

    @pytest.mark.parametrize(("room", "together"), [(1, 1), (3.5, 3), (100, 4)])
    def test_large_networks_take_fewer_images_at_a_time(
        self, images: Path, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: float, together: int
    ) -> None:
        units = sum(r[0].numel() for r in cordsnet.load(network).zero_state(1))
        monkeypatch.setattr(experiment, "TOGETHER", 4)
        monkeypatch.setattr(experiment, "STEP_BYTES", int(4 * units * room))
        taken = []

        def streaming(*given: Any, **options: Any) -> Any:
            taken.append(options["together"])
            return stream_together(*given, **options)

        monkeypatch.setattr(experiment, "stream_together", streaming)
        run_trajectories(images, ("ape", "cow"), tmp_path / "out", network=str(network), **GIVEN)
        assert taken == [together]

    def test_damaged_progress_and_other_weights_begin_again(
        self, found: tuple[dict[str, Any], Path], images: Path, network: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        own = tmp_path / "own.safetensors"
        own.write_bytes(network.read_bytes())
        first = run_trajectories(images, ("ape", "cow"), out, network=str(own), **GIVEN)
        (out / "progress.npz").write_bytes((out / "progress.npz").read_bytes()[:1000])
        assert run_trajectories(images, ("ape", "cow"), out, network=str(own), **GIVEN)["areas"] == first["areas"]
        cordsnet.save(settling_cordsnet(recurrence=0.1), own)
        assert run_trajectories(images, ("ape", "cow"), out, network=str(own), **GIVEN)["areas"] != first["areas"]

    def test_other_images_begin_again(self, images: Path, network: Path, tmp_path: Path) -> None:
        source, given = tmp_path / "images", {**GIVEN, "network": str(network)}
        shutil.copytree(images, source)
        before = run_trajectories(source, ("ape", "cow"), tmp_path / "out", **given)
        for file in (source / "ape").iterdir():  # the same names
            file.write_bytes((images / "bee" / file.name).read_bytes())
        after = run_trajectories(source, ("ape", "cow"), tmp_path / "out", **given)
        anew = run_trajectories(source, ("ape", "cow"), tmp_path / "anew", **given)
        assert after["axis"] == anew["axis"] != before["axis"]
        assert after["areas"] == anew["areas"] != before["areas"]

    def test_other_settings_are_refused(self, found: tuple[dict[str, Any], Path], images: Path, network: Path) -> None:
        given = {**GIVEN, "network": str(network), "count": 7}
        with pytest.raises(InputError, match=r"count=7: the run in .* has 6; give the same, or use another folder"):
            run_trajectories(images, ("ape", "cow"), found[1], **given)


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
