"""The jobs of a sweep: every combination of the lists in a TOML file. This module does not need torch."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from cordstasks import tasks
from cordstasks.errors import InputError, unknown
from cordstasks.training.matching import FREE, match_parameters
from cordstasks.training.settings import MOST_SEEDS, ONLY_FOR, AbstractSettings, first_repeated
from cordstasks.utils.arguments import plain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# lists in the file, and the setting to which each belongs
LISTS = {
    "tasks": "task",
    "connectivities": "connectivity",
    "activations": "activation",
    "forms": "form",
    "learning_rates": "learning_rate",
    "units": "units",
    "gains": "gain",
    "ranks": "rank",
    "densities": "density",
}
TABLE, PARAMETERS = "settings", "task_parameters"
MATCHED = "trained_parameters"  # a list, too; each network gets so many by a setting that its connectivity has


@dataclass(frozen=True)
class Job:
    """One combination. All its seeds are trained in one pass.

    Attributes
    ----------
    name : str
        Name of its folder; it follows from the settings.
    settings : AbstractSettings
        What to train.
    """

    name: str
    settings: AbstractSettings


def job(settings: AbstractSettings) -> Job:
    """The job of some settings.

    Returns
    -------
    Job
        Equal settings have the same name.
    """
    content = json.dumps(settings.as_dict(), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:10]
    return Job(f"{settings.task}-{settings.connectivity}-{settings.activation}-{settings.units}-{digest}", settings)


def read_sweep(path: Path) -> list[Job]:
    """The jobs of a TOML file.

    Returns
    -------
    list of Job

    Raises
    ------
    InputError
        If the file cannot be read, or holds an unknown or impossible setting.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: is not TOML ({error})") from error
    try:
        return expand(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def expand(content: Mapping[str, Any]) -> list[Job]:
    """The jobs of a file's content; a combination that is given twice is one job.

    Parameters
    ----------
    content : mapping
        What the TOML file holds.

    Returns
    -------
    list of Job
        In the order of the lists, the last varying fastest.

    Raises
    ------
    InputError
        As `read_sweep`; the message begins with the position in the file.
    """
    _known_names(content)
    lists = {field: _list(name, content[name], field) for name, field in LISTS.items() if name in content}
    fixed = _fixed(content.get(TABLE, {}))
    twice = sorted(set(fixed) & set(lists))
    if twice:
        raise InputError(f"{twice[0]} stands both in a list and in [{TABLE}]; leave one of them out")
    _used(lists, fixed)
    matched = _matched(content.get(MATCHED), {**fixed, **lists})
    parameters = _parameters(content.get(PARAMETERS, {}), lists["task"])
    seeds = _seeds(content.get("seeds", 5))
    names = {field: name for name, field in LISTS.items()}
    jobs: dict[str, Job] = {}
    for places in product(*(range(len(values)) for values in lists.values())):
        chosen = {name: values[place] for (name, values), place in zip(lists.items(), places, strict=True)}
        task, connectivity = chosen.pop("task"), chosen.pop("connectivity", fixed.get("connectivity", "full"))
        # these vary only for the connectivities that have them
        chosen = {name: value for name, value in chosen.items() if ONLY_FOR.get(name, connectivity) == connectivity}
        given = {**fixed, **chosen, "seeds": seeds, "parameters": parameters.get(task, {})}
        given.pop("connectivity", None)
        place = ", ".join(f"{names[name]}[{place}]" for name, place in zip(lists, places, strict=True))
        with _at(place):  # each setting is possible, but perhaps not with the others
            settings = AbstractSettings(task, connectivity=connectivity, **given)
            for number in matched:
                made = job(settings if number is None else match_parameters(settings, number))
                jobs[made.name] = made
    return list(jobs.values())


def _known_names(content: Mapping[str, Any]) -> None:
    """Refuse tables and keys that a sweep's file does not have."""
    for name, value in content.items():
        if name in (*LISTS, "seeds", MATCHED, TABLE, PARAMETERS):
            continue
        if isinstance(value, Mapping):
            raise unknown("table", name, [TABLE, PARAMETERS])
        if name in _singles() and name not in LISTS.values():
            raise InputError(f"{name} = {value!r}: is the same for all networks; move it into the table [{TABLE}]")
        raise unknown("setting", name, [*LISTS, "seeds", MATCHED, TABLE, PARAMETERS])
    if "tasks" not in content:
        below = TABLE if "tasks" in _table(TABLE, content.get(TABLE, {})) else None
        raise InputError(_above(below, "tasks") if below else 'tasks is missing; write, for example, tasks = ["dms"]')


def _singles() -> list[str]:
    return sorted(set(AbstractSettings.names()) - {"task", "seeds", "parameters"})


def _above(table: str, name: str) -> str:
    return f"[{table}] {name}: stands below the line [{table}]; move it above, to the top of the file"


def _table(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{name} = {value!r}: must be a table, which begins with a line [{name}]")
    return value


def _list(name: str, values: Any, field: str) -> list[Any]:
    """The values of one list; each is possible by itself, and all are different."""
    if not isinstance(values, list) or not values:
        raise InputError(f"{name} = {values!r}: give a list of at least one value")
    kept = []
    for place, value in enumerate(values):
        with _at(f"{name}[{place}]"):
            kept.append(_checked(field, value))
    again = first_repeated(kept)
    if again is not None:
        raise InputError(f"{name}[{again}] = {values[again]!r}: comes twice; leave one out")
    return kept


def _checked(name: str, value: Any) -> Any:
    """One setting; a task must be the name of an abstract task."""
    kept = AbstractSettings.checked(name, value)
    if name == "task":
        known = kept in tasks.abstract_names() or (kept.endswith(".py") and tasks.is_abstract(kept))
        if not known:  # which also suggests abstract tasks alone
            raise unknown("task", kept, tasks.abstract_names())
    return kept


def _fixed(table: Any) -> dict[str, Any]:
    """The settings that are the same for all jobs."""
    fixed = {}
    for name, value in _table(TABLE, table).items():
        if name in (*LISTS, "seeds", MATCHED) and name not in _singles():
            raise InputError(_above(TABLE, name))
        if name not in _singles():
            raise unknown(f"setting in [{TABLE}]", name, _singles())
        with _at(f"[{TABLE}]"):
            fixed[name] = AbstractSettings.checked(name, value)
    return fixed


def _used(lists: Mapping[str, list[Any]], fixed: Mapping[str, Any]) -> None:
    """Refuse a setting of one connectivity if the sweep has no such networks."""
    kinds = lists.get("connectivity", [fixed.get("connectivity", "full")])
    for name, kind in ONLY_FOR.items():
        if kind in kinds or not (name in lists or name in fixed):
            continue
        place = f"[{TABLE}] {name}" if name in fixed else next(key for key, field in LISTS.items() if field == name)
        raise InputError(f"{place}: matters to {kind} networks only, and the sweep has none; leave it out")


def _matched(values: Any, given: Mapping[str, Any]) -> list[int | None]:
    """Numbers of trained parameters that all networks are to have; None where they follow from the settings."""
    if values is None:
        return [None]
    if not isinstance(values, list) or not values:
        raise InputError(f"{MATCHED} = {values!r}: give a list of at least one number of trained parameters")
    for place, value in enumerate(values):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{MATCHED}[{place}]={value!r}: give a whole number of at least 1")
    for name in sorted(set(FREE.values()) & set(ONLY_FOR)):
        if name in given:
            raise InputError(f"{MATCHED}: chooses the {name} of {ONLY_FOR[name]} networks; leave the {name} out")
    return list(dict.fromkeys(values))


def _parameters(table: Any, swept: list[str]) -> dict[str, dict[str, Any]]:
    """Parameters of each task."""
    parameters = {}
    for task, values in _table(PARAMETERS, table).items():
        place = f"[{PARAMETERS}.{task}]"
        with _at(place):
            _checked("task", task)
        if not isinstance(values, Mapping):
            raise InputError(f"[{PARAMETERS}] {task} = {values!r}: must be a table, which begins with a line {place}")
        if task not in swept:
            raise InputError(f"{place}: the sweep has no task {task} (tasks = {swept!r}); add it, or leave the table out")
        with _at(place):
            parameters[task] = {name: plain(value) for name, value in values.items()}
            tasks.get(task, **parameters[task])
    return parameters


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Put the position in the file before error messages from this block."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


def _seeds(value: Any) -> tuple[int, ...]:
    """Seeds from their number, or from a list."""
    if isinstance(value, list):
        return tuple(AbstractSettings.checked("seeds", value))
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"seeds = {value!r}: give how many, or a list of seeds")
    if value > MOST_SEEDS:
        raise InputError(f"seeds = {value!r}: are too many networks; give at most {MOST_SEEDS}")
    return tuple(range(value))
