"""The report of a comparison of networks as one HTML file, made from what is in its folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cordstasks.runs.page import MACHINE, picture
from cordstasks.utils.html import Code, Fold, Paragraph, Part, Section, page, tables_of
from cordstasks.utils.report_file import write_report_of

__all__ = ["write_comparison_report"]

TABLES = {  # keys of a task's part of the summary, and what they are called
    "closer_to_full": "distance of convolutional networks to full ones, less that of others (negative: closer)",
    "table": "shape distances and canonical correlations of kinds of networks, and the same with shuffled conditions",
    "networks": "networks that were trained",
}


def write_comparison_report(folder: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Path:
    """Write the report of a comparison: for each task its tables and figures, and the command that made them.

    Parameters
    ----------
    folder : path-like
        What ``python -m cordstasks.compare --out`` names.
    out : path-like, optional
        The HTML file; by default ``report.html`` in the folder.

    Returns
    -------
    pathlib.Path
        The file. It needs nothing beside it. The same folder gives the same bytes.

    Raises
    ------
    InputError
        If there is no finished comparison, a file of it is damaged, or the report cannot be written.
    """
    return write_report_of(
        folder,
        out,
        source="summary.json",
        lacking="finished comparison (no summary.json); finish it first",
        again="make the comparison again",
        page_of=_page,
    )


def _page(summary: Mapping[str, Any], path: Path) -> str:
    found = summary["tasks"]
    machine = {name: summary["environment"][name] for name in MACHINE if name in summary["environment"]}
    sections = [Section(task, _task(result, path / task)) for task, result in found.items()]
    repeat: list[Part] = [Code(summary["command"], "command", wrapped=True)] if "command" in summary else []
    sections += [
        Section("How to repeat it", [*repeat, Paragraph(f"It took {summary['seconds']:.0f} s.")]),
        Section("Machine and versions", tables_of(machine)),
    ]
    compared = [task for task, result in found.items() if "problem" not in result]
    lead = f"Networks compared on {len(compared)} of {len(found)} tasks: {', '.join(compared)}."
    return page("Comparison of trained networks", sections, lead=lead)


def _task(result: Mapping[str, Any], folder: Path) -> list[Part]:
    """What was found on one task."""
    if "problem" in result:
        return [Paragraph(f"Not compared: {result['problem']}")]
    parts: list[Part] = []
    for name, title in TABLES.items():
        if result[name]:
            parts += tables_of({title: result[name]})
    parts += [picture(path) for path in sorted(folder.glob("*.png"))]
    rest = {name: value for name, value in result.items() if name not in TABLES}
    return [*parts, Fold("how they were compared", tables_of(rest))]
