"""Leading eigenvalues of the recurrent weights of each area of a CordsNet (Soo et al. 2024, figure 4C)."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordstasks import analysis
from cordstasks.analysis import dynamics
from cordstasks.cordsnet import architecture as arch
from cordstasks.cordsnet.checkpoints import load
from cordstasks.cordsnet.network import CordsNet
from cordstasks.cordsnet.system import area_operator
from cordstasks.errors import InputError
from cordstasks.experiments.dynamics_settings import SpectraSettings
from cordstasks.experiments.in_time import digest_of
from cordstasks.utils.files import read_json, write_json
from cordstasks.utils.interrupt import Interrupted
from cordstasks.utils.run_folder import RunFolder

__all__ = ["area_spectrum", "in_words", "run_spectra"]


def run_spectra(out: str | os.PathLike[str], **settings: Any) -> dict[str, Any]:
    """Leading eigenvalues of W_rec - I of each area, with residuals; write numbers and a figure.

    Called again with the same arguments, it continues what was stopped: each area is kept when it is complete.

    Parameters
    ----------
    out : path-like
        Folder for ``config.json``, a file of each area, ``summary.json`` and ``spectra.png``.
    **settings
        Any of `cordstasks.experiments.dynamics_settings.SpectraSettings`, such as ``eigenvalues=50``.

    Returns
    -------
    dict
        What ``summary.json`` holds: ``"areas"``, a row for each area as `area_spectrum` returns it.

    Raises
    ------
    InputError
        If the network, an area, a number or the folder cannot be used.
    Interrupted
        After Ctrl-C; the same call continues.
    """
    began = time.monotonic()
    chosen, folder = SpectraSettings(**settings), RunFolder(Path(out))
    network = load(chosen.network)
    areas = arch.check_areas(range(network.depth) if chosen.areas is None else chosen.areas, network.depth)
    for area in areas:
        units = network.conv_bias[area].numel()
        if chosen.eigenvalues > units:
            raise InputError(f"eigenvalues={chosen.eigenvalues}: area {area} has {units} units; give at most as many")
    rows = []
    with folder.lock():
        folder.begin(chosen, weights=digest_of(network)[:16])
        try:
            for area in areas:
                path = folder.path / f"area-{area}.json"
                if not path.is_file():
                    write_json(path, area_spectrum(network, area, chosen.eigenvalues, tolerance=chosen.tolerance))
                rows.append(read_json(path))
        except KeyboardInterrupt as stop:
            raise Interrupted("the same command") from stop
        drawn = {f"area {row['area']}": complex_values(row) for row in rows}
        figure = analysis.figures.spectra_of_areas(drawn)
        analysis.figures.save(figure, folder.path / "spectra.png")
        found = {"network": chosen.network, "areas": rows, "seconds": time.monotonic() - began}
        write_json(folder.path / "summary.json", found)
    return found


def area_spectrum(network: CordsNet, area: int, eigenvalues: int = 100, *, tolerance: float = 1e-4) -> dict[str, Any]:
    """The leading eigenvalues of W_rec - I of one area: those that differ most from -1, which is what no recurrence gives.

    Without input, ``T dr/dt = (W_rec - I) r`` holds for an area alone while all of its units are active. A real part of x
    and an imaginary part of y give a mode that changes as exp(x t / T) and turns y / (2 pi T) times per unit of time.

    Parameters
    ----------
    network : CordsNet
        Not modified.
    area : int
        From 0.
    eigenvalues : int
        How many.
    tolerance : float
        Largest residual, relative to the largest modulus, with which an eigenvalue counts as converged.

    Returns
    -------
    dict
        ``"area"``, ``"units"``, ``"real"`` and ``"imaginary"`` (eigenvalues of W_rec - I, those of W_rec with the largest
        modulus first), ``"residual"`` (largest, absolute), ``"converged"`` (how many), ``"largest_real"``,
        ``"largest_imaginary"``, ``"mean_imaginary"`` (of the moduli of imaginary parts), ``"oscillating"`` (how many have
        an imaginary part), ``"radius"`` of the spectrum of W_rec, ``"products"`` and ``"seconds"``.

    Raises
    ------
    InputError
        If there is no such area, or it has fewer units.

    Warns
    -----
    Note
        If eigenvalues have not converged, with their residuals.
    """
    began = time.monotonic()
    operator = area_operator(network, area)
    found = dynamics.eigenvalues(operator, eigenvalues, tolerance=tolerance)
    values, residuals = found.values - 1, found.residuals
    imaginary = np.abs(values.imag)
    return {
        "area": area,
        "units": operator.shape[0],
        "real": values.real.tolist(),
        "imaginary": values.imag.tolist(),
        "residual": float(residuals.max()),
        "converged": int(found.converged.sum()),
        "largest_real": float(values.real.max()),
        "largest_imaginary": float(imaginary.max()),
        "mean_imaginary": float(imaginary.mean()),
        "oscillating": int((imaginary > residuals).sum()),
        "radius": float(np.abs(found.values).max()),
        "products": found.applications,
        "seconds": time.monotonic() - began,
    }


def complex_values(row: dict[str, Any]) -> NDArray[np.complex128]:
    """The eigenvalues (value,) of a row of `area_spectrum`."""
    return np.asarray(row["real"]) + 1j * np.asarray(row["imaginary"])


def in_words(found: dict[str, Any]) -> str:
    """The results as lines to print.

    Returns
    -------
    str
        A table with a row for each area, without a line end after the last.
    """
    lines = [
        f"{found['network']}: eigenvalues of W_rec - I of each area, those that differ most from -1",
        "area   units  eigenvalues  converged  largest residual  largest real part  largest imaginary part  mean of moduli "
        "of imaginary parts",
    ]
    for row in found["areas"]:
        lines.append(
            f"{row['area']:4d}  {row['units']:6d}  {len(row['real']):11d}  {row['converged']:9d}  {row['residual']:16.1e}  "
            f"{row['largest_real']:17.3f}  {row['largest_imaginary']:22.3f}  {row['mean_imaginary']:.3f}"
        )
    return "\n".join(lines)
