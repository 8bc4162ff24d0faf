"""Report on numerosity: performance by distance and kind of display, and tuning to number."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from cordstasks import analysis
from cordstasks.reports import common
from cordstasks.reports.material import Material
from cordstasks.training.evaluation import Behaviour


def report(material: Material) -> dict[str, Any]:
    """Test a trained model on held-out displays; write the figures; return the summary's part."""
    batch, task, folder = material.heldout, material.task, material.folder.path
    seen, omitted = common.behaviour(material), common.Omissions()
    number, test, control = (batch.conditions[name] for name in ("number", "test", "control"))
    trained = np.isin(control, task.for_training().controls)  # type: ignore[attr-defined]
    group = np.where(trained, "trained", "held out")
    distance = np.abs(test - number)
    table = analysis.behaviour.performance_table
    result: dict[str, Any] = {
        "heldout": common.heldout(material, seen, {"distance": distance}),
        "by_control": table({"displays": group, "control": control}, seen.correct),
        "by_group": table({"displays": group}, seen.correct),
        "by_distance_and_group": table({"distance": distance, "displays": group}, seen.correct),
        "tuning": _tuning(material, seen, omitted),
    }
    save = analysis.figures.save
    figures = analysis.figures
    rows = result["by_distance_and_group"]
    save(
        figures.performance(
            rows, "distance", lines="displays", chance=seen.chance, x_label="distance in number", line_label="displays"
        ),
        folder / "performance.png",
    )
    save(figures.performance(result["by_control"], "control", lines="displays", chance=seen.chance), folder / "controls.png")
    common.learning_figure(material, seen.chance)
    of_kind = [np.flatnonzero(control == kind) for kind in np.unique(control)]
    trials = [int(rows[index % min(5, len(rows))]) for index, rows in enumerate(of_kind)]
    labels = [f"{control[t]}, {number[t]:g} then {test[t]:g}".replace("_", " ") for t in trials]
    common.period_sheet(batch, trials, labels, folder / "movies.png")
    return {**result, "left_out": omitted.reasons}


def _tuning(material: Material, seen: Behaviour, omitted: common.Omissions) -> dict[str, Any] | None:
    """Tuning of the units to number at the end of the delay; write its figures."""
    batch, rng, folder = material.heldout, material.rng, material.folder.path
    trials, steps = common.delays(material, seen, omitted, "tuning of the units to number")
    if not len(trials):
        return None
    number = batch.conditions["number"][trials]
    rates = analysis.tuning.window_mean(seen.rates[trials], steps)
    tests = omitted.attempt("tuning of the units to number", lambda: analysis.tuning.selectivity(rates, number, rng=rng))
    if tests is None:
        return None
    curves = omitted.attempt(
        "cross-validated tuning curves",
        lambda: analysis.tuning.cross_validated_curves(rates, number, rng=rng, groups=_pictures(material, trials)),
    )
    plain = analysis.tuning.tuning_curves(rates, number)
    preferred = plain.values[plain.preferred[tests.selective]]
    result = {
        "window": common.AT_THE_END,
        "trials": len(trials),
        **tests.as_dict(),
        "units_by_preferred_number": {f"{n:g}": int((preferred == n).sum()) for n in plain.values},
        "r_squared": _axes(rates[:, tests.selective], number, omitted),
    }
    if curves is not None:
        result["by_preferred_number"] = {
            f"{n:g}": analysis.tuning.align(curves, preferred=float(n), fold=True).as_dict() for n in curves.values
        }
        figure = analysis.figures.aligned_tuning(curves, condition="number", fold=True)
        analysis.figures.save(figure, folder / "tuning.png")
    units = analysis.tuning.example_units(plain, tests, number=6)
    if len(units):
        shown = common.aligned(seen, batch, trials, event="sample", until="delay", names=("sample", "delay"))
        figure = analysis.figures.peristimulus(shown.rates, number, shown.times, units, name="number", periods=shown.periods)
        analysis.figures.save(figure, folder / "units.png")
    return result


def _pictures(material: Material, trials: NDArray[np.intp]) -> NDArray[Any]:
    """The picture of each trial's sample, identified by its pixels; equal pictures then stay in one half of the trials."""
    batch = material.heldout
    middles = batch.periods["sample"].mean(1)
    return np.array([crc32(batch.movies[trial].rgb([middles[trial]]).tobytes()) for trial in trials])


def _axes(rates: NDArray[Any], number: NDArray[Any], omitted: common.Omissions) -> dict[str, float] | None:
    """Median fraction of variance that Gaussians explain on a linear and on a logarithmic axis of number."""
    if not rates.shape[1]:
        omitted.note("fits of Gaussians to tuning to number", "no unit is tuned")
        return None
    return omitted.attempt(
        "fits of Gaussians to tuning to number",
        lambda: {
            name: float(np.median(analysis.tuning.fit_gaussian(rates, number, logarithmic=logarithmic).r_squared))
            for name, logarithmic in (("linear", False), ("logarithmic", True))
        },
    )


def table(summary: dict[str, Any], folder: Path) -> str:
    """The table printed at a run's end."""
    lines = common.rows_of(summary["by_distance_and_group"], ["distance", "displays"])
    lines += common.rows_of(summary["by_control"], ["control", "displays"])
    tuned = summary["tuning"]
    if tuned is not None:
        counts = ", ".join(f"{units} prefer {number}" for number, units in tuned["units_by_preferred_number"].items())
        lines.append(f"units tuned to number {tuned['fraction']:.0%}: {counts}")
    return "\n".join([*lines, *common.closing(summary, folder)])
