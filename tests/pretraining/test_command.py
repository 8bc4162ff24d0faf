"""Pre-training: images, the feed-forward network, its folding, the matching of areas, the check, and the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from cordstasks import pretrain
from cordstasks.cordsnet import CordsNet, Preprocessing, load
from cordstasks.errors import InputError
from cordstasks.pretraining.data import ImageSet, read_folder
from cordstasks.pretraining.deadline import Deadline, OutOfTime
from cordstasks.pretraining.feedforward import FeedForward, Folded, FoldedArea, fold
from cordstasks.pretraining.presentation import Augmentation, Presentation
from cordstasks.pretraining.protocol import check_frames, check_images
from cordstasks.pretraining.stages import cnn as cnn_stage
from cordstasks.pretraining.stages import equilibrium
from cordstasks.pretraining.stages import match as matching
from cordstasks.pretraining.stages.cnn import CnnSettings, batches, learning_rate, train_cnn
from cordstasks.pretraining.stages.equilibrium import (
    EquilibriumSettings,
    SteadyNetwork,
    flat_images,
    train_at_equilibrium,
    trainable,
)
from cordstasks.pretraining.stages.match import (
    Area,
    MatchSettings,
    assemble,
    composed,
    initial_area,
    match_areas,
    steady_rates,
)
from cordstasks.utils.files import Log

Maker = Callable[..., CordsNet]
ROOT = Path(__file__).resolve().parents[2]
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def image_set(count: int, size: int, *, classes: int = 3, seed: int = 0) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, size, size, 3), generator=generator, dtype=torch.uint8)
    return ImageSet(images, torch.arange(count) % classes, tuple(f"class {number}" for number in range(classes)))


def presentation(size: int, *, classes: int = 3, augmentation: Augmentation | None = None) -> Presentation:
    return Presentation(
        size, MEAN, STD, classes=classes, device=torch.device("cpu"), augmentation=augmentation or Augmentation()
    )


def prepare(size: int) -> Callable[[Tensor], Tensor]:
    return presentation(size).test


@torch.no_grad()
def random_cnn(depth: int, *, in_channels: int = 3, seed: int = 0) -> FeedForward:
    """A CNN whose normalisation layers all have statistics and parameters of their own."""
    torch.manual_seed(seed)
    cnn = FeedForward(depth, classes=3, in_channels=in_channels)
    for module in cnn.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.1, 0.6)
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(0, 0.3)
    return cnn.eval()


class TestImages:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        rng = np.random.default_rng(0)
        for name, count in (("wolf", 2), ("ape", 3)):
            (tmp_path / name).mkdir()
            for number in range(count):
                pixels = rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
        (tmp_path / "ape" / "notes.txt").write_text("not an image")
        return tmp_path

    def test_come_with_the_labels_of_their_folders(self, folder: Path) -> None:
        data = read_folder(folder)
        assert data.classes == ("ape", "wolf")
        assert data.labels.tolist() == [0, 0, 0, 1, 1]
        for row, path in ((0, "ape/0.png"), (2, "ape/2.png"), (4, "wolf/1.png")):
            np.testing.assert_array_equal(data.images[row], np.asarray(Image.open(folder / path)))

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
    def test_a_damaged_one_is_named(self, folder: Path, share: float) -> None:
        path = folder / "wolf" / "1.png"
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(InputError, match=r"1\.png: cannot be read as a picture \(.+\); replace or remove it"):
            read_folder(folder)

    def test_of_several_sizes_are_refused(self, folder: Path) -> None:
        Image.new("RGB", (6, 7)).save(folder / "wolf" / "2.png")
        with pytest.raises(InputError, match=r"several sizes \[\(6, 7, 3\), \(7, 6, 3\)\]; resize them"):
            read_folder(folder)

    def test_that_are_not_there_are_missed(self, tmp_path: Path) -> None:
        for folder in (tmp_path, tmp_path / "nowhere"):
            with pytest.raises(InputError, match="expected one folder of images per class; found none"):
                read_folder(folder)

    def test_a_class_without_any_is_named(self, folder: Path) -> None:
        (folder / "empty").mkdir()
        with pytest.raises(InputError, match=r"empty: this class folder holds no images \(.*\); fill or remove it"):
            read_folder(folder)

    def test_that_are_hidden_are_neither_images_nor_classes(self, folder: Path) -> None:
        before = read_folder(folder)
        for name in (".ipynb_checkpoints", "__MACOSX", "ape/.ipynb_checkpoints"):
            (folder / name).mkdir()
            Image.new("RGB", (7, 6)).save(folder / name / "0-checkpoint.png")
        Image.new("RGB", (7, 6)).save(folder / "wolf" / "._0.png")
        after = read_folder(folder)
        assert after.classes == before.classes == ("ape", "wolf")
        assert after.labels.tolist() == before.labels.tolist()

    def test_of_sixteen_bits_are_scaled(self, folder: Path) -> None:
        ramp = np.linspace(0, 65535, 42).astype(np.uint16).reshape(6, 7)
        Image.fromarray(ramp).save(folder / "ape" / "0.png")
        np.testing.assert_allclose(read_folder(folder).images[0, ..., 2], ramp / 257, atol=0.51)

    def test_subsets_are_spread_over_the_whole(self) -> None:
        data = image_set(11, 4)
        part = data.subset(3)
        assert torch.equal(part.images, data.images[[0, 5, 10]])
        assert torch.equal(part.labels, data.labels[[0, 5, 10]])
        assert data.subset(None) is data

    @pytest.mark.parametrize("size", [24, 32, 47])
    def test_normalised_are_what_the_network_will_see(self, size: int) -> None:
        network = CordsNet(2, classes=3, image_size=32, preprocessing=Preprocessing(MEAN, STD))
        images = image_set(2, size).images
        torch.testing.assert_close(prepare(32)(images), network.preprocess(images), rtol=0, atol=1e-5)


class TestPresentation:
    @staticmethod
    def still() -> Augmentation:
        return Augmentation(shift=0.0)

    @pytest.mark.parametrize("size", [24, 32, 47])
    def test_unchanged_images_are_the_test_images_or_their_mirror_images(self, size: int) -> None:
        images = image_set(40, size).images
        shown = presentation(32, augmentation=self.still())
        expected = shown.test(images)
        x = shown.augmented(images, torch.Generator().manual_seed(1))
        as_they_are = (x - expected).abs().amax((1, 2, 3)) < 1e-4
        mirrored = (x - expected.flip(3)).abs().amax((1, 2, 3)) < 1e-4
        inside = slice(2, -2)  # near the border, resizing repeats the border and the map shows what is beyond it
        if size < 32:
            as_they_are = (x - expected)[..., inside, inside].abs().amax((1, 2, 3)) < 1e-4
            mirrored = (x - expected.flip(3))[..., inside, inside].abs().amax((1, 2, 3)) < 1e-4
        assert bool((as_they_are ^ mirrored).all())
        assert 8 < int(mirrored.sum()) < 32

    def test_shifts_move_images_and_leave_the_mean_colour_behind(self) -> None:
        images = torch.zeros(60, 32, 32, 3, dtype=torch.uint8)
        images[:, 15:18, 15:18] = 255
        shown = presentation(32, augmentation=Augmentation(shift=0.25))
        x = shown.augmented(images, torch.Generator().manual_seed(1))
        light = x.mean(1)
        peaks = torch.stack([light.amax(2).argmax(1), light.amax(1).argmax(1)], 1).float()
        assert peaks.min() >= 16 - 10
        assert peaks.max() <= 16 + 10
        assert (peaks.std(0) > 3).all()
        assert bool((x[light.amax((1, 2)) > 0].abs().amin((1, 2, 3)) == 0).all())  # normalised, the mean colour is zero

    def test_each_change_has_an_effect_of_its_own_and_is_repeatable(self) -> None:
        images = image_set(6, 32).images
        seen = []
        for change in ("rotation", "zoom", "stretch", "shear", "colour"):
            size = 20.0 if change == "rotation" else 0.3
            shown = presentation(32, augmentation=Augmentation(shift=0.0, **{change: size}))
            x, again, other = (shown.augmented(images, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
            assert torch.equal(x, again), change
            assert not torch.allclose(x, other), change
            assert x.isfinite().all()
            assert all(not torch.allclose(x, before) for before in seen)
            seen.append(x)

    def test_targets_are_as_mixed_as_the_images(self) -> None:
        size = 32
        images = torch.zeros(2, size, size, 3, dtype=torch.uint8)
        images[1] = 255
        black, white = presentation(size).test(images)[:, 0, 0, 0].tolist()
        shown = presentation(size, classes=2, augmentation=Augmentation(shift=0.0, mixing=1.0))
        kinds, mixed = set(), 0
        for seed in range(40):
            x, targets = shown.training(images, torch.tensor([0, 1]), torch.Generator().manual_seed(seed))
            whiteness = (x[:, 0] - black) / (white - black)
            torch.testing.assert_close(whiteness.mean((1, 2)), targets[:, 1], rtol=0, atol=0.05)
            torch.testing.assert_close(targets.sum(1), torch.ones(2))
            if 0.1 < float(targets[0, 1]) < 0.9:
                mixed += 1
                kinds.add("cut" if float(whiteness[0].max() - whiteness[0].min()) > 0.9 else "mean")
        assert kinds == {"cut", "mean"}
        assert mixed > 5

    def test_the_last_images_are_not_mixed(self) -> None:
        data = image_set(8, 32)
        shown = presentation(32, augmentation=Augmentation(mixing=1.0))
        mixed = []
        for progress in (0.0, 0.85, 0.95, 1.0):
            targets = [
                shown.training(data.images, data.labels, torch.Generator().manual_seed(seed), progress=progress)[1]
                for seed in range(10)
            ]
            mixed.append(any(not bool(((t == 0) | (t == 1)).all()) for t in targets))
        assert mixed == [True, True, False, False]


class TestFold:
    @pytest.mark.parametrize(("depth", "size"), [(2, 47), (8, 32), (8, 50)])
    def test_computes_the_cnn_s_activities(self, depth: int, size: int) -> None:
        cnn = random_cnn(depth, in_channels=2).double()
        images = torch.randn(3, 2, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        folded = fold(cnn, size)
        drive, rates = folded.drive(images), []
        with torch.no_grad():
            expected = cnn.areas(images)[1]
        for area in range(depth):
            rates.append(folded.activity(area, folded.input(area, drive, rates)))
            largest = float(expected[area].max())
            assert largest > 0
            torch.testing.assert_close(rates[area], expected[area], rtol=0, atol=1e-12 * largest)

    @pytest.mark.parametrize("stride", [1, 2])
    def test_composed_kernel_is_what_two_convolutions_do_to_single_pixels(self, stride: int) -> None:
        generator = torch.Generator().manual_seed(3)
        rec = torch.randn(5, 4, 3, 3, generator=generator)
        inp = torch.randn(4, 3, 3, 3, generator=generator)
        kernel = composed(rec, inp, stride)
        side, place = 13, 3  # far from the border: one output place, and the nine input places around it
        for channel in range(3):
            for row in (-1, 0, 1):
                for column in (-1, 0, 1):
                    pixel = torch.zeros(1, 3, side, side)
                    pixel[0, channel, stride * place + row, stride * place + column] = 1
                    out = F.conv2d(F.conv2d(pixel, inp, stride=stride, padding=1), rec, padding=1)
                    torch.testing.assert_close(
                        kernel[:, channel, row + 1, column + 1], out[0, :, place, place], rtol=1e-5, atol=1e-5
                    )

    @pytest.mark.parametrize("area", [1, 2])
    def test_an_area_starts_as_the_cnn_s_layer_where_one_kernel_can_be_it(self, area: int) -> None:
        folded = fold(random_cnn(4), 32)
        part = folded.areas[area]
        centre = torch.zeros_like(part.rec)
        centre[:, :, 1, 1] = part.rec[:, :, 1, 1]  # two convolutions of which one is 1x1 are one 3x3
        folded.areas[area] = FoldedArea(part.inp, centre, part.before, part.after)
        u = torch.randn(2, 64, 8, 8, generator=torch.Generator().manual_seed(4))
        started = initial_area(folded, area)
        torch.testing.assert_close(started.settle(u, 3)[0], folded.activity(area, u), rtol=1e-4, atol=1e-4)


class TestCnnStage:
    def test_learning_rate_warms_up_and_falls_to_zero(self) -> None:
        settings = CnnSettings(learning_rate=0.08, warmup=0.1)
        expected = {0: 0.008, 5: 0.044, 10: 0.08, 55: 0.04, 100: 0.0}
        assert {step: learning_rate(step, 100, settings) for step in expected} == pytest.approx(expected)
        rates = [learning_rate(step, 100, settings) for step in range(101)]
        assert max(rates) == rates[10]
        assert rates[:11] == sorted(rates[:11])
        assert rates[10:] == sorted(rates[10:], reverse=True)

    def test_batches_visit_every_image_once_an_epoch_and_can_start_anywhere(self) -> None:
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

    def test_an_interrupted_training_continues_to_the_same_weights(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cnn_stage, "SAVE_SECONDS", -1.0)  # after every batch
        train, test = image_set(16, 32), image_set(6, 32, seed=1)
        settings = CnnSettings(epochs=2, batch=4, seed=3)
        calls = [0]

        class Stopping(Presentation):
            def training(self, *arguments: Any, **named: Any) -> tuple[Tensor, Tensor]:
                calls[0] += 1
                if calls[0] == stop:
                    raise KeyboardInterrupt
                return super().training(*arguments, **named)

        shown = Stopping(32, MEAN, STD, classes=3, device=torch.device("cpu"), augmentation=Augmentation(mixing=0.5))

        results = []
        for name, stops in (("whole", [0]), ("pieces", [3, 4, 0])):
            for stop in stops:
                calls[0] = 0
                cnn = random_cnn(2, seed=7)
                arguments = (cnn, train, test, shown, settings, tmp_path / f"{name}.pt", Log(tmp_path / name))
                if stop:
                    with pytest.raises(KeyboardInterrupt):
                        train_cnn(*arguments)
                else:
                    train_cnn(*arguments)
            results.append(cnn.state_dict())
        assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())
        assert not torch.equal(results[0]["readout.weight"], random_cnn(2, seed=7).readout.weight)
        rows = Log(tmp_path / "whole").read()
        assert rows == Log(tmp_path / "pieces").read()
        assert [row["epoch"] for row in rows] == [1, 2]

    def test_divergence_names_the_learning_rate(self, tmp_path: Path) -> None:
        data = image_set(8, 32)
        settings = CnnSettings(epochs=3, batch=4, learning_rate=1e30)
        with pytest.raises(InputError, match=r"cnn_learning_rate=1e\+30: the CNN's loss became (nan|inf)"):
            train_cnn(random_cnn(2), data, data, presentation(32), settings, tmp_path / "cnn.pt", Log(tmp_path / "log"))


MATCHING = MatchSettings(steps=40, batch=8, learning_rate=4e-3)


@dataclass(frozen=True)
class Matched:
    cnn: FeedForward
    folded: Folded
    areas: list[Area]
    log: Log


@pytest.fixture(scope="module")
def matched(tmp_path_factory: pytest.TempPathFactory) -> Matched:
    folder = tmp_path_factory.mktemp("matching")
    cnn = random_cnn(2)
    folded = fold(cnn, 32)
    log = Log(folder / "matching.jsonl")
    areas = match_areas(folded, image_set(24, 32), presentation(32), MATCHING, folder / "matching.pt", log)
    return Matched(cnn, folded, areas, log)


class TestMatching:
    def test_brings_areas_closer_to_the_cnn_on_other_images(self, matched: Matched) -> None:
        generator = torch.Generator().manual_seed(9)
        x = presentation(32).augmented(image_set(16, 32, seed=9).images, generator)  # as training shows them
        with torch.no_grad():
            target = matched.cnn.areas(x)[1]
        started = [initial_area(matched.folded, area) for area in range(2)]
        for area, row in enumerate(matched.log.read()):
            variance = target[area].var()
            errors = [
                float((steady_rates(matched.folded, areas, x)[area] - target[area]).square().mean() / variance)
                for areas in (started, matched.areas)
            ]
            assert errors[1] < 0.8 * errors[0], area
            assert row["area"] == area
            assert row["error"] == pytest.approx(errors[1], rel=0.5)  # the logged one is of the training images

    def test_steady_states_are_fixed_points_of_the_assembled_network(self, matched: Matched) -> None:
        network = CordsNet(2, classes=3, image_size=32, preprocessing=Preprocessing(MEAN, STD))
        assemble(network, matched.folded, matched.areas, matched.cnn.readout)
        x = prepare(32)(image_set(3, 32, seed=8).images)
        steady = steady_rates(matched.folded, matched.areas, x, iterates=60)
        with torch.no_grad():
            stepped = network.step(steady, network.drive(x))
            *_, rates = network.run(network.zero_state(3), network.drive(x), 150)
        for area in range(2):
            assert float(matched.areas[area].rec.abs().max()) > 0
            largest = float(steady[area].max())
            torch.testing.assert_close(stepped[area], steady[area], rtol=0, atol=1e-5 * largest)
            # and stable ones, which the paper's steps of alpha 0.2 reach from zero activity
            torch.testing.assert_close(rates[area], steady[area], rtol=0, atol=1e-4 * largest)
        logits = network.readout(rates[1], rates[0])
        expected = matched.cnn.readout((steady[1] + steady[0]).mean((2, 3)))
        torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)

    def test_an_interrupted_matching_keeps_the_finished_areas(
        self, matched: Matched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        complete = matching._match_area

        def interrupted(index: int, *arguments: Any) -> dict[str, Any]:
            if index == 1:
                raise KeyboardInterrupt
            return complete(index, *arguments)

        log = Log(tmp_path / "matching.jsonl")
        again = partial(
            match_areas, matched.folded, image_set(24, 32), presentation(32), MATCHING, tmp_path / "matching.pt", log
        )
        monkeypatch.setattr(matching, "_match_area", interrupted)
        with pytest.raises(KeyboardInterrupt):
            again()
        monkeypatch.setattr(matching, "_match_area", complete)
        monkeypatch.setattr(matching, "initial_area", partial(self.only_area_one, matching.initial_area))
        for ours, expected in zip(again(), matched.areas, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours.tensors(), expected.tensors(), strict=True))
        assert log.read() == matched.log.read()

    @staticmethod
    def only_area_one(initial: Callable[[Folded, int], Area], folded: Folded, area: int) -> Area:
        assert area == 1, "area 0 was finished"
        return initial(folded, area)

    def test_divergence_names_the_learning_rate(self, tmp_path: Path) -> None:
        settings = MatchSettings(steps=5, batch=2, learning_rate=1e30)
        arguments = (fold(random_cnn(2), 32), image_set(4, 32), presentation(32), settings)
        with pytest.raises(InputError, match=r"match_learning_rate=1e\+30: matching area 0 diverged"):
            match_areas(*arguments, tmp_path / "matching.pt", Log(tmp_path / "log"))


EQUILIBRIUM = EquilibriumSettings(epochs=12, batch=8, learning_rate=3e-3, distillation=0.3, seed=2)


class TestEquilibrium:
    @staticmethod
    def coloured() -> ImageSet:
        """Noise whose colour tells the class."""
        data = image_set(48, 32, seed=4)
        images = data.images // 2
        images[torch.arange(48), :, :, data.labels] += 60
        return ImageSet(images, data.labels, data.classes)

    def train(self, matched: Matched, folder: Path, shown: Presentation, settings: EquilibriumSettings) -> SteadyNetwork:
        network = trainable(matched.folded, matched.areas, matched.cnn.readout)
        data, log = self.coloured(), Log(folder / "equilibrium.jsonl")
        train_at_equilibrium(network, matched.cnn, data, data, shown, settings, folder / "equilibrium.pt", log)
        return network

    def test_learns_what_the_true_dynamics_then_do(self, matched: Matched, tmp_path: Path) -> None:
        start = [tensor.clone() for tensor in trainable(matched.folded, matched.areas, matched.cnn.readout).tensors()]
        trained = self.train(matched, tmp_path, presentation(32), EQUILIBRIUM)
        rows = Log(tmp_path / "equilibrium.jsonl").read()
        assert [row["epoch"] for row in rows] == list(range(1, 13))
        assert rows[-1]["loss"] < rows[0]["loss"]
        assert rows[-1]["test"] > 0.8
        # nothing was left out, and what it started from is as it was
        assert all(not torch.equal(now, then) for now, then in zip(trained.tensors(), start, strict=True))
        before = trainable(matched.folded, matched.areas, matched.cnn.readout).tensors()
        assert all(torch.equal(now, then) for now, then in zip(before, start, strict=True))
        network = CordsNet(2, classes=3, image_size=32, preprocessing=Preprocessing(MEAN, STD))
        assemble(network, trained.folded, trained.areas, trained.readout)
        checked = check_images(network, self.coloured())
        assert checked["accuracy"][200] == pytest.approx(rows[-1]["test"], abs=0.05)
        assert max(checked["return"]) < 0.02

    def test_an_interrupted_training_continues_to_the_same_weights(
        self, matched: Matched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(equilibrium, "SAVE_SECONDS", -1.0)  # after every batch
        settings = replace(EQUILIBRIUM, epochs=2)
        calls = [0]

        class Stopping(Presentation):
            def training(self, *arguments: Any, **named: Any) -> tuple[Tensor, Tensor]:
                calls[0] += 1
                if calls[0] == stop:
                    raise KeyboardInterrupt
                return super().training(*arguments, **named)

        shown = Stopping(32, MEAN, STD, classes=3, device=torch.device("cpu"), augmentation=Augmentation(mixing=0.5))
        finals = []
        for name, stops in (("whole", [0]), ("pieces", [5, 4, 0])):
            (tmp_path / name).mkdir()
            for stop in stops:
                calls[0] = 0
                if stop:
                    with pytest.raises(KeyboardInterrupt):
                        self.train(matched, tmp_path / name, shown, settings)
                else:
                    finals.append(self.train(matched, tmp_path / name, shown, settings).tensors())
        assert all(torch.equal(ours, expected) for ours, expected in zip(*finals, strict=True))
        whole, pieces = (Log(tmp_path / name / "equilibrium.jsonl").read() for name in ("whole", "pieces"))
        assert whole == pieces

    def test_divergence_names_the_area_and_the_learning_rate(self, matched: Matched, tmp_path: Path) -> None:
        settings = replace(EQUILIBRIUM, learning_rate=1e30)
        with pytest.raises(InputError, match=r"equilibrium_learning_rate=1e\+30: area 0 was no longer finite"):
            self.train(matched, tmp_path, presentation(32), settings)
        assert not (tmp_path / "equilibrium.pt").exists()

    def test_gradients_are_those_of_the_fixed_point(self, matched: Matched) -> None:
        """Backpropagation through the relaxation agrees with the implicit function theorem, in double precision."""
        area = Area(*(tensor.double() for tensor in matched.areas[1].tensors()), stride=1)
        area.bias.requires_grad_(True)
        generator = torch.Generator().manual_seed(3)
        u = torch.rand(1, 64, *area.bias.shape[1:], generator=generator, dtype=torch.float64)
        weight = torch.randn(area.bias.shape, generator=generator, dtype=torch.float64)
        kernel = area.rec
        drive = F.conv2d(u, area.inp, padding=1) + area.bias  # by hand, since Area.settle computes in float32 on purpose
        r = F.relu(drive)
        for _ in range(60):
            r = torch.lerp(r, F.relu(F.conv2d(r, kernel, padding=1) + drive), 0.7)
        (expected,) = torch.autograd.grad((r[0] * weight).sum(), area.bias)
        gate = (F.conv2d(r, kernel, padding=1) + drive > 0)[0].double()
        with torch.no_grad():  # d r / d bias solves y = gate (weight + W' y), by the transposed convolution
            y = torch.zeros_like(weight)
            for _ in range(200):
                y = gate * (weight + F.conv_transpose2d(y[None], kernel, padding=1)[0])
        torch.testing.assert_close(expected, y, rtol=1e-6, atol=1e-9)
        single = Area(*(tensor.detach().float() for tensor in area.tensors()), stride=1)
        single.bias.requires_grad_(True)
        settings = EquilibriumSettings()
        r, _ = single.settle(u.float(), settings.iterates, step=settings.step)
        (ours,) = torch.autograd.grad((r[0] * weight.float()).sum(), single.bias)
        cosine = F.cosine_similarity(ours.flatten().double(), y.flatten(), dim=0)
        assert float(cosine) > 0.99  # of the eight steps that training takes

    def test_flat_images_begin_with_nothing(self) -> None:
        flat = flat_images(5, torch.zeros(2, 3, 8, 9), torch.Generator().manual_seed(0))
        assert flat.shape == (5, 3, 8, 9)
        assert float(flat[0].abs().max()) == 0
        assert bool((flat == flat[:, :1, :1, :1]).all())
        assert len(set(flat[:, 0, 0, 0].tolist())) == 5


def test_deadlines_pass() -> None:
    assert Deadline(-1.0).passed()
    assert not Deadline(100.0).passed()
    assert not Deadline().passed()


def test_a_time_limit_keeps_what_was_done(tmp_path: Path) -> None:
    data, settings = image_set(16, 32), CnnSettings(epochs=2, batch=4, seed=3)

    class Late(Deadline):
        calls = 0

        def passed(self) -> bool:
            self.calls += 1
            return self.calls > 5

    results = []
    for name, deadlines in (("whole", [Deadline()]), ("pieces", [Late(), Deadline()])):
        for deadline in deadlines:
            cnn = random_cnn(2, seed=7)
            arguments = (cnn, data, data, presentation(32), settings, tmp_path / f"{name}.pt", Log(tmp_path / name))
            if isinstance(deadline, Late):
                with pytest.raises(OutOfTime):
                    train_cnn(*arguments, deadline=deadline)
                assert torch.load(tmp_path / "pieces.pt", weights_only=True)["step"] == 5
            else:
                train_cnn(*arguments, deadline=deadline)
        results.append(cnn.state_dict())
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())


class TestCheck:
    def test_accuracy_and_return_are_the_definition_s(self, random_network: Maker) -> None:
        network = random_network(2, classes=3, preprocessing=Preprocessing(MEAN, STD))
        data = image_set(7, 32)
        # at 2 ms a step: 100 blank steps, 4, then 9 with the image, 6 after it
        recorded = network.record(data.images, blank_steps=100, image_steps=9, after_steps=6)
        logits = {ms: network.readout(recorded[1][step], recorded[0][step]) for ms, step in ((8, 103), (18, 108))}
        # labels that are right for some images at one time and for others at the other
        labels = torch.where(torch.arange(7) < 5, logits[8].argmax(1), (logits[18].argmax(1) + 1) % 3)
        checked = check_images(network, ImageSet(data.images, labels, data.classes), image_ms=(18, 8), after_ms=12, batch=3)
        assert checked["images"] == 7
        expected = {ms: float((value.argmax(1) == labels).double().mean()) for ms, value in logits.items()}
        assert checked["accuracy"] == pytest.approx(expected)
        assert checked["accuracy"][8] >= 5 / 7
        for area in range(2):
            spontaneous, end, after = (recorded[area][step].flatten(1) for step in (99, 108, 114))
            left = (after - spontaneous).norm(dim=1) / (end - spontaneous).norm(dim=1)
            assert 0 < float(left.mean()) < 1
            assert checked["return"][area] == pytest.approx(float(left.mean()), rel=1e-3)

    def test_frames_are_grey_or_coloured_and_have_values_of_their_own(self, random_network: Maker) -> None:
        network = random_network(2, classes=3)
        rng = np.random.default_rng(2)
        frames = {"grey": rng.integers(0, 256, (32, 32, 1), dtype=np.uint8)}
        frames["coloured"] = rng.integers(0, 128, (32, 32, 3), dtype=np.uint8)
        checked = check_frames(network, frames, frame_ms=10, after_ms=8)
        assert list(checked) == ["grey", "coloured"]
        for name, frame in frames.items():
            images = np.repeat(frame, 3 // frame.shape[2], axis=2)[None]
            recorded = network.record(images, blank_steps=100, image_steps=5, after_steps=4)
            for area in range(2):
                spontaneous, end, after = (recorded[area][step] for step in (99, 104, 108))
                left = float((after - spontaneous).norm() / (end - spontaneous).norm())
                assert checked[name][area] == pytest.approx(left, rel=1e-3)
        assert checked["grey"] != checked["coloured"]


OPTIONS = ["--depth", "2", "--image-size", "32", "--cnn-epochs", "2", "--match-steps", "3", "--check-images", "4"]
OPTIONS += ["--equilibrium-epochs", "1", "--equilibrium-batch", "12", "--device", "cpu"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of twelve small images, and four of each to test with."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 4)):
        for label, name in enumerate(("ape", "bee", "cow")):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 128, (28, 28, 3), dtype=np.uint8)
                pixels[..., label] += 100
                Image.fromarray(pixels).save(folder / part / name / f"{number}.png")
    return folder


def start(data: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cordstasks.pretrain", "--data", str(data), "--out", str(out), *OPTIONS, *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    process = start(data, out)
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors
    return out


class TestCommand:
    def test_leaves_weights_with_their_card_a_log_and_a_summary(self, data: Path, finished: Path) -> None:
        network = load(finished / "cordsnet-r2.safetensors")
        assert (network.depth, network.classes, network.image_size) == (2, 3, 32)
        summary = json.loads((finished / "summary.json").read_text())
        card = network.card
        assert card["classes"] == ["ape", "bee", "cow"]
        assert card["accuracy"]["protocol"] == summary["protocol"]["accuracy"]
        assert card["command"].startswith("python -m cordstasks.pretrain --data")
        assert card.pop("weights") == str(finished / "cordsnet-r2.safetensors")  # where it was read from
        assert str(finished) not in json.dumps(card)  # nobody's folders
        used = network.preprocessing
        assert f"test images of 3 classes, from the folder {data.name}, resized to 32 px" in card["data"]
        assert f"the mean {used.mean} is subtracted, and the rest is divided by {used.std}" in card["data"]
        assert "CIFAR" not in json.dumps(card)
        assert summary["protocol"]["images"] == 4
        assert set(summary["frames"]) == {"black", "spot", "dots"}
        assert [row["epoch"] for row in Log(finished / "cnn.jsonl").read()] == [1, 2]
        assert [row["area"] for row in Log(finished / "matching.jsonl").read()] == [0, 1]
        assert [row["epoch"] for row in Log(finished / "equilibrium.jsonl").read()] == [1]

    def test_killed_twice_and_resumed_makes_the_same_weights(self, data: Path, finished: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        for number, sign in enumerate(("cnn.pt", "matching.pt")):
            process = start(data, out, *["--resume"] * number)
            until = time.monotonic() + 300
            while not (out / sign).exists() and process.poll() is None and time.monotonic() < until:
                time.sleep(0.005)
            process.kill()
            errors = process.communicate()[1]
            assert process.returncode == -signal.SIGKILL, errors
            assert not (out / "summary.json").exists()
        process = start(data, out, "--resume")
        errors = process.communicate(timeout=300)[1]
        assert process.returncode == 0, errors
        for name in ("cnn.safetensors", "cordsnet-r2.safetensors"):
            ours, expected = load_file(out / name), load_file(finished / name)
            assert ours.keys() == expected.keys()
            assert all(torch.equal(ours[key], expected[key]) for key in expected), name
        for log in ("cnn.jsonl", "matching.jsonl", "equilibrium.jsonl"):
            assert (out / log).read_text() == (finished / log).read_text()

    def test_stops_at_the_time_limit_and_continues(self, data: Path, finished: Path, tmp_path: Path) -> None:
        arguments = ["--data", str(data), "--out", str(tmp_path / "out"), *OPTIONS]
        assert pretrain.main([*arguments, "--time-limit", "1e-9"]) == 75
        assert not (tmp_path / "out" / "summary.json").exists()
        assert pretrain.main([*arguments, "--resume"]) == 0
        ours, expected = (load_file(out / "cordsnet-r2.safetensors") for out in (tmp_path / "out", finished))
        for name, value in expected.items():  # the other run had one thread, so sums may be in another order
            torch.testing.assert_close(ours[name], value, rtol=1e-2, atol=1e-2)

    def test_a_folder_that_holds_a_run_is_refused_in_one_line(self, data: Path, finished: Path) -> None:
        before = {path: path.stat().st_mtime_ns for path in finished.iterdir()}
        process = start(data, finished)
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 2
        assert errors == f"error: --out {finished}: holds another run; choose another folder, or continue it with --resume\n"
        assert output == ""
        assert {path: path.stat().st_mtime_ns for path in finished.iterdir()} == before

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            (["--seed", "1"], "seed=1: the run in .* has 0; leave it out"),
            (["--image-size", "48"], "image_size=48: the run in .* has 32"),
            (["--train-images", "20"], "train_images=20: the run in .* has none"),
        ],
    )
    def test_a_run_is_continued_with_its_own_settings_only(
        self, data: Path, finished: Path, more: list[str], message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            pretrain.main(["--data", str(data), "--out", str(finished), "--resume", *OPTIONS, *more])

    def test_there_must_be_a_run_to_continue(self, data: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"--out .*: holds no run \(no config\.json\)"):
            pretrain.main(["--data", str(data), "--out", str(tmp_path), "--resume", *OPTIONS])

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            (["--data", "{tmp}"], r"data=.*: has no folder train/; expected train/<class>/ and test/<class>/"),
            (["--depth", "3"], "depth=3: CordsNet has 2, 4, 6 or 8 areas"),
            (["--match-steps", "2"], "match_steps=2: give a whole number of at least 3"),
            (["--check-images", "0"], "check_images=0: give a whole number of at least 1"),
            (["--cnn-learning-rate", "nan"], "cnn_learning_rate=nan: give a finite number above 0"),
            (["--equilibrium-epochs", "-1"], "equilibrium_epochs=-1: give a whole number of at least 0"),
            (["--equilibrium-learning-rate", "0"], r"equilibrium_learning_rate=0\.0: give a finite number above 0"),
            (["--cnn-batch", "0"], "cnn_batch=0: give a whole number of at least 1"),
            (["--time-limit", "0"], r"time_limit=0\.0: choose a number of seconds above 0"),
            (["--augmentation", "strnog"], "augmentation 'strnog' is unknown; did you mean 'strong'"),
            (["--device", "tpu"], "device 'tpu' is unknown"),
            (["--image-size", "16"], "image_size=16: choose a whole number of pixels"),
            (["--init", "{tmp}/none.safetensors"], r"init=.*none\.safetensors: "),
            (["--init", "{weights}", "--depth", "4"], "init=.*: not a CNN of this depth and these classes"),
            (
                ["--init", "{part}"],
                r"init=.*part\.safetensors: tensors missing \['inp_skip\.weight'\], not known \[\]",
            ),
        ],
    )
    def test_bad_arguments_are_named_and_begin_no_run(
        self, data: Path, finished: Path, tmp_path: Path, more: list[str], message: str
    ) -> None:
        out, part = tmp_path / "out", tmp_path / "part.safetensors"
        places = {"tmp": tmp_path, "weights": finished / "cnn.safetensors", "part": part}
        save_file({k: v for k, v in load_file(places["weights"]).items() if k != "inp_skip.weight"}, part)
        more = [word.format(**places) for word in more]
        with pytest.raises(InputError, match=message) as caught:
            pretrain.main(["--data", str(data), "--out", str(out), *OPTIONS, *more])
        assert "\n" not in str(caught.value)
        assert not out.exists() or not list(out.iterdir())
