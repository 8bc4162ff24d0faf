"""Multiply-accumulates and parameters, against published counts and counts by hand; the command."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from cordstasks import cost as command
from cordstasks.cordsnet import CordsNet
from cordstasks.errors import InputError
from cordstasks.experiments import cost
from helpers import printed_by, read, refused


class TestClassifiers:
    # a convolutional network, one whose attention PyTorch would fuse, one that makes tables with tensors
    @pytest.mark.parametrize("name", ["squeezenet1_1", "vit_b_32", "swin_t", "regnet_y_400mf"])
    def test_counts_are_those_that_torchvision_publishes(self, name: str) -> None:
        from torchvision import models

        meta = models.get_model_weights(name).DEFAULT.meta
        found = cost.counted(name, partial(models.get_model, name, weights=None))
        assert found.parameters == meta["num_params"]
        assert found.multiply_accumulates / 1e9 == pytest.approx(meta["_ops"], abs=6e-4)

    def test_a_count_by_hand(self) -> None:
        def make() -> nn.Module:
            return nn.Sequential(
                nn.Conv2d(3, 5, 7, stride=4, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2)
            )

        found = cost.counted("small", make)
        side = (224 - 7) // 4 + 1
        assert found == cost.Cost("small", "torchvision", 3 * 5 * 49 + 12, side * side * 3 * 5 * 49 + 10)

    def test_fused_attention_is_as_before(self) -> None:
        assert torch.backends.mha.get_fastpath_enabled()
        cost.counted("nothing", lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 1)))
        assert torch.backends.mha.get_fastpath_enabled()
        assert torch.empty(1).device.type == "cpu"


class TestCordsNets:
    def test_the_published_network_costs_what_its_paper_s_code_computes(self) -> None:
        rows = {(row.name, row.family): row for row in cost.cordsnet_costs(7)}
        assert len(rows) == 8
        published = rows["CordsNet-R8", "CordsNet, published"]
        assert published.multiply_accumulates / 7e9 == pytest.approx(2.755, abs=5e-4)
        assert published.parameters == sum(p.numel() for p in CordsNet(8).parameters())

    def test_the_simulator_computes_frames_once(self) -> None:
        costs = [
            {row.name: row.multiply_accumulates for row in cost.cordsnet_costs(steps) if row.family.endswith("simulator")}
            for steps in (1, 2, 12)
        ]
        for name, one in costs[0].items():
            step = costs[1][name] - one
            assert costs[2][name] == one + 11 * step
            assert one - step > 0.1e9, name  # two stems are more than that

    def test_steps_are_checked(self) -> None:
        with pytest.raises(InputError, match="steps=0: give a whole number of at least 1"):
            cost.cordsnet_costs(0)


class TestCommand:
    def test_writes_table_and_figure(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        few = [cost.Cost("alexnet", "torchvision", 61_100_840, 714_188_480), cost.Cost("big", "torchvision", 10**9, 10**12)]
        monkeypatch.setattr(cost, "classifier_costs", lambda **_: few)
        out = tmp_path / "new" / "cost"
        printed = printed_by(command.main, "--out", out, "--steps", 30)
        assert "CordsNet-R8" in printed and "1 of 2" in printed
        with (out / "cost.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert len(rows) == 10
        assert {
            "name": "alexnet",
            "family": "torchvision",
            "parameters": "61100840",
            "multiply_accumulates": "714188480",
        } in rows
        assert read(out)["steps"] == 30
        assert (out / "cost.png").stat().st_size > 10_000

    def test_mistakes(self, tmp_path: Path) -> None:
        assert refused(command.main, "--steps", 0) == "--steps 0: give a whole number of at least 1"
        (tmp_path / "file").write_text("")
        assert str(tmp_path / "file") in refused(command.main, "--out", tmp_path / "file")
