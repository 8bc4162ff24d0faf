from .bootstrap import bootstrap_mean
from .permutation import benjamini_hochberg
from .proportions import (
    accuracy_by_condition,
    chance_p_value,
    difference_of_proportions,
    spearman,
    wilson_interval,
)

__all__ = [
    "accuracy_by_condition",
    "benjamini_hochberg",
    "bootstrap_mean",
    "chance_p_value",
    "difference_of_proportions",
    "spearman",
    "wilson_interval",
]
