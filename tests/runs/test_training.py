"""Training as a function: what it gives can be loaded, it goes on where it was stopped, and config.json repeats it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cordstasks import train as command
from cordstasks.cordsnet import save
from cordstasks.errors import InputError
from cordstasks.frontend import FrontEnd
from cordstasks.rnn.connectivity import Connectivity, Convolutional, Full, LowRank, Sparse
from cordstasks.runs import TrainedNetworks, TrainedRun, load_run, train
from cordstasks.training.networks import initial_network
from cordstasks.training.settings import AbstractSettings, VisualSettings
from cordstasks.utils.interrupt import Interrupted
from helpers import (
    ROOT,
    SHORT,
    assert_same_run,
    assert_same_state,
    contents,
    ctrl_c,
    flags,
    printed_by,
    read,
    settling_cordsnet,
)

VISUAL: dict[str, Any] = {"trials": 24, "validation": 12, "heldout": 30, "steps": 30, "evaluate_every": 10, "units": 16}
ABSTRACT: dict[str, Any] = {"validation": 20, "heldout": 20, "steps": 30, "evaluate_every": 10, "units": 16, "seeds": (2, 6)}
TASKS = {"visual": "saccade", "abstract": "dms"}
FILES = {"visual": ("best.pt", "checkpoint.pt"), "abstract": ("networks.pt", "checkpoint.pt")}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the weights of a small CordsNet, and a bank that all runs here share."""
    folder = tmp_path_factory.mktemp("place")
    save(settling_cordsnet(), folder / "r2.safetensors")
    return folder


def given(place: Path, family: str) -> dict[str, Any]:
    """What a small run is given."""
    if family == "abstract":
        return {"device": "cpu", "batch": 8, **ABSTRACT, "parameters": {"delay": (60, 100)}}
    where = {"frontend": str(place / "r2.safetensors"), "readout": "pool", "bank": place / "bank", "device": "cpu"}
    return {**where, "batch": 8, **VISUAL, "parameters": SHORT["saccade"]}


@pytest.fixture(scope="module", params=TASKS)
def run(
    request: pytest.FixtureRequest, place: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, TrainedRun | TrainedNetworks]:
    """The family, and a run that came to its end."""
    out = tmp_path_factory.mktemp("runs") / request.param
    return request.param, train(TASKS[request.param], out=out, **given(place, request.param))


def assert_same_weights(one: TrainedRun | TrainedNetworks, other: TrainedRun | TrainedNetworks) -> None:
    if isinstance(one, TrainedRun):
        assert isinstance(other, TrainedRun)
        assert_same_state(one.model.state_dict(), other.model.state_dict())
        return
    assert isinstance(other, TrainedNetworks)
    assert_same_state(*([network.state_dict() for network in made.networks] for made in (one, other)))


