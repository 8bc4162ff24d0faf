"""Settings: frozen dataclasses whose fields have a meaning, allowed values, and a flag of a command that sets them.

A field is made with `setting`, which takes one of the kinds below, such as ``whole(least=1)``. The same kind checks a value
that a caller gives, one that config.json holds, and one that a flag gives.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

from cordstasks.errors import InputError, unknown
from cordstasks.utils.arguments import is_number, plain, shown

__all__ = [
    "Kind",
    "Settings",
    "add_flags",
    "as_text",
    "assignments",
    "choice",
    "fraction",
    "given_by_flags",
    "mapping",
    "not_negative",
    "number",
    "optional",
    "positive",
    "same_value",
    "setting",
    "several",
    "text",
    "truth",
    "whole",
]

LARGEST = 2**63  # whole numbers are below this: what torch and NumPy can take
T = TypeVar("T", bound="Settings")


@dataclass(frozen=True)
class Kind:
    """The allowed values of a setting.

    Attributes
    ----------
    wanted : str
        The same in words, such as ``"a whole number of at least 1"``.
    fit : callable
        Takes a value and returns it as the setting keeps it; raises a ValueError where it cannot be one.
    flag : mapping
        What `argparse.ArgumentParser.add_argument` needs to know of the flag.
    """

    wanted: str
    fit: Callable[[Any], Any]
    flag: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def whole(*, least: int = 1) -> Kind:
    """Whole numbers of at least `least`."""

    def fit(value: Any) -> int:
        given = plain(value)
        if not isinstance(given, int) or isinstance(given, bool) or not least <= given < LARGEST:
            raise ValueError
        return int(given)

    return Kind(f"a whole number of at least {least}", fit, {"type": int})


def number(
    wanted: str, *, least: float = -math.inf, above: float = -math.inf, most: float = math.inf, below: float = math.inf
) -> Kind:
    """Finite numbers within bounds: `least` and `most` are allowed, `above` and `below` are not."""

    def fit(value: Any) -> float:
        given = plain(value)
        if not is_number(given) or not (least <= given <= most and above < given < below):
            raise ValueError
        return float(given)

    return Kind(wanted, fit, {"type": float})


def positive() -> Kind:
    """Finite numbers above 0."""
    return number("a finite number above 0", above=0.0)


def not_negative() -> Kind:
    """Finite numbers of at least 0."""
    return number("a finite number of at least 0", least=0.0)


def fraction() -> Kind:
    """Numbers from 0 to 1."""
    return number("a number from 0 to 1", least=0.0, most=1.0)


def truth() -> Kind:
    """True or false."""

    def fit(value: Any) -> bool:
        given = plain(value)
        if not isinstance(given, bool):
            raise ValueError
        return given

    return Kind("true or false", fit)


def text() -> Kind:
    """A non-empty text."""

    def fit(value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ValueError
        return str(value)  # NumPy has texts of its own

    return Kind("a name", fit)


def choice(*names: str) -> Kind:
    """One of several names."""

    def fit(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError
        return str(value)

    return Kind(f"one of {', '.join(names)}", fit, {"names": names})


def optional(kind: Kind) -> Kind:
    """None, or a value that another kind allows."""
    return Kind(f"{kind.wanted}, or null", lambda value: None if value is None else kind.fit(value), kind.flag)


def several(kind: Kind, wanted: str, *, different: bool = False, length: int | None = None, in_order: bool = False) -> Kind:
    """A sequence of one or more values of another kind; a single value is a sequence of one.

    Parameters
    ----------
    kind : Kind
        Of each member.
    wanted : str
        The allowed values, in words.
    different : bool
        Whether no two may be equal.
    length : int, optional
        How many there must be.
    in_order : bool
        Whether they are sorted, since their order has no meaning.
    """

    def fit(value: Any) -> tuple[Any, ...]:
        given = plain(value)
        parts = tuple(kind.fit(part) for part in (given if isinstance(given, tuple) else (given,)))
        if not parts or (different and len(set(parts)) < len(parts)) or len(parts) != (length or len(parts)):
            raise ValueError
        return tuple(sorted(parts)) if in_order else parts

    return Kind(wanted, fit, {**kind.flag, "nargs": "+"})


def mapping(wanted: str) -> Kind:
    """Names and values; lists and arrays become tuples."""

    def fit(value: Any) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, Mapping) or not all(isinstance(each, str) for each in value):
            raise ValueError
        return {each: plain(content) for each, content in value.items()}

    return Kind(wanted, fit)


def setting(
    kind: Kind,
    help: str,
    *,
    default: Any = dataclasses.MISSING,
    group: str = "how",
    flag: str | None = None,
    parse: Callable[[str], Any] | None = None,
    metavar: str | None = None,
    by_task: bool = False,
    added: bool = False,
) -> Any:
    """A field of a `Settings` class.

    Parameters
    ----------
    kind : Kind
        What the setting may be.
    help : str
        What it means, for ``--help`` and the documentation.
    default : object, optional
        Its value unless another is given; a setting without one must be given.
    group : str
        The heading under which ``--help`` lists it; ``""`` for settings that have no flag.
    flag : str, optional
        The flag, where it is not the setting's own name. One of a setting that is true by default turns it off.
    parse : callable, optional
        Turns a flag's text into a value, or raises an InputError that names the flag.
    metavar : str, optional
        What ``--help`` calls that text.
    by_task : bool
        Whether a task may have a default of its own.
    added : bool
        Whether runs were made before there was this setting; of those it has the default, which must not change any more.
    """
    metadata = {
        "kind": kind,
        "help": help,
        "group": group,
        "flag": flag,
        "parse": parse,
        "metavar": metavar,
        "by_task": by_task,
        "added": added,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """Settings whose fields are made with `setting`; every value is checked when one is made.

    Raises
    ------
    InputError
        If a value is not allowed by its field; the message names the field, the value and the allowed values.
    """

    FAMILY: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, self.checked(each.name, getattr(self, each.name)))

    @classmethod
    def checked(cls, name: str, value: Any) -> Any:
        """One setting as this class stores it, if it is possible with any values of the others.

        Parameters
        ----------
        name : str
            A field.
        value : object
            What a caller gave.

        Returns
        -------
        object
            The value, of the field's type: NumPy's numbers become Python's, lists and arrays become tuples.

        Raises
        ------
        InputError
            If the value is of a wrong type or out of range.
        """
        kind = cls._kinds()[name]
        try:
            return kind.fit(value)
        except InputError:
            raise
        except (ValueError, TypeError, OverflowError):
            if isinstance(value, str) and "names" in kind.flag:
                raise unknown(name, value, kind.flag["names"]) from None
            raise InputError(f"{name}={shown(value)}: give {kind.wanted}") from None

    @classmethod
    def _kinds(cls) -> dict[str, Kind]:
        return {each.name: each.metadata["kind"] for each in fields(cls)}

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of all settings."""
        return tuple(each.name for each in fields(cls))

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return {each: _listed(getattr(self, each)) for each in self.names()}

    @classmethod
    def from_dict(cls: type[T], values: Mapping[str, Any], source: str) -> T:
        """Settings from the result of `as_dict`.

        Parameters
        ----------
        values : mapping
            What a file holds; every setting must be there, unless runs were made before there was this setting.
        source : str
            The file, for messages.

        Raises
        ------
        InputError
            If a setting is missing or is not what it may be; the message names the file.
        """
        values = {**{each.name: each.default for each in fields(cls) if each.metadata["added"]}, **values}
        missing = [each for each in cls.names() if each not in values]
        if missing:
            raise InputError(f"{source}: lacks {missing[0]!r}; the folder holds no run of this version, so choose another")
        for each, kind in cls._kinds().items():
            try:
                cls.checked(each, values[each])
            except InputError:
                # as in the file, since flags of the same name do not change it
                raise InputError(
                    f'{source}: has "{each}": {_brief(values[each])}; expected {kind.wanted}: correct it, or choose another '
                    "run"
                ) from None
        try:
            return cls(**{each: values[each] for each in cls.names()})
        except InputError as error:
            raise InputError(f"{source}: holds settings that do not fit together ({error}); correct it") from None

    def agree(self, given: Mapping[str, Any], folder: Any, *, instead: str = "leave it out") -> None:
        """Check that settings that are given again agree with these settings of a run.

        Parameters
        ----------
        given : mapping
            Settings that the caller gave again.
        folder : path-like
            The run's folder, for messages.
        instead : str
            What the message proposes; what is left out may also be a default that is not the run's value.

        Raises
        ------
        InputError
            If one differs.
        """
        for each, value in sorted(given.items()):
            now, then = self.checked(each, value), getattr(self, each)
            if isinstance(now, Mapping):  # only values that are given again must agree
                now = {key: content for key, content in now.items() if not same_value(content, then.get(key))}
                if not now:
                    continue
                then = {key: then[key] for key in now if key in then}
            if not same_value(now, then):
                has = "none" if then is None or then == {} else as_text(then)
                raise InputError(f"{each}={as_text(now)}: the run in {folder} has {has}; {instead}, or use another folder")


