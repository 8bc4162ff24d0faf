"""How much memory a process has taken."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

__all__ = ["memory", "memory_text", "peak_megabytes"]

STATUS = Path("/proc/self/status")
WHAT = "largest resident set of the process since it was started, in MB (10^6 bytes)"


def peak_megabytes() -> float | None:
    """The largest resident set (memory that is really in use) of this process so far.

    Returns
    -------
    float or None
        In MB of 10^6 bytes; None on systems that do not say, such as Windows.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        # on Linux, where the number below also counts what the process was before it became this program
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on Linux and other systems
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def memory(device: Any = None) -> dict[str, Any]:
    """What a run's summary says of memory.

    Parameters
    ----------
    device : torch.device, optional
        Where the run was carried out.

    Returns
    -------
    dict of str to object
        ``"peak_mb"`` (see `peak_megabytes`), ``"what"`` in words, and on CUDA ``"peak_cuda_mb"``: the most that PyTorch has
        held on the device at once.
    """
    found: dict[str, Any] = {"peak_mb": peak_megabytes(), "what": WHAT}
    if device is not None and device.type == "cuda":
        import torch

        found["peak_cuda_mb"] = torch.cuda.max_memory_allocated(device) / 1e6
    return found


def memory_text(found: Any) -> str | None:
    """The line about memory that a command prints.

    Parameters
    ----------
    found : mapping or None
        From `memory`; a summary of an older version has none.

    Returns
    -------
    str or None
        None if nothing is known.
    """
    if not isinstance(found, dict) or found.get("peak_mb") is None:
        return None
    device = f", {found['peak_cuda_mb']:.0f} MB on the GPU" if "peak_cuda_mb" in found else ""
    return f"peak memory: {found['peak_mb']:.0f} MB (largest resident set of the process){device}"
