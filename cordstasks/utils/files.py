"""Writing files so that an interruption leaves either the old file or the new file, never an incomplete one."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cordstasks.errors import InputError, WriteError

FileStamp = tuple[int, int, int, int]


def absolute(path: str | os.PathLike[str]) -> str:
    """The absolute path, which names the same file in any working directory; ``~`` is the user's home."""
    return os.path.abspath(os.path.expanduser(os.fspath(path)))


def file_stamp(path: str | os.PathLike[str]) -> FileStamp | None:
    """A value that changes when a file is written or replaced, even by a copy with the same time; None without a file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; if the block ends without error, it replaces `path` in one step.

    Libraries that write files in compiled code may hide that the disk is full, or not notice it; let these write into
    memory, and use `write_bytes`.

    Raises
    ------
    WriteError
        If the disk is full, or the folder cannot be written; `path` is then as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        temporary.touch(exist_ok=False)  # with the permissions of the user's umask, unlike those of tempfile
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno is None:  # not an error of the system
            raise
        raise unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def unwritable(path: Path, error: OSError) -> WriteError:
    """The error for a file that cannot be written, with the system's reason."""
    reason = f"{path}: cannot be written ({error.strerror or error})"
    return WriteError(f"{reason}; make room, or choose a folder that can be written", error.errno)


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file, atomically.

    Raises
    ------
    WriteError
        As `atomic`.
    """
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False, default=_plain) + "\n").encode())


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def read_json(path: Path) -> Any:
    """Read JSON; a damaged file is an InputError that names it."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error}); correct it, or choose another folder") from error


def writable_folder(path: Path, argument: str) -> Path:
    """Make the folder `path` if it does not exist, and check that files can be written in it.

    Parameters
    ----------
    path : Path
        The folder.
    argument : str
        The parameter that gave it, for the error's message.

    Raises
    ------
    WriteError
        If it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise no_writing(path, argument, error) from error
    return path


def no_writing(path: Path, argument: str, error: OSError) -> WriteError:
    """The error for a folder in which nothing can be written, with the system's reason."""
    reason = f"{argument}={path}: cannot write there ({error.strerror or error})"
    return WriteError(f"{reason}; choose another folder", error.errno)


class Log:
    """A JSON-lines file that can be cut back to a step, so that a resumed run repeats no line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row, completely or not at all.

        Raises
        ------
        WriteError
            If the disk is full, or the file cannot be written.
        """
        line = (json.dumps(dict(row), default=_plain) + "\n").encode()
        try:
            with self.path.open("ab", buffering=0) as stream:
                end = stream.seek(0, os.SEEK_END)
                try:
                    if stream.write(line) != len(line):  # the system writes only what fits
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                except BaseException:
                    with contextlib.suppress(OSError):
                        stream.truncate(end)
                    raise
        except OSError as error:
            raise unwritable(self.path, error) from error

    def read(self) -> list[dict[str, Any]]:
        """Every complete row; rows that are incomplete after an interruption or damage are left out."""
        rows = []
        if self.path.exists():
            try:
                lines = self.path.read_text(errors="replace").splitlines()
            except OSError as error:
                raise InputError(f"{self.path}: cannot be read ({error.strerror}); remove it and go on without") from error
            for line in lines:
                with contextlib.suppress(ValueError, RecursionError):
                    rows.append(json.loads(line))
        return [row for row in rows if isinstance(row, dict)]

    def rows(self, *keys: str) -> list[dict[str, Any]]:
        """The rows with a finite number for each of these keys."""

        def number(value: Any) -> bool:
            return isinstance(value, (int, float)) and abs(value) <= sys.float_info.max

        return [row for row in self.read() if all(number(row.get(key)) for key in keys)]

    def keep(self, last: int, key: str = "step") -> None:
        """Drop the rows whose `key` is larger than `last` or not a number."""
        rows = [row for row in self.read() if isinstance(row.get(key, 0), (int, float)) and row.get(key, 0) <= last]
        write_bytes(self.path, "".join(json.dumps(row) + "\n" for row in rows).encode())

    def note_gaps(self, step: int, *, every: int, end: int) -> None:
        """Print one line if rows up to `step` are missing; there is one row per `every` steps and one at the `end`."""
        expected = {*range(every, step + 1, every), *([step] if step == end else [])}
        gaps = sorted(expected - {row["step"] for row in self.rows("step")})
        if gaps:
            print(f"note: {self.path} lacks rows of steps {gaps[0]} to {gaps[-1]}: the learning curve will lack them, too")
