"""Early and late: responses and spectra against recordings and other operators, training of pairs, resuming, mistakes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from scipy.sparse.linalg import LinearOperator

from cordstasks import dynamics as command
from cordstasks.analysis import dynamics
from cordstasks.cordsnet.checkpoints import load, save
from cordstasks.errors import InputError
from cordstasks.experiments import early_late
from cordstasks.experiments.dynamics_settings import EarlyLateSettings
from cordstasks.experiments.early_late import difference, measure, run_early_late
from cordstasks.utils.interrupt import Interrupted
from helpers import ctrl_c, printed_by, read, refused, settling_cordsnet

SMALL: dict[str, Any] = {
    **{"early": (12, 20), "late": (32, 40), "seeds": 2, "batches": 2, "batch": 4, "gradients": "truncated"},
    **{"count": 3, "observe_ms": 80, "eigenvalues": 4, "jacobians": 2, "resamples": 50},
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes that differ in colour, with six training and two test images each."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for part, count in (("train", 6), ("test", 2)):
        for label, name in enumerate(("ape", "bee", "cow")):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 128, (34, 34, 3), dtype=np.uint8)
                pixels[..., label] += 100
                Image.fromarray(pixels).save(folder / part / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Path:
    out = tmp_path_factory.mktemp("out") / "pairs"
    run_early_late(images, out, **SMALL)
    return out


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "start.safetensors"
    save(settling_cordsnet(recurrence=0.8), path)
    return path


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, images: Path, weights: Path) -> Path:
    place = tmp_path_factory.mktemp("tuned") / "pairs"
    run_early_late(images, place, **{**SMALL, "weights": str(weights), "learning_rate": 1e-6, "seeds": 1})
    return place


class TestMeasure:
    network = settling_cordsnet(recurrence=0.8)
    shown = torch.randint(0, 256, (3, 32, 32, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    labels = torch.tensor([0, 2, 1])

    def test_responses_are_those_of_the_recording(self) -> None:
        found = measure(self.network, self.shown, self.labels, observe_ms=100, eigenvalues=3, jacobians=1)
        recorded = self.network.record(self.shown.numpy(), image_steps=50)
        for area in range(2):
            states = recorded[area].flatten(2).double().numpy()
            change = states[100:] - states[99]
            final = change[-10:].mean(axis=0)
            along = (change * final).sum(axis=2) / (final**2).sum(axis=1)
            np.testing.assert_allclose(found.response[:, area], along.mean(axis=1), atol=1e-3)
            np.testing.assert_allclose(found.overshoot[:, area], along.max(axis=0) - 1, atol=1e-3)
        last, before = (recorded[area][100:] for area in (1, 0))
        answers = np.stack([self.network.readout(*states).argmax(1).numpy() for states in zip(last, before, strict=True)])
        np.testing.assert_array_equal(found.correct, (answers == self.labels.numpy()).T)
        np.testing.assert_allclose(found.times_ms, np.arange(2, 101, 2))
        np.testing.assert_allclose(found.accuracy((40, 60)), found.correct[:, 20:30].mean(axis=1))

    def test_a_response_that_swings_overshoots(self) -> None:
        t = np.arange(1, 301) / 20
        swinging, rising = 1 - np.exp(-t / 2) * np.cos(3 * t), 1 - np.exp(-t)
        courses = np.stack([np.outer(swinging, [3.0, 0, -1]), np.outer(rising, [0.5, 2, 2])], axis=1)
        courses[:, 0, 1] += np.exp(-t)  # at right angles to the final direction
        along = early_late._along(torch.from_numpy(courses), 10)
        # the largest value is where the slope is zero: tan(3 t) = -1 / 6
        peak = np.pi / 3 - np.arctan(1 / 6) / 3
        assert along[0].max() - 1 == pytest.approx(np.exp(-peak / 2) * -np.cos(3 * peak), rel=1e-2)
        assert along[1].max() - 1 < 1e-3

    def test_spectra_are_those_of_weights_and_active_units(self) -> None:
        found = measure(self.network, self.shown, self.labels, observe_ms=400, eigenvalues=6, jacobians=2)
        recorded = self.network.record(self.shown.numpy(), image_steps=200)
        kernels = [conv.weight.detach().double().numpy() for conv in self.network.area_conv]
        for area, kernel in enumerate(kernels):
            own = dynamics.eigenvalues(dynamics.convolution_operator(kernel, (64, 8, 8)), 6)
            np.testing.assert_allclose(np.sort(abs(found.weights[area] + 1)), np.sort(abs(own.values)), rtol=1e-3)
        for row, image in enumerate((0, 2)):
            values = np.concatenate([_gated(kernels[area], recorded[area][-1, image].numpy()) for area in range(2)])
            expected = np.sort(abs(values))[::-1][:6]
            np.testing.assert_allclose(np.sort(abs(found.jacobian[row] + 1))[::-1], expected, rtol=1e-3)
        assert found.residual < 1e-4
        np.testing.assert_allclose(found.values("imaginary_weights"), np.abs(found.weights.imag).mean(axis=1))

    def test_what_is_refused(self) -> None:
        with pytest.raises(InputError, match="observe_ms=20: give more than the 20 ms"):
            measure(self.network, self.shown, self.labels, observe_ms=20)
        silent = settling_cordsnet()
        with torch.no_grad():
            for bias in silent.conv_bias:
                bias.fill_(-1e6)
        with pytest.raises(InputError, match="an area does not respond"):
            measure(silent, self.shown, self.labels, observe_ms=40, eigenvalues=2)


def _gated(kernel: Any, rates: Any) -> Any:
    """Leading eigenvalues of an area's weights in which silent units take no part."""
    weights = dynamics.convolution_operator(kernel, rates.shape)
    gate = (rates.ravel() > 1e-6).astype(np.float64)

    def product(x: Any) -> Any:
        return gate * weights.matvec(x.ravel())

    return dynamics.eigenvalues(LinearOperator(weights.shape, matvec=product, dtype=np.float64), 6).values


