"""Appendices B.2 and B.4: random networks over the gain, and fixed points of trained memories, from runs of figure 1."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from cordstasks import analysis
from cordstasks.paper.dynamics import MEMORIES
from cordstasks.paper.findings import AGREES, CANNOT_TELL, DISAGREES, Drawing, Finding, Outcome, judge
from cordstasks.paper.parts import Workplace
from cordstasks.paper.reproduce import made_before
from cordstasks.utils.files import read_json, write_bytes

__all__ = ["dimensions", "stability"]

KINDS = ("convolutional", "fully connected")
RESAMPLES = 2000
OVER_GAIN = (
    "rank correlation with the gain over the networks that do not settle, bootstrap over networks; agrees if the whole 95 % "
    "interval of both kinds lies {side} 0"
)
ONE_SLOW = "agrees if all networks that learned the task have one slow mode, does not agree if none has"
ALL_STABLE = (
    "agrees if all networks that learned the task have at least two groups of states and as many stable fixed points, does "
    "not agree if none has; fixed points are searched for from 24 states at rest"
)


def dimensions(folder: Path, workplace: Workplace) -> Outcome:
    """Dimension and autocorrelation time over the gain, beside fully connected networks; the networks of figure 1B.

    Parameters
    ----------
    folder : Path
        Folder of the figure; the table is in ``1B`` beside it.
    workplace : Workplace
        How to make them.

    Returns
    -------
    Outcome
        How both change with the gain.
    """
    before = made_before("1B", folder.parent, workplace)
    rows = _rows(folder.parent / "1B" / "regimes.csv")
    findings = [
        _over_gain(rows, "dimension", "the dimension of activity grows", "above"),
        _over_gain(rows, "autocorrelation_ms", "the autocorrelation time of activity falls", "below"),
    ]
    write_bytes(folder / "regimes.png", (folder.parent / "1B" / "regimes.png").read_bytes())
    means = "; ".join(f"{kind}: {_means(rows, kind)}" for kind in KINDS)
    drawing = Drawing("regimes.png", "Dimension and autocorrelation time over the gain (lower middle and right)", means)
    return Outcome(findings, [drawing], before["commands"], before["seeds"], [means])


def _rows(path: Path) -> list[dict[str, Any]]:
    """A table of numbers and names; an empty cell is None."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [{name: _value(cell) for name, cell in row.items()} for row in csv.DictReader(stream)]


def _value(cell: str) -> Any:
    try:
        return json.loads(cell)
    except ValueError:
        return cell or None


def _over_gain(rows: list[dict[str, Any]], name: str, what: str, side: str) -> Finding:
    """How a measure changes with the gain, in both kinds of networks."""
    verdicts, texts = [], []
    for kind in KINDS:
        own = [(row["gain"], row[name]) for row in rows if row["kind"] == kind and row[name] is not None]
        found = _rank_correlation(own)
        if found is None:
            verdicts.append(CANNOT_TELL)
            texts.append(f"{kind}: too few gains at which networks do not settle")
            continue
        value, ends = found
        verdicts.append(judge(ends, **{side: 0.0}))
        texts.append(f"{kind}: {value:+.2f} ({ends[0]:+.2f} to {ends[1]:+.2f}, {len(own)} networks)")
    verdict = verdicts[0] if len(set(verdicts)) == 1 else CANNOT_TELL
    claim = f"As in fully connected networks, {what} with the gain of random convolutional networks."
    return Finding(claim, "; ".join(texts), verdict, OVER_GAIN.format(side=side))


def _rank_correlation(pairs: list[tuple[float, float]]) -> tuple[float, tuple[float, float]] | None:
    """Spearman's correlation of pairs with its bootstrap interval; None if there are fewer than three gains."""
    if len({gain for gain, _ in pairs}) < 3:
        return None
    table = np.array(pairs, dtype=np.float64)
    observed = analysis.spearman(table[:, 0], table[:, 1])
    if observed is None:
        return None
    drawn = table[np.random.default_rng(0).integers(len(table), size=(RESAMPLES, len(table)))]
    ranks = rankdata(drawn, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    products, sizes = ranks.prod(axis=2).sum(axis=1), np.sqrt((ranks**2).sum(axis=1).prod(axis=1))
    low, high = np.quantile(products[sizes > 0] / sizes[sizes > 0], [0.025, 0.975])
    return observed, (float(low), float(high))


def _means(rows: list[dict[str, Any]], kind: str) -> str:
    """Means at each gain in words."""
    texts = []
    for gain in sorted({row["gain"] for row in rows}):
        own = [row for row in rows if row["kind"] == kind and row["gain"] == gain and row["dimension"] is not None]
        if not own:
            texts.append(f"gain {gain:g} settled")
            continue
        times = [row["autocorrelation_ms"] for row in own if row["autocorrelation_ms"] is not None]
        time = f", {np.mean(times):.0f} ms" if times else ""
        texts.append(f"gain {gain:g} {np.mean([row['dimension'] for row in own]):.1f} dimensions{time}")
    return ", ".join(texts)


def stability(folder: Path, workplace: Workplace) -> Outcome:
    """Slow modes and fixed points of trained memories; the networks of figure 1D.

    Parameters
    ----------
    folder : Path
        Folder of the figures; runs and tables are in ``1D`` beside it.
    workplace : Workplace
        How to make them.

    Returns
    -------
    Outcome
        For each task, how many of its networks have the slow modes and fixed points of their kind of attractor.
    """
    before = made_before("1D", folder.parent, workplace)
    findings, drawings = [], []
    for task, kind in MEMORIES.items():
        run = folder.parent / "1D" / task
        learned = [bool(row["learned"]) for row in read_json(run / "summary.json")["networks"]]
        rows = [row for row in _rows(run / "dynamics" / "attractors.csv") if learned[row["network"]]]
        discrete = kind == "discrete"
        finding = _fixed_points(task, rows, _each_group_stable if discrete else _one_slow, discrete=discrete)
        findings.append(finding)
        write_bytes(folder / f"{task}.png", (run / "dynamics" / "attractor-0.png").read_bytes())
        drawings.append(Drawing(f"{task}.png", f"States, fixed points and modes of {task} (seed 0)", finding.measured))
    return Outcome(findings, drawings, before["commands"], before["seeds"])


def _fixed_points(
    task: str, rows: list[dict[str, Any]], expected: Callable[[dict[str, Any]], bool], *, discrete: bool
) -> Finding:
    """How many networks are as expected, and what all of them have."""
    what = "a stable fixed point for each item" if discrete else "one slow mode, along the attractor"
    right = sum(map(expected, rows))
    verdict = CANNOT_TELL if not rows or 0 < right < len(rows) else AGREES if right else DISAGREES
    listed = "; ".join(
        f"{row['slow_modes']} slow, {row['fixed_points']} fixed points of which {row['stable']} stable, slowest "
        f"{row['slowest_ms']:.0f} ms" + ("" if row["second_ms"] is None else f" and {row['second_ms']:.0f} ms")
        for row in rows
    )
    measured = f"{right} of {len(rows)} networks that learned it ({listed or 'none'})"
    return Finding(f"The memory of {task} has {what}.", measured, verdict, ALL_STABLE if discrete else ONE_SLOW)


def _one_slow(row: dict[str, Any]) -> bool:
    return bool(row["slow_modes"] == 1)


def _each_group_stable(row: dict[str, Any]) -> bool:
    return bool(row["groups"] >= 2 and (row["stable"] or 0) >= row["groups"])
