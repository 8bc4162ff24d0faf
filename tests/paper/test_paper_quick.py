"""All parts of the paper that need no data, by one command on small settings, with the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cordstasks.paper import __main__ as command
from cordstasks.paper import architectures, tasks
from cordstasks.paper.findings import VERDICTS
from cordstasks.paper.parts import PARTS
from helpers import printed_by
from html_reader import assert_whole

SWEEP: dict[str, Any] = {
    "tasks": ["perceptual-dm"],
    "connectivities": ["full", "lowrank", "sparse", "conv"],
    "units": [9],
    "activations": ["relu", "tanh"],
    "seeds": 1,
    "settings": {"steps": 120, "goal": 0.6, "validation": 32, "heldout": 64, "learning_rate": 0.01},
}
VISUAL = {"quick": True, "trials": 30, "validation": 10, "heldout": 24, "steps": 4}


@pytest.mark.slow
def test_the_paper_in_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    designs = {"units": SWEEP, "parameters": {**SWEEP, "trained_parameters": [85], "activations": ["tanh"]}}
    monkeypatch.setattr(architectures, "QUICK", designs)
    monkeypatch.setattr(tasks, "QUICK", VISUAL)
    out = tmp_path / "paper"
    words = ["--quick", "--report", "--device", "cpu", "--bank", tmp_path / "bank", "--out", out]
    printed = printed_by(command.main, *words)
    results = json.loads((out / "paper.json").read_text())
    assert list(results) == [part.figure for part in PARTS]
    for part in PARTS:
        found = results[part.figure]
        if part.needs:
            assert found["problem"].startswith(f"{part.needs[0]}=None: figure {part.figure} needs it")
            continue
        assert found["findings"], part.figure
        assert found["commands"] and found["seconds"] > 0
        for finding in found["findings"]:
            assert finding["verdict"] in VERDICTS
            assert finding["measured"] in printed
    reader = assert_whole((out / "report.html").read_text())
    drawings = [drawing for found in results.values() for drawing in found.get("drawings", ())]
    assert [image["alt"] for image in reader.all("img")] == [drawing["alternative"] for drawing in drawings]
    # the same command again makes nothing
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/outcome.json")}
    printed_by(command.main, *words)
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("*/outcome.json")}
    assert json.loads((out / "paper.json").read_text()) == results
