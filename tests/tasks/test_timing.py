"""Time once: durations and periods in ms, their steps, and the batches that hold them."""

from __future__ import annotations

import numpy as np
import pytest

from cordstasks import tasks
from cordstasks.errors import InputError
from cordstasks.stimuli import Display
from cordstasks.tasks import Batch
from cordstasks.tasks.abstract.base import Schedule
from cordstasks.tasks.timing import check_durations, ends_of, steps_before

SMALL = {"display": Display(pixels=16, field_of_view=8.0)}
VISUAL = ("numerosity", {**SMALL, "fixation": (50.0, 400.0), "sample_time": 100.0, "delay": (100.0, 500.0), "pictures": 3})


class TestSteps:
    @pytest.mark.parametrize(
        ("time", "dt", "steps"), [(100, 20, 5), (119.9, 20, 5), (0.3, 0.1, 3), (0, 7, 0), (350, 20, 17)]
    )
    def test_whole_steps_that_end_by_a_time(self, time: float, dt: float, steps: int):
        assert steps_before(time, dt) == steps
        assert isinstance(steps_before(time, dt), int)
        found = steps_before(np.array([[time, np.nan], [0.0, time]]), dt)
        assert found.tolist() == [[steps, 0], [0, steps]] and found.dtype == np.int64

    @pytest.mark.parametrize("dt", [0.1, 0.7, 1 / 3, 100 / 11, 13.7])
    def test_rounding_loses_no_step(self, dt: float):
        steps = np.arange(3000)
        np.testing.assert_array_equal(steps_before(steps * dt, dt), steps)
        assert [steps_before(float(step * dt), dt) for step in steps] == steps.tolist()

    def test_ends(self):
        assert (ends_of(3.0), ends_of((1.0, 2.0))) == ((3.0, 3.0), (1.0, 2.0))


class TestSchedule:
    """By hand, at 20 ms: fixation 3 steps; cue 1 and 3 steps; response 2 steps."""

    def schedule(self, **options: int) -> Schedule:
        return Schedule({"fixation": 70.0, "cue": np.array([20.0, 60.0]), "response": 40.0}, trials=2, dt=20.0, **options)

    def test_periods_are_in_ms_as_the_steps_have_them(self):
        periods = self.schedule().periods
        assert {name: ends.tolist() for name, ends in periods.items()} == {
            "fixation": [[0, 60], [0, 60]],
            "cue": [[60, 80], [60, 120]],
            "response": [[80, 120], [120, 160]],
        }
        assert (self.schedule().length, self.schedule(least=11).length) == (8, 11)

    def test_steps_between_periods(self):
        schedule = self.schedule()
        assert schedule.between("fixation") == slice(0, 3)
        found = schedule.between("fixation", "cue")
        assert [np.flatnonzero(row).tolist() for row in found] == [[0, 1, 2, 3], [0, 1, 2, 3, 4, 5]]
        with pytest.raises(InputError, match="period 'que' is unknown; did you mean 'cue'"):
            schedule.between("que")

    def test_values_are_added_in_place(self):
        schedule, array = self.schedule(), np.zeros((2, 8), np.float32)
        schedule.add(array, schedule.between("fixation"), 1.0)
        schedule.add(array, schedule.between("cue", "response"), np.array([2.0, 3.0]))
        assert array.tolist() == [[1, 1, 1, 2, 2, 2, 0, 0], [1, 1, 1, 3, 3, 3, 3, 3]]


class TestBatches:
    @pytest.mark.parametrize(("name", "parameters"), [VISUAL, *((name, {}) for name in tasks.abstract_names())])
    @pytest.mark.parametrize("dt", [10.0, 7.0])
    def test_periods_of_every_kind_of_batch_are_in_ms(self, name: str, parameters: dict[str, object], dt: float):
        batch: Batch = tasks.get(name, **parameters).sample(9, seed=1, dt=dt)
        durations = tasks.get(name, **parameters).timing
        assert isinstance(batch, Batch)
        assert set(batch.periods) <= set(durations)
        last = list(durations)[-1] if name != "numerosity" else "test"
        for row in range(9):
            for period, steps in ((period, batch.steps(period)[row]) for period in batch.periods):
                start, end = batch.periods[period][row]
                if np.isnan(start):
                    assert steps.tolist() == [0, 0]
                    continue
                assert steps.tolist() == [np.floor(time / dt + 1e-9) for time in (start, end)]
                low, high = ends_of(durations[period])
                assert low - dt <= end - start <= high + 1e-9
            assert np.flatnonzero(batch.response_mask[row]).tolist() == list(range(*batch.steps(last)[row]))
            assert (batch.mask[row, batch.lengths[row] :] == 0).all()
        with pytest.raises(InputError, match="period 'fixatoin' is unknown; did you mean 'fixation'"):
            batch.steps("fixatoin")

    @pytest.mark.parametrize("name", ["dms", "memory-pro", "contextual-dm"])
    def test_selected_abstract_trials_are_as_long_as_the_longest_of_them(self, name: str):
        batch = tasks.get(name).sample(20, seed=3)
        rows = np.argsort(batch.lengths)[[4, 1, 2]]
        part = batch.select(rows)
        steps = int(batch.lengths[rows].max())
        assert type(part) is type(batch) and len(part) == 3 and part.dt == batch.dt
        assert part.inputs.shape[1] == part.mask.shape[1] == steps <= batch.mask.shape[1]
        for field in ("inputs", "targets", "mask", "response_mask"):
            np.testing.assert_array_equal(getattr(part, field), getattr(batch, field)[rows, :steps])
        for field in ("answers", "lengths"):
            np.testing.assert_array_equal(getattr(part, field), getattr(batch, field)[rows])
        for field in ("conditions", "periods"):
            for key, values in getattr(batch, field).items():
                np.testing.assert_array_equal(getattr(part, field)[key], values[rows])
        task = tasks.get(name)
        assert task.score(part.targets, part) == pytest.approx(1)

    def test_rows_may_be_a_slice_and_keep_their_length(self):
        batch = tasks.get("dms").sample(10, seed=3)
        part = batch.select(slice(2, 7), trim=False)
        np.testing.assert_array_equal(part.inputs, batch.inputs[2:7])
        assert part.lengths.max() < part.inputs.shape[1]
        assert batch.select(batch.conditions["sample"] == 1).conditions["sample"].tolist() == [1] * int(
            batch.conditions["sample"].sum()
        )
        with pytest.raises(InputError, match="selects none of 10 trials; select at least one"):
            batch.select([])


def test_durations_of_a_task_are_checked_together():
    class Some:
        timing: object = {"fixation": 100.0, "delay": 0.0}

    with pytest.raises(InputError, match=r"delay=0.0: give a duration above 0 ms"):
        check_durations(Some())  # type: ignore[arg-type]
    Some.timing = 3
    with pytest.raises(InputError, match=r"timing=3: give {period: duration in ms}"):
        check_durations(Some())  # type: ignore[arg-type]