class TestTrain:
    def test_what_it_gives_is_what_can_be_loaded(self, place: Path, run: tuple[str, TrainedRun | TrainedNetworks]):
        family, made = run
        again = load_run(made.path, device="cpu", bank=place / "bank")
        assert type(again) is type(made)
        assert again.settings == made.settings
        assert again.task == made.task
        assert again.summary == made.summary == read(made.path)
        assert_same_weights(made, again)
        assert isinstance(made.settings, VisualSettings if family == "visual" else AbstractSettings)
        assert made.settings.parameters == given(place, family)["parameters"]

    def test_its_numbers_are_those_of_its_weights(self, run: tuple[str, TrainedRun | TrainedNetworks]):
        _, made = run
        if isinstance(made, TrainedRun):
            assert made.behaviour(made.heldout()).correct.mean() == made.summary["heldout"]["accuracy"]
            return
        for network, row in zip(made.networks, made.summary["networks"], strict=True):
            batch = made.task.sample(made.settings.heldout, seed=[row["seed"], 3])
            score = made.task.score(network(torch.from_numpy(batch.inputs)).detach().numpy(), batch)
            assert score == pytest.approx(row["score"], abs=1e-6)
        assert len(made.learned()) == made.summary["learned"]

    def test_the_command_does_the_same(
        self, place: Path, run: tuple[str, TrainedRun | TrainedNetworks], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.chdir(tmp_path)
        family, made = run
        chosen = given(place, family)
        if family == "abstract":
            chosen["seeds"] = "2,6"
        printed = printed_by(command.main, "--task", TASKS[family], *flags(**chosen))
        assert f"run folder runs/{TASKS[family]}-001" in printed
        assert_same_run(made.path, tmp_path / "runs" / f"{TASKS[family]}-001", FILES[family])
        ours, theirs = (read(path, "config.json") for path in (made.path, tmp_path / "runs" / f"{TASKS[family]}-001"))
        assert ours == theirs

    def test_its_settings_alone_repeat_it(
        self, place: Path, run: tuple[str, TrainedRun | TrainedNetworks], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """From what config.json holds, also after the defaults of the task have changed."""
        family, made = run
        kind = type(made.settings)
        settings = kind.from_dict(read(made.path, "config.json"), "config.json")
        if family == "visual":
            other = {"areas": (0,), "average": 0.5, "batch": 3, "learning_rate": 1.0, "inputs": 2, "whiten": True}
            monkeypatch.setattr(type(made.task), "run_defaults", other)
        where = {"bank": place / "bank"} if family == "visual" else {}
        again = train(out=tmp_path / "again", device="cpu", **where, **settings.as_dict())
        assert_same_weights(made, again)
        assert again.settings == made.settings

    def test_a_finished_run_is_given_again_and_nothing_is_written(
        self, place: Path, run: tuple[str, TrainedRun | TrainedNetworks]
    ):
        family, made = run
        before = contents(made.path)
        for again in ({}, given(place, family)):
            assert_same_weights(made, train(out=made.path, resume=True, **{"device": "cpu", **again}))
        assert contents(made.path) == before

    @pytest.mark.parametrize("step", [0, 9, 29])
    def test_a_stopped_run_ends_as_the_uninterrupted_one(
        self, place: Path, run: tuple[str, TrainedRun | TrainedNetworks], tmp_path: Path, step: int
    ):
        family, made = run
        out = tmp_path / "cut"
        with ctrl_c(step), pytest.raises(Interrupted) as stopped:
            train(TASKS[family], out=out, **given(place, family))
        assert stopped.value.again == f"python -m cordstasks.train --resume --out {out}"
        assert not (out / "summary.json").exists()
        again = train(out=out, resume=True, device="cpu", **({"bank": place / "bank"} if family == "visual" else {}))
        assert_same_weights(made, again)
        assert (out / "metrics.jsonl").read_text() == (made.path / "metrics.jsonl").read_text()
        if family == "visual":
            assert_same_run(made.path, out)

    def test_in_a_notebook_nothing_is_printed(self, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        train("dms", out=tmp_path / "run", **{**given(place, "abstract"), "steps": 2})
        assert capsys.readouterr().out == ""

    def test_verbose_is_what_the_command_prints(self, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        train("dms", out=tmp_path / "run", verbose=True, **{**given(place, "abstract"), "steps": 2})
        assert "of 2 learned the task" in capsys.readouterr().out


class TestMistakes:
    @pytest.fixture(autouse=True)
    def nothing_is_computed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A mistake is found before anything costly begins."""
        monkeypatch.setattr(FrontEnd, "features", lambda *_, **__: pytest.fail("the mistake was not found in time"))
        monkeypatch.chdir(tmp_path)

    @pytest.mark.parametrize(
        ("task", "wrong", "message"),
        [
            (None, {}, "task=None: name one, such as task='rdm'"),
            ("rmd", {}, "task 'rmd' is unknown; did you mean 'rdm'?"),
            ("saccade", {"stepz": 3}, "setting of a run of the visual family 'stepz' is unknown; did you mean 'steps'?"),
            ("saccade", {"seeds": 3}, "setting of a run of the visual family 'seeds' is unknown; did you mean 'seed'?"),
            ("dms", {"frontend": "cordsnet-r8"}, "setting of a run of the abstract family 'frontend' is unknown"),
            ("dms", {"seed": 3}, "setting of a run of the abstract family 'seed' is unknown; did you mean 'seeds'?"),
            ("saccade", {"batch": 0}, "batch=0: give a whole number of at least 1"),
            ("dms", {"rank": 3}, "rank=3: matters to lowrank networks only; leave it out, or give connectivity=lowrank"),
            ("dms", {"parameters": {"delays": 5}}, "parameter of task dms 'delays' is unknown; did you mean 'delay'?"),
            ("dms", {"device": "cdua"}, "device 'cdua' is unknown; did you mean 'cuda'?"),
            (["dms"], {}, "task ['dms'] is unknown"),
            ("dms", {"device": None}, "device None is unknown"),
            ("dms", {"out": 5}, "out=5: give the path of a file or folder"),
            ("dms", {"out": ""}, "out='': give the path of a file or folder"),
            ("dms", {"parameters": 5}, "parameters=5: give names and values"),
            ("dms", {"rank": np.array([2, 3])}, "rank=(2, 3): give a whole number of at least 1"),
            ("dms", {"shape": 3}, "shape=3: give channels, height and width"),
            ("dms", {"dt": 1e-300}, "dt=1e-300 ms makes more than 1,000,000 steps of fixation (100 ms); choose a larger dt"),
            ("dms", {"parameters": {"delay": 1e9}}, "dt=20 ms makes more than 1,000,000 steps of delay (1e+09 ms)"),
            ("dms", {"weights": "r2"}, "weights='r2': goes with visual tasks"),
            ("dms", {"bank": "bank"}, "bank='bank': goes with visual tasks"),
            ("saccade", {"frontend": 5}, "frontend=5: give a name"),
            ("saccade", {"weights": 5}, "weights 5 is unknown"),
            ("saccade", {"bank": 5}, "bank=5: give the path of a file or folder"),
            ("saccade", {"bank": ""}, "bank='': give the path of a file or folder"),
            ("saccade", {"bank_limit": "x"}, "bank_limit='x': give a size above 0 (GB)"),
            ("rdm", {"monkey": 5, "parameters": {}}, "monkey=5: give the path of a file or folder"),
            ("rdm", {"monkey": "", "parameters": {}}, "monkey='': give the path of a file or folder"),
            ("catdog", {"parameters": {"stimuli_dir": ""}}, "stimuli_dir='': give the path of a file or folder"),
        ],
    )
    def test_one_line_names_the_parameter(self, place: Path, task: Any, wrong: dict[str, Any], message: str, tmp_path: Path):
        family = "abstract" if task == "dms" else "visual"
        with pytest.raises(InputError) as caught:
            train(task, **{**given(place, family), **wrong})
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []

    def test_a_run_of_a_task_s_file_is_found_by_the_file(self, tmp_path: Path):
        (tmp_path / "mine.py").write_text((ROOT / "examples" / "go_nogo.py").read_text().replace("go-nogo", "found-by-file"))
        small = {**ABSTRACT, "batch": 8, "device": "cpu"}
        with ctrl_c(3), pytest.raises(Interrupted):
            train("mine.py", **small)
        run = train("mine.py", resume=True, device="cpu")
        assert run.path == Path("runs/found-by-file-001")
        assert run.summary["networks"]

    @pytest.mark.parametrize("folder", [5, None, ""])
    def test_what_is_no_folder_of_a_run(self, folder: Any):
        with pytest.raises(InputError, match=rf"^folder={folder!r}: give the path of a file or folder$"):
            load_run(folder)

    def test_a_folder_that_holds_another_run(self, place: Path, run: tuple[str, TrainedRun | TrainedNetworks]):
        family, made = run
        before = contents(made.path)
        with pytest.raises(InputError) as caught:
            train(TASKS[family], out=made.path, **given(place, family))
        message = f"out={made.path}: holds another run; choose another folder, or continue it with resume=True"
        assert str(caught.value) == message
        assert contents(made.path) == before

    def test_other_settings_are_not_continued(self, run: tuple[str, TrainedRun | TrainedNetworks]):
        _, made = run
        with pytest.raises(InputError, match=r"^units=17: the run in .* has 16; leave it out, or use another folder$"):
            train(out=made.path, resume=True, units=17, device="cpu")

    def test_nothing_to_continue(self, tmp_path: Path):
        with pytest.raises(InputError, match=r"^resume=True: runs/ holds no unfinished run; name .* with out=FOLDER$"):
            train(resume=True)
        with pytest.raises(InputError, match=r"^out=nowhere: holds no run \(no config\.json\); name the folder of a run$"):
            train(out="nowhere", resume=True)
        assert list(tmp_path.iterdir()) == []

    def test_ctrl_c_before_a_run_has_begun(self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        def interrupt(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("cordstasks.runs.visual.FrontEnd", interrupt)
        with pytest.raises(KeyboardInterrupt) as stopped:
            train("saccade", **given(place, "visual"))
        assert not isinstance(stopped.value, Interrupted)
        assert list(tmp_path.iterdir()) == []


class TestAnyConnectivitySees:
    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            (Full(), {"activation": "tanh", "form": "current"}),
            (LowRank(3), {"connectivity": "lowrank", "rank": 3, "activation": "softplus"}),
            (Sparse(0.4), {"connectivity": "sparse", "density": 0.4, "excitatory": 0.75}),
            (Convolutional(2, 3, 4), {"connectivity": "conv", "shape": (2, 3, 4), "excitatory": 0.5, "train_inputs": False}),
            (Full(), {"excitatory": 0.8, "train_outputs": False, "gain": 0.5, "dt": 10.0, "tau": 50.0}),
        ],
    )
    def test_a_visual_task_is_learned_by_it_and_loaded_again(
        self, place: Path, tmp_path: Path, kind: Connectivity, options: dict[str, Any]
    ):
        chosen = {**given(place, "visual"), "units": 24, **options}
        made = train("saccade", out=tmp_path / "run", **chosen)
        again = load_run(tmp_path / "run", device="cpu", bank=place / "bank")
        assert isinstance(made, TrainedRun)
        assert isinstance(again, TrainedRun)
        assert made.summary["connectivity"] == made.settings.connectivity == chosen.get("connectivity", "full")
        for run in (made, again):
            network = run.model.rnn
            assert network.kind == kind
            assert (network.units, network.activation, network.form) == (24, run.settings.activation, run.settings.form)
            weights = network.connectivity.matrix().detach()
            excitatory, inhibitory = (weights >= 0).all(0), (weights <= 0).all(0)  # by the unit that they come from
            if "excitatory" in options:
                assert (excitatory | inhibitory).all()
                assert float(excitatory.float().mean()) == pytest.approx(options["excitatory"], abs=0.05)
            else:
                assert not (excitatory | inhibitory).any()
            assert float(network.alpha) == pytest.approx(run.settings.dt / run.settings.tau)
        assert_same_weights(made, again)
        before = initial_network(made.settings, made.settings.inputs or 0, len(made.task.actions), seed=0).state_dict()
        moved = {name: not torch.equal(value, before[name]) for name, value in made.model.rnn.state_dict().items()}
        assert moved["input_weights"] is options.get("train_inputs", True)
        assert moved["output_weights"] is options.get("train_outputs", True)
        for name in made.model.rnn.recurrent_names:
            assert moved[name] is (name in dict(made.model.rnn.named_parameters()))  # a mask and signs stay
        batch = made.heldout()
        np.testing.assert_array_equal(made.behaviour(batch).logits, again.behaviour(batch).logits)
        assert made.behaviour(batch).correct.mean() == made.summary["heldout"]["accuracy"]
