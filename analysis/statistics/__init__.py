"""Statistics that the other analyses use: proportions, permutation tests, fits of many units at once."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
