"""A run goes on, and is loaded, with the weights, pictures and files that it was begun with, or says that it cannot."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shutil
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from cordstasks import train
from cordstasks.cordsnet import Preprocessing
from cordstasks.cordsnet.checkpoints import load, save
from cordstasks.errors import InputError, Note
from cordstasks.frontend.frontend import weights_digest
from cordstasks.runs.abstract import load_networks
from cordstasks.runs.loading import load_run
from cordstasks.runs.recorded import recorded_settings
from cordstasks.training.settings import AbstractSettings, VisualSettings
from cordstasks.utils.run_folder import RunFolder, note_differences
from helpers import ROOT, SHORT, change, flags, output_of, printed_by, read, refused, tiny_cordsnet

command, refusal = partial(output_of, train.main), partial(refused, train.main, begun=True)
SIZES = {"trials": 12, "validation": 6, "heldout": 16, "steps": 6, "units": 8, "batch": 6}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights A and B, a task of one's own, and a run ``begun`` with B and relative paths."""
    folder = tmp_path_factory.mktemp("place")
    save(tiny_cordsnet(0), folder / "A.safetensors")
    save(tiny_cordsnet(1), folder / "B.safetensors")
    shutil.copy(ROOT / "examples" / "orientation_discrimination.py", folder / "my_task.py")
    words = ["--task", "my_task.py", "--frontend", "A.safetensors", "--weights", "B.safetensors", *flags(**SIZES)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        code, _, err = output_of(
            train.main, *words, "--readout", "pool", "--device", "cpu", "--bank", "bank", "--out", "begun"
        )
    assert code == 0, err
    return folder


@pytest.fixture
def run(place: Path, tmp_path: Path) -> Path:
    """A copy of the run that is not finished yet, except for its training; the working directory is another."""
    shutil.copytree(place / "begun", tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    return tmp_path / "run"


def resume(place: Path, run: Path, *more: str | Path) -> tuple[str | Path, ...]:
    return ("--resume", "--out", run, "--bank", place / "bank", *more)


class TestWhichWeights:
    def test_path_and_digest_are_recorded(self, place: Path):
        config = read(place / "begun", "config.json")
        assert config["weights"]["path"] == str(place / "B.safetensors")
        assert config["weights"]["sha256"] == weights_digest(load(place / "B.safetensors", map_location="cpu"))
        assert config["weights"]["sha256"] == read(place / "begun")["weights"]["sha256"]

    def test_a_run_is_loaded_with_the_weights_that_it_was_begun_with(self, place: Path):
        made = load_run(place / "begun", device="cpu", bank=place / "bank")
        assert made.frontend.digest() == made.config["weights"]["sha256"]
        behaviour = made.behaviour(made.heldout())
        assert behaviour.correct.mean() == made.summary["heldout"]["accuracy"]

    def test_it_goes_on_with_them_from_another_working_directory(
        self, place: Path, run: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.chdir(run.parent)
        code, _, err = command(*resume(place, Path("run")))
        assert code == 0, err
        before, after = (read(path) for path in (place / "begun", run))
        assert before["weights"]["sha256"] == after["weights"]["sha256"]
        assert before["heldout"] == after["heldout"]

    @pytest.mark.parametrize("unfinished", [True, False])
    def test_others_are_refused_by_name(self, place: Path, run: Path, unfinished: bool):
        folder = run if unfinished else place / "begun"
        had, other = (weights_digest(load(place / f"{name}.safetensors", map_location="cpu")) for name in "BA")
        message = refusal(*resume(place, folder, "--weights", place / "A.safetensors"))
        for part in (f"--weights {place / 'A.safetensors'}: ", other, str(place / "B.safetensors"), had):
            assert part in message
        with pytest.raises(InputError, match=re.escape(f"weights={place / 'A.safetensors'}: holds other weights")):
            load_run(folder, weights=place / "A.safetensors", bank=False)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"tau": 4.0}, "another alpha (0.5, not 0.2)"),
            ({"preprocessing": Preprocessing((0.0, 0.0, 0.0))}, "another mean ([0.0, 0.0, 0.0], not ["),
            ({"preprocessing": Preprocessing(std=(1.0, 1.0, 1.0))}, "another std ([1.0, 1.0, 1.0], not ["),
        ],
    )
    def test_the_same_tensors_run_in_another_way_are_others(
        self, place: Path, tmp_path: Path, options: dict[str, Any], message: str
    ):
        save(tiny_cordsnet(1, **options), tmp_path / "C.safetensors")
        with pytest.raises(InputError, match=re.escape(message)):
            load_run(place / "begun", tmp_path / "C.safetensors", bank=False)

    def test_the_same_weights_from_anywhere_will_do(self, place: Path, tmp_path: Path):
        save(tiny_cordsnet(1), tmp_path / "copy.pth")
        for weights in (tmp_path / "copy.pth", str(place / "B.safetensors"), tiny_cordsnet(1)):
            assert load_run(place / "begun", weights, device="cpu", bank=False).frontend.readout == "pool"

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda file: file.unlink(), "is not there any more"),
            (lambda file: save(tiny_cordsnet(2), file), "holds other weights (sha256 "),
            (lambda file: file.write_bytes(file.read_bytes()[:500]), "cannot be loaded (weights "),
        ],
        ids=["gone", "replaced", "damaged"],
    )
    def test_weights_that_are_gone_or_others(
        self, place: Path, tmp_path: Path, change: Callable[[Path], None], message: str
    ):
        shutil.copytree(place / "begun", tmp_path / "run")
        config = read(tmp_path / "run", "config.json")
        config["weights"]["path"] = str(shutil.copy(place / "B.safetensors", tmp_path))
        (tmp_path / "run" / "config.json").write_text(json.dumps(config))
        (tmp_path / "run" / "summary.json").unlink()
        assert load_run(tmp_path / "run", device="cpu", bank=False).config == config
        change(tmp_path / "B.safetensors")
        said = refusal(*resume(place, tmp_path / "run"))
        assert said.startswith(f"{tmp_path / 'run'}: the run was begun with the weights ")
        assert said.endswith("; pass --weights FILE with those weights")
        with pytest.raises(InputError, match=r"/run: .*; pass weights=FILE with those weights") as caught:
            load_run(tmp_path / "run", bank=False)
        for line in (said, str(caught.value)):
            assert message in line
            assert str(tmp_path / "B.safetensors") in line
        assert load_run(tmp_path / "run", place / "B.safetensors", device="cpu", bank=False)

    def test_where_the_file_is_gone_the_front_end_is_asked(self, place: Path, tmp_path: Path):
        shutil.copytree(place / "begun", tmp_path / "run")
        weights = {**read(tmp_path / "run", "config.json")["weights"], "path": str(tmp_path / "gone.pth")}
        change(tmp_path / "run", weights=weights, frontend=str(place / "B.safetensors"))
        assert load_run(tmp_path / "run", device="cpu", bank=False)


