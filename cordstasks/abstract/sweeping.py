"""What a sweep trains: every combination of the lists in a TOML file. This module needs no torch."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

from cordstasks.abstract.settings import Settings, defaults
from cordstasks.errors import InputError, unknown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# lists in the file, and the setting that each is of
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
# these vary only where they matter
ONLY_FOR = {"rank": "lowrank", "density": "sparse"}
TABLE = "settings"


@dataclass(frozen=True)
class Job:
    """One combination, all seeds of which are trained in one pass.

    Attributes
    ----------
    name : of its folder; it follows from the settings.
    settings : what to train.
    """

    name: str
    settings: Settings


def job(settings: Settings) -> Job:
    """The job of some settings."""
    content = json.dumps(settings.as_dict(), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:10]
    return Job(f"{settings.task}-{settings.connectivity}-{settings.activation}-{settings.units}-{digest}", settings)


def read_sweep(path: Path) -> list[Job]:
    """The jobs of a TOML file.

    Raises
    ------
    InputError : the file cannot be read, or holds an unknown or impossible setting.
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
    """The jobs of a file's content; a combination that comes twice is one job.

    Raises
    ------
    InputError : as `read_sweep`.
    """
    strange = sorted(set(content) - {*LISTS, "seeds", TABLE, "task_parameters"})
    if strange:
        raise unknown("setting", strange[0], [*LISTS, "seeds", TABLE, "task_parameters"])
    if "tasks" not in content:
        raise InputError('tasks is missing; write, for example, tasks = ["dms"]')
    fixed = content.get(TABLE, {})
    single = {field.name for field in fields(Settings)} - {"task", "seeds", "parameters"}
    strange = sorted(set(fixed) - single)
    if strange:
        raise unknown(f"setting in [{TABLE}]", strange[0], sorted(single))
    lists = {}
    for name in LISTS:
        if name in content:
            values = content[name]
            if not isinstance(values, list) or not values:
                raise InputError(f"{name} = {values!r}: give a list of at least one value")
            lists[LISTS[name]] = values
    twice = sorted(set(fixed) & set(lists))
    if twice:
        raise InputError(f"{twice[0]} stands both in a list and in [{TABLE}]; leave one of them out")
    parameters = content.get("task_parameters", {})
    jobs: dict[str, Job] = {}
    for values in product(*lists.values()):
        chosen = dict(zip(lists, values, strict=True))
        task = chosen.pop("task")
        connectivity = chosen.pop("connectivity", fixed.get("connectivity", "full"))
        settled = {name: tuple(value) if isinstance(value, list) else value for name, value in fixed.items()}
        settled.pop("connectivity", None)
        chosen = {name: value for name, value in chosen.items() if ONLY_FOR.get(name, connectivity) == connectivity}
        own = {name: tuple(v) if isinstance(v, list) else v for name, v in parameters.get(str(task), {}).items()}
        try:
            settings = defaults(
                task, connectivity, **{**settled, **chosen, "seeds": _seeds(content.get("seeds", 5)), "parameters": own}
            )
        except TypeError as error:
            raise InputError(str(error)) from error
        made = job(settings)
        jobs[made.name] = made
    return list(jobs.values())


def _seeds(value: Any) -> tuple[int, ...]:
    """Seeds from a number of them, or a list."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return tuple(range(value))
    if isinstance(value, list):
        return tuple(value)
    raise InputError(f"seeds = {value!r}: give how many, or a list of seeds")
