"""The main command is killed and stopped, and goes on as if it had not been."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cordstasks import train
from cordstasks.runs import visual as experiment
from cordstasks.utils.run_folder import RunFolder
from helpers import (
    ROOT,
    assert_same_run,
    output_of,
    read,
    small_run,
)

# The command as the shell starts it, but for saving often, and hearing SIGINT even where the shell
# that runs the tests has it ignored.
STARTED = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from cordstasks.training import visual
visual.train.__kwdefaults__["save_seconds"] = 0.02
runpy.run_module("cordstasks.train", run_name="__main__", alter_sys=True)
"""


class Job:
    """A run in a process of its own, resumed if its folder holds one."""

    def __init__(self, place: Path, out: Path, *more: str) -> None:
        resume = ["--resume"] if (out / "config.json").exists() else []
        words = small_run(place, "--out", str(out), "--patience", "1000000", *more, *resume)
        self.log = out / "metrics.jsonl"
        self.process = subprocess.Popen(
            [sys.executable, "-c", STARTED, *words],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def rows(self) -> int:
        """Evaluations that are in the log."""
        return len(self.log.read_bytes().splitlines()) if self.log.exists() else 0

    def wait_for(self, rows: int) -> None:
        """Return once the log holds so many rows; the run must not come to its end before."""
        while self.rows() < rows:
            assert self.process.poll() is None, self.process.communicate()[1]
            time.sleep(0.005)

    def end(self, sent: signal.Signals | None = None) -> str:
        """What it wrote on standard error, after `sent` is sent to it."""
        if sent is not None:
            self.process.send_signal(sent)
        _, err = self.process.communicate(timeout=300)
        return err


def last_line(err: str) -> str:
    return err.splitlines()[-1].rpartition("\r")[2]


class TestStopping:
    STEPS = "800"  # sixteen evaluations

    def test_killed_and_stopped_runs_end_as_the_uninterrupted_one(self, place: Path, tmp_path: Path):
        more = ("--steps", self.STEPS)
        whole, broken = tmp_path / "whole", tmp_path / "broken"
        assert Job(place, whole, *more).end() is not None
        job = Job(place, broken, *more)
        job.wait_for(2)
        job.end(signal.SIGKILL)
        assert job.process.returncode == -signal.SIGKILL
        job = Job(place, broken, *more)
        job.wait_for(6)
        err = job.end(signal.SIGINT)
        assert job.process.returncode == 130, err
        assert "Traceback" not in err
        assert last_line(err) == f"stopped; this continues: python -m cordstasks.train --resume --out {broken}"
        job = Job(place, broken, *more)
        job.wait_for(11)
        job.end(signal.SIGKILL)
        assert not (broken / "summary.json").exists()
        err = (job := Job(place, broken, *more)).end()
        assert job.process.returncode == 0, err
        assert_same_run(whole, broken)
        assert len(RunFolder(broken).log.read()) == 32
        for part in ("heldout", "controls", "tuning"):
            assert read(whole)[part] == read(broken)[part]

    @pytest.mark.slow
    def test_killed_at_ten_random_moments(self, place: Path, tmp_path: Path):
        """At any moment: while it is starting, simulating, training or reporting."""
        more = ("--steps", "2000", "--no-bank")
        whole, broken = tmp_path / "whole", tmp_path / "broken"
        began = time.monotonic()
        Job(place, whole, *more).end()
        duration = time.monotonic() - began
        moments, kills = random.Random(11), 0
        while kills < 10:
            job = Job(place, broken, *more)
            if kills % 2:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    job.process.wait(moments.uniform(0, duration))
            else:
                job.wait_for(min(job.rows() + moments.randint(1, 4), 38))
                time.sleep(moments.uniform(0, 0.05))
            job.end(signal.SIGKILL)
            if job.process.returncode == 0:  # it came to its end first; only the last moments of a run remain to be hit
                (broken / "summary.json").unlink()
                continue
            kills += 1
        err = (job := Job(place, broken, *more)).end()
        assert job.process.returncode == 0, err
        assert_same_run(whole, broken)
        assert not list(broken.glob(".*"))

    def test_ctrl_c_before_a_run_has_begun(self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        def interrupt(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(experiment, "FrontEnd", interrupt)
        code, out, err = output_of(train.main, *small_run(place, "--out", str(tmp_path / "run")))
        assert (code, out, err.strip()) == (130, "", "stopped")
        assert not (tmp_path / "run").exists()
