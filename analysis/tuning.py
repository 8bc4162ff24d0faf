"""Tuning of any recorded units to any conditions.

Activity is ``(trial, time, unit)``; `window_mean` makes of it the responses ``(trial, unit)`` that most functions take.
A condition is a column of a table of conditions, such as ``batch.conditions["number"]``: numbers or names, one a trial.
"""

from __future__ import annotations

from cordstasks.analysis._responses import window_mean
from cordstasks.analysis._tuning_aligned import AlignedCurves, align
from cordstasks.analysis._tuning_category import CategoryContrast, CategoryIndex, category_contrast, category_index
from cordstasks.analysis._tuning_curves import CrossValidatedCurves, TuningCurves, cross_validated_curves, tuning_curves
from cordstasks.analysis._tuning_mixed import Effect, MixedSelectivity, mixed_selectivity
from cordstasks.analysis._tuning_roc import RocArea, roc_area
from cordstasks.analysis._tuning_selectivity import (
    Selectivity,
    SelectivityOverTime,
    example_units,
    selectivity,
    selectivity_over_time,
)
from cordstasks.analysis._tuning_width import GaussianFits, VonMisesFits, fit_gaussian, fit_von_mises

__all__ = [
    "AlignedCurves",
    "CategoryContrast",
    "CategoryIndex",
    "CrossValidatedCurves",
    "Effect",
    "GaussianFits",
    "MixedSelectivity",
    "RocArea",
    "Selectivity",
    "SelectivityOverTime",
    "TuningCurves",
    "VonMisesFits",
    "align",
    "category_contrast",
    "category_index",
    "cross_validated_curves",
    "example_units",
    "fit_gaussian",
    "fit_von_mises",
    "mixed_selectivity",
    "roc_area",
    "selectivity",
    "selectivity_over_time",
    "tuning_curves",
    "window_mean",
]
