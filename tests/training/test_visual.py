"""Training on made-up features: what is minimised, what is kept, and that an interruption changes nothing."""

from __future__ import annotations

import contextlib
import math
import signal
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.optim.optimizer import register_optimizer_step_post_hook

from cordstasks import tasks
from cordstasks.errors import InputError
from cordstasks.frontend import Features
from cordstasks.frontend.histories import Cost
from cordstasks.model import MultiAreaModel, principal_components
from cordstasks.rnn import RNN
from cordstasks.rnn.packing import Packing
from cordstasks.stimuli import Movie
from cordstasks.tasks import TrialBatch
from cordstasks.training import visual as training
from cordstasks.training.distillation import Teacher
from cordstasks.training.evaluation import choices, run_model, run_until
from cordstasks.training.losses import AuxiliaryHeads, masked_cross_entropy, taught_loss
from cordstasks.training.mixing import TrialMixing
from cordstasks.training.settings import VisualSettings
from cordstasks.training.trials import TrialSet, trial_set
from cordstasks.training.visual import train
from cordstasks.utils.run_folder import RunFolder, new_folder, unfinished_folder
from cordstasks.utils.settings import Settings, setting, whole
from helpers import assert_same_run, ctrl_c

STEPS, UNITS, INPUTS, OUTPUTS = 7, 5, 4, 3
CPU = torch.device("cpu")


def separable(trials: int, seed: int) -> TrialSet:
    """Trials whose answer, 1 or 2, is the sign of one feature at steps 2 to 4; it is due at the two last steps.

    Every third trial is a step shorter.
    """
    rng = np.random.default_rng(seed)
    answers = rng.integers(1, OUTPUTS, trials)
    features = rng.normal(size=(trials, STEPS, UNITS))
    features[:, 2:5, 1] += 2.0 * (2 * answers[:, None] - 3)
    index = np.arange(trials * STEPS).reshape(trials, STEPS)
    targets, mask = np.zeros((trials, STEPS), np.int64), np.full((trials, STEPS), 0.1, np.float32)
    for trial, answer in enumerate(answers):
        last = STEPS - (trial % 3 == 0)
        index[trial, last:], mask[trial, last:] = -1, 0
        targets[trial, last - 2 : last], mask[trial, last - 2 : last] = answer, 1
    batch = TrialBatch(
        movies=(Movie.still(np.zeros((1, 1, 1), np.uint8), 140.0),) * trials,
        dt=20.0,
        targets=targets,
        mask=mask,
        conditions={"coherence": rng.choice([0.1, 0.2], trials), "side": answers},
        periods={"motion": np.tile([40.0, 100.0], (trials, 1))},
        response_mask=targets > 0,
        answers=answers,
        options=(1, 2),
        answer_from=np.full(trials, 100.0),
    )
    rows = torch.from_numpy(features.reshape(-1, UNITS).astype(np.float16))
    return trial_set(Features(rows, torch.from_numpy(index), Cost()), batch, CPU, tasks.get("rdm"))


def new_model(seed: int = 0, units: int = 11) -> MultiAreaModel:
    rnn = RNN(INPUTS, units, OUTPUTS, noise=0.05, generator=torch.Generator().manual_seed(seed))
    model = MultiAreaModel(rnn, UNITS)
    model.normalise_by(*principal_components(SEEN.inputs, SEEN.evidence, INPUTS, whiten=True))
    return model


SEEN, UNSEEN = separable(40, seed=1), separable(26, seed=2)
TRAINING, VALIDATION = (replace(seen, inputs=new_model().inputs(seen.inputs)) for seen in (SEEN, UNSEEN))
SETTINGS = VisualSettings(
    "rdm", steps=48, batch=8, learning_rate=0.01, input_noise=0.1, average=0.0, evaluate_every=10, patience=20, seed=3
)


def antisymmetric(seed: int) -> torch.Tensor:
    square = torch.randn(INPUTS, INPUTS, generator=torch.Generator().manual_seed(seed))
    return square - square.T


TEACHER = Teacher(new_model().mean, new_model().projection, antisymmetric(0), (1, 2))
TEACHERS = {"labels": None, "teacher": TEACHER}


