"""Decisions at a bound, chronometric functions and drift-diffusion models, against loops, closed forms and simulations."""

from __future__ import annotations

import numpy as np
import pytest

from cordstasks import analysis
from cordstasks.analysis.psychophysics import (
    Decisions,
    DiffusionFit,
    best_bound,
    chronometric_curve,
    decide,
    fit_chronometric,
    fit_diffusion,
    log_odds,
    read_observers,
    reward_rate,
    speed_accuracy,
)
from cordstasks.errors import InputError

TIMES = np.array([20.0, 40.0, 60.0, 80.0, 100.0])


def evidence_of(*options: list[float]) -> np.ndarray:
    """Of one trial, (1, time, option)."""
    return np.array(options).T[None]


def walks(trials: int, *, steps: int = 300, drift: float = 0.02, seed: int = 0) -> np.ndarray:
    """Evidence (trial, time, 2) that drifts towards option 0."""
    steps_taken = drift + 0.2 * np.random.default_rng(seed).standard_normal((trials, steps))
    walk = np.cumsum(steps_taken, 1)
    return np.stack([walk, -walk], 2)


class TestLogOdds:
    def test_of_two_it_is_the_difference(self):
        outputs = np.random.default_rng(0).normal(size=(3, 4, 2))
        np.testing.assert_allclose(log_odds(outputs)[..., 0], outputs[..., 0] - outputs[..., 1])

    def test_of_several_it_is_of_one_against_all_others(self):
        outputs = np.random.default_rng(1).normal(size=(2, 3, 5))
        share = np.exp(outputs) / np.exp(outputs).sum(2, keepdims=True)
        np.testing.assert_allclose(log_odds(outputs), np.log(share / (1 - share)))

    def test_one_answer_competes_with_nothing(self):
        with pytest.raises(InputError, match="outputs has 1 option; give two or more"):
            log_odds(np.zeros((2, 3, 1)))


class TestDecide:
    def one(self, *options: list[float], bound: float = 1.0, start: float = 20.0, end: float = 100.0, **more):
        found = decide(evidence_of(*options), bound, times=TIMES, start=[start], end=[end], **more)
        return int(found.option[0]), found.time[0]

    def test_time_is_interpolated_within_the_step(self):
        assert self.one([0, 0.5, 1.5, 3, 3], [0] * 5) == (0, pytest.approx(30.0))

    def test_evidence_at_the_bound_from_the_start_takes_no_time(self):
        assert self.one([2.0] * 5, [0] * 5) == (0, 0.0)
        assert self.one([0, 1, 1, 1, 1], [0] * 5, start=40.0) == (0, 0.0)

    def test_before_the_start_nothing_counts(self):
        assert self.one([5, 5, 0, 0, 0], [0, 0, 0, 1.0, 1.0], start=40.0) == (1, pytest.approx(40.0))

    def test_after_the_end_nothing_counts(self):
        option, time = self.one([0, 0, 0, 0, 2.0], [0] * 5, end=80.0)
        assert option == -1
        assert np.isnan(time)

    def test_the_larger_evidence_wins_within_a_step(self):
        assert self.one([0, 2.0, 2, 2, 2], [0, 3.0, 0, 0, 0])[0] == 1

    def test_a_silent_option_ends_no_trial(self):
        assert self.one([9.0] * 5, [0, 0, 2.0, 2, 2], silent=(0,))[0] == 1
        assert self.one([9.0] * 5, [0.0] * 5, silent=(0,))[0] == -1

    def test_all_trials_at_once_as_one_by_one(self):
        values, start = walks(40), np.linspace(0, 900, 40)
        clock = 20.0 * np.arange(1, 301)
        end = np.full(40, 6000.0)
        together = decide(values, 1.5, times=clock, start=start, end=end)
        for trial in range(40):
            alone = decide(values[[trial]], 1.5, times=clock, start=start[[trial]], end=end[[trial]])
            assert together.option[trial] == alone.option[0]
            np.testing.assert_equal(together.time[trial], alone.time[0])
        np.testing.assert_array_equal(together.available, end - start)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"times": TIMES[:3]}, "times has 3 steps but evidence has 5"),
            ({"start": [0, 0]}, "start has 2 trials but evidence has 1"),
            ({"end": [10.0]}, "end=10 of trial 0: is before start=20"),
            ({"end": [np.nan]}, "end holds 1 values that are not finite"),
        ],
    )
    def test_mistakes(self, change: dict, message: str):
        given = {"times": TIMES, "start": [20.0], "end": [100.0], **change}
        with pytest.raises(InputError, match=message):
            decide(evidence_of([0.0] * 5, [0.0] * 5), 1.0, **given)


