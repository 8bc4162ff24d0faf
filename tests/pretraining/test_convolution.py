"""Convolutions of small maps as products of matrices: against PyTorch's convolution."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from cordstasks.pretraining.convolution import FEWEST, Convolution, SmallMapConv2d, convolve, is_small
from cordstasks.pretraining.feedforward import FeedForward

CASES = [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (4, 1), (4, 2), (5, 2), (7, 2), (8, 2), (8, 1), (9, 2)]


def made(side: int, images: int = FEWEST, channels: int = 5, out: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(side)
    x = torch.randn(images, channels, side, side, generator=generator, dtype=torch.float64)
    weight = torch.randn(out, channels, 3, 3, generator=generator, dtype=torch.float64)
    return x.requires_grad_(), weight.requires_grad_()


@pytest.fixture
def all_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products up to 4 x 4 in every type, so that both ways can be compared with many digits."""
    monkeypatch.setattr("cordstasks.pretraining.convolution.OTHERWISE", 4)


@pytest.mark.usefixtures("all_small")
@pytest.mark.parametrize(("side", "stride"), CASES)
@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
def test_equals_the_convolution_with_its_gradients(side: int, stride: int, last: bool) -> None:
    x, weight = made(side)
    shown = x.contiguous(memory_format=torch.channels_last) if last else x
    expected = F.conv2d(x, weight, stride=stride, padding=1)
    seen = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wanted = torch.autograd.grad(expected, (x, weight), seen)
    for found in (convolve(shown, weight, stride=stride), Convolution(weight, side, stride=stride)(shown)):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(torch.autograd.grad(found, (x, weight), seen), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("all_small")
@pytest.mark.parametrize(("side", "stride"), [(2, 1), (4, 1), (4, 2)])
def test_second_derivatives(side: int, stride: int) -> None:
    x, weight = made(side, images=2, channels=2, out=2)
    convolution = lambda x, weight: Convolution(weight, side, stride=stride)(x)  # noqa: E731
    assert torch.autograd.gradgradcheck(convolution, (x, weight))


@pytest.mark.usefixtures("all_small")
@pytest.mark.parametrize(("side", "stride"), [(2, 1), (4, 1), (4, 2), (8, 2)])
def test_gradients_of_many_uses_add_up(side: int, stride: int) -> None:
    x, weight = made(side)
    prepared = Convolution(weight, side, stride=stride)
    twice = (prepared(x) + prepared(2 * x)).sum()
    wanted = (F.conv2d(3 * x, weight, stride=stride, padding=1)).sum()
    torch.testing.assert_close(
        torch.autograd.grad(twice, (x, weight)), torch.autograd.grad(wanted, (x, weight)), rtol=1e-12, atol=1e-11
    )


@pytest.mark.usefixtures("all_small")
@pytest.mark.parametrize(("side", "stride"), [(2, 1), (2, 2), (3, 1), (4, 1), (4, 2), (8, 2)])
def test_gradients_of_maps_lie_densely_in_memory(side: int, stride: int) -> None:
    """Batch normalisation is slow with what is a part of a larger tensor."""
    x, weight = made(side)
    x = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    (gradient,) = torch.autograd.grad(convolve(x, weight, stride=stride).square().sum(), x)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("side", "stride", "images"), [(2, 1, 3), (4, 1, 3), (4, 2, 3), (8, 1, 3), (2, 1, 1)])
def test_bfloat16_gradients_of_hundreds_of_uses_add_up_to_all_of_them(side: int, stride: int, images: int) -> None:
    x, weight = (tensor.detach().float().requires_grad_() for tensor in made(side, images=images))
    seen = torch.randn(F.conv2d(x, weight, stride=stride, padding=1).shape, generator=torch.Generator().manual_seed(1))

    def gradient(uses: int) -> torch.Tensor:
        prepared = Convolution(weight, side, stride=stride, dtype=torch.bfloat16)
        with torch.no_grad():
            prepared(x)  # as the spontaneous state does, before there are gradients
        total = torch.stack([(prepared(x).float() * seen).sum() for _ in range(uses)]).sum()
        return torch.autograd.grad(total, weight)[0]

    once, often = gradient(1), gradient(301)
    assert often.dtype == torch.float32
    assert float((often - 301 * once).norm() / often.norm()) < 0.01  # 0.07 if they add up in bfloat16


@pytest.mark.parametrize(("side", "stride"), [(2, 1), (4, 1), (4, 2)])
def test_autocast_computes_in_its_type_and_gives_gradients_in_that_of_the_weights(side: int, stride: int) -> None:
    x, weight = (tensor.detach().float().requires_grad_() for tensor in made(side, channels=64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, expected = convolve(x, weight, stride=stride), F.conv2d(x, weight, stride=stride, padding=1)
    assert found.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.2)
    gradients, wanted = (torch.autograd.grad(value.float().square().mean(), (x, weight)) for value in (found, expected))
    for gradient, other in zip(gradients, wanted, strict=True):
        assert gradient.dtype == torch.float32
        assert float((gradient - other).norm() / other.norm()) < 0.02


def test_prepared_without_gradients_gives_none() -> None:
    x, weight = made(2)
    with torch.no_grad():
        prepared = Convolution(weight, 2)
    found = prepared(x).sum()
    assert torch.autograd.grad(found, weight, allow_unused=True) == (None,)


def test_few_images_large_maps_other_kernels_and_oblong_maps_stay_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = made(2)

    def refuse(*args: object, **settings: object) -> None:
        raise AssertionError("a product was made")

    monkeypatch.setattr("cordstasks.pretraining.convolution.Convolution", refuse)
    with pytest.raises(AssertionError, match="a product"):
        convolve(x, weight)
    larger, _ = made(5)
    for maps in (x[: FEWEST - 1], larger, x.new_ones(FEWEST, 5, 2, 4)):
        torch.testing.assert_close(convolve(maps, weight), F.conv2d(maps, weight, padding=1))
    assert is_small(weight, 2, 1) and is_small(weight, 4, 2) and not is_small(weight, 4, 1)
    assert is_small(weight, 4, 1, torch.bfloat16) and not is_small(weight, 5, 1, torch.bfloat16)
    assert not is_small(weight[..., :1, :1], 2, 1)
    assert not is_small(weight.to("meta"), 2, 1)
    one = SmallMapConv2d(5, 7, 1, stride=2, bias=False, dtype=torch.float64)
    torch.testing.assert_close(one(x), F.conv2d(x, one.weight, stride=2))


def test_a_cnn_computes_what_plain_convolutions_do(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    cnn = FeedForward(4).double().train()
    x = torch.randn(FEWEST, 3, 32, 32, dtype=torch.float64)

    def both() -> tuple[torch.Tensor, ...]:
        logits = cnn(x)
        return logits, *torch.autograd.grad(logits.square().sum(), list(cnn.parameters()))

    found = both()
    monkeypatch.setattr("cordstasks.pretraining.convolution.is_small", lambda *layer: False)
    torch.testing.assert_close(found, both(), rtol=1e-8, atol=1e-8)