def run_of(path: Path, settings: VisualSettings = SETTINGS, **options: Any) -> tuple[dict[str, Any], MultiAreaModel]:
    path.mkdir(exist_ok=True)
    model = new_model()
    return train(model, TRAINING, VALIDATION, settings, RunFolder(path), **options), model


@pytest.fixture(scope="module", params=TEACHERS)
def teacher(request: pytest.FixtureRequest) -> Teacher | None:
    return TEACHERS[request.param]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, teacher: Teacher | None) -> Path:
    path = tmp_path_factory.mktemp("uninterrupted")
    run_of(path, teacher=teacher)
    return path


class TestTrialSet:
    def six(self) -> TrialSet:
        batch = TrialBatch(
            movies=(Movie.still(np.zeros((1, 1, 1), np.uint8), 100.0),) * 6,
            dt=20.0,
            targets=np.array([[0, 0, 0, 0, 1]] * 3 + [[0, 0, 0, 0, 2]] * 3),
            response_mask=np.array([[False] * 4 + [True]] * 6),
            answers=np.array([1] * 3 + [2] * 3),
            options=(1, 2),
            answer_from=np.full(6, 80.0),
            mask=np.ones((6, 5), np.float32),
            conditions={"coherence": np.array([0.5, 0.5, 0.5, 0.5, 0.1, 0.5]), "side": np.array([1, 1, 1, 2, 2, 2])},
            periods={
                "motion": np.array([[20.0, 80], [30, 80], [20, 80], [20, 80], [20, 70], [20, 80]]),
                "choice": np.array([[80.0, 100], [80, 100], [80, 100], [80, 100], [80, 100], [90, 100]]),
            },
        )
        features = Features(torch.zeros(1, 2), torch.zeros(6, 5, dtype=torch.long), Cost())
        return trial_set(features, batch, CPU, tasks.get("rdm"))

    def test_evidence_is_the_steps_that_begin_in_the_stimulus_period(self):
        early, late = [False, True, True, True, False], [False, False, True, True, False]
        assert self.six().evidence.tolist() == [early, late, early, early, early, early]
        assert torch.equal(TRAINING.evidence, torch.tensor([2 <= step < 5 for step in range(STEPS)]).expand(40, STEPS))
        assert (TRAINING.response_mask.sum(1) == 2).all()

    def test_trials_of_the_same_periods_have_the_same_timing_whatever_they_show(self):
        timing = self.six().timing.tolist()
        assert timing[0] == timing[2] == timing[3]
        assert len(set(timing)) == 4
        assert sorted(set(timing)) == [0, 1, 2, 3]


