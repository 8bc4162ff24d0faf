"""Motion kernels of a run: a model that sees motion has one, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cordstasks import kernel, tasks
from cordstasks.analysis.psychophysics import motion_energy
from cordstasks.errors import InputError
from cordstasks.experiments import kernels
from cordstasks.frontend import FrontEnd
from cordstasks.model import MultiAreaModel
from cordstasks.rnn import RNN
from cordstasks.runs.loading import TrainedRun
from cordstasks.tasks import TrialBatch
from cordstasks.training.evaluation import Behaviour, behaviour_of
from cordstasks.training.settings import VisualSettings
from helpers import refused, settling_cordsnet


class Observer(TrainedRun):
    """A run whose model chooses by the motion energy of the first 150 ms of motion."""

    def behaviour(self, batch: TrialBatch) -> Behaviour:
        display, first = self.task.display, []
        for movie, onset in zip(batch.movies, batch.periods["motion"][:, 0], strict=True):
            frames = movie.frames[movie.at(onset + np.arange(0, 150, display.frame_ms))].mean(3) / 255
            energy = motion_energy(frames, pixels_per_degree=display.pixels_per_degree, frame_ms=display.frame_ms)
            first.append(energy.mean())
        logits = torch.zeros(*batch.targets.shape, 3)
        logits[..., 1] = 1e4 * torch.tensor(first)[:, None]
        return behaviour_of(logits, torch.zeros(*batch.targets.shape, 1), batch)


class Waiting(TrainedRun):
    """A run whose model answers by the motion energy of the 65 ms before a time that differs between trials, or never."""

    def behaviour(self, batch: TrialBatch) -> Behaviour:
        display = self.task.display
        logits = torch.zeros(*batch.targets.shape, 3)
        for trial, (movie, onset) in enumerate(zip(batch.movies, batch.periods["motion"][:, 0], strict=True)):
            time = onset + 200.0 + 100.0 * (trial % 3)
            frames = movie.frames[movie.at(np.arange(onset, time, display.frame_ms))].mean(3) / 255
            energy = motion_energy(frames, pixels_per_degree=display.pixels_per_degree, frame_ms=display.frame_ms)
            if trial % 8 != 7:
                logits[trial, int(time / batch.dt) - 1 :, 1 if energy[-5:].mean() > 0 else 2] = 4.0
        return behaviour_of(logits, torch.zeros(*batch.targets.shape, 1), batch)


class Hasty(TrainedRun):
    """A run whose model has reached its bound before motion begins in three of four trials, and else 200 ms after it."""

    def behaviour(self, batch: TrialBatch) -> Behaviour:
        logits = torch.zeros(*batch.targets.shape, 3)
        for trial, onset in enumerate(batch.periods["motion"][:, 0]):
            first = 0 if trial % 4 else int((onset + 200.0) / batch.dt)
            logits[trial, first:, 1 + trial % 2] = 4.0
        return behaviour_of(logits, torch.zeros(*batch.targets.shape, 1), batch)


def run_of(task: Any, folder: Path, kind: type[TrainedRun] = Observer, **summary: Any) -> TrainedRun:
    frontend = FrontEnd(settling_cordsnet(), device="cpu", bank=False)
    model = MultiAreaModel(RNN(2, 3, len(task.actions)), frontend.units)
    return kind(task, frontend, model, VisualSettings(task.id), {}, summary, folder)


def test_a_model_that_looks_early_has_an_early_kernel(tmp_path: Path):
    task = tasks.get("rdm", fixation=100.0, motion=400.0)
    found = kernels.motion_kernel(run_of(task, tmp_path), trials=48, shuffles=200, out=tmp_path / "out")
    times, values, high = (np.array(found[name]) for name in ("times", "kernel", "high"))
    early = (times > 60) & (times < 150)
    assert (values > high)[early].mean() > 0.8
    assert values[early].mean() > 3 * abs(values[times > 300].mean())
    assert found["mean_p_value"] < 0.05
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"summary.json", "kernel.png"}
    assert "48 trials with a coherence of 0" in kernels.lines_of(found)[0]


def test_decisions_at_a_bound_are_aligned_to_their_times(tmp_path: Path):
    task = tasks.get("rdm", fixation=100.0, motion=500.0, reaction_time=True)
    run = run_of(task, tmp_path, Waiting, reaction_times={"bound": 3.9})
    found = kernels.motion_kernel(run, trials=48, shuffles=200, out=tmp_path / "out")
    assert (found["trials"], found["undecided"], found["bound"]) == (42, 6, 3.9)
    assert 280 < found["median_decision"] < 320
    assert max(found["times"]) <= found["median_decision"]
    last = found["to_decision"]
    times, values, high = (np.array(last[name]) for name in ("times", "kernel", "high"))
    assert times[-1] == pytest.approx(-task.display.frame_ms / 2)
    counted = times > -60
    assert (values > high)[counted].all()
    assert values[counted].mean() > 3 * abs(values[times < -130].mean())
    lines = "\n".join(kernels.lines_of(found))
    assert "from the onset of motion: 42 trials" in lines
    assert "choices at a bound of 3.9 log odds" in lines
    assert "6 other trials did not reach it and are left out" in lines
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"summary.json", "kernel.png"}


def test_a_run_without_a_bound_or_without_decisions(tmp_path: Path):
    task = tasks.get("rdm", fixation=100.0, motion=500.0, reaction_time=True)
    with pytest.raises(InputError, match="its trials may be answered at any time, but its summary has no bound"):
        kernels.motion_kernel(run_of(task, tmp_path, Waiting), trials=8)
    with pytest.raises(InputError, match="reaches its bound of 50 in 0 of 8 trials; give more trials"):
        kernels.motion_kernel(run_of(task, tmp_path, Waiting, reaction_times={"bound": 50.0}), trials=8)


def test_decisions_before_motion_have_no_kernel(tmp_path: Path):
    task = tasks.get("rdm", fixation=100.0, motion=500.0, reaction_time=True)
    hasty = run_of(task, tmp_path, Hasty, reaction_times={"bound": 3.9})
    with pytest.raises(InputError, match=r"at the onset of motion in 6 of 8 trials with a decision, before it sees any"):
        kernels.motion_kernel(hasty, trials=8, out=tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_the_seed_names_the_trials(tmp_path: Path):
    run = run_of(tasks.get("rdm", fixation=100.0, motion=200.0), tmp_path)
    first, again, other = (kernels.motion_kernel(run, trials=8, shuffles=9, seed=seed) for seed in (0, 0, 1))
    assert again == first
    assert other["kernel"] != first["kernel"]


def test_a_folder_of_a_run_is_not_written(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="holds a run, whose summary would be replaced; choose another folder"):
        kernels.motion_kernel(run_of(tasks.get("rdm"), tmp_path), trials=4, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_trials_are_independent_of_each_other_also_where_the_task_has_pairs(tmp_path: Path):
    periods = {"fixation": 100.0, "motion": 200.0}
    made = [
        kernels.motion_kernel(run_of(tasks.get("rdm", paired=paired, **periods), tmp_path), trials=8, shuffles=9)
        for paired in (False, True)
    ]
    assert made[0] == made[1]


def test_a_model_that_always_chooses_the_same(tmp_path: Path):
    class Stubborn(TrainedRun):
        def behaviour(self, batch: TrialBatch) -> Behaviour:
            logits = torch.zeros(*batch.targets.shape, 3)
            logits[..., 2] = 1.0
            return behaviour_of(logits, torch.zeros(*batch.targets.shape, 1), batch)

    run = run_of(tasks.get("rdm", fixation=100.0, motion=100.0), tmp_path)
    run = Stubborn(run.task, run.frontend, run.model, run.settings, {}, {}, tmp_path)
    with pytest.raises(InputError, match="the model makes the same choice in all 6 trials; give more trials"):
        kernels.motion_kernel(run, trials=6)


def test_which_runs_have_one(tmp_path: Path):
    with pytest.raises(InputError, match="is a run of task saccade; motion kernels are of task rdm with two"):
        kernels.motion_kernel(run_of(tasks.get("saccade"), tmp_path))
    with pytest.raises(InputError, match="two opposite directions"):
        kernels.motion_kernel(run_of(tasks.get("rdm", directions=(0.0, 90.0)), tmp_path))
    good = run_of(tasks.get("rdm"), tmp_path)
    with pytest.raises(InputError, match="trials=3: give a whole number of at least 4"):
        kernels.motion_kernel(replace(good), trials=3)
    assert "holds no run" in refused(kernel.main, tmp_path / "none", begun=True)
