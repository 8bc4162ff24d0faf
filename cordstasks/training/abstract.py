"""Training a stack of networks: each on its own trials and noise, stage by stage, until it has learned its task."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cordstasks.rnn.network import RNN
from cordstasks.rnn.stack import RNNStack
from cordstasks.tasks import AbstractBatch, AbstractTask
from cordstasks.training.networks import initial_network
from cordstasks.training.settings import AbstractSettings
from cordstasks.utils.allocation import kept_memory
from cordstasks.utils.states import check_moments

__all__ = ["Trainer", "evaluate", "untrained"]

BLOCK = 8  # batches of trials drawn at once; this costs little more than one batch
DATA, NOISE, VALIDATION, HELDOUT = range(4)  # streams of a seed
TRAINING, REACHED, UNFINISHED, DIVERGED = "training", "reached", "unfinished", "diverged"


def untrained(settings: AbstractSettings, seed: int) -> RNN:
    """The untrained network of one seed.

    Returns
    -------
    RNN
        On the CPU.
    """
    task = settings.abstract_task()
    return initial_network(settings, len(task.channels), task.outputs, seed=seed)


@dataclass
class Progress:
    """The training state of one network.

    Attributes
    ----------
    seed : int
        The network's seed.
    state : {"training", "reached", "unfinished", "diverged"}
        Whether it is still in training, has reached its goal, has used up its steps, or has diverged.
    stage : int, default 0
        Number of the curriculum's stage that the network is at.
    step : int, default 0
        Number of batches that it has learned from.
    score : float
        Score of its last evaluation, on the stage of that time.
    best : float
        Best score of the network on the whole task.
    best_step : int, default 0
        Number of batches until then.
    """

    seed: int
    state: str = TRAINING
    stage: int = 0
    step: int = 0
    score: float = -math.inf
    best: float = -math.inf
    best_step: int = 0


@dataclass
class Trainer:
    """Networks in training. All random numbers follow from a network's seed and the number of the batch.

    So the result of a network is the same, up to rounding, whichever others train in the same stack, and an interrupted
    training needs no state of a generator to continue.

    Parameters
    ----------
    settings : AbstractSettings
        What to train and how.
    device : torch.device, optional
        Where to train.
    """

    settings: AbstractSettings
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        task = self.settings.abstract_task()
        self.task, self.stages = task, task.curriculum()
        # a little above the criterion for learned, so that fresh trials confirm it
        self.goal = self.settings.goal if self.settings.goal is not None else task.criterion + (1 - task.criterion) * 0.6
        self.step, self.seconds = 0, 0.0
        self.progress = [Progress(seed) for seed in self.settings.seeds]
        self.best = RNNStack([untrained(self.settings, seed) for seed in self.settings.seeds]).to(self.device)
        self.active = list(range(len(self.progress)))
        self._begin(self.best.subset(self.active))
        self._blocks: dict[int, tuple[tuple[int, int], AbstractBatch]] = {}

    def _begin(self, stack: RNNStack, moments: dict[str, dict[str, Tensor]] | None = None) -> None:
        """Continue with this stack."""
        self.stack = stack.to(self.device)
        self.trained = [(name, p) for name, p in self.stack.named_parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam([p for _, p in self.trained], lr=self.settings.learning_rate)
        for name, parameter in self.trained:
            if moments and name in moments:
                self.optimiser.state[parameter] = dict(moments[name])

    def _moments(self) -> dict[str, dict[str, Tensor]]:
        return {name: dict(self.optimiser.state[p]) for name, p in self.trained if p in self.optimiser.state}

    def _keep(self, places: Sequence[int]) -> None:
        """Continue only with the networks at these indices of the stack."""
        if not places:
            self.active = []
            return
        index = torch.tensor(places, device=self.device)
        moments = {
            name: {key: value.index_select(0, index) if value.ndim else value for key, value in state.items()}
            for name, state in self._moments().items()
        }
        self.active = [self.active[place] for place in places]
        self._begin(self.stack.subset(places), moments)

    @property
    def finished(self) -> bool:
        """Whether no network is in training any more."""
        return not self.active

    def run(self) -> Iterator[list[dict[str, Any]]]:
        """Train until every network has stopped; after each batch, yield the rows of the log if there was a test."""
        with kept_memory():
            while self.active:
                began = time.monotonic()
                losses = self._learn()
                rows: list[dict[str, Any]] = []
                due = self.step % self.settings.evaluate_every == 0 or self.step == self.settings.steps
                if due and self.active:  # all may just have diverged
                    rows = self._test(losses)
                self.seconds += time.monotonic() - began
                yield rows

    def _learn(self) -> Tensor:
        """One batch for each network; the losses (network,) of those that are still in training."""
        batches = [self._batch(number) for number in self.active]
        inputs, targets, mask = side_by_side(batches, self.device)
        noise = [self._rng(number, NOISE, self.step) for number in self.active]
        outputs = self.stack(inputs, noise=noise)
        assert isinstance(outputs, Tensor)
        losses = masked_error(outputs, targets, mask)
        self.optimiser.zero_grad(set_to_none=True)
        losses.sum().backward()
        good = self._clip() & losses.detach().isfinite()
        self.step += 1
        if not good.all():
            for place in (~good).nonzero().flatten().tolist():
                self.progress[self.active[place]].state = DIVERGED
            kept = good.nonzero().flatten().tolist()
            gradients = {name: p.grad for name, p in self.trained}
            self._keep(kept)
            losses = losses[good]
            if not self.active:
                return losses.detach()
            for name, parameter in self.trained:
                gradient = gradients[name]
                assert gradient is not None
                parameter.grad = gradient[good].clone()
        self.optimiser.step()
        for number in self.active:
            self.progress[number].step = self.step
        return losses.detach()

    def _clip(self) -> Tensor:
        """Clip each network's gradient to the largest norm; return whether it is finite, (network,)."""
        squares = self.stack.bias.new_zeros(len(self.stack))
        for _, parameter in self.trained:
            assert parameter.grad is not None
            squares += parameter.grad.flatten(1).square().sum(1)
        norms = squares.sqrt()
        scale = (self.settings.clip / (norms + 1e-12)).clamp(max=1)
        for _, parameter in self.trained:
            assert parameter.grad is not None
            parameter.grad.mul_(scale.reshape(-1, *[1] * (parameter.ndim - 1)))
        return norms.isfinite()

    def _rng(self, number: int, stream: int, index: int) -> np.random.Generator:
        return np.random.Generator(np.random.SFC64([self.progress[number].seed, stream, index]))

    def _batch(self, number: int) -> AbstractBatch:
        """The next batch of trials for a network, cut from a block drawn at its stage."""
        progress, size = self.progress[number], self.settings.batch
        block, place = divmod(self.step, BLOCK)
        key = (block, progress.stage)
        held = self._blocks.get(number)
        if held is None or held[0] != key:
            stage = self.stages[progress.stage]
            drawn = stage.sample(BLOCK * size, seed=[progress.seed, DATA, *key], dt=self.settings.dt)
            held = self._blocks[number] = (key, drawn)
        return held[1].select(slice(place * size, (place + 1) * size), trim=False)

    def _test(self, losses: Tensor) -> list[dict[str, Any]]:
        """Score every network on fresh trials of its stage; move it on, stop it, or neither."""
        batches = [
            self.stages[self.progress[number].stage].sample(
                self.settings.validation, seed=[self.progress[number].seed, VALIDATION, self.step], dt=self.settings.dt
            )
            for number in self.active
        ]
        scores = evaluate(self.stack, self.task, batches, self.device)
        rows, kept = [], []
        for place, (number, score) in enumerate(zip(self.active, scores, strict=True)):
            progress = self.progress[number]
            progress.score = score
            last = progress.stage == len(self.stages) - 1
            rows.append(
                {
                    "step": self.step,
                    "seed": progress.seed,
                    "stage": progress.stage + 1,
                    "loss": float(losses[place]),
                    "score": score if math.isfinite(score) else None,
                }
            )
            if last and score > progress.best:
                progress.best, progress.best_step = score, self.step
                self._remember(number, place)
            if score >= self.goal and last:
                progress.state = REACHED
            elif self.step >= self.settings.steps:
                progress.state = UNFINISHED
                if not math.isfinite(progress.best):
                    self._remember(number, place)
            else:
                kept.append(place)
                progress.stage += score >= self.goal
        if len(kept) < len(self.active):
            self._keep(kept)
        return rows

    @torch.no_grad()
    def _remember(self, number: int, place: int) -> None:
        for name, value in self.stack.state_dict().items():
            self.best.state_dict()[name][number] = value[place]

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs, as tensors and plain values.

        Returns
        -------
        dict of str to object
            What a checkpoint holds.
        """
        return {
            "step": self.step,
            "seconds": self.seconds,
            "active": list(self.active),
            "progress": [vars(progress).copy() for progress in self.progress],
            "best": self.best.state_dict(),
            "networks": self.stack.state_dict(),
            "moments": self._moments(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the result of `state`."""
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self.progress = [Progress(**values) for values in state["progress"]]
        self.best.load_state_dict(state["best"])
        if [progress.seed for progress in self.progress] != list(self.settings.seeds):
            raise ValueError("its networks are of other seeds")
        self.active = list(state["active"])
        if self.active:
            stack = self.best.subset(self.active)
            stack.load_state_dict(state["networks"])
            self._begin(stack, state["moments"])
            check_moments(self.optimiser)

    def heldout(self) -> list[float | None]:
        """Scores of the trained networks on trials that they have never seen, without private noise; None if diverged.

        Returns
        -------
        list of float or None
            In the order of the seeds.
        """
        batches = [
            self.task.sample(self.settings.heldout, seed=[seed, HELDOUT], dt=self.settings.dt)
            for seed in self.settings.seeds
        ]
        scores = evaluate(self.best, self.task, batches, self.device)
        return [
            None if progress.state == DIVERGED or not math.isfinite(score) else score
            for progress, score in zip(self.progress, scores, strict=True)
        ]


