"""Report on categories: performance by line, the boundary along the morph axis, and category effects in the units."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cordstasks import analysis
from cordstasks.analysis import tuning_figures
from cordstasks.errors import InputError
from cordstasks.reports import common
from cordstasks.tasks.visual import TrialBatch

if TYPE_CHECKING:
    from cordstasks.reports import Material

TRIALS = 8  # of each category
WINDOW_MS = 500.0  # end of the delay
BETWEEN = 0.25  # a line whose blends reach so near to both ends of the axis from cat to dog goes between the categories


def check(batch: TrialBatch) -> None:
    """Raise an InputError if there are too few held-out trials to report on."""
    dogs = int((batch.conditions["share"] > 0.5).sum())
    if min(dogs, len(batch) - dogs) < TRIALS:
        raise InputError(f"heldout={len(batch)}: has fewer than {TRIALS} trials of a category; give more")


def report(material: Material) -> dict[str, Any]:
    """Test a trained model on held-out pictures; write the figures; return the summary's part."""
    batch, task, rng, folder = material.heldout, material.task, material.rng, material.folder.path
    seen = common.behaviour(material)
    cut = task.boundary  # type: ignore[attr-defined]
    share, line, test_share = (batch.conditions[name] for name in ("share", "line", "test_share"))
    trained = np.isin(line, task.for_training().lines or np.unique(line))  # type: ignore[attr-defined]
    group = np.where(trained, "trained", "held out")
    table = analysis.behaviour.performance_table
    # a match says that the sample was of the test's category
    dog = (test_share > cut) == (seen.chosen == 1)
    between = np.isin(line, [name for name in np.unique(line) if np.ptp(share[line == name]) > 1 - 2 * BETWEEN])
    rows = table({"morph": share[between]}, dog[between])
    fit = analysis.behaviour.fit_boundary(share[between], dog[between], rng=rng)
    result: dict[str, Any] = {
        "heldout": common.heldout(material, seen, {"lines": group}),
        "by_line": table({"lines": group, "line": line}, seen.correct),
        "by_share": table({"share": share}, seen.correct),
        "called_dog_by_share": rows,
        "boundary": fit.as_dict(),
    }
    end = float(batch.periods["delay"][:, 1].min())
    start = float(batch.periods["sample"][:, 0].max())
    off = float(batch.periods["sample"][:, 1].min())
    delay, sample = seen.window(end - WINDOW_MS, end), seen.window(start + 100, off)
    rates = seen.rates[:, delay].mean(1)
    category = (share > cut).astype(int)
    tests = analysis.tuning.selectivity(rates, category, rng=rng)
    area = analysis.tuning.roc_area(rates, category == 1).area
    result["tuning"] = {
        "window_ms": [end - WINDOW_MS, end],
        **tests.as_dict(),
        "prefer_cats": int((area[tests.selective] < 0.5).sum()),
        "prefer_dogs": int((area[tests.selective] > 0.5).sum()),
    }
    features = material.trials.inputs.take(slice(None)).cpu().numpy()[:, sample].mean(1)
    result["category_effect"] = _category_effect(rates, features, category, line, share, between, rng)
    save = analysis.figures.save
    figures = analysis.behaviour_figures
    if len(rows) > 1:
        single = table({"line": line[between], "morph": share[between]}, dog[between])
        save(figures.boundary(rows, fit, lines=single), folder / "boundary.png")
    save(figures.performance(result["by_line"], "line", lines="lines", chance=seen.chance), folder / "performance.png")
    common.learning_figure(material, seen.chance)
    units = analysis.tuning.example_units(analysis.tuning.tuning_curves(rates, category), tests, number=6)
    if len(units):
        last = seen.window(0.0, end)
        periods = common.periods_of(batch, 0, ("sample", "delay"))
        named = np.where(category == 1, "dog", "cat")
        figure = tuning_figures.peristimulus(
            seen.rates[:, last], named, seen.times[last], units, name="category", periods=periods
        )
        save(figure, folder / "units.png")
    order = np.argsort(share, kind="stable")
    trials = [int(t) for t in order[np.linspace(0, len(order) - 1, 6).astype(int)]]
    common.period_sheet(batch, trials, [f"{line[t]}, {100 * share[t]:g} % dog" for t in trials], folder / "movies.png")
    return result


def _category_effect(
    rates: NDArray[Any],
    features: NDArray[Any],
    category: NDArray[np.intp],
    line: NDArray[Any],
    share: NDArray[Any],
    between: NDArray[np.bool_],
    rng: np.random.Generator,
) -> dict[str, Any] | None:
    """Category index of the recurrent units and of the front-end's features, and their difference."""
    try:
        ours, theirs = (
            analysis.tuning.category_index(x[between], category[between], line[between], share[between], rng=rng)
            for x in (rates, features)
        )
        contrast = analysis.tuning.category_contrast(ours, theirs, rng=rng)
    except InputError:  # pictures of your own need not be morphs
        return None
    return {"rnn": ours.as_dict(), "frontend": theirs.as_dict(), "rnn_minus_frontend": contrast.as_dict()}


def table(summary: dict[str, Any], folder: Path) -> str:
    """The table printed at a run's end."""
    lines = common.rows_of(summary["heldout"]["by_condition"], ["lines"])
    lines += common.rows_of(summary["by_share"], ["share"])
    fit, tuned, effect = summary["boundary"], summary["tuning"], summary["category_effect"]
    lines.append("(lines: whether the sample's morph line was trained on; share of dog in the sample)")
    if fit["boundary"] is not None:
        lines.append(f"category boundary at {fit['boundary']:.2f} of dog, slope {fit['slope']:.1f} log odds per unit")
    lines.append(
        f"category-selective units {tuned['share']:.0%}: {tuned['prefer_cats']} prefer cats, {tuned['prefer_dogs']} dogs"
    )
    if effect is not None:
        lines.append(
            f"category index {_index(effect['rnn'])} (p = {effect['rnn']['p_value']:.3f}), "
            f"front-end {_index(effect['frontend'])}"
        )
    return "\n".join([*lines, *common.closing(summary, folder)])


def _index(effect: dict[str, Any]) -> str:
    return "none" if effect["mean_index"] is None else f"{effect['mean_index']:.3f}"
