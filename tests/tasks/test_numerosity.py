"""Numerosity displays, measured from their pixels: number, area, circumference, density, arrangement."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import ndimage, spatial

from cordstasks.errors import InputError
from cordstasks.stimuli import CONTROLS, Display, Numerosity, numerosity, place_dots
from cordstasks.stimuli._shapes import POLYGONS, REACH, covers

DISPLAY = Display(pixels=64, field_of_view=8.0)  # 8 px/deg
FINE = Display(pixels=320, field_of_view=8.0)  # 40 px/deg
NUMBERS = (1, 2, 3, 4, 5)


def measured(image: np.ndarray, display: Display) -> dict[str, np.ndarray]:
    """Area (deg^2), circumference (deg) and centre (deg) of each dark component on the grey disc."""
    assert image.dtype == np.uint8 and image.shape == (display.pixels, display.pixels, 1)
    dark = 1 - image[..., 0] / 128.0
    labels, count = ndimage.label(dark > 0.5)
    outside = labels[0, 0]
    dots = [label for label in range(1, count + 1) if label != outside]
    # a dot's light reaches into the pixels around it, which belong to no other dot
    near = [ndimage.binary_dilation(labels == label) & ((labels == 0) | (labels == label)) for label in dots]
    scale = display.pixels_per_degree
    area = np.array([np.clip(dark[part], 0, 1).sum() for part in near]) / scale**2
    centres = [np.average(np.argwhere(part), axis=0, weights=np.clip(dark[part], 0, 1)) for part in near]
    return {
        "area": area,
        "circumference": 2 * np.sqrt(np.pi * area),  # of the disc of equal area
        "places": np.array(centres).reshape(-1, 2) / scale,
    }


def nearest(places: np.ndarray) -> float:
    return float(spatial.cKDTree(places).query(places, k=2)[0][:, 1].mean())


def pictures(
    control: str, number: int, count: int, display: Display = DISPLAY, **change: Any
) -> list[dict[str, np.ndarray]]:
    what = Numerosity(number, control, **change)
    return [measured(numerosity(what, display, rng=np.random.default_rng([number, i])), display) for i in range(count)]


class TestPictures:
    @pytest.mark.parametrize("control", CONTROLS)
    @pytest.mark.parametrize("number", NUMBERS)
    def test_the_dots_can_be_counted_in_the_pixels(self, control: str, number: int):
        assert {len(dots["area"]) for dots in pictures(control, number, 12)} == {number}

    def test_up_to_thirty_on_request(self):
        for number in (12, 30):
            assert {len(dots["area"]) for dots in pictures("standard", number, 2, FINE)} == {number}
            assert {len(dots["area"]) for dots in pictures("equal_area", number, 2, FINE)} == {number}

    def test_with_standard_displays_area_and_circumference_grow_with_number(self):
        for name in ("area", "circumference"):
            totals = [np.mean([dots[name].sum() for dots in pictures("standard", n, 15)]) for n in NUMBERS]
            per_dot = np.array(totals) / NUMBERS
            np.testing.assert_allclose(per_dot, per_dot.mean(), rtol=0.1)

    def test_diameters_are_uniform_between_their_ends(self):
        diameters = 2 * np.sqrt(np.concatenate([d["area"] for d in pictures("standard", 4, 60)]) / np.pi)
        assert diameters.min() > 0.49
        assert diameters.max() < 0.91
        assert diameters.mean() == pytest.approx(0.7, abs=0.03)
        assert diameters.std() == pytest.approx(0.4 / math.sqrt(12), abs=0.02)

    @pytest.mark.parametrize("number", NUMBERS)
    def test_equal_area(self, number: int):
        for dots in pictures("equal_area", number, 8):
            assert dots["area"].sum() == pytest.approx(1.2, rel=0.02)
        assert pictures("equal_area", number, 1, total_area=0.9)[0]["area"].sum() == pytest.approx(0.9, rel=0.02)

    @pytest.mark.parametrize("number", NUMBERS)
    def test_equal_circumference(self, number: int):
        for dots in pictures("equal_circumference", number, 8):
            assert dots["circumference"].sum() == pytest.approx(6.0, rel=0.02)

    @pytest.mark.parametrize(("control", "spacing"), [("low_density", 2.1), ("high_density", 1.2)])
    @pytest.mark.parametrize("number", NUMBERS[1:])
    def test_density_is_the_same_for_every_number(self, control: str, spacing: float, number: int):
        for dots in pictures(control, number, 8):
            assert nearest(dots["places"]) == pytest.approx(spacing, abs=0.04)  # deg: a third of a pixel

    @pytest.mark.parametrize("number", NUMBERS[2:])
    def test_linear_dots_lie_on_one_line_and_others_do_not(self, number: int):
        def off_line(dots: dict[str, np.ndarray]) -> float:
            return float(np.linalg.svd(dots["places"] - dots["places"].mean(0))[1][1])

        assert max(map(off_line, pictures("linear", number, 8))) < 0.05  # deg
        assert np.median([off_line(dots) for dots in pictures("standard", number, 8)]) > 0.3

    def test_lines_have_every_direction(self):
        places = [place_dots(Numerosity(3, "linear"), np.random.default_rng(i)) for i in range(60)]
        angles = np.array([math.atan2(dots.y[2] - dots.y[0], dots.x[2] - dots.x[0]) for dots in places])
        assert abs(np.exp(1j * angles).mean()) < 0.25
        assert abs(np.exp(2j * angles).mean()) < 0.25

    def test_mixed_shapes_are_of_several_kinds_and_keep_the_area(self):
        what = Numerosity(5, "shapes")
        kinds = np.concatenate([place_dots(what, np.random.default_rng(i)).shape for i in range(20)])
        assert set(kinds) == set(range(len(POLYGONS)))
        for seed in range(6):
            dots = place_dots(what, np.random.default_rng(seed))
            seen = measured(numerosity(what, FINE, rng=np.random.default_rng(seed)), FINE)
            assert seen["area"].sum() == pytest.approx(np.pi / 4 * (dots.diameter**2).sum(), rel=0.01)

    @pytest.mark.parametrize("control", CONTROLS)
    def test_dots_keep_their_gap_and_stay_on_the_disc(self, control: str):
        for seed in range(40):
            dots = place_dots(Numerosity(5, control), np.random.default_rng(seed))
            reach = REACH[dots.shape] * dots.diameter
            places = np.stack([dots.x, dots.y], 1)
            between = spatial.distance.squareform(spatial.distance.pdist(places)) - reach[:, None] - reach
            assert between[np.triu_indices(5, 1)].min() >= 0.2 - 1e-9
            assert (np.hypot(dots.x, dots.y) + reach).max() <= 2.9 + 1e-9

    def test_places_fill_the_disc_evenly(self):
        places = [place_dots(Numerosity(1), np.random.default_rng(i)) for i in range(400)]
        x, y = np.array([(dots.x[0], dots.y[0]) for dots in places]).T
        far = np.hypot(x, y)
        assert far.max() > 2.4
        # in a disc of radius R the mean distance from the centre is 2R/3; R is 2.9 less half of the mean diameter
        assert far.mean() == pytest.approx(2 / 3 * 2.55, abs=0.08)
        assert abs(x.mean()) < 0.15 and abs(y.mean()) < 0.15

    def test_the_picture_is_a_grey_disc_on_black(self):
        image = numerosity(Numerosity(1, luminance=(0.6, 0.2)), FINE, rng=np.random.default_rng(3))[..., 0]
        assert image[0].max() == image[:, 0].max() == 0
        values, counts = np.unique(image, return_counts=True)
        common = values[np.argsort(-counts)[:3]].tolist()
        assert sorted(common) == [0, 51, 153]
        disc = (image > 40).sum() / FINE.pixels_per_degree**2
        assert disc == pytest.approx(np.pi * 9, rel=0.005)

    def test_a_picture_depends_on_its_generator_alone(self):
        what = Numerosity(4)
        one, same, other = (numerosity(what, DISPLAY, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)

    def test_resolution_does_not_change_what_is_drawn(self):
        what = Numerosity(4, "shapes")
        coarse, fine = (numerosity(what, d, rng=np.random.default_rng(9))[..., 0] for d in (DISPLAY, FINE))
        averaged = fine.reshape(64, 5, 64, 5).mean((1, 3))
        assert np.abs(averaged - coarse).max() < 4  # grey levels


class TestShapes:
    @pytest.mark.parametrize("shape", range(len(POLYGONS)))
    @pytest.mark.parametrize("angle", [0.0, 0.4, 2.0])
    def test_fraction_of_pixels_against_many_points(self, shape: int, angle: float):
        centre, diameter = (13.3, 11.8), 9.7
        one = np.array([shape])
        left, top, share = covers(*(np.array([v]) for v in (*centre, diameter)), one, np.array([angle]))
        assert share.sum() == pytest.approx(np.pi / 4 * diameter**2, rel=1e-2)
        points = (np.arange(share.shape[1] * 20) + 0.5) / 20
        x, y = points + left[0] - centre[0], points[:, None] + top[0] - centre[1]
        corners = POLYGONS[shape]
        if corners is None:
            inside = x**2 + y**2 < (diameter / 2) ** 2
        else:
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            hull = spatial.ConvexHull(diameter * corners @ turn.T).equations
            inside = np.all([a * x + b * y + c < 0 for a, b, c in hull], axis=0)
        by_points = inside.reshape(share.shape[1], 20, share.shape[1], 20).mean((1, 3))
        np.testing.assert_allclose(share[0], by_points, atol=0.06)

    def test_reach_is_that_of_the_farthest_corner(self):
        assert REACH[0] == 0.5
        assert REACH[2] == pytest.approx(math.sqrt(math.pi / 8))  # a square of area pi/4


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"number": 0}, "number is 0; give a whole number of at least 1"),
            ({"number": 2.5}, "number is 2.5; give a whole number"),
            ({"control": "equal_aera"}, "control 'equal_aera' is unknown; did you mean 'equal_area'"),
            ({"disc": -6}, "disc is -6; give a number above 0"),
            ({"diameters": (0.9, 0.5)}, r"diameters is \(0.9, 0.5\); give the smaller first"),
            ({"diameters": 0.5}, "diameters is 0.5; give two numbers"),
            ({"gap": -0.1}, "gap is -0.1; give a number of at least 0"),
            ({"spacings": (1.0, 0.0)}, "spacings is 0.0; give a number above 0"),
            ({"total_area": math.nan}, "total_area is nan; give a finite number"),
            ({"luminance": (0.5, 0.5)}, "give two different fractions of white"),
        ],
    )
    def test_impossible_parameters(self, change: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message):
            Numerosity(**{"number": 3, **change})

    @pytest.mark.parametrize(
        "change",
        [
            {"number": 30, "diameters": (0.9, 0.9)},
            {"number": 30, "control": "linear"},
            {"number": 30, "control": "low_density", "diameters": (0.2, 0.2)},
            {"number": 1, "diameters": (6.0, 6.0)},
            {"number": 3, "control": "equal_area", "total_area": 30.0},
        ],
    )
    def test_displays_that_cannot_be(self, change: dict[str, Any]):
        number, control = change["number"], change.get("control", "standard")
        with pytest.raises(InputError, match=rf"number is {number}: {control} dots .* do not fit on a disc of 6 deg; give"):
            numerosity(Numerosity(**change), DISPLAY, rng=np.random.default_rng(0))

    def test_a_disc_larger_than_the_screen(self):
        with pytest.raises(InputError, match=r"disc is 9 deg, larger than the screen; give at most .*8 deg"):
            numerosity(Numerosity(2, disc=9.0), DISPLAY, rng=np.random.default_rng(0))
