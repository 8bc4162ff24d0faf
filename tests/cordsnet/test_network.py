"""CordsNet's definition: against recorded activity of the published model, explicit matrices and closed forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cordstasks.cordsnet import CordsNet, Preprocessing, load, save
from cordstasks.cordsnet import architecture as arch
from cordstasks.cordsnet.simulator import Simulator
from cordstasks.errors import InputError

Maker = Callable[..., CordsNet]


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, NDArray[np.float32]]:
    with np.load(shared / "golden" / "published_format_r2.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def golden_network(shared: Path) -> CordsNet:
    return load(shared / "golden" / "published_format_r2.pth")


@pytest.mark.parametrize("runs", ["definition", "simulator"])
def test_activity_and_logits_are_the_published_code_s(
    golden: dict[str, NDArray[np.float32]], golden_network: CordsNet, runs: str
) -> None:
    network = golden_network
    assert network.alpha == golden["alpha"]
    runner = network if runs == "definition" else Simulator(network)
    steps = {name: int(golden[name]) for name in ("blank_steps", "image_steps")}
    activity = runner.record(torch.from_numpy(golden["images"]), **steps)
    for name, ours in {
        "area0_channels_0_4": activity[0][:, :, :4],
        "area1_channels_0_4": activity[1][:, :, :4],
        "area1_mean": activity[1].mean((3, 4)),
    }.items():
        np.testing.assert_allclose(ours, golden[name], rtol=0, atol=1e-5 * golden[name].max(), err_msg=name)
    logits = network.readout(activity[1][-1], activity[0][-1]).detach()
    np.testing.assert_allclose(logits, golden["logits"], rtol=0, atol=1e-5)


def convolution_matrix(weight: NDArray[np.float64], side: int, stride: int) -> scipy.sparse.bsr_array:
    """A padded convolution as a matrix on maps flattened as (row, column, channel), written block by block.

    The block of output place (y, x) and input place (i, j) is the tap that joins them,
    weight[:, :, i - s y + p, j - s x + p] at stride s and padding p.
    """
    kernel = weight.shape[-1]
    padding = kernel // 2
    out_side = (side + 2 * padding - kernel) // stride + 1
    blocks, columns, starts = [], [], [0]
    for y in range(out_side):
        for x in range(out_side):
            for a in range(kernel):
                for b in range(kernel):
                    i, j = stride * y + a - padding, stride * x + b - padding
                    if 0 <= i < side and 0 <= j < side:
                        blocks.append(weight[:, :, a, b])
                        columns.append(i * side + j)
            starts.append(len(columns))
    shape = (out_side**2 * weight.shape[0], side**2 * weight.shape[1])
    return scipy.sparse.bsr_array((np.stack(blocks), columns, starts), shape=shape)


class MatrixNetwork:
    """CordsNet written out as one explicit matrix a connection, in float64 NumPy, from a state dict."""

    def __init__(self, network: CordsNet) -> None:
        state = {name: value.detach().double().numpy() for name, value in network.state_dict().items()}

        def weight(name: str) -> NDArray[np.float64]:
            direction = state[f"{name}.parametrizations.weight.original1"]
            norm = np.sqrt((direction**2).sum(axis=tuple(range(1, direction.ndim)), keepdims=True))
            return state[f"{name}.parametrizations.weight.original0"] * direction / norm

        side = (network.image_size + 1) // 2
        pooling = np.einsum("oi,ab->oiab", np.eye(64), np.full((3, 3), 1 / 9))
        stem = convolution_matrix(weight("inp_conv"), network.image_size, 2)
        self.stem = [stem, convolution_matrix(pooling, side, 2)]
        side = (side + 1) // 2
        self.inp_skip = convolution_matrix(weight("inp_skip"), side, 1)
        self.rec, self.inp, self.bias, self.skip, sides = [], [], [], {}, []
        for area in range(network.depth):
            if area % 2 and area > 1:
                self.skip[area] = convolution_matrix(weight(f"skip_area.{(area - 3) // 2}"), sides[area - 2], 2)
            stride = 2 if area in (2, 4, 6) else 1
            self.inp.append(convolution_matrix(weight(f"area_area.{area}"), side, stride))
            side = (side + 1) // 2 if stride == 2 else side
            sides.append(side)
            self.rec.append(convolution_matrix(weight(f"area_conv.{area}"), side, 1))
            self.bias.append(flat(state[f"conv_bias.{area}"][None])[:, 0])
        self.sides = sides
        self.readout_weight, self.readout_bias = weight("out_fc"), state["out_fc.bias"]
        self.alpha, self.slope = network.alpha, network.negative_slope

    def step(self, rates: list[NDArray[np.float64]], image: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """One synchronous step of maps (unit, image)."""
        inp = self.stem[1] @ (self.stem[0] @ image)
        sent = [np.maximum(r, 0) for r in rates]
        new = []
        for area, r in enumerate(rates):
            if area == 0:
                h = inp
            elif area == 1:
                h = sent[0] + self.inp_skip @ inp
            elif area % 2 == 0:
                h = sent[area - 1] + sent[area - 2]
            else:
                h = sent[area - 1] + self.skip[area] @ sent[area - 2]
            drive = self.rec[area] @ r + self.bias[area][:, None] + self.inp[area] @ h
            new.append(r + self.alpha * (-r + np.where(drive > 0, drive, self.slope * drive)))
        return new

    def logits(self, rates: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Logits (image, class)."""
        total = np.maximum(rates[-1], 0) + np.maximum(rates[-2], 0)
        pooled = total.reshape(self.sides[-1] ** 2, -1, total.shape[1]).mean(0)
        return (self.readout_weight @ pooled).T + self.readout_bias