class TestSpeedAndAccuracy:
    timing = {"times": 20.0 * np.arange(1, 301), "start": np.zeros(400), "end": np.full(400, 6000.0)}  # noqa: RUF012

    def test_higher_bounds_are_slower_and_more_accurate(self):
        rows = speed_accuracy(walks(400), np.zeros(400, int), **self.timing, bounds=[0.3, 1.0, 2.5])
        assert rows[0]["accuracy"] < rows[1]["accuracy"] < rows[2]["accuracy"]
        assert rows[0]["mean_rt"] < rows[1]["mean_rt"] < rows[2]["mean_rt"]
        assert rows[2]["decided"] < 1
        # Wald's formula of a walk to a bound, whose overshoot makes it somewhat higher
        expected = 1 / (1 + np.exp(-2 * 0.02 / 0.2**2 * np.array([1.0, 2.5])))
        np.testing.assert_allclose([row["accuracy"] for row in rows[1:]], expected, atol=0.06)

    def test_reward_rate(self):
        found = decide(
            np.array([[[2.0, 0]], [[0, 2.0]], [[0, 0.0]]]), 1.0, times=[20.0], start=[0, 0, 0], end=[20.0, 20.0, 50.0]
        )
        # right after 20 ms, wrong after 20 ms, and no answer within 50 ms
        rate = reward_rate(found, [0, 0, 0], non_decision=100, inter_trial=1000)
        assert rate == pytest.approx(1000 * 1 / (20 + 20 + 50 + 3 * 1100))

    def test_a_time_out_after_errors_and_a_reward_that_does_not_come_early(self):
        found = decide(
            np.array([[[2.0, 0], [2.0, 0]], [[0, 2.0], [0, 2.0]], [[0, 0.0], [0, 0.0]], [[0, 0], [2.0, 0]]]),
            1.0,
            times=[20.0, 700.0],
            start=np.zeros(4),
            end=np.full(4, 700.0),
        )
        # right after 20 ms, wrong after 20 ms, no answer within 700 ms, and right after 20 + 680 / 2 ms
        options = {"non_decision": 100, "inter_trial": 1000}
        rate = reward_rate(found, np.zeros(4, int), time_out=300, reward_from=200, **options)
        assert rate == pytest.approx(1000 * 2 / (200 + (120 + 300) + (800 + 300) + 460 + 4 * 1000))
        (row,) = speed_accuracy(
            np.array([[[2.0, 0]], [[0, 2.0]]]),
            [0, 0],
            times=[20.0],
            start=[0, 0],
            end=[20.0, 20.0],
            time_out=300,
            reward_from=200,
            bounds=[1.0],
            **options,
        )
        assert row["reward_rate"] == pytest.approx(1000 * 1 / (200 + 420 + 2000))

    def test_a_delayed_reward_and_a_time_out_make_it_worth_waiting(self):
        evidence, answer = walks(400), np.zeros(400, int)
        hasty, patient = (
            best_bound(speed_accuracy(evidence, answer, **self.timing, **options))
            for options in ({}, {"reward_from": 3000.0, "time_out": 3000.0})
        )
        assert patient > 1.2 * hasty

    def test_low_bounds_are_tried_as_finely_as_high_ones(self):
        bounds = np.array([row["bound"] for row in speed_accuracy(walks(400), np.zeros(400, int), **self.timing)])
        np.testing.assert_allclose(bounds[1:] / bounds[:-1], 100 ** (1 / 39))
        assert bounds[-1] == pytest.approx(walks(400).max())

    def test_trials_that_take_no_time_have_no_rate(self):
        found = decide(np.array([[[2.0, 0]]]), 1.0, times=[20.0], start=[0.0], end=[20.0])
        at_once = Decisions(found.option, found.time * 0, found.available)
        with pytest.raises(InputError, match="inter_trial=0: trials that are decided at once"):
            reward_rate(at_once, [0], non_decision=0, inter_trial=0)

    def test_the_best_bound_is_the_lowest_of_the_best(self):
        rows = speed_accuracy(walks(400), np.zeros(400, int), **self.timing)
        assert len(rows) == 40
        best = best_bound(rows)
        assert max(row["reward_rate"] for row in rows) == next(row for row in rows if row["bound"] == best)["reward_rate"]
        assert best_bound([{"bound": 2.0, "reward_rate": 1.0}, {"bound": 1.0, "reward_rate": 1.0}]) == 1.0

    def test_without_evidence_no_bound_can_be_chosen(self):
        with pytest.raises(InputError, match="evidence: none is above 0"):
            speed_accuracy(np.zeros((2, 5, 2)), [0, 1], times=TIMES, start=[0, 0], end=[100.0, 100.0])

    def test_an_undecided_bound_has_no_accuracy(self):
        (row,) = speed_accuracy(walks(400), np.zeros(400, int), **self.timing, bounds=[1e6])
        assert row["decided"] == row["reward_rate"] == 0
        assert row["accuracy"] is row["interval"] is row["mean_rt"] is None