def side_by_side(batches: Sequence[AbstractBatch], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, targets and mask of batches that may differ in length: (network, trial, time, ...), padded with zeros."""
    length = max(batch.inputs.shape[1] for batch in batches)
    joined = []
    for arrays in zip(*((b.inputs, b.targets, b.mask) for b in batches), strict=True):
        whole = np.zeros((len(arrays), arrays[0].shape[0], length, *arrays[0].shape[2:]), np.float32)
        for row, array in enumerate(arrays):
            whole[row, :, : array.shape[1]] = array
        joined.append(torch.from_numpy(whole).to(device))
    return joined[0], joined[1], joined[2]


def masked_error(outputs: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the steps of `mask` of each trial, averaged over trials: (network,).

    A trial whose mask is zero throughout has no weight.

    Parameters
    ----------
    outputs, targets : Tensor of shape (network, trial, time, output)
        The networks' outputs, and what they should be.
    mask : Tensor of shape (network, trial, time)
        Weight of each step.
    """
    total = mask.sum(2)
    by_trial = ((outputs - targets).square().mean(3) * mask).sum(2) / total.clamp_min(1e-12)
    return by_trial.sum(1) / (total > 0).sum(1).clamp_min(1)


@torch.no_grad()
def evaluate(stack: RNNStack, task: AbstractTask, batches: Sequence[AbstractBatch], device: torch.device) -> list[float]:
    """Scores of networks, each on its own trials, without private noise; NaN if these trials have no score.

    Returns
    -------
    list of float
        In the order of the networks.
    """
    inputs, _, _ = side_by_side(batches, device)
    parts = [stack(part) for part in inputs.split(250, dim=1)]  # trials at once, to limit memory
    outputs = torch.cat(parts, 1).cpu().numpy()
    return [
        task.score(mine[:, : b.inputs.shape[1]], b) if task.can_score(b) else math.nan
        for mine, b in zip(outputs, batches, strict=True)
    ]
