"""How commands end: errors name flags where the library names parameters, and notes are one line."""

from __future__ import annotations

import argparse
import pickle
import warnings
from collections.abc import Callable

import pytest

from cordstasks.errors import InputError, Note, WriteError, naming, reworded
from cordstasks.utils.command_line import Parser, run_command


def parse(*words: str) -> argparse.Namespace:
    made = Parser()
    made.add_argument("--out", "-o")
    made.add_argument("--learning-rate", type=float)
    made.add_argument("--noise", type=float)
    made.add_argument("--resume", action="store_true")
    made.add_argument("--no-bank", action="store_true")
    made.add_argument("--bank")
    made.add_argument("--teacher", action=argparse.BooleanOptionalAction)
    made.add_argument("file", nargs="?")
    return made.parse_args(words)


def ended(main: Callable[[], int], capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    with pytest.raises(SystemExit) as end:
        run_command(main)
    return end.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("message", "printed"),
    [
        ("out=a: is full; continue it with resume=True", "--out a: is full; continue it with --resume"),
        ("learning_rate=nan: must be finite", "--learning-rate nan: must be finite"),
        ("bank=/x: cannot write there; go without (bank=False)", "--bank /x: cannot write there; go without (--no-bank)"),
        ("bank=/x: as no_bank=True says", "--bank /x: as --no-bank says"),
        ("teacher=True: has none; give teacher=False", "--teacher: has none; give --no-teacher"),
        ("file=x: is no flag, and tau=3 neither", "file=x: is no flag, and tau=3 neither"),
        ("--set noise=-3: is a task's, noise=1 is not", "--set noise=-3: is a task's, --noise 1 is not"),
        ("timeout=3: and out==3", "timeout=3: and --out =3"),
        ("runs/out=3/config.json: cannot be read", "runs/out=3/config.json: cannot be read"),
    ],
)  # fmt: skip
def test_errors_name_flags(message: str, printed: str, capsys: pytest.CaptureFixture[str]):
    def main() -> int:
        parse("--out", "x")
        raise InputError(message)

    assert ended(main, capsys) == (2, f"error: {printed}\n")


def test_flags_are_those_of_the_command_that_runs(capsys: pytest.CaptureFixture[str]):
    def main() -> int:
        raise InputError("out=x: is not this command's")

    parse("--out", "x")
    ended(lambda: 0 if parse("--out", "x") else 1, capsys)
    assert ended(main, capsys) == (2, "error: out=x: is not this command's\n")


def test_in_python_parameters_are_named():
    parse("--out", "x")
    with pytest.raises(InputError, match=r"^out=x: is bad$"):
        raise InputError("out=x: is bad")


def test_a_note_is_one_line_and_the_command_goes_on(capsys: pytest.CaptureFixture[str]):
    def main() -> int:
        parse()
        warnings.warn("bank=/x: may only be read", Note, stacklevel=2)
        return 0

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        before = warnings.showwarning
        assert ended(main, capsys) == (0, "note: --bank /x: may only be read\n")
        assert warnings.showwarning is before


def test_other_warnings_are_shown_as_ever(capsys: pytest.CaptureFixture[str]):
    def main() -> int:
        warnings.warn("something else", RuntimeWarning, stacklevel=1)
        return 0

    with pytest.warns(RuntimeWarning, match="something else"):
        assert ended(main, capsys) == (0, "")


def test_names_change_from_layer_to_layer():
    names = {"folder=": "bank=", "limit=": "bank_limit="}
    with pytest.raises(WriteError, match=r"^bank=/x: no room; see bank_limit=3$") as caught, naming(names):
        raise WriteError("folder=/x: no room; see limit=3", 28)
    assert caught.value.errno == 28
    assert reworded("a=1", {}) == "a=1"


def test_a_write_error_passes_between_processes():
    error = pickle.loads(pickle.dumps(WriteError("a.pt: cannot be written", 28)))
    assert (type(error), str(error), error.errno) == (WriteError, "a.pt: cannot be written", 28)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 420. GiB for an array"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate\n4000 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 20 GiB"),
    ],
)
def test_too_little_memory_is_one_line(error: Exception, capsys: pytest.CaptureFixture[str]):
    code, err = ended(failing(error), capsys)
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith("error: not enough memory (")
    assert line.endswith("); choose smaller sizes")


def test_another_error_of_torch_is_a_fault_of_ours():
    with pytest.raises(RuntimeError, match="size mismatch"):
        run_command(failing(RuntimeError("size mismatch")))


def failing(error: Exception) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main
