"""Trials grouped by any columns of a table of conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.analysis._checks import column, same_trials
from cordstasks.errors import InputError


def combinations_of(
    conditions: Mapping[str, ArrayLike], trials: int, partner: str, *, reserved: tuple[str, ...] = ()
) -> tuple[list[dict[str, Any]], NDArray[np.intp]]:
    """Return the combinations of conditions that occur, sorted, and the index of each trial's (trial,)."""
    if not conditions:
        raise InputError("conditions has no columns; give one or more, such as {'number': numbers}")
    codes, values = [], []
    for name, given in conditions.items():
        if name in reserved:
            raise InputError(f"conditions has a column {name!r}, which is a column of the result; give it another name")
        array = column(name, given)
        same_trials(name, array, trials, partner)
        seen, code = np.unique(array, return_inverse=True)
        values.append(seen)
        codes.append(code)
    rows, group = np.unique(np.stack(codes, axis=1), axis=0, return_inverse=True)
    table = [{name: seen[i].item() for name, seen, i in zip(conditions, values, row, strict=True)} for row in rows]
    return table, group.reshape(-1)
