"""Flags and settings that would change nothing are refused in one line, by every command, unless they agree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cordstasks import compare, pretrain, sweep, train
from cordstasks.errors import InputError
from cordstasks.paper import __main__ as paper
from cordstasks.pretraining.effects import check_recipe, check_used
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.runs import train as train_in_python
from cordstasks.training.settings import VisualSettings
from cordstasks.utils.effects import check_effects
from cordstasks.utils.folders import recorded_device
from cordstasks.utils.settings import Settings, choice, setting, truth, whole
from helpers import contents, printed_by, refused


@dataclass(frozen=True)
class Colours(Settings):
    mixed: bool = setting(truth(), "whether colours are mixed", default=True)
    parts: int = setting(whole(), "of a mixture", default=3)
    base: str = setting(choice("oil", "water"), "of a colour", default="oil")
    drying: int = setting(whole(), "days that oil dries", default=5)


NEEDS = {"parts": ("mixed", True), "drying": ("base", "oil")}


class TestRule:
    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"mixed": False, "parts": 4}, "parts=4: has no effect unless mixed=True; leave it out, or give mixed=True"),
            ({"base": "water", "drying": 7}, "drying=7: has no effect unless base=oil; leave it out, or give base=oil"),
        ],
    )
    def test_what_is_not_used_is_refused(self, given: dict[str, Any], message: str):
        with pytest.raises(InputError, match=f"^{message}$"):
            check_effects(Colours(**given), given, Colours().as_dict(), NEEDS)

    @pytest.mark.parametrize(
        "given",
        [{}, {"parts": 4}, {"drying": 7, "mixed": False}, {"mixed": False, "parts": 3, "base": "water", "drying": 5}],
    )
    def test_what_is_used_or_usual_passes(self, given: dict[str, Any]):
        check_effects(Colours(**given), given, Colours().as_dict(), NEEDS)

    def test_usual_is_what_the_caller_would_have_got(self):
        given = {"mixed": False, "parts": 8}
        check_effects(Colours(**given), given, {"parts": 8, "drying": 5}, NEEDS)


class TestVisualSettings:
    @pytest.mark.parametrize(
        ("task", "given", "message"),
        [
            ("saccade", {"lags_ms": (20,)}, r"lags_ms=20\.0: has no effect unless teacher=True"),
            ("saccade", {"odds_gain": 3}, "odds_gain=3: has no effect unless teacher=True"),
            ("rdm", {"components": 9, "labels_only": True}, "components=9: has no effect unless teacher=True"),
            ("numerosity", {"mix_sizes": (2, 3)}, "mix_sizes=2 3: has no effect unless mix=True"),
            ("rdm", {"input_noise": 0.3}, r"input_noise=0\.3: has no effect unless mix=False"),
            ("catdog", {"recombine": 0.5, "mix": True}, r"recombine=0\.5: has no effect unless mix=False"),
            (
                "rdm",
                {"recombine": 0.5, "mix": False},
                r"recombine=0\.5: matters to tasks that compare two pictures, not to rdm",
            ),
            ("rdm", {"whiten": False}, "whiten=False: has no effect unless teacher=False"),
            ("catdog", {"readout": "pool", "side": 3}, "side=3: has no effect unless readout=flatten"),
        ],
    )
    def test_what_is_not_used_is_refused(self, task: str, given: dict[str, Any], message: str):
        with pytest.raises(InputError, match=f"^{message}"):
            VisualSettings.new(task, **given)

    @pytest.mark.parametrize("task", ["rdm", "numerosity", "catdog", "saccade"])
    @pytest.mark.parametrize("changes", [{}, {"labels_only": True}, {"quick": True}])
    def test_all_settings_of_a_run_can_be_given_again(self, task: str, changes: dict[str, Any]):
        made = VisualSettings.new(task, **changes)
        again = {name: value for name, value in made.as_dict().items() if name != "task"}
        assert VisualSettings.new(task, **again, quick=changes.get("quick", False)) == made

    @pytest.mark.parametrize(
        ("task", "given"),
        [
            ("rdm", {"lags_ms": (20,), "mix_sizes": (2, 3)}),
            ("rdm", {"mix": False, "input_noise": 0.3}),
            ("rdm", {"teacher": False, "whiten": False}),
            ("catdog", {"recombine": 0.5, "side": 3}),
        ],
    )
    def test_what_is_used_passes(self, task: str, given: dict[str, Any]):
        made = VisualSettings.new(task, **given)
        assert {name: getattr(made, name) for name in given} == given


class TestPretraining:
    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"match_settled": 3}, "match_settled=3: has no effect unless match=nonlinear"),
            ({"match_penalty": 3, "match": "nonlinear"}, "match_penalty=3: has no effect unless match=linear"),
            ({"checkpoint_steps": 3}, "checkpoint_steps=3: has no effect unless gradients=full"),
            ({"implicit_step": 0.3, "gradients": "full"}, r"implicit_step=0\.3: has no effect unless gradients=equilibrium"),
        ],
    )
    def test_what_is_not_used_is_refused(self, given: dict[str, Any], message: str):
        with pytest.raises(InputError, match=f"^{message}"):
            check_used(PretrainSettings.of(given), given, "laptop")

    @pytest.mark.parametrize("recipe", ["laptop", "paper"])
    @pytest.mark.parametrize("match", ["linear", "nonlinear"])
    def test_all_settings_can_be_given_again(self, recipe: str, match: str):
        made = PretrainSettings.of({"dataset": "mnist", "match": match}, recipe)
        check_used(made, made.as_dict(), recipe)
        check_recipe(recipe, made, {}, "runs/a")

    def test_a_run_has_the_recipe_that_it_was_begun_with(self):
        made = PretrainSettings.of({"cnn_epochs": 7}, "laptop")
        with pytest.raises(
            InputError, match=r"^recipe=paper: has no effect, since the run in runs/a was begun with gradients="
        ):
            check_recipe("paper", made, {}, "runs/a")
        with pytest.raises(InputError, match=r"^recipe=laptop: has no effect, since .* was begun with cnn_epochs=7; leave"):
            check_recipe("laptop", made, {}, "runs/a")
        check_recipe("laptop", made, {"cnn_epochs": 7}, "runs/a")

    def test_images_come_from_one_folder(self, tmp_path: Path):
        words = ("--data", "x", "--dataset", "folder:y", "--out", tmp_path / "out")
        assert refused(pretrain.main, *words) == "--data x: has no effect with --dataset folder:y; leave one of them out"


SMALL = ("--task", "dms", "--steps", "2", "--seeds", "0", "--heldout", "10", "--validation", "4")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "finished"
    printed_by(train.main, *SMALL, "--out", folder)
    return folder


class TestTraining:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--steps", "5"), "--steps 5: the run in .* has 2; leave it out, or use another folder"),
            (("--quick",), "--quick: has no effect, since the run in .* was begun with settings of its own; leave it out"),
            (("--device", "cuda"), "--device cuda: has no effect, since the run in .* is finished; leave it out"),
        ],
    )
    def test_a_finished_run_stays_as_it_is(self, finished: Path, words: tuple[str, ...], message: str):
        before = contents(finished)
        line = refused(train.main, "--resume", "--out", finished, *words)
        assert contents(finished) == before
        with pytest.raises(InputError, match=f"^{message}$"):
            raise InputError(line)

    @pytest.mark.parametrize("words", [(), SMALL, ("--device", "cpu"), (*SMALL, "--quick")])
    def test_flags_that_agree_pass(self, finished: Path, words: tuple[str, ...]):
        assert "this run is finished" in printed_by(train.main, "--resume", "--out", finished, *words)

    def test_in_python_a_resumed_run_is_not_made_small(self, finished: Path):
        with pytest.raises(
            InputError, match=r"^quick=True: has no effect, since the run in .* was begun with settings of its"
        ):
            train_in_python(out=finished, resume=True, quick=True)

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (
                "--task saccade --no-bank --bank-limit 3",
                "--bank-limit 3: has no effect with --no-bank; leave one of them out",
            ),
            ("--task saccade --no-bank --bank x", "--bank x: has no effect with --no-bank; leave one of them out"),
            (
                "--task catdog --stimuli-dir a --set stimuli_dir=b",
                "--stimuli-dir a: is also given with --set; leave one of them out",
            ),
            (
                "--task saccade --no-mix --mix-fewest 3",
                "--mix-fewest 3: has no effect unless --mix; leave it out, or give --mix",
            ),
        ],
    )
    def test_of_two_flags_neither_is_silently_left_out(self, words: str, message: str):
        assert refused(train.main, *words.split()) == message

    @pytest.mark.parametrize(
        ("bank", "words"),
        [
            ("null", ("--bank", "x")),
            ("null", ("--bank-limit", "3")),
            ("12.5", ("--no-bank",)),
            ("12.5", ("--device", "mps")),
        ],
    )
    def test_nothing_is_computed_for_a_finished_visual_run(self, tmp_path: Path, bank: str, words: tuple[str, ...]):
        (tmp_path / "config.json").write_text('{"family": "visual", "environment": {"device": "NVIDIA H100"}}')
        (tmp_path / "summary.json").write_text(f'{{"bank": {{"megabytes": {bank}}}}}')
        line = refused(train.main, "--resume", "--out", tmp_path, *words)
        assert line == f"{' '.join(words)}: has no effect, since the run in {tmp_path} is finished; leave it out"

    @pytest.mark.parametrize(
        ("recorded", "kind"),
        [('"NVIDIA H100"', "cuda"), ('"cpu"', "cpu"), ('"mps:0"', "mps"), ("3", None), ("null", None)],
    )
    def test_the_device_of_a_run(self, tmp_path: Path, recorded: str, kind: str | None):
        (tmp_path / "config.json").write_text(f'{{"environment": {{"device": {recorded}}}}}')
        assert recorded_device(tmp_path) == kind
        assert recorded_device(tmp_path / "nowhere") is None


class TestOtherCommands:
    def test_abstract_tasks_have_no_features(self, tmp_path: Path):
        line = refused(compare.main, "--tasks", "dms", "perceptual-dm", "--bank", "x", "--out", tmp_path / "out")
        assert line == "--bank x: has no effect, since none of the tasks shows movies; leave it out"

    def test_a_part_of_the_paper_without_images_gets_none(self, tmp_path: Path):
        line = refused(paper.main, "--figures", "5A", "--images", tmp_path, "--out", tmp_path / "out")
        assert line == f"--images {tmp_path}: has no effect on figures 5A; leave it out"

    def test_a_cluster_has_workers_of_its_own(self, tmp_path: Path):
        (tmp_path / "a.toml").write_text('tasks = ["dms"]')
        line = refused(sweep.main, tmp_path / "a.toml", "--backend", "dask", "--jobs", "2")
        assert line == "--jobs 2: has no effect with --backend dask, which uses all its workers; leave it out"
