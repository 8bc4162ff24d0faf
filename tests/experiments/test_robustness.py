"""The command: numbers, figures, continuing, mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cordstasks import cordsnet, robustness
from cordstasks.experiments import robustness as experiment
from cordstasks.pretraining.context import Context
from cordstasks.pretraining.pipeline import pretrain
from cordstasks.utils.interrupt import Interrupted
from helpers import flags, printed_by, read, refused, settling_cordsnet

Make = Callable[..., Context]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes with four test images each, and a training set for the CNNs."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for part in ("train", "test"):
        for label, name in enumerate(("ape", "bee", "cow")):
            (folder / part / name).mkdir(parents=True)
            for number in range(4):
                pixels = rng.integers(0, 128, (34, 34, 3), dtype=np.uint8)
                pixels[..., label] += 100
                Image.fromarray(pixels).save(folder / part / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory, images: Path) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("networks")
    cordsnet.save(settling_cordsnet(), folder / "own.safetensors")
    for stage in ("cnn", "recurrent"):
        small = {"depth": 2, "image_size": 32, "recurrent_steps": 2, "cnn_epochs": 1, "recurrent_epochs": 1}
        pretrain(images / "train" / "..", folder / stage, stage=stage, device="cpu", cnn_batch=4, recurrent_batch=4, **small)
    return {"network": folder / "own.safetensors", "cnn": folder / "cnn", "recurrent": folder / "recurrent"}


QUICK = {"count": 6, "batch": 4, "noise_image_ms": 40, "rest_ms": 20, "resamples": 50}


def words(images: Path, out: Path, networks: dict[str, Any], **more: Any) -> list[str]:
    return [*flags(images=images / "test", out=out, **networks, **QUICK, **more), "--sequence", "image:40", "blank:60"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, images: Path, networks: dict[str, Any]) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("out") / "run"
    return out, printed_by(robustness.main, *words(images, out, networks), "--noise-levels", 0.5, 2)


class TestRun:
    def test_every_network_is_in_the_summary(self, finished: tuple[Path, str]) -> None:
        out, printed = finished
        summary = read(out)
        assert list(summary["networks"]) == ["CordsNet-R2", "CNN-R2", "recurrent CNN-R2"]
        assert [own["step_ms"] for own in summary["networks"].values()] == [2, 10, 10]
        for name in summary["networks"]:
            assert name in printed
            rows = summary["autonomy"][name]
            assert [row["shown"] for row in rows] == ["image 1", "blank"]
            assert [row["level"] for row in summary["noise"][name]] == [0, 0.5, 2]
            assert summary["noise"][name][2]["deviation"] > summary["noise"][name][1]["deviation"] > 0
            assert [row["after_ms"] for row in (summary["answers"][name][end] for end in ("best", "end"))][1] == 40
            assert summary["answers"][name]["end"]["accuracy"] == rows[0]["accuracy"]
        for name, rows in summary["deviation_ratio"].items():
            for row, own, first in zip(rows, summary["noise"][name][1:], summary["noise"]["CordsNet-R2"][1:], strict=True):
                assert row["ratio"] == pytest.approx(own["deviation"] / first["deviation"])
        assert list(summary["deviation_ratio"]) == ["CNN-R2", "recurrent CNN-R2"]
        # the CordsNet is on its way back, and the CNN is back at once but for rounding
        assert summary["autonomy"]["CNN-R2"][1]["distance"] < 1e-6
        assert 0 < summary["autonomy"]["CordsNet-R2"][1]["distance"] < 1

    def test_figures_and_settings(self, finished: tuple[Path, str]) -> None:
        out, _ = finished
        for name in ("autonomy.png", "noise.png"):
            assert (out / name).stat().st_size > 10_000
        assert read(out, "config.json")["count"] == 6
        assert read(out, "config.json")["sequence"] == ["image:40", "blank:60"]

    def test_the_same_command_again_computes_nothing_anew(
        self, finished: tuple[Path, str], images: Path, networks: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out, printed = finished
        before = read(out)
        (out / "summary.json").unlink()
        for name in ("autonomy", "noise_response"):
            monkeypatch.setattr(experiment, name, None)
        again = printed_by(robustness.main, *words(images, out, networks), "--noise-levels", 0.5, 2)
        assert again.splitlines()[:-1] == printed.splitlines()[:-1]
        assert read(out)["noise"] == before["noise"]

    def test_stopped_and_continued(
        self,
        finished: tuple[Path, str],
        images: Path,
        networks: dict[str, Any],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        given = {**{name: str(value) for name, value in networks.items()}, **QUICK}
        given |= {"sequence": ("image:40", "blank:60"), "noise_levels": (0.5, 2.0)}
        whole = experiment.noise_response

        def stopped(network: Any, *arguments: Any, **options: Any) -> Any:
            if network.name == "CNN-R2":
                raise KeyboardInterrupt
            return whole(network, *arguments, **options)

        monkeypatch.setattr(experiment, "noise_response", stopped)
        with pytest.raises(Interrupted, match="the same command"):
            experiment.run_robustness(images / "test", tmp_path / "run", **given)
        monkeypatch.setattr(experiment, "noise_response", whole)
        found = experiment.run_robustness(images / "test", tmp_path / "run", **given)
        reference = read(finished[0])
        for part in ("autonomy", "noise"):
            assert found[part] == reference[part]

    def test_other_images_and_damaged_results_are_computed_anew(
        self, images: Path, tmp_path: Path, networks: dict[str, Any]
    ) -> None:
        import shutil

        source, out = tmp_path / "test", tmp_path / "run"
        shutil.copytree(images / "test", source)
        given = {"network": str(networks["network"]), **QUICK, "sequence": ("image:40", "blank:60")}
        before = experiment.run_robustness(source, out, **given)
        kept = out / next(path.name for path in out.glob("noise-*.npz"))
        kept.write_bytes(kept.read_bytes()[:300])
        assert experiment.run_robustness(source, out, **given)["noise"] == before["noise"]
        first, second = sorted(source.rglob("*.png"))[:2]
        first.write_bytes(second.read_bytes())
        after = experiment.run_robustness(source, out, **given)
        assert after["noise"] == experiment.run_robustness(source, tmp_path / "anew", **given)["noise"] != before["noise"]

    def test_other_weights_are_computed_anew(
        self, finished: tuple[Path, str], images: Path, tmp_path: Path, networks: dict[str, Any]
    ) -> None:
        import shutil

        network = tmp_path / "own.safetensors"
        shutil.copy(networks["network"], network)
        out = tmp_path / "run"
        alone = {"network": network}
        first = printed_by(robustness.main, *words(images, out, alone))
        cordsnet.save(settling_cordsnet(recurrence=0.2), network)
        second = printed_by(robustness.main, *words(images, out, alone))
        assert first.splitlines()[:-1] != second.splitlines()[:-1]


class TestMistakes:
    def test_settings(self, tmp_path: Path) -> None:
        common = ("--images", tmp_path, "--out", tmp_path / "out")
        assert "--sequence image: write image:MS" in refused(robustness.main, *common, "--sequence", "image")
        assert "--count 1: give a whole number of at least 2" in refused(robustness.main, *common, "--count", 1)
        assert "(known: image, units)" in refused(robustness.main, *common, "--noise-in", "sound")
        assert not (tmp_path / "out").exists()

    def test_images(self, tmp_path: Path, images: Path, networks: dict[str, Any]) -> None:
        own = ("--network", networks["network"], "--out", tmp_path / "out")
        missing = refused(robustness.main, "--images", tmp_path / "none", *own, begun=True)
        assert missing.startswith(f"--images {tmp_path / 'none'}: there is no such folder")
        wrong = refused(robustness.main, "--images", images, *own, "--count", 2, begun=True)
        assert "no images" in wrong or "knows 3" in wrong
        few = refused(robustness.main, "--images", images / "test", *own, "--count", 13, begun=True)
        assert few.startswith("--count 13: ") and "holds 12 images" in few

    def test_networks(self, tmp_path: Path, images: Path, networks: dict[str, Any]) -> None:
        common = ("--images", images / "test", "--out", tmp_path / "out", "--network", networks["network"])
        assert "--cnn" in refused(robustness.main, *common, "--cnn", networks["recurrent"], begun=True)
        assert "holds no run" in refused(robustness.main, *common, "--recurrent", tmp_path, begun=True)
        (tmp_path / "bad").mkdir()
        for name in ("config.json",):
            (tmp_path / "bad" / name).write_bytes((networks["cnn"] / name).read_bytes())
        (tmp_path / "bad" / "cnn.safetensors").write_bytes(b"damaged")
        assert "cannot be used" in refused(robustness.main, *common, "--cnn", tmp_path / "bad", begun=True)

    def test_another_run_s_folder(self, finished: tuple[Path, str], images: Path, networks: dict[str, Any]) -> None:
        out, _ = finished
        line = refused(robustness.main, *words(images, out, networks, seed=4), "--noise-levels", 0.5, 2, begun=True)
        assert "--seed 4" in line and "has 0" in line
