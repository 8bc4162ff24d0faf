"""The command that runs all benchmarks, on benchmarks of its own; and the line about the machine."""

from __future__ import annotations

import csv
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from cordstasks.errors import InputError
from cordstasks.utils import measured
from cordstasks.utils.interrupt import Interrupted
from cordstasks.utils.measured import machine_line, note_number, processor
from helpers import ROOT

GOOD = """
import sys
from cordstasks.utils.measured import machine_line, note_number
print(machine_line(), *sys.argv[1:])
note_number("a step", 2.5, "ms", ratio=4.0, beside="a loop")
note_number("frames", 1234.5, "per s")
"""
BAD = "raise SystemExit('no such file')"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The command's module, with two benchmarks of its own."""
    made = loaded()
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "bad.py").write_text(BAD)
    monkeypatch.setattr(made, "HERE", tmp_path)
    monkeypatch.setattr(made, "BENCHMARKS", {"bad": ("", ""), "good": ("--whole", "--small")})
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return made


@pytest.fixture
def command(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["all.py", *map(str, arguments)])
        return int(module.main())

    return run


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_all", ROOT / "benchmarks" / "all.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_one_that_fails_does_not_stop_the_others(
    command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    assert command("--out", out, "--quick") == 1
    printed = capsys.readouterr().out
    assert f"[1/2] bad failed with exit status 1, see {out}/bad.txt" in printed
    assert "failed: bad" in printed
    assert "no such file" in (out / "bad.txt").read_text()
    text = (out / "good.txt").read_text().splitlines()
    assert text[0] == "python benchmarks/good.py --small"
    assert text[1].startswith("machine: ")
    assert text[1].endswith("--small")
    with (out / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["benchmark"], row["what"], float(row["value"]), row["unit"]) for row in rows] == [
        ("good", "a step", 2.5, "ms"),
        ("good", "frames", 1234.5, "per s"),
    ]
    assert (rows[0]["ratio"], rows[0]["beside"], rows[1]["ratio"]) == ("4.0", "a loop", "")
    assert {row["capability"] for row in rows} == {torch.backends.cpu.get_cpu_capability()}
    assert "| good | a step | 2.5 ms | 4.00 x a loop |" in (out / "results.md").read_text()
    assert {path.name for path in out.iterdir()} == {"bad.txt", "good.txt", "results.csv", "results.md"}


def test_some_of_them(command: Callable[..., int], tmp_path: Path):
    assert command("--out", tmp_path / "out", "--only", "good") == 0
    assert (tmp_path / "out" / "good.txt").read_text().startswith("python benchmarks/good.py --whole\n")
    assert not (tmp_path / "out" / "bad.txt").exists()


def test_ctrl_c_keeps_what_is_done(
    module: ModuleType, command: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "BENCHMARKS", {"good": ("", ""), "late": ("", "")})
    measure = module.measure

    def interrupted(name: str, *more: object) -> int:
        if name == "late":
            raise KeyboardInterrupt
        return int(measure(name, *more))

    monkeypatch.setattr(module, "measure", interrupted)
    with pytest.raises(Interrupted, match="the same command, with --only for what is missing"):
        command("--out", tmp_path / "out")
    assert "a step" in (tmp_path / "out" / "results.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "goood", "--out", "x"], r"^benchmark 'goood' is unknown; did you mean 'good'\?"),
        ([], "^--out is missing; name a folder for the results"),
    ],
)
def test_what_cannot_be(command: Callable[..., int], arguments: list[str], message: str):
    with pytest.raises(InputError, match=message):
        command(*arguments)


def test_every_benchmark_says_on_which_processor():
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        assert "machine_line()" in path.read_text(), path.name


def test_all_of_them_exist():
    for name in loaded().BENCHMARKS:
        assert (ROOT / "benchmarks" / f"{name}.py").is_file(), name


class TestTheLine:
    def test_names_the_processor(self):
        found = processor()
        assert found["capability"] == torch.backends.cpu.get_cpu_capability()
        assert found["threads"] == torch.get_num_threads()
        line = machine_line()
        assert line.startswith(f"machine: {found['processor']}, {found['capability']}, {found['threads']} thread")

    def test_a_system_that_does_not_name_it(self, monkeypatch: pytest.MonkeyPatch):
        def refuse(*_: object, **__: object) -> str:
            raise OSError

        monkeypatch.setattr(measured.Path, "read_text", refuse)
        monkeypatch.setattr(measured.platform, "processor", lambda: "")
        monkeypatch.setattr(measured.platform, "machine", lambda: "riscv64")
        assert processor()["processor"] == "riscv64"

    def test_no_table_no_number(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.delenv(measured.TABLE, raising=False)
        monkeypatch.chdir(tmp_path)
        note_number("a step", 2.5, "ms")
        assert not list(tmp_path.iterdir())
