"""The main command reads other areas than the last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from cordstasks import reports, tasks, train
from cordstasks.cordsnet import save
from cordstasks.runs.loading import load_run
from helpers import (
    assert_same_run,
    change,
    ctrl_c,
    output_of,
    read,
    small_run,
    tiny_cordsnet,
)


@pytest.fixture(scope="module")
def deep(place: Path) -> Path:
    """A network of four areas in the folder of the other, with maps of 8, 8, 4 and 4."""
    save(tiny_cordsnet(1, depth=4), place / "r4.safetensors")
    return place / "r4.safetensors"


class TestAreas:
    """Reading other areas than the last, from the command line to a run that is loaded again."""

    @staticmethod
    def words(place: Path, deep: Path, out: Path, *more: str) -> list[str]:
        words = [*small_run(place, "--steps", "6", "--frontend", str(deep), "--out", str(out)), *more]
        return [word for word in words if word not in ("--readout", "pool")]

    def run(self, place: Path, deep: Path, out: Path, *more: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """The first line that is printed, the settings and the summary."""
        code, printed, err = output_of(train.main, *self.words(place, deep, out, *more))
        assert code == 0, err
        return printed.splitlines()[0], read(out, "config.json"), read(out)

    def test_an_area_and_a_side(self, place: Path, deep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        out = tmp_path / "run"
        line, config, summary = self.run(place, deep, out, "--areas", "1", "--side", "2")
        assert line.endswith(", reads area 1, averaged to 2 x 2: 256 features")
        assert (config["areas"], config["side"], config["inputs"]) == ([1], 2, 48)  # as a teacher chooses by default
        assert summary["read"] == {"areas": [1], "sides": [2], "features": 256}
        assert 0 < summary["bank"]["step_fraction"] < 0.7
        loaded = load_run(out, device="cpu", bank=place / "bank")
        assert (loaded.frontend.areas, loaded.frontend.sides) == ((1,), (2,))
        seen = loaded.behaviour(loaded.heldout())
        assert float(seen.correct.mean()) == pytest.approx(summary["heldout"]["accuracy"])
        for again in ((), ("--areas", "1", "--side", "2")):  # with what it had, or without a word
            code, printed, err = output_of(train.main, *["--resume", "--out", str(out), *again])
            assert (code, "this run is finished" in printed) == (0, True), err

    def test_several_areas(self, place: Path, deep: Path, tmp_path: Path):
        more = ("--areas", "3", "0", "--labels-only", "--inputs", "299")
        line, config, summary = self.run(place, deep, tmp_path / "run", *more)
        assert line.endswith(", reads areas 0 and 3: 6,144 features")
        assert config["areas"] == [0, 3]
        assert summary["bank"]["step_fraction"] == 1
        projection = torch.load(tmp_path / "run" / "best.pt", weights_only=True)["model"]["projection"]
        assert projection.shape == (6144, 299)
        assert min(float(part.abs().max()) for part in projection.split((4096, 2048))) > 0

    def test_a_stopped_run_goes_on_with_its_areas(
        self, place: Path, deep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        def interrupt(material: reports.Material) -> dict[str, Any]:
            raise KeyboardInterrupt

        whole, broken = tmp_path / "whole", tmp_path / "broken"
        self.run(place, deep, whole, "--areas", "0", "2", "--side", "3")
        with monkeypatch.context() as patch:
            patch.setattr(reports, "make", interrupt)
            assert output_of(train.main, *self.words(place, deep, broken, "--areas", "2", "0", "--side", "3"))[0] == 130
        code, printed, err = output_of(train.main, *["--resume", "--out", str(broken), "--bank", str(place / "bank")])
        assert code == 0, err
        assert "reads areas 0 and 2, averaged to 3 x 3: 1,728 features" in printed
        assert_same_run(whole, broken)

    @pytest.mark.parametrize(("default", "areas"), [((1,), [1]), (2, [2]), ((1, 6, 7), [1, 3]), (None, [3])])
    def test_a_task_s_default_is_read_where_the_network_has_it(
        self, place: Path, deep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, default: Any, areas: list[int]
    ):
        kind = type(tasks.get("rdm"))
        monkeypatch.setattr(kind, "run_defaults", {**kind.run_defaults, "areas": default, "side": 2})
        with ctrl_c(0):
            code, printed, _ = output_of(train.main, *self.words(place, deep, tmp_path / "run"))
        assert code == 130
        config = read(tmp_path / "run", "config.json")
        assert (config["areas"], config["side"]) == (areas, 2)
        assert "averaged to 2 x 2" in printed

    def test_what_a_run_has_must_be_there_when_it_goes_on(self, place: Path, deep: Path, tmp_path: Path):
        with ctrl_c(0):
            output_of(train.main, *self.words(place, deep, tmp_path / "run", "--areas", "3"))
        change(tmp_path / "run", areas=[0, 5])
        code, _, err = output_of(train.main, *["--resume", "--out", str(tmp_path / "run"), "--bank", str(place / "bank")])
        assert (code, err) == (2, "error: --areas 0 5: there is no area 5; this network has areas 0 to 3\n")
