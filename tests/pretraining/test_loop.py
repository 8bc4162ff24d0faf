"""The loop: batches, schedules, resuming, stopping, divergence, memory."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cordstasks.errors import InputError
from cordstasks.pretraining.data import ImageSet
from cordstasks.pretraining.deadline import Deadline, OutOfTime
from cordstasks.pretraining.loop import Training, accuracy, batches, cosine, run_training
from cordstasks.pretraining.objectives import Outcome
from cordstasks.pretraining.presentation import Augmentation, Presentation
from cordstasks.utils.files import Log

Hook = Callable[[int], None]


class Fit:
    """A linear classifier of pixels, with noise from the generator, dropout of a kind, and a buffer."""

    def __init__(self, **given: Any) -> None:
        self.weight = torch.zeros(3, 3 * 32 * 32, requires_grad=True)
        self.seen = torch.zeros((), dtype=torch.int64)
        self.hook: Hook = lambda step: None
        optimiser = torch.optim.AdamW([{"params": [self.weight], "peak": 0.01}], lr=0.01)
        common = {"stage": "linear", "epochs": 2, "batch": 4, "schedule": cosine, "seed": 3, "save_seconds": 1e-9}
        self.training = Training(
            **{**common, **given},
            state={"weight": self.weight, "seen": self.seen},
            optimiser=optimiser,
            loss=self.loss,
            evaluate=lambda: {"seen": int(self.seen)},
        )

    def loss(self, x: Tensor, targets: Tensor, generator: torch.Generator, step: int) -> Outcome:
        self.hook(step)
        self.seen += len(x)
        logits = x.flatten(1) @ self.weight.T + torch.randn(len(x), 3, generator=generator)
        value = torch.nn.functional.cross_entropy(logits, targets)
        return Outcome(value, {"size": value.new_tensor(float(len(x)))}, logits.detach().square().mean(0)[:2])


@pytest.fixture
def shown(presentation: Callable[..., Presentation]) -> Presentation:
    return presentation(32, augmentation=Augmentation(mixing=0.5))


def run(fit: Fit, folder: Path, data: ImageSet, shown: Presentation, **more: Any) -> None:
    run_training(fit.training, data, shown, folder / "linear.pt", Log(folder / "linear.jsonl"), **more)


class TestBatches:
    def test_they_visit_every_image_once_a_pass_and_can_start_anywhere(self) -> None:
        def drawn(step: int, seed: int = 5) -> list[tuple[int, list[int], float]]:
            return [
                (step, pick.tolist(), float(torch.rand(1, generator=generator)))
                for step, pick, generator in batches(24, 6, step, 12, seed=seed)
            ]

        whole = drawn(0)
        orders = [[image for _, pick, _ in whole[4 * epoch : 4 * epoch + 4] for image in pick] for epoch in range(3)]
        assert all(sorted(order) == list(range(24)) for order in orders)
        assert len(set(map(tuple, orders))) == 3
        assert len({number for *_, number in whole}) == 12
        for start in (4, 5, 11):
            assert drawn(start) == whole[start:]
        assert drawn(0, seed=6)[0] != whole[0]

    def test_a_set_smaller_than_a_batch_is_one_batch(self) -> None:
        assert [sorted(pick.tolist()) for _, pick, _ in batches(5, 8, 0, 2)] == [list(range(5))] * 2

    def test_the_cosine_rises_and_falls_to_zero(self) -> None:
        rates = [cosine(step, 100) for step in range(101)]
        assert rates[0] == pytest.approx(0.1)
        assert max(rates) == rates[9] == 1
        assert rates[:10] == sorted(rates[:10])
        assert rates[9:] == sorted(rates[9:], reverse=True)
        assert rates[55] == pytest.approx(0.5)
        assert rates[100] == pytest.approx(0, abs=1e-12)


class TestEpochs:
    def test_a_short_epoch_is_followed_by_one_with_other_images(
        self, tmp_path: Path, image_set: Callable[..., ImageSet], shown: Presentation
    ) -> None:
        data = image_set(16, 32)
        fit, begun = Fit(images=8, epochs=3), []
        fit.training.begin_epoch = begun.append
        run(fit, tmp_path, data, shown)
        rows = Log(tmp_path / "linear.jsonl").read()
        assert [(row["epoch"], row["step"], row["seen"], row["size"]) for row in rows] == [
            (1, 2, 8, 4.0),
            (2, 4, 16, 4.0),
            (3, 6, 24, 4.0),
        ]
        assert begun == [0, 1, 2]
        assert torch.load(tmp_path / "linear.pt", weights_only=True)["step"] == 6

    def test_a_batch_in_parts_has_the_gradient_of_the_whole(
        self, tmp_path: Path, image_set: Callable[..., ImageSet], presentation: Callable[..., Presentation]
    ) -> None:
        weights = []
        for parts in (1, 3):
            (tmp_path / str(parts)).mkdir()
            fit = Fit(accumulate=parts, batch=8, epochs=1)
            fit.loss = lambda x, targets, generator, step, fit=fit: Outcome(  # type: ignore[method-assign]
                torch.nn.functional.cross_entropy(x.flatten(1) @ fit.weight.T, targets), {}, x.new_ones(2)
            )
            fit.training.loss = fit.loss
            fit.training.optimiser = torch.optim.SGD([{"params": [fit.weight], "peak": 0.1}], lr=0.1)
            run(fit, tmp_path / str(parts), image_set(16, 32), presentation(32))
            weights.append(fit.weight.detach())
        assert float(weights[0].abs().max()) > 0
        torch.testing.assert_close(weights[0], weights[1], rtol=1e-5, atol=1e-6)
        logs = [Log(tmp_path / name / "linear.jsonl").read()[0]["loss"] for name in ("1", "3")]
        assert logs[0] == pytest.approx(logs[1], rel=1e-5)


class TestStopping:
    @pytest.mark.parametrize("how", ["killed", "ctrl-c", "deadline"])
    def test_a_training_in_pieces_ends_with_the_same_weights_and_log(
        self, how: str, tmp_path: Path, image_set: Callable[..., ImageSet], shown: Presentation
    ) -> None:
        data = image_set(16, 32)
        fits = []
        for name, stops in (("whole", [None]), ("pieces", [2, 5, None])):
            (tmp_path / name).mkdir()
            for stop in stops:
                fit = Fit()
                more: dict[str, Any] = {}
                expected: type[BaseException] = KeyboardInterrupt

                def hook(step: int, stop: int | None = stop) -> None:
                    if step == stop and how == "ctrl-c":
                        signal.raise_signal(signal.SIGINT)
                    elif step == stop and how == "killed":
                        raise ConnectionError

                fit.hook = hook
                if how == "deadline" and stop is not None:
                    expected, more["deadline"] = OutOfTime, self.late(fit, stop)
                elif how == "killed":
                    expected = ConnectionError
                if stop is None:
                    run(fit, tmp_path / name, data, shown)
                else:
                    with pytest.raises(expected):
                        run(fit, tmp_path / name, data, shown, **more)
                    kept = torch.load(tmp_path / name / "linear.pt", weights_only=True)["step"]
                    assert kept == (stop if how == "killed" else stop + 1)
            fits.append(fit)
        assert float(fits[0].weight.abs().max()) > 0
        assert torch.equal(fits[0].weight, fits[1].weight)
        assert int(fits[0].seen) == int(fits[1].seen) == 32
        logs = [Log(tmp_path / name / "linear.jsonl").read() for name in ("whole", "pieces")]
        assert logs[0] == logs[1]
        assert [row["epoch"] for row in logs[0]] == [1, 2]

    @staticmethod
    def late(fit: Fit, stop: int) -> Deadline:
        class Late(Deadline):
            def passed(self) -> bool:
                return int(fit.seen) >= 4 * (stop + 1)

        return Late()

    def test_a_checkpoint_of_another_training_is_refused(
        self, tmp_path: Path, image_set: Callable[..., ImageSet], shown: Presentation
    ) -> None:
        data = image_set(16, 32)
        run(Fit(), tmp_path, data, shown)
        with pytest.raises(
            InputError, match=r"linear\.pt: does not hold what this run needs \(it is of 8 batches, not 12\)"
        ):
            run(Fit(epochs=3), tmp_path, data, shown)


class TestTrouble:
    @pytest.mark.parametrize(("bad", "named"), [(1, "area 1"), (None, "the loss")])
    def test_divergence_names_the_area_and_keeps_the_checkpoint_before(
        self, bad: int | None, named: str, tmp_path: Path, image_set: Callable[..., ImageSet], shown: Presentation
    ) -> None:
        fit = Fit()
        usual = fit.loss

        def diverging(x: Tensor, targets: Tensor, generator: torch.Generator, step: int) -> Outcome:
            outcome = usual(x, targets, generator, step)
            if step < 5:
                return outcome
            activity = outcome.activity.clone()
            if bad is not None:
                activity[bad] = float("inf")
            return Outcome(outcome.loss * float("nan"), outcome.terms, activity)

        fit.training.loss = diverging
        message = rf"^linear_learning_rate=0\.01: {named} was no longer finite at or before batch 6 of stage linear; choose"
        with pytest.raises(InputError, match=message):
            run(fit, tmp_path, image_set(16, 32), shown)
        kept = torch.load(tmp_path / "linear.pt", weights_only=True)
        assert kept["step"] == 5
        assert bool(kept["state"]["weight"].isfinite().all())

    @pytest.mark.parametrize(
        "error", [RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), MemoryError()]
    )
    def test_too_little_memory_suggests_what_to_do(
        self, error: Exception, tmp_path: Path, image_set: Callable[..., ImageSet], shown: Presentation
    ) -> None:
        fit = Fit()

        def fail(step: int) -> None:
            raise error

        fit.hook = fail
        with pytest.raises(InputError, match=r"^linear_batch=4: too little memory .*accumulate=2, or gradients=truncated"):
            run(fit, tmp_path, image_set(16, 32), shown)

    def test_other_errors_stay_what_they_are(
        self, tmp_path: Path, image_set: Callable[..., ImageSet], shown: Presentation
    ) -> None:
        fit = Fit()

        def fail(step: int) -> None:
            raise RuntimeError("shapes do not fit")

        fit.hook = fail
        with pytest.raises(RuntimeError, match="shapes do not fit"):
            run(fit, tmp_path, image_set(16, 32), shown)


def test_accuracy_counts_all_images(image_set: Callable[..., ImageSet]) -> None:
    data = image_set(11, 8)

    def logits(images: Tensor) -> Tensor:
        return images.float().mean((1, 2))

    assert accuracy(logits, data, batch=4) == 1.0
    wrong = ImageSet(data.images, (data.labels + (torch.arange(11) < 3)) % 3, data.classes)
    assert accuracy(logits, wrong, batch=4) == pytest.approx(8 / 11)


def test_deadlines_pass() -> None:
    assert Deadline(-1.0).passed()
    assert not Deadline(100.0).passed()
    assert not Deadline().passed()
