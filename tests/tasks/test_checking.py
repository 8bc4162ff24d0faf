"""A task of one's own is tried when it is loaded, and what is wrong with it is said in one line."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cordstasks import tasks
from cordstasks.errors import InputError
from cordstasks.stimuli import Display
from cordstasks.tasks import checking
from cordstasks.tasks.timing import check_duration, timeline
from cordstasks.tasks.visual.base import collate

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "orientation_discrimination.py"
WINDOW = 'answer_window=periods["choice"]'
ANSWER = "answer=1 if side < 0 else 2"
TOLD = 'conditions={"tilt": tilt, "side": side}'
DESIGN = 'return [{"tilt": tilt, "side": side} for tilt, side in product(self.tilts, (-1.0, 1.0))]'
ACTIONS = 'return ("fixate", "left", "right")'
ID = 'id: ClassVar[str] = "mine"'
FIRST = r"OrientationTask.trial\(tilt=1.0, side=-1.0\)"


def own(folder: Path, old: str = "", new: str = "") -> str:
    """The example under another id, with a piece of it changed."""
    text = EXAMPLE.read_text().replace('"orientation"', '"mine"')
    assert old in text
    path = folder / "mine.py"
    path.write_text(text.replace(old, new) if old else text)
    return str(path)


def refused(path: str, **parameters: object) -> str:
    """The one line that loading the file ends with, without the file's name and the number of its line."""
    with pytest.raises(InputError) as caught:
        tasks.get(path, **parameters)
    text = str(caught.value)
    assert text.startswith(f"task {path}, line ") and "\n" not in text
    return re.sub(r"^, line \d+", "", text.removeprefix(f"task {path}"))


class TestDurations:
    def test_a_pair_is_drawn_from(self):
        task = tasks.get(str(EXAMPLE), fixation=(200.0, 400.0), choice=(200.0, 300.0))
        trials = task.trials(40, seed=0)
        lengths = [trial.periods["fixation"][1] for trial in trials]
        assert 200 <= min(lengths) < 220 and 380 < max(lengths) <= 400
        for trial in trials:
            assert trial.movie.duration_ms == pytest.approx(trial.periods["choice"][1])
            assert trial.answer_window == trial.periods["choice"]
        batch = task.sample(40, seed=0)
        assert (batch.response_mask.sum(1) >= 10).all() and not (batch.response_mask & (batch.mask == 0)).any()

    def test_a_run_may_set_a_pair(self, tmp_path: Path):
        from cordstasks.runs.visual import task_of
        from cordstasks.training.settings import VisualSettings

        for path in (own(tmp_path), own(tmp_path, "fixation: Duration = 300.0", "fixation: float = 300.0")):
            settings = VisualSettings.new(path, parameters={"fixation": (200, 400)})
            task = task_of(settings, image_size=32)
            assert task.sample(8, seed=0).periods["fixation"][:, 1].std() > 10

    @pytest.mark.parametrize("fixation", [(400.0, 200.0), -5.0, float("nan"), "long", (1.0, 2.0, 3.0), None, [200.0, "x"]])
    def test_what_is_none_is_refused(self, fixation: object):
        text = refused(str(EXAMPLE), fixation=fixation)
        assert re.match(r": OrientationTask.timing: fixation=.*: give a duration at least 0 ms, or \(shortest, long", text)

    def test_a_file_that_does_not_draw_is_told_to(self, tmp_path: Path):
        path = own(
            tmp_path, "durations = {name: draw_duration(name, duration, rng) for name, duration in self.timing.items()}"
        )
        path = own(
            tmp_path,
            "durations = {name: draw_duration(name, duration, rng) for name, duration in self.timing.items()}",
            "durations = self.timing",
        )
        assert tasks.get(path, fixation=250.0).timing["fixation"] == 250
        text = refused(path, fixation=(200.0, 400.0))
        assert re.match(rf": {FIRST} fails: fixation=\(200.0, 400.0\): is not one duration in ms; draw it fir", text)

    @pytest.mark.parametrize("wrong", ["long", None, ("a", "b"), [1.0, 2.0]])
    def test_the_helpers_say_so_too(self, wrong: object):
        with pytest.raises(InputError, match=r"delay=.*: give a duration above 0 ms"):
            check_duration("delay", wrong)
        with pytest.raises(InputError, match=r"delay=.*: is not one duration in ms; draw it first, with draw_duration"):
            timeline({"fixation": 100.0, "delay": wrong})


