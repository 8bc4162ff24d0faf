"""The feature bank: what comes back is what was stored, or nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from cordstasks.bank import main
from cordstasks.errors import InputError
from cordstasks.frontend.bank import Bank, Shard
from cordstasks.utils.command_line import run_command


def shard_of(seed: int, *, rows: int = 5, units: int = 3) -> Shard:
    rng = np.random.default_rng(seed)
    return Shard(
        rng.normal(size=(rows, units)).astype(np.float16),
        rng.integers(-1, rows, (2, 4)).astype(np.int32),
        {"requested": 12, "simulated": 7, "bound": 0.1 + 0.2},
    )


def same(one: Shard | None, other: Shard) -> bool:
    return (
        one is not None
        and one.cost == other.cost
        and (one.rows.dtype, one.index.dtype) == (np.float16, np.int32)
        and np.array_equal(one.rows, other.rows)
        and np.array_equal(one.index, other.index)
    )


def gigabytes(*sizes: int) -> float:
    """A limit that is just enough for files of these sizes in bytes."""
    return (sum(sizes) + 0.5) / 1e9


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path / "bank")


class TestReadingAndWriting:
    def test_a_shard_comes_back_as_it_was(self, bank: Bank):
        written = bank.write("a", shard_of(1))
        bank.write("b", shard_of(2, rows=1, units=7))
        assert same(bank.read("a"), shard_of(1))
        assert same(Bank(bank.folder).read("b"), shard_of(2, rows=1, units=7))
        assert written == bank.path("a").stat().st_size
        assert bank.damaged == 0

    def test_a_key_that_is_not_there(self, bank: Bank):
        assert bank.read("a") is None
        assert bank.damaged == 0

    def test_writing_again_replaces(self, bank: Bank):
        bank.write("a", shard_of(1))
        bank.write("a", shard_of(2))
        assert same(bank.read("a"), shard_of(2))
        assert len(bank.files()) == 1

    def test_a_folder_that_cannot_be_touched_can_be_read(self, bank: Bank, monkeypatch: pytest.MonkeyPatch):
        def refuse(path: Path) -> None:
            raise PermissionError(13, "Permission denied")

        bank.write("a", shard_of(1))
        monkeypatch.setattr(os, "utime", refuse)
        assert same(bank.read("a"), shard_of(1))

    def test_what_cannot_be_read_is_named(self, bank: Bank):
        bank.path("a").mkdir()
        with pytest.raises(InputError, match=r"^/.*a\.bank: cannot be read \(Is a directory\)"):
            bank.read("a")


class TestFormat:
    def test_any_reader_of_safetensors_reads_it(self, bank: Bank):
        bank.write("a", shard_of(1))
        with safe_open(bank.path("a"), "np") as file:
            assert set(file.keys()) == {"rows", "index"}
            assert np.array_equal(file.get_tensor("rows"), shard_of(1).rows)
            assert np.array_equal(file.get_tensor("index"), shard_of(1).index)
            about = json.loads(file.metadata()["cordstasks"])
        assert about["version"] == 3
        assert about["cost"] == shard_of(1).cost == bank.cost(bank.path("a"))

    def test_the_same_shard_gives_the_same_bytes(self, bank: Bank):
        for key in "ab":
            bank.write(key, shard_of(1))
        assert bank.path("a").read_bytes() == bank.path("b").read_bytes()

    def test_arrays_of_any_layout_and_without_rows(self, bank: Bank):
        full = shard_of(1, rows=6, units=4)
        for key, shard in (
            ("transposed", Shard(np.asfortranarray(full.rows), np.asfortranarray(full.index), full.cost)),
            ("a part", Shard(full.rows[::2, 1:], full.index[:, ::3], full.cost)),
            ("empty", Shard(full.rows[:0], full.index[:, :0], {})),
        ):
            bank.write(key, shard)
            assert same(bank.read(key), shard), key

    def test_files_of_other_versions_and_makers_are_not_taken(self, bank: Bank, monkeypatch: pytest.MonkeyPatch):
        with monkeypatch.context() as patch:
            patch.setattr("cordstasks.frontend.bank.VERSION", 4)
            bank.write("newer", shard_of(1))
            assert same(bank.read("newer"), shard_of(1))
        arrays = {"rows": shard_of(1).rows, "index": shard_of(1).index}
        save_file(arrays, bank.path("foreign"))
        save_file(arrays, bank.path("unsealed"), metadata={"cordstasks": json.dumps({"version": 3, "cost": {}})})
        bank.path("older").write_bytes(b"cordstasks bank 2\n" + bytes(200))
        for key in ("newer", "foreign", "unsealed", "older"):
            assert bank.read(key) is None, key
            assert bank.cost(bank.path(key)) is None, key
        assert bank.damaged == 4


class TestDamage:
    def test_any_changed_byte_is_noticed(self, bank: Bank):
        bank.write("a", shard_of(1))
        path = bank.path("a")
        content = path.read_bytes()
        rng = np.random.default_rng(0)
        for position in range(len(content)):
            wrong = bytearray(content)
            wrong[position] ^= int(rng.integers(1, 256))
            path.write_bytes(wrong)
            assert bank.read("a") is None, f"byte {position} of {len(content)}"
        assert bank.damaged == len(content)
        path.write_bytes(content)
        assert same(bank.read("a"), shard_of(1))

    def test_any_missing_or_added_byte_is_noticed(self, bank: Bank):
        bank.write("a", shard_of(1))
        path = bank.path("a")
        content = path.read_bytes()
        for length in range(len(content)):
            path.write_bytes(content[:length])
            assert bank.read("a") is None, f"{length} of {len(content)} bytes"
        path.write_bytes(content + b"\0")
        assert bank.read("a") is None
        assert bank.damaged == len(content) + 1

    def test_a_damaged_file_is_written_anew(self, bank: Bank):
        bank.write("a", shard_of(1))
        bank.path("a").write_bytes(b"cordstasks bank 1\n and then nothing that it should hold, at some length")
        assert bank.read("a") is None
        bank.write("a", shard_of(1))
        assert same(bank.read("a"), shard_of(1))


class TestDamageInTheList:
    def test_any_bit_of_the_head_and_any_length_is_listed_as_damaged(self, bank: Bank, capsys: pytest.CaptureFixture[str]):
        """The head alone is read for the list; a bit of what follows is noticed when the shard is read."""
        bank.write("good", shard_of(1))
        bank.write("bad", shard_of(2))
        path = bank.path("bad")
        content = path.read_bytes()
        head = len(content) - shard_of(2).rows.nbytes - shard_of(2).index.nbytes
        for bit in range(8 * len(content)):
            wrong = bytearray(content)
            wrong[bit // 8] ^= 1 << bit % 8
            path.write_bytes(wrong)
            assert (bank.cost(path) is None) == (bit // 8 < head), f"bit {bit}"
        for length in (*range(len(content)), len(content) + 1):
            path.write_bytes((content + b"\0")[:length])
            assert bank.cost(path) is None
        assert main(["--bank", str(bank.folder)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[-1] == "damaged" for line in lines if line.startswith(("good", "bad"))].count(True) == 1
        assert main(["clear", "--bank", str(bank.folder)]) == 0
        assert list(bank.folder.iterdir()) == []

    @pytest.mark.parametrize("kind", ["folder", "full folder", "broken link", "link to a folder", "pipe"])
    def test_what_only_has_a_file_s_name_is_left_alone(
        self, bank: Bank, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
    ):
        written, stranger = bank.write("good", shard_of(1)), bank.folder / "x.bank"
        if kind.endswith("folder") and "link" not in kind:
            stranger.mkdir()
            if kind == "full folder":
                (stranger / "mine").write_text("mine")
        elif kind == "pipe":
            os.mkfifo(stranger)
        else:
            stranger.symlink_to(tmp_path if kind == "link to a folder" else tmp_path / "nowhere")
        assert (bank.files(), bank.size()) == ([bank.path("good")], written)
        bank.limit = int(1.5 * written)
        bank.write("next", shard_of(2))
        for words, last in (([], f"{bank.folder}: 1 files, "), (["clear"], f"{bank.folder}: 0.0 MB freed")):
            assert main([*words, "--bank", str(bank.folder)]) == 0
            out = capsys.readouterr().out
            assert f"{stranger}: is no file of the bank; left alone" in out
            assert last in out
        assert os.listdir(bank.folder) == ["x.bank"]

    def test_what_cannot_be_removed_does_not_keep_the_rest(self, bank: Bank, monkeypatch: pytest.MonkeyPatch):
        for key in "abc":
            bank.write(key, shard_of(1))
        unlink = Path.unlink

        def refuse(path: Path, missing_ok: bool = False) -> None:
            if path.stem == "a":
                raise PermissionError(13, "Permission denied")
            unlink(path, missing_ok=missing_ok)

        monkeypatch.setattr(Path, "unlink", refuse)
        with pytest.raises(InputError, match=r"1 files cannot be removed, such as a\.bank \(Permission denied\)"):
            bank.clear()
        assert bank.files() == [bank.path("a")]


class TestInterruption:
    @pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
    def test_an_interrupted_write_leaves_what_was_there(
        self, bank: Bank, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
    ):
        def interrupt(descriptor: int) -> None:
            raise error

        bank.write("a", shard_of(1))
        monkeypatch.setattr(os, "fsync", interrupt)
        for key in ("a", "b"):
            with pytest.raises(error):
                bank.write(key, shard_of(2))
        assert [path.name for path in bank.folder.iterdir()] == ["a.bank"]
        assert same(bank.read("a"), shard_of(1))

    def test_a_full_disk_is_one_line(self, bank: Bank, monkeypatch: pytest.MonkeyPatch):
        def fill(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", fill)
        with pytest.raises(InputError, match=r"a\.bank: cannot be written \(No space left on device\); make room"):
            bank.write("a", shard_of(1))
        assert list(bank.folder.iterdir()) == []

    def test_killed_while_it_writes(self, bank: Bank):
        writing = """
