"""The results of the paper that the documentation keeps: with full settings, small files, and shown as they are."""

from __future__ import annotations

import html
import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cordstasks.errors import InputError
from cordstasks.paper.findings import AGREES, VERDICTS, Drawing, Finding, Outcome
from cordstasks.paper.parts import PARTS
from helpers import ROOT, printed_by, refused
from html_reader import Reader

KEPT = ROOT / "docs" / "paper-results"
MADE = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(KEPT.glob("*/outcome.json"))}


@pytest.fixture(scope="module")
def results() -> ModuleType:
    """The module of the documentation."""
    path = ROOT / "docs" / "_extensions" / "paper_results.py"
    spec = importlib.util.spec_from_file_location("paper_results", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Two parts that are finished, and one that is not."""
    for figure, size in (("2C", 40), ("5B", 90)):
        folder = tmp_path / "out" / figure
        (folder / "seed-0").mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(0, 256, (size // 2, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "seed-0" / "one.png")
        finding = Finding(f"{figure} < 3", f"{size} (1 to 2)", AGREES, "by its interval")
        outcome = Outcome([finding], [Drawing("seed-0/one.png", "One", "what it shows")], ["python -m one"], [0], ["small"])
        times = {"seconds": 300.0, "version": "0.1.0"}
        content = {"title": f"Part {figure}", "quick": False, **times, **outcome.as_dict()}
        (folder / "outcome.json").write_text(json.dumps(content))
    (tmp_path / "out" / "1C").mkdir()
    return tmp_path / "out"


class TestKept:
    def test_only_full_settings_of_known_parts(self):
        titles = {part.figure: part.title for part in PARTS}
        for figure, outcome in MADE.items():
            assert outcome["quick"] is False, figure
            assert outcome["title"] == titles[figure]
            assert {finding["verdict"] for finding in outcome["findings"]} <= set(VERDICTS)

    def test_the_files_are_those_that_are_shown_and_small(self):
        files = {path: path.stat().st_size for path in KEPT.rglob("*") if path.is_file()}
        shown = {KEPT / figure / drawing["file"] for figure, made in MADE.items() for drawing in made["drawings"]}
        assert set(files) == shown | {KEPT / figure / "outcome.json" for figure in MADE}
        assert max(files.values(), default=0) <= 150_000
        assert sum(files.values()) < 4e6

    def test_no_outcome_names_a_folder_of_somebody(self):
        for figure, outcome in MADE.items():
            assert not re.search(r"(?<![\w.])/(work|home|tmp|root|Users)/", json.dumps(outcome)), figure

    def test_the_page_has_the_numbers_of_the_outcomes(self, results: ModuleType):
        text = results.markdown_of(address=lambda path: path.relative_to(KEPT).as_posix())
        reader = Reader(text)
        rows = [finding for made in MADE.values() for finding in made["findings"]]
        verdicts = [row["verdict"] for row in rows]
        counts = ", ".join(f"{verdict} {verdicts.count(verdict)}" for verdict in VERDICTS)
        lacking = ", ".join(part.figure for part in PARTS if part.figure not in MADE)
        assert text.startswith(f"Conclusions: {counts}, in all {len(rows)}.{f' Not made: {lacking}.' if lacking else ''}\n")
        for row in rows:
            for name in ("claim", "measured", "verdict", "why"):
                assert row[name] in reader.texts
        for part in PARTS:
            section = text.partition(f"## {part.figure}: {part.title}\n")[2].partition("\n## ")[0]
            if part.figure not in MADE:
                row = f"<td>{part.figure}</td><td>{html.escape(part.title)}</td><td>not run yet with full settings</td>"
                assert text.partition("## Not made\n")[2].count(row) == 1
                assert section == ""
                continue
            made, own = MADE[part.figure], Reader(section)
            for name in ("claim", "measured", "verdict", "why"):
                values = [row[name] for row in made["findings"]]
                assert all(own.texts.count(value) == values.count(value) for value in values)
            assert [(image["src"], image["alt"]) for image in own.all("img")] == [
                (f"{part.figure}/{drawing['file']}", drawing["alternative"]) for drawing in made["drawings"]
            ]
            assert any(line.startswith(f"python -m cordstasks.paper --figures {part.figure}") for line in own.texts)
            assert any(f" with cordstasks {made['version']}" in line for line in own.texts)


class TestTaking:
    def test_finished_parts_replace_those_before(self, results: ModuleType, out: Path, tmp_path: Path):
        (tmp_path / "kept" / "2C").mkdir(parents=True)
        (tmp_path / "kept" / "2C" / "old.png").touch()
        assert results.take(out, tmp_path / "kept", made_here=True) == ["2C", "5B"]
        files = {path.relative_to(tmp_path / "kept").as_posix() for path in (tmp_path / "kept").rglob("*") if path.is_file()}
        assert files == {f"{figure}/{name}" for figure in ("2C", "5B") for name in ("outcome.json", "seed-0/one.png")}
        kept = json.loads((tmp_path / "kept" / "5B" / "outcome.json").read_text())
        assert ", torch " in kept.pop("machine")
        assert kept == json.loads((out / "5B" / "outcome.json").read_text())
        small = (tmp_path / "kept" / "2C" / "seed-0" / "one.png").read_bytes()
        assert small == (out / "2C" / "seed-0" / "one.png").read_bytes()
        assert results.results_of(tmp_path / "kept")["1C"]["problem"] == "not run yet with full settings"
        assert "90 (1 to 2)" in Reader(results.markdown_of(tmp_path / "kept")).texts

    def test_large_drawings_become_small(self, results: ModuleType, tmp_path: Path):
        x, y = np.meshgrid(np.arange(1400), np.arange(700))
        pixels = np.stack([x // 100, y // 100, x // 350 + y // 350], axis=2).astype(np.uint8) * 16
        Image.fromarray(pixels).save(tmp_path / "few.png", compress_level=0)
        assert (tmp_path / "few.png").stat().st_size > 150_000
        content = results._small(tmp_path / "few.png")
        assert len(content) <= 150_000
        (tmp_path / "small.png").write_bytes(content)
        with Image.open(tmp_path / "small.png") as image:
            assert image.size == (1400, 700)  # fewer colours are enough
        noise = np.random.default_rng(0).integers(0, 256, (700, 1400, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "noise.png")
        with pytest.raises(InputError, match=r"noise\.png: is above 150000 bytes even with 700 px"):
            results._small(tmp_path / "noise.png")

    def test_what_is_refused(self, results: ModuleType, out: Path, tmp_path: Path):
        kept = tmp_path / "kept"
        assert refused(results.main, tmp_path).startswith(f"out={tmp_path}: holds no finished part of the paper")
        (out / "5B" / "seed-0" / "one.png").unlink()
        with pytest.raises(InputError, match=r"one\.png: cannot be read .*; make this part again"):
            results.take(out, kept)
        assert not kept.exists()  # nor is 2C taken
        path = out / "2C" / "outcome.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "quick": True}))
        (kept / "2C").mkdir(parents=True)
        (kept / "2C" / "outcome.json").write_text("{}")
        with pytest.raises(InputError, match="figure 2C has small settings; only full ones are kept"):
            results.take(out, kept)
        assert (kept / "2C" / "outcome.json").read_text() == "{}"

    def test_the_command(self, results: ModuleType, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(results, "ROOT", tmp_path)
        monkeypatch.setattr(results, "KEPT", tmp_path / "kept")
        taken: list[Any] = []
        monkeypatch.setattr(results, "take", lambda out, *, made_here: taken.append((out, made_here)) or ["2C"])
        assert printed_by(results.main, out, "--made-here") == "kept: 2C\n"
        assert taken == [(out, True)]
