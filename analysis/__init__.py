"""Analysis: arrays in, numbers and figures out.

Each function is loaded when it is first used, so importing this package needs neither Matplotlib nor SciPy.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
