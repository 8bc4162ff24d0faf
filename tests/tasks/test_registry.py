"""A task of one's own in one file, and the command that lists tasks and draws their trials."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cordstasks import tasks
from cordstasks.errors import InputError
from cordstasks.stimuli import Display
from cordstasks.tasks import __main__ as command
from cordstasks.tasks import registry
from cordstasks.tasks.environments.registration import environments
from cordstasks.tasks.preview import animation, contact_sheet, curves, write_preview
from helpers import ROOT

EXAMPLE = ROOT / "examples" / "orientation_discrimination.py"


def own(folder: Path, old: str = "", new: str = "", name: str = "mine.py") -> Path:
    """The example under another id, with a piece of it changed."""
    text = EXAMPLE.read_text().replace('"orientation"', '"mine"')
    assert old in text
    path = folder / name
    path.write_text(text.replace(old, new) if old else text)
    return path


class TestFile:
    def test_the_example_is_short_and_complete(self):
        assert len(EXAMPLE.read_text().splitlines()) < 80
        task = tasks.get(str(EXAMPLE))
        batch = task.sample(20, seed=1)
        assert batch.options == (1, 2)
        assert np.array_equal(batch.answers, np.where(batch.conditions["side"] < 0, 1, 2))
        assert len(task.for_training().design()) == 6 < len(task.design())
        for trial in task.trials(6, seed=1, tilt=16.0):
            grating = trial.movie.rgb([500])[0, ..., 0].astype(float) - 128
            # bars that run up to the right are alike at the upper right and the lower left
            right, left = ((grating * np.roll(grating, (-4, shift), (0, 1))).sum() for shift in (1, -1))
            assert (right > left) == (trial.conditions["side"] > 0)

    @pytest.mark.parametrize("keeps_time", [True, False])
    def test_a_file_that_changes_is_run_again(self, tmp_path: Path, keeps_time: bool):
        """Even within a second, to one of the same size: what Python compiled of the first is not what the file says."""
        path = own(tmp_path, "grating: Duration = 400.0", "grating: Duration = 500.0")
        stat = path.stat()
        assert tasks.get(str(path)).timing["grating"] == 500.0
        own(tmp_path, "grating: Duration = 400.0", "grating: Duration = 600.0", name="new.py").replace(path)
        if keeps_time:
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert tasks.get(str(path)).timing["grating"] == 600.0
        assert sorted(tmp_path.iterdir()) == [path]

    def test_a_file_is_a_task_and_its_parameters_are_the_tasks(self, tmp_path: Path):
        task = tasks.get(str(own(tmp_path)), grating=900.0)
        assert task.timing["grating"] == 900.0
        assert task.id == "mine"
        assert "mine" in tasks.names()
        assert type(tasks.get("mine")) is type(task)
        with pytest.raises(InputError, match="parameter of task mine 'gratings' is unknown; did you mean 'grating'"):
            tasks.get(str(own(tmp_path)), gratings=900.0)

    def test_a_file_that_has_not_changed_is_run_once(self, tmp_path: Path):
        path = own(tmp_path)
        assert type(tasks.get(str(path))) is type(tasks.get(str(path)))
        path = own(tmp_path, "fixation: Duration = 300.0", "fixation: Duration = 123.0")
        assert tasks.get(str(path)).timing["fixation"] == 123.0

    def test_two_files_of_one_name_are_two_modules(self, tmp_path: Path):
        (tmp_path / "sub").mkdir()
        first = tasks.get(str(own(tmp_path)))
        second = tasks.get(str(own(tmp_path / "sub", '"mine"', '"other"')))
        assert (first.id, second.id) == ("mine", "other")
        assert type(first).__module__ != type(second).__module__

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("@register_task\n", "", r"mine.py: registers no task; write @register_task over one class"),
            ("@register_task\n", "@register_tasks\n", r"mine.py, line 30: NameError: name 'register_tasks' is not defined"),
            ("import numpy as np", "import numpi as np", r"mine.py, line 14: ModuleNotFoundError: No module named 'numpi'"),
            ("def grating(", "def grating((", r"mine.py, line 22: SyntaxError: "),
            (
                '"mine"',
                '"rdm"',
                r"mine.py, line (30|31|32): register_task\(OrientationTask\): there is a task 'rdm' already",
            ),
            (
                "def design(self)",
                "def designs(self)",
                r"mine.py, line (30|31|32): register_task\(.*\): the task lacks design",
            ),
            ('stimulus: ClassVar[str] = "grating"', "", r"give the class a name as `stimulus`"),
            ("@register_task\n@dataclass", "register_task(int)\n@dataclass", r"give a class derived from VisualTask"),
            ("def grating(", 'raise SystemExit("no")\n\n\ndef grating(', r"mine.py, line 22: SystemExit: no"),
        ],
    )
    def test_a_file_that_is_no_task_says_why_in_one_line(self, tmp_path: Path, old: str, new: str, message: str):
        path = own(tmp_path, old, new)
        before = tasks.names()
        with pytest.raises(InputError, match=message) as caught:
            tasks.get(str(path))
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
        assert tasks.names() == before

    def test_two_tasks_in_a_file_are_one_too_many(self, tmp_path: Path):
        path = own(tmp_path)
        path.write_text(path.read_text() + '\n\n@register_task\nclass Other(OrientationTask):\n    id = "other"\n')
        with pytest.raises(InputError, match=r"mine.py: registers 2 tasks \(mine, other\)"):
            tasks.get(str(path))

    def test_a_file_that_is_not_there(self, tmp_path: Path):
        with pytest.raises(InputError, match=r"task .*nothing.py: there is no such file"):
            tasks.get(str(tmp_path / "nothing.py"))
        (tmp_path / "folder.py").mkdir()
        with pytest.raises(InputError, match=r"task .*: there is no such file"):
            tasks.get(str(tmp_path / "folder.py"))

    def test_the_page_walks_through_the_very_file(self):
        page = (ROOT / "docs" / "own-task.md").read_text()
        blocks = re.findall(r"(?ms)^```python\n(.*?)^```", page)

        def lines(text: str) -> str:  # the formatter takes methods to the left and apart
            return "\n".join(line.strip() for line in text.splitlines() if line.strip())

        assert len(blocks) > 9
        files = [lines(path.read_text()) for path in (EXAMPLE, EXAMPLE.with_name("go_nogo.py"))]
        apart = [block for block in blocks if not any(lines(block) in file for file in files)]
        # a report of its own is no part of the example, see tests/runs/test_reports.py
        assert [block.split("(")[0].split(":")[0] for block in apart] == ["def by_tilt", "report"]


class TestBuiltIn:
    def test_a_module_in_the_folder_is_a_task_and_has_an_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        """To add a task to this package touches one file, and a second one for its environment's class."""
        text = (
            EXAMPLE.with_name("go_nogo.py")
            .read_text()
            .replace("strength: float", 'environment = "GoNoGo"\n    strength: float')
        )
        (tmp_path / "made_up.py").write_text(text)
        monkeypatch.setattr(tasks.abstract, "__path__", [*tasks.abstract.__path__, str(tmp_path)])
        module = "cordstasks.tasks.abstract.made_up"
        try:
            registry.load_built_in()
            assert "go-nogo" in tasks.abstract_names()
            assert type(tasks.get("go-nogo")).__module__ == module
            assert environments(abstract=True)["cordstasks/GoNoGo-v0"] == "cordstasks.tasks.environments.abstract:GoNoGoEnv"
        finally:
            sys.modules.pop(module, None)

    def test_the_modules_of_this_package_are_all_loaded_and_twice_does_no_harm(self):
        before = (tasks.names(), tasks.abstract_names())
        registry.load_built_in()
        assert (tasks.names(), tasks.abstract_names()) == before
        assert {"catdog", "numerosity", "rdm", "saccade"} <= set(before[0])
        assert {"dms", "memory-pro", "perceptual-dm", "parametric-wm", "multisensory-dm", "contextual-dm"} <= set(before[1])


