"""The tree of histories against simulating every trial by itself, step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cordstasks.cordsnet import CordsNet
from cordstasks.errors import InputError
from cordstasks.frontend import FrontEnd, frontend
from cordstasks.frontend.histories import Cost, Histories, Plan, plan
from cordstasks.frontend.stretches import Stepper
from cordstasks.frontend.work import Piece, simulated
from cordstasks.stimuli import Movie
from helpers import settling_cordsnet

STEP_MS = 2.0
HALF = 2.0**-11  # largest relative rounding error of a float16
FLOAT32 = 1e-5  # relative; for the float32 sums of hundreds of steps
# A settled state's error is an estimate and not a proof: its factor over the error that is reported may be this.
HONEST = 3.0


def movie_of(*periods: tuple[int, float]) -> Movie:
    """A movie of one-pixel images: (grey level, ms) a period, each in an array of its own even when levels recur."""
    levels, durations = zip(*periods, strict=True)
    onsets = np.cumsum([0.0, *durations[:-1]])
    frames = np.array(levels, np.uint8)[:, None, None, None]
    return Movie(frames, onsets, duration_ms=float(sum(durations)))


class LinearAreas:
    """Stands in for the simulator: areas of 3 and 4 units that follow ``x <- x* + M (x - x*)``, so that all is known.

    The fixed point x* depends on the frame alone, and M has the eigenvalues asked for, with orthogonal eigenvectors.
    """

    depth = 2
    areas = (1,)
    sizes = (3, 4)

    def __init__(self, eigenvalues: Sequence[complex] = (), *, fixed: NDArray[np.float64] | None = None) -> None:
        units = sum(self.sizes)
        rng = np.random.default_rng(5)
        blocks = np.zeros((units, units))
        place = 0
        for value in eigenvalues:
            if np.imag(value):
                turn = np.array([[np.real(value), -np.imag(value)], [np.imag(value), np.real(value)]])
                blocks[place : place + 2, place : place + 2] = turn
                place += 2
            else:
                blocks[place, place] = np.real(value)
                place += 1
        self.basis = np.linalg.qr(rng.normal(size=(units, units)))[0]
        self.matrix = self.basis @ blocks @ self.basis.T
        self.fixed = rng.uniform(1, 3, (256, units)) if fixed is None else fixed @ self.basis.T

    def prepare(self, images: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(images[:, 0, 0, 0].astype(np.int64))

    def drives(self, levels: Tensor) -> list[Tensor]:
        drive = self.fixed[levels.numpy()] @ (np.eye(len(self.matrix)) - self.matrix).T
        return self._split(torch.from_numpy(drive).float())

    def _split(self, state: Tensor) -> list[Tensor]:
        return [part[:, :, None, None] for part in state.split(self.sizes, 1)]

    def spontaneous(self, images: int) -> list[Tensor]:
        return self._split(torch.zeros(images, sum(self.sizes)))

    def step(self, rates: list[Tensor], drives: list[Tensor], steps: int = 1) -> None:
        self.step_summed(rates, drives, [torch.zeros_like(rates[area]) for area in self.areas], steps)

    def step_summed(self, rates: list[Tensor], drives: list[Tensor], totals: list[Tensor], steps: int) -> None:
        drive = torch.cat(drives, 1).flatten(1)
        for _ in range(steps):
            state = torch.cat(rates, 1).flatten(1) @ torch.from_numpy(self.matrix.T).float() + drive
            for own, new in zip(rates, self._split(state), strict=True):
                own.copy_(new)
            for total, area in zip(totals, self.areas, strict=True):
                total += rates[area]

    def trial(self, movie: Movie, bin_steps: int, warmup_steps: int) -> NDArray[np.float64]:
        """Features (bin, unit) of the areas read in one movie, in float64 and with nothing shared or skipped."""
        steps = int(movie.duration_ms / STEP_MS + 1e-9) // bin_steps * bin_steps
        levels = movie.frames[movie.at(np.arange(steps) * STEP_MS), 0, 0, 0]
        state, states = np.zeros(len(self.matrix)), []
        for level in [levels[0]] * warmup_steps + list(levels):
            state = self.fixed[level] + self.matrix @ (state - self.fixed[level])
            read = [part for area, part in enumerate(np.split(state, [self.sizes[0]])) if area in self.areas]
            states.append(np.concatenate(read))
        return np.reshape(states[warmup_steps:], (-1, bin_steps, len(states[0]))).mean(1)


class Trembling(LinearAreas):
    """Areas of a fast and a slow response, with errors as of rounding that differ each time they are asked for steps."""

    def __init__(self, size: float, seed: int) -> None:
        super().__init__()
        self.matrix = np.diag([0.0] * self.sizes[0] + [0.92] * self.sizes[1])
        self.size, self.rng = size, np.random.default_rng(seed)

    def step_summed(self, rates: list[Tensor], drives: list[Tensor], totals: list[Tensor], steps: int) -> None:
        super().step_summed(rates, drives, totals, steps)
        for own in rates:
            own *= 1 + self.size * torch.from_numpy(self.rng.uniform(-1, 1, own.shape)).float()


def simulate(
    areas: LinearAreas,
    movies: Sequence[Movie],
    *,
    bin_steps: int = 5,
    warmup_steps: int = 10,
    tolerance: float = 0.0,
    batch: int = 4,
    progress: Callable[[int], None] = lambda steps: None,
) -> tuple[list[NDArray[np.float32]], Cost]:
    """Features (bin, unit) of each movie."""
    stepper = Stepper(
        areas,  # type: ignore[arg-type]
        prepare=areas.prepare,
        readout=lambda activity: torch.cat(activity, 1).flatten(1),
        bin_steps=bin_steps,
        warmup_steps=warmup_steps,
        tolerance=tolerance,
    )
    histories = Histories(
        plan(movies, STEP_MS, bin_steps),
        areas=areas.areas,
        bin_steps=bin_steps,
        tolerance=tolerance,
        batch=batch,
        progress=progress,
    )
    assert len(list(simulated([Piece("", histories, progress)], stepper, None))) == 1
    rows, index = histories.features()
    cost = histories.cost
    assert rows.dtype == torch.float16
    return [rows[row[row >= 0]].float().numpy() for row in torch.from_numpy(index).long()], cost


def random_movies(rng: np.random.Generator, *, count: int) -> list[Movie]:
    """Movies of few levels and durations, so that pasts are shared; many changes fall between steps and within bins."""
    lengths = [6.0, 7.3, 40.0, 95.0, 310.0]
    movies: list[list[tuple[int, float]]] = []
    for _ in range(count):
        parent = movies[rng.integers(len(movies))] if movies else []
        kept = parent[: rng.integers(len(parent) + 1)]
        own = [(int(rng.integers(3)), float(rng.choice(lengths))) for _ in range(rng.integers(1, 4))]
        # a kept period may be cut short, so that one trial's frame goes on when another's ends
        if kept and rng.random() < 0.5:
            kept = [*kept[:-1], (kept[-1][0], 30.0)]
        movies.append([*kept, *own, (0, 12.0)])
    return [movie_of(*periods) for periods in movies]


class TestAgainstEveryTrialByItself:
    """Random movies under dynamics that decay, oscillate and are known exactly."""

    DECAYING = (0.5, 0.8 * np.exp(0.3j), 0.7, 0.3, 0.0)

    @pytest.mark.parametrize("seed", range(6))
    @pytest.mark.parametrize(("tolerance", "bin_steps", "batch"), [(0.0, 5, 4), (1e-3, 5, 4), (1e-3, 7, 1), (1e-2, 3, 50)])
    def test_random_movies(self, seed: int, tolerance: float, bin_steps: int, batch: int):
        areas = LinearAreas(self.DECAYING)
        movies = random_movies(np.random.default_rng(seed), count=9)
        found, cost = simulate(areas, movies, tolerance=tolerance, bin_steps=bin_steps, batch=batch)
        steps = [int(movie.duration_ms / STEP_MS + 1e-9) // bin_steps * bin_steps for movie in movies]
        assert cost.requested == sum(steps)
        assert cost.simulated < cost.requested
        assert (cost.bound > 0) == (tolerance > 0)
        assert cost.bound <= 2 * tolerance
        for movie, features in zip(movies, found, strict=True):
            expected = areas.trial(movie, bin_steps, 10)
            assert features.shape == expected.shape
            size = np.linalg.norm(expected, axis=1, keepdims=True)
            allowed = (HALF + FLOAT32) * np.abs(expected) + HONEST * cost.bound * size
            assert (np.abs(features - expected) <= allowed).all()

    def test_plateaus_are_copied_and_not_simulated(self):
        movies = random_movies(np.random.default_rng(3), count=9)
        _, exact = simulate(LinearAreas(self.DECAYING), movies)
        _, settled = simulate(LinearAreas(self.DECAYING), movies, tolerance=1e-2)
        assert settled.simulated < 0.7 * exact.simulated

    def test_the_order_of_movies_does_not_matter(self):
        areas, movies = LinearAreas(self.DECAYING), random_movies(np.random.default_rng(4), count=7)
        found, _ = simulate(areas, movies)
        again, _ = simulate(areas, movies[::-1])
        for one, other in zip(found, again[::-1], strict=True):
            np.testing.assert_allclose(one, other, rtol=2 * HALF)


class TestWhatIsSimulated:
    """Exact numbers of steps: 10 of warm-up for each first frame, then each history once."""

    CASES: ClassVar = {
        "one": ([[(1, 80)]], 40, 10 + 40),
        "the same movie three times": ([[(1, 80)]] * 3, 120, 10 + 40),
        "two futures after one past": ([[(1, 40), (2, 30)], [(1, 40), (3, 30)]], 70, 10 + 20 + 15 + 15),
        "one goes on when the other changes": ([[(1, 40), (2, 20)], [(1, 60)]], 60, 10 + 30 + 10),
        "a change at a step within a bin": ([[(1, 46), (2, 34)], [(1, 46), (3, 54)]], 90, 10 + 23 + 17 + 27),
        "two first frames": ([[(1, 20)], [(2, 20)]], 20, 10 + 10 + 10 + 10),
        "equal frames in a row are one": ([[(1, 20), (1, 20)], [(1, 40)]], 40, 10 + 20),
        "the rest of the last bin is left out": ([[(1, 88)]], 40, 10 + 40),
    }

    @pytest.mark.parametrize("name", CASES)
    def test_exactly(self, name: str):
        periods, asked, simulated = self.CASES[name]
        spent: list[int] = []
        _, cost = simulate(LinearAreas((0.6,)), [movie_of(*movie) for movie in periods], progress=spent.append)
        assert (cost.requested, cost.simulated, cost.bound) == (asked, simulated, 0.0)
        first = {movie[0][0] for movie in periods}
        assert sum(spent) == simulated - 10 * len(first)

    def test_what_settles_under_one_frame_is_shared(self):
        # These areas reach the fixed point in one step, and need 30 to be known to have settled.
        pictures, tests = range(10, 15), range(20, 23)
        movies = [movie_of((p, 200), (0, 400), (t, 100)) for p in pictures for t in tests]
        spent: list[int] = []
        found, cost = simulate(LinearAreas(), movies, tolerance=1e-3, progress=spent.append)
        assert cost.requested == 15 * 350
        assert sum(spent) == plan(movies, STEP_MS, 5).cost()  # copies count as done
        # each picture, the blank after each, and each test once, after whatever picture
        assert cost.simulated == 5 * (10 + 30) + 5 * 30 + 3 * 30
        for movie, features in zip(movies, found, strict=True):
            np.testing.assert_allclose(features, LinearAreas().trial(movie, 5, 10), rtol=HALF + FLOAT32)

    def test_settled_states_under_one_frame_are_one_and_the_same(self):
        # otherwise what is left to the fixed point, however small, would tell which picture came before for ever
        movies = [movie_of((picture, 200), (0, 400)) for picture in range(10, 15)]
        found, cost = simulate(LinearAreas((0.8, 0.7)), movies, tolerance=1e-2)
        ends = np.stack([features[-1] for features in found])
        assert 0 < cost.bound <= 2e-2
        assert (ends == ends[0]).all()

    def test_a_frame_that_comes_back_after_a_blank_settles_where_it_was(self):
        _, once = simulate(LinearAreas(), [movie_of((1, 200), (0, 200), (1, 200))], tolerance=1e-3)
        assert once.simulated == 10 + 3 * 30
        _, twice = simulate(LinearAreas(), [movie_of(*[(1, 200), (0, 200)] * 6)], tolerance=1e-3)
        assert twice.simulated == 10 + 3 * 30  # the second blank follows the state that the first followed

    def test_futures_at_different_places_in_a_bin_are_kept_apart(self):
        movies = [movie_of((1, 202), (0, 98)), movie_of((1, 210), (0, 98)), movie_of((1, 206), (0, 98))]
        found, cost = simulate(LinearAreas(), movies, tolerance=1e-3)
        # blanks begin 1, 0 and 3 steps into a bin; none of them is long enough to settle earlier than 30 steps
        assert cost.simulated == 10 + 30 + 3 * 30
        for movie, features in zip(movies, found, strict=True):
            np.testing.assert_allclose(features, LinearAreas().trial(movie, 5, 10), rtol=HALF + FLOAT32)


class TestSlowAndOscillatingResponses:
    """A settled state's reported error holds for responses that make a small step long before they arrive."""

    # name: eigenvalues, deviations of the fixed points of levels 1 and 2 along their eigenvectors
    CASES: ClassVar[dict[str, tuple[tuple[complex, ...], tuple[float, ...]]]] = {
        "slow": ((0.99,), (0.5,)),
        "oscillating": ((0.985 * np.exp(0.15j),), (0.5, 0.2)),
        "oscillating slowly": ((0.985 * np.exp(0.05j),), (0.5, 0.2)),
        "a slow part behind a fast one": ((0.3, 0.99), (2.0, 0.1)),
        "a small slow part behind a fast one": ((0.8, 0.99), (2.0, 0.04)),
        "an oscillation behind a fast one": ((0.8, 0.985 * np.exp(0.1j)), (2.0, 0.05, 0.03)),
    }

    @pytest.mark.parametrize("tolerance", [1e-2, 3e-3])
    @pytest.mark.parametrize("name", CASES)
    def test_the_reported_error_is_honest(self, name: str, tolerance: float):
        eigenvalues, deviation = self.CASES[name]
        fixed = np.zeros((256, 7))
        fixed[:, -1] = 1.0  # what stays, so that relative errors are those of a norm of about one
        fixed[1, : len(deviation)] = deviation
        fixed[2, : len(deviation)] = -0.5 * np.array(deviation)
        areas = LinearAreas(eigenvalues, fixed=fixed)
        movies = [movie_of((1, 2500), (0, 2500), (test, 400)) for test in (1, 2)]
        found, cost = simulate(areas, movies, tolerance=tolerance, bin_steps=10)
        assert 0 < cost.bound <= 2 * tolerance
        assert cost.simulated < 0.9 * cost.requested
        for movie, features in zip(movies, found, strict=True):
            expected = areas.trial(movie, 10, 10)
            error = np.linalg.norm(features - expected, axis=1) / np.linalg.norm(expected, axis=1)
            assert error.max() <= HONEST * cost.bound + HALF + FLOAT32

    @pytest.mark.parametrize("seed", range(4))
    def test_rounding_errors_do_not_keep_it_from_settling(self, seed: int):
        movies = [movie_of((1, 800), (0, 800))]
        _, quiet = simulate(Trembling(0, seed), movies, tolerance=1e-3)
        _, noisy = simulate(Trembling(1e-6, seed), movies, tolerance=1e-3)
        assert quiet.simulated < 0.4 * quiet.requested
        assert noisy.simulated == quiet.simulated

    @pytest.mark.parametrize("growth", [1.002, 1.01])
    def test_what_leaves_slowly_has_not_settled(self, growth: float):
        areas = LinearAreas((growth,), fixed=np.eye(7)[[6] * 256])
        areas.fixed[1] += 0.01 * areas.basis[:, 0]
        _, cost = simulate(areas, [movie_of((0, 20), (1, 1500))], tolerance=1e-2)
        assert (cost.simulated, cost.bound) == (10 + 760, 0.0)

    def test_what_never_settles_is_simulated_throughout(self):
        areas = LinearAreas((np.exp(0.05j),))
        found, cost = simulate(areas, [movie_of((1, 1000))], tolerance=1e-2)
        assert (cost.simulated, cost.bound) == (510, 0.0)
        np.testing.assert_allclose(found[0], areas.trial(movie_of((1, 1000)), 5, 10), rtol=HALF, atol=1e-3)


