"""Networks over time: each against its own equation; sequences, rest, noise."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cordstasks.analysis import wilson_interval
from cordstasks.errors import InputError
from cordstasks.experiments.autonomy import Autonomy, autonomy, times_shown
from cordstasks.experiments.in_time import (
    CordsNetInTime,
    FeedForwardInTime,
    InTime,
    Noise,
    RecurrentInTime,
    read_cnn,
    rest,
    run,
)
from cordstasks.experiments.noise import NoiseResponse, deviation_ratio, noise_response
from cordstasks.experiments.robustness_settings import Period, RobustnessSettings, periods
from cordstasks.pretraining.feedforward import FeedForward
from cordstasks.pretraining.presentation import Presentation
from cordstasks.pretraining.recurrent import RecurrentCNN
from helpers import settling_cordsnet

CPU = torch.device("cpu")


def images(count: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count, 36, 36, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def noise_from(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def presentation() -> Presentation:
    return Presentation(32, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), classes=3, device=CPU)


def feed_forward() -> tuple[FeedForward, FeedForwardInTime]:
    torch.manual_seed(1)
    cnn = FeedForward(2, classes=3).eval()
    return cnn, FeedForwardInTime(cnn, presentation(), "CNN", 10.0)


def recurrent() -> tuple[RecurrentCNN, RecurrentInTime]:
    torch.manual_seed(2)
    cnn = RecurrentCNN(2, classes=3, steps=4).eval()
    return cnn, RecurrentInTime(cnn, presentation(), "recurrent CNN", 10.0)


class TestCordsNet:
    @pytest.mark.parametrize("size", [0.0, 0.3])
    def test_a_step_is_the_network_s(self, size: float) -> None:
        network = settling_cordsnet(depth=4)
        noisy = copy.deepcopy(network)
        noisy.noise = size
        own = CordsNetInTime(network)
        x = own.preprocess(images(2))
        state = [torch.rand(r.shape, generator=noise_from(1)) for r in network.zero_state(2)]
        before = [r.clone() for r in state]
        new = own.step(state, x, Noise(units=(size,) * 4 if size else ()), noise_from(5))
        with torch.no_grad():
            expected = noisy.step(state, noisy.drive(x), generator=noise_from(5))
        for ours, theirs, old, kept in zip(new, expected, state, before, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
            assert torch.equal(old, kept)
        torch.testing.assert_close(own.logits(new), network.readout(new[-1], new[-2]).detach())

    def test_noise_in_the_image_is_an_image_with_noise(self) -> None:
        network = settling_cordsnet()
        own = CordsNetInTime(network)
        x, state = own.preprocess(images(2)), own.zero_state(torch.zeros(2, 3, 32, 32))
        noisy = own.step(state, x, Noise(image=0.5), noise_from(5))
        shown = x + 0.5 * torch.randn(x.shape, generator=noise_from(5))
        assert not torch.allclose(shown, x, atol=0.5)
        for ours, expected in zip(noisy, own.step(state, shown, Noise(), noise_from()), strict=True):
            torch.testing.assert_close(ours, expected)


class TestCNNs:
    def test_feed_forward_has_no_memory(self) -> None:
        cnn, own = feed_forward()
        x, other = own.preprocess(images(2)), own.preprocess(images(2, 1))
        (_, first), (_, second), (_, third) = run(own, [(x, 10.0), (other, 10.0), (x, 10.0)], own.zero_state(x))
        with torch.no_grad():
            torch.testing.assert_close(own.logits(first), cnn(x))
            torch.testing.assert_close(own.logits(second), cnn(other))
        assert all(torch.equal(a, b) for a, b in zip(first, third, strict=True))

    def test_recurrent_answers_as_it_was_trained(self) -> None:
        cnn, own = recurrent()
        x = own.preprocess(images(2))
        states = [state for _, state in run(own, [(x, 60.0)], own.zero_state(x))]
        with torch.no_grad():
            torch.testing.assert_close(own.logits(states[cnn.steps - 1]), cnn(x))
        assert len(states) == 6
        assert not torch.allclose(states[3][-1], states[5][-1])

    def test_noise_of_units_is_added_before_the_relu_of_each_area(self) -> None:
        cnn, own = feed_forward()
        x = own.preprocess(images(2))
        seen: list[Tensor] = []
        handle = cnn.bn2[1].register_forward_hook(lambda _, __, output: seen.append(output))
        new = own.step(own.zero_state(x), x, Noise(units=(0.0, 0.4)), noise_from(3))
        handle.remove()
        generator = noise_from(3)
        torch.randn(new[0].shape, generator=generator)
        noise = 0.4 * torch.randn(new[1].shape, generator=generator)
        clean = own.step(own.zero_state(x), x, Noise(), noise_from(3))
        torch.testing.assert_close(new[0], clean[0])
        assert not torch.allclose(new[1], clean[1])
        torch.testing.assert_close(new[1], F.relu(_potential(cnn, x) + noise))
        assert isinstance(cnn.bn2[1], nn.BatchNorm2d) and not cnn.bn2[1]._forward_hooks


def _potential(cnn: FeedForward, x: Tensor) -> Tensor:
    with torch.no_grad():
        u = cnn.areas(x)[0][1]
        return cnn.bn2[1](cnn.conv_rec[1](cnn.bn1[1](cnn.conv_inp[1](u))))  # type: ignore[no-any-return]


class TestRun:
    def test_periods_end_at_the_nearest_step(self) -> None:
        _, own = feed_forward()
        x = own.preprocess(images(1))
        times = [time for time, _ in run(own, [(None, 14.0), (x, 14.0), (None, 12.0)], own.zero_state(x))]
        assert times == [10, 20, 30, 40]
        states = [state[-1] for _, state in run(own, [(None, 14.0), (x, 14.0), (None, 12.0)], own.zero_state(x))]
        # 14 ms is nearest to one step and 28 ms to three
        blank = own.step(own.zero_state(x), torch.zeros_like(x), Noise(), noise_from())[-1]
        assert [torch.equal(state, blank) for state in states] == [True, False, False, True]

    def test_rest_is_the_same_for_all_images(self) -> None:
        network = settling_cordsnet(depth=4)
        own = CordsNetInTime(network)
        x = own.preprocess(images(3))
        expected = network.record(x[:1], blank_steps=50, image_steps=0)
        for area, state in enumerate(rest(own, x, 100.0)):
            assert state.shape[0] == 3
            for each in state:
                torch.testing.assert_close(each, expected[area][-1, 0], rtol=1e-4, atol=1e-5)

    def test_without_an_image_the_size_is_not_known(self) -> None:
        _, own = feed_forward()
        with pytest.raises(InputError, match="shown: holds no image"):
            next(iter(run(own, [(None, 10.0)], [])))


class TestAutonomy:
    def test_is_what_the_network_s_record_says(self) -> None:
        network = settling_cordsnet()
        own, shown, labels = CordsNetInTime(network), images(5), torch.tensor([0, 2, 1, 0, 1])
        sequence = periods(("blank:4", "image:12", "blank:8", "image:6"))
        found = autonomy(own, shown, labels, sequence, rest_ms=20.0, every_ms=4.0, batch=2, progress=False)
        assert list(found.times_ms) == [4, 8, 12, 16, 20, 24, 28]
        assert found.probability.shape == found.correct.shape == (2, 7, 5)
        recorded = network.record(network.preprocess(shown), blank_steps=12, image_steps=6, after_steps=4)
        for time, step in ((0, 11), (2, 15), (3, 17), (5, 21)):  # measured from the second step of the sequence on
            states = [recorded[area][step] for area in range(2)]
            chances = network.readout(states[1], states[0]).detach().softmax(1)
            expected = chances.gather(1, labels[:, None])[:, 0]
            torch.testing.assert_close(torch.from_numpy(found.probability[0, time]).float(), expected, rtol=1e-4, atol=1e-5)
            right = (chances.argmax(1) == labels).double()
            assert torch.equal(torch.from_numpy(found.correct[0, time]), right)
            away = (states[1] - recorded[1][9]).flatten(1).norm(dim=1)
            torch.testing.assert_close(torch.from_numpy(found.distance[time]).float(), away, rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(torch.from_numpy(found.activity[time]).float(), states[1].mean((1, 2, 3)))
        # the second image of trial i is image i + 2, since two images are shown in a set of five
        second = labels[(torch.arange(5) + 2) % 5]
        assert found.summary(sequence)[3]["accuracy"] == pytest.approx(found.correct[1, 6].mean())
        logits = network.readout(*(_after(network, shown, (torch.arange(5) + 2) % 5)))
        assert (logits.argmax(1) == second).double().tolist() == found.correct[1, 6].tolist()

    def test_summary(self) -> None:
        own, shown, labels = CordsNetInTime(settling_cordsnet()), images(12), torch.arange(12) % 3
        sequence = periods(("blank:4", "image:40", "blank:60"))
        rows = autonomy(own, shown, labels, sequence, every_ms=2.0, progress=False).summary(sequence)
        assert [row["shown"] for row in rows] == ["blank", "image 1", "blank"]
        assert [row["end_ms"] for row in rows] == [4, 44, 104]
        assert rows[0]["accuracy"] is None and rows[1]["trials"] == 12
        assert rows[1]["distance"] == pytest.approx(1)
        assert rows[2]["distance"] < 0.1
        assert rows[1]["interval"][0] < rows[1]["accuracy"] < rows[1]["interval"][1]
        assert rows[2]["distance_interval"][0] <= rows[2]["distance"] <= rows[2]["distance_interval"][1]

    def test_answers_to_the_first_image(self) -> None:
        times = np.arange(10.0, 101, 10)
        correct = np.zeros((2, 10, 8))
        correct[0, 3, :6] = correct[0, 7, :4] = 1  # 40 and 80 ms after the beginning
        correct[0, 9] = correct[1] = 1  # after the image, and of the second one
        own = Autonomy(times, correct, correct, *np.ones((2, 10, 8)))
        found = own.answers(periods(("blank:20", "image:60", "image:20")))
        assert found["after_ms"] == [10, 20, 30, 40, 50, 60]
        assert found["accuracy"] == [0, 0.75, 0, 0, 0, 0.5]
        assert found["best"] == {"after_ms": 20, "accuracy": 0.75, "interval": list(wilson_interval(6, 8))}
        assert found["end"] == {"after_ms": 60, "accuracy": 0.5, "interval": list(wilson_interval(4, 8))}

    def test_times_of_images(self) -> None:
        sequence = periods(("image:10", "blank:5", "image:20", "image1:1"))
        assert list(times_shown(sequence)) == [(0, 10, "image 1"), (15, 35, "image 2"), (35, 36, "image 1")]

    def test_too_fine_measurements(self) -> None:
        _, own = feed_forward()
        with pytest.raises(InputError, match="every_ms=4: give at least a step of CNN, 10 ms"):
            autonomy(own, images(2), torch.zeros(2).long(), (Period(0, 20.0),), every_ms=4.0, progress=False)


def _after(network, shown: Tensor, order: Tensor) -> list[Tensor]:  # type: ignore[no-untyped-def]
    """The two last areas at the end of the sequence of the test, one `CordsNet.run` after the other."""
    state = network.zero_state(len(shown))
    x, blank = network.drive(network.preprocess(shown)), network.drive(None)
    second = network.drive(network.preprocess(shown[order]))
    with torch.no_grad():
        for drive, steps in ((blank, 12), (x, 6), (blank, 4), (second, 3)):
            for state in network.run(state, drive, steps):
                pass
        return [state[1], state[0]]


def every_network() -> list[InTime]:
    return [CordsNetInTime(settling_cordsnet()), feed_forward()[1], recurrent()[1]]


class TestNoise:
    @pytest.mark.parametrize("network", every_network(), ids=lambda own: own.name)
    @pytest.mark.parametrize("noise_in", ["image", "units"])
    def test_little_noise_makes_proportional_deviations(self, network: InTime, noise_in: str) -> None:
        shown, labels = images(5), torch.tensor([0, 1, 2, 0, 1])
        options = {"noise_in": noise_in, "image_ms": 60.0, "rest_ms": 20.0, "batch": 3, "progress": False}
        found = noise_response(network, shown, labels, (1e-3, 2e-3, 1.0), **options)
        assert found.deviation.shape == found.correct.shape == (3, 5)
        small, twice, large = found.deviation.mean(axis=1)
        assert twice / small == pytest.approx(2, rel=0.3)
        assert 0 < small < 0.01 < large
        # so little noise changes no answer
        assert found.correct[0].tolist() == found.clean.tolist()
        again = noise_response(network, shown, labels, (1e-3, 2e-3, 1.0), **options)
        assert (again.deviation == found.deviation).all()
        assert (noise_response(network, shown, labels, (1e-3,), seed=1, **options).deviation != found.deviation[:1]).all()

    def test_deviation_of_a_feed_forward_network_by_hand(self) -> None:
        cnn, own = feed_forward()
        shown = images(4)
        found = noise_response(own, shown, torch.zeros(4).long(), (0.5,), image_ms=20.0, batch=4, progress=False)
        x = own.preprocess(shown)
        rng = noise_from(_seed_of(0, 0, 0))
        torch.randn(x.shape, generator=rng)  # of the first step, which is not in the second half
        with torch.no_grad():
            noisy = cnn.areas(x + 0.5 * torch.randn(x.shape, generator=rng))[1][-1]
            clean = cnn.areas(x)[1][-1]
        expected = (noisy - clean).flatten(1).norm(dim=1) / clean.flatten(1).norm(dim=1)
        torch.testing.assert_close(torch.from_numpy(found.deviation[0]).float(), expected, rtol=1e-4, atol=1e-6)
        rows = found.summary()
        assert [row["level"] for row in rows] == [0, 0.5]
        assert rows[1]["deviation"] == pytest.approx(float(expected.mean()), rel=1e-4)
        assert rows[1]["deviation_interval"][0] < rows[1]["deviation"] < rows[1]["deviation_interval"][1]

    def test_ratio_of_deviations(self) -> None:
        rng = np.random.default_rng(0)
        one, other = (NoiseResponse(np.array([0.5, 1]), rng.random((2, 40)) + 1, *rng.random((2, 2, 40))) for _ in range(2))
        twelve = NoiseResponse(one.levels, 12 * one.deviation, one.correct, one.clean)
        for row in deviation_ratio(twelve, one):  # images are resampled together
            assert row["ratio"] == pytest.approx(12)
            assert row["interval"] == pytest.approx([12, 12])
        rows = deviation_ratio(one, other, seed=3)
        assert [row["level"] for row in rows] == [0.5, 1]
        assert rows[1]["ratio"] == pytest.approx(one.deviation[1].mean() / other.deviation[1].mean())
        low, high = rows[1]["interval"]
        assert low < rows[1]["ratio"] < high < low + 0.3
        fewer = NoiseResponse(one.levels, one.deviation[:, :5], one.correct, one.clean)
        with pytest.raises(InputError, match="show both networks the same images at the same levels"):
            deviation_ratio(one, fewer)

    def test_too_short_an_image(self) -> None:
        with pytest.raises(InputError, match="image_ms=10: give at least two steps of CNN, 20 ms"):
            noise_response(feed_forward()[1], images(2), torch.zeros(2).long(), (0.1,), image_ms=10.0, progress=False)


def _seed_of(*parts: int) -> int:
    import numpy as np

    return int(np.random.SeedSequence(list(parts)).generate_state(1, np.uint64)[0] >> 1)


class TestReading:
    def test_folders_without_a_network(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="holds no run"):
            read_cnn(tmp_path, "cnn", 10.0)


class TestSettings:
    def test_sequence(self) -> None:
        own = RobustnessSettings(sequence=("image:40", "blank:20.5", "image:10", "image1:30"))
        assert own.periods == (Period(0, 40), Period(None, 20.5), Period(1, 10), Period(0, 30))

    @pytest.mark.parametrize("text", ["picture:10", "image", "image:-1", "image:nan", "blank:x", "image2:10", "image0:10"])
    def test_wrong_periods(self, text: str) -> None:
        with pytest.raises(InputError, match=f"sequence={text}: write image:MS"):
            RobustnessSettings(sequence=("image:10", text))

    def test_numbers_that_do_not_fit(self) -> None:
        with pytest.raises(InputError, match="sequence=blank:10: shows no image"):
            RobustnessSettings(sequence="blank:10")
        with pytest.raises(InputError, match="count=2: the sequence shows more images"):
            RobustnessSettings(count=2, sequence=("image:1", "image:1", "image:1"))
        with pytest.raises(InputError, match=r"noise_levels=.*numbers above 0"):
            RobustnessSettings(noise_levels=(0.1, 0.0))
