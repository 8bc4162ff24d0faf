"""The frames of an environment against the whole array, and the checker of environments on broken ones."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from cordstasks.stimuli import Display
from cordstasks.tasks.environments.frames import Frames
from cordstasks.tasks.environments.visual import RandomDotsEnv
from helpers import FIXATE, SEED_METHOD

SMALL = {"display": Display(pixels=16, field_of_view=8.0)}


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
