"""Training many networks: alike together and alone, stopped each by itself, resumed where it was; and its command."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cordstasks.analysis import figures
from cordstasks.errors import InputError
from cordstasks.rnn.stack import RNNStack
from cordstasks.runs import abstract as experiment
from cordstasks.tasks import DelayedMatchToSampleTask
from cordstasks.train import main
from cordstasks.training.abstract import (
    DIVERGED,
    REACHED,
    UNFINISHED,
    Trainer,
    evaluate,
    masked_error,
    side_by_side,
    untrained,
)
from cordstasks.training.settings import AbstractSettings, maps_for, seeds_of_text
from cordstasks.utils.files import Log
from cordstasks.utils.folders import family_of
from cordstasks.utils.run_folder import RunFolder
from helpers import assert_same_state, ctrl_c, read

# a small fast case: three stages of a few steps each
SHORT = {"fixation": 20.0, "first": 60.0, "second": 60.0, "decision": 60.0, "delay": (60.0, 1100.0)}
SMALL: dict[str, Any] = {
    "units": 16,
    "steps": 24,
    "batch": 6,
    "evaluate_every": 4,
    "validation": 30,
    "heldout": 40,
    "parameters": SHORT,
}


def small(connectivity: str = "full", **options: Any) -> AbstractSettings:
    shape = (1, 4, 4) if connectivity == "conv" else None
    return AbstractSettings("dms", connectivity=connectivity, **{**SMALL, "shape": shape, "seeds": (0,), **options})


def trained(settings: AbstractSettings) -> Trainer:
    trainer = Trainer(settings)
    for _ in trainer.run():
        pass
    return trainer


def states(trainer: Trainer) -> list[dict[str, torch.Tensor]]:
    return [network.state_dict() for network in trainer.best.networks()]


class TestTogetherAndAlone:
    @pytest.mark.parametrize("connectivity", ["full", "lowrank", "sparse", "conv"])
    def test_a_network_comes_out_the_same(self, connectivity: str):
        """The goal is low, so that stages and stops differ between the networks and the stack shrinks on the way."""
        chosen = small(connectivity, seeds=(3, 8, 5), goal=0.6)
        together = trained(chosen)
        ends = {(progress.state, progress.step, progress.stage) for progress in together.progress}
        for place, seed in enumerate(chosen.seeds):
            alone = trained(replace(chosen, seeds=(seed,)))
            one, other = vars(alone.progress[0]), vars(together.progress[place])
            assert {k: one[k] for k in ("state", "step", "stage", "best_step")} == {
                k: other[k] for k in ("state", "step", "stage", "best_step")
            }
            for name, value in states(alone)[0].items():
                torch.testing.assert_close(states(together)[place][name], value, rtol=1e-3, atol=1e-4, msg=name)
        assert len(ends) > 1 or connectivity != "full"

    def test_the_first_batch_is_a_step_of_adam_on_the_clipped_gradient_of_the_mean_error(self):
        chosen = small(seeds=(4,), noise=0.0, clip=0.05, steps=1)
        trainer = Trainer(chosen)
        before = untrained(chosen, 4)
        stage = trainer.stages[0]
        batch = stage.sample(8 * 6, seed=[4, 0, 0, 0])
        outputs = before(torch.from_numpy(batch.inputs[:6]))
        plain = outputs.detach()
        total = sum(
            np.mean([float(((plain[i, t] - torch.from_numpy(batch.targets[i, t])) ** 2).mean())
                     for t in np.flatnonzero(batch.mask[i])])
            for i in range(6)
        )  # fmt: skip
        loss = masked_error(outputs[None], torch.from_numpy(batch.targets[None, :6]), torch.from_numpy(batch.mask[None, :6]))
        assert float(loss.detach()) == pytest.approx(total / 6, rel=1e-5)
        optimiser = torch.optim.Adam(before.parameters(), lr=chosen.learning_rate)
        loss.sum().backward()
        assert float(torch.nn.utils.clip_grad_norm_(before.parameters(), 0.05)) > 0.05
        optimiser.step()
        trainer._learn()
        after = trainer.stack.network(0).state_dict()
        for name, value in before.state_dict().items():
            torch.testing.assert_close(after[name], value, rtol=1e-4, atol=1e-6, msg=name)

    def test_the_mask_and_trials_without_one(self):
        outputs, targets = torch.ones(2, 3, 4, 2), torch.zeros(2, 3, 4, 2)
        mask = torch.zeros(2, 3, 4)
        mask[0, 0, 1], mask[0, 1, 2:] = 1, 0.5
        outputs[0, 1] = 3
        losses = masked_error(outputs, targets, mask)
        assert losses.tolist() == pytest.approx([(1 + 9) / 2, 0])

    def test_batches_of_different_length_are_padded(self):
        long, short = (DelayedMatchToSampleTask(**{**SHORT, "delay": delay}) for delay in (600.0, 100.0))
        batches = [long.sample(5, seed=1), short.sample(5, seed=2)]
        inputs, targets, mask = side_by_side(batches, torch.device("cpu"))
        assert inputs.shape == (2, 5, 40, 2)
        steps = short.steps(20)
        np.testing.assert_array_equal(inputs[1, :, :steps], batches[1].inputs)
        assert not any(t[1, :, steps:].any() for t in (inputs, targets, mask))
        settings = small(seeds=(0, 1))
        stack = RNNStack([untrained(settings, seed) for seed in (0, 1)])
        both = evaluate(stack, long, batches, torch.device("cpu"))
        one = evaluate(stack.subset([1]), long, batches[1:], torch.device("cpu"))
        assert both[1] == one[0]


class TestStops:
    def test_a_network_that_diverges_is_dropped_and_touches_no_other(self):
        class Poisoned(Trainer):
            def _batch(self, number: int) -> Any:
                batch = super()._batch(number)
                if self.step == 5 and self.progress[number].seed == 2:
                    return replace(batch, inputs=np.full_like(batch.inputs, np.nan))
                return batch

        chosen = small(seeds=(1, 2, 3), steps=8)
        clean, trainer = trained(chosen), Poisoned(chosen)
        for _ in trainer.run():
            pass
        assert [progress.state for progress in trainer.progress] == [UNFINISHED, DIVERGED, UNFINISHED]
        assert trainer.progress[1].step == 5
        assert trainer.heldout()[1] is None
        for place in (0, 2):
            for name, value in states(clean)[place].items():
                torch.testing.assert_close(states(trainer)[place][name], value, rtol=1e-5, atol=1e-7, msg=name)

    @pytest.mark.parametrize("evaluate_every", [2, 50])  # as they diverge, and never before
    def test_all_may_diverge(self, tmp_path: Path, evaluate_every: int):
        chosen = small(seeds=(1, 2), learning_rate=1e30, evaluate_every=evaluate_every)
        summary = experiment.carry_out(chosen, RunFolder(tmp_path))
        assert (summary["diverged"], summary["learned"]) == (2, 0)
        assert [row["score"] for row in summary["networks"]] == [None, None]
        text = experiment.table(tmp_path)
        assert "diverged" in text
        assert not (tmp_path / "trials.png").exists()  # there is no trained network to show
        assert "trials.png" not in text

    def test_the_best_weights_on_the_whole_task_are_kept(self):
        trainer = Trainer(small(seeds=(1,), goal=1.0, parameters={**SHORT, "delay": 100.0}, steps=40, learning_rate=0.02))
        kept: dict[int, dict[str, torch.Tensor]] = {}
        for rows in trainer.run():
            if rows and trainer.active:
                kept[trainer.step] = trainer.stack.network(0).state_dict()
        (progress,) = trainer.progress
        assert progress.state in (REACHED, UNFINISHED)
        if progress.best_step in kept:
            for name, value in kept[progress.best_step].items():
                assert torch.equal(states(trainer)[0][name], value)
        assert progress.best >= progress.score

    def test_stages_are_gone_through_in_order(self, tmp_path: Path):
        chosen = small(seeds=(3, 8), goal=0.55, steps=60)
        experiment.carry_out(chosen, RunFolder(tmp_path), figures=False)
        for seed in chosen.seeds:
            rows = [row for row in Log(tmp_path / "metrics.jsonl").read() if row["seed"] == seed]
            stages = [row["stage"] for row in rows]
            assert stages == sorted(stages)
            for now, then in zip(rows, rows[1:], strict=False):
                assert then["stage"] == now["stage"] + (now["score"] >= 0.55)

    @pytest.mark.parametrize(
        ("task", "parameters", "trials"),
        [
            ("perceptual-dm", {"catch": 0.9}, {"validation": 2, "heldout": 1}),
            ("memory-pro", {"locations": 2, "delay": 100.0}, {"validation": 2, "heldout": 2}),
            ("parametric-wm", {"differences": (24,), "delay": 100.0}, {"validation": 2, "heldout": 2}),
        ],
    )
    def test_trials_that_define_no_score_do_not_stop_a_run(
        self, task: str, parameters: dict[str, Any], trials: dict[str, int], tmp_path: Path
    ):
        given: dict[str, Any] = {"units": 8, "steps": 6, "batch": 2, "evaluate_every": 1, "parameters": parameters, **trials}
        chosen = AbstractSettings(task, seeds=tuple(range(8)), **given)
        summary = experiment.carry_out(chosen, RunFolder(tmp_path), figures=True)
        assert len(summary["networks"]) == 8
        undefined = [row["score"] is None for row in Log(tmp_path / "metrics.jsonl").read()]
        assert any(undefined)
        assert not all(undefined)
        assert "learned the task" in experiment.table(tmp_path)


class TestRunFolder:
    def test_a_run_and_its_networks(self, tmp_path: Path):
        chosen = small("sparse", seeds=(2, 6), goal=0.6)
        summary = experiment.carry_out(chosen, RunFolder(tmp_path))
        for name in (
            "config.json",
            "metrics.jsonl",
            "checkpoint.pt",
            "summary.json",
            "networks.pt",
            "learning.png",
            "trials.png",
        ):
            assert (tmp_path / name).is_file(), name
        assert summary == read(tmp_path)
        assert summary["learned"] == sum(row["learned"] for row in summary["networks"])
        networks = experiment.load_networks(tmp_path)
        task = chosen.abstract_task()
        for network, row in zip(networks, summary["networks"], strict=True):
            batch = task.sample(chosen.heldout, seed=[row["seed"], 3])
            outputs = network(torch.from_numpy(batch.inputs)).detach().numpy()
            assert task.score(outputs, batch) == pytest.approx(row["score"], abs=1e-6)
        assert len(experiment.load_networks(tmp_path, learned=True)) == summary["learned"]
        mask = networks[0].get_buffer("recurrent_mask")
        assert summary["parameters"] == int(mask.sum()) + 16 * 2 + 16 + 16 + 1
        text = experiment.table(tmp_path)
        assert f"{summary['learned']} of 2 learned the task (accuracy of at least 0.95 on 40 fresh trials)" in text

    @pytest.mark.parametrize("step", [0, 14, 23])
    def test_a_stopped_run_goes_on_as_if_it_had_not_been(self, tmp_path: Path, step: int):
        chosen = small("lowrank", seeds=(2, 6, 9), goal=0.6)
        whole = experiment.carry_out(chosen, RunFolder(tmp_path / "whole"), figures=False)
        with ctrl_c(step), pytest.raises(KeyboardInterrupt):
            experiment.carry_out(chosen, RunFolder(tmp_path / "cut"), figures=False)
        assert torch.load(tmp_path / "cut" / "checkpoint.pt", weights_only=True)["step"] == step + 1
        assert not (tmp_path / "cut" / "summary.json").exists()
        resumed = experiment.carry_out(chosen, RunFolder(tmp_path / "cut"), resume=True, figures=False)
        assert resumed["networks"] == whole["networks"]
        logs = [Log(tmp_path / name / "metrics.jsonl").read() for name in ("whole", "cut")]
        assert logs[0] == logs[1]
        for file, parts in (("networks.pt", ("seeds", "networks")), ("checkpoint.pt", ("step", "progress", "best"))):
            saved = [torch.load(tmp_path / name / file, weights_only=True) for name in ("whole", "cut")]
            assert_same_state(*({part: state[part] for part in parts} for state in saved))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has come to its end."""
    folder = tmp_path_factory.mktemp("runs") / "begun"
    experiment.carry_out(small(seeds=(2, 6)), RunFolder(folder), figures=False)
    return folder


