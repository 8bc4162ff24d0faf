"""Which areas are read: the areas above are left out without a trace, and maps are averaged and joined as is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from cordstasks.cordsnet import CordsNet
from cordstasks.cordsnet.architecture import DEPTHS, check_areas
from cordstasks.cordsnet.engines import Portable
from cordstasks.cordsnet.simulator import Simulator, multiply_accumulates
from cordstasks.errors import InputError
from cordstasks.frontend import FrontEnd
from cordstasks.frontend import frontend as module
from cordstasks.stimuli import Movie

Maker = Callable[..., CordsNet]
EVERY_AREA = [(depth, area) for depth in DEPTHS for area in range(depth)]
SEVERAL = [(4, (0, 2)), (8, (1, 3, 7)), (8, (2, 4)), (6, (0, 1, 2, 3, 4, 5))]
HALF = 2.0**-11  # largest relative rounding error of a float16
SIZE = 48  # maps of 12, 12, 6, 6, 3, 3, 2 and 2


def images(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def movies(count: int = 3) -> list[Movie]:
    rng = np.random.default_rng(4)
    return [Movie(rng.integers(0, 256, (2, SIZE, SIZE, 1), np.uint8), [0.0, 10.0], duration_ms=24.0) for _ in range(count)]


@pytest.fixture(autouse=True)
def short_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WARMUP_MS", 20.0)


@pytest.fixture(scope="module")
def network(random_network: Maker) -> CordsNet:
    return random_network(8, image_size=SIZE, seed=5)


@pytest.fixture
def make(network: CordsNet) -> Callable[..., FrontEnd]:
    def front_end(weights: CordsNet = network, **options: Any) -> FrontEnd:
        return FrontEnd(weights, **{"device": "cpu", "bank": False, "tolerance": 0, **options})

    return front_end


class TestSimulator:
    @pytest.mark.parametrize(("depth", "area"), EVERY_AREA)
    def test_activity_is_bit_for_bit_that_of_the_whole_network(self, random_network: Maker, depth: int, area: int):
        whole = random_network(depth, image_size=SIZE, seed=depth)
        x = images(3)
        full, part = Simulator(whole), Simulator(whole, areas=area)
        assert (part.areas, part.depth) == ((area,), area + 1)
        expected = full.spontaneous(3, steps=4)
        rates = part.spontaneous(3, steps=4)
        assert len(rates) == len(part.zero_state(1)) == len(part.drives(x)) == area + 1
        full.step(expected, full.drives(x), 6)
        part.step(rates, part.drives(x), 6)
        for ours, theirs in zip(rates, expected, strict=False):
            assert torch.equal(ours, theirs)
            assert float(ours.max()) > 0

    @pytest.mark.parametrize(("depth", "areas"), SEVERAL)
    def test_areas_are_summed_after_each_step(self, random_network: Maker, depth: int, areas: tuple[int, ...]):
        whole = random_network(depth, image_size=SIZE, seed=depth)
        x = images(2)
        recorded = Simulator(whole).record(x, blank_steps=0, image_steps=5)
        part = Simulator(whole, areas=areas)
        rates = part.zero_state(2)
        totals = [torch.ones_like(rates[area]) for area in areas]
        part.step_summed(rates, part.drives(x), totals, 5)
        for total, area in zip(totals, areas, strict=True):
            torch.testing.assert_close(total, 1 + recorded[area].sum(0), rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(rates[area], recorded[area][-1], rtol=0, atol=0)

    def test_what_needs_the_whole_network_is_refused(self, network: CordsNet):
        part = Simulator(network, areas=(0, 6))
        with pytest.raises(InputError, match=r"areas=\(0, 6\): classes are read out of the last two areas"):
            part.logits(images(1))
        with pytest.raises(InputError, match=r"areas=\[7\]: there is no area 7; this network has areas 0 to 6"):
            part.record(images(1), areas=[7])
        assert sorted(part.record(images(1), blank_steps=1, image_steps=1)) == list(range(7))

    @pytest.mark.parametrize("area", range(8))
    def test_the_arithmetic_is_what_the_convolutions_do(self, network: CordsNet, area: int):
        part = Simulator(network, areas=area, engine=Portable())
        costs = multiply_accumulates(area + 1, image_size=SIZE)
        with FlopCounterMode(display=False) as counter:
            drives = part.drives(images(1))
        assert counter.get_total_flops() == 2 * costs["image"]
        rates = part.zero_state(1)
        with FlopCounterMode(display=False) as counter:
            part.step(rates, drives)
        assert counter.get_total_flops() == 2 * costs["step"]


class TestFeatures:
    @pytest.mark.parametrize("areas", [0, 3, 6, (1, 3, 7), (2, 5)])
    @pytest.mark.parametrize("tolerance", [0, 1e-3])
    def test_they_are_those_of_each_area_in_turn(self, make: Callable[..., FrontEnd], areas: Any, tolerance: float):
        joined = make(areas=areas).features(movies(), dt=8)
        every = [areas] if isinstance(areas, int) else list(areas)
        alone = [make(areas=area, tolerance=tolerance).features(movies(), dt=8) for area in every]
        assert joined.blocks == tuple(features.units for features in alone)
        expected = torch.cat([features.take(slice(None)) for features in alone], 2)
        # noise movies change too fast for anything to settle; so nothing is copied, and nothing differs
        assert torch.equal(joined.take(slice(None)), expected)
        assert joined.cost.simulated == alone[0].cost.simulated

    def test_settled_states_are_copied_for_every_area(self, make: Callable[..., FrontEnd], settling: CordsNet):
        still = [Movie(movies()[0].frames[:1], [0.0], duration_ms=400.0)]
        options = {"areas": (0, 1, 3), "side": 2}
        copied = make(settling, tolerance=1e-3, **options).features(still, dt=20)
        whole = make(settling, **options).features(still, dt=20)
        assert copied.cost.simulated < whole.cost.simulated
        assert len(copied.rows) < len(whole.rows)
        ours, theirs = (features.take(slice(None))[0] for features in (copied, whole))
        error = (ours - theirs).norm(dim=1) / theirs.norm(dim=1)
        assert float(error.max()) < 3 * copied.cost.bound + 2 * HALF

    def test_a_lower_area_settles_without_asking_those_above(self, make: Callable[..., FrontEnd], settling: CordsNet):
        still = [Movie(movies()[0].frames[:1], [0.0], duration_ms=400.0)]
        costs = [make(settling, areas=area, tolerance=1e-3).features(still, dt=20).cost.simulated for area in (0, 3)]
        assert costs[0] < costs[1]

    @pytest.mark.parametrize("side", [1, 2, 3, 5, np.int64(4)])
    def test_maps_are_averaged_to_a_side(self, make: Callable[..., FrontEnd], side: int):
        areas, maps = (1, 3, 7), (12, 6, 2)
        averaged = make(areas=areas, side=side)
        assert averaged.sides == tuple(min(side, whole) for whole in maps)
        assert averaged.units == sum(averaged.blocks)
        found = averaged.features(movies(), dt=8).take(slice(None))
        whole = make(areas=areas)
        blocks = whole.features(movies(), dt=8).take(slice(None)).split(whole.blocks, 2)
        expected = [places(block, size, int(side)) for block, size in zip(blocks, maps, strict=True)]
        torch.testing.assert_close(found, torch.cat(expected, 2), rtol=2 * HALF, atol=1e-3)

    def test_a_side_as_large_as_the_maps_keeps_every_unit(self, make: Callable[..., FrontEnd]):
        plain, large = (make(areas=3, side=side).features(movies(), dt=8) for side in (None, 6))
        assert torch.equal(plain.rows, large.rows)

    def test_pooling_is_a_side_of_one(self, make: Callable[..., FrontEnd]):
        pooled = make(areas=(1, 4), readout="pool").features(movies(), dt=8)
        assert torch.equal(pooled.rows, make(areas=(1, 4), side=1).features(movies(), dt=8).rows)
        assert make(areas=(1, 4), readout="pool", side=4).sides == (1, 1)

    def test_the_default_is_the_last_area(self, make: Callable[..., FrontEnd], random_network: Maker):
        assert make().areas == (7,)
        assert make(random_network(2)).areas == (1,)
        assert torch.equal(make().features(movies(), dt=8).rows, make(areas=[7]).features(movies(), dt=8).rows)


def places(block: Tensor, size: int, side: int) -> Tensor:
    """Maps (..., channel * size * size) averaged to at most side x side, from the definition of adaptive pooling."""
    side = min(side, size)
    maps = block.unflatten(-1, (-1, size, size))
    bounds = [(place * size // side, -(-(place + 1) * size // side)) for place in range(side)]
    rows = torch.stack([maps[..., a:b, :].mean(-2) for a, b in bounds], -2)
    return torch.stack([rows[..., a:b].mean(-1) for a, b in bounds], -1).flatten(-3)


@pytest.fixture(scope="module")
def settling(random_network: Maker) -> CordsNet:
    """A network whose areas are slow to follow one another, but follow."""
    made = random_network(4, image_size=SIZE, seed=2)
    with torch.no_grad():
        for convolution in made.area_conv:
            convolution.parametrizations.weight.original0.mul_(0.3)
    return made


class TestTheFrontEnd:
    def test_only_what_is_needed_is_simulated(self, make: Callable[..., FrontEnd]):
        for areas, depth in ((0, 1), ((1, 3), 4), (7, 8)):
            front_end = make(areas=areas)
            assert front_end.simulator.depth == depth
            step = multiply_accumulates(depth, image_size=SIZE)["step"]
            assert front_end.step_fraction == step / multiply_accumulates(8, image_size=SIZE)["step"]
        assert make().step_fraction == 1

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({}, "area 7: 2,048 features"),
            ({"areas": 3}, "area 3: 4,608 features"),
            ({"areas": 3, "side": 4}, "area 3, averaged to 4 x 4: 2,048 features"),
            ({"areas": 7, "side": 4}, "area 7: 2,048 features"),
            ({"areas": (7, 1), "side": 4}, "areas 1 and 7, averaged to at most 4 x 4: 3,072 features"),
            ({"areas": (7, 3, 1), "readout": "pool"}, "areas 1, 3 and 7, averaged to 1 x 1: 704 features"),
        ],
    )
    def test_it_says_what_is_read(self, make: Callable[..., FrontEnd], options: dict[str, Any], text: str):
        assert make(**options).describe() == text

    def test_the_bank_tells_them_apart(self, make: Callable[..., FrontEnd]):
        options = [{}, {"areas": 3}, {"areas": 5}, {"areas": (3, 5)}, {"areas": 3, "side": 4}, {"areas": 3, "side": 2}]
        keys = {make(**each)._key(movies(), 8) for each in options}
        assert len(keys) == len(options)

    def test_the_bank_shares_what_is_the_same(self, make: Callable[..., FrontEnd]):
        for same in (
            [{}, {"areas": 7}, {"areas": np.array([7])}, {"side": 2}],
            [{"areas": (5, 3)}, {"areas": [3, 5]}, {"areas": (3, 5), "side": 6}],
            [{"areas": 3, "side": 1}, {"areas": 3, "readout": "pool"}],
        ):
            assert len({make(**each)._key(movies(), 8) for each in same}) == 1, same

    def test_the_bank_keeps_them(self, make: Callable[..., FrontEnd], tmp_path: Path):
        options = {"areas": (1, 3), "side": 3, "bank": tmp_path / "bank"}
        first, again = (make(**options).features(movies(), dt=8) for _ in range(2))
        assert (first.cost.simulated > 0, again.cost.simulated) == (True, 0)
        assert torch.equal(first.rows, again.rows)
        assert first.blocks == again.blocks == (64 * 9, 128 * 9)


class TestBadInput:
    @pytest.mark.parametrize(
        ("areas", "message"),
        [
            (8, r"areas=8: there is no area 8; this network has areas 0 to 7"),
            (-1, r"areas=-1: there is no area -1; this network has areas 0 to 7"),
            ((3, 1, 3), r"areas=\(3, 1, 3\): names area 3 more than once; name each area once"),
            ((), r"areas=\(\): names no area; this network has areas 0 to 7"),
            ("3", r"areas='3': not a number or a list of numbers of areas; this network has areas 0 to 7"),
            (3.0, r"areas=3\.0: not a number"),
            ([1, None], r"areas=\[1, None\]: not a number"),
            (True, r"areas=True: not a number"),
            (np.array([1.0]), r"areas=array\(\[1\.\]\): not a number"),
        ],
    )
    def test_areas(self, make: Callable[..., FrontEnd], areas: Any, message: str):
        with pytest.raises(InputError, match=f"^{message}"):
            make(areas=areas)

    @pytest.mark.parametrize("side", [0, -2, 2.0, True, "4"])
    def test_side(self, make: Callable[..., FrontEnd], side: Any):
        with pytest.raises(InputError, match=rf"^side={side!r}: give a whole number of at least 1, or None to keep"):
            make(side=side)

    @pytest.mark.parametrize("areas", [3, np.int32(3), np.array(3), [3], (np.int64(3),), range(3, 4), torch.tensor([3])])
    def test_what_counts_as_areas(self, areas: Any):
        (area,) = check_areas(areas, 8)
        assert (area, type(area)) == (3, int)
