"""Each stage: what it changes, what it promises, and what it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from cordstasks.cordsnet import CordsNet, load
from cordstasks.errors import InputError
from cordstasks.pretraining.context import Context
from cordstasks.pretraining.dense import DenseNetwork, DenseUnrolled, units_like
from cordstasks.pretraining.feedforward import FeedForward, Folded, fold
from cordstasks.pretraining.promises import protocol_accuracy, spectral_radius
from cordstasks.pretraining.settings import RECIPES, PretrainSettings
from cordstasks.pretraining.stages import anneal, cnn, dense, direct, equilibrium, finetune, linear, match
from cordstasks.pretraining.stages import fold as folding
from cordstasks.pretraining.stages.equilibrium import SteadyNetwork, flat_images
from cordstasks.pretraining.stages.match import Area, assemble, initial_area, steady_rates
from cordstasks.pretraining.unrolled import Unrolled

Make = Callable[..., Context]


@pytest.fixture(scope="module")
def folded_run(tmp_path_factory: pytest.TempPathFactory, make_context: Make) -> Path:
    """A folder in which the stages cnn and fold have come to their end."""
    folder = tmp_path_factory.mktemp("stages") / "run"
    context = make_context(folder)
    cnn.run(context)
    folding.run(context)
    return folder


def continued(folded_run: Path, folder: Path, make_context: Make, **given: Any) -> Context:
    """A context in a folder of its own that holds what cnn and fold have left."""
    context = make_context(folder, **given)
    for name in ("cnn", "fold"):
        (folder / f"{name}.safetensors").write_bytes((folded_run / f"{name}.safetensors").read_bytes())
    return context


class TestCnn:
    def test_learns_and_leaves_its_weights_and_log(self, folded_run: Path, make_context: Make) -> None:
        context = make_context(folded_run)
        rows = context.log("cnn").read()
        assert [row.get("epoch") for row in rows] == [1, 2, None]
        assert rows[1]["loss"] < rows[0]["loss"]
        assert rows[1]["test"] == rows[2]["test"]
        assert not (folded_run / "cnn.pt").exists()
        kept = context.read_cnn()
        assert not torch.equal(kept.readout.weight, context.new_cnn().readout.weight)
        assert not kept.training

    def test_learning_rate_warms_up_and_falls_to_zero(self) -> None:
        settings = PretrainSettings(cnn_warmup=0.1)
        expected = {0: 0.1, 5: 0.55, 10: 1.0, 55: 0.5, 100: 0.0}
        assert {step: cnn.schedule(step, 100, settings) for step in expected} == pytest.approx(expected)
        thirds = PretrainSettings(cnn_warmup=0.1, cnn_schedule="thirds")
        expected = {0: 0.1, 10: 1.0, 33: 1.0, 34: 0.1, 66: 0.1, 67: 0.01, 99: 0.01}
        assert {step: cnn.schedule(step, 100, thirds) for step in expected} == pytest.approx(expected)

    def test_images_have_half_the_side_in_the_first_epochs(
        self, tmp_path: Path, make_context: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sides: list[tuple[bool, int]] = []
        areas = FeedForward.areas

        def seen(network: FeedForward, images: torch.Tensor) -> Any:
            sides.append((network.training, images.shape[-1]))
            return areas(network, images)

        monkeypatch.setattr(FeedForward, "areas", seen)
        context = make_context(tmp_path, cnn_half_epochs=1)
        cnn.run(context)
        trained = [side for training, side in sides if training]
        assert trained == sorted(trained)
        assert (trained.count(16), trained.count(32)) == (len(trained) // 2, len(trained) // 2)
        assert {side for training, side in sides if not training} == {16, 32}
        assert sides[-1] == (False, 32)  # what is reported in the end

    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_epochs_are_evaluated_in_the_precision_of_training_and_the_end_in_full(
        self, precision: str, tmp_path: Path, make_context: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rounded: list[bool] = []
        areas = FeedForward.areas

        def seen(network: FeedForward, images: torch.Tensor) -> Any:
            found = areas(network, images)
            rounded.append(found[1][-1].dtype == torch.bfloat16)
            return found

        monkeypatch.setattr(FeedForward, "areas", seen)
        cnn.run(make_context(tmp_path, precision=precision))
        assert rounded[-1] is False
        assert all(rounded[:-1]) is (precision == "bfloat16")

    def test_half_the_side_is_the_mean_of_four_pixels(self) -> None:
        shown = cnn.Shown(2)
        x = torch.arange(16.0).view(1, 1, 4, 4)
        assert shown(x).tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
        shown.begin(1)
        assert shown(x).shape[-1] == 2
        shown.begin(2)
        assert shown(x) is x

    @pytest.mark.parametrize("epochs", [0, 2, 3])
    def test_the_last_epoch_has_whole_images(self, epochs: int) -> None:
        with pytest.raises(InputError, match=f"cnn_half_epochs=3: leave no epoch of cnn_epochs={epochs} for"):
            PretrainSettings(cnn_epochs=epochs, cnn_half_epochs=3)

    def test_one_image_of_one_unit_cannot_be_normalised(self, tmp_path: Path, make_context: Make) -> None:
        context = make_context(tmp_path, depth=8, image_size=64, cnn_half_epochs=1, cnn_batch=3, accumulate=2)
        with pytest.raises(InputError, match=r"^cnn_batch=3, accumulate=2: one image at a time .* \(images of 32 px\); use"):
            cnn.run(context)

    def test_a_run_from_before_there_were_half_epochs_goes_on_without(self) -> None:
        values = PretrainSettings(cnn_epochs=3).as_dict()
        del values["cnn_half_epochs"]
        assert PretrainSettings.from_dict(values, "a file") == PretrainSettings(cnn_epochs=3)

    def test_starts_from_another_one(self, folded_run: Path, tmp_path: Path, make_context: Make) -> None:
        context = make_context(tmp_path, init=str(folded_run / "cnn.safetensors"), cnn_epochs=0)
        cnn.run(context)
        ours, own = (load_file(folder / "cnn.safetensors") for folder in (tmp_path, folded_run))
        assert all(torch.equal(ours[name], own[name]) for name in own)
        assert cnn.start_of(context.settings).startswith("cnn.safetensors (")


class TestFold:
    def test_keeps_its_promise_and_can_be_read(self, folded_run: Path, make_context: Make) -> None:
        context = make_context(folded_run)
        (row,) = context.log("fold").read()
        assert 0 < max(row["largest relative difference by area"]) < 1e-4
        folded, readout = folding.read_folded(context, "match")
        expected = fold(context.read_cnn(), 32)
        torch.testing.assert_close(folded.areas[1].before, expected.areas[1].before)
        torch.testing.assert_close(folded.stem, expected.stem)
        assert torch.equal(readout.bias, context.read_cnn().readout.bias)

    def test_a_broken_promise_is_an_error(
        self, folded_run: Path, tmp_path: Path, make_context: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        context = continued(folded_run, tmp_path, make_context)
        (tmp_path / "fold.safetensors").unlink()
        monkeypatch.setattr(folding, "activities", lambda folded, x: [r * 1.01 for r in activities(folded, x)])
        with pytest.raises(InputError, match=r"cnn\.safetensors: folded, its area \d differs by 1\.0e-02"):
            folding.run(context)
        assert not (tmp_path / "fold.safetensors").exists()


activities = folding.activities


class TestLinearMatch:
    def test_the_steady_state_is_the_sum_of_the_papers_powers(self) -> None:
        generator = torch.Generator().manual_seed(0)
        weight = 0.2 * torch.randn(2, 2, 3, 3, generator=generator, dtype=torch.float64)
        d = torch.randn(1, 2, 4, 5, generator=generator, dtype=torch.float64)
        columns = [
            F.conv2d(unit.view(1, 2, 4, 5), weight, padding=1).flatten() for unit in torch.eye(40, dtype=torch.float64)
        ]
        matrix = torch.stack(columns, 1)
        power = [torch.linalg.matrix_power(matrix, k) @ d.flatten() for k in range(4)]
        r, last = match.linear_steady(weight, d, 3)
        torch.testing.assert_close(r.flatten().double(), sum(power), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(last.flatten().double(), power[3], rtol=1e-5, atol=1e-5)

    def test_comes_nearer_to_the_cnn_and_changes_nothing_else(
        self, folded_run: Path, tmp_path: Path, make_context: Make
    ) -> None:
        context = continued(folded_run, tmp_path, make_context, match_images=64, match_epochs=2)
        folded, readout = folding.read_folded(context, "match")
        start = match.linear_start(context.network(1.0), folded, readout)
        before = {name: value.clone() for name, value in start.state_dict().items()}
        errors = match.linear_promise(start, folded, context)["error by area"]
        match.run(context)
        trained = context.read_network("match", slope=1.0)
        assert trained.card["match"] == "linear"
        *epochs, row = context.log("match").read()
        assert epochs[-1]["loss"] < epochs[0]["loss"]
        assert all(ours < 0.9 * own for ours, own in zip(row["error by area"], errors, strict=True))
        assert all(0 < radius < 1 for radius in row["spectral radius by area"])
        for name, value in trained.state_dict().items():
            assert torch.equal(value, before[name]) is not name.startswith(("area_conv", "conv_bias")), name

    def test_the_penalty_is_of_the_last_power(self, folded_run: Path, tmp_path: Path, make_context: Make) -> None:
        losses = []
        for penalty in (0.0, 10.0):
            context = continued(folded_run, tmp_path, make_context, match_penalty=penalty)
            folded, readout = folding.read_folded(context, "match")
            network = match.linear_start(context.network(1.0), folded, readout)
            training = match.linear_training(network, folded, context)
            x = context.presentation.test(context.images.test.images[:2])
            losses.append(float(training.loss(x, x, torch.Generator(), 0).loss))
        inputs, _ = match.potentials(folded, x)
        with torch.no_grad():
            tails = [
                match.linear_steady(module.weight, F.conv2d(u, inp.weight, padding=1) + bias, 3)[1].square().mean()
                for u, module, inp, bias in zip(inputs, network.area_conv, network.area_area, network.conv_bias, strict=True)
            ]
        assert losses[1] - losses[0] == pytest.approx(10 * float(sum(tails)) / 2, rel=1e-4)


@dataclass(frozen=True)
class Matched:
    context: Context
    folded: Folded
    areas: list[Area]
    readout: nn.Linear


@pytest.fixture(scope="module")
def matched(folded_run: Path, tmp_path_factory: pytest.TempPathFactory, make_context: Make) -> Matched:
    """A nonlinear match."""
    folder = tmp_path_factory.mktemp("matched") / "run"
    context = continued(
        folded_run, folder, make_context, match="nonlinear", match_images=240, match_batch=8, match_learning_rate=4e-3
    )
    match.run(context)
    folded, readout = folding.read_folded(context, "match")
    network = context.read_network("match")
    return Matched(context, folded, SteadyNetwork.of(network).areas, readout)


class TestNonlinearMatch:
    def test_brings_areas_closer_to_the_cnn(self, matched: Matched) -> None:
        context = matched.context
        x = context.presentation.augmented(context.images.test.images, torch.Generator().manual_seed(9))
        with torch.no_grad():
            target = context.read_cnn().areas(x)[1]
            started = [initial_area(matched.folded, area) for area in range(2)]
            for area in range(2):
                errors = [
                    float((steady_rates(matched.folded, areas, x)[area] - target[area]).square().mean() / target[area].var())
                    for areas in (started, matched.areas)
                ]
                assert errors[1] < 0.8 * errors[0], area
        *epochs, row = context.log("match").read()
        assert [each["epoch"] for each in epochs] == [1, 2]  # one for each area
        assert all(error < 0.8 for error in row["error by area"])

    def test_steady_states_are_fixed_points_of_the_assembled_network(self, matched: Matched) -> None:
        network = matched.context.read_network("match")
        x = matched.context.presentation.test(matched.context.images.test.images[:3])
        with torch.no_grad():
            steady = steady_rates(matched.folded, matched.areas, x, iterates=60)
            drive = network.drive(x)
            stepped = network.step(steady, drive)
            *_, rates = network.run(network.zero_state(3), drive, 150)
            for area in range(2):
                assert float(matched.areas[area].rec.abs().max()) > 0
                largest = float(steady[area].max())
                torch.testing.assert_close(stepped[area], steady[area], rtol=0, atol=1e-5 * largest)
                # and stable ones, which the paper's steps of alpha 0.2 reach from zero activity
                torch.testing.assert_close(rates[area], steady[area], rtol=0, atol=1e-4 * largest)
            logits = network.readout(rates[1], rates[0])
            expected = matched.readout((steady[1] + steady[0]).mean((2, 3)))
        torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def trained(folded_run: Path, tmp_path_factory: pytest.TempPathFactory, make_context: Make) -> Context:
    """A folder in which all stages of the paper have come to their end."""
    context = continued(folded_run, tmp_path_factory.mktemp("time") / "run", make_context, anneal_slope=0.9)
    for stage in (match, linear, anneal, finetune):
        stage.run(context)
    return context


class TestThroughTime:
    def test_each_stage_changes_all_weights_and_logs_what_it_promises(self, trained: Context) -> None:
        before = load(trained.result("match")).state_dict()
        for stage in ("linear", "anneal", "finetune"):
            network = load(trained.result(stage))
            after = network.state_dict()
            assert all(not torch.equal(after[name], before[name]) for name in after), stage
            assert network.card["slope"] == (1.0 if stage == "linear" else 0.0)
            rows = trained.log(stage).read()
            assert rows[0]["when"] == "before"
            assert "test" in rows[0] and "test" in rows[-1]
            assert ("return" in rows[-1]) is (stage != "linear")
            assert ("spontaneous" in rows[-1]) is (stage != "linear")
            before = after

    def test_annealing_ends_with_relu(self, trained: Context) -> None:
        rows = [row for row in trained.log("anneal").read() if "epoch" in row]
        assert [row["slope"] for row in rows] == pytest.approx([0.9, 0.45, 0.0])
        assert [anneal.slope_of(epoch, 20, 0.95) for epoch in range(20)] == pytest.approx(
            [0.95 - 0.05 * epoch for epoch in range(20)]
        )

    def test_annealing_resumed_has_the_slope_of_its_epoch(
        self, trained: Context, tmp_path: Path, make_context: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        context = make_context(tmp_path, anneal_slope=0.9, save_seconds=1e-9)
        context.result("linear").write_bytes(trained.result("linear").read_bytes())
        usual, calls = Unrolled.drives, [0]

        def stopping(self: Unrolled, x: Tensor | None) -> list[Tensor]:
            calls[0] += x is not None and torch.is_grad_enabled()
            if calls[0] == 4:  # the second batch of the second epoch
                raise ConnectionError
            return usual(self, x)

        monkeypatch.setattr(Unrolled, "drives", stopping)
        with pytest.raises(ConnectionError):
            anneal.run(context)
        assert not context.result("anneal").exists()
        monkeypatch.setattr(Unrolled, "drives", usual)
        anneal.run(context)
        ours, own = load_file(context.result("anneal")), load_file(trained.result("anneal"))
        assert all(torch.equal(ours[name], own[name]) for name in own)
        assert context.log("anneal").read() == trained.log("anneal").read()

    def test_fine_tuning_takes_a_nonlinear_match_too(self, matched: Matched, tmp_path: Path, make_context: Make) -> None:
        context = make_context(tmp_path)
        context.result("match").write_bytes(matched.context.result("match").read_bytes())
        finetune.run(context)
        assert context.result("finetune").exists()

    def test_learns_from_nothing(self, tmp_path: Path, make_context: Make) -> None:
        context = make_context(tmp_path, direct_images=24, direct_epochs=6, direct_batch=8, test_every=6)
        direct.run(context)
        before, *rows = context.log("direct").read()
        assert rows[-1]["entropy"] < 0.7 * rows[0]["entropy"]
        assert ["test" in row for row in rows] == [False] * 5 + [True]
        assert rows[-1]["test"] >= before["test"]


class TestNeeds:
    @pytest.mark.parametrize(
        ("stage", "name"),
        [
            (folding, "cnn"),
            (match, "fold"),
            (linear, "match"),
            (anneal, "linear"),
            (finetune, "anneal"),
            (equilibrium, "match"),
        ],
    )
    def test_what_is_missing_is_said_in_one_line(self, stage: Any, name: str, tmp_path: Path, make_context: Make) -> None:
        own = stage.__name__.rpartition(".")[2]
        message = rf"^stage={own}: .* has no {name}\.safetensors; run stage={name} in it first, or stage=all$"
        with pytest.raises(InputError, match=message):
            stage.run(make_context(tmp_path))

    def test_the_two_ways_are_not_mixed(
        self, matched: Matched, folded_run: Path, tmp_path: Path, make_context: Make
    ) -> None:
        with pytest.raises(
            InputError, match=r"stage=linear: .* matched with match=nonlinear, so they have their relu already"
        ):
            linear.run(matched.context)
        context = continued(folded_run, tmp_path, make_context)
        match.run(context)
        with pytest.raises(InputError, match=r"stage=equilibrium: .* matched with match=linear, so they have no relu yet"):
            equilibrium.run(context)
        with pytest.raises(InputError, match=r"stage=finetune: .* has no anneal\.safetensors"):
            finetune.run(context)

    def test_results_of_another_architecture_are_refused(
        self, folded_run: Path, matched: Matched, tmp_path: Path, make_context: Make
    ) -> None:
        context = make_context(tmp_path, depth=4)
        context.result("match").write_bytes(matched.context.result("match").read_bytes())
        with pytest.raises(
            InputError, match=r"match\.safetensors: has \(areas, px, classes, channels\) \(2, 32, 3, 3\), but"
        ):
            finetune.run(context)
        context.result("cnn").write_bytes((folded_run / "cnn.safetensors").read_bytes())
        with pytest.raises(InputError, match=r"cnn\.safetensors: is of another architecture"):
            folding.run(context)
        context.result("cnn").write_bytes(b"damaged")
        with pytest.raises(InputError, match=r"cnn\.safetensors: damaged"):
            folding.run(context)
        save_file({"stem": torch.zeros(1)}, context.result("fold"))
        with pytest.raises(InputError, match=r"fold\.safetensors: lacks 'inp_skip'"):
            match.run(context)


class TestEquilibrium:
    def test_learns_what_the_true_dynamics_then_do(self, matched: Matched, tmp_path: Path, make_context: Make) -> None:
        context = make_context(
            tmp_path,
            equilibrium_epochs=8,
            equilibrium_batch=8,
            equilibrium_learning_rate=3e-3,
            equilibrium_distillation=0.3,
            blank_steps=100,
            image_steps=100,
            after_steps=100,
            test_images=9,
        )
        for name in ("cnn", "match"):
            context.result(name).write_bytes(matched.context.result(name).read_bytes())
        equilibrium.run(context)
        _, *rows, after = context.log("equilibrium").read()
        assert [row["epoch"] for row in rows] == list(range(1, 9))
        assert rows[-1]["loss"] < rows[0]["loss"]
        assert rows[-1]["test"] > 0.8
        assert after["test"] == pytest.approx(rows[-1]["test"], abs=0.12)
        assert max(after["return"]) < 0.02
        ours, start = (load(context.result(name)).state_dict() for name in ("equilibrium", "match"))
        assert all(not torch.equal(ours[name], start[name]) for name in ours)  # nothing was left out

    def test_gradients_are_those_of_the_fixed_point(self, matched: Matched) -> None:
        """Backpropagation through the relaxation agrees with the implicit function theorem, in double precision."""
        area = Area(*(tensor.detach().double() for tensor in matched.areas[1].tensors()), stride=1)
        area.bias.requires_grad_(True)
        generator = torch.Generator().manual_seed(3)
        u = torch.rand(1, 64, *area.bias.shape[1:], generator=generator, dtype=torch.float64)
        weight = torch.randn(area.bias.shape, generator=generator, dtype=torch.float64)
        kernel = area.rec
        drive = F.conv2d(u, area.inp, padding=1) + area.bias  # by hand, since Area.settle computes in float32 on purpose
        r = F.relu(drive)
        for _ in range(300):
            r = torch.lerp(r, F.relu(F.conv2d(r, kernel, padding=1) + drive), 0.7)
        (expected,) = torch.autograd.grad((r[0] * weight).sum(), area.bias)
        gate = (F.conv2d(r, kernel, padding=1) + drive > 0)[0].double()
        with torch.no_grad():  # d r / d bias solves y = gate (weight + W' y), by the transposed convolution
            y = torch.zeros_like(weight)
            for _ in range(300):
                y = torch.lerp(y, gate * (weight + F.conv_transpose2d(y[None], kernel, padding=1)[0]), 0.5)
        torch.testing.assert_close(expected, y, rtol=1e-6, atol=1e-9)
        single = Area(*(tensor.detach().float() for tensor in area.tensors()), stride=1)
        single.bias.requires_grad_(True)
        settings = PretrainSettings()
        r, _ = single.settle(u.float(), settings.equilibrium_iterates, step=settings.equilibrium_step)
        (ours,) = torch.autograd.grad((r[0] * weight.float()).sum(), single.bias)
        cosine = F.cosine_similarity(ours.flatten().double(), y.flatten(), dim=0)
        assert float(cosine) > 0.99  # of the eight steps that training takes

    def test_a_network_is_taken_apart_and_put_together(self, matched: Matched) -> None:
        network = matched.context.read_network("match")
        parts = SteadyNetwork.of(network)
        again = assemble(matched.context.network(), parts.folded, parts.areas, parts.readout)
        for own, other in ((network.area_conv[1], again.area_conv[1]), (network.out_fc, again.out_fc)):
            torch.testing.assert_close(other.weight, own.weight)
        x = matched.context.presentation.test(matched.context.images.test.images)
        with torch.no_grad():
            torch.testing.assert_close(again.drive(x).skip, network.drive(x).skip, rtol=1e-4, atol=1e-4)

    def test_flat_images_begin_with_nothing(self) -> None:
        flat = flat_images(5, torch.zeros(2, 3, 8, 9), torch.Generator().manual_seed(0))
        assert flat.shape == (5, 3, 8, 9)
        assert float(flat[0].abs().max()) == 0
        assert bool((flat == flat[:, :1, :1, :1]).all())
        assert len(set(flat[:, 0, 0, 0].tolist())) == 5


class TestDense:
    def test_steps_are_the_equations(self) -> None:
        torch.manual_seed(0)
        network = DenseNetwork((5, 4), pixels=12, classes=3, alpha=0.3).double()
        dynamics = DenseUnrolled(network)
        x = torch.randn(2, 3, 2, 2, dtype=torch.float64)
        rates = [torch.rand(2, 5, dtype=torch.float64), torch.rand(2, 4, dtype=torch.float64)]
        new = dynamics.step(rates, dynamics.drives(x))
        below = (x.flatten(1), rates[0])
        for area, r in enumerate(rates):
            rec, inp = network.rec[area], network.inp[area]
            total = r @ rec.weight.T + rec.bias + below[area] @ inp.weight.T
            torch.testing.assert_close(new[area], r + 0.3 * (-r + F.relu(total)))
        blank = dynamics.step(rates, dynamics.drives(None))[0]
        torch.testing.assert_close(blank, rates[0] + 0.3 * (-rates[0] + F.relu(network.rec[0](rates[0]))))
        torch.testing.assert_close(dynamics.logits(new), network.out(new[1]))

    def test_units_are_matched_or_the_same(self, random_network: Callable[..., CordsNet]) -> None:
        common = {"channels": 1, "classes": 7, "memory": 2.0}
        cordsnet = random_network(4, in_channels=1)
        count = sum(p.numel() for p in cordsnet.parameters())
        units = units_like(4, 32, kind="matched", parameters=count, **common)
        matched = DenseNetwork(units, pixels=1024, classes=7)
        assert sum(p.numel() for p in matched.parameters()) == pytest.approx(count, rel=0.01)
        assert units_like(2, 32, kind="same", parameters=count, **common) == (4096, 4096)
        message = (
            r"dense_units=same: 8 areas of up to 16384 units need \d+\.\d GB in training, more than dense_memory=2; choose"
        )
        with pytest.raises(InputError, match=message):
            units_like(8, 64, kind="same", parameters=count, **common)

    def test_learns(self, tmp_path: Path, make_context: Make) -> None:
        context = make_context(tmp_path, dense_epochs=4, dense_images=24, dense_batch=8)
        dense.run(context)
        rows = [row for row in context.log("dense").read() if "epoch" in row]
        assert rows[-1]["entropy"] < rows[0]["entropy"]
        assert "rec.1.weight" in load_file(context.result("dense"))


class TestPromises:
    def test_the_spectral_radius_is_the_matrix_s(self) -> None:
        for seed in range(3):
            kernel = torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            columns = [F.conv2d(unit.view(1, 2, 5, 5), kernel, padding=1).flatten() for unit in torch.eye(50).double()]
            expected = float(torch.linalg.eigvals(torch.stack(columns, 1)).abs().max())
            assert spectral_radius(kernel, 5, iterations=600) == pytest.approx(expected, rel=0.01)
        assert spectral_radius(torch.zeros(2, 2, 3, 3), 5) == 0

    def test_accuracy_and_return_are_those_of_a_record(
        self, random_network: Callable[..., CordsNet], tmp_path: Path, make_context: Make
    ) -> None:
        context = make_context(tmp_path)
        network = random_network(2, classes=3, preprocessing=context.images.preprocessing)
        recorded = network.record(context.images.test.images, blank_steps=12, image_steps=10, after_steps=9)
        guess = network.readout(recorded[1][21], recorded[0][21]).argmax(1)
        found = protocol_accuracy(Unrolled(network), context.images.test, context.presentation, context.settings, batch=4)
        assert found["test"] == pytest.approx(float((guess == context.images.test.labels).double().mean()))
        for area in range(2):
            rest, end, after = (recorded[area][step].flatten(1) for step in (11, 21, 30))
            left = (after - rest).norm(dim=1) / (end - rest).norm(dim=1)
            assert found["return"][area] == pytest.approx(float(left.mean()), rel=1e-3)


class TestRecipes:
    def test_the_papers_numbers(self) -> None:
        paper = PretrainSettings.of({"depth": 4}, "paper")
        assert (paper.match_learning_rate, paper.match_clip, paper.match_penalty) == (1e-4, 1e-3, 10.0)
        assert (paper.linear_learning_rate, paper.linear_clip, paper.linear_epochs) == (1e-5, 1e-4, 100)
        assert (paper.anneal_epochs, paper.anneal_slope, paper.finetune_epochs) == (20, 0.95, 20)
        assert (paper.gradients, paper.cnn_epochs, paper.cnn_batch, paper.linear_images) == ("full", 300, 256, None)
        assert PretrainSettings.of({"linear_epochs": 7}, "paper").linear_epochs == 7

    def test_data_sets_have_defaults_of_their_own(self) -> None:
        assert PretrainSettings.of({"dataset": "mnist"}).image_size == 32
        assert PretrainSettings.of({"dataset": "imagenet"}).image_size == 224
        assert PretrainSettings.of({"dataset": "mnist", "image_size": 64}).image_size == 64
        with pytest.raises(InputError, match="recipe 'papre' is unknown; did you mean 'paper'"):
            PretrainSettings.of({}, "papre")
        with pytest.raises(InputError, match="setting 'dephth' is unknown; did you mean 'depth'"):
            PretrainSettings.of({"dephth": 2})
        assert set(RECIPES) == {"laptop", "paper"}

    def test_windows_fit(self) -> None:
        with pytest.raises(InputError, match="image_window=30: is longer than image_steps=20; shorten it"):
            PretrainSettings(image_steps=20)


def test_the_cnn_is_of_the_images(tmp_path: Path, make_context: Make) -> None:
    context = make_context(tmp_path, channels=1)
    cnn.run(context)
    assert isinstance(context.read_cnn(), FeedForward)
    assert context.read_cnn().stem.in_channels == context.network().in_channels == 1