class TestDamagedRuns:
    """One line that names the file, from the command that resumes and from what loads the networks."""

    @pytest.fixture
    def run(self, begun: Path, tmp_path: Path) -> Path:
        shutil.copytree(begun, tmp_path / "run")
        return tmp_path / "run"

    @pytest.mark.parametrize("name", [field.name for field in fields(AbstractSettings)])
    def test_settings(self, run: Path, name: str):
        config = read(run, "config.json")
        without = {key: value for key, value in config.items() if key != name}
        changed = [without, {**config, name: {"a": 1}}, {**config, name: [[1]]}]
        # any object may hold parameters, until the task looks at them
        for wrong in [changed[0], changed[2]] if name == "parameters" else changed:
            (run / "config.json").write_text(json.dumps(wrong))
            for use in (experiment.load_networks, lambda path: main(["--resume", "--out", str(path)])):
                with pytest.raises(InputError, match=rf"run/config\.json: .*{name}") as caught:
                    use(run)
                assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("file", ["networks.pt", "checkpoint.pt"])
    @pytest.mark.parametrize(
        "change",
        [
            lambda state: {},
            lambda state: [state],
            lambda state: {**state, "networks": {}},
            lambda state: {**state, "networks": "none"},
            lambda state: {**state, "networks": {k: v[:, :1] for k, v in state["networks"].items()}},
            lambda state: {**state, "networks": {k: v[:1] for k, v in state["networks"].items()}},
        ],
    )
    def test_weights(self, run: Path, file: str, change: Any):
        state = torch.load(run / file, weights_only=True)
        if file == "checkpoint.pt":  # as it was before the end
            state |= {"active": [0, 1], "networks": state["best"], "step": 8}
        torch.save(change(state), run / file)
        if file == "checkpoint.pt":
            (run / "networks.pt").unlink()
            (run / "summary.json").unlink()
        use = {
            "networks.pt": lambda: experiment.load_networks(run),
            "checkpoint.pt": lambda: main(["--resume", "--out", str(run)]),
        }
        with pytest.raises(InputError, match=rf"run/{re.escape(file)}: (does not hold what this run needs|damaged)"):
            use[file]()

    @pytest.mark.parametrize(
        "change",
        [
            {"step": "x"},
            {"progress": [{"seed": 2}]},
            {"progress": []},
            {"active": [7]},
            {"best": {}},
            {"moments": {"bias": {"exp_avg": torch.zeros(1), "exp_avg_sq": torch.zeros(1), "step": 1}}},
        ],
    )
    def test_checkpoint(self, run: Path, change: dict[str, Any]):
        state = torch.load(run / "checkpoint.pt", weights_only=True)
        state |= {"active": [0, 1], "networks": state["best"], "step": 8, **change}
        torch.save(state, run / "checkpoint.pt")
        with pytest.raises(InputError, match=r"run/checkpoint\.pt: does not hold what this run needs"):
            experiment.carry_out(small(seeds=(2, 6)), RunFolder(run), resume=True)

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"networks": 3}', '{"networks": [{"seed": 2}]}'])
    def test_summary(self, run: Path, content: str):
        (run / "summary.json").write_text(content)
        with pytest.raises(InputError, match=r"run/summary\.json: "):
            experiment.load_networks(run, learned=True)
        with pytest.raises(InputError, match=r"run/summary\.json: "):
            main(["--resume", "--out", str(run)])

    @pytest.mark.parametrize("content", [None, "", "[1]\nnull\n", '{"step": 4, "sco'])
    def test_a_lost_log_is_told(self, run: Path, content: str | None, capsys: pytest.CaptureFixture[str]):
        (run / "metrics.jsonl").unlink()
        (run / "summary.json").unlink()
        if content is not None:
            (run / "metrics.jsonl").write_text(content)
        assert main(["--resume", "--out", str(run)]) == 0
        assert capsys.readouterr().out.count("metrics.jsonl lacks rows of steps 4 to 24") == 1


