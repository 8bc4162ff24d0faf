"""Environments of the abstract tasks: every one keeps Gymnasium's and neurogym's contracts and yields its task's trials."""

from __future__ import annotations

import copy

import gymnasium
import neurogym
import numpy as np
import pytest

from cordstasks.errors import InputError
from cordstasks.tasks import register
from cordstasks.tasks.environments.registration import environments
from helpers import FIXATE, environment_of

register()

ENVIRONMENTS = environments(abstract=True)
EVERY = pytest.mark.parametrize("name", ENVIRONMENTS)


class TestEveryEnvironment:
    @EVERY
    def test_trial_i_of_a_seed_is_the_tasks_whatever_the_agent_does(self, name: str):
        environment = environment_of(name, dt=10)
        observation, info = environment.reset(seed=21)
        for index in range(3):
            batch = environment.task.sample(1, seed=[21, index], dt=10)
            steps = int(batch.lengths[0])
            assert info["trial"] == environment.trial
            assert environment.trial == {
                **{key: values[0] for key, values in batch.conditions.items()},
                "ground_truth": batch.answers[0],
            }
            for step in range(steps):
                assert environment.t == step * 10
                np.testing.assert_array_equal(observation, batch.inputs[0, step])
                action = environment.action_space.sample() if index == 1 and not batch.response_mask[0, step] else FIXATE
                observation, _, _, _, info = environment.step(action)
                assert info["gt"] == (batch.answers[0] if batch.response_mask[0, step] else FIXATE)
                assert info["new_trial"] == (step == steps - 1)

    @EVERY
    def test_the_same_seed_gives_the_same_stream_and_another_seed_another(self, name: str):
        def stream(seed: int | None, *, by_method: bool = False) -> np.ndarray:
            environment = environment_of(name)
            if by_method:
                assert environment.seed(seed) == [seed]
            environment.reset(seed=None if by_method else seed)
            environment.action_space.seed(3)
            return np.array([environment.step(environment.action_space.sample())[0] for _ in range(300)])

        first = stream(5)
        np.testing.assert_array_equal(stream(5), first)
        np.testing.assert_array_equal(stream(5, by_method=True), first)
        assert not np.array_equal(stream(6), first)
        assert not np.array_equal(stream(None), first)

    @EVERY
    def test_a_random_agent_is_paid_what_is_written(self, name: str):
        """1000 random steps, as neurogym tests its own environments."""
        environment = neurogym.make(name, dt=20)
        environment.reset(seed=2)
        trials = 0
        for _ in range(1000):
            answer = environment.trial["ground_truth"]
            response = next(reversed(environment.start_ind))
            due, step = environment.start_ind[response], environment.t_ind
            action = environment.action_space.sample()
            observation, reward, terminated, truncated, info = environment.step(action)
            assert observation in environment.observation_space
            assert (terminated, truncated) == (False, False)
            if action == FIXATE:
                assert reward == 0
            elif step < due:
                assert (reward, info["new_trial"]) == (-0.1, False)
            else:
                assert (reward, info["new_trial"]) == (float(action == answer), True)
                assert info["performance"] == reward
            assert info["new_trial"] == (environment.t_ind == 0)
            trials += info["new_trial"]
        assert trials > 2

    @EVERY
    def test_breaking_fixation_may_end_the_trial(self, name: str):
        environment = environment_of(name, abort=True, rewards={"abort": -0.5})
        environment.reset(seed=1)
        environment.step(FIXATE)
        _, reward, _, _, info = environment.step(1)
        assert (reward, info["new_trial"]) == (-0.5, True)

    @EVERY
    def test_periods_are_laid_out_for_neurogym(self, name: str):
        environment = environment_of(name, dt=12.5)
        environment.reset(seed=7)
        for _ in range(3):
            environment.new_trial()
            assert list(environment.start_ind) == list(environment.task.timing)
            ends = list(environment.end_ind.values())
            assert list(environment.start_ind.values()) == [0, *ends[:-1]]
            assert ends[-1] == len(environment.ob) == len(environment.gt)
            assert environment.tmax == 12.5 * ends[-1]
            for period, first in environment.start_ind.items():
                last = environment.end_ind[period]
                assert (environment.start_t[period], environment.end_t[period]) == (first * 12.5, last * 12.5)
                np.testing.assert_array_equal(environment.view_ob(period), environment.ob[first:last])
                assert environment.in_period(period, first * 12.5)
                assert not environment.in_period(period, last * 12.5)
            (due,) = np.unique(environment.gt[environment.start_ind[period] :])
            assert due == environment.trial["ground_truth"]

    @EVERY
    def test_neurogyms_dataset_gives_what_the_environment_yields(self, name: str):
        dataset = neurogym.Dataset(environment_of(name), batch_size=2, seq_len=307, cache_len=0)
        dataset.seed(30)
        inputs, targets = dataset()
        assert not np.array_equal(inputs[:, 0], inputs[:, 1])
        for column in range(2):
            environment = environment_of(name)
            observation, _ = environment.reset(seed=30 + column)
            for step in range(307):
                np.testing.assert_array_equal(inputs[step, column], observation)
                observation, _, _, _, info = environment.step(FIXATE)
                assert targets[step, column] == info["gt"]

    @EVERY
    def test_a_copy_goes_on_alike_until_it_is_seeded(self, name: str):
        environment = environment_of(name)
        environment.reset(seed=5)
        twin, stranger = copy.deepcopy(environment), copy.deepcopy(environment)
        stranger.seed(None)
        for one in (environment, twin, stranger):
            one.new_trial()
        np.testing.assert_array_equal(twin.ob, environment.ob)
        assert not np.array_equal(stranger.ob[:5], environment.ob[:5])

    @EVERY
    def test_conditions_can_be_set(self, name: str):
        environment = environment_of(name)
        for conditions in environment.task.design()[::7]:
            trial = environment.new_trial(**conditions)
            assert {key: trial[key] for key in conditions} == pytest.approx(conditions)
            _, info = environment.reset(options={"conditions": conditions})
            assert {key: info["trial"][key] for key in conditions} == pytest.approx(conditions)

    @EVERY
    def test_unknown_conditions_are_refused_and_the_trial_goes_on(self, name: str):
        environment = environment_of(name)
        environment.reset(seed=1)
        environment.step(FIXATE)
        known = next(iter(environment.task.design()[0]))
        before = environment.trial
        with pytest.raises(InputError, match=rf"'{known}s' is unknown; did you mean '{known}'\?"):
            environment.new_trial(**{f"{known}s": 0.5})
        for reserved in ("seed", "dt", "trials"):
            with pytest.raises(InputError, match=f"'{reserved}' is unknown"):
                environment.new_trial(**{reserved: 3})
        assert environment.trial is before
        environment.step(FIXATE)
        assert environment.t_ind == 2

    @EVERY
    def test_render_shows_the_inputs_so_far(self, name: str):
        environment = environment_of(name, render_mode="rgb_array", noise=0.0)
        environment.reset(seed=3)
        for _ in range(20):
            environment.step(FIXATE)
        picture = environment.render()
        channels, steps = environment.ob.shape[1], len(environment.ob)
        assert picture.shape == (32 * channels, 256, 3)
        for channel in range(channels):
            for step in (0, 12, 20):
                column = int(np.ceil(step * 256 / steps))
                expected = round(127.5 + 127.5 * float(np.clip(environment.ob[step, channel], -1, 1)))
                assert abs(int(picture[32 * channel + 5, column, 0]) - expected) <= 1
        assert picture[0, -1].tolist() == [0, 0, 128]

    @EVERY
    def test_what_is_wrong_is_said(self, name: str):
        with pytest.raises(gymnasium.error.ResetNeeded, match=r"call reset\(\) before step"):
            environment_of(name).step(FIXATE)
        with pytest.raises(gymnasium.error.ResetNeeded, match=r"call reset\(\) before render"):
            environment_of(name).render("rgb_array")
        environment = environment_of(name)
        environment.reset(seed=1)
        with pytest.raises(InputError, match=r"action=99: choose one of 0 \(fixate\), 1 \("):
            environment.step(99)
        with pytest.raises(InputError, match="render_mode='svg': choose 'rgb_array', or None"):
            type(environment)(render_mode="svg")
        with pytest.raises(InputError, match=r"reward 'corect' is unknown; did you mean 'correct'\?"):
            environment_of(name, rewards={"corect": 1.0})
        with pytest.raises(InputError, match="seed=-1: give a whole number of at least 0, or None"):
            environment.reset(seed=-1)
        with pytest.raises(InputError, match="'coherencies' is unknown"):
            environment_of(name, coherencies=3)
        assert environment.render() is None
