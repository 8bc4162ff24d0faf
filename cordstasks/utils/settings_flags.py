"""The flags that give a command the settings of a run, so that a report can say how to repeat it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from cordstasks.errors import InputError
from cordstasks.utils.settings import Settings

__all__ = ["flags_of"]


def flags_of(settings: Settings, defaults: Settings) -> list[str]:
    """The flags for those settings that differ from the defaults.

    Parameters
    ----------
    settings : Settings
        Of a run.
    defaults : Settings
        Of the same class: what the command chooses if it gets no flag.

    Returns
    -------
    list of str
        Words of a command line. A setting that no flag can give, such as one of a class's own, is left out.
    """
    words: list[str] = []
    for each in dataclasses.fields(settings):
        value, usual = getattr(settings, each.name), getattr(defaults, each.name)
        if value == usual:
            continue
        if isinstance(value, Mapping):
            for name, content in value.items():
                if name not in usual or usual[name] != content:
                    words += ["--set", f"{name}={content if isinstance(content, str) else json.dumps(content)}"]
        elif each.metadata.get("group") and value is not None:
            words += _flag(each, value)
    return words


def _flag(each: dataclasses.Field[Any], value: Any) -> list[str]:
    """The words that give one setting its value."""
    flag = each.metadata["flag"] or "--" + each.name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--no-{flag[2:]}" if each.metadata["by_task"] and not value else flag]
    parse = each.metadata["parse"]
    if parse is None:
        return [flag, *map(str, value if isinstance(value, tuple) else (value,))]
    for separator in ("x", ","):
        text = separator.join(map(str, value))
        try:
            if parse(text) == value:
                return [flag, text]
        except InputError:
            continue
    return []
