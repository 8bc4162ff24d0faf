"""Numbers of trained parameters: counted in networks, and matched over connectivities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cordstasks.errors import InputError
from cordstasks.training.matching import match_parameters, number_of_parameters
from cordstasks.training.networks import initial_network, trained_parameters
from cordstasks.training.settings import AbstractSettings

KINDS = ("full", "lowrank", "sparse", "conv")


def counted(settings: AbstractSettings) -> int:
    """The parameters of a network that is made."""
    task = settings.abstract_task()
    return trained_parameters(initial_network(settings, len(task.channels), task.outputs, seed=0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["perceptual-dm", "contextual-dm", "memory-pro"])
@pytest.mark.parametrize(
    "more", [{}, {"train_inputs": False}, {"train_outputs": False}, {"units": 36}, {"excitatory": 0.75}], ids=str
)
def test_the_number_is_that_of_the_network(kind: str, task: str, more: dict[str, Any]):
    settings = AbstractSettings(task, connectivity=kind, **more)
    assert number_of_parameters(settings) == counted(settings)


@pytest.mark.parametrize("number", [1000, 2500, 9000])
@pytest.mark.parametrize("kind", KINDS)
def test_networks_have_as_many_as_possible(kind: str, number: int):
    given = AbstractSettings("dms", connectivity=kind, learning_rate=0.01, seeds=(3,))
    matched = match_parameters(given, number)
    found = counted(matched)
    assert found == pytest.approx(number, rel=0.1)
    assert replace(matched, units=100, rank=2, density=0.2, shape=given.shape) == given  # nothing else has changed
    if kind == "sparse":
        assert (found, matched.units) == (number, 100)
        return
    if kind == "lowrank":
        others = [replace(matched, rank=matched.rank + step) for step in (-1, 1)]
    elif kind == "full":
        others = [replace(matched, units=matched.units + step) for step in (-1, 1)]
    else:
        channels, height, width = matched.shape or ()
        assert (height, width) == (5, 5)
        others = [replace(matched, units=25 * (channels + step), shape=(channels + step, height, width)) for step in (-1, 1)]
    for other in others:
        assert abs(counted(other) - number) >= abs(found - number)


@pytest.mark.parametrize(
    ("kind", "number", "message"),
    [
        ("full", 3, "trained_parameters=3: no units gives full networks so many on task dms"),
        ("lowrank", 401, "trained_parameters=401: no rank gives lowrank networks of 100 units so many"),
        ("lowrank", 30_000, "no rank gives"),
        ("sparse", 401, "no density gives sparse networks of 100 units so many"),
        ("sparse", 10_402, "no density gives"),
        ("conv", 20, "no channels gives conv networks so many"),
    ],
)
def test_impossible_numbers(kind: str, number: int, message: str):
    with pytest.raises(InputError, match=message):
        match_parameters(AbstractSettings("dms", connectivity=kind), number)