import itertools, sys
import numpy as np
from pathlib import Path
from cordstasks.frontend.bank import Bank, Shard
bank = Bank(Path(sys.argv[1]))
for number in itertools.count():
    bank.write(str(number % 7), Shard(np.full((40000, 3), number % 7, np.float16), np.zeros((2, 4), np.int32), {}))
"""
        process = subprocess.Popen([sys.executable, "-c", writing, str(bank.folder)])
        deadline = time.monotonic() + 100
        while len(bank.files()) < 7 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.0137)
        process.kill()
        process.wait()
        assert len(bank.files()) == 7
        for number in range(7):
            shard = bank.read(str(number))
            assert shard is not None
            assert (shard.rows == number).all()

    def test_what_a_killed_process_left_behind_goes_with_time(self, bank: Bank):
        left, writing = (bank.folder / f".a.bank.123-{name}.part" for name in ("0011", "2233"))
        for path in (left, writing):
            path.write_bytes(b"half")
        os.utime(left, (time.time() - 7200,) * 2)
        bank.write("b", shard_of(1))
        assert not left.exists()
        assert writing.exists()
        os.utime(writing, (time.time() - 7200,) * 2)
        bank.clear()
        assert list(bank.folder.iterdir()) == []


class TestSize:
    def test_the_least_recently_used_make_room(self, tmp_path: Path):
        size = Bank(tmp_path).write("a", shard_of(1))
        bank = Bank(tmp_path, limit_gb=gigabytes(size, size, size))
        for age, key in [(300, "a"), (200, "b"), (100, "c")]:
            bank.write(key, shard_of(1))
            then = time.time() - age
            os.utime(bank.path(key), (then, then))
        bank.read("a")
        bank.write("d", shard_of(1))
        assert {path.stem for path in bank.files()} == {"a", "c", "d"}
        assert bank.files()[0] == bank.path("c")
        assert bank.size() == 3 * size

    def test_what_is_larger_than_the_limit_is_not_stored_and_removes_nothing(self, tmp_path: Path):
        size = Bank(tmp_path).write("a", shard_of(1))
        bank = Bank(tmp_path, limit_gb=gigabytes(size))
        assert bank.write("b", shard_of(2, rows=500)) == 0
        assert bank.read("b") is None
        assert same(bank.read("a"), shard_of(1))

    def test_a_file_that_another_process_removes_meanwhile(self, bank: Bank, monkeypatch: pytest.MonkeyPatch):
        bank.write("a", shard_of(1))
        found = bank.path("a")
        glob = Path.glob

        def stale(self: Path, pattern: str) -> Iterator[Path]:
            yield from glob(self, pattern)
            yield self / "gone.bank"

        monkeypatch.setattr(Path, "glob", stale)
        assert bank.files() == [found]
        assert bank.size() == found.stat().st_size
        bank.limit = int(bank.size() * 1.5)
        bank.write("b", shard_of(2))
        assert bank.files() == [bank.path("b")]
        left = bank.size()
        assert bank.clear() == left > 0

    @pytest.mark.parametrize("limit", [0, -1.0, float("nan"), float("inf")])
    def test_no_limit_is_refused(self, tmp_path: Path, limit: float):
        with pytest.raises(InputError, match=rf"limit_gb={limit}: give a size above 0 \(GB\)"):
            Bank(tmp_path, limit_gb=limit)


class TestParts:
    """What is kept of a simulation that is under way."""

    NOTE: ClassVar = {"endings": [[1, 2], []], "engine": "numba"}

    def tensors(self, rows: int = 6) -> dict[str, NDArray[np.floating]]:
        rng = np.random.default_rng(4)
        return {"rows": rng.normal(size=(rows, 4)).astype(np.float16), "states": rng.normal(size=(2, 5)).astype(np.float32)}

    def test_they_come_back_until_they_are_forgotten(self, bank: Bank):
        assert bank.kept("a") is None
        assert bank.keep("a", self.tensors(), {"requested": 0, "simulated": 9, "bound": 0.1}, self.NOTE)
        found = Bank(bank.folder).kept("a")
        assert found is not None
        assert found[1] == self.NOTE
        for name, tensor in self.tensors().items():
            assert found[0][name].dtype == tensor.dtype
            np.testing.assert_array_equal(found[0][name], tensor)
        bank.forget("a")
        bank.forget("a")
        assert bank.kept("a") is None
        assert list(bank.folder.iterdir()) == []

    def test_they_are_no_shards(self, bank: Bank):
        bank.keep("a", self.tensors(), {}, self.NOTE)
        assert bank.read("a") is None
        assert bank.damaged == 0
        bank.write("b", shard_of(1))
        assert bank.kept("b") is None
        assert bank.read("a-unfinished") is None

    def test_there_must_be_room_for_them(self, bank: Bank):
        size = bank.write("b", shard_of(1))
        bank.limit = size + 200
        assert not bank.keep("a", self.tensors(), {}, self.NOTE)
        assert bank.files() == [bank.path("b")]

    def test_the_list_says_what_they_are(self, bank: Bank, capsys: pytest.CaptureFixture[str]):
        bank.write("b", shard_of(1))
        bank.keep("a", self.tensors(), {"requested": 0, "simulated": 9, "bound": 0.1}, self.NOTE)
        assert main(["--bank", str(bank.folder)]) == 0
        out = capsys.readouterr().out
        assert "2 files" in out
        assert "1 of them are parts of work that was stopped, which the same run or command continues" in out


class TestFolder:
    def test_below_a_regular_file(self, tmp_path: Path):
        (tmp_path / "file").write_text("mine")
        with pytest.raises(InputError, match=r"folder=.*file/bank: cannot write there \(Not a directory\)"):
            Bank(tmp_path / "file" / "bank")

    def test_by_default_in_the_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("CORDSTASKS_CACHE", str(tmp_path / "cache"))
        assert Bank().folder == tmp_path / "cache" / "bank"


class TestTwoProcesses:
    def test_both_read_what_either_wrote(self, bank: Bank):
        both = """