class TestTrials:
    @pytest.mark.parametrize(
        ("window", "message"),
        [
            ("(2000.0, 3000.0)", r"answer_window=\(2000, 3000\) ms is not within the movie of 900 ms"),
            ("(800.0, 1000.0)", r"answer_window=\(800, 1000\) ms is not within the movie of 900 ms"),
            ("(-100.0, 100.0)", r"answer_window=\(-100, 100\) ms is not within the movie of 900 ms"),
            ("(900.0, 700.0)", r"answer_window=\(900.0, 700.0\); give \(start, end\) in ms, the start before the end"),
            ("(700.0, 700.0)", r"answer_window=\(700.0, 700.0\); give \(start, end\) in ms"),
            ("700.0", r"answer_window=700.0; give \(start, end\) in ms"),
            ("(700.0, float('nan'))", r"answer_window=\(700.0, nan\); give \(start, end\) in ms"),
            ("None", r"answer_window=None; give \(start, end\) in ms"),
        ],
    )
    def test_windows_lie_within_the_movie(self, tmp_path: Path, window: str, message: str):
        path = own(tmp_path, WINDOW, f"answer_window={window}")
        assert re.match(rf": {FIRST}: {message}", refused(path))

    @pytest.mark.parametrize("answer", ["3", "-1", "0", "'left'", "1.0", "True", "None", "1.5"])
    def test_answers_are_options(self, tmp_path: Path, answer: str):
        text = refused(own(tmp_path, ANSWER, f"answer={answer}"))
        assert re.match(
            rf": {FIRST}: answer={answer}; give one of the task's options as a whole number: 1 \(left\), 2", text
        )

    def test_every_value_of_a_condition_is_tried(self, tmp_path: Path):
        text = refused(own(tmp_path, ANSWER, "answer=1 if tilt < 16 else 5"))
        assert re.match(r": OrientationTask.trial\(tilt=16.0, side=-1.0\): answer=5;", text)

    def test_whole_numbers_of_numpy_are_whole_numbers(self, tmp_path: Path):
        assert (
            tasks.get(own(tmp_path, ANSWER, "answer=np.int64(1 if side < 0 else 2)")).sample(4, seed=0).answers.dtype == int
        )

    @pytest.mark.parametrize("source", ["np.random.uniform", "np.random.default_rng().uniform"])
    def test_chance_comes_from_the_seed(self, tmp_path: Path, source: str):
        text = refused(own(tmp_path, "rng.uniform(0, 2 * np.pi)", f"{source}(0, 2 * np.pi)"))
        assert re.match(rf": {FIRST}: two trials of one random generator differ; draw all that is random from `rng`", text)

    def test_a_trial_keeps_nothing_for_the_next(self, tmp_path: Path):
        counted = "rng.uniform(0, 2 * np.pi) + len(_SEEN)"
        path = Path(own(tmp_path, "rng.uniform(0, 2 * np.pi)", counted))
        path.write_text(
            path.read_text().replace("        tilt, side =", "        _SEEN.append(0)\n        tilt, side =")
            + "\n_SEEN = []\n"
        )
        assert "keep nothing from one trial to the next" in refused(str(path))

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (TOLD, 'conditions={"tilt": tilt}', r"conditions has side=None, and -1.0 was requested; state what was shown"),
            (TOLD, 'conditions={"tilt": 2 * tilt, "side": side}', r"conditions has tilt=2.0, and 1.0 was requested"),
            (TOLD, 'conditions={"tilt": tilt, "side": side, "x": [1]}', r"conditions has x=\[1\]; give a finite number or"),
            (
                'answer_from=periods["choice"][0]',
                "answer_from=5000.0",
                r"answer_from=5000.0; give a time from 0 to before .* \(900 ",
            ),
            ('answer_from=periods["choice"][0]', "answer_from=None", r"answer_from=None; give a time"),
            ("periods=periods", "periods={'choice': periods['choice']}", r"periods lacks 'grating', which training needs"),
            (
                "periods=periods",
                "periods={**periods, 'grate': (0, 1)}",
                r"period 'grate' is unknown; did you mean 'grating'",
            ),
            (
                "periods=periods",
                "periods={**periods, 'choice': (700, 1400)}",
                r"periods\['choice'\]=\(700, 1400\) ms is not within",
            ),
            (WINDOW, f"{WINDOW},targets=((700, 5000, 1),)", r"targets\[0\]=\(700, 5000\) ms is not within the movie"),
            (WINDOW, f"{WINDOW},targets=((700, 900, 7),)", r"targets\[0\] has the action 7; give a whole number below 3"),
            (WINDOW, f"{WINDOW},targets=((300, 400, 1),)", r"answer=1, but targets never has it within the answer window"),
            (WINDOW, f"{WINDOW},auxiliary=(('a', 0, 500),)", r"auxiliary\[0\]=\('a', 0, 500\); give 4 values"),
            (
                WINDOW,
                f"{WINDOW},auxiliary=(('a', 0, 500, -1),)",
                r"auxiliary\[0\]=\('a', 0, 500, -1\); give a name, two times and",
            ),
            (WINDOW, f"{WINDOW},targets=5", r"targets=5; give what `cordstasks.tasks.Trial` says"),
            (WINDOW, f"{WINDOW},auxiliary=None", r"auxiliary=None; give what"),
            (TOLD, "conditions=None", r"conditions=None; give what"),
            ("periods=periods", "periods=[1]", r"periods=\[1\]; give what"),
            ("periods=periods", "periods={}", r"periods lacks 'grating'"),
            ("return Trial(", "return dict(", r"gives dict; return a Trial"),
        ],
    )
    def test_trials_are_those_that_the_task_states(self, tmp_path: Path, old: str, new: str, message: str):
        assert re.match(rf": {FIRST}: {message}", refused(own(tmp_path, old, new)))

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ('float(conditions["side"])', 'float(conditions["sides"])', "KeyError: 'sides'"),
            ("periods = timeline", "1 / 0\n        periods = timeline", "ZeroDivisionError: division by zero"),
            ("self.display.pixels, self.display.pixels, 1", "32, 32, 1", "parts have images of different sizes"),
        ],
    )
    def test_where_one_fails_is_said(self, tmp_path: Path, old: str, new: str, message: str):
        assert re.match(rf": {FIRST} fails: {message}", refused(own(tmp_path, old, new)))

    def test_pictures_have_the_size_of_the_display(self, tmp_path: Path):
        path = own(tmp_path, "movie=join(", "movie=_half(join(")
        text = Path(path).read_text().replace("for name, image in shown.items()]),", "for name, image in shown.items()])),")
        half = "\n\ndef _half(m):\n    return Movie(m.frames[:, ::2, ::2], m.onsets_ms, duration_ms=m.duration_ms)\n"
        Path(path).write_text(text + half)
        assert re.match(rf": {FIRST}: movie has 32 x 32 px; draw 64 x 64 px, as the task's display has", refused(path))