def log_softmax(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return z - z.max(-1, keepdims=True) - np.log(np.exp(z - z.max(-1, keepdims=True)).sum(-1, keepdims=True))


class TestLoss:
    LOGITS = np.random.default_rng(5).normal(size=(len(TRAINING), STEPS, OUTPUTS))

    def test_cross_entropy_of_actions_against_loops(self):
        acting, total = 0.0, 0.0
        for trial in range(len(TRAINING)):
            for step in range(STEPS):
                weight = float(TRAINING.mask[trial, step])
                acting -= weight * log_softmax(self.LOGITS[trial, step])[int(TRAINING.targets[trial, step])]
                total += weight
        ours = masked_cross_entropy(torch.from_numpy(self.LOGITS), TRAINING.targets, TRAINING.mask)
        assert float(ours) == pytest.approx(acting / total, rel=1e-6)

    def test_cross_entropy_of_probabilities(self):
        soft = np.random.default_rng(6).dirichlet(np.ones(OUTPUTS), (len(TRAINING), STEPS))
        mask = TRAINING.mask.numpy().astype(np.float64)
        expected = -(mask * (soft * log_softmax(self.LOGITS)).sum(-1)).sum() / mask.sum()
        ours = masked_cross_entropy(torch.from_numpy(self.LOGITS), torch.from_numpy(soft), TRAINING.mask.double())
        assert float(ours) == pytest.approx(expected, rel=1e-9)

    def test_following_a_teacher_against_loops(self):
        odds, typical = np.random.default_rng(7).normal(scale=4.0, size=(len(TRAINING), STEPS)), 2.5
        steps = (TRAINING.evidence | TRAINING.response_mask).numpy()
        crossed, total, distances = 0.0, 0.0, []
        for trial, step in np.ndindex(len(TRAINING), STEPS):
            weight, z = float(TRAINING.mask[trial, step]), self.LOGITS[trial, step]
            if TRAINING.targets[trial, step] == 0:
                crossed -= weight * log_softmax(z)[0]
            else:  # whatever the label says, the teacher's odds stand in for it
                first = 1 / (1 + math.exp(-odds[trial, step]))
                crossed -= weight * (first * log_softmax(z)[1] + (1 - first) * log_softmax(z)[2])
            total += weight
            if steps[trial, step]:
                apart = abs(z[1] - z[2] - odds[trial, step])
                distances.append(apart**2 / (2 * typical) if apart < typical else apart - typical / 2)
        tensors = [torch.from_numpy(array) for array in (self.LOGITS, odds)]
        last = TRAINING.targets, TRAINING.mask.double(), torch.from_numpy(steps)
        ours = taught_loss(*tensors, *last, typical=typical)
        assert float(ours) == pytest.approx(crossed / total + np.mean(distances), rel=1e-6)


class TestChoices:
    def test_the_mean_over_the_steps_that_count_decides_and_fixating_is_no_choice(self):
        logits = torch.tensor(
            [
                [[9.0, 0, 5], [9, 3, 0], [9, 3, 1]],  # the first step would say 2
                [[0.0, 0, 0], [0, 4, 0], [0, 1, 6]],  # the sum of the two last says 2
                [[0.0, 7, 8], [0, 0, 9], [0, 0, 9]],  # only the first counts
            ]
        )
        response_mask = torch.tensor([[False, True, True], [False, True, True], [True, False, False]])
        assert choices(logits, response_mask, (1, 2)).tolist() == [1, 2, 2]


class TestModel:
    def test_features_are_projected_with_what_was_given(self):
        model, rng = MultiAreaModel(RNN(INPUTS, 11, OUTPUTS), UNITS), np.random.default_rng(3)
        mean, projection = rng.normal(size=UNITS), rng.normal(size=(UNITS, INPUTS))
        model.normalise_by(torch.from_numpy(mean), torch.from_numpy(projection))
        inputs = model.inputs(UNSEEN.inputs)
        rows = UNSEEN.inputs.rows.numpy().astype(np.float64)
        np.testing.assert_allclose(inputs.rows.numpy(), (rows - mean) @ projection, rtol=1e-4, atol=1e-5)
        assert inputs.units == INPUTS
        assert torch.equal(inputs.index, UNSEEN.inputs.index)

    def test_many_rows_are_projected_in_parts(self, monkeypatch: pytest.MonkeyPatch):
        whole = new_model().inputs(UNSEEN.inputs).rows
        monkeypatch.setattr("cordstasks.model.ROWS", 13)
        torch.testing.assert_close(new_model().inputs(UNSEEN.inputs).rows, whole, rtol=1e-5, atol=1e-6)

    def test_the_statistics_are_saved_with_the_weights(self):
        saved = new_model().state_dict()
        assert torch.equal(saved["mean"], new_model().mean)
        assert saved["projection"].abs().sum() > 0
        assert saved["projection"].shape == (UNITS, INPUTS)

    def test_run_model_is_the_model_without_noise_in_batches(self):
        model = new_model()
        logits, rates = run_model(model, VALIDATION.inputs, batch=7)
        expected = model(VALIDATION.inputs.take(slice(None)))
        torch.testing.assert_close(logits, expected[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(rates, expected[1], rtol=1e-5, atol=1e-6)
        assert not logits.requires_grad

    def test_run_until_is_the_same_up_to_the_last_step_that_is_read(self):
        model, read = new_model(), torch.zeros(VALIDATION.mask.shape, dtype=torch.bool)
        read[:, 3], read[4, 5] = True, True
        expected, _ = run_model(model, VALIDATION.inputs)
        expected[:, 4:] = 0
        expected[4, 4:6] = run_model(model, VALIDATION.inputs)[0][4, 4:6]
        logits = run_until(model, VALIDATION.inputs, read, batch=7)
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)
        assert not logits.requires_grad


def inputs_of(monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.Tensor, Packing]]:
    """The packed inputs of every batch of training from now on, and how they are packed."""
    seen, packed = [], RNN.packed

    def noted(rnn: RNN, inputs: torch.Tensor, packing: Packing, **options: Any) -> Any:
        seen.append((inputs, packing))
        return packed(rnn, inputs, packing, **options)

    monkeypatch.setattr(RNN, "packed", noted)
    return seen


def mixing_of(settings: VisualSettings, answers: torch.Tensor | None = None) -> TrialMixing:
    sizes, fewest = settings.mix_sizes, settings.mix_fewest
    return TrialMixing.of(TRAINING.inputs.take(slice(None)), TRAINING.timing, answers, sizes=sizes, fewest=fewest)


def step_once(settings: VisualSettings, teacher: Teacher | None) -> float:
    model = new_model()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.0)
    mixing = None
    if settings.mix:
        answers = TRAINING.answers if teacher is None else None
        mixing = mixing_of(settings, answers)
    return training._step(
        model, AuxiliaryHeads(11, {}, {}), TRAINING, mixing, teacher, optimiser, torch.Generator().manual_seed(0), settings
    )


