"""The report of a run, and of a comparison, as one HTML file."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from cordstasks import compare, load_run, train
from cordstasks.experiments.comparison_page import write_comparison_report
from cordstasks.runs import write_report
from cordstasks.runs.page import command_of
from cordstasks.training.settings import AbstractSettings, VisualSettings
from cordstasks.utils.command_line import command_of as command_line
from cordstasks.utils.settings import assignments, given_by_flags
from helpers import change, printed_by, read, refused
from html_reader import assert_whole

SMALL = ["--task", "perceptual-dm", "--seeds", "1,5", "--units", "9", "--steps", "4", "--batch", "3", "--validation", "5"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "a & b"
    out = printed_by(train.main, *SMALL, "--heldout", "6", "--evaluate-every", "2", "--out", folder, "--report")
    assert f"report {folder}/report.html" in out
    return folder


class TestRun:
    def test_it_is_one_whole_file(self, finished: Path):
        reader = assert_whole((finished / "report.html").read_text())
        texts = "\n".join(reader.texts)
        for title in ("Results", "Figures", "All numbers", "How to repeat it", "Settings", "Machine and versions"):
            assert title in reader.texts
        assert "perceptual-dm: 2 networks of 9 units, full connectivity" in reader.texts
        assert read(finished)["environment"]["torch"] in texts
        descriptions = [image["alt"] or "" for image in reader.all("img")]
        assert len(descriptions) == 2
        assert "accuracy against batches of trials" in descriptions[0]

    def test_the_same_folder_gives_the_same_bytes(self, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        before = (finished / "report.html").read_bytes()
        monkeypatch.chdir(finished.parent)
        run = load_run(finished.name)
        assert run.report(tmp_path / "again.html").read_bytes() == before
        assert run.report() == Path(finished.name) / "report.html"
        assert (finished / "report.html").read_bytes() == before

    def test_of_a_run_that_was_finished_before(self, finished: Path):
        (finished / "report.html").unlink()
        printed_by(train.main, "--out", finished, "--resume", "--report")
        assert (finished / "report.html").exists()

    def test_without_the_flag_there_is_none(self, tmp_path: Path):
        printed_by(train.main, *SMALL, "--heldout", "6", "--out", tmp_path / "run")
        assert not (tmp_path / "run" / "report.html").exists()

    def test_runs_that_have_none(self, tmp_path: Path):
        assert refused(train.main, "--out", tmp_path, "--resume", "--report").startswith(f"--out {tmp_path}: holds no run")
        with pytest.raises(ValueError, match="holds no run"):
            write_report(tmp_path)
        (tmp_path / "config.json").write_text('{"family": "abstract"}')
        with pytest.raises(ValueError, match=r"folder='.*': the run is not finished; finish it first"):
            write_report(tmp_path)

    def test_damaged_files_are_named(self, finished: Path, tmp_path: Path):
        copy = tmp_path / "copy"
        copy.mkdir()
        for name in ("config.json", "summary.json"):
            (copy / name).write_bytes((finished / name).read_bytes())
        (copy / "learning.png").write_bytes(b"no picture")
        with pytest.raises(ValueError, match=r"learning\.png: content: is neither a PNG"):
            write_report(copy)
        (copy / "learning.png").unlink()
        change(copy, "summary.json", seconds={"train": 1, "total": 2}, networks=[])
        assert write_report(copy).exists()
        change(copy, "summary.json", seconds=None)
        with pytest.raises(ValueError, match=r"summary\.json: does not hold what this run needs"):
            write_report(copy)


def again(settings: VisualSettings | AbstractSettings) -> VisualSettings | AbstractSettings:
    """What the command of a run's report makes of its flags."""
    words = shlex.split(command_of(settings))
    assert words[:4] == ["python", "-m", "cordstasks.train", "--task"]
    family = type(settings)
    options = train.parser(family, settings.task).parse_args(words[3:])
    given = given_by_flags(options, family)
    task = given.pop("task")
    parameters = assignments(options.set, "motion=1000")
    return family.new(task, **given, **({"parameters": parameters} if parameters else {}))


@pytest.mark.parametrize(
    ("task", "chosen"),
    [
        ("dms", {"seeds": range(3, 7), "connectivity": "lowrank", "rank": 3, "parameters": {"delay": (500, 900)}}),
        ("memory-pro", {"connectivity": "conv", "shape": (2, 3, 4), "units": 24, "train_inputs": False, "goal": 0.5}),
        ("rdm", {"quick": True, "seed": 4, "teacher": True, "lags_ms": (40.0, 80.0), "parameters": {"motion": 300}}),
        ("rdm", {"areas": (0, 2), "mix": False, "labels_only": True, "excitatory": 0.75, "learning_rate": 1.5e-4}),
        ("numerosity", {"units": 7, "whiten": True, "inputs": 50}),
        ("catdog", {}),
    ],
)
def test_the_command_gives_the_same_settings(task: str, chosen: dict[str, Any]):
    family = AbstractSettings if task in ("dms", "memory-pro") else VisualSettings
    settings = family.new(task, **chosen)
    assert again(settings) == settings
    assert chosen or command_of(settings) == f"python -m cordstasks.train --task {task}"


class TestComparison:
    def test_from_its_summary(self, finished: Path, tmp_path: Path):
        row = {"first": "full", "second": "conv", "distance": 0.25, "interval": None}
        result: dict[str, Any] = {"networks": [{"connectivity": "full", "trained": 2}], "table": [row], "closer_to_full": []}
        summary = {
            "tasks": {"dms": {**result, "alpha": 1.0}, "rdm": {"problem": "one < two", "closer_to_full": []}},
            "command": "python -m cordstasks.compare --tasks dms rdm",
            "seconds": 12.3,
            "environment": {"torch": "2.4"},
        }
        (tmp_path / "dms").mkdir()
        (tmp_path / "dms" / "tree.png").write_bytes((finished / "learning.png").read_bytes())
        (tmp_path / "summary.json").write_text(json.dumps(summary))
        path = write_comparison_report(tmp_path)
        reader = assert_whole(path.read_text())
        assert "Networks compared on 1 of 2 tasks: dms." in reader.texts
        assert "Not compared: one < two" in reader.texts
        assert summary["command"] in reader.texts
        assert (reader.all("img")[0]["alt"] or "").startswith("The same distances as a tree. ")
        before = path.read_bytes()
        assert write_comparison_report(tmp_path).read_bytes() == before

    def test_folders_without_one(self, tmp_path: Path):
        with pytest.raises(ValueError, match="holds no finished comparison"):
            write_comparison_report(tmp_path)
        (tmp_path / "summary.json").write_text("{}")
        with pytest.raises(ValueError, match=r"summary\.json: does not hold"):
            write_comparison_report(tmp_path)

    def test_its_command_has_what_was_chosen(self):
        made = compare.parser()
        words = ["--tasks", "dms", "memory-pro", "--alpha", "0.5", "--quick", "--out", "a b", "--report"]
        options = made.parse_args(words)
        text = command_line(made, options)
        assert text == "python -m cordstasks.compare --tasks dms memory-pro --quick --alpha 0.5 --report --out 'a b'"
        assert made.parse_args(shlex.split(text)[3:]) == options