def test_differences_have_students_interval() -> None:
    rng = np.random.default_rng(0)
    early, late = rng.normal(size=(2, 6))
    found = difference(early, late)
    interval = stats.ttest_rel(early, late).confidence_interval(0.95)
    np.testing.assert_allclose(found["interval"], [interval.low, interval.high])
    assert found["mean"] == pytest.approx(np.mean(early - late))
    assert difference([2.0], [1.5]) == {"mean": 0.5, "interval": None, "pairs": 1}


class TestRun:
    def test_pairs_differ_in_their_windows_alone(self, finished: Path) -> None:
        early, late = (read(finished / f"{name}-1", "config.json") for name in ("early", "late"))
        different = {key for key, value in early.items() if late[key] != value}
        assert different == {"image_steps"}
        assert (early["image_steps"], early["image_window"]) == (10, 4)
        assert (late["image_steps"], late["image_window"]) == (20, 4)

    def test_summary(self, finished: Path) -> None:
        summary = read(finished)
        assert [(row["seed"], row["trained"]) for row in summary["networks"]] == [
            (0, "early"),
            (0, "late"),
            (1, "early"),
            (1, "late"),
        ]
        for measured, gap in summary["differences"].items():
            values = [row[measured] for row in summary["networks"]]
            assert gap["mean"] == pytest.approx((values[0] - values[1] + values[2] - values[3]) / 2)
            assert gap["interval"][0] <= gap["mean"] <= gap["interval"][1]
        assert all(0 <= row["accuracy_early"] <= 1 and row["overshoot"] > -0.1 for row in summary["networks"])
        assert (finished / "early_late.png").stat().st_size > 10_000

    def test_stopped_and_continued(self, finished: Path, images: Path, tmp_path: Path) -> None:
        out = tmp_path / "pairs"
        with ctrl_c(3), pytest.raises(Interrupted, match="the same command"):  # in the second network's last batch
            run_early_late(images, out, **SMALL)
        assert not (out / "summary.json").exists()
        found = run_early_late(images, out, **SMALL)
        reference = read(finished)
        for one, other in zip(found["networks"], reference["networks"], strict=True):
            assert one["imaginary_weights"] == pytest.approx(other["imaginary_weights"], rel=1e-6)
            assert one["overshoot"] == pytest.approx(other["overshoot"], rel=1e-4, abs=1e-6)

    def test_the_same_command_again_trains_and_measures_nothing(
        self, finished: Path, images: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = read(finished)
        for name in ("pretrain", "measure", "read_dataset"):
            monkeypatch.setattr(early_late, name, None)
        words = [
            word
            for name, value in SMALL.items()
            for word in (f"--{name.replace('_', '-')}", *(value if isinstance(value, tuple) else (value,)))
        ]
        said = printed_by(command.main, "early-late", "--images", images, "--out", finished, *words)
        assert "early minus late, with 95 % intervals over pairs of networks" in said
        assert f"{before['differences']['overshoot']['mean']:+.4f}" in said
        assert read(finished)["networks"] == before["networks"]


class TestFromTrainedWeights:
    def test_both_begin_with_them(self, tuned: Path, weights: Path) -> None:
        start = load(weights)
        for name in ("early", "late"):
            found = load(tuned / f"{name}-0" / "finetune.safetensors")
            differences = [
                float((one - other).abs().max())
                for one, other in zip(start.parameters(), found.parameters(), strict=True)
                if one.numel() > 1
            ]
            assert 0 < max(differences) < 1e-4  # two batches at a rate of a millionth
        assert (read(tuned, "config.json")["depth"], read(tuned, "config.json")["image_size"]) == (2, 32)

    def test_stopped_and_continued(self, tuned: Path, images: Path, weights: Path, tmp_path: Path) -> None:
        given = {**SMALL, "weights": str(weights), "learning_rate": 1e-6, "seeds": 1}
        with ctrl_c(1), pytest.raises(Interrupted, match="the same command"):  # in the first network's last batch
            run_early_late(images, tmp_path / "out", **given)
        run_early_late(images, tmp_path / "out", **given)
        for name in ("early", "late"):
            one, other = (load(place / f"{name}-0" / "finetune.safetensors") for place in (tmp_path / "out", tuned))
            for own, reference in zip(one.parameters(), other.parameters(), strict=True):
                torch.testing.assert_close(own, reference, rtol=0, atol=1e-8)

    def test_random_weights_are_another_run(self, tuned: Path, images: Path) -> None:
        with pytest.raises(InputError, match=r"^weights=None: the run in .* has .*; give the same, or use another folder"):
            run_early_late(images, tuned, **{**SMALL, "learning_rate": 1e-6, "seeds": 1})

    def test_other_weights_are_another_run(self, tuned: Path, images: Path, weights: Path) -> None:
        save(settling_cordsnet(recurrence=0.7), weights)
        with pytest.raises(
            InputError, match=r"^weights=.*: other weights than those from which the run in .* began; give the"
        ):
            run_early_late(images, tuned, **{**SMALL, "weights": str(weights), "learning_rate": 1e-6, "seeds": 1})

    @pytest.mark.parametrize(("flag", "given", "own"), [("--depth", 4, 2), ("--image-size", 64, 32)])
    def test_of_another_shape_than_given(
        self, images: Path, weights: Path, tmp_path: Path, flag: str, given: int, own: int
    ) -> None:
        call = ("early-late", "--images", images, "--out", tmp_path / "out", "--weights", weights)
        said = refused(command.main, *call, flag, given)
        assert said.startswith(f"{flag} {given}: the network of --weights {weights} has {own}; leave it out, or give other")
        assert "has no folder" in refused(command.main, *call, flag, own, "--images", tmp_path)  # its own may be said

    def test_of_other_classes(self, images: Path, tmp_path: Path) -> None:
        save(settling_cordsnet(classes=4), tmp_path / "other.safetensors")
        said = refused(
            command.main, "early-late", "--images", images, "--out", tmp_path / "out", "--count", 3, "--jacobians", 1,
            "--weights", tmp_path / "other.safetensors",
        )  # fmt: skip
        assert "a network of 4 classes and 3 colour channels, but the images have 3 and 3; give weights" in said

    def test_of_other_steps(self, images: Path, tmp_path: Path) -> None:
        save(settling_cordsnet(dt=1.0), tmp_path / "other.safetensors")  # its windows would be in the middle of them
        with pytest.raises(InputError, match=r"^weights=.*: a network of steps of 1 ms, but windows .* steps of 2 ms; give"):
            run_early_late(images, tmp_path / "out", **{**SMALL, "weights": str(tmp_path / "other.safetensors")})


class TestMistakes:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--early", 200, 140), "--early 200 140: give begin and end in ms"),
            (("--early", 140), "--early 140: give begin and end in ms"),
            (("--late", 140, 200), "--late 140 200: the same window as early"),
            (("--observe-ms", 250), "--observe-ms 250: networks answer until 300 ms"),
            (("--jacobians", 200), "--jacobians 200: only --count 100 images are shown"),
            (("--gradients", "none"), "(known: full, truncated)"),
            (("--images", "nowhere"), "--images nowhere: there is no such folder"),
            (("--weights", "nobody"), "'nobody' is unknown (known: cordsnet-r8"),
            (("--depth", 3), "--depth 3: CordsNet has 2, 4, 6 or 8 areas"),
            (("--image-size", 16), "--image-size 16: choose a whole number of pixels from 32"),
            (("--eigenvalues", 4097), "--eigenvalues 4097: area 0 has 4096 units; give at most as many"),
            (("--depth", 8, "--eigenvalues", 513), "--eigenvalues 513: area 6 has 512 units; give at most as many"),
        ],
    )
    def test_words(self, tmp_path: Path, words: tuple[Any, ...], message: str) -> None:
        common = () if "--images" in words else ("--images", tmp_path)
        said = refused(command.main, "early-late", *common, "--out", tmp_path / "out", *words)
        assert message in said
        assert not (tmp_path / "out").exists()

    def test_a_folder_of_other_things(self, tmp_path: Path) -> None:
        said = refused(command.main, "early-late", "--images", tmp_path, "--out", tmp_path / "out")
        assert said.startswith(f"--images {tmp_path}: has no folder train/")

    def test_too_few_test_images_are_refused_before_training(self, images: Path, tmp_path: Path) -> None:
        said = refused(command.main, "early-late", "--images", images, "--out", tmp_path / "out", "--count", 7)
        assert re.search(r"--count 7: .* holds 6 test images; choose at most as many", said)
        assert not (tmp_path / "out").exists()

    def test_another_run(self, finished: Path, images: Path) -> None:
        with pytest.raises(InputError, match=r"batches=9: the run in .* has 2"):
            run_early_late(images, finished, **{**SMALL, "batches": 9})

    def test_windows_in_steps(self) -> None:
        settings = EarlyLateSettings()
        assert settings.window("early") == (100, 30)
        assert settings.window("late") == (150, 30)
