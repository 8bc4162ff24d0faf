from .activity import autocorrelation, autocorrelation_time, participation_ratio, power_spectrum
from .convolution import circular_spectrum, convolution_operator
from .fixed import FixedPoints, fixed_points
from .growth import numerical_abscissa, pseudospectrum, singular_values, transient_growth
from .lyapunov import LyapunovExponents, lyapunov_exponents
from .operators import System, jacobian_operator, shifted
from .similarity import dsa_package, dynamical_distances
from .spectra import Spectrum, eigenvalues
from .trajectories import (
    DiscriminantAxis,
    PrincipalTrajectories,
    discriminant_axis,
    distance_from_rest,
    principal_trajectories,
    response_latency,
)

__all__ = [
    "DiscriminantAxis",
    "FixedPoints",
    "LyapunovExponents",
    "PrincipalTrajectories",
    "Spectrum",
    "System",
    "autocorrelation",
    "autocorrelation_time",
    "circular_spectrum",
    "convolution_operator",
    "discriminant_axis",
    "distance_from_rest",
    "dsa_package",
    "dynamical_distances",
    "eigenvalues",
    "fixed_points",
    "jacobian_operator",
    "lyapunov_exponents",
    "numerical_abscissa",
    "participation_ratio",
    "power_spectrum",
    "principal_trajectories",
    "pseudospectrum",
    "response_latency",
    "shifted",
    "singular_values",
    "transient_growth",
]
