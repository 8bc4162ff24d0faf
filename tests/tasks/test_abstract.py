"""Abstract tasks: what is shown, when, how noisy, how balanced; and what counts as right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from cordstasks import tasks
from cordstasks.errors import InputError
from cordstasks.tasks import (
    AbstractTask,
    ContextualDecisionTask,
    DelayedMatchToSampleTask,
    MemoryProTask,
    MultisensoryDecisionTask,
    ParametricWorkingMemoryTask,
    PerceptualDecisionTask,
)

EVERY = pytest.mark.parametrize("name", tasks.abstract_names())
# as in the paper's table: steps of 20 ms, the longest trial, channels, outputs
TABLE = {
    "perceptual-dm": (51, 1, 1, 0.1),
    "parametric-wm": (70, 1, 1, 0.01),
    "multisensory-dm": (68, 4, 1, 0.1),
    "contextual-dm": (68, 4, 1, 0.1),
    "memory-pro": (165, 3, 2, 0.05),
    "dms": (255, 2, 1, 0.03),
}


def drawn_by_hand(task: AbstractTask, conditions: dict[str, Any], dt: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs without noise, targets and mask of one trial, step by step from the description of the tasks."""
    inputs, targets, mask = [], [], []

    def period(milliseconds: float, shown: list[float], wanted: list[float] | None = None, weight: float = 0.0) -> None:
        for _ in range(int(np.floor(milliseconds / dt + 1e-9))):
            inputs.append(shown)
            targets.append(wanted or [0.0] * task.outputs)
            mask.append(weight)

    c = conditions
    if task.id == "perceptual-dm":
        period(100, [0])
        period(800, [0.1 * c["coherence"]])
        period(100, [0])
        period(20, [0], [np.sign(c["coherence"])], 1)
    elif task.id == "parametric-wm":
        period(100, [0])
        period(100, [(c["f1"] - 22) / 24])
        period(c["delay"], [0])
        period(100, [(c["f2"] - 22) / 24])
        period(100, [0], [(c["f1"] - c["f2"]) / 24], 1)
    elif task.id == "multisensory-dm":
        seen, heard = [(1, 0), (0, 1), (1, 1)][c["modality"]]
        context = [0.1 * seen, 0.1 * heard]
        period(100, [0, 0, 0, 0])
        period(350, [0, 0, *context])
        evidence = [0.1 * c["direction"] * c["visual"] * seen, 0.1 * c["direction"] * c["auditory"] * heard]
        period(800, [*evidence, *context])
        period(100, [0, 0, 0, 0])
        period(20, [0, 0, 0, 0], [c["direction"]], 1)
    elif task.id == "contextual-dm":
        context = [0.1, 0] if c["context"] == 0 else [0, 0.1]
        period(100, [0, 0, 0, 0])
        period(350, [0, 0, *context])
        period(800, [0.1 * c["visual"], 0.1 * c["auditory"], *context])
        period(100, [0, 0, *context])
        period(20, [0, 0, 0, 0], [np.sign(c["visual"] if c["context"] == 0 else c["auditory"])], 1)
    elif task.id == "dms":
        shown = {0: [1, 0], 1: [0, 1]}
        period(100, [0, 0])
        period(500, shown[c["sample"]])
        period(c["delay"], [0, 0])
        period(500, shown[c["test"]])
        period(1000, [0, 0], [1 if c["sample"] == c["test"] else -1], 1)
    else:
        vector = [np.cos(np.pi * c["angle"] / 180), np.sin(np.pi * c["angle"] / 180)]
        period(300, [0, 0, 1], None, 0.1)
        period(500, [*vector, 1], None, 0.1)
        period(c["delay"], [0, 0, 1], None, 0.1)
        period(500, [0, 0, 0], vector, 1)
    return np.array(inputs, float), np.array(targets, float), np.array(mask)


