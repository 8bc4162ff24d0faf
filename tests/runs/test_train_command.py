"""The main command: a whole run, and what it leaves and prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cordstasks import reports, tasks, train
from cordstasks.frontend import FrontEnd
from cordstasks.model import MultiAreaModel
from cordstasks.rnn import RNN
from cordstasks.runs import visual as experiment
from cordstasks.stimuli import Display
from cordstasks.training.evaluation import choices, run_model
from cordstasks.training.settings import INPUTS_TAUGHT, VisualSettings
from cordstasks.training.trials import trial_set
from cordstasks.utils.run_folder import RunFolder
from helpers import FIGURES, ROOT, SHORT, SMALL_SEED, SMALL_SIZES, assert_same_run, inside, output_of, read, small_run


class TestRun:
    def test_it_leaves_a_whole_folder(self, finished: tuple[Path, str]):
        folder, _ = finished
        figures = FIGURES["rdm"]
        files = {"config.json", "metrics.jsonl", "checkpoint.pt", "best.pt", "summary.json"}
        assert {path.name for path in folder.iterdir()} == files | figures
        for figure in figures:
            assert (folder / figure).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"

    def test_the_summary_has_the_promised_keys(self, finished: tuple[Path, str]):
        summary = read(finished[0])
        assert (summary["task"], summary["seed"]) == ("rdm", SMALL_SEED)
        assert summary["frontend"].endswith("r2.safetensors")
        assert {"bank", "train", "total"} == set(summary["seconds"])
        assert {"cordstasks", "python", "torch", "numpy", "device", "threads"} <= set(summary["environment"])
        assert {"threshold", "threshold_interval", "slope", "slope_interval"} <= set(summary["weibull"])
        assert {"shuffled", "reversed"} == set(summary["controls"])
        assert 0 <= summary["tuning"]["fraction"] <= 1
        assert re.fullmatch("[0-9a-f]{64}", summary["weights"]["sha256"])
        assert summary["weights"]["card"]["depth"] == 2
        assert 0 < summary["bank"]["steps_simulated"] < summary["bank"]["steps_requested"]
        assert summary["bank"]["step_fraction"] == 1
        assert summary["bank"]["engine"] in (
            "Winograd products by numba",
            "convolutions by oneDNN",
            "convolutions by PyTorch",
        )
        assert f"front-end simulated on cpu through {summary['bank']['engine']}\n" in finished[1]
        assert summary["read"] == {"areas": [1], "sides": [1], "features": 64}
        assert f"\npeak memory: {summary['memory']['peak_mb']:.0f} MB (largest resident set of the process)\n" in finished[1]

    def test_the_conditions_add_up(self, finished: tuple[Path, str]):
        heldout = read(finished[0])["heldout"]
        rows = heldout["by_condition"]
        assert [row["coherence"] for row in rows] == list(tasks.get("rdm").coherences)  # type: ignore[attr-defined]
        assert heldout["trials"] == sum(row["trials"] for row in rows) == SMALL_SIZES["heldout"]
        right = sum(row["trials"] * row["accuracy"] for row in rows)
        assert heldout["accuracy"] == pytest.approx(right / SMALL_SIZES["heldout"])
        for row in rows:
            assert set(row) == {"coherence", "trials", "accuracy", "interval"}
            assert 0 <= row["interval"][0] <= row["accuracy"] <= row["interval"][1] <= 1

    def test_the_saved_weights_make_the_choices_that_are_reported(self, place: Path, finished: tuple[Path, str]):
        """Built anew from the run's files and the bank alone."""
        seeds = np.random.SeedSequence(SMALL_SEED).generate_state(len(experiment.SETS))
        heldout_seed = int(seeds[experiment.SETS.index("heldout")])
        task = tasks.get("rdm", **SHORT["rdm"], display=Display(pixels=32))
        batch = task.sample(SMALL_SIZES["heldout"], seed=heldout_seed, dt=20.0)
        front_end = FrontEnd(place / "r2.safetensors", device="cpu", readout="pool", bank=place / "bank")
        features = front_end.features(batch.movies, dt=20.0)
        assert features.cost.simulated == 0
        inputs = min(INPUTS_TAUGHT, front_end.units)
        model = MultiAreaModel(RNN(inputs, SMALL_SIZES["units"], 3, tau=50.0), front_end.units)
        model.load_state_dict(torch.load(finished[0] / "best.pt", weights_only=True)["model"])
        trials = trial_set(features, batch, torch.device("cpu"), tasks.get("rdm"))
        logits, _ = run_model(model, model.inputs(features))
        right = choices(logits, trials.response_mask, trials.options).numpy() == batch.answers
        heldout = read(finished[0])["heldout"]
        assert heldout["accuracy"] == pytest.approx(float(right.mean()))
        for row in heldout["by_condition"]:
            assert row["accuracy"] == pytest.approx(float(right[batch.conditions["coherence"] == row["coherence"]].mean()))

    def test_the_settings_are_kept(self, finished: tuple[Path, str]):
        config = read(finished[0], "config.json")
        expected = {
            **SMALL_SIZES,
            "family": "visual",
            "parameters": SHORT["rdm"],
            "seed": SMALL_SEED,
            "task": "rdm",
            "readout": "pool",
            "dt": 20.0,
            "tau": 50.0,
        }
        assert {name: config[name] for name in expected} == expected
        assert config["environment"]["torch"] == torch.__version__
        assert set(config) == {"family", "weights", "environment", *VisualSettings.names()}
        assert (config["areas"], config["side"]) == ([1], None)  # the task's area; its side is for maps that are not pooled

    def test_the_log_has_a_row_for_each_evaluation(self, finished: tuple[Path, str]):
        rows = RunFolder(finished[0]).log.read()
        assert [row["step"] for row in rows] == [25, 50, 75, 100, 120]
        training = read(finished[0])["training"]
        best = min(rows, key=lambda row: row["validation_loss"])
        assert (training["steps"], training["best_step"]) == (120, best["step"])
        assert training["best_validation_loss"] == best["validation_loss"]

    def test_labels_alone_teach_something_else(self, place: Path, finished: tuple[Path, str], tmp_path: Path):
        code, _, err = output_of(train.main, *small_run(place, "--labels-only", "--out", str(tmp_path / "run")))
        assert code == 0, err
        training = {name: read(path)["training"] for name, path in (("a", finished[0]), ("b", tmp_path / "run"))}
        assert training["a"]["teacher"]
        assert not training["b"]["teacher"]
        saved = [torch.load(path / "best.pt", weights_only=True)["model"] for path in (finished[0], tmp_path / "run")]
        assert not torch.equal(saved[0]["projection"], saved[1]["projection"])

    def test_it_prints_a_table_and_where_things_are(self, finished: tuple[Path, str]):
        folder, printed = finished
        assert printed.startswith("task rdm, front-end ")
        assert "run folder runs/rdm-001" in printed
        for row in read(folder)["heldout"]["by_condition"]:
            low, high = row["interval"]
            line = f"{row['coherence']:.3f} {row['trials']} {row['accuracy']:.1%} {low:.1%} to {high:.1%}"
            assert line in re.sub(" +", " ", printed)
        assert "shuffled" in printed
        assert "reversed" in printed

    def test_a_finished_run_prints_its_table_again(self, place: Path, finished: tuple[Path, str]):
        folder, printed = finished
        before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
        with inside(place):
            code, out, err = output_of(train.main, *["--resume", "--out", "runs/rdm-001"])
        assert (code, err) == (0, "")
        table = printed[printed.index("coherence ") :]
        assert out.endswith(table)
        assert "this run is finished" in out
        assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before

    def test_the_next_run_takes_the_next_folder_and_a_stopped_one_is_found(
        self, place: Path, finished: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
    ):
        def interrupt(material: reports.Material) -> dict[str, Any]:
            raise KeyboardInterrupt

        monkeypatch.chdir(place)
        with monkeypatch.context() as patch:
            patch.setattr(reports, "make", interrupt)
            code, out, err = output_of(train.main, *small_run(place))
        assert code == 130
        assert "run folder runs/rdm-002" in out
        line = "stopped; this continues: python -m cordstasks.train --resume --out runs/rdm-002"
        assert err.splitlines()[-1] == line
        assert not (place / "runs/rdm-002/summary.json").exists()
        (place / "runs/rdm-002/.best.pt.123-4567.part").write_bytes(b"left by a process that was killed")
        code, out, _ = output_of(train.main, *["--resume"])
        assert code == 0
        assert "run folder runs/rdm-002" in out
        first, second = (read(place / "runs" / name) for name in ("rdm-001", "rdm-002"))
        for part in ("heldout", "weibull", "controls", "tuning", "training"):
            assert first[part] == second[part], part
        assert_same_run(place / "runs/rdm-001", place / "runs/rdm-002")
        assert not list((place / "runs/rdm-002").glob(".*"))


def test_the_command_is_a_module_of_its_own():
    command = [sys.executable, "-m", "cordstasks.train", "--task", "rmd"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: task 'rmd' is unknown; did you mean 'rdm'? (known: catdog, numerosity, rdm, ")
    assert done.stderr.count("\n") == 1
