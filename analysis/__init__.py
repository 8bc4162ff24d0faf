"""Analysis: arrays in, numbers and figures out.

What this package offers is listed here and loaded when it is first used, so that importing it needs neither
matplotlib nor SciPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cordstasks.analysis import figures
    from cordstasks.analysis.direction import DirectionTuning, benjamini_hochberg, direction_tuning
    from cordstasks.analysis.population_vector import angular_error, population_angle
    from cordstasks.analysis.proportions import accuracy_by_condition, chance_p_value, spearman, wilson_interval
    from cordstasks.analysis.psychometrics import ChoiceFit, WeibullFit, fit_choices, fit_weibull

__all__ = [
    "ChoiceFit",
    "DirectionTuning",
    "WeibullFit",
    "accuracy_by_condition",
    "angular_error",
    "benjamini_hochberg",
    "chance_p_value",
    "direction_tuning",
    "figures",
    "fit_choices",
    "fit_weibull",
    "population_angle",
    "spearman",
    "wilson_interval",
]

_HOMES = {
    "proportions": ("accuracy_by_condition", "chance_p_value", "spearman", "wilson_interval"),
    "psychometrics": ("ChoiceFit", "WeibullFit", "fit_choices", "fit_weibull"),
    "population_vector": ("angular_error", "population_angle"),
    "direction": ("DirectionTuning", "benjamini_hochberg", "direction_tuning"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "figures":
        return importlib.import_module(f"{__name__}.figures")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
