"""Tasks: every one keeps the contract of `VisualTask`; random dots show what Roitman & Shadlen (2002) describe."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from cordstasks import tasks
from cordstasks.errors import InputError
from cordstasks.stimuli import Display, Movie, RandomDots, random_dots
from cordstasks.tasks import RandomDotsTask, Trial, TrialBatch
from cordstasks.tasks.batch import FIXATE
from cordstasks.tasks.timing import check_duration, steps_before
from cordstasks.tasks.visual.base import collate

NAMES = tasks.names()  # before a test registers one of its own
EVERY = pytest.mark.parametrize("name", NAMES)
SMALL = {name: tasks.get(name, display=Display(16, tasks.get(name).display.field_of_view)) for name in NAMES}


def same_movie(one: Movie, other: Movie) -> bool:
    return (
        np.array_equal(one.frames[one.shown], other.frames[other.shown])
        and np.array_equal(one.onsets_ms, other.onsets_ms)
        and one.duration_ms == other.duration_ms
    )


def expected_grid(trial: Trial, dt: float, steps: int, fixation_weight: float) -> tuple[list[int], list[float]]:
    """Targets and mask of a trial, step by step: a step belongs to the period in which it ends."""
    targets, mask = [], []
    for step in range(steps):
        end = (step + 1) * dt
        due = [action for first, last, action in trial.segments if first < end <= last]
        weighty = due or trial.answer_window[0] < end <= trial.answer_window[1]
        targets.append(due[0] if due else FIXATE)
        mask.append(1.0 if weighty else fixation_weight if end <= trial.movie.duration_ms else 0.0)
    return targets, mask


class TestEveryTask:
    """What training, environments and analyses rely on."""

    @EVERY
    @pytest.mark.parametrize("dt", [20.0, 12.5])
    def test_a_batch_has_the_targets_mask_and_conditions_of_its_trials(self, name: str, dt: float):
        task = tasks.get(name)
        batch = task.sample(7, seed=5, dt=dt)
        trials = task.trials(7, seed=5)
        steps = int(max(trial.movie.duration_ms for trial in trials) / dt)
        assert isinstance(batch, TrialBatch)
        assert batch.targets.shape == batch.mask.shape == batch.response_mask.shape == (7, steps)
        assert len(batch) == len(batch.movies) == 7
        for row, trial in enumerate(trials):
            targets, mask = expected_grid(trial, dt, steps, task.fixation_weight)
            assert batch.targets[row].tolist() == targets
            np.testing.assert_array_equal(batch.mask[row], np.float32(mask))
            assert batch.answers[row] == trial.answer
            assert same_movie(batch.movies[row], trial.movie)
            assert {key: values[row] for key, values in batch.conditions.items()} == trial.conditions
            periods = {key: tuple(ends[row]) for key, ends in batch.periods.items() if np.isfinite(ends[row]).all()}
            assert periods == trial.periods

    @EVERY
    def test_answers_are_asked_for_in_their_window_only(self, name: str):
        task = tasks.get(name)
        batch = task.sample(5, seed=2, dt=10)
        for row, trial in enumerate(task.trials(5, seed=2)):
            start, end = trial.answer_window
            ends = 10 * (np.arange(batch.response_mask.shape[1]) + 1)
            assert np.array_equal(batch.response_mask[row], (ends > start) & (ends <= end))
            assert (batch.targets[row, batch.response_mask[row]] == trial.answer).all()
        assert (batch.mask[batch.response_mask] == 1).all()
        assert 0 < batch.response_mask.mean() < 1
        assert batch.options == task.options
        assert set(batch.answers) <= set(batch.options)

    @EVERY
    def test_a_trial_depends_on_the_seed_and_its_number_alone(self, name: str):
        task = tasks.get(name)
        few, many, later = task.trials(2, seed=8), task.trials(4, seed=8), task.trials(2, seed=8, start=1)
        for one, other in [(few[0], many[0]), (few[1], many[1]), (many[1], later[0]), (many[2], later[1])]:
            assert same_movie(one.movie, other.movie)
            assert (one.conditions, one.answer, one.periods) == (other.conditions, other.answer, other.periods)

    @EVERY
    def test_seeds_and_numbers_make_trials_differ(self, name: str):
        task = tasks.get(name)
        fixed = task.design()[-1]
        movies = [trial.movie for seed in (1, 2) for trial in task.trials(3, seed=seed, **fixed)]
        alike = [same_movie(one, other) for at, one in enumerate(movies) for other in movies[:at]]
        assert any(alike) == all(alike) == (name == "saccade")  # where nothing is left to be drawn
        size = len(task.design())
        orders = [[task.conditions(index, seed=seed) for index in range(size)] for seed in (1, 2)]
        assert orders[0] != orders[1]

    @EVERY
    def test_each_block_holds_every_condition_once_in_an_order_of_its_own(self, name: str):
        task = tasks.get(name)
        design = task.design()
        blocks = [
            [task.conditions(block * len(design) + place, seed=3) for place in range(len(design))] for block in range(4)
        ]
        for block in blocks:
            assert sorted(map(repr, block)) == sorted(map(repr, design))
        assert blocks[0] != blocks[1]
        assert blocks[1] != blocks[2]

    @EVERY
    def test_conditions_that_a_caller_sets_hold_for_every_trial(self, name: str):
        task = tasks.get(name)
        free, *_ = task.design()[0]
        value = task.design()[-1][free]
        batch = task.sample(5, seed=1, **{free: value})
        assert (batch.conditions[free] == value).all()
        others = [key for key in task.design()[0] if key != free]
        drawn = task.sample(5, seed=1)
        assert all(np.array_equal(batch.conditions[key], drawn.conditions[key]) for key in others)

    @EVERY
    def test_actions_begin_with_fixating_and_cover_the_answers(self, name: str):
        task = SMALL[name]
        answers = {trial.answer for trial in task.trials(len(task.design()), seed=0)}
        assert task.actions[FIXATE] == "fixate"
        assert answers == set(task.options)
        assert set(range(1, len(task.actions))) <= set(task.options) <= set(range(len(task.actions)))

    @EVERY
    def test_timing_states_the_periods_of_trials(self, name: str):
        task = tasks.get(name)
        trial = task.trials(1, seed=0)[0]
        for period, (start, end) in trial.periods.items():
            duration = task.timing[period]
            shortest, longest = duration if isinstance(duration, tuple) else (duration, duration)
            assert shortest - 1e-9 <= end - start <= longest + 1e-9
        assert trial.movie.duration_ms == pytest.approx(max(end for _, end in trial.periods.values()), abs=1e-9)

    @EVERY
    def test_bad_samples_say_what_is_wrong(self, name: str):
        task = tasks.get(name)
        known = next(iter(task.design()[0]))
        with pytest.raises(InputError, match="trials=0: draw at least 1"):
            task.sample(0, seed=1)
        with pytest.raises(InputError, match="dt=0: a time step must be above 0 ms"):
            task.sample(2, seed=1, dt=0)
        with pytest.raises(InputError, match=r"dt=5000 ms is longer than \w+ can be \(\d+ ms\); choose"):
            task.sample(2, seed=1, dt=5000)
        with pytest.raises(InputError, match=f"condition of task {name} '{known}s' is unknown; did you mean '{known}'"):
            task.sample(2, seed=1, **{f"{known}s": 0.5})
        with pytest.raises(InputError, match=f"{known}='much': give a number"):
            task.sample(2, seed=1, **{known: "much"})


class TestGet:
    def test_an_unknown_task_names_the_nearest(self):
        with pytest.raises(InputError, match="task 'rdn' is unknown; did you mean 'rdm'"):
            tasks.get("rdn")

    def test_an_unknown_parameter_names_the_nearest(self):
        with pytest.raises(InputError, match="parameter of task rdm 'coherence' is unknown; did you mean 'coherences'"):
            tasks.get("rdm", coherence=0.5)

    def test_a_parameter_of_the_wrong_type_is_the_users_error(self):
        with pytest.raises(InputError, match=r"coherences=0\.5: give a tuple of numbers"):
            tasks.get("rdm", coherences=0.5)

    def test_parameters_reach_the_task(self):
        assert tasks.get("rdm", motion=(200.0, 400.0)) == RandomDotsTask(motion=(200.0, 400.0))


class TestTime:
    @pytest.mark.parametrize(
        ("time", "dt", "steps"),
        [
            (0, 20, 0),
            (19.9, 20, 0),
            (20, 20, 1),
            (300, 1000 / 75, 22),
            (320, 1000 / 75, 24),
            (0.3, 0.1, 3),
            (45, 10, 4),
        ],
    )
    def test_whole_steps_are_counted_despite_rounding(self, time: float, dt: float, steps: int):
        assert steps_before(time, dt) == steps

    @pytest.mark.parametrize("duration", [-1.0, float("nan"), float("inf"), (300.0, 200.0), (-5.0, 10.0), (1.0, 2.0, 3.0)])
    def test_impossible_durations_are_refused(self, duration: object):
        with pytest.raises(InputError, match=r"delay=.*: give a duration at least 0 ms, or \(shortest, longest\)"):
            check_duration("delay", duration, positive=False)

    def test_only_an_optional_period_may_last_0_ms(self):
        check_duration("delay", 0.0, positive=False)
        with pytest.raises(InputError, match=r"motion=0.0: give a duration above 0 ms"):
            check_duration("motion", 0.0)


class TestRandomDots:
    DISPLAY = Display(pixels=48, field_of_view=8.0)  # 6 px/deg

    def test_trials_of_different_lengths_are_padded_with_no_weight(self):
        task = RandomDotsTask(delay=(100.0, 300.0), display=self.DISPLAY)
        batch = task.sample(9, seed=4, dt=20)
        lengths = [int(movie.duration_ms / 20) for movie in batch.movies]
        assert len(set(lengths)) > 3
        assert batch.targets.shape == (9, max(lengths))
        for row, length in enumerate(lengths):
            assert (batch.mask[row, :length] > 0).all()
            assert (batch.mask[row, length:] == 0).all()
            assert (batch.targets[row, length:] == FIXATE).all()
            start, end = batch.periods["choice"][row]
            assert np.flatnonzero(batch.targets[row]).tolist() == list(range(int(start / 20), int(end / 20)))
        delays = np.diff(batch.periods["delay"])[:, 0]
        assert (delays >= 100).all()
        assert (delays <= 300).all()

    def test_periods_follow_each_other_and_a_delay_of_0_is_left_out(self):
        plain = RandomDotsTask(fixation=310.0, motion=250.0, choice=90.0).trials(1, seed=0)[0]
        assert plain.periods == {"fixation": (0, 310), "motion": (310, 560), "choice": (560, 650)}
        assert plain.answer_window == (560, 650)
        assert plain.answer_from == 560
        delayed = RandomDotsTask(fixation=310.0, motion=250.0, delay=60.0, choice=90.0).trials(1, seed=0)[0]
        assert delayed.periods["delay"] == (560, 620)
        assert delayed.periods["choice"] == (620, 710)

    def test_with_reaction_time_the_answer_is_due_from_motion_onset(self):
        trial = RandomDotsTask(fixation=310.0, motion=250.0, choice=90.0, reaction_time=True).trials(1, seed=0)[0]
        assert trial.answer_window == (310, 650)
        assert trial.answer_from == 310

    def test_motion_lasts_longer_where_it_would_last_until_the_answer(self):
        assert RandomDotsTask().timing["motion"] == 500
        assert RandomDotsTask(reaction_time=True).timing["motion"] == 1500
        assert RandomDotsTask(reaction_time=True, motion=500.0).timing["motion"] == 500

    def test_each_direction_has_its_answer(self):
        task = RandomDotsTask(directions=(45.0, 270.0, 100.0), display=self.DISPLAY)
        for direction, answer in [(45, 1), (270, 2), (100, 3)]:
            assert task.trials(1, seed=0, direction=direction)[0].answer == answer
        assert task.actions == ("fixate", "45 deg", "270 deg", "100 deg")
        with pytest.raises(InputError, match=r"direction=90: choose one of the task's directions \(45.0, 270.0, 100.0\)"):
            task.trials(1, seed=0, direction=90)

    def test_the_screen_changes_at_the_right_times(self):
        task = RandomDotsTask(fixation=310.0, motion=250.0, delay=60.0, choice=90.0, display=self.DISPLAY)
        movie = task.trials(1, seed=6, coherence=0.512)[0].movie
        frames = 1000 / 75
        onsets = [0, *(310 + frames * np.arange(19)), 560, 620]  # 250 ms are 18.75 frames
        np.testing.assert_allclose(movie.onsets_ms, onsets, atol=1e-9)
        assert movie.duration_ms == 710
        fixating, first, last, delay, choice = movie.rgb([309.9, 310, 559.9, 560, 620])
        assert np.array_equal(fixating, delay)
        assert not np.array_equal(fixating, first)
        assert not np.array_equal(last, delay)
        assert not np.array_equal(choice, delay)

    def test_the_fixation_spot_goes_off_when_it_is_time_to_choose_and_the_targets_stay(self):
        task = RandomDotsTask(display=self.DISPLAY, delay=60.0)
        trial = task.trials(1, seed=6)[0]
        spot = np.s_[:, 23:25, 23:25]
        left, right = np.s_[:, 23:25, 3:6], np.s_[:, 23:25, 42:45]  # 3.3 deg are 19.8 px
        before = trial.movie.rgb(np.arange(0, trial.periods["choice"][0], 5))
        after = trial.movie.rgb(np.arange(*trial.periods["choice"], 5))
        assert (before[spot] > 150).all()
        assert (after[spot] == 0).all()
        assert (before[left] > 150).all()
        assert (before[right] > 150).all()
        assert (after[left] > 150).all()
        assert (after[right] > 150).all()
        assert after.sum() == 2 * after[:, :, 24:].sum()  # nothing else, and the same on both sides

    def test_each_choice_target_lies_in_its_direction(self):
        task = RandomDotsTask(display=self.DISPLAY, directions=(20.0, 110.0), spot=0.0, target_eccentricity=3.0)
        image = task.trials(1, seed=6)[0].movie.rgb([0])[0, ..., 0].astype(float)
        x, y = self.DISPLAY.pixel_centres()
        for side, direction in [(x > 0.5, 20.0), (x < 0.5, 110.0)]:
            light = image * side
            centre = [(light * x).sum() / light.sum(), (light * y[:, None]).sum() / light.sum()]
            expected = 3 * np.cos(np.deg2rad([direction, direction - 90]))
            np.testing.assert_allclose(centre, expected, atol=0.02)  # deg: about a tenth of a pixel

    def test_the_motion_is_that_of_its_conditions_over_spot_and_targets(self):
        task = RandomDotsTask(display=self.DISPLAY, directions=(30.0, 210.0), speed=8.0, spot=0.0, targets=0.0)
        trial = task.trial({"coherence": 0.256, "direction": 210.0}, np.random.default_rng(11))
        dots = RandomDots(0.256, 210.0, speed=8.0)
        alone = random_dots(dots, self.DISPLAY, duration_ms=500, rng=np.random.default_rng(11))
        np.testing.assert_array_equal(trial.movie.rgb(np.arange(300, 800, 5)), alone.rgb(np.arange(0, 500, 5)))
        decked = RandomDotsTask(display=self.DISPLAY, directions=(30.0, 210.0), speed=8.0)
        shown = decked.trial({"coherence": 0.256, "direction": 210.0}, np.random.default_rng(11)).movie.rgb([0, 400])
        np.testing.assert_array_equal(shown[1], np.maximum(shown[0], alone.rgb([100])[0]))

    @pytest.mark.parametrize(("directions", "axis", "sign"), [((0.0, 180.0), 1, 1), ((90.0, 270.0), 0, -1)])
    def test_controls_reverse_the_motion_and_destroy_it(self, directions: tuple[float, float], axis: int, sign: int):
        task = RandomDotsTask(display=self.DISPLAY, directions=directions, coherences=(1.0,), motion=1000.0)
        for trial, direction in zip(task.trials(2, seed=3), [1, 2], strict=True):
            along = sign if trial.answer == 1 else -sign
            period = trial.periods["motion"]
            movie = trial.movie
            shuffled = movie.shuffled(np.random.default_rng(direction), *period)
            assert motion(movie, period)[axis] == pytest.approx(along * 1.2, abs=0.3)  # 0.2 deg at 6 px/deg
            assert motion(movie.reversed(*period), period)[axis] == pytest.approx(-along * 1.2, abs=0.3)
            assert evidence(movie, period, axis) * along > 3 * abs(evidence(shuffled, period, axis))
            assert np.array_equal(shuffled.at([0, 299, 1301]), movie.at([0, 299, 1301]))

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"coherences": ()}, r"coherences=\(\): give fractions from 0 to 1"),
            ({"coherences": (51.2,)}, r"coherences=\(51.2,\): give fractions from 0 to 1, such as 0.512"),
            ({"directions": (0.0,)}, r"directions=\(0.0,\): give two or more different directions"),
            ({"directions": (0.0, 360.0)}, r"directions=\(0.0, 360.0\): give two or more different directions"),
            ({"motion": 0.0}, "motion=0.0: give a duration above 0 ms"),
            ({"aperture": -1.0}, "aperture is -1.0"),
        ],
    )
    def test_bad_parameters_are_refused_at_once(self, parameters: dict[str, object], message: str):
        with pytest.raises(InputError, match=message):
            tasks.get("rdm", **parameters)

    def test_a_delay_that_may_last_0_ms(self):
        batch = RandomDotsTask(delay=(0.0, 100.0), fixation=40.0, motion=60.0, display=self.DISPLAY).sample(
            30, seed=2, dt=20
        )
        delays = np.diff(batch.periods["delay"])[:, 0]
        assert ((delays > 0) & (delays < 20)).any()
        for row, (start, end) in enumerate(batch.periods["choice"]):
            expected = list(range(int(start / 20), int(end / 20)))
            assert np.flatnonzero(batch.targets[row]).tolist() == expected

    def test_collate_puts_different_tasks_trials_on_one_grid(self):
        short = RandomDotsTask(display=self.DISPLAY, motion=200.0).trials(1, seed=0)
        long = RandomDotsTask(display=self.DISPLAY, motion=300.0).trials(1, seed=0)
        batch = collate(short + long, 20, options=(1, 2), fixation_weight=0.25)
        assert batch.mask.tolist() == [[0.25] * 25 + [1.0] * 5 + [0.0] * 5, [0.25] * 30 + [1.0] * 5]


class TestPairs:
    """Trials to train on: every second one is the one before it, backwards."""

    SHORT: ClassVar[dict[str, Any]] = {
        "display": Display(pixels=48, field_of_view=8.0),
        "fixation": 40.0,
        "motion": (150.0, 250.0),
        "choice": 40.0,
        "coherences": (0.3, 1.0),
    }

    @pytest.mark.parametrize("directions", [(0.0, 180.0), (270.0, 90.0)])
    def test_the_second_is_the_first_reversed_in_time(self, directions: tuple[float, float]):
        trials = RandomDotsTask(paired=True, directions=directions, **self.SHORT).trials(12, seed=5)
        for one, other in zip(trials[::2], trials[1::2], strict=True):
            start, end = one.periods["motion"]
            assert other.periods == one.periods
            assert (other.answer_window, other.answer_from) == (one.answer_window, one.answer_from)
            onsets = one.movie.onsets_ms
            assert np.array_equal(other.movie.onsets_ms, onsets)
            moving = (onsets >= start) & (onsets < end)
            assert moving.sum() > 8
            forth, back = one.movie.rgb(onsets), other.movie.rgb(onsets)
            assert np.array_equal(back[moving], forth[moving][::-1])
            assert not np.array_equal(back[moving], forth[moving])
            assert np.array_equal(back[~moving], forth[~moving])
            assert {one.answer, other.answer} == {1, 2}
            assert other.conditions["coherence"] == one.conditions["coherence"]
            for trial in (one, other):
                assert trial.conditions["direction"] == directions[trial.answer - 1]

    def test_a_pair_s_first_trials_are_those_of_the_unpaired_task(self):
        paired = RandomDotsTask(paired=True, **self.SHORT).trials(8, seed=5)
        plain = RandomDotsTask(**self.SHORT).trials(4, seed=5)
        assert [trial.conditions for trial in paired[::2]] == [trial.conditions for trial in plain]
        assert all(same_movie(one.movie, other.movie) for one, other in zip(paired[::2], plain, strict=True))

    @pytest.mark.parametrize(("start", "count"), [(0, 3), (1, 1), (1, 4), (2, 3), (3, 2), (5, 4)])
    def test_a_trial_depends_on_seed_and_number_alone(self, start: int, count: int):
        task = RandomDotsTask(paired=True, **self.SHORT)
        expected = task.trials(9, seed=5)[start : start + count]
        ours = task.trials(count, seed=5, start=start)
        assert len(ours) == count
        for one, other in zip(ours, expected, strict=True):
            assert same_movie(one.movie, other.movie)
            assert (one.conditions, one.answer) == (other.conditions, other.answer)

    def test_a_fixed_direction_is_honoured(self):
        trials = RandomDotsTask(paired=True, **self.SHORT).trials(5, seed=5, direction=180.0)
        assert [trial.conditions["direction"] for trial in trials] == [180.0] * 5
        assert [trial.answer for trial in trials] == [2] * 5
        plain = RandomDotsTask(**self.SHORT).trials(5, seed=5, direction=180.0)
        assert all(same_movie(one.movie, other.movie) for one, other in zip(trials, plain, strict=True))

    def test_a_fixed_coherence_holds_for_both(self):
        trials = RandomDotsTask(paired=True, **self.SHORT).trials(5, seed=5, coherence=0.7)
        assert [trial.conditions["coherence"] for trial in trials] == [0.7] * 5
        assert [trial.answer for trial in trials[1::2]] == [3 - trial.answer for trial in trials[:4:2]]

    @pytest.mark.parametrize("directions", [(0.0, 90.0), (0.0, 120.0, 180.0)])
    def test_it_needs_two_opposite_directions(self, directions: tuple[float, ...]):
        with pytest.raises(InputError, match=r"paired=True: needs two opposite directions, not \(0.0, 1?[29]0.0"):
            RandomDotsTask(paired=True, directions=directions)
        assert not RandomDotsTask(directions=directions).for_training().paired

    def test_training_is_on_pairs_at_its_own_coherences(self):
        task = RandomDotsTask(directions=(350.0, 170.0), training_coherences=(0.4,))
        training = task.for_training()
        assert (training.paired, training.coherences) == (True, (0.4,))
        assert not task.paired


def lagged(movie: Movie, period: tuple[float, float]) -> np.ndarray:
    """Cross-correlation (row, column) of each frame with the one three frames later, zero shift in the middle."""
    onsets = movie.onsets_ms[(movie.onsets_ms >= period[0]) & (movie.onsets_ms < period[1])]
    frames = movie.rgb(onsets)[..., 0].astype(float)
    frames -= frames.mean(0)
    spectrum = np.fft.fft2(frames)
    return np.fft.fftshift(np.fft.ifft2((spectrum[:-3].conj() * spectrum[3:]).mean(0)).real)


def motion(movie: Movie, period: tuple[float, float]) -> np.ndarray:
    """Displacement (row, column) in px over three frames: centre of the peak of the correlation."""
    correlation = lagged(movie, period)
    middle = correlation.shape[0] // 2
    near = np.clip(correlation[middle - 4 : middle + 5, middle - 4 : middle + 5], 0, None)
    weight = np.where(near > near.max() / 2, near, 0)
    row, column = np.mgrid[-4:5, -4:5]
    return np.array([(weight * row).sum(), (weight * column).sum()]) / weight.sum()


def evidence(movie: Movie, period: tuple[float, float], axis: int) -> float:
    """How much more alike frames are when shifted by +1 px than by -1 px along `axis`."""
    correlation = lagged(movie, period)
    middle = correlation.shape[0] // 2
    line = correlation[:, middle] if axis == 0 else correlation[middle]
    return float(line[middle + 1] - line[middle - 1])