# settings that runs of before lack, and what these runs had
ADDED = {each.name: each.default for each in dataclasses.fields(VisualSettings) if each.metadata["added"]}


class TestDamagedSettings:
    @pytest.mark.parametrize("name", VisualSettings.names())
    def test_one_that_is_missing_or_of_another_kind_is_named(self, place: Path, run: Path, name: str):
        config = read(run, "config.json")
        for wrong in ([[1.5]], 10**400 if name not in ("task", "frontend") else None):
            change(run, **{name: wrong})
            assert f'config.json: has "{name}": ' in refusal(*resume(place, run))
            with pytest.raises(InputError, match=rf'config\.json: has "{name}": .*; expected '):
                load_run(run, bank=False)
        del config[name]
        (run / "config.json").write_text(json.dumps(config))
        if name in ADDED:
            assert getattr(load_run(run, bank=False, device="cpu").settings, name) == ADDED[name]
            return
        assert f"config.json: lacks '{name}'" in refusal(*resume(place, run))
        with pytest.raises(InputError, match=f"config.json: lacks '{name}'"):
            load_run(run, bank=False)

    @pytest.mark.parametrize("weights", [None, 3, {}, {"path": "a"}, {"path": "a", "sha256": 3}])
    def test_weights_that_are_no_record(self, place: Path, run: Path, weights: Any):
        change(run, weights=weights)
        assert 'config.json: has "weights": ' in refusal(*resume(place, run))

    def test_settings_that_do_not_fit_together(self, place: Path, run: Path):
        change(run, dt=200.0)
        said = refusal(*resume(place, run))
        assert re.search(r"config\.json: holds settings that do not fit together \(.*dt.*200", said)

    def test_a_number_of_inputs_that_is_not_said(self, place: Path, run: Path):
        change(run, inputs=None)
        with pytest.raises(InputError, match=r"^inputs=null: the settings of this run do not say"):
            load_run(run, device="cpu", bank=place / "bank")

    @pytest.mark.parametrize("environment", [None, [], "x"])
    def test_an_environment_that_is_no_object(self, environment: Any):
        with pytest.warns(Note, match="begun with device None, continued with cpu"):
            note_differences(environment, {"device": "cpu", "threads": None, "torch": None})

    def test_another_or_no_numba_is_noted(self) -> None:
        now = {"device": "cpu", "threads": 1, "torch": "2.14", "numba": None}
        with pytest.warns(Note, match="begun with numba 0.68, continued with None"):
            note_differences({**now, "numba": "0.68"}, now)
        earlier = {name: value for name, value in now.items() if name != "numba"}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            note_differences(earlier, {**now, "numba": "0.68"})  # a run of an earlier version, which may have had it
            note_differences(now, now)

    @pytest.mark.parametrize("content", ["", "[]", "null", "7", '"text"', "{", '{"a": 1', "\udcff", "[" * 100_000])
    def test_what_is_no_object(self, place: Path, run: Path, content: str):
        (run / "config.json").write_text(content, errors="surrogateescape")
        assert "config.json" in refusal(*resume(place, run))
        for load_it in (load_run, load_networks):
            with pytest.raises(InputError, match=r"config\.json"):
                load_it(run)

    def test_the_two_families_are_told_apart(self, place: Path, tmp_path: Path):
        small = flags(seeds=1, units=8, steps=2, batch=2, heldout=4, validation=4, device="cpu")
        printed_by(train.main, "--task", "dms", *small, "--out", tmp_path / "dms")
        assert load_run(tmp_path / "dms").settings == recorded_settings(RunFolder(tmp_path / "dms"), AbstractSettings)
        assert isinstance(load_run(place / "begun", device="cpu", bank=False).settings, VisualSettings)
        for kind, folder in ((VisualSettings, tmp_path / "dms"), (AbstractSettings, place / "begun")):
            with pytest.raises(InputError, match=rf"{folder.name}: holds a run of the \w+ family, not of the {kind.FAMILY}"):
                recorded_settings(RunFolder(folder), kind)
        with pytest.raises(InputError, match=r"begun: holds a run of the visual family.*load_run"):
            load_networks(place / "begun")
        # a task that is given again must be the run's
        said = refusal("--task", "rdm", "--resume", "--out", tmp_path / "dms")
        assert said == f"--task rdm: the run in {tmp_path / 'dms'} has dms; leave it out, or use another folder"
        said = refusal("--task", "dms", "--resume", "--out", place / "begun")
        assert said.startswith(f"--task dms: the run in {place / 'begun'} has {place / 'my_task.py'}; leave it out")


