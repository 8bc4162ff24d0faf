"""What the parts of the paper found, as sections of a page, for the report and the documentation. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cordstasks.errors import InputError
from cordstasks.paper.findings import VERDICTS, Outcome
from cordstasks.paper.parts import PARTS
from cordstasks.utils.html import Code, Paragraph, Part, Picture, Section, Table

__all__ = ["command_of", "lead_of", "sections_of"]

SMALL = "Small settings: they show the way and say little about the paper. "


def lead_of(results: Mapping[str, Mapping[str, Any]]) -> str:
    """How many conclusions have which verdict, and which parts are not made.

    Parameters
    ----------
    results : mapping of str to mapping
        By figure, what ``paper.json`` holds.

    Returns
    -------
    str
        Two or three sentences.
    """
    verdicts = [row["verdict"] for result in results.values() for row in result.get("findings", ())]
    counts = ", ".join(f"{verdict} {verdicts.count(verdict)}" for verdict in VERDICTS)
    small = SMALL if any(result.get("quick") for result in results.values()) else ""
    lacking = [figure for figure, result in results.items() if "problem" in result]
    others = f" Not made: {', '.join(lacking)}." if lacking else ""
    return f"{small}Conclusions: {counts}, in all {len(verdicts)}.{others}"


def sections_of(
    results: Mapping[str, Mapping[str, Any]], folder: Path, *, address: Callable[[Path], str] | None = None
) -> list[Section]:
    """The conclusions of all parts in one table, a section for each part that is made, and a table of the others.

    Parameters
    ----------
    results : mapping of str to mapping
        By figure, what ``paper.json`` holds.
    folder : Path
        Folder of the parts' folders, in which the drawings are.
    address : callable, optional
        Gives the address of a drawing's file, for a page that has the files beside it. By default the page holds the files.

    Returns
    -------
    list of Section
        Those without content are to be left out.

    Raises
    ------
    InputError
        If a drawing cannot be read.
    """
    rows = [
        [figure, row["claim"], row["verdict"]] for figure, result in results.items() for row in result.get("findings", ())
    ]
    sections = [Section("Conclusions", [Table(["figure", "the paper's conclusion", "verdict"], rows)] if rows else [])]
    sections += [
        Section(f"{figure}: {result['title']}", _part(figure, result, folder / figure, address))
        for figure, result in results.items()
        if "problem" not in result
    ]
    lacking = [[figure, result["title"], result["problem"]] for figure, result in results.items() if "problem" in result]
    return [*sections, Section("Not made", [Table(["figure", "what", "why not"], lacking)] if lacking else [])]


def command_of(figure: str, *, quick: bool = False) -> str:
    """The command that makes a part.

    Parameters
    ----------
    figure : str
        Its number.
    quick : bool, default False
        Whether with small settings.

    Returns
    -------
    str
        Such as ``"python -m cordstasks.paper --figures 3 --images DIR"``.
    """
    needs = next((part.needs for part in PARTS if part.figure == figure), ())
    words = [f"--figures {figure}", *(f"--{name} DIR" for name in needs), *(["--quick"] if quick else [])]
    return " ".join(["python -m cordstasks.paper", *words])


def _part(figure: str, result: Mapping[str, Any], folder: Path, address: Callable[[Path], str] | None) -> list[Part]:
    """What one part found."""
    outcome = Outcome.from_dict(result)
    rows = [[each.claim, each.measured, each.verdict, each.why] for each in outcome.findings]
    parts: list[Part] = [Table(["the paper's conclusion", "measured", "verdict", "rule"], rows)] if rows else []
    for drawing in outcome.drawings:
        path = folder / drawing.file
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); make this part again") from error
        parts.append(Picture(content, drawing.alternative, drawing.caption, "" if address is None else address(path)))
    parts += [Paragraph(f"{note[0].upper()}{note[1:]}.".replace("..", ".")) for note in outcome.notes if note]
    parts.append(Code(command_of(figure, quick=result["quick"]), "command", wrapped=True))
    if outcome.commands:
        parts += [Paragraph("Or step by step:"), Code("\n".join(outcome.commands), "steps", wrapped=True)]
    seeds = f"Seeds {', '.join(map(str, outcome.seeds))}. " if outcome.seeds else ""
    return [*parts, Paragraph(f"{seeds}It took {_took(result)} with cordstasks {result['version']}{_machine(result)}.")]


def _took(result: Mapping[str, Any]) -> str:
    """The time that a part took, and that of the processor if it is known."""
    seconds, own = result["seconds"], result.get("processor_seconds")
    return _duration(seconds) if own is None else f"{_duration(seconds)} ({_duration(own)} of the processor's time)"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def _machine(result: Mapping[str, Any]) -> str:
    return f", on {result['machine']}" if "machine" in result else ""
