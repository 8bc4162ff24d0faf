"""Work in several processes, here or on a cluster, through joblib."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cordstasks.errors import InputError, unknown
from cordstasks.utils.arguments import plain

__all__ = ["BACKENDS", "Spread", "backend_of", "end_processes", "unordered"]

BACKENDS = ("loky", "dask", "ray")


@dataclass(frozen=True)
class Spread:
    """Which processes share some work.

    Attributes
    ----------
    processes : int
        How many, of the backend ``"loky"``; -1 for one per core. A cluster uses all its workers.
    backend : str
        Joblib's: ``"loky"`` for processes here, ``"dask"`` or ``"ray"`` for a cluster.
    scheduler : str, optional
        Address of a Dask scheduler, or file that names it; None starts workers on this machine.

    Raises
    ------
    InputError
        If the backend is unknown, there are no processes, or a setting belongs to another backend.
    """

    processes: int = -1
    backend: str = "loky"
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise unknown("backend", self.backend, BACKENDS)
        count = plain(self.processes)
        if not isinstance(count, int) or isinstance(count, bool) or count == 0 or count < -1:
            raise InputError(f"processes={self.processes}: give a number of at least 1, or -1 for one per core")
        if count != -1 and self.backend != "loky":
            raise InputError(f"processes={count}: has no effect with backend={self.backend}, which uses all its workers")
        if self.scheduler is not None and self.backend != "dask":
            raise InputError(f"scheduler={self.scheduler}: goes with backend=dask")

    def threads(self, here: int) -> int:
        """Threads for each process.

        Parameters
        ----------
        here : int
            Threads that one process would use on this machine.

        Returns
        -------
        int
            An equal share for processes on this machine; on a cluster 1, since its workers are told how many to run.
        """
        if self.backend != "loky":
            return 1
        return max(1, here // (self.processes if self.processes > 0 else os.cpu_count() or 1))


@contextlib.contextmanager
def backend_of(name: str, scheduler: str | None, threads: int = 1) -> Iterator[None]:
    """While open, joblib runs its calls with this backend.

    Parameters
    ----------
    name : str
        One of `BACKENDS`.
    scheduler : str or None
        See `Spread`.
    threads : int
        Of each process that is started here.

    Raises
    ------
    InputError
        If the backend is not installed, or no scheduler answers.
    """
    import joblib

    if name == "loky":
        with joblib.parallel_config(backend="loky", inner_max_num_threads=threads):
            yield
    elif name == "dask":
        try:
            from dask import distributed
        except ImportError as error:
            raise InputError("backend=dask: Dask is not installed; pip install 'cordstasks[cluster]'") from error
        connect: Any = distributed.Client
        address = {"scheduler_file": scheduler} if scheduler and Path(scheduler).is_file() else {"address": scheduler}
        try:
            client = connect(**address) if scheduler else connect(threads_per_worker=1)
        except (OSError, ValueError) as error:  # a ValueError, if the address has no port
            raise InputError(f"scheduler={scheduler}: no Dask scheduler answers there ({error})") from error
        with client, joblib.parallel_config(backend="dask", wait_for_workers_timeout=60):
            yield
    else:
        try:
            from ray.util.joblib import register_ray
        except ImportError as error:
            raise InputError("backend=ray: Ray is not installed; pip install ray") from error
        register_ray()
        with joblib.parallel_config(backend="ray"):
            yield


def end_processes() -> None:
    """End the processes on this machine that earlier work has left waiting for more, which keep their memory.

    The system then counts their processor time with this process's.
    """
    if "joblib" in sys.modules:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True)


def unordered(processes: int) -> Any:
    """A `joblib.Parallel` of the backend that is open, which gives each result as soon as it is there, where it can.

    Parameters
    ----------
    processes : int
        How many, -1 for one per core.

    Returns
    -------
    joblib.Parallel
    """
    import joblib

    try:
        return joblib.Parallel(n_jobs=processes, return_as="generator_unordered")
    except ValueError:  # a backend that gives all results at the end
        return joblib.Parallel(n_jobs=processes)
