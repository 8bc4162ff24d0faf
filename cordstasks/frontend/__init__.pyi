from .features import Features
from .frontend import FrontEnd

__all__ = ["Features", "FrontEnd"]
