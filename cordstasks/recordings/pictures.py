"""The pictures that were shown in a recording, by stimulus id."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cordstasks.errors import InputError
from cordstasks.stimuli.pictures import SUFFIXES, picture_files, read_picture
from cordstasks.utils.arguments import path_of

__all__ = ["picture_paths", "read_pictures"]


def picture_paths(folder: str | os.PathLike[str], stimulus_ids: Sequence[str]) -> list[Path | None]:
    """The picture file of each stimulus, None where there is none.

    A file is that of a stimulus if its name, with or without the ending, is the stimulus's id. If the folder holds one table
    (CSV) with the columns ``stimulus_id`` and ``file``, or Brain-Score's ``filename``, it says which file is whose.

    Parameters
    ----------
    folder : path-like
        Where the pictures are; folders in it are searched, too.
    stimulus_ids : sequence of str

    Returns
    -------
    list of Path or None

    Raises
    ------
    InputError
        If there is no such folder, it holds no picture, two files are named like one stimulus, or a table cannot be read.
    """
    place = path_of("stimuli", folder)
    if not place.is_dir():
        raise InputError(f"stimuli={place}: there is no such folder")
    files = picture_files(place)
    if not files:
        raise InputError(f"stimuli={place}: holds no pictures ({', '.join(SUFFIXES)})")
    known: dict[str, list[Path]] = {}
    for file in files:
        for name in {file.name, file.stem}:
            known.setdefault(name, []).append(file)
    listed = _table(place)
    found: list[Path | None] = []
    for each in stimulus_ids:
        named = listed.get(each, each)
        candidates = known.get(named, known.get(Path(named).name, []))
        if len(candidates) > 1:
            raise InputError(f"stimuli={place}: {candidates[0]} and {candidates[1]} are both named like stimulus {each!r}")
        found.append(candidates[0] if candidates else None)
    return found


def read_pictures(folder: str | os.PathLike[str], stimulus_ids: Sequence[str]) -> list[NDArray[np.uint8]]:
    """The pictures of some stimuli.

    Parameters
    ----------
    folder : path-like
        See `picture_paths`.
    stimulus_ids : sequence of str
        Each must have a picture.

    Returns
    -------
    list of uint8 arrays (height, width, 3)
        In the order of the ids; sizes may differ.

    Raises
    ------
    InputError
        If a picture is missing or cannot be read.
    """
    paths = picture_paths(folder, stimulus_ids)
    missing = [each for each, path in zip(stimulus_ids, paths, strict=True) if path is None]
    if missing:
        raise InputError(
            f"stimuli={os.fspath(folder)}: {len(missing)} of {len(paths)} stimuli have no picture, such as {missing[0]!r}; "
            "name files like the stimulus ids, or give a table (CSV) with the columns stimulus_id and file"
        )
    return [read_picture(path) for path in paths if path is not None]


def _table(folder: Path) -> dict[str, str]:
    """The file of each stimulus, from the folder's table, if it has one."""
    for path in sorted(each for each in folder.glob("*.csv") if each.is_file()):
        try:
            with path.open(newline="", encoding="utf-8-sig") as stream:
                reader = csv.DictReader(stream)
                header = reader.fieldnames or ()
                column = next((name for name in ("file", "filename", "image_file_name") if name in header), None)
                if "stimulus_id" in header and column is not None:
                    return _listed(path, [(row["stimulus_id"], row[column] or "") for row in reader if row["stimulus_id"]])
        except UnicodeDecodeError as error:
            raise InputError(f"stimuli={folder}: its table {path.name} is not in UTF-8; save it as CSV UTF-8") from error
        except (OSError, csv.Error) as error:
            raise InputError(f"stimuli={folder}: its table {path.name} cannot be read ({error}); correct it") from error
        if "stimulus_id" not in header and any("stimulus_id" in name for name in header):
            raise InputError(
                f"stimuli={folder}: its table {path.name} has the column {header[0]!r}; give stimulus_id and file, "
                "separated by commas without spaces"
            )
    return {}


def _listed(path: Path, rows: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The file of each stimulus; each has one."""
    files: dict[str, str] = {}
    for stimulus, file in rows:
        if files.setdefault(stimulus, file) != file:
            raise InputError(
                f"stimuli={path.parent}: its table {path.name} has {files[stimulus]} and {file} for the stimulus "
                f"{stimulus!r}; give one"
            )
    return files
