"""Pairs of pictures on morph lines, for `cordstasks.analysis.tuning.category_index`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordstasks.analysis._checks import Booleans, Floats
from cordstasks.errors import InputError

_SAME = 1e-6  # of the morph axis: steps of 0.2 that differ by rounding are equal


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of pictures on one morph line."""

    lines: NDArray[Any]  # (line,)
    line: NDArray[np.intp]  # (pair,) index into lines
    apart: Floats  # (pair,) morph distance
    across: Booleans  # (pair,) whether the boundary lies between
    difference: Floats  # (pair, unit)

    @classmethod
    def of(cls, rates: Floats, kind: NDArray[np.intp], name: NDArray[Any], place: Floats) -> Pairs:
        """Return all pairs on the lines `name` (trial,), with the positions and categories of their pictures."""
        lines, number = np.unique(name, return_inverse=True)
        rows: list[tuple[int, float, bool, Floats]] = []
        for i, each in enumerate(lines):
            trials = np.flatnonzero(number == i)
            level = np.round(place[trials] / _SAME)
            pictures = []
            for step in np.unique(level):
                shown = trials[level == step]
                if len(np.unique(kind[shown])) > 1:
                    raise InputError(
                        f"category of line {each} at morph {place[shown[0]]:g} is not one; leave that picture out"
                    )
                pictures.append((float(place[shown[0]]), int(kind[shown[0]]), rates[shown].mean(axis=0)))
            for (near, first, one), (far, second, other) in combinations(pictures, 2):
                rows.append((i, far - near, first != second, np.abs(one - other)))
        if not rows:
            raise InputError("line has one picture each; give morph lines of two pictures or more")
        line, apart, across, difference = zip(*rows, strict=True)
        return cls(lines, np.array(line), np.array(apart), np.array(across), np.array(difference))

    def _kept(self, use: Booleans) -> Pairs:
        """Return the pairs of `use` on lines that then have pairs of both kinds."""
        number = len(self.lines)
        both = np.bincount(self.line[use & self.across], minlength=number) > 0
        both &= np.bincount(self.line[use & ~self.across], minlength=number) > 0
        use = use & both[self.line]
        rank = np.cumsum(both) - 1
        return Pairs(self.lines[both], rank[self.line[use]], self.apart[use], self.across[use], self.difference[use])

    def at(self, distance: float) -> Pairs:
        """Return the pairs at a morph distance on lines that have such pairs between and within categories."""
        kept = self._kept(np.abs(self.apart - distance) < 2 * _SAME)
        if not len(kept.line):
            known = ", ".join(f"{d:g}" for d in np.unique(np.round(self.apart, 6)))
            raise InputError(
                f"distance is {distance:g}, at which no morph line has pairs both between and within categories; "
                f"pictures are {known} apart"
            )
        return kept

    def smallest(self) -> float:
        """Return the smallest distance at which there are pairs between and within categories."""
        for distance in np.unique(np.round(self.apart, 6)):
            if len(self._kept(np.abs(self.apart - distance) < 2 * _SAME).line):
                return float(distance)
        raise InputError("category changes on no morph line that has equal steps within a category; give such lines")

    def line_means(self, use: Booleans) -> Floats:
        """Return the mean difference (line, unit) of the pairs of `use`."""
        return np.stack([self.difference[use & (self.line == i)].mean(axis=0) for i in range(len(self.lines))])

    def index(self, labels: Booleans) -> Floats:
        """Return the index (labelling, unit) if the pairs across the boundary were `labels` (labelling, pair)."""
        crossing = np.bincount(self.line[self.across])[self.line]
        staying = np.bincount(self.line[~self.across])[self.line]
        between = (labels / crossing) @ self.difference
        within = (~labels / staying) @ self.difference
        total = between + within
        return np.divide(between - within, total, out=np.full_like(total, np.nan), where=total > 0)
