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
from .chronometric import ChronometricFit, chronometric_curve, fit_chronometric
from .decisions import Decisions, best_bound, decide, log_odds, reward_rate, speed_accuracy
from .diffusion import DiffusionFit, fit_diffusion
from .kernels import PsychophysicalKernel, psychophysical_kernel
from .motion_energy import motion_energy
from .observers import Observer, read_observers
from .psychometrics import ChoiceFit, WeibullFit, fit_choices, fit_weibull
from .stimulation import ChoiceShift, choice_shift, paired_change

__all__ = [
    "AngularError",
    "BoundaryFit",
    "ChoiceFit",
    "ChoiceShift",
    "ChronometricFit",
    "Confusions",
    "Decisions",
    "DiffusionFit",
    "Observer",
    "PsychophysicalKernel",
    "WeibullFit",
    "angular_difference",
    "angular_error",
    "angular_error_table",
    "behaviour",
    "best_bound",
    "choice_shift",
    "chronometric_curve",
    "confusions",
    "decide",
    "fit_boundary",
    "fit_choices",
    "fit_chronometric",
    "fit_diffusion",
    "fit_weibull",
    "log_odds",
    "motion_energy",
    "paired_change",
    "performance_table",
    "psychophysical_kernel",
    "read_observers",
    "reward_rate",
    "speed_accuracy",
]