class TestTraining:
    def test_it_learns(self, tmp_path: Path):
        logits, _ = run_model(new_model(), VALIDATION.inputs)
        before = float((choices(logits, VALIDATION.response_mask, VALIDATION.options) == VALIDATION.answers).float().mean())
        settings = replace(SETTINGS, steps=300, batch=16)
        result, model = run_of(tmp_path, settings)
        logits, _ = run_model(model, VALIDATION.inputs)
        after = float((choices(logits, VALIDATION.response_mask, VALIDATION.options) == VALIDATION.answers).float().mean())
        assert after >= 0.96 > before
        loss = float(masked_cross_entropy(logits, VALIDATION.targets, VALIDATION.mask))
        assert result["best_validation_loss"] == pytest.approx(loss, rel=1e-6)

    def test_the_best_weights_are_kept_and_the_last_ones_too(self, tmp_path: Path):
        # so fast that it becomes worse again
        result, model = run_of(tmp_path, replace(SETTINGS, steps=80, learning_rate=0.3))
        rows = RunFolder(tmp_path).log.read()
        losses = {row["step"]: row["validation_loss"] for row in rows}
        assert list(losses) == [10, 20, 30, 40, 50, 60, 70, 80]
        assert result["best_step"] == min(losses, key=losses.__getitem__) < 80
        assert result["best_validation_loss"] == min(losses.values())
        best, last = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("best", "checkpoint"))
        assert best["step"] == result["best_step"]
        for name, value in model.state_dict().items():
            assert torch.equal(value, best["model"][name])
        assert not torch.equal(best["model"]["rnn.bias"], last["model"]["rnn.bias"])
        last_model = new_model()
        last_model.load_state_dict(last["model"])
        logits, _ = run_model(last_model, VALIDATION.inputs)
        assert float(masked_cross_entropy(logits, VALIDATION.targets, VALIDATION.mask)) == pytest.approx(
            losses[80], rel=1e-6
        )

    def test_it_stops_early(self, tmp_path: Path, teacher: Teacher | None):
        result, _ = run_of(tmp_path, replace(SETTINGS, steps=1000, learning_rate=0.3, patience=2), teacher=teacher)
        losses = [row["validation_loss"] for row in RunFolder(tmp_path).log.read()]
        assert result["steps"] == result["best_step"] + 20 == 10 * len(losses) < 1000
        assert min(losses) == losses[-3]

    def test_the_log_holds_the_mean_loss_of_the_batches_since(self, tmp_path: Path):
        run_of(tmp_path / "each", replace(SETTINGS, evaluate_every=1, patience=100))
        losses = [row["loss"] for row in RunFolder(tmp_path / "each").log.read()]
        assert len(set(losses)) == len(losses) == 48
        run_of(tmp_path / "tenth")
        rows = RunFolder(tmp_path / "tenth").log.read()
        assert [row["step"] for row in rows] == [10, 20, 30, 40, 48]
        for row, first in zip(rows, (0, 10, 20, 30, 40), strict=True):
            assert row["loss"] == pytest.approx(np.mean(losses[first : row["step"]]), rel=1e-6)

    def test_the_learning_rate_falls_to_a_twentieth(self):
        settings = VisualSettings("rdm", steps=100, learning_rate=0.02)
        rates = [training._learning_rate(step, settings) for step in (0, 50, 100)]
        assert rates == pytest.approx([0.02, 0.02 * 0.525, 0.001])

    def test_gradients_are_clipped(self):
        settings = replace(SETTINGS, clip=1e-3)
        model = new_model()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.0)
        training._step(
            model, AuxiliaryHeads(11, {}, {}), TRAINING, None, None, optimiser, torch.Generator().manual_seed(0), settings
        )
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None))
        assert norm == pytest.approx(1e-3, rel=1e-3)

    def test_auxiliary_targets_reach_the_recurrent_weights(self, tmp_path: Path):
        told = torch.full(TRAINING.targets.shape, -1)
        told[:, 2:5] = (TRAINING.answers - 1)[:, None]
        seen = replace(
            TRAINING, auxiliary={"side": told}, mask=torch.zeros_like(TRAINING.mask).index_fill_(1, torch.tensor([0]), 1)
        )

        def apart(auxiliary: float) -> float:
            """How well one unit tells the answers apart after training, on average."""
            model, path = new_model(), tmp_path / str(auxiliary)
            path.mkdir()
            train(
                model,
                seen,
                VALIDATION,
                replace(SETTINGS, steps=150, evaluate_every=150, auxiliary=auxiliary),
                RunFolder(path),
            )
            rates = run_model(model, VALIDATION.inputs)[1][:, 4]
            means = [rates[VALIDATION.answers == answer].mean(0) for answer in (1, 2)]
            return float((means[0] - means[1]).norm() / rates.std(0).norm())

        # no action but fixating is ever asked for
        assert apart(1.0) > 1.1 * apart(0.0)

    def test_what_is_kept_is_a_running_average_of_the_weights(self, tmp_path: Path):
        weights = []

        def note(optimiser: torch.optim.Optimizer, *_: Any) -> None:
            shaped = [p for p in optimiser.param_groups[0]["params"] if p.shape == (OUTPUTS, 11)]
            weights.append(shaped[0].detach().clone())

        with ExitStack() as stack:
            stack.callback(register_optimizer_step_post_hook(note).remove)
            _, model = run_of(tmp_path, replace(SETTINGS, steps=4, evaluate_every=4, average=0.5))
        assert len(weights) == 4
        expected = weights[0]
        for later in weights[1:]:
            expected = 0.5 * expected + 0.5 * later
        assert model.rnn.output_weights.shape == expected.shape
        torch.testing.assert_close(model.rnn.output_weights.detach(), expected)
        assert not torch.allclose(expected, weights[-1])

    def test_an_interruption_changes_no_running_average(self, tmp_path: Path):
        settings = replace(SETTINGS, average=0.9)
        run_of(tmp_path / "whole", settings)
        with ctrl_c(26), pytest.raises(KeyboardInterrupt):
            run_of(tmp_path / "cut", settings)
        run_of(tmp_path / "cut", settings)
        assert_same_run(tmp_path / "whole", tmp_path / "cut")

    def test_a_batch_is_that_of_whole_trials(self):
        """Loss and gradients are as if all steps were computed, also those after the end of a trial."""
        told = torch.full(TRAINING.targets.shape, -1)
        told[::2, 2:6] = (TRAINING.answers - 1)[::2, None]
        seen = replace(TRAINING, auxiliary={"side": told})
        settings = replace(SETTINGS, batch=13, auxiliary=0.7, clip=1e9)
        losses, gradients = [], []
        for dense in (False, True):
            model, generator = new_model(), torch.Generator().manual_seed(5)
            heads = AuxiliaryHeads(11, {"side": 2}, {})
            torch.nn.init.constant_(heads.heads["side"].weight[0], 0.3)
            parameters = [*model.parameters(), *heads.parameters()]
            if dense:
                pick = torch.randint(len(seen), (13,), generator=generator)
                inputs = seen.inputs.take(pick)
                inputs = inputs + 0.1 * torch.randn(inputs.shape, generator=generator)
                logits, rates = model(inputs, generator=generator)
                loss = masked_cross_entropy(logits, seen.targets[pick], seen.mask[pick])
                asked, scores = told[pick] >= 0, heads.heads["side"](rates)
                beside = torch.nn.functional.cross_entropy(scores[asked], told[pick][asked])
                (loss + 0.7 * beside).backward()
                losses.append(float(loss))
            else:
                optimiser = torch.optim.SGD(parameters, lr=0.0)
                losses.append(training._step(model, heads, seen, None, None, optimiser, generator, settings))
            gradients.append([parameter.grad for parameter in parameters])
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
        for ours, theirs in zip(*gradients, strict=True):
            assert theirs.abs().max() > 0
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)

    def test_soft_targets_stand_in_for_classes(self):
        rates, classes = torch.randn(3, 2, 5), torch.tensor([[0, 2], [-1, 1], [1, -1]])
        soft_targets = torch.tensor([[0.8, 0.2, 0.0], [0.1, 0.8, 0.1], [0.0, 0.2, 0.8]])
        heads = AuxiliaryHeads(5, {"place": 3}, {"place": soft_targets})
        torch.nn.init.normal_(heads.heads["place"].weight)
        weights, bias = torch.randn(4, 5), torch.randn(4)
        outputs, scores = heads.read(rates, weights, bias)
        torch.testing.assert_close(outputs, rates @ weights.T + bias)
        logits = heads.heads["place"](rates).log_softmax(2)
        expected = [
            -(soft_targets[classes[t, s]] * logits[t, s]).sum() for t in range(3) for s in range(2) if classes[t, s] >= 0
        ]
        assert float(heads(scores, {"place": classes})) == pytest.approx(float(torch.stack(expected).mean()), rel=1e-5)
        assert float(heads(scores, {"place": torch.full((3, 2), -1)})) == 0

    @pytest.mark.parametrize("noise", [0.0, 0.4])
    def test_trials_that_are_not_mixed_are_noisy(self, monkeypatch: pytest.MonkeyPatch, noise: float):
        seen = inputs_of(monkeypatch)
        step_once(replace(SETTINGS, input_noise=noise, batch=4000), None)
        pick = torch.randint(len(TRAINING), (4000,), generator=torch.Generator().manual_seed(0))
        inputs, packing = seen[0]
        added = inputs - packing.pack(TRAINING.inputs.take(pick))
        torch.testing.assert_close(added.std(0), torch.full((INPUTS,), noise), rtol=0.03, atol=0)

    def test_with_a_teacher_the_running_evidence_of_the_mixture_is_taught(self, monkeypatch: pytest.MonkeyPatch):
        seen, taught = inputs_of(monkeypatch), []

        def noted(*arguments: torch.Tensor, typical: float) -> torch.Tensor:
            taught.append(arguments)
            assert typical == 2.5
            return taught_loss(*arguments, typical=typical)

        monkeypatch.setattr(training, "taught_loss", noted)
        settings = replace(SETTINGS, input_noise=5.0, mix=True, batch=50, odds_typical=2.5)
        loss = step_once(settings, TEACHER)
        generator = torch.Generator().manual_seed(0)
        pick = torch.randint(len(TRAINING), (50,), generator=generator)
        mixed = mixing_of(settings).draw(pick, generator)
        logits, odds, targets, mask, steps = taught[0]
        packed, packing = seen[0]
        assert torch.equal(packed, packing.pack(mixed))  # without noise
        assert not torch.equal(packed, packing.pack(TRAINING.inputs.take(pick)))
        inputs, matrix = mixed.double(), TEACHER.matrix.double()
        by_trial, lengths = packing.unpack(odds[0]), packing.trial.bincount()
        assert set(lengths.tolist()) == {STEPS - 1, STEPS}
        for trial, of in enumerate(pick.tolist()):
            total = 0.0
            for step in range(STEPS):
                for lag in TEACHER.lags:
                    if step >= lag and TRAINING.evidence[of, step] and TRAINING.evidence[of, step - lag]:
                        total += float(inputs[trial, step - lag] @ matrix @ inputs[trial, step])
                if step < lengths[trial]:
                    assert float(by_trial[trial, step]) == pytest.approx(total, rel=1e-3, abs=1e-3)
        assert torch.equal(targets[0], packing.pack(TRAINING.targets[pick]))
        assert torch.equal(mask[0], packing.pack(TRAINING.mask[pick]))
        assert torch.equal(steps[0], packing.pack(TRAINING.evidence[pick] | TRAINING.response_mask[pick]))
        assert loss == float(taught_loss(logits, odds, targets, mask, steps, typical=2.5).detach())

    def test_without_a_teacher_only_trials_of_one_answer_are_mixed(self, monkeypatch: pytest.MonkeyPatch):
        seen = inputs_of(monkeypatch)
        settings = replace(SETTINGS, mix=True, batch=50, mix_sizes=(1, 3), mix_fewest=2)
        step_once(settings, None)
        generator = torch.Generator().manual_seed(0)
        pick = torch.randint(len(TRAINING), (50,), generator=generator)
        packed, packing = seen[0]
        assert torch.equal(packed, packing.pack(mixing_of(settings, TRAINING.answers).draw(pick, generator)))

    def test_the_seed_decides(self, tmp_path: Path, uninterrupted: Path, teacher: Teacher | None):
        run_of(tmp_path / "again", teacher=teacher)
        assert_same_run(tmp_path / "again", uninterrupted)
        run_of(tmp_path / "other", replace(SETTINGS, seed=4), teacher=teacher)
        with pytest.raises(AssertionError):
            assert_same_run(tmp_path / "other", uninterrupted)

    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    def test_a_loss_that_is_no_number_ends_it_with_a_mend(self, tmp_path: Path, teacher: Teacher | None):
        message = r"learning_rate=1e\+30: the loss became (nan|inf) at batch \d+; choose a smaller"
        with pytest.raises(InputError, match=message):
            run_of(tmp_path, replace(SETTINGS, learning_rate=1e30), teacher=teacher)


