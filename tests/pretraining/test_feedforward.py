"""The CNN and the folding of its normalisation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from cordstasks.pretraining.feedforward import FeedForward, FoldedArea, fold
from cordstasks.pretraining.stages.fold import activities
from cordstasks.pretraining.stages.match import composed, initial_area, potentials

Cnn = Callable[..., FeedForward]


@pytest.mark.parametrize(("depth", "size"), [(2, 47), (8, 32), (8, 50)])
def test_folded_computes_the_cnn_s_activities(depth: int, size: int, random_cnn: Cnn) -> None:
    cnn = random_cnn(depth, in_channels=2).double()
    images = torch.randn(3, 2, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    folded = fold(cnn, size)
    with torch.no_grad():
        expected = cnn.areas(images)[1]
    for ours, own in zip(activities(folded, images), expected, strict=True):
        largest = float(own.max())
        assert largest > 0
        torch.testing.assert_close(ours, own, rtol=0, atol=1e-12 * largest)
    inputs, targets = potentials(folded, images)
    torch.testing.assert_close(inputs[1], expected[0] + folded.drive(images).skip)
    torch.testing.assert_close(F.relu(targets[-1]).double(), expected[-1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_composed_kernel_is_what_two_convolutions_do_to_single_pixels(stride: int) -> None:
    generator = torch.Generator().manual_seed(3)
    rec = torch.randn(5, 4, 3, 3, generator=generator)
    inp = torch.randn(4, 3, 3, 3, generator=generator)
    kernel = composed(rec, inp, stride)
    side, place = 13, 3  # far from the border: one output place, and the nine input places around it
    for channel in range(3):
        for row in (-1, 0, 1):
            for column in (-1, 0, 1):
                pixel = torch.zeros(1, 3, side, side)
                pixel[0, channel, stride * place + row, stride * place + column] = 1
                out = F.conv2d(F.conv2d(pixel, inp, stride=stride, padding=1), rec, padding=1)
                torch.testing.assert_close(
                    kernel[:, channel, row + 1, column + 1], out[0, :, place, place], rtol=1e-5, atol=1e-5
                )


@pytest.mark.parametrize("area", [1, 2])
def test_an_area_starts_as_the_cnn_s_layer_where_one_kernel_can_be_it(area: int, random_cnn: Cnn) -> None:
    folded = fold(random_cnn(4), 32)
    part = folded.areas[area]
    centre = torch.zeros_like(part.rec)
    centre[:, :, 1, 1] = part.rec[:, :, 1, 1]  # two convolutions of which one is 1x1 are one 3x3
    folded.areas[area] = FoldedArea(part.inp, centre, part.before, part.after)
    u = torch.randn(2, 64, 8, 8, generator=torch.Generator().manual_seed(4))
    started = initial_area(folded, area)
    torch.testing.assert_close(started.settle(u, 3, step=0.5)[0], folded.activity(area, u), rtol=1e-4, atol=1e-4)
