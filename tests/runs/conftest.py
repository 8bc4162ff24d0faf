"""A small run of the main command that several test files look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from cordstasks import train
from cordstasks.cordsnet import save
from helpers import (
    inside,
    output_of,
    settling_cordsnet,
    small_run,
)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the weights of a small CordsNet that settles, and a bank that all runs here share."""
    folder = tmp_path_factory.mktemp("place")
    save(settling_cordsnet(), folder / "r2.safetensors")
    return folder


@pytest.fixture(scope="session")
def finished(place: Path) -> tuple[Path, str]:
    """A run that came to its end, in the folder that it chose, and what it printed."""
    with inside(place):
        code, out, _ = output_of(train.main, *small_run(place))
    assert code == 0
    return place / "runs" / "rdm-001", out
