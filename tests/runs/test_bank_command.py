"""``python -m cordstasks.bank build``: what a run then finds, in one process and in several."""

from __future__ import annotations

import errno
import re
import shutil
from pathlib import Path

import pytest

from cordstasks import bank, train
from cordstasks.errors import InputError
from cordstasks.frontend.stretches import Batch, Result, Stepper
from cordstasks.runs.bank import build_bank
from cordstasks.utils import files
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


def test_a_bank_that_is_too_small_says_so(place: Path, tmp_path: Path):
    shutil.copy(place / "r2.safetensors", tmp_path)
    message = refused(bank.main, "build", *small_run(tmp_path), "--bank-limit", "0.00001", begun=True)
    found = re.fullmatch(
        r"--bank-limit 1e-05: (\d) of the run's (\d) files did not stay in the bank, and the run will simulate them again; "
        r"give a larger one \(GB\)",
        message,
    )
    assert found is not None, message
    lost, all_of_them = map(int, found.groups())
    assert lost == all_of_them - len(shards(tmp_path / "bank"))
    assert lost > 0


def test_a_bank_that_cannot_be_written_is_refused_before_the_work(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(**given: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    def simulate(stepper: Stepper, batch: Batch, *more: object) -> Result:
        raise AssertionError("work that cannot be kept")

    shutil.copy(place / "r2.safetensors", tmp_path)
    (tmp_path / "bank").mkdir()
    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(Stepper, "simulate", simulate)
    message = refused(bank.main, "build", *small_run(tmp_path))
    assert message == f"--bank {tmp_path / 'bank'}: cannot write there (Permission denied); choose another folder"


def test_without_a_bank_there_is_nothing_to_fill(place: Path):
    with pytest.raises(InputError, match=r"^bank=False: there is nothing to fill"):
        build_bank("rdm", quick=True, frontend=str(place / "r2.safetensors"), bank=False, device="cpu")


def test_an_abstract_task_has_no_movies():
    assert "dms" in refused(bank.main, "build", *flags(task="dms"))
