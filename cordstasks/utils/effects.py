"""Settings that would change nothing: a user who gives one is informed, and does not believe that it was used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cordstasks.errors import InputError
from cordstasks.utils.settings import Settings, as_text, same_value

__all__ = ["check_effects"]


def check_effects(
    settings: Settings, given: Mapping[str, Any], usual: Mapping[str, Any], needs: Mapping[str, tuple[str, Any]]
) -> None:
    """Raise an InputError for a setting that a caller gives although other settings prevent its use.

    The usual value is accepted, so that all settings of a run can be given again.

    Parameters
    ----------
    settings : Settings
        What a run would have.
    given : mapping
        What the caller chose of them.
    usual : mapping
        What each setting is if the caller does not choose it.
    needs : mapping of str to tuple
        By setting: another setting, and its value without which the setting is not used.

    Raises
    ------
    InputError
        For the first such setting; the message says what it needs.
    """
    for name, (other, value) in needs.items():
        if name not in given or getattr(settings, other) == value:
            continue
        chosen = getattr(settings, name)
        if not same_value(chosen, settings.checked(name, usual[name])):
            raise InputError(
                f"{name}={as_text(chosen)}: has no effect unless {other}={as_text(value)}; leave it out, or give "
                f"{other}={as_text(value)}"
            )