def flat(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Maps (image, channel, height, width) as columns (unit, image), units in the order (row, column, channel)."""
    return maps.transpose(2, 3, 1, 0).reshape(-1, len(maps))


@pytest.mark.parametrize(
    ("depth", "image_size", "activation"),
    [(2, 33, "linear"), (4, 41, "relu"), (6, 32, 0.3), (8, 32, "relu")],
)
def test_steps_equal_those_of_explicit_matrices(
    random_network: Maker, depth: int, image_size: int, activation: str | float
) -> None:
    network = random_network(depth, image_size=image_size, activation=activation, dt=3.0, in_channels=2).double()
    images = torch.randn(3, 2, image_size, image_size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    matrices = MatrixNetwork(network)
    blank_steps, image_steps, after_steps = 2, 5, 1
    recorded = network.record(images, blank_steps=blank_steps, image_steps=image_steps, after_steps=after_steps)
    rates = [np.zeros((len(bias), 3)) for bias in matrices.bias]
    image = flat(images.numpy())
    negative = 0
    for step in range(blank_steps + image_steps + after_steps):
        shown = blank_steps <= step < blank_steps + image_steps
        rates = matrices.step(rates, image if shown else np.zeros_like(image))
        for area, expected in enumerate(rates):
            ours = flat(recorded[area][step].numpy())
            np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
            negative += (expected < 0).sum()
    # the matrices rectify what passes between areas; that must be what is tested where rates can be negative
    assert (negative > 0) == (activation != "relu")
    logits = network.readout(recorded[depth - 1][-1], recorded[depth - 2][-1]).detach()
    np.testing.assert_allclose(logits, matrices.logits(rates), rtol=0, atol=1e-12)


@pytest.mark.parametrize("runs", ["definition", "simulator"])
def test_an_image_reaches_two_more_areas_at_each_step(random_network: Maker, runs: str) -> None:
    network = random_network(8)
    runner = network if runs == "definition" else Simulator(network)
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    seen = runner.record(image, blank_steps=3, image_steps=4)
    unseen = runner.record(torch.zeros_like(image), blank_steps=3, image_steps=4)
    for step in range(4):
        reached = [not torch.equal(seen[area][3 + step], unseen[area][3 + step]) for area in range(8)]
        assert reached == [area < 2 * (step + 1) for area in range(8)]


class TestStep:
    @pytest.mark.parametrize(("dt", "tau", "alpha"), [(2.0, 10.0, 0.2), (3.0, 10.0, 0.3), (5.0, 5.0, 1.0)])
    def test_alpha_is_the_step_over_the_time_constant(self, dt: float, tau: float, alpha: float) -> None:
        network = CordsNet(2, classes=2, image_size=32, dt=dt, tau=tau)
        assert (network.dt, network.tau, network.alpha) == (dt, tau, alpha)
        with pytest.raises(AttributeError):
            network.alpha = 0.5  # type: ignore[misc]

    def test_the_paper_s_step_is_the_default(self) -> None:
        network = CordsNet(2, classes=2, image_size=32)
        assert (network.dt, network.tau, network.alpha) == (2.0, 10.0, 0.2)

    def test_takes_lists_and_tuples_and_changes_neither_state_nor_drive(self, random_network: Maker) -> None:
        network = random_network(4)
        rates, drive = [torch.rand(r.shape) for r in network.zero_state(3)], network.drive(torch.randn(3, 3, 32, 32))
        before = [r.clone() for r in (*rates, drive.stem, drive.skip)]
        after = network.step(rates, drive)
        assert all(torch.equal(one, other) for one, other in zip(after, network.step(tuple(rates), drive), strict=True))
        assert all(torch.equal(one, other) for one, other in zip(before, (*rates, drive.stem, drive.skip), strict=True))
        assert not any(torch.equal(one, other) for one, other in zip(after, rates, strict=True))

    def test_the_blank_s_drive_is_that_of_a_zero_tensor_for_any_number_of_states(self, random_network: Maker) -> None:
        network = random_network(6)
        rates = [torch.rand(r.shape) for r in network.zero_state(3)]
        ours = network.step(rates, network.drive(None))
        expected = network.step(rates, network.drive(torch.zeros(3, 3, 32, 32)))
        assert all(torch.equal(one, other) for one, other in zip(ours, expected, strict=True))

    def test_drives_are_made_of_pixels_too(self, random_network: Maker) -> None:
        network = random_network(2)
        pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 36, 3), dtype=np.uint8)
        ours, expected = network.drive(pixels), network.drive(network.preprocess(pixels))
        assert torch.equal(ours.stem, expected.stem)
        assert torch.equal(ours.skip, expected.skip)

    def test_rates_of_another_number_of_areas_are_refused(self, random_network: Maker) -> None:
        network = random_network(4)
        with pytest.raises(InputError, match="rates of 3 areas: this network has 4; give the activity of each"):
            network.step(network.zero_state(1)[:3], network.drive(None))

    def test_record_and_forward_are_its_steps(self, random_network: Maker) -> None:
        network = random_network(4, activation=0.3)
        x = torch.randn(2, 3, 32, 32)
        recorded = network.record(x, blank_steps=100, image_steps=100, after_steps=2)
        rates = network.zero_state(2)
        with torch.no_grad():
            for step in range(202):
                rates = network.step(rates, network.drive(x if 100 <= step < 200 else None))
                assert all(torch.equal(recorded[area][step], rates[area]) for area in range(4)), step
                if step == 199:
                    assert torch.equal(network(x), network.readout(rates[-1], rates[-2]))


class TestNoise:
    def test_is_white_and_of_the_given_size_inside_the_activation(self, random_network: Maker) -> None:
        quiet = random_network(2, activation="linear")
        noisy = random_network(2, activation="linear", noise=0.7)
        drive = quiet.drive(torch.randn(2, 3, 32, 32))
        rates = [torch.randn_like(r) for r in quiet.zero_state(2)]
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            expected = quiet.step(rates, drive)
            draws = [noisy.step(rates, drive, generator=generator) for _ in range(20)]
        for area in range(2):
            deviations = torch.stack([draw[area] - expected[area] for draw in draws]) / 0.2
            count = deviations.numel()
            assert abs(float(deviations.mean())) < 4 * 0.7 / count**0.5
            # the standard error of a standard deviation of normal numbers is sigma / sqrt(2 n)
            assert float(deviations.std()) == pytest.approx(0.7, abs=4 * 0.7 / (2 * count) ** 0.5)
            for shifted in (deviations.roll(1, 0), deviations.roll(1, 1), deviations.roll(1, 2), deviations.roll(1, 4)):
                assert abs(float((deviations * shifted).mean())) < 4 * 0.49 / count**0.5
        between = (torch.stack([d[0] for d in draws]) - expected[0]) * (torch.stack([d[1] for d in draws]) - expected[1])
        assert abs(float(between.mean())) / 0.04 < 4 * 0.49 / between.numel() ** 0.5

    def test_is_rectified_and_repeats_with_its_generator(self, random_network: Maker) -> None:
        network = random_network(2, noise=2.0)
        images = torch.randn(2, 3, 32, 32)
        first, again, other = (
            network.record(images, blank_steps=2, image_steps=3, generator=torch.Generator().manual_seed(seed))
            for seed in (1, 1, 2)
        )
        assert float(first[1].min()) >= 0
        assert torch.equal(first[1], again[1])
        assert not torch.allclose(first[1], other[1], atol=0.1)


class TestGradient:
    @pytest.mark.parametrize(
        "name",
        [
            "inp_conv.parametrizations.weight.original1",
            "inp_skip.parametrizations.weight.original0",
            "area_conv.1.parametrizations.weight.original1",
            "area_area.3.parametrizations.weight.original0",
            "skip_area.0.parametrizations.weight.original1",
            "conv_bias.2",
            "out_fc.parametrizations.weight.original1",
        ],
    )
    def test_equals_finite_differences(self, random_network: Maker, name: str) -> None:
        network = random_network(4, activation=0.5).double()
        x = torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

        def loss() -> Tensor:
            *_, rates = network.run(network.zero_state(2), network.drive(x), 4)
            return torch.nn.functional.cross_entropy(network.readout(rates[-1], rates[-2]), torch.tensor([1, 5]))

        loss().backward()
        parameter = dict(network.named_parameters())[name]
        assert parameter.grad is not None
        direction = torch.randn(parameter.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
        step = 1e-6
        with torch.no_grad():
            parameter.add_(step * direction)
            above = float(loss())
            parameter.sub_(2 * step * direction)
            below = float(loss())
        assert float((parameter.grad * direction).sum()) == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-9)

    def test_forward_learns_from_the_image_steps_alone(self, random_network: Maker) -> None:
        network = random_network(2).double()
        x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
        logits = network(x)
        recorded = network.record(x, blank_steps=100, image_steps=100, areas=(0, 1))
        torch.testing.assert_close(logits, network.readout(recorded[1][-1], recorded[0][-1]), rtol=1e-12, atol=1e-12)
        (gradient,) = torch.autograd.grad(logits.square().sum(), network.conv_bias[0])
        rates = [recorded[area][99] for area in range(2)]
        *_, rates = network.run(rates, network.drive(x), 100)
        expected = torch.autograd.grad(network.readout(rates[1], rates[0]).square().sum(), network.conv_bias[0])[0]
        assert float(expected.norm()) > 0
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


class TestRecord:
    def test_follows_blank_image_and_blank(self, random_network: Maker) -> None:
        network = random_network(4)
        x = torch.randn(3, 3, 32, 32)
        recorded = network.record(x, blank_steps=2, image_steps=3, after_steps=4, areas=(3, 1))
        assert list(recorded) == [3, 1]
        rates, expected = network.zero_state(3), []
        with torch.no_grad():
            for shown in (None,) * 2 + (x,) * 3 + (None,) * 4:
                rates = network.step(rates, network.drive(shown))
                expected.append(rates)
        for area in (1, 3):
            torch.testing.assert_close(recorded[area], torch.stack([r[area] for r in expected]), rtol=1e-6, atol=1e-6)

    def test_takes_pixels_as_well(self, random_network: Maker) -> None:
        network = random_network(2)
        pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 36, 3), dtype=np.uint8)
        recorded = network.record(pixels, blank_steps=1, image_steps=2)
        expected = network.record(network.preprocess(pixels), blank_steps=1, image_steps=2)
        assert all(torch.equal(recorded[area], expected[area]) for area in range(2))
        assert not torch.equal(recorded[1][2, 0], recorded[1][2, 1])

    def test_names_an_area_that_does_not_exist(self, random_network: Maker) -> None:
        with pytest.raises(InputError, match="area 4: this network has areas 0 to 3"):
            random_network(4).record(torch.zeros(1, 3, 32, 32), areas=[0, 4])

    @pytest.mark.parametrize("shape", [(2, 3, 32, 31), (2, 1, 32, 32), (3, 32, 32)])
    def test_names_the_shape_it_takes(self, random_network: Maker, shape: tuple[int, ...]) -> None:
        with pytest.raises(InputError, match=r"this network takes \(image, 3, 32, 32\)"):
            random_network(2).record(torch.zeros(shape))


class TestPreprocess:
    PIXELS = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)

    def test_normalises_colours(self, random_network: Maker) -> None:
        preprocessing = Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
        ours = random_network(2, preprocessing=preprocessing).preprocess(self.PIXELS)
        expected = (self.PIXELS / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]
        np.testing.assert_allclose(ours, expected.transpose(0, 3, 1, 2), atol=1e-6)

    def test_repeats_grey_and_reduces_colours_to_luma(self, random_network: Maker) -> None:
        coloured, grey = random_network(2), random_network(2, in_channels=1)
        three = np.repeat(self.PIXELS[..., :1], 3, axis=3)
        assert torch.equal(coloured.preprocess(self.PIXELS[..., :1]), coloured.preprocess(three))
        luma = self.PIXELS @ [0.299, 0.587, 0.114] / 255  # Rec. 601
        np.testing.assert_allclose(grey.preprocess(self.PIXELS), (luma[:, None] - 0.5) / 0.5, atol=1e-6)

    def test_leaves_the_caller_s_pixels_alone(self, random_network: Maker) -> None:
        network = random_network(2)
        pixels = self.PIXELS.copy()
        pixels.flags.writeable = False
        result = network.preprocess(pixels)
        result.zero_()
        np.testing.assert_array_equal(pixels, self.PIXELS)
        assert float(network.preprocess(torch.from_numpy(self.PIXELS)).abs().max()) > 0

    @pytest.mark.parametrize("size", [(40, 70), (20, 25)])
    def test_resizes_to_the_square_when_no_crop_is_asked_for(self, random_network: Maker, size: tuple[int, int]) -> None:
        preprocessing = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3)
        pixels = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
        ours = random_network(2, preprocessing=preprocessing).preprocess(pixels[None])
        expected = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BILINEAR))
        # Pillow rounds to whole levels after each of its two passes
        np.testing.assert_allclose(ours[0] * 255, expected.transpose(2, 0, 1), atol=1.01)

    @pytest.mark.parametrize("size", [(300, 260), (230, 401)])
    def test_equals_torchvision_s_pipeline_for_imagenet(self, size: tuple[int, int]) -> None:
        from torchvision import transforms

        network = CordsNet(2, classes=3, preprocessing=Preprocessing(resize=256))
        pixels = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
        pipeline = transforms.Compose(
            [
                transforms.Resize(256),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )
        expected = pipeline(Image.fromarray(pixels))
        ours = network.preprocess(pixels[None])[0]
        difference = (ours - expected).abs()
        assert float(difference.max()) < 1.01 / 255 / 0.224  # Pillow rounds to whole levels twice
        assert float(difference.mean()) < 0.4 / 255 / 0.224

    @pytest.mark.parametrize(
        "pixels",
        [np.zeros((2, 32, 32, 3)), np.zeros((32, 32, 3), np.uint8), np.zeros((2, 32, 32, 4), np.uint8)],
        ids=["float", "one image", "alpha channel"],
    )
    def test_names_what_it_takes(self, random_network: Maker, pixels: NDArray[np.uint8]) -> None:
        with pytest.raises(InputError, match=r"expected uint8 \(image, height, width, 1 or 3\)"):
            random_network(2).preprocess(pixels)


# Soo et al. 2024: 0.66, 1.45, 3.78 and 12.48 million parameters with 1000 classes
@pytest.mark.parametrize(("depth", "millions", "tensors"), [(2, 0.66, 17), (4, 1.45, 29), (6, 3.78, 41), (8, 12.48, 53)])
def test_parameters_are_as_many_as_published(depth: int, millions: float, tensors: int) -> None:
    network = CordsNet(depth)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)
    assert len(network.state_dict()) == tensors


def test_sides_halve_with_every_second_area() -> None:
    assert arch.area_sides(224) == (56, 56, 28, 28, 14, 14, 7, 7)
    for size in (32, 33, 47, 75, 224, 511, 512):
        network = CordsNet(8, classes=2, image_size=size)
        side = -(-size // 4)
        assert network.sides == tuple(-(-side // 2 ** (area // 2)) for area in range(8))
        assert tuple(b.shape[-1] for b in network.conv_bias) == network.sides


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 5}, "depth=5: .* choose one of"),
        ({"depth": "8"}, "depth='8'"),
        ({"image_size": 31}, "image_size=31: choose a whole number of pixels from 32 to 512"),
        ({"image_size": 513}, "image_size=513"),
        ({"image_size": 64.0}, "image_size=64.0"),
        ({"dt": 0.0}, r"dt=0\.0: an Euler step must be above 0 and at most the time constant tau=10\.0 \(ms\)"),
        ({"dt": 10.1}, r"dt=10\.1: .* tau=10\.0"),
        ({"tau": 0.0}, r"tau=0\.0: a time constant must be a finite number above 0"),
        ({"classes": 0}, "classes=0: must be at least 1"),
        ({"in_channels": 0}, "in_channels=0: must be at least 1"),
        ({"noise": -0.1}, "noise=-0.1: .* cannot be negative"),
        ({"activation": "rellu"}, "activation 'rellu' is unknown; did you mean 'relu'"),
        ({"activation": 1.5}, r"activation=1.5: .* must lie in \[0, 1\]"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CordsNet(**arguments)  # type: ignore[arg-type]


def test_save_refuses_an_unknown_format(random_network: Maker, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"network\.h5: choose a name that ends in \.safetensors, \.pth or \.pt"):
        save(random_network(2), tmp_path / "network.h5")
    assert not list(tmp_path.iterdir())
