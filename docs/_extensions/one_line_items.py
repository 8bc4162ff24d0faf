"""A griffe extension for docstrings that give an argument one line: ``name : what it is``.

numpydoc has the type after the colon and the description beneath; where the signature holds the type already, the
sources of cordstasks often put the description there instead. `rewritten` turns such items into numpydoc's form without
a type, which griffe then takes from the signature.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import griffe

LONGEST_TYPE = 60  # characters; a description that goes on beneath has filled its first line
_ITEM = re.compile(r"(?P<names>\*{0,2}\w+(?:, \*{0,2}\w+)*) : (?P<text>.+)")


class OneLineItems(griffe.Extension):
    """Rewrites every docstring before griffe parses it."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = rewritten(obj.docstring.value)


def rewritten(docstring: str) -> str:
    """The docstring with its one-line items in numpydoc's form."""
    lines: list[str] = []
    for title, body in _sections(docstring.splitlines()):
        if title is not None:
            name = title.removeprefix("Class ").capitalize()  # "Class attributes" is no section of numpydoc
            lines += [name, "-" * len(name)]
        if title in {"Parameters", "Attributes", "Class attributes", "Raises"}:
            body = [line for item in _items(body) for line in _item(item, exception=title == "Raises")]
        elif title in {"Returns", "Yields"}:
            body = _result(body)
        lines += body
    return "\n".join(lines)


def _sections(lines: list[str]) -> Iterator[tuple[str | None, list[str]]]:
    """Title and body of each section; what precedes the first has no title."""
    starts = [row - 1 for row, line in enumerate(lines) if row and re.fullmatch(r"-{3,}", line) and lines[row - 1]]
    yield None, lines[: starts[0]] if starts else lines
    for start, end in pairwise([*starts, len(lines)]):
        yield lines[start], lines[start + 2 : end]


def _items(body: list[str]) -> list[list[str]]:
    """Lines grouped with the indented lines that follow them."""
    items: list[list[str]] = []
    for line in body:
        if items and (not line or line.startswith(" ")):
            items[-1].append(line)
        else:
            items.append([line])
    return items


def _item(item: list[str], *, exception: bool) -> list[str]:
    match = _ITEM.fullmatch(item[0])
    if match is None or (not exception and _is_type(match["text"], described=any(item[1:]))):
        return item
    return [match["names"], f"    {match['text']}", *item[1:]]


def _is_type(text: str, *, described: bool) -> bool:
    return len(text) <= LONGEST_TYPE if described else " " not in text


def _result(body: list[str]) -> list[str]:
    """Results, of which each may have a name; or plain sentences."""
    items = _items(body)
    if any(len(item) > 1 and any(item[1:]) for item in items) and all(len(item[0]) <= LONGEST_TYPE for item in items):
        return body
    named = [_ITEM.fullmatch(item[0]) for item in items if item[0]]
    if all(named):
        return [line for item in items for line in (f"{item[0].split(' : ', 1)[0]} :", *_described(item))]
    if len(items) == 1 and " " not in items[0][0]:
        return body
    return [":", *(f"    {line}".rstrip() for line in body)]


def _described(item: list[str]) -> list[str]:
    return [f"    {item[0].split(' : ', 1)[1]}", *item[1:]]
