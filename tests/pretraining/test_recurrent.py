"""The discrete-time recurrent CNN: its equation, its size, when an image reaches an area, and its stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from cordstasks.errors import InputError
from cordstasks.pretraining.context import Context
from cordstasks.pretraining.feedforward import FeedForward
from cordstasks.pretraining.recurrent import RecurrentCNN
from cordstasks.pretraining.stages import recurrent

Make = Callable[..., Context]


def made(depth: int, steps: int = 3) -> RecurrentCNN:
    torch.manual_seed(depth)
    network = RecurrentCNN(depth, classes=3, in_channels=2, steps=steps)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 1 and "readout" not in name:
                parameter.uniform_(0.2, 1.5)
    return network.eval()


@pytest.mark.parametrize("depth", [2, 8])
def test_is_as_large_as_the_feed_forward_network(depth: int) -> None:
    sizes = [sum(p.numel() for p in kind(depth, classes=7).parameters()) for kind in (RecurrentCNN, FeedForward)]
    assert sizes[0] == sizes[1]


def test_step_is_its_equation() -> None:
    network = made(4)
    images = torch.randn(2, 2, 40, 40, generator=torch.Generator().manual_seed(1))
    drive = network.drive(images)
    rates = [torch.rand(r.shape, generator=torch.Generator().manual_seed(2)) for r in network.zero_state(images)]
    with torch.no_grad():
        inputs, new = network.step(rates, drive)
        below = F.group_norm(network.skip[0](rates[1]), 32, network.skip_bn[0].weight, network.skip_bn[0].bias)
        fed = [drive.stem, rates[0] + drive.skip, rates[1] + rates[0], rates[2] + below]
        for area, u in enumerate(fed):
            first, second = network.bn1[area], network.bn2[area]
            stride = network.conv_inp[area].stride
            v = F.group_norm(
                F.conv2d(u, network.conv_inp[area].weight, stride=stride, padding=1), 32, first.weight, first.bias
            )
            x = F.conv2d(F.relu(v) + rates[area], network.conv_rec[area].weight, padding=1)
            expected = F.relu(F.group_norm(x, 32, second.weight, second.bias))
            assert expected.any()
            torch.testing.assert_close(inputs[area], u)
            torch.testing.assert_close(new[area], expected)


def test_an_image_reaches_two_more_areas_with_each_step() -> None:
    network = made(6)
    images = torch.randn(2, 1, 2, 32, 32, generator=torch.Generator().manual_seed(3))
    runs = []
    with torch.no_grad():
        for x in images:
            drive, rates, states = network.drive(x), network.zero_state(x), []
            for _ in range(3):
                _, rates = network.step(rates, drive)
                states.append(rates)
            runs.append(states)
        reached = [[area for area in range(6) if not torch.equal(a[area], b[area])] for a, b in zip(*runs, strict=True)]
        assert reached == [[0, 1], [0, 1, 2, 3], [0, 1, 2, 3, 4, 5]]
        torch.testing.assert_close(network(images[0]), network.logits(runs[0][-1]))


def test_steps_are_checked() -> None:
    with pytest.raises(InputError, match="steps=0: give a whole number of at least 1"):
        RecurrentCNN(2, steps=0)


def test_stage_learns_and_leaves_weights(tmp_path: Path, make_context: Make) -> None:
    context = make_context(tmp_path, recurrent_epochs=3, recurrent_batch=4, recurrent_steps=2, recurrent_learning_rate=0.02)
    recurrent.run(context)
    rows = context.log("recurrent").read()
    assert [row.get("epoch") for row in rows] == [1, 2, 3, None]
    assert rows[2]["loss"] < rows[0]["loss"]
    network = RecurrentCNN(2, classes=3, steps=2)
    network.load_state_dict(context.read_tensors("recurrent"))
    images, labels = context.images.test.batch(torch.arange(9))
    with torch.no_grad():
        right = network.eval()(context.presentation.test(images)).argmax(1) == labels
    assert float(right.double().mean()) == pytest.approx(rows[3]["test"])
