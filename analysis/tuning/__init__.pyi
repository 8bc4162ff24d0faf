from .aligned import AlignedCurves, align
from .category import CategoryContrast, CategoryIndex, category_contrast, category_index
from .curves import CrossValidatedCurves, TuningCurves, cross_validated_curves, tuning_curves
from .direction import DirectionTuning, direction_tuning
from .mixed import Effect, MixedSelectivity, mixed_selectivity
from .roc import RocArea, roc_area
from .selectivity import Selectivity, SelectivityOverTime, example_units, selectivity, selectivity_over_time
from .width import GaussianFits, VonMisesFits, fit_gaussian, fit_von_mises
from .windows import window_mean

__all__ = [
    "AlignedCurves",
    "CategoryContrast",
    "CategoryIndex",
    "CrossValidatedCurves",
    "DirectionTuning",
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
    "direction_tuning",
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
