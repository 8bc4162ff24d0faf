from .activity import autocorrelation, autocorrelation_time, participation_ratio, power_spectrum
from .convolution import circular_spectrum, convolution_operator
from .fixed import FixedPoints, fixed_points
from .growth import numerical_abscissa, pseudospectrum, singular_values, transient_growth
from .lyapunov import LyapunovExponents, lyapunov_exponents
from .operators import System, jacobian_operator, shifted
from .spectra import Spectrum, eigenvalues

__all__ = [
    "FixedPoints",
    "LyapunovExponents",
    "Spectrum",
    "System",
    "autocorrelation",
    "autocorrelation_time",
    "circular_spectrum",
    "convolution_operator",
    "eigenvalues",
    "fixed_points",
    "jacobian_operator",
    "lyapunov_exponents",
    "numerical_abscissa",
    "participation_ratio",
    "power_spectrum",
    "pseudospectrum",
    "shifted",
    "singular_values",
    "transient_growth",
]
