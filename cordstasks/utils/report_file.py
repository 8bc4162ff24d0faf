"""Writing the report of a folder from the JSON file in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cordstasks.errors import InputError
from cordstasks.utils.arguments import path_of
from cordstasks.utils.files import read_json, write_bytes
from cordstasks.utils.states import restoring

__all__ = ["REPORT", "write_report_of"]

REPORT = "report.html"


def write_report_of(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str] | None,
    *,
    source: str,
    lacking: str,
    again: str,
    page_of: Callable[[dict[str, Any], Path], str],
) -> Path:
    """Write the page that a folder's results make.

    Parameters
    ----------
    folder : path-like
        Folder of the results.
    out : path-like or None
        The HTML file; None for ``report.html`` in the folder.
    source : str
        Name of the JSON file in the folder that holds the results.
    lacking : str
        The end of the error if there is no such file: what the folder does not hold, and the fix.
    again : str
        The fix if the file lacks something.
    page_of : callable
        Takes the content of the file and the folder, and gives the page.

    Returns
    -------
    pathlib.Path
        The file that was written.

    Raises
    ------
    InputError
        If there are no results, a file of them is damaged, or the report cannot be written.
    """
    path = path_of("folder", folder)
    target = path / REPORT if out is None else path_of("out", out)
    if not (path / source).is_file():
        raise InputError(f"folder={str(folder)!r}: holds no {lacking}")
    results = read_json(path / source)
    with restoring(path / source, again):
        content = page_of(results, path)
    write_bytes(target, content.encode())
    return target
