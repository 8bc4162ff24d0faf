"""The feature bank: what the front-end computed, kept on disk. ``python -m cordstasks.bank`` lists and clears it."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cordstasks.command import run_command
from cordstasks.errors import InputError
from cordstasks.files import atomic, writable_folder
from cordstasks.registry import cache_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAGIC = b"cordstasks bank 1\n"
SUFFIX = ".bank"
LIMIT_GB = 10.0
_LENGTH = struct.Struct("<Q")


def default_folder() -> Path:
    """Where the bank is unless a user says otherwise."""
    return cache_folder() / "bank"


@dataclass(frozen=True)
class Shard:
    """Features of some movies, as they are stored.

    Attributes
    ----------
    rows : float16 (row, unit), distinct feature vectors.
    index : int32 (trial, time), the row of each time step of each trial; -1 beyond a trial's end.
    accounts : what the simulation cost, see `cordstasks.histories.Accounts`.
    """

    rows: NDArray[np.float16]
    index: NDArray[np.int32]
    accounts: dict[str, float]


class Bank:
    """A folder of shards, each in one file named by the hash of everything that determines its content.

    Files are written beside their place and renamed into it, so that any number of processes can share a folder and an
    interruption leaves no half of one. A file whose digest does not match its content is treated as missing.

    Parameters
    ----------
    folder : where the files are; made if need be.
    limit_gb : size of all files, in GB, beyond which those that have not been used for longest are removed.
    """

    def __init__(self, folder: Path | None = None, *, limit_gb: float = LIMIT_GB) -> None:
        if not limit_gb > 0:
            raise InputError(f"--bank-limit {limit_gb}: give a size above 0 (GB)")
        self.folder = writable_folder(Path(folder or default_folder()), "--bank")
        self.limit = int(limit_gb * 1e9)
        self.damaged = 0

    def path(self, key: str) -> Path:
        """The file of a key."""
        return self.folder / f"{key}{SUFFIX}"

    def read(self, key: str) -> Shard | None:
        """The shard of `key`; None if there is none, or if its file is damaged (which `damaged` counts)."""
        path = self.path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"--bank {path}: cannot be read ({error.strerror}); clear the bank or use another") from error
        shard = _decode(content)
        if shard is None:
            self.damaged += 1
        else:
            os.utime(path)  # so that the least recently used go first
        return shard

    def write(self, key: str, shard: Shard) -> int:
        """Store a shard and return its file's size in bytes; older ones make room if need be."""
        content = _encode(shard)
        try:
            self._make_room(len(content))
            with atomic(self.path(key)) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise InputError(
                f"--bank {self.folder}: cannot write there ({error.strerror}); free space, choose another folder, "
                "or go without (--no-bank)"
            ) from error
        return len(content)

    def files(self) -> list[Path]:
        """Every shard's file, least recently used first."""
        entries = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            try:
                entries.append((path.stat().st_mtime, path))
            except FileNotFoundError:  # another process removed it
                continue
        return [path for _, path in sorted(entries)]

    def size(self) -> int:
        """Bytes that all shards take."""
        return sum(path.stat().st_size for path in self.files() if path.exists())

    def clear(self) -> int:
        """Remove every shard; returns the bytes freed."""
        freed = self.size()
        for path in self.files():
            path.unlink(missing_ok=True)
        return freed

    def _make_room(self, wanted: int) -> None:
        excess = self.size() + wanted - self.limit
        for path in self.files():
            if excess <= 0:
                break
            excess -= path.stat().st_size
            path.unlink(missing_ok=True)


def _encode(shard: Shard) -> bytes:
    head = json.dumps({"rows": shard.rows.shape, "index": shard.index.shape, "accounts": shard.accounts}).encode()
    body = MAGIC + _LENGTH.pack(len(head)) + head + shard.rows.tobytes() + shard.index.tobytes()
    return body + hashlib.sha256(body).digest()


def _decode(content: bytes) -> Shard | None:
    import numpy as np

    body, digest = memoryview(content)[:-32], content[-32:]
    if content[: len(MAGIC)] != MAGIC or hashlib.sha256(body).digest() != digest:
        return None
    start = len(MAGIC) + _LENGTH.size
    head: dict[str, Any] = json.loads(bytes(body[start : start + _LENGTH.unpack_from(body, len(MAGIC))[0]]))
    start += _LENGTH.unpack_from(body, len(MAGIC))[0]
    rows = np.frombuffer(body, np.float16, int(np.prod(head["rows"])), start).reshape(head["rows"])
    index = np.frombuffer(body, np.int32, int(np.prod(head["index"])), start + rows.nbytes).reshape(head["index"])
    return Shard(rows, index, head["accounts"])


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = argparse.ArgumentParser(
        prog="python -m cordstasks.bank", description="List, or clear, the features that front-ends have computed."
    )
    made.add_argument("action", nargs="?", choices=("list", "clear"), default="list")
    made.add_argument("--bank", type=Path, metavar="DIR", help="the bank's folder (default: in the user's cache)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_args(arguments)
    folder = options.bank or default_folder()
    if options.bank is not None and not folder.is_dir():
        raise InputError(f"--bank {folder}: there is no such folder")
    bank = Bank(folder)
    if options.action == "clear":
        print(f"{bank.folder}: {bank.clear() / 1e6:.1f} MB freed")
        return 0
    for path in bank.files():
        stat = path.stat()
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(stat.st_mtime))
        print(f"{path.stem[:16]}  {stat.st_size / 1e6:8.1f} MB  last used {used}")
    print(f"{bank.folder}: {len(bank.files())} files, {bank.size() / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    run_command(main)