class TestTrials:
    @EVERY
    @pytest.mark.parametrize("dt", [20.0, 12.5])
    def test_they_are_what_the_description_says(self, name: str, dt: float):
        task = replace(tasks.get(name), noise=0.0)
        batch = task.sample(60, seed=3, dt=dt)
        for trial in range(60):
            conditions = {key: values[trial] for key, values in batch.conditions.items()}
            inputs, targets, mask = drawn_by_hand(task, conditions, dt)
            length = len(inputs)
            assert batch.lengths[trial] == length
            np.testing.assert_allclose(batch.inputs[trial, :length], inputs, atol=1e-6)
            np.testing.assert_allclose(batch.targets[trial, :length], targets, atol=1e-6)
            np.testing.assert_allclose(batch.mask[trial, :length], mask, atol=1e-7)
            np.testing.assert_array_equal(batch.response_mask[trial, :length], mask == 1)
            for padding in (batch.inputs, batch.targets, batch.mask, batch.response_mask):
                assert not padding[trial, length:].any()

    @EVERY
    def test_sizes_are_those_of_the_table(self, name: str):
        task = tasks.get(name)
        steps, channels, outputs, noise = TABLE[name]
        batch = task.sample(5, seed=0)
        assert batch.inputs.shape == (5, steps, channels)
        assert batch.targets.shape == (5, steps, outputs)
        assert (task.noise, task.steps(20.0), len(task.channels)) == (noise, steps, channels)
        assert {array.dtype for array in (batch.inputs, batch.targets, batch.mask)} == {np.dtype(np.float32)}
        assert len(batch) == 5

    @EVERY
    def test_they_follow_the_seed(self, name: str):
        task = tasks.get(name)
        one, two, other = (task.sample(9, seed=seed) for seed in (4, 4, 5))
        np.testing.assert_array_equal(one.inputs, two.inputs)
        np.testing.assert_array_equal(one.targets, two.targets)
        assert not np.array_equal(one.inputs, other.inputs)
        np.testing.assert_array_equal(task.sample(9, seed=[4, 1]).inputs, task.sample(9, seed=(4, 1)).inputs)

    @EVERY
    def test_the_design_holds_every_combination_once(self, name: str):
        task = replace(tasks.get(name), noise=0.0)
        design = task.design()
        assert len({tuple(row.items()) for row in design}) == len(design)
        batch = task.sample(len(design), seed=0, **{key: [row[key] for row in design] for key in design[0]})
        for row, trial in zip(design, range(len(design)), strict=True):
            assert {key: batch.conditions[key][trial] for key in row} == row
        numbers = {"perceptual-dm": 6, "parametric-wm": 54, "multisensory-dm": 30, "contextual-dm": 72, "dms": 4}
        assert len(design) == numbers.get(name, 8)