class TestCommand:
    ARGUMENTS = (
        *("--task", "dms", "--connectivity", "lowrank", "--rank", "3", "--seeds", "1,4", "--units", "16", "--steps", "4"),
        *("--batch", "5", "--heldout", "20", "--validation", "20", "--set", "delay=[60,1100]", "--device", "cpu"),
    )

    def test_it_trains_and_resumes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        out = tmp_path / "run"
        assert main([*self.ARGUMENTS, "--out", str(out)]) == 0
        printed = capsys.readouterr().out
        assert "task dms, 2 networks: lowrank, 16 units" in printed
        assert "of 2 learned the task" in printed
        config = read(out, "config.json")
        assert (config["rank"], config["seeds"], config["parameters"]) == (3, [1, 4], {"delay": [60, 1100]})
        assert main(["--resume", "--out", str(out)]) == 0
        assert "this run is finished" in capsys.readouterr().out
        (out / "summary.json").unlink()
        assert main(["--task", "dms", "--resume", "--rank", "3", "--seeds", "1,4", "--out", str(out)]) == 0
        (out / "summary.json").unlink()
        with pytest.raises(InputError, match=r"rank=2: the run in .* has 3; leave it out"):
            main(["--task", "dms", "--resume", "--rank", "2", "--out", str(out)])

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--connectivity", "lowrnk"], r"connectivity 'lowrnk' is unknown; did you mean 'lowrank'\?"),
            (["--connectivity", "lowrank", "--rank", "101"], "rank=101: must be from 1 to the number of units, 100"),
            (["--connectivity", "sparse", "--density", "0"], r"density=0\.0: give a number above 0 and at most 1"),
            (["--connectivity", "sparse", "--density", "1.1"], r"density=1\.1: give a number above 0 and at most 1"),
            (["--connectivity", "conv", "--shape", "4x5"], "--shape 4x5: write channels, height and width as 4x5x5"),
            (["--connectivity", "conv", "--shape", "4x5x6"], "shape=4x5x6: .* must be the number of units, 100"),
            (["--connectivity", "conv", "--units", "14"], "units=14: no square maps of at least 3 x 3 hold them"),
            (["--activation", "sigmoid"], "activation 'sigmoid' is unknown"),
            (["--form", "x"], "form 'x' is unknown"),
            (["--seeds", "a:3"], "--seeds a:3: write 0:32 for 0 to 31"),
            (["--seeds", "3:3"], "--seeds 3:3: write 0:32 for 0 to 31"),
            (["--seeds", "1,1"], r"seeds=\(1, 1\): give one or more different seeds"),
            (["--units", "0"], "units=0: give a whole number of at least 1"),
            (["--learning-rate", "nan"], "learning_rate=nan: give a finite number above 0"),
            (["--goal", "2"], r"goal=2\.0: give a score of at most 1"),
            (["--dt", "90", "--tau", "80"], "dt=90: must be at most the time constant tau=80"),
            (["--excitatory", "1"], r"excitatory=1\.0: give a fraction above 0 and below 1"),
            (["--excitatory", "0.8", "--activation", "tanh"], "activation='tanh': Dale's law"),
            (["--set", "delay"], "--set delay: write NAME=VALUE"),
            (["--set", "delay=NaN"], "--set delay=NaN: the value must be a number"),
            (["--set", "delays=5"], "parameter of task dms 'delays' is unknown; did you mean 'delay'"),
            (["--frontend", "x"], "unrecognized arguments: --frontend x; see --help"),
        ],
    )
    def test_mistakes_are_one_line(self, arguments: Sequence[str], message: str):
        with pytest.raises(InputError, match=message) as caught:
            main(["--task", "dms", *arguments])
        assert "\n" not in str(caught.value)

    def test_seeds(self):
        assert seeds_of_text("0:4") == (0, 1, 2, 3)
        assert seeds_of_text("7") == (7,)
        assert seeds_of_text("2,0,5") == (2, 0, 5)

    def test_maps_for_a_number_of_units(self):
        assert maps_for(100) == (4, 5, 5)
        assert maps_for(256) == (16, 4, 4)
        assert maps_for(9) == (1, 3, 3)

    def test_folders_without_a_run(self, tmp_path: Path):
        with pytest.raises(InputError, match=r"path=.*: holds no run \(no config\.json\); name the folder of a run"):
            experiment.load_networks(tmp_path)
        RunFolder(tmp_path).start(small())
        assert family_of(tmp_path) == "abstract"
        with pytest.raises(InputError, match="holds no trained networks"):
            experiment.load_networks(tmp_path)
        (tmp_path / "config.json").write_text(json.dumps({"task": "dms"}))
        for words in (["--task", "dms"], []):
            with pytest.raises(InputError, match=r"holds a run of an earlier version, .*; choose another folder$"):
                main([*words, "--resume", "--out", str(tmp_path)])


