"""The fast CPU engine: every transform against its definition, and whole steps against plain convolutions."""

from __future__ import annotations

import functools
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cordstasks.cordsnet import CordsNet, load
from cordstasks.cordsnet.engines import Fast, Packed, Portable, engine_for
from cordstasks.cordsnet.engines.fast import engine as engine_module
from cordstasks.cordsnet.engines.fast.schedule import Wavefront, chunks, in_order, side_by_side
from cordstasks.cordsnet.engines.fast.transforms import ALGORITHMS, FOUR, PAIR, SINGLE, TWO, Algorithm, algorithm_for
from cordstasks.cordsnet.simulator import Simulator
from cordstasks.errors import InputError
from helpers import ROOT

Maker = Callable[..., CordsNet]
Pair = Callable[[int], tuple[Simulator, Simulator]]
pytest.importorskip("numba")


def padded_correlation(maps: NDArray[Any], kernel: NDArray[Any]) -> NDArray[np.float64]:
    """A direct convolution layer of one map and one 3x3 kernel, with zeros around the map."""
    wide = np.pad(maps.astype(np.float64), 1)
    height, width = maps.shape
    return np.array([[(wide[y : y + 3, x : x + 3] * kernel).sum() for x in range(width)] for y in range(height)])


def tile_of(algorithm: Algorithm, maps: NDArray[Any]) -> NDArray[Any]:
    """The inputs of the tile whose outputs are the map's first ones."""
    start = algorithm.first + 1
    return np.pad(maps, 1)[start : start + algorithm.inputs, start : start + algorithm.inputs]


