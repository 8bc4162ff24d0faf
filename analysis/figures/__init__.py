"""Figures: each function takes arrays or tables and returns a Matplotlib figure."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