class TestStatistics:
    TRIALS = 20_000

    @EVERY
    def test_noise(self, name: str):
        """It has the stated deviation at every step and channel, is Gaussian, white, and independent between channels."""
        task = tasks.get(name)
        conditions = {"delay": 1000.0} if "delay" in task.sample(1, seed=0).conditions else {}
        loud = task.sample(4000, seed=11, **conditions)
        # the same trials without noise: conditions are drawn before it
        silent = replace(task, noise=0.0).sample(4000, seed=11, **conditions)
        noise = (loud.inputs - silent.inputs).astype(float)
        assert not noise[..., task.sensory :].any()
        noise = noise[..., : task.sensory] / task.noise
        error = 1 / np.sqrt(2 * 4000)
        np.testing.assert_allclose(noise.std(0), 1, atol=5 * error)
        np.testing.assert_allclose(noise.mean(0), 0, atol=5 / np.sqrt(4000))
        flat = noise.reshape(4000, -1)
        correlation = np.corrcoef(flat[:, :60].T)
        assert abs(correlation[~np.eye(len(correlation), dtype=bool)]).max() < 5.5 / np.sqrt(4000)
        assert stats.kstest(flat[:, ::7].ravel(), "norm").pvalue > 1e-4

    @EVERY
    def test_conditions_are_balanced_and_independent(self, name: str):
        task = tasks.get(name)
        batch = task.sample(self.TRIALS, seed=2)
        names = [key for key in task.design()[0] if key not in ("f1", "f2", "angle")]
        levels = {key: np.unique(batch.conditions[key]) for key in names}
        for key in names:
            counts = [(batch.conditions[key] == level).sum() for level in levels[key]]
            assert stats.chisquare(counts).pvalue > 1e-4, key
        for first, second in [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]:
            x, y = batch.conditions[first], batch.conditions[second]
            table = [[((x == a) & (y == b)).sum() for b in levels[second]] for a in levels[first]]
            assert stats.chi2_contingency(table).pvalue > 1e-4, (first, second)
        lag = np.corrcoef(batch.answers[1:], batch.answers[:-1])[0, 1]
        assert abs(lag) < 5 / np.sqrt(self.TRIALS)

    def test_pairs_of_frequencies_are_uniform(self):
        batch = ParametricWorkingMemoryTask().sample(self.TRIALS, seed=5)
        f1, f2 = batch.conditions["f1"], batch.conditions["f2"]
        pairs, counts = np.unique(np.stack([f1, f2]), axis=1, return_counts=True)
        assert pairs.shape[1] == 54
        assert stats.chisquare(counts).pvalue > 1e-4
        assert pairs.min() == 10
        assert pairs.max() == 34
        sizes = [(abs(f1 - f2) == size).sum() for size in (8, 16, 24)]
        assert stats.chisquare(sizes, np.array([17, 9, 1]) / 27 * self.TRIALS).pvalue > 1e-4

    def test_angles_are_uniform_or_at_places(self):
        angles = MemoryProTask().sample(self.TRIALS, seed=5).conditions["angle"]
        assert stats.kstest(angles / 360, "uniform").pvalue > 1e-4
        values, counts = np.unique(MemoryProTask(locations=8).sample(4000, seed=5).conditions["angle"], return_counts=True)
        np.testing.assert_allclose(values, 45 * np.arange(8))
        assert stats.chisquare(counts).pvalue > 1e-4

    @pytest.mark.parametrize(("name", "low", "high"), [("parametric-wm", 25, 50), ("dms", 25, 150), ("memory-pro", 25, 100)])
    def test_delays_are_uniform_over_the_steps_between_their_ends(self, name: str, low: int, high: int):
        batch = tasks.get(name).sample(self.TRIALS, seed=8)
        steps, counts = np.unique(batch.conditions["delay"] / 20, return_counts=True)
        np.testing.assert_array_equal(steps, np.arange(low, high + 1))
        assert stats.chisquare(counts).pvalue > 1e-4

    def test_channels_that_agree_and_channels_that_do_not(self):
        agreeing = MultisensoryDecisionTask(noise=0.0).sample(2000, seed=1, modality=2).inputs[:, 30, :2]
        assert (np.sign(agreeing[:, 0]) == np.sign(agreeing[:, 1])).all()
        apart = ContextualDecisionTask(noise=0.0).sample(2000, seed=1).inputs[:, 30, :2]
        assert (np.sign(apart[:, 0]) == np.sign(apart[:, 1])).mean() == pytest.approx(0.5, abs=0.06)

    def test_half_the_pairs_match(self):
        answers = DelayedMatchToSampleTask().sample(self.TRIALS, seed=1).answers
        assert (answers == 1).mean() == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(self.TRIALS))


