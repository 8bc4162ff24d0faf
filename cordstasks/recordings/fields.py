"""What all files of recordings hold, under the names of Brain-Score's assemblies, and the checks on reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError
from cordstasks.recordings.recording import Recording

__all__ = ["fields_of", "recording_of"]

PRESENTATION = ("stimulus_id", "repetition", "object_name")
TIME_BIN = ("time_bin_start", "time_bin_end")
NEUROID = ("neuroid_id", "region")
NEEDED = ("stimulus_id", *TIME_BIN)
# rates that vary less than this, relative to the largest, do so by rounding
STILL = 1e-9


def fields_of(recording: Recording) -> dict[str, NDArray[Any]]:
    """The content of a recording by the names that files use.

    Parameters
    ----------
    recording : Recording

    Returns
    -------
    dict of str to ndarray
        ``rates`` (presentation, time_bin, neuroid), and the coordinates of its axes.
    """
    fields: dict[str, NDArray[Any]] = {
        "rates": recording.rates,
        "stimulus_id": recording.stimulus_ids,
        "repetition": recording.repetitions,
        "time_bin_start": recording.bins_ms[:, 0],
        "time_bin_end": recording.bins_ms[:, 1],
        "neuroid_id": recording.unit_ids,
        "region": recording.regions,
    }
    if recording.objects is not None:
        fields["object_name"] = recording.objects
    return fields


def recording_of(fields: Mapping[str, Any], name: str) -> Recording:
    """A recording from the content of a file, without what cannot be used; its notes say what was left out.

    Presentations without any finite value are left out, then units with a value that is not finite, then units that never
    vary. Bins in another order are sorted.

    Parameters
    ----------
    fields : mapping
        As from `fields_of`; the coordinates of units, the repetition and the object may be missing.
    name : str
        Of the recording.

    Returns
    -------
    Recording

    Raises
    ------
    InputError
        If something is missing or does not fit, or nothing is left.
    """
    for each in ("rates", *NEEDED):
        if each not in fields:
            raise InputError(f"lacks {each!r}; it needs rates (presentation, time_bin, neuroid), {', '.join(NEEDED)}")
    rates = np.asarray(fields["rates"])
    if rates.ndim != 3 or not rates.size or rates.dtype.kind not in "fiub":
        raise InputError(
            f"has rates of shape {rates.shape} and type {rates.dtype}; give numbers (presentation, time_bin, neuroid)"
        )
    if rates.dtype.kind == "b":
        rates = rates.astype(np.float64)
    columns: Columns = {
        each: np.asarray(fields[each]).reshape(-1) for each in (*PRESENTATION, *TIME_BIN, *NEUROID) if each in fields
    }
    for axis, names in enumerate((PRESENTATION, TIME_BIN, NEUROID)):
        for each in names:
            if each in columns and len(columns[each]) != rates.shape[axis]:
                raise InputError(
                    f"has {len(columns[each])} values of {each} for an axis of {rates.shape[axis]}: rates has shape "
                    f"{rates.shape}; give (presentation, time_bin, neuroid)"
                )
    columns.setdefault("neuroid_id", np.arange(rates.shape[2]))
    notes: list[str] = []
    rates, columns = _sorted_bins(rates, columns, notes)
    rates, columns = _usable(rates, columns, notes)
    return Recording(
        rates,
        columns["stimulus_id"],
        np.stack([columns["time_bin_start"], columns["time_bin_end"]], axis=1),
        regions=columns.get("region"),  # type: ignore[arg-type]
        unit_ids=columns["neuroid_id"],
        repetitions=columns.get("repetition"),  # type: ignore[arg-type]
        objects=columns.get("object_name"),
        name=name,
        notes=tuple(notes),
    )


Columns = dict[str, NDArray[Any]]


def _sorted_bins(rates: NDArray[Any], columns: Columns, notes: list[str]) -> tuple[NDArray[Any], Columns]:
    starts = columns["time_bin_start"]
    if starts.dtype.kind not in "fiu" or columns["time_bin_end"].dtype.kind not in "fiu":
        raise InputError(f"has time bins of type {starts.dtype}; give their starts and ends in ms")
    order = np.argsort(starts, kind="stable")
    if (order == np.arange(len(order))).all():
        return rates, columns
    notes.append("time bins that were not in order, and have been sorted")
    return rates[:, order], {**columns, **{each: columns[each][order] for each in TIME_BIN}}


def _usable(rates: NDArray[Any], columns: Columns, notes: list[str]) -> tuple[NDArray[Any], Columns]:
    presentations, _, units = rates.shape
    finite = np.isfinite(rates)
    rows = finite.any(axis=(1, 2))
    if not rows.any():
        raise InputError("holds no finite value")
    if not rows.all():
        notes.append(f"presentations without any finite value, left out: {int((~rows).sum())} of {presentations}")
        rates, finite = rates[rows], finite[rows]
    whole = finite.all(axis=(0, 1))
    if not whole.any():
        raise InputError(
            f"holds values that are not finite in each of its {units} units; give the stimuli that all units were shown"
        )
    if not whole.all():
        notes.append(f"units with values that are not finite, left out: {int((~whole).sum())} of {units}")
    kept = rates[:, :, whole]
    varies = np.ptp(kept, axis=(0, 1)) > STILL * np.abs(kept).max(axis=(0, 1))
    if not varies.any():
        raise InputError(f"holds {kept.shape[2]} units, none of which ever varies: nothing can be predicted or compared")
    if not varies.all():
        notes.append(f"units that never vary (silent), left out: {int((~varies).sum())} of {units}")
    which = np.flatnonzero(whole)[varies]
    columns = {
        **columns,
        **{each: columns[each][rows] for each in PRESENTATION if each in columns},
        **{each: columns[each][which] for each in NEUROID if each in columns},
    }
    return kept[:, :, varies], columns
