"""The visual front-end: movies in, features of areas of a frozen CordsNet out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
