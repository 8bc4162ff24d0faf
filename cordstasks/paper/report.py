"""The report of the paper's parts as one HTML file, made from what is in their folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cordstasks.paper.sections import lead_of, sections_of
from cordstasks.utils.html import page
from cordstasks.utils.report_file import write_report_of

__all__ = ["write_paper_report"]


def write_paper_report(folder: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Path:
    """Write the report of the paper: each conclusion with what was measured, the figures, and the commands.

    Parameters
    ----------
    folder : path-like
        What ``python -m cordstasks.paper --out`` names.
    out : path-like, optional
        The HTML file; by default ``report.html`` in the folder.

    Returns
    -------
    pathlib.Path
        The file. It needs nothing beside it. The same folder gives the same bytes.

    Raises
    ------
    InputError
        If there is no ``paper.json``, a file is missing or damaged, or the report cannot be written.
    """
    return write_report_of(
        folder,
        out,
        source="paper.json",
        lacking="parts of the paper (no paper.json); make them first",
        again="remove it and make the parts again",
        page_of=_page,
    )


def _page(results: Mapping[str, Any], folder: Path) -> str:
    return page("The paper's figures from our own runs", sections_of(results, folder), lead=lead_of(results))
