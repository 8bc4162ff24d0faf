"""Reports as one HTML file: it needs nothing beside it, no network and no JavaScript, and can be read on a phone or printed.

A page is made of sections, a section of parts: `Paragraph`, `Code`, `Table`, `Picture`, `Fold`. Every text is escaped. The
same parts give the same bytes.
"""

from __future__ import annotations

import base64
import html
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cordstasks.errors import InputError
from cordstasks.utils.html_style import STYLE

__all__ = ["Code", "Fold", "Paragraph", "Part", "Picture", "Section", "Table", "described_in", "page", "tables_of"]

PNG, LONG = b"\x89PNG\r\n\x1a\n", 12  # longer lists of numbers are counted and not printed
LONG_WORD = 24  # characters; longer words, such as paths, may be broken


class Part(Protocol):
    """A part of a page."""

    def html(self) -> str:
        """The part as HTML.

        Returns
        -------
        str
            Markup that can stand anywhere in a page's body; text in it is escaped.
        """


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of text."""

    text: str

    def html(self) -> str:
        """The part as HTML.

        Returns
        -------
        str
            A ``p`` element.
        """
        return f"<p>{html.escape(self.text)}</p>"


@dataclass(frozen=True)
class Code:
    """A command, or text whose columns stand below each other.

    Attributes
    ----------
    text : str
    label : str
        What it is, for readers who cannot see it.
    wrapped : bool
        Whether long lines may be broken, as those of a command.
    """

    text: str
    label: str = "text"
    wrapped: bool = False

    def html(self) -> str:
        """The part as HTML.

        Returns
        -------
        str
            A ``pre`` element, with the label for screen readers.
        """
        kind = ' class="wrapped"' if self.wrapped else ' tabindex="0"'  # what scrolls must be reachable with the keyboard
        return f'<pre{kind} role="region" aria-label="{html.escape(self.label)}">{html.escape(self.text)}</pre>'


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes
    ----------
    columns : sequence of str
        Their headings.
    rows : sequence of sequence
        Values, see `shown`.
    title : str
        Above the table.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    title: str = ""

    def html(self) -> str:
        """The part as HTML.

        Returns
        -------
        str
            A ``table`` element in a region that scrolls if it is too wide.
        """
        title = f"<caption>{html.escape(self.title)}</caption>" if self.title else ""
        head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in self.columns)
        body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in self.rows)
        label = html.escape(self.title or "table")
        return (
            f'<div class="wide" tabindex="0" role="region" aria-label="{label}"><table>{title}'
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>"
        )


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes
    ----------
    content : bytes
        Of a PNG or SVG file.
    text : str
        The alternative text: what the picture shows, for readers who cannot see it.
    caption : str
        Below the picture.
    address : str
        Where the file is, for a page with files beside it; without it, the page holds the file itself.
    """

    content: bytes
    text: str
    caption: str = ""
    address: str = ""

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise InputError("text='': a picture needs an alternative text; say in words what it shows")
        if not self.content.startswith(PNG) and b"<svg" not in self.content[:4096]:
            raise InputError("content: is neither a PNG nor an SVG file; save the figure as one of these")

    def html(self) -> str:
        """The part as HTML.

        Returns
        -------
        str
            A ``figure`` element that holds the file itself, in base 64, or its address.
        """
        kind = "image/png" if self.content.startswith(PNG) else "image/svg+xml"
        data = html.escape(self.address) or f"data:{kind};base64,{base64.b64encode(self.content).decode('ascii')}"
        size = ""
        if kind == "image/png":  # so that nothing moves while the page is built up
            width, height = (int.from_bytes(self.content[at : at + 4], "big") for at in (16, 20))
            size = f' width="{width}" height="{height}"'
        caption = f"<figcaption>{html.escape(self.caption)}</figcaption>" if self.caption else ""
        return f'<figure><img src="{data}" alt="{html.escape(self.text)}"{size}>{caption}</figure>'


