"""Recombined trials: their parts are those of the trials they come from, and their answers follow from what is shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cordstasks import tasks
from cordstasks.tasks import TrialBatch
from cordstasks.tasks.visual.base import collate
from cordstasks.tasks.visual.numerosity import NumerosityTask
from cordstasks.training.recombination import RETURNED_MS, Recombination

CPU = torch.device("cpu")
SHORT = {"fixation": 40.0, "sample_time": 60.0, "delay": RETURNED_MS, "test": 80.0, "second_test": 60.0, "pictures": 4}


def trials(**changes: object) -> tuple[NumerosityTask, TrialBatch]:
    task = tasks.get("numerosity", **{**SHORT, **changes})
    assert isinstance(task, NumerosityTask)
    return task, task.sample(60, seed=3)


def recombined(batch: TrialBatch, seed: int = 0, rounds: int = 40):
    """Many draws: the trials, their partners, and what they are joined to."""
    made = Recombination.of(batch, "test", CPU)
    assert made is not None
    pick = torch.arange(len(batch)).repeat(rounds)
    partner = made.partners(pick, torch.Generator().manual_seed(seed))
    arrays = torch.from_numpy(batch.targets), torch.from_numpy(batch.mask)
    auxiliary = {name: torch.from_numpy(values) for name, values in batch.auxiliary.items()}
    return pick, partner, made.joined(pick, partner, *arrays, auxiliary)


class TestJoined:
    def test_half_of_them_match_and_the_answer_says_so(self):
        _, batch = trials()
        pick, partner, (_, targets, mask, _) = recombined(batch)
        match = batch.conditions["number"][pick] == batch.conditions["test"][partner]
        assert match.mean() == pytest.approx(0.5, abs=0.05)
        joined = (partner != pick).numpy()
        window = slice(int(400 / batch.dt), int(480 / batch.dt))
        answers = targets[:, window].numpy()
        assert (answers[joined] == np.where(match, 1, 0)[joined, None]).all()
        assert (mask[joined][:, window] == 1).all()
        assert (mask[joined][:, window.stop :] == 0).all()
        assert (targets[joined][:, : window.start] == 0).all()

    def test_every_step_is_of_the_sample_s_trial_before_the_test_and_of_the_partner_s_from_there(self):
        _, batch = trials()
        pick, partner, (source, *_) = recombined(batch)
        cut = int(400 / batch.dt)
        assert (source[:, :cut] == pick[:, None]).all()
        assert (source[:, cut:] == partner[:, None]).all()

    def test_auxiliary_targets_tell_the_sample_throughout_and_what_is_shown_while_it_is(self):
        task, batch = trials()
        pick, partner, (*_, auxiliary) = recombined(batch)
        joined = (partner != pick).numpy()
        number = np.array(task.numbers)
        sample, shown = auxiliary["sample"].numpy(), auxiliary["shown"].numpy()
        test = slice(int(400 / batch.dt), int(480 / batch.dt))
        assert (number[sample[joined][:, test]] == batch.conditions["number"][pick][joined][:, None]).all()
        assert (number[shown[joined][:, test]] == batch.conditions["test"][partner][joined][:, None]).all()
        assert (shown[joined][:, test.stop :] == -1).all()
        assert (sample[:, : int(40 / batch.dt)] == -1).all()

    def test_a_trial_that_is_its_own_partner_stays_whole(self):
        _, batch = trials()
        made = Recombination.of(batch, "test", CPU)
        assert made is not None
        pick = torch.arange(len(batch))
        arrays = torch.from_numpy(batch.targets), torch.from_numpy(batch.mask)
        auxiliary = {name: torch.from_numpy(values) for name, values in batch.auxiliary.items()}
        source, targets, mask, joined = made.joined(pick, pick, *arrays, auxiliary)
        assert (source == pick[:, None]).all()
        assert torch.equal(targets, arrays[0])
        assert torch.equal(mask, arrays[1])
        assert all(torch.equal(joined[name], values) for name, values in auxiliary.items())


class TestWhichMay:
    def test_not_those_whose_test_comes_too_soon_after_the_sample(self):
        _, batch = trials(delay=RETURNED_MS - 20)
        assert Recombination.of(batch, "test", CPU) is None

    def test_only_with_trials_whose_test_comes_at_the_same_time(self):
        _, batch = trials()
        other = trials(delay=RETURNED_MS + 20)[1]
        steps = max(batch.targets.shape[1], other.targets.shape[1])

        both = replace(
            batch,
            movies=batch.movies + other.movies,
            targets=np.concatenate([np.pad(b.targets, ((0, 0), (0, steps - b.targets.shape[1]))) for b in (batch, other)]),
            mask=np.concatenate([np.pad(b.mask, ((0, 0), (0, steps - b.mask.shape[1]))) for b in (batch, other)]),
            periods={name: np.concatenate([batch.periods[name], other.periods[name]]) for name in batch.periods},
            conditions={},
            response_mask=np.concatenate(
                [np.pad(b.response_mask, ((0, 0), (0, steps - b.targets.shape[1]))) for b in (batch, other)]
            ),
            answers=np.concatenate([batch.answers, other.answers]),
            auxiliary={
                name: np.concatenate(
                    [
                        np.pad(b.auxiliary[name], ((0, 0), (0, steps - b.targets.shape[1])), constant_values=-1)
                        for b in (batch, other)
                    ]
                )
                for name in batch.auxiliary
            },
        )
        made = Recombination.of(both, "test", CPU)
        assert made is not None
        pick = torch.arange(len(both)).repeat(10)
        partner = made.partners(pick, torch.Generator().manual_seed(1))
        assert ((pick < len(batch)) == (partner < len(batch))).all()

    def test_a_trial_without_a_fitting_partner_is_its_own(self):
        _, batch = trials()
        made = Recombination.of(batch, "test", CPU)
        assert made is not None
        alone = replace(made, cut=torch.where(torch.arange(len(batch)) == 5, 7, made.cut))
        partner = alone.partners(torch.full((200,), 5), torch.Generator().manual_seed(0))
        assert (partner == 5).all()

    def test_trials_whose_tests_come_within_a_step_do_not_mislead(self):
        """A test of one step that begins late in a step has its class in that step, the last of the longest trial."""
        short = {"test": 20.0, "second_test": 0.0}
        whole, _ = trials(**short)
        late, _ = trials(**short, fixation=(50.1, 59.9))
        apart = [*whole.trials(20, seed=3), *late.trials(20, seed=4)]
        made = Recombination.of(collate(apart, 20.0, options=whole.options), "test", CPU)
        assert made is not None
        assert made.actions.tolist() == [0, 1]
        match = [trial.conditions["match"] for trial in apart]
        assert (made.sample == made.test).tolist() == match
        assert (made.cut >= 0).tolist() == [True] * 20 + [False] * 20

    def test_tasks_that_compare_nothing_have_none(self):
        assert tasks.get("saccade").compared is None
        assert tasks.get("catdog").compared == "test"
