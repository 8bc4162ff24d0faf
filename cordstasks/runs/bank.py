"""Fill the feature bank for a run before it begins: what ``python -m cordstasks.bank build`` does, as a function."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from cordstasks import tasks
from cordstasks.cordsnet.network import CordsNet
from cordstasks.errors import InputError
from cordstasks.frontend.histories import Cost
from cordstasks.runs import visual
from cordstasks.training.settings import VisualSettings
from cordstasks.utils.files import writable_folder
from cordstasks.utils.parallel import Spread
from cordstasks.utils.run_folder import RunFolder

__all__ = ["build_bank"]


def build_bank(
    task: str,
    *,
    quick: bool = False,
    device: str = "auto",
    weights: str | os.PathLike[str] | CordsNet | None = None,
    bank: Path | str | bool | None = None,
    bank_limit: float = 10.0,
    spread: Spread | None = None,
    verbose: bool = False,
    **settings: Any,
) -> Cost:
    """Compute the features of the training, validation and held-out movies of a run, and keep them in the bank.

    A run with the same settings then finds them there. Movies that a report shows in addition, such as control displays, are
    still simulated by the run. A call that was interrupted is continued by the same call.

    Parameters
    ----------
    task : str
        Name of a visual task, or the path of a file that registers one.
    quick : bool
        Of a small run.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    weights : path-like, optional
        File of the front-end's weights.
    bank, bank_limit : path-like or bool, float
        See `cordstasks.frontend.FrontEnd`.
    spread : Spread, optional
        Processes that share the simulation (default: this one alone).
    verbose : bool
        Print what a command prints.
    **settings
        Any of `cordstasks.training.settings.VisualSettings`, such as ``seed=1`` or ``parameters={"motion": 1000}``.

    Returns
    -------
    Cost
        What was simulated.

    Raises
    ------
    InputError
        If the task is an abstract one, a setting is not possible, the bank cannot be written, or it is too small for the
        features.
    """
    if tasks.is_abstract(task):
        raise InputError(f"task={task}: is an abstract task, which shows no movies; name a visual task, such as task='rdm'")
    chosen = VisualSettings.new(task, quick=quick, **settings)
    execution = visual.Execution(device, weights, bank, bank_limit)
    # a folder that is never made, since nothing is written there
    prepared = visual.prepare(chosen, RunFolder(Path("bank"), numbered=True), execution, chosen=frozenset(settings))
    frontend = prepared.frontend
    if frontend.bank is None:
        raise InputError("bank=False: there is nothing to fill; give a folder, or None for that of the user")
    writable_folder(frontend.bank.folder, "bank")  # before hours of work that could not be kept
    if verbose:
        print(f"task {prepared.task.id}, front-end {chosen.frontend}, reads {frontend.describe()}", flush=True)
    began, cost = time.monotonic(), Cost()
    for name, batch in prepared.batches.items():
        cost.add(frontend.features(batch.movies, dt=batch.dt, label=f"front-end, {name} movies", spread=spread).cost)
    if verbose:
        how = "" if frontend.engine is None else f" through {frontend.engine}"
        print(f"steps of 2 ms: {cost.requested} requested, {cost.simulated} simulated{how}")
        print(f"{frontend.bank.folder}: {frontend.bank.size() / 1e6:.1f} MB; {time.monotonic() - began:.0f} s")
    if lost := frontend.bank.lost():
        used = len(frontend.bank.used)
        raise InputError(
            f"bank_limit={bank_limit:g}: {lost} of the run's {used} files did not stay in the bank, and the "
            "run will simulate them again; give a larger one (GB)"
        )
    return cost
