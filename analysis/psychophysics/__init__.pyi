from . import behaviour
from .behaviour import (
    AngularError,
    BoundaryFit,
    Confusions,
    angular_difference,
    angular_error,
    angular_error_table,
    confusions,
    fit_boundary,
    performance_table,
)
from .psychometrics import ChoiceFit, WeibullFit, fit_choices, fit_weibull

__all__ = [
    "AngularError",
    "BoundaryFit",
    "ChoiceFit",
    "Confusions",
    "WeibullFit",
    "angular_difference",
    "angular_error",
    "angular_error_table",
    "behaviour",
    "confusions",
    "fit_boundary",
    "fit_choices",
    "fit_weibull",
    "performance_table",
]