class TestChronometric:
    def trials(self, seed: int = 0):
        rng = np.random.default_rng(seed)
        strength = np.repeat([0.0, 0.1, 0.2, 0.4], 200)
        correct = rng.random(800) < 0.5 + strength
        time = 600 - 50 * np.log2(np.maximum(strength, 0.05) / 0.05) + 30 * ~correct + rng.normal(0, 40, 800)
        return strength, time, correct

    def test_what_made_the_trials_is_found(self):
        strength, time, correct = self.trials()
        fit = fit_chronometric(strength, time, correct, rng=np.random.default_rng(1))
        assert fit.slope_interval[0] < -50 - 3 < fit.slope_interval[1]  # errors, which are slower, grow fewer
        assert fit.errors_interval[0] < 30 < fit.errors_interval[1]
        assert fit.spearman == -1
        assert -60 < fit.slope < -48

    def test_the_slope_is_that_of_a_regression_over_trials(self):
        strength, time, correct = self.trials()
        moving = strength > 0
        expected = np.polyfit(np.log2(strength[moving]), time[moving], 1)[0]
        assert fit_chronometric(strength, time, correct, rng=np.random.default_rng(1)).slope == pytest.approx(expected)

    def test_means_of_each_level(self):
        strength, time, correct = self.trials()
        rows = chronometric_curve(strength, time, correct, rng=np.random.default_rng(1))
        assert [row["value"] for row in rows] == [0.0, 0.1, 0.2, 0.4]
        kept = (strength == 0.2) & ~correct
        assert rows[2]["wrong"]["mean"] == pytest.approx(time[kept].mean())
        error = time[kept].std() / np.sqrt(kept.sum())
        low, high = rows[2]["wrong"]["interval"]
        assert (high - low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.2)

    def test_no_errors_one_level_or_one_trial(self):
        one = fit_chronometric([0.5] * 4, [400, 410, 420, 430], [True] * 4, rng=np.random.default_rng(0)).as_dict()
        assert one["slope"] is one["spearman"] is one["errors_minus_right"] is one["slope_interval"] is None
        (row,) = chronometric_curve([0.5], [400], [True], rng=np.random.default_rng(0))
        assert (row["mean"], row["interval"], row["wrong"]["mean"]) == (400.0, None, None)

    def test_trials_that_are_alone_show_no_variation(self):
        strength, time = [0.1, 0.2, 0.3, 0.4, 0.5], [500, 520, 430, 410, 415]
        fit = fit_chronometric(strength, time, [True] * 5, rng=np.random.default_rng(0)).as_dict()
        assert fit["slope"] is not None
        assert fit["slope_interval"] is None
        strength, time, correct = self.trials()
        first = np.flatnonzero(~correct & (strength == 0.2))[0]
        kept = correct | (np.arange(800) == first)
        one = fit_chronometric(strength[kept], time[kept], correct[kept], rng=np.random.default_rng(0)).as_dict()
        assert one["errors_minus_right"] == pytest.approx(time[first] - time[correct & (strength == 0.2)].mean())
        assert one["errors_minus_right_interval"] is None
        assert one["slope_interval"] is not None

    def test_only_strengths_with_both_outcomes_tell_of_errors(self):
        time = [400, 500, 300, 350]
        fit = fit_chronometric([0.1, 0.1, 0.5, 0.5], time, [1, 0, 1, 1], rng=np.random.default_rng(0))
        assert fit.errors == pytest.approx(100)


