"""Reports: every setting that a task accepts ends in one, and what cannot be computed is left out and said."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cordstasks import analysis, reports, tasks
from cordstasks.analysis.psychophysics import Observer, read_observers
from cordstasks.errors import InputError
from cordstasks.frontend import Features
from cordstasks.frontend.histories import Cost
from cordstasks.model import MultiAreaModel
from cordstasks.reports import common, observers
from cordstasks.rnn import RNN
from cordstasks.stimuli import Display
from cordstasks.tasks import TrialBatch, VisualTask, registry
from cordstasks.training.evaluation import Behaviour, behave
from cordstasks.training.settings import VisualSettings
from cordstasks.training.trials import trial_set
from cordstasks.utils.files import write_json
from cordstasks.utils.run_folder import RunFolder
from helpers import ROOT

CPU = torch.device("cpu")
CHANNELS = 10
DRAWN = os.environ.get("CORDSTASKS_DRAW_ALL") == "1"  # figures take most of the time: in most tests they are only built
SECONDS = {"bank": 1.0, "train": 2.0, "total": 3.0}


def not_fitted(*_: Any, **__: Any) -> None:
    """In place of a fit that takes seconds."""
    raise InputError("not fitted in this test")


@pytest.fixture(autouse=True)
def built_only(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are built and not drawn, and a decoder is fitted to few permutations, but where a test says so."""
    if not DRAWN and not request.node.get_closest_marker("usefixtures"):
        monkeypatch.setattr(analysis.figures, "save", lambda figure, path: Path(path).touch())
        monkeypatch.setattr(analysis, "decode", partial(analysis.decode, permutations=9))
        monkeypatch.setattr(analysis.psychophysics, "fit_diffusion", not_fitted)


@pytest.fixture
def drawn() -> None:
    """Figures are drawn."""


def features_of(batch: TrialBatch, *, seed: int = 0) -> Features:
    """Features that say which conditions a trial has from 100 ms on, with noise; as long as the batch's longest trial."""
    rng = np.random.default_rng(seed)
    lengths = [int(movie.duration_ms / batch.dt + 1e-9) for movie in batch.movies]
    codes = [np.unique(values, return_inverse=True)[1] for values in batch.conditions.values()]
    rows = rng.standard_normal((len(batch), max(lengths), CHANNELS))
    for channel, code in enumerate(codes[:4]):
        rows[:, int(100 / batch.dt) :, 2 * channel] += 2 * np.cos(2 * np.pi * code / (code.max() + 1))[:, None]
        rows[:, int(100 / batch.dt) :, 2 * channel + 1] += 2 * np.sin(2 * np.pi * code / (code.max() + 1))[:, None]
    index = np.arange(len(batch) * max(lengths)).reshape(len(batch), -1)
    index = np.where(np.arange(max(lengths)) < np.array(lengths)[:, None], index, -1)
    return Features(torch.from_numpy(rows.reshape(-1, CHANNELS)).half(), torch.from_numpy(index), Cost())


def material_of(
    task: VisualTask,
    heldout: int,
    folder: Path,
    *,
    dt: float = 20.0,
    units: int = 14,
    settings: VisualSettings | None = None,
) -> reports.Material:
    """What a run would give to the report of a task, with features made up and a network that nobody trained."""
    batches = (task.for_testing().sample(heldout, seed=seed, dt=dt) for seed in count(1))
    batch = next(batch for batch in batches if heldout == 1 or len(np.unique(batch.answers)) > 1)
    generator = torch.Generator().manual_seed(0)
    rnn = RNN(CHANNELS, units, len(task.actions), dt=dt, tau=max(100.0, dt), noise=0.0, generator=generator)
    model = MultiAreaModel(rnn, CHANNELS)
    model.normalise_by(torch.zeros(CHANNELS), torch.eye(CHANNELS))
    run = RunFolder(folder)
    run.log.write({"step": 5, "loss": 1.1, "validation_loss": 1.2, "validation_accuracy": 0.4})
    (folder / "best.pt").touch()
    return reports.Material(
        task=task,
        model=model,
        heldout=batch,
        trials=trial_set(model.inputs(features_of(batch)), batch, CPU, task),
        inputs=lambda other, label: model.inputs(features_of(other, seed=1)),
        rng=np.random.default_rng(2),
        folder=run,
        settings=settings or VisualSettings(task.id, bound_trials=40),
    )


def reported(task: VisualTask, heldout: int, folder: Path, **options: Any) -> tuple[dict[str, Any], str]:
    """The summary of a report, read back from its file, and its table."""
    material = material_of(task, heldout, folder, **options)
    reports.check(task, material.heldout)
    summary = {"task": task.id, **reports.make(material), "seconds": SECONDS}
    write_json(folder / "summary.json", summary)
    return json.loads((folder / "summary.json").read_text()), reports.table(folder / "summary.json")


