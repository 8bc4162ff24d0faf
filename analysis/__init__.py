"""Analysis: arrays in, numbers and figures out.

What this package offers is listed here and loaded when it is first used, so that importing it needs neither
matplotlib nor SciPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cordstasks.analysis import behaviour, behaviour_figures, figures, tuning, tuning_figures
    from cordstasks.analysis.architectures import architecture_table, closer_to
    from cordstasks.analysis.canonical import (
        Alignment,
        align,
        canonical_correlations,
        cross_validated_correlations,
        pairwise_correlations,
    )
    from cordstasks.analysis.comparison import Comparison, compare_activity, on_common_times
    from cordstasks.analysis.decoding import Decoding, decode
    from cordstasks.analysis.direction import DirectionTuning, benjamini_hochberg, direction_tuning
    from cordstasks.analysis.embedding import Embedding, cluster, embed
    from cordstasks.analysis.permutation import PermutationNull, permutation_null
    from cordstasks.analysis.population_vector import population_angle
    from cordstasks.analysis.proportions import accuracy_by_condition, chance_p_value, spearman, wilson_interval
    from cordstasks.analysis.psychometrics import ChoiceFit, WeibullFit, fit_choices, fit_weibull
    from cordstasks.analysis.shape import linear_cka, pairwise_distances, shape_distance

__all__ = [
    "Alignment",
    "ChoiceFit",
    "Comparison",
    "Decoding",
    "DirectionTuning",
    "Embedding",
    "PermutationNull",
    "WeibullFit",
    "accuracy_by_condition",
    "align",
    "architecture_table",
    "behaviour",
    "behaviour_figures",
    "benjamini_hochberg",
    "canonical_correlations",
    "chance_p_value",
    "closer_to",
    "cluster",
    "compare_activity",
    "cross_validated_correlations",
    "decode",
    "direction_tuning",
    "embed",
    "figures",
    "fit_choices",
    "fit_weibull",
    "linear_cka",
    "on_common_times",
    "pairwise_correlations",
    "pairwise_distances",
    "permutation_null",
    "population_angle",
    "shape_distance",
    "spearman",
    "tuning",
    "tuning_figures",
    "wilson_interval",
]

_HOMES = {
    "proportions": ("accuracy_by_condition", "chance_p_value", "spearman", "wilson_interval"),
    "psychometrics": ("ChoiceFit", "WeibullFit", "fit_choices", "fit_weibull"),
    "population_vector": ("population_angle",),
    "decoding": ("Decoding", "decode"),
    "canonical": (
        "Alignment",
        "align",
        "canonical_correlations",
        "cross_validated_correlations",
        "pairwise_correlations",
    ),
    "permutation": ("PermutationNull", "permutation_null"),
    "embedding": ("Embedding", "cluster", "embed"),
    "architectures": ("architecture_table", "closer_to"),
    "comparison": ("Comparison", "compare_activity", "on_common_times"),
    "shape": ("linear_cka", "pairwise_distances", "shape_distance"),
    "direction": ("DirectionTuning", "benjamini_hochberg", "direction_tuning"),
}
_MODULES = ("behaviour", "behaviour_figures", "figures", "tuning", "tuning_figures")
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
