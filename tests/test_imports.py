"""Imports go one way, and what must answer at once loads nothing heavy."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import ROOT

MAPPED = ("stimuli", "tasks", "analysis")
FOLDERS = {"cordstasks": "cordstasks", **{folder: f"cordstasks.{folder}" for folder in MAPPED}}

# Layers from the bottom up, and what each may import of the others: see "Layers" in CONTRIBUTING.md.
MODELS = {"errors", "utils", "stimuli", "rnn", "cordsnet", "frontend", "model"}
LEARNING = MODELS | {"tasks", "analysis", "training", "reports", "runs", "recordings", "experiments"}
COMMANDS = ("train", "pretrain", "bank", "sweep", "compare", "predict")
ALLOWED: dict[str, set[str]] = {
    "cordstasks": {"runs"},  # load_run, when it is used
    "errors": set(),
    "utils": {"errors"},
    "stimuli": {"errors", "utils"},
    "analysis": {"errors", "utils"},
    "tasks": {"errors", "utils", "stimuli", "analysis"},
    "rnn": {"errors", "utils"},
    "cordsnet": {"errors", "utils"},
    "frontend": {"errors", "utils", "stimuli", "cordsnet"},
    "model": {"errors", "utils", "rnn", "frontend"},
    "observation": {"errors", "utils", "stimuli", "tasks", "frontend"},
    "training": MODELS | {"tasks"},
    "reports": MODELS | {"tasks", "analysis", "training"},
    "runs": LEARNING - {"recordings", "experiments"},
    "recordings": LEARNING - {"analysis", "experiments"},
    "experiments": LEARNING,
    "pretraining": {"errors", "utils", "stimuli", "cordsnet"},
    **dict.fromkeys(COMMANDS, LEARNING | {"pretraining"}),
}
# Outside packages that a part may import, beside the standard library; no entry: any.
OUTSIDE: dict[str, set[str]] = {
    "cordstasks": set(),
    "errors": set(),
    "stimuli": {"numpy", "PIL"},
    "tasks": {"numpy", "PIL", "matplotlib", "gymnasium", "neurogym"},
    "analysis": {"numpy", "scipy", "sklearn", "matplotlib", "tqdm", "threadpoolctl", "lazy_loader", "rsatoolbox"},
    **{command: set() for command in COMMANDS},
}
# The only modules that may import these, wherever in them.
ONLY_IN = {"neurogym": {f"cordstasks.tasks.environments.{name}" for name in ("base", "visual", "abstract")}}


def part_of(module: str) -> str:
    """The part of the package that `module` belongs to: the second of its names."""
    return module.split(".")[1] if "." in module else module


def imported(source: str, module: str, *, package: bool) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a module's source imports, at the top or within."""
    home = module if package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(home.split(".")[: len(home.split(".")) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, (base, node.module)))
            for alias in node.names:
                yield node.lineno, f"{origin}.{alias.name}"


def problems(source: str, module: str, *, package: bool = False) -> list[str]:
    """What breaks the rules in a module's source."""
    own, found = part_of(module), []
    if own not in ALLOWED:
        return [f"{module}: say in this test what {own} may import"]
    for line, name in imported(source, module, package=package):
        top = name.split(".")[0]
        if top in MAPPED:
            found.append(f"{module}:{line}: {name}: write cordstasks.{top}")
        elif top == "cordstasks":
            # `from cordstasks import x` may name a layer or something that the package itself holds
            part = part_of(name) if part_of(name) in ALLOWED else "cordstasks"
            if part not in ALLOWED[own] | {own, "cordstasks"}:
                found.append(f"{module}:{line}: {own} must not import {part}")
        elif top not in sys.stdlib_module_names:
            if top not in OUTSIDE.get(own, {top}):
                found.append(f"{module}:{line}: {own} must not import {top}")
            if module not in ONLY_IN.get(top, {module}):
                found.append(f"{module}:{line}: only {', '.join(sorted(ONLY_IN[top]))} may import {top}")
    return found


