"""Recordings in MATLAB's files: version 5 by SciPy, version 7.3 by h5py where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError
from cordstasks.recordings.fields import NEUROID, PRESENTATION, TIME_BIN

__all__ = ["matlab_fields"]

NAMES = ("rates", *PRESENTATION, *TIME_BIN, *NEUROID)
HDF5 = b"\x89HDF"
OFFSET = 512  # of the HDF5 signature in a file of version 7.3, after MATLAB's own header


def matlab_fields(path: Path) -> dict[str, NDArray[Any]]:
    """The variables of a MATLAB file that a recording needs, or the fields of a struct that holds ``rates``."""
    with path.open("rb") as stream:
        start = stream.read(OFFSET + 4)
    if HDF5 in (start[:4], start[OFFSET:]):
        return _version_7_3(path)
    from scipy.io import loadmat

    try:
        content = loadmat(path, squeeze_me=False, struct_as_record=False)
    except Exception as error:  # SciPy's errors are of many kinds
        raise InputError(f"is not a MATLAB file that SciPy can read ({' '.join(str(error).split())[:200]})") from error
    if "rates" not in content:
        for value in content.values():
            struct = value.flat[0] if isinstance(value, np.ndarray) and value.dtype == object and value.size == 1 else None
            if hasattr(struct, "rates"):
                content = vars(struct)
                break
    fields = {name: content[name] for name in NAMES if name in content}
    if "rates" in fields:
        fields["rates"] = _three(fields["rates"])
    return {name: value if name == "rates" else _column(value) for name, value in fields.items()}


def _three(rates: NDArray[Any]) -> NDArray[Any]:
    """MATLAB drops a last axis of length 1, so an array of one unit comes with two axes."""
    return rates[..., None] if rates.ndim == 2 else rates


def _column(values: Any) -> NDArray[Any]:
    """A vector of numbers or texts: cells hold one text each, a matrix of characters one text a row."""
    array = np.asarray(values)
    if array.dtype == object:
        return np.array([str(np.asarray(each).reshape(-1)[0]) if np.size(each) else "" for each in array.reshape(-1)])
    return array.reshape(-1)


def _version_7_3(path: Path) -> dict[str, NDArray[Any]]:
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            "is a MATLAB file of version 7.3; pip install 'cordstasks[recordings]' to read it, or save it with -v7"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            group: Any = file
            if "rates" not in file:
                group = next((each for each in file.values() if isinstance(each, h5py.Group) and "rates" in each), file)
            return {name: _from_hdf5(file, group[name]) for name in NAMES if name in group}
    except OSError as error:
        raise InputError(f"is not a MATLAB file that h5py can read ({' '.join(str(error).split())[:200]})") from error


def _from_hdf5(file: Any, data: Any) -> NDArray[Any]:
    """An array as MATLAB has it: its axes are stored in reverse, and texts as numbers of characters."""
    values = data[()]
    kind = data.attrs.get("MATLAB_class", b"")
    if kind == b"cell":
        return np.array([_characters(file[reference][()]) for reference in values.T.reshape(-1)])
    if kind == b"char":
        return np.array([_characters(row[:, None]) for row in values.T])
    turned: NDArray[Any] = np.transpose(values)
    return turned if data.name.endswith("/rates") and turned.ndim == 3 else _squeezed(data.name, turned)


def _squeezed(name: str, values: NDArray[Any]) -> NDArray[Any]:
    return _three(values) if name.endswith("/rates") else values.reshape(-1)


def _characters(codes: NDArray[Any]) -> str:
    if codes.dtype.kind not in "ui":
        return str(codes.reshape(-1)[0])
    return "".join(chr(int(code)) for code in codes.reshape(-1)).strip("\x00 ")