def put(changing: Callable[[Any], Any]) -> Callable[[Path], None]:
    """A change of what a checkpoint holds."""

    def changed(path: Path) -> None:
        torch.save(changing(torch.load(path, weights_only=True)), path)

    return changed


def without(state: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != name}


def flip(path: Path) -> None:
    """Turn one bit in the middle of the largest tensor."""
    content = bytearray(path.read_bytes())
    largest = max(torch.load(path, weights_only=True)["model"].values(), key=lambda tensor: tensor.numel())
    at = content.index(largest.numpy().tobytes())
    content[at + 11] ^= 0x40
    path.write_bytes(content)


def archive(path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, a=np.zeros(3))


DAMAGE: dict[str, Callable[[Path], None]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a bit": flip,
    "an archive of NumPy": archive,
    "another's": put(lambda state: {"state_dict": state["model"]}),
    "a list": put(lambda state: [state]),
    "a tensor": put(lambda state: torch.zeros(3)),
    "no weights": put(lambda state: without(state, "model")),
    "one tensor gone": put(lambda state: {**state, "model": without(state["model"], "rnn.bias")}),
    "another shape": put(lambda state: {**state, "model": {**state["model"], "rnn.bias": torch.zeros(3)}}),
}
CHECKPOINT_DAMAGE: dict[str, Callable[[Any], Any]] = {
    "no generator": lambda state: without(state, "generator"),
    "no progress": lambda state: {**state, "progress": {}},
    "progress in words": lambda state: {**state, "progress": {**state["progress"], "step": "six"}},
    "optimiser of others": lambda state: {**state, "optimiser": {**state["optimiser"], "param_groups": []}},
    "optimiser's settings": lambda state: {
        **state,
        "optimiser": {**state["optimiser"], "param_groups": [{**state["optimiser"]["param_groups"][0], "betas": "no"}]},
    },
    "moments": lambda state: {
        **state,
        "optimiser": {
            **state["optimiser"],
            "state": {k: {**v, "exp_avg": torch.zeros(2, 2)} for k, v in state["optimiser"]["state"].items()},
        },
    },
}


