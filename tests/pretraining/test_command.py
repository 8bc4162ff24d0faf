"""The check under the protocol, and the command: all stages, one stage, killed, stopped, resumed, misused."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from cordstasks import pretrain
from cordstasks.cordsnet import CordsNet, Preprocessing, load
from cordstasks.errors import InputError
from cordstasks.pretraining.data import ImageSet
from cordstasks.pretraining.pipeline import in_a_row, stage_seconds
from cordstasks.pretraining.protocol import check_frames, check_images
from cordstasks.pretraining.settings import PretrainSettings
from cordstasks.utils.files import Log
from cordstasks.utils.settings import given_by_flags

Maker = Callable[..., CordsNet]
ROOT = Path(__file__).resolve().parents[2]
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


class TestCheck:
    def test_accuracy_and_return_are_the_definition_s(
        self, random_network: Maker, image_set: Callable[..., ImageSet]
    ) -> None:
        network = random_network(2, classes=3, preprocessing=Preprocessing(MEAN, STD))
        data = image_set(7, 32)
        # at 2 ms a step: 100 blank steps, 4, then 9 with the image, 6 after it
        recorded = network.record(data.images, blank_steps=100, image_steps=9, after_steps=6)
        logits = {ms: network.readout(recorded[1][step], recorded[0][step]) for ms, step in ((8, 103), (18, 108))}
        # labels that are right for some images at one time and for others at the other
        labels = torch.where(torch.arange(7) < 5, logits[8].argmax(1), (logits[18].argmax(1) + 1) % 3)
        checked = check_images(network, ImageSet(data.images, labels, data.classes), image_ms=(18, 8), after_ms=12, batch=3)
        assert checked["images"] == 7
        expected = {ms: float((value.argmax(1) == labels).double().mean()) for ms, value in logits.items()}
        assert checked["accuracy"] == pytest.approx(expected)
        assert checked["accuracy"][8] >= 5 / 7
        for area in range(2):
            spontaneous, end, after = (recorded[area][step].flatten(1) for step in (99, 108, 114))
            left = (after - spontaneous).norm(dim=1) / (end - spontaneous).norm(dim=1)
            assert 0 < float(left.mean()) < 1
            assert checked["return"][area] == pytest.approx(float(left.mean()), rel=1e-3)

    def test_frames_are_grey_or_coloured_and_have_values_of_their_own(self, random_network: Maker) -> None:
        network = random_network(2, classes=3)
        rng = np.random.default_rng(2)
        frames = {"grey": rng.integers(0, 256, (32, 32, 1), dtype=np.uint8)}
        frames["coloured"] = rng.integers(0, 128, (32, 32, 3), dtype=np.uint8)
        checked = check_frames(network, frames, frame_ms=10, after_ms=8)
        assert list(checked) == ["grey", "coloured"]
        for name, frame in frames.items():
            images = np.repeat(frame, 3 // frame.shape[2], axis=2)[None]
            recorded = network.record(images, blank_steps=100, image_steps=5, after_steps=4)
            for area in range(2):
                spontaneous, end, after = (recorded[area][step] for step in (99, 104, 108))
                left = float((after - spontaneous).norm() / (end - spontaneous).norm())
                assert checked[name][area] == pytest.approx(left, rel=1e-3)
        assert checked["grey"] != checked["coloured"]


OPTIONS = ["--depth", "2", "--image-size", "32", "--device", "cpu", "--check-images", "4", "--test-images", "4"]
OPTIONS += ["--cnn-epochs", "2", "--cnn-batch", "12", "--match-images", "36", "--anneal-epochs", "2"]
OPTIONS += ["--blank-steps", "12", "--image-steps", "10", "--after-steps", "9", "--image-window", "3", "--after-window", "2"]
OPTIONS += [f for stage in ("match", "linear", "anneal", "finetune") for f in (f"--{stage}-batch", "12")]
OPTIONS += [f for stage in ("linear", "anneal", "finetune") for f in (f"--{stage}-images", "24")]
NONLINEAR = ["--match", "nonlinear", "--equilibrium-epochs", "1", "--equilibrium-batch", "12"]


def start(data: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cordstasks.pretrain", "--data", str(data), "--out", str(out), *OPTIONS, *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    process = start(data, out)
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors
    return out


class TestCommand:
    def test_leaves_weights_with_their_card_logs_and_a_summary(self, data: Path, finished: Path) -> None:
        network = load(finished / "cordsnet-r2.safetensors")
        assert (network.depth, network.classes, network.image_size, network.negative_slope) == (2, 3, 32, 0.0)
        summary = json.loads((finished / "summary.json").read_text())
        card = network.card
        assert card["classes"] == ["ape", "bee", "cow"]
        assert card["accuracy"]["protocol"] == summary["protocol"]["accuracy"]
        assert card["command"].startswith(f"python -m cordstasks.pretrain --data {data.name} --out DIR --stage all")
        assert " --stage all --depth 2 " in card["command"]
        assert card.pop("weights") == str(finished / "cordsnet-r2.safetensors")  # where it was read from
        assert str(finished) not in json.dumps(card)  # nobody's folders
        used = network.preprocessing
        assert f"data set folder, from the folder {data.name}, resized to 32 px" in card["data"]
        assert f"the mean {used.mean} is subtracted, and the rest is divided by {used.std}" in card["data"]
        assert "CIFAR" not in json.dumps(card)
        assert summary["protocol"]["images"] == 4
        assert summary["stage"] == "finetune"
        assert set(summary["frames"]) == {"black", "spot", "dots"}
        epochs = {"cnn": [1, 2], "match": [1], "linear": [1], "anneal": [1, 2], "finetune": [1]}
        for stage, expected in epochs.items():
            assert [row["epoch"] for row in Log(finished / f"{stage}.jsonl").read() if "epoch" in row] == expected
            assert (finished / f"{stage}.safetensors").exists()
            assert not (finished / f"{stage}.pt").exists()

    def test_killed_twice_and_resumed_makes_the_same_weights(self, data: Path, finished: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        for number, sign in enumerate(("cnn.pt", "anneal.pt")):
            process = start(data, out, "--save-seconds", "1e-9", *["--resume"] * number)
            until = time.monotonic() + 300
            while not (out / sign).exists() and process.poll() is None and time.monotonic() < until:
                time.sleep(0.002)
            process.kill()
            errors = process.communicate()[1]
            assert process.returncode == -signal.SIGKILL, errors
            assert not (out / "summary.json").exists()
        process = start(data, out, "--resume")
        errors = process.communicate(timeout=300)[1]
        assert process.returncode == 0, errors
        for name in ("cnn", "match", "finetune", "cordsnet-r2"):
            ours, expected = (load_file(folder / f"{name}.safetensors") for folder in (out, finished))
            assert ours.keys() == expected.keys()
            assert all(torch.equal(ours[key], expected[key]) for key in expected), name
        for stage in ("cnn", "fold", "match", "linear", "anneal", "finetune"):
            assert (out / f"{stage}.jsonl").read_text() == (finished / f"{stage}.jsonl").read_text()

    def test_stages_one_by_one_make_what_all_of_them_make(self, data: Path, finished: Path, tmp_path: Path) -> None:
        out = ["--data", str(data), "--out", str(tmp_path / "out")]
        with pytest.raises(InputError, match=r"stage=match: .*out has no fold\.safetensors; run stage=fold in it first"):
            pretrain.main([*out, *OPTIONS, "--stage", "match"])
        assert not (tmp_path / "out").exists()
        assert pretrain.main([*out, *OPTIONS, "--finetune-images", "36", "--stage", "cnn"]) == 0
        assert pretrain.main([*out, "--stage", "fold"]) == 0  # everything else is in config.json
        with pytest.raises(InputError, match="holds another run"):
            pretrain.main([*out, "--stage", "cnn"])
        with pytest.raises(InputError, match=r"cnn_epochs=5: the run in .* has 2; leave it out"):
            pretrain.main([*out, "--stage", "match", "--cnn-epochs", "5"])
        for stage in ("match", "linear", "anneal"):
            assert pretrain.main([*out, "--stage", stage]) == 0
        assert pretrain.main([*out, "--stage", "finetune", "--finetune-images", "24"]) == 0  # has not begun yet
        assert pretrain.main([*out, "--stage", "check"]) == 0
        ours, expected = (load_file(folder / "cordsnet-r2.safetensors") for folder in (tmp_path / "out", finished))
        for name, value in expected.items():  # the other run had one thread, so sums may be in another order
            torch.testing.assert_close(ours[name], value, rtol=1e-2, atol=1e-2)

    def test_stops_at_the_time_limit_and_continues(
        self, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["--data", str(data), "--out", str(tmp_path / "out"), *OPTIONS, *NONLINEAR]
        assert pretrain.main([*arguments, "--time-limit", "1e-9"]) == 75
        assert not (tmp_path / "out" / "summary.json").exists()
        assert "this continues: python -m cordstasks.pretrain --resume --stage all --data" in capsys.readouterr().out
        before = stage_seconds(tmp_path / "out")
        assert list(before) == ["cnn"]
        assert pretrain.main([*arguments, "--resume"]) == 0
        assert stage_seconds(tmp_path / "out")["cnn"] > before["cnn"]  # both parts of it
        summary = json.loads((tmp_path / "out" / "summary.json").read_text())
        assert summary["stage"] == "equilibrium"
        assert not (tmp_path / "out" / "linear.safetensors").exists()

    def test_controls_need_no_stage_before(self, data: Path, tmp_path: Path) -> None:
        out = ["--data", str(data), "--out", str(tmp_path / "out"), *OPTIONS]
        for stage in ("direct", "dense"):
            small = [f"--{stage}-images", "12", f"--{stage}-batch", "12"]
            assert pretrain.main([*out, *small, "--stage", stage]) == 0
        assert pretrain.main([*out, "--stage", "check"]) == 0
        assert json.loads((tmp_path / "out" / "summary.json").read_text())["stage"] == "direct"

    def test_validation_images_are_kept_out_and_tested_with(
        self, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = ["--data", str(data), "--out", str(tmp_path / "out"), *OPTIONS, *NONLINEAR]
        assert pretrain.main([*out, "--validation-images", "9", "--check-images", "100"]) == 0
        assert "protocol (9 validation images)" in capsys.readouterr().out
        summary = json.loads((tmp_path / "out" / "summary.json").read_text())
        assert summary["images"] == "validation" and summary["protocol"]["images"] == 9
        card = load(tmp_path / "out" / "cordsnet-r2.safetensors").card
        assert card["data"].startswith("27 training and 9 validation images of 3 classes")
        seconds = stage_seconds(tmp_path / "out")
        assert list(seconds) == ["cnn", "fold", "match", "equilibrium", "check"]
        assert min(seconds.values()) > 0

    def test_folder_may_be_named_with_the_data_set(self, data: Path, tmp_path: Path) -> None:
        few = [*OPTIONS, "--stage", "cnn", "--cnn-epochs", "1"]
        assert pretrain.main([*few, "--dataset", f"folder:{data}", "--out", str(tmp_path / "out")]) == 0
        with pytest.raises(InputError, match="--data: is missing"):
            pretrain.main([*few, "--out", str(tmp_path / "other")])

    def test_command_in_the_card_of_shipped_weights_still_runs(self) -> None:
        card = load("cordsnet-r8-scratch").card
        words = shlex.split(card["command"])
        assert words[:3] == ["python", "-m", "cordstasks.pretrain"]
        options = pretrain.parser().parse_args(words[3:])
        settings = PretrainSettings.of(given_by_flags(options, PretrainSettings))
        assert (settings.depth, settings.image_size) == (card["depth"], card["image_size"])
        assert in_a_row(settings, options.stage) == ("cnn", "fold", "match", "equilibrium", "check")
        assert settings.match_images == 200 * settings.match_batch  # the card's made_by says so

    def test_stages_in_a_row(self) -> None:
        paper = ("cnn", "fold", "match", "linear", "anneal", "finetune", "check")
        assert in_a_row(PretrainSettings()) == paper
        assert in_a_row(PretrainSettings(finetune_epochs=0)) == (*paper[:-2], "check")
        ours = PretrainSettings(match="nonlinear", equilibrium_epochs=3)
        assert in_a_row(ours) == ("cnn", "fold", "match", "equilibrium", "check")
        assert in_a_row(ours, "dense") == ("dense",)

    def test_one_colour_is_enough(self, data: Path, tmp_path: Path) -> None:
        for path in data.rglob("*.png"):
            place = tmp_path / "grey" / path.relative_to(data)
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).convert("L").save(place)
        arguments = ["--data", str(tmp_path / "grey"), "--out", str(tmp_path / "out"), *OPTIONS]
        assert pretrain.main([*arguments, *NONLINEAR]) == 0
        network = load(tmp_path / "out" / "cordsnet-r2.safetensors")
        assert network.in_channels == len(network.preprocessing.mean) == 1

    def test_a_folder_that_holds_a_run_is_refused_in_one_line(self, data: Path, finished: Path) -> None:
        before = {path: path.stat().st_mtime_ns for path in finished.iterdir()}
        process = start(data, finished)
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 2
        assert errors == f"error: --out {finished}: holds another run; choose another folder, or continue it with --resume\n"
        assert output == ""
        assert {path: path.stat().st_mtime_ns for path in finished.iterdir()} == before

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            (["--seed", "1"], "seed=1: the run in .* has 0; leave it out"),
            (["--image-size", "48"], "image_size=48: the run in .* has 32"),
            (["--train-images", "20"], "train_images=20: the run in .* has none"),
            (["--match", "nonlinear"], "match=nonlinear: the run in .* has linear"),
        ],
    )
    def test_a_run_is_continued_with_its_own_settings_only(
        self, data: Path, finished: Path, more: list[str], message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            pretrain.main(["--data", str(data), "--out", str(finished), "--resume", *OPTIONS, *more])

    def test_there_must_be_a_run_to_continue(self, data: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"--out .*: holds no run \(no config\.json\)"):
            pretrain.main(["--data", str(data), "--out", str(tmp_path), "--resume", *OPTIONS])

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            (["--data", "{tmp}"], r"data=.*: has no folder train/; expected train/<class>/ and test/<class>/"),
            (["--depth", "3"], "depth=3: CordsNet has 2, 4, 6 or 8 areas"),
            (["--stage", "linaer"], "stage 'linaer' is unknown; did you mean 'linear'"),
            (["--recipe", "papre"], "recipe 'papre' is unknown"),
            (["--match", "quadratic"], "match 'quadratic' is unknown"),
            (["--gradients", "ful"], "gradients 'ful' is unknown; did you mean 'full'"),
            (["--image-window", "11"], "image_window=11: is longer than image_steps=10"),
            (["--stage", "anneal"], r"stage=anneal: .* has no linear\.safetensors; run stage=linear in it first"),
            (["--dataset", "mnist"], "data=.*: has neither train-images-idx3-ubyte"),
            (["--check-images", "0"], "check_images=0: give a whole number of at least 1"),
            (["--cnn-learning-rate", "nan"], "cnn_learning_rate=nan: give a finite number above 0"),
            (["--equilibrium-epochs", "-1"], "equilibrium_epochs=-1: give a whole number of at least 0"),
            (["--equilibrium-learning-rate", "0"], r"equilibrium_learning_rate=0\.0: give a finite number above 0"),
            (["--cnn-batch", "0"], "cnn_batch=0: give a whole number of at least 1"),
            (["--time-limit", "0"], r"time_limit=0\.0: choose a number of seconds above 0"),
            (["--augmentation", "strnog"], "augmentation 'strnog' is unknown; did you mean 'strong'"),
            (["--device", "tpu"], "device 'tpu' is unknown"),
            (["--image-size", "16"], "image_size=16: choose a whole number of pixels"),
            (["--init", "{tmp}/none.safetensors"], r"init=.*none\.safetensors: "),
            (["--init", "{weights}", "--depth", "4"], "init=.*: not a CNN of this depth and these classes"),
            (
                ["--init", "{part}"],
                r"init=.*part\.safetensors: tensors missing \['inp_skip\.weight'\], not known \[\]",
            ),
        ],
    )
    def test_bad_arguments_are_named_and_begin_no_run(
        self, data: Path, finished: Path, tmp_path: Path, more: list[str], message: str
    ) -> None:
        out, part = tmp_path / "out", tmp_path / "part.safetensors"
        places = {"tmp": tmp_path, "weights": finished / "cnn.safetensors", "part": part}
        save_file({k: v for k, v in load_file(places["weights"]).items() if k != "inp_skip.weight"}, part)
        more = [word.format(**places) for word in more]
        with pytest.raises(InputError, match=message) as caught:
            pretrain.main(["--data", str(data), "--out", str(out), *OPTIONS, *more])
        assert "\n" not in str(caught.value)
        assert not out.exists() or not list(out.iterdir())