def modules() -> Iterator[tuple[str, Path]]:
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join([package, *(part for part in parts if part != "__init__")]), path


class TestSources:
    def test_imports_go_one_way(self):
        found = [
            problem
            for module, path in modules()
            for problem in problems(path.read_text(), module, package=path.name == "__init__.py")
        ]
        assert not found, "\n".join(found)

    def test_all_of_them_are_looked_at(self):
        names = {module for module, _ in modules()}
        assert {"cordstasks", "cordstasks.stimuli.movie", "cordstasks.tasks", "cordstasks.analysis.figures"} <= names
        assert {"cordstasks.frontend", "cordstasks.reports.random_dots", "cordstasks.train"} <= names
        assert {part_of(name) for name in names} == set(ALLOWED)


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Modules that import each other, if only by way of others; an import within a function counts like any."""
    remaining = {module: set(targets) for module, targets in edges.items()}
    while True:  # take away what imports nothing that is left, and what nothing that is left imports
        targets = set().union(*remaining.values()) if remaining else set()
        ends = {module for module, to in remaining.items() if not to & remaining.keys() or module not in targets}
        if not ends:
            return [sorted(remaining)] if remaining else []
        remaining = {module: to - ends for module, to in remaining.items() if module not in ends}


def imported_modules() -> dict[str, set[str]]:
    """The modules that each module of this package imports, wherever in its source."""
    paths = dict(modules())
    edges: dict[str, set[str]] = {}
    for module, path in paths.items():
        edges[module] = set()
        for _, name in imported(path.read_text(), module, package=path.name == "__init__.py"):
            target = name if name in paths else name.rpartition(".")[0]
            if target in paths and target not in (module, "cordstasks"):
                edges[module].add(target)
    return edges


class TestCircles:
    def test_there_are_none(self):
        edges = imported_modules()
        assert sum(map(len, edges.values())) > 300
        assert circles(edges) == []

    def test_they_would_be_found(self):
        edges = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a"}}
        assert circles(edges) == [["b", "c"]]
        assert circles({"a": {"b"}, "b": set()}) == []
        assert circles({}) == []


class TestTheChecker:
    @pytest.mark.parametrize(
        ("module", "source", "problem"),
        [
            ("cordstasks.stimuli.new", "import torch", "1: stimuli must not import torch"),
            ("cordstasks.stimuli.new", "from cordstasks.tasks import get", "1: stimuli must not import tasks"),
            ("cordstasks.stimuli.new", "from cordstasks import tasks", "1: stimuli must not import tasks"),
            ("cordstasks.stimuli.new", "from ..tasks.visual import Trial", "1: stimuli must not import tasks"),
            ("cordstasks.stimuli.new", "from .. import rnn", "1: stimuli must not import rnn"),
            ("cordstasks.stimuli.new", "def f():\n    import cordstasks.rnn as r", "2: stimuli must not import rnn"),
            ("cordstasks.tasks.new", "import torch.nn", "1: tasks must not import torch"),
            ("cordstasks.tasks.new", "import neurogym", "cordstasks.tasks.environments.visual may import neurogym"),
            ("cordstasks.tasks.new", "import cordstasks.frontend", "1: tasks must not import frontend"),
            ("cordstasks.frontend", "\nfrom cordstasks.tasks import get", "2: frontend must not import tasks"),
            ("cordstasks.rnn", "from cordstasks import experiments", "1: rnn must not import experiments"),
            ("cordstasks.model", "from cordstasks.analysis import figures", "1: model must not import analysis"),
            ("cordstasks.training.visual", "from cordstasks.train import main", "1: training must not import train"),
            ("cordstasks.analysis.new", "from cordstasks.rnn import RNN", "1: analysis must not import rnn"),
            ("cordstasks.analysis.new", "from cordstasks.stimuli import Movie", "1: analysis must not import stimuli"),
            ("cordstasks.analysis.new", "import torch", "1: analysis must not import torch"),
            ("cordstasks.utils.files", "import cordstasks.cordsnet.pretrained", "1: utils must not import cordsnet"),
            ("cordstasks.train", "import torch", "1: train must not import torch"),
            ("cordstasks.training.visual", "import stimuli", "1: stimuli: write cordstasks.stimuli"),
            ("cordstasks.tasks.new", "from stimuli.movie import Movie", "write cordstasks.stimuli"),
            ("cordstasks.new", "", "say in this test what new may import"),
        ],
    )
    def test_it_finds(self, module: str, source: str, problem: str):
        (found,) = problems(source, module)
        assert problem in found

    @pytest.mark.parametrize(
        ("module", "source"),
        [
            ("cordstasks.stimuli.new", "import math\nimport numpy as np\nfrom cordstasks.errors import InputError"),
            ("cordstasks.stimuli.new", "from . import movie\nfrom .movie import Movie"),
            ("cordstasks.tasks.environments.visual", "import neurogym\nfrom cordstasks.stimuli import Movie"),
            ("cordstasks.utils.run_folder", "from cordstasks import __version__\nimport torch"),
            ("cordstasks.runs.visual", "from cordstasks import reports, tasks, analysis"),
            ("cordstasks.train", "from cordstasks.runs.visual import run"),
        ],
    )
    def test_it_lets_pass(self, module: str, source: str):
        assert problems(source, module) == []

    def test_a_package_is_its_own_home(self):
        assert problems("from .movie import Movie", "cordstasks.stimuli", package=True) == []
        (found,) = problems("from ..rnn import RNN", "cordstasks.stimuli", package=True)
        assert "stimuli must not import rnn" in found


HEAVY = {"torch", "neurogym", "gymnasium", "scipy", "matplotlib", "PIL"}


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """Modules that are loaded after each statement of one interpreter."""
    statements = [
        "import cordstasks",
        "import cordstasks.cordsnet.pretrained",
        "import cordstasks.stimuli",
        "import cordstasks.tasks",
        "from cordstasks.recordings import Recording, read, write",
        *(f"import cordstasks.{name}; cordstasks.{name}.parser().format_help()" for name in COMMANDS),
        *(f"ended(cordstasks.{name}.main, ['--help'])" for name in COMMANDS),
        "ended(cordstasks.train.main, [])",
        "import cordstasks.tasks.__main__; ended(cordstasks.tasks.__main__.main, ['--help'])",
        "ended(cordstasks.tasks.__main__.main, ['list'])",
        "ended(cordstasks.train.main, ['--task', 'dms', '--help'])",
        "refused(cordstasks.train.main, ['--task', 'dms', '--connectivity', 'lowrank', '--rank', '101'])",
    ]
    program = """