class TestDamagedRuns:
    @pytest.mark.parametrize("kind", DAMAGE)
    def test_best_weights(self, place: Path, run: Path, kind: str):
        DAMAGE[kind](run / "best.pt")
        with pytest.raises(InputError, match=r"best\.pt: (damaged|does not hold what this run needs)") as caught:
            load_run(run, device="cpu", bank=False)
        assert "\n" not in str(caught.value)
        assert f"{run}/best.pt: " in refusal(*resume(place, run))

    @pytest.mark.parametrize("kind", [*DAMAGE, *CHECKPOINT_DAMAGE])
    def test_checkpoint(self, place: Path, run: Path, kind: str):
        damage = DAMAGE[kind] if kind in DAMAGE else put(CHECKPOINT_DAMAGE[kind])
        damage(run / "checkpoint.pt")
        assert re.search(r"checkpoint\.pt: (damaged|does not hold what this run needs)", refusal(*resume(place, run)))
        assert load_run(run, device="cpu", bank=False)

    def test_best_weights_that_a_checkpoint_counts_on(self, place: Path, run: Path):
        (run / "best.pt").unlink()
        assert f"{run}/best.pt: is missing, and checkpoint.pt counts on it" in refusal(*resume(place, run))
        with pytest.raises(InputError, match=r"the run has no best\.pt yet"):
            load_run(run, device="cpu", bank=False)

    @pytest.mark.parametrize("content", [None, b"", b'{"step": 6, "lo', b"[1]\nnull\n7\n", b'\xff{"step": "x"}\n'])
    def test_a_lost_log_is_told_and_the_run_comes_to_its_end(self, place: Path, run: Path, content: bytes | None):
        (run / "metrics.jsonl").unlink()
        if content is not None:
            (run / "metrics.jsonl").write_bytes(content)
        (run / "learning.png").unlink()
        code, out, err = command(*resume(place, run))
        assert code == 0, err
        assert f"{out}{err}".count("note: ") == 1
        assert f"note: {run}/metrics.jsonl lacks rows of steps 6 to 6" in f"{out}{err}"
        assert not (run / "learning.png").exists()
        assert read(run)["heldout"]["trials"] == SIZES["heldout"]

    @pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"task": "orientation", "heldout": 3}'])
    def test_a_damaged_summary(self, place: Path, run: Path, content: str):
        (run / "summary.json").write_text(content)
        assert f"{run}/summary.json: " in refusal(*resume(place, run))


def pictures(folder: Path, shade: int) -> None:
    for name in ("ant", "bee"):
        (folder / name).mkdir(parents=True)
        for number in range(15):
            picture = Image.new("RGB", (20, 20), (shade, 10 * number, 200 * (name == "bee")))
            picture.save(folder / name / f"{number:02}.png")


@pytest.fixture(scope="module")
def shown(place: Path) -> Path:
    """A run that was given its pictures by a relative path."""
    pictures(place / "pictures", 50)
    pictures(place / "others", 90)
    periods = {name: value for name, value in SHORT["catdog"].items() if name != "pictures"}
    chosen = flags(**SIZES, parameters=periods)
    words = ["--task", "catdog", "--stimuli-dir", "pictures", "--frontend", "B.safetensors", *chosen]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        code, _, err = output_of(
            train.main, *words, "--readout", "pool", "--device", "cpu", "--bank", "bank", "--out", "shown"
        )
    assert code == 0, err
    return place / "shown"


