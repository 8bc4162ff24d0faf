"""Ctrl-C while a command loads its modules ends it quietly; before work begins, there is nothing to continue."""

from __future__ import annotations

import ast
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cordstasks.about import commands
from cordstasks.utils.command_line import loading, run_command
from cordstasks.utils.interrupt import stop_at_once, stop_by_exception
from helpers import ROOT

# Python runs it at its start; Ctrl-C comes as a module is loaded that turns exceptions into others, as some of C do
CUSTOMIZE = """
import signal, sys

class Interrupting:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                raise ImportError("caught") from None

sys.meta_path.insert(0, Interrupting)
"""


def interrupted(folder: Path, module: str, *words: object) -> subprocess.CompletedProcess[str]:
    """A command of the package that gets Ctrl-C as it begins to load `module`."""
    (folder / "sitecustomize.py").write_text(CUSTOMIZE.format(module=module))
    paths = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}
    )


WORDS = {  # where a command begins work without any
    "cordstasks.train": ["--task", "dms", "--quick", "--out", "{out}"],
    "cordstasks.pretrain": ["--data", "{out}", "--out", "{out}"],
    "cordstasks.compare": ["--tasks", "dms", "--quick", "--out", "{out}"],
    "cordstasks.sweep": ["{config}", "--out", "{out}"],
    "cordstasks.tasks": ["list"],
    "cordstasks.paper": ["--list"],
}
EVERY = ("cordstasks", *commands())
CASES = [
    *((command, "argparse") for command in EVERY),
    *((command, "cordstasks.errors") for command in EVERY),
    *((command, "numpy") for command in WORDS if command != "cordstasks.pretrain"),
    *((f"cordstasks.{command}", "torch") for command in ("train", "pretrain", "compare", "sweep")),
]


def test_the_commands_are_found():
    assert {*WORDS, "cordstasks.bank"} <= set(EVERY)


@pytest.mark.parametrize(("command", "module"), CASES)
def test_ctrl_c_while_modules_are_loaded_is_one_line(command: str, module: str, tmp_path: Path):
    config = tmp_path / "sweep.toml"
    config.write_text('tasks = ["dms"]\nconnectivities = ["full"]\n')
    words = [word.format(out=tmp_path / "out", config=config) for word in WORDS.get(command, ())]
    ended = interrupted(tmp_path, module, command, *words)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "\nstopped\n")
    assert not (tmp_path / "out").exists()


def unprotected(node: ast.AST, *, late: bool = False) -> Iterator[int]:
    """Lines of a command's source that import modules of the package within functions, and outside ``with loading():``."""
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.With) and any(ast.unparse(item.context_expr) == "loading()" for item in each.items):
            continue
        if late and isinstance(each, ast.ImportFrom) and (each.module or "").startswith("cordstasks"):
            yield each.lineno
        yield from unprotected(each, late=late or isinstance(each, ast.FunctionDef))


@pytest.mark.parametrize("command", EVERY)
def test_late_imports_of_a_command_stop_at_once(command: str):
    spec = importlib.util.find_spec(command)
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin)
    source = (path.with_name("__main__.py") if path.name == "__init__.py" else path).read_text()
    assert list(unprotected(ast.parse(source))) == []


def test_a_late_import_would_be_found():
    source = "def main():\n    from cordstasks import tasks\n    with loading():\n        from cordstasks import rnn\n"
    assert list(unprotected(ast.parse(source))) == [2]


def test_a_program_that_imports_the_package_keeps_its_own_ctrl_c(tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text("import signal, cordstasks.tasks; assert signal.getsignal(2) is signal.default_int_handler\n")
    ended = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (ended.returncode, ended.stderr) == (0, "")


class TestHandler:
    """In this process, where pytest has Python's own handler."""

    def test_it_is_back_when_the_command_begins_and_after_each_import(self):
        seen = []

        def main() -> int:
            seen.append(signal.getsignal(signal.SIGINT))
            with loading():
                seen.append(signal.getsignal(signal.SIGINT))
            seen.append(signal.getsignal(signal.SIGINT))
            return 0

        stop_at_once()
        at_once = signal.getsignal(signal.SIGINT)
        with pytest.raises(SystemExit):
            run_command(main)
        usual = signal.default_int_handler
        assert at_once is not usual
        assert seen == [usual, at_once, usual]

    def test_outside_commands_nothing_changes(self):
        with loading():
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_ignored_signals_stay_ignored(self):
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            stop_at_once()
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            stop_by_exception()
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        finally:
            signal.signal(signal.SIGINT, before)
