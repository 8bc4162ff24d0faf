"""The published networks' format: small files of it are read as the paper's equations have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cordstasks.errors import InputError
from cordstasks.rnn import RNN, load_published
from cordstasks.rnn.connectivity import Full, LowRank

INPUTS, UNITS, RANK, OUTPUTS, TRIALS, STEPS = 4, 9, 2, 3, 5, 6


def state(*, low: bool) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    shapes: dict[str, tuple[int, ...]] = {"wi": (INPUTS, UNITS), "si": (INPUTS,), "wo": (UNITS, OUTPUTS), "so": (OUTPUTS,)}
    shapes |= {"m": (UNITS, RANK), "n": (UNITS, RANK)} if low else {"wrec": (UNITS, UNITS)}
    return {name: torch.randn(shape, generator=generator) for name, shape in {**shapes, "h0": (UNITS,)}.items()}


def write(path: Path, content: Any, *, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("alpha", [0.2, 0.5])
def test_it_runs_by_the_papers_equations(tmp_path: Path, low: bool, legacy: bool, alpha: float):
    content = state(low=low)
    network = load_published(write(tmp_path / "net.pt", content, legacy=legacy), alpha=alpha)
    assert isinstance(network, RNN)
    assert network.kind == (LowRank(RANK) if low else Full())
    u = np.random.default_rng(1).normal(size=(TRIALS, STEPS, INPUTS))
    outputs, rates = network.double()(torch.from_numpy(u), return_states=True)
    p = {name: value.double().numpy() for name, value in content.items()}
    w = p["m"] @ p["n"].T / UNITS if low else p["wrec"]
    w_in = (np.diag(p["si"]) @ p["wi"]).T
    w_out = (p["wo"] @ np.diag(p["so"])).T / (UNITS if low else 1)
    np.testing.assert_allclose(network.connectivity.matrix().detach(), w, atol=1e-7)
    for trial in range(TRIALS):
        h = p["h0"]
        for step in range(STEPS):
            h = h + alpha * (-h + w @ np.tanh(h) + w_in @ u[trial, step])
            np.testing.assert_allclose(rates[trial, step].detach(), np.tanh(h), atol=1e-6)
            np.testing.assert_allclose(outputs[trial, step].detach(), w_out @ np.tanh(h), atol=1e-5)


def test_noise_is_what_each_step_adds(tmp_path: Path):
    content = {**state(low=False), "h0": torch.zeros(UNITS)}
    content["wrec"].zero_()
    network = load_published(write(tmp_path / "net.pt", content), noise=0.05)
    _, rates = network(torch.zeros(20_000, 1, INPUTS), return_states=True, generator=torch.Generator().manual_seed(0))
    assert float(torch.atanh(rates.detach()).std()) == pytest.approx(0.05, rel=0.02)
    silent = network(torch.zeros(2, 3, INPUTS))
    assert torch.equal(silent, torch.zeros_like(silent))


def test_a_leftover_noise_matrix_is_dropped(tmp_path: Path):
    content = {**state(low=True), "rec_noise": torch.ones(UNITS, UNITS)}
    network = load_published(write(tmp_path / "net.pt", content))
    assert np.linalg.matrix_rank(network.connectivity.matrix().detach().numpy(), tol=1e-5) == RANK


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"wrec": None}, r"net\.pt: not a network of the paper's: it lacks wrec"),
            ({"speed": torch.ones(2)}, "it has unknown speed"),
            ({"m": torch.ones(UNITS, 2), "wrec": None}, "it lacks n"),
            ({"gaussian_basis": torch.ones(4, UNITS)}, "a mixture-of-populations network"),
            ({"wo": torch.ones(UNITS + 1, OUTPUTS)}, r"wi \(4, 9\) and wo \(10, 3\) must be"),
            ({"h0": torch.ones(UNITS, 1)}, r"h0 has shape \(9, 1\), and \(9,\) was expected"),
            ({"wrec": torch.ones(UNITS, 2)}, r"wrec has shape \(9, 2\), and \(9, 9\) was expected"),
        ],
    )
    def test_of_content(self, tmp_path: Path, change: dict[str, Any], message: str):
        content = {name: value for name, value in {**state(low=False), **change}.items() if value is not None}
        with pytest.raises(InputError, match=message):
            load_published(write(tmp_path / "net.pt", content))

    def test_of_files(self, tmp_path: Path):
        with pytest.raises(InputError, match=r"none\.pt: cannot be read"):
            load_published(tmp_path / "none.pt")
        (tmp_path / "bad.pt").write_bytes(b"not a checkpoint at all")
        with pytest.raises(InputError, match=r"bad\.pt: damaged, or not a file of weights only"):
            load_published(tmp_path / "bad.pt")
        with pytest.raises(InputError, match="would be a dictionary of tensors"):
            load_published(write(tmp_path / "list.pt", [1, 2]))
        with pytest.raises(InputError, match=r"alpha=0: must be above 0 and at most 1"):
            load_published(write(tmp_path / "net.pt", state(low=True)), alpha=0)
