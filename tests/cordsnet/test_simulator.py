"""The frozen simulator: the same numbers as CordsNet's definition, and the arithmetic it claims to need."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from cordstasks.cordsnet import CordsNet
from cordstasks.cordsnet.engines import Fast, Packed, Portable, engine_for
from cordstasks.cordsnet.simulator import Simulator, multiply_accumulates
from cordstasks.errors import InputError

Maker = Callable[..., CordsNet]
ENGINES = {"portable": Portable, "packed": Packed, "fast": Fast}


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest) -> Portable:
    if request.param == "fast":
        pytest.importorskip("numba")
    if request.param != "portable" and not Packed.available():
        pytest.skip("this build of torch has no packed convolutions, or they do not agree with the plain ones")
    made: Portable = ENGINES[request.param]()
    return made


def images(count: int, size: int, *, channels: int = 3, seed: int = 0) -> Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def error(ours: Tensor, expected: Tensor) -> float:
    """Largest difference relative to the largest value."""
    assert ours.shape == expected.shape
    assert float(expected.max()) > 0
    return float((ours - expected).abs().max() / expected.abs().max())


class TestAgreement:
    @pytest.mark.parametrize("size", [33, 48, 75])
    @pytest.mark.parametrize("depth", [2, 4, 6, 8])
    def test_activity_is_the_definition_s(self, random_network: Maker, engine: Portable, depth: int, size: int) -> None:
        network = random_network(depth, image_size=size, in_channels=2, dt=3.0, seed=depth)
        simulator = Simulator(network, engine=engine)
        for count in (1, 3):
            x = images(count, size, channels=2, seed=size)
            steps = {"blank_steps": 2, "image_steps": 4, "after_steps": 1}
            expected, ours = network.record(x, **steps), simulator.record(x, **steps)
            for area in range(depth):
                for step in range(7):
                    assert error(ours[area][step], expected[area][step]) < 1e-5, (area, step)

    def test_logits_after_the_whole_protocol_are_the_definition_s(self, random_network: Maker, engine: Portable) -> None:
        network = random_network(2)
        x = images(3, 32)
        with torch.no_grad():
            assert error(Simulator(network, engine=engine).logits(x), network(x)) < 1e-5

    def test_a_batch_is_its_images_one_by_one(self, random_network: Maker, engine: Portable) -> None:
        # sizes of batch come and go; an engine that kept something of another size would show
        simulator = Simulator(random_network(4), engine=engine)
        x = images(6, 32)
        alone = torch.cat([simulator.settle(x[number : number + 1], steps=5)[-1] for number in range(6)])
        for count in (1, 2, 3, 4, 5, 6, 1):
            assert error(simulator.settle(x[:count], steps=5)[-1], alone[:count]) < 1e-5

    def test_bfloat16_products_are_close(self, random_network: Maker) -> None:
        network = random_network(8)
        x = images(2, 32)
        expected = network.record(x, blank_steps=10, image_steps=20)
        ours = Simulator(network, precision="bfloat16").record(x, blank_steps=10, image_steps=20)
        for area in range(8):
            assert ours[area].dtype == torch.float32
            off = float((ours[area][-1] - expected[area][-1]).norm() / expected[area][-1].norm())
            assert 1e-5 < off < 0.02  # eight significant bits: 2^-9 for each rounding, a few of them in a row

    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_the_default_engine_is_right(self, precision: str) -> None:
        made = engine_for(torch.device("cpu"), precision)
        generator = torch.Generator().manual_seed(3)
        for kernel, stride in ((1, 2), (3, 1), (3, 2), (7, 2)):
            weight = torch.randn(16, 8, kernel, kernel, generator=generator)
            x, convolution = torch.randn(3, 8, 9, 9, generator=generator), made.convolution(weight, stride)
            plain = torch.nn.functional.conv2d(x, weight, stride=stride, padding=kernel // 2)
            add = torch.randn(plain.shape, generator=generator) * 10
            kept = add.clone()
            tolerance = 1e-5 if precision == "float32" else 0.02
            for ours, expected in (
                (convolution(x), plain),
                (convolution(x, add), plain + add),
                (convolution(x, add, relu=True), (plain + add).relu()),
                (convolution(x, relu=True), plain.relu()),
            ):
                assert ours.dtype == torch.float32
                assert error(ours, expected) < tolerance
            assert torch.equal(add, kept)


class TestState:
    def test_step_advances_in_place_and_equals_the_definition(self, random_network: Maker, engine: Portable) -> None:
        network = random_network(8)
        simulator = Simulator(network, engine=engine)
        x = images(2, 32)
        start = [torch.rand(r.shape).contiguous(memory_format=torch.channels_last) for r in simulator.zero_state(2)]
        expected, kept = [r.clone() for r in start], [id(r) for r in start]
        drives = simulator.drives(x)
        copies = [drive.clone() for drive in drives]
        simulator.step(start, drives, 3)
        assert [id(r) for r in start] == kept
        with torch.no_grad():
            for _ in range(3):
                expected = network.step(expected, network.drive(x))
        for area in range(8):
            assert error(start[area], expected[area]) < 1e-5
        assert all(torch.equal(drive, copy) for drive, copy in zip(drives, copies, strict=True))

    def test_step_summed_adds_the_last_area_after_each_step(self, random_network: Maker, engine: Portable) -> None:
        simulator = Simulator(random_network(4), engine=engine)
        assert simulator.areas == (3,)
        x = images(3, 32)
        recorded = simulator.record(x, blank_steps=2, image_steps=5)
        rates = simulator.spontaneous(3, steps=2)
        total = torch.ones_like(rates[-1])
        simulator.step_summed(rates, simulator.drives(x), [total], 5)
        assert error(total, 1 + recorded[3][2:].sum(0)) < 1e-6
        assert error(rates[-1], recorded[3][-1]) < 1e-6

    def test_activity_that_decays_ends_at_zero_and_never_becomes_subnormal(
        self, random_network: Maker, engine: Portable
    ) -> None:
        # subnormal numbers, below 1.2e-38, make every product tens of times slower
        simulator = Simulator(random_network(4, image_size=33), engine=engine)
        rates, inhibited = simulator.zero_state(3), [r - 100 for r in simulator.zero_state(3)]
        for rate in rates:
            rate.fill_(1.0)
        simulator.step(rates, inhibited, 300)
        for rate in rates:
            torch.testing.assert_close(rate, torch.full_like(rate, 0.8**300), rtol=1e-3, atol=0.0)
        simulator.step(rates, inhibited, 12)
        assert all(bool((rate == 0).all()) for rate in rates)

    def test_what_is_not_a_number_is_not_taken_for_silence(self, random_network: Maker, engine: Portable) -> None:
        simulator = Simulator(random_network(2, image_size=33), engine=engine)
        rates = simulator.zero_state(2)
        rates[1][1, 3, 4, 5] = torch.nan
        simulator.step(rates, simulator.drives(images(2, 33)), 2)
        assert bool(rates[1][1, 3, 4, 5].isnan())

    def test_the_spontaneous_state_is_kept_and_its_copies_are_independent(self, random_network: Maker) -> None:
        network = random_network(4)
        simulator = Simulator(network)
        x = images(2, 32)
        expected = network.record(torch.zeros_like(x), blank_steps=12, image_steps=0)
        for count in (1, 2, 1):
            copies = simulator.spontaneous(count, steps=12)
            for area, copy in enumerate(copies):
                assert error(copy, expected[area][-1][:count]) < 1e-5
            copies[1][0].zero_()
            assert count == 1 or float(copies[1][1].max()) > 0
            simulator.step(copies, simulator.drives(x[:count]), 2)
        # states after another number of steps are other states
        assert error(simulator.spontaneous(1, steps=1)[3], expected[3][0, :1]) < 1e-5
        assert error(simulator.spontaneous(1, steps=1)[3], expected[3][-1, :1]) > 0.1

    def test_the_network_may_change_afterwards(self, random_network: Maker) -> None:
        network = random_network(2)
        x = images(1, 32)
        before = Simulator(network)
        expected = before.settle(x, steps=3)[-1].clone()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(1.5)
        assert torch.equal(before.settle(x, steps=3)[-1], expected)

    def test_its_weights_are_gone_with_its_last_user(self, random_network: Maker, engine: Portable) -> None:
        simulator = Simulator(random_network(4), engine=engine)
        simulator.settle(images(1, 32), steps=3)
        left = weakref.ref(simulator)
        gc.disable()  # which finds objects that refer to each other, but only now and then
        try:
            del simulator
            assert left() is None
        finally:
            gc.enable()


@pytest.mark.parametrize("options", [{"activation": "linear"}, {"activation": 0.2}, {"noise": 0.1}])
def test_other_activations_and_noise_are_refused(random_network: Maker, options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"is for relu networks without noise; use CordsNet\.record"):
        Simulator(random_network(2, **options))


def test_precisions_are_checked(random_network: Maker) -> None:
    with pytest.raises(InputError, match="precision 'float23' is unknown; did you mean 'float32'"):
        Simulator(random_network(2), precision="float23")
    with pytest.raises(InputError, match="precision='tf32': only CUDA devices have it"):
        Simulator(random_network(2), precision="tf32")


class TestMultiplyAccumulates:
    def test_are_those_of_the_paper_s_network(self) -> None:
        # recurrent 0.925 G, feed-forward 0.752 G, skips 0.135 G, stem 0.118 G at 224 px
        costs = multiply_accumulates(8, image_size=224)
        assert costs["step"] == pytest.approx(1.58e9, abs=0.005e9)
        assert costs["published"] == pytest.approx(2.755e9, abs=0.0005e9)

    @pytest.mark.parametrize(("depth", "size", "channels"), [(2, 33, 1), (4, 48, 3), (6, 75, 2), (8, 65, 3)])
    def test_are_what_the_convolutions_do(self, random_network: Maker, depth: int, size: int, channels: int) -> None:
        network = random_network(depth, image_size=size, in_channels=channels)
        simulator = Simulator(network, engine=Portable())
        x = images(1, size, channels=channels)
        costs = multiply_accumulates(depth, image_size=size, in_channels=channels)
        # the counter takes two operations for each product and its addition, padding included
        with FlopCounterMode(display=False) as counter:
            drives = simulator.drives(x)
        assert counter.get_total_flops() == 2 * costs["image"]
        rates = simulator.zero_state(1)
        with FlopCounterMode(display=False) as counter:
            simulator.step(rates, drives, 3)
        assert counter.get_total_flops() == 3 * 2 * costs["step"]
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            for _ in range(depth - 1):
                network.stem(x)
            network.step(rates, network.drive(x))
        assert counter.get_total_flops() == 2 * costs["published"]


def test_the_weights_are_copied(random_network: Maker) -> None:
    """A bias map of 1 x 1 is laid out alike in every memory format, so that it is easily shared."""
    network = random_network(8)
    assert network.sides[-1] == 1
    simulator, x = Simulator(network), torch.rand(2, 3, 32, 32)
    before = simulator.logits(x, steps=5)
    simulator._spontaneous.clear()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)
    assert torch.equal(simulator.logits(x, steps=5), before)
