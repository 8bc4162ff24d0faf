"""Trial mixing: any number of sequences of features with the second-order statistics of the given trials.

A mixed trial is the sum of several trials' features with random weights whose squares add up to one. It has the lagged
covariances of a trial, but not the time course of any single trial, so a network that is trained on mixed trials cannot
memorise trials. If the answers differ only in sums of products of features, as in motion, mixed trials of one answer also
have that answer. Mixed trials of different answers have intermediate evidence, as with weaker motion. The method follows
mixup (Zhang et al., ICLR 2018), whose weights add up to one and therefore keep means instead of covariances.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["TrialMixing"]


@dataclass(frozen=True)
class TrialMixing:
    """A source of mixed trials; trials with the same timing are mixed.

    Attributes
    ----------
    inputs : Tensor of shape (trial, time, input)
        Inputs of the recurrent network.
    means : Tensor of shape (timing, time, input)
        Mean inputs of the trials of each timing; deviations from it are mixed.
    timing : Tensor of shape (trial,), int64
        The timing of each trial.
    members : Tensor of shape (group, member), int64
        Trials of the same timing, and of the same answer if only these are mixed, repeated to one length.
    group : Tensor of shape (trial,), int64
        The row of `members` that holds a trial.
    alone : Tensor of shape (trial,), bool
        Trials that are not mixed because too few trials have their timing.
    sizes : tuple of int
        Numbers of trials in a mixed trial, in turn: from single trials to nearly Gaussian sequences.
    """

    inputs: Tensor
    means: Tensor
    timing: Tensor
    members: Tensor
    group: Tensor
    alone: Tensor
    sizes: tuple[int, ...]

    @classmethod
    def of(
        cls, inputs: Tensor, timing: Tensor, answers: Tensor | None = None, *, sizes: tuple[int, ...], fewest: int
    ) -> TrialMixing:
        """A source of mixed trials from `inputs` (trial, time, input) and timings (trial,).

        With `answers` (trial,), only trials of the same answer are mixed. If fewer than `fewest`
        trials have the same timing, they are not mixed, since their mean could not be estimated.

        Returns
        -------
        TrialMixing
            On the device of the inputs.
        """
        means = torch.stack([inputs[timing == number].mean(0) for number in range(int(timing.max()) + 1)])
        key = timing if answers is None else timing * (answers.max() + 1) + answers
        _, group = key.unique(return_inverse=True)
        rows = [(group == number).nonzero()[:, 0] for number in range(int(group.max()) + 1)]
        longest = max(map(len, rows))
        members = torch.stack([row.repeat(-(-longest // len(row)))[:longest] for row in rows])
        return cls(inputs, means, timing, members, group, timing.bincount()[timing] < fewest, sizes)

    def draw(self, pick: Tensor, generator: torch.Generator) -> Tensor:
        """Inputs (trial, time, input): each of the trials `pick` (trial,) mixed with others, of sizes in turn.

        Returns
        -------
        Tensor of shape (trial, time, input)
            In the order of `pick`.
        """
        device, most = pick.device, max(self.sizes)
        shape = len(pick), most
        place = torch.rand(shape, generator=generator, device=device, dtype=self.inputs.dtype)
        weights = torch.randn(shape, generator=generator, device=device, dtype=self.inputs.dtype)
        sizes = torch.tensor(self.sizes, device=device).repeat(-(-len(pick) // len(self.sizes)))[: len(pick)]
        sizes = torch.where(self.alone[pick], 1, sizes)
        weights = weights * (torch.arange(most, device=device) < sizes[:, None])
        weights = torch.where(self.alone[pick, None], (weights != 0).to(weights.dtype), weights)
        weights = weights / weights.norm(dim=1, keepdim=True)
        members = self.members[self.group[pick]]
        others = members.gather(1, (place * members.shape[1]).long().clamp_max(members.shape[1] - 1))
        others[:, 0] = pick
        means = self.means[self.timing[pick]]
        # a row of weights on all trials: one product instead of copies of every trial that is mixed
        spread = weights.new_zeros(len(pick), len(self.inputs))
        if device.type == "cuda":  # there scatter_add_ adds in any order, so runs would differ in the last bits
            rows = torch.arange(len(pick), device=device)[:, None].expand_as(others)
            spread.index_put_((rows, others), weights, accumulate=True)
        else:
            spread.scatter_add_(1, others, weights)
        mixed = (spread @ self.inputs.flatten(1)).view(len(pick), *self.inputs.shape[1:])
        return mixed + (1 - weights.sum(1))[:, None, None] * means
