"""Networks of one kind that a comparison trains or finds already trained, and the trials that all of them get."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cordstasks import tasks
from cordstasks.errors import InputError
from cordstasks.frontend.frontend import FrontEnd
from cordstasks.model import MultiAreaModel
from cordstasks.rnn.network import RNN
from cordstasks.runs import abstract, visual
from cordstasks.runs.loading import TrainedRun, load_run
from cordstasks.runs.recorded import recorded_settings
from cordstasks.tasks import TrialBatch
from cordstasks.training.abstract import Trainer
from cordstasks.training.networks import trained_parameters
from cordstasks.training.settings import AbstractSettings, VisualSettings
from cordstasks.utils.files import read_json
from cordstasks.utils.run_folder import RunFolder
from cordstasks.utils.states import restoring

__all__ = [
    "AbstractGroup",
    "CommonTrials",
    "Group",
    "Trained",
    "VisualGroup",
    "common_trials",
    "common_visual_trials",
    "rates_of",
]

DRAWN = 2000  # trials from which common conditions are selected
SEED = 20240
REMOVE = "remove the folder, and its networks are trained again"


@dataclass(frozen=True, eq=False)
class CommonTrials:
    """Trials without noise that all networks of a task get.

    Attributes
    ----------
    conditions : dict of str to ndarray of shape (condition,)
        What the trials are.
    steps : int
        Time steps of each.
    inputs : ndarray of shape (condition, time, channel), optional
        Of an abstract task.
    batch : TrialBatch, optional
        Of a visual task; what a network gets of it depends on its front-end.
    """

    conditions: dict[str, NDArray[Any]]
    steps: int
    inputs: NDArray[np.float32] | None = None
    batch: TrialBatch | None = None

    def __len__(self) -> int:
        return len(next(iter(self.conditions.values())))


@dataclass(frozen=True, eq=False)
class Trained:
    """One network after training.

    Attributes
    ----------
    seed : int
        Of the network.
    learned : bool
        Whether it learned its task: an abstract one by the task's criterion, a visual one if accuracy on held-out trials is
        above chance with its whole 95 % interval.
    rates : ndarray of shape (condition, time, unit)
        Its activity in the common trials.
    """

    seed: int
    learned: bool
    rates: NDArray[np.float32]


def common_trials(task: tasks.AbstractTask, count: int, *, dt: float) -> CommonTrials:
    """Trials of an abstract task without noise, all different and all with the same timing.

    Durations that vary between trials are fixed at their midpoint.

    Returns
    -------
    CommonTrials
        At most `count`, with inputs of shape (condition, time, channel).
    """
    fixed: dict[str, Any] = {"noise": 0.0, "catch": 0.0}
    for period, duration in task.timing.items():
        if isinstance(duration, tuple):
            fixed[period] = float(np.mean(duration))
    batch = replace(task, **fixed).sample(DRAWN, seed=SEED, dt=dt)
    _, first = np.unique(batch.inputs.reshape(DRAWN, -1), axis=0, return_index=True)
    rng = np.random.default_rng(SEED)
    kept = np.sort(rng.permutation(first)[:count])
    inputs = batch.inputs[kept]
    return CommonTrials({name: values[kept] for name, values in batch.conditions.items()}, inputs.shape[1], inputs=inputs)


def common_visual_trials(settings: VisualSettings, image_size: int, count: int) -> CommonTrials:
    """Trials of a visual task on which no network was trained, all with the most frequent timing.

    Returns
    -------
    CommonTrials
        At most `count`, with their batch; `steps` ends with the last step at which behaviour counts.
    """
    task = visual.task_of(settings, image_size)
    batch = task.for_testing().sample(max(settings.heldout, 4 * count), seed=SEED, dt=settings.dt)
    timing = np.column_stack([np.nan_to_num(batch.periods[name], nan=-1) for name in batch.periods])
    _, group = np.unique(timing, axis=0, return_inverse=True)
    frequent = np.flatnonzero(group.ravel() == np.bincount(group.ravel()).argmax())
    kept = batch.select(frequent[:count])
    steps = int(np.flatnonzero(kept.mask.any(axis=0)).max()) + 1
    return CommonTrials(dict(kept.conditions), steps, batch=kept)


class Group(ABC):
    """Networks of one task, connectivity and activation, one per seed.

    Parameters
    ----------
    folder : Path
        Where they are, or are to be.
    seeds : tuple of int
        One for each network.
    """

    def __init__(self, folder: Path, seeds: tuple[int, ...]) -> None:
        self.folder, self.seeds = folder, seeds

    @abstractmethod
    def check_earlier(self) -> None:
        """Check the networks of an earlier command, finished or not, as far as possible from the files."""

    @abstractmethod
    def train(self, device: torch.device) -> None:
        """Train the networks that are not trained yet."""

    @abstractmethod
    def trained(self, trials: CommonTrials) -> list[Trained]:
        """The trained networks, and their activity in the common trials."""

    @abstractmethod
    def parameters(self) -> int:
        """Number of trained parameters per network."""


def _check_folder(run: RunFolder, settings: AbstractSettings | VisualSettings) -> bool:
    """Whether a folder holds a run of these settings; a run of other settings, or a summary without a run, is an error."""
    if not run.begun:
        if run.finished:
            raise InputError(f"{run.path}: has a summary but no config.json; remove the folder, and they are trained again")
        return False
    earlier = recorded_settings(run, type(settings))
    if isinstance(earlier, VisualSettings) and isinstance(settings, VisualSettings):
        settings = replace(settings, areas=earlier.areas, inputs=earlier.inputs)  # which the front-end has filled in
    if earlier != settings:
        raise InputError(f"out={run.path.parent.parent}: {run.path} holds networks of other settings; use another folder")
    return True


@torch.no_grad()
def rates_of(network: RNN, inputs: torch.Tensor | NDArray[np.float32]) -> NDArray[np.float32]:
    """The activity of a network without private noise: its trajectories.

    Parameters
    ----------
    network : RNN
        Any recurrent network.
    inputs : Tensor or ndarray of shape (condition, time, channel)
        What it is shown.

    Returns
    -------
    ndarray of shape (condition, time, unit)
        Rates.
    """
    _, states = network(torch.as_tensor(inputs), return_states=True)
    rates: NDArray[np.float32] = states.cpu().numpy()
    return rates


class AbstractGroup(Group):
    """Networks of an abstract task, trained as one stack."""

    def __init__(self, settings: AbstractSettings, folder: Path) -> None:
        super().__init__(folder, settings.seeds)
        self.settings, self.run = settings, RunFolder(folder)

    def check_earlier(self) -> None:
        """See `Group`."""
        if not _check_folder(self.run, self.settings):
            return
        with restoring(self.run.path, REMOVE):
            if self.run.finished:
                self._networks()
            elif (state := self.run.load("checkpoint.pt", torch.device("cpu"))) is not None:
                Trainer(self.settings).restore(state)

    def _networks(self) -> list[tuple[RNN, dict[str, Any]]]:
        """The networks of a finished run, each with its row of the summary."""
        networks, rows = abstract.load_networks(self.run.path), abstract.read_summary(self.run)["networks"]
        if len(rows) != len(networks):
            raise InputError(f"{self.run.path / 'summary.json'}: is of {len(rows)} networks, but there are {len(networks)}")
        for network, row in zip(networks, rows, strict=True):
            for name, value in network.state_dict().items():
                if row["learned"] and not value.isfinite().all():
                    raise InputError(
                        f"{self.run.path / abstract.WEIGHTS}: {name} of the network of seed {row['seed']} holds values that "
                        "are not finite"
                    )
        return list(zip(networks, rows, strict=True))

    def train(self, device: torch.device) -> None:
        """See `Group`."""
        if not self.run.finished:
            abstract.carry_out(self.settings, self.run, device, resume=self.run.begun)

    def trained(self, trials: CommonTrials) -> list[Trained]:
        """See `Group`."""
        assert trials.inputs is not None
        return [
            Trained(row["seed"], bool(row["learned"]), rates_of(network, trials.inputs)) for network, row in self._networks()
        ]

    def parameters(self) -> int:
        """See `Group`."""
        return trained_parameters(self._networks()[0][0])


class VisualGroup(Group):
    """Networks of a visual task, each in a run of its own; all see the same movies, so that these are simulated once."""

    def __init__(self, settings: VisualSettings, seeds: tuple[int, ...], folder: Path, execution: visual.Execution) -> None:
        super().__init__(folder, seeds)
        self.settings = {seed: replace(settings, seed=seed, trials_seed=settings.seed_of_trials) for seed in seeds}
        self.runs = {seed: RunFolder(folder / f"seed-{seed}") for seed in seeds}
        self.execution = execution

    def check_earlier(self) -> None:
        """See `Group`."""
        for seed, run in self.runs.items():
            if _check_folder(run, self.settings[seed]):
                with restoring(run.path, REMOVE):
                    if run.finished:
                        self._learned(run)

    def train(self, device: torch.device) -> None:
        """See `Group`."""
        execution = replace(self.execution, device=str(device))
        for seed, run in self.runs.items():
            if not run.finished:
                settings = recorded_settings(run, VisualSettings) if run.begun else self.settings[seed]
                prepared = visual.prepare(settings, run, execution)
                with run.lock():
                    visual.carry_out(prepared, run)

    @staticmethod
    def _learned(run: RunFolder) -> bool:
        score = read_json(run.path / "summary.json")["heldout"]
        return bool(score["interval"][0] > score["chance"])

    def _load(self, seed: int) -> TrainedRun:
        loaded = load_run(self.runs[seed].path, device=self.execution.device, bank=self.execution.bank)
        assert isinstance(loaded, TrainedRun)
        return loaded

    def trained(self, trials: CommonTrials) -> list[Trained]:
        """See `Group`."""
        assert trials.batch is not None
        found = []
        for seed, run in self.runs.items():
            loaded = self._load(seed)
            rates = _visual_rates(loaded.frontend, loaded.model, trials.batch)[:, : trials.steps]
            found.append(Trained(seed, self._learned(run), rates))
        return found

    def parameters(self) -> int:
        """See `Group`."""
        return trained_parameters(self._load(self.seeds[0]).model.rnn)


def _visual_rates(frontend: FrontEnd, model: MultiAreaModel, batch: TrialBatch) -> NDArray[np.float32]:
    features = frontend.features(batch.movies, dt=batch.dt, label="front-end, common trials")
    inputs = model.inputs(features.to(frontend.device))
    return rates_of(model.rnn, inputs.take(slice(None)))