class TestCatchTrials:
    @EVERY
    def test_nothing_is_shown_and_zero_is_right(self, name: str):
        task = replace(tasks.get(name), noise=0.0, catch=0.3)
        batch = task.sample(2000, seed=6)
        caught = batch.conditions["catch"]
        assert caught.mean() == pytest.approx(0.3, abs=5 * np.sqrt(0.21 / 2000))
        assert not batch.inputs[caught].any()
        assert not batch.targets[caught].any()
        assert (batch.answers[caught] == 0).all()
        assert (batch.answers[~caught] > 0).all()
        assert (batch.mask.sum(1) > 0).all()  # a loss can divide by it
        assert batch.inputs[~caught].any(axis=(1, 2)).mean() > 0.95  # f1 = f2's middle apart

    def test_they_count_for_no_score(self):
        task = PerceptualDecisionTask(catch=0.5)
        batch = task.sample(50, seed=1)
        outputs = batch.targets.copy()
        outputs[batch.conditions["catch"]] = 7
        assert task.score(outputs, batch) == 1
        with pytest.raises(InputError, match="every trial is a catch trial"):
            task.score(task.sample(3, seed=1, catch=1).targets, task.sample(3, seed=1, catch=1))


class TestScores:
    @EVERY
    def test_perfect_opposite_and_constant_outputs(self, name: str):
        task = tasks.get(name)
        batch = task.sample(300, seed=9)
        assert task.score(batch.targets, batch) == pytest.approx(1)
        if task.measure == "accuracy":
            assert task.score(-batch.targets, batch) == 0
            right = batch.answers == 1
            assert task.score(np.ones_like(batch.targets), batch) == pytest.approx(right.mean())
        else:
            right = batch.targets[batch.response_mask].reshape(-1, task.outputs)
            assert task.score(np.zeros_like(batch.targets), batch) <= 0
            assert right.std() > 0.2

    @EVERY
    def test_steps_out_of_the_response_do_not_count(self, name: str):
        task = tasks.get(name)
        batch = task.sample(40, seed=9)
        outputs = np.where(batch.response_mask[..., None], batch.targets, np.nan)
        assert task.score(outputs, batch) == pytest.approx(1)

    def test_r2_against_its_definition(self):
        task = ParametricWorkingMemoryTask()
        batch = task.sample(200, seed=4)
        outputs = batch.targets + np.random.default_rng(0).normal(0, 0.1, batch.targets.shape)
        given = np.array([outputs[i, batch.response_mask[i], 0].mean() for i in range(200)])
        right = (batch.conditions["f1"] - batch.conditions["f2"]) / 24
        expected = 1 - np.square(given - right).sum() / np.square(right - right.mean()).sum()
        assert task.score(outputs, batch) == pytest.approx(expected, rel=1e-6)

    def test_not_a_number_is_wrong(self):
        for name in ("perceptual-dm", "memory-pro"):
            task = tasks.get(name)
            batch = task.sample(10, seed=1)
            assert task.score(np.full_like(batch.targets, np.nan), batch) <= 0

    def test_angular_errors(self):
        task = MemoryProTask()
        batch = task.sample(30, seed=1)
        turned = np.deg2rad(batch.conditions["angle"] + 30)
        outputs = np.zeros_like(batch.targets)
        outputs[:] = 0.4 * np.stack([np.cos(turned), np.sin(turned)], axis=1)[:, None]
        np.testing.assert_allclose(task.angular_errors(outputs, batch), 30, atol=1e-3)

    def test_actions(self):
        batch = MemoryProTask().sample(4, seed=0, angle=[0.0, 46.0, 359.0, 200.0])
        assert batch.answers.tolist() == [1, 2, 1, 5]
        assert MemoryProTask().actions == ("fixate", *(f"{45 * k} deg" for k in range(8)))
        assert PerceptualDecisionTask().sample(2, seed=0, coherence=[-1, 2]).answers.tolist() == [2, 1]


