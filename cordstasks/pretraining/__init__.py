"""Pre-training: from image folders to a CordsNet, by way of a feed-forward network."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
