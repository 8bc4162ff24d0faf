"""The report of the paper's parts as one HTML file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from cordstasks.analysis import figures
from cordstasks.paper.findings import AGREES, CANNOT_TELL, Drawing, Finding, Outcome
from cordstasks.paper.report import write_paper_report
from cordstasks.paper.sections import command_of
from html_reader import assert_whole


@pytest.fixture
def made(tmp_path: Path) -> Path:
    outcome = Outcome(
        findings=(Finding("a < b", "0.2 (0.1 to 0.3)", AGREES, "rule"), Finding("c", "none", CANNOT_TELL, "few seeds")),
        drawings=(Drawing("one.png", "caption & more", "what it shows"),),
        commands=("python -m cordstasks.train --task rdm",),
        seeds=(3, 4),
        notes=("smaller than the paper's",),
    )
    times = {"seconds": 12.4, "processor_seconds": 9.0, "machine": "a processor, AVX2"}
    part = {"title": "Comparison", "quick": True, "version": "0.1.0", **times, **outcome.as_dict()}
    results: dict[str, Any] = {"1C": part, "6B": {"title": "Recordings", "problem": "recordings=None: give a folder"}}
    (tmp_path / "paper.json").write_text(json.dumps(results))
    (tmp_path / "1C").mkdir()
    figures.save(Figure(), tmp_path / "1C" / "one.png")
    return tmp_path


def test_it_has_every_conclusion_and_figure(made: Path):
    path = write_paper_report(made)
    reader = assert_whole(path.read_text())
    texts = set(reader.texts)
    small = "Small settings: they show the way and say little about the paper. "
    lead = f"{small}Conclusions: agrees 1, does not agree 0, cannot tell 1, in all 2. Not made: 6B."
    assert {lead, "a < b", "0.2 (0.1 to 0.3)", "few seeds", "caption & more", "Smaller than the paper's."} <= texts
    took = "Seeds 3, 4. It took 12 s (9 s of the processor's time) with cordstasks 0.1.0, on a processor, AVX2."
    assert {"Not made", "Recordings", "recordings=None: give a folder", took} <= texts
    assert {"python -m cordstasks.paper --figures 1C --quick", "python -m cordstasks.train --task rdm"} <= texts
    assert [image["alt"] for image in reader.all("img")] == ["what it shows"]
    before = path.read_bytes()
    assert write_paper_report(made, made / "again.html").read_bytes() == before


def test_commands_name_the_data_that_they_need():
    assert command_of("3") == "python -m cordstasks.paper --figures 3 --images DIR"
    assert command_of("6C", quick=True) == "python -m cordstasks.paper --figures 6C --recordings DIR --quick"


def test_what_is_missing_is_named(made: Path, tmp_path: Path):
    (made / "1C" / "one.png").unlink()
    with pytest.raises(ValueError, match=r"one\.png: cannot be read \(No such file"):
        write_paper_report(made)
    (made / "paper.json").write_text('{"1C": {"title": "x"}}')
    with pytest.raises(ValueError, match=r"paper\.json: does not hold what this run needs"):
        write_paper_report(made)
    (made / "paper.json").unlink()
    with pytest.raises(ValueError, match="holds no parts of the paper"):
        write_paper_report(made)
