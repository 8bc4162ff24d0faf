"""Commands, versions, weights, cache and devices of this installation, as a bug report needs them.

The answer is quick, and is given also where a package is missing or broken. PyTorch, which knows the devices, is therefore
asked in a process of its own.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cordstasks

__all__ = ["about", "commands", "devices", "versions"]

PATIENCE_SECONDS = 60.0  # the first import of PyTorch from a network drive takes long
VARIABLES = ("CORDSTASKS_CACHE", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PYTHONPATH")
# without an installation there is no list of requirements, and these are looked for
MAIN_PACKAGES = ("torch", "torchvision", "neurogym", "gymnasium", "numpy", "scipy", "matplotlib", "scikit-learn")

ASK_TORCH = """
import json, torch
found = {"version": torch.__version__, "threads": torch.get_num_threads(), "cuda": [], "mps": False}
if torch.cuda.is_available():
    found["cuda"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
found["mps"] = bool(getattr(torch.backends, "mps", None) and torch.backends.mps.is_available())
print(json.dumps(found))
"""


def commands() -> dict[str, str]:
    """The commands of this package, found by their modules' first line, without importing any.

    Returns
    -------
    dict of str to str
        What each is for, by its module's name, such as ``"cordstasks.train"``.
    """
    found = {}
    for folder in map(Path, cordstasks.__path__):
        for path in sorted([*folder.glob("*.py"), *folder.glob("*/__main__.py")]):
            name = path.parent.name if path.name == "__main__.py" else path.stem
            purpose = _purpose(path, f"cordstasks.{name}")
            if purpose is not None:
                found[f"cordstasks.{name}"] = purpose
    return dict(sorted(found.items()))


def _purpose(path: Path, module: str) -> str | None:
    """What a command is for, by its module's docstring; None if the module is no command."""
    try:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    except (OSError, ValueError, SyntaxError):
        return None
    first = " ".join(text.split("\n\n")[0].split())
    match = re.match(rf"``python -m {re.escape(module)}(?: [^`]*)?``[:,]? *(.*)", first)
    return None if match is None else match[1]


def versions() -> dict[str, str | None]:
    """The versions of the packages that cordstasks uses, from their metadata.

    Returns
    -------
    dict of str to str or None
        By package, those that are always needed first; None for one that is not installed.
    """
    try:
        required = importlib.metadata.requires("cordstasks") or []
    except importlib.metadata.PackageNotFoundError:
        required = list(MAIN_PACKAGES)
    names = []
    for optional in (False, True):
        for line in required:
            name = re.match(r"[A-Za-z0-9._-]+", line)
            if name is not None and ("extra ==" in line) == optional and name[0] != "cordstasks":
                names.append(name[0])
    return {name: _version(name) for name in dict.fromkeys(names) if name != "tomli" or sys.version_info < (3, 11)}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
    except Exception as error:  # metadata may be damaged in any way
        return f"damaged ({type(error).__name__})"


def devices() -> dict[str, Any]:
    """What PyTorch says of itself and of the devices, asked in another process.

    Returns
    -------
    dict
        ``"version"``, ``"threads"``, ``"cuda"`` (the names of the devices) and ``"mps"``; or ``"problem"`` alone, if
        PyTorch cannot be imported, with the reason.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", ASK_TORCH], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = "it took too long" if isinstance(error, subprocess.TimeoutExpired) else str(error)
        return {"problem": f"PyTorch was not asked: {reason}"}
    if done.returncode == 0:
        with contextlib.suppress(ValueError, IndexError):
            return dict(json.loads(done.stdout.splitlines()[-1]))
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return {"problem": f"PyTorch cannot be imported: {lines[-1][:300]}"}


def about() -> dict[str, Any]:
    """What a bug report needs to say of this installation.

    Returns
    -------
    dict
        JSON values: ``"cordstasks"``, ``"python"``, ``"platform"``, ``"processors"``, ``"location"``, ``"packages"``,
        ``"weights"``, ``"cache"``, ``"devices"`` and ``"variables"``, those environment variables that matter and are set.
    """
    return {
        "cordstasks": cordstasks.__version__,
        "location": str(Path(cordstasks.__file__).resolve().parent),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "packages": versions(),
        "weights": _weights(),
        "cache": _cache(),
        "devices": devices(),
        "variables": {name: os.environ[name] for name in VARIABLES if os.environ.get(name)},
    }


def _weights() -> dict[str, str]:
    """Where each set of weights is, by name."""
    try:
        from cordstasks.cordsnet.pretrained import PACKAGED_WEIGHTS, REGISTRY
        from cordstasks.utils.cache import cache_folder
    except Exception as error:  # a required package is missing or broken
        return {"problem": f"weights cannot be listed: {error}"}
    found = {}
    for name, entry in REGISTRY.items():
        path = (PACKAGED_WEIGHTS if entry.packaged else cache_folder()) / entry.file_name
        size = _size(path)
        if size is not None:
            found[name] = f"{'part of the package' if entry.packaged else 'downloaded'}, {size / 1e6:.1f} MB"
        else:
            found[name] = (
                "missing: install cordstasks again" if entry.packaged else "not downloaded (this is done on first use)"
            )
    return found


def _cache() -> dict[str, Any]:
    """The cache folder and what it holds."""
    try:
        from cordstasks.utils.cache import cache_folder

        folder = cache_folder()
    except Exception as error:  # a required package is missing or broken
        return {"problem": f"the cache cannot be found: {error}"}
    sizes = [size for path in folder.rglob("*") if (size := _size(path)) is not None] if folder.is_dir() else []
    return {"folder": str(folder), "files": len(sizes), "megabytes": round(sum(sizes) / 1e6, 1)}


def _size(path: Path) -> int | None:
    """The size of a file in bytes; None if there is none."""
    with contextlib.suppress(OSError):
        if path.is_file():
            return path.stat().st_size
    return None
