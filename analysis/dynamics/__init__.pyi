from .activity import autocorrelation, autocorrelation_time, participation_ratio, power_spectrum
from .attractors import Attractor, PointSet, classify_points, memory_attractor
from .convolution import circular_spectrum, convolution_operator
from .fixed import FixedPoints, fixed_points
from .growth import numerical_abscissa, pseudospectrum, singular_values, transient_growth
from .lyapunov import LyapunovExponents, lyapunov_exponents
from .operators import System, jacobian_operator, shifted
from .planes import FlowField, flow_field, latent_dynamics, nullclines
from .spectra import Spectrum, eigenvalues

__all__ = [
    "Attractor",
    "FixedPoints",
    "FlowField",
    "LyapunovExponents",
    "PointSet",
    "Spectrum",
    "System",
    "autocorrelation",
    "autocorrelation_time",
    "circular_spectrum",
    "classify_points",
    "convolution_operator",
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
    "pseudospectrum",
    "shifted",
    "singular_values",
    "transient_growth",
]