class TestCurriculum:
    @pytest.mark.parametrize("name", ["dms", "memory-pro"])
    def test_delays_grow_to_the_tasks_own(self, name: str):
        task = tasks.get(name)
        *easier, last = task.curriculum()
        assert last is task
        longest = [stage.delay[1] for stage in (*easier, last)]
        assert longest == sorted(set(longest))
        assert easier
        assert all(replace(stage, delay=task.delay) == task for stage in easier)

    def test_a_fixed_delay_needs_none(self):
        task = DelayedMatchToSampleTask(delay=700.0)
        assert task.curriculum() == (task,)
        assert PerceptualDecisionTask().curriculum() == (PerceptualDecisionTask(),)


class TestBadInput:
    @pytest.mark.parametrize(
        ("name", "parameters", "message"),
        [
            ("dms", {"noise": -0.1}, r"noise=-0\.1: give a finite number of at least 0"),
            ("dms", {"noise": float("nan")}, "noise=nan"),
            ("dms", {"catch": 1.0}, r"catch=1\.0: give a fraction of trials below 1"),
            ("dms", {"delay": (900.0, 500.0)}, r"delay=\(900\.0, 500\.0\): give a duration above 0 ms"),
            (
                "perceptual-dm",
                {"strengths": (1.0, 0.0)},
                r"strengths=\(1\.0, 0\.0\): give a tuple of finite numbers above 0",
            ),
            ("perceptual-dm", {"strengths": ()}, r"strengths=\(\)"),
            ("parametric-wm", {"lowest": 40}, "lowest=40: must be below highest=34"),
            ("parametric-wm", {"differences": (25,)}, r"differences=\(25,\): none fits between 10 and 34 Hz"),
            ("memory-pro", {"locations": 1}, "locations=1: give 0 for any angle, or a number of at least 2"),
            ("dms", {"delays": 500.0}, "parameter of task dms 'delays' is unknown; did you mean 'delay'"),
        ],
    )
    def test_of_parameters(self, name: str, parameters: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message):
            tasks.get(name, **parameters)

    @pytest.mark.parametrize(
        ("name", "arguments", "message"),
        [
            ("dms", {"trials": 0}, "trials=0: draw at least 1"),
            ("dms", {"dt": 150.0}, r"dt=150 ms is longer than fixation can be \(100 ms\)"),
            ("dms", {"coherence": 1.0}, "condition of task dms 'coherence' is unknown"),
            ("dms", {"sample": 2}, "sample=2: choose one of 0, 1"),
            ("dms", {"delay": 5.0}, r"delay=5\.0: give a duration of at least dt=20 ms"),
            ("dms", {"test": [0, 1]}, r"test=\[0, 1\]: give a number, or one for each of 3 trials"),
            ("contextual-dm", {"context": 0.5}, r"context=0\.5: choose one of 0, 1"),
            ("multisensory-dm", {"direction": 0.5}, r"direction=0\.5: choose one of 1, -1"),
            ("perceptual-dm", {"coherence": float("nan")}, "coherence=nan: give a finite number"),
            ("memory-pro", {"angle": "up"}, "angle='up': give a number"),
        ],
    )
    def test_of_sample(self, name: str, arguments: dict[str, Any], message: str):
        task = tasks.get(name)
        with pytest.raises(InputError, match=message):
            task.sample(**{"trials": 3, "seed": 0, **arguments})

    def test_of_places_and_outputs(self):
        with pytest.raises(InputError, match=r"angle=30: choose a multiple of 45 deg, as locations=8"):
            MemoryProTask(locations=8).sample(2, seed=0, angle=30.0)
        batch = PerceptualDecisionTask().sample(4, seed=0)
        with pytest.raises(InputError, match=r"outputs of shape \(4, 51\): the batch has targets of shape \(4, 51, 1\)"):
            PerceptualDecisionTask().score(batch.targets[..., 0], batch)
        same = ParametricWorkingMemoryTask().sample(3, seed=0, f1=20, f2=12)
        with pytest.raises(InputError, match="all trials have the same target"):
            ParametricWorkingMemoryTask().score(same.targets, same)
