from .activity import autocorrelation, autocorrelation_time, participation_ratio, power_spectrum
from .attractors import Attractor, PointSet, classify_points, memory_attractor
from .convolution import circular_spectrum, convolution_operator
from .fixed import FixedPoints, fixed_points
from .growth import numerical_abscissa, pseudospectrum, singular_values, transient_growth
from .lyapunov import LyapunovExponents, lyapunov_exponents
from .operators import System, jacobian_operator, shifted
from .planes import FlowField, flow_field, latent_dynamics, nullclines
from .similarity import dsa_package, dynamical_distances
from .spectra import Spectrum, eigenvalues
from .trajectories import (
    DiscriminantAxis,
    PrincipalTrajectories,
    RunningComponents,
    discriminant_axis,
    distance_from_rest,
    principal_trajectories,
    response_latency,
)

__all__ = [
    "Attractor",
    "DiscriminantAxis",
    "FixedPoints",
    "FlowField",
    "LyapunovExponents",
    "PointSet",
    "PrincipalTrajectories",
    "RunningComponents",
    "Spectrum",
    "System",
    "autocorrelation",
    "autocorrelation_time",
    "circular_spectrum",
    "classify_points",
    "convolution_operator",
    "discriminant_axis",
    "distance_from_rest",
    "dsa_package",
    "dynamical_distances",
    "eigenvalues",
    "fixed_points",
    "flow_field",
    "jacobian_operator",
    "latent_dynamics",
    "lyapunov_exponents",
    "memory_attractor",
    "nullclines",
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
