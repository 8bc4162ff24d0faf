"""Sets of units by a rule: the most selective, those that prefer a value, at random, or by their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordstasks import analysis
from cordstasks.errors import InputError

__all__ = ["UnitSet", "chosen_units", "random_sets"]

MOST_TUNED = 0.05  # of the units, unless another fraction is given
RULES = "tuned, prefer=VALUE, random, units=1,2,3, channels=1,2,3 or locations=1,2,3"
KINDS = ("units", "channels", "locations")  # of which sets can be


@dataclass(frozen=True, eq=False)
class UnitSet:
    """A set of units, from `chosen_units`.

    Attributes
    ----------
    units : ndarray of shape (unit,), int64
        Their numbers, sorted.
    preferred : number or str or None
        The value of the condition that all of them prefer, if the rule asked for one.
    available : int
        How many units fitted the rule, of which the most selective were taken.
    kind : str
        What the set is made of, and random sets beside it: ``"units"``, ``"channels"`` (all locations of some channels) or
        ``"locations"`` (all channels of some locations).
    """

    units: NDArray[np.int64]
    preferred: Any = None
    available: int = 0
    kind: str = "units"


def chosen_units(
    rule: str,
    responses: NDArray[np.float64],
    condition: NDArray[Any],
    *,
    fraction: float | None = None,
    alike: bool = False,
    channels: int | None = None,
    rng: np.random.Generator,
) -> UnitSet:
    """Choose units by a rule, from their responses in trials that are not used for anything else.

    Parameters
    ----------
    rule : str
        ``"tuned"`` for the most selective, ``"prefer=90"`` for those that are selective and respond most to that value,
        ``"random"``, ``"units=1,5"`` by number, and of an area ``"channels=3"`` for all locations of channels, or
        ``"locations=0,9"`` for all channels of locations, numbered along the rows of its averaged maps.
    responses : ndarray of shape (trial, unit)
    condition : ndarray of shape (trial,)
        What units are selective for, such as the direction.
    fraction : float, optional
        How many at most, as a fraction of all units; by default 0.05, and with ``prefer`` all that fit.
    alike : bool
        Whether ``"tuned"`` units must all prefer the value that the most selective of them prefers.
    channels : int, optional
        Number of channels of an area; None for units that have none.
    rng : numpy.random.Generator
        Draws random units.

    Returns
    -------
    UnitSet

    Raises
    ------
    InputError
        If there is no such rule, value or unit, or no unit fits.
    """
    kind, _, value = rule.partition("=")
    number = responses.shape[1]
    most = max(1, round(number * (MOST_TUNED if fraction is None else fraction)))
    if kind in KINDS and value:
        if fraction is not None:
            raise InputError(f"fraction={fraction:g}: has no effect on a set that is given by number; leave it out")
        if kind != "units" and channels is None:
            raise InputError(f"units={rule!r}: the recurrent network has no {kind}; name an area, or give units=1,2,3")
        return _by_number(rule, kind, value, _blocks(kind, number, channels))
    if rule == "random":
        return UnitSet(np.sort(rng.choice(number, most, replace=False)), None, number)
    if rule != "tuned" and not (kind == "prefer" and value):
        raise InputError(f"units={rule!r}: is no rule; give {RULES}")
    curves = analysis.tuning.tuning_curves(responses, condition)
    tests = analysis.tuning.selectivity(responses, condition, rng=rng, permutations=0)
    fits = tests.selective & (tests.f > 0)
    order = np.argsort(-tests.f, kind="stable")
    preferred = None
    if kind == "prefer":
        index = _value(value, curves.values)
        preferred = curves.values[index].item()
        fits &= curves.preferred == index
        most = number if fraction is None else most
    elif alike and fits.any():
        index = int(curves.preferred[order[fits[order]][0]])
        preferred = curves.values[index].item()
        fits &= curves.preferred == index
    found = order[fits[order]][:most]
    if not len(found):
        raise InputError(f"units={rule!r}: no unit of {number} is selective so in these trials; choose another rule")
    return UnitSet(np.sort(found), preferred, int(fits.sum()))


def random_sets(
    number: int,
    size: int,
    sets: int,
    *,
    rng: np.random.Generator,
    kind: str = "units",
    channels: int | None = None,
) -> list[NDArray[np.int64]]:
    """`sets` random sets of `size` of `number` units, or of as many channels or locations of an area as that is.

    Returns
    -------
    list of int64 ndarray of shape (size,)
        Indices of units, ascending; none occurs twice in a set.
    """
    blocks = _blocks(kind, number, channels)
    drawn = size // blocks.shape[1]
    return [np.sort(blocks[rng.choice(len(blocks), drawn, replace=False)].ravel()) for _ in range(sets)]


def _blocks(kind: str, number: int, channels: int | None) -> NDArray[np.int64]:
    """The units (block, unit) of each unit, channel or location; units of an area are numbered channel by channel."""
    units = np.arange(number)
    if kind == "units" or channels is None:
        return units[:, None]
    maps = units.reshape(channels, -1)
    return maps if kind == "channels" else maps.T


def _by_number(rule: str, kind: str, value: str, blocks: NDArray[np.int64]) -> UnitSet:
    """The units of blocks by their numbers."""
    try:
        asked = sorted({int(part) for part in value.split(",")})
    except ValueError:
        raise InputError(f"units={rule!r}: give whole numbers, such as {kind}=0,3,5") from None
    if asked[0] < 0 or asked[-1] >= len(blocks):
        raise InputError(f"units={rule!r}: numbers go from 0 to {len(blocks) - 1}; leave out the others")
    units = np.sort(blocks[asked].ravel())
    return UnitSet(units, None, len(units), kind)


def _value(text: str, values: NDArray[Any]) -> int:
    """The index of the value that a text names."""
    for index, value in enumerate(values.tolist()):
        if text == str(value) or (not isinstance(value, str) and _is(text, float(value))):
            return index
    raise InputError(f"units='prefer={text}': choose one of the values {', '.join(f'{v}' for v in values.tolist())}")


def _is(text: str, value: float) -> bool:
    try:
        return float(text) == value
    except ValueError:
        return False
