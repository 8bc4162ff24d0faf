"""Hooks of the documentation: where mkdocstrings finds the code, and parts of pages that are made from other files.

mkdocstrings reads sources without importing them, so it cannot follow the rule that puts stimuli/, tasks/ and
analysis/ on the package's path. It is given a copy in which they stand inside cordstasks/, as an installation has them.
The site is thus always made from this checkout, whatever is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority

ROOT = Path(__file__).resolve().parents[2]
_copy = tempfile.TemporaryDirectory(prefix="cordstasks-docs-")  # removed when the process ends


@event_priority(100)  # ahead of mkdocstrings, which reads its settings on the same occasion
def on_config(config: Any) -> Any:
    """Copy the sources and tell mkdocstrings where they are."""
    package = Path(_copy.name) / "cordstasks"
    shutil.rmtree(package, ignore_errors=True)  # `mkdocs serve` comes here again after every change
    sources = shutil.ignore_patterns("__pycache__", "weights")
    shutil.copytree(ROOT / "cordstasks", package, ignore=sources)
    for folder in ("stimuli", "tasks", "analysis"):
        shutil.copytree(ROOT / folder, package / folder, ignore=sources)
    config["plugins"]["mkdocstrings"].config["handlers"]["python"]["paths"] = [_copy.name]
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace lines that stand for something else.

    ``{{ help MODULE [ARGUMENTS] }}`` is the help of a command, ``{{ include FILE }}`` a file of the repository without its
    title, ``{{ pipeline }}`` the picture of the start page, and ``{{ bibtex }}`` the references of CITATION.cff.
    """
    for pattern, made in (
        (r"help (\S.*)", lambda match: _help(match[1])),
        (r"include (\S+)", lambda match: (ROOT / match[1]).read_text(encoding="utf-8").partition("\n")[2]),
        (r"pipeline", lambda _: _pipeline()),
        (r"bibtex", lambda _: _bibtex()),
    ):
        markdown = re.sub(rf"(?m)^\{{\{{ {pattern} \}}\}}$", made, markdown)
    return markdown


def _pipeline() -> str:
    """Both pictures; the style sheet shows the one that fits the screen."""
    parts = []
    for kind in ("wide", "tall"):
        drawing = (ROOT / "docs" / "images" / f"pipeline-{kind}.svg").read_text(encoding="utf-8")
        parts.append(f'<div class="only-{kind}">{drawing.strip()}</div>')
    return "\n".join(parts)


def _bibtex() -> str:
    """The software and the references of CITATION.cff."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    entries = [_entry(each) for each in (citation, *citation["references"])]
    return "```bibtex\n" + "\n\n".join(entries) + "\n```"


def _entry(source: dict[str, Any]) -> str:
    """One reference in BibTeX."""
    kind = {"article": "article", "conference-paper": "inproceedings"}.get(source["type"], "software")
    authors = [f"{each['family-names']}, {each['given-names']}" for each in source["authors"] if "family-names" in each]
    fields = {
        "title": f"{{{' '.join(source['title'].split())}}}",
        "author": " and ".join(authors) or " and ".join(f"{{{each['name']}}}" for each in source["authors"]),
        "journal": source.get("journal"),
        "booktitle": source.get("collection-title"),
        "volume": source.get("volume"),
        "number": source.get("issue"),
        "pages": f"{source['start']}--{source['end']}" if "start" in source else None,
        "year": source.get("year"),
        "version": source.get("version"),
        "doi": source.get("doi"),
    }
    first = re.sub(r"\W", "", (source["authors"][0].get("family-names") or source["title"]).lower())
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value is not None]
    return "\n".join([f"@{kind}{{{first}{source.get('year', '')},", *lines, "}"])


def _help(command_line: str) -> str:
    command = [sys.executable, "-m", *command_line.split(), "--help"]
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PluginError(f"python -m {command_line} --help failed: {done.stderr}")
    return f"```text\n{done.stdout.rstrip()}\n```"