class TestOwnPictures:
    def test_a_run_does_not_depend_on_the_working_directory(
        self, place: Path, shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        shutil.copytree(shown, tmp_path / "run")
        (tmp_path / "run" / "summary.json").unlink()
        monkeypatch.chdir(tmp_path)
        code, _, err = command(*resume(place, Path("run"), "--stimuli-dir", place / "pictures"))
        assert code == 0, err
        heldout = load_run("run", device="cpu", bank=False).heldout()
        assert all((movie.frames[..., 0] == 50).any() for movie in heldout.movies)

    @pytest.mark.parametrize("flag", [["--stimuli-dir", "{}"], ["--set", "stimuli_dir={}"]])
    def test_other_pictures_are_refused_by_name(self, place: Path, shown: Path, flag: Sequence[str]):
        said = refusal(*resume(place, shown, *(word.format(place / "others") for word in flag)))
        assert str(place / "others") in said
        assert str(place / "pictures") in said

    def test_pictures_for_a_run_without(self, place: Path, run: Path):
        assert "has none" in refusal(*resume(place, run, "--stimuli-dir", place / "others"))

    def test_a_link_to_the_same_pictures_will_do(self, place: Path, shown: Path, tmp_path: Path):
        (tmp_path / "link").symlink_to(place / "pictures")
        code, out, err = command(*resume(place, shown, "--stimuli-dir", tmp_path / "link"))
        assert code == 0, err
        assert "this run is finished" in out


def test_a_task_file_is_known_by_its_whole_path(place: Path):
    assert read(place / "begun", "config.json")["task"] == str(place / "my_task.py")
    assert read(place / "begun", "config.json")["frontend"] == str(place / "A.safetensors")


class TestSmallParts:
    def test_a_checkpoint_of_unfinished_training_with_half_of_its_moments(self, place: Path, run: Path):
        """Adam itself notices only when it takes a step."""
        state = torch.load(run / "checkpoint.pt", weights_only=True)
        moments = {k: without(v, "exp_avg_sq") for k, v in state["optimiser"]["state"].items()}
        state["progress"]["step"] = 3
        torch.save({**state, "optimiser": {**state["optimiser"], "state": moments}}, run / "checkpoint.pt")
        assert "checkpoint.pt: does not hold what this run needs (lacks 'exp_avg_sq')" in refusal(*resume(place, run))

    @pytest.mark.parametrize(
        "card",
        [
            '{"mean": 3}',
            '{"mean": [0, 0, 0]}',
            '{"mean": [0], "std": [1]}',
            '{"mean": [0, NaN, 0], "std": [1, 1, 1]}',
            '{"mean": [0, 0, 0], "std": [1, 0, 1]}',
            '{"mean": ["a", "b", "c"], "std": [1, 1, 1]}',
            '{"mean": [0, 0, 0], "std": [1, 1, 1], "resize": "x"}',
            '{"alpha": "slow"}',
            '{"image_size": null}',
        ],
    )
    def test_a_card_that_is_damaged(self, tmp_path: Path, card: str):
        state = {name: value.detach().contiguous() for name, value in tiny_cordsnet(0).state_dict().items()}
        save_file(state, tmp_path / "r2.safetensors", metadata={"cordstasks": card})
        with pytest.raises(InputError, match=r"weights .*r2\.safetensors: not a CordsNet") as caught:
            load(tmp_path / "r2.safetensors", map_location="cpu")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
    def test_any_start_of_a_file_and_any_bit_of_its_head(self, tmp_path: Path, suffix: str):
        """Loaded or refused in one line; the tensors' own bits are the digest's to notice."""
        path = tmp_path / f"r2{suffix}"
        save(tiny_cordsnet(0), path)
        content = path.read_bytes()
        rng = np.random.default_rng(0)
        cut = [content[:length] for length in (0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1)]
        flipped = [bytearray(content) for _ in range(40)]
        for wrong in flipped:
            wrong[rng.integers(0, 1500)] ^= 1 << int(rng.integers(8))
        for wrong in (*cut, *flipped):
            path.write_bytes(wrong)
            with contextlib.suppress(InputError):
                load(path, map_location="cpu")
        for wrong in cut:
            path.write_bytes(wrong)
            with pytest.raises(InputError, match=r"weights .*r2"):
                load(path, map_location="cpu")