class TestDeclarations:
    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (DESIGN, "return []", r"design\(\)=\[\]: give a list with one"),
            (DESIGN, "return 5", r"design\(\)=5: give a list"),
            (
                DESIGN,
                'return [{"tilt": 1.0, "side": 1.0}, {"tilt": 2.0}]',
                r"design\(\): row 1 has the conditions \['tilt'\]",
            ),
            (
                DESIGN,
                'return [{"tilt": 1.0}, {"tilt": "much"}]',
                r"design\(\): row 1 has tilt='much'; give finite numbers in all",
            ),
            (DESIGN, 'return [{"tilt": (1.0, 2.0)}]', r"design\(\): row 0 has tilt=\(1.0, 2.0\); give finite numbers"),
            (DESIGN, 'return [{"tilt": 1.0, "seed": 1.0}]', r"design\(\): a condition cannot be called 'seed'"),
            (ACTIONS, 'return ("fixate",)', r"actions=\('fixate',\): give two or more different names"),
            (ACTIONS, 'return ("fixate", "left", "left")', r"actions=\(.*\): give two or more different names"),
            (ACTIONS, 'return ("fixate", 1, 2)', r"actions=\('fixate', 1, 2\): give a tuple of names"),
            (
                ACTIONS,
                'return ("fixate", "go")',
                r"options=\(1,\): give two or more different actions from 0 \('fixate'\) to 1",
            ),
            ('"choice": self.choice}', '"choice": -3.0}', r"timing: choice=-3.0: give a duration at least 0 ms"),
            (
                'return {"fixation"',
                'return [] or {"fixation": 1.0} and 5 or {"fixation"',
                r"timing=5: give {period: duration in ms}",
            ),
            ('str] = "grating"', 'str] = "gratings"', r"stimulus: period 'gratings' is unknown; did you mean 'grating'"),
            (
                "    display: Display = field(default_factory=Display)",
                "    display = Display()",
                r"display: is missing; give the",
            ),
            (
                ID,
                f'{ID}\n    run_defaults: ClassVar[dict] = {{"areas": (3, -1)}}',
                r"run_defaults\['areas'\]=\(3, -1\): give numbers of the",
            ),
            (
                ID,
                f'{ID}\n    quick_defaults: ClassVar[dict] = {{"side": 0}}',
                r"quick_defaults\['side'\]=0: give a whole number of at",
            ),
            (
                ID,
                f'{ID}\n    quick_defaults: ClassVar[dict] = {{"trails": 9}}',
                r"quick_defaults: setting 'trails' is unknown; did",
            ),
            (
                ID,
                f'{ID}\n    quick_defaults: ClassVar[dict] = {{"steps": "9"}}',
                r"quick_defaults\['steps'\]='9': give a number abo",
            ),
            (ID, f"{ID}\n    run_defaults: ClassVar[int] = 5", r"run_defaults=5: give a dictionary"),
            (ID, f"{ID}\n    soft_targets = None", r"soft_targets=None: give a dictionary"),
            (ID, f"{ID}\n    fixation_weight: ClassVar[float] = -1.0", r"fixation_weight=-1.0: give a number of at least 0"),
            (ID, f'{ID}\n    compared: ClassVar[str] = "test"', r"compared: period 'test' is unknown"),
            (
                ID,
                f'{ID}\n    compared: ClassVar[str] = "grating"',
                r"trial\(.*\): periods lacks 'sample', which training needs",
            ),
            ("return replace(self,", "return None or dict(", r"for_training\(\)={.*}: is no task; return self, or"),
        ],
    )
    def test_what_a_task_states_is_possible(self, tmp_path: Path, old: str, new: str, message: str):
        assert re.match(rf": OrientationTask.{message}", refused(own(tmp_path, old, new)))

    def test_what_is_trained_on_is_tried_too(self, tmp_path: Path):
        text = refused(own(tmp_path, "return replace(self,", "return replace(self, levels=3,"))
        assert re.match(r": OrientationTask.for_training\(\) fails: TypeError: .*'levels'", text)
        text = refused(own(tmp_path, 'float(conditions["side"])', 'float(conditions["side"]) + 0 / (len(self.tilts) - 3)'))
        assert re.match(r": OrientationTask.for_training\(\).trial\(tilt=4.0, .*\) fails: ZeroDivisionError", text)

    def test_parameters_may_leave_nothing_to_train_on(self):
        task = tasks.get(str(EXAMPLE), tilts=(1.0, 2.0))
        assert len(task.trials(4, seed=0)) == 4
        with pytest.raises(InputError, match=r"task orientation: design\(\) is empty: its parameters leave no conditions"):
            task.for_training().sample(4, seed=0)

    def test_making_one_may_fail_in_any_way(self, tmp_path: Path):
        text = refused(
            own(
                tmp_path,
                "    @property\n    def actions",
                "    def __post_init__(self):\n        {}['x']\n\n    @property\n    def actions",
            )
        )
        assert re.match(r": OrientationTask: KeyError: 'x'", text)
        text = refused(own(tmp_path, "    tilts: tuple", "    level: float\n    tilts: tuple"))
        assert re.match(r": OrientationTask: TypeError: .* missing 1 required positional argument: 'level'", text)
        assert tasks.get(str(tmp_path / "mine.py"), level=2.0).level == 2.0

    @pytest.mark.parametrize("name", ["my task", "a/b", "", "../up", "dms", "memory-pro"])
    def test_an_id_names_files_and_no_other_task(self, tmp_path: Path, name: str):
        text = refused(own(tmp_path, ID, f'id: ClassVar[str] = "{name}"'))
        known = f"there is a task '{name}' already" if name in tasks.abstract_names() else f"id='{name}' is to name files"
        assert re.match(rf": register_task\(OrientationTask\): {known}", text)

    def test_a_class_that_no_file_holds_is_tried_too(self):
        @tasks.register_task
        class Mine(type(tasks.get(str(EXAMPLE)))):
            id = "of-a-notebook"

            def trial(self, conditions, rng):
                return replace(super().trial(conditions, rng), answer=4)

        with pytest.raises(
            InputError, match=r"task of-a-notebook: Mine.trial\(tilt=1.0, side=-1.0\): answer=4; give one of"
        ):
            tasks.get("of-a-notebook")


