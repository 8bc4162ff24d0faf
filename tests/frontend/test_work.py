"""Work that is interrupted and goes on, and work that several processes share: the same features, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cordstasks.cordsnet import CordsNet, save
from cordstasks.errors import InputError
from cordstasks.frontend import Features, FrontEnd, work
from cordstasks.frontend import frontend as module
from cordstasks.frontend.stretches import Batch, Result, Stepper
from cordstasks.stimuli import Movie
from cordstasks.utils.parallel import Spread
from helpers import settling_cordsnet

SIZE = 32


@pytest.fixture(autouse=True)
def one_thread_and_small_batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Processes that share work have as many threads as the one that does all of it; every batch is kept."""
    monkeypatch.setattr(module, "WARMUP_MS", 20.0)
    monkeypatch.setattr(work, "KEEP_SECONDS", 0.0)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def network() -> CordsNet:
    return settling_cordsnet(0.3, image_size=SIZE)


def shown(*periods: tuple[NDArray[np.uint8], float]) -> Movie:
    onsets = np.cumsum([0.0, *(duration for _, duration in periods[:-1])])
    return Movie(np.stack([image for image, _ in periods]), onsets, duration_ms=sum(duration for _, duration in periods))


def picture_movies() -> list[Movie]:
    """Trials that share their pasts: a blank, one of seven pictures, a delay, and one of three pictures."""
    rng = np.random.default_rng(8)
    blank, pictures = np.zeros((SIZE, SIZE, 1), np.uint8), rng.integers(0, 256, (7, SIZE, SIZE, 1), np.uint8)
    return [
        shown((blank, 48), (sample, 200), (blank, delay), (test, 60 + 20 * n))
        for sample in pictures
        for n, test in enumerate(pictures[:3])
        for delay in (20.0, 180.0)
    ]


def noise_movies(count: int) -> list[Movie]:
    rng = np.random.default_rng(0)
    return [
        Movie(rng.integers(0, 256, (2, SIZE, SIZE, 1), np.uint8), [0.0, 14.0], duration_ms=24.0 + 8 * (number % 2))
        for number in range(count)
    ]


def assert_same(one: Features, other: Features) -> None:
    assert torch.equal(one.rows, other.rows)
    assert torch.equal(one.index, other.index)


class Counted:
    """Counts the batches that are simulated here, and presses Ctrl-C in place of one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, stop: int | None = None) -> None:
        self.batches = 0
        simulate = Stepper.simulate

        def counted(stepper: Stepper, batch: Batch, *progress: Any) -> Result:
            if self.batches == stop:
                raise KeyboardInterrupt
            self.batches += 1
            return simulate(stepper, batch, *progress)

        monkeypatch.setattr(Stepper, "simulate", counted)


def stopped(front_end: FrontEnd, movies: list[Movie], after: int) -> None:
    """Ctrl-C comes after so many batches."""
    with pytest.MonkeyPatch.context() as patch:
        Counted(patch, stop=after)
        with pytest.raises(KeyboardInterrupt):
            front_end.features(movies)


@pytest.fixture
def make(network: CordsNet, tmp_path: Path) -> Callable[..., FrontEnd]:
    def front_end(**options: Any) -> FrontEnd:
        return FrontEnd(network, **{"device": "cpu", "bank": tmp_path / "bank", "batch": 2, **options})

    return front_end


class TestGoingOn:
    @pytest.mark.parametrize("stop", [1, 4, 9])
    def test_after_ctrl_c_what_was_done_is_not_done_again(
        self, make: Callable[..., FrontEnd], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
    ):
        movies = picture_movies()
        with monkeypatch.context() as patch:
            whole = Counted(patch)
            expected = make(bank=False).features(movies)
        assert whole.batches > 10
        stopped(make(), movies, stop)
        assert len(list((tmp_path / "bank").glob("*-unfinished.bank"))) == stop
        with monkeypatch.context() as patch:
            rest = Counted(patch)
            found = make().features(movies)
        assert rest.batches == whole.batches - stop
        assert_same(found, expected)
        assert found.cost == expected.cost
        (path,) = (tmp_path / "bank").iterdir()  # one shard, and no part any more
        assert not path.stem.endswith("-unfinished")
        with monkeypatch.context() as patch:
            again = Counted(patch)
            assert_same(make().features(movies), expected)
        assert again.batches == 0

    def test_after_a_kill(
        self, make: Callable[..., FrontEnd], network: CordsNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        save(network, tmp_path / "r2.safetensors")
        program = """
