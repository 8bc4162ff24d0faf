"""The feature bank: what the front-end computed, kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cordstasks.errors import InputError
from cordstasks.utils.arguments import number, path_of
from cordstasks.utils.cache import cache_folder
from cordstasks.utils.files import unwritable, writable_folder, write_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIX = ".bank"
LIMIT_GB = 10.0
ABANDONED_SECONDS = 3600.0  # what has been under way for so long was left by a process that was killed
VERSION = 3  # of the files
ABOUT = "cordstasks"  # key of what a file says of itself in its metadata
NO_DATA, NO_SEAL = b"-" * 64, b"0" * 64  # what stands for the digests until they are known
BEGIN = 8  # bytes of a safetensors file that hold the length of its head
KINDS = {"F16": "<f2", "F32": "<f4", "I32": "<i4"}  # of numbers, as safetensors and NumPy name them
UNFINISHED = "-unfinished"  # end of the keys of parts of a simulation that is under way


def default_folder() -> Path:
    """Where the bank is unless a user says otherwise.

    Returns
    -------
    Path
        Which need not exist yet.
    """
    return cache_folder() / "bank"


@dataclass(frozen=True)
class Shard:
    """Features of some movies, as they are stored.

    Attributes
    ----------
    rows : ndarray of shape (row, unit), float16
        Distinct feature vectors.
    index : ndarray of shape (trial, time), int32
        The row of each time step of each trial; -1 beyond a trial's end.
    cost : dict of str to float
        What the simulation cost, see `cordstasks.frontend.histories.Cost`.
    """

    rows: NDArray[np.float16]
    index: NDArray[np.int32]
    cost: dict[str, float]


class Bank:
    """A folder of shards, each in one file named by the hash of everything that determines its content.

    A file is in safetensors format: the tensors ``rows`` and ``index``, and in the metadata, as JSON under the key
    ``cordstasks``, the version, the cost, ``data`` and ``seal``. As safetensors has no checksums, ``data`` is the
    SHA-256 of all that follows the head, and ``seal`` that of the head itself with zeros in place of the seal. So the head
    can be trusted without reading further, and no bit of a file can change unnoticed.

    Files are written under another name and renamed, so that any number of processes can share a folder and an
    interruption leaves no half of one. A file that does not match its digests is treated as missing.

    A simulation that ends in one shard after many minutes keeps its parts here in the meantime, with `keep`, in files of the
    same format with other tensors. They never make other files go, and are removed when the shard is stored.

    Parameters
    ----------
    folder : Path, optional
        Where the files are; made if need be. One that is there is written only when a shard is, and None stands for
        the one in the user's cache.
    limit_gb : float
        Size of all files, in GB, beyond which those that have not been used for longest are removed.

    Attributes
    ----------
    damaged : int
        How many damaged files `read` has met.
    used : set of str
        Keys of the shards that have been read or written through this object.

    Raises
    ------
    InputError
        If the limit is no size, or the folder cannot be made.
    """

    def __init__(self, folder: str | Path | None = None, *, limit_gb: float = LIMIT_GB) -> None:
        limit = number("limit_gb", limit_gb, "give a size above 0 (GB)", above=0)
        self.folder = default_folder() if folder is None else path_of("folder", folder)
        if folder is not None and not self.folder.is_dir():
            writable_folder(self.folder, "folder")
        self.limit = int(limit * 1e9)
        self.damaged = 0
        self.used: set[str] = set()

    def path(self, key: str) -> Path:
        """The file of a key.

        Returns
        -------
        Path
            Which need not exist.
        """
        return self.folder / f"{key}{SUFFIX}"

    def read(self, key: str) -> Shard | None:
        """The shard of `key`; None if there is none, or if its file is damaged (which `damaged` counts).

        Returns
        -------
        Shard or None

        Raises
        ------
        InputError
            If the file is there but cannot be read.
        """
        path = self.path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); remove it, or use another bank") from error
        found = _decode(content)
        if found is None or not found[0].keys() >= {"rows", "index"}:
            self.damaged += 1
            return None
        with contextlib.suppress(OSError):  # a folder may be read-only, and another process may have made room
            os.utime(path)  # so that the least recently used go first
        self.used.add(key)
        return Shard(found[0]["rows"], found[0]["index"], found[1]["cost"])

    def write(self, key: str, shard: Shard, *, parts: Iterable[str] = ()) -> int:
        """Store a shard and return its file's size in bytes; older ones make room if need be.

        One that is larger than the whole bank may be is not stored, and its size is returned as 0.

        Parameters
        ----------
        key : str
            Of the shard.
        shard : Shard
            What is to be stored.
        parts : iterable of str, optional
            Keys of the parts that `keep` has kept of it. They are removed once it is stored, so no other file makes room
            for them.

        Returns
        -------
        int
            In bytes.

        Raises
        ------
        WriteError
            If the disk is full, or the folder cannot be written.
        """
        content = _encode({"rows": shard.rows, "index": shard.index}, shard.cost)
        self.used.add(key)
        if len(content) > self.limit:
            return 0
        names = list(parts)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(len(content), {self.path(name + UNFINISHED) for name in names})
        except OSError as error:
            raise unwritable(self.path(key), error) from error
        write_bytes(self.path(key), content)
        for name in names:
            self.forget(name)
        return len(content)

    def lost(self) -> int:
        """How many of the shards that have been read or written through this object are not here any more.

        Returns
        -------
        int
            Those that made room for others, or were larger than the whole bank may be.
        """
        return sum(not self.path(key).is_file() for key in self.used)

    def keep(self, key: str, tensors: Mapping[str, NDArray[Any]], cost: Mapping[str, float], note: Any) -> bool:
        """Keep a part of a simulation that is under way, if there is room without removing anything.

        Parameters
        ----------
        key : str
            Names the part.
        tensors : mapping of str to ndarray
            Of float16, float32 or int32.
        cost : mapping of str to float
            What simulating it cost, see `cordstasks.frontend.histories.Cost`.
        note : object
            What else is to be known of it, as JSON has it.

        Returns
        -------
        bool
            Whether it was kept.

        Raises
        ------
        WriteError
            If the disk is full, or the folder cannot be written.
        """
        path = self.path(key + UNFINISHED)
        content = _encode(tensors, cost, note)
        if self.size() + len(content) > self.limit:
            return False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(path, error) from error
        write_bytes(path, content)
        return True

    def kept(self, key: str) -> tuple[dict[str, NDArray[Any]], Any] | None:
        """The tensors and the note of a part that `keep` has kept; None if there is none, or if its file is damaged.

        Returns
        -------
        tuple of dict of str to ndarray, and object, or None
            The arrays are read-only.
        """
        try:
            found = _decode(self.path(key + UNFINISHED).read_bytes())
        except OSError:
            return None
        return None if found is None else (found[0], found[1].get("note"))

    def forget(self, key: str) -> None:
        """Remove a part that `keep` has kept, if it is there and may be removed."""
        with contextlib.suppress(OSError):
            self.path(key + UNFINISHED).unlink()

    def files(self) -> list[Path]:
        """Every shard's file, least recently used first.

        Returns
        -------
        list of Path
        """
        return [path for _, path, _ in self.entries()]

    def size(self) -> int:
        """Bytes that all shards take.

        Returns
        -------
        int
            In bytes.
        """
        return sum(size for _, _, size in self.entries())

    def entries(self) -> list[tuple[float, Path, int]]:
        """When last used, path and size in bytes of every shard's file, least recently used first.

        Returns
        -------
        list of (float, Path, int)
            When last used is in seconds since 1970.
        """
        entries = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):  # another process removed it
                found = path.stat()
                if stat.S_ISREG(found.st_mode):  # a folder of such a name is not ours
                    entries.append((found.st_mtime, path, found.st_size))
        return sorted(entries)

    def strangers(self) -> list[Path]:
        """What has the name of a shard's file and is none, such as a folder; it is left alone.

        Returns
        -------
        list of Path
            In alphabetical order.
        """
        ours = {path for _, path, _ in self.entries()}
        return sorted(path for path in self.folder.glob(f"*{SUFFIX}") if path not in ours)

    def cost(self, path: Path) -> dict[str, float] | None:
        """What simulating a shard cost (`cordstasks.frontend.histories.Cost`); None if its file is damaged.

        Only the head is read, and trusted if its seal is whole; what follows is checked each time that the shard is read.

        Returns
        -------
        dict of str to float or None
            By the names of the attributes of `Cost`.
        """
        try:
            with path.open("rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                begin = stream.read(BEGIN)
                length = _head_length(begin)
                head = begin + stream.read(length - BEGIN) if length <= size else b""
        except OSError:
            return None
        about = _about(head, size)
        return None if about is None else about["cost"]

    def clear(self) -> int:
        """Remove every shard; returns the bytes freed.

        Returns
        -------
        int
            In bytes.

        Raises
        ------
        InputError
            If some could not be removed; all others were.
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

    def _make_room(self, wanted: int, replaced: set[Path]) -> None:
        self._tidy()
        entries = [entry for entry in self.entries() if entry[1] not in replaced]
        excess = sum(size for _, _, size in entries) + wanted - self.limit
        for _, path, size in entries:
            if excess <= 0:
                break
            path.unlink(missing_ok=True)
            excess -= size


