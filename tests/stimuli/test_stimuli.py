"""Display, Movie, discs and the rendering below them."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage, special

from cordstasks.errors import InputError
from cordstasks.stimuli import Display, Movie, discs, join
from cordstasks.stimuli._antialias import box_profile, ramp, squares

DISPLAY = Display(pixels=48, field_of_view=6.0)  # 8 px/deg


def images(*levels: int, channels: int = 1) -> np.ndarray:
    """Images (frame, 5, 7, channel), each of one grey level except for a corner that tells the axes apart."""
    frames = np.empty((len(levels), 5, 7, channels), np.uint8)
    frames[:] = np.array(levels, np.uint8)[:, None, None, None]
    frames[:, 0, 6] = 200
    return frames


@pytest.fixture
def movie() -> Movie:
    """Four presentations of three images; the last presentation is shorter."""
    return Movie(images(10, 20, 30), [0, 40, 80, 120], shown=[0, 1, 0, 2], duration_ms=130)


def levels(film: Movie) -> list[int]:
    return film.frames[film.shown, 4, 0, 0].tolist()


class TestDisplay:
    def test_units(self):
        display = Display(pixels=64, field_of_view=8.0, refresh=75.0)
        assert display.pixels_per_degree == 8.0
        assert display.frame_ms == pytest.approx(13.3333333, abs=1e-6)

    def test_pixel_centres_have_x_rightward_and_y_upward_about_the_centre(self):
        x, y = Display(pixels=4, field_of_view=8.0).pixel_centres()
        assert x.tolist() == [-3, -1, 1, 3]
        assert y.tolist() == [3, 1, -1, -3]

    def test_places_in_pixels_agree_with_the_pixel_centres(self):
        x, y = DISPLAY.pixel_centres()
        np.testing.assert_allclose(DISPLAY.columns(x), np.arange(48) + 0.5, atol=1e-12)
        np.testing.assert_allclose(DISPLAY.rows(y), np.arange(48) + 0.5, atol=1e-12)

    @pytest.mark.parametrize(
        ("argument", "value"),
        [
            ("pixels", 0),
            ("pixels", 64.0),
            ("pixels", True),
            ("field_of_view", 0),
            ("refresh", -75),
            ("refresh", math.nan),
        ],
    )
    def test_bad_value_is_named(self, argument, value):
        with pytest.raises(InputError, match=rf"^{argument} is {value!r}; give "):
            Display(**{argument: value})


class TestMovie:
    def test_a_frame_holds_from_its_onset_to_the_next(self, movie):
        assert movie.at([0, 39.99, 40, 79.9, 80, 119, 120, 129.9]).tolist() == [0, 0, 1, 1, 0, 0, 2, 2]

    @pytest.mark.parametrize("refresh", [60.0, 75.0, 85.0, 119.88])
    def test_onsets_are_met_however_their_time_was_rounded(self, refresh):
        count = 500
        frames = np.zeros((count, 2, 3, 1), np.uint8)
        film = Movie(frames, np.arange(count) * 1000 / refresh, duration_ms=count * 1000 / refresh)
        steps = np.arange(count)
        for times in (steps * (1000 / refresh), steps / (refresh / 1000), steps / refresh * 1000):
            np.testing.assert_array_equal(film.at(times), steps)
        np.testing.assert_array_equal(film.at(steps[1:] * 1000 / refresh - 0.001), steps[:-1])

    def test_at_keeps_the_shape_of_its_times(self, movie):
        assert movie.at(50.0).shape == ()
        assert movie.at(np.full((2, 3), 50.0)).tolist() == [[1, 1, 1], [1, 1, 1]]

    @pytest.mark.parametrize("time", [-1.0, 130.0, 500.0, math.nan])
    def test_times_outside_the_movie_are_refused(self, movie, time):
        with pytest.raises(InputError, match=rf"^times_ms has {time:g}; give times from 0 up to, not including, 130 ms"):
            movie.at([20.0, time])

    def test_rgb_repeats_grey_and_keeps_colour(self, movie):
        grey = movie.rgb([125, 45])
        assert grey.shape == (2, 5, 7, 3)
        np.testing.assert_array_equal(grey, np.repeat(images(30, 20), 3, axis=3))
        coloured = images(1, channels=3)
        coloured[..., 2] = 9
        np.testing.assert_array_equal(Movie(coloured, [0], duration_ms=5).rgb([0.0]), coloured)

    def test_is_frozen(self, movie):
        with pytest.raises(AttributeError):
            movie.duration_ms = 3.0
        for array in (movie.frames, movie.onsets_ms, movie.shown):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0

    def test_leaves_the_callers_array_writeable(self):
        frames = images(1, 2)
        Movie(frames, [0, 10], duration_ms=20)
        frames[0] = 7

    def test_still_is_one_image(self):
        film = Movie.still(images(60)[0], 300)
        assert levels(film) == [60]
        assert film.duration_ms == 300

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                {"frames": images(1, 2).astype(float)},
                r"^frames is float64 \(2, 5, 7, 1\); give a non-empty uint8 array",
            ),
            ({"frames": images(1, 2)[..., 0]}, r"^frames is uint8 \(2, 5, 7\)"),
            ({"frames": images(1, 2, channels=2)}, r"^frames is uint8 \(2, 5, 7, 2\)"),
            ({"onsets_ms": [5, 10]}, r"^onsets_ms is \[ 5., 10.\]; give times \(ms\) that start at 0"),
            ({"onsets_ms": [0, 0]}, r"^onsets_ms is .*strictly increase"),
            ({"onsets_ms": [0, math.nan]}, r"^onsets_ms is .*strictly increase"),
            ({"onsets_ms": [0, 20]}, r"^onsets_ms ends at 20; give onsets before duration_ms \(20 ms\)"),
            ({"duration_ms": 0}, r"^duration_ms is 0; give a number above 0 \(ms\)"),
            ({"shown": [0]}, r"^shown has 1 presentations and onsets_ms 2; give one frame index for each"),
            ({"shown": [0, 2]}, r"^shown is \[0, 2\]; give whole numbers from 0 to 1"),
            ({"shown": [0, -1]}, r"^shown is \[ 0, -1\]; give whole numbers from 0 to 1"),
            ({"shown": [0.0, 1.0]}, r"^shown is \[0., 1.\]; give whole numbers"),
        ],
    )
    def test_bad_value_is_named(self, change, message):
        good = {"frames": images(1, 2), "onsets_ms": [0, 10], "duration_ms": 20}
        Movie(**good)
        with pytest.raises(InputError, match=message):
            Movie(**{**good, **change})


class TestRearranging:
    def test_shuffled_permutes_only_the_period(self):
        film = Movie(images(*range(40)), np.arange(40) * 1000 / 75, duration_ms=540)
        start, end = 5 * 1000 / 75, 30 / 75 * 1000
        shuffled = film.shuffled(np.random.default_rng(1), start, end)
        assert levels(shuffled)[:5] == [0, 1, 2, 3, 4]
        assert levels(shuffled)[30:] == list(range(30, 40))
        assert sorted(levels(shuffled)[5:30]) == list(range(5, 30))
        assert levels(shuffled) != levels(film)
        np.testing.assert_array_equal(shuffled.onsets_ms, film.onsets_ms)
        assert shuffled.duration_ms == 540
        assert levels(shuffled) == levels(film.shuffled(np.random.default_rng(1), start, end))
        assert levels(shuffled) != levels(film.shuffled(np.random.default_rng(2), start, end))

    def test_reversed_turns_only_the_period_round(self):
        film = Movie(images(*range(6)), np.arange(6) * 40, duration_ms=240)
        assert levels(film.reversed(40, 160)) == [0, 3, 2, 1, 4, 5]
        assert levels(film.reversed()) == [5, 4, 3, 2, 1, 0]
        assert levels(film) == [0, 1, 2, 3, 4, 5]

    @pytest.mark.parametrize("refresh", [75.0, 85.0])
    def test_the_periods_ends_may_be_rounded(self, refresh):
        count = 100
        film = Movie(images(*range(count)), np.arange(count) * (1000 / refresh), duration_ms=count * (1000 / refresh))
        for start in range(count - 4):
            expected = list(range(count))
            expected[start : start + 4] = expected[start : start + 4][::-1]
            for period in (
                (start / refresh * 1000, (start + 4) / refresh * 1000),
                (start * 1000 / refresh, (start + 4) * 1000 / refresh),
            ):
                assert levels(film.reversed(*period)) == expected

    def test_repeated_images_are_presentations_of_their_own(self, movie):
        assert levels(movie.reversed()) == [30, 10, 20, 10]

    def test_a_period_without_onsets_is_refused(self, movie):
        with pytest.raises(InputError, match=r"^start_ms is 125 and end_ms 130.0: no frame begins in that period; give"):
            movie.reversed(125)
        with pytest.raises(InputError, match="no frame begins"):
            movie.shuffled(np.random.default_rng(0), 80, 80)


class TestJoin:
    def test_parts_follow_one_another(self, movie):
        joined = join([Movie.still(images(50)[0], 300), movie, Movie.still(images(50)[0], 70.5)])
        assert joined.onsets_ms.tolist() == [0, 300, 340, 380, 420, 430]
        assert levels(joined) == [50, 10, 20, 10, 30, 50]
        assert joined.duration_ms == 500.5

    def test_equal_images_are_kept_once(self, movie):
        joined = join([movie, Movie(images(20, 40, 40), [0, 10, 20], duration_ms=30), movie])
        assert len(joined.frames) == 4
        assert levels(joined) == [10, 20, 10, 30, 20, 40, 40, 10, 20, 10, 30]

    def test_grey_beside_colour_gets_three_channels(self, movie):
        coloured = images(1, channels=3)
        coloured[..., 2] = 9
        joined = join([Movie(coloured, [0], duration_ms=5), movie])
        np.testing.assert_array_equal(joined.rgb([0, 5 + 45]), np.concatenate([coloured, images(20, channels=3)]))

    def test_unequal_sizes_are_refused(self, movie):
        with pytest.raises(InputError, match=r"different sizes \(height, width\): \[\(4, 6\), \(5, 7\)\]; render them on"):
            join([movie, Movie(np.zeros((1, 4, 6, 1), np.uint8), [0], duration_ms=9)])

    def test_nothing_is_refused(self):
        with pytest.raises(InputError, match=r"^parts is empty; give at least one Movie"):
            join([])


class TestDiscs:
    @pytest.mark.parametrize("blur", [0.0, 0.2])
    def test_light_and_centre_of_mass_are_the_discs(self, blur):
        x, y, diameter = 0.737, -1.213, 1.3
        grey = discs(DISPLAY, x, y, diameter, blur=blur)[..., 0].astype(float)
        # Rounding to grey levels leaves about 0.3 levels a pixel in some 300 pixels, of either sign.
        assert grey.sum() / 255 == pytest.approx(math.pi * (diameter / 2 * 8) ** 2, rel=0.002)
        columns, rows = DISPLAY.pixel_centres()
        assert (grey.sum(0) * columns).sum() / grey.sum() == pytest.approx(x, abs=0.002)
        assert (grey.sum(1) * rows).sum() / grey.sum() == pytest.approx(y, abs=0.002)

    @pytest.mark.parametrize("blur", [0.0, 0.15])
    @pytest.mark.parametrize("diameter", [0.1, 0.9, 4.01])
    def test_agrees_with_supersampling(self, blur, diameter):
        fine = 32
        x, y = Display(DISPLAY.pixels * fine, DISPLAY.field_of_view).pixel_centres()
        inside = ((x - 0.31) ** 2 + (y[:, None] - 0.47) ** 2 <= (diameter / 2) ** 2).astype(float)
        if blur:
            inside = ndimage.gaussian_filter(inside, blur * 8 * fine, mode="constant", truncate=5)
        expected = 255 * inside.reshape(48, fine, 48, fine).mean((1, 3))
        # Half a level of rounding, and up to one of the supersampling.
        np.testing.assert_allclose(discs(DISPLAY, 0.31, 0.47, diameter, blur=blur)[..., 0], expected, atol=1.5)

    def test_half_a_pixel_moves_half_a_pixel(self):
        def centre(x: float) -> float:
            profile = discs(DISPLAY, x, 0, 0.5)[..., 0].sum(0, dtype=float)
            return float((profile * np.arange(48)).sum() / profile.sum())

        assert centre(0.0625) - centre(0) == pytest.approx(0.5, abs=0.01)

    def test_later_discs_cover_earlier_ones(self):
        image = discs(DISPLAY, [0, 1], [0, 0.5], [4, 1], luminance=[0.5, 0], background=0.2)[..., 0]
        x, y = DISPLAY.pixel_centres()
        at = {
            place: image[np.argmin(abs(y - place[1])), np.argmin(abs(x - place[0]))]
            for place in [(1, 0.5), (-1, -0.5), (-2.5, 2.5)]
        }
        assert at == {(1, 0.5): 0, (-1, -0.5): round(0.5 * 255), (-2.5, 2.5): 51}

    def test_a_disc_over_the_edge_is_cut(self):
        light = discs(DISPLAY, 3.0, 0, 1.0)[..., 0].sum(dtype=float) / 255
        assert light == pytest.approx(math.pi * 4**2 / 2, rel=0.002)

    def test_no_discs_leave_the_background(self):
        assert (discs(DISPLAY, [], [], [], background=1.0) == 255).all()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"x": 3.6}, r"^disc 0 at \(3.6, 0\) deg lies outside the screen of 6 deg; move it or use"),
            ({"x": [0, 0], "y": [0, -9]}, r"^disc 1 at \(0, -9\) deg lies outside"),
            ({"x": [0, 1], "y": [0, 1, 2]}, "^x, y, diameter, luminance are not one number or one number a disc each"),
            ({"x": [[0.0, 1.0]]}, "^x, y, diameter, luminance have 2 dimensions; give one number"),
            ({"y": math.inf}, "^x, y, diameter or luminance is not finite; give finite numbers"),
            ({"diameter": 0}, r"^diameter is 0; give diameters above 0 \(deg\)"),
            ({"luminance": [0.5, 255]}, "^luminance is 255; give a fraction from 0"),
            ({"luminance": -0.1}, "^luminance is -0.1; give a fraction from 0"),
            ({"background": 1.5}, "^background is 1.5; give a fraction from 0"),
            ({"background": math.nan}, "^background is nan; give a fraction from 0"),
            ({"blur": -1}, r"^blur is -1; give a number of at least 0 \(deg\)"),
        ],
    )
    def test_bad_value_is_named(self, change, message):
        good = {"x": 0, "y": 0, "diameter": 1}
        discs(DISPLAY, **good)
        with pytest.raises(InputError, match=message):
            discs(DISPLAY, **{**good, **change})


class TestAntialias:
    @pytest.mark.parametrize("blur", [0.5, 1.2, 30.0])
    def test_ramp_is_the_error_functions(self, blur):
        distance = np.linspace(-6, 6, 1001) * blur
        exact = [
            abs(t) / 2 * math.erf(abs(t) / (blur * math.sqrt(2)))
            + blur / math.sqrt(2 * math.pi) * math.exp(-((t / blur) ** 2) / 2)
            for t in distance
        ]
        # 1.5e-7 of |t|/2 with |t| up to 6 blur.
        np.testing.assert_allclose(ramp(distance, blur), exact, rtol=0, atol=5e-7 * blur)

    def test_sharp_box_covers_what_it_overlaps(self):
        profile = box_profile(np.arange(6.0), np.array([2.2]), 2.0, 0.0)
        np.testing.assert_allclose(profile, [0, 0.8, 1, 0.2, 0], atol=1e-12)

    @pytest.mark.parametrize("blur", [0.5, 1.2])
    def test_squares_agree_with_quadrature(self, blur):
        pixels, frames, width, gain = 23, 3, 0.8, 2.5
        frame = np.array([0, 2, 2])
        column, row = np.array([7.3, 12.9, 14.4]), np.array([15.05, 9.6, 11.0])
        fine = np.arange(pixels * 64) / 64 + 1 / 128

        def profile(centre: float) -> np.ndarray:
            light = special.ndtr((fine - centre + width / 2) / blur) - special.ndtr((fine - centre - width / 2) / blur)
            return light.reshape(pixels, 64).mean(1)

        expected = np.zeros((frames, pixels, pixels))
        for image, x, y in zip(frame, column, row, strict=True):
            expected[image] += 255 * gain * np.outer(profile(y), profile(x))
        drawn = squares(pixels, frames, frame, column, row, width=width, blur=blur, gain=gain)
        # Half a level of rounding and 0.1 level a dot of cut tails.
        np.testing.assert_allclose(drawn, np.minimum(expected, 255), atol=0.75)

    def test_overlapping_squares_saturate(self):
        place = np.full(40, 6.0)
        drawn = squares(12, 1, np.zeros(40, np.int64), place, place, width=2.0, blur=1.0, gain=1.0)
        assert drawn.max() == 255
        row = drawn[0, 6].astype(int)
        assert (np.diff(row[:6]) >= 0).all()
        assert (np.diff(row[6:]) <= 0).all()


def test_importing_the_stimuli_needs_numpy_alone():
    code = "import sys, cordstasks.stimuli; print(*({'torch', 'neurogym', 'scipy', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
