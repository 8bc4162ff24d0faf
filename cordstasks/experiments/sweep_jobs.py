"""Running a sweep: jobs in parallel processes, a table that grows, and continuing where it was stopped."""

from __future__ import annotations

import csv
import io
import json
import statistics
import sys
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import BrokenExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import joblib
from tqdm import tqdm

from cordstasks.errors import InputError, WriteError, unknown
from cordstasks.experiments.sweep import Job
from cordstasks.runs.abstract import carry_out, read_summary
from cordstasks.utils.devices import DEVICES, resolve
from cordstasks.utils.files import unwritable, writable_folder, write_bytes
from cordstasks.utils.folders import locked
from cordstasks.utils.parallel import backend_of, unordered
from cordstasks.utils.run_folder import RunFolder

__all__ = ["COLUMNS", "read_results", "run_sweep"]

COLUMNS = (
    "job",
    "task",
    "connectivity",
    "activation",
    "form",
    "learning_rate",
    "gain",
    "units",
    "rank",
    "density",
    "seed",
    "state",
    "learned",
    "score",
    "measure",
    "steps",
    "parameters",
    "seconds",
    "device",
    "problem",
)
RESULTS = "results.csv"
LOG = "sweep.log"
# a job's name, its summary or None, and if it failed, the exception in one line and its traceback
Outcome = tuple[str, dict[str, Any] | None, str, str]


def run_sweep(
    jobs: list[Job],
    out: Path,
    *,
    jobs_at_once: int = -1,
    backend: str = "loky",
    scheduler: str | None = None,
    device: str = "cpu",
    figures: bool = True,
    progress: bool | None = None,
) -> int:
    """Train what is not trained yet and update the table of results; returns a command's exit status.

    Parameters
    ----------
    jobs : list of Job
        What to train.
    out : Path
        The sweep's folder, shared by all workers; each job has a run folder in it. The traceback of a job that fails is
        appended to its sweep.log.
    jobs_at_once : int
        Number of processes, -1 for one per core.
    backend : str
        Joblib's: ``"loky"`` for processes here, ``"dask"`` or ``"ray"`` for a cluster.
    scheduler : str, optional
        Of a Dask cluster that runs already; None starts workers on this machine.
    device : str
        Where each stack of networks is trained, as for `cordstasks.utils.devices.resolve`. Workers of a cluster that runs
        already look for it on their own machine.
    figures : bool
        Whether to draw each job's figures.
    progress : bool, optional
        Whether to show a bar; None leaves it to the terminal.

    Returns
    -------
    int
        0, also where jobs failed; 1 if the processes ended before all jobs were done.

    Raises
    ------
    InputError
        If the folder cannot be written, another process writes there, the backend is not installed, or there is no such
        device.
    """
    if backend == "loky" or (backend == "dask" and scheduler is None):
        resolve(device)
    elif device.split(":")[0] not in DEVICES:
        raise unknown("device", device, DEVICES)
    folder = writable_folder(out, "out").resolve()
    rows = _finished_rows(jobs, folder)
    left = [job for job in jobs if job.name not in rows]
    print(f"{len(jobs)} jobs of {sum(len(job.settings.seeds) for job in jobs)} networks, {len(rows)} finished before")
    print(f"sweep folder {out}", flush=True)
    threads = 1 if jobs_at_once == -1 or jobs_at_once > 1 else None
    by_name, failed, ended = {job.name: job for job in jobs}, [], False
    with locked(out, "out"), backend_of(backend, scheduler):
        _write(folder, jobs, rows)
        parallel = unordered(jobs_at_once)
        calls = (joblib.delayed(_work)(job, str(folder), figures, threads, device) for job in left)
        bar = tqdm(
            _results(parallel, calls),
            total=len(left),
            desc="sweep",
            unit="job",
            leave=False,
            disable=None if progress is None else not progress,
        )
        try:
            for name, summary, problem, whole in bar:
                if summary is None:
                    failed.append(f"{name}: {problem}")
                    _log(folder, name, whole)
                rows[name] = _rows(by_name[name], summary, problem)
                _write(folder, jobs, rows)
        except BrokenExecutor:  # a process was killed, usually because memory ran out
            _log(folder, "a process of the sweep", traceback.format_exc())
            ended = True
    print(_table(jobs, rows))
    if failed:
        print(f"failed: {len(failed)} of {len(left)} jobs; {failed[0]}; whole tracebacks are in {out / LOG}")
    print(f"{out}/: {RESULTS}, and a run folder for each job")
    if ended:
        print(
            f"error: a process of the sweep was killed, perhaps for want of memory (traceback in {out / LOG}); the same "
            "command goes on, with fewer --jobs if need be",
            file=sys.stderr,
        )
    return int(ended)


