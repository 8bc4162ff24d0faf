"""Tuning of any recorded units to any conditions.

Activity is ``(trial, time, unit)``; `window_mean` makes of it the responses ``(trial, unit)`` that most functions take.
A condition is a column of a table of conditions, such as ``batch.conditions["number"]``: numbers or names, one a trial.
"""

from __future__ import annotations

from cordstasks.analysis._responses import window_mean
from cordstasks.analysis._tuning_aligned import AlignedCurves, align
from cordstasks.analysis._tuning_curves import CrossValidatedCurves, TuningCurves, cross_validated_curves, tuning_curves
from cordstasks.analysis._tuning_selectivity import Selectivity, SelectivityOverTime, selectivity, selectivity_over_time

__all__ = [
    "AlignedCurves",
    "CrossValidatedCurves",
    "Selectivity",
    "SelectivityOverTime",
    "TuningCurves",
    "align",
    "cross_validated_curves",
    "selectivity",
    "selectivity_over_time",
    "tuning_curves",
    "window_mean",
]