def _encode(tensors: Mapping[str, NDArray[Any]], cost: Mapping[str, float], note: Any = None) -> bytes:
    import numpy as np
    from safetensors.numpy import save

    about = {"version": VERSION, "cost": dict(cost), "data": NO_DATA.decode(), "seal": NO_SEAL.decode()}
    if note is not None:
        about["note"] = note
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    content = save(arrays, metadata={ABOUT: json.dumps(about)})
    end = _head_length(content)
    data = memoryview(content)[end:]
    head = content[:end].replace(NO_DATA, _digest(data))
    return b"".join([head.replace(NO_SEAL, _digest(head)), data])


def _decode(content: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
    """The tensors of a file, and what it says of itself; None if it is not as it was written."""
    import numpy as np

    end = _head_length(content)
    about = _about(content[:end], len(content))
    if about is None or _digest(memoryview(content)[end:]) != about["data"].encode():
        return None
    return {  # not copied, as safetensors' own reader does
        name: np.ndarray(tensor["shape"], KINDS[tensor["dtype"]], content, end + tensor["data_offsets"][0])
        for name, tensor in about["tensors"].items()
    }, about


def _about(head: bytes, size: int) -> dict[str, Any] | None:
    """What the head of a file says in its metadata, and of its tensors.

    None if it, or the file's size in bytes, is not as it was written.
    """
    try:
        tensors = json.loads(head[BEGIN:])
        about: dict[str, Any] = json.loads(tensors.pop("__metadata__")[ABOUT]) | {"tensors": tensors}
        seal = about["seal"].encode()
        whole = _digest(head.replace(seal, NO_SEAL)) == seal and about["version"] == VERSION
        data = max(tensor["data_offsets"][1] for tensor in tensors.values())
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):  # what is damaged may say anything
        return None
    return about if whole and len(head) + data == size else None


def _head_length(content: bytes) -> int:
    """Bytes of a safetensors file before its tensors, of which the first eight say how many follow."""
    return BEGIN + int.from_bytes(content[:BEGIN], "little")


def _digest(content: bytes | memoryview) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