class TestChecking:
    @pytest.mark.parametrize(
        ("old", "new", "where"),
        [
            (ANSWER, "answer=3", "    def trial("),
            (ANSWER, "answer=1 / 0", "            answer=1 / 0,"),
            (DESIGN, "return []", "    def design("),
            (ACTIONS, 'return ("fixate",)', "    def actions("),
            ('"choice": self.choice}', '"choice": -3.0}', "    def timing("),
            (ID, f"{ID}\n    run_defaults: ClassVar[int] = 5", "    run_defaults:"),
            ("return replace(self,", "return None or dict(", "    def for_training("),
            ("display: Display = field(default_factory=Display)", "screen: int = 3", "class OrientationTask("),
        ],
    )
    def test_the_line_is_the_one_to_look_at(self, tmp_path: Path, old: str, new: str, where: str):
        path = own(tmp_path, old, new)
        lines = Path(path).read_text().splitlines()
        (number,) = [number for number, line in enumerate(lines, start=1) if line.startswith(where)]
        with pytest.raises(InputError, match=rf"mine.py, line {number}: OrientationTask\."):
            tasks.get(path)

    def test_a_file_that_is_refused_registers_nothing_and_may_be_mended(self, tmp_path: Path):
        before = tasks.names()
        path = own(tmp_path, ANSWER, "answer=3")
        for _ in range(2):
            refused(path)
            assert tasks.names() == before
        assert tasks.get(own(tmp_path)).id == "mine"
        refused(path, fixation=-1.0)
        assert tasks.get("mine").fixation == 300  # a wrong parameter does not make it unknown

    @pytest.mark.parametrize(
        ("name", "parameters"),
        [
            *((name, {}) for name in ("rdm", "numerosity", "catdog", "saccade")),
            ("rdm", {"reaction_time": True, "delay": (0.0, 500.0)}),
            ("rdm", {"directions": (0.0, 90.0, 225.0)}),
            ("numerosity", {"two_choices": True, "fixation": (300.0, 1500.0)}),
            ("numerosity", {"second_tests": 0.4}),
            ("catdog", {"second_test": 0.0}),
            ("saccade", {"locations": (0.0, 90.0), "response": (200.0, 400.0)}),
        ],
    )
    def test_the_tasks_that_there_are_pass(self, name: str, parameters: dict[str, object]):
        checking.check_task(tasks.get(name, **parameters), source=name)

    def test_a_slow_task_is_tried_for_a_moment_only(self, tmp_path: Path):
        counted = "        _COUNT.append(time.sleep(0.05))\n        tilt, side ="
        path = Path(own(tmp_path, "        tilt, side =", counted))
        path.write_text(
            path.read_text().replace("import numpy as np", "import time\n\nimport numpy as np") + "\n_COUNT = []\n"
        )
        tilts = tuple(float(tilt) for tilt in range(1, 200))
        task = tasks.get(str(path), tilts=tilts)
        count = len(vars(__import__("sys").modules[type(task).__module__])["_COUNT"])
        assert 6 <= count < 40

    def test_a_task_that_passed_is_not_tried_again(self, monkeypatch: pytest.MonkeyPatch):
        tasks.get(str(EXAMPLE), fixation=321.0)
        monkeypatch.setattr(checking, "_check_whole", None)
        tasks.get(str(EXAMPLE), fixation=321.0)
        with pytest.raises(TypeError):
            tasks.get(str(EXAMPLE), fixation=322.0)


