"""Report on categories: performance by line, the boundary along the morph axis, and category effects in the units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordstasks import analysis
from cordstasks.reports import common
from cordstasks.reports.material import Material
from cordstasks.training.evaluation import Behaviour

SIGHT_MS = 100.0  # after the sample's onset; later features of the front-end depend on the sample


def report(material: Material) -> dict[str, Any]:
    """Test a trained model on held-out pictures; write the figures; return the summary's part."""
    batch, task, folder = material.heldout, material.task, material.folder.path
    seen, omitted = common.behaviour(material), common.Omissions()
    fraction, line = (batch.conditions[name] for name in ("fraction", "line"))
    trained = np.isin(line, task.for_training().lines or np.unique(line))  # type: ignore[attr-defined]
    group = np.where(trained, "trained", "held out")
    known = {name: task.between(name) for name in np.unique(line)}  # type: ignore[attr-defined]
    between = np.array([known[name] for name in line])
    table = analysis.behaviour.performance_table
    result: dict[str, Any] = {
        "heldout": common.heldout(material, seen, {"lines": group}),
        "by_line": table({"lines": group, "line": line}, seen.correct),
        "by_fraction": table({"fraction": fraction}, seen.correct),
        **_boundary(material, seen, between, omitted),
        **_units(material, seen, between, omitted),
    }
    figure = analysis.figures.performance(result["by_line"], "line", lines="lines", chance=seen.chance)
    analysis.figures.save(figure, folder / "performance.png")
    common.learning_figure(material, seen.chance)
    order = np.argsort(fraction, kind="stable")
    trials = [int(t) for t in order[np.unique(np.linspace(0, len(order) - 1, 6).astype(int))]]
    common.period_sheet(batch, trials, [f"{line[t]}, {100 * fraction[t]:g} % dog" for t in trials], folder / "movies.png")
    return {**result, "left_out": omitted.reasons}


def _boundary(material: Material, seen: Behaviour, between: NDArray[np.bool_], omitted: common.Omissions) -> dict[str, Any]:
    """Choices along the lines that lead from one category to the other, with the fitted boundary; write their figure."""
    if not between.any():
        omitted.note("category boundary", "no sample was on a line from one category to the other")
        return {"called_dog_by_fraction": [], "boundary": None}
    batch, cut = material.heldout, material.task.boundary  # type: ignore[attr-defined]
    fraction, line, test_fraction = (batch.conditions[name][between] for name in ("fraction", "line", "test_fraction"))
    # a match means that the sample was in the test's category
    dog = (test_fraction > cut) == (seen.chosen[between] == 1)
    table = analysis.behaviour.performance_table
    rows = table({"morph": fraction}, dog)
    fit = analysis.behaviour.fit_boundary(fraction, dog, rng=material.rng)
    if fit.as_dict()["boundary"] is None:
        why = "one blend was shown" if len(rows) < 2 else "the fit failed"
        omitted.note("category boundary", "all samples were judged alike" if dog.all() or not dog.any() else why)
    if len(rows) > 1:
        single = table({"line": line, "morph": fraction}, dog)
        figure = analysis.figures.boundary(rows, fit, lines=single)
        analysis.figures.save(figure, material.folder.path / "boundary.png")
    return {"called_dog_by_fraction": rows, "boundary": fit.as_dict()}


