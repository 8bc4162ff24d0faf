"""Checkpoint files: what is written comes back, and what is not a CordsNet is refused with a word about the fix."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from cordstasks.cordsnet import CordsNet, Preprocessing, checkpoints, load, save
from cordstasks.cordsnet.network import set_weight
from cordstasks.errors import InputError

Maker = Callable[..., CordsNet]
OTHER = Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), resize=50)


def activity(network: CordsNet) -> Tensor:
    size = network.image_size
    images = torch.randn(2, network.in_channels, size, size, generator=torch.Generator().manual_seed(7))
    recorded = network.record(images, blank_steps=1, image_steps=6)
    return network.readout(recorded[network.depth - 1][-1], recorded[network.depth - 2][-1]).detach()


class TestRoundTrip:
    @pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
    def test_every_tensor_comes_back(self, random_network: Maker, tmp_path: Path, suffix: str) -> None:
        network = random_network(6, classes=5, in_channels=2, image_size=44)
        path = tmp_path / f"network{suffix}"
        save(network, path)
        loaded = load(path)
        assert not loaded.training
        assert (loaded.depth, loaded.classes, loaded.in_channels, loaded.image_size) == (6, 5, 2, 44)
        state = network.state_dict()
        assert loaded.state_dict().keys() == state.keys()
        assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())

    def test_bytes_make_the_same_network(self, random_network: Maker, tmp_path: Path) -> None:
        network = random_network(4, classes=5, in_channels=3, image_size=44, dt=3.5, preprocessing=OTHER)
        network.card = {"name": "two pictures"}
        made = checkpoints.from_bytes(checkpoints.to_bytes(network))
        assert not made.training
        assert (made.dt, made.tau, made.preprocessing, made.card["name"]) == (3.5, network.tau, OTHER, "two pictures")
        assert torch.equal(activity(made), activity(network))
        save(network, tmp_path / "network.safetensors")
        assert checkpoints.to_bytes(network) == (tmp_path / "network.safetensors").read_bytes()
        for wrong in (b"", b"12345678", checkpoints.to_bytes(network)[:-4]):
            with pytest.raises(InputError, match="are no CordsNet"):
                checkpoints.from_bytes(wrong)

    def test_safetensors_keep_the_card(self, random_network: Maker, tmp_path: Path) -> None:
        network = random_network(2, image_size=33, dt=3.5, preprocessing=OTHER)
        network.card = {"data": "two pictures", "accuracy": {"200": 0.5}}
        save(network, tmp_path / "network.safetensors")
        loaded = load(tmp_path / "network.safetensors")
        assert (loaded.image_size, loaded.dt, loaded.tau, loaded.preprocessing) == (33, 3.5, 10.0, OTHER)
        assert loaded.card["data"] == "two pictures"
        assert loaded.card["accuracy"] == {"200": 0.5}
        assert loaded.card["weights"] == str(tmp_path / "network.safetensors")

    @pytest.mark.parametrize("alpha", [0.1, 0.2, 0.3, 0.35, 0.5, 1.0])
    def test_cards_that_hold_alpha_alone_are_of_steps_of_2_ms(
        self, random_network: Maker, tmp_path: Path, alpha: float
    ) -> None:
        path = tmp_path / "network.safetensors"
        save(random_network(2), path)
        save_file(load_file(path), path, metadata={checkpoints.CARD: json.dumps({"alpha": alpha, "image_size": 32})})
        loaded = load(path)
        assert (loaded.dt, loaded.alpha) == (2.0, alpha)
        assert loaded.tau == pytest.approx(2 / alpha)

    @pytest.mark.parametrize(("image_size", "inferred", "resize"), [(33, 36, 41), (224, 224, 256), (508, 508, 581)])
    def test_the_published_format_is_read_as_imagenet_s(
        self, random_network: Maker, tmp_path: Path, image_size: int, inferred: int, resize: int
    ) -> None:
        # bias maps tell the image's size to within 4 px; resize : crop is 256 : 224 as in the paper
        save(random_network(2, image_size=image_size, preprocessing=OTHER), tmp_path / "network.pth")
        loaded = load(tmp_path / "network.pth")
        assert loaded.image_size == inferred
        assert loaded.preprocessing == Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), resize)

    def test_half_precision_keeps_the_function(self, random_network: Maker, tmp_path: Path) -> None:
        network = random_network(8)
        whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
        save(network, whole)
        checkpoints.save(network, half, half=True)
        assert half.stat().st_size < 0.51 * whole.stat().st_size
        kept = load_file(half)
        assert {value.dtype for name, value in kept.items() if "original0" not in name} == {torch.float16}
        expected, ours = activity(network), activity(load(half))
        # every weight and bias is rounded by at most 2^-11 of itself; 7 steps through 8 areas add these up
        assert 0 < float((ours - expected).norm() / expected.norm()) < 2e-3

    def test_half_precision_weights_are_exactly_the_rounded_ones(self, random_network: Maker, tmp_path: Path) -> None:
        network = random_network(2)
        checkpoints.save(network, tmp_path / "half.safetensors", half=True)
        loaded = load(tmp_path / "half.safetensors")
        for name in ("inp_conv", "inp_skip", "out_fc"):
            original, rounded = getattr(network, name).weight, getattr(loaded, name).weight
            torch.testing.assert_close(rounded, rounded.half().float(), rtol=3e-7, atol=0)
            # eleven significant bits; below 2^-14 a fixed step of 2^-24
            torch.testing.assert_close(rounded, original, rtol=1.01 * 2**-11, atol=1.01 * 2**-25)

    def test_rounding_twice_changes_nothing(self, random_network: Maker, tmp_path: Path) -> None:
        checkpoints.save(random_network(4), tmp_path / "once.safetensors", half=True)
        once = load(tmp_path / "once.safetensors")
        checkpoints.save(once, tmp_path / "twice.safetensors", half=True)
        twice = load(tmp_path / "twice.safetensors")
        torch.testing.assert_close(activity(twice), activity(once), rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("half", [False, True])
    def test_silent_channels_stay_silent(self, random_network: Maker, tmp_path: Path, half: bool) -> None:
        network = random_network(2)
        weight = network.area_area[1].weight.detach().clone()
        weight[3:5] = 0  # weight norm alone would make this 0 / 0
        set_weight(network.area_area[1], weight)
        expected = activity(network)
        assert bool(expected.isfinite().all())
        torch.testing.assert_close(network.area_area[1].weight, weight, rtol=1e-6, atol=0)
        checkpoints.save(network, tmp_path / "network.safetensors", half=half)
        loaded = load(tmp_path / "network.safetensors")
        assert float(loaded.area_area[1].weight[3:5].detach().abs().max()) == 0
        torch.testing.assert_close(activity(loaded), expected, rtol=1e-2 if half else 1e-5, atol=1e-2 if half else 1e-5)

    def test_a_failed_save_leaves_the_older_file(
        self, random_network: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "network.pth"
        save(random_network(2, seed=1), path)
        before = path.read_bytes()

        def interrupted(descriptor: int) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            save(random_network(2, seed=2), path)
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]


class Trap:
    """Unpickled carelessly, this makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.marker),)


