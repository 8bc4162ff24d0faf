"""Training on numerosity, categories, saccades and a task of one's own, at a size that only shows the way."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from cordstasks import train
from cordstasks.cordsnet.checkpoints import save
from cordstasks.errors import InputError
from cordstasks.runs.loading import load_run
from cordstasks.training.evaluation import choices
from cordstasks.training.settings import VisualSettings
from helpers import FIGURES, ROOT, SHORT, flags, output_of, printed_by, read, refused, tiny_cordsnet

TASKS = ("numerosity", "catdog", "saccade")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CordsNet with random weights."""
    path = tmp_path_factory.mktemp("weights") / "r2.safetensors"
    save(tiny_cordsnet(), path)
    return path


def small(weights: Path, task: str, out: Path, heldout: int, *, leave_out: Sequence[str] = ()) -> list[str]:
    periods = {name: value for name, value in SHORT.get(task, {}).items() if name not in leave_out}
    sizes = {"trials": 24, "validation": 12, "heldout": heldout, "steps": 6, "units": 12, "batch": 8}
    chosen = flags(frontend=weights, readout="pool", device="cpu", out=out, **sizes, parameters=periods)
    return ["--task", task, "--no-bank", *chosen]


@pytest.fixture(scope="module", params=TASKS)
def finished(request: pytest.FixtureRequest, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("runs") / request.param
    return out, printed_by(train.main, *small(weights, request.param, out, 96))


class TestEachTask:
    def test_it_leaves_numbers_and_figures(self, finished: tuple[Path, str]):
        folder, printed = finished
        summary = read(folder)
        assert FIGURES[folder.name] <= {path.name for path in folder.glob("*.png")}
        assert summary["task"] == folder.name
        assert summary["heldout"]["trials"] == 96 == sum(row["trials"] for row in summary["heldout"]["by_condition"])
        assert f"{summary['heldout']['accuracy']:.1%}" in printed
        assert f"chance is {summary['heldout']['chance']:.1%}" in printed

    def test_what_was_held_out_from_training_is_told_apart(self, finished: tuple[Path, str]):
        folder, _ = finished
        summary = read(folder)
        if folder.name == "saccade":
            assert [row["delay"] for row in summary["by_delay"]] == [100, 200]
            assert summary["longest_trained_delay_ms"] == 100
            return
        rows = summary["by_group" if folder.name == "numerosity" else "by_line"]
        name = "displays" if folder.name == "numerosity" else "lines"
        assert {row[name] for row in rows} == {"trained", "held out"}
        if folder.name == "numerosity":
            held_out = {row["control"] for row in summary["by_control"] if row["displays"] == "held out"}
            assert held_out == {"equal_area", "low_density", "high_density"}

    def test_it_can_be_loaded_again(
        self, finished: tuple[Path, str], read_only: Callable[[Path], contextlib.AbstractContextManager[list[str]]]
    ):
        folder, _ = finished
        with read_only(folder) as tried:
            run = load_run(folder, device="cpu", bank=False)
            assert output_of(train.main, "--resume", "--out", str(folder))[0] == 0
        assert tried == []
        batch = run.heldout()
        seen = run.behaviour(batch)
        assert seen.correct.mean() == pytest.approx(run.summary["heldout"]["accuracy"])
        assert seen.rates.shape == (96, batch.targets.shape[1], 12)
        with pytest.raises(InputError, match="its steps last 10 ms"):
            run.behaviour(run.task.sample(2, seed=1, dt=10.0))

    def test_the_documentation_s_example_loads_it(
        self, finished: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ):
        folder, _ = finished
        monkeypatch.setenv("CORDSTASKS_CACHE", str(tmp_path))
        examples = re.findall(r"(?ms)^```python\n(.*?)^```", (ROOT / "docs" / "first-run.md").read_text(encoding="utf-8"))
        example, call = examples
        assert "runs/rdm-001" in example
        for words in re.findall(r"runs\.train\((.*?)\)", call):  # its settings are there
            given = dict(part.split("=") for part in words.split(", ") if "=" in part)
            assert set(given) - {"out", "resume"} <= set(VisualSettings.names())
        exec(example.replace("runs/rdm-001", str(folder)), {})
        assert capsys.readouterr().out.startswith(folder.name)

    def test_a_second_run_into_the_folder_is_refused_and_a_finished_one_shown(
        self, finished: tuple[Path, str], weights: Path
    ):
        folder, printed = finished
        code, _, err = output_of(train.main, *small(weights, folder.name, folder, 96))
        assert code == 2
        assert "--out" in err
        code, out, _ = output_of(train.main, "--resume", "--out", str(folder))
        assert code == 0
        assert "this run is finished" in out
        assert printed.splitlines()[-3:] == out.splitlines()[-3:]


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        ("rdm", ("motion=200", "delay=[100,300]", "directions=[0,90,180,270]", "fixation=60", "choice=40")),
        ("rdm", ("motion=60", "fixation=[60,200]", "coherences=[0]", "training_coherences=[0]", "choice=[20,60]")),
        ("saccade", ("locations=[0,90,180,270]",)),
        ("numerosity", ("fixation=[60,200]", "delay=[0,100]", "test=[20,60]", "numbers=[1,4]", "second_test=[0,40]")),
    ],
)
def test_settings_of_the_documentation_and_others_end_in_a_report(
    weights: Path, tmp_path: Path, task: str, changes: tuple[str, ...]
):
    usual = small(weights, task, tmp_path / "run", 20, leave_out=[change.partition("=")[0] for change in changes])
    out = printed_by(train.main, *usual, *(word for change in changes for word in ("--set", change)))
    summary = read(tmp_path / "run")
    assert summary["heldout"]["trials"] == 20
    assert summary["left_out"]
    for what, why in summary["left_out"].items():
        assert f"left out: {what} ({why})" in out
    (named,) = [line for line in out.splitlines() if line.startswith(f"{tmp_path / 'run'}/: ")]
    files = named.split(": ", 1)[1].split(", ")
    assert files[0] == "summary.json"
    assert set(files) == {path.name for path in (tmp_path / "run").iterdir()} - {
        "config.json",
        "metrics.jsonl",
        "checkpoint.pt",
    }