import sys
import numpy as np
from pathlib import Path
from cordstasks.frontend.bank import Bank, Shard
bank = Bank(Path(sys.argv[1]), limit_gb=1.2e-3)
for turn in range(150):
    key = turn * int(sys.argv[2]) % 11
    shard = bank.read(str(key))
    if shard is None:
        bank.write(str(key), Shard(np.full((20000, 3), key, np.float16), np.full((2, 4), key, np.int32), {"key": key}))
    else:
        assert (shard.rows == key).all() and (shard.index == key).all() and shard.cost == {"key": key}
assert bank.damaged == 0
"""
        # in different orders over the same keys, in a bank with room for nine of the eleven
        processes = [
            subprocess.Popen([sys.executable, "-c", both, str(bank.folder), stride], stderr=subprocess.PIPE, text=True)
            for stride in ("3", "7")
        ]
        for process in processes:
            _, errors = process.communicate(timeout=100)
            assert process.returncode == 0, errors
        assert 5 <= len(bank.files()) <= 11
        assert not [path for path in bank.folder.iterdir() if path.suffix != ".bank"]


class TestCommand:
    def test_list(self, bank: Bank, capsys: pytest.CaptureFixture[str]):
        bank.write("0123456789abcdefXYZ", shard_of(1, rows=2_000_000 // 6 + 1))
        then = time.mktime((2024, 2, 29, 13, 5, 0, 0, 0, -1))
        os.utime(bank.files()[0], (then, then))
        assert main(["--bank", str(bank.folder)]) == 0
        heading, first, files, steps = capsys.readouterr().out.splitlines()
        requested, simulated, bound = (shard_of(1, rows=1).cost[name] for name in ("requested", "simulated", "bound"))
        assert heading.split() == ["file", "size", "last", "used", "requested", "simulated", "error", "of", "copies"]
        assert first.startswith("0123456789abcdef       2.0 MB  2024-02-29 13:05 ")
        assert first.split()[-3:] == [f"{requested:.0f}", f"{simulated:.0f}", f"{bound:.1e}"]
        assert files == f"{bank.folder}: 1 files, 2.0 MB"
        assert steps.startswith(
            f"steps of 2 ms: {requested:.0f} requested, {simulated:.0f} simulated ({simulated / requested:.0%}); "
        )
        assert f"at most {bound:.1e} of the activity" in steps
        assert len(bank.files()) == 1

    def test_a_damaged_file_is_listed_as_such(self, bank: Bank, capsys: pytest.CaptureFixture[str]):
        bank.write("good", shard_of(1))
        bank.path("bad").write_bytes(b"cordstasks bank 1\n\x00")
        assert main(["--bank", str(bank.folder)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[-1] == "damaged" for line in lines if line.startswith("bad")] == [True]

    def test_clear(self, bank: Bank, capsys: pytest.CaptureFixture[str]):
        bank.write("a", shard_of(1, rows=500_000))
        bank.write("b", shard_of(2))
        (bank.folder / "notes.txt").write_text("not ours")
        assert main(["clear", "--bank", str(bank.folder)]) == 0
        assert capsys.readouterr().out == f"{bank.folder}: 3.0 MB freed\n"
        assert [path.name for path in bank.folder.iterdir()] == ["notes.txt"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--bank", "nowhere"], "error: --bank nowhere: there is no such folder"),
            (["empty"], "error: argument action: invalid choice: 'empty'"),
        ],
    )
    def test_mistakes_are_one_line(self, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]):
        with pytest.raises(SystemExit) as ended:
            run_command(lambda: main(arguments))
        assert ended.value.code == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(message)
        assert err.count("\n") == 1

    def test_the_module_is_importable_without_numpy(self):
        code = "import sys, cordstasks.bank as b; b.parser(); assert not {'numpy', 'torch'} & set(sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
