"""The feature bank: what the front-end computed, kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import stat
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cordstasks.errors import InputError
from cordstasks.utils.cache import cache_folder
from cordstasks.utils.files import unwritable, writable_folder, write_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAGIC = b"cordstasks bank 2\n"
SUFFIX = ".bank"
LIMIT_GB = 10.0
ABANDONED_SECONDS = 3600.0  # what has been under way for so long was left by a process that was killed
DIGEST = 32  # bytes of a SHA-256
# A file is the magic, the length of the head, the head's digest (so that the head alone can be trusted in a list), the head,
# rows, index, and the digest of all that.
_BEGIN = struct.Struct(f"<{len(MAGIC)}sQ{DIGEST}s")


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
    accounts : what the simulation cost, see `cordstasks.frontend.histories.Accounts`.
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
    folder : where the files are; made if need be. One that is there is written only when a shard is, and None stands for
        the one in the user's cache.
    limit_gb : size of all files, in GB, beyond which those that have not been used for longest are removed.
    """

    def __init__(self, folder: Path | None = None, *, limit_gb: float = LIMIT_GB) -> None:
        if not 0 < limit_gb < math.inf:
            raise InputError(f"limit_gb={limit_gb}: give a size above 0 (GB)")
        self.folder = Path(folder or default_folder())
        if folder and not self.folder.is_dir():
            writable_folder(self.folder, "folder")
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
            raise InputError(f"{path}: cannot be read ({error.strerror}); remove it, or use another bank") from error
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

        Raises
        ------
        WriteError
            If the disk is full, or the folder cannot be written.
        """
        content = _encode(shard)
        if len(content) > self.limit:
            return 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(len(content))
        except OSError as error:
            raise unwritable(self.path(key), error) from error
        write_bytes(self.path(key), content)
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
                found = path.stat()
                if stat.S_ISREG(found.st_mode):  # a folder of such a name is not ours
                    entries.append((found.st_mtime, path, found.st_size))
        return sorted(entries)

    def strangers(self) -> list[Path]:
        """What has the name of a shard's file and is none, such as a folder; it is left alone."""
        ours = {path for _, path, _ in self.entries()}
        return sorted(path for path in self.folder.glob(f"*{SUFFIX}") if path not in ours)

    def accounts(self, path: Path) -> dict[str, float] | None:
        """What simulating a shard cost (`cordstasks.frontend.histories.Accounts`); None if its file is damaged.

        What follows the head is not read here, but each time that the shard is.
        """
        try:
            with path.open("rb") as stream:
                begin = stream.read(_BEGIN.size)
                magic, length, check = _BEGIN.unpack(begin)
                size = os.fstat(stream.fileno()).st_size
                if magic != MAGIC or length > size:
                    return None
                head = stream.read(length)
                if hashlib.sha256(magic + head).digest() != check:
                    return None
                content = json.loads(head)
                whole = len(begin) + length + 2 * math.prod(content["rows"]) + 4 * math.prod(content["index"]) + DIGEST
                accounts: dict[str, float] = content["accounts"]
        except (OSError, ValueError, KeyError, struct.error):
            return None
        return accounts if size == whole else None

    def clear(self) -> int:
        """Remove every shard; returns the bytes freed.

        Raises
        ------
        InputError : some could not be removed; all others were.
        """
        with contextlib.suppress(OSError):
            self._tidy()
        freed, kept = 0, []
        for _, path, size in self.entries():
            try:
                path.unlink(missing_ok=True)
                freed += size
            except OSError as error:
                kept.append(f"{path.name} ({error.strerror})")
        if kept:
            raise InputError(f"{self.folder}: {len(kept)} files cannot be removed, such as {kept[0]}; allow it")
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
    begin = _BEGIN.pack(MAGIC, len(head), hashlib.sha256(MAGIC + head).digest())
    body = begin + head + shard.rows.tobytes() + shard.index.tobytes()
    return body + hashlib.sha256(body).digest()


def _decode(content: bytes) -> Shard | None:
    import numpy as np

    body, digest = memoryview(content)[:-DIGEST], content[-DIGEST:]
    if content[: len(MAGIC)] != MAGIC or hashlib.sha256(body).digest() != digest:
        return None
    start = _BEGIN.size + _BEGIN.unpack_from(body)[1]
    head: dict[str, Any] = json.loads(bytes(body[_BEGIN.size : start]))
    rows = np.frombuffer(body, np.float16, int(np.prod(head["rows"])), start).reshape(head["rows"])
    index = np.frombuffer(body, np.int32, int(np.prod(head["index"])), start + rows.nbytes).reshape(head["index"])
    return Shard(rows, index, head["accounts"])
