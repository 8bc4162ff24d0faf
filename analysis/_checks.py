"""Checks of arguments, for all modules of this package."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.errors import InputError

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]


_TORCH_EPSILON = {"torch.bfloat16": 2.0**-7, "torch.float16": 2.0**-10, "torch.float32": 2.0**-23}


def array_of(values: Any) -> NDArray[Any]:
    """Return `values` as an array of their own type: lists, PyTorch tensors, and masked arrays, NaN where masked."""
    if hasattr(values, "detach") and hasattr(values, "cpu"):
        values = values.detach().cpu()
        values = (values.double() if str(values.dtype) in _TORCH_EPSILON else values).numpy()
    if isinstance(values, np.ma.MaskedArray):
        masked: Any = values
        values = masked.astype(np.float64).filled(np.nan) if np.any(masked.mask) else masked.data
    return np.asarray(values)


def numbers(name: str, values: ArrayLike) -> Floats:
    """Return `values` in double precision, whatever their real type: types are converted only here."""
    try:
        array = array_of(values)
        if array.dtype.kind in "cmMSU":
            raise TypeError(f"its type is {array.dtype}")
        return np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be an array of numbers ({error}); convert it first") from error


def rounding(values: Any) -> float:
    """Return the relative rounding (machine epsilon) of the type of `values`, at least that of float64."""
    double = float(np.finfo(np.float64).eps)
    kind = getattr(values, "dtype", None)
    if str(kind) in _TORCH_EPSILON:
        return _TORCH_EPSILON[str(kind)]
    return max(double, float(np.finfo(kind).eps)) if isinstance(kind, np.dtype) and kind.kind == "f" else double


def real_array(name: str, values: ArrayLike, axes: tuple[str, ...]) -> Floats:
    """Return `values` as finite float64 with one non-empty axis for each name in `axes`."""
    array = numbers(name, values)
    shape = f"({', '.join(axes)}{',' if len(axes) == 1 else ''})"
    if array.ndim != len(axes) or array.size == 0:
        raise InputError(f"{name} has shape {array.shape}; give an array {shape} that is not empty")
    if not np.isfinite(array).all():
        raise InputError(f"{name} holds {int((~np.isfinite(array)).sum())} values that are not finite; drop those trials")
    return array


def column(name: str, values: ArrayLike) -> NDArray[Any]:
    """Return a condition (trial,) of numbers or names: floats in double precision, other types as they are."""
    array = array_of(values)
    if array.dtype.kind in "fiub":
        checked = real_array(name, array, ("trial",))
        return checked if array.dtype.kind == "f" else array
    if array.ndim != 1 or array.dtype.kind not in "US":
        raise InputError(f"{name} has shape {array.shape} and type {array.dtype}; give (trial,) numbers or names")
    return array


def flags(name: str, values: ArrayLike, trials: int, partner: str) -> Booleans:
    """Return `values` (trial,) as booleans, one for each of the `trials` of the argument `partner`."""
    array = real_array(name, values, ("trial",))
    if not np.isin(array, (0.0, 1.0)).all():
        raise InputError(f"{name} holds values other than False and True, such as {array[~np.isin(array, (0, 1))][0]:g}")
    same_trials(name, array, trials, partner)
    return array.astype(bool)


def same_trials(name: str, array: NDArray[Any], trials: int, partner: str) -> None:
    """Refuse `array` unless its first axis has as many trials as `partner`."""
    if len(array) != trials:
        raise InputError(f"{name} has {len(array)} trials but {partner} has {trials}; give one value for each trial")


def coherences(name: str, values: ArrayLike, *, signed: bool) -> Floats:
    """Return motion coherences (trial,) as fractions in [0, 1], or in [-1, 1] where `signed`."""
    array = real_array(name, values, ("trial",))
    if np.abs(array).max() > 1:
        raise InputError(f"{name} reaches {np.abs(array).max():g}; it is a fraction (0.512, not 51.2 %): divide it by 100")
    if not signed and array.min() < 0:
        raise InputError(f"{name} reaches {array.min():g}; it has no sign here: take its absolute value")
    return array


def open_fraction(name: str, value: float) -> float:
    """Return `value` if it lies strictly between 0 and 1."""
    if not (isinstance(value, Real) and 0 < value < 1):
        raise InputError(f"{name} is {value}; give a number between 0 and 1, such as 0.95")
    return float(value)


def count(name: str, value: int, least: int) -> int:
    """Return `value` if it is a whole number of at least `least`."""
    if not isinstance(value, Real) or not value >= least or value % 1:
        raise InputError(f"{name} is {value}; give a whole number of at least {least}")
    return int(value)


def plain(value: float) -> float | None:
    """Return `value` for JSON: a finite float, or None for a value that could not be estimated."""
    return float(value) if np.isfinite(value) else None


def plain_interval(interval: tuple[float, float]) -> list[float] | None:
    """Return `interval` as a list of two finite floats, or None for an interval that could not be estimated."""
    return [float(end) for end in interval] if np.isfinite(interval).all() else None
