"""Parts of the paper that need data, or make their own: table 1, and predictivity of recordings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cordstasks.analysis import rsa
from cordstasks.errors import InputError
from cordstasks.experiments.known_recording import KnownRecording, write_known_recording
from cordstasks.experiments.monkey_it import HUMAN, MACAQUE, Similarity
from cordstasks.paper import accuracy, recordings
from cordstasks.paper.parts import Workplace

TINY = {
    **{f"{stage}_images": 16 for stage in ("match", "linear", "anneal", "finetune")},
    **{f"{stage}_batch": 8 for stage in ("cnn", "match", "linear", "anneal", "finetune", "direct", "dense")},
    **{"image_size": 32, "augmentation": "light", "test_images": 6, "cnn_epochs": 1, "anneal_epochs": 2},
    **{"blank_steps": 6, "image_steps": 6, "after_steps": 4, "image_window": 2, "after_window": 1},
}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Images of three classes, as folders."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 2)):
        for label in range(3):
            folder = tmp_path / "pictures" / part / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 128, (32, 32, 3), dtype=np.uint8)
                pixels[..., label] += 100
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "pictures"


@pytest.mark.slow
def test_table_1_is_made_once_with_the_paper_beside_it(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(accuracy, "QUICK", TINY)
    workplace = Workplace(quick=True, device="cpu", images=pictures)
    outcome = accuracy.table1(tmp_path / "2D", workplace)
    summary = json.loads((tmp_path / "2D" / "cifar10" / "r2" / "staged" / "summary.json").read_text())
    tuned, cnn = 100 * summary["protocol"]["accuracy"]["200"], 100 * summary["protocol"]["cnn"]
    assert f"fine-tuned {tuned:.1f} %, CNN {cnn:.1f} %" in outcome.findings[2].measured
    assert len(outcome.findings) == 3
    assert all("(cifar10/r2)" in each.claim and " points (" in each.measured for each in outcome.findings)
    assert ["--stage all" in each for each in outcome.commands] == [True, False, False]
    assert (tmp_path / "2D" / outcome.drawings[0].file).stat().st_size > 5000
    monkeypatch.setattr(accuracy, "compute", None)  # nothing is trained again
    assert accuracy.table1(tmp_path / "2D", workplace) == outcome


class TestVerdictsOfTable1:
    def test_a_margin_of_three_points(self):
        (claim,) = [each for each in accuracy.conclusions() if each.least]
        near = accuracy._finding(claim, "mnist/r2", {"fine-tuned": 95.0, "CNN": 95.0}, 5000)
        far = accuracy._finding(claim, "mnist/r2", {"fine-tuned": 85.0, "CNN": 95.0}, 5000)
        few = accuracy._finding(claim, "mnist/r2", {"fine-tuned": 95.0, "CNN": 95.0}, 100)
        assert [each.verdict for each in (near, far, few)] == ["agrees", "does not agree", "cannot tell"]
        assert near.measured.startswith("+0.0 points (-0.9 to +0.9): fine-tuned 95.0 %")
        assert near.measured.endswith("; in the paper 98.48 % and 98.56 %")


@pytest.mark.slow
def test_what_was_recorded_is_found(tmp_path: Path):
    outcome = recordings.known(tmp_path, Workplace(quick=True, device="cpu"))
    assert [finding.verdict for finding in outcome.findings] == ["agrees"] * 4
    assert outcome.findings[1].measured.startswith("median 20 ms (")
    assert all((tmp_path / drawing.file).exists() for drawing in outcome.drawings)


@pytest.mark.slow
def test_recordings_of_a_user(tmp_path: Path):
    given = tmp_path / "given"
    write_known_recording(KnownRecording(stimuli=30, units=6, repeats=2), given)
    shutil.move(given / "recording.npz", given / "monkey.npz")
    place = Workplace(quick=True, device="cpu", recordings=given)
    (tmp_path / "6C").mkdir()
    outcome = recordings.recorded(tmp_path / "6C", place)
    assert [finding.verdict for finding in outcome.findings] == ["agrees"]
    assert outcome.findings[0].claim.startswith("The time course of monkey (by area ")
    assert "paired t-test over 6 units: p = " in outcome.findings[0].measured
    assert all((tmp_path / "6C" / drawing.file).exists() for drawing in outcome.drawings)
    (given / "pictures").rename(given / "other")
    with pytest.raises(InputError, match=r"monkey\.npz has no pictures; name their folder monkey or pictures"):
        recordings.recorded(tmp_path / "6C", place)


def test_a_folder_without_recordings(tmp_path: Path):
    with pytest.raises(InputError, match=r"holds no recordings; give a folder with files that end in \.npz"):
        recordings.recorded(tmp_path, Workplace(recordings=tmp_path))


def test_rates_of_lip_beside_the_networks_of_figure_5a(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    times = np.arange(-100.0, 700.0, 20.0)
    ramps = {
        (choice, level): (times, sign * (0.2 + level) * np.clip(times - 200, 0, 300))
        for sign, choice in ((1, "T1"), (-1, "T2"))
        for level in (0.0, 0.128, 0.512)
    }
    rows = [
        f"{align},{choice},{time:g},{100 * level:g},{rate}"
        for align in ("dots", "sacc")
        for (choice, level), course in ramps.items()
        for time, rate in zip(*course, strict=True)
    ]
    given = tmp_path / "given"
    given.mkdir()
    (given / "roitman_lip_rates.csv").write_text("\n".join(["align,choice,time,coherence,firing_rate", *rows]))
    earlier = {key: (times - 100, values) for key, (times, values) in ramps.items()}
    made = []
    monkeypatch.setattr(recordings, "made_before", lambda figure, out, workplace: made.append((figure, out)))
    counts = {"units": 7, "of": 9, "trials": 5}
    monkeypatch.setattr(
        recordings, "network_courses", lambda run: (earlier, counts) if run == tmp_path / "5A/seed-0" else None
    )
    (tmp_path / "6C").mkdir()
    outcome = recordings.recorded(tmp_path / "6C", Workplace(recordings=given))
    assert made == [("5A", tmp_path)]
    (finding,) = outcome.findings
    assert finding.verdict == "agrees"
    assert finding.measured.startswith("correlation 1.00, +")
    assert finding.measured.endswith(", over 6 choices and coherences")  # all alike, so that there is no t-test
    assert outcome.notes == ["LIP: 7 of the network's 9 units are tuned; ramps are of 5 trials"]
    assert (tmp_path / "6C" / outcome.drawings[0].file).exists()


def test_similarity_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two areas: the last one above pixels in all resamples, and early and late alike."""
    rng = np.random.default_rng(0)
    values = np.array([0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.15, 0.16, 0.1])
    samples = values + 0.01 * rng.standard_normal((50, 9))
    found = Similarity(np.full((2, 4), 0.2), np.array([2, 2]), rsa.RsaComparison(values, samples, "spearman", 0.95))
    given = tmp_path / "given"
    given.mkdir()
    (given / "kriegeskorte2008_92images.mat").touch()
    asked = []
    monkeypatch.setattr(
        recordings, "compare_with_it", lambda file, **more: asked.append(more) or dict.fromkeys((MACAQUE, HUMAN), found)
    )
    (tmp_path / "6C").mkdir()
    outcome = recordings.recorded(tmp_path / "6C", Workplace(quick=True, recordings=given))
    assert asked == [{"resamples": 200, "device": "cpu"}]
    assert [finding.verdict for finding in outcome.findings] == ["agrees", "cannot tell"]
    assert "0.300 against 0.100: +0.200 (" in outcome.findings[0].measured
    assert "0.300 against 0.300: +0.000 (" in outcome.findings[1].measured
    assert (tmp_path / "6C" / "it.png").exists()