def write_trap(path: Path, marker: Path, how: str) -> None:
    if how == "torch":
        torch.save({"conv_bias.0": torch.zeros(64, 8, 8), "trap": Trap(marker)}, path)
    else:
        path.write_bytes(pickle.dumps(Trap(marker)))


class TestRefusals:
    @pytest.mark.parametrize("how", ["torch", "pickle"])
    def test_a_file_that_holds_code_is_refused_and_not_run(self, tmp_path: Path, how: str) -> None:
        path, marker = tmp_path / "network.pth", tmp_path / "it ran"
        write_trap(path, marker, how)
        torch.load(path, weights_only=False) if how == "torch" else pickle.loads(path.read_bytes())
        assert marker.exists()  # the trap works
        marker.rmdir()
        with pytest.raises(InputError, match=r"network\.pth: refused, since reading it would run code"):
            load(path)
        assert not marker.exists()

    @pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
    @pytest.mark.parametrize("fraction", [0.0, 0.001, 0.5, 0.999])
    def test_a_truncated_file(self, random_network: Maker, tmp_path: Path, suffix: str, fraction: float) -> None:
        path = tmp_path / f"network{suffix}"
        save(random_network(2), path)
        content = path.read_bytes()
        path.write_bytes(content[: int(fraction * len(content))])
        with pytest.raises(InputError, match=rf"network{suffix}: (damaged|truncated|refused)") as caught:
            load(path)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
    def test_a_file_of_something_else(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"network{suffix}"
        path.write_bytes(b"This is a text about networks, of which there are many. " * 20)
        with pytest.raises(InputError, match=rf"network{suffix}: (damaged|truncated|refused)"):
            load(path)

    def test_a_missing_file_or_an_unknown_name(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"nowhere\.pth.*file does not exist; correct the path"):
            load(tmp_path / "nowhere.pth")
        with pytest.raises(InputError, match="'cordsnet-r9' is unknown; did you mean 'cordsnet-r8'"):
            load("cordsnet-r9")

    @pytest.mark.parametrize("state", [[torch.zeros(2)], {"model": {"weight": torch.zeros(2)}}, torch.zeros(3)])
    def test_something_other_than_a_state_dict(self, tmp_path: Path, state: object) -> None:
        torch.save(state, tmp_path / "network.pth")
        with pytest.raises(InputError, match=r"network\.pth: expected a flat dictionary of tensors"):
            load(tmp_path / "network.pth")

    @pytest.mark.parametrize("change", ["other names", "three areas", "missing", "superfluous", "shape", "classes"])
    def test_another_architecture(self, random_network: Maker, tmp_path: Path, change: str) -> None:
        state = dict(random_network(4).state_dict())
        norm = "area_conv.1.parametrizations.weight.original0"
        if change == "other names":
            state = {name.replace("area", "layer"): value for name, value in state.items() if "conv_bias" not in name}
        elif change == "three areas":
            del state["conv_bias.3"]
        elif change == "missing":
            del state[norm]
        elif change == "superfluous":
            state["momentum"] = torch.zeros(1)
        elif change == "shape":
            state[norm] = torch.zeros(63, 1, 1, 1)
        else:
            state["out_fc.bias"] = torch.zeros(9)
        torch.save(state, tmp_path / "network.pth")
        with pytest.raises(InputError, match="not a CordsNet of 2, 4, 6 or 8 areas in the published format") as caught:
            load(tmp_path / "network.pth")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "card",
        [
            *("{", "[1, 2]", '{"alpha": 7}', '{"alpha": 0}', '{"alpha": "fast"}', '{"dt": 20}', '{"dt": 2, "tau": "long"}'),
            *('{"image_size": 64}', '{"mean": [1, 2, 3]}'),
        ],
    )
    def test_a_damaged_card(self, random_network: Maker, tmp_path: Path, card: str) -> None:
        path = tmp_path / "network.safetensors"
        save(random_network(2), path)
        with safe_open(path, framework="pt") as file:
            assert json.loads(file.metadata()[checkpoints.CARD])["image_size"] == 32
        save_file(load_file(path), path, metadata={checkpoints.CARD: card})
        with pytest.raises(InputError, match=r"network\.safetensors: (damaged|not a CordsNet)"):
            load(path)
