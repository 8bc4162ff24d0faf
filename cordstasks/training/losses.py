"""Losses of visual training: masked cross-entropy, auxiliary heads, and the teacher's running evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["AuxiliaryHeads", "masked_cross_entropy", "taught_loss"]


def masked_cross_entropy(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Mean cross-entropy over the steps of `mask` (trial, time).

    `targets` are actions (trial, time), or their probabilities (trial, time, action).

    Returns
    -------
    Tensor of shape ()
        In natural logarithms.
    """
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(0, 1), reduction="none")
    return (losses * mask.flatten()).sum() / mask.sum()


class AuxiliaryHeads(nn.Module):
    """Linear auxiliary heads on the recurrent units, one per auxiliary target; used in training only.

    Parameters
    ----------
    units : int
        Number of recurrent units.
    classes : mapping of str to int
        By name: number of classes.
    soft_targets : mapping of str to Tensor of shape (class, class)
        By name: target probabilities of all classes for each class.
    """

    def __init__(self, units: int, classes: Mapping[str, int], soft_targets: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.soft_targets = dict(soft_targets)
        self.heads = nn.ModuleDict({name: nn.Linear(units, number, dtype=torch.float32) for name, number in classes.items()})
        for head in self.heads.values():
            nn.init.zeros_(head.weight)  # type: ignore[arg-type]
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    def read(self, rates: Tensor, weights: Tensor, bias: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The network's own outputs and the scores of all heads, in one product.

        There are few outputs, so that reading the rates, and writing their gradient, takes most of the time of each product.

        Parameters
        ----------
        rates : Tensor of shape (trial, time, unit)
            Rates of the recurrent units.
        weights : Tensor of shape (output, unit)
            The network's output weights.
        bias : Tensor of shape (output,)
            Its output bias.

        Returns
        -------
        outputs : Tensor of shape (trial, time, output)
            The network's outputs.
        scores : dict of str to Tensor of shape (trial, time, class)
            By name: the logits of each head.
        """
        heads = cast(list[nn.Linear], list(self.heads.values()))
        through, offset = torch.cat([weights, *(head.weight for head in heads)]), torch.cat([bias, *(h.bias for h in heads)])
        outputs, *scores = F.linear(rates, through, offset).split([len(bias), *(head.out_features for head in heads)], -1)
        return outputs, dict(zip(self.heads, scores, strict=True))

    def forward(self, scores: Mapping[str, Tensor], auxiliary: Mapping[str, Tensor]) -> Tensor:
        """Mean cross-entropy of scores (trial, time, class) by name, where the targets (trial, time) are not -1.

        Returns
        -------
        Tensor of shape ()
            The mean over heads; 0 if there are none.
        """
        losses = []
        for name, logits in scores.items():
            asked = auxiliary[name] >= 0
            if bool(asked.any()):
                right = auxiliary[name][asked]
                if name in self.soft_targets:
                    right = self.soft_targets[name][right]
                losses.append(F.cross_entropy(logits[asked], right))
        return torch.stack(losses).mean() if losses else torch.zeros(())


def taught_loss(logits: Tensor, odds: Tensor, targets: Tensor, mask: Tensor, steps: Tensor, *, typical: float) -> Tensor:
    """Loss of reproducing a teacher's running evidence.

    Parameters
    ----------
    logits : Tensor of shape (trial, time, action)
        The network's outputs; the first action is to fixate.
    odds : Tensor of shape (trial, time)
        The teacher's log odds of the first answer against the second.
    targets : Tensor of shape (trial, time), int64
        The right action at each step; where it is not to fixate, the teacher's probabilities stand in for it.
    mask : Tensor of shape (trial, time)
        Weight of each step in the cross-entropy.
    steps : Tensor of shape (trial, time), bool
        Steps at which the difference of the two answers' logits is to equal `odds`.
    typical : float
        Deviations from the odds count quadratically up to this and linearly beyond.

    Returns
    -------
    Tensor of shape ()
        A mean over trials.
    """
    first = torch.sigmoid(odds)
    answer = torch.stack([torch.zeros_like(first), first, 1 - first], 2)
    fixate = F.one_hot(torch.zeros_like(targets), 3).to(answer.dtype)
    soft = torch.where((targets == 0)[..., None], fixate, answer)
    # linear for large errors; otherwise the few trials that the matrix overfits would dominate
    distance = F.smooth_l1_loss((logits[..., 1] - logits[..., 2])[steps], odds[steps], beta=typical)
    return masked_cross_entropy(logits, soft, mask) + distance
