"""Making parts of the paper one after another, resumably, and the table of what they found."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

import cordstasks
from cordstasks.errors import InputError
from cordstasks.paper.findings import VERDICTS, Finding, Outcome
from cordstasks.paper.parts import OUTCOME, PARTS, Part, Workplace, chosen
from cordstasks.utils.files import read_json, writable_folder, write_json
from cordstasks.utils.folders import locked
from cordstasks.utils.interrupt import Interrupted
from cordstasks.utils.measured import machine_text
from cordstasks.utils.parallel import end_processes

__all__ = ["made_before", "reproduce", "table"]


def reproduce(parts: Sequence[Part], out: str | Path, workplace: Workplace) -> dict[str, Any]:
    """Make parts of the paper; those that are finished in the folder are not made again.

    Parameters
    ----------
    parts : sequence of Part
        What to make, see `cordstasks.paper.parts.chosen`.
    out : str or Path
        Folder in which each part has a folder of its own.
    workplace : Workplace
        How to make them.

    Returns
    -------
    dict of str to object
        By figure, the outcome and its seconds. ``paper.json`` holds these, and what the folder held of other figures.

    Raises
    ------
    InputError
        If the folder holds parts with other settings or cannot be written, or all parts fail.
    Interrupted
        After Ctrl-C; the same call continues.
    """
    out = writable_folder(Path(out), "out")
    results: dict[str, Any] = {}
    for part in parts:  # not after the hours of those before it
        _earlier(part, out / part.figure, workplace)
    with locked(out, "out"):
        try:
            for part in tqdm(parts, desc="paper", unit="part", leave=False):
                results[part.figure] = _made(part, out / part.figure, workplace)
                write_json(out / "paper.json", _with_others(results, out))
        except KeyboardInterrupt as stop:
            raise Interrupted(f"the same command, from {out}") from stop
    problems = [result["problem"] for result in results.values() if "problem" in result]
    if problems and len(problems) == len(results):
        raise InputError(problems[0])
    return results


def _with_others(results: dict[str, Any], out: Path) -> dict[str, Any]:
    """The results, and those that the folder holds of other figures, in the order of the paper."""
    others = [part.figure for part in PARTS if part.figure not in results and (out / part.figure / OUTCOME).exists()]
    found = {figure: read_json(out / figure / OUTCOME) for figure in others} | results
    order = [part.figure for part in PARTS]
    return dict(sorted(found.items(), key=lambda each: order.index(each[0]) if each[0] in order else len(order)))


def made_before(figure: str, out: Path, workplace: Workplace) -> dict[str, Any]:
    """A figure whose runs another figure needs: the one in the folder, or a new one.

    Parameters
    ----------
    figure : str
        Its number.
    out : Path
        Folder in which each part has a folder of its own.
    workplace : Workplace
        How to make it.

    Returns
    -------
    dict of str to object
        Its outcome.

    Raises
    ------
    InputError
        If it cannot be made, or was made with other settings.
    """
    (part,) = chosen([figure])
    found = _made(part, out / figure, workplace)
    if "problem" in found:
        raise InputError(found["problem"])
    return found


def _earlier(part: Part, folder: Path, workplace: Workplace) -> dict[str, Any] | None:
    """The outcome that a folder holds, if any; it must be one of these settings."""
    if not (folder / OUTCOME).exists():
        return None
    found: dict[str, Any] = read_json(folder / OUTCOME)
    if found["quick"] != workplace.quick:
        which = "small" if found["quick"] else "full"
        raise InputError(f"out={folder.parent}: holds figure {part.figure} with {which} settings; use another folder")
    return found


def _made(part: Part, folder: Path, workplace: Workplace) -> dict[str, Any]:
    """The outcome of one part, made or found; what a user can mend is a problem of this part alone."""
    found = _earlier(part, folder, workplace)
    if found is not None:
        return found
    lacking = part.lacks(workplace)
    if lacking:
        return {"title": part.title, "problem": f"{lacking[0]}=None: figure {part.figure} needs it; give a folder"}
    try:
        for figure in part.uses:  # before the clock starts: their time is their own
            made_before(figure, folder.parent, workplace)
    except InputError as error:
        return {"title": part.title, "problem": str(error)}
    clock = _Clock(folder / "seconds.json")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        outcome = part.make(folder, workplace)
        end_processes()  # the clock counts those that have ended
    except InputError as error:  # the other parts can still be made
        return {"title": part.title, "problem": str(error)}
    finally:
        clock.write()
    result = {
        "title": part.title,
        "quick": workplace.quick,
        "version": cordstasks.__version__,
        "machine": machine_text(),
        **clock.read(),
        **outcome.as_dict(),
    }
    write_json(folder / OUTCOME, result)
    return result


class _Clock:
    """Seconds that a part takes, of the clock and of the processor, over all commands that worked on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before: dict[str, float] = read_json(path) if path.exists() else {"seconds": 0.0, "processor_seconds": 0.0}
        self.began = self._now()

    @staticmethod
    def _now() -> dict[str, float]:
        return {"seconds": time.monotonic(), "processor_seconds": sum(os.times()[:4])}  # with processes that have ended

    def read(self) -> dict[str, float]:
        """Seconds so far; a folder of an earlier version has none of the processor."""
        now = self._now()
        return {name: value + now[name] - self.began[name] for name, value in self.before.items()}

    def write(self) -> None:
        """Keep them for the next command."""
        write_json(self.path, self.read())


def table(results: dict[str, Any]) -> str:
    """What the parts found, as lines to print.

    Parameters
    ----------
    results : dict of str to object
        What `reproduce` returned.

    Returns
    -------
    str
        For each part its title and seconds, and for each finding the claim, the measurement and the verdict.
    """
    lines = []
    for figure, result in results.items():
        if "problem" in result:
            lines += [f"{figure}  {result['title']}: not made: {result['problem']}", ""]
            continue
        lines.append(f"{figure}  {result['title']} ({result['seconds']:.0f} s)")
        for finding in Outcome.from_dict(result).findings:
            lines += [f"    {finding.verdict:<15} {finding.claim}", f"    {'':<15} {finding.measured}"]
        lines.append("")
    findings = [finding for result in results.values() for finding in result.get("findings", ())]
    return "\n".join([*lines, _counts([Finding(**finding) for finding in findings])])


def _counts(findings: Sequence[Finding]) -> str:
    if not findings:
        return "no conclusions"
    counts = {verdict: sum(finding.verdict == verdict for finding in findings) for verdict in VERDICTS}
    listed = ", ".join(f"{verdict} {number}" for verdict, number in counts.items())
    return f"conclusions: {listed}, in all {len(findings)}"