def _units(material: Material, seen: Behaviour, between: NDArray[np.bool_], omitted: common.Omissions) -> dict[str, Any]:
    """Category selectivity of the units at the end of the delay; write the figure."""
    batch, rng = material.heldout, material.rng
    trials, steps = common.delays(material, seen, omitted, "category effects in the units")
    if not len(trials):
        return {"tuning": None, "category_effect": None}
    rates = analysis.tuning.window_mean(seen.rates[trials], steps)
    fraction = batch.conditions["fraction"][trials]
    category = (fraction > material.task.boundary).astype(int)  # type: ignore[attr-defined]
    result: dict[str, Any] = {"tuning": None}
    tests = omitted.attempt("category-selective units", lambda: analysis.tuning.selectivity(rates, category, rng=rng))
    if tests is not None:
        area = analysis.tuning.roc_area(rates, category == 1).area
        result["tuning"] = {
            "window": common.AT_THE_END,
            "trials": len(trials),
            **tests.as_dict(),
            "prefer_cats": int((area[tests.selective] < 0.5).sum()),
            "prefer_dogs": int((area[tests.selective] > 0.5).sum()),
        }
        units = analysis.tuning.example_units(analysis.tuning.tuning_curves(rates, category), tests, number=6)
        if len(units):
            shown = common.aligned(seen, batch, trials, event="sample", until="delay", names=("sample", "delay"))
            named = np.where(category == 1, "dog", "cat")
            figure = analysis.figures.peristimulus(
                shown.rates, named, shown.times, units, name="category", periods=shown.periods
            )
            analysis.figures.save(figure, material.folder.path / "units.png")
    chosen = between[trials]
    if chosen.any():
        effect = _category_effect(material, seen, trials[chosen], rates[chosen], category[chosen], omitted)
    else:
        effect = None
        omitted.note("category index", "no sample was on a line from one category to the other")
    return {**result, "category_effect": effect}


def _category_effect(
    material: Material,
    seen: Behaviour,
    trials: NDArray[np.intp],
    rates: NDArray[Any],
    category: NDArray[np.intp],
    omitted: common.Omissions,
) -> dict[str, Any] | None:
    """Category index of the recurrent units and of the front-end's features, and their difference."""
    batch, rng = material.heldout, material.rng
    line, fraction = batch.conditions["line"][trials], batch.conditions["fraction"][trials]
    sample = batch.periods["sample"]
    late = np.maximum(sample[:, 1] - sample[:, 0] - SIGHT_MS, (sample[:, 1] - sample[:, 0]) / 2)
    steps = common.end_of(seen, sample, late)[trials]
    inputs = material.trials.inputs.take(slice(None)).cpu().numpy()[trials]
    features = analysis.tuning.window_mean(inputs, steps)

    def index(responses: NDArray[Any]) -> analysis.tuning.CategoryIndex:
        return analysis.tuning.category_index(responses, category, line, fraction, rng=rng)

    both = omitted.attempt("category index", lambda: (index(rates), index(features)))
    if both is None:  # pictures of your own need not be morphs
        return None
    ours, theirs = both
    contrast = omitted.attempt(
        "category index of the units less that of the front-end",
        lambda: analysis.tuning.category_contrast(ours, theirs, rng=rng),
    )
    return {
        "rnn": ours.as_dict(),
        "frontend": theirs.as_dict(),
        "rnn_minus_frontend": None if contrast is None else contrast.as_dict(),
    }


def table(summary: dict[str, Any], folder: Path) -> str:
    """The table printed at a run's end."""
    lines = common.rows_of(summary["heldout"]["by_condition"], ["lines"])
    lines += common.rows_of(summary["by_fraction"], ["fraction"])
    fit, tuned, effect = summary["boundary"], summary["tuning"], summary["category_effect"]
    lines.append("(lines: whether the sample's morph line was trained on; fraction of dog in the sample)")
    if fit is not None and fit["boundary"] is not None:
        lines.append(f"category boundary at {fit['boundary']:.2f} of dog, slope {fit['slope']:.1f} log odds per unit")
    if tuned is not None:
        prefer = f"{tuned['prefer_cats']} prefer cats, {tuned['prefer_dogs']} dogs"
        lines.append(f"category-selective units {tuned['fraction']:.0%}: {prefer}")
    if effect is not None:
        lines.append(
            f"category index {_index(effect['rnn'])} (p = {effect['rnn']['p_value']:.3f}), "
            f"front-end {_index(effect['frontend'])}"
        )
    return "\n".join([*lines, *common.closing(summary, folder)])


def _index(effect: dict[str, Any]) -> str:
    return "none" if effect["mean_index"] is None else f"{effect['mean_index']:.3f}"
