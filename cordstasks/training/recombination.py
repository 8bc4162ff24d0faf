"""More trials than were simulated: the sample of one trial with the test of another.

The front-end has one steady state per frame, so some time after a sample it is back in the state before the sample. Its
response to a later test is then the same after any sample. The beginning of one trial and the end of another therefore make
a third trial, whose answer follows from what was shown. N trials give N squared of these, so a network cannot memorise which
pairs match.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cordstasks.tasks import TrialBatch

__all__ = ["Recombination"]

RETURNED_MS = 300.0  # after a sample, when its trace in the front-end is within the error of settled states


@dataclass(frozen=True)
class Recombination:
    """The structure of trials that compare a test with a sample.

    Attributes
    ----------
    cut : Tensor of shape (trial,), int64
        The step at which the test comes; -1 for trials that must stay as they are.
    sample, test : Tensor of shape (trial,), int64
        Classes of the sample and of the test.
    actions : Tensor of shape (2,), int64
        What is right in the test if it does not match, and if it does.
    end : Tensor of shape (trial,), int64
        The step at which the test ends.
    """

    cut: Tensor
    sample: Tensor
    test: Tensor
    actions: Tensor
    end: Tensor

    @classmethod
    def of(cls, batch: TrialBatch, compared: str, device: torch.device) -> Recombination | None:
        """The recombination of trials whose test is the period `compared`; None where no trial may be recombined.

        They need a test that comes at a step's beginning, `RETURNED_MS` after the sample has gone.

        Returns
        -------
        Recombination or None
            With its tensors on `device`.
        """
        onset, end = batch.periods[compared].T / batch.dt
        whole = np.abs(onset - onset.round()) < 1e-9
        free = whole & (batch.periods[compared][:, 0] - batch.periods["sample"][:, 1] >= RETURNED_MS - 1e-9)
        step = np.floor(onset + 1e-9).astype(np.int64)  # as on the grid of trials: the first step with the test
        rows = np.arange(len(batch))
        sample, test = (batch.auxiliary[name][rows, step] for name in ("sample", "shown"))
        match = sample == test
        if not free.any() or match.all() or not match.any():
            return None
        actions = [batch.answers[~match][0], batch.answers[match][0]]
        arrays = (np.where(free, step, -1), sample, test, np.array(actions), np.floor(end + 1e-9).astype(np.int64))
        return cls(*(torch.from_numpy(array).to(device) for array in arrays))

    def partners(self, pick: Tensor, generator: torch.Generator) -> Tensor:
        """For each of the trials `pick` (trial,), one whose test follows its sample: in half of them a match.

        A trial that must stay as it is, or that has no possible partner, is its own partner.

        Returns
        -------
        Tensor of shape (trial,), int64
            Numbers of trials.
        """
        same = self.sample[pick, None] == self.test
        match = torch.rand(len(pick), generator=generator, device=pick.device, dtype=torch.float32) < 0.5
        fits = (self.cut[pick, None] == self.cut) & (self.cut[pick, None] >= 0) & (same == match[:, None])
        fits &= torch.arange(len(self.cut), device=pick.device) != pick[:, None]
        weights = fits.float()
        none = ~fits.any(1)
        weights[none, pick[none]] = 1
        return torch.multinomial(weights, 1, generator=generator)[:, 0]

    def joined(
        self, pick: Tensor, partner: Tensor, targets: Tensor, mask: Tensor, auxiliary: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Trials `pick` up to their tests, followed by the tests of the trials `partner`, and nothing after that.

        Steps after the end of all trials are left out.

        Parameters
        ----------
        pick, partner : Tensor of shape (trial,), int64
            The trials, and the one that each is joined with; a trial that is its own partner stays whole.
        targets, mask : Tensor of shape (trial, time)
            Of all trials.
        auxiliary : dict of str to Tensor of shape (trial, time)
            By name, of all trials.

        Returns
        -------
        source : Tensor of shape (trial, time), int64
            The trial that each step is taken from.
        targets, mask : Tensor of shape (trial, time)
            Of the joined trials.
        auxiliary : dict of str to Tensor of shape (trial, time)
            By name, of the joined trials.
        """
        own = (partner == pick)[:, None]
        last = targets.shape[1] if bool(own.any()) else int(self.end[partner].max())
        time = torch.arange(last, device=pick.device)
        after = (time >= self.cut[pick, None]) & ~own
        source = torch.where(after, partner[:, None], pick[:, None])
        in_test = after & (time < self.end[partner, None])
        match = (self.sample[pick] == self.test[partner]).long()
        joined_targets = torch.where(in_test, self.actions[match][:, None], targets[source, time])
        gone = after & ~in_test
        joined = {name: torch.where(gone, -1, values[source, time]) for name, values in auxiliary.items()}
        if "sample" in joined:
            joined["sample"] = torch.where(in_test, self.sample[pick, None], joined["sample"])
        return source, joined_targets, torch.where(gone, 0.0, mask[source, time]), joined
