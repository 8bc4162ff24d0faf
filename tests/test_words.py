"""Public names use the words of the field, see the glossary; words that they have replaced do not come back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import ROOT

REPLACED = {
    "share": "fraction",
    "shares": "fractions",
    "places": "locations",
    "lesson": "stage",
    "lessons": "stages",
    "likeness": "soft targets",
    "mixture": "mixed trial",
    "mixtures": "mixed trials",
    "told": "target",
    "heart": "memorise",
    "mend": "fix",
}
FOLDERS = ("cordstasks", "stimuli", "tasks", "analysis")


def parts(name: str) -> list[str]:
    """The words of a name in any style."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_")


def public_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Public functions and classes, their parameters and fields, and the keys of dictionaries, which are saved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key in node.keys:
                if isinstance(key, ast.Constant) and isinstance(key.value, str) and key.value.isidentifier():
                    yield key.lineno, key.value
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        yield node.lineno, node.name
        if isinstance(node, ast.FunctionDef):
            own = node.args
            yield from ((each.lineno, each.arg) for each in (*own.posonlyargs, *own.args, *own.kwonlyargs))
        else:
            for each in node.body:
                if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                    yield each.lineno, each.target.id


def found(source: str) -> list[str]:
    return [
        f"{line}: {name}: write {REPLACED[word]}"
        for line, name in public_names(ast.parse(source))
        for word in parts(name)
        if word in REPLACED
    ]


@pytest.mark.parametrize("folder", FOLDERS)
def test_public_names_have_the_words_of_the_field(folder: str):
    paths: list[Path] = sorted((ROOT / folder).rglob("*.py"))
    assert len(paths) > 10
    problems = [f"{path.relative_to(ROOT)}:{problem}" for path in paths for problem in found(path.read_text())]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("def learning(lessons): ...", "1: lessons: write stages"),
        ("class Tuning:\n    share_interval: tuple", "2: share_interval: write fraction"),
        ("class TrialMixtures: ...", "1: TrialMixtures: write mixed trials"),
        ("def told(*, answer): ...", "1: told: write target"),
        ("def _private():\n    return {'share': 1}", "2: share: write fraction"),
    ],
)
def test_they_would_be_found(source: str, problem: str):
    assert found(source) == [problem]


def test_private_names_and_other_words_pass():
    assert found("def _told(lessons): ...\ndef place_dots(fraction, shared): ...") == []
