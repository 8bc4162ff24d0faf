"""Runs: everything between the settings of a training and its finished folder.

`train` is what ``python -m cordstasks.train`` does, and `load_run` loads what it has trained.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
