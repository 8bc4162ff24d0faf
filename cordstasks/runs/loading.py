"""A finished run, loaded again: its task, front-end and trained model, to look at what they do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cordstasks.cordsnet.network import CordsNet
from cordstasks.errors import InputError, naming
from cordstasks.frontend.frontend import Features, FrontEnd
from cordstasks.model import MultiAreaModel
from cordstasks.runs.recorded import read_config, recorded_network
from cordstasks.runs.visual import heldout_trials, model_of, task_of
from cordstasks.tasks import TrialBatch, VisualTask
from cordstasks.training.evaluation import Behaviour, behave
from cordstasks.training.visual import load_best
from cordstasks.utils.files import read_json
from cordstasks.utils.run_folder import RunFolder

__all__ = ["TrainedRun", "load_run"]


@dataclass(frozen=True)
class TrainedRun:
    """A model that ``python -m cordstasks.train`` has trained.

    Attributes
    ----------
    task : its task, as it is tested.
    frontend, model : the front-end, and the model with its best weights.
    config : the run's settings.
    summary : the run's summary; empty before it is finished.
    """

    task: VisualTask
    frontend: FrontEnd
    model: MultiAreaModel
    config: dict[str, Any]
    summary: dict[str, Any]

    def heldout(self) -> TrialBatch:
        """The held-out trials that the summary is about."""
        return heldout_trials(self.config, self.task)

    def features(self, batch: TrialBatch) -> Features:
        """What the front-end makes of a batch of trials."""
        return self.frontend.features(batch.movies, dt=batch.dt)

    def behaviour(self, batch: TrialBatch) -> Behaviour:
        """What the model does in a batch of trials, sampled at the run's time step."""
        if batch.dt != self.config["dt"]:
            raise InputError(f"batch: its steps last {batch.dt:g} ms, those of the model {self.config['dt']:g} ms")
        return behave(self.model, self.model.inputs(self.features(batch).to(self.frontend.device)), batch)


def load_run(
    folder: Path | str,
    weights: Path | str | CordsNet | None = None,
    *,
    device: str = "auto",
    bank: Path | str | bool | None = None,
) -> TrainedRun:
    """Load the run in `folder`.

    Parameters
    ----------
    folder : of ``python -m cordstasks.train``, with ``best.pt``.
    weights : file of the front-end's weights, which must be those that the run was begun with; by default they are taken
        from where they were then.
    device, bank : see `cordstasks.frontend.FrontEnd`.

    Raises
    ------
    InputError : no such run, one of an abstract task, one that has no trained weights yet, a damaged file, or weights of
        the front-end that are gone or are others than the run's.
    """
    run = RunFolder(Path(folder))
    with naming({"path=": "folder="}):
        config = read_config(run)
    network = recorded_network(run.path, config, weights)
    frontend = FrontEnd(
        network,
        areas=config["areas"],
        side=config["side"],
        device=device,
        readout=config["readout"],
        precision=config["precision"],
        bank=bank,
    )
    task = task_of(config, frontend.image_size)
    model = model_of(config, frontend, task)
    if not (run.path / "best.pt").exists():
        raise InputError(f"folder={str(folder)!r}: the run has no best.pt yet; finish the run first")
    load_best(model, run, frontend.device)
    summary = read_json(run.path / "summary.json") if run.finished else {}
    if not isinstance(summary, dict):
        raise InputError(
            f"{run.path}/summary.json: holds no summary (a JSON object); remove it, and --resume makes it again"
        )
    return TrainedRun(task, frontend, model, config, summary)
