"""Processes that work has left waiting."""

from __future__ import annotations

import os
import time

import joblib

from cordstasks.utils.parallel import end_processes


def busy(seconds: float) -> int:
    """Use the processor for so long; the number of the process."""
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass
    return os.getpid()


def test_ended_processes_count_and_others_are_started_when_they_are_needed() -> None:
    end_processes()
    before = os.times()
    first = set(joblib.Parallel(n_jobs=2)(joblib.delayed(busy)(0.4) for _ in range(2)))
    waiting = os.times()
    assert waiting.children_user - before.children_user < 0.4  # they wait for more work
    end_processes()
    assert os.times().children_user - before.children_user > 0.7
    end_processes()  # there is nothing to end
    second = set(joblib.Parallel(n_jobs=2)(joblib.delayed(busy)(0.01) for _ in range(2)))
    assert os.getpid() not in first | second and not first & second
