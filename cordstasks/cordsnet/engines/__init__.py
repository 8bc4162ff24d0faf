"""How the frozen simulator convolves: one small seam between its equations and what each device does fastest.

`Portable` is the reference and runs on every device. `Packed` keeps the weights in oneDNN's own layout on CPUs and adds
and rectifies inside the convolution. `Fast` takes whole steps on CPUs with fewer multiplications, where numba is installed.
`Cuda` multiplies in TF32 or bfloat16 and replays whole steps as a CUDA graph; the
state stays float32 everywhere.
"""

from __future__ import annotations

import torch

from cordstasks.cordsnet.engines.cuda import Cuda
from cordstasks.cordsnet.engines.fast.engine import Fast
from cordstasks.cordsnet.engines.packed import Packed
from cordstasks.cordsnet.engines.portable import Convolution, Portable, Repeat, Step, Weights
from cordstasks.errors import InputError, unknown

__all__ = ["PRECISIONS", "Convolution", "Cuda", "Fast", "Packed", "Portable", "Repeat", "Step", "Weights", "engine_for"]

PRECISIONS = ("float32", "tf32", "bfloat16")


def engine_for(device: torch.device, precision: str | None = None) -> Portable:
    """The fastest engine for `device`; `precision` is that of the products (default float32, on CUDA TF32).

    Returns
    -------
    Portable
        Or one of its subclasses.

    Raises
    ------
    InputError
        If the precision is not known, or the device does not have it.
    """
    if precision is not None and precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if device.type == "cuda":
        return Cuda(precision or "tf32")
    if precision == "tf32":
        raise InputError(f"precision='tf32': only CUDA devices have it, not {device}; choose float32 or bfloat16")
    precision = precision or "float32"
    if device.type == "cpu" and Packed.available(precision):
        if precision == "float32" and Fast.installed():
            return Fast()
        return Packed(precision)
    return Portable(precision)
