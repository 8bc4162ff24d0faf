"""The front-end: what its features are, when they are computed anew, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cordstasks.cordsnet import CordsNet, Preprocessing, save
from cordstasks.errors import InputError
from cordstasks.frontend import Features, FrontEnd
from cordstasks.frontend import frontend as module
from cordstasks.frontend.bank import Bank
from cordstasks.frontend.histories import Cost
from cordstasks.frontend.work import Piece
from cordstasks.stimuli import Movie
from cordstasks.utils.devices import resolve
from helpers import settling_cordsnet, tiny_cordsnet

HALF = 2.0**-11  # largest relative rounding error of a float16


@pytest.fixture(autouse=True)
def short_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten steps instead of a hundred; what they are for is tested with the histories."""
    monkeypatch.setattr(module, "WARMUP_MS", 20.0)


@pytest.fixture(scope="module")
def network() -> CordsNet:
    return settling_cordsnet(0.5)


@pytest.fixture
def make(network: CordsNet, tmp_path: Path) -> Callable[..., FrontEnd]:
    def front_end(weights: CordsNet | str | Path = network, **options: Any) -> FrontEnd:
        return FrontEnd(weights, **{"device": "cpu", "bank": tmp_path / "bank", **options})

    return front_end


def noise_movies(count: int, *, seed: int = 0) -> list[Movie]:
    """Movies of noise with nothing in common, 24 and 32 ms long by turns."""
    rng = np.random.default_rng(seed)
    return [
        Movie(rng.integers(0, 256, (2, 32, 32, 1), np.uint8), [0.0, 14.0], duration_ms=24.0 + 8 * (number % 2))
        for number in range(count)
    ]


