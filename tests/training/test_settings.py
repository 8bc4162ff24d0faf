"""Settings of both families: every wrong type and range is one line; NumPy's numbers and lists do as well."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cordstasks import tasks
from cordstasks.errors import InputError
from cordstasks.train import main
from cordstasks.training.settings import (
    INPUTS,
    INPUTS_TAUGHT,
    MOST_SEEDS,
    AbstractSettings,
    NetworkSettings,
    VisualSettings,
    seeds_of_text,
)
from cordstasks.utils.arguments import shown
from helpers import refused

NAN = math.nan
WHOLE = (0, -3, 1.0, "5", True, None, NAN, [5], 10**30)
ABOVE_ZERO = (0, -1.0, "1", True, None, NAN, math.inf, [1.0], 10**400)
FROM_ZERO = (-0.1, "1", True, None, NAN, math.inf, (1.0,))
TRUTH = ("false", "true", 0, 1, None)
SEED = (-1, 1.0, "5", True, NAN, [5], 2**63, 10**30)
NETWORK: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("units", "rank", "steps", "batch", "evaluate_every", "validation", "heldout"), WHOLE),
    **dict.fromkeys(("learning_rate", "clip", "dt", "tau"), ABOVE_ZERO),
    **dict.fromkeys(("noise", "gain"), FROM_ZERO),
    "density": (0, 1.1, "0.2", True, None, NAN),
    "excitatory": (0, 1, "0.8", True, NAN, [0.8]),
    **dict.fromkeys(("train_inputs", "train_outputs"), TRUTH),
    "shape": ((4, 5), (4, 5, 5, 1), (4.0, 5, 5), (0, 5, 5), "4x5x5", 100, (True, 10, 10)),
    "parameters": (5, "delay", [("delay", 500)], {1: 2}),
    "connectivity": ("fulll", None, 3, ["full"]),
    "activation": ("sigmoid", True, ("relu",)),
    "form": ("rates", 1.0),
}
WRONG: dict[type[NetworkSettings], dict[str, tuple[Any, ...]]] = {
    AbstractSettings: {
        **NETWORK,
        "task": ("dmz", 5, None, ["dms"], ""),
        "parameters": (*NETWORK["parameters"], {"delays": 5}, {"delay": "x"}, {"delay": True}, {"delay": "1"}),
        "seeds": ((), (1, 1), "0:3", (0, -1), (0.0, 1.0), (True,), [[0]], None),
        "goal": (1.1, "1", True, NAN, -math.inf),
    },
    VisualSettings: {
        **NETWORK,
        **dict.fromkeys(("task", "frontend", "readout"), (5, None, ["rdm"], "", " ")),
        "precision": (5, "", ["tf32"]),
        "areas": ((), (1, 1), (-1,), (1.0,), "1", (True,), [[0]]),
        "side": tuple(value for value in WHOLE if value is not None),
        "inputs": tuple(value for value in WHOLE if value is not None),
        "tolerance": (-1e-9, 0.1, "0", None, NAN, True),
        **dict.fromkeys(("trials", "patience", "mix_fewest"), WHOLE),
        "components": (1, *WHOLE),
        "seed": (*SEED, None),
        "trials_seed": SEED,
        **dict.fromkeys(("weight_decay", "input_noise", "auxiliary"), FROM_ZERO),
        "average": (-0.1, 1, 1.0, "0.9", None, NAN),
        "recombine": (-0.1, 1.1, "0.9", None, NAN, True),
        **dict.fromkeys(("whiten", "labels_only", "teacher", "mix"), TRUTH),
        **dict.fromkeys(("components_per_trial", "odds_gain", "odds_typical"), ABOVE_ZERO),
        "lags_ms": ((), (20.0, 20), 0.0, (20.0, -1), ("20",), None, (NAN,), True),
        "mix_sizes": ((), (0, 1), (1.5,), "2", None, (True,)),
        "bound": (0, -1.0, "1", True, NAN, math.inf, [1.0]),
        "bound_trials": WHOLE,
        **dict.fromkeys(("non_decision", "inter_trial", "time_out", "reward_from"), FROM_ZERO),
    },
}
TASK = {AbstractSettings: "dms", VisualSettings: "rdm"}
EACH = [(kind, name, value) for kind, wrong in WRONG.items() for name, values in wrong.items() for value in values]


class TestSettings:
    @pytest.mark.parametrize("kind", WRONG)
    def test_every_field_is_tried(self, kind: type[NetworkSettings]):
        assert set(kind.names()) == set(WRONG[kind])
        assert kind.names()[0] == "task"

    @pytest.mark.parametrize(("kind", "name", "value"), EACH)
    def test_wrong_types_and_ranges_are_one_line_with_the_value(self, kind: type[NetworkSettings], name: str, value: Any):
        with pytest.raises(InputError) as caught:
            kind(**{"task": TASK[kind], name: value})
        assert "\n" not in str(caught.value)
        if name == "parameters":  # the task says what is wrong with one of its own
            assert ": give " in str(caught.value) or "is unknown; did you mean" in str(caught.value)
        elif isinstance(value, str) and f"{name} {value!r} is unknown" in str(caught.value):
            assert "(known: " in str(caught.value)
        else:
            assert str(caught.value).startswith(f"{name}={shown(value)}: give ")

    @pytest.mark.parametrize("kind", WRONG)
    def test_what_they_give_makes_them_again(self, kind: type[NetworkSettings]):
        given = {"connectivity": "conv", "units": 99, "shape": (11, 3, 3), "excitatory": 0.5, "tau": 80.0}
        own = {"seeds": (1, 2), "goal": 0.5} if kind is AbstractSettings else {"areas": (2, 0), "lags_ms": 60}
        made = kind(TASK[kind], **given, **own, parameters={"fixation": [500.0, 700.0]})
        assert kind.from_dict(json.loads(json.dumps(made.as_dict())), "a file") == made
        assert made.parameters == {"fixation": (500.0, 700.0)}

    def test_trials_take_time(self):
        with pytest.raises(InputError, match="inter_trial=0: without non-decision time, too, trials may last 0 ms"):
            VisualSettings("rdm", non_decision=0, inter_trial=0)
        assert VisualSettings("rdm", non_decision=0).inter_trial > 0

    def test_a_run_from_before_a_setting_was_added_has_its_default(self):
        values = VisualSettings("rdm", non_decision=200).as_dict()
        assert VisualSettings.from_dict(values, "a file").non_decision == 200
        del values["non_decision"]
        assert VisualSettings.from_dict(values, "a file").non_decision == 300
        del values["clip"]
        with pytest.raises(InputError, match=r"a file: lacks 'clip'"):
            VisualSettings.from_dict(values, "a file")

    @pytest.mark.parametrize("kind", WRONG)
    def test_help_and_defaults_fit(self, kind: type[NetworkSettings]):
        for each in fields(kind):
            assert each.metadata["help"]
            if each.name != "task":
                assert kind.checked(each.name, each.default) == (each.default if each.name != "parameters" else {})

    def test_one_seed_or_area_alone_will_do(self):
        assert AbstractSettings("dms", seeds=3).seeds == (3,)
        assert VisualSettings("rdm", areas=2, lags_ms=30, mix_sizes=4).areas == (2,)

    def test_order_does_not_matter_where_it_means_nothing(self):
        assert VisualSettings("rdm", areas=(3, 0)) == VisualSettings("rdm", areas=[0, 3])
        assert VisualSettings("rdm", lags_ms=(40, 20)) == VisualSettings("rdm", lags_ms=(20.0, 40.0))
        assert AbstractSettings("dms", seeds=(1, 0)).seeds == (1, 0)  # networks come in this order

    def test_five_seeds_by_default(self):
        assert AbstractSettings("dms").seeds == (0, 1, 2, 3, 4)

    @pytest.mark.parametrize(
        ("given", "plain"),
        [
            ({"units": np.int64(16), "steps": np.uint8(3)}, {"units": 16, "steps": 3}),
            ({"learning_rate": np.float32(0.5), "dt": 20}, {"learning_rate": 0.5, "dt": 20.0}),
            ({"seeds": np.arange(3)}, {"seeds": (0, 1, 2)}),
            ({"seeds": range(2, 4)}, {"seeds": (2, 3)}),
            ({"seeds": [np.int32(4), 1]}, {"seeds": (4, 1)}),
            ({"seeds": np.uint8(4)}, {"seeds": (4,)}),
            ({"train_inputs": np.bool_(False)}, {"train_inputs": False}),
            ({"connectivity": "conv", "shape": [4, 5, 5]}, {"connectivity": "conv", "shape": (4, 5, 5)}),
            ({"parameters": {"delay": [500, 700]}}, {"parameters": {"delay": (500, 700)}}),
            ({"parameters": {"delay": np.array([500.0, 700.0])}}, {"parameters": {"delay": (500.0, 700.0)}}),
        ],
    )
    def test_numpy_and_lists_do_as_well(self, given: dict[str, Any], plain: dict[str, Any]):
        one, two = AbstractSettings("dms", **given), AbstractSettings("dms", **plain)
        assert one == two
        assert json.loads(json.dumps(one.as_dict())) == json.loads(json.dumps(two.as_dict()))
        assert AbstractSettings.from_dict(json.loads(json.dumps(one.as_dict())), "a file") == one

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
            AbstractSettings(**given)

    def test_one_setting_alone_is_not_measured_by_the_others(self):
        assert AbstractSettings.checked("rank", 1000) == 1000
        assert AbstractSettings.checked("shape", [1, 2, 3]) == (1, 2, 3)
        assert AbstractSettings.checked("goal", None) is None


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
            ("memory-pro", {"locations": 8.0}, r"locations=8\.0: give 0 for any angle"),
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


class TestVisualDefaults:
    """What a task does better with, unless it is given."""

    def test_a_stationary_stream_has_a_teacher(self):
        made = VisualSettings.new("rdm")
        assert (made.teacher, made.mix, made.whiten, made.tau) == (True, True, True, 50.0)
        chosen = VisualSettings.new("rdm", mix=False, average=0.5, teacher=False)
        assert (chosen.teacher, chosen.mix, chosen.whiten, chosen.average) == (False, False, True, 0.5)

    def test_more_answers_than_two_have_none(self):
        assert not VisualSettings.new("rdm", parameters={"directions": (0.0, 90.0, 180.0, 270.0)}).teacher
        assert VisualSettings.new("rdm", parameters={"directions": (0.0, 90.0)}).teacher

    def test_pictures_have_none(self):
        made = VisualSettings.new("numerosity")
        assert (made.teacher, made.mix, made.whiten) == (False, False, False)
        assert made.average > 0

    def test_labels_alone(self):
        made = VisualSettings.new("rdm", labels_only=True)
        assert (made.teacher, made.auxiliary, made.recombine) == (False, 0.0, 0.0)
        assert VisualSettings.new("rdm", labels_only=True, auxiliary=0.5).auxiliary == 0.5

    @pytest.mark.parametrize("task", tasks.names())
    def test_quick_is_smaller_and_gives_way(self, task: str):
        usual, small = VisualSettings.new(task), VisualSettings.new(task, quick=True)
        assert small.trials * small.steps < usual.trials * usual.steps
        assert VisualSettings.new(task, quick=True, trials=usual.trials).trials == usual.trials
        assert VisualSettings.new(task, quick=True, parameters={"fixation": 120}).parameters["fixation"] == 120

    def test_a_task_of_the_other_family(self):
        with pytest.raises(InputError, match=r"task=dms: is an abstract task; this needs one that shows movies: .*rdm, "):
            VisualSettings.new("dms")
        with pytest.raises(InputError, match="task 'rdm' is unknown"):
            AbstractSettings.new("rdm")

    @pytest.mark.parametrize(("given", "features", "inputs"), [(None, 1000, INPUTS), (None, 60, 60), (20, 60, 20)])
    def test_inputs_follow_from_the_features(self, given: int | None, features: int, inputs: int):
        made = VisualSettings("catdog", inputs=given)
        assert made.with_inputs(features, chosen=given is not None).inputs == inputs

    def test_a_teacher_chooses_few_inputs(self):
        assert VisualSettings("rdm", teacher=True).with_inputs(1000, chosen=False).inputs == INPUTS_TAUGHT

    def test_more_inputs_than_features(self):
        assert VisualSettings("rdm", inputs=70).with_inputs(64, chosen=False).inputs == 64
        with pytest.raises(InputError, match="inputs=70: the front-end has 64 features; give at most as many"):
            VisualSettings("rdm", inputs=70).with_inputs(64, chosen=True)

    def test_the_movies_seed(self):
        assert VisualSettings("rdm", seed=4).seed_of_trials == 4
        assert VisualSettings("rdm", seed=4, trials_seed=0).seed_of_trials == 0

    @pytest.mark.parametrize("kind", WRONG)
    @pytest.mark.parametrize(("name", "value", "fitting"), [("rank", 3, "lowrank"), ("density", 0.5, "sparse")])
    def test_what_only_another_connectivity_has_is_refused(
        self, kind: type[NetworkSettings], name: str, value: Any, fitting: str
    ):
        message = f"^{name}={value}: matters to {fitting} networks only; leave it out, or give connectivity={fitting}$"
        with pytest.raises(InputError, match=message):
            kind.new(TASK[kind], **{name: value})  # type: ignore[attr-defined]
        assert getattr(kind.new(TASK[kind], connectivity=fitting, **{name: value}), name) == value  # type: ignore[attr-defined]


class TestCommandLine:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--rank", "3"], "--rank 3: matters to lowrank networks only; leave it out, or give --connectivity lowrank"),
            (["--density", "0.5", "--connectivity", "conv"], "--density 0.5: matters to sparse networks only"),
            (["--shape", "4x5x5", "--connectivity", "full"], "--shape 4x5x5: matters to conv networks only"),
            (["--set", "delay=500", "--set", "delay=600"], "--set delay=600: delay is set twice; leave one out"),
            (["--set", 'delay="long"'], "--set delay='long': give a duration"),
            (["--set", "delay=[100,null]"], "--set delay=(100, None): give a duration"),
            (["--seeds", "0:1000000000000"], "--seeds 0:1000000000000: are 1000000000000 networks; give at most"),
            (["--seeds", "0:5:2"], "--seeds 0:5:2: write 0:32"),
            (["--seeds", ""], "--seeds : write 0:32"),
            (["--seeds=-1"], "--seeds (-1,): give one or more different seeds"),
            (["--dt", "60", "--set", "first=50"], "--dt 60 ms is longer than first can be (50 ms)"),
        ],
    )
    def test_options_are_checked_before_anything_runs(
        self, words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.chdir(tmp_path)
        assert refused(main, "--task", "dms", *words).startswith(message)
        assert list(tmp_path.iterdir()) == []

    def test_many_seeds(self):
        assert len(seeds_of_text(f"5:{5 + MOST_SEEDS}")) == MOST_SEEDS


def test_areas_and_lags_have_no_order():
    one = VisualSettings.new("rdm", areas=(3, 1), lags_ms=(60, 40))
    assert (one.areas, one.lags_ms) == ((1, 3), (40.0, 60.0))
    one.agree({"areas": [3, 1], "lags_ms": [60, 40]}, "runs/a")
    with pytest.raises(InputError, match="areas=0 3: the run in runs/a has 1 3; leave it out"):
        one.agree({"areas": [3, 0]}, "runs/a")