DISPLAYS = {
    "rdm": Display(pixels=16, field_of_view=8.0),
    "numerosity": Display(pixels=16, field_of_view=8.0),
    "catdog": Display(pixels=16, field_of_view=6.0),
    "saccade": Display(pixels=16, field_of_view=32.0),
}
SHORT: dict[str, dict[str, Any]] = {
    "rdm": {"fixation": 60.0, "motion": 120.0, "choice": 40.0},
    "numerosity": {"fixation": 60.0, "sample_time": 100.0, "delay": 120.0, "test": 60.0, "second_test": 60.0, "pictures": 3},
    "catdog": {"fixation": 60.0, "sample_time": 140.0, "delay": 120.0, "test": 60.0, "second_test": 60.0, "pictures": 1},
    "saccade": {"fixation": 60.0, "cue": 60.0, "response": 60.0, "delays": (100.0, 200.0), "training_delays": (60.0,)},
}
RANGES = {
    "rdm": {"fixation": (50.0, 400.0), "motion": (40.0, 300.0), "delay": (0.0, 200.0), "choice": (30.0, 130.0)},
    "saccade": {"fixation": (50.0, 400.0), "cue": (30.0, 90.0), "response": (30.0, 130.0)},
    **{
        name: {
            "fixation": (50.0, 400.0),
            "sample_time": (30.0, 300.0),
            "delay": (0.0, 700.0),
            "test": (30.0, 100.0),
            "second_delay": (0.0, 100.0),
            "second_test": (20.0, 100.0),
        }
        for name in ("numerosity", "catdog")
    },
}
FOUR = (0.0, 90.0, 180.0, 270.0)
LINES = ("tabby-hound", "siamese-hound", "hound-retriever", "tabby-siamese")
WITHIN = ("tabby-siamese", "siamese-persian", "hound-retriever", "retriever-spaniel")
# Held-out trials, and what differs from short trials of the defaults.
SETTINGS: list[tuple[str, int, dict[str, Any]]] = [
    *((name, heldout, RANGES[name]) for name in SHORT for heldout in (120, 13)),
    *((name, heldout, {}) for name in SHORT for heldout in (2, 3, 5, 8, 40)),
    ("rdm", 60, {"directions": FOUR, "delay": (500.0, 1500.0), "motion": 1000.0}),
    ("rdm", 60, {"directions": (10.0, 20.0, 300.0)}),
    ("rdm", 40, {"coherences": (0.5,)}),
    ("rdm", 40, {"coherences": (0.0,)}),
    ("rdm", 40, {"coherences": (0.0, 0.5)}),
    ("rdm", 30, {"coherences": (0.0,), "directions": FOUR}),
    ("rdm", 30, {"motion": 20.0, "fixation": 20.0, "choice": 20.0}),
    ("rdm", 40, {"motion": (20.0, 500.0), "fixation": (20.0, 90.0), "choice": 20.0}),
    ("rdm", 40, {"reaction_time": True}),
    ("rdm", 2, {"reaction_time": True}),
    ("rdm", 40, {"reaction_time": True, "coherences": (0.3,)}),
    ("rdm", 40, {"reaction_time": True, "coherences": (0.0,)}),
    ("rdm", 40, {"reaction_time": True, **RANGES["rdm"], "directions": FOUR}),
    ("rdm", 12, {}),  # one of each
    ("rdm", 60, {"targets": 0.0, "spot": 0.0, "paired": True}),
    ("numerosity", 40, {"numbers": (1, 2)}),
    ("numerosity", 80, {"numbers": (2, 5, 9), "controls": ("standard",), "training_controls": ("standard",)}),
    ("numerosity", 70, {}),  # one of each
    ("numerosity", 70, {"delay": 0.0}),
    ("numerosity", 70, {"delay": 20.0, "sample_time": 20.0, "fixation": 20.0, "test": 20.0, "second_test": 20.0}),
    ("numerosity", 70, {"delay": (20.0, 45.0), "fixation": (20.0, 70.0)}),
    ("numerosity", 70, {"delay": (0.0, 40.0)}),
    ("numerosity", 70, {"second_test": 0.0, "two_choices": True, "delay": 900.0}),
    ("catdog", 90, {"lines": LINES}),
    ("catdog", 40, {"lines": WITHIN}),  # none between the categories
    ("catdog", 40, {"levels": (0.4, 0.6)}),
    ("catdog", 40, {"levels": (0.0, 0.1)}),
    ("catdog", 40, {"levels": (0.0, 1.0)}),
    ("catdog", 60, {"delay": 0.0, "second_tests": 0.5}),
    ("catdog", 60, {"sample_time": 20.0, "delay": 20.0, "test": 20.0, "second_test": 0.0}),
    ("catdog", 60, {"sample_time": (20.0, 45.0), "fixation": (20.0, 70.0), "delay": (20.0, 45.0), "two_choices": True}),
    ("catdog", 60, {"heldout_lines": ()}),
    ("saccade", 40, {"locations": FOUR}),
    ("saccade", 40, {"locations": (0.0, 180.0)}),
    ("saccade", 40, {"locations": (-170.0, -20.0, 30.0, 200.0, 690.0)}),
    ("saccade", 16, {}),  # one of each
    ("saccade", 24, {"delays": (100.0,)}),  # three of each
    ("saccade", 40, {"delays": (20.0,), "cue": 20.0, "response": 20.0, "fixation": 20.0}),
    ("saccade", 40, {"delays": (20.0, 30.0), "cue": (20.0, 50.0), "locations": FOUR}),
    ("saccade", 40, {"delays": tuple(float(delay) for delay in range(40, 300, 20)), "locations": FOUR}),
]


