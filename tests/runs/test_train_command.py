"""The main command: a whole run, what it leaves, how it ends when it is stopped, and what it answers to mistakes."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cordstasks import reports, tasks, train
from cordstasks.cordsnet import save
from cordstasks.frontend import FrontEnd
from cordstasks.model import MultiAreaModel
from cordstasks.rnn import RNN
from cordstasks.runs import visual as experiment
from cordstasks.runs.loading import load_run
from cordstasks.stimuli import Display
from cordstasks.training.evaluation import choices, run_model
from cordstasks.training.settings import INPUTS_TAUGHT, VisualSettings
from cordstasks.training.trials import trial_set
from cordstasks.utils.run_folder import RunFolder
from helpers import (
    FIGURES,
    ROOT,
    SHORT,
    assert_same_run,
    change,
    ctrl_c,
    flags,
    inside,
    output_of,
    read,
    refused,
    settling_cordsnet,
    tiny_cordsnet,
)

SIZES = {"trials": 24, "validation": 12, "heldout": 30, "steps": 120, "units": 16, "batch": 8}
PERIODS = SHORT["rdm"]
SEED = 3


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the weights of a small CordsNet that settles, and a bank that all runs here share."""
    folder = tmp_path_factory.mktemp("place")
    save(settling_cordsnet(), folder / "r2.safetensors")
    return folder


def arguments(place: Path, *more: str, task: bool = True) -> list[str]:
    """A small run's command line, and `more`."""
    periods = {name: value for name, value in PERIODS.items() if not any(word.startswith(f"{name}=") for word in more)}
    sizes = flags(**SIZES, parameters=periods)
    bank = [] if "--no-bank" in more else ["--bank", str(place / "bank")]
    where = ["--frontend", str(place / "r2.safetensors"), *bank, "--readout", "pool"]
    begin = ["--task", "rdm"] if task else []
    return [*begin, *where, *sizes, "--seed", str(SEED), "--device", "cpu", *more]


@pytest.fixture(scope="module")
def finished(place: Path) -> tuple[Path, str]:
    """A run that came to its end, in the folder that it chose, and what it printed."""
    with inside(place):
        code, out, _ = output_of(train.main, *arguments(place))
    assert code == 0
    return place / "runs" / "rdm-001", out


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
        assert (summary["task"], summary["seed"]) == ("rdm", SEED)
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

    def test_the_conditions_add_up(self, finished: tuple[Path, str]):
        heldout = read(finished[0])["heldout"]
        rows = heldout["by_condition"]
        assert [row["coherence"] for row in rows] == list(tasks.get("rdm").coherences)  # type: ignore[attr-defined]
        assert heldout["trials"] == sum(row["trials"] for row in rows) == SIZES["heldout"]
        right = sum(row["trials"] * row["accuracy"] for row in rows)
        assert heldout["accuracy"] == pytest.approx(right / SIZES["heldout"])
        for row in rows:
            assert set(row) == {"coherence", "trials", "accuracy", "interval"}
            assert 0 <= row["interval"][0] <= row["accuracy"] <= row["interval"][1] <= 1

    def test_the_saved_weights_make_the_choices_that_are_reported(self, place: Path, finished: tuple[Path, str]):
        """Built anew from the run's files and the bank alone."""
        seeds = np.random.SeedSequence(SEED).generate_state(len(experiment.SETS))
        heldout_seed = int(seeds[experiment.SETS.index("heldout")])
        task = tasks.get("rdm", **PERIODS, display=Display(pixels=32))
        batch = task.sample(SIZES["heldout"], seed=heldout_seed, dt=20.0)
        front_end = FrontEnd(place / "r2.safetensors", device="cpu", readout="pool", bank=place / "bank")
        features = front_end.features(batch.movies, dt=20.0)
        assert features.cost.simulated == 0
        inputs = min(INPUTS_TAUGHT, front_end.units)
        model = MultiAreaModel(RNN(inputs, SIZES["units"], 3, tau=50.0), front_end.units)
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
            **SIZES,
            "family": "visual",
            "parameters": PERIODS,
            "seed": SEED,
            "task": "rdm",
            "readout": "pool",
            "dt": 20.0,
            "tau": 50.0,
        }
        assert {name: config[name] for name in expected} == expected
        assert config["environment"]["torch"] == torch.__version__
        assert set(config) == {"family", "weights", "environment", *VisualSettings.names()}
        assert (config["areas"], config["side"]) == ([1], 8)  # the defaults of random dots

    def test_the_log_has_a_row_for_each_evaluation(self, finished: tuple[Path, str]):
        rows = RunFolder(finished[0]).log.read()
        assert [row["step"] for row in rows] == [25, 50, 75, 100, 120]
        training = read(finished[0])["training"]
        best = min(rows, key=lambda row: row["validation_loss"])
        assert (training["steps"], training["best_step"]) == (120, best["step"])
        assert training["best_validation_loss"] == best["validation_loss"]

    def test_labels_alone_teach_something_else(self, place: Path, finished: tuple[Path, str], tmp_path: Path):
        code, _, err = output_of(train.main, *arguments(place, "--labels-only", "--out", str(tmp_path / "run")))
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
            code, out, err = output_of(train.main, *arguments(place))
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
        words = arguments(place, "--out", str(out), "--patience", "1000000", *more, *resume)
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


