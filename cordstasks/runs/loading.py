"""Loading a run: its task, its trained model or networks, and its results."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cordstasks.cordsnet.network import CordsNet
from cordstasks.errors import InputError, naming
from cordstasks.frontend.features import Features
from cordstasks.frontend.frontend import FrontEnd
from cordstasks.model import MultiAreaModel
from cordstasks.rnn.network import RNN
from cordstasks.runs.abstract import load_networks, read_summary
from cordstasks.runs.page import write_report
from cordstasks.runs.recorded import recorded_network, recorded_settings
from cordstasks.runs.visual import Execution, frontend_of, heldout_trials, model_of, task_of
from cordstasks.tasks import AbstractTask, TrialBatch, VisualTask
from cordstasks.training.evaluation import Behaviour, behave
from cordstasks.training.settings import AbstractSettings, VisualSettings
from cordstasks.training.visual import load_best
from cordstasks.utils.arguments import path_of
from cordstasks.utils.files import read_json
from cordstasks.utils.folders import family_of
from cordstasks.utils.run_folder import RunFolder

__all__ = ["TrainedNetworks", "TrainedRun", "load_run"]


@dataclass(frozen=True)
class TrainedRun:
    """A multi-area model that was trained on a visual task.

    Attributes
    ----------
    task : VisualTask
        Its task.
    frontend : FrontEnd
        The frozen front-end.
    model : MultiAreaModel
        The model with its best weights.
    settings : VisualSettings
        Everything that determines the run.
    config : dict
        What config.json holds: the settings, which weights the front-end has, and the environment.
    summary : dict
        The run's results; empty before it is finished.
    path : Path
        The run's folder.
    """

    task: VisualTask
    frontend: FrontEnd
    model: MultiAreaModel
    settings: VisualSettings
    config: dict[str, Any]
    summary: dict[str, Any]
    path: Path

    def heldout(self) -> TrialBatch:
        """The held-out trials on which the summary is based.

        Returns
        -------
        TrialBatch
        """
        return heldout_trials(self.settings, self.task)

    def features(self, batch: TrialBatch) -> Features:
        """The front-end's features of a batch of trials.

        Returns
        -------
        Features
            At the time step of the batch.
        """
        return self.frontend.features(batch.movies, dt=batch.dt)

    def behaviour(self, batch: TrialBatch) -> Behaviour:
        """The model's behaviour in a batch of trials, sampled at the run's time step.

        Returns
        -------
        Behaviour

        Raises
        ------
        InputError
            If the batch has another time step.
        """
        if batch.dt != self.settings.dt:
            raise InputError(f"batch: its steps last {batch.dt:g} ms, those of the model {self.settings.dt:g} ms")
        return behave(self.model, self.model.inputs(self.features(batch).to(self.frontend.device)), batch)

    def report(self, out: str | os.PathLike[str] | None = None) -> Path:
        """Write the report of the finished run as one HTML file, see `cordstasks.runs.write_report`.

        Returns
        -------
        Path
            The file that was written.
        """
        return write_report(self.path, out)


@dataclass(frozen=True)
class TrainedNetworks:
    """Recurrent networks that were trained on an abstract task, one per seed.

    Attributes
    ----------
    task : AbstractTask
        Their task.
    networks : list of RNN
        In the order of the settings' seeds.
    settings : AbstractSettings
        Everything that determines the run.
    summary : dict
        The run's results; empty before it is finished.
    path : Path
        The run's folder.
    """

    task: AbstractTask
    networks: list[RNN]
    settings: AbstractSettings
    summary: dict[str, Any]
    path: Path

    def learned(self) -> list[RNN]:
        """The networks that have learned their task, according to the summary.

        Returns
        -------
        list of RNN
            In the order of the seeds.
        """
        rows = self.summary.get("networks", [])
        return [network for network, row in zip(self.networks, rows, strict=False) if row["learned"]]

    def report(self, out: str | os.PathLike[str] | None = None) -> Path:
        """Write the report of the finished run as one HTML file, see `cordstasks.runs.write_report`.

        Returns
        -------
        Path
            The file that was written.
        """
        return write_report(self.path, out)


def load_run(
    folder: str | os.PathLike[str],
    weights: str | os.PathLike[str] | CordsNet | None = None,
    *,
    device: str = "auto",
    bank: Path | str | bool | None = None,
) -> TrainedRun | TrainedNetworks:
    """Load a run of ``python -m cordstasks.train`` or `cordstasks.runs.train`.

    Parameters
    ----------
    folder : path-like
        The run's folder.
    weights : path-like or CordsNet, optional
        The weights of a visual run's front-end, which must be those that the run was begun with; by default they are taken
        from where they were then.
    device : str
        Where a visual run's front-end and model are to be: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    bank : path-like or bool, optional
        See `cordstasks.frontend.FrontEnd`.

    Returns
    -------
    TrainedRun or TrainedNetworks
        Of a visual or an abstract task.

    Raises
    ------
    InputError
        If there is no such run, it has no trained weights yet, a file is damaged, or the weights of the front-end are gone
        or are others than the run's.
    """
    run = RunFolder(path_of("folder", folder))
    with naming({"path=": "folder="}):
        if family_of(run.path) == AbstractSettings.FAMILY:
            return _networks(run)
        settings = recorded_settings(run, VisualSettings)
    network, _ = recorded_network(run, settings.frontend, weights)
    frontend = frontend_of(settings, network, Execution(device, bank=bank))
    task = task_of(settings, frontend.image_size)
    model = model_of(settings, frontend, task)
    if not (run.path / "best.pt").exists():
        raise InputError(f"folder={str(folder)!r}: the run has no best.pt yet; finish the run first")
    load_best(model, run, frontend.device)
    summary = read_json(run.path / "summary.json") if run.finished else {}
    if not isinstance(summary, dict):
        raise InputError(
            f"{run.path}/summary.json: holds no summary (a JSON object); remove it, and --resume makes it again"
        )
    return TrainedRun(task, frontend, model, settings, run.config(), summary, run.path)


def _networks(run: RunFolder) -> TrainedNetworks:
    settings = recorded_settings(run, AbstractSettings)
    summary = read_summary(run) if run.finished else {}
    return TrainedNetworks(settings.abstract_task(), load_networks(run.path), settings, summary, run.path)
