"""The description of a figure in words, for readers who cannot see it; `save` writes it into the file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

__all__ = ["describe"]

LONGEST = 900  # characters; screen readers read an alternative text as one piece
MOST_PANELS, MOST_LINES = 4, 6


def describe(figure: Figure) -> str:
    """Describe a figure in words: its panels, what their axes show, and where each labelled line begins and ends.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Such as the functions of `cordstasks.analysis.figures` return; not modified.

    Returns
    -------
    str
        Sentences, of at most 900 characters. `save` writes them into PNG, SVG and PDF files.
    """
    panels = [axis for axis in figure.axes if axis.get_visible() and axis.get_label() != "<colorbar>" and _has_data(axis)]
    bars = [_clean(axis.get_ylabel() or axis.get_xlabel()) for axis in figure.axes if axis.get_label() == "<colorbar>"]
    sentences = []
    if figure.get_suptitle():
        sentences.append(_clean(figure.get_suptitle()))
    if len(panels) > 1:
        kind = "pictures" if all(axis.images and not axis.lines for axis in panels) else "panels"
        sentences.append(f"{len(panels)} {kind}")
    few = panels if len(panels) <= MOST_PANELS else panels[:MOST_PANELS]
    for number, axis in enumerate(few, 1):
        text = _panel(axis)
        if text:
            sentences.append(f"Panel {number}: {text}" if len(panels) > 1 else text)
    sentences += [f"Colours show {bar}" for bar in dict.fromkeys(bars) if bar]
    named = [text for legend in figure.legends for text in (_clean(each.get_text()) for each in legend.get_texts()) if text]
    if named:
        sentences.append(f"Legend: {', '.join(dict.fromkeys(named))}")
    text = ". ".join(sentence.rstrip(".") for sentence in sentences) + "." if sentences else ""
    return text if len(text) <= LONGEST else text[: LONGEST - 3].rsplit(" ", 1)[0] + "..."


def _has_data(axis: Axes) -> bool:
    return bool(axis.has_data() or axis.images or axis.texts)


def _panel(axis: Axes) -> str:
    """What one panel shows."""
    titles = (axis.get_title("left"), axis.get_title("center"), axis.get_title("right"))
    title = next((_clean(each) for each in titles if each), "")
    x, y = _clean(axis.get_xlabel()), _clean(axis.get_ylabel())
    parts = [title] if title else []
    if x and y:
        parts.append(f"{y} against {x}")
    elif x or y:
        parts.append(f"axis: {x or y}")
    points = [each for each in axis.containers if isinstance(each, ErrorbarContainer)]
    series: list[tuple[object, Any]] = [(each.get_label(), each.lines[0]) for each in points if each.lines[0] is not None]
    series += [(line.get_label(), line) for line in axis.lines]
    lines = [text for name, line in series if (text := _line(name, line))]
    parts += lines[:MOST_LINES]
    if len(lines) > MOST_LINES:
        parts.append(f"and {len(lines) - MOST_LINES} more lines")
    shown = {_clean(str(name)) for name, _ in series}
    legend = axis.get_legend()
    others = [_clean(each.get_text()) for each in legend.get_texts()] if legend is not None else []
    others = [name for name in dict.fromkeys(others) if name and name not in shown]
    if others:
        parts.append(f"also {', '.join(others)}")
    return "; ".join(parts)


def _line(label: object, line: Any) -> str:
    """Where a labelled line begins and ends, or where a horizontal or vertical one is; empty for lines without a label."""
    name = _clean(str(label))
    x, y = line.get_data()
    points = [(a, b) for a, b in zip(_numbers(x), _numbers(y), strict=False) if math.isfinite(a) and math.isfinite(b)]
    if not name or name.startswith("_") or not points:
        return ""
    (first, start), (last, end) = points[0], points[-1]
    if len(points) == 1:
        return f"{name}: {start:.3g} at {first:.3g}"
    if first == last or all(b == start for _, b in points):
        return f"{name} at {first if first == last else start:.3g}"
    return f"{name} goes from {start:.3g} at {first:.3g} to {end:.3g} at {last:.3g}"


def _numbers(values: Iterable[Any]) -> list[float]:
    found = []
    for value in values:
        try:
            found.append(float(value))
        except (TypeError, ValueError):
            found.append(math.nan)
    return found


def _clean(text: str) -> str:
    """A text of a figure without Matplotlib's mathematics and line breaks."""
    plain = re.sub(r"\\[a-z]+|[\\{}$^_]", " ", text) if text.count("$") > 1 else text
    return " ".join(plain.split())
