"""Autocast: products in half precision where they may be, and the state as it is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cordstasks.rnn import RNN
from cordstasks.rnn.connectivity import Connectivity, Convolutional, Full, LowRank, Sparse


@pytest.mark.parametrize("form", ["rate", "current"])
@pytest.mark.parametrize(
    ("units", "connectivity"),
    [(36, Full()), (36, LowRank(2)), (400, LowRank(2)), (36, Sparse(0.2)), (36, Convolutional(4, 3, 3))],
    ids=["full", "low-rank", "low-rank, step by step", "sparse", "convolutional"],
)
@pytest.mark.parametrize("backward_inside", [True, False])
def test_outputs_and_gradients_are_close(form: str, units: int, connectivity: Connectivity, backward_inside: bool) -> None:
    torch.manual_seed(0)
    network, inputs = RNN(5, units, 3, form=form, connectivity=connectivity), torch.randn(4, 30, 5)

    def gradient() -> Tensor:
        given = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
        network.zero_grad()
        return torch.cat(given)

    whole = network(inputs)
    whole.square().mean().backward()
    expected = gradient()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = network(inputs)
        if backward_inside:
            half.float().square().mean().backward()
    if not backward_inside:
        half.float().square().mean().backward()
    assert half.dtype == torch.bfloat16
    assert 0 < float((half.float() - whole).detach().norm() / whole.detach().norm()) < 0.02
    assert float((gradient() - expected).norm() / expected.norm()) < 0.02
