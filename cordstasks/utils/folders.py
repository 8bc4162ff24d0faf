"""Folders of runs: one per run, also if several start together; one writing process per folder; the last unfinished."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import socket
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from cordstasks.errors import InputError
from cordstasks.utils.files import no_writing, writable_folder

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["family_of", "finished", "locked", "new_folder", "recorded_device", "results_folder", "unfinished_folder"]

LOCK = ".lock"
TRAINED = ("visual", "abstract")  # families of runs of `cordstasks.train`
LOCKED_BYTE = 1 << 30  # far beyond the file's content, since a locked byte cannot be read on Windows
# the system's errors if another process has the lock, and if the file system has no locks
TAKEN = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


def new_folder(task: str, parent: Path = Path("runs")) -> Path:
    """Make the first free folder of parent/<task>-001, -002, ...; no two processes get the same one.

    Raises
    ------
    WriteError
        If no folder can be made there.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            path = parent / f"{task}-{number:03d}"
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                break
    except OSError as error:
        raise no_writing(parent, "parent", error) from error
    return path


def unfinished_folder(task: str | None = None, parent: Path = Path("runs")) -> Path:
    """The unfinished run, of `task` or of any task, in whose folder a file was written last.

    Raises
    ------
    InputError
        If there is none.
    """
    found = []
    for path in parent.iterdir() if parent.is_dir() else ():
        asked = family_of(path) in TRAINED if task is None else re.fullmatch(rf"{re.escape(task)}-\d+", path.name)
        if asked and (path / "config.json").exists() and not (path / "summary.json").exists():
            found.append((max(file.stat().st_mtime_ns for file in path.glob("[!.]*")), path))
    if not found:
        of = "" if task is None else f" of task {task}"
        raise InputError(f"resume=True: {parent}/ holds no unfinished run{of}; name the run's folder with out=FOLDER")
    return max(found)[1]


def results_folder(folder: str | os.PathLike[str], argument: str) -> Path:
    """Make a folder for the results of a command that has no run folder of its own.

    Raises
    ------
    InputError
        If it cannot be written, or holds a run, whose summary and figures must not be replaced.
    """
    path = Path(folder)
    if (path / "config.json").exists():
        raise InputError(f"{argument}={path}: holds a run, whose summary would be replaced; choose another folder")
    return writable_folder(path, argument)


def family_of(folder: Path) -> str | None:
    """The family of the run in a folder, such as ``"visual"`` or ``"abstract"``; None if there is no run."""
    try:
        family = json.loads((folder / "config.json").read_text())["family"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return family if isinstance(family, str) else None


def finished(folder: Path) -> bool:
    """Whether a folder holds a finished run."""
    return (folder / "config.json").is_file() and (folder / "summary.json").is_file()


def recorded_device(folder: Path) -> str | None:
    """The kind of device on which the run in a folder was begun, such as ``"cuda"``; None if none is recorded."""
    try:
        device = json.loads((folder / "config.json").read_text())["environment"]["device"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(device, str):
        return None
    kind = device.split(":")[0]
    return kind if kind in ("cpu", "mps") else "cuda"  # of which the model is recorded


@contextlib.contextmanager
def locked(folder: Path, argument: str) -> Iterator[None]:
    """Prevent other processes from writing in `folder` until the block ends; the folder is made if it does not exist.

    The lock belongs to the operating system, so it ends with the process in all cases. On a file system without locks
    (some network drives) the folder is not locked.

    Parameters
    ----------
    folder : Path
        The folder to write in.
    argument : str
        The parameter that gave it, for messages.

    Raises
    ------
    InputError
        If another process writes there; the message names it.
    WriteError
        If the folder cannot be made or written.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _opened(path)
    except OSError as error:
        raise no_writing(folder, argument, error) from error
    if descriptor is None:
        raise InputError(f"{argument}={folder}: {_holder(path)} is writing there; wait for its end, or use another folder")
    try:
        with contextlib.suppress(OSError):  # the lock also works on a full disk
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()} {socket.gethostname()}".encode())
        yield
    finally:
        # Windows cannot remove an open file; other systems must remove it before another process can lock it
        if sys.platform == "win32":
            os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
        if sys.platform != "win32":
            os.close(descriptor)


def _opened(path: Path) -> int | None:
    """A descriptor of the lock file, locked; None if another process has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(descriptor):
                os.close(descriptor)
                return None
            # the previous owner of the lock removes the file, perhaps after we opened it and before we lock it
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock a file without waiting; False if another process has it."""
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            return False
        if error.errno not in UNSUPPORTED:
            raise
    return True


def _holder(path: Path) -> str:
    """A description of the process that has a lock."""
    try:
        number, host = path.read_text().split()
    except (OSError, ValueError):  # it has not written its number, or the disk is full
        return "another process"
    return f"process {number}" if host == socket.gethostname() else f"process {number} on {host}"
