"""What the benchmarks have in common: the line about the machine, and numbers for the table of ``benchmarks/all.py``."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["TABLE", "machine_line", "machine_text", "note_number", "processor"]

TABLE = "CORDSTASKS_MEASURED"  # environment variable: the file to which numbers are appended, if it is set


def processor() -> dict[str, Any]:
    """The processor, and how PyTorch uses it.

    Returns
    -------
    dict of str to object
        ``"processor"``: its name; ``"capability"``: the widest instructions that PyTorch's own loops use, such as
        ``"AVX512"``; ``"threads"`` of PyTorch; and ``"torch"``, its version.
    """
    import torch

    return {
        "processor": _model(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _model() -> str:
    """The processor's name, as the system has it."""
    try:
        if sys.platform == "darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except (OSError, subprocess.SubprocessError):
        pass
    return platform.processor() or platform.machine() or "unknown processor"


def machine_line() -> str:
    """One line about the machine, for the head of what a benchmark prints.

    Returns
    -------
    str
        Such as ``"machine: AMD EPYC 9B14, AVX512, 2 threads, torch 2.14.0, load 0.3"``.
    """
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"machine: {machine_text()}{load}"


def machine_text() -> str:
    """The processor and how PyTorch uses it, in words, to be stored with a result.

    Returns
    -------
    str
        Such as ``"AMD EPYC 9B14, AVX512, 2 threads, torch 2.14.0"``.
    """
    found = processor()
    threads = f"{found['threads']} thread{'' if found['threads'] == 1 else 's'}"
    return f"{found['processor']}, {found['capability']}, {threads}, torch {found['torch']}"


def note_number(what: str, value: float, unit: str, *, ratio: float | None = None, beside: str | None = None) -> None:
    """Add a number to the table of ``benchmarks/all.py``; without that command, do nothing.

    Parameters
    ----------
    what : str
        What was measured.
    value : float
    unit : str
        Such as ``"ms per step"``.
    ratio : float, optional
        How many times better than something else that was measured in the same run.
    beside : str, optional
        What that is.
    """
    table = os.environ.get(TABLE)
    if not table:
        return
    row = {"what": what, "value": value, "unit": unit, "ratio": ratio, "beside": beside, **processor()}
    with Path(table).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")
