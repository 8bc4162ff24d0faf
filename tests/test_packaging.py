"""What is shipped: nothing missing from the wheel, one version, and documents that say what is so."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cordstasks
from helpers import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest there

MAIN_COMMAND = (
    "python -m venv .venv && .venv/bin/pip install -e '.[fast]' && .venv/bin/python -m cordstasks.train --task rdm"
)
TEST_COMMAND = "python -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/python -m pytest"


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def folder_of(package: str, mapping: dict[str, str]) -> Path:
    """Where setuptools finds a package: its own entry, or that of the nearest package above it."""
    parts = package.split(".")
    for end in range(len(parts), 0, -1):
        head = ".".join(parts[:end])
        if head in mapping:
            return ROOT.joinpath(mapping[head], *parts[end:])
    return ROOT.joinpath(*parts)


def content(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


class TestWheel:
    def test_every_folder_with_code_is_listed_and_every_listed_one_has_code(self, project: dict[str, Any]):
        mapping = project["tool"]["setuptools"]["package-dir"]
        listed = {folder_of(name, mapping) for name in project["tool"]["setuptools"]["packages"]}
        roots = [ROOT / folder for folder in mapping.values()]
        on_disk = {path.parent for root in roots for path in content(root) if path.suffix == ".py"}
        assert {path.relative_to(ROOT).as_posix() for path in listed} == {
            path.relative_to(ROOT).as_posix() for path in on_disk
        }
        for folder in listed:
            assert (folder / "__init__.py").is_file(), folder

    def test_every_other_file_of_a_package_is_package_data(self, project: dict[str, Any]):
        settings = project["tool"]["setuptools"]
        mapping = settings["package-dir"]
        shipped = {
            path
            for names, patterns in settings["package-data"].items()
            for package in (settings["packages"] if names == "*" else [names])
            for pattern in patterns
            for path in folder_of(package, mapping).glob(pattern)
        }
        others = {path for folder in mapping.values() for path in content(ROOT / folder) if path.suffix != ".py"}
        assert others - shipped == set()

    def test_it_stays_small(self, project: dict[str, Any]):
        folders = [ROOT / folder for folder in project["tool"]["setuptools"]["package-dir"].values()]
        assert sum(path.stat().st_size for folder in folders for path in content(folder)) < 60e6

    def test_mapped_folders_are_packages_of_cordstasks_only(self, project: dict[str, Any]):
        names = project["tool"]["setuptools"]["packages"]
        assert {name.split(".")[0] for name in names} == {"cordstasks"}
        for folder in ("stimuli", "tasks", "analysis"):
            assert project["tool"]["setuptools"]["package-dir"][f"cordstasks.{folder}"] == folder

    def test_entry_points_lead_to_functions(self, project: dict[str, Any]):
        points = project["project"]["entry-points"]["gymnasium.envs"]
        assert points
        for target in points.values():
            module, name = target.split(":")
            assert callable(getattr(importlib.import_module(module), name))


class TestSourceDistribution:
    def test_it_holds_everything_that_is_in_the_repository(self, project: dict[str, Any]):
        lines = (ROOT / "MANIFEST.in").read_text(encoding="utf-8").splitlines()
        named = {word for line in lines if line.startswith(("graft ", "include ")) for word in line.split()[1:]}
        by_itself = {"MANIFEST.in", "pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
        done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip("not a git checkout")
        assert named | by_itself == {line.split("/")[0] for line in done.stdout.splitlines()}

    def test_every_supported_python_is_declared(self, project: dict[str, Any]):
        found = {line.rpartition(" ")[2] for line in project["project"]["classifiers"] if ":: Python :: 3." in line}
        assert found == {"3.10", "3.11", "3.12", "3.13"}
        assert project["project"]["requires-python"] == f">={min(found, key=lambda each: int(each[2:]))}"


class TestVersion:
    def test_it_is_in_one_place(self, project: dict[str, Any]):
        assert "version" not in project["project"]
        assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "cordstasks.__version__"}
        assert re.fullmatch(r"\d+\.\d+\.\d+", cordstasks.__version__)

    def test_the_citation_has_it(self):
        citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
        assert re.findall(r"(?m)^version: *(\S+)$", citation) == [cordstasks.__version__]

    def test_the_changelog_has_it_or_is_about_to(self):
        changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        titles = re.findall(r"(?m)^## \[(.+?)\]", changelog)
        assert len(titles) == len(set(titles))
        unreleased = changelog.split("## [Unreleased]")[-1].split("\n## [")[0]
        assert cordstasks.__version__ in titles or cordstasks.__version__ in unreleased


RUN = (  # their examples
    "environments.md",
    "tuning.md",
    "weights.md",
    "abstract-tasks.md",
    "networks.md",
    "comparing.md",
    "recordings.md",
    "dynamics.md",
    "robustness.md",
)


class TestDocuments:
    def test_the_licence_is_the_one_declared(self, project: dict[str, Any]):
        assert project["project"]["license"] == "MIT"
        for name in project["project"]["license-files"]:
            assert (ROOT / name).read_text(encoding="utf-8").startswith("MIT License")

    @pytest.mark.parametrize("command", [MAIN_COMMAND, TEST_COMMAND])
    def test_the_readme_has_the_two_commands(self, command: str):
        assert command in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()

    def test_continuous_integration_runs_the_readmes_test_command(self):
        assert TEST_COMMAND in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()

    @pytest.mark.parametrize("page", RUN)
    def test_the_examples_run(self, page: str, tmp_path: Path):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        examples = re.findall(r"(?ms)^```python\n(.*?)^```", text)
        assert examples
        # A checkout need not be installed, and then Gymnasium has not found its entry point.
        source = "\n".join(["import cordstasks.tasks", "cordstasks.tasks.register()", *examples])
        # They write figures where they run, which must not be the checkout.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        command = [sys.executable, "-c", source]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def test_no_other_page_has_examples_that_are_not_run(self):
        pages = {path.name for path in (ROOT / "docs").rglob("*.md") if "```python" in path.read_text(encoding="utf-8")}
        # tasks/test_registry.py holds own-task.md to its example; training/test_learning.py has a run for first-run.md
        assert pages == {*RUN, "own-task.md", "first-run.md"}
