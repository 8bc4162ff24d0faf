"""A full disk, or a folder that may only be read: one line that names the file, nothing half-written, and reading works."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from cordstasks import bank, tasks, train
from cordstasks.analysis import figures
from cordstasks.cordsnet import CordsNet, save
from cordstasks.errors import Note, WriteError
from cordstasks.experiments import comparison as comparing
from cordstasks.experiments import sweep_jobs as sweep_run
from cordstasks.experiments.sweep import expand
from cordstasks.frontend import FrontEnd
from cordstasks.frontend.bank import Bank, Shard
from cordstasks.runs.abstract import load_networks
from cordstasks.tasks.preview import write_preview
from cordstasks.utils.files import Log, atomic, write_bytes, write_json
from cordstasks.utils.run_folder import RunFolder
from helpers import contents, output_of, printed_by, refused, tiny_cordsnet

Contexts = Callable[..., AbstractContextManager[Any]]
SMALL = "--task dms --units 8 --steps 60 --batch 4 --heldout 20 --validation 20 --device cpu --seeds 0"
SHARD = Shard(np.zeros((900, 8), np.float16), np.zeros((2, 4), np.int32), {"requested": 2, "simulated": 1, "bound": 0.0})
JOBS = expand({"tasks": ["dms"], "units": [12], "seeds": 400})
FAILED = {JOBS[0].name: sweep_run._rows(JOBS[0], None, "it failed")}


def figure() -> Figure:
    made = Figure()
    made.subplots().plot(np.random.default_rng(0).normal(size=500))
    return made


WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "bytes": ("file", lambda folder: write_bytes(folder / "file", bytes(9000))),
    "JSON": ("summary.json", lambda folder: write_json(folder / "summary.json", list(range(3000)))),
    "checkpoint": ("best.pt", lambda folder: RunFolder(folder).save("best.pt", {"model": torch.zeros(4000)})),
    "weights": ("r2.safetensors", lambda folder: save(tiny_cordsnet(), folder / "r2.safetensors")),
    "published weights": ("r2.pth", lambda folder: save(tiny_cordsnet(), folder / "r2.pth")),
    "figure": ("tree.png", lambda folder: figures.save(figure(), folder / "tree.png")),
    "preview": ("rdm.png", lambda folder: write_preview(tasks.get("rdm"), folder, trials=1)),
    "bank": ("key.bank", lambda folder: Bank(folder).write("key", SHARD)),
    "log": ("log.jsonl", lambda folder: Log(folder / "log.jsonl").write({"step": 3, "losses": list(range(3000))})),
    "cut log": ("log.jsonl", lambda folder: Log(folder / "log.jsonl").keep(5)),
    "conditions": ("a.csv", lambda folder: comparing._write_conditions(folder / "a.csv", {"side": np.arange(3000)})),
    "sweep": ("results.csv", lambda folder: sweep_run._write(folder, JOBS, FAILED)),
}


@pytest.mark.parametrize("name", WRITERS)
class TestEveryWriter:
    @pytest.fixture
    def before(self, tmp_path: Path, name: str) -> dict[str, bytes]:
        """What is in the folder: an older file of the same name, which for a log is longer than there is room for."""
        content = b'{"step": 1}\n' * 450 + b'{"step": 9}\n' if name == "cut log" else b'{"step": 1}\n'
        (tmp_path / WRITERS[name][0]).write_bytes(content)
        return contents(tmp_path)

    @pytest.mark.parametrize("room", [0, 1000, 4096])
    def test_a_full_disk(self, tmp_path: Path, before: dict[str, bytes], full_disk: Contexts, name: str, room: int):
        file, write = WRITERS[name]
        with full_disk(room), pytest.raises(WriteError) as caught:
            write(tmp_path)
        assert str(caught.value).startswith(f"{tmp_path / file}: cannot be written (")
        assert "\n" not in str(caught.value)
        assert caught.value.errno in (errno.EFBIG, errno.ENOSPC)  # the second where the system wrote a part
        assert contents(tmp_path) == before
        write(tmp_path)  # with room again
        assert contents(tmp_path) != before

    def test_a_read_only_folder(self, tmp_path: Path, before: dict[str, bytes], read_only: Contexts, name: str):
        _, write = WRITERS[name]
        with read_only(tmp_path), pytest.raises(WriteError) as caught:
            write(tmp_path)
        assert str(tmp_path) in str(caught.value)
        assert "(Read-only file system)" in str(caught.value)
        assert caught.value.errno == errno.EROFS
        assert contents(tmp_path) == before


class TestAtomic:
    def test_a_partial_write_of_the_system_s_is_no_row(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        """Where only a part has room, the system writes that part and reports no error."""

        class Short(io.FileIO):
            def write(self, content: Any) -> int:
                return super().write(bytes(content)[:9])

        log = Log(tmp_path / "log.jsonl")
        log.write({"step": 1})
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", lambda path, mode, buffering: Short(path, mode.replace("b", "")))
            with pytest.raises(WriteError, match=r"log\.jsonl: cannot be written \(No space left on device\)"):
                log.write({"step": 2})
        log.write({"step": 3})
        assert log.path.read_text() == '{"step": 1}\n{"step": 3}\n'

    def test_the_folder_is_gone(self, tmp_path: Path):
        with pytest.raises(WriteError, match=r"gone/file: cannot be written \(No such file or directory\)"):
            write_bytes(tmp_path / "gone" / "file", b"")

    def test_an_error_that_is_not_the_system_s_stays(self, tmp_path: Path):
        with pytest.raises(OSError, match="cannot write mode F as PNG"), atomic(tmp_path / "file"):
            raise OSError("cannot write mode F as PNG")


class TestRuns:
    @pytest.mark.parametrize("room", [0, 900, 4000, 12_000, 60_000])
    def test_a_full_disk_is_one_line_and_the_run_goes_on_later(self, tmp_path: Path, full_disk: Contexts, room: int):
        out = tmp_path / "run"
        with full_disk(room):
            code, _, err = output_of(train.main, *SMALL.split(), "--out", str(out))
        last = err.splitlines()[-1].rpartition("\r")[2]
        assert code == 2
        assert last.startswith(f"error: {out}/")
        assert "cannot be written (File too large)" in last
        assert "Traceback" not in err
        assert not list(tmp_path.rglob(".*"))
        if room == 0:
            assert list(tmp_path.iterdir()) == []
            return
        printed_by(train.main, "--resume", "--out", out)
        assert len(load_networks(out)) == 1

    def test_a_sweep_stops(self, tmp_path: Path, full_disk: Contexts):
        jobs = expand({"tasks": ["dms"], "units": [8, 9], "seeds": [0], "settings": {"steps": 2, "heldout": 20}})
        with full_disk(3000), pytest.raises(WriteError, match=r"checkpoint\.pt: cannot be written"):
            sweep_run.run_sweep(jobs, tmp_path, jobs_at_once=1, figures=False)
        assert not list(tmp_path.rglob(".*"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that came to its end."""
    out = tmp_path_factory.mktemp("runs") / "run"
    printed_by(train.main, *SMALL.split(), "--out", out)
    return out


