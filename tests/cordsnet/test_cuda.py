"""What runs on an accelerator, against the CPU. Every test runs on the CPU's engine too, so that its body is tried."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cordstasks import tasks
from cordstasks.cordsnet import CordsNet
from cordstasks.cordsnet.engines import Cuda, Portable, cuda
from cordstasks.cordsnet.engines.fused import FusedSteps
from cordstasks.cordsnet.engines.graphs import SIZES_KEPT, WORTH_CAPTURING, padded
from cordstasks.cordsnet.engines.layers import LayerSteps
from cordstasks.cordsnet.simulator import Simulator
from cordstasks.frontend import Features, FrontEnd
from cordstasks.frontend.frontend import STEP_MS, WARMUP_MS
from cordstasks.frontend.histories import Cost
from cordstasks.model import MultiAreaModel
from cordstasks.rnn import RNN
from cordstasks.stimuli import Movie
from cordstasks.tasks import TrialBatch
from cordstasks.training.distillation import Teacher
from cordstasks.training.settings import VisualSettings
from cordstasks.training.trials import TrialSet, trial_set
from cordstasks.training.visual import train
from cordstasks.utils.run_folder import RunFolder
from helpers import ctrl_c

Maker = Callable[..., CordsNet]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]

# largest difference from the float32 definition on the CPU, relative to an area's largest activity: TF32 keeps eleven
# significant bits of each factor, bfloat16 eight, and a few roundings add up from area to area
BOUNDS = {"float32": 1e-5, "tf32": 5e-3, "bfloat16": 4e-2}


def images(count: int, size: int, *, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def error(ours: Tensor, expected: Tensor) -> float:
    assert float(expected.abs().max()) > 0
    return float((ours.cpu() - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(
    ("device", "precision"),
    [
        ("cpu", "float32"),
        ("cpu", "bfloat16"),
        *(pytest.param("cuda", precision, marks=pytest.mark.cuda) for precision in BOUNDS),
    ],
)
class TestSimulator:
    def test_activity_is_the_definition_s_on_the_cpu(self, random_network: Maker, device: str, precision: str) -> None:
        network = random_network(8, image_size=48)
        simulator = Simulator(network, device=device, precision=precision)
        x = images(3, 48)
        steps = {"blank_steps": 4, "image_steps": 6, "after_steps": 2}
        expected, ours = network.record(x, **steps), simulator.record(x, **steps)
        for area in range(8):
            assert ours[area].device.type == device
            assert ours[area].dtype == torch.float32
            assert error(ours[area], expected[area]) < BOUNDS[precision], area

    def test_steps_taken_together_and_batches_of_several_sizes(
        self, random_network: Maker, device: str, precision: str
    ) -> None:
        # what is replayed was captured once for each size of batch, and must not keep one call's images for the next
        network = random_network(4)
        simulator = Simulator(network, device=device, precision=precision)
        for count, seed, steps in ((2, 1, 5), (3, 2, 4), (2, 3, 7), (3, 4, 1), (2, 1, 5)):
            x = images(count, 32, seed=seed)
            rates = [r.to(simulator.device) for r in network.zero_state(count)]
            rates = [r.contiguous(memory_format=torch.channels_last) for r in rates]
            simulator.step(rates, simulator.drives(x), steps)
            recorded = network.record(x, blank_steps=0, image_steps=steps + 3)
            for area in range(4):
                assert error(rates[area], recorded[area][steps - 1]) < BOUNDS[precision], (count, seed, area)
            total = torch.zeros_like(rates[-1])
            simulator.step_summed(rates, simulator.drives(x), [total], 3)
            assert error(total, recorded[3][steps:].sum(0)) < BOUNDS[precision]

    @pytest.mark.parametrize("count", [33, 128, 200])
    def test_many_images(self, random_network: Maker, device: str, precision: str, count: int) -> None:
        if device == "cpu":
            count = 5
        network = random_network(8)
        simulator = Simulator(network, device=device, precision=precision)
        x = images(count, 32)
        some = [0, count // 2, count - 1]
        expected = network.record(x[some], blank_steps=0, image_steps=12)
        rates = simulator.zero_state(count)
        simulator.step(rates, simulator.drives(x), 12)
        for area in range(8):
            assert error(rates[area][some], expected[area][-1]) < BOUNDS[precision], area


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
@pytest.mark.parametrize("count", [1, 16, 64, 128])
def test_the_fused_kernel_is_used_where_there_is_triton(random_network: Maker, precision: str, count: int) -> None:
    pytest.importorskip("triton")
    engine = Cuda(precision)
    simulator = Simulator(random_network(8), device="cuda", engine=engine)
    simulator.step(simulator.zero_state(count), simulator.drives(images(count, 32)), 10)
    assert engine.fused, engine.why_not_fused


@dataclass
class FakeGraph:
    """A graph that holds what was called while it was captured, and calls it when replayed."""

    calls: list[Callable[[], None]] = field(default_factory=list)

    def replay(self) -> None:
        for call in self.calls:
            call()


class FakeCuda:
    """The part of torch.cuda that replaying a graph needs, on the CPU; `captures` counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.captures = 0
        self.capturing: FakeGraph | None = None
        nothing = contextlib.nullcontext()
        waiting = type("Stream", (), {"wait_stream": lambda self, other: None})
        for name, stand_in in {
            "Stream": waiting,
            "current_stream": waiting,
            "stream": lambda stream: nothing,
            "device": lambda device: nothing,
            "graph_pool_handle": lambda: None,
            "CUDAGraph": FakeGraph,
            "graph": self.capture,
        }.items():
            monkeypatch.setattr(torch.cuda, name, stand_in)
        for kind in (LayerSteps, TorchSteps):
            monkeypatch.setattr(kind, "step", self.capturable(kind.step))
        monkeypatch.setattr(cuda, "FusedSteps", TorchSteps)

    @contextlib.contextmanager
    def capture(self, graph: FakeGraph, pool: None) -> Iterator[None]:
        self.captures += 1
        self.capturing = graph
        yield
        self.capturing = None

    def capturable(self, step: Callable[[Any, int], None]) -> Callable[[Any, int], None]:
        """`step`, which a capture notes down instead of taking it."""

        def either(steps: Any, number: int) -> None:
            if self.capturing is None:
                step(steps, number)
            else:
                self.capturing.calls.append(lambda: step(steps, number))

        return either


