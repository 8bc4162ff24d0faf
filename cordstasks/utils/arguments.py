"""Arguments as they are documented: NumPy numbers, arrays and lists become Python numbers and tuples, or are refused."""

from __future__ import annotations

import math
import os
from dataclasses import fields
from functools import lru_cache
from numbers import Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from cordstasks.errors import InputError

LARGEST_SEED = 2**63


def plain(value: Any) -> Any:
    """Return `value` with NumPy's numbers as Python's, and lists, ranges and arrays as tuples; anything else as it is."""
    if isinstance(value, (list, tuple, range)):
        return tuple(plain(part) for part in value)
    if hasattr(value, "tolist") and not isinstance(value, type):  # arrays, NumPy's numbers, series, tensors
        return plain(value.tolist())
    return value


def is_number(value: Any) -> bool:
    """Whether `value` is a finite real number; True and False are not."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number with hundreds of digits
        return False


def whole(name: str, value: Any, *, least: int = 1, asked: str = "") -> int:
    """Return `value` as an int, or raise an InputError if it is not a whole number of at least `least`.

    Parameters
    ----------
    name : str
    value : number
    least : int
    asked : str
        The fix in the error, if it is not only the number.
    """
    given = plain(value)
    if not isinstance(given, int) or isinstance(given, bool) or given < least:
        raise InputError(f"{name}={shown(value)}: {asked or f'give a whole number of at least {least}'}")
    return int(given)


def integers(name: str, values: Any, *, least: int = 1) -> tuple[int, ...]:
    """Return a sequence of whole numbers as a tuple of int, or raise an InputError."""
    given = plain(values)
    if not isinstance(given, tuple):
        raise InputError(f"{name}={shown(values)}: give a sequence of whole numbers of at least {least}")
    return tuple(whole(name, value, least=least) for value in given)


def number(
    name: str,
    value: Any,
    asked: str,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
) -> float:
    """Return `value` as a float, or raise an InputError if it is not a finite number within bounds.

    Parameters
    ----------
    name : str
    value : number
    asked : str
        The fix in the error, such as "give a time constant above 0 ms".
    least, most : float
        Bounds that are themselves allowed.
    above, below : float
        Bounds that are themselves not allowed.
    """
    given = plain(value)
    if not is_number(given) or not (least <= given <= most and above < given < below):
        raise InputError(f"{name}={shown(value)}: {asked}")
    return float(given)


def path_of(name: str, value: Any) -> Path:
    """Return a path as a Path, or raise an InputError if it is none; "" would silently be the working directory."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{name}={shown(value)}: give the path of a file or folder")
    return Path(text)


def seed_of(seed: Any, *, otherwise: str = "; the same number gives the same again") -> int:
    """Return a seed as an int, or raise an InputError that ends with `otherwise`."""
    given = plain(seed)
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < LARGEST_SEED:
        raise InputError(f"seed={shown(seed)}: give a whole number of at least 0{otherwise}")
    return int(given)


def seeds_of(seed: Any) -> int | list[int]:
    """Return a seed, or a sequence of numbers that make one, as int or list of int, or raise an InputError."""
    given = plain(seed)
    if isinstance(given, tuple) and given:
        return [seed_of(part) for part in given]
    return seed_of(seed)


def plain_fields(settings: Any, *, check_floats: bool = True, **asked: str) -> None:
    """Convert the fields of a frozen dataclass to their declared types, in place; for its ``__post_init__``.

    Values are converted to the declared type: a list or an array of numbers to a tuple, a NumPy number to an int or a float,
    a path to text.

    Parameters
    ----------
    settings : dataclass
    check_floats : bool
        Whether values that are not finite are refused here if a float is declared, instead of by the dataclass's own
        checks.
    **asked : str
        The fix in the error, by field, if the type alone is not enough.

    Raises
    ------
    InputError
        If a value does not have a type that its field declares, or a number is not finite.
    """
    kind: Any = type(settings)
    hints = _hints(kind)
    for field in fields(settings):
        value = getattr(settings, field.name)
        try:
            options = _options(hints[field.name])
            unchecked = float in options and not check_floats
            fitted = plain(value) if unchecked else _fitted(value, options)
        except _Unfit as unfit:
            wanted = asked.get(field.name) or (_DURATION if {float, tuple[float, float]} <= set(options) else unfit)
            raise InputError(f"{field.name}={shown(value)}: give {wanted}") from None
        object.__setattr__(settings, field.name, fitted)


def shown(value: Any) -> str:
    """`value` for an error, in one line."""
    text = " ".join(repr(plain(value)).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


# for a field that may be a number or a pair of numbers
_DURATION = "a duration in ms, or (shortest, longest)"


class _Unfit(ValueError):
    """What a field accepts, as the fix in an error."""


@lru_cache(maxsize=256)
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _options(hint: Any) -> tuple[Any, ...]:
    """The types that a type hint allows."""
    if get_origin(hint) in (Union, UnionType):
        return tuple(option for part in get_args(hint) for option in _options(part))
    return (hint,)


def _fitted(value: Any, options: tuple[Any, ...], *, part: bool = False) -> Any:
    kinds = [get_origin(option) or option for option in options]
    basic = (bool, int, float, str, tuple, NoneType)
    if any(isinstance(kind, type) and kind not in basic and isinstance(value, kind) for kind in kinds):
        return value  # a Display, a Mapping
    given = plain(value)
    if given is None and NoneType in options:
        return None
    if isinstance(given, tuple) and tuple in kinds:
        wanted = _options(get_args(options[kinds.index(tuple)])[0])
        try:
            return tuple(_fitted(each, wanted, part=True) for each in given)
        except _Unfit:
            kind = "names" if str in wanted else "whole numbers" if int in wanted else "finite numbers"
            raise _Unfit(f"a tuple of {kind}") from None
    if str in options and isinstance(given, (str, os.PathLike)):
        return os.fspath(given)
    if bool in options and isinstance(given, int) and given in (0, 1):
        return bool(given)
    # An array of whole numbers often has type float; a single float instead of a whole number is a mistake.
    if int in options and is_number(given) and (isinstance(given, int) or (part and given == int(given))):
        return int(given)
    if float in options and is_number(given):
        return given
    raise _Unfit(" or ".join(map(_described, options)))


def _described(option: Any) -> str:
    if get_origin(option) is tuple:
        return f"a tuple of {'names' if get_args(option)[0] is str else 'numbers'}"
    names = {int: "a whole number", float: "a finite number", bool: "True or False", str: "a name", NoneType: "None"}
    return names.get(option, f"a {getattr(option, '__name__', option)}")
