"""Mixed trials against what their weights and moments must be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cordstasks.training.mixing import TrialMixing

TRIALS, STEPS, INPUTS = 24, 7, 3
SIZES, FEWEST = (1, 2, 4, 8, 16), 8
ANSWERS = torch.tensor([1, 2]).repeat(12)


def gaussian(seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(loc=2.0, size=(TRIALS, STEPS, INPUTS)))


def weights_of(mixed: torch.Tensor, inputs: torch.Tensor) -> np.ndarray:
    """Weights (mixture, trial) that give `mixed` from what differs from the mean of `inputs`; there are more numbers
    in a trial than trials, less one that the mean takes."""
    apart = (inputs - inputs.mean(0)).flatten(1).numpy()
    rest = (mixed - inputs.mean(0)).flatten(1).numpy()
    return np.linalg.lstsq(np.concatenate([apart.T, np.ones((1, len(inputs)))]), np.c_[rest, np.zeros(len(rest))].T)[0].T


def mixing(inputs: torch.Tensor, timing: torch.Tensor, answers: torch.Tensor | None = None) -> TrialMixing:
    return TrialMixing.of(inputs, timing, answers, sizes=SIZES, fewest=FEWEST)


def draw(source: TrialMixing, pick: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return source.draw(pick, torch.Generator().manual_seed(seed))


class TestDraw:
    def test_mixed_trials_add_up_trials_with_weights_whose_squares_add_up_to_one(self):
        inputs, pick = torch.cat([gaussian(s) for s in range(4)], 1), torch.arange(20)
        mixed = draw(mixing(inputs, torch.zeros(TRIALS, dtype=torch.long)), pick)
        weights = weights_of(mixed, inputs)
        rebuilt = inputs.mean(0) + torch.einsum("bn,nti->bti", torch.from_numpy(weights), inputs - inputs.mean(0))
        torch.testing.assert_close(rebuilt, mixed, rtol=0, atol=1e-8)
        # the trials' deviations add up to zero, so weights are known up to a constant, which the fit takes from their mean
        for row, trial in enumerate(pick.tolist()):
            size = SIZES[row % len(SIZES)]
            constant = np.median(weights[row])  # most trials are not in the mixture
            found = np.abs(weights[row] - constant) > 1e-6
            assert found[trial]
            assert 1 <= found.sum() <= size
            if found.sum() == size:  # otherwise a trial was drawn twice
                assert np.square(weights[row] - constant)[found].sum() == pytest.approx(1, rel=1e-6)

    def test_the_second_moments_over_time_are_those_of_the_trials(self):
        inputs = gaussian()
        centred = inputs - inputs.mean(0)
        mixed = draw(mixing(inputs, torch.zeros(TRIALS, dtype=torch.long)), torch.arange(TRIALS).repeat(4000)) - inputs.mean(
            0
        )
        ours = torch.einsum("nti,nsj->tisj", mixed, mixed) / len(mixed)
        theirs = torch.einsum("nti,nsj->tisj", centred, centred) / TRIALS
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0.03)
        torch.testing.assert_close(mixed.mean(0), torch.zeros(STEPS, INPUTS).double(), rtol=0, atol=0.02)

    def test_only_trials_of_the_same_timing_and_answer_are_mixed(self):
        timing = torch.arange(TRIALS) // 2 % 2
        inputs = gaussian()
        inputs[:, :, 0] = 10.0 * ANSWERS[:, None]  # the same over time, so that a mixture shows whose it was
        inputs[:, :, 1] = 100.0 * timing[:, None]
        pick = torch.arange(TRIALS).repeat(50)
        mixed = draw(mixing(inputs, timing, ANSWERS), pick)
        assert torch.allclose(mixed[:, :, 1], inputs[pick][:, :, 1])  # its deviation from the timing's mean is zero
        # deviations from the mean of both answers are +5 or -5, and weights add up to something of their own
        apart = (mixed[:, 0, 0] - 15) / (inputs[pick][:, 0, 0] - 15)
        assert apart.std() > 0.5
        free = draw(mixing(inputs, timing), pick)
        sums = (free[:, 0, 0] - 15) / 5
        assert not torch.allclose(sums.abs(), apart.abs())

    def test_trials_whose_timing_few_share_stay_as_they_are(self):
        timing = torch.zeros(TRIALS, dtype=torch.long)
        timing[: FEWEST - 1] = 1
        inputs, pick = gaussian(), torch.arange(TRIALS)
        mixed = draw(mixing(inputs, timing), pick)
        torch.testing.assert_close(mixed[: FEWEST - 1], inputs[: FEWEST - 1])
        rows = [row for row in range(FEWEST - 1, TRIALS) if SIZES[row % len(SIZES)] > 1]
        assert not torch.isclose(mixed[rows], inputs[rows]).all(2).all(1).any()

    def test_the_generator_decides(self):
        source, pick = mixing(gaussian(), torch.zeros(TRIALS, dtype=torch.long)), torch.arange(10)
        assert torch.equal(draw(source, pick, 1), draw(source, pick, 1))
        assert not torch.equal(draw(source, pick, 1), draw(source, pick, 2))
