"""``python -m cordstasks.paper``: parts, verdicts, resuming, and what it prints."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cordstasks.cordsnet import save
from cordstasks.errors import InputError
from cordstasks.experiments.robustness_settings import RobustnessSettings
from cordstasks.paper import __main__ as command
from cordstasks.paper import appendix, architectures, dynamics, parts, robustness, speed, tasks
from cordstasks.paper import reproduce as reproduce_module
from cordstasks.paper.findings import Drawing, Finding, Outcome, judge
from cordstasks.paper.parts import PARTS, Part, Workplace, chosen
from cordstasks.paper.reproduce import made_before, reproduce, table
from cordstasks.paper.speed import REFERENCE, duration_text, expected_seconds, machine_rate
from cordstasks.utils.interrupt import Interrupted
from helpers import printed_by, refused, settling_cordsnet

MADE: list[Path] = []  # what the parts of these tests have made
CLOCK = {"seconds": 0.0, "processor_seconds": 0.0}


def good(folder: Path, workplace: Workplace) -> Outcome:
    """A part that works."""
    MADE.append(folder)
    finding = Finding("Two is more than one.", "2 (1.5 to 2.5)", judge((1.5, 2.5), above=1.0), "by its interval")
    return Outcome([finding], [Drawing("one.png", "One", "A line.")], ["python -m one"], [0, 1], ["small"])


def failing(folder: Path, workplace: Workplace) -> Outcome:
    """A part that lacks something which a user can provide."""
    raise InputError("units=0: must be at least 1")


def slow(folder: Path, workplace: Workplace) -> Outcome:
    """A part that takes a thousand seconds of `CLOCK`."""
    for name in CLOCK:
        CLOCK[name] += 1000.0
    return good(folder, workplace)


def stopped(folder: Path, workplace: Workplace) -> Outcome:
    """A part that is interrupted once."""
    if not (folder / "begun").exists():
        (folder / "begun").touch()
        raise KeyboardInterrupt
    return good(folder, workplace)


def part(figure: str, name: str, **more: object) -> Part:
    """A part made by a function of this module."""
    return Part(figure, f"Part {figure}", f"{__name__}:{name}", (1.0, 2.0), **more)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _nothing_made() -> None:
    MADE.clear()


@pytest.fixture(scope="module")
def ten_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten classes with two images each, for training and for tests."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for part in ("train", "test"):
        for name in "abcdefghij":
            (folder / part / name).mkdir(parents=True)
            for number in range(2):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{number}.png")
    return folder


class TestVerdicts:
    @pytest.mark.parametrize(
        ("interval", "bound", "verdict"),
        [
            ((0.6, 0.8), {"above": 0.5}, "agrees"),
            ((0.4, 0.8), {"above": 0.5}, "cannot tell"),
            ((0.1, 0.4), {"above": 0.5}, "does not agree"),
            ((0.1, 0.4), {"below": 0.5}, "agrees"),
            ((0.1, 0.6), {"below": 0.5}, "cannot tell"),
            ((0.6, 0.8), {"below": 0.5}, "does not agree"),
            (None, {"above": 0.5}, "cannot tell"),
        ],
    )
    def test_the_whole_interval_decides(self, interval, bound: dict[str, float], verdict: str):
        assert judge(interval, **bound) == verdict

    @pytest.mark.parametrize(
        ("verdicts", "expected"),
        [
            (["closer", "undecided"], "agrees"),
            (["farther", "undecided"], "does not agree"),
            (["closer", "farther"], "cannot tell"),
            (["undecided", "undecided"], "cannot tell"),
        ],
    )
    def test_architectures_over_distances(self, verdicts: list[str], expected: str):
        row = {"other": "sparse", "difference": -0.1234, "interval": [-0.2, -0.05]}
        other = {"other": "low-rank", "verdict": "farther"}
        answers = {f"alpha {place}": [other, {**row, "verdict": verdict}] for place, verdict in enumerate(verdicts)}
        found = architectures._finding("claim", "sparse", answers, "rule")
        assert found.verdict == expected
        assert found.measured.startswith("difference by alpha 0 -0.123 (-0.200 to -0.050); alpha 1 -0.123")
        assert architectures._finding("claim", "full", answers, "rule").verdict == "cannot tell"

    def test_only_the_papers_distances_decide(self):
        row = {"other": "sparse", "difference": 0.1, "interval": [-0.1, 0.3]}
        answers = {"alpha 1": [{**row, "verdict": "undecided"}], "DSA": [{**row, "verdict": "closer"}]}
        found = architectures._finding("claim", "sparse", answers, "rule")
        assert found.verdict == "cannot tell" and "; DSA +0.100" in found.measured
        answers = {"alpha 1": [{**row, "verdict": "closer"}], "DSA": [{**row, "verdict": "farther"}]}
        assert architectures._finding("claim", "sparse", answers, "rule").verdict == "agrees"

    def test_conclusions_on_a_sequence_name_their_image(self):
        shown = {"accuracy": 0.8, "interval": (0.7, 0.9)}
        gone = {"accuracy": 0.1, "distance": 0.01, "distance_interval": (0.005, 0.02)}
        settings = RobustnessSettings(sequence=("blank:50", "image:300", "blank:100", "image:300", "blank:100"))
        rows = [{"accuracy": None}, shown, gone, shown, {**gone, "distance_interval": (0.06, 0.07)}]
        found = robustness._sequence(rows, settings)
        assert [each.claim.partition(" image ")[2].partition(" ")[0] for each in found] == ["1", "1", "2", "2"]
        assert [each.verdict for each in found] == ["agrees", "agrees", "agrees", "does not agree"]

    def test_responses_fall_with_distance(self):
        """The step from the preferred value to its neighbours on both sides, over all curves of all seeds."""

        def curve(*means: float) -> dict[str, object]:
            rows = [{"offset": -45.0, "mean": means[0]}, {"offset": 0.0, "mean": 0.0}, {"offset": 45.0, "mean": means[1]}]
            rows += [{"offset": 90.0, "mean": means[2]}]
            return {"by_offset": [{**row, "standard_error": 0.1} for row in rows]}

        made = {0: {"tuning": {"aligned": curve(-0.5, -0.7, -2.0)}}, 1: {"tuning": {"aligned": curve(-0.3, -0.1, -3.0)}}}
        finding = tasks._falls("location", made)
        # the standard error of a mean of four values, each with 0.1
        assert finding.measured.startswith("-0.40 standard deviations (-0.50 to -0.30) from the preferred location")
        assert finding.measured.endswith("-2.50 to the farthest")
        assert finding.verdict == "agrees"
        numbers = {0: {"tuning": {"by_preferred_number": {"1": curve(0.5, 0.3, 1.0), "2": {"by_offset": []}}}}}
        assert tasks._falls("number", numbers).verdict == "does not agree"
        assert tasks._falls("number", {0: {"tuning": None}}).measured == "not measured: too few units are tuned"

    def test_both_categories_are_preferred(self):
        made = {seed: {"tuning": {"prefer_cats": 30, "prefer_dogs": 20}} for seed in (0, 1)}
        finding = tasks._both_categories(made)
        assert finding.measured.startswith("60 prefer cats and 40 dogs; the rarer 30.9 to 49.8 %")
        assert finding.verdict == "agrees"
        one = {0: {"tuning": {"prefer_cats": 200, "prefer_dogs": 1}}}
        assert tasks._both_categories(one).verdict == "does not agree"
        assert tasks._both_categories({0: {"tuning": None}}).verdict == "cannot tell"

    def test_accuracy_at_the_weakest_and_strongest_motion(self):
        def heldout(weak: float, strong: float) -> dict[str, object]:
            rows = [{"coherence": 0.5, "trials": 50, "accuracy": strong}, {"coherence": 0.0, "trials": 50, "accuracy": weak}]
            return {"heldout": {"by_condition": rows}}

        finding = tasks._psychometric({0: heldout(0.4, 0.9), 1: heldout(0.6, 1.0)})
        assert finding.measured.startswith("50 % at 0 %, 95 % at 50 % coherence; difference 45 % (34 to 55)")
        assert finding.verdict == "agrees"
        assert tasks._psychometric({0: heldout(0.5, 0.5)}).verdict == "cannot tell"

    def test_measures_over_the_gain(self):
        rows = [
            {
                "kind": kind,
                "gain": gain,
                "dimension": gain * 3 + seed if gain > 1 else None,
                "autocorrelation_ms": 5.0 - gain,
            }
            for kind in ("convolutional", "fully connected")
            for gain in (0.5, 1.5, 2.0, 3.0)
            for seed in (0, 1)
        ]
        found = appendix._over_gain(rows, "dimension", "the dimension grows", "above")
        assert found.verdict == "agrees"
        assert found.measured.count("6 networks") == 2
        assert appendix._over_gain(rows, "dimension", "the dimension falls", "below").verdict == "does not agree"
        assert "convolutional: -1.00 (-1.00 to -1.00, 8 networks)" in (
            appendix._over_gain(rows, "autocorrelation_ms", "time falls", "below").measured
        )
        few = appendix._over_gain(rows[:4], "dimension", "the dimension grows", "above")
        assert (few.verdict, few.measured.count("too few gains")) == ("cannot tell", 2)

    def test_fixed_points_of_memories(self):
        row = {"slow_modes": 1, "fixed_points": 5, "stable": 2, "groups": 2, "slowest_ms": 900.0, "second_ms": None}
        stable = appendix._each_group_stable
        assert appendix._fixed_points("dms", [row], stable, discrete=True).verdict == "agrees"
        assert appendix._fixed_points("dms", [row, {**row, "stable": 1}], stable, discrete=True).verdict == "cannot tell"
        assert appendix._fixed_points("dms", [{**row, "groups": 1}], stable, discrete=True).verdict == "does not agree"
        ring = appendix._fixed_points("memory-pro", [row, {**row, "slow_modes": 2}], appendix._one_slow, discrete=False)
        assert ring.measured.startswith(
            "1 of 2 networks that learned it (1 slow, 5 fixed points of which 2 stable, slowest 900 ms"
        )
        assert appendix._fixed_points("dms", [], stable, discrete=True).measured == "0 of 0 networks that learned it (none)"

    def test_trials_and_units_of_all_seeds_are_pooled(self):
        rows = [{"tuned": 30, "units": 100}, {"selective": 10, "units": 60}]
        finding = tasks._tuned("number", {seed: {"tuning": row} for seed, row in enumerate(rows)})
        assert finding.measured.startswith("25.0 % of 160 units (")
        assert finding.verdict == "agrees"
        assert tasks._tuned("number", {0: {"tuning": None}}).verdict == "cannot tell"
        assert tasks._pooled([{"trials": 10, "accuracy": 0.5}, {"trials": 30, "accuracy": 0.9}])[0] == 32 / 40

    def test_drawings_of_tasks_say_what_was_measured(self):
        findings = [Finding("It learns.", "90 % right", "agrees", "rule"), Finding("Tuned.", "50 % of 8", "agrees", "rule")]
        for panel in tasks.PANELS.values():
            texts = {drawing.file: tasks._described(drawing, findings).alternative for drawing in panel.drawings}
            assert sum("90 % right." in text for text in texts.values()) == 1
            for file, text in texts.items():
                assert ("All seeds: 50 % of 8." in text) == file.endswith("tuning.png")


class TestParts:
    def test_all_of_them_can_be_imported(self):
        for each in PARTS:
            assert callable(each.maker())
            assert each.maker().__doc__

    def test_figures_are_chosen_in_the_order_of_the_paper(self):
        assert [each.figure for each in chosen(["5b", "1C"])] == ["1C", "5B"]
        assert [each.figure for each in chosen(["5"])] == ["5A", "5B", "5C", "5D"]
        assert chosen(None) == list(PARTS)

    @pytest.mark.parametrize("figure", ["9Z", "", "C"])
    def test_unknown_figures(self, figure: str):
        with pytest.raises(InputError, match=rf"^figure '{figure}' is unknown"):
            chosen([figure])

    def test_seconds_follow_the_machine(self):
        assert expected_seconds(part("X", "good"), Workplace(), rate=REFERENCE / 4) == 8.0
        assert expected_seconds(part("X", "good"), Workplace(quick=True), rate=REFERENCE) == 1.0

    def test_other_work_on_the_machine_does_not_slow_the_measurement(self, monkeypatch: pytest.MonkeyPatch):
        """The clock goes on while others compute, the processor's time does not; the fastest product counts."""
        ticks = iter([0.0, 0.05, 1.0, 1.02, 2.0, 2.04])
        monkeypatch.setattr(speed.time, "process_time", lambda: next(ticks))
        monkeypatch.setattr(speed.time, "perf_counter", lambda: pytest.fail("the clock's time"))
        assert machine_rate(3) == pytest.approx(2 * speed.SIDE**3 / 0.02 / 1e9)
        monkeypatch.setattr(speed.time, "process_time", lambda: 1.0)  # a clock that ticks too rarely
        assert machine_rate(3) == REFERENCE

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (3, "about a minute"),
            (89, "about a minute"),
            (100, "about 2 minutes"),
            (1390, "about 25 minutes"),
            (3400, "about 55 minutes"),
            (3460, "about an hour"),
            (5300, "about 1.5 hours"),
            (36000, "about 10 hours"),
        ],
    )
    def test_durations_in_words(self, seconds: float, text: str):
        assert duration_text(seconds) == text