class TestBatches:
    """What loading could not see, since it tries one trial of each kind, is found when trials are put together."""

    @pytest.mark.parametrize("window", [(2000.0, 3000.0), (800.0, 1000.0), (-100.0, 50.0), (701.0, 715.0), (900.0, 900.0)])
    def test_windows_without_a_step_are_refused(self, window: tuple[float, float]):
        task = tasks.get(str(EXAMPLE))
        trials = task.trials(3, seed=0)
        trials[1] = replace(trials[1], answer_window=window)
        with pytest.raises(
            InputError, match=rf"answer_window={re.escape(repr(window))} of trial 1: needs a step of dt=20 ms"
        ):
            collate(trials, 20.0, options=task.options)

    @pytest.mark.parametrize("answer", [0, 3, -1, 1.0, "left", None])
    def test_answers_that_are_no_options_are_refused(self, answer: object):
        task = tasks.get("rdm", display=Display(pixels=32))
        trials = task.trials(3, seed=0)
        trials[2] = replace(trials[2], answer=answer, targets=())
        with pytest.raises(InputError, match=rf"answer={answer!r} of trial 2: give one of the task's options \(1, 2\)"):
            collate(trials, 20.0, options=task.options)
        assert np.array_equal(collate(trials[:2], 20.0, options=task.options).answers, [t.answer for t in trials[:2]])
