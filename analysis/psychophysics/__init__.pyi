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
from .observers import Observer, read_observers
from .psychometrics import ChoiceFit, WeibullFit, fit_choices, fit_weibull

__all__ = [
    "AngularError",
    "BoundaryFit",
    "ChoiceFit",
    "Confusions",
    "Observer",
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
    "read_observers",
]
