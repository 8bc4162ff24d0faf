"""Recordings of neurons, and responses of models in the same form: the type, its files, and the pictures that were shown.

Each name is loaded when it is first used, so that reading a recording needs no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
