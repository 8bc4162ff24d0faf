"""Locations for dots on a disc: apart from each other, inside the edge, and as a control requires."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ATTEMPTS = 40
_RELAXATIONS = 3000
_FEW = 8  # up to this number of dots, layouts are drawn until one fits: uniform over all layouts that fit


@lru_cache(maxsize=64)
def _pairs(number: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.triu_indices(number, 1)


def _in_disc(radius: Floats, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Points (*shape, 2), uniform in discs of `radius`."""
    distance, angle = radius * np.sqrt(rng.random(shape)), 2 * np.pi * rng.random(shape)
    return np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=-1)


def _apart(layouts: Floats, least: Floats) -> NDArray[np.bool_]:
    """Which layouts (layout, dot, 2) keep every pair of dots `least` (pair,) apart."""
    first, second = _pairs(layouts.shape[1])
    between = layouts[:, first] - layouts[:, second]
    kept: NDArray[np.bool_] = (np.einsum("lpc,lpc->lp", between, between) >= least**2).all(1)
    return kept


def _least(reach: Floats, gap: float) -> Floats:
    """Smallest distances (pair,) between the centres of dots of given radius that keep a gap."""
    first, second = _pairs(len(reach))
    return reach[first] + reach[second] + gap


def scattered(reach: Floats, room: float, gap: float, rng: np.random.Generator) -> Floats | None:
    """Random locations (dot, 2) for dots of radius `reach` (dot,), in a disc of radius `room`, `gap` apart.

    None if none were found. All lengths in one unit.
    """
    free = room - reach
    if free.min() < 0:
        return None
    number, least = len(reach), _least(reach, gap)
    if number <= _FEW:
        for _ in range(_ATTEMPTS):
            layouts = _in_disc(free, (24, number), rng)
            fit = np.flatnonzero(_apart(layouts, least))
            if fit.size:
                return layouts[fit[0]]
    return _relaxed(_in_disc(free, (number,), rng), free, least)


def _relaxed(places: Floats, free: Floats, least: Floats) -> Floats | None:
    """Locations `places`, pushed apart until no pair is closer than `least`; None if this fails."""
    first, second = _pairs(len(places))
    for _ in range(_RELAXATIONS):
        between = places[first] - places[second]
        distance = np.hypot(*between.T)
        lacking = least - distance
        if (lacking <= 0).all():
            return places
        # slightly more than needed; otherwise the last step would never end
        push = np.where(lacking > 0, 0.5 * lacking + 1e-3, 0) / np.maximum(distance, 1e-9)
        shift = np.zeros_like(places)
        np.add.at(shift, first, push[:, None] * between)
        np.add.at(shift, second, -push[:, None] * between)
        places = places + shift
        out = np.hypot(*places.T) / np.maximum(free, 1e-9)
        places = places / np.maximum(out, 1)[:, None]
    return None


def spaced(reach: Floats, room: float, gap: float, spacing: float, rng: np.random.Generator) -> Floats | None:
    """As `scattered`, with a mean distance of `spacing` from each dot's centre to the nearest other dot's."""
    number = len(reach)
    if number == 1:
        return scattered(reach, room, gap, rng)
    least = _least(reach, gap)
    first, second = _pairs(number)
    everyone = np.arange(number)
    for _ in range(4 * _ATTEMPTS):
        layouts = _in_disc(np.ones(number), (96, number), rng)
        distance = np.full((len(layouts), number, number), np.inf)
        distance[:, first, second] = np.hypot(*np.moveaxis(layouts[:, first] - layouts[:, second], -1, 0))
        distance[:, second, first] = distance[:, first, second]
        layouts *= (spacing / distance[:, everyone].min(2).mean(1))[:, None, None]
        layouts -= layouts.mean(1, keepdims=True)
        # the whole group is then moved, so it needs extra room
        free = room - (np.hypot(layouts[..., 0], layouts[..., 1]) + reach).max(1)
        fit = np.flatnonzero((free >= 0) & _apart(layouts, least))
        if fit.size:
            return layouts[fit[0]] + _in_disc(free[fit[0]], (), rng)
    return None


def in_line(reach: Floats, room: float, gap: float, rng: np.random.Generator) -> Floats | None:
    """As `scattered`, on a straight line of random direction."""
    inner = room - reach.max()
    steps = reach[:-1] + reach[1:] + gap
    needed = 0.5 * float(steps.sum())
    if inner < needed:
        return None
    offset = rng.uniform(-1, 1) * np.sqrt(inner**2 - needed**2)
    slack = 2 * np.sqrt(inner**2 - offset**2) - 2 * needed
    extra = np.sort(rng.random(len(reach))) * slack
    along = np.concatenate([[0.0], np.cumsum(steps)]) + extra - needed - slack / 2
    turn = 2 * np.pi * rng.random()
    return np.stack([along * np.cos(turn) - offset * np.sin(turn), along * np.sin(turn) + offset * np.cos(turn)], axis=1)
