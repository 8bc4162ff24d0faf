"""Networks of different connectivities with equally many trained parameters. This module does not need torch."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace

from cordstasks.errors import InputError
from cordstasks.training.settings import AbstractSettings

__all__ = ["FREE", "TOLERANCE", "match_parameters", "number_of_parameters"]

# the setting that is chosen for each connectivity; all others stay as they are given
FREE = {"full": "units", "lowrank": "rank", "sparse": "density", "conv": "channels"}
TOLERANCE = 0.1  # the largest deviation from the requested number; channels and units are whole numbers
MOST_UNITS = 100_000


def number_of_parameters(settings: AbstractSettings) -> int:
    """Number of trained parameters of the networks that settings describe; in a sparse network, only of existing weights.

    Parameters
    ----------
    settings : AbstractSettings
        Of networks of an abstract task.

    Returns
    -------
    int
        Of one network; input weights, output weights and the output bias count if they are trained.
    """
    task, units = settings.abstract_task(), settings.units
    total = _recurrent(settings) + units  # the bias
    total += len(task.channels) * units if settings.train_inputs else 0
    return total + (task.outputs * (units + 1) if settings.train_outputs else 0)


def _recurrent(settings: AbstractSettings) -> int:
    """Recurrent weights that can differ from zero."""
    units = settings.units
    if settings.connectivity == "lowrank":
        return 2 * units * settings.rank
    if settings.connectivity == "sparse":
        return max(1, round(settings.density * units * units))
    if settings.connectivity == "conv":
        assert settings.shape is not None
        return 9 * settings.shape[0] ** 2
    return units * units


def match_parameters(settings: AbstractSettings, number: int) -> AbstractSettings:
    """Settings of networks that have about a given number of trained parameters.

    What is chosen depends on the connectivity: the units of full networks, the rank of low-rank networks, the density of
    sparse networks, and the channels of convolutional networks, whose maps keep their height and width. Low-rank and sparse
    networks keep their units.

    Parameters
    ----------
    settings : AbstractSettings
        All that is not chosen.
    number : int
        Trained parameters of one network.

    Returns
    -------
    AbstractSettings
        Its number of parameters is the nearest one; see `number_of_parameters`.

    Raises
    ------
    InputError
        If no such network comes within a tenth of the number.
    """
    kind, units = settings.connectivity, settings.units
    if kind == "sparse":
        weights = number - (number_of_parameters(settings) - _recurrent(settings))
        if not 1 <= weights <= units * units:
            raise _unmatched(settings, number)
        return replace(settings, density=weights / (units * units))
    if kind == "lowrank":
        chosen = _nearest(lambda rank: replace(settings, rank=rank), units, number)
    elif kind == "conv":
        assert settings.shape is not None
        _, height, width = settings.shape
        area = height * width
        chosen = _nearest(
            lambda channels: replace(settings, units=channels * area, shape=(channels, height, width)),
            max(1, MOST_UNITS // area),
            number,
        )
    else:
        chosen = _nearest(lambda size: replace(settings, units=size), MOST_UNITS, number)
    if abs(number_of_parameters(chosen) - number) > TOLERANCE * number:
        raise _unmatched(settings, number)
    return chosen


def _nearest(of: Callable[[int], AbstractSettings], most: int, number: int) -> AbstractSettings:
    """The settings whose number of parameters, which grows with a size from 1 to `most`, is nearest."""
    sizes = range(1, most + 1)
    place = bisect_left(sizes, number, key=lambda size: number_of_parameters(of(size)))
    near = [of(sizes[each]) for each in (place - 1, place) if 0 <= each < len(sizes)]
    return min(near, key=lambda each: abs(number_of_parameters(each) - number))


def _unmatched(settings: AbstractSettings, number: int) -> InputError:
    kind = settings.connectivity
    kept = "" if kind in ("full", "conv") else f" of {settings.units} units"
    return InputError(
        f"trained_parameters={number}: no {FREE[kind]} gives {kind} networks{kept} so many on task {settings.task}, give or "
        f"take {100 * TOLERANCE:.0f} %; choose another number"
    )
