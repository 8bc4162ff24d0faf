"""Environments seen through a front-end, against the front-end's features of the same movies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from cordstasks.errors import InputError
from cordstasks.frontend import FrontEnd
from cordstasks.observation import FrontEndObservation
from cordstasks.stimuli import Display
from cordstasks.tasks import register

register()
SHORT: dict[str, dict[str, Any]] = {
    "cordstasks/RandomDots-v0": {"fixation": 40.0, "motion": 100.0, "choice": 60.0},
    "cordstasks/Numerosity-v0": {"fixation": 40.0, "sample_time": 60.0, "delay": 40.0, "test": 40.0, "second_test": 20.0},
    "cordstasks/CatDog-v0": {"fixation": 20.0, "sample_time": 40.0, "delay": 20.0, "test": 40.0, "second_delay": 20.0},
    "cordstasks/MemorySaccade-v0": {"fixation": 20.0, "cue": 60.0, "delays": (40.0, 100.0), "response": 40.0},
}
EVERY = pytest.mark.parametrize("name", SHORT)


@pytest.fixture(scope="module")
def frontend(random_network: Callable[..., Any]) -> FrontEnd:
    """One that simulates every step of a whole trial."""
    return FrontEnd(random_network(4, seed=3), bank=False, tolerance=0, device="cpu")


def watched(name: str, frontend: FrontEnd, dt: float = 20, **options: Any) -> FrontEndObservation:
    return FrontEndObservation(gymnasium.make(name, dt=dt, **SHORT[name]), frontend, **options)


def expected(environment: FrontEndObservation, frontend: FrontEnd) -> np.ndarray:
    """Features (time, unit) of the trial of now."""
    movie = environment.unwrapped.visual_trial.movie
    return frontend.features([movie], dt=environment.unwrapped.dt).take(slice(None))[0].numpy()


def agree(observations: list[np.ndarray], features: np.ndarray) -> None:
    # features are kept in half precision: 11 bits
    np.testing.assert_allclose(np.array(observations), features[: len(observations)], rtol=1e-3, atol=1e-5)
    changes = np.ptp(features, axis=0) / features.max(0).clip(1e-2)
    assert changes.max() > 0.01  # over the trial, by far more than that


class TestFeatures:
    @EVERY
    @pytest.mark.parametrize("memory_mb", [0, 50])
    def test_observations_are_the_front_ends_features_trial_after_trial(
        self, name: str, memory_mb: float, frontend: FrontEnd
    ):
        environment = watched(name, frontend, memory_mb=memory_mb)
        observation, _ = environment.reset(seed=3)
        for _ in range(3):
            features, observations, over = expected(environment, frontend), [observation], False
            while not over:
                observation, _, _, _, info = environment.step(0)
                over = info["new_trial"]
                observations.append(observation)
            assert len(observations) == len(features) + 1
            agree(observations[:-1], features)  # the last is the next trial's first

    @pytest.mark.parametrize("dt", [2, 10, 26])
    def test_frames_that_change_within_a_step_are_all_seen(self, dt: float, frontend: FrontEnd):
        environment = watched("cordstasks/RandomDots-v0", frontend, dt)
        observations = [environment.reset(seed=1)[0]]
        features = expected(environment, frontend)
        observations += [environment.step(0)[0] for _ in range(len(features) - 1)]
        agree(observations, features)

    def test_trials_that_are_begun_or_broken_off_by_hand(self, frontend: FrontEnd):
        environment = watched("cordstasks/CatDog-v0", frontend)
        environment.reset(seed=1)
        environment.step(0)
        environment.unwrapped.new_trial()
        features = expected(environment, frontend)
        agree([environment.step(0)[0]], features[1:])  # the step not seen was made up for
        first = environment.reset()[0]
        agree([first, environment.step(0)[0], environment.step(0)[0]], expected(environment, frontend))

    def test_what_was_seen_is_not_simulated_again(self, frontend: FrontEnd):
        environment = watched("cordstasks/MemorySaccade-v0", frontend)
        environment.reset(seed=1, options={"conditions": {"location": 90.0, "delay": 40.0}})
        while not environment.step(0)[4]["new_trial"]:
            pass
        # by hand: 200 ms before the trial and 160 ms of it; the trial begun next shares its first 20 ms
        assert environment.simulated == (200 + 160) / 2
        environment.reset(options={"conditions": {"location": 90.0, "delay": 100.0}})
        for _ in range(10):
            environment.step(0)
        assert environment.simulated == (200 + 160 + 100) / 2  # 60 ms of delay and the response afterwards are new
        forgetful = watched("cordstasks/MemorySaccade-v0", frontend, memory_mb=0)
        forgetful.reset(seed=1)
        forgetful.reset(seed=1)
        assert forgetful.simulated == 2 * (200 + 20) / 2

    def test_an_observation_is_the_callers_own(self, frontend: FrontEnd):
        environment = watched("cordstasks/MemorySaccade-v0", frontend)
        before = environment.reset(seed=1)[0].copy()
        environment.reset(seed=1)[0][:] = -1
        np.testing.assert_array_equal(environment.reset(seed=1)[0], before)


class TestContract:
    @EVERY
    @pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version:UserWarning")
    @pytest.mark.filterwarnings("ignore:.*observation space maximum value is -infinity:UserWarning")
    @pytest.mark.filterwarnings("ignore:.*env.seed to get variables from other wrappers is deprecated:UserWarning")
    @pytest.mark.filterwarnings("ignore:.*Official support for the `seed` function is dropped:UserWarning")
    def test_gymnasiums_checker_passes(self, name: str, frontend: FrontEnd):
        environment = watched(name, frontend)
        assert environment.observation_space.shape == (frontend.units,)
        assert environment.observation_space.dtype == np.float32
        check_env(environment, skip_render_check=True)

    def test_what_cannot_be_seen_is_refused(self, frontend: FrontEnd):
        with pytest.raises(InputError, match=r"give an environment of cordstasks, whose observations are what the screen"):
            FrontEndObservation(gymnasium.make("CartPole-v1"), frontend)
        with pytest.raises(InputError, match=r"dt=25 ms: give a multiple of the front-end's step of 2 ms"):
            watched("cordstasks/RandomDots-v0", frontend, 25)
        with pytest.raises(InputError, match=r"memory_mb=-1: give a size of at least 0"):
            watched("cordstasks/RandomDots-v0", frontend, memory_mb=-1)

    def test_pooled_features_are_one_a_channel(self, random_network: Callable[..., Any]):
        pooled = FrontEnd(random_network(2), bank=False, tolerance=0, device="cpu", readout="pool")
        environment = watched("cordstasks/MemorySaccade-v0", pooled)
        agree([environment.reset(seed=1)[0], *(environment.step(0)[0] for _ in range(3))], expected(environment, pooled))

    def test_any_areas_may_be_seen(self, random_network: Callable[..., Any]):
        options = {"areas": (0, 2), "side": 3, "tolerance": 0, "device": "cpu", "bank": False}
        early = FrontEnd(random_network(4), **options)
        environment = watched("cordstasks/MemorySaccade-v0", early)
        observations = [environment.reset(seed=1)[0], *(environment.step(0)[0] for _ in range(3))]
        assert observations[0].shape == (9 * (64 + 128),)
        agree(observations, expected(environment, early))


@pytest.mark.slow
def test_the_example_learns_to_keep_fixation():
    import runpy

    example = Path(__file__).resolve().parents[1] / "examples" / "policy_gradient.py"
    kept = runpy.run_path(str(example))["learn"](250)
    assert np.mean(kept[:20]) < 0.3
    assert np.mean(kept[-50:]) > 0.75


def test_a_screen_of_any_size_is_seen(frontend: FrontEnd):
    environment = gymnasium.make(
        "cordstasks/MemorySaccade-v0", display=Display(48, 32.0), **SHORT["cordstasks/MemorySaccade-v0"]
    )
    seen = FrontEndObservation(environment, frontend).reset(seed=1)[0]
    assert seen.shape == (frontend.units,)
    assert seen.max() > 0
