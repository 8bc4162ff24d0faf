"""How much of a recording activity of a model predicts, stimulus by stimulus and moment by moment."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
