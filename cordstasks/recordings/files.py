"""Reading and writing recordings; the ending of a file's name says its format."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.errors import InputError, unknown
from cordstasks.recordings.fields import NEEDED, NEUROID, PRESENTATION, TIME_BIN, fields_of, recording_of
from cordstasks.recordings.recording import Recording
from cordstasks.utils.arguments import path_of
from cordstasks.utils.files import write_bytes

__all__ = ["read", "write"]

Fields = dict[str, NDArray[Any]]
TABLES = {"presentation": PRESENTATION, "time_bin": TIME_BIN, "neuroid": NEUROID}  # beside a .npy file, by axis
ENDINGS = (".npz", ".npy", ".mat", ".nc", ".nwb")


def read(path: str | os.PathLike[str], *, bins_ms: ArrayLike | None = None) -> Recording:
    """Read a recording, and leave out what cannot be used; `Recording.notes` says what.

    ``.npz`` and ``.mat`` files hold an array ``rates`` (presentation, time_bin, neuroid) and one array for each coordinate,
    with the names of Brain-Score's assemblies: ``stimulus_id``, and optionally ``repetition`` and ``object_name``, of each
    presentation; ``time_bin_start`` and ``time_bin_end`` in ms; optionally ``neuroid_id`` and ``region``. A ``.npy`` file
    holds the rates alone, and ``NAME.presentation.csv``, ``NAME.time_bin.csv`` and, optionally, ``NAME.neuroid.csv`` beside
    it hold these columns. A ``.nc`` file (netCDF 4) is an assembly of Brain-Score or of `to_xarray`. Of an ``.nwb`` file,
    spikes are counted in bins.

    Parameters
    ----------
    path : path-like
        A file whose name ends in .npz, .npy, .mat, .nc or .nwb. MATLAB's version 7.3, netCDF and NWB need the extras
        ``cordstasks[recordings]`` and ``cordstasks[nwb]``.
    bins_ms : (time bin, 2), optional
        Of an ``.nwb`` file: start and end of the bins in which spikes are counted, in ms after the start of each trial.

    Returns
    -------
    Recording
        Its name is the file's.

    Raises
    ------
    InputError
        If the file cannot be read, lacks something, its time bins overlap, or nothing usable is left.
    """
    file = path_of("path", path)
    ending = file.suffix.lower()
    if ending not in ENDINGS:
        raise unknown("ending of a recording's file", file.name, ENDINGS)
    if bins_ms is not None and ending != ".nwb":
        raise InputError(f"bins_ms: {file} has time bins of its own; bins are given for .nwb files alone")
    with _about(file):
        if not file.is_file():
            raise InputError("there is no such file; correct the path")
        if ending == ".nwb":
            from cordstasks.recordings.nwb import nwb_fields

            fields = nwb_fields(file, bins_ms)
        else:
            fields = _readers()[ending](file)
        return recording_of(fields, file.stem)


def write(recording: Recording, path: str | os.PathLike[str]) -> None:
    """Write a recording; the ending of the file's name says its format.

    Parameters
    ----------
    recording : Recording
    path : path-like
        A file whose name ends in .npz, .npy (tables are written beside it), .mat (version 5) or .nc (netCDF 4); one that
        exists is replaced.

    Raises
    ------
    InputError
        If the ending is another, or the file cannot be written.
    """
    file = path_of("path", path)
    writers: dict[str, Callable[[Recording, Path], None]] = {
        ".npz": _write_npz,
        ".npy": _write_npy,
        ".mat": _write_mat,
        ".nc": _write_netcdf,
    }
    if file.suffix.lower() not in writers:
        raise unknown("ending of a recording's file", file.name, writers)
    if not isinstance(recording, Recording):
        raise InputError(f"recording={type(recording).__name__}: give a Recording")
    writers[file.suffix.lower()](recording, file)


def _readers() -> dict[str, Callable[[Path], Fields]]:
    from cordstasks.recordings.labelled import netcdf_fields
    from cordstasks.recordings.matlab import matlab_fields

    return {".npz": _npz_fields, ".npy": _npy_fields, ".mat": matlab_fields, ".nc": netcdf_fields}


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """Put the file's name before error messages from this block."""
    try:
        yield
    except InputError as error:
        raise InputError(f"recording={path}: {error}") from error


def _npz_fields(path: Path) -> Fields:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not hasattr(archive, "files"):
                raise InputError("is one array; name it .npy, and give tables beside it")
            return {each: archive[each] for each in archive.files}
    except InputError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy have errors of many kinds
        raise InputError(f"is not a .npz archive of arrays of numbers and texts ({_reason(error)})") from error


def _npy_fields(path: Path) -> Fields:
    try:
        rates = np.load(path, allow_pickle=False)
    except Exception as error:
        raise InputError(f"is not an array saved by numpy.save ({_reason(error)})") from error
    if not isinstance(rates, np.ndarray):
        rates.close()
        raise InputError("is an archive of arrays; name it .npz")
    fields: Fields = {"rates": rates}
    for axis, names in TABLES.items():
        table = path.with_name(f"{path.stem}.{axis}.csv")
        if table.is_file():
            fields |= _columns(table, names)
        elif axis != "neuroid":
            needed = ", ".join(each for each in names if each in NEEDED)
            raise InputError(f"needs the table {table.name} beside it, with a row for each {axis}: {needed}")
    return fields


def _columns(table: Path, names: tuple[str, ...]) -> Fields:
    """The known columns of a table."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows = list(reader)
            header = list(reader.fieldnames or ())
    except UnicodeDecodeError as error:
        raise InputError(f"its table {table.name} is not in UTF-8 ({_reason(error)}); save it as CSV UTF-8") from error
    except (OSError, csv.Error) as error:
        raise InputError(f"its table {table.name} cannot be read ({_reason(error)})") from error
    found: Fields = {}
    for name in names:
        if name not in header:
            if name in NEEDED:
                raise InputError(
                    f"its table {table.name} has no column {name!r}; it has {', '.join(header) or 'none'}: "
                    "give it, and separate columns by commas without spaces"
                )
            continue
        texts = [row[name] or "" for row in rows]
        found[name] = np.array(texts, dtype=np.str_)
        if name in (*TIME_BIN, "repetition"):
            try:
                found[name] = np.array(texts, dtype=np.float64)
            except ValueError as error:
                raise InputError(f"its table {table.name} has {name} that is no number ({_reason(error)})") from error
    return found


def _write_npz(recording: Recording, path: Path) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **fields_of(recording))
    write_bytes(path, content.getbuffer())


def _write_npy(recording: Recording, path: Path) -> None:
    fields = fields_of(recording)
    content = io.BytesIO()
    np.save(content, fields["rates"], allow_pickle=False)
    write_bytes(path, content.getbuffer())
    for axis, names in TABLES.items():
        present = [name for name in names if name in fields]
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(present)
        writer.writerows(zip(*(fields[name].tolist() for name in present), strict=True))
        write_bytes(path.with_name(f"{path.stem}.{axis}.csv"), text.getvalue().encode())


def _write_mat(recording: Recording, path: Path) -> None:
    from scipy.io import savemat

    content = io.BytesIO()
    cells = {k: v.astype(object) if v.dtype.kind == "U" else v for k, v in fields_of(recording).items()}
    savemat(content, cells, oned_as="column")
    write_bytes(path, content.getbuffer())


def _write_netcdf(recording: Recording, path: Path) -> None:
    from cordstasks.recordings.labelled import netcdf_bytes

    write_bytes(path, netcdf_bytes(recording))


def _reason(error: BaseException) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())[:200] or type(error).__name__
