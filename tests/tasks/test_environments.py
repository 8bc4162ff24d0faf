"""Environments: every registered one keeps Gymnasium's and neurogym's contracts; random dots pay what they should."""

from __future__ import annotations

import copy
import math
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import neurogym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import SyncVectorEnv

from cordstasks.errors import InputError
from cordstasks.stimuli import Display
from cordstasks.tasks import RandomDotsTask, register
from cordstasks.tasks.environments.frames import Frames
from cordstasks.tasks.environments.registration import environments
from cordstasks.tasks.environments.visual import RandomDotsEnv, VisualEnv
from helpers import ROOT

register()

ENTRY = "cordstasks.tasks.environments.registration:register"
ENVIRONMENTS = environments(abstract=False)
EVERY = pytest.mark.parametrize("name", ENVIRONMENTS)
# neurogym.Dataset calls `seed`, which Gymnasium's checker reports as a method of the past.
SEED_METHOD = pytest.mark.filterwarnings("ignore:.*Official support for the `seed` function is dropped:UserWarning")
SMALL = {"display": Display(pixels=16, field_of_view=8.0)}
FIXATE = 0


def make(name: str, **parameters: Any) -> VisualEnv:
    environment = gymnasium.make(name, **parameters)
    assert isinstance(environment, VisualEnv)  # no wrapper hides new_trial, ob and gt
    return environment


def longest(name: str) -> int:
    """Steps of 20 ms in a trial that has every period at its longest."""
    durations = make(name).task.timing.values()
    return math.ceil(sum(max(d) if isinstance(d, tuple) else d for d in durations) / 20)


def fixate(environment: VisualEnv, steps: int) -> None:
    for _ in range(steps):
        environment.step(FIXATE)


def on_screen(environment: VisualEnv, step: int) -> np.ndarray:
    """What the movie of the trial shows at `step`, looked up in the list of onsets."""
    movie = environment.visual_trial.movie
    presentation = sum(onset <= step * environment.dt + 1e-6 for onset in movie.onsets_ms) - 1
    return np.broadcast_to(movie.frames[movie.shown[presentation]], environment.observation_space.shape)


def python(code: str, *path: Path) -> str:
    """What a fresh interpreter, in which warnings are errors, prints."""
    places = os.pathsep.join(map(str, [*path, ROOT]))
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": places},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


