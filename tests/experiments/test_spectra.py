"""Spectra of areas, against dense matrices; continuing; mistakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cordstasks import cordsnet
from cordstasks import dynamics as command
from cordstasks.analysis import dynamics
from cordstasks.errors import InputError
from cordstasks.experiments import spectra
from cordstasks.experiments.spectra import area_spectrum, complex_values, run_spectra
from cordstasks.utils.interrupt import Interrupted
from helpers import printed_by, read, refused, settling_cordsnet


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "own.safetensors"
    cordsnet.save(settling_cordsnet(), path)
    return path


def test_values_are_those_of_the_convolution() -> None:
    own = settling_cordsnet(recurrence=0.8)  # of whose area 1 an iteration for six values alone would leave two out
    kernel = own.area_conv[1].weight.detach().double().numpy()
    reference = dynamics.eigenvalues(dynamics.convolution_operator(kernel, (64, 8, 8)), 12, tolerance=1e-8)
    found = area_spectrum(own, 1, 6)
    np.testing.assert_allclose(np.abs(complex_values(found) + 1), np.abs(reference.values[:6]), rtol=1e-4)
    assert found["converged"] == 6
    assert found["residual"] < 1e-4
    assert found["radius"] == pytest.approx(abs(reference.values[0]), rel=1e-4)
    assert found["largest_real"] == max(found["real"]) < 0
    assert found["oscillating"] == (reference.values[:6].imag != 0).sum()
    assert found["mean_imaginary"] == pytest.approx(np.abs(reference.values[:6].imag).mean(), rel=1e-3)


def test_the_command_and_continuing(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = spectra.area_spectrum

    def stopped(own: cordsnet.CordsNet, area: int, *more: int, **options: float) -> dict[str, object]:
        if area == 1:
            raise KeyboardInterrupt
        return whole(own, area, *more, **options)

    monkeypatch.setattr(spectra, "area_spectrum", stopped)
    with pytest.raises(Interrupted, match="the same command"):
        run_spectra(tmp_path / "out", network=str(network), eigenvalues=5)
    kept = (tmp_path / "out" / "area-0.json").read_bytes()
    monkeypatch.setattr(spectra, "area_spectrum", whole)
    said = printed_by(
        command.main, "spectra", "--network", network, "--eigenvalues", 5, "--out", tmp_path / "out"
    ).splitlines()
    assert (tmp_path / "out" / "area-0.json").read_bytes() == kept
    rows = read(tmp_path / "out")["areas"]
    assert [line.split()[:3] for line in said[2:4]] == [["0", "4096", "5"], ["1", "4096", "5"]]
    assert f"{rows[1]['largest_real']:.3f}" in said[3]
    assert (tmp_path / "out" / "spectra.png").stat().st_size > 5_000
    with pytest.raises(InputError, match=r"eigenvalues=6: the run in .* has 5"):
        run_spectra(tmp_path / "out", network=str(network), eigenvalues=6)


def test_other_weights_need_another_folder(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    cordsnet.save(settling_cordsnet(), path)
    run_spectra(tmp_path / "out", network=str(path), eigenvalues=2, areas=(0,))
    cordsnet.save(settling_cordsnet(recurrence=0.2), path)
    with pytest.raises(InputError, match=r"weights=\w+: the run in .* has \w+; use another folder"):
        run_spectra(tmp_path / "out", network=str(path), eigenvalues=2, areas=(0,))


def test_what_is_refused(network: Path, tmp_path: Path) -> None:
    own = ("spectra", "--network", network, "--out", tmp_path / "out")
    assert "there is no area 2" in refused(command.main, *own, "--areas", 2)
    assert ": give different areas, from 0" in refused(command.main, *own, "--areas", 1, 1)
    assert "--eigenvalues 5000: area 0 has 4096 units" in refused(command.main, *own, "--eigenvalues", 5000)
    assert "--tolerance 0.0: give a number above 0 and below 1" in refused(command.main, *own, "--tolerance", 0)
    assert not (tmp_path / "out").exists()
