"""What can be wrong with a comparison is found before anything is trained: recordings, earlier networks, options."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cordstasks.compare import main
from cordstasks.errors import InputError
from cordstasks.experiments.recorded_rates import read_rates
from cordstasks.recordings import Recording, write
from cordstasks.runs import abstract
from cordstasks.runs.abstract import WEIGHTS
from cordstasks.training.abstract import Trainer
from cordstasks.training.settings import AbstractSettings
from cordstasks.utils.interrupt import Interrupted
from cordstasks.utils.run_folder import RunFolder

C, T, N = 6, 51, 9  # conditions and times of perceptual-dm, and neurons
RNG = np.random.default_rng(0)
GOOD = 20 + np.cumsum(RNG.normal(size=(C, T, N)), axis=1)
LINE = np.sin(np.arange(T))[None, :, None] * np.arange(1, C + 1)[:, None, None] * RNG.normal(size=N) + 3
WORDS = ("--tasks", "perceptual-dm", "--connectivities", "full", "conv", "--seeds", "3,4", "--units", "16", "--steps", "5")


def changed(place: Any, value: Any) -> np.ndarray:
    array = GOOD.copy()
    array[place] = value
    return array


def only(conditions: int) -> np.ndarray:
    array = np.full_like(GOOD, 3.0)
    array[:conditions] = GOOD[:conditions]
    return array


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abstract, "carry_out", lambda *_, **__: pytest.fail("trained before everything was checked"))


BAD: dict[str, tuple[Any, str]] = {
    "nan": (changed((2, 3, 4), np.nan), r"holds 1 values that are not finite .*: 4\), .* condition 2, time 3"),
    "infinite": (changed((slice(None), 1, 7), -np.inf).astype("f4"), "holds 6 values that are not finite"),
    "all nan": (np.full_like(GOOD, np.nan), "in 9 of 9 neurons"),
    "line": (LINE, "varies along one dimension, in all its neurons"),
    "line in float32": (LINE.astype("f4"), "varies along one dimension"),
    "line in float16": (LINE.astype("f2"), "varies along one dimension"),
    "one neuron": (GOOD[..., :1], "has a single neuron that varies"),
    "one neuron varies": (changed((..., slice(1, None)), 4.0), "has a single neuron that varies"),
    "constant": (np.full_like(GOOD, 7.0), "is constant: none of its 9 neurons varies"),
    "silent": (np.zeros((C, T, N), int), "is constant: none of its 9 neurons varies"),
    "two conditions": (only(2), "varies in 2 of its 6 conditions only"),
    "transposed": (GOOD.transpose(2, 0, 1), r"has shape \(9, 6, 51\); .* axes seem to hold in another order"),
    "fewer conditions": (GOOD[1:], r"has shape \(5, 51, 9\); give .* 6 conditions, .* and 51 times$"),
    "fewer times": (GOOD[:, 1:], r"has shape \(6, 50, 9\)"),
    "two axes": (GOOD[0], r"has shape \(51, 9\)"),
    "four axes": (GOOD[None], r"has shape \(1, 6, 51, 9\)"),
    "no neuron": (GOOD[..., :0], r"has shape \(6, 51, 0\).* and 51 times$"),
    "many neurons": (RNG.normal(size=(C, T, 400)), "has 400 neurons but only 306 samples"),
    "complex": (GOOD.astype(complex), "holds values of type complex128"),
    "text": (GOOD.astype(str), "holds values of type <U32"),
    "truth values": (GOOD > 20, "holds values of type bool"),
    "dates": (np.zeros((C, T, N), "M8[s]"), "holds values of type datetime64"),
    "fields": (np.zeros((C, T, N), [("rate", "f4")]), "holds values of type"),
    "huge": (GOOD * 1e200, "holds values as large as .*, which are no rates"),
    "tiny": (GOOD * 1e-200, "varies by less than 1e-100"),
}  # fmt: skip


class TestRecordings:
    @pytest.mark.parametrize(("array", "message"), BAD.values(), ids=BAD)
    @pytest.mark.usefixtures("untrained")
    def test_what_is_wrong_is_one_line_with_the_file_before_training(self, array: np.ndarray, message: str, tmp_path: Path):
        file, out = tmp_path / "v4.npy", tmp_path / "out"
        np.save(file, array)
        with pytest.raises(InputError, match=message) as caught:
            main([*WORDS, "--recording", str(file), "--out", str(out)])
        assert str(caught.value).startswith(f"recording={file}: ")
        assert "\n" not in str(caught.value)
        assert "activities" not in str(caught.value)
        assert not out.exists()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is not a .npy file"),
            (b"1.0,2.0\n", "is not a .npy file"),
            (b"whole, less 100", "holds Python objects, or is cut short"),
            (b"archive", "is an archive of arrays"),
            (b"objects", "holds Python objects, or is cut short"),
        ],
    )
    def test_files_that_hold_no_array(self, content: bytes, message: str, tmp_path: Path):
        file = tmp_path / "v4.npy"
        np.save(file, GOOD.astype(object) if content == b"objects" else GOOD, allow_pickle=True)
        if content == b"archive":
            with file.open("wb") as stream:
                np.savez(stream, GOOD)
        elif content != b"objects":
            file.write_bytes(file.read_bytes()[:-100] if content.startswith(b"whole") else content)
        with pytest.raises(InputError, match=f"v4.npy: {message}"):
            read_rates(file, C, T, alpha=1.0)

    @pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "g", "i2", "u1"])
    @pytest.mark.parametrize("alpha", [1.0, 0.5, 0.0])
    def test_any_real_numbers_will_do(self, dtype: str, alpha: float, tmp_path: Path):
        array = np.asfortranarray(GOOD.astype(dtype))
        np.save(tmp_path / "v4.npy", array)
        recording = read_rates(tmp_path / "v4.npy", C, T, alpha=alpha)
        np.testing.assert_array_equal(recording.rates, array.astype(float))
        assert (recording.name, recording.rates.dtype, recording.notes) == ("v4", np.float64, ())

    def test_silent_neurons_and_a_dominant_dimension_are_told(self, tmp_path: Path):
        np.save(tmp_path / "v4.npy", changed((..., [3, 5]), 0.0))
        recording = read_rates(tmp_path / "v4.npy", C, T, alpha=1.0)
        np.testing.assert_array_equal(recording.rates, np.delete(GOOD, [3, 5], axis=2))
        assert recording.notes == ("neurons that never vary, and count for nothing: 2 of 9",)

    def test_presentations_of_a_recording_are_averaged_in_the_order_of_conditions(self, tmp_path: Path):
        rng = np.random.default_rng(0)
        order = rng.permutation(np.repeat(np.arange(C), 2))
        noise = rng.normal(size=(2 * C, *GOOD.shape[1:]))
        bins = np.stack([np.arange(T) * 20.0, np.arange(T) * 20.0 + 20], axis=1)
        rates = GOOD.astype(float)[order] + noise
        write(Recording(rates, order, bins), tmp_path / "v4.npz")
        found = read_rates(tmp_path / "v4.npz", C, T, alpha=1.0)
        expected = np.stack([rates[order == number].mean(axis=0) for number in range(C)])
        np.testing.assert_allclose(found.rates, expected)
        write(Recording(rates, order + 1, bins), tmp_path / "v4.npz")
        with pytest.raises(InputError, match=r"^recording=.*v4.npz: has stimuli such as '\d+'; name them by the numbers of"):
            read_rates(tmp_path / "v4.npz", C, T, alpha=1.0)
        np.save(tmp_path / "v4.npy", LINE + 1e-3 * RNG.normal(size=LINE.shape))
        (note,) = read_rates(tmp_path / "v4.npy", C, T, alpha=1.0).notes
        assert note.startswith("one dimension holds more than 99 % of its variance")

    def test_many_neurons_will_do_where_the_distance_is_of_components(self, tmp_path: Path):
        np.save(tmp_path / "v4.npy", RNG.normal(size=(C, T, 400)))
        assert read_rates(tmp_path / "v4.npy", C, T, alpha=0.5).rates.shape == (C, T, 400)

    def test_enough_conditions_for_every_fold_are_enough(self, tmp_path: Path):
        np.save(tmp_path / "v4.npy", only(3))
        assert read_rates(tmp_path / "v4.npy", C, T, alpha=1.0).notes == ()


Maker = Callable[..., None]


@pytest.fixture
def networks() -> Maker:
    """Write networks, as if they had been trained, where compare looks for them."""

    def write(out: Path, *, learned: bool = True, task: str = "perceptual-dm") -> None:
        for connectivity in ("full", "conv"):
            settings = AbstractSettings(task, connectivity=connectivity, units=16, seeds=(3, 4), steps=5)
            run = RunFolder(out / "networks" / f"{task}-{connectivity}-relu")
            run.start(settings, environment={})
            run.save(WEIGHTS, {"seeds": [3, 4], "networks": Trainer(settings).best.state_dict()})
            rows = [
                {"seed": seed, "state": "unfinished", "learned": learned, "score": 0.5, "steps": 5}
                for seed in settings.seeds
            ]
            summary = {
                "measure": "accuracy",
                "criterion": 0.9,
                "parameters": 1,
                "learned": 2 * learned,
                "settings": settings.as_dict(),
                "seconds": {"train": 1.0, "total": 1.0},
                "environment": {"device": "cpu"},
                "networks": rows,
            }
            (run.path / "summary.json").write_text(json.dumps(summary))

    return write


@pytest.mark.usefixtures("untrained")
class TestComparisons:
    def test_a_recording_of_nearly_one_dimension_is_compared_to_the_end(
        self, networks: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        networks(tmp_path / "out")
        np.save(tmp_path / "v4.npy", LINE + 1e-3 * RNG.normal(size=LINE.shape))
        recording = ["--recording", str(tmp_path / "v4.npy")]
        assert main([*WORDS, *recording, "--permutations", "1", "--out", str(tmp_path / "out")]) == 0
        printed = capsys.readouterr().out
        assert "one dimension holds more than 99 % of its variance" in printed
        assert "not drawn in trajectories.png, for want of a second dimension: full relu 3 and " in printed
        summary = json.loads((tmp_path / "out" / "summary.json").read_text())
        assert summary["environment"]["device"] == "cpu"
        assert summary["tasks"]["perceptual-dm"]["recording"]["file"] == str(tmp_path / "v4.npy")

    def test_a_task_that_was_not_learned_does_not_cost_the_others(
        self, networks: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        networks(tmp_path / "out", learned=False, task="dms")
        networks(tmp_path / "out")
        words = ["--permutations", "1", "--out", str(tmp_path / "out")]
        assert main([*WORDS[:1], "dms", *WORDS[1:], *words]) == 0
        assert "dms: not compared: tasks=dms: 0 networks learned it, and two are needed" in capsys.readouterr().out
        found = json.loads((tmp_path / "out" / "summary.json").read_text())["tasks"]
        assert "two are needed" in found["dms"]["problem"]
        assert found["perceptual-dm"]["conditions"] == C
        with pytest.raises(InputError, match="tasks=dms: 0 networks learned it"):
            main(["--tasks", "dms", *WORDS[2:], *words])

    @pytest.mark.parametrize(
        "damage", ["cut", "other keys", "other shapes", "fewer", "not finite", "none", "rows", "config"]
    )
    def test_networks_of_an_earlier_command_are_checked_first(self, damage: str, networks: Maker, tmp_path: Path):
        networks(tmp_path / "out")
        run = RunFolder(tmp_path / "out" / "networks" / "perceptual-dm-conv-relu")
        state = torch.load(run.path / WEIGHTS, weights_only=True)
        weights = state["networks"]
        if damage == "cut":
            (run.path / WEIGHTS).write_bytes((run.path / WEIGHTS).read_bytes()[:-50])
        elif damage == "none":
            (run.path / WEIGHTS).unlink()
        elif damage == "rows":
            (run.path / "summary.json").write_text('{"networks": [{"seed": 3}]}')
        elif damage == "config":
            (run.path / "config.json").write_text('{"task": "rdm", "seeds": 5}')
        else:
            state["networks"] = {
                "other keys": {"weights": torch.zeros(3)},
                "other shapes": {name: value[..., :1] for name, value in weights.items()},
                "fewer": {name: value[:1] for name, value in weights.items()},
                "not finite": {name: value * float("nan") for name, value in weights.items()},
            }[damage]
            run.save(WEIGHTS, state)
        (
            tmp_path / "out" / "networks" / "perceptual-dm-full-relu" / "summary.json"
        ).unlink()  # the first has yet to be trained
        with pytest.raises(InputError, match="perceptual-dm-conv-relu") as caught:
            main([*WORDS, "--out", str(tmp_path / "out")])
        assert "\n" not in str(caught.value)

    def test_half_trained_networks_of_other_keys_are_named_too(self, networks: Maker, tmp_path: Path):
        networks(tmp_path / "out")
        run = RunFolder(tmp_path / "out" / "networks" / "perceptual-dm-conv-relu")
        (run.path / "summary.json").unlink()
        run.save("checkpoint.pt", {"step": 3})
        with pytest.raises(InputError, match="perceptual-dm-conv-relu: does not hold what this run needs"):
            main([*WORDS, "--out", str(tmp_path / "out")])

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--connectivities", "full", "full"], "--connectivities full full: full comes twice; name each once"),
            (["--connectivities", "conv", "full", "conv"], "--connectivities conv full conv: conv comes twice"),
            (["--tasks", "dms", "perceptual-dm", "dms"], "--tasks dms perceptual-dm dms: dms comes twice"),
            (["--activations", "relu", "tanh", "relu"], "--activations relu tanh relu: relu comes twice"),
            (["--seeds", "0,1,0"], r"seeds=\(0, 1, 0\): give one or more different seeds"),
            (["--seeds", "2:2"], "--seeds 2:2: write 0:32 for 0 to 31"),
            (["--seeds", "0:9999999999"], "--seeds 0:9999999999: are 9999999999 networks; give at most"),
            (["--units", "7"], "units=7: no square maps of at least 3 x 3 hold them"),
            (["--units", "1", "--connectivities", "full", "lowrank"], "rank=2: must be from 1 to the number of units, 1"),
            (["--units", "400", "--connectivities", "full"], "units=400: task perceptual-dm has only 306 samples"),
            (["--steps", "0"], "steps=0: give a whole number of at least 1"),
            (["--device", "gpu"], "device 'gpu' is unknown"),
            (["--device", "cuda:99"], "device 'cuda:99': this machine has"),
            (["--out", ""], "argument --out: is empty; name a file or folder"),
        ],
    )
    def test_options_are_checked_first(self, words: list[str], message: str, tmp_path: Path):
        with pytest.raises(InputError, match=message):
            main([*WORDS, "--out", str(tmp_path / "out"), *words])
        assert not (tmp_path / "out").exists()


def test_the_device_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    used = []

    def noting(settings: Any, run: Any, device: torch.device, **_: Any) -> None:
        used.append(device)
        raise KeyboardInterrupt

    monkeypatch.setattr(abstract, "carry_out", noting)
    with pytest.raises(Interrupted, match=f"the same command, from {tmp_path}"):
        main([*WORDS, "--device", "cpu:0", "--out", str(tmp_path)])
    assert used == [torch.device("cpu:0")]
