"""The pages on dynamics and robustness say of each tool what it computes, when it is not valid, and what it costs."""

from __future__ import annotations

import inspect
import re

import pytest

from cordstasks.analysis import dynamics
from helpers import ROOT

HEAD = ["tool", "computes", "not valid", "cost", "memory"]


def table(page: str) -> dict[str, list[str]]:
    """The rows of a page's first table by the names of its tools."""
    rows = [
        line.strip("| ").split(" | ") for line in (ROOT / "docs" / "api" / page).read_text().splitlines() if line[:1] == "|"
    ]
    assert rows[0] == HEAD
    return {name: row for row in rows[2:] for name in re.findall(r"`(\w+)`", row[0])}


@pytest.mark.parametrize("page", ["dynamics.md", "robustness.md"])
def test_every_row_is_whole(page: str) -> None:
    for name, row in table(page).items():
        assert len(row) == len(HEAD) and all(cell.strip() for cell in row), name


def test_every_tool_is_there() -> None:
    described = table("dynamics.md") | table("robustness.md")
    tools = [name for name in dynamics.__all__ if inspect.isfunction(getattr(dynamics, name))]
    assert len(tools) > 20
    assert not [name for name in tools if name not in described]