class TestPlan:
    def test_equal_images_are_one_frame(self):
        made = plan([movie_of((7, 20), (9, 20), (7, 20)), movie_of((9, 20))], STEP_MS, 5)
        assert isinstance(made, Plan)
        assert [int(frame[0, 0, 0]) for frame in made.frames] == [7, 9]
        assert made.steps == [30, 10]

    def test_images_of_one_content_and_different_shape_are_two(self):
        wide = Movie(np.full((1, 2, 3, 1), 7, np.uint8), [0.0], duration_ms=20)
        high = Movie(np.full((1, 3, 2, 1), 7, np.uint8), [0.0], duration_ms=20)
        assert len(plan([wide, high], STEP_MS, 5).frames) == 2

    def test_the_cost_is_that_of_the_distinct_histories(self):
        made = plan([movie_of((1, 40), (2, 30)), movie_of((1, 40), (3, 30)), movie_of((1, 50))], STEP_MS, 5)
        assert made.cost() == 25 + 15 + 15

    def test_a_movie_shorter_than_a_bin_is_refused(self):
        with pytest.raises(InputError, match=r"lasts 8 ms, less than a step of dt=10 ms"):
            plan([movie_of((1, 40)), movie_of((1, 8))], STEP_MS, 5)


# The real network, stepped by its definition.

