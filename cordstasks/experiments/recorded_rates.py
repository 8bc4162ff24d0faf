"""A recording with which networks are compared, and the checks of it that run before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordstasks import analysis
from cordstasks.errors import InputError
from cordstasks.recordings.files import ENDINGS, read

__all__ = ["RecordedRates", "read_rates"]

LARGEST, SMALLEST = 1e100, 1e-100  # beyond these, squares overflow or underflow
FOLDS = 5  # of conditions, as `analysis.compare_activity` has by default
HELD = 0.99  # fraction of the variance that components "auto" hold


@dataclass(frozen=True, eq=False)
class RecordedRates:
    """Activity that was measured under the conditions of a task.

    Attributes
    ----------
    name : str
        The file's, without its ending.
    rates : (condition, time, neuron)
        Float64, of the neurons that vary.
    notes : tuple of str
        What the user should know of it, a line each.
    """

    name: str
    rates: NDArray[np.float64]
    notes: tuple[str, ...]


def read_rates(path: Path, conditions: int, times: int, *, alpha: float) -> RecordedRates:
    """Read rates from a file, and check that they can be compared with trajectories of networks.

    Parameters
    ----------
    path : Path
        A .npy file of trial averages (condition, time, neuron), or a file of `cordstasks.recordings` whose stimulus ids are
        the conditions' numbers; presentations of one condition are averaged.
    conditions, times : int
        What the networks have.
    alpha : float
        Of the shape distance. With 1 all directions count, for which there must be at least as many samples as neurons.

    Returns
    -------
    RecordedRates

    Raises
    ------
    InputError
        If the file cannot be read; if its array has another shape or type, values that are not finite or too large, or
        too many neurons; or if it varies too little: along one dimension, or in too few conditions to hold some out.
    """
    notes: list[str] = []
    with _about(path):
        numbered = path.suffix.lower() in set(ENDINGS) - {".npy"}
        array = _averaged(path, notes) if numbered else _opened(path)
        _check_shape(array, conditions, times, alpha)
        with np.errstate(over="ignore"):  # numbers too large for float64 become infinite and are refused
            rates = np.array(array, dtype=np.float64)
        _check_finite(rates)
        epsilon = float(np.finfo(array.dtype if array.dtype.kind == "f" else np.float64).eps)
        varies = np.ptp(rates, axis=(0, 1)) > 8 * epsilon * np.abs(rates).max(axis=(0, 1))
        if not varies.any():
            raise InputError(f"is constant: none of its {len(varies)} neurons varies over conditions or time")
        if np.ptp(rates, axis=(0, 1)).max() < SMALLEST:
            raise InputError(f"varies by less than {SMALLEST:g}, which is no change of rates; give rates in Hz")
        rates = rates[..., varies]
        share = _check_dimensions(rates, epsilon)
        _check_folds(rates, epsilon)
        _try(rates, alpha)
    if not varies.all():
        notes.append(f"neurons that never vary, and count for nothing: {(~varies).sum()} of {len(varies)}")
    if share > HELD:
        notes.append(f"one dimension holds more than {100 * HELD:g} % of its variance, so correlations are of one component")
    return RecordedRates(path.stem, rates, tuple(notes))


def _averaged(path: Path, notes: list[str]) -> NDArray[Any]:
    """Mean rates (condition, time, neuron) of a recording whose stimuli are numbered conditions."""
    try:
        recording = read(path).average()
    except InputError as error:
        raise InputError(str(error).removeprefix(f"recording={path}: ")) from error
    named = [each.removeprefix("condition=") for each in recording.stimulus_ids.tolist()]
    wanted = [str(number) for number in range(len(named))]
    if sorted(named) != sorted(wanted):
        raise InputError(
            f"has stimuli such as {named[0]!r}; name them by the numbers of conditions.csv, 0 to {len(named) - 1}, each "
            "of them"
        )
    notes += recording.notes
    rates: NDArray[Any] = recording.rates[[named.index(number) for number in wanted]]
    return rates


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """Put the file's name before error messages from this block."""
    try:
        yield
    except InputError as error:
        raise InputError(f"recording={path}: {error}") from error


