from . import connectivity
from .network import RNN
from .published import load_published
from .stack import RNNStack

__all__ = ["RNN", "RNNStack", "connectivity", "load_published"]