def same_value(now: Any, then: Any) -> bool:
    """Whether two values are equal, or are whole paths of one file or folder."""
    paths = isinstance(now, str) and isinstance(then, str) and os.path.isabs(now)
    return bool(now == then or (paths and os.path.realpath(now) == os.path.realpath(then)))


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {each: _listed(content) for each, content in value.items()}
    return [_listed(part) for part in value] if isinstance(value, tuple) else value


def as_text(value: Any) -> str:
    """A value as it is written on a command line."""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{each}={as_text(content)}" for each, content in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _brief(value: Any) -> str:
    text = json.dumps(value, default=repr)
    return text if len(text) <= 80 else f"{text[:77]}..."


def add_flags(
    parser: argparse.ArgumentParser,
    settings: type[Settings],
    *,
    defaults: Settings | None = None,
) -> None:
    """Give a parser the flags of all settings that have one; each is None unless the command line holds it.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        A command's.
    settings : type
        A class of settings.
    defaults : Settings, optional
        What the settings are if no flag is given, where this is known, for ``--help``.
    """
    groups: dict[str, Any] = {}
    for each in fields(settings):
        group = each.metadata["group"]
        if not group:
            continue
        if group not in groups:
            groups[group] = parser.add_argument_group(group)
        kind, description = each.metadata["kind"], each.metadata["help"].replace("%", "%%")
        flag = each.metadata["flag"] or "--" + each.name.replace("_", "-")
        if kind.wanted.startswith("true or false"):
            if each.metadata["by_task"]:
                action: Any = argparse.BooleanOptionalAction
                description += _default_text(each, defaults)
            else:
                action = "store_false" if each.default is True else "store_true"
            groups[group].add_argument(flag, dest=each.name, action=action, default=None, help=description)
            continue
        options = {key: value for key, value in kind.flag.items() if key != "names"}
        if each.metadata["parse"] is not None:  # by `given_by_flags`, since argparse would hide what is wrong
            options = {}
        description += _default_text(each, defaults)
        groups[group].add_argument(
            flag, dest=each.name, default=None, help=description, metavar=each.metadata["metavar"], **options
        )


