"""Several runs of a visual task that differ in their seed, on one feature bank: mean and spread over seeds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cordstasks import tasks
from cordstasks.errors import InputError, naming
from cordstasks.runs import training, visual
from cordstasks.training.settings import AbstractSettings
from cordstasks.utils.arguments import path_of
from cordstasks.utils.files import read_json, write_json
from cordstasks.utils.folders import locked, new_folder
from cordstasks.utils.interrupt import Interrupted

__all__ = ["train_seeds"]

NOT_CONDITIONS = ("trials", "accuracy", "interval")


def train_seeds(
    task: str,
    seeds: Sequence[int],
    *,
    out: str | os.PathLike[str] | None = None,
    quick: bool = False,
    execution: visual.Execution | None = None,
    report: bool = False,
    verbose: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Train on a visual task with several seeds, one after the other; a second call with the same folder continues.

    Parameters
    ----------
    task : str
        Name of a visual task, or the path of a file that registers one.
    seeds : sequence of int
        One per run. Weights, noise and the order of trials follow from it, and the movies, too, unless ``trials_seed`` is
        given: then all runs share their movies, whose features are computed once and read from the bank.
    out : path-like, optional
        The folder for ``seed-0``, ``seed-1`` and so on, and for ``seeds.json``; by default the next of
        runs/TASK-seeds-001, -002, ...
    quick : bool
        Small runs.
    execution : Execution, optional
        Where the runs are carried out, with which weights and bank.
    report : bool
        Write ``report.html`` into the folder of each run.
    verbose : bool
        Print what a command prints.
    **settings
        Any of `cordstasks.training.settings.VisualSettings` but ``seed``.

    Returns
    -------
    dict
        What ``seeds.json`` holds: ``"runs"``, a row for each seed, and ``"accuracy"`` and ``"by_condition"`` in held-out
        trials, with mean, standard deviation (None of one seed), lowest and highest over seeds.

    Raises
    ------
    InputError
        If a setting is not possible, the task is an abstract one, or a run in the folder has other settings.
    KeyboardInterrupt
        After Ctrl-C; the same call with ``out`` continues.
    """
    chosen: tuple[int, ...] = AbstractSettings.checked("seeds", tuple(seeds))
    if "seed" in settings:
        raise InputError(f"seed={settings['seed']}: cannot be given together with seeds; leave one of them out")
    if tasks.is_abstract(task):
        raise InputError(f"task={task}: is an abstract task, whose settings have seeds; use cordstasks.runs.train")
    folder = new_folder(f"{tasks.get(task).id}-seeds") if out is None else path_of("out", out)
    rows: list[dict[str, Any]] = []
    with naming({"path=": "out="}), locked(folder, "path"):
        for seed in chosen:
            own = folder / f"seed-{seed}"
            begun = (own / "config.json").exists()
            try:
                training.carry_out(
                    task,
                    {**settings, "seed": seed},
                    execution or visual.Execution(),
                    out=own,
                    resume=begun,
                    quick=quick and not begun,
                    report=report,
                    verbose=verbose,
                )
            except KeyboardInterrupt as stop:
                raise Interrupted(f"the same command, with --out {folder}") from stop
            heldout = read_json(own / "summary.json")["heldout"]
            rows.append({"seed": seed, "folder": own.name, **{name: heldout[name] for name in NOT_CONDITIONS}})
            rows[-1]["by_condition"] = heldout["by_condition"]
        summary = {"task": tasks.get(task).id, "seeds": list(chosen), **_over_seeds(rows), "runs": rows}
        write_json(folder / "seeds.json", summary)
    if verbose:
        print("\n".join(lines_of(summary, folder)))
    return summary


def _over_seeds(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread over seeds, in all trials and by condition; conditions that not all seeds have are left out."""
    tables = [{_condition(row): row["accuracy"] for row in each["by_condition"]} for each in rows]
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    return {
        "accuracy": _spread([row["accuracy"] for row in rows]),
        "by_condition": [{**dict(name), **_spread([table[name] for table in tables])} for name in shared],
    }


def _condition(row: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((name, value) for name, value in row.items() if name not in NOT_CONDITIONS)


def _spread(values: list[float]) -> dict[str, float | None]:
    array = np.array(values)
    deviation = float(array.std(ddof=1)) if len(array) > 1 else None
    return {"mean": float(array.mean()), "sd": deviation, "lowest": float(array.min()), "highest": float(array.max())}


def lines_of(summary: dict[str, Any], folder: Path) -> list[str]:
    """The table that a command prints."""
    lines = ["", "seed   trials   accuracy   95 % interval"]
    for row in summary["runs"]:
        low, high = row["interval"]
        lines.append(f"{row['seed']:4d} {row['trials']:8d} {row['accuracy']:10.1%}   {low:.1%} to {high:.1%}")
    for row in summary["by_condition"]:
        name = ", ".join(f"{key} {value}" for key, value in row.items() if key not in ("mean", "sd", "lowest", "highest"))
        lines.append(f"{name}: {_text(row)}")
    return [*lines, f"all trials: {_text(summary['accuracy'])}", f"{folder}/: seeds.json and a folder for each seed"]


def _text(spread: dict[str, Any]) -> str:
    deviation = "" if spread["sd"] is None else f" +- {spread['sd']:.1%}"
    return f"{spread['mean']:.1%}{deviation} ({spread['lowest']:.1%} to {spread['highest']:.1%})"