class TestReproduce:
    def test_what_is_finished_is_not_made_again(self, tmp_path: Path):
        first = reproduce([part("1X", "good")], tmp_path, Workplace())
        again = reproduce([part("1X", "good"), part("2X", "good")], tmp_path, Workplace())
        assert [tmp_path / "1X", tmp_path / "2X"] == MADE
        assert again["1X"] == json.loads(json.dumps(first["1X"]))
        assert json.loads((tmp_path / "paper.json").read_text()) == json.loads(json.dumps(again))
        assert Outcome.from_dict(again["1X"]) == Outcome.from_dict(good(tmp_path, Workplace()).as_dict())

    def test_what_the_folder_holds_of_other_figures_stays_in_the_table(self, tmp_path: Path):
        outcome = {
            "title": "Cost",
            "quick": False,
            "version": "0.1.0",
            "seconds": 1.0,
            **good(tmp_path, Workplace()).as_dict(),
        }
        (tmp_path / "2C").mkdir()
        (tmp_path / "2C" / "outcome.json").write_text(json.dumps(outcome))
        results = reproduce([part("1B", "good")], tmp_path, Workplace())
        assert list(results) == ["1B"]
        kept = json.loads((tmp_path / "paper.json").read_text())
        assert list(kept) == ["1B", "2C"]
        assert kept["2C"] == json.loads(json.dumps(outcome))

    def test_a_part_on_which_another_one_builds_is_made_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(parts, "PARTS", (part("1X", "good"), part("1Y", "good", needs=("images",))))
        found = [made_before("1X", tmp_path, Workplace()) for _ in range(2)]
        assert json.loads(json.dumps(found[0])) == found[1]
        assert [tmp_path / "1X"] == MADE
        with pytest.raises(InputError, match="holds figure 1X with full settings"):
            made_before("1X", tmp_path, Workplace(quick=True))
        with pytest.raises(InputError, match="images=None: figure 1Y needs it"):
            made_before("1Y", tmp_path, Workplace())

    def test_a_problem_of_one_part_leaves_the_others(self, tmp_path: Path):
        results = reproduce([part("1X", "failing"), part("2X", "good")], tmp_path, Workplace())
        text = table(results)
        assert "1X  Part 1X: not made: units=0: must be at least 1" in text
        assert "agrees          Two is more than one." in text
        assert text.endswith("conclusions: agrees 1, does not agree 0, cannot tell 0, in all 1")
        with pytest.raises(InputError, match="units=0"):
            reproduce([part("1X", "failing")], tmp_path, Workplace())

    def test_an_interrupted_part_is_continued(self, tmp_path: Path):
        with pytest.raises(Interrupted):
            reproduce([part("1X", "good"), part("2X", "stopped")], tmp_path, Workplace())
        results = reproduce([part("1X", "good"), part("2X", "stopped")], tmp_path, Workplace())
        assert set(results) == {"1X", "2X"}
        assert [tmp_path / "1X", tmp_path / "2X"] == MADE

    def test_times_are_those_of_all_commands_that_worked_on_a_part(self, tmp_path: Path):
        (tmp_path / "1X").mkdir()
        (tmp_path / "1X" / "seconds.json").write_text('{"seconds": 100.0, "processor_seconds": 50.0}')
        made = reproduce([part("1X", "good")], tmp_path, Workplace())["1X"]
        assert 99.999 < made["seconds"] < 150
        assert 49.999 < made["processor_seconds"] < 100
        assert ", torch " in made["machine"]
        (tmp_path / "2X").mkdir()
        (tmp_path / "2X" / "seconds.json").write_text('{"seconds": 100.0}')  # begun by an earlier version
        assert "processor_seconds" not in reproduce([part("2X", "good")], tmp_path, Workplace())["2X"]

    def test_small_and_full_settings_do_not_mix(self, tmp_path: Path):
        reproduce([part("1X", "good")], tmp_path, Workplace(quick=True))
        with pytest.raises(InputError, match=r"holds figure 1X with small settings; use another folder"):
            reproduce([part("1X", "good")], tmp_path, Workplace())
        MADE.clear()
        with pytest.raises(InputError, match=r"holds figure 1X with small settings; use another folder"):
            reproduce([part("0X", "good"), part("1X", "good")], tmp_path, Workplace())
        assert not MADE  # it is noticed before anything is made

    def test_the_time_of_what_a_part_uses_is_not_its_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(parts, "PARTS", (part("1X", "slow"), part("1Y", "failing")))
        monkeypatch.setattr(reproduce_module._Clock, "_now", lambda _: dict(CLOCK))
        made = reproduce([part("2X", "good", uses=("1X",))], tmp_path, Workplace())
        assert [tmp_path / "1X", tmp_path / "2X"] == MADE
        assert made["2X"]["seconds"] == made["2X"]["processor_seconds"] == 0
        assert json.loads((tmp_path / "1X" / "outcome.json").read_text())["seconds"] == 1000
        with pytest.raises(InputError, match="units=0"):
            reproduce([part("3X", "good", uses=("1Y",))], tmp_path, Workplace())
        assert not (tmp_path / "3X").exists()

    def test_what_a_part_needs(self, tmp_path: Path):
        needing = part("1X", "good", needs=("images",))
        results = reproduce([needing, part("2X", "good")], tmp_path, Workplace())
        assert results["1X"]["problem"].startswith("images=None: figure 1X needs it")
        assert reproduce([needing], tmp_path, Workplace(images=tmp_path))["1X"]["findings"]


