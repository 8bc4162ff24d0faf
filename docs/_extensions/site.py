"""Hooks of the documentation: where mkdocstrings finds the code, and the help of the commands.

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
    """Put the help of a command where a line says ``{{ help MODULE [ARGUMENTS] }}``."""
    return re.sub(r"^\{\{ help (\S.*) \}\}$", lambda match: _help(match[1]), markdown, flags=re.MULTILINE)


def _help(command_line: str) -> str:
    command = [sys.executable, "-m", *command_line.split(), "--help"]
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PluginError(f"python -m {command_line} --help failed: {done.stderr}")
    return f"```text\n{done.stdout.rstrip()}\n```"
