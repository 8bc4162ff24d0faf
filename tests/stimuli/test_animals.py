"""Cats and dogs: morphs that change smoothly, pictures that are as large and where they should be; saccade displays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from cordstasks.errors import InputError
from cordstasks.stimuli import CATS, DOGS, FEATURES, LINES, Display, Pose, animal, morph, prototype, saccade_display

DISPLAY = Display(pixels=48, field_of_view=6.0)  # 8 px/deg


def light(features: np.ndarray, **options: Any) -> np.ndarray:
    return animal(features, DISPLAY, **options).astype(float)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(((one - other) ** 2).mean()))


class TestMorphs:
    def test_there_are_nine_lines_between_the_categories_and_six_within(self):
        between = [line for line in LINES if (line[0] in CATS) != (line[1] in CATS)]
        assert len(between) == 9
        assert len(LINES) == 15
        assert LINES[:9] == tuple(between)
        assert len({frozenset(line) for line in LINES}) == 15
        assert not set(CATS) & set(DOGS)

    def test_a_morph_is_the_blend_of_its_ends(self):
        cat, dog = prototype("tabby"), prototype("hound")
        assert cat.shape == (len(FEATURES),)
        np.testing.assert_allclose(morph("tabby", "hound", 0.3), 0.7 * cat + 0.3 * dog)
        assert np.array_equal(morph("tabby", "hound", 0), cat)
        assert np.array_equal(morph("tabby", "hound", 1), dog)
        assert cat[FEATURES.index("whiskers")] > dog[FEATURES.index("whiskers")]

    @pytest.mark.parametrize("line", LINES, ids="-".join)
    def test_pictures_change_smoothly_along_a_line(self, line: tuple[str, str]):
        levels = np.linspace(0, 1, 26)
        images = [light(morph(*line, level)) for level in levels]
        steps = [distance(one, other) for one, other in zip(images, images[1:], strict=False)]
        # no jump: no step of 4 % is much larger than the others
        assert max(steps) < 1.6 * np.mean(steps)
        # and the farther the level, the farther the picture
        for start in (0, 10, 25):
            apart = [distance(images[start], image) for image in images]
            assert (np.diff(apart[: start + 1]) < 0).all()
            assert (np.diff(apart[start:]) > 0).all()

    def test_prototypes_differ_more_than_the_smallest_step(self):
        images = {name: light(prototype(name)) for name in (*CATS, *DOGS)}
        apart = [distance(images[a], images[b]) for a, b in LINES]
        assert min(apart) > 15  # grey levels of 255
        between, within = apart[:9], apart[9:]
        assert np.mean(between) > np.mean(within)


class TestPictures:
    @pytest.mark.parametrize("name", [*CATS, *DOGS])
    def test_the_head_fills_its_square_and_no_more(self, name: str):
        for pose in (Pose(), Pose(3.0, 1.2, -0.8)):
            lit = light(prototype(name), pose=pose).sum(2) > 20
            rows, columns = np.flatnonzero(lit.any(1)), np.flatnonzero(lit.any(0))
            half = 8 * pose.size / 2
            left, top = 24 + 8 * pose.x - half, 24 - 8 * pose.y - half
            assert columns[0] >= left - 1 and columns[-1] <= left + 2 * half
            assert rows[0] >= top - 1 and rows[-1] <= top + 2 * half
            assert np.ptp(rows) > 1.5 * half
            assert np.ptp(columns) > 1.2 * half
            assert ndimage.label(lit)[1] == 1

    def test_a_shift_by_whole_pixels_moves_the_picture(self):
        features = prototype("persian")
        still, moved = light(features), light(features, pose=Pose(x=0.25, y=0.5))
        np.testing.assert_allclose(np.roll(still, (-4, 2), (0, 1)), moved, atol=1.01)

    def test_resolution_does_not_change_what_is_drawn(self):
        features = morph("siamese", "retriever", 0.4)
        fine = animal(features, Display(pixels=192, field_of_view=6.0)).astype(float)
        averaged = fine.reshape(48, 4, 48, 4, 3).mean((1, 3))
        assert distance(averaged, light(features)) < 4  # grey levels

    def test_grey_is_the_luminance_of_the_colours(self):
        features = prototype("persian")
        grey, colour = light(features, colour=False), light(features)
        assert grey.shape == (48, 48, 1)
        np.testing.assert_allclose(grey[..., 0], colour @ [0.299, 0.587, 0.114], atol=1.01)

    def test_it_is_shaded_from_the_upper_left(self):
        image = animal(prototype("persian"), Display(pixels=192, field_of_view=4.2), colour=False)[..., 0].astype(float)
        forehead, chin = image[62:80, 80:112].mean(), image[150:160, 80:112].mean()
        assert forehead > 1.2 * chin
        assert image[100:130, 20:40].mean() > 1.2 * image[100:130, 152:172].mean()

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: prototype("taby"), "prototype 'taby' is unknown; did you mean 'tabby'"),
            (lambda: morph("tabby", "hound", 1.2), "level is 1.2; give the fraction of hound, from 0 to 1"),
            (lambda: morph("tabby", "hound", math.nan), "level is nan; give a finite number"),
            (lambda: Pose(0.0), "size is 0.0; give a number above 0"),
            (lambda: Pose(x=math.inf), "x is inf; give a finite number"),
            (lambda: light(prototype("tabby"), pose=Pose(7.0)), "size is 7 deg .* leaves the screen of 6 deg"),
            (lambda: light(prototype("tabby"), pose=Pose(x=1.0)), r"at \(1, 0\) deg: the picture leaves the screen"),
            (lambda: light(np.zeros(3)), r"features has shape \(3,\); give \(\d+,\), from prototype"),
        ],
    )
    def test_bad_input_is_named(self, call: Any, message: str):
        with pytest.raises(InputError, match=message):
            call()


class TestSaccadeDisplay:
    SCREEN = Display(pixels=64, field_of_view=32.0)  # 2 px/deg

    @pytest.mark.parametrize("angle", [0.0, 45.0, 100.0, 270.0])
    @pytest.mark.parametrize("eccentricity", [6.0, 13.0])
    def test_the_cue_is_where_it_is_said_to_be(self, angle: float, eccentricity: float):
        image = saccade_display(self.SCREEN, angle=angle, eccentricity=eccentricity, spot=0)[..., 0].astype(float)
        x, y = self.SCREEN.pixel_centres()
        centre = np.array([(image * x).sum(), (image * y[:, None]).sum()]) / image.sum()
        turn = math.radians(angle)
        np.testing.assert_allclose(centre, [eccentricity * math.cos(turn), eccentricity * math.sin(turn)], atol=0.02)
        assert image.sum() / 255 / 4 == pytest.approx(math.pi / 4, rel=0.01)  # deg^2

    def test_the_spot_is_in_the_middle_with_or_without_a_cue(self):
        alone, with_cue = saccade_display(self.SCREEN), saccade_display(self.SCREEN, angle=90.0)
        middle = np.s_[28:36, 28:36]
        assert alone[middle].sum() == alone.sum() > 0
        assert np.array_equal(alone[middle], with_cue[middle])
        assert with_cue[:8].sum() == with_cue.sum() - alone.sum() > 0
        assert saccade_display(self.SCREEN, spot=0).sum() == 0

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                {"eccentricity": 17.0},
                r"eccentricity is 17 deg: the cue at \(17, 0\) deg is not wholly on the screen of 32 deg",
            ),
            ({"eccentricity": 15.8}, "not wholly on the screen"),
            ({"eccentricity": -1}, "eccentricity is -1; give a number of at least 0"),
            ({"angle": math.nan}, "angle is nan; give a finite number"),
            ({"cue": 0}, "cue is 0; give a number above 0"),
            ({"spot": -1}, "spot is -1; give a number of at least 0"),
        ],
    )
    def test_bad_input_is_named(self, change: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message):
            saccade_display(self.SCREEN, **{"angle": 0.0, **change})
