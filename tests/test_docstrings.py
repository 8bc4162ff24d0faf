"""Public docstrings say what a function returns and which errors it raises.

Public is what the pages of the reference list, see docs/api. A method that only overrides one of a base class may leave this
to the base class.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers import ROOT

FOLDERS = {"cordstasks.stimuli": "stimuli", "cordstasks.tasks": "tasks", "cordstasks.analysis": "analysis"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def folder_of(name: str) -> Path:
    """Path of a module or package, without suffix."""
    for package, folder in FOLDERS.items():
        if name == package or name.startswith(f"{package}."):
            return ROOT / folder / name.removeprefix(package).removeprefix(".").replace(".", "/")
    return ROOT / name.replace(".", "/")


def exported(path: Path) -> set[str] | None:
    """The names in a file's ``__all__``; None if it has none."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return None


def listed() -> Iterator[tuple[Path, set[str] | None]]:
    """The files of the reference, each with the names that it shows; None for all that are public."""
    for page in sorted((ROOT / "docs" / "api").glob("*.md")):
        for name in re.findall(r"^::: (\S+)", page.read_text(), re.MULTILINE):
            place = folder_of(name)
            if place.is_dir():
                stub = place / "__init__.pyi"
                names = exported(stub if stub.is_file() else place / "__init__.py")
                yield from ((path, names) for path in sorted(place.rglob("*.py")))
            elif place.with_suffix(".py").is_file():
                yield place.with_suffix(".py"), exported(place.with_suffix(".py"))
            else:  # one object
                yield place.parent.with_suffix(".py"), {place.name}


def own_nodes(node: Function) -> Iterator[ast.AST]:
    """What a function's body holds, without the functions within it."""
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        each = waiting.pop()
        if not isinstance(each, Function | ast.ClassDef | ast.Lambda):
            yield each
            waiting.extend(ast.iter_child_nodes(each))


def missing(node: Function) -> set[str]:
    """The sections that a documented function needs and lacks."""
    text = ast.get_docstring(node)
    decorators = " ".join(ast.unparse(each) for each in node.decorator_list)
    if text is None or "overload" in decorators:
        return set()
    nodes = list(own_nodes(node))
    needed = set()
    returned = [each.value for each in nodes if isinstance(each, ast.Return) and each.value is not None]
    if "property" not in decorators and any(
        not (isinstance(each, ast.Constant) and each.value is None) for each in returned
    ):
        needed.add("Returns")
    if any(isinstance(each, ast.Raise) and "InputError" in ast.unparse(each) for each in nodes):
        needed.add("Raises")
    return needed - set(re.findall(r"^(\w+)\n-{3,}$", text, re.MULTILINE))


@dataclass
class Class:
    bases: list[str]
    methods: dict[str, Function]


def classes() -> dict[str, Class]:
    """All classes of the package by name."""
    found = {}
    for folder in ("cordstasks", *FOLDERS.values()):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
                    methods = {each.name: each for each in node.body if isinstance(each, Function)}
                    found[node.name] = Class(bases, methods)
    return found


def overridden(name: str, of: str, known: dict[str, Class]) -> Function | None:
    """The method of the nearest base class that a method overrides."""
    for base in known[of].bases if of in known else ():
        if base in known:
            method = known[base].methods.get(name) or overridden(name, base, known)
            if method is not None:
                return method
    return None


def problems(path: Path, names: set[str] | None, known: dict[str, Class]) -> Iterator[str]:
    for node in ast.parse(path.read_text()).body:
        if not isinstance(node, Function | ast.ClassDef) or (names is not None and node.name not in names):
            continue
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        for each in inner:
            if not isinstance(each, Function) or each.name.startswith("_") or node.name.startswith("_"):
                continue
            lacks = missing(each)
            base = overridden(each.name, node.name, known)
            if lacks and base is not None:
                lacks -= {"Returns", "Raises"} - missing(base)
            if lacks:
                where = each.name if each is node else f"{node.name}.{each.name}"
                yield f"{path.relative_to(ROOT)}:{each.lineno}: {where}: {', '.join(sorted(lacks))}"


def all_problems() -> list[str]:
    known = classes()
    files: dict[Path, set[str] | None] = {}
    for path, names in listed():
        files[path] = names if path not in files or names is None else (files[path] or set()) | names
    assert len(files) > 80
    return sorted(found for path, names in files.items() for found in problems(path, names, known))


def test_functions_of_the_reference_say_what_they_return_and_raise():
    found = all_problems()
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "sections"),
    [
        ('def f():\n    """F."""\n    return 1', {"Returns"}),
        ('def f():\n    """F."""\n    raise InputError("x")', {"Raises"}),
        ('def f():\n    """F.\n\n    Returns\n    -------\n    int\n    """\n    return 1', set()),
        ('def f():\n    """F.\n\n    Raises\n    ------\n    InputError\n    """\n    raise InputError("x")', set()),
        ('def f():\n    """F."""\n    return', set()),
        ('def f():\n    """F."""\n    return None', set()),
        ('@property\ndef f():\n    """F."""\n    return 1', set()),
        ('def f():\n    """F."""\n    def g():\n        return 1', set()),
        ('def f():\n    """F."""\n    raise InputError("x")\n    return 1', {"Returns", "Raises"}),
    ],
)
def test_what_is_missing_is_found(source: str, sections: set[str]):
    (node,) = ast.parse(source).body
    assert isinstance(node, Function)
    assert missing(node) == sections


def test_an_override_may_leave_it_to_its_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = '"""F.\n\n        Returns\n        -------\n        int\n        """'
    first = "class A:\n    def f(self):\n        {0}\n        return 1\n"
    source = first + "class B(A):\n    def f(self):\n        {1}\n        return 2\n"
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    for folder in ("cordstasks", *FOLDERS.values()):
        (tmp_path / folder).mkdir()
    path = tmp_path / "tasks" / "a.py"
    expected = {(whole, '"""F."""'): [], ('"""F."""', whole): ["tasks/a.py:2: A.f: Returns"]}
    for texts, lines in expected.items():
        path.write_text(source.format(*texts))
        assert list(problems(path, None, classes())) == lines
