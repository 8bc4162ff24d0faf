"""Run folders: one for each run however many start together, one process at a time in each, and the last unfinished one."""

from __future__ import annotations

import errno
import importlib.metadata
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

import pytest
import torch

from cordstasks import compare, pretrain, sweep, tasks, train
from cordstasks.cordsnet import save
from cordstasks.errors import InputError, WriteError
from cordstasks.runs.recorded import named_weights
from cordstasks.training.settings import AbstractSettings, VisualSettings
from cordstasks.utils import folders
from cordstasks.utils.folders import LOCK, locked, new_folder, unfinished_folder
from cordstasks.utils.run_folder import RunFolder, environment
from helpers import ROOT, tiny_cordsnet

# It hears SIGINT even where the shell that started the tests ignores it, as for a job in the background.
HOLDING = """
import signal, sys, time
from pathlib import Path
from cordstasks.utils.folders import locked
signal.signal(signal.SIGINT, signal.default_int_handler)
with locked(Path(sys.argv[1]), "out"):
    print("locked", flush=True)
    time.sleep(600)
"""
# Each process adds to a number in a file, which loses counts if two of them read it at the same time.
COUNTING = """
import sys
from pathlib import Path
from cordstasks.errors import InputError
from cordstasks.utils.folders import locked
number, done = Path(sys.argv[1]) / "number", 0
while done < 100:
    try:
        with locked(number.parent, "out"):
            number.write_text(str(int(number.read_text()) + 1))
            done += 1
    except InputError:
        pass
"""


