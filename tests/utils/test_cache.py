"""Where the cache is: the user's choice, else the platform's."""

from __future__ import annotations

import sys
from pathlib import Path

import platformdirs
import pytest

from cordstasks.utils.cache import cache_folder


@pytest.mark.parametrize("chosen", ["~/chosen", "/somewhere/else"])
def test_the_users_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chosen: str) -> None:
    for home in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(home, str(tmp_path))
    monkeypatch.setenv("CORDSTASKS_CACHE", chosen)
    assert cache_folder() == Path(chosen.replace("~", str(tmp_path)))


@pytest.mark.parametrize("unset", [None, ""])
def test_the_platforms_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unset: str | None) -> None:
    if unset is None:
        monkeypatch.delenv("CORDSTASKS_CACHE", raising=False)
    else:
        monkeypatch.setenv("CORDSTASKS_CACHE", unset)
    assert cache_folder().name == "cordstasks"
    assert cache_folder().parent == platformdirs.user_cache_path()
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache_folder() == tmp_path / "cordstasks"
