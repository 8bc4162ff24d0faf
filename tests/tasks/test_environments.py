"""Every visual environment keeps Gymnasium's and neurogym's contracts, and shows its task's trials."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import gymnasium
import neurogym
import numpy as np
import pytest

from cordstasks.errors import InputError
from cordstasks.tasks import register
from cordstasks.tasks.environments.frames import Frames
from cordstasks.tasks.environments.registration import environments
from cordstasks.tasks.environments.visual import VisualEnv
from helpers import FIXATE, environment_of, fixate

register()

ENVIRONMENTS = environments(abstract=False)
EVERY = pytest.mark.parametrize("name", ENVIRONMENTS)


def longest(name: str) -> int:
    """Steps of 20 ms in a trial that has every period at its longest."""
    durations = environment_of(name).task.timing.values()
    return math.ceil(sum(max(d) if isinstance(d, tuple) else d for d in durations) / 20)


def on_screen(environment: VisualEnv, step: int) -> np.ndarray:
    """What the movie of the trial shows at `step`, looked up in the list of onsets."""
    movie = environment.visual_trial.movie
    presentation = sum(onset <= step * environment.dt + 1e-6 for onset in movie.onsets_ms) - 1
    return np.broadcast_to(movie.frames[movie.shown[presentation]], environment.observation_space.shape)


class TestEveryEnvironment:
    @EVERY
    def test_observations_are_what_the_screen_shows_at_each_step(self, name: str):
        environment = environment_of(name, dt=12.5)
        observation, _ = environment.reset(seed=4)
        for step in range(len(environment.ob)):
            assert environment.t == step * 12.5
            np.testing.assert_array_equal(observation, on_screen(environment, step))
            np.testing.assert_array_equal(environment.ob[step], observation)
            observation, _, _, _, info = environment.step(FIXATE)
        assert info["new_trial"]
        np.testing.assert_array_equal(observation, on_screen(environment, 0))

    @EVERY
    def test_trial_i_of_a_seed_is_the_tasks_trial_i_whatever_the_agent_does(self, name: str):
        environment = environment_of(name)
        task = environment.task
        _, info = environment.reset(seed=21)
        for index in range(3):
            trial = task.trials(1, seed=21, start=index)[0]
            assert info["trial"] == environment.trial == {**trial.conditions, "ground_truth": trial.answer}
            np.testing.assert_array_equal(
                environment.ob[-5:], trial.movie.rgb(environment.dt * np.arange(len(environment.ob))[-5:])
            )
            while not info.get("new_trial"):
                *_, info = environment.step(environment.action_space.sample())
            info.pop("new_trial")

    @EVERY
    def test_the_same_seed_gives_the_same_stream_and_another_seed_another(self, name: str):
        def stream(begin: Callable[[VisualEnv], Any]) -> tuple[np.ndarray, list[float]]:
            environment = environment_of(name)
            begin(environment)
            environment.action_space.seed(3)
            steps = [environment.step(environment.action_space.sample()) for _ in range(120)]
            return np.array([step[0] for step in steps]), [step[1] for step in steps]

        def by_seed_method(environment: VisualEnv) -> None:
            environment.seed(5)
            environment.reset()

        def after_use(environment: VisualEnv) -> None:
            environment.reset(seed=9)
            fixate(environment, 7)
            environment.reset(seed=5)

        frames, rewards = stream(lambda environment: environment.reset(seed=5))
        for begin in (by_seed_method, after_use):
            again = stream(begin)
            np.testing.assert_array_equal(again[0], frames)
            assert again[1] == rewards
        assert not np.array_equal(stream(lambda environment: environment.reset(seed=6))[0], frames)
        # without a seed a single stream may be the same by chance, where places and delays are few
        assert not all(np.array_equal(stream(lambda environment: environment.reset())[0], frames) for _ in range(6))

    @EVERY
    def test_reset_without_a_seed_goes_on_with_the_next_trial(self, name: str):
        environment = environment_of(name)
        environment.reset(seed=5)
        environment.reset()
        second = environment.task.trials(1, seed=5, start=1)[0]
        np.testing.assert_array_equal(np.asarray(environment.ob), second.movie.rgb(np.arange(len(environment.ob)) * 20.0))

    @EVERY
    def test_neurogyms_seeding_covers_actions_and_its_own_generator(self, name: str):
        environment, other = environment_of(name), environment_of(name)
        assert environment.seed(11) == [11]
        assert other.seed(11) == [11]
        draws = [(e.rng.rand(), [e.action_space.sample() for _ in range(9)]) for e in (environment, other)]
        assert draws[0] == draws[1]
        other.seed(12)
        assert environment.rng.rand() != other.rng.rand()
        environment.seed(11)
        environment.reset()
        assert [environment.action_space.sample() for _ in range(9)] == draws[0][1]  # reset leaves the actions alone

    @EVERY
    def test_a_copy_goes_on_alike_until_it_is_seeded(self, name: str):
        environment = environment_of(name)
        environment.reset(seed=5)
        twin, stranger = copy.deepcopy(environment), copy.deepcopy(environment)
        stranger.seed(None)
        alike = []
        for _ in range(6):  # two single trials may be the same by chance: eight places with three delays are few
            for one in (environment, twin, stranger):
                one.new_trial()
            np.testing.assert_array_equal(np.asarray(twin.ob), np.asarray(environment.ob))
            alike.append(np.array_equal(np.asarray(stranger.ob), np.asarray(environment.ob)))
        assert not all(alike)

    @EVERY
    def test_the_right_action_is_to_fixate_and_then_to_answer(self, name: str):
        """1000 random steps, as neurogym tests its own environments; and what they say agrees with the trial."""

        def floor(time: float) -> int:
            return math.floor(time / 20)

        environment = neurogym.make(name, dt=20)
        environment.reset(seed=2)
        trials = 0
        for _ in range(1000):
            step, trial = environment.t_ind, environment.visual_trial
            right = [action for start, end, action in trial.segments if floor(start) <= step < floor(end)]
            observation, reward, terminated, truncated, info = environment.step(environment.action_space.sample())
            assert observation in environment.observation_space
            assert reward in environment.rewards.values()
            assert (terminated, truncated) == (False, False)
            assert info["gt"] == (right[0] if right else FIXATE)
            assert info["conditions"] == trial.conditions
            assert info["new_trial"] == (environment.t_ind == 0)
            trials += info["new_trial"]
            if info["new_trial"]:
                assert info["performance"] == (reward == environment.rewards["correct"])
                assert info["trial"] is environment.trial
        assert trials >= 1000 // longest(name) > 0
        assert str(environment) == f"<{type(environment).__name__}>"

    @EVERY
    def test_periods_are_laid_out_for_neurogym(self, name: str):
        environment = environment_of(name, dt=12.5)
        for _ in range(3):
            environment.new_trial()
            periods = environment.visual_trial.periods
            assert set(environment.start_ind) == set(periods)
            for period, (start, end) in periods.items():
                first, last = math.floor(start / 12.5), math.floor(end / 12.5)
                assert (environment.start_ind[period], environment.end_ind[period]) == (first, last)
                assert (environment.start_t[period], environment.end_t[period]) == (first * 12.5, last * 12.5)
                np.testing.assert_array_equal(environment.view_ob(period), environment.ob[first:last])
                np.testing.assert_array_equal(environment.view_groundtruth(period), environment.gt[first:last])
                assert environment.in_period(period, first * 12.5)
                assert not environment.in_period(period, last * 12.5)
            assert environment.tmax == 12.5 * len(environment.gt) == 12.5 * len(environment.ob)
            assert isinstance(environment.ob, Frames)  # neurogym's views have not put an array in its place

    @EVERY
    def test_neurogyms_dataset_gives_what_the_environment_yields(self, name: str):
        dataset = neurogym.Dataset(environment_of(name), batch_size=2, seq_len=107, cache_len=0)
        dataset.seed(30)
        inputs, targets = dataset()
        assert inputs.shape == (107, 2, *dataset.env.observation_space.shape)
        for column in range(2):
            environment = environment_of(name)
            observation, _ = environment.reset(seed=30 + column)
            for step in range(107):
                np.testing.assert_array_equal(inputs[step, column], observation)
                observation, _, _, _, info = environment.step(FIXATE)
                assert targets[step, column] == info["gt"]

    @EVERY
    def test_a_batch_of_neurogyms_dataset_holds_different_trials(self, name: str):
        seeded = environment_of(name)
        seeded.reset(seed=1)
        for environment in (seeded, name):
            inputs, targets = neurogym.Dataset(environment, batch_size=5, seq_len=longest(name) + 5, cache_len=0)()
            # two trials may well be of the same condition and look alike, but not all five
            assert any(not np.array_equal(inputs[:, 0], inputs[:, other]) for other in range(1, 5))
            assert (targets > 0).any(0).all()

    @EVERY
    def test_conditions_pass_through_neurogyms_dataset(self, name: str):
        environment = environment_of(name)
        condition, value = next(reversed(environment.task.design()[-1].items()))
        dataset = neurogym.Dataset(environment, batch_size=2, seq_len=50, cache_len=0)
        dataset(**{condition: value})
        assert [copied.trial[condition] for copied in dataset.envs] == [value, value]

    @EVERY
    def test_conditions_can_be_set(self, name: str):
        environment = environment_of(name)
        design = environment.task.design()
        for conditions in design[:: max(3, len(design) // 8)]:
            trial = environment.new_trial(**conditions)
            assert {key: trial[key] for key in conditions} == conditions
            assert {key: environment.visual_trial.conditions[key] for key in conditions} == conditions
            start, end = (math.floor(time / environment.dt) for time in environment.visual_trial.answer_window)
            decided = environment.gt[start:end]
            assert (decided == trial["ground_truth"]).all()
            assert trial["ground_truth"] == environment.visual_trial.answer
            _, info = environment.reset(options={"conditions": conditions})
            assert {key: info["trial"][key] for key in conditions} == conditions

    @EVERY
    def test_unknown_conditions_are_refused_and_the_trial_goes_on(self, name: str):
        environment = environment_of(name)
        environment.reset(seed=1)
        fixate(environment, 3)
        known = next(iter(environment.task.design()[0]))
        before = environment.trial
        with pytest.raises(InputError, match=rf"'{known}s' is unknown; did you mean '{known}'\?"):
            environment.new_trial(**{f"{known}s": 0.5})
        with pytest.raises(InputError, match="'seed' is unknown"):
            environment.new_trial(seed=3)
        assert environment.trial is before
        environment.step(FIXATE)
        assert environment.t_ind == 4

    @EVERY
    def test_a_new_trial_starts_at_its_beginning(self, name: str):
        environment = environment_of(name)
        environment.reset(seed=1)
        fixate(environment, 5)
        environment.new_trial()
        assert (environment.t, environment.t_ind) == (0, 0)
        np.testing.assert_array_equal(environment.step(FIXATE)[0], on_screen(environment, 1))

    @EVERY
    def test_render_enlarges_the_frame_on_the_screen(self, name: str):
        environment = environment_of(name, render_mode="rgb_array", dt=25)
        environment.reset(seed=3)
        fixate(environment, 20)
        observation = environment.step(FIXATE)[0]
        image = environment.render()
        scale = math.ceil(256 / observation.shape[0])
        assert image.shape == (observation.shape[0] * scale, observation.shape[1] * scale, 3)
        np.testing.assert_array_equal(image, np.kron(observation, np.ones((scale, scale, 1), np.uint8)))
        assert observation.any()
        np.testing.assert_array_equal(environment.render("rgb_array"), image)
        assert environment.metadata["render_fps"] == 40
        assert type(environment).metadata["render_fps"] == 50  # each environment has its own

    @EVERY
    def test_without_a_render_mode_nothing_is_rendered_unless_asked(self, name: str):
        environment = environment_of(name)
        environment.reset(seed=3)
        assert environment.render() is None
        assert environment.render("rgb_array").dtype == np.uint8
        with pytest.raises(InputError, match="mode='human': choose 'rgb_array', or None"):
            environment.render("human")

    @EVERY
    def test_wrappers_that_change_steps_make_the_first_observation(self, name: str):
        environment = environment_of(name)
        observation, _ = environment.reset(seed=3, options={"step_fn": environment.step})
        np.testing.assert_array_equal(observation, on_screen(environment, 1))
        assert environment.t_ind == 1

    @EVERY
    def test_trial_lengths_for_neurogym(self, name: str):
        environment = environment_of(name)
        environment.reset()
        twin, lengths = copy.deepcopy(environment), []
        for _ in range(3):
            twin.new_trial()
            lengths.append(len(twin.ob))
        assert environment.trial_length_stats(num_trials=3)["mean"] == pytest.approx(np.mean(lengths))

    @EVERY
    def test_misuse_says_how_to_fix_it(self, name: str):
        environment = environment_of(name)
        for use in (lambda: environment.step(FIXATE), lambda: environment.render("rgb_array")):
            with pytest.raises(gymnasium.error.ResetNeeded, match="no trial has begun; call reset"):
                use()
        environment.reset()
        for action in (-1, len(environment.task.actions), 0.5):
            with pytest.raises(InputError, match=rf"action={action}: choose one of 0 \(fixate\), 1 \("):
                environment.step(action)
        for seed in (-1, 0.5, "1"):
            with pytest.raises(InputError, match=rf"seed={seed!r}: give a whole number of at least 0, or None"):
                environment.seed(seed)
        for dt, message in [(0, "above 0 ms"), (-20, "above 0 ms"), (float("nan"), "above 0"), ("20", "above 0")]:
            with pytest.raises(InputError, match=rf"dt={dt!r}: a time step must be {message}"):
                environment_of(name, dt=dt)
        with pytest.raises(InputError, match=r"dt=5000 ms is longer than \w+ can be \(\d+ ms\); choose a smaller dt"):
            environment_of(name, dt=5000)
        with pytest.raises(InputError, match="reward 'corect' is unknown; did you mean 'correct'"):
            environment_of(name, rewards={"corect": 2.0})
        with pytest.raises(InputError, match="render_mode='human': choose 'rgb_array', or None"):
            VisualEnv(environment.task, render_mode="human")
