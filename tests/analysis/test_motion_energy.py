"""Motion energy of drifting gratings and dots, and psychophysical kernels of choices that are known."""

from __future__ import annotations

import numpy as np
import pytest

from cordstasks import analysis
from cordstasks.analysis.psychophysics import motion_energy, psychophysical_kernel
from cordstasks.errors import InputError
from cordstasks.stimuli import Display, RandomDots, random_dots

PIXELS, FRAME = 8.0, 1000 / 75
SETTLED = slice(30, None)  # frames, after which the temporal filters have seen nothing but motion


def grating(direction: float, *, speed: float = 4.0, cycles: float = 1.8, frames: int = 60) -> np.ndarray:
    """A grating that drifts in a direction (deg), (time, height, width): 40 x 48 px."""
    x, y = np.meshgrid(np.arange(48) / PIXELS, -np.arange(40) / PIXELS)
    angle = np.deg2rad(direction)
    along = x * np.cos(angle) + y * np.sin(angle)
    time = np.arange(frames)[:, None, None] * FRAME / 1000
    return np.cos(2 * np.pi * cycles * (along - speed * time))


def energy(movie: np.ndarray, direction: float = 0.0, **options) -> np.ndarray:
    return motion_energy(movie, pixels_per_degree=PIXELS, frame_ms=FRAME, direction=direction, **options)


class TestMotionEnergy:
    @pytest.mark.parametrize("direction", [0.0, 90.0, 180.0, 270.0, 45.0])
    def test_it_is_positive_in_the_direction_of_a_grating_and_negative_in_the_opposite_one(self, direction: float):
        movie = grating(direction)
        here, there = energy(movie, direction)[SETTLED], energy(movie, direction + 180)[SETTLED]
        assert here.min() > 0
        np.testing.assert_allclose(there, -here, rtol=1e-6)
        across = energy(movie, direction + 90)[SETTLED]
        assert np.abs(across).max() < 0.25 * here.mean()

    def test_a_drift_in_time_reversed_is_the_opposite_direction(self):
        movie = grating(0.0)
        assert energy(movie[::-1])[SETTLED].max() < 0

    def test_its_phase_does_not_matter(self):
        """Energy of a filter pair in quadrature: constant while a grating drifts."""
        found = energy(grating(0.0), opponent=False)[SETTLED]
        assert found.std() < 0.1 * found.mean()

    def test_what_does_not_move_has_none(self):
        still = np.repeat(grating(0.0)[:1], 60, 0)
        np.testing.assert_allclose(energy(still), 0, atol=1e-12)
        rng = np.random.default_rng(0)
        flicker = np.repeat(np.repeat(rng.random((60, 1, 1)), 40, 1), 48, 2)
        assert np.abs(energy(flicker)).max() < 0.02 * energy(grating(0.0))[SETTLED].mean()

    def test_it_prefers_a_speed(self):
        found = [energy(grating(0.0, speed=speed))[SETTLED].mean() for speed in (0.5, 4.0, 16.0)]
        assert found[1] > 2 * max(found[0], found[2])

    def test_it_grows_with_the_coherence_of_dots(self):
        display, rng = Display(), np.random.default_rng(0)
        found = []
        for coherence in (0.0, 0.5, 1.0):
            dots = [
                random_dots(RandomDots(coherence=coherence, direction=180.0), display, duration_ms=400.0, rng=rng)
                for _ in range(6)
            ]
            movies = [each.frames[each.shown].mean(3) / 255 for each in dots]
            values = [
                motion_energy(movie, pixels_per_degree=display.pixels_per_degree, frame_ms=display.frame_ms, direction=180.0)
                for movie in movies
            ]
            found.append(np.mean(values))
        assert found[0] < 0.3 * found[1] < 0.3 * found[2]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"frames": np.zeros((3, 4))}, r"frames has shape \(3, 4\)"),
            ({"frames": np.full((3, 4, 5), np.nan)}, "frames holds 60 values that are not finite"),
            ({"frame_ms": 0}, "frame_ms=0: give a number above 0"),
            ({"pixels_per_degree": np.nan}, "pixels_per_degree=nan: give a number above 0"),
        ],
    )
    def test_mistakes(self, change: dict, message: str):
        given = {"frames": np.zeros((3, 4, 5)), "pixels_per_degree": 8.0, "frame_ms": 13.0, **change}
        with pytest.raises(InputError, match=message):
            motion_energy(given.pop("frames"), **given)


