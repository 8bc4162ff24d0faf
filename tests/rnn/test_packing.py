"""Trials of different lengths in one batch: where each step is, and that networks compute what they do with whole trials."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cordstasks.errors import InputError
from cordstasks.rnn import RNN
from cordstasks.rnn.connectivity import Connectivity, Convolutional, Full, LowRank, Sparse
from cordstasks.rnn.packing import Packing

TRIALS, STEPS, CHANNELS, UNITS, OUTPUTS = 5, 7, 3, 12, 2
LENGTHS = (3, 6, 1, 0, 6)  # the last step is at no trial
KINDS = [Full(), LowRank(2), Sparse(0.4), Convolutional(2, 2, 3)]
TAUS = {"one": 100.0, "each its own": torch.linspace(25.0, 200.0, UNITS).tolist()}


def needed(lengths: tuple[int, ...], steps: int = STEPS) -> Tensor:
    """Only the last step of each trial: those before are needed with it."""
    return torch.arange(1, steps + 1) == torch.tensor(lengths)[:, None]


def numbers(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestPacking:
    def test_rows_are_the_trials_that_run_at_each_step(self):
        packing = Packing.up_to_last(needed(LENGTHS))
        rows = [(step, trial) for step in range(STEPS) for trial in (1, 4, 0, 2) if step < LENGTHS[trial]]
        assert list(zip(packing.step.tolist(), packing.trial.tolist(), strict=True)) == rows
        assert packing.counts == (4, 3, 3, 2, 2, 2)
        assert packing.order.tolist() == [1, 4, 0, 2, 3]
        assert (packing.trials, packing.steps, packing.whole) == (TRIALS, STEPS, False)

    def test_arrays_are_packed_and_unpacked(self):
        packing, values = Packing.up_to_last(needed(LENGTHS)), numbers(TRIALS, STEPS, 4)
        packed = packing.pack(values)
        for row, (step, trial) in enumerate(zip(packing.step.tolist(), packing.trial.tolist(), strict=True)):
            assert torch.equal(packed[row], values[trial, step])
        assert torch.equal(packing.pack_by_time(values.transpose(0, 1).flatten(0, 1)), packed)
        running = torch.arange(STEPS) < torch.tensor(LENGTHS)[:, None]
        assert torch.equal(packing.unpack(packed), values * running[..., None])

    def test_whole_trials_are_an_array_by_time(self):
        packing, values = Packing.up_to_last(needed((STEPS,) * TRIALS)), numbers(TRIALS, STEPS, 4)
        assert packing.whole and packing.counts == (TRIALS,) * STEPS
        by_time = values.transpose(0, 1).flatten(0, 1)
        assert torch.equal(packing.pack(values), by_time)
        assert packing.pack_by_time(by_time) is by_time


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("form", ["rate", "current"])
@pytest.mark.parametrize("tau", list(TAUS))
@pytest.mark.parametrize("way", ["written", "autograd"])
@pytest.mark.parametrize("lengths", [LENGTHS, (STEPS,) * TRIALS, (0,) * TRIALS], ids=["different", "whole", "empty"])
def test_a_network_computes_what_it_does_with_whole_trials(
    monkeypatch: pytest.MonkeyPatch, kind: Connectivity, form: str, tau: str, way: str, lengths: tuple[int, ...]
):
    """Rates, outputs and all gradients, with the same noise, beside autograd through the steps of whole trials."""
    generator = torch.Generator().manual_seed(1)
    options = {"noise": 0.3, "activation": "softplus", "train_initial": True, "tau": TAUS[tau], "form": form}
    rnn = RNN(CHANNELS, UNITS, OUTPUTS, dt=10.0, connectivity=kind, generator=generator, **options).double()
    with torch.no_grad():
        rnn.initial_state.copy_(numbers(UNITS))
    inputs, packing, weight = (
        numbers(TRIALS, STEPS, CHANNELS).requires_grad_(),
        Packing.up_to_last(needed(lengths)),
        numbers(TRIALS, STEPS, UNITS, seed=4),
    )
    wanted = [*rnn.parameters(), inputs]
    with monkeypatch.context() as patch:
        patch.setattr(RNN, "_written", lambda _: way == "written")
        rates = rnn.packed(packing.pack(inputs), packing, generator=torch.Generator().manual_seed(2))
    outputs = rnn.outputs(rates)
    loss = (rates * packing.pack(weight)).sum() + outputs.square().sum()
    monkeypatch.setattr(RNN, "_written", lambda _: False)
    expected, whole = rnn(inputs, return_states=True, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(rates, packing.pack(whole), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(outputs, packing.pack(expected), rtol=1e-10, atol=1e-12)
    running = (torch.arange(STEPS) < torch.tensor(lengths)[:, None])[..., None]
    reference = (whole * weight * running).sum() + (expected * running).square().sum()
    ours, theirs = (
        torch.autograd.grad(each, wanted, retain_graph=True, materialize_grads=True) for each in (loss, reference)
    )
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_inputs_of_another_shape_are_named():
    packing = Packing.up_to_last(needed(LENGTHS))
    with pytest.raises(InputError, match=r"inputs of shape \(15, 3\): expected \(16, 3\), a row for each step of a trial"):
        RNN(CHANNELS, UNITS, OUTPUTS).packed(torch.zeros(15, CHANNELS), packing)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("given", [torch.float16, torch.float32, torch.float64, torch.int64])
def test_inputs_of_any_type_of_number_as_without_packing(kind: torch.dtype, given: torch.dtype):
    rnn, packing = RNN(CHANNELS, UNITS, OUTPUTS).to(kind), Packing.up_to_last(needed(LENGTHS))
    inputs = (4 * numbers(TRIALS, STEPS, CHANNELS)).to(given)
    _, expected = rnn(inputs, return_states=True)
    for packed in (packing.pack(inputs), packing.pack(inputs).numpy()):
        rates = rnn.packed(packed, packing)
        assert rates.dtype == kind
        torch.testing.assert_close(rates, packing.pack(expected))
