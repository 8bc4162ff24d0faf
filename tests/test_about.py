"""``python -m cordstasks``: what is listed and printed, also where packages are missing or broken."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import cordstasks
from cordstasks import about
from cordstasks.__main__ import main
from helpers import ROOT, printed_by, refused

DEVICES = {"version": "2.4", "threads": 3, "cuda": ["a card", "another card"], "mps": False}


@pytest.fixture
def _no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(about, "devices", lambda: DEVICES)


class TestCommands:
    def test_every_module_that_runs_a_command_is_listed(self):
        found = set()
        for path in [*(ROOT / "cordstasks").rglob("*.py"), *ROOT.glob("*/__main__.py")]:
            if "    run_command(main)" in path.read_text(encoding="utf-8"):
                found.add(f"cordstasks.{path.parent.name if path.name == '__main__.py' else path.stem}")
        assert {"cordstasks.train", "cordstasks.tasks"} < found
        assert set(about.commands()) == found - {"cordstasks.cordstasks"}

    def test_each_has_a_purpose(self):
        assert all(about.commands().values())
        assert about.commands()["cordstasks.train"] == "train a model on a task and see how it behaves."

    def test_only_a_modules_own_docstring_makes_it_a_command(self, tmp_path: Path):
        path = tmp_path / "new.py"
        for source, purpose in [
            ('"""``python -m cordstasks.new``: do\nthis.\n\nMore."""', "do this."),
            ('"""``python -m cordstasks.new file.toml``, do it."""', "do it."),
            ('"""``python -m cordstasks.newer``: do this."""', None),
            ('"""What ``python -m cordstasks.new`` needs."""', None),
            ("x = 1", None),
            ("def broken(:", None),
        ]:
            path.write_text(source)
            assert about._purpose(path, "cordstasks.new") == purpose, source


class TestPrinted:
    @pytest.mark.usefixtures("_no_torch")
    def test_what_a_bug_report_needs(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
        monkeypatch.setenv("CORDSTASKS_CACHE", str(tmp_path))
        (tmp_path / "bank").mkdir()
        (tmp_path / "bank" / "a").write_bytes(bytes(1_500_000))
        (tmp_path / "cordsnetr8.pth").write_bytes(bytes(2_000_000))
        lines = printed_by(main).splitlines()
        assert lines[0].startswith(f"cordstasks {cordstasks.__version__}:")
        fields = {line[2:24].strip(): line[24:] for line in lines if line.startswith("  ")}
        assert fields["cache"] == f"{tmp_path} (2 files, 3.5 MB)"
        assert fields["CORDSTASKS_CACHE"] == str(tmp_path)
        assert fields["location"] == str(ROOT / "cordstasks")
        assert fields["cordsnet-r8-imagenet"] == "downloaded, 2.0 MB"
        assert fields["cordsnet-r8"].startswith("part of the package, 22.")
        shown = [line[24:] for line in lines if line.startswith("  device")]
        assert shown == [f"cpu, {os.cpu_count()} processors, 3 threads", "cuda:0, a card", "cuda:1, another card"]
        assert f"numpy {importlib.metadata.version('numpy')}" in "\n".join(lines)
        assert max(map(len, lines)) < 160

    @pytest.mark.usefixtures("_no_torch")
    def test_json_holds_the_same(self):
        found = json.loads(printed_by(main, "--json"))
        assert found["devices"] == DEVICES
        assert found["commands"] == about.commands()
        assert found["packages"]["numpy"] == importlib.metadata.version("numpy")

    def test_the_version_alone(self):
        command = [sys.executable, "-m", "cordstasks", "--version"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout == f"cordstasks {cordstasks.__version__}\n"

    def test_a_command_given_as_a_word(self):
        assert refused(main, "train") == "train: is a command of its own; write python -m cordstasks.train"
        assert "did you mean 'train'?" in refused(main, "trian")
        assert "--colour" in refused(main, "--colour")


class TestBrokenInstallations:
    def test_packages_that_are_missing_or_damaged(self, monkeypatch: pytest.MonkeyPatch):
        lines = ["numpy>=1.26", "nothing-like-it>2", "odd[extra]; extra == 'more'", "cordstasks[odd]; extra == 'all'"]
        monkeypatch.setattr(importlib.metadata, "requires", lambda name: lines)

        def version(name: str) -> str:
            if name == "odd":
                raise KeyError(name)
            if name == "nothing-like-it":
                raise importlib.metadata.PackageNotFoundError(name)
            return "7"

        monkeypatch.setattr(importlib.metadata, "version", version)
        found = about.versions()
        assert found == {"numpy": "7", "nothing-like-it": None, "odd": "damaged (KeyError)"}
        assert list(found) == ["numpy", "nothing-like-it", "odd"]  # those of extras are last

    def test_without_an_installation_the_main_packages_are_looked_for(self, monkeypatch: pytest.MonkeyPatch):
        def requires(name: str) -> None:
            raise importlib.metadata.PackageNotFoundError(name)

        monkeypatch.setattr(importlib.metadata, "requires", requires)
        assert tuple(about.versions()) == about.MAIN_PACKAGES

    def test_required_packages_that_cannot_be_imported(self, tmp_path: Path):
        for name in ("lazy_loader", "platformdirs", "numpy"):
            (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} is broken')")
        (tmp_path / "torch.py").write_text("raise OSError('no such library')")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
        environment.pop("CORDSTASKS_CACHE", None)
        command = [sys.executable, "-m", "cordstasks"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        for line in (
            "  problem               weights cannot be listed: lazy_loader is broken",
            "  cache                 the cache cannot be found: platformdirs is broken",
            "  device                PyTorch cannot be imported: OSError: no such library",
        ):
            assert line in done.stdout.splitlines(), done.stdout

    def test_a_torch_that_cannot_be_imported(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
        (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.99: cannot open shared object file')")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        problem = "PyTorch cannot be imported: ImportError: libcudart.so.99: cannot open shared object file"
        assert about.devices() == {"problem": problem}
        assert f"  device                {problem}" in printed_by(main).splitlines()

    def test_a_torch_that_kills_its_process(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
        (tmp_path / "torch.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        assert about.devices()["problem"] == f"PyTorch cannot be imported: exit status {-9}"

    def test_a_torch_that_never_comes(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
        (tmp_path / "torch.py").write_text("import time; time.sleep(60)")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(about, "PATIENCE_SECONDS", 0.5)
        assert about.devices() == {"problem": "PyTorch was not asked: it took too long"}

    def test_a_torch_that_works(self):
        import torch

        found = about.devices()
        assert found["version"] == torch.__version__
        assert len(found["cuda"]) == torch.cuda.device_count()