class Counted:
    """Counts, or forbids, what a front-end simulates."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, forbidden: bool = False) -> None:
        self.sizes: list[int] = []
        piece = FrontEnd._piece

        def counted(front_end: FrontEnd, key: str, movies: Sequence[Movie], *how: Any) -> Piece:
            assert not forbidden, "these features were simulated already"
            self.sizes.append(len(movies))
            return piece(front_end, key, movies, *how)

        monkeypatch.setattr(FrontEnd, "_piece", counted)


class TestFeatures:
    """Rows and an index against the arrays they stand for."""

    @pytest.fixture
    def stored(self) -> tuple[Features, NDArray[np.float64]]:
        rng = np.random.default_rng(2)
        rows = rng.normal(3, 2, (6, 4)).astype(np.float16)
        index = np.array([[0, 1, 1, 5, 4], [2, 2, 0, -1, -1], [3, 3, 3, 3, -1]])
        whole = np.where(index[..., None] >= 0, rows[index].astype(np.float64), 0)
        return Features(torch.from_numpy(rows), torch.from_numpy(index), Cost()), whole

    def test_sizes(self, stored: tuple[Features, NDArray[np.float64]]):
        features, whole = stored
        assert (len(features), features.steps, features.units) == whole.shape

    @pytest.mark.parametrize("trials", [slice(None), slice(1, 3), slice(0, 1), torch.tensor([2, 0, 2])])
    def test_take(self, stored: tuple[Features, NDArray[np.float64]], trials: slice | torch.Tensor):
        features, whole = stored
        taken = features.take(trials)
        assert taken.dtype == torch.float32
        np.testing.assert_array_equal(taken.numpy(), whole[trials if isinstance(trials, slice) else trials.numpy()])

    def test_statistics_leave_out_what_lies_beyond_a_trials_end(self, stored: tuple[Features, NDArray[np.float64]]):
        features, whole = stored
        there = whole[features.index.numpy() >= 0]
        mean, deviation = features.statistics()
        np.testing.assert_allclose(mean.numpy(), there.mean(0), rtol=1e-6)
        np.testing.assert_allclose(deviation.numpy(), there.std(0), rtol=1e-6)

    def test_statistics_of_many_rows(self):
        rng = np.random.default_rng(3)
        rows = rng.normal(50, 0.5, (20_000, 2)).astype(np.float16)  # more than are summed at a time, far from zero
        index = rng.integers(0, len(rows), (300, 111))
        mean, deviation = Features(torch.from_numpy(rows), torch.from_numpy(index), Cost()).statistics()
        whole = rows[index].astype(np.float64).reshape(-1, 2)
        np.testing.assert_allclose(mean.numpy(), whole.mean(0), rtol=1e-6)
        np.testing.assert_allclose(deviation.numpy(), whole.std(0), rtol=1e-4)


class TestWhatItComputes:
    def test_pooled_features_are_the_means_of_the_maps(self, make: Callable[..., FrontEnd]):
        movies = noise_movies(3)
        flat, pooled = make(), make(readout="pool")
        assert (flat.units, pooled.units, flat.image_size) == (64 * 8 * 8, 64, 32)
        maps = flat.features(movies, dt=8).take(slice(None)).view(3, 4, 64, 64)
        found = pooled.features(movies, dt=8).take(slice(None))
        torch.testing.assert_close(found, maps.mean(3), rtol=2 * HALF, atol=1e-4)

    def test_longer_steps_average_shorter_ones(self, make: Callable[..., FrontEnd]):
        movies = noise_movies(2)
        fine = make(tolerance=0).features(movies, dt=4).take(slice(None))
        coarse = make(tolerance=0).features(movies, dt=8).take(slice(None))
        assert (fine.shape[1], coarse.shape[1]) == (8, 4)
        torch.testing.assert_close(coarse, (fine[:, ::2] + fine[:, 1::2]) / 2, rtol=3 * HALF, atol=1e-6)

    def test_shorter_trials_end_in_zeros(self, make: Callable[..., FrontEnd]):
        features = make().features(noise_movies(3), dt=8)
        assert (features.index >= 0).sum(1).tolist() == [3, 4, 3]
        assert not features.take(slice(None))[::2, 3].any()

    def test_weights_may_be_a_file(self, make: Callable[..., FrontEnd], network: CordsNet, tmp_path: Path):
        save(network, tmp_path / "r2.safetensors")
        assert make(tmp_path / "r2.safetensors").digest() == make().digest()


def doubled(network: CordsNet) -> None:
    for parameter in network.parameters():
        parameter.data.mul_(2)


CHANGES: dict[str, Callable[[CordsNet], Any]] = {
    "in place": doubled,
    "other weights": lambda network: network.load_state_dict(tiny_cordsnet().state_dict()),
    "half": lambda network: network.half(),
    "double": lambda network: network.double(),
    "tau": lambda network: setattr(network, "tau", 4.0),
}
CALLERS_CHANGES = {
    **CHANGES,
    "moved": lambda network: network.to("meta"),
    "preprocessing": lambda network: setattr(network, "preprocessing", Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))),
}


class TestACallersNetwork:
    @pytest.mark.parametrize(
        ("whose", "change"),
        [*(("caller's", change) for change in CALLERS_CHANGES), *(("front-end's", change) for change in CHANGES)],
    )
    def test_what_becomes_of_it_changes_nothing(self, whose: str, change: str, tmp_path: Path):
        """Nor does what becomes of the network that the front-end shows."""
        given, movies = settling_cordsnet(0.5), noise_movies(1)
        front_end = FrontEnd(given, device="cpu", bank=False, tolerance=0)
        digest, before = front_end.digest(), front_end.features(movies, dt=8).rows.clone()
        CALLERS_CHANGES[change](given if whose == "caller's" else front_end.network)
        front_end.bank = Bank(tmp_path)
        torch.testing.assert_close(front_end.features(movies, dt=8).rows, before, rtol=0, atol=0)
        assert front_end.digest() == digest
        # so the bank names them rightly, too
        again = FrontEnd(settling_cordsnet(0.5), device="cpu", bank=tmp_path, tolerance=0).features(movies, dt=8)
        assert again.cost.simulated == 0

    @pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
    def test_it_stays_as_it_is(self, dtype: torch.dtype):
        given = settling_cordsnet(0.5).to(dtype)
        state = {name: value.clone() for name, value in given.state_dict().items()}
        front_end = FrontEnd(given, device="cpu", bank=False, tolerance=0)
        front_end.features(noise_movies(1), dt=8)
        front_end.network.float()
        for name, value in given.state_dict().items():
            assert value.dtype == dtype
            assert torch.equal(value, state[name])
        assert front_end.network is not given
        assert front_end.digest() == FrontEnd(settling_cordsnet(0.5).to(dtype).float(), device="cpu", bank=False).digest()


class TestWhatIsKept:
    def test_the_second_time_nothing_is_simulated(self, make: Callable[..., FrontEnd], monkeypatch: pytest.MonkeyPatch):
        movies = noise_movies(3)
        first = make().features(movies, dt=8)
        assert (first.cost.requested, first.cost.simulated) == (12 + 16 + 12, 3 * 10 + 40)
        Counted(monkeypatch, forbidden=True)
        second = make().features(noise_movies(3), dt=8)
        assert (second.cost.requested, second.cost.simulated) == (0, 0)
        torch.testing.assert_close(second.take(slice(None)), first.take(slice(None)), rtol=0, atol=0)

    def test_without_a_bank_nothing_is_written(self, make: Callable[..., FrontEnd], tmp_path: Path):
        front_end = make(bank=False)
        front_end.features(noise_movies(1), dt=8)
        assert front_end.bank is None
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("position", [0, 30, 500, -1])
    def test_a_damaged_shard_is_computed_again(self, make: Callable[..., FrontEnd], tmp_path: Path, position: int):
        movies = noise_movies(2)
        first = make().features(movies, dt=8)
        (path,) = (tmp_path / "bank").iterdir()
        content = bytearray(path.read_bytes())
        wrong = content.copy()
        wrong[position] ^= 0x10
        path.write_bytes(wrong)
        front_end = make()
        second = front_end.features(movies, dt=8)
        assert front_end.bank is not None
        assert front_end.bank.damaged == 1
        assert second.cost.simulated > 0
        torch.testing.assert_close(second.take(slice(None)), first.take(slice(None)), rtol=0, atol=0)
        assert path.read_bytes() == content

    def test_more_trials_reuse_full_shards(self, make: Callable[..., FrontEnd], monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(module, "SHARD_MOVIES", 3)
        movies = noise_movies(8)
        counted = Counted(monkeypatch)
        few = make().features(movies[:7], dt=8).take(slice(None))
        assert counted.sizes == [3, 3, 1]
        many = make().features(movies, dt=8).take(slice(None))
        assert counted.sizes == [3, 3, 1, 2]
        torch.testing.assert_close(many[:6], few[:6], rtol=0, atol=0)
        torch.testing.assert_close(many[6], few[6], rtol=2 * HALF, atol=1e-6)

    def test_shared_histories_are_not_split(self, make: Callable[..., FrontEnd], monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(module, "SHARD_MOVIES", 2)
        first, second = noise_movies(2)
        begin = [Movie(first.frames[:1], [0.0], duration_ms=80.0)] * 3
        branch = Movie(np.concatenate([first.frames[:1], second.frames[:1]]), [0.0, 80.0], duration_ms=96.0)
        counted = Counted(monkeypatch)
        found = make(tolerance=0).features([*begin, branch, branch], dt=8)
        assert counted.sizes == [5]
        assert found.cost.simulated == 10 + 40 + 8
        assert len(found.rows) == 10 + 2


class TestTheKey:
    """Whatever changes the features changes the key, and nothing else does."""

    MOVIES = noise_movies(2)

    def key(self, front_end: FrontEnd, movies: Sequence[Movie] = MOVIES, dt: float = 8) -> str:
        return front_end._key(movies, dt)

    def test_it_follows_the_weights(self, make: Callable[..., FrontEnd]):
        plain = self.key(make())
        for changed in ("tau", "preprocessing", "bias", "direction", "norm"):
            options = {"tau": {"tau": 8.0}, "preprocessing": {"preprocessing": Preprocessing(std=(0.2, 0.2, 0.3))}}
            other = settling_cordsnet(0.5, **options.get(changed, {}))
            with torch.no_grad():
                if changed == "bias":
                    other.conv_bias[1][63, 7, 7] += 1e-3
                elif changed == "direction":
                    other.area_conv[0].parametrizations.weight.original1[0, 0, 0, 0] += 1e-3
                elif changed == "norm":
                    other.inp_skip.parametrizations.weight.original0[5] += 1e-3
            assert self.key(make(other)) != plain, changed

    @pytest.mark.parametrize("options", [{"readout": "pool"}, {"tolerance": 2e-3}, {"precision": "bfloat16"}])
    def test_it_follows_how_the_network_is_run(self, make: Callable[..., FrontEnd], options: dict[str, Any]):
        assert self.key(make(**options)) != self.key(make())

    @pytest.mark.parametrize("name", ["FORMAT", "WARMUP_MS"])
    def test_it_follows_this_code(self, make: Callable[..., FrontEnd], monkeypatch: pytest.MonkeyPatch, name: str):
        before = self.key(make())
        monkeypatch.setattr(module, name, getattr(module, name) + 1)
        assert self.key(make()) != before

    def test_it_follows_the_movies_and_the_step(self, make: Callable[..., FrontEnd]):
        front_end = make()
        one, two = self.MOVIES
        pixel = one.frames.copy()
        pixel[1, 31, 31, 0] ^= 1
        variants = {
            "the same": [one, two],
            "order": [two, one],
            "number": [one],
            "pixel": [Movie(pixel, one.onsets_ms, duration_ms=24), two],
            "onset": [Movie(one.frames, [0.0, 16.0], duration_ms=24), two],
            "duration": [Movie(one.frames, one.onsets_ms, duration_ms=26), two],
            "frame shown": [Movie(one.frames, one.onsets_ms, duration_ms=24, shown=[1, 0]), two],
            "channels": [Movie(one.frames.repeat(3, 3), one.onsets_ms, duration_ms=24), two],
        }
        keys = {name: self.key(front_end, movies) for name, movies in variants.items()} | {
            "dt": self.key(front_end, [one, two], dt=12)
        }
        assert len(set(keys.values())) == len(keys), keys

    def test_it_leaves_out_what_features_do_not_depend_on(self, make: Callable[..., FrontEnd], tmp_path: Path):
        other = settling_cordsnet(0.5)
        other.card = {"name": "another name"}
        front_end = make(other, bank=tmp_path / "elsewhere", bank_limit=1.5, batch=3)
        assert self.key(front_end) == self.key(make())
        one, two = self.MOVIES
        frames, shown = np.asfortranarray(one.frames), np.array([0, 1], np.uint8)
        again = Movie(frames, np.array([0, 14]), duration_ms=24, shown=shown)
        assert self.key(front_end, [again, two], dt=8.0) == self.key(make())


class TestTwoProcesses:
    def test_they_share_a_bank_and_end_with_the_same_features(self, network: CordsNet, tmp_path: Path):
        save(network, tmp_path / "r2.safetensors")
        program = """