class TestDiffusion:
    def test_what_made_the_trials_is_found(self):
        pytest.importorskip("pyddm", reason="drift-diffusion models need cordstasks[ddm]")
        rng = np.random.default_rng(0)
        strength = np.repeat([0.0, 0.1, 0.3], 250)
        walk = np.cumsum(8 * strength[:, None] * 0.002 + np.sqrt(0.002) * rng.standard_normal((750, 2000)), 1)
        reached = np.abs(walk) >= 0.6
        first = reached.argmax(1)
        late = ~reached.any(1) | (first * 2 + 250 > 900)
        right, time = walk[np.arange(750), first] > 0, first * 2.0 + 250
        fit = fit_diffusion(strength[~late], time[~late], right[~late], undecided=strength[late], deadline=900.0)
        assert 0 < late.sum() < 200
        assert fit.trials == 750
        assert fit.drift == pytest.approx(8, rel=0.12)
        assert fit.bound == pytest.approx(0.6, rel=0.1)  # steps overshoot the bound
        assert fit.non_decision == pytest.approx(250, abs=30)
        assert fit.at_bound == ()

    def test_predictions_of_the_closed_form(self):
        fit = DiffusionFit(10.0, 0.8, 300.0, 0.0, 0.0, 10, ())
        accuracy, mean = fit.predict([0.0, 1e-9, 0.2])
        np.testing.assert_allclose(accuracy, [0.5, 0.5, 1 / (1 + np.exp(-3.2))])
        np.testing.assert_allclose(mean, [940, 940, 300 + 1000 * 0.8 / 2 * np.tanh(1.6)])

    def test_without_pyddm_the_error_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(__import__("sys").modules, "pyddm", None)
        with pytest.raises(InputError, match=r"needs PyDDM, which is not installed: pip install 'cordstasks\[ddm\]'"):
            fit_diffusion([0.1], [500.0], [True])

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"coherence": [0.0] * 12}, "12 trials, the strongest of 0; give ten with motion"),
            ({"reaction_time": [5e5] * 12}, "to 500000 ms; give times in ms"),
            ({"reaction_time": [0.0] * 12}, "the shortest is 0 ms, and the model has none of 0; add a non-decision time"),
            ({"undecided": [0.1]}, "deadline=None: give the reaction time"),
            ({"correct": [True]}, "correct has 1 trials but coherence has 12"),
        ],
    )
    def test_mistakes(self, given: dict, message: str):
        pytest.importorskip("pyddm", reason="drift-diffusion models need cordstasks[ddm]")
        trials = {"coherence": [0.1] * 12, "reaction_time": [500.0] * 12, "correct": [True] * 12}
        with pytest.raises(InputError, match=message):
            fit_diffusion(**{**trials, **given})


