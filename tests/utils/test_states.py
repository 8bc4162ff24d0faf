"""Restoring an optimiser: what is a setting, and what is only a way to compute."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from cordstasks.utils.states import restore_optimiser

TARGET = torch.tensor([3.0, -1.0, 0.5])


def stepped(steps: int, **options: Any) -> tuple[nn.Parameter, torch.optim.Optimizer]:
    parameter = nn.Parameter(torch.ones(3))
    optimiser = torch.optim.AdamW([parameter], lr=0.1, **options)
    for _ in range(steps):
        step(parameter, optimiser)
    return parameter, optimiser


def step(parameter: nn.Parameter, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad()
    (parameter - TARGET).square().sum().backward()
    optimiser.step()


@pytest.mark.parametrize(("before", "after"), [(None, True), (True, None), (False, True)])
def test_it_goes_on_however_it_was_computed(before: bool | None, after: bool | None):
    """Runs of older versions, and of devices without one pass over the weights, have another way to compute."""
    expected, _ = stepped(7)
    half, state = stepped(4, fused=before)
    parameter, optimiser = stepped(0, fused=after)
    with torch.no_grad():
        parameter.copy_(half)
    restore_optimiser(optimiser, state.state_dict())
    assert optimiser.param_groups[0]["fused"] is after
    for _ in range(3):
        step(parameter, optimiser)
    torch.testing.assert_close(parameter, expected, rtol=1e-5, atol=1e-6)


def test_other_settings_are_an_error():
    _, state = stepped(2, weight_decay=0.5)
    with pytest.raises(ValueError, match="its optimiser has other settings"):
        restore_optimiser(stepped(0)[1], state.state_dict())


def test_other_groups_are_an_error():
    _, state = stepped(2)
    with pytest.raises(ValueError, match="argument"):
        restore_optimiser(stepped(0)[1], {**state.state_dict(), "param_groups": []})
