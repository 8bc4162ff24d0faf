"""Numerosity, cat/dog and memory saccade: what they show, what is right when, and which pictures trials share."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from cordstasks import tasks
from cordstasks.errors import InputError
from cordstasks.stimuli import LINES, Display, saccade_display
from cordstasks.tasks import CatDogTask, MemorySaccadeTask, NumerosityTask, Trial

COARSE = {"display": Display(pixels=16, field_of_view=8.0)}
SMALL_ANIMALS = {"display": Display(pixels=16, field_of_view=6.0)}


def shown(trial: Trial, period: str) -> np.ndarray:
    """The picture in the middle of a period (height, width, 3)."""
    return trial.movie.rgb([np.mean(trial.periods[period])])[0]


def dots(image: np.ndarray) -> int:
    return ndimage.label(image[..., 0] < 64)[1] - 1  # one of the dark parts is around the disc


class TestLikeness:
    """Targets in training: the right class most, and others less the farther they are."""

    @pytest.mark.parametrize(
        ("task", "name", "apart"),
        [
            (NumerosityTask(**COARSE), "sample", lambda i, j: abs(i - j)),
            (NumerosityTask(**COARSE), "shown", lambda i, j: abs(i - j)),
            (MemorySaccadeTask(**COARSE, eccentricity=3.0), "location", lambda i, j: min((i - j) % 8, (j - i) % 8)),
        ],
    )
    def test_it_falls_with_distance(self, task: Any, name: str, apart: Any):
        table = task.soft_targets[name]
        np.testing.assert_allclose(table.sum(1), 1)
        for i, row in enumerate(table):
            for j, k in [(j, k) for j in range(len(row)) for k in range(len(row)) if apart(i, j) < apart(i, k)]:
                assert row[j] > row[k] > 0


class TestDelayedMatch:
    def test_a_match_is_released_in_the_test(self):
        trial = NumerosityTask(**COARSE).trials(1, seed=1, match=1.0)[0]
        assert trial.periods == {"fixation": (0, 500), "sample": (500, 1300), "delay": (1300, 2300), "test": (2300, 3500)}
        assert trial.segments == ((2300, 3500, 1),)
        assert (trial.answer, trial.answer_window, trial.answer_from) == (1, (2300, 3500), 2300)

    def test_a_nonmatch_is_held_and_released_in_the_second_test(self):
        trial = CatDogTask(**SMALL_ANIMALS).trials(1, seed=1, match=0)[0]
        assert list(trial.periods) == ["fixation", "sample", "delay", "test", "second_delay", "second_test"]
        assert trial.periods["test"] == (2100, 2700)
        assert trial.periods["second_test"] == (3300, 3900)
        assert trial.segments == ((3300, 3900, 1),)
        assert (trial.answer, trial.answer_window, trial.answer_from) == (0, (2100, 2700), 2100)

    def test_a_batch_weighs_the_decision_fully_whichever_it_is(self):
        task = NumerosityTask(fixation=40.0, sample_time=60.0, delay=20.0, test=80.0, second_test=40.0, **COARSE)
        batch = task.sample(8, seed=2, dt=20)
        assert batch.options == (0, 1)
        assert (batch.targets.shape, set(batch.answers)) == ((8, 12), {0, 1})
        for row, match in enumerate(batch.conditions["match"]):
            assert batch.answers[row] == match
            assert np.flatnonzero(batch.response_mask[row]).tolist() == [6, 7, 8, 9]
            released = [6, 7, 8, 9] if match else [10, 11]
            assert np.flatnonzero(batch.targets[row]).tolist() == released
            np.testing.assert_allclose(batch.mask[row], [0.1] * 6 + [1] * 4 + ([0] * 2 if match else [1] * 2))
            assert np.isnan(batch.periods["second_test"][row]).all() == bool(match)

    def test_two_choices_are_both_actions(self):
        task = NumerosityTask(two_choices=True, **COARSE)
        assert task.actions == ("fixate", "match", "nonmatch")
        assert task.options == (1, 2)
        for match, answer in [(1, 1), (0, 2)]:
            trial = task.trials(1, seed=1, match=match)[0]
            assert (trial.answer, trial.segments) == (answer, ((2300, 3500, answer),))
            assert "second_test" not in {**trial.periods, **task.timing}

    def test_a_fraction_of_the_nonmatches_has_a_second_test(self):
        trials = NumerosityTask(second_tests=0.3, **COARSE).trials(400, seed=2, match=0.0)
        assert np.mean(["second_test" in trial.periods for trial in trials]) == pytest.approx(0.3, abs=0.07)
        for trial in trials[:20]:
            assert trial.movie.duration_ms == (4700 if "second_test" in trial.periods else 3500)
            assert len(trial.segments) == ("second_test" in trial.periods)
        with pytest.raises(InputError, match=r"second_tests=1.5: give a fraction from 0 to 1"):
            NumerosityTask(second_tests=1.5, **COARSE)

    def test_auxiliary_targets_tell_what_is_shown_and_what_the_sample_was(self):
        task = NumerosityTask(**COARSE)
        batch = task.sample(12, seed=2)
        numbers, steps = np.array(task.numbers), np.arange(batch.targets.shape[1]) * batch.dt
        for row in range(12):
            conditions = {name: values[row] for name, values in batch.conditions.items()}
            for name, value in (("sample", "number"), ("test", "test"), ("second_test", "number")):
                start, end = batch.periods[name][row]
                during = (steps >= start) & (steps < end)
                assert (numbers[batch.auxiliary["shown"][row, during]] == conditions[value]).all()
            start, end = batch.periods["sample"][row, 0], batch.periods["delay"][row, 1]
            assert (numbers[batch.auxiliary["sample"][row, (steps >= start) & (steps < end)]] == conditions["number"]).all()
            assert (batch.auxiliary["sample"][row, steps < start] == -1).all()
            delay = (steps >= batch.periods["delay"][row, 0]) & (steps < end)
            assert (batch.auxiliary["shown"][row, delay] == -1).all()

    def test_without_a_second_test_a_nonmatch_is_held_to_the_end(self):
        trial = NumerosityTask(second_test=0.0, **COARSE).trials(1, seed=1, match=0)[0]
        assert trial.segments == ()
        assert trial.movie.duration_ms == trial.periods["test"][1]

    def test_the_screen_between_pictures_is_always_the_same(self):
        trial = CatDogTask(**SMALL_ANIMALS).trials(1, seed=1, match=0)[0]
        fixation, delay, second = (shown(trial, name) for name in ("fixation", "delay", "second_delay"))
        assert np.array_equal(fixation, delay)
        assert np.array_equal(fixation, second)
        assert len(trial.movie.frames) == 4
        assert fixation[7:9, 7:9].all()

    def test_periods_of_random_duration_differ_between_trials(self):
        task = NumerosityTask(delay=(200.0, 900.0), **COARSE)
        delays = {trial.periods["delay"][1] - trial.periods["delay"][0] for trial in task.trials(6, seed=1)}
        assert len(delays) == 6
        assert min(delays) >= 200 and max(delays) <= 900

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"sample_time": 0.0}, "sample=0.0: give a duration above 0 ms"),
            ({"second_delay": -5.0}, "second_delay=-5.0: give a duration at least 0 ms"),
            ({"delay": (9.0, 3.0)}, r"delay=\(9.0, 3.0\): give a duration"),
            ({"spot": -1.0}, "diameter is -1; give diameters above 0"),
        ],
    )
    def test_bad_timing_is_named(self, change: dict[str, Any], message: str):
        for name in ("numerosity", "catdog"):
            with pytest.raises(InputError, match=message):
                tasks.get(name, **change)

    def test_durations_below_a_time_step_are_named(self):
        with pytest.raises(InputError, match=r"dt=20 ms is longer than sample can be \(10 ms\); choose a smaller dt"):
            NumerosityTask(sample_time=10.0, **COARSE).sample(2, seed=0, dt=20)


class TestNumerosity:
    def test_sample_and_tests_have_the_numbers_of_the_conditions(self):
        for trial in NumerosityTask().trials(40, seed=3):
            conditions = trial.conditions
            assert dots(shown(trial, "sample")) == conditions["number"]
            assert dots(shown(trial, "test")) == conditions["test"]
            assert (conditions["test"] == conditions["number"]) == conditions["match"] == trial.answer
            if not trial.answer:
                assert dots(shown(trial, "second_test")) == conditions["number"]

    def test_no_picture_is_shown_twice_in_a_trial(self):
        task = NumerosityTask(pictures=2, controls=("standard",), numbers=(1, 2), **COARSE)
        for trial in task.trials(40, seed=3):
            later = "test" if trial.answer else "second_test"
            assert not np.array_equal(shown(trial, "sample"), shown(trial, later))

    def test_a_block_is_balanced_and_nonmatches_take_every_other_number(self):
        task = NumerosityTask(**COARSE)
        size = len(task.design())
        assert size == 2 * 5 * 7
        trials = task.trials(size * 3, seed=4)
        cells = Counter((t.conditions["match"], t.conditions["number"], t.conditions["control"]) for t in trials)
        assert set(cells.values()) == {3}
        pairs = {(t.conditions["number"], t.conditions["test"]) for t in trials if not t.conditions["match"]}
        assert len(pairs) == 20

    def test_trials_of_a_seed_share_few_pictures_and_seeds_share_none(self):
        task = NumerosityTask(pictures=3, numbers=(2, 4), controls=("standard", "linear"), **COARSE)
        pools = []
        for seed in (1, 2):
            trials = task.trials(60, seed=seed)
            pools.append(
                {shown(t, name).tobytes() for t in trials for name in t.periods if name not in ("fixation", "delay")}
            )
        assert [len(pool) for pool in pools] == [12, 12]
        assert not pools[0] & pools[1]

    def test_the_same_kind_of_display_is_compared_unless_mixed(self):
        trials = NumerosityTask(**COARSE).trials(30, seed=1)
        assert all(t.conditions["control"] == t.conditions["test_control"] for t in trials)
        mixed = NumerosityTask(mixed_controls=True, **COARSE).trials(60, seed=1)
        assert {t.conditions["control"] == t.conditions["test_control"] for t in mixed} == {True, False}

    def test_training_leaves_out_equal_area_and_density(self):
        task = NumerosityTask(**COARSE)
        training = task.for_training()
        assert training.controls == ("standard", "equal_circumference", "linear", "shapes")
        assert training.mixed_controls
        kinds = {t.conditions[name] for t in training.trials(80, seed=1) for name in ("control", "test_control")}
        assert kinds == set(training.controls)
        assert training.pictures == task.training_pictures
        assert 0 < training.second_tests < task.second_tests == 1
        assert 0 < training.sampled < task.sampled == 1

    def test_samples_can_be_of_a_fraction_of_the_pictures(self):
        task = NumerosityTask(numbers=(1, 2), controls=("standard",), pictures=8, sampled=0.25, **COARSE)
        trials = task.trials(200, seed=1)
        different = {name: {shown(trial, name).tobytes() for trial in trials} for name in ("sample", "test")}
        assert len(different["sample"]) == 2 * 2
        assert len(different["test"]) == 2 * 8
        with pytest.raises(InputError, match="sampled=0: give a fraction above 0, at most 1"):
            NumerosityTask(sampled=0, **COARSE)

    def test_every_condition_can_be_set(self):
        task = NumerosityTask(**COARSE)
        for test, match in [(2, 0.0), (4, 1.0)]:
            trials = task.trials(4, seed=1, number=4, test=test, control="linear", test_control="shapes")
            for trial in trials:
                assert trial.conditions == {
                    "match": match, "number": 4.0, "control": "linear", "test": float(test), "test_control": "shapes",
                }  # fmt: skip

    def test_up_to_thirty_dots(self):
        trial = NumerosityTask(numbers=(15, 30), controls=("standard",), diameters=(0.5, 0.6)).trials(1, seed=1)[0]
        assert dots(shown(trial, "sample")) == trial.conditions["number"]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"numbers": (3,)}, r"numbers=\(3,\): give two or more whole numbers"),
            ({"numbers": (1.5, 2)}, "give two or more whole numbers"),
            ({"numbers": 3}, "numbers=3: give a tuple of numbers"),
            ({"controls": ("standard", "liner")}, "control 'liner' is unknown; did you mean 'linear'"),
            ({"controls": "linear"}, "controls='linear': give a tuple of names"),
            ({"pictures": 1}, "pictures=1: give a whole number of at least 2"),
            ({"numbers": (1, 30), "diameters": (0.9, 0.9)}, "number is 30: standard dots .* do not fit on a disc of 6 deg"),
            ({"disc": 9.0}, "disc is 9 deg, larger than the screen"),
        ],
    )
    def test_bad_parameters_are_refused_at_once(self, change: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message):
            tasks.get("numerosity", **change)

    @pytest.mark.parametrize(
        ("conditions", "message"),
        [
            ({"number": 6}, r"number=6.0: choose one of the task's numbers \(1, 2, 3, 4, 5\)"),
            ({"match": 1, "number": 2, "test": 3}, "match=1, number=2, test=3: they contradict each other"),
            ({"match": 0.5}, "match=0.5: give 1 for a test that matches, or 0"),
            ({"control": "aera"}, "control of this task 'aera' is unknown"),
            ({"control": 3}, "control=3: give a name"),
            ({"test": "two"}, "test='two': give a number"),
        ],
    )
    def test_impossible_conditions_are_named(self, conditions: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message):
            NumerosityTask(**COARSE).trials(1, seed=0, **conditions)


class TestCatDog:
    def test_a_test_matches_in_category_and_never_shows_the_same_blend(self):
        task = CatDogTask(pictures=1, **SMALL_ANIMALS)
        for trial in task.trials(60, seed=3):
            c = trial.conditions
            assert ((c["fraction"] > 0.5) == (c["test_fraction"] > 0.5)) == c["match"] == trial.answer
            names = ["sample", "test"] if trial.answer else ["sample", "test", "second_test"]
            assert len({shown(trial, name).tobytes() for name in names}) == len(names)
            assert (c["line"], c["morph"]) != (c["test_line"], c["test_morph"])

    def test_a_prototype_is_the_same_animal_on_each_of_its_lines(self):
        task = CatDogTask(pictures=1, size_jitter=0.0, location_jitter=0.0, **SMALL_ANIMALS)
        tabby = [
            shown(task.trials(1, seed=s, line=f"tabby-{dog}", morph=0)[0], "sample")
            for s, dog in [(1, "hound"), (2, "spaniel")]
        ]
        assert np.array_equal(*tabby)
        for trial in task.trials(40, seed=1, line="tabby-hound", morph=0.0, match=1):
            assert not (str(trial.conditions["test_line"]).startswith("tabby") and trial.conditions["test_morph"] == 0)

    def test_what_is_shown_is_the_blend(self):
        task = CatDogTask(size_jitter=0.0, location_jitter=0.0, **SMALL_ANIMALS)

        def sample(line: str, level: float) -> np.ndarray:
            return shown(task.trials(1, seed=1, line=line, morph=level)[0], "sample").astype(float)

        levels = [sample("siamese-retriever", level) for level in task.levels]
        apart = [np.abs(levels[0] - other).mean() for other in levels]
        assert apart == sorted(apart)

    def test_design(self):
        task = CatDogTask(pictures=1, **SMALL_ANIMALS)
        assert len(task.design()) == 2 * 15 * 6
        assert len(task.all_lines()) == 15
        assert [task.between(line) for line in task.all_lines()] == [True] * 9 + [False] * 6
        trials = task.trials(180, seed=1)
        assert np.mean([t.conditions["match"] for t in trials]) == 0.5
        dogs = [t.conditions["fraction"] > 0.5 for t in trials]
        assert np.mean(dogs) == 0.5

    def test_the_boundary_is_where_it_is_said_to_be(self):
        task = CatDogTask(boundary=0.7, **SMALL_ANIMALS)
        trials = task.trials(4, seed=1, line="tabby-hound", morph=0.6, match=1)
        assert all(t.conditions["test_fraction"] < 0.7 for t in trials)
        trials = CatDogTask(**SMALL_ANIMALS).trials(4, seed=1, line="tabby-hound", morph=0.6, match=1)
        assert all(t.conditions["test_fraction"] > 0.5 for t in trials)

    def test_training_leaves_lines_out(self):
        task = CatDogTask(**SMALL_ANIMALS)
        training = task.for_training()
        assert task.heldout_lines is not None and len(task.heldout_lines) == 5
        assert set(task.heldout_lines) | set(training.lines or ()) == set(task.all_lines())
        assert not set(task.heldout_lines) & set(training.lines or ())
        used = {t.conditions[name] for t in training.trials(60, seed=1) for name in ("line", "test_line")}
        assert used == set(training.lines or ())

    def test_seeds_share_no_picture_and_trials_of_a_seed_do(self):
        task = CatDogTask(pictures=2, lines=("tabby-hound", "siamese-spaniel"), levels=(0.0, 0.4, 0.6, 1.0), **SMALL_ANIMALS)
        pools = []
        for seed in (1, 2):
            trials = task.trials(60, seed=seed)
            pools.append({shown(t, name).tobytes() for t in trials for name in ("sample", "test")})
        assert [len(pool) for pool in pools] == [2 * 8, 2 * 8]
        assert not pools[0] & pools[1]

    def test_the_test_can_be_set(self):
        task = CatDogTask(**SMALL_ANIMALS)
        conditions = {"line": "tabby-hound", "morph": 0.2, "test_line": "siamese-hound", "test_morph": 0.8}
        for trial in task.trials(3, seed=1, **conditions):
            assert {name: trial.conditions[name] for name in conditions} == conditions
            assert trial.conditions["match"] == 0
        assert all(t.conditions["match"] == 1 for t in task.trials(9, seed=1, test_morph=0.4, match=1))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"levels": (0.0, 0.5, 1.0)}, r"levels=\(0.0, 0.5, 1.0\), boundary=0.5: give levels .* not the boundary"),
            ({"levels": (0.0, 20.0)}, "give levels from 0 to 1"),
            ({"levels": (0.2, 0.2)}, "give different values"),
            ({"lines": ("tabby-hund",)}, "line in lines 'tabby-hund' is unknown; did you mean 'tabby-hound'"),
            ({"heldout_lines": "tabby-hound"}, "heldout_lines='tabby-hound': give a tuple of names"),
            ({"lines": ("tabby-siamese",)}, "lines and levels: 0 different pictures of category 2; a trial needs 3"),
            ({"size": 6.0}, "size=6: with its jitter a picture takes 6.98 deg, and the screen has 6 deg"),
            ({"part": "half"}, "part 'half' is unknown"),
            ({"pictures": 0}, "pictures=0: give a whole number"),
            ({"size_jitter": -0.1}, "size_jitter=-0.1"),
        ],
    )
    def test_bad_parameters_are_refused_at_once(self, change: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message):
            tasks.get("catdog", **change)

    @pytest.mark.parametrize(
        ("conditions", "message"),
        [
            ({"line": "tabby-hound", "morph": 0.3}, "line='tabby-hound', morph=0.3: there is no such picture"),
            (
                {"line": "tabby-hound", "morph": 0, "match": 1, "test_line": "hound-spaniel"},
                "there is no such picture for this",
            ),
        ],
    )
    def test_impossible_conditions_are_named(self, conditions: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message):
            CatDogTask(**SMALL_ANIMALS).trials(1, seed=0, **conditions)


class TestOwnPictures:
    @pytest.fixture
    def photographs(self, tmp_path: Path) -> Path:
        """Fifteen pictures of each category, distinguished by their colours: red in one, blue in the other."""
        for name, column in (("ape", 0), ("bee", 2)):
            (tmp_path / name).mkdir()
            for number in range(15):
                colour = [0, 10 * number, 0]
                colour[column] = 200
                Image.new("RGB", (20, 20), tuple(colour)).save(tmp_path / name / f"{number:02}.png")
        return tmp_path

    @staticmethod
    def numbers(trials: list[Trial]) -> set[tuple[bool, int]]:
        """(whether it is a bee, number) of every picture of the trials."""
        pixels = [shown(t, name)[8, 8] for t in trials for name in ("sample", "test")]
        return {(bool(blue), round(green / 10)) for _, green, blue in pixels}

    def test_photographs_are_read_where_late_areas_know_what_they_show(self, photographs: Path) -> None:
        drawn, shown = CatDogTask(**SMALL_ANIMALS), CatDogTask(stimuli_dir=str(photographs), **SMALL_ANIMALS)
        assert (drawn.run_defaults["areas"], drawn.run_defaults["side"]) == (3, 4)
        for task in (shown, dataclasses.replace(shown, pictures=2)):
            assert {**task.run_defaults} == {**drawn.run_defaults, "areas": None, "side": None}

    def test_photographs_by_folder(self, photographs: Path):
        task = CatDogTask(stimuli_dir=str(photographs), **SMALL_ANIMALS)
        trials = task.trials(200, seed=1)
        for trial in trials:
            blue = [bool(shown(trial, name)[8, 8, 2]) for name in ("sample", "test")]
            assert (blue[0] == blue[1]) == trial.answer
            assert blue == [trial.conditions["fraction"] == 1, trial.conditions["test_fraction"] == 1]
            assert not np.array_equal(shown(trial, "sample"), shown(trial, "test"))
        assert len(self.numbers(trials)) == 30
        assert task.design()[0] == {"match": 1.0, "morph": 0.0, "line": "all"}
        assert not shown(trials[0], "sample")[0].any()  # 4.2 deg on a screen of 6

    def test_those_to_test_with_are_not_those_to_train_with(self, photographs: Path):
        task = CatDogTask(stimuli_dir=str(photographs), **SMALL_ANIMALS)
        training = self.numbers(task.for_training().trials(200, seed=1))
        testing = self.numbers(task.for_testing().trials(200, seed=1))
        assert testing == {(bee, number) for bee in (False, True) for number in (4, 9, 14)}
        assert len(training) == 24
        assert not training & testing

    def test_lines_and_levels_of_a_table(self, tmp_path: Path):
        rows = ["file,category,morph,line"]
        for at, line in enumerate(("x", "y")):
            for level in (0.0, 0.4, 0.6, 1.0):
                Image.new("RGB", (8, 8), (int(200 * level) + 50, 100 * at, 0)).save(tmp_path / f"{line}{level}.png")
                rows.append(f"{line}{level}.png,{'dog' if level > 0.5 else 'cat'},{level},{line}")
        Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "z.png")
        rows.append("z.png,cat,0.3,z")
        (tmp_path / "labels.csv").write_text("\n".join(rows))
        task = CatDogTask(stimuli_dir=str(tmp_path), heldout_lines=("z",), **SMALL_ANIMALS)
        assert task.all_lines() == ("x", "y", "z")
        assert len(task.design()) == 2 * 9
        assert task.trials(1, seed=1, line="y", morph=0.4)[0].conditions["fraction"] == 0.4
        with pytest.raises(InputError, match=r"\(part training\): 2 different pictures of category 1; a trial needs 3"):
            CatDogTask(stimuli_dir=str(tmp_path), lines=("x",), part="training", **SMALL_ANIMALS)

    @staticmethod
    def colours(trials: list[Trial]) -> set[int]:
        """The red of every picture of the trials."""
        return {int(shown(trial, name)[8, 8][0]) for trial in trials for name in ("sample", "test")}

    @pytest.mark.parametrize("same_task", [True, False])
    @pytest.mark.parametrize("how", ["written over", "replaced by a copy that keeps the time", "replaced by a link"])
    def test_pictures_that_are_replaced_are_seen(
        self, photographs: Path, tmp_path_factory: pytest.TempPathFactory, how: str, same_task: bool
    ):
        task, elsewhere = CatDogTask(stimuli_dir=str(photographs), **SMALL_ANIMALS), tmp_path_factory.mktemp("new")
        assert self.colours(task.trials(20, seed=1)) == {0, 200}
        for path in sorted(photographs.glob("*/*.png")):
            stat, pixels = path.stat(), np.array(Image.open(path))
            pixels[..., 0] = 77
            new = path if how == "written over" else elsewhere / f"{path.parent.name}{path.name}"
            Image.fromarray(pixels).save(new)
            if how == "replaced by a link":
                path.unlink()
                path.symlink_to(new)
            elif new != path:
                os.utime(new, ns=(stat.st_atime_ns, stat.st_mtime_ns))
                shutil.move(new, path)
        if not same_task:
            task = CatDogTask(stimuli_dir=str(photographs), **SMALL_ANIMALS)
        assert self.colours(task.trials(20, seed=1)) == {77}

    def test_pictures_that_come_and_go_are_seen(self, photographs: Path):
        task = CatDogTask(stimuli_dir=str(photographs), **SMALL_ANIMALS)
        assert len(self.numbers(task.trials(200, seed=1))) == 30
        for number in range(4, 15):
            (photographs / "ape" / f"{number:02}.png").unlink()
        assert len(self.numbers(task.trials(200, seed=1))) == 19
        (photographs / "ape" / "00.png").write_bytes(b"\x89PNG but no more")
        with pytest.raises(InputError, match=r"ape/00\.png: cannot be read as a picture"):
            task.trials(200, seed=1)

    def test_a_relative_folder_outlives_a_change_of_directory(self, photographs: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.chdir(photographs.parent)
        task = CatDogTask(stimuli_dir=photographs.name, **SMALL_ANIMALS)
        assert task.stimuli_dir == str(photographs)
        expected = self.numbers(task.trials(10, seed=1))
        monkeypatch.chdir("/")
        assert self.numbers(task.trials(10, seed=1)) == expected
        assert self.numbers(task.for_testing().trials(10, seed=2))

    def test_folders_that_link_to_one_another_come_to_an_end(self, photographs: Path):
        (photographs / "ape" / "again").symlink_to(photographs)
        with contextlib.suppress(InputError):
            CatDogTask(stimuli_dir=str(photographs), **SMALL_ANIMALS).trials(2, seed=1)

    def test_a_folder_that_cannot_be_used_is_named(self, photographs: Path):
        (photographs / "bee" / "03.png").write_bytes(b"\x89PNG but no more")
        with pytest.raises(InputError, match=r"bee/03.png: cannot be read as a picture"):
            CatDogTask(stimuli_dir=str(photographs), **SMALL_ANIMALS)
        with pytest.raises(InputError, match="stimuli_dir nowhere: there is no such folder"):
            CatDogTask(stimuli_dir="nowhere")


class TestMemorySaccade:
    def test_periods_and_what_they_show(self):
        task = MemorySaccadeTask()
        trial = task.trials(1, seed=1, location=135.0, delay=3000)[0]
        assert trial.periods == {"fixation": (0, 750), "cue": (750, 1250), "delay": (1250, 4250), "response": (4250, 4750)}
        assert trial.answer_window == (4250, 4750)
        fixating = np.repeat(saccade_display(task.display), 3, 2)
        assert np.array_equal(shown(trial, "fixation"), fixating)
        assert np.array_equal(shown(trial, "delay"), fixating)
        assert not shown(trial, "response").any()
        cue = shown(trial, "cue")[..., 0].astype(float) - fixating[..., 0]
        x, y = task.display.pixel_centres()
        angle = np.degrees(np.arctan2((cue * y[:, None]).sum(), (cue * x).sum()))
        assert angle == pytest.approx(135, abs=0.5)

    def test_each_place_is_an_action(self):
        task = MemorySaccadeTask(locations=(10.0, 130.0, 250.0), eccentricity=8.0)
        assert task.actions == ("fixate", "10 deg", "130 deg", "250 deg")
        assert [task.trials(1, seed=0, location=location)[0].answer for location in task.locations] == [1, 2, 3]

    def test_places_and_delays_are_balanced_and_training_has_shorter_ones(self):
        task = MemorySaccadeTask(**COARSE, eccentricity=3.0)
        cells = Counter((t.conditions["location"], t.conditions["delay"]) for t in task.trials(48, seed=1))
        assert set(cells.values()) == {2}
        assert len(cells) == 24
        assert task.for_training().delays == task.training_delays
        assert max(task.training_delays) < max(task.delays)
        assert len(task.training_delays) > 10  # so that the time to answer cannot be foreseen

    def test_any_delay_can_be_asked_for(self):
        trial = MemorySaccadeTask().trials(1, seed=1, delay=12_345.0)[0]
        assert trial.movie.duration_ms == 750 + 500 + 12_345 + 500

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"eccentricity": 16.0}, r"eccentricity is 16 deg: the cue at \(16, 0\) deg is not wholly on the screen of 32"),
            ({"locations": (0.0, 360.0)}, r"locations=\(0.0, 360.0\): give two or more different angles"),
            ({"locations": 8}, "locations=8: give angles in deg"),
            ({"delays": ()}, r"delays=\(\): give durations in ms"),
            ({"delays": (0.0,)}, "delays=0.0: give a duration above 0 ms"),
            ({"cue": 0.0}, "cue=0.0: give a duration above 0 ms"),
            ({"cue_size": -1.0}, "cue is -1.0; give a number above 0"),
        ],
    )
    def test_bad_parameters_are_refused_at_once(self, change: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message):
            tasks.get("saccade", **change)

    def test_impossible_conditions_are_named(self):
        with pytest.raises(InputError, match="location=30: choose one of the task's locations"):
            MemorySaccadeTask().trials(1, seed=0, location=30)
        with pytest.raises(InputError, match=r"delay=-1.0: give a duration above 0 ms"):
            MemorySaccadeTask().trials(1, seed=0, delay=-1)


def test_the_lines_are_those_of_the_stimuli():
    assert CatDogTask().all_lines() == tuple("-".join(line) for line in LINES)
