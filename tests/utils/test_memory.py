"""Peak memory: units of each system, and that what a process takes is seen."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

from cordstasks.utils import memory as module
from cordstasks.utils.memory import memory, memory_text, peak_megabytes


def pretend(monkeypatch: pytest.MonkeyPatch, platform: str, maxrss: int) -> None:
    fake = types.SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: types.SimpleNamespace(ru_maxrss=maxrss))
    monkeypatch.setitem(sys.modules, "resource", fake)  # type: ignore[arg-type]
    monkeypatch.setattr(module.sys, "platform", platform)
    monkeypatch.setattr(module, "STATUS", Path("/nowhere/status"))


def test_units_differ_between_systems(monkeypatch: pytest.MonkeyPatch):
    pretend(monkeypatch, "linux", 500_000)
    assert peak_megabytes() == 512.0
    pretend(monkeypatch, "darwin", 500_000_000)
    assert peak_megabytes() == 500.0


def test_linux_has_a_number_of_this_program_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pretend(monkeypatch, "linux", 500_000)
    (tmp_path / "status").write_text("Name:\tpython\nVmPeak:\t 9999 kB\nVmHWM:\t  250000 kB\nThreads:\t1\n")
    monkeypatch.setattr(module, "STATUS", tmp_path / "status")
    assert peak_megabytes() == 256.0
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\n")
    assert peak_megabytes() == 512.0


def test_a_system_that_does_not_say(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "STATUS", Path("/nowhere/status"))
    monkeypatch.setitem(sys.modules, "resource", None)  # type: ignore[arg-type]
    assert peak_megabytes() is None
    assert memory()["peak_mb"] is None
    assert memory_text(memory()) is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say")
def test_what_is_taken_is_seen():
    program = """
from cordstasks.utils.memory import peak_megabytes
before = peak_megabytes()
taken = bytearray(200_000_000)
for place in range(0, len(taken), 1000):
    taken[place] = 1
del taken
print(peak_megabytes() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 190 < float(done.stdout) < 240


def test_the_line():
    assert memory_text({"peak_mb": 512.4, "what": "x"}) == ("peak memory: 512 MB (largest resident set of the process)")
    assert memory_text({"peak_mb": 512.4, "peak_cuda_mb": 90.6}) == (
        "peak memory: 512 MB (largest resident set of the process), 91 MB on the GPU"
    )
    for nothing in (None, {}, [], "512"):
        assert memory_text(nothing) is None
    assert "peak_cuda_mb" not in memory(torch.device("cpu"))