class TestPreview:
    def test_the_sheet_shows_the_middle_of_each_period(self):
        task = tasks.get("numerosity", display=tasks.NumerosityTask().display)
        match, nonmatch = (task.trials(1, seed=2, match=m)[0] for m in (1, 0))
        sheet = np.asarray(contact_sheet(task, [match, nonmatch]))
        assert sheet.shape == (2 * (128 + 36) + 4, 5 * 132 + 4, 3)

        def cell(row: int, column: int) -> np.ndarray:
            return sheet[4 + row * 164 + 32 :, 4 + column * 132 :][:128, :128]

        for row, trial in enumerate([match, nonmatch]):
            for column, (start, end) in enumerate(trial.periods.values()):
                frame = trial.movie.rgb([(start + end) / 2])[0]
                np.testing.assert_array_equal(cell(row, column), np.kron(frame, np.ones((2, 2, 1), np.uint8)))
        assert (cell(0, 4) == 40).all()  # a match has no second test

    def test_the_animation_lasts_as_long_as_the_longest_trial(self):
        task = tasks.get("saccade")
        trials = [task.trials(1, seed=1, delay=delay)[0] for delay in (1500, 3000)]
        images, durations = animation(task, trials)
        assert sum(durations) == 750 + 500 + 3000 + 500 + 10  # in steps of 40 ms
        assert len(images) < 9  # one for each change, not for each step
        assert images[0].size == (2 * 132, 128 + 16)

    def test_moving_dots_move(self):
        task = tasks.get("rdm")
        images, durations = animation(task, task.trials(2, seed=1))
        assert durations[1:-1] == [40] * (len(durations) - 2)
        frames = [np.asarray(image) for image in images]
        assert not any(np.array_equal(one, other) for one, other in zip(frames, frames[1:], strict=False))


