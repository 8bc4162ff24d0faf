"""What determines a batch of trained networks. This module needs no torch, so that commands can check arguments at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np

from cordstasks import tasks
from cordstasks.errors import InputError, unknown
from cordstasks.tasks.timing import check_step
from cordstasks.utils.arguments import plain

CONNECTIVITIES = ("full", "lowrank", "sparse", "conv")
ACTIVATIONS = ("relu", "tanh", "softplus")
FORMS = ("rate", "current")
# settings that matter to one connectivity only
ONLY_FOR = {"rank": "lowrank", "density": "sparse", "shape": "conv"}
MOST_SEEDS = 100_000  # networks of one stack; a longer range is a slip, and would only fill the memory

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
    goal : score at which a network stops, or goes on to its task's next stage.
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
        for name in (field.name for field in fields(self) if field.name != "parameters"):
            object.__setattr__(self, name, checked(name, getattr(self, name)))
        object.__setattr__(self, "parameters", checked_parameters(self.task, self.parameters))
        task = self.abstract_task()
        if self.dt > self.tau:
            raise InputError(f"dt={self.dt:g}: must be at most the time constant tau={self.tau:g} (ms)")
        check_step(self.dt, task)
        for name in ("validation", "heldout"):
            if task.measure == "R2" and getattr(self, name) < 2:
                raise InputError(
                    f"{name}={getattr(self, name)}: R2, by which task {task.id} is scored, needs at least 2 trials"
                )
        if self.connectivity == "lowrank" and self.rank > self.units:
            raise InputError(f"rank={self.rank!r}: must be from 1 to the number of units, {self.units}")
        if self.connectivity == "conv" and self.shape is None:
            object.__setattr__(self, "shape", maps_for(self.units))
        if self.connectivity == "conv" and self.shape is not None and math.prod(self.shape) != self.units:
            raise InputError(
                f"shape={'x'.join(map(str, self.shape))}: channels x height x width must be the number of units, "
                f"{self.units}"
            )
        if self.excitatory is not None:
            if self.activation == "tanh":
                raise InputError("activation='tanh': Dale's law (excitatory) needs rates of at least 0; choose relu")
            # the kinds are channels where weights are shared, else units
            kinds = self.shape[0] if self.connectivity == "conv" and self.shape is not None else self.units
            if not 0 < round(self.excitatory * kinds) < kinds:
                raise InputError(
                    f"excitatory={self.excitatory!r}: leaves one kind without any of {kinds}; choose another share"
                )

    def abstract_task(self) -> tasks.AbstractTask:
        """The task with its parameters."""
        task: tasks.AbstractTask = tasks.get(self.task, **dict(self.parameters or {}))
        return task

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON has them."""
        shared = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        own = {name: list(value) if isinstance(value, tuple) else value for name, value in (self.parameters or {}).items()}
        return {**shared, "parameters": own}

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
        raise InputError(
            f"units={units!r}: no square maps of at least 3 x 3 hold them; choose a multiple of 9, 16 or 25, or give a "
            "shape, such as 4x5x5"
        )
    side = min(sides, key=lambda side: abs(side - 5))
    return units // side**2, side, side


def checked(name: str, value: Any) -> Any:
    """One setting as `Settings` keeps it, if it is possible with any of the others.

    Parameters
    ----------
    name : str
        A field of `Settings` other than `parameters`.
    value : object
        What a caller gave. NumPy numbers become Python's own, lists and arrays become tuples.

    Returns
    -------
    object
        The value, of the field's type.

    Raises
    ------
    InputError
        If the value is of a wrong type or out of range.
    """
    return _CHECKS[name](name, value)


def checked_parameters(task: str, parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    """Parameters of a task as `Settings` keeps them, lists and arrays as tuples.

    Parameters
    ----------
    task : str
        Name of the task.
    parameters : mapping, optional
        By name.

    Returns
    -------
    dict
        A copy.

    Raises
    ------
    InputError
        If it is no mapping, or the task has no such parameter or cannot have such a value.
    """
    if not (parameters is None or (isinstance(parameters, Mapping) and all(isinstance(name, str) for name in parameters))):
        raise InputError(f"parameters={parameters!r}: give names and values, such as {{'delay': 500}}")
    own = {name: plain(value) for name, value in (parameters or {}).items()}
    tasks.get(task, **own)
    return own


def first_repeated(values: Sequence[Any]) -> int | None:
    """The place of the first value that stands earlier in `values` too; None if all differ."""
    return next((place for place, value in enumerate(values) if value in values[:place]), None)


def _one_of(name: str, value: Any, *, known: Sequence[str]) -> str:
    if value not in known:
        raise unknown(name, value, known)
    return str(value)


def _whole(name: str, value: Any, *, least: int = 1) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or not least <= int(value) < 2**63:
        raise InputError(f"{name}={value!r}: must be a whole number of at least {least}")
    return int(value)


def _number(name: str, value: Any, *, rule: str, fits: Callable[[float], bool]) -> float:
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:  # a whole number of hundreds of digits
        number = math.inf
    if not math.isfinite(number) or not fits(number):
        raise InputError(f"{name}={value!r}: {rule}")
    return number


def _optional(name: str, value: Any, *, check: Callable[[str, Any], Any]) -> Any:
    return None if value is None else check(name, value)


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name}={value!r}: must be true or false")
    return bool(value)


def _seeds(name: str, value: Any) -> tuple[int, ...]:
    given = plain(value)
    if not isinstance(given, tuple) or not given:
        raise InputError(f"{name}={value!r}: give one or more different seeds, such as 0:32")
    whole = tuple(_whole(name, seed, least=0) for seed in given)
    if len(set(whole)) < len(whole):
        raise InputError(f"{name}={given!r}: give one or more different seeds, such as 0:32")
    return whole


def _shape(name: str, value: Any) -> tuple[int, int, int]:
    given = plain(value)
    if not isinstance(given, tuple) or len(given) != 3:
        raise InputError(f"{name}={value!r}: give channels, height and width, such as 4x5x5")
    channels, height, width = (_whole(name, part) for part in given)
    return channels, height, width


_above = partial(_number, rule="must be a finite number above 0", fits=lambda number: number > 0)
_at_least = partial(_number, rule="must be a finite number of at least 0", fits=lambda number: number >= 0)
_share = partial(_number, rule="give a share above 0 and below 1", fits=lambda number: 0 < number < 1)
_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "task": lambda name, value: _one_of(name, value, known=tasks.abstract_names()),
    "connectivity": partial(_one_of, known=CONNECTIVITIES),
    "seeds": _seeds,
    **dict.fromkeys(("units", "rank", "steps", "batch", "evaluate_every", "validation", "heldout"), _whole),
    "density": partial(_number, rule="must be above 0 and at most 1", fits=lambda number: 0 < number <= 1),
    "shape": partial(_optional, check=_shape),
    "activation": partial(_one_of, known=ACTIVATIONS),
    "form": partial(_one_of, known=FORMS),
    **dict.fromkeys(("noise", "gain"), _at_least),
    **dict.fromkeys(("dt", "tau", "learning_rate", "clip"), _above),
    "excitatory": partial(_optional, check=_share),
    **dict.fromkeys(("train_inputs", "train_outputs"), _truth),
    "goal": partial(_optional, check=partial(_number, rule="a score is at most 1", fits=lambda number: number <= 1)),
}
