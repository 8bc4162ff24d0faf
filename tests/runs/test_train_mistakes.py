"""What the main command answers to mistakes, before anything costly begins."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from cordstasks import train
from cordstasks.cordsnet import save
from cordstasks.frontend import FrontEnd
from helpers import SMALL_SIZES, output_of, refused, small_run, tiny_cordsnet


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
                for name in SMALL_SIZES
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
            ("--bound 1", "--bound 1: has no effect, since trials of this task are not answered while"),
            ("--reward-from 100", "--reward-from 100: has no effect"),
            ("--set spot=[1]", "--set spot=[1]: give a number, such as 0.3"),
            ("--set aperture=9", "aperture is 9 deg, larger than the screen"),
        ],
    )
    def test_of_values(self, place: Path, more: str, message: str):
        assert refused(train.main, *small_run(place, *more.split())).startswith(message)

    def test_a_device_that_is_not_there(self, place: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        message = "device 'cuda': this machine has no CUDA device that torch can use; choose cpu or auto"
        assert refused(train.main, *small_run(place, "--device", "cuda")) == message

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
        assert refused(train.main, *small_run(place, name, "notes/here")) == message
        assert (tmp_path / "notes").read_text() == "mine"

    def test_a_folder_that_holds_another_run(self, place: Path, finished: tuple[Path, str]):
        folder, _ = finished
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        message = f"--out {folder}: holds another run; choose another folder, or continue it with --resume"
        assert refused(train.main, *small_run(place, "--out", str(folder))) == message
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            ("--units 5", "--units 5: the run in {} has 16; leave it out, or use another folder"),
            ("--areas 0", "--areas 0: the run in {} has 1; leave it out"),
            ("--side 2", "--side 2: the run in {} has none; leave it out"),
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
        code, out, _ = output_of(train.main, *small_run(place, "--resume", "--out", str(finished[0])))
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
    words = small_run(place)
    words[words.index("--frontend") + 1] = frontend
    return refused(train.main, *words)
