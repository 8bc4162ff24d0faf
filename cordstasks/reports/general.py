"""Report on a task that has none of its own: accuracy by every condition, confusions, units that tell answers apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cordstasks import analysis
from cordstasks.errors import InputError
from cordstasks.reports import common
from cordstasks.tasks.visual import TrialBatch

if TYPE_CHECKING:
    from cordstasks.reports import Material


def check(batch: TrialBatch) -> None:
    """Raise an InputError if there are too few held-out trials to report on."""
    answers, counts = np.unique(batch.answers, return_counts=True)
    if len(answers) < 2 or counts.min() < 2:
        raise InputError(f"heldout={len(batch)}: two trials of each of two answers are needed to report on; give more")


def report(material: Material) -> dict[str, Any]:
    """Test a trained model on held-out trials; write the figures; return the summary's part."""
    batch, task, folder = material.heldout, material.task, material.folder.path
    seen = common.behaviour(material)
    names = np.array(task.actions)
    first, last = batch.answering.argmax(1), batch.answering.shape[1] - batch.answering[:, ::-1].argmax(1)
    rates = np.stack([seen.rates[trial, a:b].mean(0) for trial, (a, b) in enumerate(zip(first, last, strict=True))])
    tests = analysis.tuning.selectivity(rates, batch.answers, rng=material.rng)
    result: dict[str, Any] = {
        "heldout": common.heldout(material, seen, {"answer": names[batch.answers]}),
        "by_single_condition": common.tables(batch, seen.correct),
        "tuning": tests.as_dict(),
    }
    matrix = analysis.behaviour.confusions(names[batch.answers], names[seen.chosen])
    analysis.figures.save(analysis.behaviour_figures.confusion(matrix, condition="answer"), folder / "confusion.png")
    common.learning_figure(material, seen.chance)
    trials = [int(np.flatnonzero(batch.answers == answer)[0]) for answer in np.unique(batch.answers)[:6]]
    common.period_sheet(batch, trials, [str(names[batch.answers[trial]]) for trial in trials], folder / "movies.png")
    return result


def table(summary: dict[str, Any], folder: Path) -> str:
    """The table printed at a run's end."""
    lines = common.rows_of(summary["heldout"]["by_condition"], ["answer"])
    for name, rows in summary["by_single_condition"].items():
        lines += common.rows_of(rows, [name])
    lines.append(f"units that tell answers apart {summary['tuning']['share']:.0%}")
    return "\n".join([*lines, *common.closing(summary, folder)])