def test_a_task_file(weights: Path, tmp_path: Path):
    task = ROOT / "examples" / "orientation_discrimination.py"
    code, out, err = output_of(train.main, *small(weights, str(task), tmp_path / "run", 32))
    assert code == 0, err
    summary = read(tmp_path / "run")
    assert summary["heldout"]["trials"] == 32
    assert "confusion.png" in out


def test_a_front_end_that_diverges_is_named(tmp_path: Path):
    network = tiny_cordsnet()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("original0"):
                parameter.mul_(50.0)
    save(network, tmp_path / "wild.safetensors")
    words = small(tmp_path / "wild.safetensors", "saccade", tmp_path / "run", 16)
    assert refused(train.main, *words, begun=True).startswith("features: not all of them are finite numbers")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--task", "nowhere.py"), "nowhere.py"),
        (("--task", "catdog", "--set", "sample_time=[200,300,400]"), "sample=(200, 300, 400): give a duration above 0 ms"),
        (
            ("--task", "catdog", "--set", "sample_time=long"),
            '--set sample_time="long": give a duration in ms or [shortest, longest]',
        ),
        (("--task", "saccade", "--heldout", "1"), "--heldout 1: all of these trials have the same right answer"),
        (("--task", "numerosity", "--set", "numbers=[30]"), "numbers=(30,): give two or more"),
        (("--task", "numerosity", "--set", "controls=[1]"), "--set controls=[1]: give a list of names"),
        (("--task", "catdog", "--stimuli-dir", "nowhere"), "nowhere"),
        (("--task", "saccade", "--set", "eccentricity=20"), "20"),
    ],
)
def test_one_line_says_what_is_wrong(weights: Path, tmp_path: Path, words: tuple[str, ...], message: str):
    where = ("--frontend", str(weights), "--no-bank", "--device", "cpu", "--out", str(tmp_path / "run"))
    assert message in refused(train.main, *words, *where)
    assert not (tmp_path / "run" / "config.json").exists()


def test_choices_are_among_the_tasks_options():
    logits = torch.from_numpy(np.array([[[3.0, 1.0, 2.0]], [[0.0, 1.0, 2.0]]]))
    response_mask = torch.ones(2, 1, dtype=torch.bool)
    assert choices(logits, response_mask, (0, 1)).tolist() == [0, 1]
    assert choices(logits, response_mask, (1, 2)).tolist() == [2, 2]