class TestFigures:
    def test_learning_curves_draw_every_row(self):
        figure = figures.learning_curves(
            [1, 2, 1, 2, 1], [10, 10, 20, 20, 30], [0.2, np.nan, 0.8, -3.0, 0.9], [1, 1, 1, 1, 2],
            measure="R2", criterion=0.9, title="a task",
        )  # fmt: skip
        (axis,) = figure.axes
        drawn = {(x, y) for line in axis.lines for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True) if x > 1}
        assert drawn == {(10, 0.2), (10, 0.0), (20, 0.8), (20, 0.0), (30, 0.9)}
        assert (axis.get_xlabel(), axis.get_ylabel()) == ("batches of trials", "R2")
        assert axis.get_title(loc="left") == "a task: 2 networks"

    def test_example_trials_draw_inputs_outputs_and_targets(self):
        inputs, outputs = [np.random.default_rng(k).normal(size=(6 + k, 2)) for k in range(3)], []
        outputs = [np.full((6 + k, 1), k) for k in range(3)]
        targets = [np.full((6 + k, 1), np.nan) for k in range(3)]
        figure = figures.example_trials(inputs, outputs, targets, channels=("A", "B"), dt=20.0, title="t")
        upper, lower = figure.axes[1], figure.axes[4]
        np.testing.assert_allclose(upper.lines[1].get_ydata(), inputs[1][:, 1])
        np.testing.assert_allclose(upper.lines[1].get_xdata(), 20 * np.arange(7))
        assert any(np.array_equal(line.get_ydata(), outputs[1][:, 0]) for line in lower.lines)
        assert (lower.get_xlabel(), figure.axes[0].get_ylabel()) == ("time (ms)", "input")

    def test_of_nothing(self):
        with pytest.raises(InputError, match="give equal, not empty"):
            figures.learning_curves([], [], [], [], measure="R2", criterion=0.9, title="")
        with pytest.raises(InputError, match="0 inputs, 0 outputs, 0 targets"):
            figures.example_trials([], [], [], channels=(), dt=20.0, title="")
        some = [np.zeros((4, 2))]
        with pytest.raises(InputError, match=r"inputs: give \(time, 3\)"):
            figures.example_trials(some, some, some, channels=("A", "B", "C"), dt=20.0, title="")
        with pytest.raises(InputError, match=r"inputs, targets, masks, onsets, titles of \[1, 1, 1, 0, 1\] trials"):
            figures.shown_trials(some, some, some, onsets=[], channels=("A", "B"), dt=20.0, titles=["t"], title="t")
        with pytest.raises(InputError, match=r"inputs: give \(time, 3\), and targets and masks of as many steps"):
            figures.shown_trials(some, some, some, onsets=[{}], channels=("A", "B", "C"), dt=20.0, titles=["t"], title="t")
