"""``python -m cordstasks.bank build``: what a run then finds, in one process and in several."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cordstasks import bank, train
from cordstasks.frontend.stretches import Batch, Result, Stepper
from helpers import contents, flags, output_of, printed_by, read, refused, small_run


def shards(folder: Path) -> dict[str, bytes]:
    return contents(folder)


def test_a_run_finds_what_was_built(place: Path, tmp_path: Path):
    own = tmp_path / "place"
    own.mkdir()
    shutil.copy(place / "r2.safetensors", own)
    out = printed_by(bank.main, "build", *small_run(own))
    assert "reads area 1" in out
    assert " simulated through " in out
    before = set(shards(own / "bank"))
    printed_by(train.main, *small_run(own), "--out", tmp_path / "run")
    summary = read(tmp_path / "run")
    assert before <= set(shards(own / "bank"))
    assert summary["bank"]["steps_simulated"] == 0
    assert summary["memory"]["peak_mb"] > 50
    # again: nothing is left to do
    assert "steps of 2 ms: 0 requested, 0 simulated\n" in printed_by(bank.main, "build", *small_run(own))


def test_two_processes_fill_the_bank_alike(place: Path, tmp_path: Path):
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, more in (("one", []), ("two", ["--jobs", "2"])):
            (tmp_path / name).mkdir()
            shutil.copy(place / "r2.safetensors", tmp_path / name)
            printed_by(bank.main, "build", *small_run(tmp_path / name), *more)
    finally:
        torch.set_num_threads(threads)
    one, two = (shards(tmp_path / name / "bank") for name in ("one", "two"))
    assert len(one) >= 3
    assert one == two


def test_ctrl_c_says_how_to_go_on(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def press(stepper: Stepper, batch: Batch, *more: object) -> Result:
        raise KeyboardInterrupt

    shutil.copy(place / "r2.safetensors", tmp_path)
    monkeypatch.setattr(Stepper, "simulate", press)
    code, _, err = output_of(bank.main, "build", *small_run(tmp_path))
    assert code == 130
    assert err.endswith("stopped; this continues: the same command\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--task is missing; name one, such as --task rdm"),
        (["--task", "rdm", "--jobs", "0"], "--jobs 0: give a number of at least 1, or -1 for one per core"),
        (["--task", "rdm", "--backend", "desk"], "backend 'desk' is unknown; did you mean 'dask'? (known: loky, dask, ray)"),
        (
            ["--task", "rdm", "--backend", "dask", "--jobs", "2"],
            "--jobs 2: has no effect with --backend dask, which uses all its workers",
        ),
        (["--task", "rdm", "--scheduler", "tcp://x:1"], "--scheduler tcp://x:1: goes with --backend dask"),
    ],
)
def test_what_cannot_be(words: list[str], message: str):
    assert refused(bank.main, "build", *words) == message


def test_an_abstract_task_has_no_movies():
    assert "dms" in refused(bank.main, "build", *flags(task="dms"))
