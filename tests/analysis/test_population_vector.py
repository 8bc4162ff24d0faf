"""Population vectors against angles that are known."""

from __future__ import annotations

import numpy as np
import pytest

from cordstasks.analysis import population_angle
from cordstasks.errors import InputError

LOCATIONS = np.arange(8) * 45.0


class TestPopulationAngle:
    def test_a_bump_of_activity_is_read_wherever_it_is(self):
        true = np.array([0.0, 17.0, 123.4, 222.0, 359.0])
        rates = np.exp(2 * np.cos(np.deg2rad(true[:, None] - LOCATIONS)))
        np.testing.assert_allclose(
            population_angle(rates, LOCATIONS), true, atol=0.01
        )  # deg; 8 units sample a von Mises well

    def test_two_units_average_by_their_rates(self):
        # by hand: 3 to the right and 1 upward is atan(1/3)
        rates = [[3.0, 1.0, 0.0], [0.0, 2.0, 2.0]]
        np.testing.assert_allclose(population_angle(rates, [0.0, 90.0, 180.0]), [np.rad2deg(np.arctan(1 / 3)), 135.0])

    def test_angles_are_averaged_across_zero(self):
        assert population_angle([[1.0, 1.0]], [350.0, 10.0]) % 360 == pytest.approx(0.0, abs=1e-9)
        assert population_angle([[1.0, 1.0]], [-20.0, -10.0]) == pytest.approx(345.0)

    def test_logits_weigh_as_probabilities(self):
        probabilities = np.array([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]])
        angles = population_angle(probabilities, [0.0, 120.0, 240.0])
        shifted = np.log(probabilities) + np.array([[1000.0], [-5.0]])  # which changes no probability
        np.testing.assert_allclose(population_angle(shifted, [0.0, 120.0, 240.0], softmax=True), angles)

    def test_what_cancels_points_nowhere(self):
        angles = population_angle([[1.0, 1.0], [1.0, 0.9], [0.0, 0.0]], [0.0, 180.0])
        assert np.isnan(angles).tolist() == [True, False, True]
        assert angles[1] == pytest.approx(0, abs=1e-9)

    @pytest.mark.parametrize(
        ("activity", "locations", "message"),
        [
            ([[1.0, 2.0]], [0.0], "locations has 1 angles but activity has 2 units; give one for each"),
            ([[1.0, -2.0]], [0.0, 90.0], "activity reaches -2; give rates of at least 0, or logits with softmax=True"),
            ([1.0, 2.0], [0.0, 90.0], r"activity has shape \(2,\); give an array \(trial, unit\)"),
            ([[1.0, np.nan]], [0.0, 90.0], "activity holds 1 values that are not finite"),
        ],
    )
    def test_bad_input_is_named(self, activity: object, locations: object, message: str):
        with pytest.raises(InputError, match=message):
            population_angle(activity, locations)
