"""Report on memory saccades: accuracy and error by place and delay, where the memory is, and tuning to place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cordstasks import analysis
from cordstasks.analysis import tuning_figures
from cordstasks.behaving import Behaviour
from cordstasks.errors import InputError
from cordstasks.reports import common
from cordstasks.tasks.visual import TrialBatch

if TYPE_CHECKING:
    from cordstasks.reports import Material

TRIALS = 4  # at each place, the fewest that cross-validated tuning takes
WINDOW_MS = 500.0  # end of the delay in which memory is looked for
NOISE = 0.1  # added to whitened features, and to rates in units of their deviation, for a decoder to read through


def check(batch: TrialBatch) -> None:
    """Raise an InputError if there are too few held-out trials to report on."""
    _, counts = np.unique(batch.conditions["place"], return_counts=True)
    if counts.min() < TRIALS:
        raise InputError(
            f"heldout={len(batch)}: has {counts.min()} trials of one of the places, and the units' tuning needs {TRIALS}; "
            "give more"
        )


def report(material: Material) -> dict[str, Any]:
    """Test a trained model on held-out trials; write the figures; return the summary's part."""
    batch, rng, folder = material.heldout, material.rng, material.folder.path
    seen = common.behaviour(material)
    place, delay = batch.conditions["place"], batch.conditions["delay"]
    places = np.array(material.task.places)  # type: ignore[attr-defined]
    weight = batch.answering[..., None] / batch.answering.sum(1)[:, None, None]
    logits = (seen.logits * weight).sum(1)[:, 1:]
    angle = analysis.population_angle(logits, places, softmax=True)
    read = np.isfinite(angle)
    trained = max(material.task.training_delays)  # type: ignore[attr-defined]
    behaviour, figures = analysis.behaviour, analysis.behaviour_figures
    by_delay = behaviour.angular_error_table({"delay": delay[read]}, angle[read], place[read], rng=rng)
    result: dict[str, Any] = {
        "heldout": common.heldout(material, seen, {"delay": delay, "place": place}),
        "by_delay": behaviour.performance_table({"delay": delay}, seen.correct),
        "angular_error": {
            "trials_without_angle": int((~read).sum()),
            **behaviour.angular_error(angle[read], place[read], rng=rng).as_dict(),
            "by_delay": by_delay,
        },
        "longest_trained_delay_ms": trained,
    }
    at_end, before = _delay_activity(material, seen)
    result["decoded_at_end_of_delay"] = {
        "window_ms": WINDOW_MS,
        "noise": NOISE,
        "rnn": analysis.decode(_standardised(at_end), place, rng=rng, noise=NOISE).as_dict(),
        "frontend": analysis.decode(before, place, rng=rng, noise=NOISE).as_dict(),
    }
    curves = analysis.tuning.cross_validated_curves(at_end, place, rng=rng)
    tests = analysis.tuning.selectivity(at_end, place, rng=rng)
    fits = analysis.tuning.fit_von_mises(at_end, place)
    plain = analysis.tuning.tuning_curves(at_end, place)
    preferred = plain.values[plain.preferred[tests.selective]]
    widths = fits.half_width[tests.selective & ~fits.at_bound]
    result["tuning"] = {
        "window_ms": WINDOW_MS,
        **tests.as_dict(),
        "units_by_preferred_place": {f"{p:g}": int((preferred == p).sum()) for p in places},
        "median_half_width_deg": float(np.median(widths)) if len(widths) else None,
        "median_r_squared": float(np.median(fits.r_squared[tests.selective])) if tests.selective.any() else None,
        "aligned": analysis.tuning.align(curves, period=360).as_dict(),
    }
    save = analysis.figures.save
    rows = behaviour.performance_table({"place": place, "delay": delay}, seen.correct)
    save(figures.place_by_delay(rows, by_delay, chance=seen.chance, trained=trained), folder / "performance.png")
    save(
        figures.confusion(behaviour.confusions(place, places[seen.chosen - 1]), condition="place", unit="\u00b0"),
        folder / "confusion.png",
    )
    save(tuning_figures.aligned_tuning(curves, condition="place (deg)", period=360, unit="\u00b0"), folder / "tuning.png")
    common.learning_figure(material, seen.chance)
    _examples(material, seen, plain, tests, folder)
    trials = [int(np.flatnonzero(place == p)[0]) for p in places[:: max(1, len(places) // 4)]]
    common.period_sheet(batch, trials, [f"{place[t]:g}\u00b0, {delay[t]:g} ms" for t in trials], folder / "movies.png")
    return result


def _delay_activity(material: Material, seen: Behaviour) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean over the end of the delay of the rates (trial, unit), and of the front-end's normalised features."""
    ends = material.heldout.periods["delay"][:, 1]
    inputs = material.trials.inputs.take(slice(None)).cpu().numpy()
    windows = [seen.window(end - WINDOW_MS, end) for end in ends]
    rates = np.stack([seen.rates[trial, window].mean(0) for trial, window in enumerate(windows)])
    return rates, np.stack([inputs[trial, window].mean(0) for trial, window in enumerate(windows)])


def _standardised(rates: NDArray[Any]) -> NDArray[Any]:
    deviation = rates.std(0)
    return np.asarray((rates - rates.mean(0)) / np.where(deviation > 0, deviation, 1))


def _examples(material: Material, seen: Behaviour, plain: Any, tests: Any, folder: Path) -> None:
    """The most selective units over time, in the trials of the shortest delay."""
    batch = material.heldout
    units = analysis.tuning.example_units(plain, tests, number=6)
    if not len(units):
        return
    shortest = batch.conditions["delay"] == batch.conditions["delay"].min()
    periods = common.periods_of(batch, int(np.flatnonzero(shortest)[0]), batch.periods)
    last = seen.window(0.0, max(end for _, end in periods.values()))
    figure = tuning_figures.peristimulus(
        seen.rates[shortest][:, last],
        batch.conditions["place"][shortest],
        seen.times[last],
        units,
        name="place",
        periods=periods,
        circular=True,
        unit="\u00b0",
    )
    analysis.figures.save(figure, folder / "units.png")


def table(summary: dict[str, Any], folder: Path) -> str:
    """The table printed at a run's end."""
    lines = common.rows_of(summary["by_delay"], ["delay"])
    error, decoded, tuned = summary["angular_error"], summary["decoded_at_end_of_delay"], summary["tuning"]
    lines.append(f"(delay in ms; trained on up to {summary['longest_trained_delay_ms']:g})")
    lines.append(
        "median error of the place read out: "
        + ", ".join(f"{row['median_absolute_error']:.1f} deg at {row['delay']:g} ms" for row in error["by_delay"])
    )
    for name, what in (("rnn", "recurrent network"), ("frontend", "front-end")):
        row = decoded[name]
        lines.append(
            f"place decoded from the {what} at the end of the delay: {row['accuracy']:.0%} "
            f"(chance {row['chance']:.0%}, p = {row['p_value']:.3f})"
        )
    count = sum(1 for units in tuned["units_by_preferred_place"].values() if units)
    lines.append(f"tuned units {tuned['share']:.0%}, which prefer {count} places")
    return "\n".join([*lines, *common.closing(summary, folder)])
