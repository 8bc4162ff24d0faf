"""Settings of abstract runs: every wrong type and range is one line; NumPy's numbers and lists do as well."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from itertools import product
from typing import Any

import numpy as np
import pytest

from cordstasks import tasks
from cordstasks.errors import InputError
from cordstasks.runs.abstract_command import given_settings, parser, seeds, settings
from cordstasks.training.abstract_settings import MOST_SEEDS, Settings, checked

NAN = math.nan
WRONG: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(
        ("units", "rank", "steps", "batch", "evaluate_every", "validation", "heldout"),
        (0, -3, 1.0, "5", True, None, NAN, [5], 10**30),
    ),
    **dict.fromkeys(("learning_rate", "clip", "dt", "tau"), (0, -1.0, "1", True, None, NAN, math.inf, [1.0], 10**400)),
    **dict.fromkeys(("noise", "gain"), (-0.1, "1", True, None, NAN, math.inf, (1.0,))),
    "density": (0, 1.1, "0.2", True, None, NAN),
    "excitatory": (0, 1, "0.8", True, NAN, [0.8]),
    "goal": (1.1, "1", True, NAN, -math.inf),
    "train_inputs": ("false", "true", 0, 1, None),
    "train_outputs": ("false", 0.0, []),
    "shape": ((4, 5), (4, 5, 5, 1), (4.0, 5, 5), (0, 5, 5), "4x5x5", 100, (True, 10, 10)),
    "seeds": ((), (1, 1), 3, "0:3", (0, -1), (0.0, 1.0), (True,), [[0]], None),
    "parameters": (5, "delay", [("delay", 500)], {1: 2}, {"delays": 5}, {"delay": "x"}, {"delay": True}, {"delay": "1"}),
    "task": ("dmz", 5, None, ["dms"]),
    "connectivity": ("fulll", None, 3, ["full"]),
    "activation": ("sigmoid", True, ("relu",)),
    "form": ("rates", 1.0),
}  # fmt: skip


class TestSettings:
    def test_every_field_is_tried(self):
        assert {field.name for field in fields(Settings)} == set(WRONG)

    @pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
    def test_wrong_types_and_ranges_are_one_line_with_the_value(self, name: str, value: Any):
        given = {"task": "dms", name: value}
        with pytest.raises(InputError) as caught:
            Settings(**given)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value) or name == "parameters"
        if name not in ("parameters", "seeds", "shape"):
            assert repr(value) in str(caught.value)

    @pytest.mark.parametrize(
        ("given", "plain"),
        [
            ({"units": np.int64(16), "steps": np.uint8(3)}, {"units": 16, "steps": 3}),
            ({"learning_rate": np.float32(0.5), "dt": 20}, {"learning_rate": 0.5, "dt": 20.0}),
            ({"seeds": np.arange(3)}, {"seeds": (0, 1, 2)}),
            ({"seeds": range(2, 4)}, {"seeds": (2, 3)}),
            ({"seeds": [np.int32(4), 1]}, {"seeds": (4, 1)}),
            ({"train_inputs": np.bool_(False)}, {"train_inputs": False}),
            ({"connectivity": "conv", "shape": [4, 5, 5]}, {"connectivity": "conv", "shape": (4, 5, 5)}),
            ({"parameters": {"delay": [500, 700]}}, {"parameters": {"delay": (500, 700)}}),
            ({"parameters": {"delay": np.array([500.0, 700.0])}}, {"parameters": {"delay": (500.0, 700.0)}}),
        ],
    )
    def test_numpy_and_lists_do_as_well(self, given: dict[str, Any], plain: dict[str, Any]):
        one, two = Settings("dms", **given), Settings("dms", **plain)
        assert one == two
        assert json.loads(json.dumps(one.as_dict())) == json.loads(json.dumps(two.as_dict()))
        assert Settings.from_dict(json.loads(json.dumps(one.as_dict()))) == one

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"task": "perceptual-dm", "dt": 50.0}, r"dt=50 ms is longer than decision can be \(20 ms\)"),
            ({"task": "dms", "parameters": {"fixation": 10}}, r"dt=20 ms is longer than fixation can be \(10 ms\)"),
            (
                {"task": "memory-pro", "validation": 1},
                "validation=1: R2, by which task memory-pro is scored, needs at least 2",
            ),
            ({"task": "parametric-wm", "heldout": 1}, "heldout=1: R2"),
            ({"task": "dms", "excitatory": 0.001}, r"excitatory=0\.001: leaves one kind without any of 100"),
            (
                {"task": "dms", "excitatory": 0.05, "connectivity": "conv"},
                "one kind without any of 4",
            ),
        ],
    )
    def test_settings_that_do_not_go_together(self, given: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message):
            Settings(**given)

    def test_one_setting_alone_is_not_measured_by_the_others(self):
        assert checked("rank", 1000) == 1000
        assert checked("shape", [1, 2, 3]) == (1, 2, 3)
        assert checked("goal", None) is None


class TestTaskParameters:
    @pytest.mark.parametrize(
        ("task", "given", "message"),
        [
            ("dms", {"delay": "x"}, "delay='x': give a duration"),
            ("dms", {"delay": (500, "x")}, r"delay=\(500, 'x'\): give a duration"),
            ("dms", {"delay": True}, "delay=True: give a duration"),
            ("dms", {"delay": ((1, 2), 3)}, "delay=.*: give a duration"),
            ("dms", {"delay": None}, "delay=None: give a duration"),
            ("dms", {"noise": True}, "noise=True: give a finite number"),
            ("dms", {"strength": "big"}, "strength='big': give a finite number"),
            ("perceptual-dm", {"strengths": (1.0, "x")}, "strengths=.*: give a tuple of finite numbers"),
            ("perceptual-dm", {"strengths": (1.0, True)}, "strengths=.*: give a tuple of finite numbers"),
            ("perceptual-dm", {"strengths": (1.0, 2.0, 1)}, "strengths=.*: give different numbers"),
            ("parametric-wm", {"lowest": 10.5}, r"lowest=10\.5: give a whole number of Hz"),
            ("parametric-wm", {"highest": "x"}, "highest='x': give a whole number of Hz"),
            ("parametric-wm", {"highest": 10**12}, "highest=1000000000000: give a whole number of Hz, from 0 to 10000"),
            ("memory-pro", {"places": 8.0}, r"places=8\.0: give 0 for any angle"),
        ],
    )
    def test_wrong_types_name_the_parameter(self, task: str, given: dict[str, Any], message: str):
        with pytest.raises(InputError, match=message):
            tasks.get(task, **given)

    @pytest.mark.parametrize("differences", [(8, 16, 24), (3,), (5.0, 2, 1), (24, 1)])
    def test_pairs_of_frequencies_are_all_there_are_in_order(self, differences: tuple[float, ...]):
        every = range(10, 35)
        expected = [(a, b) for a, b in product(every, every) if abs(a - b) in differences]
        task = tasks.get("parametric-wm", differences=differences)
        assert [(row["f1"], row["f2"]) for row in task.design()] == expected


class TestCommandLine:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--rank", "3"], "--rank 3: matters to lowrank networks only; leave it out, or give --connectivity lowrank"),
            (["--density", "0.5", "--connectivity", "conv"], r"--density 0\.5: matters to sparse networks only"),
            (["--shape", "4x5x5", "--connectivity", "full"], "--shape 4x5x5: matters to conv networks only"),
            (["--set", "delay=500", "--set", "delay=600"], "--set delay=600: delay is set twice; leave one out"),
            (["--set", 'delay="long"'], "delay='long': give a duration"),
            (["--set", "delay=[100,null]"], r"delay=\(100, None\): give a duration"),
            (["--seeds", "0:1000000000000"], f"--seeds 0:1000000000000: .* give at most {MOST_SEEDS}"),
            (["--seeds", "0:5:2"], "--seeds 0:5:2: write 0:32"),
            (["--seeds", ""], "--seeds : write 0:32"),
            (["--seeds=-1"], "seeds=-1: must be a whole number of at least 0"),
            (["--dt", "60"], None),
            (["--dt", "60", "--set", "first=50"], r"dt=60 ms is longer than first can be \(50 ms\)"),
        ],
    )
    def test_options_are_checked_before_anything_runs(self, words: list[str], message: str | None):
        options = parser().parse_args(["--task", "dms", *words])
        if message is None:
            assert settings(given_settings(options), quick=False).dt == 60
            return
        with pytest.raises(InputError, match=message):
            settings(given_settings(options), quick=False)

    def test_many_seeds(self):
        assert len(seeds(f"5:{5 + MOST_SEEDS}")) == MOST_SEEDS
