"""Checkpoints of a run: written completely or not at all, read as plain data, loaded with errors that name the file."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from cordstasks.errors import InputError
from cordstasks.utils.files import write_bytes

__all__ = ["check_moments", "read_state", "restore_optimiser", "restoring", "save_state"]

COMPUTED = ("fused", "foreach")  # how an optimiser computes, of what it calls its settings


def save_state(path: Path, state: Any) -> None:
    """Write tensors and plain values as `torch.save` does, atomically.

    Raises
    ------
    WriteError
        If the disk is full, or the folder cannot be written.
    """
    content = io.BytesIO()
    torch.save(state, content)  # into memory, since torch's own writing to a file does not report why it fails
    write_bytes(path, content.getbuffer())


def read_state(path: Path, device: torch.device) -> Any:
    """The content of a checkpoint; None if there is no file yet, and an InputError that names the file if it is damaged."""
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:  # torch reads a tensor with a wrong checksum without an error
                raise zipfile.BadZipFile
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # damaged files may raise any error
        raise InputError(f"{path}: damaged, or not a checkpoint of a run; remove it to start afresh") from error


@contextlib.contextmanager
def restoring(path: Path, fix: str = "remove it to start afresh") -> Iterator[None]:
    """While the content of a file is loaded: missing or unsuitable content is an InputError that names the file."""
    try:
        yield
    except InputError:
        raise
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
        raise InputError(f"{path}: does not hold what this run needs ({reason}); {fix}") from error


def restore_optimiser(optimiser: torch.optim.Optimizer, state: Any) -> None:
    """Restore an Adam of the same settings from its `state`; a state that does not fit is an error now, not later.

    How the optimiser computes is no setting: it stays as it is, so that a state of another device or version can go on.
    """

    def settings() -> list[dict[str, Any]]:
        return [{k: v for k, v in group.items() if k not in ("params", "lr")} for group in optimiser.param_groups]

    before = settings()
    optimiser.load_state_dict(computed_as_before(optimiser, state))
    if settings() != before:
        raise ValueError("its optimiser has other settings")
    check_moments(optimiser)


def computed_as_before(optimiser: torch.optim.Optimizer, state: Any) -> dict[str, Any]:
    """A state, of another device or version, with which an optimiser goes on computing as it does now.

    Parameters
    ----------
    optimiser : torch.optim.Optimizer
        It stays as it is.
    state : mapping
        What an optimiser's `state_dict` has returned.

    Returns
    -------
    dict of str to object
        For `load_state_dict`.
    """
    how = [{name: group[name] for name in COMPUTED if name in group} for group in optimiser.param_groups]
    groups = [{**group, **kept} for group, kept in zip(state["param_groups"], how, strict=True)]
    return {**state, "param_groups": groups}


def check_moments(optimiser: torch.optim.Optimizer) -> None:
    """Raise an error unless an Adam has both moments of each updated parameter, in the parameter's shape."""
    for parameter, kept in optimiser.state.items():
        for name in ("exp_avg", "exp_avg_sq"):
            if kept[name].shape != parameter.shape:
                raise ValueError(f"{name} of shape {tuple(kept[name].shape)} for a parameter of {tuple(parameter.shape)}")
        float(kept["step"])
