"""Doing exactly what the ground truth says is right in every environment, whatever its settings: also doing nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from neurogym.core import TrialEnv

from cordstasks.stimuli import Display, Movie
from cordstasks.tasks import Trial, VisualTask, register
from cordstasks.tasks.environments.registration import environments
from cordstasks.tasks.environments.visual import VisualEnv
from cordstasks.tasks.timing import Duration, timeline
from cordstasks.tasks.visual.base import Condition

register()

FIXATE = 0
PAID = {"correct": 2.0, "miss": -3.0, "fail": -5.0, "abort": -7.0}
DISPLAY = Display(pixels=16, field_of_view=8.0)
MATCHING = {"fixation": 60.0, "sample_time": 60.0, "delay": 60.0, "test": 60.0, "second_test": 60.0, "display": DISPLAY}
DELAYED_MATCH: list[dict[str, Any]] = [
    MATCHING,
    {**MATCHING, "second_test": 0.0},
    {**MATCHING, "second_test": 0.0, "second_delay": 60.0, "delay": 0.0},
    {**MATCHING, "second_tests": 0.5, "second_delay": 40.0},
    {**MATCHING, "second_tests": 0.0},
    {**MATCHING, "second_test": (0.0, 50.0), "delay": (0.0, 90.0), "test": (20.0, 50.0)},
    {**MATCHING, "two_choices": True},
]
VISUAL: dict[str, list[dict[str, Any]]] = {
    "RandomDots": [
        {},
        {"reaction_time": True},
        {"delay": (0.0, 300.0), "fixation": (50.0, 400.0), "directions": (0.0, 90.0, 180.0)},
        {"coherences": (0.0,), "motion": 20.0, "choice": 20.0},
        {"paired": True, "choice": (30.0, 90.0)},
    ],
    "Numerosity": DELAYED_MATCH,
    "CatDog": DELAYED_MATCH,
    "MemorySaccade": [
        {"fixation": 100.0, "cue": 60.0, "response": 20.0, "delays": (30.0, 70.0)},
        {
            "fixation": (20.0, 90.0),
            "cue": (20.0, 90.0),
            "response": (25.0, 90.0),
            "delays": (45.0,),
            "locations": (0.0, 90.0),
        },
    ],
}
ABSTRACT: dict[str, list[dict[str, Any]]] = {
    name.split("/")[1][: -len("-v0")]: [{}, {"catch": 0.5}, {"catch": 0.99}] for name in environments(abstract=True)
}
EVERY = [(name, settings) for name, choices in (VISUAL | ABSTRACT).items() for settings in choices]


def followed(environment: TrialEnv) -> tuple[list[float], bool, dict[str, Any]]:
    """Rewards of a trial done exactly as its ground truth says, whether it asked for an action, and the last info."""
    rewards, asked = [], bool(environment.gt.any())
    while True:
        _, reward, _, _, info = environment.step(int(environment.gt[environment.t_ind]))
        rewards.append(reward)
        if info["new_trial"]:
            return rewards, asked, info


def assert_right(environment: TrialEnv) -> bool:
    length = len(environment.gt)
    first = int(environment.gt.argmax()) if environment.gt.any() else length - 1
    rewards, asked, info = followed(environment)
    assert info["performance"] == 1
    assert rewards == [0.0] * first + [PAID["correct"]]
    return asked


def test_every_environment_is_tried():
    known = {*environments(abstract=False), *environments(abstract=True)}
    assert {f"cordstasks/{name}-v0" for name in VISUAL | ABSTRACT} == known


@pytest.mark.parametrize("abort", [False, True])
@pytest.mark.parametrize("dt", [20.0, 10.0])
@pytest.mark.parametrize(("name", "settings"), EVERY)
def test_it_is_right(name: str, settings: dict[str, Any], dt: float, abort: bool):
    environment = gymnasium.make(f"cordstasks/{name}-v0", dt=dt, rewards=PAID, abort=abort, **settings).unwrapped
    environment.reset(seed=3)
    asked = [assert_right(environment) for _ in range(12)]
    held = settings.get("catch") or (
        "second_test" in settings and (settings.get("second_tests", 1.0) < 1 or settings["second_test"] == 0.0)
    )
    if held:  # trials without anything to do were among them
        assert not all(asked)
    elif settings.get("second_test") != (0.0, 50.0):
        assert all(asked)


@pytest.mark.parametrize(
    ("name", "conditions"),
    [("PerceptualDecisionMaking", {"coherence": 0.0}), ("ParametricWorkingMemory", {"f1": 20.0, "f2": 20.0})],
)
def test_evidence_for_neither_answer_asks_for_none(name: str, conditions: dict[str, float]):
    environment = gymnasium.make(f"cordstasks/{name}-v0", rewards=PAID).unwrapped
    environment.reset(seed=3, options={"conditions": conditions})
    assert not assert_right(environment)


@pytest.mark.parametrize("name", ["Numerosity", "CatDog"])
def test_releasing_where_nothing_is_to_be_done_still_fails(name: str):
    environment = gymnasium.make(f"cordstasks/{name}-v0", rewards=PAID, **{**MATCHING, "second_test": 0.0}).unwrapped
    for last in (9, 11):
        environment.reset(seed=3, options={"conditions": {"match": 0}})
        for _ in range(last):
            environment.step(FIXATE)
        _, reward, _, _, info = environment.step(1)
        assert (reward, info["performance"], info["new_trial"]) == (PAID["fail"], 0, True)


def test_a_catch_trial_that_is_answered_still_fails():
    environment = gymnasium.make("cordstasks/DelayedMatchToSample-v0", rewards=PAID).unwrapped
    environment.reset(seed=3, options={"conditions": {"catch": 1, "delay": 500}})
    while environment.t_ind < environment.start_ind["decision"]:
        environment.step(FIXATE)
    _, reward, _, _, info = environment.step(1)
    assert (reward, info["performance"]) == (PAID["fail"], 0)


@dataclass(frozen=True)
class EarlyTask(VisualTask):
    """A task of one's own that asks for an action before it says that answers count."""

    id: ClassVar[str] = "early"
    stimulus: ClassVar[str] = "shown"

    display: Display = field(default_factory=lambda: DISPLAY)

    @property
    def actions(self) -> tuple[str, ...]:
        return ("fixate", "press")

    @property
    def timing(self) -> dict[str, Duration]:
        return {"shown": 100.0, "choice": 100.0}

    def design(self) -> list[dict[str, Condition]]:
        return [{"go": 1.0}, {"go": 0.0}]

    def trial(self, conditions: Mapping[str, Condition], rng: np.random.Generator) -> Trial:
        periods = timeline(self.timing)  # type: ignore[arg-type]
        grey = np.full((16, 16, 1), 128, np.uint8)
        return Trial(
            movie=Movie.still(grey, 200.0),
            periods=periods,
            answer=int(conditions["go"]),
            answer_window=periods["choice"],
            answer_from=100.0,
            conditions=dict(conditions),
            targets=((40.0, 60.0, 1),) if conditions["go"] else (),
        )


@pytest.mark.parametrize("go", [0, 1])
def test_a_task_of_ones_own(go: int):
    environment = VisualEnv(EarlyTask(), rewards=PAID, abort=True)
    environment.reset(seed=1, options={"conditions": {"go": go}})
    assert assert_right(environment) == bool(go)
