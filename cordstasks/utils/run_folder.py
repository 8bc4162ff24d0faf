"""Run folders: everything a run needs to be understood, repeated and continued."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from cordstasks import __version__
from cordstasks.errors import InputError, Note, naming
from cordstasks.utils.files import Log, read_json, writable_folder, write_json
from cordstasks.utils.folders import locked, new_folder, unfinished_folder
from cordstasks.utils.settings import Settings
from cordstasks.utils.states import read_state, save_state

__all__ = ["RunFolder", "environment", "new_folder", "note_differences", "unfinished_folder"]


class RunFolder:
    """One folder per run: config.json, metrics.jsonl, checkpoint.pt, best.pt, summary.json and figures.

    Reading needs no permission to write. A process that writes holds the folder with `lock`.

    Parameters
    ----------
    path : Path
        The folder.
    numbered : bool
        Give the run a new folder: `path` with the first number that is free at the beginning of the run, -001, -002, ...
    """

    def __init__(self, path: Path, *, numbered: bool = False) -> None:
        self._place(path)
        self._numbered, self._held = numbered, False

    def _place(self, path: Path) -> None:
        self.path = path
        self.log = Log(path / "metrics.jsonl")

    @property
    def begun(self) -> bool:
        """Whether the folder holds a run."""
        return not self._numbered and (self.path / "config.json").exists()

    @property
    def finished(self) -> bool:
        """Whether the run is finished."""
        return (self.path / "summary.json").exists()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Prevent other processes from writing this run until the block ends; a folder that stays empty is removed.

        Raises
        ------
        InputError
            If another process writes the run; the message names it.
        WriteError
            If the folder cannot be made or written.
        """
        if self._held:
            yield
            return
        fresh = self._numbered or not self.path.exists()
        if self._numbered:
            with naming({"parent=": "path="}):
                self._place(new_folder(self.path.name, self.path.parent))
            self._numbered = False
        try:
            with locked(self.path, "path"):
                self._held = True
                yield
        finally:
            self._held = False
            if fresh:
                with contextlib.suppress(OSError):  # it holds files
                    self.path.rmdir()

    def check_free(self) -> None:
        """Raise an InputError if the folder holds a run."""
        if self.begun:
            raise InputError(f"path={self.path}: holds another run; choose another folder, or continue it with resume=True")

    def start(self, settings: Settings, **more: Any) -> None:
        """Begin a run in a folder that holds no run yet.

        Parameters
        ----------
        settings : Settings
            Everything that determines the run, from which it can be repeated.
        **more
            What else config.json is to hold, such as the environment.

        Raises
        ------
        InputError
            If the folder cannot be written, or holds another run.
        """
        self.check_free()
        writable_folder(self.path, "path")
        write_json(self.path / "config.json", {"family": settings.FAMILY, **settings.as_dict(), **more})

    def begin(self, settings: Settings, **more: Any) -> None:
        """Start a run, or check that the folder holds one with the same settings, which is then continued.

        Parameters
        ----------
        settings : Settings
            Everything that determines the run.
        **more
            What else config.json is to hold. All of it but the ``environment`` must be the same when a run is continued.

        Raises
        ------
        InputError
            If the folder holds another run, or one with other settings, or cannot be written.
        """
        if not self.begun:
            self.start(settings, **more)
            return
        config = self.config()
        if config.get("family") != settings.FAMILY:
            raise InputError(f"path={self.path}: holds another run; choose another folder")
        settings.from_dict(config, str(self.path / "config.json")).agree(
            settings.as_dict(), self.path, instead="give the same"
        )
        for name, value in more.items():
            if name != "environment" and config.get(name) != value:
                raise InputError(f"{name}={value}: the run in {self.path} has {config.get(name)}; use another folder")
        self.tidy()

    def config(self) -> dict[str, Any]:
        """The settings of the run in the folder."""
        if not (self.path / "config.json").exists():
            raise InputError(f"path={self.path}: holds no run (no config.json); name the folder of a run")
        value = read_json(self.path / "config.json")
        if not isinstance(value, dict):
            raise InputError(f"{self.path}/config.json: holds no settings of a run (a JSON object); choose another folder")
        return value

    def tidy(self) -> None:
        """Remove the files that a run was writing when it was killed."""
        for path in self.path.glob(".*.part"):
            path.unlink(missing_ok=True)

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Write a checkpoint, replacing an older one in one step.

        Raises
        ------
        WriteError
            If the disk is full, or the folder cannot be written; the older one is then still there.
        """
        save_state(self.path / name, dict(state))

    def load(self, name: str, device: torch.device) -> dict[str, Any] | None:
        """Read a checkpoint; None if there is none yet."""
        state: dict[str, Any] | None = read_state(self.path / name, device)
        return state


def environment(device: torch.device) -> dict[str, Any]:
    """What results may depend on in addition to the settings."""
    import numpy

    return {
        "cordstasks": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": _version("torchvision"),
        "numpy": numpy.__version__,
        "numba": _version("numba"),  # with it, networks and front-end run in other code
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "threads": torch.get_num_threads(),
    }


def _version(package: str) -> str | None:
    """The version of a package that need not be loaded, which would take longer than all the rest for torchvision."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def note_differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Print a note if a resumed run cannot be identical, bit for bit, to an uninterrupted run.

    Parameters
    ----------
    then, now : mapping
        From `environment`, when the run was begun and now.
    """
    then = then if isinstance(then, Mapping) else {}  # config.json may have been edited
    for name in ("device", "threads", "torch", *({"numba"} & set(then))):  # runs of earlier versions say nothing of numba
        if then.get(name) != now[name]:
            warnings.warn(
                f"begun with {name} {then.get(name)}, continued with {now[name]}: results may differ in the last bits",
                Note,
                stacklevel=3,
            )