SIZE, UNITS = 32, 64 * 8 * 8


@pytest.fixture(scope="module")
def network() -> CordsNet:
    """A CordsNet-R2 at 32 px whose recurrence is weak, so that it settles within tens of steps."""
    return settling_cordsnet(0.3, image_size=SIZE)


@pytest.fixture(scope="module")
def movies() -> list[Movie]:
    """Shared pasts, a picture after a blank, changes within bins, and different lengths (dt is 20 ms)."""
    rng = np.random.default_rng(8)
    blank, first, second = (np.zeros((SIZE, SIZE, 1), np.uint8), *rng.integers(0, 256, (2, SIZE, SIZE, 1), np.uint8))

    def shown(*periods: tuple[NDArray[np.uint8], float]) -> Movie:
        onsets = np.cumsum([0.0, *(duration for _, duration in periods[:-1])])
        return Movie(np.stack([i for i, _ in periods]), onsets, duration_ms=sum(duration for _, duration in periods))

    return [
        shown((blank, 47), (first, 213), (blank, 40), (first, 60)),
        shown((blank, 47), (first, 93), (second, 27)),
        shown((blank, 47), (first, 53)),
    ]


@pytest.fixture(scope="module")
def step_by_step(network: CordsNet, movies: list[Movie]) -> list[NDArray[np.float32]]:
    """The last area's activity (bin, unit) of each movie, by `CordsNet.step` alone."""
    features = []
    with torch.no_grad(), torch.nn.utils.parametrize.cached():
        rest = network.zero_state(1)
        blank = network.drive(None)
        for _ in range(100):
            rest = network.step(rest, blank)
        for movie in movies:
            drives = [network.drive(frame[None]) for frame in movie.frames]
            shown = movie.at(np.arange(int(movie.duration_ms // 20) * 10) * STEP_MS)
            rates, kept = rest, []
            for frame in [shown[0]] * 100 + list(shown):
                rates = network.step(rates, drives[frame])
                kept.append(rates[-1].flatten())
            features.append(torch.stack(kept[100:]).view(-1, 10, UNITS).mean(1).numpy())
    return features


class TestTheRealNetwork:
    def test_exactly(self, network: CordsNet, movies: list[Movie], step_by_step: list[NDArray[np.float32]]):
        found = FrontEnd(network, device="cpu", bank=False, tolerance=0).features(movies, dt=20)
        assert found.cost == Cost(requested=180 + 80 + 50, simulated=100 + 180 + 10, bound=0.0)
        for trial, expected in enumerate(step_by_step):
            features = found.take(slice(trial, trial + 1))[0].numpy()
            np.testing.assert_allclose(features[: len(expected)], expected, rtol=HALF + FLOAT32, atol=FLOAT32)
            assert not features[len(expected) :].any()

    def test_with_plateaus(self, network: CordsNet, movies: list[Movie], step_by_step: list[NDArray[np.float32]]):
        found = FrontEnd(network, device="cpu", bank=False, tolerance=1e-3).features(movies, dt=20)
        assert 0 < found.cost.bound <= 2e-3
        assert found.cost.simulated < 100 + 180 + 10
        for trial, expected in enumerate(step_by_step):
            features = found.take(slice(trial, trial + 1))[0, : len(expected)].numpy()
            error = np.linalg.norm(features - expected, axis=1) / np.linalg.norm(expected, axis=1)
            assert error.max() <= HONEST * found.cost.bound + HALF

    def test_the_warm_up_is_that_of_the_specification(self):
        assert frontend.WARMUP_MS == 200
        assert frontend.STEP_MS == STEP_MS
