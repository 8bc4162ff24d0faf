"""The physics of random-dot motion, measured from the pixels."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from scipy import ndimage, stats

from cordstasks.errors import InputError
from cordstasks.stimuli import Display, Movie, RandomDots, random_dots

FINE = Display(pixels=110, field_of_view=5.5)  # 20 px/deg: a dot is 2 pixels wide and a step 4 pixels
SHARP = 0.025  # deg of blur: half a pixel
STEP = 0.2  # deg


def film(
    coherence: float,
    direction: float,
    seed: int | np.random.SeedSequence = 0,
    *,
    display: Display = FINE,
    duration_ms: float = 1000,
    blur: float = SHARP,
    **parameters: float,
) -> Movie:
    dots = RandomDots(coherence, direction, blur=blur, **parameters)
    return random_dots(dots, display, duration_ms=duration_ms, rng=np.random.default_rng(seed))


@cache
def films(coherence: float, direction: float, movies: int = 60, frames: int = 40) -> np.ndarray:
    """Frames of independent movies, uint8 (movie, frame, height, width); a seed of their own for each condition."""
    seeds = np.random.SeedSequence([round(1000 * coherence), round(10 * direction), frames]).spawn(movies)
    duration = frames * FINE.frame_ms
    return np.stack([film(coherence, direction, seed, duration_ms=duration).frames[..., 0] for seed in seeds])


@cache
def located(coherence: float, direction: float) -> np.ndarray:
    """Centroids of the bright spots, deg (movie, frame, spot, 2), NaN where a frame has fewer spots."""
    frames = films(coherence, direction)
    within_a_frame = np.zeros((3, 3, 3))
    within_a_frame[1] = 1
    stack = frames.reshape(-1, *frames.shape[2:])
    labels, count = ndimage.label(stack >= 48, within_a_frame)
    index, row, column = np.nonzero(labels)
    label = labels[index, row, column] - 1
    light = stack[index, row, column].astype(float)
    x, y = FINE.pixel_centres()
    total = np.bincount(label, light, count)
    centroid = np.stack([np.bincount(label, light * x[column], count), np.bincount(label, light * y[row], count)], -1)
    image = np.empty(count, int)
    image[label] = index
    slot = np.arange(count) - np.searchsorted(image, image)
    places = np.full((len(stack), slot.max() + 1, 2), np.nan)
    places[image, slot] = centroid / total[:, None]
    return places.reshape(*frames.shape[:2], -1, 2)


def displacements(places: np.ndarray, lag: int) -> np.ndarray:
    """From each spot to each spot `lag` frames later, deg (pair, 2), without the missing ones."""
    pairs = places[:, lag:, None, :, :] - places[:, :-lag, :, None, :]
    return pairs[np.isfinite(pairs).all(-1)]


def unit(direction: float) -> np.ndarray:
    return np.array([math.cos(math.radians(direction)), math.sin(math.radians(direction))])


def correlogram(frames: np.ndarray, lag: int) -> np.ndarray:
    """Mean cross-correlation of each frame with the one `lag` later, over that of each frame with itself.

    Shape (41, 41): upward and rightward displacement of -20 to 20 pixels (-1 to 1 deg).
    """
    spectrum = np.fft.rfft2(frames.astype(np.float32))
    product = spectrum[:, lag:] * spectrum[:, : frames.shape[1] - lag].conj()
    own = np.fft.irfft2((np.abs(spectrum) ** 2).mean((0, 1)), frames.shape[2:])[0, 0]
    cross = np.fft.irfft2(product.mean((0, 1)), frames.shape[2:]) / own
    return np.fft.fftshift(cross)[55 - 20 : 55 + 21, 55 - 20 : 55 + 21][::-1]


@pytest.mark.parametrize("direction", [0, 37, 90, 158.5, 225, 303])
def test_coherent_dots_move_at_the_speed_and_in_the_direction_asked_for(direction):
    peak = correlogram(films(1.0, direction, movies=6), 3)
    row, column = np.unravel_index(peak.argmax(), peak.shape)
    around = peak[row - 2 : row + 3, column - 2 : column + 3]
    offset = np.arange(-2, 3)
    moved = np.array(
        [
            column - 20 + (around * offset).sum() / around.sum(),
            row - 20 + (around * offset[:, None]).sum() / around.sum(),
        ]
    )
    # 0.006 deg is 3 % of the step, an eighth of a pixel.
    np.testing.assert_allclose(moved / 20, STEP * unit(direction), atol=0.006)


def test_step_follows_speed_sets_and_refresh():
    display = Display(pixels=110, field_of_view=5.5, refresh=60.0)
    frames = film(1.0, 0, display=display, speed=6.0, sets=4, duration_ms=3000).frames[..., 0]
    peak = correlogram(frames[None], 4)
    row, column = np.unravel_index(peak.argmax(), peak.shape)
    assert (row - 20, column - 20) == (0, 8)  # 6 deg/s * 4 / 60 Hz = 0.4 deg
    assert peak.max() > 0.8


@pytest.mark.parametrize("coherence", [0, 0.032, 0.064, 0.128, 0.256, 0.512])
def test_fraction_of_dots_that_step_is_the_coherence(coherence):
    direction = 25
    places = located(coherence, direction)

    def share(step: np.ndarray) -> tuple[float, int]:
        """Of the spots whose place plus `step` is inside the aperture, those with a spot there 3 frames later."""
        expected = places[:, :-3] + step
        distance = np.linalg.norm(places[:, 3:, None] - expected[:, :, :, None], axis=-1)
        found = np.nanmin(np.where(np.isnan(distance), np.inf, distance), axis=-1) < 0.03
        inside = np.hypot(expected[..., 0], expected[..., 1]) < 2.4
        return float(found[inside].mean()), int(inside.sum())

    moved, dots = share(STEP * unit(direction))
    by_chance = np.mean([share(STEP * unit(direction + turn))[0] for turn in (60, 120, 180, 240, 300)])
    assert dots > 8000
    # Chance matches are fewer than 0.2 %; 2 % of the spots are two dots that touch, whose centroid is neither's.
    assert by_chance < 0.003
    error = math.sqrt((coherence * (1 - coherence) + 0.001) / dots)
    assert moved - by_chance == pytest.approx(coherence, abs=4 * error + 0.03 * coherence)


@pytest.mark.parametrize("coherence", [0, 1])
def test_density(coherence):
    # One frame of each set: many sets rather than many frames, because a set keeps its number of dots.
    frames = films(coherence, 0, movies=1500, frames=3).astype(float)
    gain = 1 / math.erf(0.1 / (2 * math.sqrt(2) * SHARP)) ** 2
    dots = frames.sum((2, 3)) / (255 * gain * (0.1 * 20) ** 2)
    # 16.7 dots/deg^2/s * 25 deg^2 / 75 Hz = 5.567 in the square, pi/4 of them in the aperture. The standard error of
    # the mean is 0.016; overlaps that clip at white lose 0.3 %.
    assert dots.mean() == pytest.approx(16.7 * 25 / 75 * math.pi / 4, abs=0.08)


@pytest.mark.parametrize("coherence", [0, 0.512])
def test_dots_fill_the_aperture_evenly(coherence):
    places = located(coherence, 25)
    spots = places[np.isfinite(places).all(-1)]
    radius = np.hypot(spots[:, 0], spots[:, 1])
    # Equal areas: a disc and the ring around it, and the four quadrants. Coherent dots are seen in several frames, so
    # the spots of a set count as about one in two.
    independent = len(spots) / 2
    error = 4 * math.sqrt(0.25 / independent)
    assert np.mean(radius < 2.5 / math.sqrt(2)) == pytest.approx(0.5, abs=error)
    assert np.mean(spots[:, 0] > 0) == pytest.approx(0.5, abs=error)
    assert np.mean(spots[:, 1] > 0) == pytest.approx(0.5, abs=error)


@pytest.mark.parametrize(("display", "blur"), [(FINE, SHARP), (Display(), 0.15)])
def test_no_dots_outside_the_aperture(display, blur):
    brightest = np.zeros((display.pixels, display.pixels), np.uint8)
    for seed in range(10):
        frames = film(0.512, 70, seed, display=display, blur=blur, duration_ms=2000).frames[..., 0]
        brightest = np.maximum(brightest, frames.max(0))
    x, y = display.pixel_centres()
    radius = np.hypot(x, y[:, None])
    # A dot's centre is inside; half its diagonal, half a pixel's and four standard deviations of blur may spill over.
    spill = (0.1 + 1 / display.pixels_per_degree) / math.sqrt(2) + 4 * blur
    outside = brightest[radius > 2.5 + spill]
    assert outside.size > 1000
    assert (outside == 0).all()
    assert np.mean(brightest[(radius > 2.3) & (radius < 2.5)] > 0) > 0.9


def test_the_three_sets_are_independent():
    frames = films(1.0, 40)
    same_set = correlogram(frames, 3)
    assert same_set.max() > 0.85
    for lag in (1, 2):
        # Chance pairs alone: over 60 movies they reach a few percent of a frame's correlation with itself.
        assert correlogram(frames, lag).max() < 0.06


def test_all_dots_are_redrawn_at_random_at_zero_coherence():
    frames = films(0.0, 40)
    assert correlogram(frames, 3).max() < 0.06


def test_directions_balance_at_zero_coherence():
    def octants(places: np.ndarray) -> np.ndarray:
        """How many moves of less than 0.6 deg from one showing of a set to the next go in each eighth of a turn."""
        moves = displacements(places, 3)
        near = moves[np.linalg.norm(moves, axis=1) < 0.6]
        return np.bincount((np.arctan2(near[:, 1], near[:, 0]) // (math.pi / 4)).astype(int) % 8, minlength=8)

    balanced = octants(located(0.0, 40))
    assert balanced.sum() > 1500
    assert stats.chisquare(balanced).pvalue > 0.001
    # The measure sees a coherence of a few percent.
    assert stats.chisquare(octants(located(0.064, 25))).pvalue < 1e-6


def test_direction_has_no_effect_at_zero_coherence():
    np.testing.assert_array_equal(film(0, 0).frames, film(0, 137).frames)


@pytest.mark.parametrize("direction", [0, 25, 115, 260])
def test_a_step_of_a_fraction_of_a_pixel_moves_by_that_fraction(direction):
    display = Display()  # 8 px/deg: a step is 1.6 pixels
    steps = []
    for seed in range(5):
        # 3 dots/deg^2/s * 25 deg^2 / 75 Hz: exactly one dot a frame.
        frames = film(1, direction, seed, display=display, blur=0.15, density=3).frames[..., 0].astype(float)
        light = frames.sum((1, 2))
        with np.errstate(invalid="ignore"):
            column = (frames.sum(1) * np.arange(64)).sum(1) / light
            row = (frames.sum(2) * np.arange(64)).sum(1) / light
        moved = np.stack([column[3:] - column[:-3], row[:-3] - row[3:]], -1)
        steps.append(moved[(light[3:] > 0) & (light[:-3] > 0) & (np.hypot(*moved.T) < 10)])
    steps = np.concatenate(steps)
    assert len(steps) > 80
    # Rounding to grey levels moves the centre of mass by a hundredth of a pixel or so.
    np.testing.assert_allclose(steps, np.broadcast_to(1.6 * unit(direction), steps.shape), atol=0.06)
    np.testing.assert_allclose(steps.mean(0), 1.6 * unit(direction), atol=0.005)


@pytest.mark.parametrize(
    ("direction", "redraws"),
    [(0, 25), (180, 25), (270, 25), (math.degrees(math.atan2(4, 3)), 125), (math.degrees(math.atan2(-3, -4)), 125)],
)
def test_dots_that_leave_the_square_enter_at_the_opposite_side(direction, redraws):
    # After 25 steps of 0.2 deg along an axis, or 125 of (0.12, 0.16) deg, a wrapped dot is back where it was.
    period = 3 * redraws
    frames = film(1, direction, duration_ms=(period + 60) * FINE.frame_ms).frames[..., 0].astype(int)
    assert frames[:60].max(axis=(1, 2)).min() > 0
    assert abs(frames[period:] - frames[:60]).max() <= 1
    assert abs(frames[period // 5 :][:60] - frames[:60]).max() > 100


def test_a_movie_depends_on_its_own_generator_alone():
    def movies(order: list[int]) -> dict[int, np.ndarray]:
        generators = np.random.default_rng(5).spawn(4)
        dots = RandomDots(0.256, 30)
        return {i: random_dots(dots, FINE, duration_ms=200 + i, rng=generators[i]).frames for i in order}

    first, second = movies([0, 1, 2, 3]), movies([3, 1, 0])
    for number, frames in second.items():
        np.testing.assert_array_equal(first[number], frames)
    assert not np.array_equal(first[0], first[1])


def test_directions_a_turn_apart_are_the_same():
    assert abs(film(0.5, -70).frames.astype(int) - film(0.5, 290).frames).max() <= 1


@pytest.mark.parametrize(
    ("duration", "frames", "last_onset"),
    [(500, 38, 493.3333), (1000, 75, 986.6667), (40, 3, 26.6667), (41, 4, 40), (1, 1, 0)],
)
def test_the_duration_cuts_the_last_frame(duration, frames, last_onset):
    movie = film(0.5, 0, duration_ms=duration)
    assert len(movie.frames) == frames
    assert movie.duration_ms == duration
    assert movie.onsets_ms[-1] == pytest.approx(last_onset, abs=1e-3)
    assert movie.shown.tolist() == list(range(frames))
    np.testing.assert_allclose(movie.onsets_ms, np.arange(frames) / 75 * 1000, rtol=1e-12)


@pytest.mark.parametrize("refresh", [60.0, 75.0, 85.0, 119.88])
def test_a_duration_of_whole_frames_has_that_many_however_it_was_rounded(refresh):
    display = Display(pixels=8, refresh=refresh)
    for frames in range(1, 120):
        for duration in (frames * 1000 / refresh, frames * (1000 / refresh), frames / refresh * 1000):
            movie = film(0.5, 0, display=display, duration_ms=duration)
            assert len(movie.frames) == frames
            assert movie.at(duration - 1) == frames - 1


def test_an_aperture_as_wide_as_the_screen_shows_the_same_dots_cut_at_the_edge():
    wide = film(0.5, 20, display=Display(96, 8.0), blur=0.15)
    tight = film(0.5, 20, display=Display(60, 5.0), blur=0.15)
    inner = wide.frames[:, 18:-18, 18:-18]
    assert abs(tight.frames.astype(int) - inner).max() <= 1
    assert inner[:, 0].max() > 20


@pytest.mark.parametrize(
    ("peak", "brightest"), [(1.0, 255), (0.4, 102), (None, 255 * math.erf(0.1 / (2 * math.sqrt(2) * 0.15)) ** 2)]
)
def test_peak_is_the_brightness_at_a_dots_centre(peak, brightest):
    # One dot a frame; at 40 px/deg a pixel's mean is within 1 % of the centre's brightness.
    frames = film(0, 0, display=Display(220, 5.5), blur=0.15, density=3, peak=peak, duration_ms=500).frames
    levels = frames.max(axis=(1, 2, 3))
    assert levels[levels > 0] == pytest.approx(brightest, rel=0.01, abs=1)


def test_frames_without_dots_are_black():
    movie = film(0.5, 0, density=0.01, duration_ms=200)
    assert movie.frames.shape == (15, 110, 110, 1)
    assert movie.frames.max() == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coherence": 51.2}, r"^coherence is 51.2; give a fraction from 0 to 1, such as 0.512 for 51.2 %"),
        ({"coherence": -0.1}, r"^coherence is -0.1; give a fraction"),
        ({"coherence": math.nan}, r"^coherence is nan; give a finite number"),
        ({"coherence": "high"}, r"^coherence is 'high'; give a finite number"),
        ({"direction": math.inf}, r"^direction is inf; give a finite number \(deg\)"),
        ({"aperture": 0}, r"^aperture is 0; give a number above 0 \(deg\)"),
        ({"density": -1}, r"^density is -1; give a number above 0"),
        ({"speed": -5}, r"^speed is -5; give a number of at least 0 \(deg/s\)"),
        ({"dot_size": 0}, r"^dot_size is 0; give a number above 0"),
        ({"sets": 0}, r"^sets is 0; give a whole number of at least 1"),
        ({"sets": 2.5}, r"^sets is 2.5; give a whole number"),
        ({"blur": -0.1}, r"^blur is -0.1; give a number of at least 0"),
        ({"peak": 1.5}, r"^peak is 1.5; give a fraction of white above 0 and up to 1, or None"),
        ({"peak": 0}, r"^peak is 0; give a number above 0"),
    ],
)
def test_bad_parameter_is_named(change, message):
    with pytest.raises(InputError, match=message):
        RandomDots(**{"coherence": 0.5, "direction": 0.0, **change})


def test_bad_duration_or_display_is_named():
    with pytest.raises(InputError, match=r"^duration_ms is 0; give a number above 0 \(ms\)"):
        film(0.5, 0, duration_ms=0)
    with pytest.raises(InputError, match=r"^aperture is 5 deg, larger than the screen; .*field_of_view \(4 deg\)"):
        film(0.5, 0, display=Display(field_of_view=4))
