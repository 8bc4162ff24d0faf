"""Recurrent networks: leaky units in rate or current form, connected in one of four ways, read out linearly."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
