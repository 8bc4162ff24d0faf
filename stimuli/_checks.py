"""Checks of a caller's numbers, for all stimuli."""

from __future__ import annotations

import math

from cordstasks.errors import InputError


def finite(name: str, value: object, unit: str = "") -> float:
    """`value` as a float, or an InputError when it is not a finite number."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{name} is {value!r}; give a finite number{_of(unit)}")
    return number


def positive(name: str, value: object, unit: str = "") -> float:
    """`value` as a float, or an InputError when it is not a finite number above zero."""
    number = finite(name, value, unit)
    if number <= 0:
        raise InputError(f"{name} is {value!r}; give a number above 0{_of(unit)}")
    return number


def not_negative(name: str, value: object, unit: str = "") -> float:
    """`value` as a float, or an InputError when it is not a finite number of at least zero."""
    number = finite(name, value, unit)
    if number < 0:
        raise InputError(f"{name} is {value!r}; give a number of at least 0{_of(unit)}")
    return number


def whole(name: str, value: object) -> int:
    """`value` as an int, or an InputError when it is not a whole number of at least 1."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < 1:
        raise InputError(f"{name} is {value!r}; give a whole number of at least 1")
    return int(value.__index__())


def _of(unit: str) -> str:
    return f" ({unit})" if unit else ""