def setting_of(name: str, changes: dict[str, Any]) -> VisualTask:
    return tasks.get(name, **{**SHORT[name], "display": DISPLAYS[name], **changes})


def files_named(table: str) -> set[str]:
    return set(re.findall(r"[\w-]+\.(?:png|pt|json|csv)", table.splitlines()[-1]))


class TestEverySetting:
    @pytest.mark.parametrize(("name", "heldout", "changes"), SETTINGS)
    def test_it_ends_in_a_report(self, name: str, heldout: int, changes: dict[str, Any], tmp_path: Path):
        summary, table = reported(setting_of(name, changes), heldout, tmp_path)
        assert summary["heldout"]["trials"] == heldout == sum(r["trials"] for r in summary["heldout"]["by_condition"])
        assert 0 <= summary["heldout"]["accuracy"] <= 1
        assert f"{summary['heldout']['accuracy']:.1%}" in table
        assert files_named(table) == {path.name for path in tmp_path.iterdir()} - {"metrics.jsonl"}
        for what, why in summary["left_out"].items():
            assert f"left out: {what} ({why})" in table
        assert "None" not in table
        assert "nan" not in table

    @pytest.mark.parametrize("dt", [2.0, 12.0, 40.0])
    @pytest.mark.parametrize("name", SHORT)
    def test_at_other_time_steps(self, name: str, dt: float, tmp_path: Path):
        least = {period: (max(dt, ends[0]), ends[1] + dt) for period, ends in RANGES[name].items()}
        summary, _ = reported(setting_of(name, least), 24, tmp_path, dt=dt)
        assert summary["heldout"]["trials"] == 24

    @pytest.mark.usefixtures("drawn")
    @pytest.mark.parametrize("name", SHORT)
    def test_with_enough_trials_nothing_but_fits_is_left_out(self, name: str, tmp_path: Path):
        changes = {"rdm": {"coherences": (0.0, 0.3, 0.6, 1.0)}, "saccade": {"delays": (120.0,)}}
        summary, table = reported(setting_of(name, changes.get(name, {})), 240, tmp_path, units=30)
        fits = ("threshold", "slope", "width", "fits", "category", "rank")
        assert [what for what in summary["left_out"] if not what.startswith(fits)] == []
        assert summary["tuning"]["fraction"] > 0.5  # what the network saw says which trial it was
        assert {"tuning.png"} <= files_named(table) or name == "catdog"
        assert {"units.png"} <= files_named(table) or name == "rdm"


