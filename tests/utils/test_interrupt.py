"""Ctrl-C while a command loads its modules ends it quietly; before work begins, there is nothing to continue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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


COMMANDS = {
    "train": ["--task", "dms", "--quick", "--out", "{out}"],
    "pretrain": ["--data", "{out}", "--out", "{out}"],
    "bank": [],
    "compare": ["--tasks", "dms", "--quick", "--out", "{out}"],
    "sweep": ["{config}", "--out", "{out}"],
    "tasks": ["list"],
}
CASES = [
    *((command, "argparse") for command in COMMANDS),
    *((command, "cordstasks.errors") for command in COMMANDS),
    *((command, "numpy") for command in COMMANDS if command not in ("pretrain", "bank")),
    *((command, "torch") for command in ("train", "pretrain", "compare", "sweep")),
]


@pytest.mark.parametrize(("command", "module"), CASES)
def test_ctrl_c_while_modules_are_loaded_is_one_line(command: str, module: str, tmp_path: Path):
    config = tmp_path / "sweep.toml"
    config.write_text('tasks = ["dms"]\nconnectivities = ["full"]\n')
    words = [word.format(out=tmp_path / "out", config=config) for word in COMMANDS[command]]
    ended = interrupted(tmp_path, module, f"cordstasks.{command}", *words)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "\nstopped\n")
    assert not (tmp_path / "out").exists()


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
