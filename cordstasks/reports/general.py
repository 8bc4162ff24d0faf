"""Report on a task that has no report of its own: accuracy by every condition, confusions, selectivity for the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cordstasks import analysis
from cordstasks.reports import common, reaction_times
from cordstasks.reports.material import Material


def report(material: Material) -> dict[str, Any]:
    """Test a trained model on held-out trials; write the figures; return the summary's part."""
    batch, task, folder = material.heldout, material.task, material.folder.path
    seen, omitted = common.behaviour(material), common.Omissions()
    names = np.array(task.actions)
    rates = analysis.tuning.window_mean(seen.rates, batch.response_mask)
    tests = omitted.attempt(
        "units that tell answers apart",
        lambda: analysis.tuning.selectivity(rates, names[batch.answers], rng=material.rng),
    )
    result: dict[str, Any] = {
        "heldout": common.heldout(material, seen, {"answer": names[batch.answers]}),
        "by_single_condition": common.tables(batch, seen.correct),
        "tuning": None if tests is None else tests.as_dict(),
        **reaction_times.report(material, seen, omitted, strength=None),
        "left_out": omitted.reasons,
    }
    matrix = analysis.behaviour.confusions(names[batch.answers], names[seen.chosen])
    analysis.figures.save(analysis.figures.confusion(matrix, condition="answer"), folder / "confusion.png")
    common.learning_figure(material, seen.chance)
    trials = [int(np.flatnonzero(batch.answers == answer)[0]) for answer in np.unique(batch.answers)[:6]]
    common.period_sheet(batch, trials, [str(names[batch.answers[trial]]) for trial in trials], folder / "movies.png")
    return result


def table(summary: dict[str, Any], folder: Path) -> str:
    """The table printed at a run's end, also of a summary that holds no more than every one."""
    rows = summary["heldout"]["by_condition"]
    lines = common.rows_of(rows, [name for name in rows[0] if name not in common.COLUMNS]) if rows else []
    for name, single in summary.get("by_single_condition", {}).items():
        lines += common.rows_of(single, [name])
    if summary.get("tuning") is not None:
        lines.append(f"units that tell answers apart {summary['tuning']['fraction']:.0%}")
    return "\n".join([*lines, *reaction_times.lines(summary), *common.closing(summary, folder)])