def _default_text(each: dataclasses.Field[Any], defaults: Settings | None) -> str:
    """The default of a setting, in brackets, as far as it is known."""
    if defaults is None and each.metadata["by_task"]:
        return " (default: by task)"
    value = each.default if defaults is None else getattr(defaults, each.name)
    return "" if value is None or value is dataclasses.MISSING else f" (default {as_text(value)})"


def given_by_flags(options: argparse.Namespace, settings: type[Settings]) -> dict[str, Any]:
    """The settings that were given on the command line.

    Raises
    ------
    InputError
        If the text of a flag is not a value; the message names the flag.
    """
    found, given = vars(options), {}
    for each in fields(settings):
        value, parse = found.get(each.name), each.metadata["parse"]
        if value is not None:
            given[each.name] = value if parse is None else parse(value)
    return given


def assignments(texts: Sequence[str], example: str) -> dict[str, Any]:
    """Task parameters from ``NAME=VALUE``, where a value is JSON or, without quotes, a name.

    Parameters
    ----------
    texts : sequence of str
        As ``--set`` has them.
    example : str
        An assignment that messages show.

    Returns
    -------
    dict
        Values by name; lists are tuples.

    Raises
    ------
    InputError
        If a text is not an assignment, has no value, or a name is given twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        each, equals, value = text.partition("=")
        if not equals or not each:
            raise InputError(f"--set {text}: write NAME=VALUE, such as {example}")
        if each in found:
            raise InputError(f"--set {text}: {each} is set twice; leave one out")
        try:
            parsed = json.loads(value, parse_constant=_no_number)
        except ValueError:
            if not value or value[0] in '[{"' or value in ("NaN", "Infinity", "-Infinity"):
                raise InputError(
                    f"--set {text}: the value must be a number, true, false, a name or a list such as [500,1000]"
                ) from None
            parsed = value  # a name needs no quotes
        found[each] = plain(parsed)
    return found


def _no_number(constant: str) -> float:
    raise ValueError(constant)  # NaN and Infinity, which Python's JSON accepts although they are not in the standard