@pytest.fixture(scope="module")
def deep(place: Path) -> Path:
    """A network of four areas in the folder of the other, with maps of 8, 8, 4 and 4."""
    save(tiny_cordsnet(1, depth=4), place / "r4.safetensors")
    return place / "r4.safetensors"


class TestAreas:
    """Reading other areas than the last, from the command line to a run that is loaded again."""

    @staticmethod
    def words(place: Path, deep: Path, out: Path, *more: str) -> list[str]:
        words = [*arguments(place, "--steps", "6", "--frontend", str(deep), "--out", str(out)), *more]
        return [word for word in words if word not in ("--readout", "pool")]

    def run(self, place: Path, deep: Path, out: Path, *more: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """The first line that is printed, the settings and the summary."""
        code, printed, err = output_of(train.main, *self.words(place, deep, out, *more))
        assert code == 0, err
        return printed.splitlines()[0], read(out, "config.json"), read(out)

    def test_an_area_and_a_side(self, place: Path, deep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        out = tmp_path / "run"
        line, config, summary = self.run(place, deep, out, "--areas", "1", "--side", "2")
        assert line.endswith(", reads area 1, averaged to 2 x 2: 256 features")
        assert (config["areas"], config["side"], config["inputs"]) == ([1], 2, 48)  # as a teacher chooses by default
        assert summary["read"] == {"areas": [1], "sides": [2], "features": 256}
        assert 0 < summary["bank"]["step_fraction"] < 0.7
        loaded = load_run(out, device="cpu", bank=place / "bank")
        assert (loaded.frontend.areas, loaded.frontend.sides) == ((1,), (2,))
        seen = loaded.behaviour(loaded.heldout())
        assert float(seen.correct.mean()) == pytest.approx(summary["heldout"]["accuracy"])
        for again in ((), ("--areas", "1", "--side", "2")):  # with what it had, or without a word
            code, printed, err = output_of(train.main, *["--resume", "--out", str(out), *again])
            assert (code, "this run is finished" in printed) == (0, True), err

    def test_several_areas(self, place: Path, deep: Path, tmp_path: Path):
        more = ("--areas", "3", "0", "--labels-only", "--inputs", "299")
        line, config, summary = self.run(place, deep, tmp_path / "run", *more)
        assert line.endswith(", reads areas 0 and 3: 6,144 features")
        assert config["areas"] == [0, 3]
        assert summary["bank"]["step_fraction"] == 1
        projection = torch.load(tmp_path / "run" / "best.pt", weights_only=True)["model"]["projection"]
        assert projection.shape == (6144, 299)
        assert min(float(part.abs().max()) for part in projection.split((4096, 2048))) > 0

    def test_a_stopped_run_goes_on_with_its_areas(
        self, place: Path, deep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        def interrupt(material: reports.Material) -> dict[str, Any]:
            raise KeyboardInterrupt

        whole, broken = tmp_path / "whole", tmp_path / "broken"
        self.run(place, deep, whole, "--areas", "0", "2", "--side", "3")
        with monkeypatch.context() as patch:
            patch.setattr(reports, "make", interrupt)
            assert output_of(train.main, *self.words(place, deep, broken, "--areas", "2", "0", "--side", "3"))[0] == 130
        code, printed, err = output_of(train.main, *["--resume", "--out", str(broken), "--bank", str(place / "bank")])
        assert code == 0, err
        assert "reads areas 0 and 2, averaged to 3 x 3: 1,728 features" in printed
        assert_same_run(whole, broken)

    @pytest.mark.parametrize(("default", "areas"), [((1,), [1]), (2, [2]), ((1, 6, 7), [1, 3]), (None, [3])])
    def test_a_task_s_default_is_read_where_the_network_has_it(
        self, place: Path, deep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, default: Any, areas: list[int]
    ):
        kind = type(tasks.get("rdm"))
        monkeypatch.setattr(kind, "run_defaults", {**kind.run_defaults, "areas": default, "side": 2})
        with ctrl_c(0):
            code, printed, _ = output_of(train.main, *self.words(place, deep, tmp_path / "run"))
        assert code == 130
        config = read(tmp_path / "run", "config.json")
        assert (config["areas"], config["side"]) == (areas, 2)
        assert "averaged to 2 x 2" in printed

    def test_what_a_run_has_must_be_there_when_it_goes_on(self, place: Path, deep: Path, tmp_path: Path):
        with ctrl_c(0):
            output_of(train.main, *self.words(place, deep, tmp_path / "run", "--areas", "3"))
        change(tmp_path / "run", areas=[0, 5])
        code, _, err = output_of(train.main, *["--resume", "--out", str(tmp_path / "run"), "--bank", str(place / "bank")])
        assert (code, err) == (2, "error: --areas 0 5: there is no area 5; this network has areas 0 to 3\n")


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
        code, out, err = output_of(train.main, *arguments(place, "--out", str(tmp_path / "run")))
        assert (code, out, err.strip()) == (130, "", "stopped")
        assert not (tmp_path / "run").exists()


class Runs:
    """Its unpickling would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (Path.write_text, (self.path, "code ran"))


class TestBadInput:
    @pytest.fixture(autouse=True)
    def nothing_is_computed(self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """A mistake is found before anything costly begins, and leaves no trace."""

        def compute(*_: Any, **__: Any) -> None:
            raise AssertionError("the mistake was not found in time")

        monkeypatch.setattr(FrontEnd, "features", compute)
        monkeypatch.chdir(tmp_path)
        yield
        assert not (tmp_path / "runs").exists()

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ([], "--task is missing; name one, such as --task rdm"),
            (["--task", "rmd"], "task 'rmd' is unknown; did you mean 'rdm'?"),
            (
                ["--task", "rdm", "--frontend", "cordsnet-r9"],
                "weights 'cordsnet-r9' is unknown; did you mean 'cordsnet-r8'",
            ),
            (
                ["--task", "rdm", "--frontend", "no/r8.pth"],
                "weights 'no/r8.pth': file does not exist; correct the path",
            ),
            (["--task", "rdm", "--weights", "r9.pth"], "weights 'r9.pth': file does not exist; correct the path"),
            (["--resume"], "--resume: runs/ holds no unfinished run; name the run's folder with --out FOLDER"),
            (
                ["--resume", "--out", "elsewhere"],
                "--out elsewhere: holds no run (no config.json); name the folder of a run",
            ),
            (["--task"], "argument --task: expected one argument"),
            (["--task", "rdm", "--trails", "3"], "unrecognized arguments: --trails 3"),
            (["--task", "rdm", "--trials", "many"], "argument --trials: invalid int value: 'many'"),
        ],
    )
    def test_without_a_network(self, words: list[str], message: str):
        assert refused(train.main, *words).startswith(message)

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            ("--device cdua", "device 'cdua' is unknown; did you mean 'cuda'?"),
            ("--readout flaten", "readout 'flaten' is unknown; did you mean 'flatten'?"),
            ("--precision half", "precision 'half' is unknown"),
            ("--areas 7", "--areas 7: there is no area 7; this network has areas 0 to 1"),
            ("--areas 0 -1", "--areas (0, -1): give a list of areas, numbered from 0"),
            ("--areas 1 0 1", "--areas (1, 0, 1): give a list of areas, numbered from 0"),
            ("--areas", "argument --areas: expected at least one argument"),
            ("--areas V1", "argument --areas: invalid int value: 'V1'"),
            ("--side 0", "--side 0: give a whole number of at least 1"),
            ("--inputs 0", "--inputs 0: give a whole number of at least 1"),
            ("--inputs 65", "--inputs 65: the front-end has 64 features; give at most as many"),
            ("--side 2.5", "argument --side: invalid int value: '2.5'"),
            ("--dt 3", "--dt 3 ms: give a multiple of the front-end's step of 2 ms"),
            ("--dt nan", "--dt nan: give a finite number above 0"),
            ("--dt 40 --tau 30", "--dt 40: must be at most the time constant --tau 30 (ms)"),
            ("--noise inf", "--noise inf: give a finite number of at least 0"),
            ("--noise -1", "--noise -1.0: give a finite number of at least 0"),
            ("--learning-rate 0", "--learning-rate 0.0: give a finite number above 0"),
            ("--learning-rate nan", "--learning-rate nan: give a finite number above 0"),
            ("--seed -1", "--seed -1: give a whole number of at least 0"),
            ("--seed 9223372036854775808", "--seed 9223372036854775808: give a whole number"),
            *(
                (f"--{name} {value}", f"--{name} {value}: give a whole number of at least 1")
                for name in SIZES
                for value in (0, -7)
            ),
            ("--heldout 1", "--heldout 1: all of these trials have the same right answer"),
            ("--trials 3", "--trials 3: too few to learn from; give hundreds"),
            ("--bank b --no-bank", "--bank b: has no effect with --no-bank; leave one of them out"),
            ("--shape ²x5x5", "--shape ²x5x5: write channels, height and width as 4x5x5"),
            ("--bank-limit 0", "--bank-limit 0.0: give a size above 0 (GB)"),
            ("--bank-limit inf", "--bank-limit inf: give a size above 0 (GB)"),
            ("--set motion", "--set motion: write NAME=VALUE, such as motion=1000"),
            ("--set =5", "--set =5: write NAME=VALUE"),
            ("--set motion=fast", '--set motion="fast": give a duration in ms or [shortest, longest], such as 500.0'),
            ("--set motion=[1,", "--set motion=[1,: the value must be a number, true, false, a name or a list"),
            ("--stimuli-dir pictures", "parameter of task rdm 'stimuli_dir' is unknown"),
            ("--set motion=NaN", "--set motion=NaN: the value must be a number"),
            ("--set motion=-5", "--set motion=-5: give a duration above 0 ms"),
            ("--set motion=10", "--dt 20 ms is longer than motion can be (10 ms); choose a smaller dt"),
            ("--set motion=true", "--set motion=true: give a duration in ms or [shortest, longest], such as 500.0"),
            ("--set motion=[1,2,3]", "--set motion=(1, 2, 3): give a duration above 0 ms, or (shortest, longest)"),
            ("--set speeed=3", "parameter of task rdm 'speeed' is unknown; did you mean 'speed'?"),
            ("--set timing=3", "parameter of task rdm 'timing' is unknown"),
            ("--set coherences=0.5", "--set coherences=0.5: give a list of numbers, such as [0.0, 0.032"),
            ("--set coherences=[2]", "--set coherences=(2,): give fractions from 0 to 1"),
            ('--set directions=["left"]', '--set directions=["left"]: give a list of numbers, such as [0.0, 180.0]'),
            ("--set directions=[0,360]", "--set directions=(0, 360): give two or more different directions in deg"),
            ("--set reaction_time=1", "--set reaction_time=1: give true or false, such as false"),
            ("--set display=64", "--set display=64: the screen takes the front-end's image size"),
            ("--set spot=[1]", "--set spot=[1]: give a number, such as 0.3"),
            ("--set aperture=9", "aperture is 9 deg, larger than the screen"),
        ],
    )
    def test_of_values(self, place: Path, more: str, message: str):
        assert refused(train.main, *arguments(place, *more.split())).startswith(message)

    def test_a_device_that_is_not_there(self, place: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        message = "device 'cuda': this machine has no CUDA device that torch can use; choose cpu or auto"
        assert refused(train.main, *arguments(place, "--device", "cuda")) == message

    @pytest.mark.parametrize("name", ["r2.safetensors", "r2.pth"])
    @pytest.mark.parametrize("share", [0.0, 0.01, 0.6])
    def test_truncated_weights(self, place: Path, tmp_path: Path, name: str, share: float):
        save(tiny_cordsnet(), tmp_path / name)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: int(share * len(content))])
        assert re.match(rf"weights .*{re.escape(name)}: (damaged|truncated|refused)", refused_by(place, name))

    def test_weights_of_another_network(self, place: Path, tmp_path: Path):
        torch.save(torch.nn.Linear(2, 3).state_dict(), tmp_path / "linear.pth")
        assert refused_by(place, "linear.pth").startswith(
            f"weights {tmp_path}/linear.pth: not a CordsNet of 2, 4, 6 or 8 areas in the published format"
        )

    @pytest.mark.parametrize("saved_by", ["pickle", "torch"])
    def test_weights_that_would_run_code(self, place: Path, tmp_path: Path, saved_by: str):
        harmful = {"inp_conv": Runs(tmp_path / "ran")}
        if saved_by == "torch":
            torch.save(harmful, tmp_path / "code.pth")
        else:
            (tmp_path / "code.pth").write_bytes(pickle.dumps(harmful))
        assert refused_by(place, "code.pth").startswith(
            f"weights {tmp_path}/code.pth: refused, since reading it would run code"
        )
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize("name", ["--out", "--bank"])
    def test_a_folder_below_a_regular_file(self, place: Path, tmp_path: Path, name: str):
        (tmp_path / "notes").write_text("mine")
        message = f"{name} notes/here: cannot write there (Not a directory); choose another folder"
        assert refused(train.main, *arguments(place, name, "notes/here")) == message
        assert (tmp_path / "notes").read_text() == "mine"

    def test_a_folder_that_holds_another_run(self, place: Path, finished: tuple[Path, str]):
        folder, _ = finished
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        message = f"--out {folder}: holds another run; choose another folder, or continue it with --resume"
        assert refused(train.main, *arguments(place, "--out", str(folder))) == message
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            ("--units 5", "--units 5: the run in {} has 16; leave it out, or use another folder"),
            ("--areas 0", "--areas 0: the run in {} has 1; leave it out"),
            ("--side 2", "--side 2: the run in {} has 8; leave it out"),
            ("--dt 10", "--dt 10: the run in {} has 20; leave it out"),
            ("--set motion=300", "--set motion=300: the run in {} has --set motion=120; leave it out"),
            ("--frontend cordsnet-r8", "--frontend cordsnet-r8: the run in {} has"),
            ("--learning-rate=0.01", "--learning-rate 0.01: the run in {} has 0.004"),
            ("--seed 4", "--seed 4: the run in {} has 3"),
            ("--see 4", "unrecognized arguments: --see 4; see --help"),
        ],
    )
    def test_resuming_with_other_settings(self, finished: tuple[Path, str], more: str, message: str):
        folder, _ = finished
        assert refused(train.main, *["--resume", "--out", str(folder), *more.split()]).startswith(message.format(folder))

    def test_resuming_with_the_same_settings(self, place: Path, finished: tuple[Path, str]):
        code, out, _ = output_of(train.main, *arguments(place, "--resume", "--out", str(finished[0])))
        assert code == 0
        assert "this run is finished" in out

    @pytest.mark.parametrize(
        ("content", "message"),
        [('{"task": ', "config.json: cannot be read"), ('{"task": "rdm"}', "holds a run of an earlier version")],
    )
    def test_resuming_from_damaged_settings(self, tmp_path: Path, content: str, message: str):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "config.json").write_text(content)
        assert message in refused(train.main, *["--resume", "--out", "run"])


def refused_by(place: Path, frontend: str) -> str:
    words = arguments(place)
    words[words.index("--frontend") + 1] = frontend
    return refused(train.main, *words)


def test_the_command_is_a_module_of_its_own():
    command = [sys.executable, "-m", "cordstasks.train", "--task", "rmd"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: task 'rmd' is unknown; did you mean 'rdm'? (known: catdog, numerosity, rdm, ")
    assert done.stderr.count("\n") == 1
