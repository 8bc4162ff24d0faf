"""The comparison of dynamics within the comparison of architectures."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from cordstasks import compare
from cordstasks.experiments import comparison
from helpers import refused


def test_a_missing_package_is_found_before_any_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "DSA", None)
    line = refused(compare.main, "--dsa", "--tasks", "perceptual-dm", "--seeds", "0:2", "--out", tmp_path / "out")
    assert "needs the package dsa-metric" in line and "pip install 'cordstasks[dsa]'" in line
    assert not (tmp_path / "out").exists()


def test_table_of_distances_between_dynamics(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("DSA")
    rng = np.random.default_rng(0)
    activities = []
    for angle in (0.3, 0.32, 0.9, 0.93):
        turn = 0.95 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        states = [rng.normal(size=(11, 2))]
        for _ in range(24):
            states.append(states[-1] @ turn.T)
        activities.append(np.stack(states, axis=1))
    rows = comparison._dynamics(activities, ["full", "full", "sparse", "sparse"])
    distances = {(row["first"], row["second"]): row["distance"] for row in rows}
    between = next(value for pair, value in distances.items() if len(set(pair)) == 2)
    assert distances["full", "full"] < 0.01 * between
    assert distances["sparse", "sparse"] < 0.01 * between
    printed = capsys.readouterr().out
    assert "distance between dynamics" in printed and "full - full" in printed