class TestTransforms:
    @pytest.mark.parametrize("algorithm", ALGORITHMS, ids=["four", "two", "pair", "single"])
    def test_in_one_dimension_they_filter(self, algorithm: Algorithm) -> None:
        rng = np.random.default_rng(algorithm.number)
        inputs, taps = rng.normal(size=algorithm.inputs), rng.normal(size=3)
        products = np.array(algorithm.of_inputs(list(inputs))) * (algorithm.of_taps @ taps)
        assert len(products) == algorithm.products
        wide = inputs if algorithm.first == -1 else np.pad(inputs, 1)
        np.testing.assert_allclose(algorithm.of_products(list(products)), np.correlate(wide, taps), rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("algorithm", ALGORITHMS, ids=["four", "two", "pair", "single"])
    def test_in_two_dimensions_they_convolve(self, algorithm: Algorithm) -> None:
        rng = np.random.default_rng(algorithm.number)
        outputs = algorithm.outputs
        # the whole map where only such are transformed, else a part of a larger one
        maps = rng.normal(size=(outputs, outputs) if algorithm.first == 0 else (outputs + 2, outputs + 3))
        kernels = rng.normal(size=(3, 2, 3, 3))  # channel out, channel in
        transformed = algorithm.of_kernels(kernels)
        assert transformed.shape == (algorithm.products**2, 2, 3)
        rows = np.array(algorithm.of_inputs(list(tile_of(algorithm, maps))))
        factors = np.array(algorithm.of_inputs(list(rows.T))).T.reshape(-1)
        for given, made in itertools.product(range(2), range(3)):
            products = (factors * transformed[:, given, made]).reshape(algorithm.products, -1)
            half = np.array(algorithm.of_products(list(products)))
            result = np.array(algorithm.of_products(list(half.T))).T
            expected = padded_correlation(maps, kernels[made, given])[:outputs, :outputs]
            np.testing.assert_allclose(result, expected, rtol=1e-11, atol=1e-11)

    def test_they_need_as_few_products_as_they_say(self) -> None:
        assert [a.products**2 for a in (FOUR, TWO, PAIR, SINGLE)] == [36, 16, 9, 1]
        assert [9 * a.outputs**2 for a in (FOUR, TWO, PAIR, SINGLE)] == [144, 36, 36, 9]

    @pytest.mark.parametrize(
        ("side", "images", "expected"),
        [(1, 9, SINGLE), (2, 1, PAIR), (3, 4, TWO), (4, 5, FOUR), (5, 1, FOUR), (56, 1, FOUR)],
    )
    def test_the_choice_among_them(self, side: int, images: int, expected: Algorithm) -> None:
        assert algorithm_for(side, images) is expected


class TestInstructions:
    """What is compiled, against NumPy in float64."""

    def test_products_of_any_number_of_rows(self) -> None:
        from numba import njit

        from cordstasks.cordsnet.engines.fast.room import panels
        from cordstasks.cordsnet.engines.fast.vectors import COLUMNS, product

        @njit
        def multiply(left, right, sums, add):  # type: ignore[no-untyped-def]
            product(
                left.ctypes.data,
                left.strides[0],
                right.ctypes.data,
                sums.ctypes.data,
                sums.strides[0],
                left.shape[0],
                left.shape[1],
                sums.shape[1],
                add,
            )

        rng = np.random.default_rng(1)
        right = rng.normal(size=(7, 2 * COLUMNS)).astype(np.float32)
        for rows in range(1, 16):
            left = rng.normal(size=(rows, 7)).astype(np.float32)
            before = rng.normal(size=(rows + 1, 2 * COLUMNS)).astype(np.float32)
            expected = left.astype(np.float64) @ right
            for add in (False, True):
                sums = before.copy()
                multiply(left, panels(right), sums[:rows], add)
                np.testing.assert_allclose(sums[:rows], expected + add * before[:rows], rtol=1e-5, atol=1e-5)
                np.testing.assert_array_equal(sums[rows], before[rows])  # nothing is written beyond

    @pytest.mark.parametrize("algorithm", ALGORITHMS, ids=["four", "two", "pair", "single"])
    def test_a_tile_is_transformed_and_stepped(self, algorithm: Algorithm) -> None:
        from numba import njit

        from cordstasks.cordsnet.engines.fast.vectors import COLUMNS, tile_in, tile_out

        number, count, size = algorithm.number, algorithm.products**2, algorithm.outputs

        @njit
        def transform(maps, factors):  # type: ignore[no-untyped-def]
            start, strides = maps.ctypes.data, maps.strides
            tile_in(number, start, strides[0], strides[1], factors.ctypes.data, factors.strides[0], maps.shape[2])

        @njit
        def step(products, drive, old, new, height, width, alpha):  # type: ignore[no-untyped-def]
            tile_out(
                number,
                products.ctypes.data,
                products.strides[0],
                drive.ctypes.data,
                drive.strides[0],
                drive.strides[1],
                old.ctypes.data,
                new.ctypes.data,
                old.strides[0],
                old.strides[1],
                old.shape[2],
                height,
                width,
                alpha,
            )

        rng = np.random.default_rng(number)
        maps = rng.normal(size=(algorithm.inputs, algorithm.inputs + 2, COLUMNS)).astype(np.float32)
        factors = np.zeros((count, COLUMNS), np.float32)
        transform(maps, factors)
        seen = maps[:, : algorithm.inputs].astype(np.float64)
        rows = np.array(algorithm.of_inputs(list(seen)))
        expected = np.array(algorithm.of_inputs(list(rows.transpose(1, 0, 2)))).transpose(1, 0, 2).reshape(count, -1)
        np.testing.assert_allclose(factors, expected, rtol=1e-5, atol=1e-5)

        products = rng.normal(size=(count, COLUMNS)).astype(np.float32)
        drive = rng.normal(size=(size, size + 3, COLUMNS)).astype(np.float32)
        old = rng.random((size, size + 1, COLUMNS)).astype(np.float32)
        cube = products.astype(np.float64).reshape(algorithm.products, algorithm.products, -1)
        half = np.array(algorithm.of_products(list(cube)))
        sums = np.array(algorithm.of_products(list(half.transpose(1, 0, 2)))).transpose(1, 0, 2) + drive[:, :size]
        expected = old[:, :size] + 0.25 * (np.maximum(sums, 0) - old[:, :size])
        for height, width in {(size, size), (max(1, size - 1), 1)}:
            new = np.full_like(old, 7.0)
            step(products, drive, old, new, height, width, np.float32(0.25))
            np.testing.assert_allclose(new[:height, :width], expected[:height, :width], rtol=1e-5, atol=1e-5)
            assert (new[height:] == 7).all() and (new[:, width:] == 7).all()


class TestSchedule:
    @pytest.mark.parametrize("steps", [1, 7, 10, 11, 23])
    def test_chunks_are_alike_and_add_up(self, steps: int) -> None:
        lengths = chunks(steps, 10)
        assert sum(lengths) == steps
        assert max(lengths) <= 10 and max(lengths) - min(lengths) <= 1

    @pytest.mark.parametrize(
        ("steps", "slots", "most", "threads"), [(1, 31, 1, 3), (23, 31, 6, 2), (40, 12, 4, 4), (9, 11, 10, 2)]
    )
    def test_the_wavefront_reads_what_is_there(self, steps: int, slots: int, most: int, threads: int) -> None:
        depth, lock, log = 5, threading.Lock(), []
        taken, reading = [0] * depth, dict[int, tuple[int, int]]()

        def work(area: int, done: int, length: int) -> None:
            with lock:
                assert taken[area] == done and area not in reading
                for below in (area - 1, area - 2):
                    assert below < 0 or taken[below] >= done + length - 1
                for above in (area + 1, area + 2):  # the state before its next step is still needed, and is not overwritten
                    assert above >= depth or done + length - slots < taken[above]
                reading[area] = (done, length)
            with lock:
                del reading[area]
                taken[area] = done + length
                log.append((area, done))

        Wavefront(work, depth, steps, slots, most).run(threads)
        assert taken == [steps] * depth
        assert len(set(log)) == len(log) == depth * len(chunks(steps, most))

    def test_in_order_it_takes_a_chunk_of_every_area_in_turn(self) -> None:
        log: list[tuple[int, int, int]] = []
        in_order(lambda *job: log.append(job), 2, 5, 3)
        assert log == [(0, 0, 2), (1, 0, 2), (0, 2, 3), (1, 2, 3)]

    @pytest.mark.parametrize("threads", [1, 3])
    def test_an_error_ends_all_threads(self, threads: int) -> None:
        def work(area: int, done: int, length: int) -> None:
            if (area, done) == (2, 4):
                raise ArithmeticError("here")

        with pytest.raises(ArithmeticError, match="here"):
            Wavefront(work, 4, 20, 31, 2).run(threads)
        before = threading.active_count()
        with pytest.raises(ZeroDivisionError):
            side_by_side(lambda number: 1 // (number - threads + 1), threads)
        assert threading.active_count() == before

    def test_an_interrupt_between_jobs_ends_all_threads(self) -> None:
        schedule, raised = Wavefront(lambda area, done, length: None, 4, 40, 31, 2), list[BaseException]()

        class Busy(list[bool]):
            def __setitem__(self, place: Any, value: Any) -> None:
                super().__setitem__(place, value)
                if place == 2 and value:  # the job is taken, and never done
                    raise KeyboardInterrupt

        def run() -> None:
            try:
                schedule.run(2)
            except KeyboardInterrupt as error:
                raised.append(error)

        schedule.busy = Busy(schedule.busy)
        runner = threading.Thread(target=run, daemon=True)
        runner.start()
        runner.join(20)
        assert not runner.is_alive() and len(raised) == 1


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pair(random_network: Maker) -> Pair:
    """For images of a size: a fast and a plain simulator of all areas, of which three are summed; made once."""

    @functools.cache
    def make(size: int) -> tuple[Simulator, Simulator]:
        network = random_network(8, image_size=size, dt=3.0, seed=size)
        return fast(network, areas=(1, 4, 7)), Simulator(network, areas=(1, 4, 7), engine=Portable())

    return make


def images(count: int, size: int, *, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def furthest(ours: list[Tensor], expected: list[Tensor]) -> float:
    """Largest error of any image in any area, relative to the norm of its activity."""
    errors = []
    for own, other in zip(ours, expected, strict=True):
        assert own.shape == other.shape
        assert float(other.flatten(1).norm(dim=1).min()) > 0
        errors.append(float(((own - other).flatten(1).norm(dim=1) / other.flatten(1).norm(dim=1)).max()))
    return max(errors)


def fast(network: CordsNet, **options: Any) -> Simulator:
    """A simulator that is known to use the engine."""
    made = Simulator(network, engine=Fast(), **options)
    made.spontaneous(steps=1)
    assert isinstance(made.engine, Fast)
    assert made.engine.why_not_fast == ""
    assert made.engine.description == "Winograd products by numba"
    return made


class TestSteps:
    # maps of 8 4 2 1, of 9 5 3 2 with tiles that reach beyond them, and of 16 8 4 2
    @pytest.mark.parametrize(("size", "counts"), [(32, (1, 7)), (35, (1, 7)), (64, (1, 2, 9))])
    def test_they_are_those_of_convolutions(self, pair: Pair, threads: int, size: int, counts: tuple[int, ...]) -> None:
        ours, plain = pair(size)
        for count in counts:
            x = images(count, size, seed=count)
            states = [simulator.spontaneous(count, steps=2) for simulator in (ours, plain)]
            for steps in (1, 4, 13):
                sums = [[torch.ones_like(state[area]) for area in (1, 4, 7)] for state in states]
                for simulator, state, total in zip((ours, plain), states, sums, strict=True):
                    simulator.step_summed(state, simulator.drives(x), total, steps)
                assert furthest(states[0] + sums[0], states[1] + sums[1]) < 1e-5, (count, steps)

    def test_large_maps_are_done_in_strips(self, random_network: Maker) -> None:
        network = random_network(4, image_size=167)  # maps of 42 42 21 21
        ours, plain = fast(network), Simulator(network, engine=Portable())
        x = images(2, 167)
        states = [simulator.spontaneous(2, steps=1) for simulator in (ours, plain)]
        for simulator, state in zip((ours, plain), states, strict=True):
            simulator.step(state, simulator.drives(x), 3)
        assert furthest(*states) < 1e-5

    @pytest.mark.parametrize("areas", [0, 2, 3, 5])
    def test_areas_above_are_left_out(self, pair: Pair, areas: int) -> None:
        whole, x = pair(35)[0], images(3, 35)
        part = fast(whole.network, areas=areas)
        expected, ours = whole.spontaneous(3, steps=2), part.spontaneous(3, steps=2)
        whole.step(expected, whole.drives(x), 5)
        part.step(ours, part.drives(x), 5)
        assert len(ours) == areas + 1
        assert all(torch.equal(own, other) for own, other in zip(ours, expected, strict=False))

    def test_every_run_is_the_same_however_its_steps_are_called_for(self, pair: Pair, threads: int) -> None:
        simulator, _ = pair(35)
        for count in (1, 9):
            x, ends = images(count, 35), []
            for calls in ((29,), (29,), (3, 11, 15), (1,) * 29):
                state = simulator.spontaneous(count, steps=3)
                for steps in calls:
                    simulator.step(state, simulator.drives(x), steps)
                ends.append(state)
            for end in ends[1:]:
                assert all(torch.equal(own, other) for own, other in zip(end, ends[0], strict=True))

    def test_drives_of_its_own_for_every_image_and_tensors_of_any_layout(self, random_network: Maker) -> None:
        network = random_network(4, image_size=33)
        ours, plain = fast(network), Simulator(network, engine=Portable())
        generator = torch.Generator().manual_seed(5)
        shapes = [r.shape for r in ours.zero_state(5)]
        drives = [torch.randn(shape, generator=generator) for shape in shapes]
        state = [torch.rand(shape, generator=generator) for shape in shapes]  # channels first
        expected = [r.contiguous(memory_format=torch.channels_last) for r in state]
        ours.step(state, drives, 6)
        plain.step(expected, drives, 6)
        assert furthest(state, expected) < 1e-5

    def test_many_images_are_shown_in_turn(self, pair: Pair, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine_module, "LARGEST_ROOM", 1)
        ours, plain = fast(pair(35)[0].network), pair(35)[1]
        for count in (31, 3, 26):
            x = images(count, 35, seed=count)
            states = [simulator.spontaneous(count, steps=2) for simulator in (ours, plain)]
            for simulator, state in zip((ours, plain), states, strict=True):
                simulator.step(state, simulator.drives(x), 5)
            assert furthest(*states) < 1e-5
        assert isinstance(ours._whole, engine_module.FastSteps)
        assert max(room.images for room in ours._whole.rooms.values()) <= engine_module.FEWEST_IN_TURN

    def test_drives_of_one_image_are_those_of_all(self, random_network: Maker, threads: int) -> None:
        ours = fast(random_network(4, image_size=33))
        x = images(1, 33)
        one, all_ = ours.spontaneous(13), ours.spontaneous(13)
        ours.step(one, ours.drives(x), 3)
        ours.step(all_, ours.drives(x.repeat(13, 1, 1, 1)), 3)
        assert furthest(one, all_) < 1e-6
        with pytest.raises(InputError, match="drives: are those of 2 images but there are rates of 13"):
            ours.step(one, ours.drives(images(2, 33)), 3)

    def test_two_callers_at_once(self, random_network: Maker) -> None:
        simulator = fast(random_network(4, image_size=48))
        given = [images(count, 48, seed=count) for count in (2, 5)]
        expected = [simulator.settle(x, steps=30) for x in given]
        ends: dict[int, list[Tensor]] = {}

        def work(number: int) -> None:
            ends[number] = simulator.settle(given[number], steps=30)

        side_by_side(work, 2)
        for number in range(2):
            assert all(torch.equal(own, other) for own, other in zip(ends[number], expected[number], strict=True))

    @pytest.mark.slow
    def test_over_500_steps_of_images_and_of_a_task_s_frames(self) -> None:
        from cordstasks.tasks import get

        network = load("cordsnet-r8")
        ours, plain = fast(network), Simulator(network, engine=Packed())
        rng = np.random.default_rng(0)
        still = [rng.integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)]
        movies = [trial.movie for trial in get("rdm").trials(6, seed=3)]
        moving = [np.stack([m.frames[m.at(2.0 * step % m.duration_ms)] for m in movies]) for step in range(0, 500, 6)]
        for frames in (still, moving):
            states = [simulator.spontaneous(6) for simulator in (ours, plain)]
            for step in range(0, 500, 6):
                x = network.preprocess(frames[step // 6 % len(frames)])
                for simulator, state in zip((ours, plain), states, strict=True):
                    simulator.step(state, simulator.drives(x), min(6, 500 - step))
                assert furthest(*states) < 1e-5, step


class TestFallback:
    def check_the_other_engine_ran(self, network: CordsNet, why: str) -> None:
        simulator, packed = Simulator(network, engine=Fast()), Simulator(network, engine=Packed())
        x = images(2, 32)
        assert all(map(torch.equal, simulator.settle(x, steps=3), packed.settle(x, steps=3)))
        assert isinstance(simulator.engine, Fast)
        assert why in simulator.engine.why_not_fast
        assert packed.engine.description == "convolutions by oneDNN"
        assert simulator.engine.description == f"convolutions by oneDNN (numba: {simulator.engine.why_not_fast})"

    def test_wrong_numbers(self, random_network: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
        right = Algorithm.of_kernels
        monkeypatch.setattr(Algorithm, "of_kernels", lambda self, weight: 1.001 * right(self, weight))
        self.check_the_other_engine_ran(random_network(4), "ArithmeticError: two steps differ by")

    def test_an_unfit_processor(self, random_network: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cordstasks.cordsnet.engines.fast.vectors.SUPPORTED", False)
        self.check_the_other_engine_ran(random_network(2), "this processor has no AVX2")

    def test_a_compiler_that_fails(self, random_network: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*arguments: object) -> None:
            raise OSError("no space left")

        monkeypatch.setattr("cordstasks.cordsnet.engines.fast.room.advance", fail)
        self.check_the_other_engine_ran(random_network(2), "OSError: no space left")

    def test_numba_that_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert type(engine_for(torch.device("cpu"))) is Fast
        assert type(engine_for(torch.device("cpu"), "bfloat16")) is not Fast
        monkeypatch.setattr(engine_module.importlib.util, "find_spec", lambda name: None)
        assert type(engine_for(torch.device("cpu"))) is Packed


ELSEWHERE = """
import torch
from cordstasks.cordsnet import CordsNet
from cordstasks.cordsnet.engines import Fast, Portable
from cordstasks.cordsnet.engines.fast import areas
from cordstasks.cordsnet.simulator import Simulator
from cordstasks.utils.vectors import LANES

torch.manual_seed(0)
network = CordsNet(4, image_size=40)
x = torch.randn(3, 3, 40, 40)
ours, plain = Simulator(network, engine=Fast()), Simulator(network, engine=Portable())
for own, other in zip(ours.settle(x, steps=5), plain.settle(x, steps=5)):
    assert float((own - other).norm() / other.norm()) < 1e-5
print(LANES, areas.advance._cache.__class__.__name__, ours.engine.why_not_fast)
"""


def printed_elsewhere(**variables: str) -> str:
    """What `ELSEWHERE` prints in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_on_a_processor_with_avx2_only() -> None:
    from cordstasks.cordsnet.engines.fast.vectors import SUPPORTED

    if not SUPPORTED:
        pytest.skip("this processor has no AVX2")
    features = "+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+popcnt,+sse4.2"
    assert printed_elsewhere(NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES=features) == "8 FunctionCache"


def test_on_a_processor_without_it() -> None:
    printed = printed_elsewhere(NUMBA_CPU_NAME="nehalem", NUMBA_CPU_FEATURES="+sse4.2,+popcnt")
    assert printed == "8 FunctionCache NotImplementedError: this processor has no AVX2"


@pytest.mark.slow
def test_where_compiled_code_cannot_be_kept() -> None:
    printed = printed_elsewhere(NUMBA_CACHE_LOCATOR_CLASSES="IPythonCacheLocator")  # which is for other files than this
    assert printed in ("8 NullCache", "16 NullCache")