class TestReadingNeedsNoPermissionToWrite:
    def test_of_networks_and_a_finished_run(self, finished: Path, read_only: Contexts):
        (finished / ".best.pt.123-4567.part").write_bytes(b"left by a process that was killed")
        before = contents(finished)
        with read_only(finished.parent) as tried:
            assert len(load_networks(finished, learned=False)) == 1
            code, out, err = output_of(train.main, "--resume", "--out", str(finished))
        assert (code, err) == (0, "")
        assert "this run is finished" in out
        assert tried == []
        assert contents(finished) == before

    def test_what_would_write_says_where(self, finished: Path, read_only: Contexts):
        summary = (finished / "summary.json").read_bytes()
        (finished / "summary.json").unlink()
        try:
            with read_only(finished.parent):
                said = refused(train.main, "--resume", "--out", finished)
        finally:
            (finished / "summary.json").write_bytes(summary)
        assert said == f"--out {finished}: cannot write there (Read-only file system); choose another folder"

    def test_where_no_run_can_be_begun(self, tmp_path: Path, read_only: Contexts, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.chdir(tmp_path)
        for more, named in (([], "runs"), (["--out", "mine"], "mine")):
            with read_only(tmp_path):
                said = refused(train.main, *SMALL.split(), *more)
            assert said == f"--out {named}: cannot write there (Read-only file system); choose another folder"
        assert list(tmp_path.iterdir()) == []

    def test_of_a_bank(self, tmp_path: Path, read_only: Contexts, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("CORDSTASKS_CACHE", str(tmp_path / "cache"))
        with read_only(tmp_path) as tried:
            assert output_of(bank.main) == (0, f"{tmp_path}/cache/bank: 0 files, 0.0 MB\n", "")
        assert tried == []
        Bank().write("key", SHARD)
        with read_only(tmp_path) as tried:
            code, out, err = output_of(bank.main, "list")
            assert (code, err) == (0, "")
            assert "1 files" in out
            assert tried == []
            assert Bank().read("key") is not None
            assert Bank(tmp_path / "cache" / "bank").read("key") is not None
            code, _, err = output_of(bank.main, "clear")
        assert code == 2
        assert err == (
            f"error: {tmp_path}/cache/bank: 1 files cannot be removed, such as key.bank (Read-only file system); allow it\n"
        )


class TestFrontEnd:
    @pytest.fixture
    def make(self, random_network: Callable[..., CordsNet]) -> Callable[..., FrontEnd]:
        network = random_network(2, image_size=32)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.mul_(0.1 if "area_conv" in name else 1.0)
        return lambda **options: FrontEnd(network, device="cpu", readout="pool", **options)

    @pytest.fixture
    def movies(self) -> list[Any]:
        periods = {"fixation": 40.0, "motion": 40.0, "choice": 40.0}
        return tasks.get("rdm", **periods).sample(3, seed=1, dt=20.0).movies

    def test_a_bank_that_may_only_be_read_is_read(
        self, make: Callable[..., FrontEnd], movies: list[Any], tmp_path: Path, read_only: Contexts
    ):
        bank = tmp_path / "bank"
        whole = make(bank=bank).features(movies[:2])
        with read_only(tmp_path):
            front_end = make(bank=bank)
            again = front_end.features(movies[:2])
            assert again.cost.simulated == 0
            assert torch.equal(again.take(slice(None)), whole.take(slice(None)))
            with pytest.warns(Note, match=r"bank/\w+\.bank: cannot be written \(Read-only file system\).*not kept"):
                new = front_end.features(movies)
            front_end.features(movies[1:])  # says it no more: any warning would be an error here
        assert torch.allclose(new.take(slice(0, 2)), whole.take(slice(None)), atol=1e-2)

    def test_a_cache_that_cannot_be_made(
        self,
        make: Callable[..., FrontEnd],
        movies: list[Any],
        tmp_path: Path,
        read_only: Contexts,
        monkeypatch: pytest.MonkeyPatch,
    ):
        monkeypatch.setenv("CORDSTASKS_CACHE", str(tmp_path / "cache"))
        with read_only(tmp_path):
            front_end = make()
            with pytest.warns(Note, match="cannot be written"):
                assert len(front_end.features(movies)) == 3
            front_end.features(movies[1:])
        with read_only(tmp_path), pytest.raises(WriteError, match=r"^bank=.*mine: cannot write there \(Read-only"):
            make(bank=tmp_path / "mine")

    def test_a_full_bank_is_an_error(
        self, make: Callable[..., FrontEnd], movies: list[Any], tmp_path: Path, full_disk: Contexts
    ):
        front_end = make(bank=tmp_path)
        quiet = contextlib.redirect_stderr(io.StringIO())  # pytest keeps it in a file, which could not grow either
        with quiet, full_disk(100), pytest.raises(WriteError, match=r"\.bank: cannot be written \(File too large\)"):
            front_end.features(movies)
        assert os.listdir(tmp_path) == []
