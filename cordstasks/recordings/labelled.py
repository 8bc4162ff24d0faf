"""Recordings as xarray's labelled arrays and as netCDF, with the names of Brain-Score's assemblies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError
from cordstasks.recordings.fields import NEUROID, PRESENTATION, TIME_BIN, fields_of, recording_of
from cordstasks.recordings.recording import Recording

if TYPE_CHECKING:
    import xarray

__all__ = ["from_xarray", "netcdf_bytes", "netcdf_fields", "to_xarray"]

AXES = {"presentation": PRESENTATION, "time_bin": TIME_BIN, "neuroid": NEUROID}
INSTALL = "pip install 'cordstasks[recordings]'"


def to_xarray(recording: Recording) -> xarray.DataArray:
    """A recording as a labelled array, as Brain-Score's assemblies are.

    Parameters
    ----------
    recording : Recording

    Returns
    -------
    xarray.DataArray (presentation, time_bin, neuroid)
        With the coordinates ``stimulus_id``, ``repetition`` and, if known, ``object_name`` of presentations,
        ``time_bin_start`` and ``time_bin_end`` (ms), ``neuroid_id`` and ``region``.

    Raises
    ------
    InputError
        If xarray is not installed.
    """
    library = _xarray()
    fields = fields_of(recording)
    coordinates = {name: (axis, fields[name]) for axis, names in AXES.items() for name in names if name in fields}
    made: xarray.DataArray = library.DataArray(fields["rates"], dims=tuple(AXES), coords=coordinates, name="rates")
    return made


def from_xarray(assembly: xarray.DataArray, *, name: str = "recording") -> Recording:
    """A recording from a labelled array with the names of Brain-Score's assemblies.

    Parameters
    ----------
    assembly : xarray.DataArray
        With the axes ``presentation``, ``time_bin`` and ``neuroid``, in any order; a single time bin may be without an axis.
        ``image_id`` is read as the older name of ``stimulus_id``.
    name : str
        Of the recording.

    Returns
    -------
    Recording
        Without what cannot be used, see `Recording.notes`.

    Raises
    ------
    InputError
        If an axis or coordinate is missing, or nothing usable is left.
    """
    return recording_of(_fields(assembly), name)


def netcdf_fields(path: Path) -> dict[str, NDArray[Any]]:
    """What a netCDF file holds: its only array, or the one called ``rates``.

    Parameters
    ----------
    path : Path
        Of a netCDF 4 file.

    Returns
    -------
    dict of str to array
        ``rates`` (presentation, time bin, unit), and the columns of these axes that it has, by Brain-Score's names.

    Raises
    ------
    InputError
        If xarray is not installed, the file is not netCDF 4, it is not clear which array to read, or an axis is missing.
    """
    library = _xarray()
    try:
        with library.open_dataset(path, engine="h5netcdf") as file:
            arrays = [each for each in file.data_vars if set(file[each].dims) & {"presentation", "neuroid"}]
            chosen = "rates" if "rates" in arrays else arrays[0] if len(arrays) == 1 else None
            if chosen is None:
                raise InputError(
                    f"holds {len(arrays)} arrays with an axis presentation; give one, or call one of them rates"
                )
            loaded = file[chosen].load()
            # coordinates that were saved as plain variables
            others = {each: file[each].load() for each in file.data_vars if each != chosen and len(file[each].dims) == 1}
            return _fields(loaded.assign_coords(others))
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"is not a netCDF 4 file ({' '.join(str(error).split())[:200]})") from error


def netcdf_bytes(recording: Recording) -> memoryview:
    """A recording as the content of a netCDF 4 file.

    Parameters
    ----------
    recording : Recording

    Returns
    -------
    memoryview
        Of the array ``rates``, see `to_xarray`.

    Raises
    ------
    InputError
        If xarray is not installed.
    """
    made = to_xarray(recording).to_dataset()
    content: Any = made.to_netcdf(engine="h5netcdf")
    return memoryview(content)


def _fields(assembly: Any) -> dict[str, NDArray[Any]]:
    if not hasattr(assembly, "dims") or not hasattr(assembly, "coords"):
        raise InputError(f"assembly={type(assembly).__name__}: give an xarray.DataArray")
    plain = assembly.reset_index([name for name in assembly.indexes if name in AXES])
    if "time_bin" not in plain.dims and "time_bin_start" in plain.coords:
        plain = plain.expand_dims("time_bin")
    missing = [axis for axis in AXES if axis not in plain.dims]
    if missing or plain.ndim != 3:
        raise InputError(f"has the axes {', '.join(map(str, plain.dims))}; give presentation, time_bin and neuroid")
    if "stimulus_id" not in plain.coords and "image_id" in plain.coords:
        plain = plain.assign_coords(stimulus_id=plain.coords["image_id"])
    plain = plain.transpose(*AXES)
    fields: dict[str, NDArray[Any]] = {"rates": np.asarray(plain.values)}
    for axis, names in AXES.items():
        for name in names:
            if name in plain.coords:
                fields[name] = np.asarray(plain.coords[name].values).reshape(-1)
    return fields


def _xarray() -> Any:
    try:
        import h5netcdf  # noqa: F401  # what xarray reads and writes netCDF with
        import xarray
    except ImportError as error:
        raise InputError(f"netCDF and labelled arrays need xarray and h5netcdf: {INSTALL}") from error
    return xarray
