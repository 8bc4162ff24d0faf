"""The teacher on made-up features, of which it is known what tells the two answers apart."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from cordstasks.errors import InputError
from cordstasks.frontend import Features
from cordstasks.frontend.components import inverse_root
from cordstasks.frontend.histories import Cost
from cordstasks.model import principal_components
from cordstasks.training.distillation import Teacher, fit_teacher, running_evidence
from cordstasks.training.settings import VisualSettings

UNITS, STEPS, INPUTS = 20, 30, 6
EVIDENCE = slice(3, 28)
SETTINGS = VisualSettings("rdm", inputs=INPUTS, dt=20.0, lags_ms=(20.0, 40.0), odds_gain=5.0)


def rotations(trials: int, seed: int) -> tuple[Features, torch.Tensor, torch.Tensor]:
    """Features, whether the first answer is right, and evidence: a hidden plane turns one way or the other.

    z(t+1) = 0.9 R(+-0.6) z(t) + noise starts from its stationary distribution, the same for both answers; twenty units
    hold a mixture of z, and noise of their own.
    """
    rng = np.random.default_rng(seed)
    first = rng.permutation(np.arange(trials) % 2 == 0)
    angle = np.where(first, 0.6, -0.6)
    turn = 0.9 * np.stack([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    z = np.empty((trials, STEPS, 2))
    z[:, 0] = rng.normal(size=(trials, 2))
    for step in range(1, STEPS):
        z[:, step] = np.einsum("nij,nj->ni", turn, z[:, step - 1]) + math.sqrt(1 - 0.81) * rng.normal(size=(trials, 2))
    mixing = np.random.default_rng(99).normal(size=(2, UNITS))
    units = 5 + z @ mixing + 0.5 * rng.normal(size=(trials, STEPS, UNITS))
    evidence = torch.zeros(trials, STEPS, dtype=torch.bool)
    evidence[:, EVIDENCE] = True
    return features_of(units), torch.from_numpy(first), evidence


def features_of(units: np.ndarray) -> Features:
    rows = torch.from_numpy(units.reshape(-1, units.shape[-1]).astype(np.float16))
    return Features(rows, torch.arange(len(rows)).reshape(units.shape[:2]), Cost())


def final_odds(teacher: Teacher, features: Features, evidence: torch.Tensor) -> torch.Tensor:
    inputs = (features.take(slice(None)) - teacher.mean) @ teacher.projection
    return running_evidence(inputs, teacher.matrix, teacher.lags, evidence)[:, -1]


@pytest.fixture(scope="module")
def seen() -> tuple[Features, torch.Tensor, torch.Tensor]:
    return rotations(200, seed=1)


@pytest.fixture(scope="module")
def teacher(seen: tuple[Features, torch.Tensor, torch.Tensor]) -> Teacher:
    return fit_teacher(*seen, SETTINGS)


class TestRunningEvidence:
    @pytest.mark.parametrize("lags", [(1,), (2, 3), (1, 4)])
    def test_against_loops(self, lags: tuple[int, ...]):
        rng = np.random.default_rng(0)
        z, square, evidence = rng.normal(size=(3, 9, 4)), rng.normal(size=(4, 4)), rng.random((3, 9)) < 0.7
        matrix = square - square.T
        expected = np.zeros((3, 9))
        for trial in range(3):
            total = 0.0
            for step in range(9):
                for lag in lags:
                    if step >= lag and evidence[trial, step] and evidence[trial, step - lag]:
                        total += z[trial, step - lag] @ matrix @ z[trial, step]
                expected[trial, step] = total
        tensors = [torch.from_numpy(array) for array in (z, matrix)]
        ours = running_evidence(*tensors, lags, torch.from_numpy(evidence))
        np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-10, atol=1e-10)

    def test_time_reversed_trials_have_the_opposite_evidence(self, teacher: Teacher):
        features, _, evidence = rotations(31, seed=3)
        reversed_ = Features(features.rows, features.index.flip(1), Cost())
        forth, back = final_odds(teacher, features, evidence), final_odds(teacher, reversed_, evidence.flip(1))
        assert float(forth.abs().median()) > 1
        torch.testing.assert_close(back, -forth, rtol=1e-4, atol=1e-4)


class TestFit:
    def test_it_tells_unseen_trials_apart_whose_mean_says_nothing(
        self, seen: tuple[Features, torch.Tensor, torch.Tensor], teacher: Teacher
    ):
        unseen, first, evidence = rotations(300, seed=2)
        odds = final_odds(teacher, unseen, evidence)
        assert float(((odds > 0) == first).float().mean()) > 0.9
        means = [features.take(slice(None))[:, EVIDENCE].mean(1).double() for features in (seen[0], unseen)]
        designs = [torch.cat([mean - 5, torch.ones(len(mean), 1)], 1) for mean in means]
        weights = torch.linalg.lstsq(designs[0], torch.where(seen[1], 1.0, -1.0).double()[:, None]).solution
        linear = (designs[1] @ weights)[:, 0] > 0
        assert 0.4 < float((linear == first).float().mean()) < 0.6

    def test_the_matrix_is_antisymmetric(self, teacher: Teacher):
        assert teacher.matrix.shape == (INPUTS, INPUTS)
        torch.testing.assert_close(teacher.matrix, -teacher.matrix.T, rtol=0, atol=1e-5 * float(teacher.matrix.abs().max()))
        assert float(teacher.matrix.abs().max()) > 0

    def test_the_final_logit_of_the_training_trials_has_the_gain_as_deviation(
        self, seen: tuple[Features, torch.Tensor, torch.Tensor], teacher: Teacher
    ):
        features, _, evidence = seen
        assert float(final_odds(teacher, features, evidence).std()) == pytest.approx(5.0, rel=1e-3)

    def test_exchanged_answers_exchange_the_evidence(
        self, seen: tuple[Features, torch.Tensor, torch.Tensor], teacher: Teacher
    ):
        features, first, evidence = seen
        other = fit_teacher(features, ~first, evidence, SETTINGS)
        ours, theirs = (final_odds(each, features, evidence) for each in (teacher, other))
        torch.testing.assert_close(theirs, -ours, rtol=1e-2, atol=1e-2)

    @pytest.mark.parametrize(
        ("dt", "lags_ms", "lags"),
        [
            (20.0, (20.0, 40.0), (1, 2)),
            (10.0, (20.0, 40.0), (2, 4)),
            (40.0, (20.0, 40.0), (1,)),
            (100.0, (20.0, 40.0), (1,)),
            (20.0, (100.0, 60.0), (3, 5)),
        ],
    )
    def test_lags_are_durations(
        self,
        seen: tuple[Features, torch.Tensor, torch.Tensor],
        dt: float,
        lags_ms: tuple[float, ...],
        lags: tuple[int, ...],
    ):
        assert fit_teacher(*seen, replace(SETTINGS, dt=dt, lags_ms=lags_ms)).lags == lags

    @pytest.mark.parametrize(
        ("most", "per_trial", "rank"),
        [(8, 0.55, 8), (500, 0.055, 11), (500, 0.55, UNITS), (2, 0.55, 2), (500, 0.001, INPUTS)],
    )
    def test_covariances_are_compared_in_so_many_components(
        self, seen: tuple[Features, torch.Tensor, torch.Tensor], most: int, per_trial: float, rank: int
    ):
        """Of 200 trials; never in fewer than inputs are kept, unless the most is less."""
        settings = replace(SETTINGS, components=most, components_per_trial=per_trial)
        teacher = fit_teacher(*seen, settings)
        features, _, evidence = seen
        kept = principal_components(features, evidence, rank, whiten=True)[1].double()
        # the projection lies in the space of the components, and in that of no fewer where all inputs are used
        rest = torch.linalg.lstsq(kept, teacher.projection.double()).solution
        assert float((kept @ rest - teacher.projection).abs().max()) < 1e-3 * float(teacher.projection.abs().max())
        if rank > INPUTS:
            fewer = principal_components(features, evidence, rank - 1, whiten=True)[1].double()
            rest = torch.linalg.lstsq(fewer, teacher.projection.double()).solution
            assert float((fewer @ rest - teacher.projection).abs().max()) > 1e-2 * float(teacher.projection.abs().max())
        assert int((teacher.projection.abs().sum(0) > 0).sum()) == min(rank, INPUTS)

    def test_channels_that_few_trials_leave_over_are_silent(self):
        features, first, evidence = rotations(4, seed=4)
        evidence[:] = False
        evidence[:, 3:6] = True  # twelve rows, so eleven directions
        teacher = fit_teacher(features, first, evidence, replace(SETTINGS, inputs=16))
        assert teacher.projection.shape == (UNITS, 16)
        assert (teacher.projection[:, 11:] == 0).all()
        assert (teacher.matrix[11:] == 0).all()
        inputs = (features.take(slice(None))[evidence] - teacher.mean) @ teacher.projection
        assert float(inputs[:, :11].abs().sum(0).min()) > 0
        assert float(inputs.abs().max()) < 5  # of twelve values of unit variance none is above 3

    def test_the_directions_kept_are_those_of_the_largest_singular_values(
        self, seen: tuple[Features, torch.Tensor, torch.Tensor], teacher: Teacher
    ):
        features, first, evidence = seen
        whole = fit_teacher(features, first, evidence, replace(SETTINGS, inputs=UNITS))
        values = torch.linalg.svdvals(whole.matrix.double())
        ratio = torch.linalg.svdvals(teacher.matrix.double()) / values[:INPUTS]  # one gain each, so one ratio
        torch.testing.assert_close(ratio, ratio[:1].expand(INPUTS), rtol=1e-3, atol=0)

    def test_units_that_do_not_vary_are_not_blown_up(self):
        features, first, evidence = rotations(40, seed=5)
        features.rows[:, 7] = 3.0
        teacher = fit_teacher(features, first, evidence, SETTINGS)
        features.rows[:, 7] = 4.0
        inputs = (features.take(slice(None))[evidence] - teacher.mean) @ teacher.projection
        assert float(inputs.abs().max()) < 10
        assert torch.isfinite(teacher.matrix).all()

    def test_too_few_trials_are_refused(self):
        features, first, evidence = rotations(1, seed=6)
        with pytest.raises(InputError, match=r"trials=1: too few to learn from; give hundreds"):
            fit_teacher(features, first, evidence, SETTINGS)

    def test_trials_of_too_few_steps_are_refused(self):
        features, first, evidence = rotations(2, seed=6)
        evidence[:] = False
        evidence[:, 4] = True
        with pytest.raises(InputError, match=r"trials=2: too few to learn from; give hundreds"):
            fit_teacher(features, first, evidence, SETTINGS)


class TestPrincipalComponents:
    def test_components_have_unit_variance_and_are_those_of_largest_variance(self):
        features, _, evidence = rotations(50, seed=7)
        mean, projection = principal_components(features, evidence, INPUTS, whiten=True)
        rows = features.take(slice(None))[evidence].double().numpy()
        np.testing.assert_allclose(mean.numpy(), rows.mean(0), rtol=1e-4)
        np.testing.assert_allclose(
            np.cov((rows - rows.mean(0)) @ projection.double().numpy(), rowvar=False, ddof=0), np.eye(INPUTS), atol=2e-3
        )
        _, vectors = np.linalg.eigh(np.cov(rows, rowvar=False))
        directions = projection[:, -2:].double().numpy()
        directions /= np.linalg.norm(directions, axis=0)
        np.testing.assert_allclose(np.abs((directions * vectors[:, -2:]).sum(0)), 1, atol=1e-3)

    def test_without_whitening_one_factor_scales_them_all(self):
        features, _, evidence = rotations(50, seed=7)
        mean, projection = principal_components(features, evidence, INPUTS, whiten=False)
        rows = features.take(slice(None))[evidence].double().numpy()
        variances = np.linalg.eigvalsh(np.cov(rows, rowvar=False, ddof=0))[-INPUTS:]
        ours = np.cov((rows - mean.double().numpy()) @ projection.double().numpy(), rowvar=False, ddof=0)
        np.testing.assert_allclose(ours, np.diag(variances / variances.mean()), atol=2e-3)

    def test_components_that_few_trials_leave_over_are_silent(self):
        features, _, evidence = rotations(1, seed=8)
        evidence[:] = False
        evidence[:, 3:8] = True  # five rows, so four directions
        _, projection = principal_components(features, evidence, 9, whiten=True)
        assert (projection[:, :5] == 0).all()
        inputs = (features.take(slice(None))[evidence] - features.take(slice(None))[evidence].mean(0)) @ projection
        torch.testing.assert_close(inputs[:, 5:].var(0, correction=0), torch.ones(4), rtol=2e-3, atol=0)

    def test_the_inverse_root_of_rounding_errors_is_zero(self):
        values = torch.tensor([-1e-9, 0.0, 3e-7, 4e-5, 0.25, 4.0])
        torch.testing.assert_close(inverse_root(values), torch.tensor([0.0, 0, 0, 1 / math.sqrt(4e-5), 2, 0.5]))
        assert inverse_root(torch.zeros(3)).tolist() == [0, 0, 0]
