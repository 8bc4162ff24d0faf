"""Report on memory saccades: accuracy and error by location and delay, where the memory is, and tuning to location."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordstasks import analysis
from cordstasks.reports import common
from cordstasks.reports.material import Material
from cordstasks.training.evaluation import Behaviour

NOISE = 0.1  # added to whitened features, and to rates in units of their deviation, for a decoder to read through
FOLDS = 5  # of cross-validation, or as many as there are trials of each location


def report(material: Material) -> dict[str, Any]:
    """Test a trained model on held-out trials; write the figures; return the summary's part."""
    batch, folder = material.heldout, material.folder.path
    seen, omitted = common.behaviour(material), common.Omissions()
    location, delay = batch.conditions["location"], batch.conditions["delay"]
    locations = np.array(material.task.locations)  # type: ignore[attr-defined]
    trained = max(material.task.training_delays)  # type: ignore[attr-defined]
    behaviour, figures = analysis.behaviour, analysis.figures
    error = _error(material, seen, omitted)
    result: dict[str, Any] = {
        "heldout": common.heldout(material, seen, {"delay": delay, "location": location}),
        "by_delay": behaviour.performance_table({"delay": delay}, seen.correct),
        "angular_error": error,
        "longest_trained_delay_ms": trained,
        "decoded_at_end_of_delay": {
            "window": common.AT_THE_END,
            "noise": NOISE,
            "rnn": _decoded(material, seen, "recurrent network", omitted),
            "frontend": _decoded(material, seen, "front-end", omitted),
        },
        "tuning": _tuning(material, seen, omitted),
    }
    save = analysis.figures.save
    rows = behaviour.performance_table({"location": location, "delay": delay}, seen.correct)
    if error["by_delay"]:
        figure = figures.location_by_delay(rows, error["by_delay"], chance=seen.chance, trained=trained)
        save(figure, folder / "performance.png")
    save(
        figures.confusion(behaviour.confusions(location, locations[seen.chosen - 1]), condition="location", unit="\u00b0"),
        folder / "confusion.png",
    )
    common.learning_figure(material, seen.chance)
    shown = np.unique(location)
    trials = [int(np.flatnonzero(location == p)[0]) for p in shown[:: max(1, len(shown) // 4)]]
    common.period_sheet(batch, trials, [f"{location[t]:g}\u00b0, {delay[t]:g} ms" for t in trials], folder / "movies.png")
    return {**result, "left_out": omitted.reasons}


def _error(material: Material, seen: Behaviour, omitted: common.Omissions) -> dict[str, Any]:
    """Error of the angle that is read from the logits of all locations, in all and by delay."""
    batch, rng = material.heldout, material.rng
    location, delay = batch.conditions["location"], batch.conditions["delay"]
    locations = np.array(material.task.locations)  # type: ignore[attr-defined]
    weight = batch.response_mask[..., None] / batch.response_mask.sum(1)[:, None, None]
    logits = (seen.logits * weight).sum(1)[:, 1:]
    angle = analysis.population_angle(logits, locations, softmax=True)
    read = np.isfinite(angle)
    result: dict[str, Any] = {"trials_without_angle": int((~read).sum()), "by_delay": []}
    if not read.any():
        omitted.note("error of the location read out", "the choices of no trial point to any location")
        return result
    behaviour = analysis.behaviour
    result |= behaviour.angular_error(angle[read], location[read], rng=rng).as_dict()
    rows = behaviour.angular_error_table({"delay": delay[read]}, angle[read], location[read], rng=rng)
    single = [f"{row['delay']:g}" for row in rows if row["interval"] is None]
    if single:
        omitted.note(f"interval of the error at a delay of {', '.join(single)} ms", "one trial says nothing of its spread")
    return {**result, "by_delay": rows}


def _decoded(material: Material, seen: Behaviour, source: str, omitted: common.Omissions) -> dict[str, Any] | None:
    """How well the location is decoded from the end of the delay of the units' rates, or of the front-end's features."""
    what, of_units = f"location decoded from the {source}", source == "recurrent network"
    trials, steps = common.delays(material, seen, omitted, what, whole=not of_units)
    if not len(trials):
        return None
    if of_units:
        activity = _standardised(analysis.tuning.window_mean(seen.rates[trials], steps))
    else:
        features = material.trials.inputs.take(slice(None)).cpu().numpy()
        activity = analysis.tuning.window_mean(features[trials], steps)
    location = material.heldout.conditions["location"][trials]
    fewest = int(np.unique(location, return_counts=True)[1].min())
    folds = min(FOLDS, fewest)
    if fewest < 3:
        omitted.note(what, f"cross-validation needs three trials of each location, and the fewest of one are {fewest}")
        return None
    found = omitted.attempt(what, lambda: analysis.decode(activity, location, rng=material.rng, noise=NOISE, folds=folds))
    return None if found is None else {"folds": folds, **found.as_dict()}


def _standardised(rates: NDArray[Any]) -> NDArray[Any]:
    deviation = rates.std(0)
    return np.asarray((rates - rates.mean(0)) / np.where(deviation > 0, deviation, 1))


def _tuning(material: Material, seen: Behaviour, omitted: common.Omissions) -> dict[str, Any] | None:
    """Tuning of the units to location at the end of the delay; write its figures."""
    batch, rng, folder = material.heldout, material.rng, material.folder.path
    trials, steps = common.delays(material, seen, omitted, "tuning of the units to location")
    if not len(trials):
        return None
    location = np.mod(
        batch.conditions["location"][trials], 360
    )  # tuning is periodic, whatever turn a task's locations are in
    rates = analysis.tuning.window_mean(seen.rates[trials], steps)
    tests = omitted.attempt("tuning of the units to location", lambda: analysis.tuning.selectivity(rates, location, rng=rng))
    if tests is None:
        return None
    plain = analysis.tuning.tuning_curves(rates, location)
    preferred = plain.values[plain.preferred[tests.selective]]
    locations = material.task.locations  # type: ignore[attr-defined]
    result = {
        "window": common.AT_THE_END,
        "trials": len(trials),
        **tests.as_dict(),
        "units_by_preferred_location": {f"{p:g}": int((preferred == np.mod(p, 360)).sum()) for p in locations},
        **_widths(rates, location, tests.selective, omitted),
    }
    curves = omitted.attempt(
        "cross-validated tuning curves", lambda: analysis.tuning.cross_validated_curves(rates, location, rng=rng)
    )
    if curves is not None:
        result["aligned"] = analysis.tuning.align(curves, period=360).as_dict()
        figure = analysis.figures.aligned_tuning(curves, condition="location (deg)", period=360, unit="\u00b0")
        analysis.figures.save(figure, folder / "tuning.png")
    _examples(material, seen, trials, analysis.tuning.example_units(plain, tests, number=6))
    return result


def _widths(
    rates: NDArray[Any], location: NDArray[Any], selective: NDArray[np.bool_], omitted: common.Omissions
) -> dict[str, float | None]:
    """Median half-width of tuning to location, and how well von Mises curves describe it, of the tuned units."""
    what = "width of tuning to location"
    fits = omitted.attempt(what, lambda: analysis.tuning.fit_von_mises(rates, location))
    if fits is None:
        return {"median_half_width_deg": None, "median_r_squared": None}
    widths = fits.half_width[selective & ~fits.at_bound]
    if not len(widths):
        omitted.note(what, "no tuned unit's curve tells it" if selective.any() else "no unit is tuned")
    return {
        "median_half_width_deg": float(np.median(widths)) if len(widths) else None,
        "median_r_squared": float(np.median(fits.r_squared[selective])) if selective.any() else None,
    }


def _examples(material: Material, seen: Behaviour, trials: NDArray[np.intp], units: NDArray[np.intp]) -> None:
    """The most selective units over time, in the trials of the shortest delay."""
    batch = material.heldout
    delay = batch.conditions["delay"][trials]
    shortest = trials[delay == delay.min()]
    location = batch.conditions["location"][shortest]
    if not len(units) or len(np.unique(location)) < 2:
        return
    names = ("cue", "delay", "response")
    shown = common.aligned(seen, batch, shortest, event="cue", until="response", names=names)
    figure = analysis.figures.peristimulus(
        shown.rates, location, shown.times, units, name="location", periods=shown.periods, circular=True, unit="\u00b0"
    )
    analysis.figures.save(figure, material.folder.path / "units.png")


def table(summary: dict[str, Any], folder: Path) -> str:
    """The table printed at a run's end."""
    lines = common.rows_of(summary["by_delay"], ["delay"])
    error, decoded, tuned = summary["angular_error"], summary["decoded_at_end_of_delay"], summary["tuning"]
    lines.append(f"(delay in ms; trained on up to {summary['longest_trained_delay_ms']:g})")
    if error["by_delay"]:
        medians = (f"{row['median_absolute_error']:.1f} deg at {row['delay']:g} ms" for row in error["by_delay"])
        lines.append("median error of the location read out: " + ", ".join(medians))
    for name, what in (("rnn", "recurrent network"), ("frontend", "front-end")):
        row = decoded[name]
        if row is not None:
            lines.append(
                f"location decoded from the {what} at the end of the delay: {row['accuracy']:.0%} "
                f"(chance {row['chance']:.0%}, p = {row['p_value']:.3f})"
            )
    if tuned is not None:
        count = sum(1 for units in tuned["units_by_preferred_location"].values() if units)
        lines.append(f"tuned units {tuned['fraction']:.0%}, which prefer {count} locations")
    return "\n".join([*lines, *common.closing(summary, folder)])
