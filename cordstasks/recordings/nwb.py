"""Spikes of an NWB file, counted in bins after the start of each trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.errors import InputError

__all__ = ["nwb_fields"]

STIMULUS = ("stimulus_id", "image_id", "stimulus_name", "condition")  # columns of the trials that may name the stimulus
REGION = ("region", "location", "brain_area", "area")  # of the units


def nwb_fields(path: Path, bins_ms: ArrayLike | None) -> dict[str, NDArray[Any]]:
    """Rates in Hz of the units of an NWB file.

    The table of trials needs ``start_time`` (the onset of the stimulus, in s) and a column that names the stimulus; the
    table of units needs spike times.
    """
    if bins_ms is None:
        raise InputError("holds spike times; give the bins in which to count them: bins_ms=[(start, end), ...]")
    edges = np.asarray(bins_ms, dtype=np.float64)
    if edges.ndim != 2 or edges.shape[1:] != (2,) or not np.isfinite(edges).all() or (edges[:, 1] <= edges[:, 0]).any():
        raise InputError(f"bins_ms has shape {edges.shape}; give start and end in ms of each time bin, (time bin, 2)")
    try:
        import pynwb
    except ImportError as error:
        raise InputError("NWB files need pynwb: pip install 'cordstasks[nwb]'") from error
    try:
        with pynwb.NWBHDF5IO(str(path), "r", load_namespaces=True) as stream:
            file = stream.read()
            return _counted(file, edges)
    except InputError:
        raise
    except Exception as error:  # those of pynwb, hdmf and h5py are of many kinds
        raise InputError(f"is not an NWB file that pynwb can read ({' '.join(str(error).split())[:200]})") from error


def _counted(file: Any, edges: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    trials, units = file.trials, file.units
    if trials is None or units is None or "spike_times" not in units.colnames:
        raise InputError("has no table of trials, or no units with spike times")
    stimulus = next((name for name in STIMULUS if name in trials.colnames), None)
    if stimulus is None:
        raise InputError(f"has trials without a column {STIMULUS[0]!r}; they have {', '.join(trials.colnames)}")
    onsets = np.asarray(trials["start_time"][:], dtype=np.float64)
    rates = np.empty((len(onsets), len(edges), len(units)))
    seconds = edges / 1000
    for unit in range(len(units)):
        spikes = np.sort(np.asarray(units["spike_times"][unit], dtype=np.float64))
        first, last = (np.searchsorted(spikes, onsets[:, None] + seconds[None, :, end]) for end in (0, 1))
        rates[:, :, unit] = (last - first) / (seconds[:, 1] - seconds[:, 0])
    fields: dict[str, NDArray[Any]] = {
        "rates": rates,
        "stimulus_id": np.array([str(each) for each in trials[stimulus][:]]),
        "time_bin_start": edges[:, 0],
        "time_bin_end": edges[:, 1],
        "neuroid_id": np.array([str(each) for each in units.id[:]]),
    }
    region = next((name for name in REGION if name in units.colnames), None)
    if region is not None:
        fields["region"] = np.array([str(each) for each in units[region][:]])
    if "object_name" in trials.colnames:
        fields["object_name"] = np.array([str(each) for each in trials["object_name"][:]])
    return fields