def start(program: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes in the folder `run`."""
    process = start(HOLDING, tmp_path / "run")
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


class TestNewFolder:
    def test_runs_that_start_together_get_different_ones(self, tmp_path: Path):
        together, made = threading.Barrier(8), []

        def begin() -> None:
            together.wait()
            made.extend(new_folder("dms", tmp_path / "runs") for _ in range(10))

        threads = [threading.Thread(target=begin) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(path.name for path in made) == [f"dms-{number:03d}" for number in range(1, 81)]
        assert all(path.is_dir() for path in made)

    def test_a_file_in_the_way_is_passed_over(self, tmp_path: Path):
        (tmp_path / "dms-001").write_text("mine")
        assert new_folder("dms", tmp_path) == tmp_path / "dms-002"

    def test_where_none_can_be_made(self, tmp_path: Path, read_only: Callable[..., AbstractContextManager[list[str]]]):
        with read_only(tmp_path), pytest.raises(WriteError, match=rf"^parent={tmp_path}: cannot write there \(Read-only"):
            new_folder("dms", tmp_path)


class TestLock:
    def test_another_process_is_named(self, tmp_path: Path, other: subprocess.Popen[str]):
        message = rf"^out={tmp_path}/run: process {other.pid} is writing there; wait for its end, or use another folder$"
        for _ in range(2):
            with pytest.raises(InputError, match=message), locked(tmp_path / "run", "out"):
                pytest.fail("it was not locked")

    @pytest.mark.parametrize("sign", ["SIGKILL", "SIGTERM", "SIGINT"])
    def test_it_ends_with_the_process(self, tmp_path: Path, other: subprocess.Popen[str], sign: str):
        other.send_signal(getattr(signal, sign))
        other.wait(timeout=60)
        with locked(tmp_path / "run", "out"):
            assert (tmp_path / "run" / LOCK).read_text().split()[0] == str(os.getpid())
        assert list((tmp_path / "run").iterdir()) == []

    def test_threads_of_one_process_do_not_share_it(self, tmp_path: Path):
        with locked(tmp_path, "out"):
            with pytest.raises(InputError, match=f"process {os.getpid()} is writing there"), locked(tmp_path, "out"):
                pytest.fail("it was not locked")
            assert (tmp_path / LOCK).exists()

    def test_it_is_given_back_after_an_error(self, tmp_path: Path):
        for _ in range(2):
            with pytest.raises(KeyError), locked(tmp_path, "out"):
                raise KeyError
        assert list(tmp_path.iterdir()) == []

    def test_what_a_killed_process_left_says_nothing(self, tmp_path: Path):
        (tmp_path / LOCK).write_text(f"{os.getppid()} {'x' * 300}")
        with locked(tmp_path, "out"):
            assert (tmp_path / LOCK).read_text().split()[0] == str(os.getpid())

    def test_a_process_of_another_machine_is_named_with_it(self, tmp_path: Path, other: subprocess.Popen[str]):
        (tmp_path / "run" / LOCK).write_text("17 node3")
        with pytest.raises(InputError, match=r"process 17 on node3 is writing there"), locked(tmp_path / "run", "out"):
            pytest.fail("it was not locked")
        (tmp_path / "run" / LOCK).write_text("")
        with pytest.raises(InputError, match=r"another process is writing there"), locked(tmp_path / "run", "out"):
            pytest.fail("it was not locked")

    def test_many_processes_in_turn(self, tmp_path: Path):
        """The file of the lock comes and goes; no two processes may hold it at once, one the old file and one the new."""
        (tmp_path / "number").write_text("0")
        processes = [start(COUNTING, tmp_path) for _ in range(3)]
        for process in processes:
            process.communicate(timeout=300)
            assert process.returncode == 0
        assert (tmp_path / "number").read_text() == "300"

    @pytest.mark.skipif(sys.platform == "win32", reason="POSIX's locks")
    @pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
    def test_a_file_system_without_locks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int):
        def refuse(descriptor: int, operation: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(folders.fcntl, "flock", refuse)
        with locked(tmp_path, "out"):
            pass
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_cannot_be_written(
        self, tmp_path: Path, read_only: Callable[..., AbstractContextManager[list[str]]]
    ):
        message = rf"^out={tmp_path}: cannot write there \(Read-only file system\); choose another folder$"
        with read_only(tmp_path), pytest.raises(WriteError, match=message), locked(tmp_path, "out"):
            pytest.fail("it cannot be written")


class TestRunFolder:
    def test_a_numbered_one_is_made_when_it_is_locked(self, tmp_path: Path):
        first, second = (RunFolder(tmp_path / "runs" / "dms", numbered=True) for _ in range(2))
        assert not (tmp_path / "runs").exists()
        with first.lock(), second.lock():
            first.start(AbstractSettings("dms"))
            second.start(AbstractSettings("dms"))
            assert [folder.path.name for folder in (first, second)] == ["dms-001", "dms-002"]
            assert first.log.path == tmp_path / "runs" / "dms-001" / "metrics.jsonl"
            with (
                pytest.raises(InputError, match=r"^path=.*dms-001: process \d+ is writing there"),
                RunFolder(first.path).lock(),
            ):
                pytest.fail("it was not locked")

    @pytest.mark.parametrize("numbered", [True, False])
    def test_one_that_stays_empty_is_removed(self, tmp_path: Path, numbered: bool):
        with pytest.raises(KeyError), RunFolder(tmp_path / "run", numbered=numbered).lock():
            raise KeyError
        assert list(tmp_path.iterdir()) == []
        (tmp_path / "run").mkdir()
        with RunFolder(tmp_path / "run").lock():
            pass
        assert (tmp_path / "run").is_dir()  # it was there before

    def test_a_lock_within_a_lock(self, tmp_path: Path):
        folder = RunFolder(tmp_path)
        with folder.lock():
            with folder.lock():
                pass
            assert (tmp_path / LOCK).exists()
        assert not (tmp_path / LOCK).exists()


class TestUnfinishedFolder:
    @pytest.fixture
    def runs(self, tmp_path: Path) -> Path:
        """Runs of which the one that was active last is neither the first nor the last by name, nor the last begun."""
        for number, (name, task) in enumerate(
            [("rdm-001", "rdm"), ("dms-001", "dms"), ("saccade-002", "saccade"), ("dms-002", "dms")]
        ):
            kind = AbstractSettings if task in tasks.abstract_names() else VisualSettings
            RunFolder(tmp_path / name).start(kind(task))
            (tmp_path / name / "metrics.jsonl").write_text("")
            for file in (tmp_path / name).iterdir():
                os.utime(file, (1000 + number, 1000 + number))
        os.utime(tmp_path / "dms-001" / "metrics.jsonl", (2000, 2000))
        (tmp_path / "dms-002" / "summary.json").write_text("{}")
        return tmp_path

    def test_the_one_that_was_active_last(self, runs: Path):
        assert unfinished_folder(None, runs) == runs / "dms-001"
        assert unfinished_folder("rdm", runs) == runs / "rdm-001"
        os.utime(runs / "saccade-002" / "config.json", (3000, 3000))
        assert unfinished_folder(None, runs) == runs / "saccade-002"
        assert unfinished_folder("dms", runs) == runs / "dms-001"

    @pytest.mark.parametrize(
        "content", ["", "[]", "7", '{"family": "pretraining"}', '{"family": ["visual"]}', '{"task": "rdm"}', None]
    )
    def test_what_is_no_run_of_a_task_is_passed_over(self, runs: Path, content: str | None):
        (runs / "pretraining").mkdir()
        (runs / "notes.txt").write_text("mine")
        if content is not None:
            (runs / "pretraining" / "config.json").write_text(content)
        assert unfinished_folder(None, runs) == runs / "dms-001"

    def test_tasks_whose_names_begin_alike(self, runs: Path):
        RunFolder(runs / "rdm-reaction-001").start(VisualSettings("rdm-reaction"))
        assert unfinished_folder("rdm", runs) == runs / "rdm-001"
        assert unfinished_folder("rdm-reaction", runs) == runs / "rdm-reaction-001"

    def test_none(self, tmp_path: Path):
        for parent in (tmp_path, tmp_path / "nowhere"):
            with pytest.raises(InputError, match=r"^resume=True: .* holds no unfinished run; name the"):
                unfinished_folder(None, parent)
        RunFolder(tmp_path / "dms-001").start(AbstractSettings("dms"))
        with pytest.raises(InputError, match="holds no unfinished run of task rdm"):
            unfinished_folder("rdm", tmp_path)


class TestCommands:
    """Whatever writes a folder, a second one that would is refused before it begins, in one line that names the process."""

    RUN = "--task dms --units 8 --steps 4 --batch 4 --heldout 20 --validation 20 --device cpu --seeds 0"

    @pytest.mark.parametrize("resume", [True, False])
    def test_train(self, tmp_path: Path, resume: bool):
        assert train.main([*self.RUN.split(), "--out", str(tmp_path / "run")]) == 0
        (tmp_path / "run" / "summary.json").unlink()
        part = tmp_path / "run" / ".best.pt.123-4567.part"
        part.write_bytes(b"under way")
        before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
        words = ["--resume"] if resume else self.RUN.split()
        with locked(tmp_path / "run", "out"):
            with pytest.raises(InputError, match="is writing there" if resume else "holds another run"):
                train.main([*words, "--out", str(tmp_path / "run")])
            (tmp_path / "run" / LOCK).unlink()
            assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
        assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0
        assert not part.exists()

    def test_a_visual_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.chdir(tmp_path)
        save(tiny_cordsnet(), tmp_path / "r2.safetensors")
        _, weights = named_weights(tmp_path / "r2.safetensors")
        settings = VisualSettings("rdm", frontend=str(tmp_path / "r2.safetensors"), areas=(0,), inputs=2)
        RunFolder(tmp_path / "run").start(settings, weights=weights, environment={})
        with (
            locked(tmp_path / "run", "out"),
            pytest.raises(InputError, match=f"process {os.getpid()} is writing there"),
        ):
            train.main(["--resume", "--out", "run"])

    def test_sweep(self, tmp_path: Path):
        (tmp_path / "small.toml").write_text('tasks = ["dms"]')
        words = [str(tmp_path / "small.toml"), "--out", str(tmp_path / "out"), "--jobs", "1"]
        with locked(tmp_path / "out", "out"):
            (tmp_path / "out" / "results.csv").write_text("its table")
            with pytest.raises(InputError, match=r"^out=.*out: process \d+ is writing there"):
                sweep.main(words)
            assert (tmp_path / "out" / "results.csv").read_text() == "its table"
            assert {path.name for path in (tmp_path / "out").iterdir()} == {".lock", "results.csv"}  # no job was begun

    @pytest.mark.parametrize("command", [compare, pretrain])
    def test_others(self, tmp_path: Path, command: ModuleType):
        words = ["--out", str(tmp_path), *(["--data", str(tmp_path)] if command is pretrain else [])]
        with (
            locked(tmp_path, "out"),
            pytest.raises(InputError, match=rf"^(out=|--out ){tmp_path}: process \d+ is writing there"),
        ):
            command.main(words)


class TestResumingTheLast:
    def test_of_either_family(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
        monkeypatch.chdir(tmp_path)
        for name in ("zebra", "dms"):  # the run of the visual task is the last by name, and was active before the other
            for file in (tmp_path / "runs").rglob("*"):
                os.utime(file, (1000, 1000))
            RunFolder(tmp_path / "runs" / f"{name}-001").start(VisualSettings("rdm"))
        (tmp_path / "runs" / "dms-001" / "config.json").unlink()
        assert train.main([*TestCommands.RUN.split()]) == 0
        assert train.main(["--task", "dms", "--resume", "--out", "runs/dms-002"]) == 0
        capsys.readouterr()
        (tmp_path / "runs" / "dms-002" / "summary.json").unlink()
        assert train.main(["--resume"]) == 0
        assert "run folder runs/dms-002" in capsys.readouterr().out
        with pytest.raises(
            InputError, match=r'runs/zebra-001/config\.json: has "weights": None'
        ):  # then the visual run, as such
            train.main(["--resume"])
        (tmp_path / "runs" / "dms-002" / "summary.json").unlink()
        with pytest.raises(InputError, match="rank=3: the run in runs/dms-002 has 2"):
            train.main(["--resume", "--units", "9", "--rank", "3"])

    @pytest.mark.parametrize("words", [["--resume", "--help"], ["-h", "--resume"]])
    def test_help_is_there_without_a_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as ended:
            train.main(words)
        assert ended.value.code == 0


def test_a_run_s_record_does_not_load_torchvision(monkeypatch: pytest.MonkeyPatch):
    """It takes longer than all else that a small run loads, and only its version is recorded."""
    monkeypatch.setitem(sys.modules, "torchvision", None)  # type: ignore[arg-type]
    found = environment(torch.device("cpu"))
    assert found["torchvision"] == importlib.metadata.version("torchvision")
    monkeypatch.setattr(importlib.metadata, "version", lambda package: {"torchvision": "9.9", "numba": "0.6"}[package])
    found = environment(torch.device("cpu"))
    assert (found["torchvision"], found["numba"]) == ("9.9", "0.6")