class TestInterruption:
    @pytest.mark.parametrize("batch", [0, 9, 10, 31, 47])
    def test_a_resumed_run_ends_as_the_uninterrupted_one(
        self, tmp_path: Path, uninterrupted: Path, teacher: Teacher | None, batch: int
    ):
        before = signal.getsignal(signal.SIGINT)
        with ctrl_c(batch), pytest.raises(KeyboardInterrupt):
            run_of(tmp_path, teacher=teacher)
        assert signal.getsignal(signal.SIGINT) is before
        assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["progress"]["step"] == batch + 1
        run_of(tmp_path, teacher=teacher)
        assert_same_run(tmp_path, uninterrupted)

    @pytest.mark.parametrize("save_seconds", [0.0, 1e9])
    def test_a_run_that_just_ends_is_continued_from_its_last_checkpoint(
        self,
        tmp_path: Path,
        uninterrupted: Path,
        teacher: Teacher | None,
        monkeypatch: pytest.MonkeyPatch,
        save_seconds: float,
    ):
        class Killed(BaseException):
            pass

        # twice, and each time between writing the best weights and the log's row, so that files disagree
        write, ends = training.RunFolder.save, [0]

        def dying(folder: RunFolder, name: str, state: Any) -> None:
            write(folder, name, state)
            if name == "best.pt" and state["step"] > ends[-1]:
                ends.append(state["step"])
                raise Killed

        for _ in range(2):
            with monkeypatch.context() as patch, contextlib.suppress(Killed):
                patch.setattr(training.RunFolder, "save", dying)
                run_of(tmp_path, teacher=teacher, save_seconds=save_seconds)
        assert len(ends) > 1
        run_of(tmp_path, teacher=teacher)
        assert_same_run(tmp_path, uninterrupted)

    def test_a_second_ctrl_c_does_not_wait(self, tmp_path: Path, uninterrupted: Path, teacher: Teacher | None):
        with ctrl_c(14, times=2), pytest.raises(KeyboardInterrupt):
            run_of(tmp_path, teacher=teacher, save_seconds=0.0)
        assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["progress"]["step"] == 14
        run_of(tmp_path, teacher=teacher)
        assert_same_run(tmp_path, uninterrupted)

    def test_a_finished_run_is_not_trained_on(self, tmp_path: Path, uninterrupted: Path, teacher: Teacher | None):
        run_of(tmp_path, teacher=teacher)
        result, model = run_of(tmp_path, teacher=teacher)
        assert result["steps"] == SETTINGS.steps
        assert_same_run(tmp_path, uninterrupted)
        best = torch.load(uninterrupted / "best.pt", weights_only=True)["model"]
        assert all(torch.equal(value, best[name]) for name, value in model.state_dict().items())