import sys, time
import torch
sys.path.insert(0, sys.argv[3])
torch.set_num_threads(1)
from cordstasks.frontend import FrontEnd, frontend, work
from cordstasks.frontend.stretches import Stepper
from test_work import picture_movies
frontend.WARMUP_MS, work.KEEP_SECONDS = 20.0, 0.0
simulate = Stepper.simulate
def slow(*given):
    time.sleep(0.1)
    return simulate(*given)
Stepper.simulate = slow
FrontEnd(sys.argv[1], device="cpu", bank=sys.argv[2], batch=2).features(picture_movies())
"""
        here = os.pathsep.join([str(Path(__file__).parents[1])])
        arguments = [
            sys.executable,
            "-c",
            program,
            str(tmp_path / "r2.safetensors"),
            str(tmp_path / "bank"),
            str(Path(__file__).parent),
        ]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]),
        }
        process = subprocess.Popen(arguments, env=environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 100
        while len(list((tmp_path / "bank").glob("*-unfinished.bank"))) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = len(list((tmp_path / "bank").glob("*-unfinished.bank")))
        assert kept >= 4
        movies = picture_movies()
        expected = make(bank=False).features(movies)
        with monkeypatch.context() as patch:
            rest = Counted(patch)
            found = make().features(movies)
        assert_same(found, expected)
        with monkeypatch.context() as patch:
            whole = Counted(patch)
            make(bank=False).features(movies)
        assert rest.batches == whole.batches - kept

    def test_a_damaged_part_is_simulated_again(
        self, make: Callable[..., FrontEnd], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        movies = picture_movies()
        expected = make(bank=False).features(movies)
        stopped(make(), movies, 5)
        path = next((tmp_path / "bank").glob("*-unfinished.bank"))
        content = bytearray(path.read_bytes())
        content[-3] ^= 1
        path.write_bytes(content)
        assert_same(make().features(movies), expected)

    def test_another_batch_size_does_not_take_them(self, make: Callable[..., FrontEnd], monkeypatch: pytest.MonkeyPatch):
        movies = picture_movies()
        stopped(make(), movies, 5)
        assert_same(make(batch=3).features(movies), make(batch=3, bank=False).features(movies))

    def test_parts_of_other_histories_that_look_alike_are_not_taken(self, make: Callable[..., FrontEnd]):
        """After ten pictures, the same two: ten jobs differ in the states with which they begin, and in nothing else."""
        pictures = np.random.default_rng(9).integers(0, 256, (12, SIZE, SIZE, 1), np.uint8)
        movies = [shown((sample, 40), (test, 60)) for sample in pictures[:10] for test in pictures[10:]]
        stopped(make(batch=4), movies, 5)
        assert_same(make(batch=3).features(movies), make(batch=3, bank=False).features(movies))

    def test_what_was_quick_is_not_kept(
        self, make: Callable[..., FrontEnd], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(work, "KEEP_SECONDS", 1e6)
        stopped(make(), picture_movies(), 5)
        assert not list((tmp_path / "bank").iterdir())

    def test_parts_make_no_other_files_go(
        self, make: Callable[..., FrontEnd], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        make().features(noise_movies(3))
        (other,) = (tmp_path / "bank").iterdir()
        stopped(make(bank_limit=(other.stat().st_size + 100) / 1e9), picture_movies(), 5)
        assert list((tmp_path / "bank").iterdir()) == [other]

    def test_nor_does_the_whole_in_their_place(
        self, make: Callable[..., FrontEnd], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """There is room for the old file and the new one, and for the old one and the parts, but not for all three."""
        movies, folder = picture_movies(), tmp_path / "bank"
        make().features(noise_movies(3))
        (old,) = folder.iterdir()
        make(bank=tmp_path / "other").features(movies)
        (whole,) = (tmp_path / "other").iterdir()
        stopped(make(), movies, 5)
        parts = sum(path.stat().st_size for path in folder.glob("*-unfinished.bank"))
        room = old.stat().st_size + max(whole.stat().st_size, parts)
        make(bank_limit=(room + 100) / 1e9).features(movies)
        assert {path.name for path in folder.iterdir()} == {old.name, whole.name}


class TestSharing:
    """The tests of one process compare these features with a step-by-step simulation."""

    def test_two_processes_give_the_same_features(self, make: Callable[..., FrontEnd], monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(module, "SHARD_MOVIES", 4)
        both = Spread(processes=2)
        for movies in (picture_movies(), noise_movies(10)):
            expected = make(bank=False).features(movies, dt=8)
            with monkeypatch.context() as patch:
                here = Counted(patch)
                front_end = make()
                found = front_end.features(movies, dt=8, spread=both)
            assert here.batches == 0  # all of it was done elsewhere
            assert front_end.engine is not None
            assert_same(found, expected)
            assert found.cost == expected.cost
            assert_same(make().features(movies, dt=8), expected)  # and is in the bank

    def test_processes_keep_no_network_of_equal_weights(self, make: Callable[..., FrontEnd], network: CordsNet):
        """They stay for the next work, whose network may see its images otherwise."""
        other = deepcopy(network)
        other.preprocessing = replace(network.preprocessing, mean=(0.8, 0.8, 0.8))
        movies, spread = noise_movies(2), Spread(processes=1)
        first, second = (FrontEnd(each, device="cpu", bank=False) for each in (network, other))
        assert first.digest() == second.digest()
        found = first.features(movies, spread=spread)
        assert not torch.equal(found.rows, second.features(movies).rows)
        assert_same(second.features(movies, spread=spread), second.features(movies))

    @pytest.mark.filterwarnings("ignore")  # of a third party's, while its processes start and stop
    def test_a_dask_cluster_gives_the_same_features(self, make: Callable[..., FrontEnd], monkeypatch: pytest.MonkeyPatch):
        distributed = pytest.importorskip("distributed", reason="Dask comes with the extra `cluster`")
        movies = picture_movies()
        expected = make(bank=False).features(movies)
        with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
            spread = Spread(backend="dask", scheduler=cluster.scheduler_address)
            with monkeypatch.context() as patch:
                here = Counted(patch)
                found = make().features(movies, spread=spread)
        assert here.batches == 0
        assert_same(found, expected)
        assert found.cost == expected.cost

    def test_a_process_that_is_killed_is_named(self, make: Callable[..., FrontEnd], monkeypatch: pytest.MonkeyPatch):
        def broken(processes: int) -> Callable[..., list[Any]]:
            def run(calls: Any) -> list[Any]:
                raise BrokenProcessPool  # as joblib's processes do, of which the system has killed one

            return run

        monkeypatch.setattr(work, "unordered", broken)
        with pytest.raises(
            InputError, match=r"^processes=2: one of them was killed, most often for lack of memory; use fewer"
        ):
            make().features(noise_movies(6), spread=Spread(processes=2))

    def test_work_that_was_stopped_is_shared_later(self, make: Callable[..., FrontEnd], monkeypatch: pytest.MonkeyPatch):
        movies = picture_movies()
        expected = make(bank=False).features(movies)
        stopped(make(), movies, 7)
        assert_same(make().features(movies, spread=Spread(processes=2)), expected)


class TestSpread:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"backend": "desk"}, r"backend 'desk' is unknown; did you mean 'dask'\?"),
            ({"processes": 0}, "processes=0: give a number of at least 1, or -1 for one per core"),
            ({"processes": 1.5}, r"processes=1\.5: give a number of at least 1"),
            (
                {"processes": 2, "backend": "dask"},
                "processes=2: has no effect with backend=dask, which uses all its workers",
            ),
            ({"scheduler": "tcp://x:1"}, "scheduler=tcp://x:1: goes with backend=dask"),
        ],
    )
    def test_what_cannot_be(self, options: dict[str, Any], message: str):
        with pytest.raises(InputError, match=f"^{message}"):
            Spread(**options)

    def test_processes_share_the_threads(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(os, "cpu_count", lambda: 16)
        assert [Spread(processes=count).threads(8) for count in (1, 2, 3, 8, 9, -1)] == [8, 4, 2, 1, 1, 1]
        assert Spread(backend="dask").threads(8) == 1
