"""The report of the paper's parts as one HTML file, made from what is in their folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cordstasks.errors import InputError
from cordstasks.paper.findings import VERDICTS, Outcome
from cordstasks.utils.html import Code, Paragraph, Part, Picture, Section, Table, page
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
    made = {figure: result for figure, result in results.items() if "problem" not in result}
    outcomes = {figure: Outcome.from_dict(result) for figure, result in made.items()}
    rows = [
        [figure, each.claim, each.measured, each.verdict, each.why]
        for figure, outcome in outcomes.items()
        for each in outcome.findings
    ]
    count = ", ".join(f"{sum(row[3] == verdict for row in rows)} {verdict}" for verdict in VERDICTS)
    small = "Small settings: they show the way and say little about the paper. " if _quick(made) else ""
    conclusions = Table(["figure", "the paper's conclusion", "measured", "verdict", "why"], rows)
    sections = [Section("Conclusions", [conclusions] if rows else [])]
    for figure, result in results.items():
        title = f"{figure}: {result['title']}"
        if figure not in outcomes:
            sections.append(Section(title, [Paragraph(f"Not made: {result['problem']}")]))
            continue
        sections.append(Section(title, _part(outcomes[figure], folder / figure, result)))
    return page("The paper's figures from our own runs", sections, lead=f"{small}{len(rows)} conclusions: {count}.")


def _quick(made: Mapping[str, Any]) -> bool:
    return any(result["quick"] for result in made.values())


def _part(outcome: Outcome, folder: Path, result: Mapping[str, Any]) -> list[Part]:
    """What one part found."""
    rows = [[each.claim, each.measured, each.verdict] for each in outcome.findings]
    parts: list[Part] = [Table(["the paper's conclusion", "measured", "verdict"], rows)] if rows else []
    for drawing in outcome.drawings:
        try:
            content = (folder / drawing.file).read_bytes()
        except OSError as error:
            raise InputError(f"{folder / drawing.file}: cannot be read ({error.strerror}); make this part again") from error
        parts.append(Picture(content, drawing.alternative, drawing.caption))
    parts += [Paragraph(note) for note in outcome.notes]
    if outcome.commands:
        parts.append(Code("\n".join(outcome.commands), "commands", wrapped=True))
    seeds = f"Seeds {', '.join(map(str, outcome.seeds))}. " if outcome.seeds else ""
    return [*parts, Paragraph(f"{seeds}It took {result['seconds']:.0f} s with cordstasks {result['version']}.")]
