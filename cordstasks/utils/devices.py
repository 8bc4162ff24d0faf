"""Devices on which to compute."""

from __future__ import annotations

import torch

from cordstasks.errors import InputError, unknown

DEVICES = ("auto", "cpu", "cuda", "mps")


def resolve(name: str) -> torch.device:
    """The device with this name; ``"auto"`` is CUDA if available, otherwise the CPU.

    Raises
    ------
    InputError
        If the device is unknown, or this machine does not have it.
    """
    kind = name.split(":")[0] if isinstance(name, str) else ""
    if kind not in DEVICES:
        raise unknown("device", name, DEVICES)
    if kind == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {name!r}: this machine has no CUDA device that torch can use; choose cpu or auto")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device {name!r}: this machine has no MPS device; choose cpu or auto")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        what = str(error).splitlines()[0]
        raise InputError(f"device {name!r}: not a device ({what}); choose one of {', '.join(DEVICES)}") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device {name!r}: this machine has {torch.cuda.device_count()} CUDA devices; their numbers begin at 0"
        )
    return device


def one_pass(device: torch.device) -> bool:
    """Whether PyTorch's optimisers change weights on this device in one pass over weights and moments (``fused``), not ten.

    Parameters
    ----------
    device : torch.device
        Where the weights are.

    Returns
    -------
    bool
    """
    return device.type in ("cpu", "cuda")
