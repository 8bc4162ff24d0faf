"""Run folders: everything a run needs to be understood, repeated and continued."""

from __future__ import annotations

import contextlib
import platform
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from cordstasks import __version__
from cordstasks.errors import InputError
from cordstasks.files import Log, atomic, read_json, writable_folder, write_json

__all__ = ["RunFolder", "check_moments", "environment", "new_folder", "restore_optimiser", "restoring", "unfinished_folder"]


class RunFolder:
    """One folder a run: config.json, metrics.jsonl, checkpoint.pt, best.pt, summary.json and figures."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = Log(path / "metrics.jsonl")

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return (self.path / "summary.json").exists()

    def start(self, config: Mapping[str, Any]) -> None:
        """Begin a run in a folder that holds none yet.

        Raises
        ------
        InputError : the folder cannot be written, or holds another run.
        """
        if (self.path / "config.json").exists():
            raise InputError(f"--out {self.path}: holds another run; choose another folder, or continue it with --resume")
        writable_folder(self.path, "--out")
        write_json(self.path / "config.json", dict(config))

    def config(self) -> dict[str, Any]:
        """The settings of the run that the folder holds."""
        if not (self.path / "config.json").exists():
            raise InputError(f"--resume: {self.path} holds no run (no config.json); start one without --resume")
        writable_folder(self.path, "--out")
        value = read_json(self.path / "config.json")
        if not isinstance(value, dict):
            raise InputError(f"{self.path}/config.json: holds no settings of a run (a JSON object); choose another folder")
        return value

    def tidy(self) -> None:
        """Remove the files that a run was writing when it was killed."""
        for path in self.path.glob(".*.part"):
            path.unlink(missing_ok=True)

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Write a checkpoint, replacing an older one in one step."""
        try:
            with atomic(self.path / name) as temporary:
                torch.save(dict(state), temporary)
        except OSError as error:
            raise InputError(f"--out {self.path}: cannot write {name} ({error.strerror})") from error

    def load(self, name: str, device: torch.device) -> dict[str, Any] | None:
        """Read a checkpoint; None if there is none yet."""
        state: dict[str, Any] | None = read_state(self.path / name, device)
        return state


def read_state(path: Path, device: torch.device) -> Any:
    """What a checkpoint holds; None if there is none yet, and an InputError that names it if it is damaged."""
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:  # torch reads a tensor whose checksum is wrong as if nothing were amiss
                raise zipfile.BadZipFile
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # what is damaged may fail in any way
        raise InputError(f"{path}: damaged, or not a checkpoint of a run; remove it to start afresh") from error


@contextlib.contextmanager
def restoring(path: Path, fix: str = "remove it to start afresh") -> Iterator[None]:
    """While what a file of a run holds is put to use: what is missing or does not fit is an InputError that names it."""
    try:
        yield
    except InputError:
        raise
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
        raise InputError(f"{path}: does not hold what this run needs ({reason}); {fix}") from error


def restore_optimiser(optimiser: torch.optim.Optimizer, state: Any) -> None:
    """Let an Adam of the same settings go on from its `state`; what does not fit is an error here, not at its next step."""

    def settings() -> list[dict[str, Any]]:
        return [{k: v for k, v in group.items() if k not in ("params", "lr")} for group in optimiser.param_groups]

    before = settings()
    optimiser.load_state_dict(state)
    if settings() != before:
        raise ValueError("its optimiser has other settings")
    check_moments(optimiser)


def check_moments(optimiser: torch.optim.Optimizer) -> None:
    """Raise an error unless an Adam has both moments of each parameter that it has met, in the parameter's shape."""
    for parameter, kept in optimiser.state.items():
        for name in ("exp_avg", "exp_avg_sq"):
            if kept[name].shape != parameter.shape:
                raise ValueError(f"{name} of shape {tuple(kept[name].shape)} for a parameter of {tuple(parameter.shape)}")
        float(kept["step"])


def new_folder(task: str, parent: Path = Path("runs")) -> Path:
    """The first free folder runs/<task>-001, -002, ..."""
    number = 1
    while (parent / f"{task}-{number:03d}").exists():
        number += 1
    return parent / f"{task}-{number:03d}"


def unfinished_folder(task: str, parent: Path = Path("runs")) -> Path:
    """The last folder of `task` whose run has not come to its end."""
    for path in sorted(parent.glob(f"{task}-*"), reverse=True):
        if (path / "config.json").exists() and not RunFolder(path).finished:
            return path
    raise InputError(f"--resume: {parent}/ holds no unfinished run of task {task}; name the run's folder with --out")


def environment(device: torch.device) -> dict[str, Any]:
    """What results may depend on beside the settings."""
    import numpy
    import torchvision

    return {
        "cordstasks": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": numpy.__version__,
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "threads": torch.get_num_threads(),
    }