class TestFigures:
    def rows(self):
        rng = np.random.default_rng(0)
        strength = np.repeat([0.0, 0.1, 0.4], 40)
        correct = np.concatenate([rng.random(80) < 0.7, np.ones(40, bool)])
        curve = chronometric_curve(strength, rng.uniform(300, 800, 120), correct, rng=rng)
        scores = analysis.accuracy_by_condition(strength, correct)
        return curve, scores

    def test_four_panels(self):
        curve, scores = self.rows()
        rows = [
            {**c, "accuracy": s["accuracy"], "accuracy_interval": s["interval"]} for c, s in zip(curve, scores, strict=True)
        ]
        trade = speed_accuracy(
            walks(30), np.zeros(30, int), times=20.0 * np.arange(1, 301), start=np.zeros(30), end=np.full(30, 6000.0)
        )
        rows.append({"value": 0.9, "trials": 0, "undecided": 4})  # no answers: not drawn
        figure = analysis.figures.reaction_times(rows, [400.0, 500.0], [], trade, bound=0.5)
        score, time, spread, trade_off, _ = figure.axes
        assert [text.get_text() for text in score.get_xticklabels()] == ["0", "0.1", "0.4"]
        assert [len(line.get_xdata()) for line in time.get_lines()[:1]] == [3]
        assert spread.get_legend_handles_labels()[1] == ["right answers (2)", "errors (0)"]
        assert "bound in use, 0.5" in [text.get_text() for text in trade_off.get_legend().get_texts()]
        with pytest.raises(InputError, match="curve has no rows"):
            analysis.figures.reaction_times(rows, [400.0], [], [], bound=0.5)

    def test_observers(self):
        curve, scores = self.rows()
        merged = [{**score, "rt": time} for score, time in zip(scores, curve, strict=True)]
        fit = DiffusionFit(10.0, 0.8, 300.0, 0.0, 0.0, 10, ()).as_dict()
        rows = [{"observer": "model", "diffusion": fit}, {"observer": "monkey $1", "diffusion": None}]
        score, time = analysis.figures.reaction_time_observers([merged, merged], rows).axes
        assert [text.get_text() for text in score.get_legend().get_texts()] == ["model", r"monkey \$1"]
        expected = DiffusionFit(10.0, 0.8, 300.0, 0.0, 0.0, 10, ()).predict([0, 0.1, 0.4])[1]
        lines = [np.asarray(line.get_ydata(), float) for line in time.get_lines()]
        assert sum(len(line) == 3 and np.allclose(line, expected) for line in lines) == 1
        with pytest.raises(InputError, match="curves and rows are 1 and 2"):
            analysis.figures.reaction_time_observers([merged], rows)


def test_the_monkeys_of_roitman_and_shadlen_are_fitted_as_in_pyddm_s_documentation(shared):
    pytest.importorskip("pyddm", reason="drift-diffusion models need cordstasks[ddm]")
    monkey = read_observers(shared / "data" / "roitman_rts.csv")[0]
    assert monkey.reaction_time is not None
    assert monkey.reaction_time[0] == pytest.approx(355)
    fit = fit_diffusion(monkey.coherence, monkey.reaction_time, monkey.correct)
    # its tutorial finds 10.4, 0.744 and 311 ms in the trials between 0.1 and 1.65 s
    assert fit.drift == pytest.approx(10.4, rel=0.02)
    assert fit.bound == pytest.approx(0.744, rel=0.02)
    assert fit.non_decision == pytest.approx(311, abs=10)
