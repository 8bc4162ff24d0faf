"""The comparison of architectures as a command, at a size that only shows the way."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from cordstasks import compare, tasks
from cordstasks.experiments.groups import common_trials, rates_of
from cordstasks.rnn import RNN
from helpers import printed_by, read, refused
from html_reader import assert_whole


@pytest.mark.parametrize("name", tasks.abstract_names())
def test_common_trials_have_no_noise_no_repeats_and_one_course(name: str):
    trials, again = (common_trials(tasks.get(name), 12, dt=20.0) for _ in range(2))
    inputs = trials.inputs
    assert inputs is not None
    np.testing.assert_array_equal(inputs, again.inputs)
    assert len({row.tobytes() for row in inputs}) == len(inputs) == len(trials) <= 12
    assert all(len(values) == len(inputs) for values in trials.conditions.values())
    assert trials.steps == inputs.shape[1]
    steps = np.abs(np.diff(inputs, axis=1)).sum(2) > 1e-6  # without noise inputs change at the ends of periods only
    assert steps.sum(1).max() <= 4


def test_common_trials_hold_durations_at_their_middle_and_leave_other_pairs_of_numbers_alone():
    task = tasks.get("parametric-wm", differences=(22, 24), delay=(200.0, 400.0), first=(15.0, 65.0))
    trials = common_trials(task, 12, dt=10.0)
    conditions = trials.conditions
    assert trials.steps == (100 + 40 + 300 + 100 + 100) / 10
    assert set(np.abs(conditions["f1"] - conditions["f2"])) == {22, 24}


def test_trajectories_are_the_noise_free_rates():
    network = RNN(2, 7, 1, noise=3.0)
    inputs = np.random.default_rng(0).normal(size=(4, 5, 2)).astype(np.float32)
    first, second = rates_of(network, inputs), rates_of(network, inputs)
    np.testing.assert_array_equal(first, second)
    weights = {name: value.detach().numpy() for name, value in network.named_parameters()}
    x = np.zeros((4, 7))
    for step in range(5):
        drive = x @ weights["recurrent_weights"].T + inputs[:, step] @ weights["input_weights"].T + weights["bias"]
        x = 0.8 * x + 0.2 * np.maximum(drive, 0)
        np.testing.assert_allclose(first[:, step], x, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_two_architectures_from_training_to_figures_and_a_recording(tmp_path: Path):
    words = ["--tasks", "perceptual-dm", "--connectivities", "full", "conv", "sparse", "--seeds", "0:2", "--units", "36"]
    words += ["--permutations", "2", "--out", str(tmp_path / "out"), "--report"]
    out = printed_by(compare.main, *words)
    report = assert_whole((tmp_path / "out" / "report.html").read_text())
    assert len(report.all("img")) == 4
    assert read(tmp_path / "out")["command"].startswith("python -m cordstasks.compare --tasks perceptual-dm")
    folder = tmp_path / "out" / "perceptual-dm"
    assert {p.name for p in folder.glob("*.png")} == {"distances.png", "embedding.png", "tree.png", "trajectories.png"}
    result = read(tmp_path / "out")["tasks"]["perceptual-dm"]
    assert [row["trained"] for row in result["networks"]] == [2, 2, 2]
    assert [row["other"] for row in result["closer_to_full"]] == ["sparse"]
    assert "convolutional networks' distance to full ones" in out
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("networks.pt")}
    rows = list(csv.DictReader((folder / "conditions.csv").read_text().splitlines()))
    recording = np.random.default_rng(0).normal(size=(len(rows), 51, 9))
    np.save(tmp_path / "v4.npy", recording)
    assert "recording" in printed_by(compare.main, *words, "--recording", tmp_path / "v4.npy")
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").rglob("networks.pt")}  # not trained again
    np.save(tmp_path / "v4.npy", recording[:, 1:])
    assert "has shape" in refused(compare.main, *words, "--recording", tmp_path / "v4.npy")
    assert "holds networks of other settings; use another folder" in refused(compare.main, *words, "--steps", "7")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--tasks", "dmss"), "task 'dmss' is unknown; did you mean 'dms'?"),
        (("--connectivities", "dense"), "connectivity 'dense' is unknown"),
        (("--activations", "sigmoid"), "activation 'sigmoid' is unknown"),
        (("--alpha", "1.5"), "--alpha 1.5: give a number from 0 to 1"),
        (("--conditions", "2"), "--conditions 2: must be at least 4"),
        (("--recording", "nowhere.npy"), "--recording nowhere.npy: give a file that exists, and one task"),
    ],
)
def test_one_line_says_what_is_wrong(words: tuple[str, ...], message: str):
    assert refused(compare.main, *words).startswith(message)