import contextlib, io, json, sys

def ended(main, arguments):
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            main(arguments)
        except SystemExit as end:
            assert end.code == 0, end.code
        except ValueError as error:
            assert not arguments, error

def refused(main, arguments):
    try:
        main(arguments)
    except ValueError as error:
        assert "rank=101" in str(error), error
    else:
        raise AssertionError(arguments)

loaded = {}
for statement in json.loads(sys.argv[1]):
    exec(statement)
    loaded[statement] = sorted(sys.modules)
loaded["places"] = [cordstasks.stimuli.__file__, cordstasks.tasks.__file__, cordstasks.__file__]
print(json.dumps(loaded))
"""
    command = [sys.executable, "-c", program, json.dumps(statements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return {statement: set(names) for statement, names in json.loads(done.stdout).items()}


class TestWhatIsLoaded:
    def test_nothing_heavy(self, loaded: dict[str, set[str]]):
        assert len(loaded) == 23
        for statement, names in loaded.items():
            assert not names & HEAVY, statement
        assert "numpy" not in loaded["import cordstasks.cordsnet.pretrained"]

    def test_the_folders_beside_the_package_are_its_parts(self, loaded: dict[str, set[str]]):
        assert loaded["places"] == {str(ROOT / folder / "__init__.py") for folder in ("stimuli", "tasks", "cordstasks")}
        assert not {"stimuli", "tasks"} & loaded["import cordstasks.tasks"]
