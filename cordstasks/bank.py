"""The feature bank: what the front-end computed, kept on disk. ``python -m cordstasks.bank`` lists and clears it."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import math
import os
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cordstasks.command import Parser, named_path, run_command
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
ABANDONED_SECONDS = 3600.0  # what has been under way for so long was left by a process that was killed
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
        if not 0 < limit_gb < math.inf:
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
            with contextlib.suppress(OSError):  # a folder may be read-only, and another process may have made room
                os.utime(path)  # so that the least recently used go first
        return shard

    def write(self, key: str, shard: Shard) -> int:
        """Store a shard and return its file's size in bytes; older ones make room if need be.

        One that is larger than the whole bank may be is not stored, and its size is returned as 0.
        """
        content = _encode(shard)
        if len(content) > self.limit:
            return 0
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
        return [path for _, path, _ in self.entries()]

    def size(self) -> int:
        """Bytes that all shards take."""
        return sum(size for _, _, size in self.entries())

    def entries(self) -> list[tuple[float, Path, int]]:
        """When last used, path and size in bytes of every shard's file, least recently used first."""
        entries = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):  # another process removed it
                stat = path.stat()
                entries.append((stat.st_mtime, path, stat.st_size))
        return sorted(entries)

    def accounts(self, path: Path) -> dict[str, float] | None:
        """What simulating a shard cost, see `cordstasks.histories.Accounts`; None if its file is damaged there."""
        try:
            with path.open("rb") as stream:
                if stream.read(len(MAGIC)) != MAGIC:
                    return None
                (length,) = _LENGTH.unpack(stream.read(_LENGTH.size))
                accounts: dict[str, float] = json.loads(stream.read(length))["accounts"]
        except (OSError, ValueError, KeyError, struct.error):
            return None
        return accounts

    def clear(self) -> int:
        """Remove every shard; returns the bytes freed."""
        self._tidy()
        freed = 0
        for _, path, size in self.entries():
            path.unlink(missing_ok=True)
            freed += size
        return freed

    def _tidy(self) -> None:
        """Remove half-written files that no process can be writing any more."""
        for path in self.folder.glob(f".*{SUFFIX}.*.part"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                    path.unlink()

    def _make_room(self, wanted: int) -> None:
        self._tidy()
        entries = self.entries()
        excess = sum(size for _, _, size in entries) + wanted - self.limit
        for _, path, size in entries:
            if excess <= 0:
                break
            path.unlink(missing_ok=True)
            excess -= size


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
    made = Parser(
        prog="python -m cordstasks.bank", description="List, or clear, the features that front-ends have computed."
    )
    made.add_argument("action", nargs="?", choices=("list", "clear"), default="list")
    made.add_argument("--bank", type=named_path, metavar="DIR", help="the bank's folder (default: in the user's cache)")
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
    entries = bank.entries()
    accounts = [bank.accounts(path) for _, path, _ in entries]
    if entries:
        print("file                  size      last used              asked    simulated  error of copies")
    for (used, path, size), cost in zip(entries, accounts, strict=True):
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(used))
        print(f"{path.stem[:16]}  {size / 1e6:8.1f} MB  {when}  {_cost(cost)}")
    known = [cost for cost in accounts if cost is not None]
    print(f"{bank.folder}: {len(entries)} files, {sum(size for _, _, size in entries) / 1e6:.1f} MB")
    if known:
        asked, simulated = (sum(cost[name] for cost in known) for name in ("asked", "simulated"))
        print(
            f"steps of 2 ms: {asked:.0f} asked for, {simulated:.0f} simulated ({simulated / max(asked, 1):.0%}); "
            f"settled states are copied, with an error of at most {max(cost['bound'] for cost in known):.1e} of the activity"
        )
    return 0


def _cost(accounts: dict[str, float] | None) -> str:
    if accounts is None:
        return "damaged"
    return f"{accounts['asked']:11.0f}  {accounts['simulated']:11.0f}  {accounts['bound']:15.1e}"


if __name__ == "__main__":
    run_command(main)