import hashlib, sys
import numpy as np
from cordstasks.frontend import frontend
from cordstasks.stimuli import Movie
frontend.SHARD_MOVIES, frontend.WARMUP_MS = 2, 20.0
rng = np.random.default_rng(0)
movies = [Movie(rng.integers(0, 256, (2, 32, 32, 1), np.uint8), [0.0, 14.0], duration_ms=24.0) for _ in range(12)]
made = frontend.FrontEnd(sys.argv[1], device="cpu", bank=sys.argv[2]).features(movies, dt=8)
print(hashlib.sha256(made.rows[made.index].numpy().tobytes()).hexdigest())
"""
        arguments = [sys.executable, "-c", program, str(tmp_path / "r2.safetensors"), str(tmp_path / "bank")]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        processes = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
        printed = [process.communicate(timeout=100)[0] for process in processes]
        assert [process.returncode for process in processes] == [0, 0]
        assert printed[0] == printed[1] != ""
        bank = Bank(tmp_path / "bank")
        assert len(bank.files()) == 6
        assert all(bank.read(path.stem) for path in bank.files())


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"readout": "flaten"}, r"readout 'flaten' is unknown; did you mean 'flatten'\?"),
            ({"device": "cdua"}, r"device 'cdua' is unknown; did you mean 'cuda'\?"),
            ({"device": "cpu:x"}, r"device 'cpu:x': not a device"),
            ({"precision": "float16"}, r"precision 'float16' is unknown"),
            ({"precision": "tf32"}, r"precision='tf32': only CUDA devices have it, not cpu"),
            ({"tolerance": 0.1}, r"tolerance=0\.1: give a relative error of at least 0"),
            ({"tolerance": float("nan")}, r"tolerance=nan: give a relative error of at least 0"),
            ({"bank_limit": 0.0}, r"bank_limit=0\.0: give a size above 0"),
            ({"weights": "cordsnet-r9"}, r"weights 'cordsnet-r9' is unknown; did you mean 'cordsnet-r8'\?"),
            ({"weights": "nowhere/r8.safetensors"}, r"weights 'nowhere/r8\.safetensors': file does not exist"),
        ],
    )
    def test_of_the_front_end(self, make: Callable[..., FrontEnd], options: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message):
            make(**options)

    def test_a_device_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        for name in ("cuda", "cuda:0", "mps"):
            with pytest.raises(InputError, match=rf"device '{name}': this machine has no .*; choose cpu or auto"):
                resolve(name)
        assert resolve("auto") == torch.device("cpu")

    @pytest.mark.parametrize("dt", [3, 0, -2, 1, 2.5, float("nan"), float("inf")])
    def test_of_the_step(self, make: Callable[..., FrontEnd], dt: float):
        with pytest.raises(InputError, match=rf"dt={dt:g} ms: give a multiple of the front-end's step of 2 ms"):
            make().features(noise_movies(1), dt=dt)

    def test_of_the_movies(self, make: Callable[..., FrontEnd]):
        with pytest.raises(InputError, match="movies is empty; give at least one Movie"):
            make().features([])
        with pytest.raises(InputError, match=r"one lasts 24 ms, less than a step of dt=40 ms"):
            make().features(noise_movies(2), dt=40)

    def test_a_network_that_is_not_frozen_alike(self, make: Callable[..., FrontEnd]):
        with pytest.raises(InputError, match="the frozen simulator is for relu networks without noise"):
            make(tiny_cordsnet(noise=0.1))
        with pytest.raises(InputError, match=r"weights: a network of steps of 4 ms; the front-end takes those of 2 ms"):
            make(tiny_cordsnet(dt=4.0))