@dataclass(frozen=True)
class Own(Settings):
    """Settings of a run that trains nothing."""

    FAMILY = "own"
    seed: int = setting(whole(), "of its noise", default=1)


class TestRunFolder:
    @pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
    def test_a_damaged_checkpoint_is_named(self, tmp_path: Path, share: float):
        folder = RunFolder(tmp_path)
        folder.save("checkpoint.pt", {"model": new_model().state_dict()})
        content = (tmp_path / "checkpoint.pt").read_bytes()
        (tmp_path / "checkpoint.pt").write_bytes(content[: int(share * len(content))])
        with pytest.raises(InputError, match=r"checkpoint\.pt: damaged, or not a checkpoint of a run; remove it"):
            folder.load("checkpoint.pt", CPU)

    def test_a_checkpoint_that_is_another_thing_is_named(self, tmp_path: Path):
        (tmp_path / "checkpoint.pt").write_text("my notes")
        with pytest.raises(InputError, match=r"checkpoint\.pt: damaged, or not a checkpoint of a run"):
            RunFolder(tmp_path).load("checkpoint.pt", CPU)
        assert (tmp_path / "checkpoint.pt").read_text() == "my notes"

    def test_a_row_cut_short_is_left_out(self, tmp_path: Path):
        log = RunFolder(tmp_path).log
        for step in (10, 20, 30):
            log.write({"step": step})
        log.path.write_text(log.path.read_text()[:-5])
        assert log.read() == [{"step": 10}, {"step": 20}]
        log.keep(10)
        assert log.path.read_text() == '{"step": 10}\n'

    def test_it_does_not_start_twice(self, tmp_path: Path):
        folder = RunFolder(tmp_path / "run")
        folder.start(Own(), environment={"threads": 2})
        with pytest.raises(InputError, match=r"path=.*run: holds another run; .* continue it with resume=True"):
            folder.start(Own(2))
        assert folder.config() == {"family": "own", "seed": 1, "environment": {"threads": 2}}

    def test_damaged_settings_are_named(self, tmp_path: Path):
        (tmp_path / "config.json").write_text('{"seed": ')
        with pytest.raises(InputError, match=r"config\.json: cannot be read"):
            RunFolder(tmp_path).config()

    def test_the_next_and_the_last_unfinished(self, tmp_path: Path):
        with pytest.raises(InputError, match=r"resume=True: .* holds no unfinished run of task rdm; name the run's folder"):
            unfinished_folder("rdm", tmp_path)
        assert new_folder("rdm", tmp_path) == tmp_path / "rdm-001"
        for number in (1, 2, 3, 5):
            RunFolder(tmp_path / f"rdm-00{number}").start(Own())
        (tmp_path / "rdm-005" / "summary.json").write_text("{}")
        assert new_folder("rdm", tmp_path) == tmp_path / "rdm-004"
        assert unfinished_folder("rdm", tmp_path) == tmp_path / "rdm-003"
