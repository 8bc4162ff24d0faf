"""Memory that is kept: pages that were mapped once are used again while it is, and no longer than that."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import Any

import pytest

from cordstasks.utils import allocation
from cordstasks.utils.allocation import kept_memory
from helpers import ROOT

SCRIPT = """
import resource
import numpy as np
from cordstasks.utils.allocation import kept_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(1_000_000 * k) for k in (1, 2, 3, 5)]
    del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

faults()
usual = faults()
with kept_memory():
    faults()
    kept, held = faults(), resident()
print(usual, kept, held - resident())
"""

needs_glibc = pytest.mark.skipif(allocation._glibc() is None, reason="the C library is not glibc")


@needs_glibc
def test_pages_are_mapped_once():
    """In a process of its own, whose memory nobody else has changed; 88 MB are allocated and freed."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True)
    usual, kept, given_back = (int(word) for word in done.stdout.split())
    assert usual > 100  # few if pages are huge
    assert kept < usual / 10
    assert given_back > 40e6


@needs_glibc
def test_an_error_ends_it_too(monkeypatch: pytest.MonkeyPatch):
    calls: list[tuple[Any, ...]] = []

    class Library:
        def mallopt(self, *given: int) -> None:
            calls.append(given)

        def malloc_trim(self, pad: int) -> None:
            calls.append(("trim", pad))

    monkeypatch.setattr(allocation, "_glibc", Library)

    def fail() -> None:
        with kept_memory():
            calls.append(("inside",))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert calls.index(("inside",)) == 2
    assert len(calls) == 7
    assert calls[-1] == ("trim", 0)


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(allocation, "_glibc", lambda: None)
    with kept_memory():
        assert resource.getpagesize() > 0