class TestWhatIsLeftOut:
    """Each in words that name it; and what does not depend on it is there."""

    @pytest.mark.parametrize(
        ("name", "heldout", "changes", "what", "why"),
        [
            ("rdm", 60, {"directions": FOUR}, "psychometric fits", "two directions, and there are 4"),
            (
                "rdm",
                40,
                {"coherences": (0.0,)},
                "threshold of accuracy",
                "it takes two coherences above 0, and there were 0",
            ),
            ("rdm", 40, {"coherences": (0.0,)}, "tuning of the units to direction", "too few trials with moving dots"),
            ("rdm", 3, {}, "tuning of the units to direction", "too few trials with moving dots"),
            ("rdm", 40, {"coherences": (0.5,)}, "rank correlation of accuracy with coherence", "one value only"),
            ("numerosity", 40, {"delay": 0.0}, "tuning of the units to number", "no trial has a delay"),
            ("numerosity", 40, {"numbers": (1, 2)}, "fits of Gaussians to tuning to number", ""),
            ("numerosity", 13, {}, "cross-validated tuning curves", "give 4 or more of each value"),
            ("numerosity", 5, {}, "tuning of the units to number", "give 2 or more of each value"),
            ("catdog", 40, {"delay": 0.0}, "category effects in the units", "no trial has a delay"),
            ("catdog", 40, {"lines": WITHIN}, "category boundary", "no sample was on a line"),
            ("catdog", 40, {"levels": (0.0, 0.1)}, "category boundary", "no sample was on a line"),
            ("catdog", 40, {"levels": (0.0, 1.0)}, "category index", "no morph line"),
            ("saccade", 40, {"locations": FOUR}, "width of tuning to location", "has 4 different values"),
            ("saccade", 8, {}, "location decoded from the recurrent network", "needs three trials of each location"),
            ("saccade", 8, {}, "tuning of the units to location", "give 2 or more of each value"),
            ("saccade", 2, {"delays": (60.0, 80.0, 100.0, 120.0)}, "interval of the error at a delay of", "one trial says"),
        ],
    )
    def test_it_is_said(self, name: str, heldout: int, changes: dict[str, Any], what: str, why: str, tmp_path: Path):
        summary, _ = reported(setting_of(name, changes), heldout, tmp_path)
        said = [reason for left, reason in summary["left_out"].items() if left.startswith(what)]
        assert len(said) == 1, summary["left_out"]
        assert why in said[0]

    def test_four_places_are_tuned_to_all_the_same(self, tmp_path: Path):
        summary, _ = reported(setting_of("saccade", {"locations": FOUR}), 80, tmp_path)
        assert summary["tuning"]["fraction"] > 0.5
        assert summary["tuning"]["median_half_width_deg"] is None
        assert sum(summary["tuning"]["units_by_preferred_location"].values()) == summary["tuning"]["selective"]
        assert summary["decoded_at_end_of_delay"]["rnn"]["accuracy"] > 0.5

    def test_places_of_other_turns_are_the_same_places(self, tmp_path: Path):
        both = [
            reported(setting_of("saccade", {"locations": locations}), 60, folder)[0]["tuning"]
            for locations, folder in (((0.0, 90.0, 270.0), tmp_path / "a"), ((0.0, 90.0, -90.0), tmp_path / "b"))
            if folder.mkdir() is None
        ]
        counts = [tuned["units_by_preferred_location"] for tuned in both]
        assert set(counts[1]) == {"0", "90", "-90"}
        assert sum(counts[1].values()) == both[1]["selective"] > 0

    def test_mistakes_that_make_a_report_impossible_are_refused(self):
        task = setting_of("rdm", {})
        with pytest.raises(InputError, match="heldout=1: all of these trials have the same right answer"):
            reports.check(task, task.sample(1, seed=1))
        one = task.sample(9, seed=1, direction=0.0)
        with pytest.raises(InputError, match="heldout=9: all of these trials have the same right answer"):
            reports.check(task, one)
        reports.check(task, task.sample(12, seed=1))

    def test_an_error_that_is_no_user_s_is_not_swallowed(self):
        omitted = common.Omissions()

        def broken() -> None:
            raise RuntimeError("sizes differ")

        with pytest.raises(RuntimeError, match="sizes differ"):
            omitted.attempt("all", broken)
        assert omitted.reasons == {}


class Stop(Exception):
    """Ends a report as soon as a test has seen what it wanted to see."""


