"""The results of the paper's parts that the repository keeps: a command that takes them, and a hook that shows them.

``python docs/_extensions/paper_results.py OUT`` takes the finished parts of a folder that ``python -m cordstasks.paper --out
OUT`` made with full settings: their outcomes and drawings are copied to docs/paper-results/. Where a page says
``{{ paper_results }}``, the documentation shows what is there.
"""

from __future__ import annotations

import io
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the page is made from this checkout, whatever is installed

from cordstasks.errors import InputError  # noqa: E402
from cordstasks.paper.parts import OUTCOME, PARTS  # noqa: E402
from cordstasks.paper.sections import lead_of, sections_of  # noqa: E402
from cordstasks.utils.command_line import Parser, named_path, run_command  # noqa: E402
from cordstasks.utils.files import read_json, write_json  # noqa: E402

KEPT = ROOT / "docs" / "paper-results"
LARGEST = 150_000  # bytes of a drawing
NARROWEST = 700  # px of a drawing that is made smaller


def take(out: Path, kept: Path = KEPT, *, made_here: bool = False) -> list[str]:
    """Copy the outcomes and drawings of finished parts; those that were kept before are replaced.

    Parameters
    ----------
    out : Path
        What ``--out`` named.
    kept : Path
        Where they go.
    made_here : bool
        Note this machine in outcomes that do not say where they were made.

    Returns
    -------
    list of str
        The figures.

    Raises
    ------
    InputError
        If no part is finished, one has small settings, or a drawing is missing or too large.
    """
    found = {part.figure: out / part.figure for part in PARTS if (out / part.figure / OUTCOME).is_file()}
    if not found:
        raise InputError(f"out={out}: holds no finished part of the paper; give what --out of the command named")
    outcomes = {figure: read_json(folder / OUTCOME) for figure, folder in found.items()}
    for figure, outcome in outcomes.items():
        if outcome["quick"]:
            raise InputError(
                f"out={out}: figure {figure} has small settings; only full ones are kept, make it without --quick"
            )
    drawings = {  # all before anything is replaced
        figure: {drawing["file"]: _small(found[figure] / drawing["file"]) for drawing in outcome["drawings"]}
        for figure, outcome in outcomes.items()
    }
    for figure, outcome in outcomes.items():
        new = kept / f".{figure}.part"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        for file, content in drawings[figure].items():
            target = new / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        if made_here and "machine" not in outcome:
            from cordstasks.utils.measured import machine_text  # late: it loads torch

            outcome["machine"] = machine_text()
        write_json(new / OUTCOME, outcome)
        shutil.rmtree(kept / figure, ignore_errors=True)
        new.rename(kept / figure)
    return list(found)


def _small(path: Path) -> bytes:
    """A PNG file as it is, or if it is too large, with 256 colours and if need be fewer pixels."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); make this part again") from error
    if len(content) <= LARGEST:
        return content
    with Image.open(io.BytesIO(content)) as opened:
        whole = Image.new("RGB", opened.size, "white")
        whole.paste(opened, mask=opened.getchannel("A") if opened.mode == "RGBA" else None)
    image = whole
    while image.width >= NARROWEST:
        stream = io.BytesIO()
        image.quantize(256).save(stream, format="PNG", optimize=True)
        if stream.tell() <= LARGEST:
            return stream.getvalue()
        image = whole.resize((image.width * 4 // 5, image.height * 4 // 5), Image.Resampling.LANCZOS)
    raise InputError(f"{path}: is above {LARGEST} bytes even with {NARROWEST} px; draw less in it")


def results_of(kept: Path = KEPT) -> dict[str, dict[str, Any]]:
    """By figure, the outcome that is kept, or that there is none yet."""
    results = {}
    for part in PARTS:
        path = kept / part.figure / OUTCOME
        lacking = {"title": part.title, "problem": "not run yet with full settings"}
        results[part.figure] = read_json(path) if path.is_file() else lacking
    return results


def markdown_of(kept: Path = KEPT, address: Callable[[Path], str] = str) -> str:
    """The part of the page that shows what is kept; `address` gives that of a drawing's file."""
    results = results_of(kept)
    blocks = [lead_of(results)]
    for section in sections_of(results, kept, address=address):
        if section.parts:
            blocks += [f"## {section.title}", *(part.html() for part in section.parts)]
    return "\n\n".join(blocks)


def on_page_markdown(markdown: str, *, page: Any, files: Any, **_: Any) -> str:
    """Put the results where a line says ``{{ paper_results }}``."""
    from mkdocs.utils import get_relative_url  # late: the command does not need it

    def address(path: Path) -> str:
        file = files.get_file_from_path(path.relative_to(ROOT / "docs").as_posix())
        return get_relative_url(file.url, page.url)

    return re.sub(r"(?m)^\{\{ paper_results \}\}$", lambda _: markdown_of(address=address), markdown)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = Parser(prog="python docs/_extensions/paper_results.py", description="Keep finished parts of the paper.")
    parser.add_argument("out", type=named_path, help="what --out of python -m cordstasks.paper named")
    parser.add_argument(
        "--made-here", action="store_true", help="note this machine in outcomes that do not say where they were made"
    )
    options = parser.parse_args(arguments)
    figures = take(options.out, made_here=options.made_here)
    print(f"{KEPT.relative_to(ROOT)}: {', '.join(figures)}")
    return 0


if __name__ == "__main__":
    run_command(main)
