"""Report on numerosity: performance by distance and kind of display, and tuning to number."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from cordstasks import analysis
from cordstasks.analysis import tuning_figures
from cordstasks.errors import InputError
from cordstasks.reports import common
from cordstasks.tasks.visual import TrialBatch

if TYPE_CHECKING:
    from cordstasks.reports import Material

TRIALS = 8  # of each number, the fewest for cross-validated tuning
WINDOW_MS = 500.0  # end of the delay in which tuning is measured


def check(batch: TrialBatch) -> None:
    """Raise an InputError if there are too few held-out trials to report on."""
    _, counts = np.unique(batch.conditions["number"], return_counts=True)
    if counts.min() < TRIALS:
        raise InputError(
            f"heldout={len(batch)}: has {counts.min()} trials of one of the numbers, and the tuning of units needs "
            f"{TRIALS}; give more"
        )


def report(material: Material) -> dict[str, Any]:
    """Test a trained model on held-out displays; write the figures; return the summary's part."""
    batch, task, rng, folder = material.heldout, material.task, material.rng, material.folder.path
    seen = common.behaviour(material)
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
    }
    end = float(batch.periods["delay"][:, 1].min())
    rates = seen.rates[:, seen.window(end - WINDOW_MS, end)].mean(1)
    # what was shown is known from its pixels: equal pictures stay in one half
    middles = batch.periods["sample"].mean(1)
    picture = np.array([crc32(movie.rgb([time]).tobytes()) for movie, time in zip(batch.movies, middles, strict=True)])
    curves = analysis.tuning.cross_validated_curves(rates, number, rng=rng, picture=picture)
    tests = analysis.tuning.selectivity(rates, number, rng=rng)
    plain = analysis.tuning.tuning_curves(rates, number)
    preferred = plain.values[plain.preferred[tests.selective]]
    result["tuning"] = {
        "window_ms": [end - WINDOW_MS, end],
        **tests.as_dict(),
        "units_by_preferred_number": {f"{n:g}": int((preferred == n).sum()) for n in np.unique(number)},
        "by_preferred_number": {
            f"{n:g}": analysis.tuning.align(curves, preferred=float(n), fold=True).as_dict() for n in np.unique(number)
        },
        "r_squared": _axes(rates[:, tests.selective], number),
    }
    save = analysis.figures.save
    figures = analysis.behaviour_figures
    rows = result["by_distance_and_group"]
    save(
        figures.performance(
            rows, "distance", lines="displays", chance=seen.chance, x_label="distance in number", line_label="displays"
        ),
        folder / "performance.png",
    )
    save(figures.performance(result["by_control"], "control", lines="displays", chance=seen.chance), folder / "controls.png")
    save(tuning_figures.aligned_tuning(curves, condition="number", fold=True), folder / "tuning.png")
    common.learning_figure(material, seen.chance)
    units = analysis.tuning.example_units(plain, tests, number=6)
    if len(units):
        last = seen.window(0.0, end)
        periods = common.periods_of(batch, 0, ("sample", "delay"))
        figure = tuning_figures.peristimulus(
            seen.rates[:, last], number, seen.times[last], units, name="number", periods=periods
        )
        save(figure, folder / "units.png")
    kinds = np.unique(control)
    trials = [int(np.flatnonzero(control == kind)[index % 5]) for index, kind in enumerate(kinds)]
    labels = [f"{control[t]}, {number[t]:g} then {test[t]:g}".replace("_", " ") for t in trials]
    common.period_sheet(batch, trials, labels, folder / "movies.png")
    return result


def _axes(rates: Any, number: Any) -> dict[str, float] | None:
    """Median share of variance that Gaussians explain on a linear and on a logarithmic axis of number."""
    if not rates.shape[1] or len(np.unique(number)) < 5:
        return None
    return {
        name: float(np.median(analysis.tuning.fit_gaussian(rates, number, logarithmic=logarithmic).r_squared))
        for name, logarithmic in (("linear", False), ("logarithmic", True))
    }


def table(summary: dict[str, Any], folder: Path) -> str:
    """The table printed at a run's end."""
    lines = common.rows_of(summary["by_distance_and_group"], ["distance", "displays"])
    lines += common.rows_of(summary["by_control"], ["control", "displays"])
    tuned = summary["tuning"]
    counts = ", ".join(f"{units} prefer {number}" for number, units in tuned["units_by_preferred_number"].items())
    lines.append(f"units tuned to number {tuned['share']:.0%}: {counts}")
    return "\n".join([*lines, *common.closing(summary, folder)])
