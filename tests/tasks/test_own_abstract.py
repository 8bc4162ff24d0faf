"""An abstract task of one's own in one file: it is registered, tried and used as a visual one is."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from cordstasks import tasks
from cordstasks.errors import InputError
from cordstasks.tasks import __main__ as command
from cordstasks.tasks.checking import check_task
from cordstasks.tasks.environments.abstract import AbstractEnv
from helpers import ROOT

EXAMPLE = ROOT / "examples" / "go_nogo.py"
CLASS = "GoNoGoTask"
ID = 'id: ClassVar[str] = "mine"'
CHANNELS = 'channels: ClassVar[tuple[str, ...]] = ("go", "no-go", "fixation")'
DESIGN = 'return [{"go": 0.0}, {"go": 1.0}]'
DRAWN = 'return {"go": rng.integers(0, 2, trials)}'
SHOWN = "self.strength * shown"
TARGETS = "1.0, -1.0).astype(np.float32)[:, None]"
ANSWERS = '(conditions["go"] == 1).astype(np.int64)'
DELAY = "delay: Duration = (200.0, 600.0)"
SHOW = r"show\(inputs, conditions, schedule\)"


def own(folder: Path, old: str = "", new: str = "") -> Path:
    """The example under another id, with a piece of it changed."""
    text = EXAMPLE.read_text().replace('"go-nogo"', '"mine"')
    assert old in text
    path = folder / "mine.py"
    path.write_text(text.replace(old, new, 1) if old else text)
    return path


class TestFile:
    def test_the_example_is_short_and_complete(self):
        assert len(EXAMPLE.read_text().splitlines()) < 80
        task = tasks.get(EXAMPLE, noise=0.0)
        batch = task.sample(40, seed=1, dt=20.0)
        go = batch.conditions["go"] == 1
        assert 5 < go.sum() < 35
        assert batch.answers.tolist() == go.astype(int).tolist()
        np.testing.assert_array_equal(batch.targets[batch.response_mask, 0], np.repeat(np.where(go, 1, -1), 10))
        for row, (first, last) in enumerate(batch.steps("cue")):
            shown = np.zeros(batch.inputs.shape[1])
            shown[first:last] = 1
            np.testing.assert_array_equal(batch.inputs[row, :, 1 - int(go[row])], shown)
            assert not batch.inputs[row, :, int(go[row])].any()
        assert task.score(batch.targets, batch) == 1
        assert task.score(-batch.targets, batch) == 0

    def test_it_joins_the_abstract_tasks(self, tmp_path: Path):
        path = own(tmp_path)
        assert tasks.is_abstract(path) and tasks.is_abstract(str(path))
        assert "mine" in tasks.abstract_names() and "mine" not in tasks.names()
        assert tasks.is_abstract("mine")
        assert tasks.get("mine", delay=300.0).timing["delay"] == 300.0
        with pytest.raises(InputError, match="parameter of task mine 'delays' is unknown; did you mean 'delay'"):
            tasks.get(path, delays=3.0)

    def test_which_are_abstract(self):
        assert not any(map(tasks.is_abstract, tasks.names()))
        assert all(map(tasks.is_abstract, tasks.abstract_names()))
        assert not tasks.is_abstract(EXAMPLE.with_name("orientation_discrimination.py"))
        with pytest.raises(InputError, match="task 'dmss' is unknown; did you mean 'dms'"):
            tasks.is_abstract("dmss")
        with pytest.raises(InputError, match="there is no such file"):
            tasks.is_abstract("nothing.py")

    def test_it_is_an_environment(self):
        environment = AbstractEnv(tasks.get(EXAMPLE))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of inputs that may be any number, and of a method of neurogym's
            check_env(environment, skip_render_check=True)
        environment.reset(seed=1, options={"conditions": {"go": 0}})
        rewards = [environment.step(0)[1] for _ in environment.gt]
        assert rewards == [0.0] * (len(rewards) - 1) + [1.0]  # to withhold the response is right
        environment.reset(seed=1, options={"conditions": {"go": 1}})
        for _ in range(environment.start_ind["response"]):
            environment.step(0)
        assert environment.step(1)[1] == 1.0

    def test_the_command_shows_it(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        assert command.main(["list", str(EXAMPLE)]) == 0
        assert "channels   go, no-go, fixation; noise 0.1 on the first 2" in capsys.readouterr().out
        assert command.main(["preview", str(EXAMPLE), "--out", str(tmp_path), "--trials", "2"]) == 0
        assert [path.name for path in tmp_path.iterdir()] == ["go-nogo.png"]


class TestFaults:
    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (
                "sensory: ClassVar[int] = 2",
                "sensory: ClassVar[int] = 4",
                "sensory=4: give the number of channels that",
            ),
            (CHANNELS, CHANNELS.replace("no-go", "go"), r"channels=\('go', 'go', 'fixation'\): give a tuple of different"),
            (CHANNELS, CHANNELS.replace(', "fixation"', ""), r"sample\(2, seed=0, \*\*design\) fails: IndexError: index 2"),
            (ID, f"{ID}\n    outputs: ClassVar[int] = 0", "outputs=0: give a whole number of at least 1"),
            (ID, f"{ID}\n    outputs: ClassVar[int] = 2", "measure='accuracy': is of one output, and outputs=2"),
            (ID, f'{ID}\n    measure: ClassVar[str] = "percent"', "measure='percent': give 'accuracy' or 'R2'"),
            (ID, f"{ID}\n    criterion: ClassVar[float] = 95.0", "criterion=95.0: give the score that counts as learned"),
            (ID, f"{ID}\n    fixation_weight: ClassVar[float] = -1.0", "fixation_weight=-1.0: give a number of at least 0"),
            (DESIGN, "return []", r"design\(\)=\[\]: give a list with one"),
            (DESIGN, 'return [{"go": "yes"}]', r"design\(\): row 0 has go='yes'; give finite numbers"),
            (DESIGN, 'return [{"delay": 1.0}]', r"design\(\): a condition cannot be called 'delay'"),
            (
                DESIGN,
                'return [{"gone": 0.0}]',
                r"draw\(5, rng\): gives \['go'\], and design\(\) has the cond",
            ),
            (DESIGN, 'return [{"go": 0.0}]', r"target_outputs\(conditions\): has one sign in every row of design\(\)"),
            (
                DRAWN,
                DRAWN.replace("rng.integers", "np.random.randint"),
                r"draw\(5, rng\): two draws of one random gen",
            ),
            (DRAWN, DRAWN.replace(", trials)", ")"), r"draw\(5, rng\): has go=.*; give an array with one finite number per"),
            (DRAWN, "return rng.integers(0, 2, trials)", r"draw\(5, rng\): gives a ndarray"),
            ("schedule.add(inputs", "inputs = inputs + 1\n            schedule.add(inputs", rf"{SHOW}: shows nothing"),
            (SHOWN, "np.inf * shown", r"show\(go=0.0\): inputs are not finite"),
            (SHOWN, "np.random.random() * shown", rf"{SHOW}: two batches of one seed differ"),
            (SHOWN, "1.0", rf"{SHOW}: shows the same for go=0.0 and for go=1.0, whose targets differ: \[-1.0\] and \[1.0\]"),
            (
                'schedule.between("cue")',
                'schedule.between("cues")',
                r".*fails: period 'cues' is unknown; did you mean 'cu",
            ),
            (TARGETS, TARGETS.replace("-1.0", "0.0"), r"target_outputs\(go=0.0\): gives 0, which has no sign"),
            (TARGETS, TARGETS.replace("-1.0", "np.nan"), r"target_outputs\(go=0.0\): gives \[nan\]; give finite numbers"),
            (TARGETS, TARGETS.replace("[:, None]", ""), r"target_outputs\(conditions\): gives float32 \(2,\) for 2 trials"),
            (TARGETS, "1, -1)[:, None]", r"target_outputs\(conditions\): gives int64 \(2, 1\)"),
            (ANSWERS, f"2 * {ANSWERS}", r"answers\(go=1.0\): gives 2; give one of 0 \(fixate\), 1 \(go\)"),
            (ANSWERS, 'conditions["go"] == 1', r"answers\(conditions\)=array"),
            ('return ("fixate", "go")', 'return ("fixate",)', r"actions=\('fixate',\): give two or more different names"),
            (
                "def answers(",
                "def curriculum(self):\n        return ()\n\n    def answers(",
                r"curriculum\(\)=\(\): give a",
            ),
            (
                "def answers(",
                "def curriculum(self):\n        return (GoNoGoTask(delay=50.0),)\n\n    def answers(",
                r"curriculum\(\): its last stage is another task; end with self",
            ),
            (
                "def answers(",
                "def check(self, conditions):\n        raise KeyError(3)\n\n    def answers(",
                r"sample\(2, seed=0, \*\*design\) fails: KeyError: 3",
            ),
        ],
    )
    def test_what_cannot_be_learned_is_refused_in_one_line(self, tmp_path: Path, old: str, new: str, message: str):
        path = own(tmp_path, old, new)
        with pytest.raises(InputError) as caught:
            tasks.get(path)
        assert re.match(rf"task {path}, line \d+: {CLASS}\.{message}", str(caught.value)), caught.value
        assert "\n" not in str(caught.value)
        assert "mine" not in tasks.abstract_names()

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (
                DELAY,
                "delay: Duration = (600.0, 200.0)",
                r"line 30: GoNoGoTask: delay=\(600.0, 200.0\): give a duration abov",
            ),
            ("return {", "return 3 or {", r"line 40: GoNoGoTask: timing=3: give {period: duration in ms}"),
            ("self.response}", "self.respond}", r"line 42: GoNoGoTask: AttributeError: .* has no attribute 'respond'"),
            (CHANNELS, "pass", r"line (19|20|21): register_task\(GoNoGoTask\): give the class `channels`"),
            ("def draw(", "def drawn(", r"line (19|20|21): register_task\(GoNoGoTask\): the task lacks draw"),
            (
                "(AbstractTask):",
                ":",
                r"line (19|20|21): register_task\(GoNoGoTask\): give a class derived from VisualTask or",
            ),
            (ID, ID.replace("mine", "rdm"), r"line (19|20|21): register_task\(GoNoGoTask\): there is a task 'rdm' already"),
        ],
    )
    def test_the_line_is_named(self, tmp_path: Path, old: str, new: str, message: str):
        with pytest.raises(InputError, match=rf"mine.py, {message}"):
            tasks.get(own(tmp_path, old, new))

    def test_a_wrong_stage_of_the_curriculum_is_found(self, tmp_path: Path):
        stages = "def curriculum(self):\n        return (GoNoGoTask(strength=0.0), self)\n\n    def answers("
        with pytest.raises(InputError, match=rf"{CLASS}\.curriculum\(\)\[0\]\.{SHOW}: shows the same for go=0.0"):
            tasks.get(own(tmp_path, "def answers(", stages))

    def test_a_parameter_that_a_caller_gave_is_the_callers(self, tmp_path: Path):
        path = own(tmp_path)
        with pytest.raises(InputError, match=r"^catch=2.0: give a fraction of trials below 1"):
            tasks.get(path, catch=2.0)
        with pytest.raises(InputError, match=r"shows the same for go=0.0 and for go=1.0"):
            tasks.get(path, strength=0.0)
        assert tasks.get(path).id == "mine"

    @pytest.mark.parametrize("name", tasks.abstract_names())
    def test_the_tasks_that_there_are_pass(self, name: str):
        check_task(tasks.get(name), source=name)
        check_task(tasks.get(name, catch=0.5, noise=0.0), source=name)
