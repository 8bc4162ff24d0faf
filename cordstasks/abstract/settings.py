"""What determines a batch of trained networks. This module needs no torch, so that commands can check arguments at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cordstasks import tasks
from cordstasks.arguments import LARGEST_SEED, is_number, plain, plain_fields
from cordstasks.errors import InputError, unknown

CONNECTIVITIES = ("full", "lowrank", "sparse", "conv")
ACTIVATIONS = ("relu", "tanh", "softplus")
FORMS = ("rate", "current")

# Where a task, or a connectivity on it, does better than with the defaults of `Settings`.
TUNED: dict[tuple[str, str | None], dict[str, Any]] = {}


@dataclass(frozen=True)
class Settings:
    """Networks to train, and how: Adam, clipped gradients, each network stopped by itself.

    Attributes
    ----------
    task : id of an abstract task.
    connectivity : ``"full"``, ``"lowrank"``, ``"sparse"`` or ``"conv"``.
    seeds : one a network; weights, trials and noise of a network follow from its seed alone.
    units : recurrent units of each.
    rank, density, shape : of low-rank, sparse and convolutional networks; shape is (channels, height, width).
    activation, form, noise, gain, excitatory, train_inputs, train_outputs : see `cordstasks.rnn.RNN`.
    dt, tau : time step and time constant in ms.
    steps : largest number of batches of trials.
    batch : trials a batch.
    learning_rate : Adam's.
    clip : largest norm of a network's gradient.
    evaluate_every : batches between tests on fresh trials.
    validation : trials of each such test.
    heldout : trials of the test of the trained network.
    goal : score at which a network stops, or goes on to its task's next lesson.
    parameters : of the task, where they are not its own.
    """

    task: str
    connectivity: str = "full"
    seeds: tuple[int, ...] = (0,)
    units: int = 100
    rank: int = 2
    density: float = 0.2
    shape: tuple[int, int, int] | None = None
    activation: str = "relu"
    form: str = "rate"
    noise: float = 0.05
    gain: float = 0.9
    excitatory: float | None = None
    train_inputs: bool = True
    train_outputs: bool = True
    dt: float = 20.0
    tau: float = 100.0
    steps: int = 3000
    batch: int = 32
    learning_rate: float = 2e-3
    clip: float = 1.0
    evaluate_every: int = 50
    validation: int = 256
    heldout: int = 1000
    goal: float | None = None
    parameters: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.task, str) or self.task not in tasks.abstract_names():
            raise unknown("task", self.task, tasks.abstract_names())
        plain_fields(self, check_floats=False)
        object.__setattr__(self, "parameters", {name: plain(value) for name, value in (self.parameters or {}).items()})
        task = self.abstract_task()
        for name, known in (("connectivity", CONNECTIVITIES), ("activation", ACTIVATIONS), ("form", FORMS)):
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)
        for name in ("units", "steps", "batch", "evaluate_every", "validation", "heldout"):
            _whole(name, getattr(self, name), 1)
        for name in ("validation", "heldout"):
            if task.measure == "R2" and getattr(self, name) < 2:
                raise InputError(f"{name}={getattr(self, name)}: R2 compares trials of different targets; give 2 or more")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"seeds={self.seeds!r}: give one or more different seeds, such as 0:32")
        for seed in self.seeds:
            _whole("seeds", seed, 0)
        for name in ("learning_rate", "clip", "dt", "tau"):
            _number(name, getattr(self, name), above=True)
        for name in ("noise", "gain"):
            _number(name, getattr(self, name), above=False)
        if self.dt > self.tau:
            raise InputError(f"dt={self.dt:g}: must be at most the time constant tau={self.tau:g} (ms)")
        if self.connectivity == "lowrank" and not 1 <= self.rank <= self.units:
            raise InputError(f"rank={self.rank!r}: must be from 1 to the number of units, {self.units}")
        if not is_number(self.density) or (self.connectivity == "sparse" and not 0 < self.density <= 1):
            raise InputError(f"density={self.density!r}: must be above 0 and at most 1")
        if self.connectivity == "conv" and self.shape is None:
            object.__setattr__(self, "shape", maps_for(self.units))
        maps = self.shape if self.connectivity == "conv" and self.shape is not None else (1, 1, self.units)
        if len(maps) != 3 or min(maps) < 1 or math.prod(maps) != self.units:
            raise InputError(
                f"shape={'x'.join(map(str, maps))}: channels x height x width must be the number of units, {self.units}"
            )
        if self.excitatory is not None:
            if not is_number(self.excitatory) or not 0 < self.excitatory < 1:
                raise InputError(f"excitatory={self.excitatory!r}: give a share above 0 and below 1")
            if self.activation == "tanh":
                raise InputError("activation='tanh': Dale's law (excitatory) needs rates of at least 0; choose relu")
        if self.goal is not None and not (is_number(self.goal) and self.goal <= 1):
            raise InputError(f"goal={self.goal!r}: a score is at most 1")

    def abstract_task(self) -> tasks.AbstractTask:
        """The task with its parameters."""
        task: tasks.AbstractTask = tasks.get(self.task, **dict(self.parameters or {}))
        return task

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON has them."""
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        own = {name: list(value) if isinstance(value, tuple) else value for name, value in (self.parameters or {}).items()}
        return {**plain, "parameters": own}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Settings:
        """Settings from what `as_dict` gave."""
        shape = values.get("shape")
        parameters = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in (values.get("parameters") or {}).items()
        }
        fixed = {"seeds": tuple(values["seeds"]), "shape": tuple(shape) if shape else None, "parameters": parameters}
        return Settings(**{**values, **fixed})


def defaults(task: str, connectivity: str, **given: Any) -> Settings:
    """Settings that train a task with a connectivity, with what is `given` in their place."""
    tuned = {**TUNED.get((task, None), {}), **TUNED.get((task, connectivity), {})}
    return Settings(task, connectivity, **{**tuned, **given})


def maps_for(units: int) -> tuple[int, int, int]:
    """Channels, height and width of square maps that hold `units`: of 5 x 5 places, or the nearest to it."""
    sides = [side for side in range(3, math.isqrt(max(units, 0)) + 1) if units % side**2 == 0]
    if not sides:
        raise InputError(f"units={units!r}: no square maps of at least 3 x 3 hold them; give --shape, such as 4x5x5")
    side = min(sides, key=lambda side: abs(side - 5))
    return units // side**2, side, side


def _whole(name: str, value: Any, least: int) -> None:
    if not least <= value < LARGEST_SEED:
        raise InputError(f"{name}={value!r}: must be a whole number of at least {least}")


def _number(name: str, value: Any, *, above: bool) -> None:
    if not is_number(value) or not (value > 0 if above else value >= 0):
        raise InputError(f"{name}={value!r}: must be a finite number {'above' if above else 'of at least'} 0")
