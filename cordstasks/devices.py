"""Where to compute."""

from __future__ import annotations

import torch

from cordstasks.errors import InputError, unknown

DEVICES = ("auto", "cpu", "cuda", "mps")


def resolve(name: str) -> torch.device:
    """The device of that name; ``"auto"`` is CUDA if there is one, else the CPU.

    Raises
    ------
    InputError : an unknown device, or one that this machine does not have.
    """
    kind = name.split(":")[0]
    if kind not in DEVICES:
        raise unknown("device", name, DEVICES)
    if kind == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {name!r}: this machine has no CUDA device that torch can use; choose cpu or auto")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device {name!r}: this machine has no MPS device; choose cpu or auto")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device {name!r}: not a device ({error}); choose one of {', '.join(DEVICES)}") from error
