"""Networks as dynamical systems: spectra, regimes, fixed points and attractors, from callables alone."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
