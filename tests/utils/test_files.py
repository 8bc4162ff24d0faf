"""Writing files: an interruption leaves the old file or the new one, and logs can be cut back."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cordstasks.errors import InputError
from cordstasks.utils.files import Log, atomic, read_json, writable_folder, write_json


class TestAtomic:
    def test_replaces_the_file_at_the_end(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("old")
        with atomic(path) as temporary:
            temporary.write_text("new")
            assert path.read_text() == "old"
            assert temporary.parent == tmp_path  # a rename across file systems would not be one step
        assert path.read_text() == "new"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError, SystemExit])
    def test_an_interruption_leaves_the_old_file(self, tmp_path: Path, interruption: type[BaseException]) -> None:
        path = tmp_path / "file"
        path.write_text("old")

        def interrupted() -> None:
            with atomic(path) as temporary:
                temporary.write_text("half of the n")
                raise interruption

        with pytest.raises(interruption):
            interrupted()
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
    def test_a_kill_leaves_the_old_file(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("old")
        program = (
            "import os, pathlib, signal, sys; from cordstasks.utils.files import atomic\n"
            "with atomic(pathlib.Path(sys.argv[1])) as temporary:\n"
            "    temporary.write_text('half of the n'); os.kill(os.getpid(), signal.SIGKILL)"
        )
        root = Path(__file__).resolve().parents[2]
        assert subprocess.run([sys.executable, "-c", program, str(path)], cwd=root).returncode == -signal.SIGKILL
        assert path.read_text() == "old"
        assert len(list(tmp_path.iterdir())) == 2  # what was being written, under a name that nothing reads

    def test_writers_do_not_share_a_temporary_file(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        with atomic(path) as first, atomic(path) as second:
            assert first != second
            first.write_text("first")
            second.write_text("second")
        assert path.read_text() == "first"  # the outer block ends last

    @pytest.fixture(params=[0o022, 0o077, 0o002])
    def umask(self, request: pytest.FixtureRequest) -> Iterator[int]:
        before = os.umask(request.param)
        yield request.param
        os.umask(before)

    @pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
    def test_permissions_follow_the_umask(self, tmp_path: Path, umask: int) -> None:
        write_json(tmp_path / "file.json", {})
        assert stat.S_IMODE((tmp_path / "file.json").stat().st_mode) == 0o666 & ~umask


class TestJson:
    def test_comes_back_with_arrays_and_paths_as_plain_values(self, tmp_path: Path) -> None:
        value = {"a": np.float32(0.5), "b": np.arange(3), "c": Path("d") / "e", "f": [1, None, "ü"]}
        write_json(tmp_path / "file.json", value)
        assert read_json(tmp_path / "file.json") == {
            "a": 0.5,
            "b": [0, 1, 2],
            "c": str(Path("d/e")),
            "f": [1, None, "ü"],
        }

    @pytest.mark.parametrize("value", [float("nan"), {"a": {1, 2}}])
    def test_what_cannot_be_written_leaves_the_old_file(self, tmp_path: Path, value: object) -> None:
        write_json(tmp_path / "file.json", [1])
        with pytest.raises((TypeError, ValueError), match="JSON"):
            write_json(tmp_path / "file.json", value)
        assert read_json(tmp_path / "file.json") == [1]

    @pytest.mark.parametrize("content", [None, "", '{"a": 1', "\udcff"])
    def test_a_damaged_file_is_named(self, tmp_path: Path, content: str | None) -> None:
        path = tmp_path / "file.json"
        if content is not None:
            path.write_bytes(content.encode(errors="surrogateescape"))
        with pytest.raises(InputError, match=r"file\.json: cannot be read"):
            read_json(path)


class TestWritableFolder:
    def test_is_made_and_left_empty(self, tmp_path: Path) -> None:
        folder = writable_folder(tmp_path / "a" / "b", "out")
        assert folder.is_dir()
        assert not list(folder.iterdir())

    def test_a_file_in_its_place_is_named_with_the_argument(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("")
        for path in (tmp_path / "a", tmp_path / "a" / "b"):
            with pytest.raises(InputError, match=rf"out={path}: cannot write there .*choose another folder"):
                writable_folder(path, "out")

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
    def test_a_folder_without_permission_is_named(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        try:
            with pytest.raises(InputError, match="cannot write there"):
                writable_folder(tmp_path, "out")
        finally:
            tmp_path.chmod(0o700)


class TestLog:
    def test_cut_back_keeps_rows_up_to_a_step_and_drops_a_torn_line(self, tmp_path: Path) -> None:
        log = Log(tmp_path / "metrics.jsonl")
        assert log.read() == []
        for step in (0, 10, 20, 30):
            log.write({"step": step, "loss": np.float64(step / 4)})
        with log.path.open("a") as stream:
            stream.write('{"step": 5, "lo')
        assert [row["step"] for row in log.read()] == [0, 10, 20, 30]
        log.keep(20)
        log.write({"step": 40})
        kept = [json.loads(line) for line in log.path.read_text().splitlines()]
        assert kept == [{"step": 0, "loss": 0}, {"step": 10, "loss": 2.5}, {"step": 20, "loss": 5}, {"step": 40}]

    def test_cut_back_by_another_key(self, tmp_path: Path) -> None:
        log = Log(tmp_path / "metrics.jsonl")
        for area in range(4):
            log.write({"area": area})
        log.keep(-1, key="area")
        assert log.read() == []
