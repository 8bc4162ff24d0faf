"""Several seeds of a visual task: a run for each, their mean and spread, one bank, and going on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cordstasks import analysis, train
from cordstasks.cordsnet.checkpoints import save
from cordstasks.errors import InputError
from cordstasks.runs.seeds import _over_seeds, train_seeds
from cordstasks.runs.visual import Execution
from helpers import SHORT, flags, printed_by, read, refused, settling_cordsnet

SIZES = {"trials": 8, "validation": 4, "heldout": 16, "steps": 2, "units": 6, "batch": 4, "inputs": 3, "side": 1}


@pytest.fixture(autouse=True)
def built_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are built and not drawn."""
    monkeypatch.setattr(analysis.figures, "save", lambda figure, path: Path(path).touch())


def given(folder: Path) -> dict[str, Any]:
    save(settling_cordsnet(), folder / "small.safetensors")
    return {**SIZES, "parameters": SHORT["saccade"], "frontend": str(folder / "small.safetensors")}


def test_a_run_for_each_seed_and_the_same_command_continues(tmp_path: Path):
    words = ["--task", "saccade", *flags(**given(tmp_path)), "--device", "cpu", "--bank", tmp_path / "bank"]
    words += ["--trials-seed", 5, "--out", tmp_path / "out"]
    out = printed_by(train.main, *words, "--seeds", "3,1")
    summary = read(tmp_path / "out", "seeds.json")
    assert summary["seeds"] == [3, 1]
    runs = [read(tmp_path / "out" / f"seed-{seed}") for seed in (3, 1)]
    accuracies = [run["heldout"]["accuracy"] for run in runs]
    assert [row["accuracy"] for row in summary["runs"]] == accuracies
    assert summary["accuracy"]["mean"] == pytest.approx(np.mean(accuracies))
    assert f"{np.mean(accuracies):.1%}" in out
    # with one seed of trials the second run's features are all in the bank
    assert runs[0]["bank"]["steps_simulated"] > runs[1]["bank"]["steps_simulated"] == 0
    before = (tmp_path / "out" / "seed-3" / "best.pt").stat().st_mtime_ns
    printed_by(train.main, *words, "--seeds", "3,1,2")
    assert (tmp_path / "out" / "seed-3" / "best.pt").stat().st_mtime_ns == before
    assert read(tmp_path / "out", "seeds.json")["seeds"] == [3, 1, 2]
    message = refused(train.main, *words[:-2], "--out", tmp_path / "out", "--seeds", "3", "--units", 7, begun=True)
    assert "--units 7: the run in" in message


def test_mean_and_spread():
    rows = [
        {"accuracy": value, "by_condition": [{"delay": 1.0, "trials": 4, "accuracy": value, "interval": [0, 1]}, *more]}
        for value, more in ((0.5, []), (0.9, [{"delay": 2.0, "trials": 4, "accuracy": 1.0, "interval": [0, 1]}]))
    ]
    found = _over_seeds(rows)
    assert found["accuracy"] == {"mean": 0.7, "sd": pytest.approx(0.4 / np.sqrt(2)), "lowest": 0.5, "highest": 0.9}
    assert [row["delay"] for row in found["by_condition"]] == [1.0]  # only the first has the other delay
    assert _over_seeds(rows[:1])["accuracy"]["sd"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "0:2", "--resume"], "--resume: does not go with --seeds"),
        (["--seeds", "0:2", "--seed", "1"], "--seed 1: cannot be given together with seeds"),
        (["--seeds", "2:1"], "--seeds 2:1: write 0:32 for 0 to 31"),
        (["--seeds", "1,1"], "--seeds (1, 1): give one or more different seeds"),
    ],
)
def test_mistakes(words: list[str], message: str, tmp_path: Path):
    assert message in refused(train.main, "--task", "saccade", *words, "--out", tmp_path / "out", begun=True)


def test_abstract_tasks_have_seeds_of_their_own(tmp_path: Path):
    with pytest.raises(InputError, match="task=dms: is an abstract task, whose settings have seeds"):
        train_seeds("dms", (0, 1), out=tmp_path, execution=Execution("cpu"))