class TestKernel:
    def choices(self, *, until: int = 4, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Evidence (trial, time) and choices that follow its first steps."""
        rng = np.random.default_rng(0)
        evidence = 3 + 2 * rng.standard_normal((300, 9))
        return evidence, evidence[:, :until].mean(1) - 3 + noise * rng.standard_normal(300) > 0

    def test_it_is_outside_the_shuffles_when_evidence_counted(self):
        evidence, chose = self.choices()
        found = psychophysical_kernel(evidence, chose, rng=np.random.default_rng(1))
        assert (found.kernel[:4] > found.high[:4]).all()
        assert found.outside[4:].sum() <= 1
        assert found.mean_p_value < 0.01
        expected = (evidence[chose].mean(0) - evidence[~chose].mean(0)) / evidence.std(0)
        np.testing.assert_allclose(found.kernel, expected)

    def test_choices_that_follow_nothing_lie_within_the_shuffles(self):
        outside, small = [], 0
        for seed in range(20):
            rng = np.random.default_rng(seed)
            found = psychophysical_kernel(rng.standard_normal((60, 12)), rng.random(60) < 0.4, rng=rng, shuffles=200)
            outside.append(found.outside.mean())
            small += found.mean_p_value < 0.05
        assert 0.01 < np.mean(outside) < 0.11
        assert small <= 4

    def test_the_interval_is_that_of_a_difference_of_means(self):
        rng = np.random.default_rng(2)
        found = psychophysical_kernel(rng.standard_normal((400, 3)), np.arange(400) < 100, rng=rng, shuffles=2000)
        error = np.sqrt(1 / 100 + 1 / 300)
        np.testing.assert_allclose(found.high, 1.96 * error, rtol=0.12)
        np.testing.assert_allclose(found.low, -1.96 * error, rtol=0.12)

    def test_times_without_variance_count_as_nothing(self):
        evidence, chose = self.choices()
        evidence[:, 5] = 1.0
        found = psychophysical_kernel(evidence, chose, rng=np.random.default_rng(1), shuffles=50)
        assert found.kernel[5] == found.low[5] == found.high[5] == 0
        assert np.isfinite(found.kernel).all()

    def test_only_what_counts_is_compared(self):
        evidence, chose = self.choices(until=9)
        rng = np.random.default_rng(3)
        counted = np.arange(9) < rng.integers(1, 10, 300)[:, None]
        spoilt = np.where(counted, evidence, 1e3 * rng.standard_normal(evidence.shape))
        found, again = (
            psychophysical_kernel(given, chose, counted=counted, rng=np.random.default_rng(1), shuffles=300)
            for given in (spoilt, evidence)
        )
        np.testing.assert_allclose(found.kernel, again.kernel)
        for time in range(9):
            own, picked = counted[:, time], evidence[counted[:, time], time]
            expected = (picked[chose[own]].mean() - picked[~chose[own]].mean()) / picked.std()
            assert found.kernel[time] == pytest.approx(expected)
        error = np.sqrt(sum(1 / (counted[:, 8] & kind).sum() for kind in (chose, ~chose)))
        assert found.high[8] == pytest.approx(1.96 * error, rel=0.2)

    def test_a_time_at_which_only_one_choice_counts(self):
        evidence, chose = self.choices()
        counted = np.ones(evidence.shape, bool)
        counted[chose, 2] = False
        found = psychophysical_kernel(evidence, chose, counted=counted, rng=np.random.default_rng(1), shuffles=50)
        assert found.kernel[2] == 0
        assert found.kernel[1] > 0.3
        with pytest.raises(
            InputError, match=r"counted: has shape \(300,\) and holds int64; give booleans of shape \(300, 9\)"
        ):
            psychophysical_kernel(evidence, chose, counted=np.ones(300, int), rng=np.random.default_rng(1))

    def test_one_choice_only(self):
        with pytest.raises(InputError, match="chose_first: 9 of 9 trials; give both choices"):
            psychophysical_kernel(np.zeros((9, 2)), np.ones(9, bool), rng=np.random.default_rng(0))

    def test_figure(self):
        evidence, chose = self.choices()
        found = psychophysical_kernel(evidence, chose, rng=np.random.default_rng(1), shuffles=50)
        (axis,) = analysis.figures.kernel(found, 10.0 * np.arange(9), until=70.0).axes
        assert axis.get_legend().get_texts()[0].get_text() == "95 % of shuffled choices"
        np.testing.assert_allclose(axis.get_lines()[1].get_ydata(), found.kernel)
        with pytest.raises(InputError, match="times has 3 trials but found has 9"):
            analysis.figures.kernel(found, [0, 1, 2])

    def test_figure_of_decisions(self):
        evidence, chose = self.choices()
        found = [
            psychophysical_kernel(part, chose, rng=np.random.default_rng(1), shuffles=50)
            for part in (evidence, evidence[:, 4:])
        ]
        figure = analysis.figures.kernels_to_decision(found[0], 10.0 * np.arange(9), found[1], 10.0 * np.arange(-5, 0))
        left, right = figure.axes
        np.testing.assert_allclose(right.get_lines()[1].get_ydata(), evidence_difference(evidence[:, 4:], chose))
        assert left.get_ylim() == right.get_ylim()
        assert right.get_xlabel() == "time from the decision (ms)"
        with pytest.raises(InputError, match="times has 9 trials but found has 5"):
            analysis.figures.kernels_to_decision(found[0], 10.0 * np.arange(9), found[1], 10.0 * np.arange(9))


def evidence_difference(evidence: np.ndarray, chose: np.ndarray) -> np.ndarray:
    """The kernel by its definition."""
    return (evidence[chose].mean(0) - evidence[~chose].mean(0)) / evidence.std(0)
