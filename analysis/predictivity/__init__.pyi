from .ceiling import Ceiling, split_half_ceiling
from .null import TimeNull, shuffled_time
from .reduction import reduced
from .regression import Regression, pls_predictions, ridge_predictions
from .scores import median_interval, unit_correlations
from .splits import Split, stimulus_splits
from .temporal import TemporalPredictivity, temporal_predictivity, time_map

__all__ = [
    "Ceiling",
    "Regression",
    "Split",
    "TemporalPredictivity",
    "TimeNull",
    "median_interval",
    "pls_predictions",
    "reduced",
    "ridge_predictions",
    "shuffled_time",
    "split_half_ceiling",
    "stimulus_splits",
    "temporal_predictivity",
    "time_map",
    "unit_correlations",
]