@dataclass(frozen=True)
class Fold:
    """Parts that are hidden until the reader opens them; printed in any case."""

    title: str
    parts: Sequence[Part]

    def html(self) -> str:
        """The part as HTML.

        Returns
        -------
        str
            A ``details`` element, closed at first.
        """
        inner = "\n".join(part.html() for part in self.parts)
        return f"<details><summary>{html.escape(self.title)}</summary>\n{inner}\n</details>"


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    parts: Sequence[Part]


def page(title: str, sections: Sequence[Section], *, lead: str = "") -> str:
    """A whole page.

    Parameters
    ----------
    title : str
    sections : sequence of Section
        Those without parts are left out.
    lead : str
        The most important result in a sentence or two, above everything else.

    Returns
    -------
    str
        The content of an HTML file that refers to no other file or address.
    """
    names: dict[str, int] = {}
    contents, body = [], []
    for section in sections:
        if not section.parts:
            continue
        name = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-") or "section"
        names[name] = names.get(name, 0) + 1
        anchor = name if names[name] == 1 else f"{name}-{names[name]}"
        heading = html.escape(section.title)
        contents.append(f'<li><a href="#{anchor}">{heading}</a></li>')
        parts = "\n".join(part.html() for part in section.parts)
        body.append(f'<section id="{anchor}">\n<h2>{heading}</h2>\n{parts}\n</section>')
    leading = f'<p class="lead">{html.escape(lead)}</p>\n' if lead else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{html.escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{html.escape(title)}</h1>
{leading}<nav aria-label="contents"><ul>{"".join(contents)}</ul></nav>
{chr(10).join(body)}
</main>
</body>
</html>
"""


def shown(value: Any) -> str:
    """A value as a table shows it: four digits of a number, ``a to b`` for two numbers, a count for a long list."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "none"
    if isinstance(value, list | tuple):
        if len(value) == 2 and all(isinstance(each, int | float) for each in value):
            return f"{shown(value[0])} to {shown(value[1])}"
        if len(value) > LONG or any(isinstance(each, list | tuple | Mapping) for each in value):
            return f"{len(value)} values"
        return ", ".join(map(shown, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={shown(each)}" for name, each in value.items()) or "none"
    return str(value)


def _cell(value: Any) -> str:
    text = shown(value)
    kind = ' class="number"' if isinstance(value, int | float) and not isinstance(value, bool) else ""
    if any(len(word) > LONG_WORD for word in text.split()):
        kind = ' class="long"'
    return f"<td{kind}>{html.escape(text)}</td>"


def described_in(content: bytes) -> str:
    """The description that a PNG file holds.

    Parameters
    ----------
    content : bytes
        Of the file.

    Returns
    -------
    str
        What `cordstasks.analysis.figures.save` wrote; empty if there is none.
    """
    from PIL import Image, UnidentifiedImageError  # late: a page without pictures does not need it

    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            image.load()  # texts may stand behind the pixels
            return str(getattr(image, "text", {}).get("Description", ""))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return ""


def tables_of(value: Mapping[str, Any], title: str = "") -> list[Table]:
    """Everything in a nested mapping, such as summary.json, as tables.

    Parameters
    ----------
    value : mapping
        JSON values. A list of mappings becomes a table of its own, a mapping a table of names and values.
    title : str
        Of the first table; those within it get longer titles.

    Returns
    -------
    list of Table
        Long lists of numbers are counted and not printed.
    """
    single: list[tuple[str, Any]] = []
    within: list[Table] = []
    for name, each in value.items():
        words = str(name).replace("_", " ")
        longer = f"{title}, {words}" if title else words
        if isinstance(each, Mapping) and each:
            within += tables_of(each, longer)
        elif isinstance(each, list | tuple) and each and all(isinstance(row, Mapping) for row in each):
            columns = list(dict.fromkeys(key for row in each for key in row))
            rows = [[row.get(column) for column in columns] for row in each]
            within.append(Table([str(column).replace("_", " ") for column in columns], rows, longer))
        else:
            single.append((words, each))
    return ([Table(["name", "value"], single, title)] if single else []) + within
