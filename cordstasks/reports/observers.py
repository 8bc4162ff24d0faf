"""A model's reaction times beside those of animals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordstasks import analysis
from cordstasks.analysis.psychophysics.observers import Observer, read_observers
from cordstasks.errors import InputError
from cordstasks.utils.files import read_json, write_json

TABLE = "reaction_times.csv"  # of the trials with an answer, as `analysis.psychophysics.read_observers` reads it


def comparable(folder: Path, others: Sequence[Observer]) -> bool:
    """Whether a finished run has reaction times, and all of the others have them, too."""
    return (folder / TABLE).exists() and all(each.reaction_time is not None for each in others)


def beside(folder: Path, others: Sequence[Observer]) -> list[dict[str, Any]]:
    """Reaction times of a finished run beside those of animals: writes ``observers.png`` and ``observers.json``.

    Parameters
    ----------
    folder : Path
        Of a run of random-dot motion with reaction times.
    others : sequence of Observer
        With reaction times.

    Returns
    -------
    list of dict
        One row per observer, the model first: ``"observer"``, ``"trials"``, and what the fits of accuracy, of reaction times
        and of the drift-diffusion model found; None for a model that cannot be fitted.
    """
    (model,) = read_observers(folder / TABLE, at_once=True)
    everyone = [Observer("model", model.coherence, model.correct, model.reaction_time), *others]
    known = read_json(folder / "summary.json")["reaction_times"].get("diffusion")
    rows, curves = [], []
    for each in everyone:
        assert each.reaction_time is not None
        data = (each.coherence, each.reaction_time, each.correct)
        curve = analysis.psychophysics.chronometric_curve(*data, rng=np.random.default_rng(0))
        scores = analysis.accuracy_by_condition(each.coherence, each.correct)
        curves.append([{**score, "rt": time} for score, time in zip(scores, curve, strict=True)])
        row: dict[str, Any] = {"observer": each.name, "trials": len(each.correct)}
        row |= {"weibull": analysis.fit_weibull(each.coherence, each.correct, rng=np.random.default_rng(0)).as_dict()}
        fit = analysis.psychophysics.fit_chronometric(*data, rng=np.random.default_rng(0))
        row["chronometric"] = fit.as_dict()
        # the run's own fit also knows the trials without an answer
        row["diffusion"] = known if each is everyone[0] else _diffusion(data)
        rows.append({**row, "by_coherence": curve})
    figure = analysis.figures.reaction_time_observers(curves, rows)
    analysis.figures.save(figure, folder / "observers.png")
    write_json(folder / "observers.json", rows)
    return rows


def _diffusion(data: tuple[NDArray[Any], NDArray[Any], NDArray[Any]]) -> dict[str, Any] | None:
    try:
        return analysis.psychophysics.fit_diffusion(*data).as_dict()
    except InputError:
        return None


def observer_lines(name: str, row: dict[str, Any]) -> list[str]:
    """What the fits found of one observer."""
    text, chronometric, diffusion = [], row.get("chronometric"), row.get("diffusion")
    weibull = row.get("weibull")
    if weibull and weibull["threshold"] is not None and "threshold" not in weibull["at_bound"]:
        text.append(f"{name}: threshold {weibull['threshold']:.3f}{_ends(weibull['threshold_interval'], 3)}")
    if chronometric and chronometric["slope"] is not None:
        slope = f"{chronometric['slope']:.0f} ms{_ends(chronometric['slope_interval'], 0)}"
        text.append(f"{name}: reaction times change by {slope} when coherence doubles")
    if chronometric and chronometric["errors_minus_right"] is not None:
        ends = _ends(chronometric["errors_minus_right_interval"], 0)
        text.append(f"{name}: errors minus right answers {chronometric['errors_minus_right']:.0f} ms{ends}")
    if diffusion:
        text.append(
            f"{name}: drift-diffusion model: drift {diffusion['drift']:.1f} per unit of coherence, bound "
            f"{diffusion['bound']:.2f}, non-decision time {diffusion['non_decision']:.0f} ms"
        )
    return text


def _ends(interval: list[float] | None, digits: int) -> str:
    return "" if interval is None else f" ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"