class TestRegistration:
    def test_importing_the_package_and_registering_load_neither_torch_nor_neurogym(self):
        modules = "cordstasks, cordstasks.stimuli, cordstasks.tasks, cordstasks.tasks.environments.registration"
        heavy = "print([name for name in ('torch', 'neurogym') if name in sys.modules])"
        assert python(f"import sys, {modules}; {heavy}") == "[]"
        assert python(f"import sys, cordstasks.tasks; cordstasks.tasks.register(); {heavy}") == "[]"

    def test_registering_again_changes_nothing(self):
        before = {name: gymnasium.spec(name) for name in ENVIRONMENTS}
        register()  # Gymnasium would warn, and a warning is an error here
        assert all(gymnasium.spec(name) is spec for name, spec in before.items())

    def test_the_projects_entry_point_is_the_function_that_registers(self):
        group, line = (
            '[project.entry-points."gymnasium.envs"]',
            f'__root__ = "{ENTRY}"',
        )
        assert f"{group}\n{line}\n" in (ROOT / "pyproject.toml").read_text()
        assert EntryPoint("__root__", ENTRY, "gymnasium.envs").load() is register

    @pytest.mark.parametrize(
        "first", ["", "import cordstasks.tasks.environments.registration; ", "import cordstasks.tasks as t; t.register(); "]
    )
    def test_gymnasium_alone_makes_the_environments_of_an_installed_copy(self, tmp_path: Path, first: str):
        installed = tmp_path / "copy_of_cordstasks-0.dist-info"
        installed.mkdir()
        (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: copy-of-cordstasks\nVersion: 0\n")
        (installed / "entry_points.txt").write_text(
            "[gymnasium.envs]\n__root__ = cordstasks.tasks.environments.registration:register\n"
        )
        known = f"{first}import gymnasium; print([name in gymnasium.registry for name in {list(ENVIRONMENTS)}])"
        assert python(known, tmp_path) == str([True] * len(ENVIRONMENTS))

    @EVERY
    def test_the_place_named_is_a_class_of_that_name(self, name: str):
        module, _, class_name = ENVIRONMENTS[name].partition(":")
        assert name == f"cordstasks/{class_name.removesuffix('Env')}-v0" != f"cordstasks/{class_name}-v0"
        assert type(make(name)).__name__ == class_name
        assert type(make(name)).__module__ == module


class TestEveryEnvironment:
    @EVERY
    @SEED_METHOD
    def test_gymnasiums_checker_passes(self, name: str):
        check_env(make(name))
        check_env(make(name, render_mode="rgb_array"))

    @EVERY
    def test_observations_are_what_the_screen_shows_at_each_step(self, name: str):
        environment = make(name, dt=12.5)
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
        environment = make(name)
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
            environment = make(name)
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
        environment = make(name)
        environment.reset(seed=5)
        environment.reset()
        second = environment.task.trials(1, seed=5, start=1)[0]
        np.testing.assert_array_equal(np.asarray(environment.ob), second.movie.rgb(np.arange(len(environment.ob)) * 20.0))

    @EVERY
    def test_neurogyms_seeding_covers_actions_and_its_own_generator(self, name: str):
        environment, other = make(name), make(name)
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
        environment = make(name)
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
        environment = make(name, dt=12.5)
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
        dataset = neurogym.Dataset(make(name), batch_size=2, seq_len=107, cache_len=0)
        dataset.seed(30)
        inputs, targets = dataset()
        assert inputs.shape == (107, 2, *dataset.env.observation_space.shape)
        for column in range(2):
            environment = make(name)
            observation, _ = environment.reset(seed=30 + column)
            for step in range(107):
                np.testing.assert_array_equal(inputs[step, column], observation)
                observation, _, _, _, info = environment.step(FIXATE)
                assert targets[step, column] == info["gt"]

    @EVERY
    def test_a_batch_of_neurogyms_dataset_holds_different_trials(self, name: str):
        seeded = make(name)
        seeded.reset(seed=1)
        for environment in (seeded, name):
            inputs, targets = neurogym.Dataset(environment, batch_size=5, seq_len=longest(name) + 5, cache_len=0)()
            # two trials may well be of the same condition and look alike, but not all five
            assert any(not np.array_equal(inputs[:, 0], inputs[:, other]) for other in range(1, 5))
            assert (targets > 0).any(0).all()

    @EVERY
    def test_conditions_pass_through_neurogyms_dataset(self, name: str):
        environment = make(name)
        condition, value = next(reversed(environment.task.design()[-1].items()))
        dataset = neurogym.Dataset(environment, batch_size=2, seq_len=50, cache_len=0)
        dataset(**{condition: value})
        assert [copied.trial[condition] for copied in dataset.envs] == [value, value]

    @EVERY
    def test_three_side_by_side_are_the_same_as_one_by_one(self, name: str):
        together = SyncVectorEnv([lambda: make(name)] * 3)
        apart = [make(name) for _ in range(3)]
        observations, _ = together.reset(seed=40)
        for row, environment in enumerate(apart):
            np.testing.assert_array_equal(observations[row], environment.reset(seed=40 + row)[0])
        together.action_space.seed(0)
        for _ in range(100):
            actions = together.action_space.sample()
            observations, rewards, *_, infos = together.step(actions)
            for row, environment in enumerate(apart):
                observation, reward, _, _, info = environment.step(actions[row])
                np.testing.assert_array_equal(observations[row], observation)
                assert rewards[row] == reward
                assert infos["gt"][row] == info["gt"]
        together.close()

    @EVERY
    def test_conditions_can_be_set(self, name: str):
        environment = make(name)
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
        environment = make(name)
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
        environment = make(name)
        environment.reset(seed=1)
        fixate(environment, 5)
        environment.new_trial()
        assert (environment.t, environment.t_ind) == (0, 0)
        np.testing.assert_array_equal(environment.step(FIXATE)[0], on_screen(environment, 1))

    @EVERY
    def test_render_enlarges_the_frame_on_the_screen(self, name: str):
        environment = make(name, render_mode="rgb_array", dt=25)
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
        environment = make(name)
        environment.reset(seed=3)
        assert environment.render() is None
        assert environment.render("rgb_array").dtype == np.uint8
        with pytest.raises(InputError, match="mode='human': choose 'rgb_array', or None"):
            environment.render("human")

    @EVERY
    def test_wrappers_that_change_steps_make_the_first_observation(self, name: str):
        environment = make(name)
        observation, _ = environment.reset(seed=3, options={"step_fn": environment.step})
        np.testing.assert_array_equal(observation, on_screen(environment, 1))
        assert environment.t_ind == 1

    @EVERY
    def test_trial_lengths_for_neurogym(self, name: str):
        environment = make(name)
        environment.reset()
        twin, lengths = copy.deepcopy(environment), []
        for _ in range(3):
            twin.new_trial()
            lengths.append(len(twin.ob))
        assert environment.trial_length_stats(num_trials=3)["mean"] == pytest.approx(np.mean(lengths))

    @EVERY
    def test_misuse_says_how_to_mend_it(self, name: str):
        environment = make(name)
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
                make(name, dt=dt)
        with pytest.raises(InputError, match=r"dt=5000 ms is longer than \w+ can be \(\d+ ms\); choose a smaller dt"):
            make(name, dt=5000)
        with pytest.raises(InputError, match="reward 'corect' is unknown; did you mean 'correct'"):
            make(name, rewards={"corect": 2.0})
        with pytest.raises(InputError, match="render_mode='human': choose 'rgb_array', or None"):
            VisualEnv(environment.task, render_mode="human")


class FloatObservations(RandomDotsEnv):
    """Broken: the frames are not of the observation space's type."""

    def step(self, action: int) -> Any:
        observation, *rest = super().step(action)
        return observation.astype(np.float64), *rest

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        observation, info = super().reset(seed=seed, options=options)
        return observation.astype(np.float64), info


class DotsFirst(RandomDotsEnv):
    """Not broken, and different trials differ in the first observation, which is all that the checker compares."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        _, info = super().reset(seed=seed, options=options)
        return self.ob[self.start_ind["motion"]], info


class SeedIgnored(DotsFirst):
    """Broken: as in neurogym, reset takes a seed and does not use it."""

    def _begin_sequence(self, seed: int | None) -> int:
        return super()._begin_sequence(None)


class ForgottenStep(RandomDotsEnv):
    """Broken: the reward is missing."""

    def step(self, action: int) -> Any:
        observation, _, *rest = super().step(action)
        return observation, None, *rest


@SEED_METHOD
class TestTheCheckerItself:
    @pytest.fixture
    def checked(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[type[RandomDotsEnv]], None]:
        monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))

        def check(environment: type[RandomDotsEnv]) -> None:
            name = f"cordstasks/{environment.__name__}-v0"
            gymnasium.register(name, entry_point=environment, order_enforce=False, disable_env_checker=True)
            check_env(gymnasium.make(name, **SMALL))

        return check

    @pytest.mark.parametrize(
        ("broken", "error", "message"),
        [
            (FloatObservations, AssertionError, "not within the observation space"),
            (SeedIgnored, AssertionError, "non-deterministic as the observations are not equivalent"),
            (ForgottenStep, UserWarning, "reward returned by `step"),
        ],
    )
    def test_broken_environments_fail(
        self,
        broken: type[RandomDotsEnv],
        error: type[Exception],
        message: str,
        checked: Callable[[type[RandomDotsEnv]], None],
    ):
        with pytest.raises(error, match=message):
            checked(broken)

    def test_one_that_is_not_broken_passes(self, checked: Callable[[type[RandomDotsEnv]], None]):
        checked(DotsFirst)


class TestFrames:
    """The lazy array against the whole one."""

    @pytest.fixture
    def frames(self) -> Frames:
        environment = RandomDotsEnv(**SMALL)
        environment.reset(seed=1)
        return environment.ob

    def test_it_indexes_like_the_array_of_all_frames(self, frames: Frames):
        whole = np.stack([frames.movie.rgb([step * 20.0])[0] for step in range(45)])
        assert (len(frames), frames.shape, frames.dtype, frames.ndim) == (45, (45, 16, 16, 3), np.uint8, 4)
        np.testing.assert_array_equal(np.asarray(frames), whole)
        for key in (
            0,
            17,
            -1,
            np.int64(20),
            slice(None),
            slice(10, 30, 3),
            slice(40, 99),
            slice(5, 5),
            [20, 3, 20],
            whole.any((1, 2, 3)),
        ):
            np.testing.assert_array_equal(frames[key], whole[key])
        assert np.asarray(frames, np.float32).dtype == np.float32
        assert len(list(frames)) == 45
        with pytest.raises(IndexError, match="index 45 is out of bounds"):
            frames[45]
        with pytest.raises(ValueError, match="frames are rendered"):
            np.array(frames, copy=False)

    def test_what_it_gives_can_be_written_to_without_changing_the_movie(self, frames: Frames):
        before = frames[20]
        frames[20][:] = 7
        frames[20:22][:] = 7
        np.testing.assert_array_equal(frames[20], before)

    def test_memory_does_not_grow_with_time_steps_times_pixels(self):
        peaks = {}
        parameters = {"fixation": 9000.0, "motion": 900.0, "display": Display(pixels=48, field_of_view=8.0)}
        for dt in (20, 1):
            environment = RandomDotsEnv(dt, **parameters)
            environment.reset(seed=1)
            tracemalloc.start()
            environment.new_trial()
            for _ in range(200):
                environment.step(FIXATE)
            peaks[dt] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        every_frame = len(environment.ob) * environment.ob[0].nbytes
        assert len(environment.ob) == 10_000
        assert peaks[1] < every_frame / 20
        assert peaks[1] - peaks[20] < 20 * 10_000  # some bytes a step for gt, none of 6,912 for a frame


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
        assert environment.gt.tolist() == [FIXATE] * 15 + [answer] * 30
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
        environment = make(name, display=display, **self.TIMING, **parameters)
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
        environment = make(
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