class TestCommand:
    def test_the_plan_is_printed_first(self):
        assert printed_by(command.main, "--list", "--quick").splitlines()[0].startswith("1B ")

    def test_the_plan_says_what_is_finished_and_what_lacks_data(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(speed, "machine_rate", lambda: REFERENCE / 60)  # seconds of parts become minutes
        listed = [part("1X", "good"), part("1Y", "good"), part("1Z", "good", needs=("images",))]
        monkeypatch.setattr(command, "chosen", lambda figures: listed)
        (tmp_path / "1Y").mkdir()
        (tmp_path / "1Y" / "outcome.json").write_text('{"quick": false}')
        lines = printed_by(command.main, "--list", "--out", tmp_path).splitlines()
        ends = ["about 2 minutes", "finished", "needs --images, then about 2 minutes"]
        assert [line[68:] for line in lines[:3]] == ends
        assert lines[3:] == ["about 2 minutes in all, of one core that does nothing else"]
        assert "finished with full settings: use another folder" in printed_by(
            command.main, "--list", "--quick", "--out", tmp_path
        )

    def test_the_plan_counts_what_a_part_uses(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(speed, "machine_rate", lambda: REFERENCE)
        lines = printed_by(command.main, "--list", "--figures", "B.3", "--out", tmp_path).splitlines()
        own = {part.figure: part.seconds[1] for part in PARTS}
        expected = duration_text(own["B.3"] + own["1C"])
        assert expected != duration_text(own["B.3"])
        assert lines[0].endswith(f"{expected}, with 1C, which it uses")
        assert lines[1].startswith(f"{expected} in all")
        (tmp_path / "1C").mkdir()
        (tmp_path / "1C" / "outcome.json").write_text('{"quick": false}')
        lines = printed_by(command.main, "--list", "--figures", "B.3", "--out", tmp_path).splitlines()
        assert lines[0].endswith("  about a minute")

    def test_folders_that_do_not_exist(self, tmp_path: Path):
        message = refused(command.main, "--figures", "3", "--images", tmp_path / "none", "--out", tmp_path / "out")
        assert message.startswith(f"--images {tmp_path / 'none'}: there is no such folder; correct the path")
        assert not (tmp_path / "out").exists()

    def test_bad_input(self, tmp_path: Path):
        assert refused(command.main, "--figures", "7Q").startswith("figure '7Q' is unknown")
        (tmp_path / "file").touch()
        assert "--out" in refused(command.main, "--figures", "1C", "--quick", "--out", tmp_path / "file", begun=True)

    def test_data_that_nothing_needs(self, tmp_path: Path):
        message = refused(command.main, "--figures", "1B", "2C", "--recordings", tmp_path)
        assert message.startswith(f"--recordings {tmp_path}: has no effect on figures 1B, 2C; leave it out")

    def test_help_is_quick(self):
        code = (
            "import sys, runpy\nsys.argv = ['paper', '--help']\n"
            "try:\n    runpy.run_module('cordstasks.paper', run_name='__main__')\nexcept SystemExit:\n    pass\n"
            "print(sorted({'torch', 'neurogym'} & set(sys.modules)))"
        )
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert ended.stdout.endswith("[]\n")
        assert "--figures" in ended.stdout


def answered(best: tuple[float, float], end: tuple[float, float]) -> dict[str, dict[str, object]]:
    """Answers with these intervals, at best 30 ms after onset."""
    return {
        name: {"after_ms": ms, "accuracy": sum(interval) / 2, "interval": list(interval)}
        for name, ms, interval in (("best", 30.0, best), ("end", 400.0, end))
    }


class TestFigure3:
    @pytest.mark.parametrize(
        ("best", "end", "verdict"),
        [
            ((0.5, 0.7), (0.1, 0.2), "agrees"),
            ((0.5, 0.7), (0.45, 0.65), "does not agree"),
            ((0.5, 0.7), (0.3, 0.55), "cannot tell"),
        ],
    )
    def test_right_at_one_step(self, best: tuple[float, float], end: tuple[float, float], verdict: str):
        found = robustness._one_step(answered(best, end))
        assert found.verdict == verdict
        assert "60.0 % right (50.0 to 70.0) 30 ms after onset" in found.measured

    @pytest.mark.parametrize(
        ("intervals", "verdict"),
        [
            (((11, 13), (12, 15)), "agrees"),
            (((2, 3), (8, 9)), "does not agree"),
            (((2, 3), (11, 12)), "cannot tell"),
            (((9, 11), (12, 15)), "cannot tell"),
        ],
    )
    def test_noise_at_all_levels(self, intervals: tuple[tuple[float, float], ...], verdict: str):
        rows = [{"level": level, "ratio": sum(ends) / 2, "interval": ends} for level, ends in enumerate(intervals)]
        (found,) = robustness._noise(rows)
        assert found.verdict == verdict
        assert f"{sum(intervals[1]) / 2:.1f} ({intervals[1][0]:.1f} to {intervals[1][1]:.1f}) at 1" in found.measured

    def test_small(self, ten_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        whole, trained = robustness.run_robustness, robustness.pretrain
        save(settling_cordsnet(classes=10), tmp_path / "own.safetensors")
        small = {"count": 10, "noise_image_ms": 20, "rest_ms": 20, "resamples": 20}
        made: list[str] = []

        def fast(images: Path, out: Path, **given: object) -> dict[str, object]:
            given = {"network": str(tmp_path / "own.safetensors"), **given, **small}
            return whole(images, out, **given)

        def counted(*given: object, **more: object) -> bool:
            made.append(str(more["stage"]))
            return trained(*given, **more)  # type: ignore[arg-type]

        sizes: dict[str, dict[str, object]] = {
            "all": {"train_images": 20, "cnn_epochs": 1, "match": "nonlinear", "match_images": 10, "equilibrium_epochs": 1},
            "recurrent": {"train_images": 20, "recurrent_epochs": 1, "recurrent_steps": 2},
        }
        batches = {
            "all": {"match_batch": 10, "equilibrium_batch": 10, "check_images": 10, "test_images": 10},
            "recurrent": {},
        }
        for name, value in (("run_robustness", fast), ("pretrain", counted), ("SIZE", {"depth": 2, "image_size": 32})):
            monkeypatch.setattr(robustness, name, value)
        monkeypatch.setattr(
            robustness, "_sizes", lambda quick: {stage: {**sizes[stage], **batches[stage]} for stage in sizes}
        )
        workplace = Workplace(quick=True, device="cpu", images=ten_classes)
        outcome = robustness.autonomy(tmp_path / "3", workplace)
        assert made == ["all", "recurrent"]
        assert len(outcome.findings) == 6
        assert all((tmp_path / "3" / drawing.file).is_file() for drawing in outcome.drawings)
        again = robustness.autonomy(tmp_path / "3", workplace)
        assert made == ["all", "recurrent"]
        assert again.findings == outcome.findings


def test_small_early_and_late(ten_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small = {"batches": 1, "batch": 4, "seeds": 2, "count": 4, "eigenvalues": 3, "jacobians": 1, "gradients": "truncated"}
    monkeypatch.setattr(dynamics, "EARLY_LATE_QUICK", {"depth": 2, "image_size": 32, **small})
    outcome = dynamics.early_and_late(tmp_path, Workplace(quick=True, images=ten_classes))
    assert [finding.claim.split(" early ")[1][:13] for finding in outcome.findings] == ["have leading ", "overshoot mor"]
    assert (tmp_path / outcome.drawings[0].file).is_file()
    assert "--gradients truncated" in outcome.commands[0]


@pytest.mark.parametrize(("largest", "notes"), [(2e-6, 2), (0.02, 1)])
def test_networks_that_do_not_overshoot_are_named(
    largest: float, notes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rows = [
        {"trained": name, "overshoot": value, "imaginary_jacobian": 0.2, "accuracy_early": 0.5, "accuracy_late": 0.5}
        for name, value in (("early", largest), ("late", 1e-7))
    ]
    gap = {"mean": 0.1, "interval": [-0.1, 0.3]}
    found = {"networks": rows, "differences": {"overshoot": gap, "imaginary_jacobian": gap}}
    monkeypatch.setattr(dynamics, "run_early_late", lambda images, folder, **given: found)
    outcome = dynamics.early_and_late(tmp_path, Workplace(images=tmp_path))
    assert len(outcome.notes) == notes
    assert outcome.notes[-1].startswith("all overshoots are below 0.0001") == (notes == 2)


@pytest.mark.parametrize(
    ("real", "oscillating", "verdicts"),
    [((-0.2, -0.1), (3, 1), ["agrees", "agrees"]), ((-0.2, 0.1), (3, 0), ["cannot tell", "does not agree"])],
)
def test_spectra(
    real: tuple[float, float],
    oscillating: tuple[int, int],
    verdicts: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    common = {"real": [-1.0] * 5, "converged": 5, "residual": 1e-6, "largest_imaginary": 0.3}
    rows = [
        {"area": area, "largest_real": largest, "oscillating": number, **common}
        for area, (largest, number) in enumerate(zip(real, oscillating, strict=True))
    ]
    monkeypatch.setattr(dynamics, "run_spectra", lambda folder, **given: {"areas": rows})
    outcome = dynamics.spectra(tmp_path, Workplace())
    assert [finding.verdict for finding in outcome.findings] == verdicts
    assert outcome.findings[1].measured.startswith(f"{sum(oscillating)} of 10 have")


def test_small_comparison_of_architectures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    small = {
        "tasks": ["perceptual-dm"],
        "connectivities": ["full", "lowrank", "sparse", "conv"],
        "units": [9],
        "activations": ["relu", "tanh"],
        "seeds": 1,
        "settings": {"steps": 120, "goal": 0.6, "validation": 32, "heldout": 64, "learning_rate": 0.01},
    }
    designs = {"units": small, "parameters": {**small, "trained_parameters": [85], "activations": ["tanh"]}}
    monkeypatch.setattr(architectures, "QUICK", designs)
    workplace = Workplace(quick=True, device="cpu")
    outcome = architectures.comparison(tmp_path / "1C", workplace)
    assert [("units" in each.claim, "low-rank" in each.claim) for each in outcome.findings] == list(
        product((True, False), (True, False))
    )
    assert (tmp_path / "1C" / "units" / "table.txt").read_text().startswith("perceptual-dm: learned by ")
    assert (tmp_path / "1C" / outcome.drawings[0].file).exists()
    measured = [each.measured for each in outcome.findings]
    compared = [each for each in measured if "network learned it" not in each]
    assert all("difference by alpha 1 " in each and "CKA" in each for each in compared), measured
    assert len(compared) >= 3, measured  # in 120 batches, a kind may not learn in one design
    capsys.readouterr()
    (tmp_path / "B.3").mkdir()
    again = architectures.by_task(tmp_path / "B.3", workplace)
    assert capsys.readouterr().out == ""  # nothing was trained again
    assert len(again.findings) == 4
    assert all("in perceptual-dm" in each.claim for each in again.findings)
    # with one task, all tasks together are that task, but settings are drawn with other random numbers
    differences = [[each.measured.split()[4] for each in found.findings] for found in (outcome, again)]
    assert differences[0] == differences[1]
    assert all((tmp_path / "B.3" / drawing.file).exists() for drawing in again.drawings)
