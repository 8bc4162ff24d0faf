"""The type of a recording: rates of units in time bins, with the stimulus of every presentation."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cordstasks.errors import InputError, unknown

__all__ = ["Recording"]

Texts = NDArray[np.str_]
# rates beyond this are no rates, and their sums and squares overflow
LARGEST = 1e30


@dataclass(frozen=True, eq=False)
class Recording:
    """Responses of units to stimuli, in time bins: of neurons that were recorded, or of a model.

    One row is one presentation of a stimulus, so that a stimulus may have any number of repeats. After `average` there is
    one row for each stimulus. All values are finite. The arrays are read-only.

    Parameters
    ----------
    rates : (presentation, time bin, unit)
        Rates, in Hz for neurons. float32 stays float32; other numbers become float64.
    stimulus_ids : (presentation,)
        Which stimulus was shown: names, or numbers, which become names.
    bins_ms : (time bin, 2)
        Start and end of each bin in ms after the onset of the stimulus, sorted and without overlap.
    regions : (unit,), optional
        The area of each unit (default: one region without a name).
    unit_ids : (unit,), optional
        Names of the units, all different (default: their numbers).
    repetitions : (presentation,), optional
        The number of each repeat (default: presentations of a stimulus are counted from 0).
    objects : (presentation,), optional
        The object or category of each stimulus, by which splits can be stratified.
    name : str
        Of the data, for tables and figures.
    notes : tuple of str
        What was left out on reading, a line each.

    Raises
    ------
    InputError
        If the shapes do not fit, a value is not finite or beyond 1e30, or the bins are not sorted, overlap or are empty.
    """

    rates: NDArray[Any]
    stimulus_ids: Texts
    bins_ms: NDArray[np.float64]
    regions: Texts = None  # type: ignore[assignment]
    unit_ids: Texts = None  # type: ignore[assignment]
    repetitions: NDArray[np.int64] = None  # type: ignore[assignment]
    objects: Texts | None = None
    name: str = "recording"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rates = _rates(self.rates)
        presentations, bins, units = rates.shape
        ids = _texts("stimulus_ids", self.stimulus_ids, presentations, "presentation")
        given: dict[str, Any] = {
            "rates": rates,
            "stimulus_ids": ids,
            "bins_ms": _bins(self.bins_ms, bins),
            "regions": _texts("regions", _or(self.regions, [""] * units), units, "unit", empty=True),
            "unit_ids": _texts("unit_ids", _or(self.unit_ids, range(units)), units, "unit"),
            "repetitions": _repetitions(self.repetitions, ids),
            "objects": None if self.objects is None else _texts("objects", self.objects, presentations, "presentation"),
            "notes": tuple(self.notes),
        }
        if len(set(given["unit_ids"].tolist())) < units:
            names, counts = np.unique(given["unit_ids"], return_counts=True)
            raise InputError(
                f"unit_ids: {str(names[counts.argmax()])!r} is the name of {counts.max()} units; give each its own"
            )
        for field, value in given.items():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
            object.__setattr__(self, field, value)

    @property
    def presentations(self) -> int:
        """Number of rows."""
        return len(self.rates)

    @property
    def units(self) -> int:
        """Number of units."""
        return int(self.rates.shape[2])

    @property
    def stimuli(self) -> tuple[str, ...]:
        """The different stimuli, in the order of their first presentation."""
        return tuple(dict.fromkeys(self.stimulus_ids.tolist()))

    @property
    def areas(self) -> tuple[str, ...]:
        """The different regions, in the order of their first unit."""
        return tuple(dict.fromkeys(self.regions.tolist()))

    def describe(self) -> str:
        """What the recording holds, in one line.

        Returns
        -------
        str
            Its name, and the numbers of stimuli, presentations, bins and units, of the units also by region.
        """
        counts = np.unique(self.stimulus_ids, return_counts=True)[1]
        repeats = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
        named = ", ".join(f"{area} {int(np.sum(self.regions == area))}" for area in self.areas if area)
        return (
            f"{self.name}: {len(self.stimuli)} stimuli, {repeats} presentations of each, {len(self.bins_ms)} bins from "
            f"{self.bins_ms[0, 0]:g} to {self.bins_ms[-1, 1]:g} ms, {self.units} units{f' ({named})' if named else ''}"
        )

    def average(self) -> Recording:
        """One row for each stimulus, the mean over its presentations, in the order of `stimuli`.

        Returns
        -------
        Recording
            With repetition 0 throughout.
        """
        stimuli = self.stimuli
        group = _places(self.stimulus_ids, stimuli)
        counts = np.bincount(group, minlength=len(stimuli))
        means = np.zeros((len(stimuli), *self.rates.shape[1:]), self.rates.dtype)
        np.add.at(means, group, self.rates)
        means /= counts[:, None, None].astype(means.dtype)
        first = np.array([np.argmax(group == place) for place in range(len(stimuli))])
        return replace(
            self,
            rates=means,
            stimulus_ids=np.array(stimuli),
            repetitions=np.zeros(len(stimuli), np.int64),
            objects=None if self.objects is None else self.objects[first],
        )

    def select(
        self,
        *,
        stimuli: Iterable[str] | None = None,
        region: str | None = None,
        from_ms: float | None = None,
        to_ms: float | None = None,
    ) -> Recording:
        """Some stimuli, in the order given; the units of one region; the bins within a window.

        Parameters
        ----------
        stimuli : iterable of str, optional
            Stimulus ids; the rows are in their order.
        region : str, optional
            One of `areas`.
        from_ms, to_ms : float, optional
            Only bins that lie completely within.

        Returns
        -------
        Recording

        Raises
        ------
        InputError
            If a stimulus or region is not in the recording, or no bin lies in the window.
        """
        rows: NDArray[Any] = np.arange(self.presentations)
        units = np.ones(self.units, bool)
        if stimuli is not None:
            wanted = [str(each) for each in stimuli]
            for each in wanted:
                if each not in self.stimuli:
                    raise unknown("stimulus", each, self.stimuli)
            place = {each: index for index, each in enumerate(wanted)}
            order = np.array([place.get(each, -1) for each in self.stimulus_ids.tolist()])
            rows = np.argsort(order, kind="stable")[int(np.sum(order < 0)) :]
        if region is not None:
            if region not in self.areas:
                raise unknown("region", region, self.areas)
            units = self.regions == region
        low = -np.inf if from_ms is None else from_ms
        high = np.inf if to_ms is None else to_ms
        bins = (self.bins_ms[:, 0] >= low) & (self.bins_ms[:, 1] <= high)
        if not bins.any() or not len(rows):
            raise InputError(
                f"select: nothing is left from {low:g} to {high:g} ms; the bins are from {self.bins_ms[0, 0]:g} to "
                f"{self.bins_ms[-1, 1]:g} ms"
            )
        return replace(
            self,
            rates=self.rates[rows][:, bins][:, :, units],
            stimulus_ids=self.stimulus_ids[rows],
            bins_ms=self.bins_ms[bins],
            regions=self.regions[units],
            unit_ids=self.unit_ids[units],
            repetitions=self.repetitions[rows],
            objects=None if self.objects is None else self.objects[rows],
        )

    def digest(self) -> str:
        """SHA-256 of the rates, stimuli, bins and objects, in hexadecimal.

        Returns
        -------
        str
            64 characters; the same for recordings with the same rates, bins, objects, and names of stimuli and units.
        """
        digest = hashlib.sha256(repr(self.rates.shape).encode())
        for array in (self.rates, self.bins_ms):
            digest.update(np.ascontiguousarray(array).tobytes())
        objects = () if self.objects is None else self.objects.tolist()
        digest.update("\0".join((*self.stimulus_ids.tolist(), *self.unit_ids.tolist(), *objects)).encode())
        return digest.hexdigest()

    def noting(self, *notes: str) -> Recording:
        """The same recording with further notes.

        Parameters
        ----------
        *notes : str
            A line each, added after those it has.

        Returns
        -------
        Recording
        """
        return replace(self, notes=(*self.notes, *notes))


def _or(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


def _places(ids: Texts, stimuli: Sequence[str]) -> NDArray[np.intp]:
    """The index into `stimuli` of each id."""
    place = {each: index for index, each in enumerate(stimuli)}
    return np.array([place[each] for each in ids.tolist()], np.intp)


def _rates(values: ArrayLike) -> NDArray[Any]:
    rates = np.asarray(values)
    if rates.ndim != 3 or not rates.size or rates.dtype.kind not in "fiub":
        raise InputError(
            f"rates has shape {rates.shape} and type {rates.dtype}; give numbers (presentation, time bin, unit)"
        )
    rates = np.array(rates, dtype=np.float32 if rates.dtype == np.float32 else np.float64)
    wrong = ~np.isfinite(rates)
    if wrong.any():
        raise InputError(
            f"rates holds {int(wrong.sum())} values that are not finite, in {int(wrong.any(axis=(0, 1)).sum())} of "
            f"{rates.shape[2]} units; leave these units out"
        )
    largest = max(float(rates.max()), -float(rates.min()))
    if largest > LARGEST:
        units = int((np.abs(rates) > LARGEST).any(axis=(0, 1)).sum())
        raise InputError(
            f"rates reaches {largest:.3g}, in {units} of {rates.shape[2]} units; such numbers stand for missing values: "
            "leave these units out, or give NaN instead"
        )
    return rates


def _texts(name: str, values: Any, length: int, axis: str, *, empty: bool = False) -> Texts:
    """Names, one for each place along an axis; numbers become names."""
    given = np.asarray(list(values) if not isinstance(values, np.ndarray) else values)
    if given.shape != (length,):
        raise InputError(f"{name} has shape {given.shape}; give one name for each {axis}, ({length},)")
    texts: list[str] = [_text(value) for value in given.tolist()]
    if not empty and not all(texts):
        raise InputError(f"{name}: number {texts.index('')} is empty; give a name for each {axis}")
    return np.array(texts, dtype=np.str_)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace").strip()
    if isinstance(value, float) and np.isnan(value):
        return ""
    if isinstance(value, float) and value.is_integer():  # MATLAB saves whole numbers as floats
        return str(int(value))
    return str(value).strip()


def _bins(values: ArrayLike, bins: int) -> NDArray[np.float64]:
    try:
        edges = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        edges = np.empty(0)
    if edges.shape != (bins, 2) or not np.isfinite(edges).all():
        raise InputError(
            f"bins_ms has shape {edges.shape}; give start and end in ms, finite, of each of the {bins} time bins, "
            f"({bins}, 2)"
        )
    starts, ends = edges.T
    if (ends <= starts).any():
        bad = int(np.argmax(ends <= starts))
        raise InputError(f"bins_ms: bin {bad} is from {starts[bad]:g} to {ends[bad]:g} ms; give an end after the start")
    if (np.diff(starts) <= 0).any():
        bad = int(np.argmax(np.diff(starts) <= 0))
        raise InputError(
            f"bins_ms: bin {bad + 1} begins at {starts[bad + 1]:g} ms, and bin {bad} at {starts[bad]:g} ms; sort the bins"
        )
    _check_overlap(starts, ends)
    return edges


def _check_overlap(starts: NDArray[np.float64], ends: NDArray[np.float64]) -> None:
    overlap = starts[1:] < ends[:-1] - 1e-6
    if overlap.any():
        bad = int(np.argmax(overlap))
        raise InputError(
            f"bins_ms: bin {bad} ends at {ends[bad]:g} ms, after the start of bin {bad + 1} at {starts[bad + 1]:g} ms; give "
            "bins that do not overlap, such as every second one"
        )


def _repetitions(values: ArrayLike | None, ids: Texts) -> NDArray[np.int64]:
    if values is None:
        seen: Counter[str] = Counter()
        numbers = []
        for each in ids.tolist():
            numbers.append(seen[each])
            seen[each] += 1
        return np.array(numbers, np.int64)
    given = np.asarray(values)
    whole = given.shape == ids.shape and given.dtype.kind in "fiu" and np.isfinite(given).all()
    if not whole or not (given == np.floor(given)).all():
        raise InputError(
            f"repetitions has shape {given.shape} and type {given.dtype}; give a whole number for each presentation, "
            f"{ids.shape}"
        )
    return given.astype(np.int64)
