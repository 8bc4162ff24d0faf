"""The settings of a task and the recurrent network that learns it, common to visual and abstract runs.

This module needs no torch, so that commands can check arguments at once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from cordstasks.errors import InputError
from cordstasks.utils.settings import (
    Settings,
    choice,
    mapping,
    not_negative,
    number,
    optional,
    positive,
    setting,
    several,
    text,
    truth,
    whole,
)

__all__ = ["NetworkSettings", "first_repeated", "maps_for", "seeds_of_text"]

CONNECTIVITIES = ("full", "lowrank", "sparse", "conv")
ACTIVATIONS = ("relu", "tanh", "softplus")
FORMS = ("rate", "current")
# settings that only one connectivity has
ONLY_FOR = {"rank": "lowrank", "density": "sparse", "shape": "conv"}
MOST_SEEDS = 100_000  # networks of one stack; a longer range is a mistake and would only fill the memory

NET, SIZE, HOW = "the network", "how much", "how it learns"


def maps_for(units: int) -> tuple[int, int, int]:
    """Channels, height and width of square maps that hold `units`: of 5 x 5 locations, or the nearest to it.

    Returns
    -------
    channels, height, width : int
        Their product is `units`.

    Raises
    ------
    InputError
        If no square maps of at least 3 x 3 locations hold so many units.
    """
    sides = [side for side in range(3, math.isqrt(max(units, 0)) + 1) if units % side**2 == 0]
    if not sides:
        raise InputError(
            f"units={units!r}: no square maps of at least 3 x 3 hold them; choose a multiple of 9, 16 or 25, or give a "
            "shape, such as 4x5x5"
        )
    side = min(sides, key=lambda side: abs(side - 5))
    return units // side**2, side, side


def first_repeated(values: Sequence[Any]) -> int | None:
    """The index of the first value that also occurs earlier in `values`; None if all differ.

    Returns
    -------
    int or None
    """
    return next((place for place, value in enumerate(values) if value in values[:place]), None)


def seeds_of_text(text: str) -> tuple[int, ...]:
    """Seeds from ``"0:32"`` (0 to 31), ``"3"`` or ``"0,2,5"``, for a flag.

    Returns
    -------
    tuple of int
        In the order of the text.

    Raises
    ------
    InputError
        If the text is written in another way, or names too many seeds.
    """
    try:
        if ":" in text:
            first, last = (int(part) for part in text.split(":"))
            if last - first > MOST_SEEDS:  # checked before the numbers fill the memory
                raise InputError(f"--seeds {text}: are {last - first} networks; give at most {MOST_SEEDS}")
            if last <= first:
                raise ValueError
            return tuple(range(first, last))
        return tuple(int(part) for part in text.split(","))
    except InputError:
        raise
    except ValueError:
        raise InputError(f"--seeds {text}: write 0:32 for 0 to 31, or 3, or 0,2,5") from None


def shape_of_text(text: str) -> tuple[int, int, int]:
    """Channels, height and width from ``"4x5x5"``, for a flag."""
    try:
        channels, height, width = map(int, text.split("x"))
    except ValueError:  # not three, or not numbers
        raise InputError(f"--shape {text}: write channels, height and width as 4x5x5") from None
    return channels, height, width


@dataclass(frozen=True)
class NetworkSettings(Settings):
    """A task and the recurrent network that learns it; see `cordstasks.rnn.RNN` for what the network's settings mean."""

    task: str = setting(text(), "the task", group="")
    _: KW_ONLY
    parameters: Mapping[str, Any] = setting(
        mapping("names and values, such as {'delay': 500}"), "parameters of the task", default=None, group=""
    )
    units: int = setting(whole(), "recurrent units", default=100, group=NET)
    connectivity: str = setting(choice(*CONNECTIVITIES), ", ".join(CONNECTIVITIES), default="full", group=NET)
    rank: int = setting(whole(), "of low-rank networks", default=2, group=NET)
    density: float = setting(
        number("a number above 0 and at most 1", above=0, most=1), "of sparse networks", default=0.2, group=NET
    )
    shape: tuple[int, int, int] | None = setting(
        optional(several(whole(), "channels, height and width, such as 4x5x5", length=3)),
        "channels, height and width of convolutional networks, such as 4x5x5 (default: by units)",
        default=None,
        group=NET,
        parse=shape_of_text,
    )
    activation: str = setting(choice(*ACTIVATIONS), ", ".join(ACTIVATIONS), default="relu", group=NET)
    form: str = setting(choice(*FORMS), ", ".join(FORMS), default="rate", group=NET)
    noise: float = setting(not_negative(), "standard deviation of the units' private noise", default=0.05, group=NET)
    gain: float = setting(not_negative(), "spectral radius of the initial recurrent weights", default=0.9, group=NET)
    excitatory: float | None = setting(
        optional(number("a fraction above 0 and below 1", above=0, below=1)),
        "obey Dale's law with this fraction of excitatory units",
        default=None,
        group=NET,
        metavar="FRACTION",
    )
    train_inputs: bool = setting(truth(), "do not train the input weights", default=True, group=NET, flag="--fixed-inputs")
    train_outputs: bool = setting(
        truth(), "do not train the output weights", default=True, group=NET, flag="--fixed-outputs"
    )
    dt: float = setting(positive(), "the recurrent network's step in ms", default=20.0, group=NET)
    tau: float = setting(positive(), "its time constant in ms", default=100.0, group=NET)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_task()
        if self.dt > self.tau:
            raise InputError(f"dt={self.dt:g}: must be at most the time constant tau={self.tau:g} (ms)")
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
            # the types are those of channels if weights are shared, otherwise of units
            kinds = self.shape[0] if self.connectivity == "conv" and self.shape is not None else self.units
            if not 0 < round(self.excitatory * kinds) < kinds:
                raise InputError(
                    f"excitatory={self.excitatory!r}: leaves one kind without any of {kinds}; choose another fraction"
                )

    def _check_task(self) -> None:
        """Raise an InputError unless the task exists and can have the parameters."""

    @staticmethod
    def check_used(given: Mapping[str, Any]) -> None:
        """Raise an InputError if a setting is given that the given connectivity does not have.

        The default will do, so that all settings of a run can be given again.

        Parameters
        ----------
        given : mapping
            Settings that a caller chose.

        Raises
        ------
        InputError
            If a setting matters to another connectivity only, and is not its default.
        """
        defaults = {each.name: each.default for each in dataclasses.fields(NetworkSettings)}
        for each, connectivity in ONLY_FOR.items():
            chosen = given.get(each)
            if chosen is None or given.get("connectivity", "full") == connectivity:
                continue
            chosen = NetworkSettings.checked(each, chosen)
            if defaults[each] is None or chosen != defaults[each]:
                value = "x".join(map(str, chosen)) if each == "shape" else chosen
                raise InputError(
                    f"{each}={value}: matters to {connectivity} networks only; leave it out, or give "
                    f"connectivity={connectivity}"
                )
