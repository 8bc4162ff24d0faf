"""Splits of stimuli into those to fit on and those to predict."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.analysis._checks import column, count, open_fraction
from cordstasks.errors import InputError

Rows = NDArray[np.intp]
LEAST = 3  # stimuli for a correlation


class Split(NamedTuple):
    """Stimuli to fit on and stimuli to predict: indices, sorted."""

    train: Rows
    test: Rows


def stimulus_splits(
    stimuli: int,
    *,
    splits: int = 10,
    held_out: float = 0.1,
    objects: ArrayLike | None = None,
    rng: int | np.random.Generator = 0,
) -> list[Split]:
    """Random splits of stimuli, each independent of the others, as Brain-Score's.

    Parameters
    ----------
    stimuli : int
        How many there are.
    splits : int
        How many splits.
    held_out : float
        Fraction of the stimuli to predict, between 0 and 1.
    objects : (stimulus,), optional
        An object or category of each stimulus: each then has the same fraction held out, as nearly as whole numbers allow.
    rng : int or numpy.random.Generator
        Seed, or where to draw from.

    Returns
    -------
    list of Split

    Raises
    ------
    InputError
        If fewer than three stimuli would be held out or kept, or there are more objects than stimuli held out.
    """
    count("stimuli", stimuli, 1)
    count("splits", splits, 1)
    tested = int(np.ceil(open_fraction("held_out", held_out) * stimuli - 1e-9))
    if tested < LEAST or stimuli - tested < LEAST:
        raise InputError(
            f"held_out={held_out:g}: holds out {tested} of {stimuli} stimuli; correlations need {LEAST} held out and "
            f"{LEAST} to fit on: give more stimuli, or another fraction"
        )
    generator = np.random.default_rng(rng)
    groups = np.zeros(stimuli, np.intp)
    if objects is not None:
        named = column("objects", objects)
        if len(named) != stimuli:
            raise InputError(f"objects has {len(named)} entries for {stimuli} stimuli; give one for each")
        names, groups = np.unique(named, return_inverse=True)
        if len(names) > tested:
            raise InputError(
                f"objects: {len(names)} objects cannot all be among {tested} stimuli held out; hold out more, or leave "
                "objects out"
            )
    return [_split(groups, tested, generator) for _ in range(splits)]


def _split(groups: Rows, tested: int, generator: np.random.Generator) -> Split:
    """One split; of each group the same fraction is tested, and what is left over is drawn at random."""
    sizes = np.bincount(groups)
    exact = sizes * tested / len(groups)
    counts = np.floor(exact).astype(int)
    missing = tested - int(counts.sum())
    if missing:
        remainders = exact - counts
        order = np.lexsort((generator.random(len(counts)), -remainders))
        counts[order[:missing]] += 1
    chosen = [
        generator.permutation(np.flatnonzero(groups == group))[:number] for group, number in enumerate(counts.tolist())
    ]
    test = np.sort(np.concatenate(chosen))
    return Split(np.setdiff1d(np.arange(len(groups)), test), test)
