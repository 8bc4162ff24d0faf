"""CordsNet: convolutional areas that are continuous-time dynamical recurrent networks (Soo et al., NeurIPS 2024)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
