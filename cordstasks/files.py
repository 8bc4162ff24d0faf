"""Writing files so that an interruption leaves either the old one or the new one, never half of one."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cordstasks.errors import InputError


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well it takes the place of `path` in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    temporary.touch(exist_ok=False)  # with the permissions that the user's umask gives, unlike tempfile's
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    text = json.dumps(value, indent=2, allow_nan=False, default=_plain) + "\n"
    with atomic(path) as temporary:
        temporary.write_text(text)


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
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error


def writable_folder(path: Path, argument: str) -> Path:
    """Make the folder `path` if need be and check that files can be written in it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(f"{argument} {path}: cannot write there ({error.strerror}); choose another folder") from error
    return path


class Log:
    """A JSON-lines file that can be cut back to a step, so that a resumed run repeats no line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row."""
        with self.path.open("a") as stream:
            stream.write(json.dumps(dict(row), default=_plain) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """Every whole row; a last line cut short by an interruption is left out."""
        rows = []
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                with contextlib.suppress(ValueError):
                    rows.append(json.loads(line))
        return rows

    def keep(self, last: int, key: str = "step") -> None:
        """Drop the rows whose `key` lies beyond `last`."""
        rows = [row for row in self.read() if row.get(key, 0) <= last]
        with atomic(self.path) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in rows))
