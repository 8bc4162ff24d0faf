"""Trials of the visual environments by hand: what is right when, what it pays, and how a trial ends."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest

from cordstasks.errors import InputError
from cordstasks.stimuli import Display
from cordstasks.tasks import RandomDotsTask, register
from cordstasks.tasks.environments.visual import RandomDotsEnv, VisualEnv
from helpers import FIXATE, environment_of, fixate

register()

SMALL = {"display": Display(pixels=16, field_of_view=8.0)}


class TestRandomDots:
    """By hand: at 20 ms, 300 ms of fixation are steps 0-14, motion 15-39 and choice 40-44."""

    def test_actions_have_names(self):
        environment = RandomDotsEnv(directions=(0.0, 90.0, 180.0), **SMALL)
        assert environment.action_space.n == 4
        assert environment.action_space.name == {"fixate": 0, "0 deg": 1, "90 deg": 2, "180 deg": 3}
        assert environment.observation_space.shape == (16, 16, 3)

    @pytest.mark.parametrize(("direction", "answer"), [(0, 1), (180, 2)])
    @pytest.mark.parametrize("steps", [40, 44])
    def test_the_right_choice_in_the_window_pays_and_ends_the_trial(self, direction: float, answer: int, steps: int):
        environment = RandomDotsEnv(**SMALL)
        environment.reset(seed=1, options={"conditions": {"direction": direction}})
        fixate(environment, steps)
        _, reward, _, _, info = environment.step(answer)
        assert (reward, info["new_trial"], info["performance"], info["gt"]) == (1.0, True, 1, answer)
        assert environment.t_ind == 0

    @pytest.mark.parametrize(("direction", "answer"), [(0, 2), (180, 1)])
    def test_a_wrong_choice_ends_the_trial_and_fails(self, direction: float, answer: int):
        environment = RandomDotsEnv(rewards={"fail": -0.5}, **SMALL)
        environment.reset(seed=1, options={"conditions": {"direction": direction}})
        fixate(environment, 40)
        _, reward, _, _, info = environment.step(answer)
        assert (reward, info["new_trial"], info["performance"]) == (-0.5, True, 0)

    def test_performance_is_of_one_trial_only(self):
        environment = RandomDotsEnv(**SMALL)
        environment.reset(seed=1)
        fixate(environment, 40)
        environment.step(environment.trial["ground_truth"])
        fixate(environment, 44)
        assert environment.step(FIXATE)[4]["performance"] == 0

    @pytest.mark.parametrize("steps", [0, 14, 15, 39])
    def test_choosing_too_early_breaks_fixation(self, steps: int):
        environment = RandomDotsEnv(**SMALL)
        environment.reset(seed=1)
        fixate(environment, steps)
        _, reward, _, _, info = environment.step(environment.trial["ground_truth"])
        assert (reward, info["new_trial"], info["gt"]) == (-0.1, False, FIXATE)
        assert environment.t_ind == steps + 1

    def test_breaking_fixation_may_end_the_trial(self):
        environment = RandomDotsEnv(abort=True, **SMALL)
        environment.reset(seed=1)
        fixate(environment, 39)
        _, reward, _, _, info = environment.step(1)
        assert (reward, info["new_trial"], info["performance"]) == (-0.1, True, 0)

    def test_a_trial_without_a_choice_ends_with_its_time(self):
        environment = RandomDotsEnv(rewards={"miss": -0.3}, **SMALL)
        environment.reset(seed=1)
        results = [environment.step(FIXATE) for _ in range(45)]
        assert [result[1] for result in results] == [0.0] * 44 + [-0.3]
        assert [result[4]["new_trial"] for result in results] == [False] * 44 + [True]
        assert results[-1][4]["performance"] == 0

    def test_with_reaction_time_the_choice_may_be_made_from_motion_onset(self):
        environment = RandomDotsEnv(reaction_time=True, **SMALL)
        environment.reset(seed=1)
        answer = environment.trial["ground_truth"]
        assert environment.gt.tolist() == [FIXATE] * 15 + [answer] * 80  # motion is shown for 1500 ms, unless set
        fixate(environment, 14)
        assert environment.step(answer)[1] == -0.1
        _, reward, _, _, info = environment.step(answer)
        assert (reward, info["new_trial"], info["performance"]) == (1.0, True, 1)

    # Rounding would end trials of the first a step too soon, and lose the last step of the second.
    @pytest.mark.parametrize("dt", [0.7, 100 / 11, 1000 / 75, 1 / 3, 3, 7.5])
    def test_trials_last_the_steps_that_fit_whatever_the_time_step(self, dt: float):
        environment = RandomDotsEnv(dt, fixation=25.0, motion=40.0, choice=35.0, **SMALL)
        environment.reset(seed=1)
        steps = math.floor(100 / dt + 1e-9)
        for _ in range(2):
            results = [environment.step(FIXATE)[4]["new_trial"] for _ in range(steps)]
            assert results == [False] * (steps - 1) + [True]
            assert len(environment.ob) == len(environment.gt) == steps
            assert environment.tmax == steps * dt

    def test_one_step_a_frame_sees_each_frame_once(self):
        environment = RandomDotsEnv(1000 / 75, fixation=320.0, motion=480.0, choice=80.0)
        environment.reset(seed=1)
        assert environment.start_ind == {"fixation": 0, "motion": 24, "choice": 60}
        assert environment.end_ind == {"fixation": 24, "motion": 60, "choice": 66}
        shown = environment.ob.movie.at(np.arange(24, 60) * (1000 / 75))
        assert shown.tolist() == list(range(shown[0], shown[0] + 36))

    def test_periods_of_random_duration_may_end_within_a_step(self):
        environment = RandomDotsEnv(20, delay=(0.0, 300.0), **SMALL)
        lengths = set()
        for _ in range(20):
            environment.new_trial()
            start, end = environment.visual_trial.periods["choice"]
            first, last = math.floor(start / 20), math.floor(end / 20)
            assert np.flatnonzero(environment.gt).tolist() == list(range(first, last))
            assert len(environment.ob) == last
            fixate(environment, first - 1)
            assert environment.step(1)[1] == -0.1
            assert environment.step(environment.trial["ground_truth"])[1] == 1.0
            lengths.add(last)
        assert len(lengths) > 5
        assert environment.timing["delay"] == ("uniform", (0.0, 300.0))
        assert environment.trial_length_stats(num_trials=9)["std"] > 0

    def test_a_period_that_was_left_out_leaves_no_trace(self):
        environment = RandomDotsEnv(20, **SMALL)
        environment.task = RandomDotsTask(delay=100.0, **SMALL)
        environment.new_trial()
        assert environment.start_ind["delay"] == 40
        environment.task = RandomDotsTask(**SMALL)
        environment.new_trial()
        assert "delay" not in environment.start_ind

    def test_dt_is_held_against_the_shortest_a_period_can_be(self):
        with pytest.raises(InputError, match=r"dt=50 ms is longer than motion can be \(40 ms\)"):
            RandomDotsEnv(50, motion=(40.0, 500.0))
        RandomDotsEnv(100)  # as long as the choice

    def test_bad_conditions_and_parameters_are_the_users_error(self):
        environment = RandomDotsEnv(**SMALL)
        with pytest.raises(InputError, match=r"coherence is 51.2; give a fraction from 0 to 1"):
            environment.new_trial(coherence=51.2)
        with pytest.raises(InputError, match=r"direction=90: choose one of the task's directions \(0.0, 180.0\)"):
            environment.new_trial(direction=90)
        with pytest.raises(InputError, match="parameter of task rdm 'coherence' is unknown; did you mean 'coherences'"):
            gymnasium.make("cordstasks/RandomDots-v0", coherence=0.5)

    def test_seeds_may_be_large_or_of_numpy(self):
        environment = RandomDotsEnv(**SMALL)
        environment.reset(seed=2**40)
        large = np.asarray(environment.ob)
        environment.reset(seed=0)
        assert not np.array_equal(np.asarray(environment.ob), large)
        environment.seed(np.int64(2**40))
        environment.reset()
        np.testing.assert_array_equal(np.asarray(environment.ob), large)


class TestDelayedMatch:
    """By hand, at 20 ms: fixation 0-2, sample 3-5, delay 6-8, test 9-11; then, on a nonmatch, delay 12-13 and test 14-16."""

    TIMING: ClassVar[dict[str, Any]] = {
        "fixation": 60.0,
        "sample_time": 60.0,
        "delay": 60.0,
        "test": 60.0,
        "second_delay": 40.0,
        "second_test": 60.0,
    }
    RELEASE = 1

    @pytest.fixture(params=["cordstasks/Numerosity-v0", "cordstasks/CatDog-v0"])
    def named(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def begun(self, name: str, match: int, **parameters: Any) -> VisualEnv:
        display = Display(pixels=16, field_of_view=8.0)
        environment = environment_of(name, display=display, **self.TIMING, **parameters)
        environment.reset(seed=1, options={"conditions": {"match": match}})
        return environment

    @pytest.mark.parametrize(("match", "gt"), [(1, [0] * 9 + [1] * 3), (0, [0] * 14 + [1] * 3)])
    def test_what_is_right_when(self, named: str, match: int, gt: list[int]):
        environment = self.begun(named, match)
        assert environment.gt.tolist() == gt
        assert environment.trial["ground_truth"] == match
        assert environment.action_space.name == {"fixate": 0, "release": 1}

    @pytest.mark.parametrize("steps", [9, 11])
    def test_releasing_in_a_test_that_matches_pays(self, named: str, steps: int):
        environment = self.begun(named, 1)
        fixate(environment, steps)
        _, reward, _, _, info = environment.step(self.RELEASE)
        assert (reward, info["new_trial"], info["performance"], info["gt"]) == (1.0, True, 1, 1)

    @pytest.mark.parametrize(("steps", "reward"), [(9, 0.0), (11, 0.0), (12, 0.0), (13, 0.0), (14, 1.0), (16, 1.0)])
    def test_after_a_nonmatch_only_the_second_test_pays(self, named: str, steps: int, reward: float):
        environment = self.begun(named, 0)
        fixate(environment, steps)
        _, paid, _, _, info = environment.step(self.RELEASE)
        assert (paid, info["new_trial"], info["performance"]) == (reward, True, int(reward))

    @pytest.mark.parametrize("steps", [0, 3, 8])
    @pytest.mark.parametrize("abort", [False, True])
    def test_releasing_before_the_test_breaks_fixation(self, named: str, steps: int, abort: bool):
        environment = self.begun(named, 1, abort=abort)
        fixate(environment, steps)
        _, reward, _, _, info = environment.step(self.RELEASE)
        assert (reward, info["new_trial"]) == (-0.1, abort)

    @pytest.mark.parametrize(("match", "steps"), [(1, 12), (0, 17)])
    def test_a_trial_that_is_held_through_is_missed(self, named: str, match: int, steps: int):
        environment = self.begun(named, match, rewards={"miss": -0.3})
        results = [environment.step(FIXATE) for _ in range(steps)]
        assert [result[4]["new_trial"] for result in results] == [False] * (steps - 1) + [True]
        assert results[-1][1] == -0.3
        assert results[-1][4]["performance"] == 0

    @pytest.mark.parametrize(("match", "answer"), [(1, 1), (0, 2)])
    def test_two_choices(self, named: str, match: int, answer: int):
        environment = self.begun(named, match, two_choices=True)
        assert len(environment.gt) == 12
        fixate(environment, 9)
        assert environment.step(answer)[1] == 1.0
        environment = self.begun(named, match, two_choices=True)
        fixate(environment, 9)
        assert environment.step(3 - answer)[1] == 0.0


class TestMemorySaccade:
    """By hand, at 20 ms: fixation 0-4, cue 5-9, delay 10-19, response 20-24."""

    @pytest.mark.parametrize("location", [0.0, 120.0, 240.0])
    def test_looking_to_the_place_after_the_delay_pays(self, location: float):
        environment = environment_of(
            "cordstasks/MemorySaccade-v0",
            locations=(0.0, 120.0, 240.0),
            fixation=100.0,
            cue=100.0,
            response=100.0,
            delays=(200.0,),
        )
        right = 1 + int(location / 120)
        for action in (1, 2, 3):
            environment.reset(seed=1, options={"conditions": {"location": location}})
            fixate(environment, 19)
            assert environment.step(action)[1] == -0.1
            _, reward, _, _, info = environment.step(action)
            assert (reward, info["performance"]) == (float(action == right), int(action == right))
            assert info["new_trial"]
        assert environment.action_space.name == {"fixate": 0, "0 deg": 1, "120 deg": 2, "240 deg": 3}