class TorchSteps(FusedSteps):
    """What the kernel computes, in torch, from the tables and the packed weights that the kernel reads."""

    def step(self, number: int) -> None:
        source, target = self.buffers[number % 2].float(), self.buffers[1 - number % 2]
        for tiling, (units, areas, *_), count in self.launches:
            assert count == len(units)
            for area in sorted({int(unit[0]) for unit in units}):
                side, blocks, base, shown, several, summed, parts, weight, *read = areas[area].tolist()
                tiles = [tuple(unit[1:4].tolist()) for unit in units if unit[0] == area]
                down, across = -(-(side**2) * self.batch // tiling.rows), 64 * blocks // tiling.channels
                assert sorted(tiles) == list(itertools.product(range(down), range(across), range(parts)))
                summands = [self.product(source, side, blocks, weight, read[6 * n :][:6]) for n in range(read[18])]
                drive = self.drive[64 * shown :][: 64 * side**2 * blocks * (self.batch if several else 1)]
                total = sum(summands) + drive.view(side, side, blocks, -1, 64)
                own = slice(64 * base * self.batch, 64 * (base + side**2 * blocks) * self.batch)
                state = self.state[own].view(side, side, blocks, self.batch, 64)
                state.lerp_(total.relu(), self.wiring.alpha)
                target[own] = self.wiring.sent(state.flatten())
                if summed >= 0:
                    self.total[64 * summed * self.batch :][: state.numel()] += state.flatten()

    def product(self, source: Tensor, side: int, blocks: int, weight: int, read: list[int]) -> Tensor:
        base, below, log, stride, dilation, start = read
        seen = source[64 * base * self.batch :][: 64 * below**2 * 2**log * self.batch]
        seen = seen.view(below, below, 2**log, self.batch, 64)
        first = weight + start * 64 * blocks
        taps = self.wiring.packed[first : first + 9 * 2**log * 64 * blocks].float().view(9, 2**log, 64 * blocks, 64)
        out = torch.zeros(side, side, self.batch, 64 * blocks)
        for y, x in itertools.product(range(3), range(3)):
            down, across = (stride * torch.arange(side) + dilation * (tap - 1) for tap in (y, x))
            rows, columns = ((at >= 0) & (at < below) for at in (down, across))
            part = seen[down[rows]][:, across[columns]]
            out[rows[:, None] & columns] += torch.einsum("yxkbc,knc->yxbn", part, taps[3 * y + x]).flatten(0, 1)
        return out.unflatten(3, (blocks, 64)).transpose(2, 3)


class TestWholeStepsWithoutADevice:
    """Layouts, tables and the bookkeeping around CUDA graphs, with stand-ins for the graphs and for the kernel."""

    @pytest.mark.parametrize(
        ("precision", "size", "areas"),
        [
            ("float32", 32, 7),
            ("tf32", 32, 7),
            ("bfloat16", 32, 7),
            ("tf32", 56, (2, 6)),
            ("float32", 56, (2, 4)),
            ("tf32", 32, 0),
        ],
    )
    def test_steps_are_the_definition_s(
        self, random_network: Maker, monkeypatch: pytest.MonkeyPatch, precision: str, size: int, areas: Any
    ) -> None:
        fake = FakeCuda(monkeypatch)
        network = random_network(8, image_size=size)  # 56 px: odd maps
        engine = Cuda(precision)
        simulator = Simulator(network, areas=areas, engine=engine)
        read, depth, bound = simulator.areas, simulator.depth, BOUNDS[precision]
        for count, seed, steps in ((2, 1, 3), (3, 2, 9), (2, 3, 6), (1, 4, 0), (3, 4, 2)):
            generator = torch.Generator().manual_seed(seed)
            start = [torch.rand(r.shape, generator=generator) for r in network.zero_state(count)]
            x = images(count, size, seed=seed)
            drives = simulator.drives(x)
            rates = [r.clone().contiguous(memory_format=torch.channels_last) for r in start[:depth]]
            totals = [torch.full_like(rates[area], 0.5) for area in read]
            with torch.no_grad():
                states = [start, *network.run(start, network.drive(x), steps + 1)]
            simulator.step_summed(rates, drives, totals, steps)
            for total, area in zip(totals, read, strict=True):
                shown = [torch.full_like(total, 0.5), *(state[area] for state in states[1 : steps + 1])]
                assert error(total, torch.stack(shown).sum(0)) < bound
            for area in range(depth):
                assert error(rates[area], states[steps][area]) < bound, (count, area)
            simulator.step(rates, drives)
            for area in range(depth):
                assert error(rates[area], states[steps + 1][area]) < bound, (count, area)
        assert engine.fused == (precision != "float32"), engine.why_not_fused
        assert fake.captures > 3

    def test_drives_written_to_between_calls_are_read_again(
        self, random_network: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        FakeCuda(monkeypatch)
        network = random_network(2)
        simulator, plain = (Simulator(network, engine=engine) for engine in (Cuda("float32"), Portable()))
        x = images(2, 32)
        drives, (ours, expected) = simulator.drives(x), ([r.clone() for r in simulator.zero_state(2)] for _ in range(2))
        for change in (0.0, 1.0, 0.0, -2.0):
            drives[0] += change
            simulator.step(ours, drives, 5)
            plain.step(expected, drives, 5)
            assert error(ours[1], expected[1]) < 1e-5

    def test_the_same_steps_are_captured_once(self, random_network: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
        fake = FakeCuda(monkeypatch)
        simulator = Simulator(random_network(2), engine=Cuda("float32"))
        for count in (5, 6, 7, 8, 5):  # all of them in a batch of eight
            rates = simulator.zero_state(count)
            simulator.step(rates, simulator.drives(images(count, 32)), 10)
        assert fake.captures == 2  # of eight steps and of two

    def test_few_steps_are_not_captured(self, random_network: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
        fake = FakeCuda(monkeypatch)
        simulator = Simulator(random_network(2), engine=Cuda("float32"))
        rates = simulator.zero_state(2)
        for taken in range(1, 10):
            simulator.step(rates, simulator.drives(images(2, 32)))
            assert fake.captures == (taken >= WORTH_CAPTURING)

    def test_keeps_a_few_sizes_of_batch_only(self, random_network: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
        FakeCuda(monkeypatch)
        simulator = Simulator(random_network(2), engine=Cuda("float32"))
        for batch in (1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 1):
            simulator.step(simulator.zero_state(batch), simulator.drives(images(batch, 32)))
            assert len(simulator._repeat.kept) <= SIZES_KEPT

    def test_drives_of_zero_do_not_spoil_the_check(self, monkeypatch: pytest.MonkeyPatch) -> None:
        FakeCuda(monkeypatch)
        engine = Cuda("tf32")
        Simulator(CordsNet(2, image_size=32), engine=engine).spontaneous(steps=2)
        assert engine.fused, engine.why_not_fused

    def test_a_kernel_that_is_wrong_is_not_used(self, random_network: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
        FakeCuda(monkeypatch)
        right = TorchSteps.product

        def wrong(self: TorchSteps, source: Tensor, side: int, blocks: int, weight: int, read: list[int]) -> Tensor:
            return right(self, source, side, blocks, weight, read) * (1.1 if side == 2 else 1)

        monkeypatch.setattr(TorchSteps, "product", wrong)
        engine = Cuda("tf32")
        network = random_network(6)
        simulator = Simulator(network, engine=engine)
        x = images(2, 32)
        ours, expected = (made.record(x, blank_steps=2, image_steps=9) for made in (simulator, network))
        assert "differs by" in engine.why_not_fused
        assert not engine.fused
        for area in range(6):
            assert error(ours[area], expected[area]) < 1e-5

    @pytest.mark.parametrize(("batch", "size"), [(1, 1), (3, 4), (32, 32), (33, 64), (64, 64), (65, 128), (512, 512)])
    def test_sizes_of_batch_are_few(self, batch: int, size: int) -> None:
        assert padded(batch) == size

    @pytest.mark.parametrize(("precision", "tf32"), [("float32", False), ("tf32", True), ("bfloat16", True)])
    def test_products_are_in_the_precision_asked_for(
        self, monkeypatch: pytest.MonkeyPatch, precision: str, tf32: bool
    ) -> None:
        seen: list[tuple[bool, torch.dtype]] = []
        plain = torch.nn.functional.conv2d

        def noted(x: Tensor, weight: Tensor, **options: Any) -> Tensor:
            seen.append((torch.backends.cudnn.allow_tf32, weight.dtype))
            return plain(x, weight, **options)

        monkeypatch.setattr(torch.nn.functional, "conv2d", noted)
        before = torch.backends.cudnn.allow_tf32
        convolution = Cuda(precision).convolution(torch.randn(4, 3, 3, 3), 1)
        convolution(torch.randn(1, 3, 5, 5))
        assert seen == [(tf32, torch.bfloat16 if precision == "bfloat16" else torch.float32)]
        assert torch.backends.cudnn.allow_tf32 == before

    def test_every_convolution_goes_through_the_engine(self, random_network: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
        # one that does not would be in TF32 on a CUDA device whatever precision was asked for
        class Counting(Portable):
            def __init__(self) -> None:
                super().__init__()
                self.inside = 0

            def convolution(self, weight: Tensor, stride: int) -> Callable[..., Tensor]:
                applied = super().convolution(weight, stride)

                def apply(x: Tensor, add: Tensor | None = None, *, relu: bool = False) -> Tensor:
                    self.inside += 1
                    return applied(x, add, relu=relu)

                return apply

        calls = []
        plain = torch.nn.functional.conv2d
        monkeypatch.setattr(torch.nn.functional, "conv2d", lambda *a, **k: calls.append(1) or plain(*a, **k))
        engine = Counting()
        Simulator(random_network(4), engine=engine).settle(images(1, 32), steps=2)
        assert len(calls) == engine.inside > 100


@pytest.mark.parametrize("device", DEVICES)
def test_features_are_the_definition_s_on_the_cpu(random_network: Maker, tmp_path: Path, device: str) -> None:
    network = random_network(4)
    rng = np.random.default_rng(4)
    frames = rng.integers(0, 256, (3, 32, 32, 1), dtype=np.uint8)
    movies = [
        Movie(frames, [0.0, 12.0, 22.0], duration_ms=40.0),
        Movie(frames[::-1], [0.0, 8.0, 20.0], duration_ms=24.0),
    ]
    expected = torch.zeros(2, 5, 128 * 4 * 4)
    with torch.no_grad():
        for trial, movie in enumerate(movies):
            *_, rates = network.run(network.zero_state(1), network.drive(None), 100)
            shown = network.preprocess(movie.frames)
            *_, rates = network.run(rates, network.drive(shown[movie.at([0.0])]), round(WARMUP_MS / STEP_MS))
            for step in range(int(movie.duration_ms / STEP_MS)):
                rates = network.step(rates, network.drive(shown[movie.at([step * STEP_MS])]))
                expected[trial, step // 4] += rates[-1][0].flatten() / 4
    # a network of its own, since the front-end moves the one that it is given
    front_end = FrontEnd(random_network(4), device=device, bank=tmp_path, precision="float32", tolerance=0)
    features = front_end.features(movies, dt=8.0)
    assert features.cost.simulated > 0
    ours = features.to(front_end.device).take(slice(0, 2))
    assert ours.device.type == device
    torch.testing.assert_close(ours.cpu(), expected, rtol=2**-11 + 1e-4, atol=1e-4)  # kept in half precision
    again = FrontEnd(random_network(4), device=device, bank=tmp_path, precision="float32", tolerance=0)
    kept = again.features(movies, dt=8.0)
    assert kept.cost.simulated == 0
    assert torch.equal(kept.take(slice(0, 2)), features.take(slice(0, 2)))


def trials(count: int, seed: int, device: torch.device) -> TrialSet:
    """Trials of six steps whose answer, 1 or 2, is the sign of a feature at two steps, due at the last step."""
    rng = np.random.default_rng(seed)
    answers = rng.integers(1, 3, count)
    features = rng.normal(size=(count, 6, 5))
    features[:, 2:4, 1] += 2.0 * (2 * answers[:, None] - 3)
    targets, mask = np.zeros((count, 6), np.int64), np.full((count, 6), 0.1, np.float32)
    targets[:, -1], mask[:, -1] = answers, 1
    batch = TrialBatch(
        movies=(Movie.still(np.zeros((1, 1, 1), np.uint8), 120.0),) * count,
        dt=20.0,
        targets=targets,
        mask=mask,
        conditions={"side": answers},
        periods={"motion": np.tile([40.0, 100.0], (count, 1))},
        response_mask=targets > 0,
        answers=answers,
        options=(1, 2),
        answer_from=np.full(count, 100.0),
    )
    rows = torch.from_numpy(features.reshape(-1, 5).astype(np.float16))
    index = torch.arange(count * 6).reshape(count, 6)
    return trial_set(Features(rows, index, Cost()), batch, device, tasks.get("rdm"))


@pytest.mark.parametrize("taught", [False, True])
@pytest.mark.parametrize("device", DEVICES)
def test_an_interrupted_training_continues_to_the_same_weights(tmp_path: Path, device: str, taught: bool) -> None:
    where = torch.device(device)
    data = trials(30, 1, where), trials(20, 2, where)
    settings = VisualSettings("rdm", steps=14, batch=8, learning_rate=0.01, mix=taught, evaluate_every=4, seed=3)
    square = torch.randn(5, 5, generator=torch.Generator().manual_seed(1)).to(where)
    teacher = Teacher(square[0], square, square - square.T, (1,)) if taught else None
    finals = []
    for name, stops in (("whole", [None]), ("pieces", [5, 4, None])):
        folder = tmp_path / name
        folder.mkdir()
        for stop in stops:
            rnn = RNN(5, 11, 3, noise=0.05, generator=torch.Generator().manual_seed(0))
            model = MultiAreaModel(rnn, 5).to(where)
            arguments = (model, *data, settings, RunFolder(folder))
            if stop is not None:
                with ctrl_c(stop), pytest.raises(KeyboardInterrupt):
                    train(*arguments, teacher=teacher, save_seconds=-1.0)
            else:
                assert train(*arguments, teacher=teacher, save_seconds=-1.0)["steps"] == 14
        final = torch.load(folder / "checkpoint.pt", map_location=where, weights_only=True)["model"]
        assert {value.device.type for value in final.values()} == {device}
        assert {value.device.type for value in model.state_dict().values()} == {device}
        finals.append((final, model.state_dict()))
    for ours, expected in zip(*finals, strict=True):
        assert all(torch.equal(ours[key], expected[key]) for key in expected)
    assert RunFolder(tmp_path / "whole").log.read() == RunFolder(tmp_path / "pieces").log.read()