def _finished_rows(jobs: list[Job], folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of the jobs that finished before; a job whose summary is damaged is run again."""
    rows = {}
    for job in jobs:
        run = RunFolder(folder / job.name)
        if run.finished:
            try:
                rows[job.name] = _rows(job, read_summary(run))
            except InputError as error:
                print(f"note: {error}")
    return rows


def _results(parallel: joblib.Parallel, calls: Iterable[Any]) -> Iterator[Outcome]:
    yield from parallel(calls)


def _work(job: Job, folder: str, figures: bool, threads: int | None, device: str) -> Outcome:
    """Train one job, in any process; its errors are reported and do not stop the others."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    run = RunFolder(Path(folder) / job.name)
    try:
        resume = (run.path / "config.json").exists()
        return job.name, carry_out(job.settings, run, resolve(device), resume=resume, figures=figures), "", ""
    except WriteError:  # not the job's fault, and the next job would fail too
        raise
    except Exception as error:  # one failed job must not stop the sweep
        return job.name, None, f"{type(error).__name__}: {' '.join(str(error).split())}", traceback.format_exc()


def _log(folder: Path, name: str, problem: str) -> None:
    """Append the traceback of a failed job to the sweep's log."""
    try:
        with (folder / LOG).open("a", encoding="utf-8") as stream:
            stream.write(f"{datetime.now().astimezone().isoformat(timespec='seconds')} {name}\n{problem.rstrip()}\n\n")
    except OSError as error:
        raise unwritable(folder / LOG, error) from error


def _rows(job: Job, summary: dict[str, Any] | None, problem: str = "") -> list[dict[str, Any]]:
    """One row per network of a job."""
    settings = job.settings
    shared = {
        "job": job.name,
        **{name: getattr(settings, name) for name in COLUMNS[1:8]},
        "rank": settings.rank if settings.connectivity == "lowrank" else "",
        "density": settings.density if settings.connectivity == "sparse" else "",
        "problem": problem,
    }
    if summary is None:
        return [{**shared, "seed": seed, "state": "failed", "learned": False} for seed in settings.seeds]
    each = summary["seconds"]["train"] / len(settings.seeds)
    return [
        {
            **shared,
            **{name: row[name] for name in ("seed", "state", "learned", "score", "steps")},
            "measure": summary["measure"],
            "parameters": summary["parameters"],
            "seconds": round(each, 2),
            "device": summary["environment"]["device"],
        }
        for row in summary["networks"]
    ]


def _write(folder: Path, jobs: list[Job], rows: dict[str, list[dict[str, Any]]]) -> None:
    """Write the table so far, completely or not at all, in the order of the jobs."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for job in jobs:
        writer.writerows(rows.get(job.name, []))
    write_bytes(folder / RESULTS, text.getvalue().encode())


def read_results(folder: str | Path) -> list[dict[str, Any]]:
    """The rows of a sweep's table, numbers as numbers; an empty cell is None.

    Returns
    -------
    list of dict of str to object
        One a row, by column, in the order of the file.

    Raises
    ------
    InputError
        If there is no table.
    """
    path = Path(folder) / RESULTS
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return [{name: _value(cell) for name, cell in row.items()} for row in csv.DictReader(stream)]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); run the sweep first") from error


def _value(cell: str) -> Any:
    if cell in ("True", "False"):
        return cell == "True"
    try:
        return json.loads(cell)
    except ValueError:
        return cell or None


def _table(jobs: list[Job], rows: dict[str, list[dict[str, Any]]]) -> str:
    """Number of networks that learned their task, and the median score, per task and connectivity."""
    lines = ["", f"{'task':<16} {'connectivity':<12} {'networks':>8} {'learned':>8} {'diverged':>8} {'failed':>6}  median"]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for job in jobs:
        groups.setdefault((job.settings.task, job.settings.connectivity), []).extend(rows.get(job.name, []))
    for (task, connectivity), group in groups.items():
        scores = [row["score"] for row in group if row.get("score") is not None]
        middle = f"{statistics.median(scores):6.3f}" if scores else "     -"
        counts = [sum(row["state"] == state for row in group) for state in ("diverged", "failed")]
        learned = sum(bool(row["learned"]) for row in group)
        lines.append(f"{task:<16} {connectivity:<12} {len(group):>8} {learned:>8} {counts[0]:>8} {counts[1]:>6}  {middle}")
    return "\n".join(lines)
