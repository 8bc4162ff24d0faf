"""Choices of animals or people, read from a table, for comparison with a model's choices."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cordstasks.analysis._checks import Booleans, Floats
from cordstasks.errors import InputError

__all__ = ["Observer", "read_observers"]

COLUMNS = {"observer": ("monkey", "subject", "observer"), "coherence": ("coh", "coherence"), "correct": ("correct",)}
TIMES = ("rt", "reaction_time")  # in s; a table may lack them
LONGEST = 30.0  # s; longer reaction times are probably in ms


@dataclass(frozen=True, eq=False)
class Observer:
    """The choices of one animal, person or model in random-dot motion.

    Attributes
    ----------
    name : str
        As figures call it.
    coherence : ndarray of shape (trial,)
        Fractions from 0 to 1.
    correct : ndarray of shape (trial,), bool
        Whether each choice was right; at coherence 0, whether it was the one that was rewarded.
    reaction_time : ndarray of shape (trial,), optional
        In ms from the onset of motion; None if they are not known.
    """

    name: str
    coherence: Floats
    correct: Booleans
    reaction_time: Floats | None = None


def read_observers(path: str | Path, *, at_once: bool = False) -> list[Observer]:
    """Read choices from a CSV table with one row per trial.

    Parameters
    ----------
    path : path-like
        A table with the columns ``monkey`` (or ``subject``), ``coh`` (or ``coherence``; a fraction) and ``correct`` (1 or
        0), such as that of Roitman & Shadlen (2002) which PyDDM's documentation distributes. It may have reaction times in s
        as ``rt`` (or ``reaction_time``). Other columns are ignored.
    at_once : bool
        Whether a reaction time may be 0, as that of a model without a non-decision time. In tables of animals a 0 often
        stands for a missing value.

    Returns
    -------
    list of Observer
        In the order of their names in the table.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or holds a value that is not possible; the message names the line.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            names = _columns(path, reader.fieldnames or [])
            timed = next((each for each in reader.fieldnames or [] if each.strip().lower() in TIMES), None)
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"path={path}: cannot be read ({reason}); give a CSV table") from error
    if not rows:
        raise InputError(f"path={path}: holds no trials; give a table with a row per trial")
    found: dict[str, list[tuple[float, bool, float]]] = {}
    for line, row in rows:
        coherence, correct = (_number(path, line, names[each], row[names[each]]) for each in ("coherence", "correct"))
        if not 0 <= coherence <= 1:
            raise InputError(f"path={path}: line {line} has coherence {coherence:g}; it is a fraction: divide it by 100")
        if correct not in (0, 1):
            raise InputError(f"path={path}: line {line} has {names['correct']} {correct:g}; give 1 or 0")
        time = 0.0 if timed is None else _number(path, line, timed, row[timed])
        if timed is not None and not (0 < time <= LONGEST or (at_once and time == 0)):
            raise InputError(f"path={path}: line {line} has {timed} {time:g}; give a time in s above 0")
        found.setdefault(str(row[names["observer"]]).strip(), []).append((coherence, bool(correct), 1000 * time))
    kind = names["observer"]
    return [_observer(f"{kind} {name}", found[name], timed=timed is not None) for name in sorted(found)]


def _columns(path: str | Path, given: object) -> Mapping[str, str]:
    """The table's name for each column that is needed."""
    header = [str(each) for each in given]  # type: ignore[attr-defined]
    names = {}
    for wanted, known in COLUMNS.items():
        own = [each for each in header if each.strip().lower() in known]
        if not own:
            raise InputError(
                f"path={path}: has no column {' or '.join(known)} (but {', '.join(header) or 'none'}); "
                "name the columns so, separated by commas"
            )
        names[wanted] = own[0]
    return names


def _number(path: str | Path, line: int, name: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"path={path}: line {line} has {name} {text!r}; give a number")
    return value


def _observer(name: str, trials: list[tuple[float, bool, float]], *, timed: bool) -> Observer:
    coherence, correct, time = zip(*trials, strict=True)
    times = np.array(time, np.float64) if timed else None
    return Observer(name, np.array(coherence, np.float64), np.array(correct, np.bool_), times)