def _opened(path: Path) -> NDArray[Any]:
    """The file's array, of which only the header has been read."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})") from error
    except (ValueError, EOFError, MemoryError) as error:
        with path.open("rb") as stream:
            is_array = stream.read(6) == b"\x93NUMPY"
        if is_array:
            what = "holds Python objects, or is cut short; give numbers, saved whole by numpy.save"
        else:
            what = "is not a .npy file; give an array (condition, time, neuron) saved by numpy.save"
        raise InputError(what) from error
    if not isinstance(array, np.ndarray):  # an archive of several arrays, which numpy.load also opens
        array.close()
        raise InputError("is an archive of arrays (.npz); give one array (condition, time, neuron) saved by numpy.save")
    if array.dtype.kind not in "iuf":
        raise InputError(f"holds values of type {array.dtype}; give rates as real numbers")
    return array


def _check_shape(array: NDArray[Any], conditions: int, times: int, alpha: float) -> None:
    shape = array.shape
    if array.ndim != 3 or shape[:2] != (conditions, times) or shape[2] < 1:
        orders = permutations(shape) if array.ndim == 3 and array.size else ()
        turned = any(order[:2] == (conditions, times) for order in orders)
        raise InputError(
            f"has shape {shape}; give (condition, time, neuron) of {conditions} conditions, in the order of conditions.csv, "
            f"and {times} times{', which its axes seem to hold in another order' if turned else ''}"
        )
    samples = conditions * times
    if alpha == 1 and shape[2] > samples:
        raise InputError(
            f"has {shape[2]} neurons but only {samples} samples ({conditions} conditions of {times} times), which could be "
            "rotated onto anything; give its first principal components instead, or an alpha below 1"
        )


def _check_finite(rates: NDArray[np.float64]) -> None:
    wrong = ~np.isfinite(rates)
    if wrong.any():
        neurons = np.flatnonzero(wrong.any(axis=(0, 1)))
        condition, time, _ = np.argwhere(wrong)[0]
        named = ", ".join(map(str, neurons[:5])) + (", ..." if len(neurons) > 5 else "")
        raise InputError(
            f"holds {wrong.sum()} values that are not finite (NaN or infinite), in {len(neurons)} of {rates.shape[2]} "
            f"neurons (counted from 0: {named}), the first at condition {condition}, time {time}; leave these neurons out "
            "or fill the gaps"
        )
    largest = np.abs(rates).max()
    if largest > LARGEST:
        raise InputError(f"holds values as large as {largest:.3g}, which are no rates; give rates in Hz")


def _check_dimensions(rates: NDArray[np.float64], epsilon: float) -> float:
    """Refuse activity that varies along one dimension only, up to rounding; return the first one's fraction of variance."""
    flat = rates.reshape(-1, rates.shape[2])
    sizes = np.linalg.svd(flat - flat.mean(axis=0), compute_uv=False)
    rounding = max(0.5 * epsilon * float(np.linalg.norm(flat)), np.finfo(np.float64).eps * max(flat.shape) * sizes[0])
    if len(sizes) < 2 or sizes[1] <= rounding:
        which = "has a single neuron that varies" if flat.shape[1] == 1 else "varies along one dimension, in all its neurons"
        raise InputError(f"{which}; trajectories are compared in two or more: give neurons that differ in their course")
    return float(sizes[0] ** 2 / np.sum(sizes**2))


def _check_folds(rates: NDArray[np.float64], epsilon: float) -> None:
    """Refuse activity that varies in too few conditions, so that nothing may vary when one fold is held out."""
    # if most conditions do not vary, the median is their value
    away = np.abs(rates - np.median(rates, axis=(0, 1))) > 8 * epsilon * np.abs(rates).max(axis=(0, 1))
    varying = int(away.any(axis=(1, 2)).sum())
    needed = -(-len(rates) // min(FOLDS, len(rates))) + 1
    if varying < needed:
        raise InputError(
            f"varies in {varying} of its {len(rates)} conditions only; alignments are tested on conditions held out, for "
            f"which it must vary in {needed} or more"
        )


def _try(rates: NDArray[np.float64], alpha: float) -> None:
    """Compare the recording with itself, which finds all other errors that would otherwise appear after training."""
    try:
        analysis.compare_activity([rates, rates], ["recording"] * 2, alpha=alpha, permutations=1, progress=False)
    except InputError as error:
        raise InputError(
            f"cannot be compared: {error}".replace("activities[0]", "it").replace("activities[1]", "it")
        ) from error
