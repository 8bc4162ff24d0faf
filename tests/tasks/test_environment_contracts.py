"""Every environment, visual or abstract, passes Gymnasium's checker and runs beside others."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import SyncVectorEnv

from cordstasks.tasks import register
from cordstasks.tasks.environments.registration import environments
from helpers import SEED_METHOD, environment_of

register()

EVERY = pytest.mark.parametrize("name", [*environments(abstract=False), *environments(abstract=True)])
# inputs of abstract tasks may be any number, which the checker remarks on
UNBOUNDED = pytest.mark.filterwarnings("ignore:.*Box observation space (minimum|maximum) value is:UserWarning")


@EVERY
@SEED_METHOD
@UNBOUNDED
def test_gymnasiums_checker_passes(name: str):
    check_env(environment_of(name))
    check_env(environment_of(name, render_mode="rgb_array"))


@EVERY
def test_three_side_by_side_are_the_same_as_one_by_one(name: str):
    together = SyncVectorEnv([lambda: environment_of(name)] * 3)
    apart = [environment_of(name) for _ in range(3)]
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