class TestWindows:
    """They follow each trial's own periods, however these differ between trials."""

    def means(
        self, task: VisualTask, heldout: int, folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
    ) -> tuple[TrialBatch, np.ndarray, np.ndarray]:
        """The batch, and for each trial that is in the analysis `what` its number and the mean time (ms) in its window."""
        material = material_of(task, heldout, folder)
        seen: list[np.ndarray] = []

        def clock(model: Any, inputs: Any, batch: TrialBatch) -> Behaviour:
            found = behave(model, inputs, batch)
            rates = np.zeros_like(found.rates)
            rates[:, :, 0] = np.arange(len(batch))[:, None]
            rates[:, :, 1] = found.times
            return replace(found, rates=rates)

        def spy(responses: Any, *_: Any, window: Any = None, **__: Any) -> Any:
            seen.append(responses if window is None else analysis.tuning.window_mean(responses, window))
            raise Stop

        monkeypatch.setattr(common, "behave", clock)
        monkeypatch.setattr(analysis if what == "direction_tuning" else analysis.tuning, what, spy)
        monkeypatch.setattr("cordstasks.reports.random_dots._controls", lambda *_: None)
        with pytest.raises(Stop):
            reports.make(material)
        return material.heldout, seen[0][:, 0].astype(int), seen[0][:, 1]

    @pytest.mark.parametrize(
        ("name", "changes"),
        [
            ("numerosity", {"fixation": (300.0, 1500.0), "delay": 1000.0}),
            ("numerosity", {"fixation": (300.0, 1500.0), "delay": (100.0, 1000.0), "sample_time": (100.0, 300.0)}),
            ("numerosity", {"delay": (0.0, 90.0)}),
            ("catdog", {"fixation": (300.0, 1500.0), "delay": 1000.0}),
            ("catdog", {"fixation": (300.0, 1500.0), "delay": (100.0, 1000.0), "sample_time": (100.0, 300.0)}),
            ("saccade", {"fixation": (300.0, 1500.0), "delays": (120.0, 700.0, 2000.0)}),
        ],
    )
    def test_at_the_end_of_the_delay(
        self, name: str, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        batch, trials, means = self.means(setting_of(name, changes), 60, tmp_path, monkeypatch, "selectivity")
        assert len(trials) > 40
        for trial, mean in zip(trials, means, strict=True):
            start, end = batch.periods["delay"][trial]
            steps = [20.0 * step for step in range(1, 1000) if max(start, end - 500) < 20.0 * step <= end]
            assert mean == pytest.approx(np.mean(steps))
        lacking = sorted(set(range(60)) - set(trials.tolist()))
        for trial in lacking:
            start, end = batch.periods["delay"][trial]
            assert not any(start < 20.0 * step <= end for step in range(1, 1000))

    @pytest.mark.parametrize(
        "changes",
        [
            {"fixation": (300.0, 1500.0), "motion": 400.0},
            {"fixation": (300.0, 1500.0), "motion": (40.0, 900.0), "delay": (0.0, 100.0)},
        ],
    )
    def test_in_the_second_half_of_the_motion(
        self, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        task = setting_of("rdm", changes)
        batch, trials, means = self.means(task, 60, tmp_path, monkeypatch, "direction_tuning")
        assert len(trials) == 60
        for trial, mean in zip(trials, means, strict=True):
            start, end = batch.periods["motion"][trial]
            inside = [20.0 * step for step in range(1, 1000) if start < 20.0 * step <= end]
            steps = [time for time in inside if time > (start + end) / 2] or inside[-1:]
            assert mean == pytest.approx(np.mean(steps))

    def test_features_of_the_sample_are_taken_while_it_is_seen(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        task = setting_of("catdog", {"fixation": (60.0, 900.0), "sample_time": (60.0, 500.0)})
        material = material_of(task, 60, tmp_path)
        seen: list[np.ndarray] = []
        windows = analysis.tuning.window_mean

        def spy(activity: Any, window: Any) -> Any:
            seen.append(window)
            return windows(activity, window)

        monkeypatch.setattr(analysis.tuning, "window_mean", spy)
        reports.make(material)
        sample = material.heldout.periods["sample"]
        between = [task.between(line) for line in material.heldout.conditions["line"]]  # type: ignore[attr-defined]
        rows = np.flatnonzero(between)
        assert len(seen[-1]) == len(rows)
        for row, steps in zip(rows, seen[-1], strict=True):
            start, end = sample[row]
            times = 20.0 * (1 + np.flatnonzero(steps))
            assert ((times > start) & (times <= end + 1e-6)).all()
            assert (times > min(start + 100, (start + end) / 2) - 1e-6).all()

    def test_activity_over_time_is_aligned_to_an_event(self):
        task = setting_of("numerosity", {"fixation": (60.0, 900.0), "sample_time": (60.0, 300.0), "delay": (60.0, 300.0)})
        batch = task.sample(20, seed=1)
        steps = batch.targets.shape[1]
        rates = np.broadcast_to(20.0 * np.arange(1, steps + 1), (20, steps))[..., None]
        empty = np.zeros(20, np.int64)
        seen = Behaviour(np.zeros((20, steps, 2)), rates, empty, empty > 0, rates[0, :, 0], 0.5)
        trials = np.arange(1, 20, 2)
        found = common.aligned(seen, batch, trials, event="sample", until="delay", names=("sample", "delay"))
        onset, end = batch.periods["sample"][trials, 0], batch.periods["delay"][trials, 1]
        own = found.rates[..., 0] - onset[:, None]  # ms from each trial's own onset
        assert (np.abs(own - found.times) <= 20.0).all()
        assert (own[:, found.times > 0] > 0).all()
        assert (own[:, found.times <= 0] <= 1e-6).all()
        assert (found.rates[:, -1, 0] <= end + 1e-6).all()
        assert found.times[0] == 20.0 * (1 - onset.min() // 20)
        lengths = batch.periods["sample"][trials, 1] - onset
        assert found.periods["sample"] == (0.0, pytest.approx(lengths.min()))


class TestWithin:
    """Windows of each trial's own, against a count by hand."""

    SEEN = Behaviour(
        np.zeros((3, 6, 2)), np.zeros((3, 6, 2)), np.zeros(3, np.int64), np.zeros(3, bool), 10.0 * np.arange(1, 7), 0.5
    )

    def test_steps_that_end_in_the_window(self):
        found = self.SEEN.within(np.array([10.0, 15.0, np.nan]), np.array([40.0, 35.0, np.nan]))
        assert [np.flatnonzero(row).tolist() for row in found] == [[1, 2, 3], [1, 2], []]

    def test_steps_that_lie_in_the_window_altogether(self):
        found = self.SEEN.within(np.array([10.0, 15.0, np.nan]), 40.0, whole=True)
        assert [np.flatnonzero(row).tolist() for row in found] == [[1, 2, 3], [2, 3], []]

    def test_rounding_does_not_move_them(self):
        found = self.SEEN.within(10.0 + 1e-9, 40.0 - 1e-9)
        assert [np.flatnonzero(row).tolist() for row in found] == [[1, 2, 3]] * 3

    def test_a_window_for_all_that_holds_no_step_is_named(self):
        assert self.SEEN.window(10.0, 40.0) == slice(1, 4)
        with pytest.raises(InputError, match="start=41, end=49: no step ends between these times"):
            self.SEEN.window(41.0, 49.0)


class TestReactionTimes:
    def test_an_own_task_has_them_too_if_it_may_be_answered_while_the_evidence_is_shown(self, tmp_path: Path):
        text = (ROOT / "examples" / "orientation_discrimination.py").read_text()
        old = 'answer_from=periods["choice"][0],'
        assert old in text
        (tmp_path / "quick.py").write_text(text.replace(old, 'answer_from=periods["grating"][0],'))
        task = tasks.get(str(tmp_path / "quick.py"))
        summary, table = reported(task, 40, tmp_path)
        found = summary["reaction_times"]
        assert set(found["by_condition"]) == {"tilt", "side"}
        assert sum(row["trials"] + row["undecided"] for row in found["by_condition"]["tilt"]) == 40
        assert f"bound {found['bound']:.3g} log odds (reward rate in 40 other trials)" in table
        assert "chronometric" not in found  # no condition is known to be the strength of the evidence

    def test_without_reaction_times_there_are_none(self, tmp_path: Path):
        summary, _ = reported(setting_of("rdm", {}), 20, tmp_path)
        assert "reaction_times" not in summary
        assert not (tmp_path / "reaction_times.csv").exists()

    def test_a_bound_that_is_never_reached_is_said(self, tmp_path: Path):
        settings = VisualSettings("rdm", bound=1e6)
        summary, table = reported(setting_of("rdm", {"reaction_time": True}), 20, tmp_path, settings=settings)
        assert summary["reaction_times"]["undecided"] == 20
        assert summary["left_out"]["reaction times"] == "no trial reached the bound of 1e+06; choose a lower one with bound="
        assert "never reached in 100.0% of trials" in table

    def test_times_and_choices_are_those_of_the_outputs(self, tmp_path: Path):
        """By a loop over the trials' steps, without interpolation: at most a step earlier than here."""
        task, settings = setting_of("rdm", {"reaction_time": True, "motion": 400.0}), VisualSettings("rdm", bound=0.05)
        material = material_of(task, 30, tmp_path, settings=settings)
        summary = reports.make(material)["reaction_times"]
        rows = {int(row["trial"]): row for row in csv.DictReader(io.StringIO((tmp_path / "reaction_times.csv").read_text()))}
        seen = common.behaviour(material)
        onset, counted = material.heldout.periods["motion"][:, 0], 0
        for trial in range(30):
            difference = seen.logits[trial, :, 1] - seen.logits[trial, :, 2]
            steps = [step for step in np.flatnonzero(np.abs(difference) >= 0.05) if seen.times[step] > onset[trial]]
            if not steps:
                assert trial not in rows
                continue
            counted += 1
            assert rows[trial]["choice"] == ("0 deg" if difference[steps[0]] > 0 else "180 deg")
            time = seen.times[steps[0]] - onset[trial] + 300 - 1000 * float(rows[trial]["rt"])
            assert -1e-3 <= time <= 20 + 1e-3
        assert counted == len(rows) == 30 - summary["undecided"] > 10

    def test_beside_animals(self, tmp_path: Path):
        task = setting_of("rdm", {"reaction_time": True, "motion": 400.0, "coherences": (0.1, 0.4)})
        reported(task, 60, tmp_path, settings=VisualSettings("rdm", bound=0.02))
        rng = np.random.default_rng(0)
        animal = Observer("monkey", np.repeat([0.1, 0.4], 30), rng.random(60) < 0.9, rng.uniform(300, 900, 60))
        assert observers.comparable(tmp_path, [animal])
        assert not observers.comparable(tmp_path, [replace(animal, reaction_time=None)])
        rows = observers.beside(tmp_path, [animal])
        assert [row["observer"] for row in rows] == ["model", "monkey"]
        assert rows[1]["by_coherence"][1]["mean"] == pytest.approx(animal.reaction_time[30:].mean())
        assert json.loads((tmp_path / "observers.json").read_text())[1]["trials"] == 60
        assert (tmp_path / "observers.png").exists()

    def test_beside_animals_with_decisions_at_once(self, tmp_path: Path):
        task = setting_of("rdm", {"reaction_time": True, "motion": 400.0, "coherences": (0.1, 0.4)})
        reported(task, 20, tmp_path, settings=VisualSettings("rdm", bound=1e-7, non_decision=0.0))
        times = [row["rt"] for row in csv.DictReader(io.StringIO((tmp_path / observers.TABLE).read_text()))]
        assert "0.000000" in times
        animal = Observer("monkey", np.repeat([0.1, 0.4], 10), np.arange(20) % 4 > 0, np.linspace(300, 900, 20))
        model = observers.beside(tmp_path, [animal])[0]
        assert model["trials"] == len(times)
        with pytest.raises(InputError, match=r"rt 0; give a time in s above 0"):
            read_observers(tmp_path / observers.TABLE)


def test_selected_trials_are_as_long_as_the_longest_of_them():
    task = setting_of("numerosity", RANGES["numerosity"])
    batch = task.sample(30, seed=1)
    lengths = np.array([int(movie.duration_ms / 20 + 1e-9) for movie in batch.movies])
    rows = np.argsort(lengths)[[4, 1, 2]]
    part = batch.select(rows)
    assert part.movies == tuple(batch.movies[row] for row in rows)
    assert part.targets.shape == part.mask.shape == part.response_mask.shape == (3, lengths[rows].max())
    assert part.response_mask.shape[1] < batch.response_mask.shape[1]
    np.testing.assert_array_equal(part.answers, batch.answers[rows])
    np.testing.assert_array_equal(part.response_mask.sum(1), batch.response_mask[rows].sum(1))
    np.testing.assert_array_equal(part.periods["test"], batch.periods["test"][rows])
    np.testing.assert_array_equal(part.conditions["number"], batch.conditions["number"][rows])
    assert part.options == batch.options == (0, 1)
    for name, values in part.auxiliary.items():
        np.testing.assert_array_equal(values, batch.auxiliary[name][rows, : lengths[rows].max()])
    match = batch.conditions["match"] == 1
    assert len(batch.select(match)) == match.sum()
    with pytest.raises(InputError, match="selects none of 30 trials"):
        batch.select(lengths < 0)


class TestTasksOfOnesOwn:
    @pytest.fixture
    def own(self) -> VisualTask:
        return tasks.get(str(ROOT / "examples" / "orientation_discrimination.py"), display=Display(16, field_of_view=8.0))

    @pytest.mark.parametrize("heldout", [2, 3, 6, 40])
    def test_it_ends_in_a_report(self, own: VisualTask, heldout: int, tmp_path: Path):
        summary, table = reported(own, heldout, tmp_path)
        assert summary["heldout"]["trials"] == heldout
        assert files_named(table) == {path.name for path in tmp_path.iterdir()} - {"metrics.jsonl"}
        if summary["tuning"] is None:
            assert "left out: units that tell answers apart (" in table

    def test_a_condition_may_be_named_like_a_column_of_the_table(self, own: VisualTask, tmp_path: Path):
        material = material_of(own, 20, tmp_path)
        named = replace(material.heldout, conditions={"interval": material.heldout.conditions["tilt"]})
        result = reports.make(replace(material, heldout=named))
        assert list(result["by_single_condition"]) == ["interval (condition)"]


class TestReportsOfOnesOwn:
    """A task brings its own report, as docs/own-task.md says."""

    def own(self, folder: Path, code: str, attribute: str) -> VisualTask:
        """The example with `code` before its class and `attribute` in it."""
        text = (ROOT / "examples" / "orientation_discrimination.py").read_text()
        text = text.replace("import ClassVar", "import Any, ClassVar").replace('"orientation"', '"mine"')
        text = text.replace("@register_task", f"{code}\n\n@register_task")
        stimulus = '    stimulus: ClassVar[str] = "grating"\n'
        path = folder / "mine.py"
        path.write_text(text.replace(stimulus, f"{stimulus}    {attribute}\n"))
        return tasks.get(path, display=Display(16, field_of_view=8.0))

    def test_a_function_adds_to_the_summary(self, tmp_path: Path):
        page = (ROOT / "docs" / "own-task.md").read_text()
        function, line = (re.search(rf"(?ms)^```python\n({start}.*?)^```", page)[1] for start in ("def by_tilt", "report: "))
        task = self.own(tmp_path, function, line)
        (tmp_path / "run").mkdir()
        summary, table = reported(task, 40, tmp_path / "run")
        assert [row["tilt"] for row in summary["by_tilt"]] == [1, 2, 4, 8, 16]
        assert sum(row["trials"] for row in summary["by_tilt"]) == summary["heldout"]["trials"] == 40
        assert {row["answer"] for row in summary["heldout"]["by_condition"]} == {"left", "right"}
        assert "left" in table and "of 40 held-out trials" in table

    OBJECT = """
class Mine:
    @staticmethod
    def report(material):
        (material.folder.path / "mine.png").touch()
        return {"half": np.float64(0.5), "array": np.arange(3)}

    @staticmethod
    def table(summary, folder):
        return f"half is {summary['half']} of {summary['heldout']['trials']}"
"""

    def test_an_object_makes_the_table_too(self, tmp_path: Path):
        task = self.own(tmp_path, self.OBJECT, "report: ClassVar[Any] = Mine")
        summary, table = reported(task, 8, tmp_path)
        assert (summary["half"], summary["array"]) == (0.5, [0, 1, 2])
        assert table == "half is 0.5 of 8"

    def test_the_table_is_found_through_the_runs_file(self, tmp_path: Path):
        task = self.own(tmp_path, self.OBJECT, "report: ClassVar[Any] = Mine")
        reported(task, 8, tmp_path)
        write_json(tmp_path / "config.json", {"task": str(tmp_path / "mine.py")})
        registry.forget(type(task))
        assert reports.table(tmp_path / "summary.json") == "half is 0.5 of 8"
        (tmp_path / "mine.py").unlink()
        registry.forget(registry.task_class("mine"))
        assert "of 8 held-out trials" in reports.table(tmp_path / "summary.json")

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            (
                "return material.tasks",
                r"mine.py, line \d+: its report fails: AttributeError: .*'tasks'; fix it, and",
            ),
            ("return [1]", r"^task mine: its report returns \[1\]; return a dictionary"),
            ("return {'seed': 1}", r"^task mine: its report returns 'seed', which the run itself writes; choose another"),
            ("return {'x': np.nan}", r"^task mine: its report returns what JSON cannot hold \(Out of range"),
            ("return {'x': material}", r"^task mine: its report returns what JSON cannot hold \("),
        ],
    )
    def test_what_goes_wrong_is_one_line(self, code: str, message: str, tmp_path: Path):
        task = self.own(tmp_path, f"def mine(material):\n    {code}", "report: ClassVar[Any] = mine")
        material = material_of(task, 8, tmp_path)
        with pytest.raises(InputError, match=message) as caught:
            reports.make(material)
        assert "\n" not in str(caught.value)

    def test_a_table_that_fails_names_the_line(self, tmp_path: Path):
        code = self.OBJECT.replace("summary['half']", "summary['quarter']")
        with pytest.raises(InputError, match=r"mine.py, line \d+: its table fails: KeyError: 'quarter'; fix it"):
            reported(self.own(tmp_path, code, "report: ClassVar[Any] = Mine"), 8, tmp_path)

    @pytest.mark.parametrize(
        ("attribute", "message"),
        [
            ("report: ClassVar[Any] = 5", r"report=5: give the name of a module of cordstasks.reports"),
            ("def report(self, material): return {}", r"report: is called with one argument, the Material"),
        ],
    )
    def test_what_is_no_report_is_refused_with_the_task(self, attribute: str, message: str, tmp_path: Path):
        with pytest.raises(InputError, match=rf"mine.py, line \d+: OrientationTask.{message}"):
            self.own(tmp_path, "", attribute)

    def test_a_module_that_is_not_there_is_found_out_before_anything_is_computed(self, tmp_path: Path):
        task = self.own(tmp_path, "", 'report: ClassVar[Any] = "cordstasks.reports.mine"')
        with pytest.raises(InputError, match=r"^task mine: report='cordstasks.reports.mine': there is no such module"):
            reports.check(task, task.sample(12, seed=1))

    def test_every_task_of_this_package_has_one(self):
        for name in ("rdm", "numerosity", "catdog", "saccade"):
            assert type(tasks.get(name)).report != VisualTask.report