class TestCommand:
    def test_it_lists_every_task_with_timing_and_conditions(self, capsys: pytest.CaptureFixture[str]):
        assert command.main([]) == 0
        listed = capsys.readouterr().out
        for name in (*tasks.names(), *tasks.abstract_names()):
            assert re.search(rf"(?m)^{name}: \w", listed)
        assert "motion 500" in listed and "delay 1500-6000" in listed
        assert re.search(r"delay +1500, 3000, 6000; trained on 500, 600, \.\.\., 3000 \(26 values\)", listed)
        assert command.main(["list", str(EXAMPLE)]) == 0
        assert "tilt       1, 2, 4, 8, 16; trained on 4, 8, 16" in capsys.readouterr().out

    def test_it_writes_a_sheet_and_an_animation(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        out = tmp_path / "new" / "folder"
        assert command.main(["preview", str(EXAMPLE), "--out", str(out), "--trials", "3", "--seed", "5"]) == 0
        assert capsys.readouterr().out.split() == [str(out / "orientation.png"), str(out / "orientation.gif")]
        with Image.open(out / "orientation.png") as sheet:
            assert sheet.size == (3 * 132 + 4, 3 * 164 + 4)
        with Image.open(out / "orientation.gif") as moving:
            assert moving.n_frames >= 3
            assert moving.size == (3 * 132, 144)
        assert sorted(path.name for path in out.iterdir()) == ["orientation.gif", "orientation.png"]

    @pytest.mark.parametrize("name", tasks.abstract_names())
    def test_an_abstract_task_is_listed_with_what_it_has(self, name: str, capsys: pytest.CaptureFixture[str]):
        assert command.main(["list", name]) == 0
        task, listed = tasks.get(name), capsys.readouterr().out
        assert f"  channels   {', '.join(task.channels)}; noise {task.noise:g}" in listed
        assert f"  outputs    {task.outputs}, scored by {task.measure}" in listed
        assert all(re.search(rf"(?m)^  {condition} +[-\d]", listed) for condition in task.design()[0])
        given = "".join(listed.partition("  parameters ")[2].split())
        for field in dataclasses.fields(task):
            assert re.search(rf"(^|,){field.name}=[\[\d]", given)
        assert all(len(line) < 115 for line in listed.splitlines())

    def test_what_is_special_of_an_abstract_task_is_listed(self, capsys: pytest.CaptureFixture[str]):
        command.main(["list", "memory-pro"])
        listed = capsys.readouterr().out
        assert "  timing     fixation 300, stimulus 500, delay 500-2000, response 500 (ms)\n" in listed
        assert "  curriculum delay 100-300, then 300-1000, then 500-2000\n" in listed
        assert "  angle      0, 45, 90, 135, 180, 225, 270, 315, and any between\n" in listed
        assert "noise 0.05 on the first 2\n" in listed and "delay=[500,2000], response=500, locations=0" in listed

    def test_parameters_are_listed_as_they_are_set(self, capsys: pytest.CaptureFixture[str]):
        command.main(["list", "catdog"])
        listed = capsys.readouterr().out
        for text in ("two_choices=false", "lines=null", "levels=[0,0.2,0.4,0.6,0.8,1]", "part=all", "second_tests=1,"):
            assert text in listed
        command.main(["list"])
        assert "parameters" not in capsys.readouterr().out

    @pytest.mark.parametrize("name", tasks.abstract_names())
    def test_trials_of_an_abstract_task_are_drawn(self, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        assert command.main(["preview", name, "--out", str(tmp_path), "--trials", "2", "--training"]) == 0
        assert capsys.readouterr().out.split() == [str(tmp_path / f"{name}.png")]
        with Image.open(tmp_path / f"{name}.png") as figure:
            assert figure.width > figure.height > 400
        assert [path.name for path in tmp_path.iterdir()] == [f"{name}.png"]

    def test_the_curves_are_those_of_the_trials(self):
        task = tasks.get("memory-pro")
        batch = task.sample(4, seed=3)
        axes = curves(task, trials=4, seed=3).axes
        assert len(axes) == 4 * 3  # two rows of three trials, each of two axes; the last two places are empty
        for trial, (upper, lower) in enumerate(
            [(axes[0], axes[3]), (axes[1], axes[4]), (axes[2], axes[5]), (axes[6], axes[9])]
        ):
            length = batch.lengths[trial]
            drawn = [patch.get_data().values for patch in upper.patches]
            np.testing.assert_array_equal(np.stack(drawn, axis=1), batch.inputs[trial, :length])
            mask, *targets = (patch.get_data().values for patch in lower.patches)
            np.testing.assert_array_equal(mask, batch.mask[trial, :length])
            np.testing.assert_array_equal(np.stack(targets, axis=1), batch.targets[trial, :length])
            assert upper.get_xlim() == lower.get_xlim() == (0, length * batch.dt)
            angle = f"angle {batch.conditions['angle'][trial]:.4g}, delay"
            assert upper.get_title(loc="left").startswith(angle)
            assert upper.get_title(loc="left").endswith(f": {task.actions[batch.answers[trial]]}")
        assert not axes[7].axison and not axes[11].axison

    def test_a_sheet_has_an_end(self, tmp_path: Path):
        task = tasks.get("rdm")
        for wrong, message in (
            ({"trials": 0}, "trials=0: draw at least 1 and at most 100"),
            ({"trials": 101}, "trials=101: draw at least 1 and at most 100"),
            ({"seed": -1}, "seed=-1: give a whole number of at least 0"),
        ):
            with pytest.raises(InputError, match=message):
                write_preview(task, tmp_path, **wrong)
        wide = tasks.get("saccade", display=Display(pixels=1000, field_of_view=32.0))
        with pytest.raises(InputError, match="trials=66: side by side they are too wide; draw at most 65"):
            animation(wide, wide.trials(1, seed=0) * 66)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["preview", "numerosty", "--out", "x"], "task 'numerosty' is unknown; did you mean 'numerosity'"),
            (["preview", "rdm"], "the following arguments are required: --out; see --help"),
            (["preview", "rdm", "--out", "x", "--trials", "0"], "trials=0: draw at least 1"),
            (["preview", "dms", "--out", "x", "--trials", "1000"], "trials=1000: draw at least 1 and at most 100"),
            (["preview", "rdm", "--out", "x", "--seed", "-1"], "seed=-1: give a whole number of at least 0"),
            (["preview", "dms", "--out", "x", "--seed", "-3"], "seed=-3: give a whole number of at least 0"),
            (["preview", "memory_pro", "--out", "x"], "task 'memory_pro' is unknown; did you mean 'memory-pro'"),
            (["list", "dmss"], "task 'dmss' is unknown; did you mean 'dms'"),
            (["show"], "invalid choice: 'show'"),
        ],
    )
    def test_mistakes_are_one_line(self, arguments: list[str], message: str):
        with pytest.raises(InputError, match=re.escape(message)) as caught:
            command.main(arguments)
        assert "\n" not in str(caught.value)
